/**
 * One step of the device machine in the making: the state as it will be, the changes and effects
 * that go with it. Owns the bookkeeping that every part needs (requests, commands, records); no
 * part reaches the world but through this.
 */
import { assert } from '#core/base/assert.ts'
import { NO_ROOM, type RequestId, requestId, type RoomId, type TimeMs } from '#core/base/ids.ts'
import type { Entropy } from '#core/base/ports.ts'
import type { Crypto } from '#core/crypto/crypto.ts'
import { suiteById } from '#core/crypto/suites.ts'
import type { CommandError, DeviceEffect, RequiredChange } from '#core/device/io.ts'
import { accountRecordCodec, roomRecordCodec } from '#core/device/records.ts'
import type { AccountRecord, RoomRecord } from '#core/device/records.ts'
import {
  type DeviceState,
  type PendingRequest,
  registeredOf,
  type RoomState,
} from '#core/device/state.ts'
import type { DeviceTable, Durability } from '#core/device/store.ts'
import { type CipherSuite, cipherSuite } from '#core/mls/cipher-suite.ts'
import { BurstCache } from '#core/sender-keys/burst-cache.ts'
import { type Body, type BodyKind, encodeMessage } from '#core/wire/bodies.ts'
import { encode } from '#core/wire/codec.ts'

/** The ports of the machine. */
export interface DevicePorts {
  readonly crypto: Crypto
  readonly entropy: Entropy
  /** Build number, told in the greeting (SES-1). */
  readonly appVersion: number
}

const suites = new WeakMap<Crypto, Map<number, CipherSuite>>()

/** The cipher suite of an identifier on this port; null for one that this version does not know. */
export function cipherSuiteOf(crypto: Crypto, id: number): CipherSuite | null {
  const known = suites.get(crypto) ?? new Map<number, CipherSuite>()
  suites.set(crypto, known)
  const suite = suiteById(id)
  if (suite === null) return null
  const made = known.get(id) ?? cipherSuite(crypto, suite)
  known.set(id, made)
  return made
}

export interface TurnMark {
  readonly state: DeviceState
  readonly changeCount: number
  readonly effectCount: number
  readonly dirtyRooms: readonly string[]
}

/** A step in the making. Made for one input and thrown away with it. */
export class Turn {
  readonly ports: DevicePorts
  readonly nowMs: TimeMs
  state: DeviceState
  readonly changes: RequiredChange[] = []
  readonly effects: DeviceEffect[] = []
  /** Bursts of this step whose signature was found good. */
  readonly bursts = new BurstCache()

  constructor(ports: DevicePorts, state: DeviceState, nowMs: TimeMs) {
    this.ports = ports
    this.state = state
    this.nowMs = nowMs
  }

  set(part: Partial<DeviceState>): void {
    this.state = { ...this.state, ...part }
  }

  effect(effect: DeviceEffect): void {
    this.effects.push(effect)
  }

  put(
    table: DeviceTable,
    key: string,
    value: Uint8Array,
    durability: Durability = 'relaxed',
  ): void {
    this.changes.push({ change: { kind: 'put', table, key, value }, durability })
  }

  delete(table: DeviceTable, key: string): void {
    this.changes.push({ change: { kind: 'delete', table, key }, durability: 'relaxed' })
  }

  /** All keys of a table in a range. */
  deleteRange(
    table: DeviceTable,
    range: { readonly from: string; readonly to: string },
    durability: Durability = 'relaxed',
  ): void {
    this.changes.push({ change: { kind: 'deleteRange', table, ...range }, durability })
  }

  /** What this step stores is on the medium before anybody is told of it (KEY-4). */
  strictly(): void {
    this.#isStrict = true
  }

  #isStrict = false

