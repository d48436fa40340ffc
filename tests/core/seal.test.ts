/** Sealed frames: what opens, what is refused, what each costs in bytes. In both product suites. */
import { deepStrictEqual, ok, strictEqual } from 'node:assert/strict'
import { toHex } from '#core/base/bytes.ts'
import { epoch, type EpochId, type LeafIndex, leafIndex, type RoomId } from '#core/base/ids.ts'
import { LIMITS } from '#core/base/limits.ts'
import { type KeyPair, SIGNATURE_SEED_LENGTH } from '#core/crypto/crypto.ts'
import { createNobleCrypto } from '#core/crypto/noble.ts'
import { type Suite, SUITES } from '#core/crypto/suites.ts'
import { open, type Opened, openWithSecret, seal, sealBurst } from '#core/sender-keys/seal.ts'
import type { SealContext, SealItem } from '#core/sender-keys/seal.ts'
import { BurstCache } from '#core/sender-keys/burst-cache.ts'
import { decodeSealedFrame, encodeSealedFrame } from '#core/sender-keys/sealed-frame.ts'
import {
  isOfKnownBurst,
  laneOf,
  type SealedFrame,
  verifySealedFrame,
} from '#core/sender-keys/sealed-frame.ts'
import { createSenderKeys, reserve, type SenderKeys } from '#core/sender-keys/secret-tree.ts'
import { createPrng, type Prng } from './prng.ts'

const crypto = createNobleCrypto()
const product: readonly Suite[] = [SUITES.performance, SUITES.compliance]

/** Alice at leaf 0, Mallory at leaf 1, and a reader, all in one epoch. */
interface Scene {
  readonly prng: Prng
  readonly suite: Suite
  readonly alice: SealContext
  readonly mallory: SealContext
  readonly keyPairs: ReadonlyMap<LeafIndex, KeyPair>
  readonly keys: SenderKeys
}

function createScene(suite: Suite, seed: number): Scene {
  const prng = createPrng(seed)
  const room = prng.bytes(32) as RoomId
  const epochId = prng.bytes(suite.hashLength) as EpochId
  const root = prng.bytes(suite.hashLength)
  const keyPairs = new Map([0, 1].map((leaf) => {
    const seed = prng.bytes(SIGNATURE_SEED_LENGTH[suite.signature])
    return [leafIndex(leaf), crypto.signatureKeyPair(suite.signature, seed)]
  }))
  const contextOf = (leaf: number): SealContext => ({
    suite,
    room,
    epoch: epoch(9n),
    epochId,
    leaf: leafIndex(leaf),
    lane: 0,
    seen: { position: 41n, hash: new Uint8Array(32).fill(7) },
    signatureSecret: keyPairs.get(leafIndex(leaf))?.secretKey as Uint8Array,
  })
  const keys = createSenderKeys({ suite, root, leafCount: 3 })
  return { prng, suite, alice: contextOf(0), mallory: contextOf(1), keyPairs, keys }
}

/** The next items of a leaf's chain from its beginning. */
function itemsOf(scene: Scene, leaf: LeafIndex, plaintexts: readonly Uint8Array[]): SealItem[] {
  const count = plaintexts.length
  const { reserved } = reserve(crypto, scene.keys, { leaf, lane: 0, count })
  return plaintexts.map((plaintext, index) => ({
    generation: reserved[index]?.generation ?? -1,
    messageSecret: reserved[index]?.secret ?? new Uint8Array(),
    nonce: scene.prng.bytes(scene.suite.frameNonceLength),
    plaintext,
  }))
}

function itemOf(scene: Scene, leaf: LeafIndex, plaintext: Uint8Array): SealItem {
  return itemsOf(scene, leaf, [plaintext])[0] as SealItem
}

interface Reading {
  readonly keys?: SenderKeys
  readonly room?: RoomId
  readonly epochId?: EpochId
  readonly suite?: Suite
  readonly bursts?: BurstCache
}

function read(scene: Scene, bytes: Uint8Array, reading: Reading = {}): Promise<Opened> {
  const { suite, alice, keyPairs } = scene
  return open(crypto, reading.keys ?? scene.keys, {
    suite,
    room: alice.room,
    epochId: alice.epochId,
    signatureKeyOf: (leaf) => keyPairs.get(leaf)?.publicKey ?? null,
    ...reading,
  }, bytes)
}

