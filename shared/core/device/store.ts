/**
 * The `DeviceStore` port: ordered tables of sealed records. Owns the contract, the names of the
 * tables and the memory implementation; owns no record's meaning and no sealing.
 *
 * Isolation: `apply` is atomic and serial; a read sees every `apply` that resolved before it began
 * and none that was rejected. One writer at a time (DEV-2).
 */

/** Tables of one account; the store itself is named by account. Keys sort as strings. */
export const DEVICE_TABLES = [
  'account',
  'rooms',
  'groups',
  'nodes',
  'chains',
  'certificates',
  'timeline',
  'outbox',
  'keyPackages',
] as const
export type DeviceTable = (typeof DEVICE_TABLES)[number]

export type DeviceChange =
  | {
    readonly kind: 'put'
    readonly table: DeviceTable
    readonly key: string
    readonly value: Uint8Array
  }
  | { readonly kind: 'delete'; readonly table: DeviceTable; readonly key: string }
  /** All keys from `from` (inclusive) to `to` (exclusive). */
  | {
    readonly kind: 'deleteRange'
    readonly table: DeviceTable
    readonly from: string
    readonly to: string
  }

/** `strict`: on the medium when `apply` resolves, also after a power loss (KEY-4). */
export type Durability = 'relaxed' | 'strict'

export interface DeviceRecord {
  readonly key: string
  readonly value: Uint8Array
}

export interface KeyRange {
  /** Inclusive. */
  readonly from: string
  /** Exclusive. */
  readonly to: string
  readonly limit: number
  /** Largest keys first. */
  readonly descending: boolean
}

export interface DeviceStore {
  /** All changes or none; rejects with nothing written. */
  apply(changes: readonly DeviceChange[], durability: Durability): Promise<void>
  read(table: DeviceTable, key: string): Promise<Uint8Array | null>
  readRange(table: DeviceTable, range: KeyRange): Promise<readonly DeviceRecord[]>
  close(): Promise<void>
}

/** A `DeviceStore` in memory, for simulation and programs without a disk. */
export function createMemoryDeviceStore(): DeviceStore {
  const tables = new Map<DeviceTable, Map<string, Uint8Array>>(
    DEVICE_TABLES.map((table) => [table, new Map()]),
  )
  const rows = (table: DeviceTable): Map<string, Uint8Array> => tables.get(table) ?? new Map()
  return {
    apply(changes) {
      for (const change of changes) {
        if (change.kind === 'put') rows(change.table).set(change.key, change.value.slice())
        else if (change.kind === 'delete') rows(change.table).delete(change.key)
        else deleteRange(rows(change.table), change)
      }
      return Promise.resolve()
    },
    read(table, key) {
      return Promise.resolve(rows(table).get(key)?.slice() ?? null)
    },
    readRange(table, { from, to, limit, descending }) {
      const keys = [...rows(table).keys()].filter((key) => key >= from && key < to).sort()
      if (descending) keys.reverse()
      return Promise.resolve(
        keys.slice(0, limit).map((key) => ({
          key,
          value: (rows(table).get(key) as Uint8Array).slice(),
        })),
      )
    },
    close: () => Promise.resolve(),
  }
}

function deleteRange(
  rows: Map<string, Uint8Array>,
  { from, to }: { readonly from: string; readonly to: string },
): void {
  for (const key of rows.keys()) if (key >= from && key < to) rows.delete(key)
}
