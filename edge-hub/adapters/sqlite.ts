/**
 * `RoomLog` and `Directory` on one SQLite file (HUB-3). Writes go to one worker and are committed
 * in groups: what is asked for while a transaction runs goes into the next one, and is answered
 * when that one is on the medium. Reads run here, on a connection of their own, in bounded pages; a
 * reader of a WAL sees only what has been synced. Owns no statement that writes (those stand in
 * `sqlite-writer.ts`).
 */
import type { DatabaseSync, StatementSync } from 'node:sqlite'
import { assert } from '#core/base/assert.ts'
import type { AccountName, DeviceId, LogPosition, RoomId } from '#core/base/ids.ts'
import type { Clock } from '#core/base/ports.ts'
import { ENTRY_KINDS, type EntryKind, type LogEntry } from '#core/wire/log-entry.ts'
import type { Directory, Observe, RoomLog, StoredEntry, StoredRoom } from '#hub/ports.ts'
import type { StoredAccount, StoredKeyPackage, WaitingWelcome } from '#hub/ports.ts'
import { BODY_FORMS, type FromWriter, type Operation, packAppends } from './sqlite-batch.ts'
import type { OperationResult, OperationResults, ToWriter } from './sqlite-batch.ts'
import { createGroupReader } from './sqlite-group.ts'
import { openForReading, type SchemaRefusal } from './sqlite-schema.ts'

/** Two, so that the writer has the next batch at hand while the answer to the last one travels. */
const BATCHES_IN_FLIGHT_MAX = 2
const OPERATIONS_PER_BATCH_MAX = 1_024
/** A page of waiting welcomes; the rest is read when these have been taken. */
const WELCOMES_PAGE_MAX = 64
const WELCOMES_PAGE_BYTES_MAX = 4_194_304

export type StoreErrorCode = 'failed' | 'broken' | 'closed'

/** Nothing of the rejected operation is stored. */
export class StoreError extends Error {
  override readonly name = 'StoreError'
  readonly code: StoreErrorCode

  constructor(code: StoreErrorCode) {
    super(code)
    this.code = code
  }
}

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
  const log = createLog(writer, reader.db, close)
  const directory = createDirectory(writer, reader.db, options.clock)
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
    resolve(result: OperationResult): void
    reject(error: StoreError): void
  }
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
    const { promise, resolve, reject } = Promise.withResolvers<OperationResult>()
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
        pending.forEach(({ settle }, i) => settle.resolve(message.results[i] as OperationResult))
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

// ---- Log ----------------------------------------------------------------------------------

const ENTRY_NAMES: ReadonlyMap<number, EntryKind> = new Map(
  (Object.keys(ENTRY_KINDS) as EntryKind[]).map((name) => [ENTRY_KINDS[name], name]),
)

function createLog(writer: WriterQueue, db: DatabaseSync, close: () => Promise<void>): RoomLog {
  const selectRoom = db.prepare(
    `SELECT rooms.room_no AS room_no, next, head_hash, state
     FROM rooms LEFT JOIN room_states USING (room_no) WHERE room = ?`,
  )
  const selectGenerations = db.prepare(
    'SELECT origin, leaf, lane, generation FROM generations WHERE room_no = ?',
  )
  const selectEntries = db.prepare(
    `SELECT position, entry, time, form, entry_hash, body FROM log
     WHERE room_no = (SELECT room_no FROM rooms WHERE room = ?) AND position >= ?
     ORDER BY position LIMIT ?`,
  )
  const groups = createGroupReader(db)
  return {
    append: (batch) => writer.submit({ kind: 'append', packed: packAppends(batch) }),
    readRoom: (room) => attempt(() => readRoom(selectRoom, selectGenerations, room)),
    read: (room, range) => attempt(() => readEntries(selectEntries, room, range)),
    readVersion: (room, at) => attempt(() => groups.version(room, at)),
    readNodes: (room, page) => attempt(() => groups.nodes(room, page)),
    readCertificates: (room, page) => attempt(() => groups.certificates(room, page)),
    leaveAnchor: (room, { invitation, version, position, anchor }) =>
      writer.submit({
        kind: 'leaveAnchor',
        room: room.slice(),
        invitation: invitation.slice(),
        version: Number(version),
        position: Number(position),
        anchor: anchor.slice(),
      }),
    readAnchor: (room, invitation) => attempt(() => groups.anchor(room, invitation)),
    close,
  }
}

