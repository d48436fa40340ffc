/**
 * What must hold, checked after each tick and at some moments between: the invariants by name, and
 * what each of them looks at. Owns no fault and no decision; what the log means is `oracle.ts`,
 * what must hold at the end is `ending.ts`.
 */
import { EMPTY, equalBytes, toHex } from '#core/base/bytes.ts'
import type { RoomId } from '#core/base/ids.ts'
import type { Crypto } from '#core/crypto/crypto.ts'
import { idOfEpoch, topEpoch } from '#core/device/chain.ts'
import { outboxRecordCodec, pendingKey, pendingRecordCodec } from '#core/device/records.ts'
import { roomRange } from '#core/device/records.ts'
import { roomKey } from '#core/device/room.ts'
import type { DeviceState, EpochKeys, RoomEpoch, RoomState } from '#core/device/state.ts'
import { allSecrets, type Group } from '#core/mls/group.ts'
import { epochIdOf } from '#core/mls/group-context.ts'
import { decodeSealedFrame, type SealHeader } from '#core/sender-keys/sealed-frame.ts'
import { type Body, type BodyKind, bodyKind, decodeMessage } from '#core/wire/bodies.ts'
import type { Message } from '#core/wire/bodies.ts'
import { decode } from '#core/wire/codec.ts'
import { parseFrame } from '#core/wire/frame.ts'
import type { AppendOutcome, RoomAppend, StoredEntry } from '#hub/ports.ts'
import type { SimDevice } from './device.ts'
import { findExcess, type HubDuties } from './hub-memory.ts'
import { type InvariantName, Violation } from './invariants.ts'
import { chainOf, LogReader } from './oracle.ts'

/** Why an honest hub lets somebody not in. */
const REFUSALS: ReadonlySet<string> = new Set([
  'unknownRoom',
  'noAnchor',
  'invitationSpent',
  // Taken back, or its inviter gone, while the joiner walked the log.
  'unknownInvitation',
  'invitationExpired',
])

/** What of the hub says how long a log is. */
const TELLS_POSITIONS: ReadonlySet<BodyKind> = new Set([
  'entries',
  'accepted',
  'subscribed',
  'head',
  'askVote',
])

/** What of the world is looked at. */
export interface Watched {
  readonly devices: readonly SimDevice[]
  readonly hubDuties: HubDuties | null
}

interface SeenDevice {
  state: DeviceState
  life: number
  readonly finals: Map<string, bigint>
}

/** Secrets that must be zeros by the next tick. */
interface Condemned {
  readonly device: SimDevice
  readonly life: number
  readonly room: string
  /** Of the epoch; null for a commit or Welcome under way. */
  readonly position: bigint | null
  readonly secrets: readonly Uint8Array[]
}

export class Watch {
  readonly crypto: Crypto
  readonly readers = new Map<string, LogReader>()
  readonly rooms = new Map<string, RoomId>()
  /** Rows of outboxes that were read, and what they hold. */
  readonly #sealed = new WeakMap<Uint8Array, Uint8Array>()
  /** Positions below are on the disk, by room. */
  readonly #durable = new Map<string, bigint>()
  readonly #world: Watched
  readonly #queue: { readonly room: RoomId; readonly stored: StoredEntry }[] = []
  readonly #seen = new Map<SimDevice, SeenDevice>()
  readonly #authenticators = new Map<string, string>()
  readonly #checked = new WeakSet<Uint8Array>()
  /** Frames that were sent, by epochId, leaf, lane and generation. */
  readonly #sent = new Map<string, Uint8Array>()
  readonly #generations = new Set<string>()
  /** Hashes of commits that a power loss would have left when they were sent. */
  readonly #kept = new Set<string>()
  #condemned: Condemned[] = []
  #violation: Violation | null = null

  constructor(world: Watched, crypto: Crypto) {
    this.#world = world
    this.crypto = crypto
  }

  /** Ends the run at the next tick. */
  violated(invariant: InvariantName, what: string): void {
    this.#violation ??= new Violation(invariant, what)
  }

  // ---- Between ticks ----------------------------------------------------------------------

  stored(batch: readonly RoomAppend[], outcomes: readonly AppendOutcome[]): void {
    for (const [index, { room, entries }] of batch.entries()) {
      if (outcomes[index]?.kind !== 'appended') continue
      for (const stored of entries) this.#queue.push({ room, stored })
      const last = entries.at(-1)
      if (last !== undefined) this.#durable.set(roomKey(room), last.position + 1n)
    }
  }

