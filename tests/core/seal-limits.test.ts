/**
 * What sealing leaves behind and what it refuses at its borders: keys are wiped, a burst is known
 * by all that it is, chains do not share a place, records hold one whole tree.
 */
import { deepStrictEqual, notDeepStrictEqual, ok, strictEqual } from 'node:assert/strict'
import { epoch, type EpochId, leafIndex, type RoomId, timeMs } from '#core/base/ids.ts'
import { LIMITS } from '#core/base/limits.ts'
import { type Crypto, SIGNATURE_SEED_LENGTH } from '#core/crypto/crypto.ts'
import { createNobleCrypto } from '#core/crypto/noble.ts'
import { type Suite, SUITES } from '#core/crypto/suites.ts'
import { BurstCache, type BurstOrigin } from '#core/sender-keys/burst-cache.ts'
import { type Chain, ChainTable } from '#core/sender-keys/chains.ts'
import { decodeEphemeral, openTypingFrame } from '#core/sender-keys/ephemeral.ts'
import { sealTypingFrame } from '#core/sender-keys/ephemeral.ts'
import { type Inclusion, leafHash, merkleRoot, merkleTree } from '#core/sender-keys/merkle.ts'
import { pad, paddedLength, unpad } from '#core/sender-keys/padding.ts'
import { openWithSecret, seal, type SealContext } from '#core/sender-keys/seal.ts'
import { decodeSealedFrame, encodeSealedFrame } from '#core/sender-keys/sealed-frame.ts'
import { verifySealedFrame } from '#core/sender-keys/sealed-frame.ts'
import { createSenderKeys, decodeSenderKeys, take } from '#core/sender-keys/secret-tree.ts'
import { encodeChain, encodeNodes } from '#core/sender-keys/secret-tree.ts'
import { createPrng } from './prng.ts'

const crypto = createNobleCrypto()
const suite = SUITES.performance

// ---- What is wiped ---------------------------------------------------------------------------

interface Watched extends Crypto {
  /** Keys and texts that calls were given or gave back, as they are now. */
  readonly seen: Uint8Array[]
}

/** Every derived key, and every padded text. */
function watched(): Watched {
  const seen: Uint8Array[] = []
  const keep = (bytes: Uint8Array): Uint8Array => {
    ok(bytes.some((byte) => byte !== 0), 'something to wipe')
    seen.push(bytes)
    return bytes
  }
  return {
    ...crypto,
    seen,
    aeadSeal(aead, keyed, text) {
      keep(keyed.key)
      if (text.length >= 256) keep(text)
      return crypto.aeadSeal(aead, keyed, text)
    },
    aeadOpen(aead, keyed, sealed) {
      keep(keyed.key)
      const opened = crypto.aeadOpen(aead, keyed, sealed)
      return opened === null || opened.length < 256 ? opened : keep(opened)
    },
    hkdfExpand(...wanted) {
      const made = crypto.hkdfExpand(...wanted)
      return wanted[3] === suite.frameKeyLength ? keep(made) : made
    },
  }
}

const isWiped = (bytes: Uint8Array): boolean => bytes.every((byte) => byte === 0)

function createScene() {
  const prng = createPrng(91)
  const seed = prng.bytes(SIGNATURE_SEED_LENGTH[suite.signature])
  const room = prng.bytes(32) as RoomId
  const context = {
    suite,
    room,
    epoch: epoch(3n),
    epochId: prng.bytes(suite.hashLength) as EpochId,
    leaf: leafIndex(1),
    lane: 0,
    seen: { position: 1n, hash: prng.bytes(32) },
    signatureSecret: crypto.signatureKeyPair(suite.signature, seed).secretKey,
  }
  const item = {
    generation: 0,
    messageSecret: prng.bytes(suite.hashLength),
    nonce: prng.bytes(suite.frameNonceLength),
    plaintext: prng.bytes(20),
  }
  return { prng, room, context, item }
}

