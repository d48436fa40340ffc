/**
 * The state in which a capsule begins, rebuilt with stand-ins: account and session through the
 * machine itself, rooms as the shape has them. Owns the rebuilding, and says what it leaves out.
 */
import { ok } from 'node:assert/strict'
import { leafIndex, logPosition, type RequestId, type TimeMs } from '#core/base/ids.ts'
import type { DeviceMachine } from '#core/device/device.ts'
import { ENGINE_LANE, exportKeys } from '#core/device/epoch-keys.ts'
import type { DeviceInput } from '#core/device/io.ts'
import type { RoomRecord } from '#core/device/records.ts'
import { newRoom, roomUri } from '#core/device/room.ts'
import { type DeviceState, emptyState, type OutboxItem } from '#core/device/state.ts'
import type { EpochKeys, PendingRequest, RoomState, SessionState } from '#core/device/state.ts'
import type { PendingRequestOf } from '#core/device/turn.ts'
import { encodeContent, textContent } from '#core/content/mimi-content.ts'
import { accountUri } from '#core/device/outbox.ts'
import { outboxKey } from '#core/device/records.ts'
import { encodeInviteLink } from '#core/identity/invitation.ts'
import { epochIdOf } from '#core/mls/group-context.ts'
import { openFinality } from '#core/policy/finality.ts'
import { reserve } from '#core/sender-keys/secret-tree.ts'
import { STRUCTURE_VERSION } from '#core/wire/structure.ts'
import { type Cast, DOMAIN, HOME } from './cast.ts'
import type { SaidByDevice } from './own-words.ts'
import { type Facts, factsOf, listOf, numberOf, roomShapeOf, textOf } from './reading.ts'
import { ELSEWHERE, frameOf } from './stand-in-hub.ts'
import { makeGroup, type Seat } from './stand-in-group.ts'
import { type RoomParts, START_MS } from './room-parts.ts'
import { StandInRoom } from './stand-in-room.ts'

export interface Staging {
  readonly machine: DeviceMachine
  readonly cast: Cast
  readonly said: SaidByDevice
  readonly shape: Facts
  parts(room: string): RoomParts
}

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
  const rooms = new Map<string, StandInRoom>()
  let state: DeviceState = { ...signedUp, rooms: new Map() }
  for (const name of Object.keys(factsOf(shape['rooms']))) {
    const made = await stageRoom(staging, state, name)
    missing.push(...made.missing)
    rooms.set(name, made.standIn)
    state = { ...state, rooms: new Map(state.rooms).set(made.room.key, made.room) }
  }
  const requests = new Map<RequestId, PendingRequest>()
  for (const each of listOf(shape, 'requests')) {
    const [id, what, sentAt, room] = Array.isArray(each) ? each : []
    const request = requestOf(String(what), rooms.get(String(room)))
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
      step: { ...step, undone: false, fault: false },
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
  said.certificate = state.account.record.certificate
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
      return { kind, code: textOf(shape, 'code') }
  }
}

/** A request that needs nothing but its room; null for the others. */
function requestOf(
  kind: string,
  room: StandInRoom | undefined,
): PendingRequestOf | null {
  const key = room === undefined ? null : keyOf(room)
  if (kind === 'publish' || kind === 'register') return { kind }
  if (key === null) return null
  const isPlain = kind === 'subscribe' || kind === 'vote' || kind === 'createRoom' ||
    kind === 'group'
  return isPlain ? { kind, room: key } : null
}

function keyOf(room: StandInRoom): string {
  return newRoomOf(room.id).key
}

function newRoomOf(id: StandInRoom['id']): RoomState {
  return newRoom({
    id,
    phase: 'live',
    suite: 0xf003,
    domain: DOMAIN,
    title: 'stand-in',
    opening: new Uint8Array(0),
    inviterRootHash: new Uint8Array(0),
    createdAt: START_MS as TimeMs,
  })
}

// ---- Rooms --------------------------------------------------------------------------------

