/**
 * Codecs for the TLS presentation language (RFC 8446 section 3) with the variable-size vectors of
 * RFC 9420 section 2.1.2. Owns bounds, exactness and canonical form: each value has one encoding,
 * and a decoder consumes its input to the last byte. Owns no meaning of what is encoded.
 *
 * Every codec is bounded where it is built. Decoding never throws for outside input and allocates
 * nothing for a length that is only claimed; encoding a value out of bounds is a programmer error.
 * Decoded byte strings are views into the input.
 */
import { assert } from '#core/base/assert.ts'
import { equalBytes, utf8Decode, utf8Encode } from '#core/base/bytes.ts'

/** Largest number that a variable-size length can state: 30 bits (RFC 9420 section 2.1.2). */
export const VARINT_MAX = 0x3fffffff

export type MalformedCode = 'truncated' | 'trailing' | 'tooLong' | 'badValue'
export type Decoded<T> =
  | { readonly kind: 'decoded'; readonly value: T }
  | { readonly kind: 'malformed'; readonly code: MalformedCode }

/**
 * One type's encoding. `decode` leaves its reader behind what it took, or calls `Reader.refuse`.
 */
export interface Codec<T> {
  encode(w: Writer, value: T): void
  decode(r: Reader): T
}

/** The type that a codec encodes. */
export type Infer<C> = C extends Codec<infer T> ? T : never

/** Carries a refusal from a nested decoder to `decode`. No `Error`, so it costs no stack trace. */
class Refused {
  readonly code: MalformedCode
  constructor(code: MalformedCode) {
    this.code = code
  }
}

/** A wiped writer for the next value; null while one is being encoded. */
let idleWriter: Writer | null = null
/** A writer that has grown beyond this many bytes is not kept. */
const IDLE_WRITER_SIZE_MAX = 65_536

/** Encodes one value. The result has a buffer of its own; the scratch space is wiped. */
export function encode<T>(codec: Codec<T>, value: T): Uint8Array {
  const w = idleWriter ?? new Writer()
  idleWriter = null
  try {
    codec.encode(w, value)
    return w.bytes()
  } finally {
    w.wipe()
    if (w.capacity <= IDLE_WRITER_SIZE_MAX) idleWriter = w
  }
}

/** Decodes one value that must fill the input. Byte strings in it are views into `bytes`. */
export function decode<T>(codec: Codec<T>, bytes: Uint8Array): Decoded<T> {
  try {
    const r = new Reader(bytes)
    const value = codec.decode(r)
    return r.remaining === 0 ? { kind: 'decoded', value } : { kind: 'malformed', code: 'trailing' }
  } catch (fault) {
    if (fault instanceof Refused) return { kind: 'malformed', code: fault.code }
    throw fault
  }
}

/** Growing output. Integers are big-endian. */
export class Writer {
  #buffer = new Uint8Array(256)
  #length = 0

  get length(): number {
    return this.#length
  }

  get capacity(): number {
    return this.#buffer.length
  }

  u8(value: number): void {
    this.#grow(1)
    this.#buffer[this.#length++] = value
  }

  u16(value: number): void {
    this.#grow(2)
    this.#buffer[this.#length++] = value >>> 8
    this.#buffer[this.#length++] = value
  }

  u32(value: number): void {
    this.#grow(4)
    this.#buffer[this.#length++] = value >>> 24
    this.#buffer[this.#length++] = value >>> 16
    this.#buffer[this.#length++] = value >>> 8
    this.#buffer[this.#length++] = value
  }

  u64(value: bigint): void {
    this.u32(Number(value >> 32n))
    this.u32(Number(value & 0xffffffffn))
  }

  /** Shortest form (RFC 9420 section 2.1.2). */
  varint(value: number): void {
    assert(Number.isInteger(value) && value >= 0 && value <= VARINT_MAX, 'a varint has 30 bits')
    if (value < 0x40) this.u8(value)
    else if (value < 0x4000) this.u16(value | 0x4000)
    else this.u32((value | 0x80000000) >>> 0)
  }

