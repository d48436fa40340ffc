/**
 * What every `RoomLog` must do with versions of a group, anchors and Welcomes: what verdicts make
 * of them, what is kept, what goes. The suite of the log itself is `hub-store.ts`.
 */
import { deepStrictEqual, ok, strictEqual } from 'node:assert/strict'
import { toHex } from '#core/base/bytes.ts'
import type { RoomLog, StoredVersion } from '#hub/ports.ts'
import { createPrng } from '../core/prng.ts'
import { ALICE, appendOf, at, BOB, deviceOf, filled, roomOf, versionAt } from './hub-store.ts'
import type { StoreHarness, Test } from './hub-store.ts'

/** Registers the suite. */
export function groupStoreSuite(harness: StoreHarness): void {
  const test: Test = (title, body) =>
    Deno.test(`${harness.name} group: ${title}`, () => harness.run(body))
  versionTests(test)
  pageTests(test)
  anchorTests(test)
  historyTests(test)
  welcomeTests(test)
  heldWelcomeTests(test)
}

const WHOLE = { limit: 10_000, bytesMax: 1 << 24 }
const INVITATION = filled(0x1d, 32)

/** An append whose last entry makes versions final. */
async function finalise(log: RoomLog, ...finals: readonly StoredVersion[]): Promise<void> {
  const next = Number((await log.readRoom(roomOf(1)))?.next ?? 0n)
  const behind = Number(finals.at(-1)?.position ?? 0n) + 1
  const effects = { voidFrom: null, finals }
  const count = Math.max(behind - next, 1)
  const outcome = await log.append([appendOf(roomOf(1), next, count, { effects })])
  deepStrictEqual(outcome, [{ kind: 'appended' }])
}

async function nodesOf(log: RoomLog, position: number) {
  const stored = await log.readNodes(roomOf(1), { ...WHOLE, version: at(position), from: 0 })
  return stored.map(({ node, bytes }) => [node, bytes[0]])
}

async function certificatesOf(log: RoomLog, position: number) {
  const page = { ...WHOLE, version: at(position), after: null }
  const stored = await log.readCertificates(roomOf(1), page)
  return stored.map(({ hash, certificate }) => [hash[0], certificate[0]])
}

const node = (index: number, seed: number | null, length = 100) => ({
  node: index,
  bytes: seed === null ? null : filled(seed, length),
})
const certificate = (seed: number) => ({
  hash: filled(seed, 32),
  certificate: filled(seed, 6_000),
})

