/** The store contracts, on SQLite in a temporary folder and in memory. */
import { ok } from 'node:assert/strict'
import type { TimeMs } from '#core/base/ids.ts'
import { openSqliteStore } from '#hub/adapters/sqlite.ts'
import { createMemoryHubPorts } from '../support/memory-hub-ports.ts'
import { groupStoreSuite } from './hub-group-store.ts'
import { directorySuite, NOW_MS, roomLogSuite, type StoreHarness } from './hub-store.ts'

const clock = { nowMs: () => NOW_MS as TimeMs }

const memory: StoreHarness = {
  name: 'memory',
  async run(test) {
    const ports = createMemoryHubPorts({ clock })
    await test(ports, () => Promise.resolve(ports))
  },
}

const sqlite: StoreHarness = {
  name: 'sqlite',
  async run(test) {
    const dataDir = Deno.makeTempDirSync()
    const open = async () => {
      const opened = await openSqliteStore({ dataDir, clock, observe: () => {} })
      ok(opened.kind === 'opened')
      return opened.store
    }
    let store = await open()
    try {
      await test(store, async () => {
        await store.close()
        store = await open()
        return store
      })
    } finally {
      await store.close()
      Deno.removeSync(dataDir, { recursive: true })
    }
  },
}

for (const harness of [memory, sqlite]) {
  roomLogSuite(harness)
  directorySuite(harness)
  groupStoreSuite(harness)
}