  raw(bytes: Uint8Array): void {
    this.#grow(bytes.length)
    this.#buffer.set(bytes, this.#length)
    this.#length += bytes.length
  }

  /** Writes what `fill` writes behind its length in bytes. */
  prefixed(fill: () => void): void {
    const start = this.#length
    this.u8(0)
    fill()
    const length = this.#length - start - 1
    const prefixLength = length < 0x40 ? 1 : length < 0x4000 ? 2 : 4
    this.#grow(prefixLength - 1)
    this.#buffer.copyWithin(start + prefixLength, start + 1, this.#length)
    this.#length = start
    this.varint(length)
    this.#length += length
  }

  /** A copy of what was written, with a buffer of its own. */
  bytes(): Uint8Array {
    return this.#buffer.slice(0, this.#length)
  }

  /** Overwrites and empties the writer. */
  wipe(): void {
    this.#buffer.fill(0, 0, this.#length)
    this.#length = 0
  }

  #grow(count: number): void {
    const needed = this.#length + count
    if (needed <= this.#buffer.length) return
    const outgrown = this.#buffer
    this.#buffer = new Uint8Array(Math.max(needed, outgrown.length * 2))
    this.#buffer.set(outgrown.subarray(0, this.#length))
    outgrown.fill(0)
  }
}

/**
 * Bounded cursor over input. Reading past the end is a refusal, never an exception of the engine.
 */
export class Reader {
  readonly #bytes: Uint8Array
  #offset = 0

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes
  }

  get remaining(): number {
    return this.#bytes.length - this.#offset
  }

  /** Ends the decoding of the whole input with a code. */
  refuse(code: MalformedCode): never {
    throw new Refused(code)
  }

  u8(): number {
    return this.#integer(1)
  }

  u16(): number {
    return this.#integer(2)
  }

  u32(): number {
    return this.#integer(4)
  }

  u64(): bigint {
    const high = this.u32()
    const low = this.u32()
    return high < 0x200000 ? BigInt(high * 0x100000000 + low) : (BigInt(high) << 32n) | BigInt(low)
  }

  /** Refuses the reserved prefix and every form but the shortest (RFC 9420 section 2.1.2). */
  varint(): number {
    const first = this.u8()
    if (first < 0x40) return first
    if (first >= 0xc0) this.refuse('badValue')
    if (first < 0x80) {
      const value = ((first & 0x3f) << 8) | this.u8()
      return value < 0x40 ? this.refuse('badValue') : value
    }
    const value = ((first & 0x3f) << 24) | (this.u8() << 16) | this.u16()
    return value < 0x4000 ? this.refuse('badValue') : value
  }

  /** A view of the next `length` bytes. */
  take(length: number): Uint8Array {
    if (length > this.remaining) this.refuse('truncated')
    const start = this.#offset
    this.#offset += length
    return this.#bytes.subarray(start, this.#offset)
  }

  #integer(length: number): number {
    if (length > this.remaining) this.refuse('truncated')
    let value = 0
    for (let i = 0; i < length; i++) value = value * 256 + (this.#bytes[this.#offset++] as number)
    return value
  }
}

interface Unsigned {
  readonly max: number
  write(w: Writer, value: number): void
  read(r: Reader): number
}

function unsigned({ max, write, read }: Unsigned): Codec<number> {
  return {
    encode(w, value) {
      assert(Number.isInteger(value) && value >= 0 && value <= max, 'an unsigned is in range')
      write(w, value)
    },
    decode: read,
  }
}

