/**
 * The versions of groups and the anchors that keep them, in SQLite. A head, a node or a certificate
 * is a row of an interval of versions; a new version ends the rows that it replaces, and what no
 * anchor needs goes with it. `until` is in no checksum: what a version holds is proven by the sums
 * that its head carries, whatever says where a row ends. Owns the statements on these tables;
 * whoever calls owns the transaction and stores the row of the room.
 */
import { toHex } from '#core/base/bytes.ts'
import type { LogPosition, RoomId } from '#core/base/ids.ts'
import type { CertificatePage, NodePage, StoredAnchor, StoredCertificate } from '#hub/ports.ts'
import type { StoredNode, VersionHead } from '#hub/ports.ts'
import type { Operation, UnpackedVersion } from './sqlite-batch.ts'
import { addUp, bytesOf, changeSum, checksumOf, integerOf, mustHold } from './sqlite-proof.ts'
import type { Row, Sql } from './sqlite-proof.ts'
import { findRoom, positionOf, type RoomRow } from './sqlite-room.ts'

type LeaveAnchor = Extract<Operation, { readonly kind: 'leaveAnchor' }>

interface HeadRow {
  readonly position: number
  readonly leafWidth: number
  readonly nodesSum: number
  readonly certificatesSum: number
  readonly headChecksum: number
  readonly checksum: number
}

interface AnchorRow {
  readonly invitation: Uint8Array
  readonly version: number
  readonly position: number
  readonly anchorChecksum: number
  readonly checksum: number
}

// ---- Writes -------------------------------------------------------------------------------

/** The newest version from its position on. */
export function storeVersion(sql: Sql, room: RoomRow, version: UnpackedVersion): void {
  const { nodesSum = 0, certificatesSum = 0 } = readHeads(sql, room).at(-1) ?? {}
  sql('UPDATE group_heads SET until = ? WHERE room_no = ? AND until IS NULL')
    .run(version.position, room.roomNo)
  insertHead(sql, room, {
    version,
    nodesSum: changeSum(nodesSum, storeNodes(sql, room.roomNo, version)),
    certificatesSum: changeSum(certificatesSum, storeCertificates(sql, room.roomNo, version)),
  })
  dropAnchors(sql, room, version.invitations)
  prune(sql, room)
}

function insertHead(
  sql: Sql,
  room: RoomRow,
  { version, ...sums }: {
    readonly version: UnpackedVersion
    readonly nodesSum: number
    readonly certificatesSum: number
  },
): void {
  const { position, leafWidth, head } = version
  const headChecksum = checksumOf('head', [head])
  const row = { position, leafWidth, ...sums, headChecksum }
  const checksum = versionChecksum(room.roomNo, row)
  sql(
    `INSERT INTO group_heads
       (room_no, position, leaf_width, nodes_sum, certificates_sum, head_checksum, checksum, head)
     VALUES (?, ?, ?, ?, ?, ?, ?, ?)`,
  ).run(
    room.roomNo,
    position,
    leafWidth,
    sums.nodesSum,
    sums.certificatesSum,
    headChecksum,
    checksum,
    head,
  )
  room.headsSum = changeSum(room.headsSum, { more: checksum })
}

interface SumChange {
  readonly less: number
  readonly more: number
}

function storeNodes(sql: Sql, roomNo: number, version: UnpackedVersion): SumChange {
  const { position, leafWidth } = version
  const ended = sql(
    `UPDATE group_nodes SET until = ? WHERE room_no = ? AND node > ? AND until IS NULL
     RETURNING node AS key, position, checksum`,
  ).all(position, roomNo, 2 * (leafWidth - 1))
  const added: number[] = []
  for (const { node, bytes } of version.nodes) {
    ended.push(
      ...sql(
        `UPDATE group_nodes SET until = ? WHERE room_no = ? AND node = ? AND until IS NULL
         RETURNING node AS key, position, checksum`,
      ).all(position, roomNo, node),
    )
    if (bytes === null) continue
    const checksum = checksumOf('group_nodes', [roomNo, node, position, bytes])
    sql(
      'INSERT INTO group_nodes (room_no, node, position, checksum, bytes) VALUES (?, ?, ?, ?, ?)',
    ).run(roomNo, node, position, checksum, bytes)
    added.push(partOf(roomNo, { key: node, position, checksum }))
  }
  return { less: addUp(ended.map((row) => partOf(roomNo, row))), more: addUp(added) }
}

