/**
 * The hub of a device world: states that are never changed, the gateway between them, each step
 * made once. Owns the names of states and the invariants of the log.
 */
import { toHex } from '#core/base/bytes.ts'
import type { TimeMs } from '#core/base/ids.ts'
import { decode } from '#core/wire/codec.ts'
import { verdictEntryCodec } from '#core/wire/log-entry.ts'
import { headView } from '#hub/sequencer/room-state.ts'
import type { Beginning } from './device-room.ts'
import { type Follower, gatewayTakes, gatewayTicks, type Given } from './device-gateway.ts'
import type { GatewayStep, HubRoom } from './device-gateway.ts'
import { digestOf } from './digest.ts'
import type { Letter } from './letters.ts'
import { holds } from './search.ts'

export interface DeviceHub {
  readonly id: number
  readonly room: HubRoom
  /** Positions and hex epochIds of the epochs that became final, oldest first. */
  readonly finals: readonly string[]
  /** From each void epoch to its verdict. */
  readonly voids: readonly (readonly [bigint, bigint])[]
}

export interface HubStep {
  readonly hub: DeviceHub
  readonly followers: readonly Follower[]
  readonly given: readonly Given[]
}

const hubs = new Map<string, DeviceHub>()
const steps = new WeakMap<DeviceHub, Map<string, Promise<HubStep>>>()

export function openDeviceHub({ sequenced, entries, kept }: Beginning): DeviceHub {
  const finals = sequenced.epochs.map(({ origin, epochId }) => `${origin}:${toHex(epochId)}`)
  return known({ id: 0, room: { sequenced, entries, kept }, finals, voids: [] })
}

export interface Moment {
  readonly followers: readonly Follower[]
  readonly nowMs: TimeMs
}

/** What the hub makes of a frame of the device at a seat. */
export function hubTakes(
  hub: DeviceHub,
  from: { readonly seat: number; readonly letter: Letter },
  moment: Moment,
): Promise<HubStep> {
  const what = `${from.seat} ${from.letter.id}`
  return remembered(hub, { what, moment }, () => gatewayTakes({ room: hub.room, ...moment }, from))
}

/** Time has passed. */
export function hubTicks(hub: DeviceHub, moment: Moment): Promise<HubStep> {
  const make = () => gatewayTicks({ room: hub.room, ...moment })
  return remembered(hub, { what: 'tick', moment }, make)
}

function remembered(
  hub: DeviceHub,
  { what, moment }: { readonly what: string; readonly moment: Moment },
  make: () => Promise<GatewayStep>,
): Promise<HubStep> {
  const memory = steps.get(hub) ?? new Map<string, Promise<HubStep>>()
  steps.set(hub, memory)
  const key = `${what}/${moment.nowMs}/${moment.followers.map(digestOf)}`
  const before = memory.get(key)
  if (before !== undefined) return before
  const made = make().then((step) => ({ ...step, hub: after(hub, step.room) }))
  memory.set(key, made)
  return made
}

function after(hub: DeviceHub, room: HubRoom): DeviceHub {
  const fresh = room.entries.slice(hub.room.entries.length)
  const views = [...hub.room.sequenced.epochs, ...room.sequenced.epochs]
  const finals = [...hub.finals]
  const voids = [...hub.voids]
  for (const { entry: { header, body }, position } of fresh) {
    if (header.entry !== 'verdict' || body.kind !== 'whole') continue
    const decoded = decode(verdictEntryCodec, body.bytes)
    holds(decoded.kind === 'decoded', 'a verdict can be read', () => `${position}`)
    const { verdict, position: origin } = decoded.value
    if (verdict === 'void') voids.push([origin, position])
    else {
      const view = views.find((each) => each.origin === origin)
      finals.push(`${origin}:${view === undefined ? '' : toHex(view.epochId)}`)
    }
  }
  const next = known({ id: 0, room, finals, voids })
  judgeHub(hub, next)
  return next
}

// ---- Invariants of the log ------------------------------------------------------------------

function judgeHub(before: DeviceHub, next: DeviceHub): void {
  const numbers = next.room.sequenced.epochs.map(({ epoch }) => epoch)
  const isChain = numbers.every((epoch, index) => epoch === numbers[0]! + BigInt(index))
  holds(isChain, 'one commit for each epoch that is not void', () => `${numbers}`)
  const [was, is] = [before, next].map(({ room }) => headView(room.sequenced)?.epoch ?? 0n)
  const hasVoid = next.voids.length > before.voids.length
  holds(is! >= was! || hasVoid, 'epoch decreases only by a void', () => `${was} to ${is}`)
  const kept = before.finals.every((name, index) => next.finals[index] === name)
  holds(kept, 'final is never undone', () => `${before.finals} to ${next.finals}`)
  const isHeld = next.finals.at(-1)?.startsWith(`${next.room.sequenced.epochs[0]?.origin}:`)
  holds(isHeld === true, 'the hub holds what is final', () => `${next.finals}`)
}

/** The hash of the head stands for the log; beside it lie who was asked and the anchors. */
function known(hub: DeviceHub): DeviceHub {
  const { sequenced, kept } = hub.room
  const asked = sequenced.finality?.open.map((open) => `${open.position}:${open.asked}`)
  const asks = sequenced.asks.map(({ position, leaf }) => `${position}:${leaf}`).sort()
  const anchors = kept.flatMap((each) => each.kind === 'anchor' ? [digestOf(each.anchor)] : [])
  const key = `${toHex(sequenced.headHash)}/${asked}/${asks}/${anchors}`
  const before = hubs.get(key)
  if (before !== undefined) return before
  const fresh = { ...hub, id: hubs.size }
  hubs.set(key, fresh)
  return fresh
}
