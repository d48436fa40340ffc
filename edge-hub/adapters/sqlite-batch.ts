/**
 * What the hub's main thread and its database writer say to each other, and the packing of appends:
 * all numbers of a batch in one array, all bytes in one buffer, both transferred, so that a batch
 * costs two objects to hand over, whatever its length. Owns no SQL.
 */
import { assert } from '#core/base/assert.ts'
import { ENTRY_KINDS } from '#core/wire/log-entry.ts'
import type { ClaimedKeyPackage, StoredAccount, StoredKeyPackage } from '#hub/ports.ts'
import type { AppendOutcome, HeldWelcome, RoomAppend, StoredEntry } from '#hub/ports.ts'
import type { StoredVersion, VerdictEffects } from '#hub/ports.ts'
import type { SchemaRefusal } from './sqlite-schema.ts'

/** A body stands in the log whole or as the hash of what was there. */
export const BODY_FORMS = { whole: 0, hole: 1 } as const

/** In place of a position where there is none. */
const NO_POSITION = -1n

export interface Packed {
  readonly numbers: Float64Array<ArrayBuffer>
  readonly bytes: Uint8Array<ArrayBuffer>
}

export type Operation =
  | { readonly kind: 'append'; readonly packed: Packed }
  | { readonly kind: 'register'; readonly account: StoredAccount }
  | {
    readonly kind: 'publish'
    readonly account: string
    readonly device: Uint8Array
    readonly single: readonly StoredKeyPackage[]
    readonly lastResort: StoredKeyPackage | null
    readonly nowMs: number
  }
  | {
    readonly kind: 'claim'
    readonly account: string
    readonly suite: number
    readonly nowMs: number
  }
  | {
    readonly kind: 'deleteWelcome'
    readonly account: string
    readonly device: Uint8Array
    readonly id: bigint
  }
  | {
    readonly kind: 'leaveAnchor'
    readonly room: Uint8Array
    readonly invitation: Uint8Array
    readonly version: number
    readonly position: number
    readonly anchor: Uint8Array
  }

export interface OperationResults {
  append: readonly AppendOutcome[]
  register: 'registered' | 'nameTaken'
  publish: 'published' | 'tooMany'
  claim: readonly ClaimedKeyPackage[]
  deleteWelcome: null
  leaveAnchor: 'left' | 'gone'
}

/** Rows that an operation needs are not as they were written; nothing of it is stored. */
export interface Damaged {
  readonly kind: 'damaged'
}

export type OperationResult = OperationResults[Operation['kind']] | Damaged

export type ToWriter =
  | { readonly kind: 'open'; readonly path: string }
  /** One transaction. */
  | { readonly kind: 'commit'; readonly id: number; readonly operations: readonly Operation[] }
  | { readonly kind: 'close' }

export type FromWriter =
  | { readonly kind: 'opened' }
  | { readonly kind: 'refused'; readonly code: SchemaRefusal }
  /** Synced: the results stand. `gaveUp`: without Welcomes behind which rows are damaged. */
  | {
    readonly kind: 'committed'
    readonly id: number
    readonly results: readonly OperationResult[]
    readonly gaveUp: boolean
  }
  /** Rolled back; `broken` when the medium failed and nothing may be written any more. */
  | { readonly kind: 'failed'; readonly id: number; readonly broken: boolean }
  | { readonly kind: 'closed' }

/** One room of an unpacked append; byte strings are views into the packed buffer. */
export interface UnpackedRoom {
  readonly room: Uint8Array
  readonly term: number
  readonly expectedNext: number
  readonly state: Uint8Array | null
  readonly entries: readonly UnpackedEntry[]
  readonly generations: readonly UnpackedGeneration[]
  /** Each different welcome once; several devices may share one. */
  readonly bodies: readonly Uint8Array[]
  readonly welcomes: readonly UnpackedWelcome[]
  readonly effects: UnpackedEffects | null
}

export interface UnpackedEntry {
  readonly entry: number
  readonly time: number
  readonly form: number
  readonly hash: Uint8Array
  readonly body: Uint8Array
}

