/**
 * The versions of groups and the anchors that keep them, in SQLite. A head, a node or a certificate
 * is a row of an interval of versions; a new version ends the rows that it replaces, and what no
 * anchor needs goes with it. Owns the statements on these tables; whoever calls owns the
 * transaction.
 */
import type { DatabaseSync, StatementSync } from 'node:sqlite'
import { toHex } from '#core/base/bytes.ts'
import type { LogPosition, RoomId } from '#core/base/ids.ts'
import type { CertificatePage, NodePage, StoredAnchor, StoredCertificate } from '#hub/ports.ts'
import type { StoredNode, VersionHead } from '#hub/ports.ts'
import type { Operation, UnpackedVersion } from './sqlite-batch.ts'

type LeaveAnchor = Extract<Operation, { readonly kind: 'leaveAnchor' }>

const TABLES = ['group_heads', 'group_nodes', 'group_certificates'] as const

/** Writes within the transaction of whoever calls. `sql` prepares a statement, or has it ready. */
export class GroupWriter {
  readonly #sql: (text: string) => StatementSync

  constructor(sql: (text: string) => StatementSync) {
    this.#sql = sql
  }

  /** The newest version from its position on. */
  store(roomNo: number, version: UnpackedVersion): void {
    this.#storeHead(roomNo, version)
    this.#storeNodes(roomNo, version)
    this.#storeCertificates(roomNo, version)
    this.#dropAnchors(roomNo, version.invitations)
    this.#prune(roomNo)
  }

  #storeHead(roomNo: number, { position, leafWidth, head }: UnpackedVersion): void {
    this.#sql('UPDATE group_heads SET until = ? WHERE room_no = ? AND until IS NULL')
      .run(position, roomNo)
    this.#sql('INSERT INTO group_heads (room_no, position, leaf_width, head) VALUES (?, ?, ?, ?)')
      .run(roomNo, position, leafWidth, head)
  }

  #storeNodes(roomNo: number, { position, leafWidth, nodes }: UnpackedVersion): void {
    this.#sql('UPDATE group_nodes SET until = ? WHERE room_no = ? AND node > ? AND until IS NULL')
      .run(position, roomNo, 2 * (leafWidth - 1))
    for (const { node, bytes } of nodes) {
      this.#sql('UPDATE group_nodes SET until = ? WHERE room_no = ? AND node = ? AND until IS NULL')
        .run(position, roomNo, node)
      if (bytes === null) continue
      this.#sql('INSERT INTO group_nodes (room_no, node, position, bytes) VALUES (?, ?, ?, ?)')
        .run(roomNo, node, position, bytes)
    }
  }

  #storeCertificates(roomNo: number, version: UnpackedVersion): void {
    const { position } = version
    for (const hash of version.certificatesDropped) {
      this.#sql(
        `UPDATE group_certificates SET until = ?
         WHERE room_no = ? AND hash = ? AND until IS NULL`,
      ).run(position, roomNo, hash)
    }
    for (const { hash, certificate } of version.certificates) {
      this.#sql(
        `INSERT INTO group_certificates (room_no, hash, position, certificate)
         VALUES (?, ?, ?, ?)`,
      ).run(roomNo, hash, position, certificate)
    }
  }

  #dropAnchors(roomNo: number, invitations: readonly Uint8Array[]): void {
    const kept = new Set(invitations.map(toHex))
    const left = this.#sql('SELECT invitation FROM anchors WHERE room_no = ?').all(roomNo)
    for (const { invitation } of left) {
      if (kept.has(toHex(invitation as Uint8Array))) continue
      this.#sql('DELETE FROM anchors WHERE room_no = ? AND invitation = ?')
        .run(roomNo, invitation as Uint8Array)
    }
  }

  leaveAnchor(roomNo: number, left: LeaveAnchor): 'left' | 'gone' {
    const { invitation, version, position, anchor } = left
    const kept = this.#sql('SELECT 1 FROM group_heads WHERE room_no = ? AND position = ?')
      .get(roomNo, version)
    if (kept === undefined) return 'gone'
    this.#sql(
      `INSERT OR REPLACE INTO anchors (room_no, invitation, version, position, anchor)
       VALUES (?, ?, ?, ?, ?)`,
    ).run(roomNo, invitation, version, position, anchor)
    this.#prune(roomNo)
    return 'left'
  }

  /** Rows that ended and are of no version that an anchor names. */
  #prune(roomNo: number): void {
    for (const table of TABLES) {
      this.#sql(
        `DELETE FROM ${table} WHERE room_no = ? AND until IS NOT NULL AND NOT EXISTS (
           SELECT 1 FROM anchors WHERE anchors.room_no = ${table}.room_no
           AND version >= ${table}.position AND version < ${table}.until)`,
      ).run(roomNo)
    }
  }
}

