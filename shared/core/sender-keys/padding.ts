/**
 * Padding of plaintext (SEAL-5), so that a length tells little. Owns the buckets; knows no keys.
 */
import { wipe } from '#core/base/bytes.ts'
import { LIMITS } from '#core/base/limits.ts'
import { decode, encode, opaque, rest, struct } from '#core/wire/codec.ts'

const BUCKETS = [256, 512, 1_024, 2_048, 4_096] as const
const contentCodec = opaque(LIMITS.plaintextSizeMax)
const paddedCodec = struct({ text: contentCodec, zeros: rest(LIMITS.sealedFrameSizeMax) })

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
  const bytes = encode(contentCodec, plaintext)
  const padded = new Uint8Array(paddedLength(bytes.length))
  padded.set(bytes)
  wipe(bytes)
  return padded
}

/** The text again; null for any other length of padding, or any byte of it that is not zero. */
export function unpad(padded: Uint8Array): Uint8Array | null {
  const decoded = decode(paddedCodec, padded)
  if (decoded.kind === 'malformed') return null
  const { text, zeros } = decoded.value
  if (paddedLength(padded.length - zeros.length) !== padded.length) return null
  return zeros.every((byte) => byte === 0) ? text.slice() : null
}
