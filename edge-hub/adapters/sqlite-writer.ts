/**
 * The only writer of the hub's database, as a worker. It takes one batch of operations, runs it in
 * one immediate transaction, and answers when the commit has been synced. Owns every statement that
 * changes the database; decides nothing about rooms but the comparison of term and position.
 */
import type { DatabaseSync, StatementSync } from 'node:sqlite'
import { LIMITS } from '#core/base/limits.ts'
import type { DeviceId, LogPosition, Term } from '#core/base/ids.ts'
import type { AppendOutcome, ClaimedKeyPackage, StoredKeyPackage } from '#hub/ports.ts'
import type { FromWriter, Operation, OperationResult, ToWriter } from './sqlite-batch.ts'
import { unpackAppends, type UnpackedRoom, type UnpackedVersion } from './sqlite-batch.ts'
import { GroupWriter } from './sqlite-group.ts'
import { openForWriting } from './sqlite-schema.ts'

type Row = Record<string, unknown>
type OperationOf<Kind extends Operation['kind']> = Extract<Operation, { kind: Kind }>

/** SQLITE_IOERR and SQLITE_CORRUPT: after these nobody knows what the file holds. */
const BREAKING_CODES: ReadonlySet<number> = new Set([10, 11])

/** Runs batches on one connection. */
export class BatchWriter {
  readonly #db: DatabaseSync
  readonly #statements = new Map<string, StatementSync>()
  readonly #groups = new GroupWriter((text) => this.#sql(text))
  #broken = false

  constructor(db: DatabaseSync) {
    this.#db = db
  }

  /** Commits all operations or none. After a failure of the medium every batch is refused. */
  commit(id: number, operations: readonly Operation[]): FromWriter {
    if (this.#broken) return { kind: 'failed', id, broken: true }
    try {
      this.#db.exec('BEGIN IMMEDIATE')
      const results = operations.map((operation) => this.#run(operation))
      this.#db.exec('COMMIT')
      return { kind: 'committed', id, results }
    } catch (error) {
      this.#broken = isBreaking(error) || !this.#rollBack()
      return { kind: 'failed', id, broken: this.#broken }
    }
  }

  close(): void {
    this.#statements.clear()
    this.#db.close()
  }

  /** SQLite may have rolled back by itself; what counts is that no transaction is left open. */
  #rollBack(): boolean {
    try {
      if (this.#db.isTransaction) this.#db.exec('ROLLBACK')
      return !this.#db.isTransaction
    } catch {
      return false
    }
  }

  #run(operation: Operation): OperationResult {
    switch (operation.kind) {
      case 'append':
        return unpackAppends(operation.packed).map((room) => this.#append(room))
      case 'register':
        return this.#register(operation)
      case 'publish':
        return this.#publish(operation)
      case 'claim':
        return this.#claim(operation)
      case 'deleteWelcome':
        return this.#deleteWelcome(operation)
      case 'leaveAnchor':
        return this.#leaveAnchor(operation)
    }
  }

  // ---- Log --------------------------------------------------------------------------------

  #append(append: UnpackedRoom): AppendOutcome {
    const row = this.#sql('SELECT room_no, term, next FROM rooms WHERE room = ?').get(append.room)
    const term = row === undefined ? 0 : Number(row.term)
    const next = row === undefined ? 0 : Number(row.next)
    if (append.term < term) return { kind: 'termFenced', term: BigInt(term) as Term }
    if (append.expectedNext !== next) {
      return { kind: 'positionConflict', next: BigInt(next) as LogPosition }
    }
    const roomNo = row === undefined ? this.#insertRoom(append) : Number(row.room_no)
    this.#insertEntries(roomNo, append)
    this.#moveHead(roomNo, append)
    if (append.state !== null) {
      this.#sql('INSERT OR REPLACE INTO room_states (room_no, state) VALUES (?, ?)')
        .run(roomNo, append.state)
    }
    if (append.effects !== null) this.#voidFrom(roomNo, append.effects.voidFrom)
    this.#storeGenerations(roomNo, append)
    this.#storeWelcomes(roomNo, append)
    if (append.effects !== null) this.#makeFinal(roomNo, append.effects.finals)
    return { kind: 'appended' }
  }

  #voidFrom(roomNo: number, voidFrom: number | null): void {
    if (voidFrom === null) return
    this.#sql('DELETE FROM generations WHERE room_no = ? AND origin >= ?').run(roomNo, voidFrom)
    const voided = this.#sql(
      'DELETE FROM welcomes WHERE room_no = ? AND position >= ? RETURNING body_no',
    ).all(roomNo, voidFrom)
    for (const { body_no: bodyNo } of voided) this.#dropBody(Number(bodyNo))
  }