function versionTests(test: Test): void {
  test('a room without a final epoch has no version', async ({ log }) => {
    await log.append([appendOf(roomOf(1), 0, 1)])
    strictEqual(await log.readVersion(roomOf(1), at(0)), null)
    strictEqual(await log.readVersion(roomOf(2), at(0)), null)
    deepStrictEqual(await nodesOf(log, 0), [])
    deepStrictEqual(await certificatesOf(log, 0), [])
    strictEqual(await log.readAnchor(roomOf(1), INVITATION), null)
  })

  test('a version is the one before with its changes', async ({ log }) => {
    const first = versionAt(0, {
      leafWidth: 4,
      nodes: [node(0, 1), node(2, 2), node(5, 3), node(6, 4)],
      certificates: [certificate(1), certificate(2)],
    })
    await finalise(log, first)
    deepStrictEqual(await log.readVersion(roomOf(1), at(9)), {
      position: at(0),
      leafWidth: 4,
      head: Uint8Array.of(0),
    })
    deepStrictEqual(await nodesOf(log, 0), [[0, 1], [2, 2], [5, 3], [6, 4]])
    const second = versionAt(3, {
      leafWidth: 4,
      nodes: [node(0, 11), node(5, null), node(1, 12), node(3, null)],
      certificates: [certificate(3)],
      certificatesDropped: [filled(1, 32)],
    })
    await finalise(log, second)
    deepStrictEqual(await nodesOf(log, 3), [[0, 11], [1, 12], [2, 2], [6, 4]])
    deepStrictEqual(await certificatesOf(log, 3), [[2, 2], [3, 3]])
    strictEqual((await log.readVersion(roomOf(1), at(3)))?.position, 3n)
  })

  test('nodes beyond a tree that has shrunk are gone, also when it grows again', async (store) => {
    const { log } = store
    const wide = [0, 2, 4, 6, 7].map((index) => node(index, index + 1))
    await finalise(log, versionAt(0, { leafWidth: 8, nodes: [...wide, node(14, 15)] }))
    await finalise(log, versionAt(1, { leafWidth: 2 }))
    deepStrictEqual(await nodesOf(log, 1), [[0, 1], [2, 3]])
    await finalise(log, versionAt(2, { leafWidth: 8, nodes: [node(8, 80)] }))
    deepStrictEqual(await nodesOf(log, 2), [[0, 1], [2, 3], [8, 80]])
  })

  test('several versions in one append follow one another', async ({ log }) => {
    await finalise(
      log,
      versionAt(0, { nodes: [node(0, 1)], certificates: [certificate(1)] }),
      versionAt(2, { nodes: [node(0, 2)], certificatesDropped: [filled(1, 32)] }),
      versionAt(5, { nodes: [node(0, 3)], certificates: [certificate(1)] }),
    )
    deepStrictEqual(await nodesOf(log, 5), [[0, 3]])
    deepStrictEqual(await certificatesOf(log, 5), [[1, 1]])
    deepStrictEqual(await nodesOf(log, 2), [])
  })
}

function pageTests(test: Test): void {
  test('pages of nodes and certificates are bounded and go on', async ({ log }) => {
    const nodes = [0, 2, 4, 6].map((index) => node(index, index + 1, 1_000))
    const certificates = [1, 2, 3].map(certificate)
    await finalise(log, versionAt(0, { leafWidth: 4, nodes, certificates }))
    const page = async (from: number, limit: number, bytesMax: number) =>
      (await log.readNodes(roomOf(1), { version: at(0), from, limit, bytesMax }))
        .map((stored) => stored.node)
    deepStrictEqual(await page(0, 2, 1 << 20), [0, 2])
    deepStrictEqual(await page(1, 9, 2_500), [2, 4])
    deepStrictEqual(await page(5, 9, 1), [6])
    deepStrictEqual(await page(7, 9, 1), [])
    const behind = async (after: Uint8Array | null, limit: number, bytesMax: number) =>
      (await log.readCertificates(roomOf(1), { version: at(0), after, limit, bytesMax }))
        .map(({ hash }) => hash[0])
    deepStrictEqual(await behind(null, 2, 1 << 20), [1, 2])
    deepStrictEqual(await behind(filled(1, 32), 9, 1), [2])
    deepStrictEqual(await behind(filled(3, 32), 9, 1 << 20), [])
  })

  test('a refused append changes no version', async ({ log }) => {
    await finalise(log, versionAt(0, { nodes: [node(0, 1)] }))
    const effects = { voidFrom: null, finals: [versionAt(1, { nodes: [node(0, 2)] })] }
    await log.append([appendOf(roomOf(1), 7, 1, { effects })])
    deepStrictEqual(await nodesOf(log, 0), [[0, 1]])
    strictEqual((await log.readVersion(roomOf(1), at(9)))?.position, 0n)
  })
}