function readRoom(room: StatementSync, generations: StatementSync, id: RoomId): StoredRoom | null {
  const row = room.get(id)
  if (row === undefined) return null
  return {
    next: BigInt(Number(row.next)) as LogPosition,
    headHash: row.head_hash as Uint8Array,
    state: (row.state ?? new Uint8Array(0)) as Uint8Array,
    generations: generations.all(Number(row.room_no)).map((stored) => ({
      origin: BigInt(Number(stored.origin)) as LogPosition,
      leaf: Number(stored.leaf),
      lane: Number(stored.lane),
      generation: Number(stored.generation),
    })),
  }
}

function readEntries(
  select: StatementSync,
  room: RoomId,
  range: { readonly from: LogPosition; readonly limit: number; readonly bytesMax: number },
): readonly StoredEntry[] {
  const entries: StoredEntry[] = []
  let bytes = 0
  for (const row of select.iterate(room, Number(range.from), range.limit)) {
    const body = row.body as Uint8Array
    bytes += body.length
    if (entries.length > 0 && bytes > range.bytesMax) break
    entries.push(toStoredEntry(row))
  }
  return entries
}

function toStoredEntry(row: Record<string, unknown>): StoredEntry {
  const entry = ENTRY_NAMES.get(Number(row.entry))
  assert(entry !== undefined, 'the log holds known kinds of entries')
  const bytes = row.body as Uint8Array
  const body: LogEntry['body'] = row.form === BODY_FORMS.hole
    ? { kind: 'hole', hash: bytes }
    : { kind: 'whole', bytes }
  return {
    position: BigInt(Number(row.position)) as LogPosition,
    entry: { header: { entry, time: BigInt(Number(row.time)) }, body },
    entryHash: row.entry_hash as Uint8Array,
  }
}

// ---- Directory ----------------------------------------------------------------------------

function createDirectory(writer: WriterQueue, db: DatabaseSync, clock: Clock): Directory {
  const selectAccount = db.prepare(
    'SELECT account, certificate, root_hash FROM accounts WHERE account = ?',
  )
  const countPackages = db.prepare(
    `SELECT count(*) AS n FROM key_packages
     WHERE account = ? AND device = ? AND last_resort = 0 AND not_after > ?`,
  )
  const selectWelcomes = db.prepare(
    `SELECT welcome_no, room, position, welcome
     FROM welcomes JOIN rooms USING (room_no) JOIN welcome_bodies USING (body_no)
     WHERE account = ? AND device = ? AND held = 0 ORDER BY welcome_no LIMIT ${WELCOMES_PAGE_MAX}`,
  )
  return {
    register: ({ account, certificate, rootHash }) =>
      writer.submit({
        kind: 'register',
        account: { account, certificate: certificate.slice(), rootHash: rootHash.slice() },
      }),
    readAccount: (account) => attempt(() => readAccount(selectAccount, account)),
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
    countKeyPackages: (account, device) =>
      attempt(() => Number(countPackages.get(account, device, clock.nowMs())?.n)),
    readWelcomes: (account, device) => attempt(() => readWelcomes(selectWelcomes, account, device)),
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

function readAccount(select: StatementSync, account: AccountName): StoredAccount | null {
  const row = select.get(account)
  if (row === undefined) return null
  return {
    account,
    certificate: row.certificate as Uint8Array,
    rootHash: row.root_hash as Uint8Array,
  }
}

function readWelcomes(
  select: StatementSync,
  account: AccountName,
  device: DeviceId,
): readonly WaitingWelcome[] {
  const welcomes: WaitingWelcome[] = []
  let bytes = 0
  for (const row of select.iterate(account, device)) {
    const welcome = row.welcome as Uint8Array
    bytes += welcome.length
    if (welcomes.length > 0 && bytes > WELCOMES_PAGE_BYTES_MAX) break
    welcomes.push({
      id: BigInt(Number(row.welcome_no)),
      room: row.room as RoomId,
      account,
      device,
      position: BigInt(Number(row.position)) as LogPosition,
      welcome,
    })
  }
  return welcomes
}

/** A synchronous read as a promise; a fault of the medium rejects with the closed set of codes. */
function attempt<T>(read: () => T): Promise<T> {
  try {
    return Promise.resolve(read())
  } catch {
    return Promise.reject(new StoreError('failed'))
  }
}