  /** Where the turn stands, to come back to when what follows fails. */
  mark(): TurnMark {
    const { state, changes, effects } = this
    return {
      state,
      changeCount: changes.length,
      effectCount: effects.length,
      dirtyRooms: [...this.#dirtyRooms],
    }
  }

  /** Undoes everything since the mark. */
  rewind(mark: TurnMark): void {
    this.state = mark.state
    this.changes.length = mark.changeCount
    this.effects.length = mark.effectCount
    this.#dirtyRooms.clear()
    for (const key of mark.dirtyRooms) this.#dirtyRooms.add(key)
  }

  /** All rooms go on at this time, or before. */
  wakeAt(atMs: number): void {
    if (atMs >= this.state.wakeAtMs) return
    this.set({ wakeAtMs: atMs })
    this.effect({ kind: 'armTimer', timer: 'wake', atMs })
  }

  // ---- Account --------------------------------------------------------------------------

  /** The account once the hub has attested it; null before. */
  get registered(): AccountRecord | null {
    return registeredOf(this.state)
  }

  storeAccount(record: AccountRecord): void {
    this.put('account', 'account', encode(accountRecordCodec, record), 'strict')
  }

  // ---- Rooms ----------------------------------------------------------------------------

  room(key: string): RoomState | null {
    return this.state.rooms.get(key) ?? null
  }

  /** Replaces a room's state in memory. */
  setRoom(key: string, part: Partial<RoomState>): RoomState {
    const room = this.state.rooms.get(key)
    assert(room !== undefined, 'only a known room is changed')
    const next = { ...room, ...part }
    this.set({ rooms: new Map(this.state.rooms).set(key, next) })
    this.effect({ kind: 'showRoom', room: key })
    return next
  }

  /** Replaces parts of a room's record, in memory and in the store. */
  setRecord(key: string, part: Partial<RoomRecord>): RoomState {
    const room = this.room(key)
    assert(room !== null, 'only a known room is changed')
    const record = { ...room.record, ...part }
    this.#dirtyRooms.add(key)
    return this.setRoom(key, { record })
  }

  addRoom(room: RoomState): void {
    this.set({ rooms: new Map(this.state.rooms).set(room.key, room) })
    this.#dirtyRooms.add(room.key)
    this.effect({ kind: 'showRoom', room: room.key })
    this.effect({ kind: 'showAccount' })
  }

  readonly #dirtyRooms = new Set<string>()

  /** Writes each changed room record once; called at the end of the step. */
  flushRecords(): void {
    const durability = this.#isStrict ? 'strict' : 'relaxed'
    for (const key of this.#dirtyRooms) {
      const room = this.state.rooms.get(key)
      if (room === undefined) continue
      this.put('rooms', key, encode(roomRecordCodec, room.record), durability)
    }
    this.#dirtyRooms.clear()
  }

  // ---- Frames and requests --------------------------------------------------------------

  /** Attempt number of the open session; null when nothing can be sent. */
  get attempt(): number | null {
    const { session } = this.state
    switch (session.kind) {
      case 'greeting':
      case 'guest':
      case 'authenticating':
      case 'ready':
        return session.attempt
      default:
        return null
    }
  }

  get ready(): boolean {
    return this.state.session.kind === 'ready'
  }

  /** Ends the session that is open, if one is. */
  hangUp(): void {
    const { attempt } = this
    if (attempt !== null) this.effect({ kind: 'hangUp', attempt })
  }

  sendFrame(frame: Uint8Array): void {
    const attempt = this.attempt
    if (attempt !== null) this.effect({ kind: 'send', attempt, frame })
  }

  send<K extends BodyKind>(kind: K, body: Body<K>, room: RoomId = NO_ROOM): void {
    this.sendFrame(encodeMessage(kind, room, body))
  }

  /** Gives a request its number and remembers what its answer is for. */
  request(pending: PendingRequestOf): RequestId {
    const id = requestId(this.state.nextRequest)
    this.set({
      nextRequest: this.state.nextRequest === 0xffffffff ? 1 : this.state.nextRequest + 1,
      requests: new Map(this.state.requests).set(id, { ...pending, sentAtMs: this.nowMs }),
    })
    return id
  }

  /** Takes a request out of the table; null when nobody waits for it. */
  takeRequest(id: RequestId): PendingRequest | null {
    const pending = this.state.requests.get(id)
    if (pending === undefined) return null
    const requests = new Map(this.state.requests)
    requests.delete(id)
    this.set({ requests })
    return pending
  }

  /**
   * What was asked about following a room, or its group, is asked no more. *The answer would be
   * taken for that to a later question.*
   */
  dropQuestions(room: string): void {
    const isOver = (pending: PendingRequest) =>
      (pending.kind === 'subscribe' || pending.kind === 'group') && pending.room === room
    const requests = [...this.state.requests].filter(([, pending]) => !isOver(pending))
    if (requests.length < this.state.requests.size) this.set({ requests: new Map(requests) })
  }

  /** A part of an answer has come: the rest of it is waited for anew. */
  heardOf(id: RequestId): void {
    const pending = this.state.requests.get(id)
    if (pending === undefined) return
    const heard = { ...pending, sentAtMs: this.nowMs }
    this.set({ requests: new Map(this.state.requests).set(id, heard) })
  }

  // ---- Commands -------------------------------------------------------------------------

  done(command: number | null, value: string | null = null): void {
    if (command === null) return
    this.effect({ kind: 'settleCommand', id: command, outcome: { kind: 'done', value } })
  }

  fail(command: number | null, code: CommandError): void {
    if (command === null) return
    this.effect({ kind: 'settleCommand', id: command, outcome: { kind: 'failed', code } })
  }
}

type Distribute<T> = T extends unknown ? Omit<T, 'sentAtMs'> : never
/** A pending request before it has a time. */
export type PendingRequestOf = Distribute<PendingRequest>
