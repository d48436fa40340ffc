/** What only the SQLite adapter can show: failed commits, schema versions, exclusive use, syncs. */
import { deepStrictEqual, ok, rejects, strictEqual } from 'node:assert/strict'
import { DatabaseSync } from 'node:sqlite'
import { setImmediate } from 'node:timers'
import type { LogPosition, TimeMs } from '#core/base/ids.ts'
import { openSqliteStore, type SqliteStore } from '#hub/adapters/sqlite.ts'
import type { AdapterEvent } from '#hub/ports.ts'
import { ALICE, appendOf, roomOf } from '../contract/hub-store.ts'

const clock = { nowMs: () => 1_800_000_000_000 as TimeMs }
const ALL = { from: 0n as LogPosition, limit: 1_000, bytesMax: 1 << 24 }

interface Opened {
  readonly store: SqliteStore
  readonly dataDir: string
  readonly events: AdapterEvent[]
}

async function withStore(test: (opened: Opened) => Promise<void>): Promise<void> {
  const dataDir = Deno.makeTempDirSync()
  const events: AdapterEvent[] = []
  try {
    const opened = await openSqliteStore({ dataDir, clock, observe: (event) => events.push(event) })
    ok(opened.kind === 'opened')
    try {
      await test({ store: opened.store, dataDir, events })
    } finally {
      await opened.store.close()
    }
  } finally {
    Deno.removeSync(dataDir, { recursive: true })
  }
}

/** Makes every COMMIT fail that wrote an entry, by a foreign key that is checked at its end. */
function failCommits(db: DatabaseSync): void {
  db.exec(`
    CREATE TABLE parent (id INTEGER PRIMARY KEY);
    CREATE TABLE child (id INTEGER REFERENCES parent (id) DEFERRABLE INITIALLY DEFERRED);
    CREATE TRIGGER fail AFTER INSERT ON log BEGIN INSERT INTO child VALUES (1); END;
  `)
}

Deno.test('HUB-3: a failed commit rejects the whole batch and leaves nothing', async () => {
  await withStore(async ({ store, dataDir, events }) => {
    await store.log.append([appendOf(roomOf(1), 0, 3)])
    const other = new DatabaseSync(`${dataDir}/hub.sqlite`)
    failCommits(other)
    const account = { account: ALICE, certificate: new Uint8Array(9), rootHash: new Uint8Array(32) }
    const batch = [
      store.log.append([appendOf(roomOf(1), 3, 2), appendOf(roomOf(2), 0, 1)]),
      store.directory.register(account),
      store.log.append([appendOf(roomOf(3), 0, 1)]),
    ]
    const outcomes = await Promise.allSettled(batch)
    deepStrictEqual(outcomes.map(({ status }) => status), ['rejected', 'rejected', 'rejected'])
    ok(
      outcomes.every((outcome) =>
        outcome.status === 'rejected' && outcome.reason.code === 'failed'
      ),
    )
    deepStrictEqual(events, [{ kind: 'storeFailed' }])
    strictEqual(store.healthy(), false)
    strictEqual((await store.log.read(roomOf(1), ALL)).length, 3)
    strictEqual(await store.log.readRoom(roomOf(2)), null)
    strictEqual(await store.directory.readAccount(ALICE), null)

    other.exec('DROP TRIGGER fail')
    other.close()
    deepStrictEqual(await store.log.append([appendOf(roomOf(1), 3, 2)]), [{ kind: 'appended' }])
    strictEqual(store.healthy(), true)
    strictEqual((await store.log.read(roomOf(1), ALL)).length, 5)
  })
})

Deno.test('a page that is cut short does not hold the write-ahead log', async () => {
  await withStore(async ({ store, dataDir }) => {
    await store.log.append([appendOf(roomOf(1), 0, 10)])
    strictEqual((await store.log.read(roomOf(1), { ...ALL, bytesMax: 1 })).length, 1)
    const other = new DatabaseSync(`${dataDir}/hub.sqlite`)
    const checkpoint = other.prepare('PRAGMA wal_checkpoint(TRUNCATE)').get()
    other.close()
    deepStrictEqual({ ...checkpoint }, { busy: 0, log: 0, checkpointed: 0 })
  })
})