/** What a call left, without commitments, which are public. */
function leftOf({ seen }: Watched, commitment: Uint8Array): number {
  const secret = seen.filter((bytes) => bytes.some((byte, at) => byte !== commitment[at]))
  return secret.filter((bytes) => !isWiped(bytes)).length
}

Deno.test('SEAL-4: whoever seals or opens wipes the key and the padded text', async () => {
  const { context, item, room } = createScene()
  const sealing = watched()
  const bytes = await seal(sealing, context, item)
  const frame = decodeSealedFrame(bytes)
  ok(frame !== null)
  ok(sealing.seen.length >= 3)
  strictEqual(leftOf(sealing, frame.commitment), 0)

  const opening = watched()
  const sealed = { suite, room, frame }
  strictEqual(openWithSecret(opening, sealed, item.messageSecret).kind, 'opened')
  ok(opening.seen.length >= 3)
  strictEqual(leftOf(opening, frame.commitment), 0)

  const foreign = watched()
  const other = item.messageSecret.map((byte) => byte ^ 1)
  strictEqual(openWithSecret(foreign, sealed, other).kind, 'refused')
  const [key, commitment] = foreign.seen as [Uint8Array, Uint8Array]
  deepStrictEqual([isWiped(key), isWiped(commitment)], [true, false], 'the key of no frame')

  const damaged = watched()
  const ciphertext = frame.ciphertext.map((byte) => byte ^ 1)
  const changed = { ...sealed, frame: { ...frame, ciphertext } }
  deepStrictEqual(openWithSecret(damaged, changed, item.messageSecret), {
    kind: 'refused',
    code: 'notOpened',
  })
  strictEqual(leftOf(damaged, frame.commitment), 0)
})

Deno.test('SES-8: whoever says or hears that somebody types wipes the key', async () => {
  const { context, item, prng } = createScene()
  const ephemeral = { ...context, root: prng.bytes(suite.hashLength) }
  const saying = watched()
  const bytes = await sealTypingFrame(saying, ephemeral, {
    ...item,
    time: timeMs(9),
    signatureSecret: context.signatureSecret,
  })
  const frame = decodeEphemeral(bytes)
  ok(frame !== null && saying.seen.length > 0 && saying.seen.every(isWiped))
  const hearing = watched()
  ok(openTypingFrame(hearing, ephemeral, frame) !== null)
  ok(hearing.seen.length > 0 && hearing.seen.every(isWiped))
})

// ---- What a frame may be ------------------------------------------------------------------------

Deno.test('SEAL-1: a frame has at most its size, to the byte', () => {
  const { context, item } = createScene()
  const { room: _room, signatureSecret: _secret, lane: _lane, suite: _suite, ...place } = context
  const frameOf = (length: number) =>
    encodeSealedFrame({
      header: {
        ...{ format: 1, suite: suite.id, ...place, generation: 0, flags: 0, contentType: 1 },
        ...{ nonce: item.nonce, extensions: [] },
      },
      commitment: new Uint8Array(32),
      ciphertext: new Uint8Array(length),
      authenticator: { kind: 'single', signature: new Uint8Array(64) },
    })
  const around = frameOf(20_000).length - 20_000
  const most = LIMITS.sealedFrameSizeMax - around
  strictEqual(frameOf(most).length, LIMITS.sealedFrameSizeMax)
  ok(decodeSealedFrame(frameOf(most)) !== null)
  strictEqual(decodeSealedFrame(frameOf(most + 1)), null)
})

