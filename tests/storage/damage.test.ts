/**
 * What becomes of one damaged row in a store that goes on: who needs it is refused with a code, and
 * nobody else notices. Owns the damage, one changed row at a time.
 */
import { deepStrictEqual, ok, rejects, strictEqual } from 'node:assert/strict'
import { Buffer } from 'node:buffer'
import { DatabaseSync } from 'node:sqlite'
import type { LogPosition, TimeMs } from '#core/base/ids.ts'
import { openSqliteStore, type SqliteStore } from '#hub/adapters/sqlite.ts'
import type { AdapterEvent, RoomAppend } from '#hub/ports.ts'
import { ALICE, appendOf, at, BOB, deviceOf, filled, roomOf } from '../contract/hub-store.ts'
import { versionAt } from '../contract/hub-store.ts'
import { HandDevice } from '../support/hand-device.ts'
import { createHubWorld } from '../support/hub-world.ts'

const NOW_MS = Date.now()
const clock = { nowMs: () => NOW_MS as TimeMs }
const ALL = { from: 0n as LogPosition, limit: 1_000, bytesMax: 1 << 24 }
const [SOUND, DAMAGED] = [roomOf(1), roomOf(2)]

interface World {
  store: SqliteStore
  readonly events: AdapterEvent[]
  /** Closes the store, changes what stands in it, and opens it again. */
  damage(sql: string): Promise<void>
  /** The same to the bytes of the file. */
  damageBytes(change: (bytes: Buffer) => void): Promise<void>
}

async function withStore(run: (world: World) => Promise<void>): Promise<void> {
  const dataDir = Deno.makeTempDirSync({ prefix: 'kalandra-' })
  const path = `${dataDir}/hub.sqlite`
  const events: AdapterEvent[] = []
  const open = async () => {
    const opened = await openSqliteStore({ dataDir, clock, observe: (event) => events.push(event) })
    ok(opened.kind === 'opened')
    return opened.store
  }
  const world: World = {
    store: await open(),
    events,
    async damage(sql) {
      await world.store.close()
      const db = new DatabaseSync(path)
      strictEqual(db.prepare(sql).run().changes, 1)
      db.close()
      world.store = await open()
    },
    async damageBytes(change) {
      await world.store.close()
      const bytes = Buffer.from(Deno.readFileSync(path))
      change(bytes)
      Deno.writeFileSync(path, bytes)
      world.store = await open()
    },
  }
  try {
    await run(world)
  } finally {
    await world.store.close()
    Deno.removeSync(dataDir, { recursive: true })
  }
}

const keyPackage = (seed: number) => ({
  reference: filled(seed, 32),
  suite: 1,
  keyPackage: filled(seed, 500),
  notAfter: NOW_MS + 1_000_000,
})

/** Two rooms and two accounts of a kind; the second of each is damaged. */
async function fill({ log, directory }: SqliteStore): Promise<void> {
  for (const room of [SOUND, DAMAGED]) {
    const generations = [{ origin: at(0), leaf: 0, lane: 0, generation: 3 }]
    const account = room === SOUND ? ALICE : BOB
    const welcome = { account, device: deviceOf(1), position: at(0), held: false }
    const welcomes = [{ ...welcome, welcome: filled(7) }]
    const effects = { voidFrom: null, finals: [versionAt(0)] }
    const state = filled(room[0] as number)
    await log.append([appendOf(room, 0, 4, { state, generations, welcomes, effects })])
    const rootHash = filled(1, 32)
    await directory.register({ account, certificate: filled(2, 900), rootHash })
    const single = [keyPackage(room[0] as number)]
    await directory.publish({ account, device: deviceOf(1) }, { single, lastResort: null })
  }
}

const OF_DAMAGED = `room_no = (SELECT room_no FROM rooms WHERE room = x'${'02'.repeat(32)}')`
const NEWEST = (table: string, column: string) =>
  `${column} = (SELECT max(${column}) FROM ${table})`

