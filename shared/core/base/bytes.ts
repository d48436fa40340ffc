/**
 * Byte strings: joining, comparing, wiping, and the text forms hex, base64url and UTF-8. Owns no
 * structure (see `wire/codec.ts`). Nothing here branches on, or indexes a table by, the value of a
 * byte in `equalBytes`, hex and base64url, since secrets pass through them.
 */

/** Zero bytes. */
export const EMPTY: Uint8Array = new Uint8Array(0)

/** Joins byte strings into a new one. */
export function concat(...parts: Uint8Array[]): Uint8Array {
  let length = 0
  for (const part of parts) length += part.length
  const out = new Uint8Array(length)
  let offset = 0
  for (const part of parts) {
    out.set(part, offset)
    offset += part.length
  }
  return out
}

/** Compares in a time that depends on the lengths alone. */
export function equalBytes(a: Uint8Array, b: Uint8Array): boolean {
  if (a.length !== b.length) return false
  let difference = 0
  for (let i = 0; i < a.length; i++) difference |= byteAt(a, i) ^ byteAt(b, i)
  return difference === 0
}

/** Overwrites secrets with zeros. What the runtime has copied elsewhere is out of reach. */
export function wipe(...secrets: Uint8Array[]): void {
  for (const secret of secrets) secret.fill(0)
}

/** Lower-case hex, two digits a byte. */
export function toHex(bytes: Uint8Array): string {
  const units = new Uint8Array(bytes.length * 2)
  for (let i = 0; i < bytes.length; i++) {
    const byte = byteAt(bytes, i)
    units[i * 2] = hexDigit(byte >> 4)
    units[i * 2 + 1] = hexDigit(byte & 15)
  }
  return fromUnits(units)
}

/** Bytes of a hex string of either case; null for an odd length or another character. */
export function fromHex(text: string): Uint8Array | null {
  if (text.length % 2 !== 0) return null
  const out = new Uint8Array(text.length / 2)
  let fault = 0
  for (let i = 0; i < out.length; i++) {
    const high = hexValue(text.charCodeAt(i * 2))
    const low = hexValue(text.charCodeAt(i * 2 + 1))
    fault |= high | low
    out[i] = (high << 4) | low
  }
  return fault < 0 ? null : out
}

/** Base64url without padding (RFC 4648 section 5). */
export function toBase64Url(bytes: Uint8Array): string {
  const units = new Uint8Array(Math.ceil((bytes.length * 8) / 6))
  let pending = 0
  let bits = 0
  let at = 0
  for (let i = 0; i < bytes.length; i++) {
    pending = ((pending << 8) | byteAt(bytes, i)) & 0x3fff
    bits += 8
    while (bits >= 6) {
      bits -= 6
      units[at++] = base64UrlDigit((pending >> bits) & 63)
    }
  }
  if (bits > 0) units[at] = base64UrlDigit((pending << (6 - bits)) & 63)
  return fromUnits(units)
}

/**
 * Bytes of a base64url string (RFC 4648 section 5). Null for padding, for another character, for an
 * impossible length, and where unused bits of the last digit are set: each byte string has one
 * form.
 */
export function fromBase64Url(text: string): Uint8Array | null {
  if (text.length % 4 === 1) return null
  const out = new Uint8Array(Math.floor((text.length * 6) / 8))
  let pending = 0
  let bits = 0
  let at = 0
  let fault = 0
  for (let i = 0; i < text.length; i++) {
    const value = base64UrlValue(text.charCodeAt(i))
    fault |= value
    pending = ((pending << 6) | (value & 63)) & 0x3fff
    bits += 6
    if (bits >= 8) {
      bits -= 8
      out[at++] = (pending >> bits) & 255
    }
  }
  const unusedBits = pending & ((1 << bits) - 1)
  return fault < 0 || unusedBits !== 0 ? null : out
}

/** UTF-8 of a string. Surrogates without a partner become U+FFFD, as in the WHATWG encoder. */
export function utf8Encode(text: string): Uint8Array {
  const out = new Uint8Array(text.length * 3)
  let at = 0
  for (let i = 0; i < text.length; i++) {
    const point = codePointAt(text, i)
    if (point > 0xffff) i++
    if (point < 0x80) {
      out[at++] = point
      continue
    }
    if (point < 0x800) {
      out[at++] = 0xc0 | (point >> 6)
    } else {
      if (point < 0x10000) {
        out[at++] = 0xe0 | (point >> 12)
      } else {
        out[at++] = 0xf0 | (point >> 18)
        out[at++] = 0x80 | ((point >> 12) & 63)
      }
      out[at++] = 0x80 | ((point >> 6) & 63)
    }
    out[at++] = 0x80 | (point & 63)
  }
  return out.slice(0, at)
}

