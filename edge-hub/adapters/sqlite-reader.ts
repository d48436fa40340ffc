/**
 * The reads of `RoomLog` and `Directory` on one connection to the SQLite file. Whatever is read is
 * proven first (`sqlite-proof.ts`): what the medium has changed or lost is an error, never an
 * answer. Owns what becomes of such an error.
 */
import type { DatabaseSync } from 'node:sqlite'
import type { Clock } from '#core/base/ports.ts'
import type { Directory, Observe, RoomLog } from '#hub/ports.ts'
import { countKeyPackages, readAccount } from './sqlite-directory.ts'
import { readHoldingRooms, readWelcomes } from './sqlite-directory.ts'
import { readAnchor, readCertificates, readNodes, readVersion } from './sqlite-group.ts'
import { isRowDamage, isStructureDamage, statementsOf } from './sqlite-proof.ts'
import { readEntries, readRoom } from './sqlite-room.ts'

/**
 * `failed`: this transaction or read. `broken`: the medium; nothing is written any more. `damaged`:
 * what is stored is not what was written; other rooms and accounts may be sound.
 */
export type StoreErrorCode = 'failed' | 'broken' | 'closed' | 'damaged'

/** Nothing of the rejected operation is stored. */
export class StoreError extends Error {
  override readonly name = 'StoreError'
  readonly code: StoreErrorCode

  constructor(code: StoreErrorCode) {
    super(code)
    this.code = code
  }
}

export interface StoreReader {
  readonly log: Omit<RoomLog, 'append' | 'leaveAnchor' | 'close'>
  readonly directory: Pick<
    Directory,
    'readAccount' | 'countKeyPackages' | 'readWelcomes' | 'readHoldingRooms'
  >
}

export interface ReaderPorts {
  readonly clock: Clock
  readonly observe: Observe
}

export function createReader(db: DatabaseSync, { clock, observe }: ReaderPorts): StoreReader {
  const sql = statementsOf(db)
  /** All of a read sees one moment: the writer goes on beside it, and rows must fit their sums. */
  const atOnce = <T>(read: () => T): T => {
    sql('BEGIN').run()
    try {
      return read()
    } finally {
      sql('COMMIT').run()
    }
  }
  /** A synchronous read as a promise, which rejects with the closed set of codes. */
  const attempt = <T>(part: 'log' | 'directory', read: () => T): Promise<T> => {
    try {
      return Promise.resolve(atOnce(read))
    } catch (error) {
      const isDamage = isRowDamage(error) || isStructureDamage(error)
      if (isDamage) observe({ kind: 'storeDamaged', part })
      return Promise.reject(new StoreError(isDamage ? 'damaged' : 'failed'))
    }
  }
  return {
    log: {
      readRoom: (room) => attempt('log', () => readRoom(sql, room)),
      read: (room, range) => attempt('log', () => readEntries(sql, room, range)),
      readVersion: (room, at) => attempt('log', () => readVersion(sql, room, at)),
      readNodes: (room, page) => attempt('log', () => readNodes(sql, room, page)),
      readCertificates: (room, page) => attempt('log', () => readCertificates(sql, room, page)),
      readAnchor: (room, invitation) => attempt('log', () => readAnchor(sql, room, invitation)),
    },
    directory: {
      readAccount: (account) => attempt('directory', () => readAccount(sql, account)),
      countKeyPackages: (account, device) =>
        attempt('directory', () => countKeyPackages(sql, { account, device }, clock.nowMs())),
      readWelcomes: (account, device, without = new Set()) =>
        attempt('directory', () => readWelcomes(sql, { account, device }, without)),
      readHoldingRooms: (account, device) =>
        attempt('directory', () => readHoldingRooms(sql, { account, device })),
    },
  }
}
