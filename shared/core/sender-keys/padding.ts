/**
 * Padding of plaintext (SEAL-5), so that a length tells little. Owns the buckets; knows no keys.
 */
import { LIMITS } from '#core/base/limits.ts'
import { opaque, Reader, Writer } from '#core/wire/codec.ts'

const BUCKETS = [256, 512, 1_024, 2_048, 4_096] as const
const contentCodec = opaque(LIMITS.plaintextSizeMax)

/** Length of the padded text for `length` bytes before padding: a bucket, above that Padmé. */
export function paddedLength(length: number): number {
  const bucket = BUCKETS.find((size) => length <= size)
  if (bucket !== undefined) return bucket
  const exponent = Math.floor(Math.log2(length))
  const mantissaBits = Math.floor(Math.log2(exponent)) + 1
  const step = 2 ** (exponent - mantissaBits)
  return Math.ceil(length / step) * step
}

/** The text behind its length, filled up with zeros. */
export function pad(plaintext: Uint8Array): Uint8Array {
  const writer = new Writer()
  contentCodec.encode(writer, plaintext)
  const bytes = writer.bytes()
  const padded = new Uint8Array(paddedLength(bytes.length))
  padded.set(bytes)
  bytes.fill(0)
  return padded
}

/** The text again; null for any other length of padding, or any byte of it that is not zero. */
export function unpad(padded: Uint8Array): Uint8Array | null {
  const reader = new Reader(padded)
  let text: Uint8Array
  try {
    text = contentCodec.decode(reader)
  } catch {
    return null
  }
  const used = text.byteOffset + text.length - padded.byteOffset
  if (paddedLength(used) !== padded.length) return null
  return padded.subarray(used).every((byte) => byte === 0) ? text.slice() : null
}
