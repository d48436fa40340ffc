/**
 * What a device of a device world has stored, as a value that is never changed: written by the
 * changes of its steps, and read again when it starts anew. Owns that; what a power loss takes is
 * not part of these worlds.
 */
import {
  createMemoryDeviceStore,
  DEVICE_TABLES,
  type DeviceStore,
  type DeviceTable,
} from '#core/device/store.ts'
import type { RequiredChange } from '#core/device/io.ts'

export type Shelf = ReadonlyMap<DeviceTable, ReadonlyMap<string, Uint8Array>>

const ALL = { from: '', to: '\uffff', limit: 1_000_000, descending: false } as const

/** Everything in a store. */
export async function shelfOf(store: DeviceStore): Promise<Shelf> {
  const tables = DEVICE_TABLES.map(async (table) => {
    const records = await store.readRange(table, ALL)
    return [table, new Map(records.map(({ key, value }) => [key, value]))] as const
  })
  return new Map(await Promise.all(tables))
}

/** A store that holds what stands on a shelf. */
export async function storeOf(shelf: Shelf): Promise<DeviceStore> {
  const store = createMemoryDeviceStore()
  const puts = [...shelf].flatMap(([table, records]) =>
    [...records].map(([key, value]) => ({ kind: 'put', table, key, value }) as const)
  )
  await store.apply(puts, 'strict')
  return store
}

/** The shelf after a step; tables that it does not touch are shared. */
export function written(shelf: Shelf, changes: readonly RequiredChange[]): Shelf {
  if (changes.length === 0) return shelf
  const next = new Map(shelf)
  const touched = new Set(changes.map(({ change }) => change.table))
  for (const table of touched) {
    const records = new Map(shelf.get(table))
    for (const { change } of changes) {
      if (change.table !== table) continue
      if (change.kind === 'put') records.set(change.key, change.value)
      else if (change.kind === 'delete') records.delete(change.key)
      else {
        const gone = [...records.keys()].filter((key) => key >= change.from && key < change.to)
        for (const key of gone) records.delete(key)
      }
    }
    next.set(table, new Map([...records].sort(([a], [b]) => a < b ? -1 : 1)))
  }
  return next
}
