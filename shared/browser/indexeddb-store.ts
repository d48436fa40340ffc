/**
 * `DeviceStore` on IndexedDB: one database for each local account, one object store for each table,
 * keys as they are given, values sealed by the vault. Owns the schema and its migrations; owns no
 * record's meaning.
 *
 * Mapping: `apply` seals first, then writes in one `readwrite` transaction with the `durability`
 * that was asked for; a transaction must not wait for the crypto, or the browser commits it.
 * Sealing of one batch and writing of another overlap, yet batches are written in call order.
 */
import type { DBSchema, IDBPDatabase, IDBPTransaction } from 'idb'
import {
  DEVICE_TABLES,
  type DeviceChange,
  type DeviceRecord,
  type DeviceStore,
  type DeviceTable,
  type Durability,
  type KeyRange,
} from '#core/device/store.ts'
import { deleteDatabase, openDatabase } from '#browser/open-database.ts'
import { asStoreError, StoreError } from '#browser/store-error.ts'
import { deleteVault, openVault, type RecordPlace, type Vault } from '#browser/vault.ts'

export { StoreError, type StoreErrorCode } from '#browser/store-error.ts'

const SCHEMA_VERSION = 1
/** Sealed when the store is made; its presence tells a new store from one that was evicted. */
const MARKER = { table: 'meta', key: 'marker' } as const

interface Row {
  key: string
  value: Uint8Array
}
type StoreSchema = { readonly [Table in DeviceTable]: Row } & { readonly meta: Row } & DBSchema
type Database = IDBPDatabase<StoreSchema>
type Upgrade = IDBPTransaction<StoreSchema, StoreNames, 'versionchange'>
type StoreNames = (DeviceTable | 'meta')[]

/** The change that leads to version `index + 1`. A released one is never edited. */
const MIGRATIONS: readonly ((database: Database, transaction: Upgrade) => void)[] = [
  (database) => {
    for (const table of [...DEVICE_TABLES, MARKER.table]) database.createObjectStore(table)
  },
]

export interface IndexedDbStoreOptions {
  /** Local account id. */
  readonly accountId: string
  /** True when the app knows that this account was used here: then emptiness is `evicted`. */
  readonly existing?: boolean
}

/** Name of the database of a local account. */
export function storeName(accountId: string): string {
  return `kalandra:${accountId}:store`
}

/**
 * Opens the store of a local account with its vault, or makes both. One writer at a time: the
 * caller holds the account's leader lock (DEV-2).
 *
 * @throws StoreError any code but `full`.
 */
export async function openIndexedDbStore(options: IndexedDbStoreOptions): Promise<DeviceStore> {
  const { accountId, existing = false } = options
  const vault = await openVault({ accountId })
  let database: Database | null = null
  try {
    database = await openDatabase<StoreSchema>({
      name: storeName(accountId),
      version: SCHEMA_VERSION,
      upgrade: (upgraded, from, to, transaction) => {
        for (const migrate of MIGRATIONS.slice(from, to ?? SCHEMA_VERSION)) {
          migrate(upgraded, transaction)
        }
      },
    })
    await provePair(database, vault, existing)
    return createStore(database, vault)
  } catch (error) {
    database?.close()
    vault.close()
    throw asStoreError(error)
  }
}

/**
 * Deletes everything that this device keeps of an account, the key first.
 *
 * @throws StoreError `blocked` or `unavailable`.
 */
export async function deleteAccountStorage(
  options: { readonly accountId: string },
): Promise<void> {
  await deleteVault(options)
  await deleteDatabase(storeName(options.accountId))
}

/**
 * Browsers evict databases one by one or all together. Vault and store therefore know of each
 * other: the store holds a marker sealed by the vault, the vault remembers that the store exists.
 * The order (key, marker, memory of it) makes a crash in between look like a new account.
 */
async function provePair(database: Database, vault: Vault, existing: boolean): Promise<void> {
  const marker = await database.get(MARKER.table, MARKER.key)
  if (marker === undefined) {
    if (existing || !vault.fresh) throw new StoreError('evicted')
    const sealed = await vault.seal(MARKER, new Uint8Array(0))
    const transaction = database.transaction(MARKER.table, 'readwrite', { durability: 'strict' })
    await Promise.all([transaction.store.put(sealed, MARKER.key), transaction.done])
  } else if (await vault.open(MARKER, marker) === null) {
    throw new StoreError('evicted')
  }
  if (vault.fresh) await vault.settle()
}

function createStore(database: Database, vault: Vault): DeviceStore {
  let lastWrite: Promise<void> = Promise.resolve()

  async function open(place: RecordPlace, sealed: Uint8Array): Promise<Uint8Array> {
    const value = await vault.open(place, sealed)
    if (value === null) throw new StoreError('unsealable')
    return value
  }

  return {
    apply(changes, durability) {
      if (changes.length === 0) return Promise.resolve()
      const sealing = Promise.all(changes.map((change) => sealChange(vault, change)))
      sealing.catch(() => {})
      const written = lastWrite
        .then(() => sealing)
        .then((sealed) => write(database, sealed, durability))
        .catch((error) => Promise.reject(asStoreError(error)))
      lastWrite = written.catch(() => {})
      return written
    },
    async read(table, key) {
      const sealed = await database.get(table, key).catch(refuse)
      return sealed === undefined ? null : await open({ table, key }, sealed)
    },
    async readRange(table, range) {
      if (range.limit <= 0 || range.from >= range.to) return []
      const rows = await readRows(database, table, range).catch(refuse)
      return await Promise.all(
        rows.map(async ({ key, value }) => ({ key, value: await open({ table, key }, value) })),
      )
    },
    async close() {
      await lastWrite
      database.close()
      vault.close()
    },
  }
}

function refuse(error: unknown): never {
  throw asStoreError(error)
}

async function sealChange(vault: Vault, change: DeviceChange): Promise<DeviceChange> {
  return change.kind === 'put'
    ? { ...change, value: await vault.seal(change, change.value) }
    : change
}

async function write(
  database: Database,
  changes: readonly DeviceChange[],
  durability: Durability,
): Promise<void> {
  const tables = [...new Set(changes.map((change) => change.table))]
  const transaction = database.transaction(tables, 'readwrite', { durability })
  const requests: Promise<unknown>[] = [transaction.done]
  for (const change of changes) {
    const rows = transaction.objectStore(change.table)
    if (change.kind === 'put') requests.push(rows.put(change.value, change.key))
    else if (change.kind === 'delete') requests.push(rows.delete(change.key))
    else if (change.from < change.to) {
      requests.push(rows.delete(IDBKeyRange.bound(change.from, change.to, false, true)))
    }
  }
  await Promise.all(requests)
}

async function readRows(
  database: Database,
  table: DeviceTable,
  { from, to, limit, descending }: KeyRange,
): Promise<readonly DeviceRecord[]> {
  const range = IDBKeyRange.bound(from, to, false, true)
  const rows = database.transaction(table, 'readonly').store
  if (!descending) {
    const [keys, values] = await Promise.all([
      rows.getAllKeys(range, limit),
      rows.getAll(range, limit),
    ])
    return keys.map((key, index) => ({ key, value: values[index] as Uint8Array }))
  }
  const found: DeviceRecord[] = []
  let cursor = await rows.openCursor(range, 'prev')
  while (cursor !== null) {
    found.push({ key: cursor.key, value: cursor.value })
    cursor = found.length < limit ? await cursor.continue() : null
  }
  return found
}
