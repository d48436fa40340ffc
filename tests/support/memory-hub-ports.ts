/**
 * `RoomLog` and `Directory` in memory, with the contracts of `edge-hub/ports.ts`. For tests of the
 * machines and for simulation: no clock but the given one, no entropy, every outcome in a later
 * microtask. What a real store survives (a restart) survives here as long as the object lives.
 */
import { equalBytes, toHex } from '#core/base/bytes.ts'
import type { AccountName, DeviceId, LogPosition, RoomId, Term } from '#core/base/ids.ts'
import { LIMITS } from '#core/base/limits.ts'
import type { Clock } from '#core/base/ports.ts'
import type { AppendOutcome, ClaimedKeyPackage, Directory, RoomAppend } from '#hub/ports.ts'
import type { RoomLog, StoredAccount, StoredEntry, StoredGeneration } from '#hub/ports.ts'
import type { StoredKeyPackage, WaitingWelcome } from '#hub/ports.ts'
import { createMemoryGroup, type MemoryGroup } from './memory-group.ts'

interface MemoryRoom {
  readonly entries: StoredEntry[]
  term: bigint
  state: Uint8Array
  generations: StoredGeneration[]
  readonly group: MemoryGroup
}

interface MemoryWelcome extends WaitingWelcome {
  held: boolean
}

interface HeldKeyPackage extends StoredKeyPackage {
  readonly account: AccountName
  readonly device: DeviceId
  readonly lastResort: boolean
}

export interface MemoryHubPorts {
  readonly log: RoomLog
  readonly directory: Directory
}

/** Creates an empty store. Everything put in and given out is copied. */
export function createMemoryHubPorts(options: { readonly clock: Clock }): MemoryHubPorts {
  const welcomes: MemoryWelcome[] = []
  return {
    log: createMemoryLog(welcomes),
    directory: createMemoryDirectory(options.clock, welcomes),
  }
}

// ---- Log ----------------------------------------------------------------------------------

function createMemoryLog(welcomes: MemoryWelcome[]): RoomLog {
  const rooms = new Map<string, MemoryRoom>()
  let welcomeId = 0n
  const append = (part: RoomAppend): AppendOutcome => {
    const key = toHex(part.room)
    const room = rooms.get(key) ??
      {
        entries: [],
        term: 0n,
        state: new Uint8Array(0),
        generations: [],
        group: createMemoryGroup(),
      }
    const next = BigInt(room.entries.length)
    if (part.term < room.term) return { kind: 'termFenced', term: room.term as Term }
    if (part.expectedNext !== next) {
      return { kind: 'positionConflict', next: next as LogPosition }
    }
    rooms.set(key, room)
    room.term = part.term
    room.entries.push(...part.entries.map((entry) => structuredClone(entry)))
    if (part.state !== null) room.state = part.state.slice()
    const voidFrom = part.effects?.voidFrom ?? null
    const newest = part.effects?.finals.at(-1)?.position ?? 0n
    const isOfPart = (stored: WaitingWelcome) => equalBytes(stored.room, part.room)
    if (voidFrom !== null) {
      dropWhere(room.generations, ({ origin }) => origin >= voidFrom)
      dropWhere(welcomes, (stored) => isOfPart(stored) && stored.position >= voidFrom)
    }
    room.generations = mergeGenerations(room.generations, part.generations)
      .filter(({ origin }) => origin >= newest)
    for (const welcome of part.welcomes) {
      const waiting = welcomes.filter((other) => isOwnedBy(other, welcome)).length
      if (waiting >= LIMITS.welcomesPerDeviceMax) continue
      welcomeId++
      welcomes.push({ ...structuredClone(welcome), id: welcomeId, room: part.room })
    }
    for (const version of part.effects?.finals ?? []) {
      room.group.store(version)
      for (const stored of welcomes) {
        if (isOfPart(stored) && stored.position <= version.position) stored.held = false
      }
    }
    return { kind: 'appended' }
  }
  return {
    append: (batch) => later(() => batch.map(append)),
    readRoom: (id) =>
      later(() => {
        const room = rooms.get(toHex(id))
        if (room === undefined) return null
        return {
          next: BigInt(room.entries.length) as LogPosition,
          headHash: room.entries.at(-1)?.entryHash.slice() ?? new Uint8Array(32),
          state: room.state.slice(),
          generations: room.generations.map((stored) => ({ ...stored })),
        }
      }),
    read: (id, range) => later(() => readPage(rooms.get(toHex(id))?.entries ?? [], range)),
    readVersion: (id, at) => later(() => rooms.get(toHex(id))?.group.version(at) ?? null),
    readNodes: (id, page) => later(() => rooms.get(toHex(id))?.group.nodes(page) ?? []),
    readCertificates: (id, page) =>
      later(() => rooms.get(toHex(id))?.group.certificates(page) ?? []),
    leaveAnchor: (id, anchor) =>
      later(() => rooms.get(toHex(id))?.group.leaveAnchor(anchor) ?? 'gone'),
    readAnchor: (id, invitation) =>
      later(() => rooms.get(toHex(id))?.group.anchor(invitation) ?? null),
    close: () => later(() => {}),
  }
}

function mergeGenerations(
  held: readonly StoredGeneration[],
  named: readonly StoredGeneration[],
): StoredGeneration[] {
  const merged = new Map<string, StoredGeneration>()
  for (const stored of [...held, ...named]) {
    const key = `${stored.origin}/${stored.leaf}/${stored.lane}`
    const before = merged.get(key)?.generation ?? -1
    if (stored.generation > before) merged.set(key, { ...stored })
  }
  return [...merged.values()]
}