Deno.test('SEAL-3: nonce and epoch id have the lengths of the suite', async () => {
  const { context, item, room, prng } = createScene()
  const publicKey = crypto.signatureKeyPair('ed25519', context.signatureSecret).publicKey
  const isTaken = async (over: Partial<SealContext>, nonce = item.nonce): Promise<boolean> => {
    const bytes = await seal(crypto, { ...context, ...over }, { ...item, nonce })
    const frame = decodeSealedFrame(bytes)
    return frame !== null && await verifySealedFrame(crypto, { frame, room, publicKey })
  }
  strictEqual(await isTaken({}), true)
  const short: Suite = { ...suite, frameAead: 'aes256gcm', frameNonceLength: 12 }
  strictEqual(await isTaken({ suite: short }, prng.bytes(12)), false)
  strictEqual(await isTaken({ epochId: prng.bytes(48) as EpochId }), false)
  strictEqual(await isTaken({ suite: { ...suite, id: 0x7777 } }), false)
})

// ---- Bursts ------------------------------------------------------------------------------------

function burstOf(count: number) {
  const leaves = Array.from({ length: count }, (_, at) => leafHash(crypto, Uint8Array.of(at)))
  const { root, paths } = merkleTree(crypto, leaves)
  const inclusion = (index: number): Inclusion => ({
    leaf: leaves[index] as Uint8Array,
    index,
    count,
    path: paths[index] ?? [],
  })
  return { root, inclusion }
}

const origin = (over: Partial<BurstOrigin> = {}): BurstOrigin => ({
  signature: new Uint8Array(64).fill(1),
  publicKey: new Uint8Array(32).fill(2),
  suite: suite.id,
  room: new Uint8Array(32).fill(3),
  epochId: new Uint8Array(32).fill(4),
  leaf: 5,
  count: 3,
  ...over,
})

Deno.test('SEAL-6: a burst is known by signature, key, suite, room, epoch, leaf and count', () => {
  const { inclusion } = burstOf(3)
  const cache = new BurstCache()
  const own = origin()
  strictEqual(cache.knows(own), false)
  cache.add(crypto, own, inclusion(0))
  const other = new Uint8Array(32).fill(9)
  const others: readonly Partial<BurstOrigin>[] = [
    { signature: new Uint8Array(64).fill(9) },
    { publicKey: other },
    { suite: SUITES.compliance.id },
    { room: other },
    { epochId: other },
    { leaf: 6 },
    { count: 4 },
  ]
  for (const each of others) {
    strictEqual(cache.knows(origin(each)), false)
    strictEqual(cache.includes(crypto, origin(each), inclusion(1)), false)
  }
  strictEqual(cache.knows(origin()), true)
  strictEqual(cache.includes(crypto, origin(), inclusion(1)), true)
  // Its own copy: a buffer that is read into again changes nothing.
  for (const bytes of [own.signature, own.publicKey, own.room, own.epochId]) bytes.fill(0)
  strictEqual(cache.knows(origin()), true)
  strictEqual(cache.knows(own), false)
})

Deno.test('SEAL-6: a burst that is used is not the next to be forgotten', () => {
  const { inclusion } = burstOf(3)
  const cache = new BurstCache()
  const at = (leaf: number) => origin({ leaf })
  const max = LIMITS.burstsRememberedMax
  for (let leaf = 0; leaf < max; leaf++) cache.add(crypto, at(leaf), inclusion(0))
  ok(Array.from({ length: max }, (_, leaf) => cache.knows(at(leaf))).every((known) => known))
  strictEqual(cache.includes(crypto, at(0), inclusion(1)), true)
  cache.add(crypto, at(max), inclusion(0))
  deepStrictEqual([0, 1, 2, max].map((leaf) => cache.knows(at(leaf))), [true, false, true, true])
  // Use takes nobody's place, however often.
  for (let turn = 0; turn < 4 * max; turn++) {
    strictEqual(cache.includes(crypto, at(2 + turn % 3), inclusion(2)), true)
  }
  cache.add(crypto, at(max + 1), inclusion(0))
  cache.add(crypto, at(max + 1), inclusion(1))
  const known = Array.from({ length: max + 2 }, (_, leaf) => cache.knows(at(leaf)))
  strictEqual(known.filter((each) => each).length, max)
})

