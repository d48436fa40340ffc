/**
 * Looks for secrets in a capsule: any eight bytes of any of them, as they are, in hex, in base64,
 * or as a row of numbers. Owns the search; what is secret is the caller's.
 */
import { fromBase64Url } from '#core/base/bytes.ts'
import type { Plain } from '#core/device/capsule-shape.ts'

/** Bytes that stand together by chance are fewer. */
const PIECE = 8

/** Eight bytes as one string of as many characters. */
function pieceAt(bytes: Uint8Array, at: number): string {
  return String.fromCharCode(...bytes.subarray(at, at + PIECE))
}

function addPieces(pieces: Set<string>, bytes: Uint8Array): void {
  for (let at = 0; at + PIECE <= bytes.length; at++) pieces.add(pieceAt(bytes, at))
}

/** Everything of eight bytes that a text holds in any of the forms. */
function piecesOf(text: string): ReadonlySet<string> {
  const pieces = new Set<string>()
  addPieces(pieces, new TextEncoder().encode(text))
  for (const [run] of text.matchAll(/[0-9a-fA-F]{16,}/g)) {
    for (const shift of [0, 1]) {
      const pairs = run.slice(shift).match(/../g) ?? []
      addPieces(pieces, Uint8Array.from(pairs, (pair) => Number.parseInt(pair, 16)))
    }
  }
  for (const [run] of text.matchAll(/[A-Za-z0-9+/_-]{11,}/g)) {
    const digits = run.replaceAll('+', '-').replaceAll('/', '_')
    for (let shift = 0; shift < 4; shift++) {
      const whole = digits.slice(shift)
      const length = whole.length - whole.length % 4
      addPieces(pieces, fromBase64Url(whole.slice(0, length)) ?? new Uint8Array(0))
    }
  }
  for (const line of text.split('\n')) {
    if (line.startsWith('{')) addNumbers(pieces, JSON.parse(line))
  }
  return pieces
}

/** Rows of numbers that could be bytes, and numbers that could be eight of them. */
function addNumbers(pieces: Set<string>, value: Plain): void {
  if (typeof value === 'number') {
    const both = new Uint8Array(16)
    const view = new DataView(both.buffer)
    view.setBigUint64(0, BigInt(Math.trunc(Math.abs(value))))
    view.setBigUint64(8, BigInt(Math.trunc(Math.abs(value))), true)
    if (Math.abs(value) >= 2 ** 40) {
      for (const at of [0, 8]) pieces.add(pieceAt(both, at))
    }
    return
  }
  if (typeof value !== 'object' || value === null) return
  const values: readonly Plain[] = Object.values(value)
  const isByte = (each: Plain) => typeof each === 'number' && each >= 0 && each < 256
  if (values.length >= PIECE && values.every(isByte)) {
    addPieces(pieces, Uint8Array.from(values as readonly number[]))
  }
  for (const each of values) addNumbers(pieces, each)
}

export interface Secret {
  readonly what: string
  readonly bytes: Uint8Array
}

/** What of the secrets a capsule gives away, by what it is; empty is good. */
export function leaksIn(capsule: string, secrets: readonly Secret[]): readonly string[] {
  const pieces = piecesOf(capsule)
  const leaks = new Set<string>()
  for (const { what, bytes } of secrets) {
    // A short one is looked for whole.
    if (bytes.length < PIECE && capsule.includes(new TextDecoder().decode(bytes))) leaks.add(what)
    for (let at = 0; at + PIECE <= bytes.length; at++) {
      if (pieces.has(pieceAt(bytes, at))) leaks.add(what)
    }
  }
  return [...leaks]
}

/** All strings of a capsule, names of fields too. */
export function stringsIn(capsule: string): ReadonlySet<string> {
  const found = new Set<string>()
  const visit = (value: Plain): void => {
    if (typeof value === 'string') found.add(value)
    if (typeof value !== 'object' || value === null) return
    if (!Array.isArray(value)) { for (const name of Object.keys(value)) found.add(name) }
    for (const each of Object.values(value)) visit(each)
  }
  for (const line of capsule.split('\n')) if (line !== '') visit(JSON.parse(line))
  return found
}