function storeCertificates(sql: Sql, roomNo: number, version: UnpackedVersion): SumChange {
  const { position } = version
  const ended: Row[] = []
  for (const hash of version.certificatesDropped) {
    ended.push(
      ...sql(
        `UPDATE group_certificates SET until = ?
         WHERE room_no = ? AND hash = ? AND until IS NULL
         RETURNING hash AS key, position, checksum`,
      ).all(position, roomNo, hash),
    )
  }
  const added: number[] = []
  for (const { hash, certificate } of version.certificates) {
    const checksum = checksumOf('group_certificates', [roomNo, hash, position, certificate])
    sql(
      `INSERT INTO group_certificates (room_no, hash, position, checksum, certificate)
       VALUES (?, ?, ?, ?, ?)`,
    ).run(roomNo, hash, position, checksum, certificate)
    added.push(partOf(roomNo, { key: hash, position, checksum }))
  }
  return { less: addUp(ended.map((row) => partOf(roomNo, row))), more: addUp(added) }
}

/** What a node or a certificate adds to the sum of a version: also where it stands in its order. */
function partOf(roomNo: number, { key, position, checksum }: Row): number {
  const sound = key instanceof Uint8Array ? key : integerOf(key)
  return checksumOf('version', [roomNo, sound, integerOf(position), integerOf(checksum)])
}

const checksumsIn = (rows: readonly Row[]): number[] =>
  rows.map(({ checksum }) => integerOf(checksum))

function dropAnchors(sql: Sql, room: RoomRow, invitations: readonly Uint8Array[]): void {
  const kept = new Set(invitations.map(toHex))
  for (const { invitation, checksum } of readAnchors(sql, room)) {
    if (kept.has(toHex(invitation))) continue
    sql('DELETE FROM anchors WHERE room_no = ? AND invitation = ?').run(room.roomNo, invitation)
    room.anchorsSum = changeSum(room.anchorsSum, { less: checksum })
  }
}

/** `gone`: nothing is stored. */
export function leaveAnchor(sql: Sql, room: RoomRow, left: LeaveAnchor): 'left' | 'gone' {
  const { invitation, version, position, anchor } = left
  if (!readHeads(sql, room).some((head) => head.position === version)) return 'gone'
  const key = toHex(invitation)
  const before = readAnchors(sql, room).find((each) => toHex(each.invitation) === key)
  const anchorChecksum = checksumOf('anchor', [anchor])
  const checksum = anchorRowChecksum(room.roomNo, {
    invitation,
    version,
    position,
    anchorChecksum,
  })
  sql(
    `INSERT OR REPLACE INTO anchors
       (room_no, invitation, version, position, anchor_checksum, checksum, anchor)
     VALUES (?, ?, ?, ?, ?, ?, ?)`,
  ).run(room.roomNo, invitation, version, position, anchorChecksum, checksum, anchor)
  const change = { less: before?.checksum ?? 0, more: checksum }
  room.anchorsSum = changeSum(room.anchorsSum, change)
  prune(sql, room)
  return 'left'
}

/** Rows that ended and are of no version that an anchor names. */
function prune(sql: Sql, room: RoomRow): void {
  const dropped = sql(`${ofNoVersion('group_heads')} RETURNING checksum`).all(room.roomNo)
  room.headsSum = changeSum(room.headsSum, { less: addUp(checksumsIn(dropped)) })
  sql(ofNoVersion('group_nodes')).run(room.roomNo)
  sql(ofNoVersion('group_certificates')).run(room.roomNo)
}

const ofNoVersion = (table: string) =>
  `DELETE FROM ${table} WHERE room_no = ? AND until IS NOT NULL AND NOT EXISTS (
     SELECT 1 FROM anchors WHERE anchors.room_no = ${table}.room_no
     AND version >= ${table}.position AND version < ${table}.until)`

// ---- Rows that are read as a set ----------------------------------------------------------

