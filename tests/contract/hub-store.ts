/**
 * What every `RoomLog` and `Directory` must do, whatever it stands on. An adapter is done when it
 * passes. The harness opens a fresh store, and where the adapter is durable, opens it again.
 */
import { deepStrictEqual, ok, strictEqual } from 'node:assert/strict'
import type { AccountName, DeviceId, LogPosition, RoomId, Term } from '#core/base/ids.ts'
import { LIMITS } from '#core/base/limits.ts'
import type { Directory, RoomAppend, RoomLog, StoredEntry, StoredKeyPackage } from '#hub/ports.ts'
import type { StoredVersion } from '#hub/ports.ts'

export interface StoreUnderTest {
  readonly log: RoomLog
  readonly directory: Directory
}

export interface StoreHarness {
  readonly name: string
  /** Runs with a fresh store; `reopen` closes it and opens what it left behind. */
  run(
    test: (store: StoreUnderTest, reopen: () => Promise<StoreUnderTest>) => Promise<void>,
  ): Promise<void>
}

export const ALICE = 'alice@localhost' as AccountName
export const BOB = 'bob@localhost' as AccountName
/** What the clock of a store under test must show. */
export const NOW_MS = 1_800_000_000_000
const SUITE = 0xf003

export const roomOf = (seed: number) => new Uint8Array(32).fill(seed) as RoomId
export const deviceOf = (seed: number) => new Uint8Array(16).fill(seed) as DeviceId
export const at = (value: number) => BigInt(value) as LogPosition
const termOf = (value: number) => BigInt(value) as Term
const ALL = { from: at(0), limit: 1_000, bytesMax: 1 << 24 }

/** An entry whose bytes tell its position and seed apart from all others. */
export function entryAt(position: number, seed = 0, length = 300): StoredEntry {
  const bytes = new Uint8Array(length).fill(seed)
  new DataView(bytes.buffer).setUint32(0, position)
  const entryHash = new Uint8Array(32).fill(position & 255)
  entryHash[0] = seed
  return {
    position: at(position),
    entry: {
      header: { entry: position === 0 ? 'genesis' : 'frame', time: BigInt(1_000 + position) },
      body: { kind: 'whole', bytes },
    },
    entryHash,
  }
}

/** An append of `count` entries from `from` on. */
export function appendOf(
  room: RoomId,
  from: number,
  count: number,
  more: Partial<RoomAppend> = {},
): RoomAppend {
  return {
    room,
    term: termOf(1),
    expectedNext: at(from),
    entries: Array.from({ length: count }, (_, i) => entryAt(from + i)),
    state: null,
    generations: [],
    welcomes: [],
    effects: null,
    ...more,
  }
}

/** A version of a group without anything. */
export function versionAt(position: number, more: Partial<StoredVersion> = {}): StoredVersion {
  return {
    position: at(position),
    leafWidth: 1,
    head: Uint8Array.of(position),
    nodes: [],
    certificates: [],
    certificatesDropped: [],
    invitations: [],
    ...more,
  }
}

/** Registers the suite of `RoomLog`. */
export function roomLogSuite(harness: StoreHarness): void {
  const test: Test = (title, body) =>
    Deno.test(`${harness.name} log: ${title}`, () => harness.run(body))
  readBackTests(test)
  comparisonTests(test)
  concurrencyTests(test)
  generationTests(test)
  restartTests(test)
}

