/**
 * The state in which a capsule begins, rebuilt with stand-ins: account and session through the
 * machine itself, rooms as the shape has them. Owns the rebuilding, and says what it leaves out.
 */
import { ok } from 'node:assert/strict'
import type { RequestId, TimeMs } from '#core/base/ids.ts'
import type { CommandError, DeviceInput } from '#core/device/io.ts'
import { roomKey } from '#core/device/room.ts'
import { type DeviceState, emptyState } from '#core/device/state.ts'
import type { PendingRequest, RoomState, SessionState } from '#core/device/state.ts'
import type { PendingRequestOf } from '#core/device/turn.ts'
import { HOME } from './cast.ts'
import { type Facts, factsOf, listOf, numberOf, textOf } from './reading.ts'
import { START_MS } from './room-parts.ts'
import { stageRoom } from './stage-room.ts'
import type { Staging } from './stage-words.ts'
import { ELSEWHERE, frameOf } from './stand-in-hub.ts'
import type { StandInRoom } from './stand-in-room.ts'

export interface Staged {
  readonly state: DeviceState
  readonly rooms: ReadonlyMap<string, StandInRoom>
  /** What could not be rebuilt, in words. */
  readonly missing: readonly string[]
}

/** Rebuilds a state of this shape. */
export async function stage(staging: Staging): Promise<Staged> {
  const { shape } = staging
  const kind = textOf(factsOf(shape['account']), 'kind')
  if (kind === 'none') return { state: emptyState(HOME), rooms: new Map(), missing: [] }
  const missing: string[] = []
  const signedUp = await signUp(staging)
  if (kind !== 'registered') missing.push(`an account that is ${kind}`)
  if (numberOf(shape, 'roomsUnseen') > 0) missing.push('more rooms than are shown')
  const rooms = new Map<string, StandInRoom>()
  let state: DeviceState = { ...signedUp, rooms: new Map() }
  for (const name of Object.keys(factsOf(shape['rooms']))) {
    const made = await stageRoom(staging, signedUp, name)
    missing.push(...made.missing)
    rooms.set(name, made.standIn)
    state = { ...state, rooms: new Map(state.rooms).set(made.room.key, made.room) }
  }
  const requests = new Map<RequestId, PendingRequest>()
  const flying = new Map<string, number>()
  for (const each of listOf(shape, 'requests')) {
    const [id, what, sentAt, room] = Array.isArray(each) ? each : []
    const nth = flying.get(String(room)) ?? 0
    if (what === 'frame') flying.set(String(room), nth + 1)
    const standIn = rooms.get(String(room))
    const staged = standIn === undefined ? undefined : state.rooms.get(roomKey(standIn.id))
    const request = requestOf(String(what), staged, nth)
    if (request === null) missing.push(`a request: ${what}`)
    else {
      const sentAtMs = START_MS + Number(sentAt)
      requests.set(Number(id) as RequestId, { ...request, sentAtMs } as PendingRequest)
    }
  }
  return { state: { ...withNumbers(state, shape), requests }, rooms, missing }
}

/** An account of its own, made as any other: hello, registration, KeyPackages. */
async function signUp({ machine, cast, said }: Staging): Promise<DeviceState> {
  let state = emptyState(HOME)
  const nowMs = START_MS as TimeMs
  const take = async (input: DeviceInput): Promise<void> => {
    const step = await machine.step(state, input, nowMs)
    state = step.state
    for (const effect of step.effects) said.hears(effect)
  }
  const hear = async (facts: Facts): Promise<void> => {
    const step = { index: 0, atMs: 0, input: {}, out: [], from: {}, to: {} }
    const words = {
      cast,
      said,
      state,
      step: { ...step, undone: false, fault: false, running: false },
      nowMs,
      room: () => Promise.reject(new Error('no room yet')),
    }
    await take({ kind: 'framesReceived', attempt: 1, frames: [await frameOf(words, facts)] })
  }
  await take({ kind: 'started' })
  const command = { kind: 'signUp', name: 'p0', deviceName: 'stand-in' } as const
  await take({ kind: 'commandGiven', id: 0, command })
  await take({ kind: 'sessionOpened', attempt: 1, transport: 'memory' })
  await hear({ kind: 'greeting', version: 1 })
  await hear({ kind: 'registered', request: 1 })
  await hear({ kind: 'ready', keyPackagesLeft: 0 })
  await hear({ kind: 'accepted', request: 2, position: null })
  ok(state.account.kind === 'registered', 'the stand-in has an account')
  said.self = cast.own(state.account.record)
  return state
}

/** Numbers, session and address as the shape has them. */
function withNumbers(state: DeviceState, shape: Facts): DeviceState {
  const wake = shape['wake']
  const wanted = numberOf(shape, 'keyPackages')
  const keyPackages = new Map([...state.keyPackages].slice(0, wanted))
  const [some] = state.keyPackages.values()
  for (let index = 0; keyPackages.size < wanted && some !== undefined; index++) {
    keyPackages.set(`stand-in ${index}`, some)
  }
  return {
    ...state,
    hub: shape['hub'] === true ? state.hub : null,
    session: sessionOf(state, factsOf(shape['session'])),
    online: shape['online'] === true,
    endpoint: shape['away'] === true ? ELSEWHERE : HOME,
    redirects: numberOf(shape, 'redirects'),
    nextAttempt: numberOf(shape, 'nextAttempt'),
    nextRequest: numberOf(shape, 'nextRequest'),
    wakeAtMs: typeof wake === 'number' ? START_MS + wake : Number.POSITIVE_INFINITY,
    keyPackages,
  }
}

function sessionOf({ session }: DeviceState, shape: Facts): SessionState {
  ok(session.kind === 'ready', 'the stand-in was connected')
  const attempt = numberOf(shape, 'attempt')
  const failures = numberOf(shape, 'failures')
  const { hello, greeting } = session
  const lastHeardMs = START_MS + numberOf(shape, 'heard')
  const transport = textOf(shape, 'transport') as typeof session.transport
  const opened = { attempt, transport, hello, lastHeardMs }
  const kind = textOf(shape, 'kind') as SessionState['kind']
  switch (kind) {
    case 'idle':
    case 'closed':
      return { kind }
    case 'waiting':
      return { kind, failures, retryAtMs: START_MS }
    case 'dialing':
      return { kind, attempt, failures }
    case 'greeting':
      return { kind, ...opened, failures }
    case 'guest':
    case 'authenticating':
      return { kind, ...opened, greeting, failures }
    case 'ready':
      return { kind, ...opened, greeting, beats: numberOf(shape, 'beats') }
    case 'refused':
      return { kind, code: textOf(shape, 'code') as CommandError }
  }
}

/** A request as far as it is known by its kind and room; null for the others. */
function requestOf(
  kind: string,
  room: RoomState | undefined,
  nth: number,
): PendingRequestOf | null {
  if (kind === 'publish' || kind === 'register') return { kind }
  if (room === undefined) return null
  const { key, pending } = room
  const isPlain = kind === 'subscribe' || kind === 'vote' || kind === 'createRoom' ||
    kind === 'group'
  if (isPlain) return { kind, room: key }
  const item = room.outbox.filter(({ inFlight }) => inFlight)[nth]
  if (kind === 'frame' && item !== undefined && item.record.sealed !== null) {
    return { kind, room: key, outboxKey: item.key, sealed: item.record.sealed.bytes }
  }
  return kind === 'commit' && pending !== null ? { kind, room: key, commit: pending.commit } : null
}