function anchorTests(test: Test): void {
  const anchorAt = (version: number, position: number, invitation = INVITATION) => ({
    invitation,
    version: at(version),
    position: at(position),
    anchor: filled(position, 400),
  })

  test('an anchor keeps its version, and another in its place lets it go', async ({ log }) => {
    const invitations = [INVITATION]
    await finalise(log, versionAt(0, { nodes: [node(0, 1)], certificates: [certificate(1)] }))
    strictEqual(await log.leaveAnchor(roomOf(1), anchorAt(0, 0)), 'left')
    const dropped = { certificatesDropped: [filled(1, 32)], invitations }
    await finalise(log, versionAt(2, { leafWidth: 2, nodes: [node(0, 2)], ...dropped }))
    const changed = [node(0, null), node(2, 3)]
    await finalise(log, versionAt(4, { leafWidth: 2, nodes: changed, invitations }))
    deepStrictEqual(await nodesOf(log, 0), [[0, 1]])
    deepStrictEqual(await certificatesOf(log, 0), [[1, 1]])
    deepStrictEqual(await nodesOf(log, 2), [])
    deepStrictEqual(await nodesOf(log, 4), [[2, 3]])
    strictEqual((await log.readVersion(roomOf(1), at(3)))?.position, 0n)
    deepStrictEqual(await log.readAnchor(roomOf(1), INVITATION), anchorAt(0, 0))
    strictEqual(await log.leaveAnchor(roomOf(1), anchorAt(4, 6)), 'left')
    deepStrictEqual(await log.readAnchor(roomOf(1), INVITATION), anchorAt(4, 6))
    deepStrictEqual(await nodesOf(log, 0), [])
    strictEqual(await log.readVersion(roomOf(1), at(3)), null)
  })

  test('an anchor of a version that is not kept is not left', async ({ log }) => {
    await finalise(log, versionAt(0))
    await finalise(log, versionAt(1))
    for (const version of [0, 2]) {
      strictEqual(await log.leaveAnchor(roomOf(1), anchorAt(version, version)), 'gone')
    }
    strictEqual(await log.leaveAnchor(roomOf(2), anchorAt(1, 1)), 'gone')
    strictEqual(await log.readAnchor(roomOf(1), INVITATION), null)
  })

  test('anchors of invitations that are no longer there go with their versions', async (store) => {
    const { log } = store
    const other = filled(0x2d, 32)
    await finalise(log, versionAt(0, { nodes: [node(0, 1)] }))
    strictEqual(await log.leaveAnchor(roomOf(1), anchorAt(0, 0)), 'left')
    strictEqual(await log.leaveAnchor(roomOf(1), anchorAt(0, 0, other)), 'left')
    await finalise(log, versionAt(1, { nodes: [node(0, 2)], invitations: [other] }))
    strictEqual(await log.readAnchor(roomOf(1), INVITATION), null)
    deepStrictEqual(await log.readAnchor(roomOf(1), other), anchorAt(0, 0, other))
    deepStrictEqual(await nodesOf(log, 0), [[0, 1]])
    await finalise(log, versionAt(2, { nodes: [node(0, 3)] }))
    deepStrictEqual(await nodesOf(log, 0), [])
  })

  test('a restart keeps versions and anchors', async (store, reopen) => {
    const version = versionAt(0, { nodes: [node(0, 1)], certificates: [certificate(1)] })
    await finalise(store.log, version)
    await store.log.leaveAnchor(roomOf(1), anchorAt(0, 0))
    await finalise(store.log, versionAt(1, { nodes: [node(0, 2)], invitations: [INVITATION] }))
    const { log } = await reopen()
    deepStrictEqual(await nodesOf(log, 0), [[0, 1]])
    deepStrictEqual(await nodesOf(log, 1), [[0, 2]])
    deepStrictEqual(await certificatesOf(log, 1), [[1, 1]])
    deepStrictEqual(await log.readAnchor(roomOf(1), INVITATION), anchorAt(0, 0))
  })
}

