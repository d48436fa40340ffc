/**
 * Floating point numbers of CBOR in their shortest form (RFC 8949 section 4.2.1): half, single or
 * double precision, whichever is the shortest that keeps the value, and one NaN. Owns the bits, not
 * the byte in front of them.
 */

const HALF_NAN = 0x7e00

/** Big-endian IEEE 754 of 2, 4 or 8 bytes as a number. */
export function floatOfBytes(bytes: Uint8Array): number {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length)
  if (bytes.length === 2) return floatOfHalf(view.getUint16(0))
  return bytes.length === 4 ? view.getFloat32(0) : view.getFloat64(0)
}

/** The shortest encoding, 2, 4 or 8 bytes; every NaN becomes the quiet one of half precision. */
export function bytesOfFloat(value: number): Uint8Array {
  const view = new DataView(new ArrayBuffer(8))
  view.setFloat32(0, value)
  const isSingle = Object.is(view.getFloat32(0), value)
  const half = Number.isNaN(value) ? HALF_NAN : isSingle ? halfOfSingle(view.getUint32(0)) : null
  if (half !== null) view.setUint16(0, half)
  else if (!isSingle) view.setFloat64(0, value)
  return new Uint8Array(view.buffer, 0, half !== null ? 2 : isSingle ? 4 : 8)
}

function floatOfHalf(bits: number): number {
  const sign = bits & 0x8000 ? -1 : 1
  const exponent = (bits >> 10) & 31
  const fraction = bits & 1023
  if (exponent === 31) return fraction === 0 ? sign * Infinity : NaN
  if (exponent === 0) return sign * fraction * 2 ** -24
  return sign * (1024 + fraction) * 2 ** (exponent - 25)
}

/** The same value in half precision, or null when that loses something. No NaN comes here. */
function halfOfSingle(bits: number): number | null {
  const sign = (bits >>> 16) & 0x8000
  const exponent = ((bits >>> 23) & 255) - 127
  const fraction = bits & 0x7fffff
  if (exponent === 128) return sign | 0x7c00
  if (exponent === -127) return fraction === 0 ? sign : null
  if (exponent > 15 || exponent < -24) return null
  const lost = exponent >= -14 ? 13 : -1 - exponent
  const significand = 0x800000 | fraction
  if ((significand >>> lost) << lost !== significand) return null
  if (exponent < -14) return sign | (significand >>> lost)
  return sign | ((exponent + 15) << 10) | (fraction >>> lost)
}
