/**
 * The row of a room, its state, its generations and its log, in SQLite. The row carries the sums of
 * all that the room owns; the log is proven by its positions, which have no gap up to the row's
 * `next` and nothing behind it. Owns the statements on these tables but those of groups
 * (`sqlite-group.ts`); whoever calls owns the transaction.
 */
import type { LogPosition, RoomId } from '#core/base/ids.ts'
import { ENTRY_KINDS, type EntryKind, type LogEntry } from '#core/wire/log-entry.ts'
import type { StoredEntry, StoredGeneration, StoredRoom } from '#hub/ports.ts'
import { BODY_FORMS, type UnpackedGeneration, type UnpackedRoom } from './sqlite-batch.ts'
import { findName } from './sqlite-names.ts'
import { addUp, bytesOf, changeSum, checksumOf, integerOf, mustHold } from './sqlite-proof.ts'
import type { Row, Sql } from './sqlite-proof.ts'

/** Changed by whoever writes, and stored by `writeRoom`. */
export interface RoomRow {
  readonly roomNo: number
  readonly room: Uint8Array
  term: number
  next: number
  headHash: Uint8Array
  stateSum: number
  generationsSum: number
  headsSum: number
  anchorsSum: number
  /** Of its Welcomes that are held back. */
  heldSum: number
}

const FIRST_HASH = new Uint8Array(32)

/** Null where it is proven that there is no such room. */
export function findRoom(sql: Sql, room: Uint8Array): RoomRow | null {
  const roomNo = findName(sql, 'room', room)
  return roomNo === null ? null : readRoomRow(sql, roomNo)
}

export function readRoomRow(sql: Sql, roomNo: number): RoomRow {
  const row = sql('SELECT * FROM rooms WHERE room_no = ?').get(roomNo)
  mustHold(row !== undefined)
  const read: RoomRow = {
    roomNo,
    room: bytesOf(row.room),
    term: integerOf(row.term),
    next: integerOf(row.next),
    headHash: bytesOf(row.head_hash),
    stateSum: integerOf(row.state_sum),
    generationsSum: integerOf(row.generations_sum),
    headsSum: integerOf(row.heads_sum),
    anchorsSum: integerOf(row.anchors_sum),
    heldSum: integerOf(row.held_sum),
  }
  mustHold(row.checksum === roomChecksum(read))
  return read
}

export function newRoomRow(roomNo: number, room: Uint8Array): RoomRow {
  const sums = { stateSum: 0, generationsSum: 0, headsSum: 0, anchorsSum: 0, heldSum: 0 }
  return { roomNo, room, term: 0, next: 0, headHash: FIRST_HASH, ...sums }
}

export function insertRoom(sql: Sql, row: RoomRow): void {
  sql(
    `INSERT INTO rooms
       (room_no, room, term, next, head_hash, state_sum, generations_sum, heads_sum, anchors_sum,
        held_sum, checksum)
     VALUES (?, ?, 0, 0, ?, 0, 0, 0, 0, 0, ?)`,
  ).run(row.roomNo, row.room, row.headHash, roomChecksum(row))
}

export function writeRoom(sql: Sql, row: RoomRow): void {
  const { changes } = sql(
    `UPDATE rooms SET term = ?, next = ?, head_hash = ?, state_sum = ?, generations_sum = ?,
       heads_sum = ?, anchors_sum = ?, held_sum = ?, checksum = ?
     WHERE room_no = ?`,
  ).run(
    row.term,
    row.next,
    row.headHash,
    row.stateSum,
    row.generationsSum,
    row.headsSum,
    row.anchorsSum,
    row.heldSum,
    roomChecksum(row),
    row.roomNo,
  )
  mustHold(changes === 1)
}

function roomChecksum(row: RoomRow): number {
  const { roomNo, room, term, next, headHash } = row
  const { stateSum, generationsSum, headsSum, anchorsSum, heldSum } = row
  const sums = [stateSum, generationsSum, headsSum, anchorsSum, heldSum]
  return checksumOf('rooms', [roomNo, room, term, next, headHash, ...sums])
}

// ---- Writes -------------------------------------------------------------------------------

/** Entries and state of an append; moves the row on. */
export function appendEntries(sql: Sql, row: RoomRow, append: UnpackedRoom): void {
  const { roomNo } = row
  row.term = append.term
  const insert = sql(
    `INSERT INTO log (room_no, position, entry, time, form, entry_hash, checksum, body)
     VALUES (?, ?, ?, ?, ?, ?, ?, ?)`,
  )
  for (const { entry, time, form, hash, body } of append.entries) {
    const position = row.next++
    const checksum = checksumOf('log', [roomNo, position, entry, time, form, hash, body])
    insert.run(roomNo, position, entry, time, form, hash, checksum, body)
  }
  // Out of the buffer of the whole batch, which would stay with the row.
  row.headHash = append.entries.at(-1)?.hash.slice() ?? row.headHash
  if (append.state === null) return
  sql('INSERT OR REPLACE INTO room_states (room_no, state) VALUES (?, ?)')
    .run(roomNo, append.state)
  row.stateSum = checksumOf('room_states', [roomNo, append.state])
}

