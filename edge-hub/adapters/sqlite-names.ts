/**
 * The names by which rooms, accounts and KeyPackages are found, in SQLite. The names of a kind are
 * a ring in their order: each row says which name comes after its own. Where a name is looked up
 * and not found, the row before it says that there is none, so that a damaged index cannot hide
 * one. Owns the statements on that table; whoever calls owns the transaction.
 */
import { checksumOf, integerOf, mustHold, type Row, type Sql } from './sqlite-proof.ts'
import { bytesOf } from './sqlite-proof.ts'

export const NAME_KINDS = { room: 1, account: 2, keyPackage: 3 } as const
export type NameKind = keyof typeof NAME_KINDS

/** Begins and ends each ring. */
const RING_NAME = new Uint8Array(0)

interface NameRow {
  readonly name: Uint8Array
  readonly after: Uint8Array
  readonly number: number
}

/** The number of a name; null where it is proven that there is none. */
export function findName(sql: Sql, kind: NameKind, name: Uint8Array): number | null {
  const before = rowUpTo(sql, kind, name)
  return compare(before.name, name) === 0 ? before.number : null
}

/** False when the name is there already: nothing has changed. */
export function insertName(sql: Sql, kind: NameKind, row: Omit<NameRow, 'after'>): boolean {
  const before = rowUpTo(sql, kind, row.name)
  if (compare(before.name, row.name) === 0) return false
  write(sql, kind, { ...before, after: row.name })
  write(sql, kind, { ...row, after: before.after })
  return true
}

/** Does nothing where there is none. */
export function removeName(sql: Sql, kind: NameKind, name: Uint8Array): void {
  const removed = rowUpTo(sql, kind, name)
  if (compare(removed.name, name) !== 0) return
  const row = sql('SELECT * FROM names WHERE kind = ? AND name < ? ORDER BY name DESC LIMIT 1')
    .get(NAME_KINDS[kind], name)
  const before = checked(kind, row)
  mustHold(compare(before.after, name) === 0)
  sql('DELETE FROM names WHERE kind = ? AND name = ?').run(NAME_KINDS[kind], name)
  write(sql, kind, { ...before, after: removed.after })
}

/** An empty ring for each kind. */
export function createRings(sql: Sql): void {
  for (const kind of Object.keys(NAME_KINDS) as NameKind[]) {
    write(sql, kind, { name: RING_NAME, after: RING_NAME, number: 0 })
  }
}

/** The row of a name, or the one before where it would stand. */
function rowUpTo(sql: Sql, kind: NameKind, name: Uint8Array): NameRow {
  const row = sql('SELECT * FROM names WHERE kind = ? AND name <= ? ORDER BY name DESC LIMIT 1')
    .get(NAME_KINDS[kind], name)
  const found = checked(kind, row)
  const order = compare(found.name, name)
  mustHold(order <= 0)
  mustHold(order === 0 || found.after.length === 0 || compare(found.after, name) > 0)
  return found
}

function checked(kind: NameKind, row: Row | undefined): NameRow {
  mustHold(row !== undefined)
  const found = {
    name: bytesOf(row.name),
    after: bytesOf(row.after),
    number: integerOf(row.number),
  }
  mustHold(row.checksum === nameChecksum(kind, found))
  return found
}

function write(sql: Sql, kind: NameKind, row: NameRow): void {
  sql('INSERT OR REPLACE INTO names (kind, name, after, number, checksum) VALUES (?, ?, ?, ?, ?)')
    .run(NAME_KINDS[kind], row.name, row.after, row.number, nameChecksum(kind, row))
}

function nameChecksum(kind: NameKind, { name, after, number }: NameRow): number {
  return checksumOf('names', [NAME_KINDS[kind], name, after, number])
}

/** In the order of SQLite: byte by byte, then the shorter first. */
function compare(a: Uint8Array, b: Uint8Array): number {
  const length = Math.min(a.length, b.length)
  for (let i = 0; i < length; i++) {
    const difference = (a[i] as number) - (b[i] as number)
    if (difference !== 0) return difference
  }
  return a.length - b.length
}