/** Each is one row that is changed, is another, or is not there. */
const ROOM_DAMAGE: Readonly<Record<string, string>> = {
  'an older row of the room': `UPDATE rooms SET next = next - 1 WHERE ${OF_DAMAGED}`,
  'no row of the room': `DELETE FROM rooms WHERE ${OF_DAMAGED}`,
  'no name of the room': `DELETE FROM names WHERE kind = 1 AND name = x'${'02'.repeat(32)}'`,
  'another state': `UPDATE room_states SET state = x'00' WHERE ${OF_DAMAGED}`,
  'no state': `DELETE FROM room_states WHERE ${OF_DAMAGED}`,
  'a smaller generation': `UPDATE generations SET generation = 2 WHERE ${OF_DAMAGED}`,
  'no generation': `DELETE FROM generations WHERE ${OF_DAMAGED}`,
}

for (const [what, sql] of Object.entries(ROOM_DAMAGE)) {
  Deno.test(`HUB-10: ${what}: the room is not read, the other goes on`, () =>
    withStore(async (world) => {
      await fill(world.store)
      await world.damage(sql)
      const { log } = world.store
      await rejects(log.readRoom(DAMAGED), { code: 'damaged' })
      strictEqual((await log.readRoom(SOUND))?.next, 4n)
      deepStrictEqual(world.events, [{ kind: 'storeDamaged', part: 'log' }])
    }))
}

Deno.test('HUB-10: entries that are changed or gone are not read, those before are', () =>
  withStore(async (world) => {
    await fill(world.store)
    await world.damage(`UPDATE log SET body = x'00' WHERE ${OF_DAMAGED} AND position = 2`)
    const { log } = world.store
    strictEqual((await log.read(DAMAGED, { ...ALL, limit: 2 })).length, 2)
    await rejects(log.read(DAMAGED, ALL), { code: 'damaged' })
    await world.damage(`DELETE FROM log WHERE ${OF_DAMAGED} AND position = 3`)
    await rejects(world.store.log.read(DAMAGED, { ...ALL, from: at(3) }), { code: 'damaged' })
    strictEqual((await world.store.log.read(SOUND, ALL)).length, 4)
  }))

Deno.test('HUB-10: in one batch a damaged room is refused, and the others are stored', () =>
  withStore(async (world) => {
    await fill(world.store)
    await world.damage(`UPDATE rooms SET next = 3 WHERE ${OF_DAMAGED}`)
    const { log, directory } = world.store
    const outcomes = log.append([3, 4].flatMap((from) => [
      appendOf(DAMAGED, from, 1),
      appendOf(from === 3 ? roomOf(9) : SOUND, from === 3 ? 0 : 4, 1),
    ]))
    const claimed = directory.claim(ALICE, { suite: 1, nowMs: NOW_MS })
    const damaged = { kind: 'damaged' }
    const appended = { kind: 'appended' }
    deepStrictEqual(await outcomes, [damaged, appended, damaged, appended])
    strictEqual((await claimed).length, 1)
    strictEqual((await log.readRoom(SOUND))?.next, 5n)
    strictEqual((await log.readRoom(roomOf(9)))?.next, 1n)
    deepStrictEqual(world.events, [{ kind: 'storeDamaged', part: 'log' }])
    ok(world.store.healthy())
  }))

const PACKAGES = 'key_packages'
const ACCOUNT_DAMAGE: Readonly<Record<string, string>> = {
  'no KeyPackage': `DELETE FROM key_packages WHERE ${NEWEST(PACKAGES, 'package_no')}`,
  'another KeyPackage': `UPDATE key_packages SET key_package = x'00'
    WHERE ${NEWEST(PACKAGES, 'package_no')}`,
  'no holdings': `DELETE FROM holdings WHERE ${NEWEST('holdings', 'account_no')}`,
  'no name': `DELETE FROM names WHERE name = CAST('${BOB}' AS BLOB)`,
}

for (const [what, sql] of Object.entries(ACCOUNT_DAMAGE)) {
  Deno.test(`HUB-10, DIR-2: ${what}: nothing is claimed of the account, of others it is`, () =>
    withStore(async (world) => {
      await fill(world.store)
      await world.damage(sql)
      const { directory } = world.store
      const options = { suite: 1, nowMs: NOW_MS }
      const claims = [directory.claim(BOB, options), directory.claim(ALICE, options)] as const
      await rejects(claims[0], { code: 'damaged' })
      strictEqual((await claims[1]).length, 1)
      deepStrictEqual(world.events, [{ kind: 'storeDamaged', part: 'directory' }])
    }))
}

