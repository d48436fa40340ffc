/**
 * A page without an app, through which the browser tests reach the parts of `shared/browser`. Owns
 * no check: it runs what the test names and returns what can be cloned.
 */
import type { DeviceStore } from '#core/device/store.ts'
import { electLeader, type Tab } from '#browser/tab-leader.ts'
import {
  deleteAccountStorage,
  openIndexedDbStore,
  StoreError,
  storeName,
} from '#browser/indexeddb-store.ts'
import { vaultName } from '#browser/vault.ts'
import { dialHub, hearHub, sayToHub } from './dialed-hub.ts'
import { DEVICE_STORE_CASES } from '../../contract/device-store.ts'

type Outcome<T> =
  | { readonly kind: 'done'; readonly value: T }
  | { readonly kind: 'refused'; readonly code: string }

async function outcome<T>(work: () => Promise<T>): Promise<Outcome<T>> {
  try {
    return { kind: 'done', value: await work() }
  } catch (error) {
    if (error instanceof StoreError) return { kind: 'refused', code: error.code }
    throw error
  }
}

async function runStoreCase(index: number): Promise<void> {
  const accountId = `case${index}`
  await DEVICE_STORE_CASES[index]?.run(() => openIndexedDbStore({ accountId }))
  await deleteAccountStorage({ accountId })
}

async function withStore<T>(
  options: { readonly accountId: string; readonly existing?: boolean },
  work: (store: DeviceStore) => Promise<T>,
): Promise<Outcome<T>> {
  return await outcome(async () => {
    const store = await openIndexedDbStore(options)
    try {
      return await work(store)
    } finally {
      await store.close()
    }
  })
}

/** Runs one request on a raw database, as someone who is not the store. */
function onRaw<T>(
  place: { readonly database: string; readonly table: string },
  request: (table: IDBObjectStore) => IDBRequest<T>,
): Promise<T> {
  return new Promise((resolve, reject) => {
    const opening = indexedDB.open(place.database)
    opening.onerror = () => reject(opening.error)
    opening.onsuccess = () => {
      const database = opening.result
      const transaction = database.transaction(place.table, 'readwrite')
      const asked = request(transaction.objectStore(place.table))
      transaction.oncomplete = () => {
        database.close()
        resolve(asked.result)
      }
      transaction.onerror = () => reject(transaction.error)
    }
  })
}

function deleteRaw(database: string): Promise<void> {
  return new Promise((resolve, reject) => {
    const deletion = indexedDB.deleteDatabase(database)
    deletion.onsuccess = () => resolve()
    deletion.onerror = () => reject(deletion.error)
  })
}

/** A database of a version that this build does not know yet. */
function upgradeRaw(database: string): Promise<void> {
  return new Promise((resolve, reject) => {
    const opening = indexedDB.open(database, 1_000)
    opening.onsuccess = () => {
      opening.result.close()
      resolve()
    }
    opening.onerror = () => reject(opening.error)
  })
}

/** What a tab of the election saw: lines in the order in which they happened. */
interface TabProbe {
  readonly tab: Tab<string>
  readonly lines: string[]
}

const probes = new Map<string, TabProbe>()

/** Joins as a tab whose engine answers `echo <message>` and tells who left. */
function joinTabs(accountId: string, name: string): void {
  const lines: string[] = []
  const names = new Map<string, string>()
  const tab = electLeader<string, string>({
    accountId,
    startEngine(toTabs) {
      lines.push('leads')
      return {
        received(from, message) {
          if (message.startsWith('name ')) names.set(from, message.slice(5))
          else if (message.startsWith('all ')) toTabs.broadcast(message.slice(4))
          else toTabs.send(from, `echo ${message}`)
        },
        tabGone: (gone) => lines.push(`gone ${names.get(gone)}`),
        stop() {
          lines.push('stopped')
          return Promise.resolve()
        },
      }
    },
    received: (message) => lines.push(message),
    leaderReady() {
      lines.push('leaderReady')
      tab.send(`name ${name}`)
    },
  })
  probes.set(name, { tab, lines })
}

const parts = {
  dialHub,
  hearHub,
  sayToHub,
  runStoreCase,
  vaultName,
  storeName,
  deleteRaw,
  upgradeRaw,
  joinTabs,
  probe(name: string): { readonly leads: boolean; readonly lines: readonly string[] } {
    const probe = probes.get(name)
    return { leads: probe?.tab.leads ?? false, lines: probe?.lines ?? [] }
  },
  say: (name: string, message: string) => probes.get(name)?.tab.send(message),
  leave: (name: string) => probes.get(name)?.tab.close(),
  writeText: (accountId: string, key: string, text: string) =>
    withStore({ accountId }, (store) =>
      store.apply(
        [{ kind: 'put', table: 'timeline', key, value: new TextEncoder().encode(text) }],
        'strict',
      )),
  readText: (accountId: string, key: string, existing = false) =>
    withStore({ accountId, existing }, async (store) => {
      const value = await store.read('timeline', key)
      return value === null ? null : new TextDecoder().decode(value)
    }),
  /** Stays open until the page goes. */
  holdStore: (accountId: string) =>
    outcome(async () => void await openIndexedDbStore({ accountId })),
  deleteAccount: (accountId: string) => outcome(() => deleteAccountStorage({ accountId })),
  readRaw: async (accountId: string, key: string) => {
    const place = { database: storeName(accountId), table: 'timeline' }
    return [...await onRaw<Uint8Array>(place, (table) => table.get(key))]
  },
  writeRaw: (accountId: string, key: string, bytes: readonly number[]) => {
    const place = { database: storeName(accountId), table: 'timeline' }
    return onRaw(place, (table) => table.put(Uint8Array.from(bytes), key))
  },
  /** How the vault's key may be used by scripts. */
  inspectKey: async (accountId: string) => {
    const place = { database: vaultName(accountId), table: 'vault' }
    const record = await onRaw<{ readonly key: CryptoKey }>(place, (table) => table.get('vault'))
    return { extractable: record.key.extractable, usages: [...record.key.usages].sort() }
  },
}

export type Parts = typeof parts
declare global {
  var parts: Parts
}
globalThis.parts = parts
