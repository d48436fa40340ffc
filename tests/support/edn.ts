/**
 * Reads CBOR's diagnostic notation (RFC 8610 appendix G), as far as published examples use it, into
 * the values of `core/content/cbor.ts`. Tests compare decoders with it; it is lenient about commas.
 */
import { concat, fromHex, utf8Encode } from '#core/base/bytes.ts'
import type { CborKey, CborValue } from '#core/content/cbor.ts'

const NAMED: ReadonlyMap<string, CborValue> = new Map<string, CborValue>([
  ['null', null],
  ['true', true],
  ['false', false],
])

/** The one value that the text notes. Throws where the text is no such notation. */
export function parseEdn(text: string): CborValue {
  let rest = text
  const fail = (): never => {
    throw new Error(`not diagnostic notation: ${rest.slice(0, 40)}`)
  }
  const skip = (): void => {
    rest = rest.replace(/^(?:[\s,]|#[^\n]*|\/[^/]*\/)+/, '')
  }
  const take = (pattern: RegExp): string | null => {
    skip()
    const found = pattern.exec(rest)
    if (found === null) return null
    rest = rest.slice(found[0].length)
    return found[0]
  }
  const value = (): CborValue => {
    const name = take(/^(?:null|true|false)/)
    if (name !== null) return NAMED.get(name) ?? null
    const digits = take(/^-?\d+/)
    if (digits !== null) return Number(digits)
    const quoted = take(/^"[^"]*"/)
    if (quoted !== null) return quoted.slice(1, -1)
    const bytes = byteString()
    if (bytes !== null) return take(/^\+/) === null ? bytes : joined(bytes, value())
    if (take(/^\[/) !== null) return items()
    return take(/^\{/) === null ? fail() : { kind: 'map', entries: entries() }
  }
  const byteString = (): Uint8Array | null => {
    const hex = take(/^h'[^']*'/)
    if (hex !== null) return fromHex(hex.slice(2, -1).replace(/#[^\n]*|\s/g, '')) ?? fail()
    const raw = take(/^'(?:[^'\\]|\\.)*'/)
    if (raw === null) return null
    return utf8Encode(
      raw.slice(1, -1).replace(/\\(.)/g, (_, escaped) => escaped === 'n' ? '\n' : escaped),
    )
  }
  const joined = (first: Uint8Array, second: CborValue): Uint8Array =>
    second instanceof Uint8Array ? concat(first, second) : fail()
  const items = (): CborValue[] => {
    const all: CborValue[] = []
    while (take(/^\]/) === null) all.push(value())
    return all
  }
  const entries = (): (readonly [CborKey, CborValue])[] => {
    const all: (readonly [CborKey, CborValue])[] = []
    while (take(/^\}/) === null) {
      const key = value()
      if (take(/^:/) === null) fail()
      all.push([key as CborKey, value()])
    }
    return all
  }
  const parsed = value()
  skip()
  return rest === '' ? parsed : fail()
}