function readBackTests(test: Test): void {
  test('an unknown room has no state and no entries', async ({ log }) => {
    strictEqual(await log.readRoom(roomOf(1)), null)
    deepStrictEqual(await log.read(roomOf(1), ALL), [])
  })

  test('what was appended is read back equal, in order, without gap', async ({ log }) => {
    const hole: StoredEntry = {
      ...entryAt(3),
      entry: {
        header: { entry: 'commit', time: 2_000n },
        body: { kind: 'hole', hash: new Uint8Array(32).fill(7) },
      },
    }
    const entries = [entryAt(0, 9), entryAt(1), entryAt(2, 1, 70_000), hole]
    const state = new Uint8Array([1, 2, 3])
    const outcome = await log.append([{ ...appendOf(roomOf(1), 0, 0), entries, state }])
    deepStrictEqual(outcome, [{ kind: 'appended' }])
    deepStrictEqual(await log.read(roomOf(1), ALL), entries)
    const room = await log.readRoom(roomOf(1))
    deepStrictEqual(room, { next: 4n, headHash: hole.entryHash, state, generations: [] })
  })

  test('state stays where an append gives none', async ({ log }) => {
    await log.append([appendOf(roomOf(1), 0, 1, { state: new Uint8Array([5]) })])
    await log.append([appendOf(roomOf(1), 1, 2)])
    const room = await log.readRoom(roomOf(1))
    deepStrictEqual(room?.state, new Uint8Array([5]))
    strictEqual(room?.next, 3n)
  })

  test('pages are bounded by count and bytes and hold at least one entry', async ({ log }) => {
    const entries = [entryAt(0), entryAt(1, 0, 5_000), entryAt(2), entryAt(3)]
    await log.append([{ ...appendOf(roomOf(1), 0, 0), entries }])
    const page = async (from: number, limit: number, bytesMax: number) =>
      (await log.read(roomOf(1), { from: at(from), limit, bytesMax }))
        .map(({ position }) => Number(position))
    deepStrictEqual(await page(0, 2, 1 << 20), [0, 1])
    deepStrictEqual(await page(0, 9, 1_000), [0])
    deepStrictEqual(await page(1, 9, 1), [1])
    deepStrictEqual(await page(1, 9, 5_300), [1, 2])
    deepStrictEqual(await page(4, 9, 1_000), [])
    const beyond = { from: ((1n << 64n) - 1n) as LogPosition, limit: 9, bytesMax: 1_000 }
    deepStrictEqual(await log.read(roomOf(1), beyond), [])
  })
}

function comparisonTests(test: Test): void {
  test('a wrong position is a conflict that names the next and stores nothing', async ({ log }) => {
    const early = await log.append([appendOf(roomOf(1), 1, 1)])
    deepStrictEqual(early, [{ kind: 'positionConflict', next: 0n }])
    strictEqual(await log.readRoom(roomOf(1)), null)
    await log.append([appendOf(roomOf(1), 0, 2)])
    for (const from of [0, 1, 3]) {
      const state = new Uint8Array([9])
      const outcome = await log.append([appendOf(roomOf(1), from, 1, { state })])
      deepStrictEqual(outcome, [{ kind: 'positionConflict', next: 2n }])
    }
    const room = await log.readRoom(roomOf(1))
    deepStrictEqual(room?.state, new Uint8Array(0))
    strictEqual((await log.read(roomOf(1), ALL)).length, 2)
  })

  test('an older term is fenced for ever after a newer one', async ({ log }) => {
    await log.append([appendOf(roomOf(1), 0, 1, { term: termOf(3) })])
    await log.append([appendOf(roomOf(1), 1, 0, { term: termOf(4) })])
    const fenced = await log.append([appendOf(roomOf(1), 1, 1, { term: termOf(3) })])
    deepStrictEqual(fenced, [{ kind: 'termFenced', term: 4n }])
    const conflictToo = await log.append([appendOf(roomOf(1), 7, 1, { term: termOf(3) })])
    deepStrictEqual(conflictToo, [{ kind: 'termFenced', term: 4n }])
    const owner = await log.append([appendOf(roomOf(1), 1, 1, { term: termOf(4) })])
    deepStrictEqual(owner, [{ kind: 'appended' }])
  })

  test('each room of a batch has its own outcome', async ({ log }) => {
    await log.append([appendOf(roomOf(2), 0, 1)])
    const outcomes = await log.append([
      appendOf(roomOf(1), 0, 2),
      appendOf(roomOf(2), 5, 1),
      appendOf(roomOf(3), 0, 1),
      appendOf(roomOf(3), 1, 1),
    ])
    deepStrictEqual(outcomes.map(({ kind }) => kind), [
      'appended',
      'positionConflict',
      'appended',
      'appended',
    ])
    strictEqual((await log.readRoom(roomOf(3)))?.next, 2n)
  })
}

