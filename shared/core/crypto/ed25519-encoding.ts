/**
 * Which Ed25519 keys and signatures may reach a verifier at all. Owns the checks that verifiers
 * disagree on, as pure comparisons of bytes, so that a signature is valid everywhere or nowhere: a
 * member who could craft one that only some accept would split the room. Owns no arithmetic.
 *
 * Refused are unreduced scalars (s >= L, RFC 8032 section 5.1.7), coordinates that are not reduced
 * (y >= p), and points of small order, as public key and as R. Beyond that the equation must be the
 * one without cofactor: [s]B - [k]A encodes to exactly the bytes of R.
 */
import { assert } from '#core/base/assert.ts'
import { equalBytes, fromHex } from '#core/base/bytes.ts'

/** True when key and signature are canonical and neither point has a small order. */
export function ed25519Canonical(publicKey: Uint8Array, signature: Uint8Array): boolean {
  return publicKey.length === 32 && signature.length === 64 && canonicalPoint(publicKey) &&
    canonicalPoint(signature.subarray(0, 32)) && below(signature.subarray(32), ORDER)
}

/** L, the order of the base point, little-endian. */
const ORDER = constant('edd3f55c1a631258d69cf7a2def9de1400000000000000000000000000000010')
/** p = 2^255 - 19, little-endian. */
const FIELD = constant('edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f')
/** The y coordinates of the eight points whose order divides the cofactor. */
const SMALL_ORDER = [
  '0000000000000000000000000000000000000000000000000000000000000000',
  '0100000000000000000000000000000000000000000000000000000000000000',
  'ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f',
  '26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05',
  'c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a',
].map(constant)

function canonicalPoint(point: Uint8Array): boolean {
  const y = point.slice()
  y[31] = (y[31] as number) & 0x7f
  return below(y, FIELD) && !SMALL_ORDER.some((small) => equalBytes(small, y))
}

/** Little-endian comparison of public numbers. */
function below(value: Uint8Array, bound: Uint8Array): boolean {
  for (let i = value.length - 1; i >= 0; i--) {
    if (value[i] !== bound[i]) return (value[i] as number) < (bound[i] as number)
  }
  return false
}

function constant(hex: string): Uint8Array {
  const bytes = fromHex(hex)
  assert(bytes?.length === 32, 'a constant has 32 bytes')
  return bytes
}