  hubWrote(name: string, frames: readonly Uint8Array[]): void {
    for (const bytes of frames) {
      const kind = bodyKind(bytes[1] ?? 0)
      if (kind === null || !TELLS_POSITIONS.has(kind)) continue
      const frame = parseFrame(bytes)
      const decoded = frame.kind === 'frame' ? decodeMessage(frame) : null
      if (decoded?.kind !== 'message') {
        this.violated('NoFault', `the hub writes ${kind} that cannot be read`)
        continue
      }
      this.#told(name, decoded.message)
    }
  }

  #told(name: string, message: Message): void {
    const key = roomKey(message.room)
    switch (message.kind) {
      case 'entries': {
        const { first, entries } = message.body
        return this.#durableUpTo(name, key, first + BigInt(entries.length))
      }
      case 'subscribed':
        return this.#durableUpTo(name, key, message.body.next)
      case 'head':
      case 'askVote':
        return this.#durableUpTo(name, key, message.body.position + 1n)
      case 'accepted': {
        const { position } = message.body
        const device = this.#world.devices.find((each) => each.name === name)
        const request = device?.state.requests.get(message.body.request)
        if (position === null || request === undefined || !('room' in request)) return
        return this.#durableUpTo(name, request.room, position + 1n)
      }
      default:
        return
    }
  }

  framingLost(name: string, code: string): void {
    this.violated('NoFault', `a stream of ${name} lost its place: ${code}`)
  }

  #durableUpTo(name: string, key: string, next: bigint): void {
    const durable = this.#durable.get(key) ?? 0n
    if (next > durable) {
      this.violated('EntriesAreDurable', `${name} is told of ${next - 1n}, stored below ${durable}`)
    }
  }

  /** A frame leaves a device. */
  sent(device: SimDevice, bytes: Uint8Array): void {
    const kind = bodyKind(bytes[1] ?? 0)
    if (kind !== 'submitFrame' && kind !== 'submitCommit') return
    const frame = parseFrame(bytes)
    const decoded = frame.kind === 'frame' ? decodeMessage(frame) : null
    if (decoded?.kind !== 'message') {
      return this.violated('NoFault', `${device.name} writes a frame that cannot be read`)
    }
    const { message } = decoded
    if (message.kind === 'submitCommit') {
      this.#commitSent(device, roomKey(message.room), message.body)
    } else if (message.kind === 'submitFrame') {
      this.#frameSent(device, roomKey(message.room), message.body.frame)
    }
  }

  /** Who comes in by a commit of its own makes another one after a restart. */
  #commitSent(device: SimDevice, key: string, body: Body<'submitCommit'>): void {
    const { commit } = body
    const room = device.room(key)
    const row = device.disk.safeRow('groups', pendingKey(key))
    const stored = row === null ? null : decode(pendingRecordCodec, row)
    const isStored = stored?.kind === 'decoded' && equalBytes(stored.value.commit, commit)
    const word = toHex(this.crypto.hash('sha256', commit))
    if (isStored) this.#kept.add(word)
    if (this.#kept.has(word) || room === null || room.joining !== null) return
    if (this.#isDropped(room, body)) return
    this.violated('StoredBeforeSent', `${device.name} sends a commit that it has not stored`)
  }

  /** The step that gave it went past its epoch or a void, or out of the room: it is refused. */
  #isDropped(room: RoomState, { commit, epochId, seen }: Body<'submitCommit'>): boolean {
    if (room.pending !== null && equalBytes(room.pending.commit, commit)) return false
    const top = topOf(room)
    if (top === null || top.group === null || !equalBytes(idOfEpoch(top), epochId)) return true
    return this.#isBeforeVoid(room, seen.position)
  }

  /** The room has come by a void that somebody who had seen this much did not know (VOTE-6). */
  #isBeforeVoid(room: RoomState, seen: bigint): boolean {
    const { voids } = (this.readers.get(room.key) as LogReader).replay()
    return voids.some((at) => at > seen && at < room.record.next)
  }

  #frameSent(device: SimDevice, key: string, bytes: Uint8Array): void {
    const header = decodeSealedFrame(bytes)?.header
    if (header === undefined) {
      return this.violated('NoFault', `${device.name} sends what is no sealed frame`)
    }
    const isThis = (value: Uint8Array) => equalBytes(this.#sealedIn(value), bytes)
    const isStored = device.disk.hasSafeRow('outbox', roomRange(key), isThis)
    this.#countSent(device, header, bytes)
    if (!isStored && !this.#isPast(device.room(key), header)) {
      this.violated('StoredBeforeSent', `${device.name} sends what it has not stored`)
    }
  }

  /** The sealed frame of a row of the outbox, empty where it has none; read once. */
  #sealedIn(row: Uint8Array): Uint8Array {
    const known = this.#sealed.get(row)
    if (known !== undefined) return known
    const record = decode(outboxRecordCodec, row)
    const sealed = record.kind === 'decoded' ? record.value.sealed?.bytes : undefined
    this.#sealed.set(row, sealed ?? EMPTY)
    return sealed ?? EMPTY
  }

  /**
   * The step that gave it went past its epoch or a void: it is refused, and sealed anew. Or it went
   * past the frame itself, given again after a false refusal.
   */
  #isPast(room: RoomState | null, header: SealHeader): boolean {
    const top = topOf(room)
    if (room === null || top === null) return true
    if (this.#generations.has(`${room.key} ${chainOf(header)}`)) return true
    const isOfNow = equalBytes(idOfEpoch(top), header.epochId)
    return !isOfNow || this.#isBeforeVoid(room, header.seen.position)
  }

  #countSent(device: SimDevice, header: SealHeader, bytes: Uint8Array): void {
    const name = chainOf(header)
    const known = this.#sent.get(name)
    if (known !== undefined && !equalBytes(known, bytes)) {
      this.violated('NoKeyReuse', `${device.name} seals generation ${header.generation} again`)
    }
    this.#sent.set(name, bytes)
  }

  /** It is gone, or went back to what was on its medium: what it was before counts no more. */
  forget(device: SimDevice): void {
    this.#seen.delete(device)
  }

  // ---- After each tick --------------------------------------------------------------------

  async tick(): Promise<void> {
    await this.#readLog()
    this.#judgeCondemned()
    for (const device of this.#world.devices) this.#lookAt(device)
    this.#lookAtHub()
    if (this.#violation !== null) throw this.#violation
  }

  #lookAtHub(): void {
    const duties = this.#world.hubDuties
    const excess = duties && findExcess(duties, this.readers)
    if (excess !== null) this.violated(excess.invariant, excess.what)
  }

  async #readLog(): Promise<void> {
    for (const { room, stored } of this.#queue.splice(0)) {
      const key = roomKey(room)
      this.rooms.set(key, room)
      try {
        const reader = this.readers.get(key)
        if (reader !== undefined) await reader.take(stored)
        else this.readers.set(key, await LogReader.open(this.crypto, room, stored))
      } catch (error) {
        this.violated('LogIsValid', `${key} at ${stored.position}: ${String(error)}`)
      }
      this.#countGeneration(key, stored)
    }
  }

  #countGeneration(key: string, { position }: StoredEntry): void {
    const frame = this.readers.get(key)?.lastFrame
    if (frame == null || frame.position !== position) return
    const name = `${key} ${frame.chain}`
    if (this.#generations.has(name)) {
      this.violated('GenerationsOnce', `${name} at ${position} stands in the log before`)
    }
    this.#generations.add(name)
  }

  #lookAt(device: SimDevice): void {
    const { state } = device
    const seen = this.#seen.get(device)
    if (seen?.state === state) return
    const before = seen?.life === device.life ? seen.state : null
    const finals = seen?.finals ?? new Map<string, bigint>()
    for (const room of state.rooms.values()) {
      const was = before?.rooms.get(room.key) ?? null
      if (was === room) continue
      this.#lookAtRoom(device, room, finals)
      if (was !== null) this.#condemn(device, was, room)
    }
    this.#seen.set(device, { state, life: device.life, finals })
  }

  #lookAtRoom(device: SimDevice, room: RoomState, finals: Map<string, bigint>): void {
    const { record } = room
    const reader = this.readers.get(room.key)
    const isBroken = record.phase === 'broken' ||
      (record.phase === 'joinRefused' && !REFUSALS.has(record.code))
    if (isBroken) this.violated('NoRoomBreaks', `${device.name} in ${room.key}: ${record.code}`)
    const next = record.next as bigint
    if (next > 0n) {
      const hash = reader?.hashes[Number(next) - 1]
      if (hash === undefined || !equalBytes(hash, record.headHash)) {
        this.violated('OneOrder', `${device.name} has another entry at ${next - 1n}`)
      }
    }
    if (room.final !== null) {
      const { position } = room.final
      const before = finals.get(room.key) ?? 0n
      // Who comes in anew begins at an anchor.
      const isIn = record.phase === 'live' && room.joining === null
      if (isIn && position < before) {
        this.violated('FinalStays', `${device.name} goes back from ${before} to ${position}`)
      }
      finals.set(room.key, isIn ? position : 0n)
    }
    const isOut = record.phase === 'removed' || record.phase === 'joinRefused' ||
      record.phase === 'broken'
    if (isOut && secretsOfRoom(room).length > 0) {
      this.violated('OnlyMembersHaveSecrets', `${device.name} is ${record.phase} in ${room.key}`)
    }
    for (const epoch of epochsOf(room)) this.#lookAtEpoch(device, room, epoch)
  }

  #lookAtEpoch(device: SimDevice, room: RoomState, { group }: RoomEpoch): void {
    const { account } = device.state
    // A room that its creator has not yet given to the hub stands in no log.
    const isOwn = room.record.next === 0n
    if (group === null || account.kind !== 'registered' || isOwn) return
    const { epochAuthenticator } = group.secrets
    if (this.#checked.has(epochAuthenticator)) return
    this.#checked.add(epochAuthenticator)
    const { suite, context } = group.public
    const id = toHex(epochIdOf(suite, context))
    const secret = toHex(epochAuthenticator)
    const known = this.#authenticators.get(id)
    if (known !== undefined && known !== secret) {
      this.violated('SameEpochSameSecrets', `${device.name} in epoch ${context.epoch}`)
    }
    this.#authenticators.set(id, secret)
    const epoch = this.readers.get(room.key)?.known.get(id)
    if (epoch === undefined) {
      this.violated('OneOrder', `${device.name} is in an epoch that the log does not have`)
    } else if (!epoch.seats.has(device.seat)) {
      this.violated('OnlyMembersHaveSecrets', `${device.name} in epoch ${context.epoch}`)
    }
  }

  // ---- Wiping -----------------------------------------------------------------------------

  #condemn(device: SimDevice, was: RoomState, is: RoomState): void {
    const kept = new Set(epochsOf(is).map(({ position }) => position))
    const over = epochsOf(was).filter(({ position }) => !kept.has(position))
    const underWay = new Set(groupsUnderWay(is))
    const ended = groupsUnderWay(was).filter((group) => !underWay.has(group))
    if (over.length + ended.length === 0) return
    const held = new Set(secretsOfRoom(is))
    const condemn = (position: bigint | null, all: readonly Uint8Array[]) => {
      const secrets = all.filter((secret) => !held.has(secret))
      this.#condemned.push({ device, life: device.life, room: is.key, position, secrets })
    }
    for (const epoch of over) condemn(epoch.position, secretsOfEpoch(epoch))
    for (const group of ended) condemn(null, allSecrets(group))
  }

  /** Effects run with the state that they belong to, so what is over has been wiped. */
  #judgeCondemned(): void {
    for (const { device, life, room, position, secrets } of this.#condemned) {
      if (device.life !== life || this.#holdsAgain(device, room, position)) continue
      const left = secrets.filter((secret) => secret.some((byte) => byte !== 0)).length
      if (left > 0) {
        const what = position === null ? 'what was under way' : `the epoch at ${position}`
        const of = `${left} of ${secrets.length} secrets of ${what}`
        this.violated('SecretsAreWiped', `${device.name} holds ${of} in memory`)
      }
    }
    this.#condemned = []
  }

  #holdsAgain(device: SimDevice, key: string, position: bigint | null): boolean {
    const room = device.room(key)
    return room !== null && epochsOf(room).some((epoch) => epoch.position === position)
  }
}

