/**
 * A device of a device world: the production machine, stepped from states that are never changed.
 * Equal steps are made once, with entropy that follows from state and input. What the step would
 * wipe is left alone, since other branches hold it too. Owns the invariants of one device.
 */
import { equalBytes, toHex, utf8Encode } from '#core/base/bytes.ts'
import type { RoomId, TimeMs } from '#core/base/ids.ts'
import { decodeContent, plainText } from '#core/content/mimi-content.ts'
import { createDeviceMachine, type DeviceMachine } from '#core/device/device.ts'
import type { DeviceInput, TimerName } from '#core/device/io.ts'
import { positionOfTimelineKey, timelineRecordCodec } from '#core/device/records.ts'
import { loadDevice } from '#core/device/load.ts'
import type { Entropy } from '#core/base/ports.ts'
import type { DeviceState, RoomState } from '#core/device/state.ts'
import { decodeInviteLink, invitationId, invitationKeyPair } from '#core/identity/invitation.ts'
import type { InviteLink } from '#core/identity/invitation.ts'
import { decode } from '#core/wire/codec.ts'
import { mix } from '../support/mixer.ts'
import type { DeviceHub } from './device-hub.ts'
import { type Letter, letterOf } from './letters.ts'
import { type Shelf, storeOf, written } from './device-shelf.ts'
import { type Beginning, DAN, HOME, type Lie, LYING, NAMES, portOf } from './device-room.ts'
import { digestOf } from './digest.ts'
import { Broken, holds } from './search.ts'

export interface DeviceNode {
  readonly id: number
  readonly seat: number
  readonly state: DeviceState
  readonly digest: string
  readonly shelf: Shelf
  readonly timers: ReadonlyMap<TimerName, number>
}

export interface NodeStep {
  readonly node: DeviceNode
  readonly sent: readonly Letter[]
  readonly hangsUp: boolean
  /** Links that were given to a person. */
  readonly links: readonly InviteLink[]
}

/** What happens to a device, and whether it lies. */
export interface NodeInput {
  readonly name: string
  readonly input: DeviceInput
  readonly lie?: Lie
}

const nodes = new Map<string, DeviceNode>()
const steps = new WeakMap<DeviceNode, Map<string, Promise<NodeStep>>>()
const entropy: { seed: Uint8Array; count: number } = { seed: new Uint8Array(0), count: 0 }

const machines: readonly DeviceMachine[] = NAMES.map((_name, seat) =>
  createDeviceMachine({
    crypto: portOf(seat),
    entropy: {
      randomBytes: (length) => mix(79, [entropy.seed, Uint8Array.of(++entropy.count)], length),
    },
    appVersion: 1,
  })
)

export function openNode(seat: number, state: DeviceState, shelf: Shelf): DeviceNode {
  return known({ id: 0, seat, state, shelf, timers: new Map() })
}

/** The device has lost its memory, and begins again from what it has stored (DEV-1). */
export async function startAnew({ seat, shelf }: DeviceNode): Promise<DeviceNode> {
  const ports = { crypto: portOf(seat), entropy: NO_ENTROPY, appVersion: 1 }
  return openNode(seat, await loadDevice(ports, await storeOf(shelf), HOME), shelf)
}

const NO_ENTROPY: Entropy = {
  randomBytes: (length) => {
    throw new Broken('a device reads its store without entropy', `${length} bytes`)
  },
}

export function stepNode(node: DeviceNode, input: NodeInput, nowMs: TimeMs): Promise<NodeStep> {
  const memory = steps.get(node) ?? new Map<string, Promise<NodeStep>>()
  steps.set(node, memory)
  const key = `${input.name}/${nowMs}`
  const before = memory.get(key)
  if (before !== undefined) return before
  const made = stepped(node, input, nowMs)
  memory.set(key, made)
  return made
}

async function stepped(
  node: DeviceNode,
  { name, input, lie }: NodeInput,
  nowMs: TimeMs,
): Promise<NodeStep> {
  const machine = machines[node.seat] as DeviceMachine
  entropy.seed = utf8Encode(`${node.digest}/${name}/${nowMs}`)
  entropy.count = 0
  LYING.lie = lie ?? null
  LYING.count = 0
  const { state, changes, effects } = await machine.step(node.state, input, nowMs)
  LYING.lie = null
  const timers = new Map(node.timers)
  if (input.kind === 'timerFired') timers.delete(input.timer)
  const sent: Letter[] = []
  const links: InviteLink[] = []
  let hangsUp = false
  for (const effect of effects) {
    if (effect.kind === 'reportFault') throw effect.error
    if (effect.kind === 'hangUp') hangsUp = true
    if (effect.kind === 'armTimer' && (effect.timer === 'wake' || effect.timer === 'retry')) {
      timers.set(effect.timer, effect.atMs)
    }
    if (effect.kind === 'settleCommand' && effect.outcome.kind === 'done') {
      const link = decodeInviteLink(effect.outcome.value ?? '')
      if (link !== null) links.push(link)
    }
    const letter = effect.kind === 'send' ? letterOf(effect.frame) : null
    if (letter !== null) sent.push(letter)
  }
  const shelf = written(node.shelf, changes)
  return { node: known({ ...node, state, shelf, timers }), sent, hangsUp, links }
}

