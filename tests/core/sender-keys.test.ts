/** The secret tree of an epoch and its chains: what can be taken, once, and what is left behind. */
import { deepStrictEqual, ok, strictEqual, throws } from 'node:assert/strict'
import { toHex } from '#core/base/bytes.ts'
import { type EpochId, type LeafIndex, leafIndex, type RoomId } from '#core/base/ids.ts'
import { LIMITS } from '#core/base/limits.ts'
import type { Crypto } from '#core/crypto/crypto.ts'
import { createNobleCrypto } from '#core/crypto/noble.ts'
import { SUITES } from '#core/crypto/suites.ts'
import { EPOCH_EXPORTS, exportContext, exportLength } from '#core/sender-keys/exports.ts'
import { chainKey } from '#core/sender-keys/chains.ts'
import { createSenderKeys, decodeSenderKeys } from '#core/sender-keys/secret-tree.ts'
import { encodeChain, encodeNodes, reserve, take } from '#core/sender-keys/secret-tree.ts'
import type { SenderKeys, Taken } from '#core/sender-keys/secret-tree.ts'
import { createPrng } from './prng.ts'

const crypto = createNobleCrypto()
const suite = SUITES.performance

const keysOf = (leafCount: number, seed = 1): SenderKeys =>
  createSenderKeys({ suite, root: createPrng(seed).bytes(suite.hashLength), leafCount })

const place = (leaf: number, generation: number, lane = 0) => ({
  leaf: leafIndex(leaf),
  lane,
  generation,
})

type TakenSecret = Extract<Taken, { kind: 'taken' }>

function taken(keys: SenderKeys, at: ReturnType<typeof place>): TakenSecret {
  const outcome = take(crypto, keys, at)
  ok(outcome.kind === 'taken', outcome.kind === 'refused' ? outcome.code : '')
  return outcome
}

function codeOf(keys: SenderKeys, at: ReturnType<typeof place>): string {
  const outcome = take(crypto, keys, at)
  return outcome.kind === 'refused' ? outcome.code : 'taken'
}

/** Every secret that a state holds, in hex. */
function secretsIn(keys: SenderKeys): ReadonlySet<string> {
  const chains = [...keys.chains]
  return new Set(
    [
      ...keys.nodes.values(),
      ...chains.flatMap(({ secret, skipped }) => [secret, ...skipped.values()]),
    ].map(toHex),
  )
}

Deno.test('KEY-1: exports differ in label, have the length of the KDF, and name all three', () => {
  const room = new Uint8Array(32).fill(1) as RoomId
  const epochId = new Uint8Array(32).fill(2) as EpochId
  strictEqual(new Set(Object.values(EPOCH_EXPORTS)).size, 2)
  strictEqual(exportLength(SUITES.performance), 32)
  strictEqual(exportLength(SUITES.compliance), 48)
  const contexts = [
    exportContext(suite, room, epochId),
    exportContext(SUITES.compliance, room, epochId),
    exportContext(suite, epochId as Uint8Array as RoomId, epochId),
    exportContext(suite, room, room as Uint8Array as EpochId),
  ]
  strictEqual(new Set(contexts.map(toHex)).size, 4)
  strictEqual(toHex(contexts[0] as Uint8Array), `f003${'01'.repeat(32)}20${'02'.repeat(32)}`)
})

Deno.test('KEY-2: two members derive the same secrets in any order', () => {
  const places = [place(0, 0), place(5, 2), place(5, 0), place(3, 0, 2), place(6, 1), place(5, 1)]
  const secretsBy = (order: readonly ReturnType<typeof place>[]) => {
    let keys = keysOf(7)
    const secrets = new Map<string, string>()
    for (const at of order) {
      const { secret, keys: next } = taken(keys, at)
      secrets.set(JSON.stringify(at), toHex(secret))
      keys = next
    }
    return secrets
  }
  const one = secretsBy(places)
  const other = secretsBy(places.toReversed())
  for (const at of places) strictEqual(one.get(JSON.stringify(at)), other.get(JSON.stringify(at)))
  strictEqual(new Set(one.values()).size, places.length)
})

Deno.test('KEY-2: one leaf of 10,000 costs the height of the tree, the others nothing', () => {
  let expansions = 0
  const counting: Crypto = {
    ...crypto,
    hkdfExpand(...args) {
      expansions++
      return crypto.hkdfExpand(...args)
    },
  }
  const keys = keysOf(10_000)
  strictEqual(keys.width, 16_384)
  strictEqual(expansions, 0)
  const first = take(counting, keys, place(9_999, 0))
  // 14 levels with two children each, the leaf, its lanes, the message and the next in the chain.
  strictEqual(expansions, 14 * 2 + 1 + LIMITS.lanesMax + 2)
  ok(first.kind === 'taken')
  strictEqual([...first.keys.nodes].length, 14)
  expansions = 0
  take(counting, first.keys, place(9_999, 1))
  strictEqual(expansions, 2)
  expansions = 0
  take(counting, first.keys, place(9_998, 0))
  strictEqual(expansions, 1 + LIMITS.lanesMax + 2)
})

