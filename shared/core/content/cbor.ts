/**
 * Deterministic CBOR (RFC 8949 section 4.2.1) under the data model of draft-ietf-mimi-content: each
 * value has exactly one encoding, and a decoder takes no other. Definite lengths, shortest forms,
 * map keys sorted by their encodings and without duplicates, keys of integers, text or bytes only.
 * Bounded in depth and count, exact to the last byte. Owns no meaning of what is encoded.
 */
import { assert } from '#core/base/assert.ts'
import { equalBytes, utf8Decode, utf8Encode } from '#core/base/bytes.ts'
import { Writer } from '#core/wire/codec.ts'
import { bytesOfFloat, floatOfBytes } from '#core/content/cbor-float.ts'
import { type CborMalformedCode, type Decoding, decoding, refuse } from '#core/content/malformed.ts'

/**
 * A data item. Integers are numbers where they are safe and bigints beyond, byte strings are views
 * into the decoded input. Floats, tags, maps and rare simple values carry a `kind`.
 */
export type CborValue =
  | number
  | bigint
  | boolean
  | null
  | string
  | Uint8Array
  | readonly CborValue[]
  | CborMap
  | CborTag
  | CborFloat
  | CborSimple

/** A safe integer, a text, or bytes. */
export type CborKey = number | string | Uint8Array

/** Entries in any order; decoded ones in that of the encoding. */
export interface CborMap {
  readonly kind: 'map'
  readonly entries: readonly (readonly [CborKey, CborValue])[]
}

export interface CborTag {
  readonly kind: 'tag'
  readonly tag: number | bigint
  readonly value: CborValue
}

/** Floating point: a number by itself is an integer. */
export interface CborFloat {
  readonly kind: 'float'
  readonly value: number
}

/** A simple value that is neither false, true nor null: 0 to 19, undefined (23), 32 to 255. */
export interface CborSimple {
  readonly kind: 'simple'
  readonly value: number
}

export interface CborBounds {
  /** Arrays, maps and tags within one another; a plain value has depth 0. */
  readonly depthMax: number
  /** Data items altogether, keys included. */
  readonly itemsMax: number
}

const MAJOR = { unsigned: 0, negative: 1, bytes: 2, text: 3, array: 4, map: 5, tag: 6, other: 7 }
const SIMPLE = { false: 20, true: 21, null: 22 }
const UINT64_MAX = 0xffffffffffffffffn

/** Encodes one value. One that the data model does not allow is a programmer error. */
export function encodeCbor(value: CborValue): Uint8Array {
  const w = new Writer()
  write(w, value)
  const bytes = w.bytes()
  w.wipe()
  return bytes
}

/** Decodes one value that must fill the input, in its one encoding. Byte strings are views. */
export function decodeCbor(
  bytes: Uint8Array,
  bounds: CborBounds,
): Decoding<CborValue, CborMalformedCode> {
  return decoding(() => {
    const source = new Source(bytes, bounds.itemsMax)
    const value = read(source, bounds.depthMax)
    return source.remaining === 0 ? value : source.refuse('trailing')
  })
}

/** How many arrays, maps and tags stand within one another, this value included. */
export function cborDepth(value: CborValue): number {
  const inner = innerValues(value)
  return inner === null ? 0 : 1 + inner.reduce<number>((deepest, each) => {
    const depth = cborDepth(each)
    return depth > deepest ? depth : deepest
  }, 0)
}

function innerValues(value: CborValue): readonly CborValue[] | null {
  if (typeof value !== 'object' || value === null || value instanceof Uint8Array) return null
  if (isArray(value)) return value
  if (value.kind === 'map') return value.entries.map(([, each]) => each)
  return value.kind === 'tag' ? [value.value] : null
}

/** `Array.isArray` that also narrows the readonly array out of the union. */
export function isArray(value: CborValue): value is readonly CborValue[] {
  return Array.isArray(value)
}

/** The value when it is a map, else null. */
export function asMap(value: CborValue): CborMap | null {
  const keyed = typeof value === 'object' && value !== null && 'kind' in value ? value : null
  return keyed?.kind === 'map' ? keyed : null
}