export const u8 = unsigned({ max: 0xff, write: (w, v) => w.u8(v), read: (r) => r.u8() })
export const u16 = unsigned({ max: 0xffff, write: (w, v) => w.u16(v), read: (r) => r.u16() })
export const u32 = unsigned({ max: 0xffffffff, write: (w, v) => w.u32(v), read: (r) => r.u32() })
/** 30 bits in 1, 2 or 4 bytes, shortest form only. */
export const varint = unsigned({
  max: VARINT_MAX,
  write: (w, v) => w.varint(v),
  read: (r) => r.varint(),
})

export const u64: Codec<bigint> = {
  encode(w, value) {
    assert(value >= 0n && value <= 0xffffffffffffffffn, 'uint64 is in range')
    w.u64(value)
  },
  decode: (r) => r.u64(),
}

/** One byte, 0 or 1. */
export const bool: Codec<boolean> = {
  encode: (w, value) => w.u8(value ? 1 : 0),
  decode(r) {
    const value = r.u8()
    return value > 1 ? r.refuse('badValue') : value === 1
  },
}

/** Exactly `length` bytes, without a prefix: `opaque x[length]`. */
export function fixed(length: number): Codec<Uint8Array> {
  assert(Number.isInteger(length) && length >= 0, 'a length is a natural number')
  return {
    encode(w, value) {
      assert(value.length === length, 'a fixed byte string has its length')
      w.raw(value)
    },
    decode: (r) => r.take(length),
  }
}

/** `opaque x<V>` of `min` to `max` bytes. */
export function opaque(max: number, min = 0): Codec<Uint8Array> {
  assert(min >= 0 && min <= max && max <= VARINT_MAX, 'bounds of a byte string are ordered')
  return {
    encode(w, value) {
      assert(value.length >= min && value.length <= max, 'a byte string is in bounds')
      w.varint(value.length)
      w.raw(value)
    },
    decode(r) {
      const length = boundedLength(r, max)
      return length < min ? r.refuse('badValue') : r.take(length)
    },
  }
}

/** Strict UTF-8 as `opaque x<V>` of at most `bytesMax` bytes. */
export function utf8(bytesMax: number): Codec<string> {
  const bytes = opaque(bytesMax)
  return {
    encode: (w, value) => bytes.encode(w, utf8Encode(value)),
    decode: (r) => utf8Decode(bytes.decode(r)) ?? r.refuse('badValue'),
  }
}

/** `T x<V>`: elements behind their length in bytes, at most `countMax` of them. */
export function vector<T>(codec: Codec<T>, countMax: number): Codec<readonly T[]> {
  assert(Number.isInteger(countMax) && countMax >= 0, 'a count is a natural number')
  return {
    encode(w, values) {
      assert(values.length <= countMax, 'a vector is in bounds')
      w.prefixed(() => {
        for (const value of values) codec.encode(w, value)
      })
    },
    decode(r) {
      const elements = new Reader(r.take(r.varint()))
      const values: T[] = []
      while (elements.remaining > 0) {
        if (values.length === countMax) r.refuse('tooLong')
        values.push(codec.decode(elements))
      }
      return values
    },
  }
}

/** `optional<T>`: a presence byte, then the value; null when absent. */
export function optional<T>(codec: Codec<T>): Codec<T | null> {
  return {
    encode(w, value) {
      w.u8(value === null ? 0 : 1)
      if (value !== null) codec.encode(w, value)
    },
    decode: (r) => bool.decode(r) ? codec.decode(r) : null,
  }
}

type Fields = Readonly<Record<string, Codec<unknown>>>
export type StructOf<F extends Fields> = { readonly [K in keyof F]: Infer<F[K]> }

/** Fields one after another, in the order in which they are written down. */
export function struct<F extends Fields>(fields: F): Codec<StructOf<F>> {
  const entries = Object.entries(fields)
  for (const [name] of entries) {
    assert(Number.isNaN(Number(name)), 'names of fields are no numbers, which objects reorder')
  }
  return {
    encode(w, value) {
      for (const [name, codec] of entries) codec.encode(w, value[name])
    },
    decode(r) {
      const value: Record<string, unknown> = {}
      for (const [name, codec] of entries) value[name] = codec.decode(r)
      return value as StructOf<F>
    },
  }
}