/** Random versions and anchors against whole copies: what is kept is right, what is not is gone. */
function historyTests(test: Test): void {
  test('of a long history the newest version and the anchored ones stand', async ({ log }) => {
    const random = createPrng(11)
    const below = (max: number) => (random.bytes(1)[0] as number) % max
    const expected = new Map<number, Map<number, number>>()
    const anchored = new Map<string, { invitation: Uint8Array; position: number }>()
    let nodes = new Map<number, number>()
    for (let position = 0; position < 60; position++) {
      const leafWidth = 2 ** below(5)
      nodes = new Map([...nodes].filter(([index]) => index <= 2 * (leafWidth - 1)))
      const changes = new Map<number, number | null>()
      for (let i = below(6); i > 0; i--) {
        changes.set(below(2 * leafWidth - 1), below(4) === 0 ? null : below(256))
      }
      for (const [index, seed] of changes) {
        if (seed === null) nodes.delete(index)
        else nodes.set(index, seed)
      }
      expected.set(position, new Map(nodes))
      const [oldest] = anchored.keys()
      if (below(3) === 0 && oldest !== undefined) anchored.delete(oldest)
      const invitations = [...anchored.values()].map(({ invitation }) => invitation)
      const list = [...changes].map(([index, seed]) => node(index, seed))
      await finalise(log, versionAt(position, { leafWidth, nodes: list, invitations }))
      if (below(2) === 0) {
        const invitation = filled(below(4), 32)
        const anchor = { invitation, version: at(position), position: at(position) }
        strictEqual(await log.leaveAnchor(roomOf(1), { ...anchor, anchor: filled(1) }), 'left')
        anchored.set(toHex(invitation), { invitation, position })
      }
      const kept = [...anchored.values()].map((anchor) => anchor.position)
      await standsAs(log, expected, new Set([...kept, position]))
    }
    strictEqual(expected.size, 60)
  })
}

async function standsAs(
  log: RoomLog,
  expected: ReadonlyMap<number, ReadonlyMap<number, number>>,
  kept: ReadonlySet<number>,
): Promise<void> {
  for (const [position, nodes] of expected) {
    const stored = await nodesOf(log, position)
    const whole = kept.has(position) ? [...nodes].sort(([a], [b]) => a - b) : []
    deepStrictEqual(stored, whole, `version ${position}`)
  }
}

const welcomeFor = (device: number, seed: number, welcome = filled(seed)) => ({
  account: BOB,
  device: deviceOf(device),
  position: at(0),
  held: false,
  welcome,
})

function welcomeTests(test: Test): void {
  test('ROOM-7: welcomes come with their entries and stay until deleted', async (store) => {
    const { log, directory } = store
    const shared = filled(5, 100_000)
    const welcomes = [welcomeFor(1, 5, shared), welcomeFor(2, 5, shared), welcomeFor(1, 6)]
    await log.append([appendOf(roomOf(1), 0, 1, { welcomes })])
    const waiting = await directory.readWelcomes(BOB, deviceOf(1))
    deepStrictEqual(waiting.map(({ welcome }) => welcome), [shared, filled(6)])
    deepStrictEqual(waiting[0]?.room, roomOf(1))
    const id = waiting[0]?.id ?? 0n
    const others = await directory.readWelcomes(BOB, deviceOf(1), new Set([id]))
    deepStrictEqual(others.map(({ welcome }) => welcome), [filled(6)])
    const first = { account: BOB, device: deviceOf(1) }
    await directory.deleteWelcome({ account: BOB, device: deviceOf(2) }, id)
    await directory.deleteWelcome({ account: ALICE, device: deviceOf(1) }, id)
    await directory.deleteWelcome(first, (1n << 64n) - 1n)
    strictEqual((await directory.readWelcomes(BOB, deviceOf(1))).length, 2)
    await directory.deleteWelcome(first, id)
    await directory.deleteWelcome(first, id)
    strictEqual((await directory.readWelcomes(BOB, deviceOf(1))).length, 1)
    deepStrictEqual((await directory.readWelcomes(BOB, deviceOf(2)))[0]?.welcome, shared)
  })

  test('ROOM-7: a refused append leaves no welcome, and ids never return', async (store) => {
    const { log, directory } = store
    await log.append([appendOf(roomOf(1), 3, 1, { welcomes: [welcomeFor(1, 1)] })])
    deepStrictEqual(await directory.readWelcomes(BOB, deviceOf(1)), [])
    await log.append([appendOf(roomOf(1), 0, 1, { welcomes: [welcomeFor(1, 1)] })])
    const [first] = await directory.readWelcomes(BOB, deviceOf(1))
    await directory.deleteWelcome({ account: BOB, device: deviceOf(1) }, first?.id ?? 0n)
    await log.append([appendOf(roomOf(1), 1, 1, { welcomes: [welcomeFor(1, 2)] })])
    const [second] = await directory.readWelcomes(BOB, deviceOf(1))
    ok((second?.id ?? 0n) > (first?.id ?? 0n))
  })
}

