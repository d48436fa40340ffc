/**
 * The store of a device in the simulated world, with the contract of `DeviceStore`: a transaction
 * takes its time and may fail with nothing written, a read may fail, relaxed transactions are lost
 * with the power unless a strict one came after them (KEY-4), and storage may be evicted. Owns what
 * survives.
 */
import type { Clock } from '#core/base/ports.ts'
import { DEVICE_TABLES, type DeviceChange, type DeviceRecord } from '#core/device/store.ts'
import type { DeviceStore, DeviceTable, Durability } from '#core/device/store.ts'
import type { Chance } from './chance.ts'
import type { Chronicle } from './chronicle.ts'

type Rows = Map<string, Uint8Array>
type Tables = ReadonlyMap<DeviceTable, Rows>
type Range = Parameters<DeviceStore['readRange']>[1]

export interface DeviceDiskParts {
  readonly name: string
  readonly clock: Clock
  readonly chance: Chance
  readonly chronicle: Chronicle
  readonly tickMs: number
}

interface Pending {
  readonly dueMs: number
  readonly changes: readonly DeviceChange[]
  readonly durability: Durability
  settle(failed: boolean): void
}

/** In ticks. */
const SLOW_MAX = 40

/** A read failed, and nothing else is wrong. */
export class ReadFailed extends Error {}

export class DeviceDisk implements DeviceStore {
  readonly #parts: DeviceDiskParts
  /** What a read sees. */
  #seen = emptyTables()
  /** What a power loss leaves, and the relaxed transactions above it. */
  #safe = emptyTables()
  #relaxed: (readonly DeviceChange[])[] = []
  #queue: Pending[] = []
  /** Its reads do not fail. */
  isSound = false

  constructor(parts: DeviceDiskParts) {
    this.#parts = parts
  }

  apply(changes: readonly DeviceChange[], durability: Durability): Promise<void> {
    const { chance, clock, chronicle, tickMs, name } = this.#parts
    const ticks = chance.comes('slow store') ? chance.prng.integer(SLOW_MAX) : 0
    if (ticks > 0) chronicle.fault('slow store', name)
    const dueMs = clock.nowMs() + ticks * tickMs
    const { promise, resolve, reject } = Promise.withResolvers<void>()
    this.#queue.push({
      dueMs: Math.max(dueMs, this.#queue.at(-1)?.dueMs ?? 0),
      changes: changes.map(copied),
      durability,
      settle: (failed) => failed ? reject(new Error('the store failed')) : resolve(),
    })
    // Most transactions end at once.
    this.pass()
    return promise
  }

  /** Ends the transactions whose time has come. */
  pass(): void {
    const { chance, clock, chronicle, name } = this.#parts
    for (;;) {
      const [first] = this.#queue
      if (first === undefined || first.dueMs > clock.nowMs()) return
      this.#queue.shift()
      const failed = chance.comes('failed store')
      if (failed) chronicle.fault('failed store', name)
      else this.#write(first)
      first.settle(failed)
    }
  }

  #write({ changes, durability }: Pick<Pending, 'changes' | 'durability'>): void {
    for (const change of changes) changeRow(this.#seen, change)
    this.#relaxed.push(changes)
    if (durability === 'strict') this.#flush(this.#relaxed.length)
  }

  #flush(count: number): void {
    for (const changes of this.#relaxed.splice(0, count)) {
      for (const change of changes) changeRow(this.#safe, change)
    }
  }

  /** The program ends: of what is under way a beginning is written, and nobody is told. */
  crash(): void {
    const kept = this.#parts.chance.prng.integer(this.#queue.length + 1)
    for (const pending of this.#queue.splice(0).slice(0, kept)) this.#write(pending)
  }

  /** All that is under way is written. */
  finish(): void {
    for (const pending of this.#queue.splice(0)) this.#write(pending)
  }

  /** The machine ends: relaxed transactions behind some moment were never on the medium. */
  losePower(): number {
    this.crash()
    const lost = this.#parts.chance.prng.integer(this.#relaxed.length + 1)
    this.#flush(this.#relaxed.length - lost)
    this.#relaxed = []
    this.#seen = new Map([...this.#safe].map(([table, rows]) => [table, new Map(rows)]))
    return lost
  }

  async read(table: DeviceTable, key: string): Promise<Uint8Array | null> {
    this.#mayFail()
    return rowOf(this.#seen, table, key)
  }

  async readRange(table: DeviceTable, range: Range): Promise<readonly DeviceRecord[]> {
    this.#mayFail()
    return this.rows(table, range)
  }

  /**
   * A device reads as it starts, and nobody waits for it then: a read that takes long would be no
   * more than a later start.
   */
  #mayFail(): void {
    const { chance, chronicle, name } = this.#parts
    if (this.isSound || !chance.comes('failed load')) return
    chronicle.fault('failed load', name)
    throw new ReadFailed('the store failed')
  }

  /** What is written now, at once. */
  rows(table: DeviceTable, range: Range): readonly DeviceRecord[] {
    return rowsOf(this.#seen, table, range)
  }

  /** What a power loss now would leave for sure. */
  safeRow(table: DeviceTable, key: string): Uint8Array | null {
    return rowOf(this.#safe, table, key)
  }

  /**
   * Whether a power loss now would leave such a row for sure. *Asked for each frame that is sent:*
   * the values are those of the store, to be looked at only.
   */
  hasSafeRow(
    table: DeviceTable,
    { from, to }: Pick<Range, 'from' | 'to'>,
    isWanted: (value: Uint8Array) => boolean,
  ): boolean {
    for (const [key, value] of this.#safe.get(table) as Rows) {
      if (key >= from && key < to && isWanted(value)) return true
    }
    return false
  }

  close(): Promise<void> {
    return Promise.resolve()
  }
}

function emptyTables(): Tables {
  return new Map(DEVICE_TABLES.map((table) => [table, new Map()]))
}

function rowOf(tables: Tables, table: DeviceTable, key: string): Uint8Array | null {
  return tables.get(table)?.get(key)?.slice() ?? null
}

function rowsOf(
  tables: Tables,
  table: DeviceTable,
  { from, to, limit, descending }: Range,
): readonly DeviceRecord[] {
  const rows = tables.get(table) as Rows
  const keys = [...rows.keys()].filter((key) => key >= from && key < to).sort()
  if (descending) keys.reverse()
  return keys.slice(0, limit).map((key) => ({ key, value: (rows.get(key) as Uint8Array).slice() }))
}

function copied(change: DeviceChange): DeviceChange {
  return change.kind === 'put' ? { ...change, value: change.value.slice() } : change
}

function changeRow(tables: Tables, change: DeviceChange): void {
  const rows = tables.get(change.table) as Rows
  if (change.kind === 'put') rows.set(change.key, change.value)
  else if (change.kind === 'delete') rows.delete(change.key)
  else for (const key of rows.keys()) if (key >= change.from && key < change.to) rows.delete(key)
}