function write(w: Writer, value: CborValue): void {
  if (typeof value === 'number') {
    assert(Number.isSafeInteger(value), 'a number is a safe integer; floats carry their kind')
    return value < 0 ? head(w, MAJOR.negative, -1 - value) : head(w, MAJOR.unsigned, value)
  }
  if (typeof value === 'bigint') {
    return value < 0n ? head(w, MAJOR.negative, -1n - value) : head(w, MAJOR.unsigned, value)
  }
  if (typeof value === 'string') return writeBytes(w, MAJOR.text, utf8Encode(value))
  if (value instanceof Uint8Array) return writeBytes(w, MAJOR.bytes, value)
  if (value === null) return head(w, MAJOR.other, SIMPLE.null)
  if (typeof value === 'boolean') return head(w, MAJOR.other, value ? SIMPLE.true : SIMPLE.false)
  if (isArray(value)) {
    head(w, MAJOR.array, value.length)
    for (const each of value) write(w, each)
    return
  }
  switch (value.kind) {
    case 'map':
      return writeMap(w, value)
    case 'tag':
      assert(isShortestTag(value), 'an integer that fits one is no bignum')
      head(w, MAJOR.tag, value.tag)
      return write(w, value.value)
    case 'simple':
      assert(isSimple(value.value), 'a simple value has no form of its own')
      return head(w, MAJOR.other, value.value)
    case 'float': {
      const bytes = bytesOfFloat(value.value)
      w.u8((MAJOR.other << 5) | (bytes.length === 2 ? 25 : bytes.length === 4 ? 26 : 27))
      return w.raw(bytes)
    }
  }
}

function writeBytes(w: Writer, major: number, bytes: Uint8Array): void {
  head(w, major, bytes.length)
  w.raw(bytes)
}

function writeMap(w: Writer, map: CborMap): void {
  const entries = map.entries
    .map(([key, value]) => ({ key: encodeCbor(key), value }))
    .sort((a, b) => compareBytes(a.key, b.key))
  head(w, MAJOR.map, entries.length)
  let before: Uint8Array | null = null
  for (const { key, value } of entries) {
    assert(before === null || compareBytes(before, key) < 0, 'a map has each key once')
    before = key
    w.raw(key)
    write(w, value)
  }
}

/** The initial byte and its argument in the shortest form. */
function head(w: Writer, major: number, argument: number | bigint): void {
  assert(argument >= 0 && argument <= UINT64_MAX, 'an argument has 64 bits')
  const initial = major << 5
  if (argument < 24) return w.u8(initial | Number(argument))
  if (argument < 0x100) {
    w.u8(initial | 24)
    return w.u8(Number(argument))
  }
  if (argument < 0x10000) {
    w.u8(initial | 25)
    return w.u16(Number(argument))
  }
  if (argument < 0x100000000) {
    w.u8(initial | 26)
    return w.u32(Number(argument))
  }
  w.u8(initial | 27)
  w.u64(BigInt(argument))
}

/** Bytewise lexicographic order, as RFC 8949 section 4.2.1 sorts encoded keys. */
function compareBytes(a: Uint8Array, b: Uint8Array): number {
  const length = a.length < b.length ? a.length : b.length
  for (let i = 0; i < length; i++) {
    const difference = (a[i] as number) - (b[i] as number)
    if (difference !== 0) return difference
  }
  return a.length - b.length
}

/** Bignums (tags 2 and 3) hold bytes, without leading zeros, that no plain integer could hold. */
function isShortestTag({ tag, value }: CborTag): boolean {
  if (tag !== 2 && tag !== 3) return true
  return value instanceof Uint8Array && value.length > 8 && value[0] !== 0
}

function isSimple(value: number): boolean {
  return Number.isInteger(value) && value >= 0 && value < 256 &&
    (value < SIMPLE.false || value === 23 || value >= 32)
}

/** A bounded cursor that also counts data items. */
class Source {
  readonly #bytes: Uint8Array
  readonly #itemsMax: number
  #offset = 0
  #items = 0

  constructor(bytes: Uint8Array, itemsMax: number) {
    this.#bytes = bytes
    this.#itemsMax = itemsMax
  }

  get remaining(): number {
    return this.#bytes.length - this.#offset
  }

  get offset(): number {
    return this.#offset
  }

  refuse(code: CborMalformedCode): never {
    return refuse(code)
  }

