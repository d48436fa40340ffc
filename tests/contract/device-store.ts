/**
 * The contract of `DeviceStore` (DEV-2) as cases that run anywhere: under `deno test` on memory, in
 * a page on IndexedDB. Owns no runner and no adapter.
 */
import type { DeviceChange, DeviceRecord, DeviceStore, KeyRange } from '#core/device/store.ts'

export interface DeviceStoreCase {
  readonly title: string
  /** Part of the contract only of stores whose content outlives `close`. */
  readonly durableOnly: boolean
  run(open: () => Promise<DeviceStore>): Promise<void>
}

const ALL: KeyRange = { from: '', to: '\uffff', limit: 1_000, descending: false }

function put(key: string, value: readonly number[]): DeviceChange {
  return { kind: 'put', table: 'timeline', key, value: Uint8Array.from(value) }
}

function remove(key: string): DeviceChange {
  return { kind: 'delete', table: 'timeline', key }
}

function equal(actual: unknown, expected: unknown): void {
  const [a, b] = [JSON.stringify(actual), JSON.stringify(expected)]
  if (a !== b) throw new Error(`expected ${b}, got ${a}`)
}

function numbers(value: Uint8Array | null): readonly number[] | null {
  return value === null ? null : [...value]
}

function keys(records: readonly DeviceRecord[]): string {
  return records.map((record) => record.key).join(' ')
}

async function withStore(
  open: () => Promise<DeviceStore>,
  work: (store: DeviceStore) => Promise<void>,
): Promise<void> {
  const store = await open()
  try {
    await work(store)
  } finally {
    await store.close()
  }
}

function onOneStore(title: string, work: (store: DeviceStore) => Promise<void>): DeviceStoreCase {
  return { title, durableOnly: false, run: (open) => withStore(open, work) }
}

const LETTERS = ['a', 'b', 'c', 'd', 'e'].map((key, index) => put(key, [index]))

/** Each case is given an `open` of its own that leads to one store, empty at first. */
export const DEVICE_STORE_CASES: readonly DeviceStoreCase[] = [
  onOneStore('DEV-2: what was put is read, what was not is null', async (store) => {
    await store.apply([put('a', [1, 2, 3]), put('empty', [])], 'relaxed')
    equal(numbers(await store.read('timeline', 'a')), [1, 2, 3])
    equal(numbers(await store.read('timeline', 'empty')), [])
    equal(await store.read('timeline', 'b'), null)
    equal(await store.read('rooms', 'a'), null)
  }),
  onOneStore('DEV-2: changes of one batch apply in order', async (store) => {
    const batch = [put('a', [1]), remove('a'), put('b', [1]), put('b', [2]), remove('c')]
    await store.apply(batch, 'strict')
    equal(await store.read('timeline', 'a'), null)
    equal(numbers(await store.read('timeline', 'b')), [2])
  }),
  onOneStore('DEV-2: a range is deleted in its turn, and nothing beside it', async (store) => {
    await store.apply(LETTERS, 'relaxed')
    const range = { kind: 'deleteRange', table: 'timeline' } as const
    await store.apply([put('bb', [7]), { ...range, from: 'b', to: 'd' }, put('c', [9])], 'strict')
    equal(keys(await store.readRange('timeline', ALL)), 'a c d e')
    equal(numbers(await store.read('timeline', 'c')), [9])
    await store.apply(
      [{ ...range, from: 'd', to: 'd' }, { ...range, from: 'e', to: 'a' }],
      'relaxed',
    )
    equal(keys(await store.readRange('timeline', ALL)), 'a c d e')
  }),
  onOneStore('DEV-2: an empty batch is stored', async (store) => {
    await store.apply([], 'strict')
    equal(await store.readRange('timeline', ALL), [])
  }),
  onOneStore('DEV-2: batches apply in call order, whatever their size', async (store) => {
    const large = Array.from({ length: 50 }, (_, index) => put(`k${index}`, [1]))
    await Promise.all([
      store.apply([...large, put('last', [1])], 'strict'),
      store.apply([put('last', [2])], 'relaxed'),
      store.apply([remove('k0')], 'relaxed'),
    ])
    equal(numbers(await store.read('timeline', 'last')), [2])
    equal(await store.read('timeline', 'k0'), null)
    equal((await store.readRange('timeline', ALL)).length, 50)
  }),
  onOneStore('DEV-2: a range holds its first key, not its last, up to its limit', async (store) => {
    await store.apply(LETTERS, 'relaxed')
    const read = async (range: Partial<KeyRange>) =>
      keys(await store.readRange('timeline', { ...ALL, ...range }))
    equal(await read({ from: 'b', to: 'd' }), 'b c')
    equal(await read({ limit: 2 }), 'a b')
    equal(await read({ limit: 2, descending: true }), 'e d')
    equal(await read({ from: 'b', to: 'd', descending: true }), 'c b')
    equal(await read({ from: 'aa', to: 'bb' }), 'b')
    equal(await read({ limit: 0 }), '')
    equal(await read({ from: 'c', to: 'c' }), '')
    equal(await read({ from: 'd', to: 'b' }), '')
    equal(await read({ from: 'x' }), '')
  }),
  onOneStore('DEV-2: a range carries the values of its keys', async (store) => {
    await store.apply(LETTERS, 'relaxed')
    const records = await store.readRange('timeline', { ...ALL, from: 'b', limit: 2 })
    equal(records.map(({ key, value }) => [key, numbers(value)]), [['b', [1]], ['c', [2]]])
  }),
  onOneStore('DEV-2: keys sort as strings of code units', async (store) => {
    const unsorted = ['b', 'a10', 'a2', 'B', '\u00e9', 'a', 'a/1', '\ud83d\udd12']
    await store.apply(unsorted.map((key) => put(key, [0])), 'relaxed')
    const range = { ...ALL, to: '\uffff' }
    equal(keys(await store.readRange('timeline', range)), [...unsorted].sort().join(' '))
  }),
  onOneStore('DEV-2: the store keeps a copy, and gives one', async (store) => {
    const value = Uint8Array.of(1)
    const applied = store.apply([{ kind: 'put', table: 'rooms', key: 'a', value }], 'relaxed')
    value[0] = 9
    await applied
    const read = await store.read('rooms', 'a')
    if (read !== null) read[0] = 8
    equal(numbers(await store.read('rooms', 'a')), [1])
  }),
  onOneStore('DEV-2: a large value comes back whole', async (store) => {
    const value = Uint8Array.from({ length: 300_000 }, (_, index) => index % 251)
    await store.apply([{ kind: 'put', table: 'groups', key: 'tree', value }], 'relaxed')
    const read = await store.read('groups', 'tree')
    equal(read?.length, value.length)
    equal(read?.every((byte, index) => byte === value[index]), true)
  }),
  {
    title: 'DEV-2: content outlives close',
    durableOnly: true,
    async run(open) {
      await withStore(open, (store) => store.apply([put('a', [1])], 'strict'))
      await withStore(open, async (store) => {
        equal(numbers(await store.read('timeline', 'a')), [1])
      })
    },
  },
  {
    title: 'DEV-2: close waits for what was applied before it',
    durableOnly: true,
    async run(open) {
      const store = await open()
      const applied = store.apply([put('a', [1])], 'relaxed')
      await store.close()
      await applied
      await withStore(open, async (again) => {
        equal(numbers(await again.read('timeline', 'a')), [1])
      })
    },
  },
]