function concurrencyTests(test: Test): void {
  test('of concurrent appends to one position exactly one wins', async ({ log }) => {
    const racers = Array.from(
      { length: 50 },
      (_, i) => log.append([{ ...appendOf(roomOf(1), 0, 0), entries: [entryAt(0, i)] }]),
    )
    const outcomes = (await Promise.all(racers)).flat()
    strictEqual(outcomes.filter(({ kind }) => kind === 'appended').length, 1)
    strictEqual(outcomes.filter(({ kind }) => kind === 'positionConflict').length, 49)
    strictEqual((await log.read(roomOf(1), ALL)).length, 1)
  })

  test('pipelined appends of many rooms keep every room gapless', async ({ log }) => {
    const outcomes: Promise<unknown>[] = []
    for (let from = 0; from < 40; from += 2) {
      for (let room = 1; room <= 25; room++) {
        outcomes.push(log.append([appendOf(roomOf(room), from, 2)]))
      }
      await Promise.resolve()
    }
    const all = (await Promise.all(outcomes)).flat()
    ok(all.every((outcome) => (outcome as { kind: string }).kind === 'appended'))
    for (let room = 1; room <= 25; room++) {
      const entries = await log.read(roomOf(room), ALL)
      deepStrictEqual(entries.map(({ position }) => Number(position)), [...Array(40).keys()])
    }
  })

  test('the caller may reuse its buffers as soon as append has returned', async ({ log }) => {
    const entry = entryAt(0, 4)
    const appended = log.append([{ ...appendOf(roomOf(1), 0, 0), entries: [entry] }])
    if (entry.entry.body.kind === 'whole') entry.entry.body.bytes.fill(0xff)
    await appended
    deepStrictEqual((await log.read(roomOf(1), ALL))[0], entryAt(0, 4))
  })
}

export type Test = (
  title: string,
  body: (store: StoreUnderTest, reopen: () => Promise<StoreUnderTest>) => Promise<void>,
) => void

function generationTests(test: Test): void {
  const generation = (origin: number, leaf: number, lane: number, value: number) => ({
    origin: at(origin),
    leaf,
    lane,
    generation: value,
  })
  const read = async (log: RoomLog) =>
    [...(await log.readRoom(roomOf(1)))?.generations ?? []]
      .sort((a, b) => Number(a.origin - b.origin) || a.leaf - b.leaf || a.lane - b.lane)

  test('KEY-5: the largest generation of each sender and lane is kept', async ({ log }) => {
    const first = [generation(0, 0, 0, 5), generation(0, 0, 1, 2), generation(0, 3, 0, 9)]
    await log.append([appendOf(roomOf(1), 0, 1, { generations: first })])
    deepStrictEqual(await read(log), first)
    const second = [generation(0, 0, 0, 4), generation(0, 3, 0, 11)]
    await log.append([appendOf(roomOf(1), 1, 1, { generations: second })])
    deepStrictEqual(await read(log), [first[0], first[1], second[1]])
  })

  test('KEY-5: generations go with their epoch, by a final or a void', async ({ log }) => {
    const old = generation(0, 0, 0, 5)
    const provisional = [generation(1, 1, 0, 1), generation(3, 2, 0, 2)]
    await log.append([appendOf(roomOf(1), 0, 1, { generations: [old] })])
    await log.append([appendOf(roomOf(1), 1, 4, { generations: provisional })])
    deepStrictEqual(await read(log), [old, ...provisional])
    const voided = { voidFrom: at(3), finals: [] }
    const again = generation(0, 0, 0, 6)
    await log.append([appendOf(roomOf(1), 5, 1, { effects: voided, generations: [again] })])
    deepStrictEqual(await read(log), [again, provisional[0]])
    const effects = { voidFrom: null, finals: [versionAt(1)] }
    await log.append([appendOf(roomOf(1), 6, 1, { effects })])
    deepStrictEqual(await read(log), [provisional[0]])
  })

  test('generations of a refused append are not stored', async ({ log }) => {
    await log.append([appendOf(roomOf(1), 0, 1)])
    await log.append([appendOf(roomOf(1), 5, 1, { generations: [generation(0, 0, 0, 5)] })])
    deepStrictEqual(await read(log), [])
  })
}