Deno.test('SEAL-6: an inner node of a known burst is no leaf of it', () => {
  const { inclusion } = burstOf(4)
  const cache = new BurstCache()
  const own = origin({ count: 4 })
  cache.add(crypto, own, inclusion(0))
  const [, above] = inclusion(2).path
  // The hash of the first two leaves, which stands behind the last leaf.
  const inner: Inclusion = { leaf: above as Uint8Array, index: 4, count: 4, path: [] }
  strictEqual(cache.includes(crypto, own, inner), false)
  const short = { ...inclusion(3), path: [] }
  strictEqual(cache.includes(crypto, own, short), false)
})

Deno.test('SEAL-6: an index beyond the burst, and a path of another length, fail', () => {
  for (let count = 1; count <= 9; count++) {
    const { root, inclusion } = burstOf(count)
    const cache = new BurstCache()
    const own = origin({ count })
    cache.add(crypto, own, inclusion(count - 1))
    for (let index = 0; index < count; index++) {
      const right = inclusion(index)
      deepStrictEqual(merkleRoot(crypto, right), root)
      const { path } = right
      const wrong: readonly Inclusion[] = [
        { ...right, index: index + count },
        { ...right, index: index + 256 },
        { ...right, path: [...path, new Uint8Array(32)] },
        { ...right, leaf: new Uint8Array(32) },
        ...path.length === 0 ? [] : [{ ...right, path: path.slice(0, -1) }],
        ...count === 1 ? [] : [{ ...right, index: (index + 1) % count }],
      ]
      for (const each of wrong) {
        const found = merkleRoot(crypto, each)
        if (found !== null) notDeepStrictEqual(found, root)
        strictEqual(cache.includes(crypto, own, each), false)
      }
      strictEqual(merkleRoot(crypto, { ...right, index: count }), null)
      strictEqual(cache.includes(crypto, own, right), true)
      strictEqual(cache.includes(crypto, own, right), true, 'also when all of it is known')
    }
  }
})

Deno.test('SEAL-6: a frame of a known burst costs one hash where its sibling is known', () => {
  let hashes = 0
  const counting: Crypto = {
    ...crypto,
    hash(...wanted) {
      hashes++
      return crypto.hash(...wanted)
    },
  }
  const { inclusion } = burstOf(8)
  const cache = new BurstCache()
  cache.add(counting, origin({ count: 8 }), inclusion(0))
  const cost = (index: number): number => {
    hashes = 0
    ok(cache.includes(counting, origin({ count: 8 }), inclusion(index)))
    return hashes
  }
  deepStrictEqual([1, 0, 2, 3, 4, 5, 6, 7].map(cost), [0, 0, 1, 0, 2, 0, 1, 0])
})

// ---- Chains and records ------------------------------------------------------------------------

Deno.test('KEY-6: no two chains share a place in a table', () => {
  const leaves = [0, 1, 31, 32, 33, 63, 64, 1_000]
  const lanes = Array.from({ length: LIMITS.lanesMax }, (_, lane) => lane)
  const chains: readonly Chain[] = leaves.flatMap((leaf) =>
    lanes.map((lane) => ({
      leaf: leafIndex(leaf),
      lane,
      generation: leaf * 10 + lane,
      secret: new Uint8Array(32),
      skipped: new Map(),
    }))
  )
  const [first, ...others] = chains as [Chain, ...Chain[]]
  const table = ChainTable.EMPTY.with(first).with(...others)
  for (const chain of chains) strictEqual(table.get(chain.leaf, chain.lane), chain)
  deepStrictEqual(new Set(table), new Set(chains))
  deepStrictEqual([table.get(2, 0), table.get(5_000, 0)], [undefined, undefined])
  const newer = { ...first, generation: 7 }
  strictEqual(table.with(newer).get(0, 0), newer)
  strictEqual(table.get(0, 0), first)
  strictEqual([...ChainTable.EMPTY].length, 0)
})