function heldWelcomeTests(test: Test): void {
  test('ROOM-7: a held Welcome is given out when its epoch is final', async (store) => {
    const { log, directory } = store
    const heldAt = (position: number, seed: number) => ({
      ...welcomeFor(1, seed),
      position: at(position),
      held: true,
    })
    const waiting = async () =>
      (await directory.readWelcomes(BOB, deviceOf(1))).map(({ welcome }) => welcome[0])
    const holding = async () =>
      (await directory.readHoldingRooms(BOB, deviceOf(1))).map((room) => room[0])
    await log.append([appendOf(roomOf(1), 0, 3, { welcomes: [heldAt(1, 1), heldAt(2, 2)] })])
    await log.append([appendOf(roomOf(2), 0, 2, { welcomes: [heldAt(1, 3)] })])
    deepStrictEqual(await waiting(), [])
    deepStrictEqual(await holding(), [1, 2])
    const effects = { voidFrom: null, finals: [versionAt(1)] }
    await log.append([appendOf(roomOf(1), 3, 1, { effects })])
    deepStrictEqual(await waiting(), [1])
    deepStrictEqual(await holding(), [1, 2])
    deepStrictEqual(await directory.readHoldingRooms(BOB, deviceOf(2)), [])
    deepStrictEqual(await directory.readHoldingRooms(ALICE, deviceOf(1)), [])
    const atOnce = { voidFrom: null, finals: [versionAt(5)] }
    await log.append([appendOf(roomOf(1), 4, 3, { effects: atOnce, welcomes: [heldAt(5, 4)] })])
    deepStrictEqual((await waiting()).sort(), [1, 2, 4])
    deepStrictEqual(await holding(), [2])
  })

  test('ROOM-7: a held Welcome cannot have been taken', async ({ log, directory }) => {
    const held = { ...welcomeFor(1, 1), held: true }
    await log.append([appendOf(roomOf(1), 0, 1, { welcomes: [held] })])
    const owner = { account: BOB, device: deviceOf(1) }
    for (let id = 0n; id < 20n; id++) await directory.deleteWelcome(owner, id)
    const effects = { voidFrom: null, finals: [versionAt(0)] }
    await log.append([appendOf(roomOf(1), 1, 1, { effects })])
    strictEqual((await directory.readWelcomes(BOB, deviceOf(1))).length, 1)
  })

  test('ROOM-7: a void takes Welcomes of its room, held or not, and no others', async (store) => {
    const { log, directory } = store
    const shared = filled(7, 50_000)
    const of = (device: number, position: number, held: boolean) => ({
      ...welcomeFor(device, 7, shared),
      position: at(position),
      held,
    })
    const welcomes = [of(1, 1, false), of(1, 2, true), of(2, 2, false), of(1, 3, false)]
    await log.append([appendOf(roomOf(1), 0, 4, { welcomes })])
    await log.append([appendOf(roomOf(2), 0, 4, { welcomes: [of(1, 3, false)] })])
    const effects = { voidFrom: at(2), finals: [] }
    await log.append([appendOf(roomOf(1), 4, 2, { effects, welcomes: [of(2, 5, false)] })])
    const waiting = async (device: number) =>
      (await directory.readWelcomes(BOB, deviceOf(device)))
        .map(({ room, position, welcome }) => [room[0], position, welcome.length])
    deepStrictEqual(await waiting(1), [[1, 1n, 50_000], [2, 3n, 50_000]])
    deepStrictEqual(await waiting(2), [[1, 5n, 50_000]])
  })
}
