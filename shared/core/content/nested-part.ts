/**
 * NestedPart of draft-ietf-mimi-content as CBOR values, both ways. Owns the layout of the four
 * kinds of part and their bounds in depth and count; owns no choice of which part to show.
 */
import { unreachable } from '#core/base/assert.ts'
import { LIMITS } from '#core/base/limits.ts'
import { type CborValue, isArray } from '#core/content/cbor.ts'
import { refuse } from '#core/content/malformed.ts'
import {
  type NestedPart,
  PART_SEMANTICS,
  type PartSemantics,
} from '#core/content/mimi-structure.ts'

const CARDINALITY = { nullPart: 0, singlePart: 1, externalPart: 2, multiPart: 3 }
/** Fields behind the cardinality, by its number. */
const FIELD_COUNTS = [0, 2, 12, 2] as const

const SEMANTICS_BY_NUMBER: ReadonlyMap<number, PartSemantics> = new Map(
  Object.entries(PART_SEMANTICS).map(([name, number]) => [number, name as PartSemantics]),
)

/** The value that a part is written as. */
export function cborOfPart(part: NestedPart): CborValue {
  const head = [part.disposition, part.language, CARDINALITY[part.kind]]
  switch (part.kind) {
    case 'nullPart':
      return head
    case 'singlePart':
      return [...head, part.contentType, part.content]
    case 'externalPart': {
      const place = [part.contentType, part.url, part.expires, part.size]
      const protection = [part.encAlg, part.key, part.nonce, part.aad]
      const description = [part.hashAlg, part.contentHash, part.description, part.filename]
      return [...head, ...place, ...protection, ...description]
    }
    case 'multiPart':
      return [...head, PART_SEMANTICS[part.partSemantics], part.parts.map(cborOfPart)]
    default:
      return unreachable(part)
  }
}

/** Reads a part and all within it; refuses what the draft does not allow. */
export function partOfCbor(value: CborValue | undefined): NestedPart {
  let count = 0
  const read = (each: CborValue | undefined, depth: number): NestedPart => {
    if (depth > LIMITS.contentDepthMax) refuse('tooDeep')
    count++
    if (count > LIMITS.contentPartsMax) refuse('tooManyParts')
    return readPart(each, (inner) => read(inner, depth + 1))
  }
  return read(value, 1)
}

function readPart(
  value: CborValue | undefined,
  readInner: (value: CborValue) => NestedPart,
): NestedPart {
  if (value === undefined || !isArray(value)) return refuse('badPart')
  const [first, second, third, ...fields] = value
  const head = { disposition: unsigned(first, 0xff), language: text(second) }
  const cardinality = unsigned(third, CARDINALITY.multiPart)
  if (fields.length !== FIELD_COUNTS[cardinality]) refuse('badPart')
  switch (cardinality) {
    case CARDINALITY.nullPart:
      return { kind: 'nullPart', ...head }
    case CARDINALITY.singlePart: {
      const [contentType, content] = fields
      return {
        kind: 'singlePart',
        ...head,
        contentType: text(contentType),
        content: byteString(content),
      }
    }
    case CARDINALITY.externalPart:
      return { kind: 'externalPart', ...head, ...externalFields(fields) }
    default: {
      const [number, parts] = fields
      const partSemantics = SEMANTICS_BY_NUMBER.get(unsigned(number, 0xff)) ?? refuse('badPart')
      if (parts === undefined || !isArray(parts) || parts.length < 2) return refuse('badPart')
      return { kind: 'multiPart', ...head, partSemantics, parts: parts.map(readInner) }
    }
  }
}

function externalFields(fields: readonly CborValue[]) {
  const [contentType, url, expires, size, encAlg, key, nonce, aad, ...more] = fields
  const [hashAlg, contentHash, description, filename] = more
  return {
    contentType: text(contentType),
    url: text(url),
    expires: unsigned(expires, 0xffffffff),
    size: unsigned64(size),
    encAlg: unsigned(encAlg, 0xffff),
    key: byteString(key),
    nonce: byteString(nonce),
    aad: byteString(aad),
    hashAlg: unsigned(hashAlg, 0xff),
    contentHash: byteString(contentHash),
    description: text(description),
    filename: text(filename),
  }
}

function unsigned(value: CborValue | undefined, max: number): number {
  return typeof value === 'number' && value >= 0 && value <= max ? value : refuse('badPart')
}

/** CBOR integers are bigints where no number holds them, and may be written as such throughout. */
function unsigned64(value: CborValue | undefined): bigint {
  if (typeof value === 'bigint' && value >= 0n) return value
  return BigInt(unsigned(value, Number.MAX_SAFE_INTEGER))
}

function text(value: CborValue | undefined): string {
  return typeof value === 'string' ? value : refuse('badPart')
}

function byteString(value: CborValue | undefined): Uint8Array {
  return value instanceof Uint8Array ? value : refuse('badPart')
}