function restartTests(test: Test): void {
  test('a restart keeps log, state, generations, term and directory', async (store, reopen) => {
    const generations = [{ origin: at(2), leaf: 1, lane: 0, generation: 64 }]
    const to = { account: BOB, device: deviceOf(2), held: false }
    const welcomes = [{ ...to, position: at(1), welcome: filled(9) }]
    const state = new Uint8Array(10_000).fill(3)
    const append = appendOf(roomOf(1), 0, 300, { term: termOf(7), state, generations, welcomes })
    await store.log.append([append])
    await store.directory.register(accountOf(ALICE, 1))
    const before = {
      room: await store.log.readRoom(roomOf(1)),
      entries: await store.log.read(roomOf(1), ALL),
      welcomes: await store.directory.readWelcomes(BOB, deviceOf(2)),
    }
    const { log, directory } = await reopen()
    deepStrictEqual(await log.readRoom(roomOf(1)), before.room)
    deepStrictEqual(await log.read(roomOf(1), ALL), before.entries)
    deepStrictEqual(await directory.readWelcomes(BOB, deviceOf(2)), before.welcomes)
    deepStrictEqual(await directory.readAccount(ALICE), accountOf(ALICE, 1))
    strictEqual(before.welcomes.length, 1)
    const fenced = await log.append([appendOf(roomOf(1), 300, 1)])
    deepStrictEqual(fenced, [{ kind: 'termFenced', term: 7n }])
    const next = await log.append([appendOf(roomOf(1), 300, 1, { term: termOf(7) })])
    deepStrictEqual(next, [{ kind: 'appended' }])
  })
}

export const filled = (seed: number, length = 40) => new Uint8Array(length).fill(seed)

const accountOf = (account: AccountName, seed: number) => ({
  account,
  certificate: filled(seed, 2_000),
  rootHash: filled(seed, 32),
})

const claim = { suite: SUITE, nowMs: NOW_MS }
const owner = { account: ALICE, device: deviceOf(1) }
const keyPackage = (seed: number, more: Partial<StoredKeyPackage> = {}): StoredKeyPackage => ({
  reference: filled(seed, 32),
  suite: SUITE,
  keyPackage: filled(seed, 500),
  notAfter: NOW_MS + 1_000_000,
  ...more,
})

/** Registers the suite of `Directory`. */
export function directorySuite(harness: StoreHarness): void {
  const test: Test = (title, body) =>
    Deno.test(`${harness.name} directory: ${title}`, () => harness.run(body))
  claimTests(test)
  publishTests(test)
}

