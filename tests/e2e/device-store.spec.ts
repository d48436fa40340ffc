/** `DeviceStore` on IndexedDB, in real browsers: its contract, its seals, and what goes wrong. */
import { DEVICE_STORE_CASES } from '../contract/device-store.ts'
import { call, expect, test } from './support/parts.ts'

test('DEV-2: IndexedDB keeps the contract of the store', async ({ openTab }) => {
  const page = await openTab()
  for (const [index, { title }] of DEVICE_STORE_CASES.entries()) {
    await test.step(title, () => call(page, 'runStoreCase', index))
  }
})

const refused = (code: string) => ({ kind: 'refused', code })
const done = <T>(value: T) => ({ kind: 'done', value })

test('DEV-3: a record is ciphertext under a key that scripts cannot read', async ({ openTab }) => {
  const page = await openTab()
  const text = 'the lark sings before the dawn'
  await call(page, 'writeText', 'a', 'one', text)
  const first = await call(page, 'readRaw', 'a', 'one')
  await call(page, 'writeText', 'a', 'one', text)
  const second = await call(page, 'readRaw', 'a', 'one')
  expect(String.fromCharCode(...first)).not.toContain('lark')
  expect(second).not.toEqual(first)
  expect(first).toHaveLength(1 + 12 + text.length + 16)
  expect(await call(page, 'inspectKey', 'a')).toEqual({
    extractable: false,
    usages: ['decrypt', 'encrypt'],
  })
})

test('DEV-3: a record that was changed or moved does not open', async ({ openTab }) => {
  const page = await openTab()
  await call(page, 'writeText', 'a', 'one', 'first')
  await call(page, 'writeText', 'a', 'two', 'second')
  await call(page, 'writeText', 'b', 'one', 'other')
  const sealed = await call(page, 'readRaw', 'a', 'one')
  await call(page, 'writeRaw', 'a', 'two', sealed)
  await call(page, 'writeRaw', 'b', 'one', sealed)
  expect(await call(page, 'readText', 'a', 'two')).toEqual(refused('unsealable'))
  expect(await call(page, 'readText', 'b', 'one')).toEqual(refused('unsealable'))
  await call(page, 'writeRaw', 'a', 'one', sealed.with(-1, (sealed.at(-1) ?? 0) ^ 1))
  expect(await call(page, 'readText', 'a', 'one')).toEqual(refused('unsealable'))
  await call(page, 'writeRaw', 'a', 'one', sealed)
  expect(await call(page, 'readText', 'a', 'one')).toEqual(done('first'))
})

test('a store or a vault that is gone is an eviction', async ({ openTab }) => {
  const page = await openTab()
  for (const gone of ['storeName', 'vaultName'] as const) {
    await call(page, 'writeText', gone, 'one', 'text')
    await call(page, 'deleteRaw', await call(page, gone, gone))
    expect(await call(page, 'readText', gone, 'one')).toEqual(refused('evicted'))
    expect(await call(page, 'readText', gone, 'one')).toEqual(refused('evicted'))
    await call(page, 'deleteAccount', gone)
    expect(await call(page, 'readText', gone, 'one')).toEqual(done(null))
  }
})

test('where the app knows an account, nothing at all is an eviction too', async ({ openTab }) => {
  const page = await openTab()
  expect(await call(page, 'readText', 'a', 'one', true)).toEqual(refused('evicted'))
  await call(page, 'writeText', 'a', 'one', 'text')
  expect(await call(page, 'readText', 'a', 'one', true)).toEqual(done('text'))
})

test('a store of a newer app is refused as such', async ({ openTab }) => {
  const page = await openTab()
  await call(page, 'writeText', 'a', 'one', 'text')
  await call(page, 'upgradeRaw', await call(page, 'storeName', 'a'))
  expect(await call(page, 'readText', 'a', 'one')).toEqual(refused('newerVersion'))
})

test('an open store steps aside when another tab deletes the account', async ({ openTab }) => {
  const [holder, other] = [await openTab(), await openTab()]
  expect(await call(holder, 'holdStore', 'a')).toEqual(done(undefined))
  expect(await call(other, 'deleteAccount', 'a')).toEqual(done(undefined))
})