async function refusal(opened: Promise<Opened>): Promise<string> {
  const outcome = await opened
  return outcome.kind === 'refused' ? outcome.code : 'opened'
}

async function opened(outcome: Promise<Opened>) {
  const read = await outcome
  ok(read.kind === 'opened', read.kind === 'refused' ? read.code : '')
  return read
}

function flipped(bytes: Uint8Array, bit: number): Uint8Array {
  const changed = bytes.slice()
  const at = Math.floor(bit / 8)
  changed[at] = (changed[at] as number) ^ (1 << (bit % 8))
  return changed
}

function frameOf(bytes: Uint8Array): SealedFrame {
  const frame = decodeSealedFrame(bytes)
  ok(frame !== null)
  return frame
}

function inBothSuites(title: string, run: (suite: Suite) => Promise<void>): void {
  for (const suite of product) Deno.test(`${title} (${suite.name})`, () => run(suite))
}

inBothSuites('SEAL-1, SEAL-7: what Alice seals is opened as hers', async (suite) => {
  const scene = createScene(suite, 1)
  const item = itemOf(scene, scene.alice.leaf, scene.prng.bytes(300))
  const bytes = await seal(crypto, scene.alice, item)
  const { leaf, generation, plaintext, messageSecret, seen, contentType } = await opened(
    read(scene, bytes),
  )
  deepStrictEqual([leaf, generation, contentType], [0, 0, 1])
  deepStrictEqual(plaintext, item.plaintext)
  deepStrictEqual(messageSecret, item.messageSecret)
  deepStrictEqual(seen, scene.alice.seen)
  const { header } = frameOf(bytes)
  deepStrictEqual([header.epoch, header.suite, laneOf(header)], [9n, suite.id, 0])
  deepStrictEqual(encodeSealedFrame(frameOf(bytes)), bytes)
})

inBothSuites('KEY-3: a frame is opened once, and late ones in any order', async (suite) => {
  const scene = createScene(suite, 2)
  const texts = [0, 1, 2].map((n) => new Uint8Array(n + 1).fill(n))
  const items = itemsOf(scene, scene.alice.leaf, texts)
  const frames = await Promise.all(items.map((item) => seal(crypto, scene.alice, item)))
  let { keys } = scene
  for (const index of [2, 0, 1]) {
    const step = await opened(read(scene, frames[index] as Uint8Array, { keys }))
    deepStrictEqual(step.plaintext, texts[index])
    keys = step.keys
  }
  for (const frame of frames) strictEqual(await refusal(read(scene, frame, { keys })), 'replayed')
})

inBothSuites('SEAL-2: a frame with any bit changed is refused', async (suite) => {
  const scene = createScene(suite, 3)
  const bytes = await seal(crypto, scene.alice, itemOf(scene, scene.alice.leaf, new Uint8Array(40)))
  const { ciphertext } = frameOf(bytes)
  // Every bit outside of the ciphertext, and one of each of its bytes.
  const from = ciphertext.byteOffset - bytes.byteOffset
  for (let bit = 0; bit < bytes.length * 8; bit++) {
    const at = Math.floor(bit / 8)
    if (at >= from && at < from + ciphertext.length && bit % 8 !== at % 8) continue
    const code = await refusal(read(scene, flipped(bytes, bit)))
    ok(code !== 'opened', `bit ${bit}`)
    ok(!['wrongCommitment', 'notOpened'].includes(code), `bit ${bit} is found by the signature`)
  }
})

inBothSuites('SEAL-2: nobody else speaks as Alice', async (suite) => {
  const scene = createScene(suite, 4)
  // Mallory has every key of the epoch, but not Alice's signature key.
  const item = itemOf(scene, scene.alice.leaf, new Uint8Array(9))
  const { signatureSecret } = scene.mallory
  const forged = await seal(crypto, { ...scene.alice, signatureSecret }, item)
  strictEqual(await refusal(read(scene, forged)), 'wrongSignature')
  const [burst] = await sealBurst(crypto, { ...scene.alice, signatureSecret }, [item])
  strictEqual(await refusal(read(scene, burst as Uint8Array)), 'wrongSignature')
  const own = await seal(
    crypto,
    scene.mallory,
    itemOf(scene, scene.mallory.leaf, new Uint8Array(9)),
  )
  strictEqual((await opened(read(scene, own))).leaf, 1)
  const blank = await seal(crypto, { ...scene.alice, leaf: leafIndex(2) }, item)
  strictEqual(await refusal(read(scene, blank)), 'unknownLeaf')
  // Mallory uses a key of Alice's chain under her own name.
  const stolen = await seal(crypto, scene.mallory, item)
  strictEqual(await refusal(read(scene, stolen)), 'wrongCommitment')
})