  countItem(): void {
    this.#items++
    if (this.#items > this.#itemsMax) this.refuse('tooMany')
  }

  take(length: number): Uint8Array {
    if (length > this.remaining) this.refuse('truncated')
    this.#offset += length
    return this.#bytes.subarray(this.#offset - length, this.#offset)
  }

  /** What was read since `start`. */
  since(start: number): Uint8Array {
    return this.#bytes.subarray(start, this.#offset)
  }

  unsigned(length: number): number | bigint {
    let value = 0
    const bytes = this.take(length)
    for (const byte of bytes) value = value * 256 + byte
    if (value <= Number.MAX_SAFE_INTEGER) return value
    return bytes.reduce((all, byte) => (all << 8n) | BigInt(byte), 0n)
  }
}

function read(source: Source, depthLeft: number): CborValue {
  source.countItem()
  const initial = source.take(1)[0] as number
  const major = initial >> 5
  const additional = initial & 31
  if (major === MAJOR.other) return readOther(source, additional)
  const value = argument(source, additional)
  switch (major) {
    case MAJOR.unsigned:
      return value
    case MAJOR.negative:
      return typeof value === 'number' && value < Number.MAX_SAFE_INTEGER
        ? -1 - value
        : -1n - BigInt(value)
    case MAJOR.bytes:
      return source.take(length(source, value, 1))
    case MAJOR.text:
      return utf8Decode(source.take(length(source, value, 1))) ?? source.refuse('badText')
  }
  if (depthLeft === 0) source.refuse('tooDeep')
  if (major === MAJOR.array) return readArray(source, length(source, value, 1), depthLeft - 1)
  if (major === MAJOR.map) return readMap(source, length(source, value, 2), depthLeft - 1)
  const tag: CborTag = { kind: 'tag', tag: value, value: read(source, depthLeft - 1) }
  return isShortestTag(tag) ? tag : source.refuse('notShortest')
}

/** The argument of an initial byte, in its shortest form only. */
function argument(source: Source, additional: number): number | bigint {
  if (additional < 24) return additional
  if (additional === 31) source.refuse('indefinite')
  if (additional > 27) source.refuse('badValue')
  const width = 1 << (additional - 24)
  const value = source.unsigned(width)
  const least = width === 1 ? 24 : 256 ** (width / 2)
  return value < least ? source.refuse('notShortest') : value
}

/** A length or count, refused before it is believed: each element has at least `bytesMin` bytes. */
function length(source: Source, value: number | bigint, bytesMin: number): number {
  return typeof value === 'bigint' || value * bytesMin > source.remaining
    ? source.refuse('truncated')
    : value
}

function readArray(source: Source, count: number, depthLeft: number): readonly CborValue[] {
  const values: CborValue[] = []
  for (let i = 0; i < count; i++) values.push(read(source, depthLeft))
  return values
}

function readMap(source: Source, count: number, depthLeft: number): CborMap {
  const entries: (readonly [CborKey, CborValue])[] = []
  let before: Uint8Array | null = null
  for (let i = 0; i < count; i++) {
    const start = source.offset
    const key = readKey(source)
    const encoded = source.since(start)
    const order = before === null ? -1 : compareBytes(before, encoded)
    if (order >= 0) source.refuse(order === 0 ? 'duplicateKey' : 'unsortedKeys')
    before = encoded
    entries.push([key, read(source, depthLeft)])
  }
  return { kind: 'map', entries }
}

function readKey(source: Source): CborKey {
  const key = read(source, 0)
  if (typeof key === 'number' || typeof key === 'string') return key
  return key instanceof Uint8Array ? key : source.refuse('badKey')
}

function readOther(source: Source, additional: number): CborValue {
  if (additional === SIMPLE.false) return false
  if (additional === SIMPLE.true) return true
  if (additional === SIMPLE.null) return null
  if (additional < 24) return { kind: 'simple', value: additional }
  if (additional === 31) source.refuse('indefinite')
  if (additional > 27) source.refuse('badValue')
  const bytes = source.take(1 << (additional - 24))
  if (additional === 24) {
    const value = bytes[0] as number
    return value < 32 ? source.refuse('badValue') : { kind: 'simple', value }
  }
  const value = floatOfBytes(bytes)
  const isShortest = equalBytes(bytesOfFloat(value), bytes)
  return isShortest ? { kind: 'float', value } : source.refuse('notShortest')
}