export interface UnpackedGeneration {
  readonly origin: number
  readonly leaf: number
  readonly lane: number
  readonly generation: number
}

export interface UnpackedWelcome {
  readonly account: string
  readonly device: Uint8Array
  readonly position: number
  readonly held: boolean
  /** Index into `bodies`. */
  readonly body: number
}

export interface UnpackedEffects {
  readonly voidFrom: number | null
  readonly finals: readonly UnpackedVersion[]
}

export interface UnpackedVersion {
  readonly position: number
  readonly leafWidth: number
  readonly head: Uint8Array
  readonly nodes: readonly { readonly node: number; readonly bytes: Uint8Array | null }[]
  readonly certificates: readonly {
    readonly hash: Uint8Array
    readonly certificate: Uint8Array
  }[]
  readonly certificatesDropped: readonly Uint8Array[]
  readonly invitations: readonly Uint8Array[]
}

/** Packs a batch for the writer. Positions of each room's entries must follow `expectedNext`. */
export function packAppends(batch: readonly RoomAppend[]): Packed {
  const packer = new Packer()
  packer.putNumber(batch.length)
  for (const append of batch) packRoom(packer, append)
  return packer.finish()
}

/** The inverse of `packAppends`. */
export function unpackAppends(packed: Packed): UnpackedRoom[] {
  const unpacker = new Unpacker(packed)
  return times(unpacker.number(), () => unpackRoom(unpacker))
}

function packRoom(packer: Packer, append: RoomAppend): void {
  packer.putBytes(append.room)
  packer.putInteger(append.term)
  packer.putInteger(append.expectedNext)
  packer.putNumber(append.state === null ? 0 : 1)
  if (append.state !== null) packer.putBytes(append.state)
  packer.putNumber(append.entries.length)
  append.entries.forEach((stored, index) => {
    const follows = stored.position === append.expectedNext + BigInt(index)
    assert(follows, 'entries of an append follow its expected position')
    packEntry(packer, stored)
  })
  packer.putNumber(append.generations.length)
  for (const { origin, leaf, lane, generation } of append.generations) {
    packer.putInteger(origin)
    packer.putNumber(leaf)
    packer.putNumber(lane)
    packer.putNumber(generation)
  }
  packWelcomes(packer, append.welcomes)
  packer.putNumber(append.effects === null ? 0 : 1)
  if (append.effects !== null) packEffects(packer, append.effects)
}

function packEffects(packer: Packer, { voidFrom, finals }: VerdictEffects): void {
  packer.putInteger(voidFrom ?? NO_POSITION)
  packer.putNumber(finals.length)
  for (const version of finals) packVersion(packer, version)
}

function packVersion(packer: Packer, version: StoredVersion): void {
  packer.putInteger(version.position)
  packer.putNumber(version.leafWidth)
  packer.putBytes(version.head)
  packer.putNumber(version.nodes.length)
  for (const { node, bytes } of version.nodes) {
    packer.putNumber(node)
    packer.putNumber(bytes === null ? 0 : 1)
    if (bytes !== null) packer.putBytes(bytes)
  }
  packer.putNumber(version.certificates.length)
  for (const { hash, certificate } of version.certificates) {
    packer.putBytes(hash)
    packer.putBytes(certificate)
  }
  packer.putNumber(version.certificatesDropped.length)
  for (const hash of version.certificatesDropped) packer.putBytes(hash)
  packer.putNumber(version.invitations.length)
  for (const invitation of version.invitations) packer.putBytes(invitation)
}

function packEntry(packer: Packer, { entry, entryHash }: StoredEntry): void {
  packer.putNumber(ENTRY_KINDS[entry.header.entry])
  packer.putInteger(entry.header.time)
  packer.putNumber(BODY_FORMS[entry.body.kind])
  packer.putBytes(entryHash)
  packer.putBytes(entry.body.kind === 'whole' ? entry.body.bytes : entry.body.hash)
}