/** Reads of versions and anchors, each one statement. */
export interface GroupReader {
  version(room: RoomId, at: LogPosition): VersionHead | null
  nodes(room: RoomId, page: NodePage): readonly StoredNode[]
  certificates(room: RoomId, page: CertificatePage): readonly StoredCertificate[]
  anchor(room: RoomId, invitation: Uint8Array): StoredAnchor | null
}

const OF_ROOM = 'room_no = (SELECT room_no FROM rooms WHERE room = ?)'
const OF_VERSION = 'position <= ? AND (until IS NULL OR until > ?)'
const IS_KEPT = `EXISTS (SELECT 1 FROM group_heads WHERE ${OF_ROOM} AND position = ?)`

export function createGroupReader(db: DatabaseSync): GroupReader {
  const selectVersion = db.prepare(
    `SELECT position, leaf_width, head FROM group_heads WHERE ${OF_ROOM} AND position <= ?
     ORDER BY position DESC LIMIT 1`,
  )
  const selectNodes = db.prepare(
    `SELECT node, bytes FROM group_nodes
     WHERE ${OF_ROOM} AND node >= ? AND ${OF_VERSION} AND ${IS_KEPT} ORDER BY node LIMIT ?`,
  )
  const selectCertificates = db.prepare(
    `SELECT hash, certificate FROM group_certificates
     WHERE ${OF_ROOM} AND hash > ? AND ${OF_VERSION} AND ${IS_KEPT} ORDER BY hash LIMIT ?`,
  )
  const selectAnchor = db.prepare(
    `SELECT version, position, anchor FROM anchors WHERE ${OF_ROOM} AND invitation = ?`,
  )
  return {
    version(room, at) {
      const row = selectVersion.get(room, Number(at))
      if (row === undefined) return null
      return {
        position: positionOf(row.position),
        leafWidth: Number(row.leaf_width),
        head: row.head as Uint8Array,
      }
    },
    nodes(room, { version, from, limit, bytesMax }) {
      const at = Number(version)
      const rows = selectNodes.iterate(room, from, at, at, room, at, limit)
      return pageOf(rows, bytesMax, (row) => ({
        node: Number(row.node),
        bytes: row.bytes as Uint8Array,
      }), ({ bytes }) => bytes.length)
    },
    certificates(room, { version, after, limit, bytesMax }) {
      const at = Number(version)
      const first = after ?? new Uint8Array(0)
      const rows = selectCertificates.iterate(room, first, at, at, room, at, limit)
      return pageOf(rows, bytesMax, (row) => ({
        hash: row.hash as Uint8Array,
        certificate: row.certificate as Uint8Array,
      }), ({ certificate }) => certificate.length)
    },
    anchor(room, invitation) {
      const row = selectAnchor.get(room, invitation)
      if (row === undefined) return null
      return {
        invitation: invitation.slice(),
        version: positionOf(row.version),
        position: positionOf(row.position),
        anchor: row.anchor as Uint8Array,
      }
    },
  }
}

const positionOf = (value: unknown) => BigInt(Number(value)) as LogPosition

/** Rows until there is more of them than `bytesMax`, but at least one. */
function pageOf<T>(
  rows: Iterable<Record<string, unknown>>,
  bytesMax: number,
  read: (row: Record<string, unknown>) => T,
  sizeOf: (item: T) => number,
): readonly T[] {
  const page: T[] = []
  let bytes = 0
  for (const row of rows) {
    const item = read(row)
    bytes += sizeOf(item)
    if (page.length > 0 && bytes > bytesMax) break
    page.push(item)
  }
  return page
}
