/**
 * The only writer of the hub's database, as a worker. It takes one batch of operations, runs it in
 * one immediate transaction, and answers when the commit has been synced. Owns the transactions and
 * what damage means for them; decides nothing about rooms but the comparison of term and position.
 */
import type { DatabaseSync } from 'node:sqlite'
import type { LogPosition, Term } from '#core/base/ids.ts'
import type { AppendOutcome } from '#hub/ports.ts'
import type { FromWriter, Operation, OperationResult, ToWriter } from './sqlite-batch.ts'
import { unpackAppends, type UnpackedEffects, type UnpackedRoom } from './sqlite-batch.ts'
import { claim, publish, register } from './sqlite-directory.ts'
import { leaveAnchor, storeVersion } from './sqlite-group.ts'
import { insertName } from './sqlite-names.ts'
import { isRowDamage, type Sql } from './sqlite-proof.ts'
import { appendEntries, dropGenerations, insertRoom, newRoomRow } from './sqlite-room.ts'
import { type RoomRow, storeGenerations, writeRoom } from './sqlite-room.ts'
import { RoomCache } from './sqlite-room-cache.ts'
import { type OpenedWriter, openForWriting, writeStore } from './sqlite-schema.ts'
import { deleteWelcome, releaseWelcomes, storeWelcomes, voidWelcomes } from './sqlite-welcomes.ts'
import type { WelcomeStore } from './sqlite-welcomes.ts'

type OperationOf<Kind extends Operation['kind']> = Extract<Operation, { kind: Kind }>

/** SQLITE_IOERR, SQLITE_CORRUPT and SQLITE_NOTADB: after these nobody knows what the file holds. */
const BREAKING_CODES: ReadonlySet<number> = new Set([10, 11, 26])

/** Runs batches on one connection. */
export class BatchWriter {
  readonly #db: DatabaseSync
  readonly #sql: Sql
  readonly #commitsFile: OpenedWriter['commitsFile']
  readonly #rooms = new RoomCache()
  #commits: number
  #nextNumber: number
  #broken = false
  /** Whether this batch met damaged rows of accounts behind Welcomes. */
  #gaveUp = false

  constructor({ db, sql, commitsFile, store }: OpenedWriter) {
    this.#db = db
    this.#sql = sql
    this.#commitsFile = commitsFile
    this.#commits = store.commits
    this.#nextNumber = store.nextNumber
  }