inBothSuites('SEAL-4: a signed commitment to another key is refused', async (suite) => {
  const scene = createScene(suite, 5)
  const item = itemOf(scene, scene.alice.leaf, new Uint8Array(9))
  const other = { ...item, messageSecret: scene.prng.bytes(suite.hashLength) }
  const bytes = await seal(crypto, scene.alice, other)
  strictEqual(await refusal(read(scene, bytes)), 'wrongCommitment')
  const sealed = { suite, room: scene.alice.room, frame: frameOf(bytes) }
  strictEqual(openWithSecret(crypto, sealed, item.messageSecret).kind, 'refused')
  deepStrictEqual(openWithSecret(crypto, sealed, other.messageSecret), {
    kind: 'opened',
    plaintext: item.plaintext,
  })
})

inBothSuites('SEAL-2: a frame of another room, epoch or suite is refused', async (suite) => {
  const scene = createScene(suite, 6)
  const bytes = await seal(crypto, scene.alice, itemOf(scene, scene.alice.leaf, new Uint8Array(9)))
  const room = scene.prng.bytes(32) as RoomId
  strictEqual(await refusal(read(scene, bytes, { room })), 'wrongSignature')
  const epochId = scene.prng.bytes(suite.hashLength) as EpochId
  strictEqual(await refusal(read(scene, bytes, { epochId })), 'wrongEpochId')
  const other = product.find(({ id }) => id !== suite.id) as Suite
  strictEqual(await refusal(read(scene, bytes, { suite: other })), 'wrongSuite')
  // Moved into the other room's name, or epoch, by whoever carries it.
  const frame = frameOf(bytes)
  const moved = encodeSealedFrame({ ...frame, header: { ...frame.header, epochId } })
  strictEqual(await refusal(read(scene, moved, { epochId })), 'wrongSignature')
})

inBothSuites('a refusal leaves the keys as they were', async (suite) => {
  const scene = createScene(suite, 7)
  const item = itemOf(scene, scene.alice.leaf, new Uint8Array(9))
  const bytes = await seal(crypto, scene.alice, item)
  for (let bit = 0; bit < bytes.length * 8; bit += 301) await read(scene, flipped(bytes, bit))
  strictEqual((await opened(read(scene, bytes))).generation, 0)
})

inBothSuites('SEAL-6: each frame of a burst opens alone', async (suite) => {
  for (const count of [1, 2, 3, 5, 8, 13]) {
    const scene = createScene(suite, 100 + count)
    const texts = Array.from({ length: count }, (_, n) => new Uint8Array(n).fill(n))
    const frames = await sealBurst(crypto, scene.alice, itemsOf(scene, scene.alice.leaf, texts))
    const order = [...frames.keys()].sort(() => scene.prng.integer(3) - 1)
    const bursts = new BurstCache()
    for (const index of order) {
      const reading = scene.prng.integer(2) === 0 ? {} : { bursts }
      const one = await opened(read(scene, frames[index] as Uint8Array, reading))
      deepStrictEqual(one.plaintext, texts[index])
      strictEqual(one.generation, index)
    }
  }
})

inBothSuites('SEAL-6: count, index and path of a burst are bound', async (suite) => {
  const scene = createScene(suite, 8)
  const texts = Array.from({ length: 5 }, (_, n) => new Uint8Array(n))
  const frames = await sealBurst(crypto, scene.alice, itemsOf(scene, scene.alice.leaf, texts))
  const bursts = new BurstCache()
  await opened(read(scene, frames[1] as Uint8Array, { bursts }))
  const frame = frameOf(frames[1] as Uint8Array)
  const { authenticator } = frame
  ok(authenticator.kind === 'burst')
  const { path } = authenticator
  const other = frameOf(frames[2] as Uint8Array)
  ok(other.authenticator.kind === 'burst')
  const wrong = [
    { ...authenticator, count: 4 },
    { ...authenticator, count: 6 },
    { ...authenticator, count: 8 },
    { ...authenticator, count: 0 },
    { ...authenticator, count: 257 },
    { ...authenticator, index: 0 },
    { ...authenticator, index: 3 },
    { ...authenticator, index: 5 },
    { ...authenticator, path: path.slice(1) },
    { ...authenticator, path: path.toReversed() },
    { ...authenticator, path: [...path, new Uint8Array(32)] },
    other.authenticator,
  ]
  for (const each of wrong) {
    const bytes = encodeSealedFrame({ ...frame, authenticator: each })
    strictEqual(await refusal(read(scene, bytes, { bursts })), 'wrongSignature')
  }
  for (let bit = 0; bit < (frames[1] as Uint8Array).length * 8; bit += 13) {
    const bytes = flipped(frames[1] as Uint8Array, bit)
    ok(await refusal(read(scene, bytes, { bursts })) !== 'opened', `bit ${bit}`)
  }
})

