/**
 * Ecdsa-Sig-Value for P-384: the DER form that signatures have in MLS (RFC 9420 section 5.1.2), and
 * the fixed form r || s that engines take. Owns the strict conversion, so that both implementations
 * accept the same bytes; owns no arithmetic.
 */
import { assert } from '#core/base/assert.ts'
import { concat } from '#core/base/bytes.ts'

/** Bytes of r and of s. */
const SCALAR_LENGTH = 48
const SEQUENCE = 0x30
const INTEGER = 0x02

/** DER of r || s, 96 bytes. */
export function ecdsaToDer(raw: Uint8Array): Uint8Array {
  assert(raw.length === 2 * SCALAR_LENGTH, 'r and s have 48 bytes each')
  const r = derInteger(raw.subarray(0, SCALAR_LENGTH))
  const s = derInteger(raw.subarray(SCALAR_LENGTH))
  return concat(Uint8Array.of(SEQUENCE, r.length + s.length), r, s)
}

/** r || s of a DER signature; null for anything but the one canonical form. */
export function ecdsaFromDer(der: Uint8Array): Uint8Array | null {
  if (der.length < 2 || der[0] !== SEQUENCE || der[1] !== der.length - 2) return null
  const raw = new Uint8Array(2 * SCALAR_LENGTH)
  let rest = der.subarray(2)
  for (let end = SCALAR_LENGTH; end <= raw.length; end += SCALAR_LENGTH) {
    const scalar = firstInteger(rest)
    if (scalar === null) return null
    const unsigned = scalar[0] === 0 ? scalar.subarray(1) : scalar
    if (unsigned.length > SCALAR_LENGTH) return null
    raw.set(unsigned, end - unsigned.length)
    rest = rest.subarray(2 + scalar.length)
  }
  return rest.length === 0 ? raw : null
}

function derInteger(scalar: Uint8Array): Uint8Array {
  let start = 0
  while (start < SCALAR_LENGTH - 1 && scalar[start] === 0) start++
  const magnitude = scalar.subarray(start)
  const sign = (magnitude[0] as number) >= 0x80 ? [0] : []
  return Uint8Array.from([INTEGER, sign.length + magnitude.length, ...sign, ...magnitude])
}

/** Content of the INTEGER at the head: positive, without a needless zero; null otherwise. */
function firstInteger(bytes: Uint8Array): Uint8Array | null {
  const length = bytes[1] ?? 0
  if (bytes[0] !== INTEGER || length === 0 || bytes.length < 2 + length) return null
  const content = bytes.subarray(2, 2 + length)
  const first = content[0] as number
  if (first >= 0x80) return null
  if (first === 0 && length > 1 && (content[1] as number) < 0x80) return null
  return content
}