  #makeFinal(roomNo: number, finals: readonly UnpackedVersion[]): void {
    const newest = finals.at(-1)
    if (newest === undefined) return
    for (const version of finals) this.#groups.store(roomNo, version)
    this.#sql('DELETE FROM generations WHERE room_no = ? AND origin < ?')
      .run(roomNo, newest.position)
    this.#sql('UPDATE welcomes SET held = 0 WHERE room_no = ? AND position <= ? AND held = 1')
      .run(roomNo, newest.position)
  }

  #leaveAnchor(operation: OperationOf<'leaveAnchor'>): 'left' | 'gone' {
    const row = this.#sql('SELECT room_no FROM rooms WHERE room = ?').get(operation.room)
    return row === undefined ? 'gone' : this.#groups.leaveAnchor(Number(row.room_no), operation)
  }

  #insertRoom(append: UnpackedRoom): number {
    const inserted = this.#sql(
      'INSERT INTO rooms (room, term, next, head_hash) VALUES (?, ?, 0, zeroblob(32))',
    ).run(append.room, append.term)
    return Number(inserted.lastInsertRowid)
  }

  #insertEntries(roomNo: number, append: UnpackedRoom): void {
    const insert = this.#sql(
      `INSERT INTO log (room_no, position, entry, time, form, entry_hash, body)
       VALUES (?, ?, ?, ?, ?, ?, ?)`,
    )
    let position = append.expectedNext
    for (const { entry, time, form, hash, body } of append.entries) {
      insert.run(roomNo, position++, entry, time, form, hash, body)
    }
  }

  #moveHead(roomNo: number, append: UnpackedRoom): void {
    const last = append.entries.at(-1)
    if (last === undefined) {
      this.#sql('UPDATE rooms SET term = ? WHERE room_no = ?').run(append.term, roomNo)
      return
    }
    this.#sql('UPDATE rooms SET term = ?, next = ?, head_hash = ? WHERE room_no = ?')
      .run(append.term, append.expectedNext + append.entries.length, last.hash, roomNo)
  }

  /** Keeps the largest of each sender in each epoch. */
  #storeGenerations(roomNo: number, append: UnpackedRoom): void {
    for (const { origin, leaf, lane, generation } of append.generations) {
      this.#sql(
        `INSERT INTO generations (room_no, origin, leaf, lane, generation) VALUES (?, ?, ?, ?, ?)
         ON CONFLICT DO UPDATE SET generation = max(generation, excluded.generation)`,
      ).run(roomNo, origin, leaf, lane, generation)
    }
  }

  /** A device that lets its queue fill up gets no more until it has taken some. */
  #storeWelcomes(roomNo: number, append: UnpackedRoom): void {
    const bodyNos = new Map<number, number>()
    for (const { account, device, position, held, body } of append.welcomes) {
      const waiting = this.#count(
        'SELECT count(*) AS n FROM welcomes WHERE account = ? AND device = ?',
        [account, device],
      )
      if (waiting >= LIMITS.welcomesPerDeviceMax) continue
      let bodyNo = bodyNos.get(body)
      if (bodyNo === undefined) {
        const inserted = this.#sql('INSERT INTO welcome_bodies (welcome) VALUES (?)')
          .run(append.bodies[body] as Uint8Array)
        bodyNo = Number(inserted.lastInsertRowid)
        bodyNos.set(body, bodyNo)
      }
      this.#sql(
        `INSERT INTO welcomes (account, device, room_no, position, held, body_no)
         VALUES (?, ?, ?, ?, ?, ?)`,
      ).run(account, device, roomNo, position, held ? 1 : 0, bodyNo)
    }
  }

  // ---- Directory --------------------------------------------------------------------------

  #register({ account }: OperationOf<'register'>): 'registered' | 'nameTaken' {
    const row = this.#sql('SELECT root_hash FROM accounts WHERE account = ?').get(account.account)
    if (row === undefined) {
      this.#sql('INSERT INTO accounts (account, certificate, root_hash) VALUES (?, ?, ?)')
        .run(account.account, account.certificate, account.rootHash)
      return 'registered'
    }
    if (!equalRow(row.root_hash, account.rootHash)) return 'nameTaken'
    this.#sql('UPDATE accounts SET certificate = ? WHERE account = ?')
      .run(account.certificate, account.account)
    return 'registered'
  }

  #publish(operation: OperationOf<'publish'>): 'published' | 'tooMany' {
    const { account, device, nowMs, lastResort } = operation
    this.#dropExpired(account, nowMs)
    const fresh = operation.single.filter((stored) => !this.#isKnown(stored.reference))
    const stored = this.#count(
      `SELECT count(*) AS n FROM key_packages
       WHERE account = ? AND device = ? AND last_resort = 0`,
      [account, device],
    )
    if (stored + fresh.length > LIMITS.keyPackagesPerDeviceMax) return 'tooMany'
    for (const keyPackage of fresh) this.#insertKeyPackage(operation, keyPackage, 0)
    if (lastResort === null) return 'published'
    this.#sql(
      `DELETE FROM key_packages
       WHERE account = ? AND device = ? AND suite = ? AND last_resort = 1`,
    ).run(account, device, lastResort.suite)
    if (!this.#isKnown(lastResort.reference)) this.#insertKeyPackage(operation, lastResort, 1)
    return 'published'
  }

  /** Stored now, or given out before: neither may come (back) into the directory. */
  #isKnown(reference: Uint8Array): boolean {
    const stored = this.#sql('SELECT 1 FROM key_packages WHERE reference = ?').get(reference)
    if (stored !== undefined) return true
    return this.#sql('SELECT 1 FROM claimed_key_packages WHERE reference = ?')
      .get(reference) !== undefined
  }

  #insertKeyPackage(
    owner: { readonly account: string; readonly device: Uint8Array },
    stored: StoredKeyPackage,
    lastResort: 0 | 1,
  ): void {
    this.#sql(
      `INSERT OR IGNORE INTO key_packages
         (account, device, suite, last_resort, not_after, reference, key_package)
       VALUES (?, ?, ?, ?, ?, ?, ?)`,
    ).run(
      owner.account,
      owner.device,
      stored.suite,
      lastResort,
      stored.notAfter,
      stored.reference,
      stored.keyPackage,
    )
  }

  #claim({ account, suite, nowMs }: OperationOf<'claim'>): readonly ClaimedKeyPackage[] {
    this.#dropExpired(account, nowMs)
    const devices = this.#sql(
      'SELECT DISTINCT device FROM key_packages WHERE account = ? AND suite = ? ORDER BY device',
    ).all(account, suite)
    return devices.slice(0, LIMITS.devicesPerAccountMax)
      .map(({ device }) => this.#claimFor(account, device as DeviceId, suite))
  }

  /** Single-use packages first, oldest first; the last resort one stays. */
  #claimFor(account: string, device: DeviceId, suite: number): ClaimedKeyPackage {
    const row = this.#sql(
      `SELECT package_no, last_resort, not_after, reference, key_package FROM key_packages
       WHERE account = ? AND device = ? AND suite = ? ORDER BY last_resort, package_no LIMIT 1`,
    ).get(account, device, suite) as Row
    const lastResort = row.last_resort === 1
    if (!lastResort) {
      this.#sql('DELETE FROM key_packages WHERE package_no = ?').run(Number(row.package_no))
      this.#sql('INSERT INTO claimed_key_packages (reference, not_after) VALUES (?, ?)')
        .run(row.reference as Uint8Array, Number(row.not_after))
    }
    return { device, keyPackage: row.key_package as Uint8Array, lastResort }
  }

  /** An expired package is never given out, so its reference need not be remembered either. */
  #dropExpired(account: string, nowMs: number): void {
    this.#sql('DELETE FROM key_packages WHERE account = ? AND not_after <= ?').run(account, nowMs)
    this.#sql('DELETE FROM claimed_key_packages WHERE not_after <= ?').run(nowMs)
  }

  #deleteWelcome({ account, device, id }: OperationOf<'deleteWelcome'>): null {
    const row = this.#sql(
      'SELECT body_no FROM welcomes WHERE welcome_no = ? AND account = ? AND device = ?',
    ).get(id, account, device)
    if (row === undefined) return null
    const bodyNo = Number(row.body_no)
    this.#sql('DELETE FROM welcomes WHERE welcome_no = ?').run(id)
    this.#dropBody(bodyNo)
    return null
  }

  /** Unless a Welcome still needs it. */
  #dropBody(bodyNo: number): void {
    this.#sql(
      `DELETE FROM welcome_bodies WHERE body_no = ?
       AND NOT EXISTS (SELECT 1 FROM welcomes WHERE body_no = ?)`,
    ).run(bodyNo, bodyNo)
  }

  // ---- Statements -------------------------------------------------------------------------

  #sql(text: string): StatementSync {
    let statement = this.#statements.get(text)
    if (statement === undefined) {
      statement = this.#db.prepare(text)
      this.#statements.set(text, statement)
    }
    return statement
  }

  #count(text: string, parameters: readonly (string | Uint8Array)[]): number {
    return Number((this.#sql(text).get(...parameters) as Row).n)
  }
}

