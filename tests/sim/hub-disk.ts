/**
 * The store of the hub in the simulated world: the memory ports behind a queue in which every
 * transaction takes its time, may fail with nothing stored, and is stored or not when the process
 * ends under it. Reads go past the queue; some fail and some take long (HUB-10). Owns what a crash
 * leaves; the contracts are those of `edge-hub/ports.ts`.
 */
import type { Clock } from '#core/base/ports.ts'
import type { AppendOutcome, Directory, RoomAppend, RoomLog } from '#hub/ports.ts'
import type { MemoryHubPorts } from '../support/memory-hub-ports.ts'
import type { Prng } from '../core/prng.ts'
import type { Chance } from './chance.ts'
import type { Chronicle } from './chronicle.ts'

interface Pending {
  /** Of the process that asked. */
  readonly life: number
  /** For a request of a device. */
  readonly ofRequest: boolean
  readonly dueMs: number
  /** Stores, and returns what tells the process; called once. */
  store(): Promise<() => void>
  fail(): void
}

/** A read that takes long. */
interface SlowRead {
  readonly dueMs: number
  answer(): void
}

export interface HubDiskParts {
  readonly stores: MemoryHubPorts
  readonly clock: Clock
  readonly chance: Chance
  readonly chronicle: Chronicle
  readonly tickMs: number
  /** Entries that are on the disk now. */
  stored(batch: readonly RoomAppend[], outcomes: readonly AppendOutcome[]): void
}

/** In ticks, below which each transaction ends; no more than usual is no fault. */
const DELAY_MAX = 2
const SLOW_MAX = 80

export class HubDisk {
  readonly #parts: HubDiskParts
  #queue: Pending[] = []
  /** Of the process of the moment. */
  #reads: SlowRead[] = []
  /** Ports that were given to a process that has ended do nothing. */
  #life = 0

  /** How long slow reads take. */
  readonly #slowness: Prng

  constructor(parts: HubDiskParts) {
    this.#parts = parts
    this.#slowness = parts.chance.apart('slow read')
  }

  /** The ports of a process that begins. */
  open(): { readonly log: RoomLog; readonly directory: Directory } {
    const life = ++this.#life
    const { log, directory } = this.#parts.stores
    const write = <T>(work: () => Promise<T>) => this.#write(work, { life, ofRequest: false })
    const request = <T>(work: () => Promise<T>) => this.#write(work, { life, ofRequest: true })
    const read = <T>(work: () => Promise<T>) => this.#read(work, life)
    return {
      log: {
        ...log,
        readRoom: (room) => read(() => log.readRoom(room)),
        read: (room, range) => read(() => log.read(room, range)),
        readVersion: (room, at) => read(() => log.readVersion(room, at)),
        readNodes: (room, page) => read(() => log.readNodes(room, page)),
        readCertificates: (room, page) => read(() => log.readCertificates(room, page)),
        readAnchor: (room, invitation) => read(() => log.readAnchor(room, invitation)),
        append: (batch) => write(() => this.#append(batch)),
        leaveAnchor: (room, anchor) => request(() => log.leaveAnchor(room, anchor)),
      },
      directory: {
        ...directory,
        readAccount: (account) => read(() => directory.readAccount(account)),
        countKeyPackages: (account, device) =>
          read(() => directory.countKeyPackages(account, device)),
        readWelcomes: (...wanted) => read(() => directory.readWelcomes(...wanted)),
        readHoldingRooms: (account, device) =>
          read(() => directory.readHoldingRooms(account, device)),
        register: (account) => write(() => directory.register(account)),
        publish: (owner, packages) => request(() => directory.publish(owner, packages)),
        claim: (account, options) => request(() => directory.claim(account, options)),
        deleteWelcome: (owner, id) => request(() => directory.deleteWelcome(owner, id)),
      },
    }
  }

  /** Transactions under way, also of processes that have ended, and reads. */
  get waitingCount(): number {
    return this.#queue.length + this.#reads.length
  }

  /** Those that a request of a device to this process waits for. */
  get requestCount(): number {
    let count = 0
    for (const { life, ofRequest } of this.#queue) if (ofRequest && life === this.#life) count++
    return count
  }

  async #append(batch: readonly RoomAppend[]): Promise<readonly AppendOutcome[]> {
    const outcomes = await this.#parts.stores.log.append(batch)
    this.#parts.stored(batch, outcomes)
    return outcomes
  }

  #read<T>(work: () => Promise<T>, life: number): Promise<T> {
    const { promise, resolve, reject } = Promise.withResolvers<T>()
    if (life !== this.#life) return promise
    const { chance, clock, chronicle, tickMs } = this.#parts
    if (chance.comes('failed read')) {
      chronicle.fault('failed read')
      return Promise.reject(new Error('the medium failed'))
    }
    if (!chance.comes('slow read')) return work()
    chronicle.fault('slow read')
    const dueMs = clock.nowMs() + (1 + this.#slowness.integer(SLOW_MAX)) * tickMs
    this.#reads.push({ dueMs, answer: () => void work().then(resolve, reject) })
    return promise
  }

  #write<T>(work: () => Promise<T>, by: Pick<Pending, 'life' | 'ofRequest'>): Promise<T> {
    const { promise, resolve, reject } = Promise.withResolvers<T>()
    if (by.life !== this.#life) return promise
    const { chance, clock, chronicle, tickMs } = this.#parts
    const ticks = chance.prng.integer(chance.comes('slow append') ? SLOW_MAX : DELAY_MAX)
    if (ticks >= DELAY_MAX) chronicle.fault('slow append')
    const dueMs = clock.nowMs() + ticks * tickMs
    this.#queue.push({
      ...by,
      dueMs: Math.max(dueMs, this.#queue.at(-1)?.dueMs ?? 0),
      async store() {
        const value = await work()
        return () => resolve(value)
      },
      fail: () => reject(new Error('the medium failed')),
    })
    return promise
  }

  /** Ends the transactions whose time has come; false when none is under way. */
  async pass(): Promise<boolean> {
    const { chance, clock, chronicle } = this.#parts
    const isWaiting = this.waitingCount > 0
    const nowMs = clock.nowMs()
    const due = this.#reads.filter(({ dueMs }) => dueMs <= nowMs)
    this.#reads = this.#reads.filter(({ dueMs }) => dueMs > nowMs)
    for (const { answer } of due) answer()
    for (;;) {
      const [first] = this.#queue
      if (first === undefined || first.dueMs > nowMs) return isWaiting
      this.#queue.shift()
      if (chance.comes('failed append')) {
        chronicle.fault('failed append')
        if (first.life === this.#life) first.fail()
        continue
      }
      const tell = await first.store()
      if (first.life === this.#life) tell()
    }
  }

  /** The process ends: of what is under way a beginning is stored, and nobody is told. */
  async crash(): Promise<void> {
    const pending = this.#queue
    this.#queue = []
    this.#reads = []
    this.#life++
    const kept = this.#parts.chance.prng.integer(pending.length + 1)
    if (pending.length > 0) this.#parts.chronicle.note(`${kept} of ${pending.length} were stored`)
    for (const each of pending.slice(0, kept)) await each.store()
  }
}
