/**
 * `RoomLog` and `Directory` on one SQLite file (HUB-3). Writes go to one worker and are committed
 * in groups: what is asked for while a transaction runs goes into the next one, and is answered
 * when that one is on the medium. Reads run here, on a connection of their own, in bounded pages; a
 * reader of a WAL sees only what has been synced. Owns no statement that writes (those stand in
 * `sqlite-writer.ts`).
 */
import { assert } from '#core/base/assert.ts'
import type { Clock } from '#core/base/ports.ts'
import type { Directory, Observe, RoomLog, StoredKeyPackage } from '#hub/ports.ts'
import { type FromWriter, type Operation, packAppends, type ToWriter } from './sqlite-batch.ts'
import type { Damaged, OperationResult, OperationResults } from './sqlite-batch.ts'
import { createReader, StoreError, type StoreReader } from './sqlite-reader.ts'
import { openForReading, type SchemaRefusal } from './sqlite-schema.ts'

/** Two, so that the writer has the next batch at hand while the answer to the last one travels. */
const BATCHES_IN_FLIGHT_MAX = 2
const OPERATIONS_PER_BATCH_MAX = 1_024

export interface SqliteStore {
  readonly log: RoomLog
  readonly directory: Directory
  /** False from a failed transaction to the next good one, and for ever after a broken medium. */
  healthy(): boolean
  /** Commits what was asked for, then closes the file. */
  close(): Promise<void>
}

export type OpenedStore =
  | { readonly kind: 'opened'; readonly store: SqliteStore }
  | { readonly kind: 'refused'; readonly code: SchemaRefusal | 'inUse' }

export interface SqliteStoreOptions {
  /** Made when missing, for the owner only. */
  readonly dataDir: string
  readonly clock: Clock
  readonly observe: Observe
}

/** Opens `hub.sqlite` in the data folder, which belongs to one process at a time. */
export async function openSqliteStore(options: SqliteStoreOptions): Promise<OpenedStore> {
  const path = `${options.dataDir}/hub.sqlite`
  const lock = lockFolder(options.dataDir, path)
  if (typeof lock === 'string') return { kind: 'refused', code: lock }
  const writer = new WriterQueue(options.observe)
  const refusal = await writer.open(path)
  const reader = refusal === null ? openForReading(path) : null
  if (reader === null || reader.kind === 'refused') {
    await writer.close(() => {})
    lock.close()
    return { kind: 'refused', code: refusal ?? 'unreadable' }
  }
  let closed: Promise<void> | null = null
  const close = () => {
    closed ??= writer.close(() => reader.db.close()).then(() => lock.close())
    return closed
  }
  const read = createReader(reader.db, options)
  const log = createLog(writer, read, close)
  const directory = createDirectory(writer, read, options.clock)
  return {
    kind: 'opened',
    store: { log, directory, healthy: () => writer.healthy, close },
  }
}

/** The lock goes with the process, however it ends. */
function lockFolder(dataDir: string, path: string): Deno.FsFile | 'inUse' | 'unreadable' {
  try {
    Deno.mkdirSync(dataDir, { recursive: true, mode: 0o700 })
    const lock = Deno.openSync(`${dataDir}/lock`, { create: true, write: true, mode: 0o600 })
    if (!lock.tryLockSync(true)) {
      lock.close()
      return 'inUse'
    }
    Deno.openSync(path, { create: true, write: true, mode: 0o600 }).close()
    return lock
  } catch {
    return 'unreadable'
  }
}

// ---- Writes -------------------------------------------------------------------------------

interface Pending {
  readonly operation: Operation
  readonly settle: {
    resolve(result: Exclude<OperationResult, Damaged>): void
    reject(error: StoreError): void
  }
}

function isDamaged(result: unknown): result is Damaged {
  return (result as Partial<Damaged> | null)?.kind === 'damaged'
}

/** Queues operations for the worker and groups them into transactions. */
class WriterQueue {
  readonly #observe: Observe
  readonly #worker: Worker
  readonly #flights = new Map<number, readonly Pending[]>()
  #queued: Pending[] = []
  #nextId = 1
  #flushing = false
  #state: 'open' | 'closing' | 'closed' | 'broken' = 'open'
  #failed = false
  #opened: (refusal: SchemaRefusal | null) => void = () => {}
  #drained: () => void = () => {}
  readonly #ended = Promise.withResolvers<void>()