  /**
   * Commits all operations but those whose rows are damaged, or none. After a failure of the medium
   * every batch is refused.
   */
  commit(id: number, operations: readonly Operation[]): FromWriter {
    if (this.#broken) return { kind: 'failed', id, broken: true }
    this.#gaveUp = false
    try {
      const run = (operation: Operation) => this.#run(operation)
      const results = this.#transact(operations, run) ?? this.#commitSound(operations)
      return { kind: 'committed', id, results, gaveUp: this.#gaveUp }
    } catch (error) {
      this.#broken = isBreaking(error) || !this.#rollBack()
      return { kind: 'failed', id, broken: this.#broken }
    }
  }

  close(): void {
    this.#db.close()
    this.#commitsFile.close()
  }

  /** Null, with nothing stored, where an operation met damaged rows. */
  #transact(
    operations: readonly Operation[],
    run: (operation: Operation) => OperationResult,
  ): readonly OperationResult[] | null {
    this.#sql('BEGIN IMMEDIATE').run()
    let results: readonly OperationResult[]
    try {
      results = operations.map(run)
    } catch (error) {
      if (!isRowDamage(error) || !this.#rollBack()) throw error
      return null
    }
    const commits = this.#commits + 1
    writeStore(this.#sql, { commits, nextNumber: this.#nextNumber })
    this.#sql('COMMIT').run()
    this.#commits = commits
    this.#commitsFile.note(commits)
    return results
  }

  /** Each operation, room and Welcome by itself, so that damage of one holds up no other. */
  #commitSound(operations: readonly Operation[]): readonly OperationResult[] {
    const results = this.#transact(operations, (operation) => {
      if (operation.kind !== 'append') {
        return this.#apart(() => this.#run(operation), { kind: 'damaged' })
      }
      return unpackAppends(operation.packed).map((room) =>
        this.#apart(() => this.#append(room, (part) => this.#welcomeApart(part)), {
          kind: 'damaged',
        })
      )
    })
    return results ?? operations.map(() => ({ kind: 'damaged' }))
  }

  #apart<T>(run: () => T, damaged: T): T {
    this.#sql('SAVEPOINT apart').run()
    try {
      const result = run()
      this.#sql('RELEASE apart').run()
      return result
    } catch (error) {
      if (!isRowDamage(error)) throw error
      this.#rooms.forget()
      this.#sql('ROLLBACK TO apart').run()
      this.#sql('RELEASE apart').run()
      return damaged
    }
  }

  #welcomeApart(part: () => void): boolean {
    const isSound = this.#apart(() => {
      part()
      return true
    }, false)
    this.#gaveUp ||= !isSound
    return isSound
  }

  /** SQLite may have rolled back by itself; what counts is that no transaction is left open. */
  #rollBack(): boolean {
    this.#rooms.forget()
    try {
      if (this.#db.isTransaction) this.#sql('ROLLBACK').run()
      return !this.#db.isTransaction
    } catch {
      return false
    }
  }

  readonly #number = (): number => this.#nextNumber++

  #run(operation: Operation): OperationResult {
    switch (operation.kind) {
      case 'append':
        return unpackAppends(operation.packed).map((room) => this.#append(room, together))
      case 'register':
        return register(this.#sql, operation, this.#number)
      case 'publish':
        return publish(this.#sql, operation, this.#number)
      case 'claim':
        return claim(this.#sql, operation)
      case 'deleteWelcome':
        return deleteWelcome(this.#sql, operation)
      case 'leaveAnchor':
        return this.#leaveAnchor(operation)
    }
  }

  #append(append: UnpackedRoom, apart: WelcomeStore['apart']): AppendOutcome {
    const sql = this.#sql
    const found = this.#rooms.find(sql, append.room)
    const { term, next } = found ?? { term: 0, next: 0 }
    if (append.term < term) return { kind: 'termFenced', term: BigInt(term) as Term }
    if (append.expectedNext !== next) {
      return { kind: 'positionConflict', next: BigInt(next) as LogPosition }
    }
    const row = found ?? this.#insertRoom(append)
    appendEntries(sql, row, append)
    const { effects } = append
    const welcomes = { sql, room: row, apart }
    const voidFrom = effects?.voidFrom ?? null
    if (voidFrom !== null) {
      dropGenerations(sql, row, { from: voidFrom })
      voidWelcomes(welcomes, voidFrom)
    }
    storeGenerations(sql, row, append.generations)
    storeWelcomes(welcomes, append, this.#number)
    if (effects !== null) this.#makeFinal(welcomes, effects)
    writeRoom(sql, row)
    return { kind: 'appended' }
  }

  #insertRoom({ room }: UnpackedRoom): RoomRow {
    // Out of the buffer of the whole batch, which would stay with it.
    const row = newRoomRow(this.#number(), room.slice())
    insertName(this.#sql, 'room', { name: room, number: row.roomNo })
    insertRoom(this.#sql, row)
    this.#rooms.keep(row)
    return row
  }

  #makeFinal(welcomes: WelcomeStore, { finals }: UnpackedEffects): void {
    const { sql, room } = welcomes
    const newest = finals.at(-1)
    if (newest === undefined) return
    for (const version of finals) storeVersion(sql, room, version)
    dropGenerations(sql, room, { to: newest.position })
    releaseWelcomes(welcomes, newest.position)
  }

  #leaveAnchor(operation: OperationOf<'leaveAnchor'>): 'left' | 'gone' {
    const row = this.#rooms.find(this.#sql, operation.room)
    if (row === null) return 'gone'
    const outcome = leaveAnchor(this.#sql, row, operation)
    if (outcome === 'left') writeRoom(this.#sql, row)
    return outcome
  }
}

/** Damage behind one Welcome is damage of the batch, which is then run again in parts. */
function together(part: () => void): boolean {
  part()
  return true
}

function isBreaking(error: unknown): boolean {
  // What is no error of SQLite comes from the file of commits.
  const code = (error as { errcode?: unknown }).errcode
  return typeof code !== 'number' || BREAKING_CODES.has(code & 0xff)
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
        if (opened.kind === 'opened') writer = new BatchWriter(opened)
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