function packWelcomes(packer: Packer, welcomes: readonly HeldWelcome[]): void {
  const bodies = [...new Set(welcomes.map((welcome) => welcome.welcome))]
  packer.putNumber(bodies.length)
  for (const body of bodies) packer.putBytes(body)
  packer.putNumber(welcomes.length)
  for (const welcome of welcomes) {
    packer.putText(welcome.account)
    packer.putBytes(welcome.device)
    packer.putInteger(welcome.position)
    packer.putNumber(welcome.held ? 1 : 0)
    packer.putNumber(bodies.indexOf(welcome.welcome))
  }
}

function unpackRoom(unpacker: Unpacker): UnpackedRoom {
  const room = unpacker.bytes()
  const term = unpacker.number()
  const expectedNext = unpacker.number()
  const state = unpacker.number() === 1 ? unpacker.bytes() : null
  const entries = times(unpacker.number(), () => ({
    entry: unpacker.number(),
    time: unpacker.number(),
    form: unpacker.number(),
    hash: unpacker.bytes(),
    body: unpacker.bytes(),
  }))
  const generations = times(unpacker.number(), () => ({
    origin: unpacker.number(),
    leaf: unpacker.number(),
    lane: unpacker.number(),
    generation: unpacker.number(),
  }))
  const bodies = times(unpacker.number(), () => unpacker.bytes())
  const welcomes = times(unpacker.number(), () => ({
    account: unpacker.text(),
    device: unpacker.bytes(),
    position: unpacker.number(),
    held: unpacker.number() === 1,
    body: unpacker.number(),
  }))
  const effects = unpacker.number() === 1 ? unpackEffects(unpacker) : null
  return { room, term, expectedNext, state, entries, generations, bodies, welcomes, effects }
}

function unpackEffects(unpacker: Unpacker): UnpackedEffects {
  const voidFrom = unpacker.number()
  const finals = times(unpacker.number(), () => unpackVersion(unpacker))
  return { voidFrom: voidFrom === Number(NO_POSITION) ? null : voidFrom, finals }
}

function unpackVersion(unpacker: Unpacker): UnpackedVersion {
  return {
    position: unpacker.number(),
    leafWidth: unpacker.number(),
    head: unpacker.bytes(),
    nodes: times(unpacker.number(), () => ({
      node: unpacker.number(),
      bytes: unpacker.number() === 1 ? unpacker.bytes() : null,
    })),
    certificates: times(unpacker.number(), () => ({
      hash: unpacker.bytes(),
      certificate: unpacker.bytes(),
    })),
    certificatesDropped: times(unpacker.number(), () => unpacker.bytes()),
    invitations: times(unpacker.number(), () => unpacker.bytes()),
  }
}

function times<T>(count: number, make: () => T): T[] {
  const out: T[] = []
  for (let i = 0; i < count; i++) out.push(make())
  return out
}

class Packer {
  readonly #numbers: number[] = []
  readonly #parts: Uint8Array[] = []
  #length = 0

  putNumber(value: number): void {
    this.#numbers.push(value)
  }

  putInteger(value: bigint): void {
    const number = Number(value)
    assert(Number.isSafeInteger(number), 'counters stay below 2^53')
    this.#numbers.push(number)
  }

  putBytes(bytes: Uint8Array): void {
    this.#numbers.push(bytes.length)
    this.#parts.push(bytes)
    this.#length += bytes.length
  }

  putText(text: string): void {
    this.putBytes(new TextEncoder().encode(text))
  }

  finish(): Packed {
    const bytes = new Uint8Array(this.#length)
    let offset = 0
    for (const part of this.#parts) {
      bytes.set(part, offset)
      offset += part.length
    }
    return { numbers: Float64Array.from(this.#numbers), bytes }
  }
}

class Unpacker {
  readonly #packed: Packed
  #at = 0
  #offset = 0

  constructor(packed: Packed) {
    this.#packed = packed
  }

  number(): number {
    const value = this.#packed.numbers[this.#at++]
    assert(value !== undefined, 'a packed batch is whole')
    return value
  }

  bytes(): Uint8Array {
    const length = this.number()
    this.#offset += length
    return this.#packed.bytes.subarray(this.#offset - length, this.#offset)
  }

  text(): string {
    return new TextDecoder().decode(this.bytes())
  }
}