function readPage(
  entries: readonly StoredEntry[],
  range: { readonly from: LogPosition; readonly limit: number; readonly bytesMax: number },
): readonly StoredEntry[] {
  const page: StoredEntry[] = []
  let bytes = 0
  const end = range.from + BigInt(range.limit)
  for (let at = range.from as bigint; at < end && at < BigInt(entries.length); at++) {
    const stored = entries[Number(at)] as StoredEntry
    const body = stored.entry.body
    bytes += body.kind === 'whole' ? body.bytes.length : body.hash.length
    if (page.length > 0 && bytes > range.bytesMax) break
    page.push(structuredClone(stored))
  }
  return page
}

/** Small, so that there are others behind it. */
const WELCOMES_PAGE_MAX = 3

// ---- Directory ----------------------------------------------------------------------------

function createMemoryDirectory(clock: Clock, welcomes: MemoryWelcome[]): Directory {
  const accounts = new Map<AccountName, StoredAccount>()
  return {
    ...createMemoryKeyPackages(clock),
    register: (account) =>
      later(() => {
        const before = accounts.get(account.account)
        if (before !== undefined && !equalBytes(before.rootHash, account.rootHash)) {
          return 'nameTaken'
        }
        accounts.set(account.account, structuredClone(account))
        return 'registered'
      }),
    readAccount: (account) => later(() => structuredClone(accounts.get(account) ?? null)),
    readWelcomes: (account, device, without = new Set()) =>
      later(() =>
        welcomes.filter((stored) => !stored.held && isOwnedBy(stored, { account, device }))
          .filter(({ id }) => !without.has(id))
          .slice(0, WELCOMES_PAGE_MAX)
          .map(({ held: _held, ...welcome }) => structuredClone(welcome))
      ),
    readHoldingRooms: (account, device) =>
      later(() => {
        const held = welcomes.filter((stored) =>
          stored.held && isOwnedBy(stored, { account, device })
        )
        return held.map(({ room }) => room.slice() as RoomId).filter((room, index) =>
          held.findIndex((each) => equalBytes(each.room, room)) === index
        )
      }),
    deleteWelcome: (owner, id) =>
      later(() =>
        dropWhere(
          welcomes,
          (stored) => stored.id === id && !stored.held && isOwnedBy(stored, owner),
        )
      ),
  }
}

function createMemoryKeyPackages(
  clock: Clock,
): Pick<Directory, 'publish' | 'claim' | 'countKeyPackages'> {
  const held: HeldKeyPackage[] = []
  const given: StoredKeyPackage[] = []

  const dropExpired = (account: AccountName, nowMs: number) => {
    dropWhere(held, (stored) => stored.account === account && stored.notAfter <= nowMs)
    dropWhere(given, (stored) => stored.notAfter <= nowMs)
  }
  const isKnown = ({ reference }: StoredKeyPackage) =>
    [...held, ...given].some((stored) => equalBytes(stored.reference, reference))
  const claimFor = (device: DeviceId, usable: readonly HeldKeyPackage[]): ClaimedKeyPackage => {
    const own = usable.filter((stored) => equalBytes(stored.device, device))
    const chosen = own.find(({ lastResort }) => !lastResort) ?? own[0] as HeldKeyPackage
    if (!chosen.lastResort) {
      dropWhere(held, (stored) => stored === chosen)
      given.push(chosen)
    }
    return { device, keyPackage: chosen.keyPackage.slice(), lastResort: chosen.lastResort }
  }

  return {
    publish: (owner, { single, lastResort }) =>
      later(() => {
        dropExpired(owner.account, clock.nowMs())
        const fresh = single.filter((stored) => !isKnown(stored))
        const own = held.filter((stored) => isOwnedBy(stored, owner))
        const stored = own.filter((other) => !other.lastResort).length
        if (stored + fresh.length > LIMITS.keyPackagesPerDeviceMax) return 'tooMany'
        for (const added of fresh) {
          held.push({ ...structuredClone(added), ...owner, lastResort: false })
        }
        if (lastResort === null) return 'published'
        const { suite } = lastResort
        dropWhere(held, (other) => own.includes(other) && other.lastResort && other.suite === suite)
        if (!isKnown(lastResort)) {
          held.push({ ...structuredClone(lastResort), ...owner, lastResort: true })
        }
        return 'published'
      }),
    claim: (account, { suite, nowMs }) =>
      later(() => {
        dropExpired(account, nowMs)
        const usable = held.filter((stored) => stored.account === account && stored.suite === suite)
        const devices = new Map(usable.map(({ device }) => [toHex(device), device]))
        return [...devices].sort(([a], [b]) => a < b ? -1 : 1)
          .slice(0, LIMITS.devicesPerAccountMax)
          .map(([, device]) => claimFor(device, usable))
      }),
    countKeyPackages: (account, device) =>
      later(() =>
        held.filter((stored) =>
          isOwnedBy(stored, { account, device }) && !stored.lastResort &&
          stored.notAfter > clock.nowMs()
        ).length
      ),
  }
}

interface Owner {
  readonly account: AccountName
  readonly device: DeviceId
}

function isOwnedBy(stored: Owner, owner: Owner): boolean {
  return stored.account === owner.account && equalBytes(stored.device, owner.device)
}

function dropWhere<T>(list: T[], dropped: (item: T) => boolean): void {
  list.splice(0, list.length, ...list.filter((item) => !dropped(item)))
}

/** Runs at once, so that buffers may be reused, and answers in a later microtask. */
async function later<T>(run: () => T): Promise<T> {
  const result = run()
  await Promise.resolve()
  return result
}