inBothSuites('SEAL-6: a burst costs one check of a signature', async (suite) => {
  const scene = createScene(suite, 9)
  let checks = 0
  const counting = {
    ...crypto,
    verify: (...args: Parameters<typeof crypto.verify>) => {
      checks++
      return crypto.verify(...args)
    },
  }
  const texts = Array.from({ length: LIMITS.burstFramesMax }, () => new Uint8Array(1))
  const frames = await sealBurst(crypto, scene.alice, itemsOf(scene, scene.alice.leaf, texts))
  const bursts = new BurstCache()
  const { room } = scene.alice
  const publicKey = scene.keyPairs.get(scene.alice.leaf)?.publicKey as Uint8Array
  for (const bytes of frames) {
    ok(await verifySealedFrame(counting, { frame: frameOf(bytes), room, publicKey, bursts }))
  }
  strictEqual(checks, 1)
  const mallorys = scene.keyPairs.get(scene.mallory.leaf)?.publicKey as Uint8Array
  const frame = frameOf(frames[0] as Uint8Array)
  ok(!await verifySealedFrame(counting, { frame, room, publicKey: mallorys, bursts }))
  strictEqual(checks, 2)
})

inBothSuites('SEAL-6: what is remembered of a burst accepts no other path', async (suite) => {
  for (const count of [2, 3, 5, 8, 13, 31]) {
    const scene = createScene(suite, 200 + count)
    const texts = Array.from({ length: count }, (_, n) => new Uint8Array(n))
    const sealed = await sealBurst(crypto, scene.alice, itemsOf(scene, scene.alice.leaf, texts))
    const frames = sealed.map(frameOf)
    const bursts = new BurstCache()
    const { room } = scene.alice
    const publicKey = scene.keyPairs.get(scene.alice.leaf)?.publicKey as Uint8Array
    const first = frames[scene.prng.integer(count)] as SealedFrame
    ok(await verifySealedFrame(crypto, { frame: first, room, publicKey, bursts }))
    for (const frame of frames) {
      const { authenticator } = frame
      ok(authenticator.kind === 'burst')
      for (const [level, hash] of authenticator.path.entries()) {
        const path = authenticator.path.with(level, flipped(hash, scene.prng.integer(256)))
        const changed: SealedFrame = { ...frame, authenticator: { ...authenticator, path } }
        const check = { frame: changed, room, publicKey, bursts }
        ok(!isOfKnownBurst(crypto, check), `${count}: frame ${authenticator.index}, level ${level}`)
        ok(!await verifySealedFrame(crypto, check))
      }
      ok(isOfKnownBurst(crypto, { frame, room, publicKey, bursts }))
    }
  }
})

inBothSuites('SEAL-6: the cache of bursts is bounded', async (suite) => {
  const scene = createScene(suite, 10)
  let checks = 0
  const counting = {
    ...crypto,
    verify: (...args: Parameters<typeof crypto.verify>) => {
      checks++
      return crypto.verify(...args)
    },
  }
  const bursts = new BurstCache()
  const { room } = scene.alice
  const publicKey = scene.keyPairs.get(scene.alice.leaf)?.publicKey as Uint8Array
  const checkFirst = async (frames: readonly Uint8Array[]): Promise<void> => {
    const frame = frameOf(frames[0] as Uint8Array)
    ok(await verifySealedFrame(counting, { frame, room, publicKey, bursts }))
    ok(isOfKnownBurst(counting, { frame, room, publicKey, bursts }))
  }
  const texts = [new Uint8Array(1), new Uint8Array(2)]
  const sealed: (readonly Uint8Array[])[] = []
  for (let count = 0; count <= LIMITS.burstsRememberedMax; count++) {
    sealed.push(await sealBurst(crypto, scene.alice, itemsOf(scene, scene.alice.leaf, texts)))
  }
  for (const frames of sealed) await checkFirst(frames)
  strictEqual(checks, sealed.length)
  await checkFirst(sealed.at(-1) as readonly Uint8Array[])
  strictEqual(checks, sealed.length, 'the newest is remembered')
  await checkFirst(sealed[0] as readonly Uint8Array[])
  strictEqual(checks, sealed.length + 1, 'the oldest is not')
})