/**
 * Text of well-formed UTF-8 (RFC 3629); null for overlong forms, surrogates, values above U+10FFFF
 * and truncated sequences. A byte order mark is kept as a character.
 */
export function utf8Decode(bytes: Uint8Array): string | null {
  const units = new Uint16Array(bytes.length)
  let at = 0
  let i = 0
  while (i < bytes.length) {
    const first = byteAt(bytes, i)
    if (first < 0x80) {
      units[at++] = first
      i++
      continue
    }
    const length = sequenceLength(first)
    if (length === 0 || i + length > bytes.length) return null
    let point = first & (0x7f >> length)
    for (let k = 1; k < length; k++) {
      const next = byteAt(bytes, i + k)
      if ((next & 0xc0) !== 0x80) return null
      point = (point << 6) | (next & 63)
    }
    if (!isScalarOfLength(point, length)) return null
    if (point > 0xffff) {
      units[at++] = 0xd800 + ((point - 0x10000) >> 10)
      units[at++] = 0xdc00 + ((point - 0x10000) & 0x3ff)
    } else {
      units[at++] = point
    }
    i += length
  }
  return fromUnits(units.subarray(0, at))
}

function byteAt(bytes: Uint8Array, index: number): number {
  return bytes[index] as number
}

function hexDigit(nibble: number): number {
  return 87 + nibble + (((nibble - 10) >> 8) & -39)
}

/** Value of a hex digit, or -1. Each term is a mask that is all ones only within its range. */
function hexValue(unit: number): number {
  if (unit > 127) return -1
  let value = -1
  value += (((0x2f - unit) & (unit - 0x3a)) >> 8) & (unit - 0x30 + 1)
  value += (((0x40 - unit) & (unit - 0x47)) >> 8) & (unit - 0x41 + 11)
  value += (((0x60 - unit) & (unit - 0x67)) >> 8) & (unit - 0x61 + 11)
  return value
}

function base64UrlDigit(value: number): number {
  let offset = 0x41
  offset += ((25 - value) >> 8) & 6
  offset -= ((51 - value) >> 8) & 75
  offset -= ((61 - value) >> 8) & 13
  offset += ((62 - value) >> 8) & 49
  return value + offset
}

/** Value of a base64url digit, or -1. */
function base64UrlValue(unit: number): number {
  if (unit > 127) return -1
  let value = -1
  value += (((0x40 - unit) & (unit - 0x5b)) >> 8) & (unit - 0x41 + 1)
  value += (((0x60 - unit) & (unit - 0x7b)) >> 8) & (unit - 0x61 + 27)
  value += (((0x2f - unit) & (unit - 0x3a)) >> 8) & (unit - 0x30 + 53)
  value += (((0x2c - unit) & (unit - 0x2e)) >> 8) & 63
  value += (((0x5e - unit) & (unit - 0x60)) >> 8) & 64
  return value
}

/** Code point at a code unit, U+FFFD for a surrogate without its partner. */
function codePointAt(text: string, index: number): number {
  const unit = text.charCodeAt(index)
  if ((unit & 0xf800) !== 0xd800) return unit
  const next = index + 1 < text.length ? text.charCodeAt(index + 1) : 0
  const paired = unit < 0xdc00 && (next & 0xfc00) === 0xdc00
  return paired ? 0x10000 + ((unit & 0x3ff) << 10) + (next & 0x3ff) : 0xfffd
}

/** Length that a leading byte announces, 0 for a byte that cannot lead. */
function sequenceLength(first: number): number {
  if (first >= 0xc2 && first <= 0xdf) return 2
  if (first >= 0xe0 && first <= 0xef) return 3
  if (first >= 0xf0 && first <= 0xf4) return 4
  return 0
}

function isScalarOfLength(point: number, length: number): boolean {
  if (length === 3) return point >= 0x800 && (point & 0xf800) !== 0xd800
  if (length === 4) return point >= 0x10000 && point <= 0x10ffff
  return true
}

/** In slices, since the number of arguments of a call is limited. */
function fromUnits(units: Uint8Array | Uint16Array): string {
  const slice = 8_192
  let text = ''
  for (let i = 0; i < units.length; i += slice) {
    // Ten times as fast as spreading, which goes through an iterator.
    const part = units.subarray(i, i + slice) as ArrayLike<number> as number[]
    text += String.fromCharCode.apply(null, part)
  }
  return text
}
