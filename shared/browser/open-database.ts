/**
 * Opens and deletes IndexedDB databases in the one way this app does: a connection steps aside for
 * a newer version, a wait for others ends. Owns no schema.
 */
import { type DBSchema, deleteDB, type IDBPDatabase, openDB, type OpenDBCallbacks } from 'idb'
import { asStoreError, StoreError } from '#browser/store-error.ts'

/** How long another connection may hold up an upgrade or a deletion. */
const BLOCKED_MS_MAX = 10_000

export interface DatabaseOptions<Schema extends DBSchema> {
  readonly name: string
  readonly version: number
  readonly upgrade: NonNullable<OpenDBCallbacks<Schema>['upgrade']>
}

/**
 * Opens a database. The connection closes by itself as soon as another one wants a newer version
 * or the deletion; what is then asked of it is refused with `closed`.
 *
 * @throws StoreError `blocked`, `newerVersion`, `full` or `unavailable`.
 */
export async function openDatabase<Schema extends DBSchema>(
  options: DatabaseOptions<Schema>,
): Promise<IDBPDatabase<Schema>> {
  let opened: IDBPDatabase<Schema> | null = null
  let abandoned = false
  const opening = openDB<Schema>(options.name, options.version, {
    upgrade: options.upgrade,
    blocking: () => opened?.close(),
  }).then((database) => {
    opened = database
    if (abandoned) database.close()
    return database
  })
  try {
    return await withinLimit(opening)
  } catch (error) {
    abandoned = true
    throw asStoreError(error)
  }
}

/**
 * Deletes a database; nothing happens where there is none.
 *
 * @throws StoreError `blocked` or `unavailable`.
 */
export async function deleteDatabase(name: string): Promise<void> {
  try {
    await withinLimit(deleteDB(name))
  } catch (error) {
    throw asStoreError(error)
  }
}

async function withinLimit<T>(work: Promise<T>): Promise<T> {
  let timer: ReturnType<typeof setTimeout> | undefined
  const limit = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new StoreError('blocked')), BLOCKED_MS_MAX)
  })
  try {
    return await Promise.race([work, limit])
  } finally {
    clearTimeout(timer)
    work.catch(() => {})
  }
}