function isBreaking(error: unknown): boolean {
  const code = (error as { errcode?: unknown }).errcode
  return typeof code === 'number' && BREAKING_CODES.has(code & 0xff)
}

function equalRow(stored: unknown, expected: Uint8Array): boolean {
  const bytes = stored as Uint8Array
  return bytes.length === expected.length && bytes.every((byte, i) => byte === expected[i])
}

// ---- Worker -------------------------------------------------------------------------------

interface WorkerHost {
  onmessage: ((event: MessageEvent<ToWriter>) => void) | null
  postMessage(message: FromWriter): void
  close(): void
}

/** Answers the messages of the main thread, one after the other. */
function serve(host: WorkerHost): void {
  let writer: BatchWriter | null = null
  host.onmessage = ({ data: message }) => {
    switch (message.kind) {
      case 'open': {
        const opened = openForWriting(message.path)
        if (opened.kind === 'opened') writer = new BatchWriter(opened.db)
        host.postMessage(opened.kind === 'opened' ? { kind: 'opened' } : opened)
        return
      }
      case 'commit':
        host.postMessage(
          writer?.commit(message.id, message.operations) ??
            { kind: 'failed', id: message.id, broken: true },
        )
        return
      case 'close':
        writer?.close()
        host.postMessage({ kind: 'closed' })
        host.close()
    }
  }
}

serve(globalThis as unknown as WorkerHost)