export function seatsOf(epoch: Facts): readonly Seat[] {
  return listOf(epoch, 'people').flatMap((each) => {
    const [leaf, who] = Array.isArray(each) ? each : []
    return typeof leaf === 'number' && typeof who === 'number' ? [{ leaf, who }] : []
  })
}

async function stageRoom(staging: Staging, state: DeviceState, name: string) {
  const { cast, shape } = staging
  const facts = roomShapeOf(shape, name)
  const missing = unstaged(facts).map((what) => `${name}: ${what}`)
  const isFresh = textOf(factsOf(shape['session']), 'kind') === 'idle'
  const final = factsOf(facts['final'])
  const seats = seatsOf(final)
  ok(state.account.kind === 'registered')
  const { record: account } = state.account
  const invitations = listOf(facts, 'invitations').map(Number) as unknown as [number, number]
  const made = await makeGroup(cast, {
    seats: seats.length === 0 ? [{ leaf: 0, who: 0 }] : seats,
    epoch: numberOf(final, 'epoch'),
    invitations,
    own: cast.own(account),
  })
  const position = numberOf(final, 'at')
  const next = numberOf(facts, 'next')
  const standIn = StandInRoom.midst(staging.parts(name), made, { position, next })
  const headHash = cast.parts.entropy.randomBytes(32)
  standIn.knows(next - 1, headHash)
  const fresh = newRoomOf(made.id)
  const own = made.groups.get(numberOf(final, 'leaf')) ?? null
  const publicGroup = standIn.top.public
  const epochId = epochIdOf(publicGroup.suite, publicGroup.context)
  const certificates = new Map(
    await Promise.all(
      seats.map(async ({ who }) =>
        cast.certificateRecord(who === 0 ? cast.own(account) : await cast.person(who))
      ),
    ),
  )
  const entered = own === null || final['leaf'] === null ? null : exportKeys(made.id, own)
  const used = numberOf(final, 'generation')
  const at = logPosition(BigInt(position))
  const entryHash = position === next - 1 ? headHash : cast.parts.entropy.randomBytes(32)
  const began = facts['began'] === null ? at : logPosition(BigInt(numberOf(facts, 'began')))
  const lastVoid = facts['lastVoid']
  const room: RoomState = {
    ...fresh,
    record: { ...fresh.record, ...recordOf(facts, headHash), ...linksOf(standIn, facts, account) },
    final: facts['final'] === null ? null : {
      position: at,
      entryHash,
      public: entered?.group.public ?? publicGroup,
      group: entered?.group ?? null,
      keys: entered === null ? null : usedUp(cast, entered, used),
      groupInfo: made.groupInfo,
    },
    finality: facts['began'] === null ? null : {
      ...openFinality({ position: at, epochId }),
      began,
      lastVoid: typeof lastVoid === 'number' ? logPosition(BigInt(lastVoid)) : null,
    },
    asked: listOf(facts, 'asked').map((each) => logPosition(BigInt(Number(each)))),
    certificates,
    subscription: subscriptionOf(facts, epochId),
    holdUntilMs: typeof facts['hold'] === 'number' ? START_MS + facts['hold'] : 0,
    racesLost: numberOf(facts, 'racesLost'),
    // What a device chained before it was opened it does not remember.
    recent: isFresh || next === 0
      ? []
      : [{ position: logPosition(BigInt(next - 1)), hash: headHash }],
  }
  return { room: { ...room, outbox: outboxOf(staging, room, facts) }, standIn, missing }
}

/** Keys whose own chain stands where it stood. */
function usedUp(
  cast: Cast,
  { group, keys }: ReturnType<typeof exportKeys>,
  count: number,
): EpochKeys {
  if (count === 0) return keys
  const place = { leaf: leafIndex(group.ownLeaf), lane: ENGINE_LANE, count }
  return { ...keys, senderKeys: reserve(cast.parts.crypto, keys.senderKeys, place).keys }
}