function claimTests(test: Test): void {
  test('ID-4: a name goes to the root that came first', async ({ directory }) => {
    strictEqual(await directory.readAccount(ALICE), null)
    const roots = [1, 2, 3].map((seed) => directory.register(accountOf(ALICE, seed)))
    deepStrictEqual(await Promise.all(roots), ['registered', 'nameTaken', 'nameTaken'])
    strictEqual(await directory.register(accountOf(BOB, 2)), 'registered')
    deepStrictEqual(await directory.readAccount(ALICE), accountOf(ALICE, 1))
    const renewed = { ...accountOf(ALICE, 1), certificate: filled(8, 2_000) }
    strictEqual(await directory.register(renewed), 'registered')
    deepStrictEqual(await directory.readAccount(ALICE), renewed)
  })

  test('DIR-2: concurrent claims give each package out once', async ({ directory }) => {
    const single = Array.from({ length: 20 }, (_, i) => keyPackage(i + 1))
    await directory.publish(owner, { single, lastResort: keyPackage(99) })
    strictEqual(await directory.countKeyPackages(ALICE, deviceOf(1)), 20)
    const claims = Array.from({ length: 25 }, () => directory.claim(ALICE, claim))
    const claimed = (await Promise.all(claims)).map((answer) => {
      strictEqual(answer.length, 1)
      return answer[0] as typeof answer[0] & object
    })
    const once = claimed.filter(({ lastResort }) => !lastResort).map((c) => c.keyPackage[0])
    deepStrictEqual(once, [...Array(20).keys()].map((i) => i + 1))
    const again = claimed.filter(({ lastResort }) => lastResort)
    deepStrictEqual(again.map((c) => c.keyPackage[0]), [99, 99, 99, 99, 99])
    strictEqual(await directory.countKeyPackages(ALICE, deviceOf(1)), 0)
  })

  test(
    'DIR-2: a claimed package does not come back, also after a restart',
    async (store, reopen) => {
      await store.directory.publish(owner, { single: [keyPackage(1)], lastResort: null })
      strictEqual((await store.directory.claim(ALICE, claim)).length, 1)
      const { directory } = await reopen()
      const repeated = { single: [keyPackage(1)], lastResort: keyPackage(1) }
      strictEqual(await directory.publish(owner, repeated), 'published')
      deepStrictEqual(await directory.claim(ALICE, claim), [])
    },
  )

  test('a claim takes one of each device and only of its suite', async ({ directory }) => {
    const other = { account: ALICE, device: deviceOf(2) }
    await directory.publish(owner, { single: [keyPackage(1), keyPackage(2)], lastResort: null })
    await directory.publish(other, { single: [keyPackage(3)], lastResort: null })
    const foreign = keyPackage(4, { suite: 0xf004 })
    await directory.publish({ account: BOB, device: deviceOf(3) }, {
      single: [foreign],
      lastResort: null,
    })
    const claimed = await directory.claim(ALICE, claim)
    deepStrictEqual(claimed.map((c) => [c.device[0], c.keyPackage[0]]), [[1, 1], [2, 3]])
    deepStrictEqual(await directory.claim(BOB, claim), [])
    strictEqual((await directory.claim(BOB, { ...claim, suite: 0xf004 })).length, 1)
  })
}

function publishTests(test: Test): void {
  test('DIR-3: a new last resort package replaces the one before', async ({ directory }) => {
    await directory.publish(owner, { single: [], lastResort: keyPackage(1) })
    await directory.publish(owner, { single: [], lastResort: keyPackage(2) })
    const claimed = await directory.claim(ALICE, claim)
    deepStrictEqual(claimed.map((c) => [c.keyPackage[0], c.lastResort]), [[2, true]])
    strictEqual(await directory.countKeyPackages(ALICE, deviceOf(1)), 0)
  })

  test('expired packages are neither counted nor given out', async ({ directory }) => {
    const expired = { notAfter: NOW_MS - 1 }
    await directory.publish(owner, {
      single: [keyPackage(1, expired), keyPackage(2)],
      lastResort: keyPackage(3, expired),
    })
    strictEqual(await directory.countKeyPackages(ALICE, deviceOf(1)), 1)
    const claimed = await directory.claim(ALICE, claim)
    deepStrictEqual(claimed.map((c) => c.keyPackage[0]), [2])
    deepStrictEqual(await directory.claim(ALICE, claim), [])
  })

  test('publishing is bounded and stores all or nothing', async ({ directory }) => {
    const many = Array.from(
      { length: LIMITS.keyPackagesPerDeviceMax },
      (_, i) => keyPackage(i, { notAfter: 2 ** 64 }),
    )
    strictEqual(await directory.publish(owner, { single: many, lastResort: null }), 'published')
    strictEqual(await directory.publish(owner, { single: many, lastResort: null }), 'published')
    const one = { single: [keyPackage(200)], lastResort: keyPackage(201) }
    strictEqual(await directory.publish(owner, one), 'tooMany')
    await directory.claim(ALICE, claim)
    strictEqual(await directory.countKeyPackages(ALICE, deviceOf(1)), many.length - 1)
  })
}