Deno.test('KEY-3: records of the keys come back as they are, and only as a whole', () => {
  const root = createPrng(17).bytes(suite.hashLength)
  const keys = createSenderKeys({ suite, root, leafCount: 5 })
  const step = take(crypto, keys, { leaf: leafIndex(3), lane: 1, generation: 2 })
  ok(step.kind === 'taken')
  const nodes = encodeNodes(step.keys)
  const chains = [...step.keys.chains].map(encodeChain)
  const back = decodeSenderKeys(nodes, chains)
  ok(back !== null)
  deepStrictEqual([back.suite.id, back.width, back.nodes], [suite.id, 8, step.keys.nodes])
  deepStrictEqual([...back.chains], [...step.keys.chains])
  // Its own copies: a page of the store is read into again.
  const secrets = [...back.chains].map(({ secret }) => secret.slice())
  for (const bytes of [nodes, ...chains]) bytes.fill(0)
  deepStrictEqual([...back.chains].map(({ secret }) => secret), secrets)
  ok([...back.nodes.values()].every((secret) => !isWiped(secret)))

  const other = take(crypto, keys, { leaf: leafIndex(4), lane: 0, generation: 0 })
  ok(other.kind === 'taken')
  const ofBoth = [...chains, ...[...other.keys.chains].map(encodeChain)]
  strictEqual(decodeSenderKeys(encodeNodes(step.keys), ofBoth), null, 'a leaf too many')
  const unknown = encodeNodes({ ...keys, suite: { ...suite, id: 0x7777 } })
  strictEqual(decodeSenderKeys(unknown, []), null)
})

Deno.test('KEY-2, KEY-3: whatever a step uses up is named, and nothing else', () => {
  const root = createPrng(18).bytes(suite.hashLength)
  const keys = createSenderKeys({ suite, root, leafCount: 4 })
  const first = take(crypto, keys, { leaf: leafIndex(2), lane: 0, generation: 0 })
  ok(first.kind === 'taken')
  // Root, node 5, the leaf's node and secret, and the beginning of the chain.
  deepStrictEqual([first.consumed.length, first.consumed[0]], [5, root])
  const begun = first.keys.chains.get(2, 0)
  const second = take(crypto, first.keys, { leaf: leafIndex(2), lane: 0, generation: 3 })
  ok(second.kind === 'taken' && begun !== undefined)
  strictEqual(second.consumed.length, 3)
  deepStrictEqual(second.consumed[0], begun.secret)
  deepStrictEqual([second.nodesChanged, second.touched.length], [false, 1])
  const late = take(crypto, second.keys, { leaf: leafIndex(2), lane: 0, generation: 1 })
  ok(late.kind === 'taken')
  deepStrictEqual([late.consumed, late.nodesChanged, late.touched.length], [[], false, 1])
  deepStrictEqual([...late.keys.chains.get(2, 0)?.skipped.keys() ?? []], [2])
})

// ---- Padding -------------------------------------------------------------------------------

Deno.test('SEAL-5: padding is the least that fits', () => {
  const exact: readonly (readonly [number, number])[] = [
    ...[256, 512, 1_024, 2_048, 4_096].map((size) => [size, size] as const),
    ...[[0, 256], [257, 512], [2_049, 4_096], [65_536, 65_536], [65_537, 67_584]] as const,
    ...[[131_073, 135_168], [4_097, 4_352]] as const,
  ]
  for (const [length, size] of exact) strictEqual(paddedLength(length), size)
  const text = Uint8Array.of(5, 6, 7)
  const padded = pad(text)
  deepStrictEqual(padded.slice(0, 5), Uint8Array.of(3, 5, 6, 7, 0))
  const back = unpad(padded)
  deepStrictEqual(back, text)
  padded.fill(9)
  deepStrictEqual(back, text, 'a copy: the padded text is wiped')
})