inBothSuites(
  'SEAL-3: the same text under the same key and another nonce is another frame',
  async (suite) => {
    const scene = createScene(suite, 10)
    const item = itemOf(scene, scene.alice.leaf, new Uint8Array(64))
    const nonce = scene.prng.bytes(suite.frameNonceLength)
    const one = frameOf(await seal(crypto, scene.alice, item))
    const other = frameOf(await seal(crypto, scene.alice, { ...item, nonce }))
    const difference = one.ciphertext.map((byte, index) => byte ^ (other.ciphertext[index] ?? 0))
    ok(difference.filter((byte) => byte !== 0).length > one.ciphertext.length * 0.9)
  },
)

Deno.test('a sealed frame that is malformed is refused', async () => {
  const scene = createScene(SUITES.performance, 11)
  const bytes = await seal(crypto, scene.alice, itemOf(scene, scene.alice.leaf, new Uint8Array(40)))
  for (let length = 0; length < bytes.length; length++) {
    strictEqual(await refusal(read(scene, bytes.slice(0, length))), 'malformed')
  }
  strictEqual(await refusal(read(scene, Uint8Array.of(...bytes, 0))), 'malformed')
  const { header, ...frame } = frameOf(bytes)
  const headers = [
    { ...header, format: 2 },
    { ...header, flags: header.flags | 1 },
    { ...header, extensions: [{ id: 1, critical: true, content: new Uint8Array(0) }] },
  ]
  for (const changed of headers) {
    const refused = encodeSealedFrame({ ...frame, header: changed })
    strictEqual(decodeSealedFrame(refused), null)
  }
  const noted = { ...header, extensions: [{ id: 1, critical: false, content: new Uint8Array(3) }] }
  ok(decodeSealedFrame(encodeSealedFrame({ ...frame, header: noted })) !== null)
  for (let length = 0; length < 500; length++) {
    strictEqual(decodeSealedFrame(scene.prng.bytes(length)), null)
  }
})

Deno.test('a frame of a suite without data plane, or of other lengths, is refused', async () => {
  const scene = createScene(SUITES.performance, 12)
  const bytes = await seal(crypto, scene.alice, itemOf(scene, scene.alice.leaf, new Uint8Array(40)))
  const frame = frameOf(bytes)
  const publicKey = scene.keyPairs.get(scene.alice.leaf)?.publicKey as Uint8Array
  const { room } = scene.alice
  ok(await verifySealedFrame(crypto, { frame, room, publicKey }))
  for (const suite of [SUITES.interoperation.id, SUITES.compliance.id, 0x0003]) {
    const changed = { ...frame, header: { ...frame.header, suite } }
    ok(!await verifySealedFrame(crypto, { frame: changed, room, publicKey }))
  }
})

inBothSuites('the cost of a frame in bytes', async (suite) => {
  const scene = createScene(suite, 13)
  const texts = Array.from({ length: 64 }, () => new Uint8Array(100))
  const items = itemsOf(scene, scene.alice.leaf, texts)
  const single = await seal(crypto, scene.alice, items[0] as SealItem)
  const [burst] = await sealBurst(crypto, scene.alice, items)
  const overhead = [single, burst as Uint8Array].map((bytes) => bytes.length - 256)
  console.log(
    `  ${suite.name}: ${overhead[0]} bytes beside the padded text, in a burst of 64 ${overhead[1]}`,
  )
  ok((overhead[0] ?? 0) <= 300)
  ok((overhead[1] ?? 0) <= 500)
})

Deno.test('two members agree on a frame bit by bit', async () => {
  const [one, other] = [createScene(SUITES.performance, 14), createScene(SUITES.performance, 14)]
  const seals = await Promise.all(
    [one, other].map(async (scene) =>
      toHex(await seal(crypto, scene.alice, itemOf(scene, scene.alice.leaf, new Uint8Array(5))))
    ),
  )
  strictEqual(seals[0], seals[1])
})