/** Equal devices are one. */
function known(node: Omit<DeviceNode, 'digest'>): DeviceNode {
  const timers = [...node.timers].map(([name, atMs]) => `${name}:${atMs}`).sort()
  const digest = `${digestOf(node.state)}/${digestOf(node.shelf)}/${timers}`
  const key = `${node.seat}/${digest}`
  const before = nodes.get(key)
  if (before !== undefined) return before
  const fresh = { ...node, digest, id: nodes.size }
  nodes.set(key, fresh)
  return fresh
}

/** Null where it has never heard of the room. */
export function roomOf(node: DeviceNode, { key }: Pick<Beginning, 'key'>): RoomState | null {
  return node.state.rooms.get(key) ?? null
}

export interface ShownText {
  readonly position: bigint
  readonly text: string
}

/** The texts that a device shows, in the order of the log. */
export function textsOf({ shelf }: DeviceNode): readonly ShownText[] {
  return [...shelf.get('timeline') ?? []].flatMap(([key, value]) => {
    const decoded = decode(timelineRecordCodec, value)
    if (decoded.kind === 'malformed' || decoded.value.item.kind !== 'message') return []
    const content = decodeContent(decoded.value.item.content)
    if (content.kind === 'malformed') return []
    const position = BigInt(positionOfTimelineKey(key))
    return [{ position, text: plainText(content.value) ?? '' }]
  })
}

/** Whoever has a link can join by it (JOIN-3). */
export function judgeLink({ room, secret }: InviteLink, hub: DeviceHub): void {
  const { publicKey } = invitationKeyPair(portOf(DAN), secret, room as RoomId)
  const id = invitationId(portOf(DAN), publicKey)
  const hasAnchor = hub.room.kept.some((each) =>
    each.kind === 'anchor' && equalBytes(each.anchor.invitation, id)
  )
  holds(hasAnchor, 'a link that is given has its anchor', () => toHex(id))
}

// ---- Invariants of a device -----------------------------------------------------------------

/** What holds of a device that follows this log, whatever it has read of it. */
export function judgeNode(node: DeviceNode, hub: DeviceHub, at: Pick<Beginning, 'key'>): void {
  const room = roomOf(node, at)
  const who = NAMES[node.seat] as string
  if (room === null) return holds(node.seat === DAN, 'a device keeps its room', () => who)
  const { phase, code, next } = room.record
  const isComing = phase === 'joining' && node.seat === DAN
  holds(phase === 'live' || isComing, 'no room breaks', () => `${who}: ${phase} ${code}`)
  if (isComing) return
  const { finality, final, chain } = room
  holds(finality !== null && final !== null, 'a member has epochs', () => who)
  const name = `${finality.final.position}:${toHex(finality.final.epochId)}`
  holds(hub.finals.includes(name), 'all hold one final chain', () => `${who}: ${name}`)
  const open = finality.open.map(({ position }) => position).join()
  const held = chain.map(({ position }) => position).join()
  holds(
    open === held,
    'a device holds the epochs that are open',
    () => `${who}: ${held} of ${open}`,
  )
  holds(final.position === finality.final.position, 'a device holds what is final', () => who)
  if (next === hub.room.sequenced.next) {
    const mine = finality.open.map((each) => `${each.position}:${digestOf(each.votes)}`).join()
    const hubs = hub.room.sequenced.finality?.open
      .map((each) => `${each.position}:${digestOf(each.votes)}`).join()
    holds(mine === hubs, 'who has read all stands as the hub does', () => `${who}: ${mine}`)
  }
  const texts = textsOf(node)
  const isOnce = new Set(texts.map(({ text }) => text)).size === texts.length
  holds(isOnce, 'a message stands once', () => `${who}: ${texts.map(({ text }) => text)}`)
  const ghosts = texts.filter(({ position }) =>
    hub.voids.some(([from, to]) => position >= from && position < to && next > to)
  )
  holds(ghosts.length === 0, 'nothing void is shown', () => `${who}: ${ghosts[0]?.text}`)
}
