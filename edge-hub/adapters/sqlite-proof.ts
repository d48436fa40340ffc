/**
 * How rows of the hub's database prove themselves. SQLite checks no page: a medium that changes a
 * byte changes what is read. So each row carries a CRC-32 over its table, its key and its values,
 * and whoever owns rows carries the sum of their checksums, so that none can get lost or come back.
 * A CRC finds every run of up to 32 changed bits for certain and misses others once in 2^32; it is
 * no proof against a person, whom the chain of hashes and the signed heads are for (LOG-2, LOG-3).
 * Owns no statement.
 */
import type { DatabaseSync, StatementSync } from 'node:sqlite'
import { crc32 } from 'node:zlib'
import { utf8Encode } from '#core/base/bytes.ts'

/** Prepares a statement, or has it ready. Errors have codes, which those of `exec` have not. */
export type Sql = (text: string) => StatementSync

export type Row = Record<string, unknown>

export function statementsOf(db: DatabaseSync): Sql {
  const prepared = new Map<string, StatementSync>()
  return (text) => {
    let statement = prepared.get(text)
    if (statement === undefined) {
      statement = db.prepare(text)
      prepared.set(text, statement)
    }
    return statement
  }
}

/** Stored bytes are not what was written. */
export class DamagedError extends Error {
  override readonly name = 'DamagedError'
}

export function mustHold(condition: boolean): asserts condition {
  if (!condition) throw new DamagedError()
}

/** SQLITE_ERROR (a sum that overflows), SQLITE_TOOBIG, SQLITE_CONSTRAINT: sound rows cause none. */
const ROW_CODES: ReadonlySet<number> = new Set([1, 18, 19])
/** SQLITE_CORRUPT, SQLITE_NOTADB: the structure around the rows is damaged. */
const STRUCTURE_CODES: ReadonlySet<number> = new Set([11, 26])

/** Rows or a statement on them are damaged; others may be sound. */
export function isRowDamage(error: unknown): boolean {
  if (error instanceof DamagedError) return true
  const { errcode, code } = error as { errcode?: unknown; code?: unknown }
  // An integer column above 2^53, which nothing writes.
  if (code === 'ERR_OUT_OF_RANGE') return true
  return typeof errcode === 'number' && ROW_CODES.has(errcode & 0xff)
}

export function isStructureDamage(error: unknown): boolean {
  const { errcode } = error as { errcode?: unknown }
  return typeof errcode === 'number' && STRUCTURE_CODES.has(errcode & 0xff)
}

// ---- Columns ------------------------------------------------------------------------------

export function integerOf(value: unknown): number {
  mustHold(Number.isSafeInteger(value))
  return value as number
}

export function bytesOf(value: unknown): Uint8Array {
  mustHold(value instanceof Uint8Array)
  return value
}

/** A sum of checksums; null is the sum of no rows. */
export function sumOf(value: unknown): number {
  return value === null ? 0 : integerOf(value)
}

// ---- Checksums ----------------------------------------------------------------------------

/** In front of what is summed, so that no row passes for one of another table. */
const TABLES = {
  store: 1,
  names: 2,
  rooms: 3,
  room_states: 4,
  log: 5,
  generations: 6,
  group_heads: 7,
  group_nodes: 8,
  group_certificates: 9,
  anchors: 10,
  accounts: 11,
  holdings: 12,
  key_packages: 13,
  claimed_key_packages: 14,
  welcomes: 15,
  welcome_bodies: 16,
  commits: 17,
  head: 18,
  anchor: 19,
  key_package: 20,
  version: 21,
} as const

export type Summed = number | string | Uint8Array

const VALUES_MAX = 15
const numbers = new Float64Array(1 + VALUES_MAX)
const numberBytes = new Uint8Array(numbers.buffer)

/** Of one row: numbers as they are, bytes and texts by their length and content. Below 2^32. */
export function checksumOf(table: keyof typeof TABLES, values: readonly Summed[]): number {
  mustHold(values.length <= VALUES_MAX)
  numbers[0] = TABLES[table]
  const parts: Uint8Array[] = []
  for (let i = 0; i < values.length; i++) {
    const value = values[i] as Summed
    if (typeof value === 'number') {
      numbers[i + 1] = value
      continue
    }
    const bytes = typeof value === 'string' ? utf8Encode(value) : value
    parts.push(bytes)
    numbers[i + 1] = bytes.length
  }
  let checksum = crc32(numberBytes.subarray(0, 8 * (values.length + 1)))
  for (const part of parts) checksum = crc32(part, checksum)
  return checksum
}

/** Sums stay far below 2^53, whatever damaged rows add. */
const SUM_MODULUS = 2 ** 50

/** A sum without some rows and with others. */
export function changeSum(
  sum: number,
  { less = 0, more = 0 }: { readonly less?: number; readonly more?: number },
): number {
  const changed = (sum - less % SUM_MODULUS + more % SUM_MODULUS) % SUM_MODULUS
  return changed < 0 ? changed + SUM_MODULUS : changed
}

/** Adds up rows of a set that is read whole, each of which was looked at. */
export function addUp(checksums: Iterable<number>): number {
  let sum = 0
  for (const checksum of checksums) sum = changeSum(sum, { more: checksum })
  return sum
}