/** All that are kept, by position. */
function readHeads(sql: Sql, { roomNo, headsSum }: RoomRow): readonly HeadRow[] {
  const rows = sql(
    `SELECT position, leaf_width, nodes_sum, certificates_sum, head_checksum, checksum
     FROM group_heads WHERE room_no = ? ORDER BY position`,
  ).all(roomNo).map((row): HeadRow => ({
    position: integerOf(row.position),
    leafWidth: integerOf(row.leaf_width),
    nodesSum: integerOf(row.nodes_sum),
    certificatesSum: integerOf(row.certificates_sum),
    headChecksum: integerOf(row.head_checksum),
    checksum: integerOf(row.checksum),
  }))
  mustHold(rows.every((row) => row.checksum === versionChecksum(roomNo, row)))
  mustHold(addUp(rows.map(({ checksum }) => checksum)) === headsSum)
  return rows
}

function versionChecksum(roomNo: number, head: Omit<HeadRow, 'checksum'>): number {
  const { position, leafWidth, nodesSum, certificatesSum, headChecksum } = head
  const values = [roomNo, position, leafWidth, nodesSum, certificatesSum, headChecksum]
  return checksumOf('group_heads', values)
}

function readAnchors(sql: Sql, { roomNo, anchorsSum }: RoomRow): readonly AnchorRow[] {
  const rows = sql(
    `SELECT invitation, version, position, anchor_checksum, checksum
     FROM anchors WHERE room_no = ?`,
  ).all(roomNo).map((row): AnchorRow => ({
    invitation: bytesOf(row.invitation),
    version: integerOf(row.version),
    position: integerOf(row.position),
    anchorChecksum: integerOf(row.anchor_checksum),
    checksum: integerOf(row.checksum),
  }))
  mustHold(rows.every((row) => row.checksum === anchorRowChecksum(roomNo, row)))
  mustHold(addUp(rows.map(({ checksum }) => checksum)) === anchorsSum)
  return rows
}

function anchorRowChecksum(roomNo: number, anchor: Omit<AnchorRow, 'checksum'>): number {
  const { invitation, version, position, anchorChecksum } = anchor
  return checksumOf('anchors', [roomNo, invitation, version, position, anchorChecksum])
}

// ---- Reads --------------------------------------------------------------------------------

export function readVersion(sql: Sql, id: RoomId, at: LogPosition): VersionHead | null {
  const room = findRoom(sql, id)
  if (room === null) return null
  const newest = readHeads(sql, room).findLast(({ position }) => position <= at)
  if (newest === undefined) return null
  const { position, leafWidth, headChecksum } = newest
  const row = sql('SELECT head FROM group_heads WHERE room_no = ? AND position = ?')
    .get(room.roomNo, position)
  mustHold(row !== undefined)
  const head = bytesOf(row.head)
  mustHold(headChecksum === checksumOf('head', [head]))
  return { position: positionOf(position), leafWidth, head }
}

export function readAnchor(sql: Sql, id: RoomId, invitation: Uint8Array): StoredAnchor | null {
  const room = findRoom(sql, id)
  if (room === null) return null
  const key = toHex(invitation)
  const found = readAnchors(sql, room).find((each) => toHex(each.invitation) === key)
  if (found === undefined) return null
  mustHold(readHeads(sql, room).some(({ position }) => position === found.version))
  const row = sql('SELECT anchor FROM anchors WHERE room_no = ? AND invitation = ?')
    .get(room.roomNo, invitation)
  mustHold(row !== undefined)
  const anchor = bytesOf(row.anchor)
  mustHold(found.anchorChecksum === checksumOf('anchor', [anchor]))
  return {
    invitation: invitation.slice(),
    version: positionOf(found.version),
    position: positionOf(found.position),
    anchor,
  }
}

const OF_VERSION = 'position <= ? AND (until IS NULL OR until > ?)'

/** The room and the head of a version that is kept. */
function findVersion(
  sql: Sql,
  id: RoomId,
  version: LogPosition,
): { readonly roomNo: number; readonly head: HeadRow } | null {
  const room = findRoom(sql, id)
  if (room === null) return null
  const head = readHeads(sql, room).find(({ position }) => position === Number(version))
  return head === undefined ? null : { roomNo: room.roomNo, head }
}

interface Contents {
  readonly of: 'nodes' | 'certificates'
  readonly roomNo: number
  readonly at: number
  readonly sum: number
}

/** Of each store, what was proven last: pages of one version follow one another. */
const lastProven = new WeakMap<Sql, Map<Contents['of'], Contents & { rows: readonly Row[] }>>()

