/**
 * Encodings and key derivation as RFC 9000, RFC 5869 and RFC 9420 have them, with Node's own
 * primitives: what the product makes is counted anew with them. Imports no codec of the product.
 */
import { createHmac } from 'node:crypto'
import { concat } from '#core/base/bytes.ts'

export const ascii = (text: string): Uint8Array => new TextEncoder().encode(text)

export function big(value: number | bigint, bytes: number): Uint8Array {
  const digits = BigInt(value).toString(16).padStart(bytes * 2, '0')
  return Uint8Array.from(digits.match(/../g) ?? [], (each) => parseInt(each, 16))
}

/** With its length in front (RFC 9000 section 16). */
export function opaque(bytes: Uint8Array): Uint8Array {
  const { length } = bytes
  const head = length < 64
    ? [length]
    : length < 0x4000
    ? [0x40 | (length >> 8), length & 0xff]
    : [0x80, length >> 16, (length >> 8) & 0xff, length & 0xff]
  return concat(Uint8Array.from(head), bytes)
}

/** SignContent (RFC 9420 section 5.1.2) under our prefix. */
export const signContent = (label: string, content: Uint8Array): Uint8Array =>
  concat(opaque(ascii(`Kalandra 1.0 ${label}`)), opaque(content))

/** Label and version at the head of a structure (WIRE-6). */
export const named = (label: string): Uint8Array => concat(opaque(ascii(label)), big(1, 2))

export interface Expansion {
  readonly hash: 'sha256' | 'sha384'
  readonly secret: Uint8Array
  readonly label: string
  readonly context: Uint8Array
  readonly length: number
}

/** HKDF-Expand (RFC 5869 section 2.3) of a KDFLabel (RFC 9420 section 8) under our prefix. */
export function expand({ hash, secret, label, context, length }: Expansion): Uint8Array {
  const info = concat(big(length, 2), opaque(ascii(`Kalandra 1.0 ${label}`)), opaque(context))
  let made: Uint8Array = new Uint8Array(0)
  let block = new Uint8Array(0)
  for (let count = 1; made.length < length; count++) {
    const mac = createHmac(hash, secret).update(block).update(info)
    block = new Uint8Array(mac.update(Uint8Array.of(count)).digest())
    made = concat(made, block)
  }
  return made.subarray(0, length)
}
