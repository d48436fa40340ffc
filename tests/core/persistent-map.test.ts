/** `PersistentMap` against the engine's own `Map`: contents, old versions, order and balance. */
import { deepStrictEqual, ok, strictEqual } from 'node:assert/strict'
import { fromHex, toHex } from '#core/base/bytes.ts'
import { PersistentMap } from '#core/mls/persistent-map.ts'
import { createPrng, type Prng } from './prng.ts'

type Model = ReadonlyMap<string, number>

/** Keys of few values and lengths, so that they meet, nest and share prefixes. */
function randomKey(prng: Prng): Uint8Array {
  return Uint8Array.from({ length: prng.integer(4) }, () => prng.integer(4))
}

function bytesOf(text: string): Uint8Array {
  const bytes = fromHex(text)
  ok(bytes !== null)
  return bytes
}

function checkHolds(map: PersistentMap<number>, model: Model): void {
  strictEqual(map.size, model.size)
  for (const [key, value] of model) strictEqual(map.get(bytesOf(key)), value)
  for (let absent = 0; absent < 64; absent++) {
    const key = Uint8Array.of(absent >> 4, (absent >> 2) & 3, absent & 3)
    if (!model.has(toHex(key))) strictEqual(map.get(key), undefined)
  }
  deepStrictEqual(
    [...map].map(({ key, value }) => [toHex(key), value]),
    [...model].sort(([a], [b]) => a < b ? -1 : 1),
  )
}

Deno.test('a persistent map is a map, and each of its versions stays as it was', () => {
  for (let seed = 1; seed <= 20; seed++) {
    const prng = createPrng(seed)
    const versions: { map: PersistentMap<number>; model: Model }[] = [
      { map: PersistentMap.of<number>([]), model: new Map() },
    ]
    for (let step = 0; step < 200; step++) {
      const before = prng.integer(4) === 0 ? prng.pick(versions) : versions.at(-1)
      ok(before !== undefined)
      const key = randomKey(prng)
      const model = new Map(before.model)
      if (prng.integer(3) === 0) {
        model.delete(toHex(key))
        versions.push({ map: before.map.delete(key), model })
      } else {
        model.set(toHex(key), step)
        versions.push({ map: before.map.set(key, step), model })
      }
    }
    for (const { map, model } of versions) checkHolds(map, model)
  }
})

Deno.test('a persistent map of many entries is the map of them one by one', () => {
  const prng = createPrng(7)
  for (const count of [0, 1, 2, 3, 50, 300]) {
    const entries = Array.from({ length: count }, (_, value) => ({ key: randomKey(prng), value }))
    const model = new Map<string, number>()
    for (const { key, value } of entries) {
      if (!model.has(toHex(key))) model.set(toHex(key), value)
    }
    checkHolds(PersistentMap.of(entries), model)
  }
})

Deno.test('a persistent map gives back the same map when a deleted key was not there', () => {
  const map = PersistentMap.of([{ key: Uint8Array.of(1), value: 1 }])
  strictEqual(map.delete(Uint8Array.of(2)), map)
  strictEqual(map.delete(Uint8Array.of(1)).size, 0)
})

let readings = 0

/** Counts how often somebody asks for its length, which every comparison does. */
class WatchedKey extends Uint8Array {
  override get length(): number {
    readings++
    return super.length
  }
}

function key32(value: number): Uint8Array {
  return Uint8Array.of(value >>> 24, value >>> 16, value >>> 8, value)
}

/** At least as many as the comparisons of one lookup, and at least one. */
function readingsFor(map: PersistentMap<number>, value: number): number {
  const key = new WatchedKey(key32(value))
  readings = 0
  strictEqual(map.get(key), value)
  ok(readings > 0)
  return readings
}

Deno.test('a persistent map stays shallow when keys come and go in order', () => {
  const count = 10_000
  let map = PersistentMap.of<number>([])
  for (let value = 0; value < count; value++) map = map.set(key32(value), value)
  const deepest = (from: number) => {
    let most = 0
    for (let value = from; value < count; value++) most = Math.max(most, readingsFor(map, value))
    return most
  }
  ok(deepest(0) <= 2.5 * Math.log2(count) + 1)
  const removed = count - 1_000
  for (let value = 0; value < removed; value++) map = map.delete(key32(value))
  strictEqual(map.size, 1_000)
  ok(deepest(removed) <= 2.5 * Math.log2(1_000) + 1)
})