function subscriptionOf(facts: Facts, epochId: RoomState['recent'][number]['hash']) {
  const [kind, until] = listOf(facts, 'subscription')
  if (kind !== 'following') return { kind: kind === 'asked' ? 'asked' : 'none' } as const
  return {
    kind: 'following',
    until: logPosition(BigInt(Number(until))),
    epochId: epochId as never,
    lastGenerations: [],
  } as const
}

function recordOf(facts: Facts, headHash: Uint8Array): Partial<RoomRecord> {
  const position = (name: string) => {
    const value = facts[name]
    return typeof value === 'number' ? logPosition(BigInt(value)) : null
  }
  return {
    phase: textOf(facts, 'phase') as RoomRecord['phase'],
    code: textOf(facts, 'code'),
    next: logPosition(BigInt(numberOf(facts, 'next'))),
    headHash,
    headTime: (facts['headTime'] === null ? 0 : START_MS + numberOf(facts, 'headTime')) as TimeMs,
    joinedAt: position('joinedAt'),
    readUpTo: logPosition(BigInt(numberOf(facts, 'readUpTo'))),
    unread: numberOf(facts, 'unread'),
    nextOutboxKey: numberOf(facts, 'outbox'),
  }
}

/** Links and anchors of the device's own invitations, as many as there were. */
function linksOf(room: StandInRoom, facts: Facts, account: { name: string; rootHash: Uint8Array }) {
  const own = room.invitations.filter(({ invitation }) => invitation.inviter === account.name)
  const links = own.slice(0, numberOf(facts, 'links')).map(({ invitation, secret }) => ({
    id: invitation.id,
    fragment: encodeInviteLink({
      room: room.id,
      secret,
      inviterRootHash: account.rootHash,
      hubDomain: DOMAIN,
      inviter: invitation.inviter,
      title: 'stand-in',
      suite: 0xf003,
    }),
  }))
  const anchors = listOf(facts, 'anchors').flatMap((each, index) => {
    const [position, time] = Array.isArray(each) ? each.map(Number) : []
    const id = own[index]?.invitation.id
    if (id === undefined || position === undefined || time === undefined) return []
    return [{ id, position: logPosition(BigInt(position)), time: START_MS + time as TimeMs }]
  })
  return { links, anchors }
}

function outboxOf({ cast }: Staging, room: RoomState, facts: Facts): readonly OutboxItem[] {
  const count = numberOf(facts, 'outbox')
  const refused = numberOf(facts, 'refused')
  const placed = listOf(facts, 'placed').map(Number)
  return Array.from({ length: count }, (_, index): OutboxItem => {
    const content = textContent({
      salt: cast.parts.entropy.randomBytes(16),
      senderUri: accountUri(`p0@${DOMAIN}`),
      roomUri: roomUri(room),
      text: 'stand-in',
    })
    const sequencedAt = placed[index]
    return {
      key: outboxKey(room.key, index),
      record: {
        format: STRUCTURE_VERSION,
        localId: `before ${index}`,
        purpose: 'message',
        content: encodeContent(content),
        createdAt: START_MS as TimeMs,
        refused: index >= count - refused ? 'refused' : '',
        sealed: null,
        sequencedAt: sequencedAt === undefined ? null : logPosition(BigInt(sequencedAt)),
      },
      inFlight: false,
      attempts: 0,
    }
  })
}

/** What of a room's shape no stage can rebuild. */
function unstaged(facts: Facts): readonly string[] {
  const missing: string[] = []
  if (listOf(facts, 'chain').length > 0) missing.push('epochs that wait for votes')
  if (numberOf(facts, 'sealed') > 0) missing.push('sealed messages')
  if (facts['pending'] !== null) missing.push('a commit under way')
  if (listOf(facts, 'jobs').length > 0) missing.push('things to commit')
  if (facts['joining'] !== null) missing.push(`a way in: ${textOf(facts, 'joining')}`)
  if (facts['recovery'] !== null) missing.push('a walk through the log')
  if (typeof factsOf(facts['final'])['people'] === 'number') missing.push('more people than shown')
  return missing
}