export function epochsOf(room: RoomState): readonly RoomEpoch[] {
  return room.final === null ? room.chain : [room.final, ...room.chain]
}

function secretsOfKeys(keys: EpochKeys): readonly Uint8Array[] {
  const secrets = [...keys.senderKeys.nodes.values(), keys.ephemeralRoot]
  for (const chain of keys.senderKeys.chains) secrets.push(chain.secret, ...chain.skipped.values())
  for (const { secret } of keys.reserved) secrets.push(secret)
  return secrets
}

function secretsOfEpoch({ group, keys }: RoomEpoch): readonly Uint8Array[] {
  return [...group === null ? [] : allSecrets(group), ...keys === null ? [] : secretsOfKeys(keys)]
}

/** Of a commit that is not in the log yet, and of a Welcome that the walk has not reached. */
function groupsUnderWay({ pending, joining }: RoomState): readonly Group[] {
  const groups = [pending?.next ?? null, joining?.kind === 'welcome' ? joining.group : null]
  return groups.filter((group) => group !== null)
}

/** Everything that the room still has, in an epoch or on the way to one. */
function secretsOfRoom(room: RoomState): readonly Uint8Array[] {
  return [...epochsOf(room).flatMap(secretsOfEpoch), ...groupsUnderWay(room).flatMap(allSecrets)]
}

/** Of a room as a device has it, its newest epoch. */
export function topOf(room: RoomState | null): RoomEpoch | null {
  return room === null ? null : topEpoch(room)
}