Deno.test('HUB-10, ID-4: a name whose row is damaged is not given away', () =>
  withStore(async (world) => {
    await fill(world.store)
    await world.damage(`DELETE FROM names WHERE name = CAST('${BOB}' AS BLOB)`)
    const { directory } = world.store
    const stranger = { account: BOB, certificate: filled(5), rootHash: filled(5, 32) }
    await rejects(directory.register(stranger), { code: 'damaged' })
    await rejects(directory.readAccount(BOB), { code: 'damaged' })
  }))

Deno.test('HUB-10, DIR-2: a claimed KeyPackage whose row is gone does not come back', () =>
  withStore(async (world) => {
    await fill(world.store)
    strictEqual((await world.store.directory.claim(BOB, { suite: 1, nowMs: NOW_MS })).length, 1)
    await world.damage(`DELETE FROM names WHERE name = x'${'02'.repeat(32)}' AND kind = 3`)
    const again = { single: [keyPackage(2)], lastResort: null }
    const owner = { account: BOB, device: deviceOf(1) }
    await rejects(world.store.directory.publish(owner, again), { code: 'damaged' })
  }))

for (const what of ['welcomes', 'welcome_bodies']) {
  Deno.test(`HUB-10, ROOM-7: a lost row of ${what} is told to whom it waits for`, () =>
    withStore(async (world) => {
      await fill(world.store)
      const key = what === 'welcomes' ? 'welcome_no' : 'body_no'
      await world.damage(`DELETE FROM ${what} WHERE ${NEWEST(what, key)}`)
      const { directory } = world.store
      await rejects(directory.readWelcomes(BOB, deviceOf(1)), { code: 'damaged' })
      strictEqual((await directory.readWelcomes(ALICE, deviceOf(1))).length, 1)
    }))
}

const OF_BOB = `account_no = (SELECT number FROM names WHERE name = CAST('${BOB}' AS BLOB))`
const HELD_FOR_BOB = `held = 1 AND ${OF_BOB}`

/** Each is one row behind a Welcome of Bob's that is held back. */
const HELD_DAMAGE: Readonly<Record<string, string>> = {
  'other holdings': `UPDATE holdings SET packages_sum = packages_sum + 1 WHERE ${OF_BOB}`,
  'no holdings': `DELETE FROM holdings WHERE ${OF_BOB}`,
  'another Welcome': `UPDATE welcomes SET device = x'00' WHERE ${HELD_FOR_BOB}`,
  'a Welcome of no number': `UPDATE welcomes SET position = 1 << 60 WHERE ${HELD_FOR_BOB}`,
  'a Welcome that is held back no more': `UPDATE welcomes SET held = 0 WHERE ${HELD_FOR_BOB}`,
  'no Welcome': `DELETE FROM welcomes WHERE ${HELD_FOR_BOB}`,
}

const heldFor = (account: typeof BOB, position: number) => ({
  account,
  device: deviceOf(1),
  position: at(position),
  held: true,
  welcome: filled(7),
})

/** One entry of the sound room, with which an epoch ends, or another begins. */
const ROOM_TURNS: Readonly<Record<string, RoomAppend>> = {
  'a final': appendOf(SOUND, 6, 1, { effects: { voidFrom: null, finals: [versionAt(5)] } }),
  'a void': appendOf(SOUND, 6, 1, { effects: { voidFrom: at(5), finals: [] } }),
  'an Add': appendOf(SOUND, 6, 1, { welcomes: [heldFor(BOB, 6)] }),
}

/** The room as it is, Welcomes of Alice and Bob held back in it, and Bob's rows damaged. */
async function holdBack({ store: { log } }: World): Promise<void> {
  const welcomes = [heldFor(ALICE, 5), heldFor(BOB, 5)]
  deepStrictEqual(await log.append([appendOf(SOUND, 4, 2, { welcomes })]), [{ kind: 'appended' }])
}