Deno.test('one process at a time uses a data folder', async () => {
  await withStore(async ({ dataDir }) => {
    const second = await openSqliteStore({ dataDir, clock, observe: () => {} })
    deepStrictEqual(second, { kind: 'refused', code: 'inUse' })
  })
})

Deno.test('closing commits what was asked for, and refuses what comes later', async () => {
  await withStore(async ({ store, dataDir }) => {
    const asked = store.log.append([appendOf(roomOf(1), 0, 2)])
    await store.close()
    deepStrictEqual(await asked, [{ kind: 'appended' }])
    await rejects(store.log.append([appendOf(roomOf(1), 2, 1)]), { code: 'closed' })
    await rejects(store.log.readRoom(roomOf(1)), { code: 'failed' })
    ok(!store.healthy())
    const left = [...Deno.readDirSync(dataDir)].map(({ name }) => name).sort()
    deepStrictEqual(left, ['hub.sqlite', 'hub.sqlite-commits', 'lock'])
  })
})

Deno.test('only the owner can read the data folder', async () => {
  const parent = Deno.makeTempDirSync()
  const dataDir = `${parent}/made/here`
  const opened = await openSqliteStore({ dataDir, clock, observe: () => {} })
  ok(opened.kind === 'opened')
  await opened.store.log.append([appendOf(roomOf(1), 0, 1)])
  strictEqual((Deno.statSync(dataDir).mode ?? 0) & 0o777, 0o700)
  for (const { name } of Deno.readDirSync(dataDir)) {
    strictEqual((Deno.statSync(`${dataDir}/${name}`).mode ?? 0) & 0o077, 0, name)
  }
  await opened.store.close()
  Deno.removeSync(parent, { recursive: true })
})

Deno.test('another schema, a foreign file and an unreadable folder are refused', async () => {
  const dataDir = Deno.makeTempDirSync()
  const open = () => openSqliteStore({ dataDir, clock, observe: () => {} })
  const path = `${dataDir}/hub.sqlite`
  const change = (sql: string) => {
    const db = new DatabaseSync(path)
    db.exec(sql)
    db.close()
  }
  const first = await open()
  ok(first.kind === 'opened')
  await first.store.close()
  change('PRAGMA user_version=1000')
  deepStrictEqual(await open(), { kind: 'refused', code: 'newerSchema' })
  change('PRAGMA user_version=1')
  deepStrictEqual(await open(), { kind: 'refused', code: 'olderSchema' })
  change('PRAGMA application_id=5')
  deepStrictEqual(await open(), { kind: 'refused', code: 'foreignFile' })
  Deno.writeTextFileSync(path, 'this is a text file and no database\n'.repeat(200))
  deepStrictEqual(await open(), { kind: 'refused', code: 'foreignFile' })
  Deno.removeSync(path)
  Deno.mkdirSync(path)
  deepStrictEqual(await open(), { kind: 'refused', code: 'unreadable' })
  Deno.removeSync(dataDir, { recursive: true })
})

Deno.test('HUB-10: what is read beside a writer is never taken for damage', async () => {
  await withStore(async ({ store }) => {
    const { log } = store
    const room = roomOf(1)
    await log.append([appendOf(room, 0, 1)])
    for (let from = 1; from < 80; from++) {
      const writing = log.append([appendOf(room, from, 1, { state: Uint8Array.of(from % 256) })])
      let isWriting = true
      writing.finally(() => isWriting = false)
      while (isWriting) {
        const read = await log.readRoom(room)
        ok(read !== null && read.next >= BigInt(from))
        await log.read(room, ALL)
        await new Promise((resolve) => setImmediate(resolve))
      }
      deepStrictEqual(await writing, [{ kind: 'appended' }])
    }
  })
})
