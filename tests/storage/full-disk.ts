/**
 * A program of its own for a small disk that nothing else uses: fills it under an open store, makes
 * room again, and says what came of it in one line. Owns the disk; `medium.test.ts` makes it.
 */
import { deepStrictEqual, ok, rejects, strictEqual } from 'node:assert/strict'
import process from 'node:process'
import type { LogPosition, TimeMs } from '#core/base/ids.ts'
import { openSqliteStore, type SqliteStore } from '#hub/adapters/sqlite.ts'
import type { AdapterEvent, StoredEntry } from '#hub/ports.ts'
import { appendOf, entryAt, roomOf } from '../contract/hub-store.ts'

const BODY_LENGTH = 20_000
const BALLAST_LENGTH = 2_000_000
const room = roomOf(1)
const disk = process.argv[2] ?? ''
const dataDir = `${disk}/data`
const ballast = `${disk}/ballast`
const events: AdapterEvent[] = []
const entries: StoredEntry[] = []

async function open(): Promise<SqliteStore> {
  const clock = { nowMs: () => 1_800_000_000_000 as TimeMs }
  const observe = (event: AdapterEvent) => void events.push(event)
  const opened = await openSqliteStore({ dataDir, clock, observe })
  ok(opened.kind === 'opened')
  return opened.store
}

async function append({ log }: SqliteStore): Promise<void> {
  const position = entries.length
  const entry = entryAt(position, position % 7, BODY_LENGTH)
  const outcome = await log.append([{ ...appendOf(room, position, 0), entries: [entry] }])
  deepStrictEqual(outcome, [{ kind: 'appended' }])
  entries.push(entry)
}

async function allIsThere({ log }: SqliteStore): Promise<void> {
  strictEqual((await log.readRoom(room))?.next, BigInt(entries.length))
  const range = { from: 0n as LogPosition, limit: entries.length + 9, bytesMax: 1 << 28 }
  deepStrictEqual(await log.read(room, range), entries)
}

Deno.writeFileSync(ballast, new Uint8Array(BALLAST_LENGTH))
let store = await open()
for (let full = false; !full;) {
  full = await append(store).then(() => false, (error) => {
    strictEqual(error.code, 'failed')
    return true
  })
}
const untilFull = entries.length
ok(untilFull > 0)
strictEqual(store.healthy(), false)
deepStrictEqual(events, [{ kind: 'storeFailed' }])
await rejects(append(store), { code: 'failed' })
await allIsThere(store)

Deno.removeSync(ballast)
for (let i = 0; i < 10; i++) await append(store)
strictEqual(store.healthy(), true)
await allIsThere(store)
await store.close()
store = await open()
await allIsThere(store)
await append(store)
await store.close()
console.log(`full after ${untilFull} entries, ${entries.length} kept`)