/** Keeps the largest of each sender in each epoch. */
export function storeGenerations(
  sql: Sql,
  row: RoomRow,
  generations: readonly UnpackedGeneration[],
): void {
  for (const stored of generations) {
    const { origin, leaf, lane, generation } = stored
    const key = [row.roomNo, origin, leaf, lane] as const
    const before = sql(
      `SELECT generation FROM generations
       WHERE room_no = ? AND origin = ? AND leaf = ? AND lane = ?`,
    ).get(...key)
    if (before !== undefined) {
      const old = integerOf(before.generation)
      if (old >= generation) continue
      const less = generationChecksum(row.roomNo, { ...stored, generation: old })
      row.generationsSum = changeSum(row.generationsSum, { less })
    }
    sql(
      `INSERT OR REPLACE INTO generations (room_no, origin, leaf, lane, generation)
       VALUES (?, ?, ?, ?, ?)`,
    ).run(...key, generation)
    const more = generationChecksum(row.roomNo, stored)
    row.generationsSum = changeSum(row.generationsSum, { more })
  }
}

/** Those of epochs that were made from `from` on, up to and without `to`. */
export function dropGenerations(
  sql: Sql,
  row: RoomRow,
  { from = 0, to = Number.MAX_SAFE_INTEGER }: { readonly from?: number; readonly to?: number },
): void {
  const dropped = sql(
    `DELETE FROM generations WHERE room_no = ? AND origin >= ? AND origin < ?
     RETURNING origin, leaf, lane, generation`,
  ).all(row.roomNo, from, to)
  const less = addUp(dropped.map((each) => generationChecksum(row.roomNo, toGeneration(each))))
  row.generationsSum = changeSum(row.generationsSum, { less })
}

function toGeneration(row: Row): UnpackedGeneration {
  return {
    origin: integerOf(row.origin),
    leaf: integerOf(row.leaf),
    lane: integerOf(row.lane),
    generation: integerOf(row.generation),
  }
}

function generationChecksum(roomNo: number, stored: UnpackedGeneration): number {
  const { origin, leaf, lane, generation } = stored
  return checksumOf('generations', [roomNo, origin, leaf, lane, generation])
}

// ---- Reads --------------------------------------------------------------------------------

export function readRoom(sql: Sql, room: RoomId): StoredRoom | null {
  const row = findRoom(sql, room)
  if (row === null) return null
  const behind = sql('SELECT 1 FROM log WHERE room_no = ? AND position >= ? LIMIT 1')
    .get(row.roomNo, row.next)
  mustHold(behind === undefined)
  return {
    next: positionOf(row.next),
    headHash: row.headHash,
    state: readState(sql, row),
    generations: readGenerations(sql, row),
  }
}

function readState(sql: Sql, { roomNo, stateSum }: RoomRow): Uint8Array {
  const row = sql('SELECT state FROM room_states WHERE room_no = ?').get(roomNo)
  if (stateSum === 0 && row === undefined) return new Uint8Array(0)
  mustHold(row !== undefined)
  const state = bytesOf(row.state)
  mustHold(stateSum === checksumOf('room_states', [roomNo, state]))
  return state
}

function readGenerations(sql: Sql, row: RoomRow): readonly StoredGeneration[] {
  const rows = sql('SELECT origin, leaf, lane, generation FROM generations WHERE room_no = ?')
    .all(row.roomNo).map(toGeneration)
  const sum = addUp(rows.map((stored) => generationChecksum(row.roomNo, stored)))
  mustHold(sum === row.generationsSum)
  return rows.map((stored) => ({ ...stored, origin: positionOf(stored.origin) }))
}

export interface EntryRange {
  readonly from: LogPosition
  readonly limit: number
  readonly bytesMax: number
}

export function readEntries(sql: Sql, room: RoomId, range: EntryRange): readonly StoredEntry[] {
  const row = findRoom(sql, room)
  if (row === null) return []
  const from = Number(range.from)
  const rows = sql(
    `SELECT position, entry, time, form, entry_hash, checksum, body FROM log
     WHERE room_no = ? AND position >= ? ORDER BY position LIMIT ?`,
  ).iterate(row.roomNo, from, range.limit)
  const entries: StoredEntry[] = []
  let bytes = 0
  for (const read of rows) {
    mustHold(read.position === from + entries.length && read.position < row.next)
    const body = bytesOf(read.body)
    bytes += body.length
    if (entries.length > 0 && bytes > range.bytesMax) return entries
    entries.push(toStoredEntry(row.roomNo, read))
  }
  mustHold(entries.length === Math.min(range.limit, Math.max(row.next - from, 0)))
  const last = entries.at(-1)
  if (last !== undefined && Number(last.position) === row.next - 1) {
    mustHold(checksumOf('head', [last.entryHash]) === checksumOf('head', [row.headHash]))
  }
  return entries
}

const ENTRY_NAMES: ReadonlyMap<unknown, EntryKind> = new Map(
  (Object.keys(ENTRY_KINDS) as EntryKind[]).map((name) => [ENTRY_KINDS[name], name]),
)

function toStoredEntry(roomNo: number, row: Row): StoredEntry {
  const [position, kind] = [integerOf(row.position), integerOf(row.entry)]
  const [time, form] = [integerOf(row.time), integerOf(row.form)]
  const [hash, bytes] = [bytesOf(row.entry_hash), bytesOf(row.body)]
  mustHold(row.checksum === checksumOf('log', [roomNo, position, kind, time, form, hash, bytes]))
  const entry = ENTRY_NAMES.get(kind)
  mustHold(entry !== undefined)
  const body: LogEntry['body'] = form === BODY_FORMS.hole
    ? { kind: 'hole', hash: bytes }
    : { kind: 'whole', bytes }
  return {
    position: positionOf(position),
    entry: { header: { entry, time: BigInt(time) }, body },
    entryHash: hash,
  }
}

export const positionOf = (value: number): LogPosition => BigInt(value) as LogPosition
