/**
 * Searches bytes for something that must not be there, in every form in which it would be readable:
 * raw, UTF-16, hex, base64 and base64url. Owns the forms; what is searched and for what is the
 * test's.
 */
import { Buffer } from 'node:buffer'

/** Shorter pieces would be found by chance. */
const PIECE_LENGTH_MIN = 12

export interface Needle {
  /** Said in a failure in place of the content. */
  readonly what: string
  /** Text is searched in UTF-8 and both UTF-16; bytes as they are. */
  readonly content: string | Uint8Array
}

export interface Place {
  readonly where: string
  readonly bytes: Uint8Array
}

/** Every form of one needle, with its name. */
export function formsOf(content: string | Uint8Array): readonly (readonly [string, Buffer])[] {
  if (typeof content !== 'string') return encodings('bytes', Buffer.from(content))
  const littleEndian = Buffer.from(content, 'utf16le')
  return [
    ...encodings('UTF-8', Buffer.from(content, 'utf8')),
    ['UTF-16LE', littleEndian],
    ['UTF-16BE', Buffer.from(littleEndian).swap16()],
  ]
}

function encodings(name: string, bytes: Buffer): readonly (readonly [string, Buffer])[] {
  const hex = bytes.toString('hex')
  const texts: (readonly [string, string])[] = [['hex', hex], ['upper-case hex', hex.toUpperCase()]]
  for (const offset of [0, 1, 2]) {
    texts.push([`base64 at offset ${offset}`, innerBase64(bytes, offset, 'base64')])
    texts.push([`base64url at offset ${offset}`, innerBase64(bytes, offset, 'base64url')])
  }
  const forms = texts.map(([form, text]) => [`${form} of ${name}`, Buffer.from(text)] as const)
  return [[name, bytes], ...forms]
}

/**
 * The characters of base64 that depend on `bytes` alone, when `offset` other bytes stand before
 * them in a group of three, whatever comes behind.
 */
function innerBase64(bytes: Buffer, offset: number, encoding: 'base64' | 'base64url'): string {
  const padded = Buffer.concat([Buffer.alloc(offset), bytes])
  const text = padded.toString(encoding).replace(/=+$/, '')
  const before = [0, 2, 3][offset] ?? 0
  return text.slice(before, padded.length % 3 === 0 ? undefined : -1)
}

interface SoughtForm {
  readonly what: string
  readonly form: string
  readonly bytes: Uint8Array
}

const headOf = (bytes: Uint8Array, at: number): number =>
  (bytes[at]! << 24) | (bytes[at + 1]! << 16) | (bytes[at + 2]! << 8) | bytes[at + 3]!

/** Forms by their first four bytes, so that one pass over a place finds all of them. */
function indexOf(needles: readonly Needle[]): ReadonlyMap<number, readonly SoughtForm[]> {
  const index = new Map<number, SoughtForm[]>()
  for (const { what, content } of needles) {
    for (const [form, bytes] of formsOf(content)) {
      if (bytes.length < PIECE_LENGTH_MIN) throw new Error(`too short to search for: ${what}`)
      const head = headOf(bytes, 0)
      index.set(head, [...index.get(head) ?? [], { what, form, bytes }])
    }
  }
  return index
}

function searchOne(
  place: Uint8Array,
  index: ReadonlyMap<number, readonly SoughtForm[]>,
): ReadonlySet<SoughtForm> {
  const found = new Set<SoughtForm>()
  for (let at = 0; at + PIECE_LENGTH_MIN <= place.length; at++) {
    for (const sought of index.get(headOf(place, at)) ?? []) {
      if (sought.bytes.every((byte, i) => byte === place[at + i])) found.add(sought)
    }
  }
  return found
}

/** Names of the forms in which one needle stands in the bytes. */
export function formsFound(bytes: Uint8Array, content: string | Uint8Array): readonly string[] {
  return [...searchOne(bytes, indexOf([{ what: 'it', content }]))].map(({ form }) => form)
}

/** One line for each needle that stands somewhere. */
export function findAll(places: readonly Place[], needles: readonly Needle[]): readonly string[] {
  const index = indexOf(needles)
  return places.flatMap(({ where, bytes }) =>
    [...searchOne(bytes, index)].map(({ what, form }) => `${what} stands in ${where}, as ${form}`)
  )
}