Deno.test('KEY-2: a state holds nothing from which a taken secret follows', () => {
  let keys = keysOf(8)
  const gone: string[] = []
  for (const at of [place(2, 0), place(2, 1), place(3, 0), place(7, 0, 1), place(2, 5)]) {
    const step = taken(keys, at)
    gone.push(...step.consumed.map(toHex), toHex(step.secret))
    keys = step.keys
    const held = secretsIn(keys)
    ok(gone.every((secret) => !held.has(secret)))
  }
  // Whatever the first state held and the last one does not was named to be wiped.
  const held = secretsIn(keys)
  ok([...secretsIn(keysOf(8))].every((secret) => held.has(secret) || gone.includes(secret)))
})

Deno.test('KEY-3: a secret is taken once', () => {
  const first = taken(keysOf(4), place(1, 0))
  strictEqual(codeOf(first.keys, place(1, 0)), 'replayed')
  const third = taken(first.keys, place(1, 2))
  const skipped = taken(third.keys, place(1, 1))
  strictEqual(codeOf(skipped.keys, place(1, 1)), 'replayed')
  strictEqual(codeOf(skipped.keys, place(1, 2)), 'replayed')
  strictEqual(codeOf(skipped.keys, place(1, 3)), 'taken')
})

Deno.test('KEY-3: out of order within bounds, each secret is the one of its generation', () => {
  const inOrder: string[] = []
  let keys = keysOf(2)
  for (let generation = 0; generation < 40; generation++) {
    const step = taken(keys, place(1, generation))
    inOrder.push(toHex(step.secret))
    keys = step.keys
  }
  const prng = createPrng(2)
  const order = Array.from({ length: 40 }, (_, generation) => generation)
    .sort(() => prng.integer(3) - 1)
  keys = keysOf(2)
  for (const generation of order) {
    const step = taken(keys, place(1, generation))
    strictEqual(toHex(step.secret), inOrder[generation])
    keys = step.keys
  }
  strictEqual([...keys.chains].reduce((sum, { skipped }) => sum + skipped.size, 0), 0)
})

Deno.test('KEY-3: a jump beyond the bound is refused and costs nothing', () => {
  const keys = taken(keysOf(2), place(0, 0)).keys
  const before = secretsIn(keys)
  strictEqual(codeOf(keys, place(0, LIMITS.generationJumpMax + 2)), 'generationTooFar')
  strictEqual(codeOf(keys, place(0, 0xffffffff)), 'generationTooFar')
  deepStrictEqual(secretsIn(keys), before)
  strictEqual(codeOf(keys, place(0, LIMITS.generationJumpMax + 1)), 'taken')
})

Deno.test('KEY-3: skipped secrets are kept up to a bound, the oldest go first', () => {
  const jump = LIMITS.generationJumpMax
  let keys = taken(keysOf(2), place(0, 700)).keys
  strictEqual(keys.chains.get(0, 0)?.skipped.size, 700)
  strictEqual(codeOf(keys, place(0, 0)), 'taken')
  const step = taken(keys, place(0, 701 + jump))
  keys = step.keys
  strictEqual(keys.chains.get(0, 0)?.skipped.size, LIMITS.skippedKeysMax)
  strictEqual(codeOf(keys, place(0, 699)), 'replayed')
  strictEqual(codeOf(keys, place(0, 701)), 'taken')
  ok(step.consumed.length > jump + 700, 'the forgotten ones are to be wiped')
})

Deno.test('KEY-6: lanes of a leaf have chains of their own', () => {
  let keys = keysOf(2)
  const secrets: string[] = []
  for (let lane = 0; lane < LIMITS.lanesMax; lane++) {
    const step = taken(keys, place(1, 0, lane))
    secrets.push(toHex(step.secret))
    keys = step.keys
  }
  strictEqual(new Set(secrets).size, LIMITS.lanesMax)
  for (let lane = 0; lane < LIMITS.lanesMax; lane++) {
    strictEqual(keys.chains.get(1, lane)?.generation, 1)
    strictEqual(codeOf(keys, place(1, 0, lane)), 'replayed')
  }
  strictEqual(codeOf(keys, place(1, 0, LIMITS.lanesMax)), 'unknownLeaf')
})