const waitingFor = ({ store }: World, account: typeof BOB) =>
  store.directory.readWelcomes(account, deviceOf(1))

for (const [what, sql] of Object.entries(HELD_DAMAGE)) {
  for (const [turn, append] of Object.entries(ROOM_TURNS)) {
    Deno.test(`HUB-10, ROOM-7: ${what} of one account: ${turn} of a room is stored`, () =>
      withStore(async (world) => {
        await fill(world.store)
        await holdBack(world)
        await world.damage(sql)
        deepStrictEqual(await world.store.log.append([append]), [{ kind: 'appended' }])
        const after = appendOf(SOUND, 7, 1, {
          effects: { voidFrom: at(7), finals: [versionAt(6)] },
        })
        const seen = world.events.length
        deepStrictEqual(await world.store.log.append([after]), [{ kind: 'appended' }])
        strictEqual((await world.store.log.readRoom(SOUND))?.next, 8n)
        ok(world.events.every((event) => 'part' in event && event.part === 'directory'))
        // An Add meets what is damaged of the account, and leaves it to the verdict.
        ok(seen === 1 && world.events.length === 1 || turn === 'an Add' && world.events.length < 3)
        await rejects(waitingFor(world, BOB), { code: 'damaged' })
        strictEqual((await waitingFor(world, ALICE)).length, turn === 'a void' ? 1 : 2)
      }))
  }
}

/** Found again in the file by its six bytes: once in the table, once in the index of rooms. */
const MARKED = 0x123456789abc

for (const turn of ['final', 'void']) {
  Deno.test(`HUB-10, ROOM-7: a Welcome that an index hides: a ${turn} of its room is stored`, () =>
    withStore(async (world) => {
      await fill(world.store)
      await world.store.log.append([appendOf(DAMAGED, 4, 1, { welcomes: [heldFor(BOB, MARKED)] })])
      await world.damageBytes((bytes) => {
        const mark = Buffer.from(MARKED.toString(16), 'hex')
        const marks = [bytes.indexOf(mark), bytes.lastIndexOf(mark)]
        // In the table the device ends in front of the room, which has one byte.
        const [inIndex, ...others] = marks.filter((at) => bytes[at - 3] !== deviceOf(1)[0])
        ok(inIndex !== undefined && others.length === 0)
        ;(bytes[inIndex - 1] as number) ^= 0x40
      })
      const from = turn === 'final' ? null : at(MARKED)
      const effects = { voidFrom: from, finals: from === null ? [versionAt(MARKED)] : [] }
      const outcomes = await world.store.log.append([appendOf(DAMAGED, 5, 1, { effects })])
      deepStrictEqual(outcomes, [{ kind: 'appended' }])
      deepStrictEqual(world.events, [{ kind: 'storeDamaged', part: 'directory' }])
      await rejects(waitingFor(world, BOB), { code: 'damaged' })
      strictEqual((await waitingFor(world, ALICE)).length, 1)
    }))
}

Deno.test('HUB-10: a hub says unavailable in a damaged room, and goes on in another', () =>
  withStore(async (world) => {
    const before = createHubWorld(1, world.store)
    const alice = await before.device('alice')
    const [sound, damaged] = [await alice.createRoom(), await alice.createRoom()]
    for (const room of [sound, damaged]) await alice.write(room)
    alice.hangUp()
    await alice.closed
    const room = Array.from(damaged.id, (byte) => byte.toString(16).padStart(2, '0')).join('')
    await world.damage(`UPDATE rooms SET next = next - 1 WHERE room = x'${room}'`)
    const after = createHubWorld(2, world.store)
    const back = new HandDevice(after.parts, alice.self)
    await back.connect(after.dialer())
    const request = back.nextRequest()
    const body = { request, from: at(0), holesBefore: at(0), open: false }
    back.say('subscribe', body, damaged.id)
    strictEqual(await back.answer(request), 'unavailable')
    strictEqual((await back.subscribe(back.enter(sound.id, sound.group))).next, sound.next)
    deepStrictEqual(after.faults, [])
    ok(after.events.some(({ kind }) => kind === 'roomUnreadable'))
    ok(world.events.some(({ kind }) => kind === 'storeDamaged'))
  }))