/** The rows of a version, proven by its sum; a version never changes. */
function provenRows(sql: Sql, contents: Contents, read: () => readonly Row[]): readonly Row[] {
  const { of, roomNo, at, sum } = contents
  const last = lastProven.get(sql) ?? new Map()
  lastProven.set(sql, last)
  const known = last.get(of)
  if (known?.roomNo === roomNo && known.at === at && known.sum === sum) return known.rows
  const rows = read()
  mustHold(addUp(rows.map((row) => partOf(roomNo, row))) === sum)
  last.set(of, { ...contents, rows })
  return rows
}

export function readNodes(sql: Sql, id: RoomId, page: NodePage): readonly StoredNode[] {
  const found = findVersion(sql, id, page.version)
  if (found === null) return []
  const { roomNo, head } = found
  const at = head.position
  const all = provenRows(sql, { of: 'nodes', roomNo, at, sum: head.nodesSum }, () =>
    sql(
      `SELECT node AS key, position, checksum FROM group_nodes
       WHERE room_no = ? AND ${OF_VERSION} ORDER BY node`,
    ).all(roomNo, at, at))
  const expected = all.filter(({ key }) => integerOf(key) >= page.from)
  const rows = sql(
    `SELECT node, position, checksum, bytes FROM group_nodes
     WHERE room_no = ? AND node >= ? AND ${OF_VERSION} ORDER BY node LIMIT ?`,
  ).iterate(roomNo, page.from, at, at, page.limit)
  return pageOf(rows, { ...page, expected }, (row) => {
    const [node, position, bytes] = [integerOf(row.node), integerOf(row.position), row.bytes]
    const checksum = checksumOf('group_nodes', [roomNo, node, position, bytesOf(bytes)])
    return { item: { node, bytes: bytesOf(bytes) }, checksum, length: bytesOf(bytes).length }
  })
}

export function readCertificates(
  sql: Sql,
  id: RoomId,
  page: CertificatePage,
): readonly StoredCertificate[] {
  const found = findVersion(sql, id, page.version)
  if (found === null) return []
  const { roomNo, head } = found
  const at = head.position
  const after = page.after ?? new Uint8Array(0)
  const sum = head.certificatesSum
  const all = provenRows(sql, { of: 'certificates', roomNo, at, sum }, () =>
    sql(
      `SELECT hash AS key, position, checksum FROM group_certificates
       WHERE room_no = ? AND ${OF_VERSION} ORDER BY hash`,
    ).all(roomNo, at, at))
  const behind = toHex(after)
  const expected = all.filter(({ key }) => toHex(bytesOf(key)) > behind)
  const rows = sql(
    `SELECT hash, position, checksum, certificate FROM group_certificates
     WHERE room_no = ? AND hash > ? AND ${OF_VERSION} ORDER BY hash LIMIT ?`,
  ).iterate(roomNo, after, at, at, page.limit)
  return pageOf(rows, { ...page, expected }, (row) => {
    const [hash, certificate] = [bytesOf(row.hash), bytesOf(row.certificate)]
    const position = integerOf(row.position)
    const checksum = checksumOf('group_certificates', [roomNo, hash, position, certificate])
    return { item: { hash, certificate }, checksum, length: certificate.length }
  })
}

interface PageBounds {
  readonly limit: number
  readonly bytesMax: number
  /** All rows from the first of the page on, as they are proven to be. */
  readonly expected: readonly Row[]
}

interface PageItem<T> {
  readonly item: T
  /** As it must stand in the row. */
  readonly checksum: number
  readonly length: number
}

/**
 * Rows until there is more of them than `bytesMax`, but at least one. An iteration that fails ends
 * without an error, so an ended one must have brought all that is expected.
 */
function pageOf<T>(
  rows: Iterable<Row>,
  { limit, bytesMax, expected }: PageBounds,
  read: (row: Row) => PageItem<T>,
): readonly T[] {
  const page: T[] = []
  let bytes = 0
  for (const row of rows) {
    const { item, checksum, length } = read(row)
    mustHold(row.checksum === checksum && expected[page.length]?.checksum === checksum)
    bytes += length
    if (page.length > 0 && bytes > bytesMax) return page
    page.push(item)
  }
  mustHold(page.length === Math.min(limit, expected.length))
  return page
}