  constructor(observe: Observe) {
    this.#observe = observe
    this.#worker = new Worker(new URL('./sqlite-writer.ts', import.meta.url), { type: 'module' })
    this.#worker.onmessage = (event: MessageEvent<FromWriter>) => this.#received(event.data)
    // Without a handler that prevents the default, an error in the worker ends the process.
    this.#worker.onerror = (event) => {
      event.preventDefault()
      this.#break()
    }
    this.#worker.onmessageerror = () => this.#break()
  }

  get healthy(): boolean {
    return this.#state === 'open' && !this.#failed
  }

  open(path: string): Promise<SchemaRefusal | null> {
    return new Promise((resolve) => {
      this.#opened = resolve
      this.#post({ kind: 'open', path })
    })
  }

  /** Resolves with the result once it is synced. */
  submit<Op extends Operation>(operation: Op): Promise<OperationResults[Op['kind']]> {
    if (this.#state !== 'open') {
      return Promise.reject(new StoreError(this.#state === 'broken' ? 'broken' : 'closed'))
    }
    const { promise, resolve, reject } = Promise.withResolvers<Exclude<OperationResult, Damaged>>()
    this.#queued.push({ operation, settle: { resolve, reject } })
    if (!this.#flushing) {
      this.#flushing = true
      // What one turn of the caller asks for goes together.
      queueMicrotask(() => {
        this.#flushing = false
        this.#flush()
      })
    }
    return promise as Promise<OperationResults[Op['kind']]>
  }

  /**
   * Resolves when everything is committed and the file is closed. `drained` runs in between: the
   * writer folds the write-ahead log into the file only if it is the last to close.
   */
  async close(drained: () => void): Promise<void> {
    this.#drained = drained
    if (this.#state === 'broken') drained()
    if (this.#state === 'open') {
      this.#state = 'closing'
      if (!this.#flushing) this.#flush()
    }
    await this.#ended.promise
  }

  #flush(): void {
    while (this.#queued.length > 0 && this.#flights.size < BATCHES_IN_FLIGHT_MAX) {
      const pending = this.#queued.splice(0, OPERATIONS_PER_BATCH_MAX)
      const id = this.#nextId++
      this.#flights.set(id, pending)
      const operations = pending.map(({ operation }) => operation)
      this.#post({ kind: 'commit', id, operations })
    }
    if (this.#state !== 'closing' || this.#flights.size > 0) return
    this.#state = 'closed'
    this.#drained()
    this.#post({ kind: 'close' })
  }

  #post(message: ToWriter): void {
    const transfer: ArrayBuffer[] = []
    if (message.kind === 'commit') {
      for (const operation of message.operations) {
        if (operation.kind !== 'append') continue
        transfer.push(operation.packed.numbers.buffer, operation.packed.bytes.buffer)
      }
    }
    this.#worker.postMessage(message, transfer)
  }

  #received(message: FromWriter): void {
    switch (message.kind) {
      case 'opened':
        return this.#opened(null)
      case 'refused':
        return this.#opened(message.code)
      case 'committed': {
        this.#failed = false
        const pending = this.#land(message.id)
        if (message.gaveUp) this.#observe({ kind: 'storeDamaged', part: 'directory' })
        pending.forEach((each, i) => this.#settle(each, message.results[i] as OperationResult))
        return this.#flush()
      }
      case 'failed': {
        this.#failed = true
        if (message.broken) return this.#break()
        this.#observe({ kind: 'storeFailed' })
        for (const { settle } of this.#land(message.id)) settle.reject(new StoreError('failed'))
        return this.#flush()
      }
      case 'closed':
        return this.#ended.resolve()
    }
  }

  #settle({ operation, settle }: Pending, result: OperationResult): void {
    const part = operation.kind === 'append' || operation.kind === 'leaveAnchor'
      ? 'log'
      : 'directory'
    if (Array.isArray(result) && result.some(isDamaged) || isDamaged(result)) {
      this.#observe({ kind: 'storeDamaged', part })
    }
    if (isDamaged(result)) settle.reject(new StoreError('damaged'))
    else settle.resolve(result)
  }

  #land(id: number): readonly Pending[] {
    const pending = this.#flights.get(id)
    assert(pending !== undefined, 'the writer answers each batch once')
    this.#flights.delete(id)
    return pending
  }

  #break(): void {
    if (this.#state === 'broken') return
    if (this.#state === 'closing') this.#drained()
    this.#state = 'broken'
    this.#observe({ kind: 'storeBroken' })
    this.#opened('unreadable')
    const pending = [...this.#flights.values(), this.#queued].flat()
    this.#flights.clear()
    this.#queued = []
    for (const { settle } of pending) settle.reject(new StoreError('broken'))
    this.#worker.terminate()
    this.#ended.resolve()
  }
}

// ---- Ports --------------------------------------------------------------------------------

function createLog(writer: WriterQueue, reader: StoreReader, close: () => Promise<void>): RoomLog {
  return {
    ...reader.log,
    append: (batch) => writer.submit({ kind: 'append', packed: packAppends(batch) }),
    leaveAnchor: (room, { invitation, version, position, anchor }) =>
      writer.submit({
        kind: 'leaveAnchor',
        room: room.slice(),
        invitation: invitation.slice(),
        version: Number(version),
        position: Number(position),
        anchor: anchor.slice(),
      }),
    close,
  }
}

function createDirectory(writer: WriterQueue, reader: StoreReader, clock: Clock): Directory {
  return {
    ...reader.directory,
    register: ({ account, certificate, rootHash }) =>
      writer.submit({
        kind: 'register',
        account: { account, certificate: certificate.slice(), rootHash: rootHash.slice() },
      }),
    publish: ({ account, device }, packages) =>
      writer.submit({
        kind: 'publish',
        account,
        device: device.slice(),
        single: packages.single.map(detach),
        lastResort: packages.lastResort === null ? null : detach(packages.lastResort),
        nowMs: clock.nowMs(),
      }),
    claim: (account, { suite, nowMs }) => writer.submit({ kind: 'claim', account, suite, nowMs }),
    deleteWelcome: async ({ account, device: owner }, id) => {
      // SQLite counts to 2^63 - 1 and refuses to bind more.
      if (id >= 1n << 63n) return
      const device = owner.slice()
      await writer.submit({ kind: 'deleteWelcome', account, device, id })
    },
  }
}

/**
 * Handing over a view copies all of the buffer behind it, so views are cut out first. Times are
 * bounded to what an integer column and a number both hold.
 */
function detach({ reference, suite, keyPackage, notAfter }: StoredKeyPackage): StoredKeyPackage {
  const timeMax = Math.min(Math.trunc(notAfter), Number.MAX_SAFE_INTEGER)
  return {
    reference: reference.slice(),
    suite,
    keyPackage: keyPackage.slice(),
    notAfter: timeMax,
  }
}