Deno.test('a leaf beyond the tree is unknown', () => {
  strictEqual(codeOf(keysOf(5), place(7, 0)), 'taken')
  strictEqual(codeOf(keysOf(5), place(8, 0)), 'unknownLeaf')
  strictEqual(codeOf(keysOf(1), place(0, 0)), 'taken')
  strictEqual(codeOf(keysOf(1), place(1, 0)), 'unknownLeaf')
  strictEqual(codeOf(keysOf(5), place(0xffffffff, 0)), 'unknownLeaf')
  throws(() => keysOf(0))
})

Deno.test('KEY-4: a reserved block is what the others take, and the state stands beyond it', () => {
  const own = { leaf: leafIndex(3), lane: 0, count: LIMITS.generationBlock }
  const block = reserve(crypto, keysOf(4), own)
  deepStrictEqual(block.reserved.map(({ generation }) => generation), [...Array(64).keys()])
  let receiving = keysOf(4)
  for (const { generation, secret } of block.reserved) {
    const step = taken(receiving, place(3, generation))
    strictEqual(toHex(step.secret), toHex(secret))
    receiving = step.keys
  }
  const held = secretsIn(block.keys)
  ok(block.reserved.every(({ secret }) => !held.has(toHex(secret))))
  const restored = restore(block.keys)
  const next = reserve(crypto, restored, own)
  strictEqual(next.reserved[0]?.generation, 64)
  const spent = block.reserved.map(({ secret }) => toHex(secret))
  ok(next.reserved.every(({ secret }) => !spent.includes(toHex(secret))))
})

function restore(keys: SenderKeys): SenderKeys {
  const restored = decodeSenderKeys(encodeNodes(keys), [...keys.chains].map(encodeChain))
  ok(restored !== null)
  return restored
}

Deno.test('a state survives storage in pieces, of which a message writes the least', () => {
  let keys = keysOf(100)
  const records = new Map<string, Uint8Array>([['nodes', encodeNodes(keys)]])
  const prng = createPrng(3)
  const generations = new Map<string, number>()
  for (let message = 0; message < 120; message++) {
    const leaf = prng.integer(6) * 13
    const lane = prng.integer(2)
    const key = chainKey(leaf, lane)
    const generation = (generations.get(key) ?? -1) + 1 + prng.integer(3)
    generations.set(key, generation)
    const step = taken(keys, place(leaf, generation, lane))
    const opened = !records.has(key)
    strictEqual(step.nodesChanged, opened)
    strictEqual(step.touched.length, opened ? LIMITS.lanesMax : 1)
    if (step.nodesChanged) records.set('nodes', encodeNodes(step.keys))
    for (const chain of step.touched) {
      records.set(chainKey(chain.leaf, chain.lane), encodeChain(chain))
    }
    keys = step.keys
    if (message % 10 !== 0) continue
    const { nodes, ...chains } = Object.fromEntries(records)
    const restored = decodeSenderKeys(nodes as Uint8Array, Object.values(chains))
    ok(restored !== null)
    deepStrictEqual(secretsIn(restored), secretsIn(keys))
    strictEqual(
      toHex(taken(restored, place(99, 3)).secret),
      toHex(taken(keys, place(99, 3)).secret),
    )
  }
})

Deno.test('a state whose records are damaged or incomplete is not restored', () => {
  const keys = taken(keysOf(8), place(2, 9)).keys
  const nodes = encodeNodes(keys)
  const chains = [...keys.chains].map(encodeChain)
  ok(decodeSenderKeys(nodes, chains) !== null)
  strictEqual(decodeSenderKeys(nodes, chains.slice(1)), null)
  strictEqual(decodeSenderKeys(nodes, []), null)
  for (let length = 0; length < nodes.length; length++) {
    strictEqual(decodeSenderKeys(nodes.slice(0, length), chains), null)
  }
  const [first, ...others] = chains as [Uint8Array, ...Uint8Array[]]
  for (let length = 0; length < first.length; length++) {
    strictEqual(decodeSenderKeys(nodes, [first.slice(0, length), ...others]), null)
  }
})

Deno.test('a step changes no state that was there before', () => {
  const keys = taken(keysOf(8), place(2, 9)).keys
  const before = secretsIn(keys)
  taken(keys, place(2, 3))
  taken(keys, place(2, 20))
  taken(keys, place(5, 0))
  reserve(crypto, keys, { leaf: leafIndex(2) as LeafIndex, lane: 1, count: 3 })
  deepStrictEqual(secretsIn(keys), before)
})