type Variants = Readonly<Record<string, readonly [number, Codec<object>]>>
export type VariantOf<D extends string, V extends Variants> = {
  readonly [K in keyof V]: { readonly [Name in D]: K } & Infer<V[K][1]>
}[keyof V]

/** `select`: a uint8 tag, then the structure that it names, whose name is the discriminant. */
export function variant<const D extends string, V extends Variants>(
  discriminant: D,
  variants: V,
): Codec<VariantOf<D, V>> {
  const tags = tagTable(Object.entries(variants).map(([name, [tag]]) => [name, tag]))
  const codecs = new Map(Object.entries(variants).map(([name, [, codec]]) => [name, codec]))
  return {
    encode(w, value) {
      const name = (value as Readonly<Record<string, unknown>>)[discriminant] as string
      w.u8(tags.tag(name))
      codecs.get(name)?.encode(w, value)
    },
    decode(r) {
      const name = tags.name(r.u8()) ?? r.refuse('badValue')
      const fields = codecs.get(name)?.decode(r)
      return { [discriminant]: name, ...fields } as VariantOf<D, V>
    },
  }
}

/** A name out of a closed set, as its uint8. */
export function enumU8<const E extends Readonly<Record<string, number>>>(
  names: E,
): Codec<keyof E & string> {
  const tags = tagTable(Object.entries(names))
  return {
    encode: (w, value) => w.u8(tags.tag(value)),
    decode: (r) => tags.name(r.u8()) ?? r.refuse('badValue'),
  }
}

/** How a wire type maps to another; null refuses the value while decoding. */
export interface Mapping<Wire, T> {
  to(value: T): Wire
  from(wire: Wire): T | null
}

/** A codec of another type over a wire type. A null of `mapping.from` refuses the input. */
export function mapped<Wire, T>(codec: Codec<Wire>, mapping: Mapping<Wire, T>): Codec<T> {
  return {
    encode: (w, value) => codec.encode(w, mapping.to(value)),
    decode: (r) => mapping.from(codec.decode(r)) ?? r.refuse('badValue'),
  }
}

/** All bytes that are left, at most `max`. Only the last field of a message may be one. */
export function rest(max: number): Codec<Uint8Array> {
  return {
    encode(w, value) {
      assert(value.length <= max, 'a byte string is in bounds')
      w.raw(value)
    },
    decode: (r) => r.remaining > max ? r.refuse('tooLong') : r.take(r.remaining),
  }
}

/** Exactly these bytes, such as a label; decodes to them. */
export function constant(bytes: Uint8Array): Codec<Uint8Array> {
  return mapped(opaque(bytes.length, bytes.length), {
    to: () => bytes,
    from: (read) => equalBytes(read, bytes) ? read : null,
  })
}

/** The same encoding under a branded type. */
export function branded<T extends U, U = unknown>(codec: Codec<U>): Codec<T> {
  return codec as Codec<T>
}

/** A length prefix, refused before it is believed. */
function boundedLength(r: Reader, max: number): number {
  const length = r.varint()
  if (length > max) r.refuse('tooLong')
  if (length > r.remaining) r.refuse('truncated')
  return length
}

function tagTable(entries: readonly (readonly [string, number])[]) {
  const byName = new Map(entries)
  const byTag = new Map(entries.map(([name, tag]) => [tag, name]))
  assert(byTag.size === entries.length, 'each name has a tag of its own')
  for (const tag of byTag.keys()) assert(Number.isInteger(tag) && tag >= 0 && tag < 256, 'a uint8')
  return {
    tag(name: string): number {
      const tag = byName.get(name)
      assert(tag !== undefined, 'a name of the closed set')
      return tag
    },
    name: (tag: number): string | undefined => byTag.get(tag),
  }
}
