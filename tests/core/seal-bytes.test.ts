/**
 * The bytes of sealed frames, counted anew: layout, labels, keys and trees as `shared/PROTOCOL.md`
 * has them, made with Node's own primitives. Two sides that share one mistake would agree on it.
 */
import { deepStrictEqual, ok, strictEqual } from 'node:assert/strict'
import { createDecipheriv, createHash } from 'node:crypto'
import { concat } from '#core/base/bytes.ts'
import { epoch, type EpochId, leafIndex, type RoomId, timeMs } from '#core/base/ids.ts'
import { LIMITS } from '#core/base/limits.ts'
import { SIGNATURE_SEED_LENGTH } from '#core/crypto/crypto.ts'
import { createNobleCrypto } from '#core/crypto/noble.ts'
import { type Suite, SUITES } from '#core/crypto/suites.ts'
import { chainKey } from '#core/sender-keys/chains.ts'
import {
  decodeEphemeral,
  openTypingFrame,
  sealTypingFrame,
  verifyEphemeral,
} from '#core/sender-keys/ephemeral.ts'
import { EPOCH_EXPORTS } from '#core/sender-keys/exports.ts'
import { seal, sealBurst, type SealContext } from '#core/sender-keys/seal.ts'
import {
  decodeSealedFrame,
  FRAME_CLASSES,
  laneOf,
  packFlags,
} from '#core/sender-keys/sealed-frame.ts'
import { createSenderKeys, encodeChain, encodeNodes } from '#core/sender-keys/secret-tree.ts'
import { reserve, take } from '#core/sender-keys/secret-tree.ts'
import { big, expand as expandByHand, named, opaque, signContent } from './by-hand.ts'
import { createPrng } from './prng.ts'

const crypto = createNobleCrypto()
/** AES-256-GCM, SHA-384: Node has all of it. */
const suite = SUITES.compliance

// ---- Encodings by hand ---------------------------------------------------------------------

const sha256 = (...parts: readonly Uint8Array[]): Uint8Array =>
  new Uint8Array(createHash('sha256').update(concat(...parts)).digest())

const expand = (secret: Uint8Array, label: string, context: Uint8Array, length = 48) =>
  expandByHand({ hash: 'sha384', secret, label, context, length })

function isSigned(scene: Scene, label: string, content: Uint8Array, signature: Uint8Array) {
  const { publicKey } = scene.keyPair
  const signed = signContent(label, content)
  return crypto.verify(suite.signature, { publicKey, content: signed, signature })
}

// ---- A scene -------------------------------------------------------------------------------

function createScene() {
  const prng = createPrng(77)
  const seed = prng.bytes(SIGNATURE_SEED_LENGTH[suite.signature])
  const keyPair = crypto.signatureKeyPair(suite.signature, seed)
  const context: SealContext = {
    suite,
    room: prng.bytes(32) as RoomId,
    epoch: epoch(0x0102030405n),
    epochId: prng.bytes(48) as EpochId,
    leaf: leafIndex(5),
    lane: 2,
    seen: { position: 41n, hash: prng.bytes(32) },
    signatureSecret: keyPair.secretKey,
  }
  const item = (generation: number) => ({
    generation,
    messageSecret: prng.bytes(48),
    nonce: prng.bytes(12),
    plaintext: prng.bytes(30 + generation),
  })
  return { prng, keyPair, context, item }
}

type Scene = ReturnType<typeof createScene>
type Item = ReturnType<Scene['item']>

/** SEAL-1: everything in front of the commitment. Class normal, no expiry, lane 2. */
function headerOf({ context }: Scene, { generation, nonce }: Item): Uint8Array {
  const { epochId, leaf, seen } = context
  return concat(
    ...[big(1, 2), big(0xf004, 2), big(0x0102030405n, 8), opaque(epochId), big(leaf, 4)],
    ...[big(generation, 4), Uint8Array.of(0b10_000_10_0), Uint8Array.of(1), opaque(nonce)],
    ...[big(seen.position, 8), seen.hash, Uint8Array.of(0)],
  )
}

const none = new Uint8Array(0)

interface Parts {
  readonly header: Uint8Array
  readonly commitment: Uint8Array
  readonly ciphertext: Uint8Array
  readonly rest: Uint8Array
}

/** Cuts a frame where its lengths say. */
function partsOf(scene: Scene, item: Item, bytes: Uint8Array): Parts {
  const header = headerOf(scene, item)
  deepStrictEqual(bytes.slice(0, header.length), header)
  const commitment = bytes.slice(header.length, header.length + 32)
  const length = 256 + 16
  const at = header.length + 32
  deepStrictEqual(bytes.slice(at, at + 2), Uint8Array.of(0x40 | (length >> 8), length & 0xff))
  const ciphertext = bytes.slice(at + 2, at + 2 + length)
  return { header, commitment, ciphertext, rest: bytes.slice(at + 2 + length) }
}

const signedOf = (scene: Scene, { header, commitment, ciphertext }: Parts): Uint8Array =>
  concat(Uint8Array.of(1), scene.context.room, header, commitment, sha256(ciphertext))

Deno.test('SEAL-1, SEAL-2, SEAL-4: a frame is made by hand', async () => {
  const scene = createScene()
  const item = scene.item(7)
  const parts = partsOf(scene, item, await seal(crypto, scene.context, item))
  const { header, commitment, ciphertext, rest } = parts
  deepStrictEqual(commitment, expand(item.messageSecret, 'messageCommitment', none, 32))
  const key = expand(item.messageSecret, 'messageKey', none, 32)
  const opener = createDecipheriv('aes-256-gcm', key, item.nonce)
  opener.setAAD(concat(scene.context.room, header))
  opener.setAuthTag(ciphertext.slice(-16))
  const padded = concat(opener.update(ciphertext.slice(0, -16)), opener.final())
  deepStrictEqual(padded.slice(0, 38), opaque(item.plaintext))
  ok(padded.slice(38).every((byte) => byte === 0) && padded.length === 256)
  const signature = rest.slice(3)
  deepStrictEqual(rest.slice(0, 3), concat(Uint8Array.of(0), opaque(signature).slice(0, 2)))
  ok(await isSigned(scene, 'frame', signedOf(scene, parts), signature))
})

Deno.test('SEAL-6: a burst of three signs the root of a tree that is made by hand', async () => {
  const scene = createScene()
  const items = [4, 5, 6].map((generation) => scene.item(generation))
  const frames = await sealBurst(crypto, scene.context, items)
  const parts = frames.map((bytes, index) => partsOf(scene, items[index] as Item, bytes))
  const leaves = parts.map((each, index) =>
    sha256(Uint8Array.of(0), big(index, 2), opaque(signedOf(scene, each)))
  )
  const [one, two, three] = leaves as [Uint8Array, Uint8Array, Uint8Array]
  const pair = sha256(Uint8Array.of(1), one, two)
  const root = sha256(Uint8Array.of(1), pair, three)
  const paths = [[two, three], [one, three], [pair]]
  const { epochId, leaf, room } = scene.context
  const content = concat(room, opaque(epochId), big(leaf, 4), big(3, 2), root)
  for (const [index, { rest }] of parts.entries()) {
    const path = opaque(concat(...paths[index] ?? []))
    const head = concat(Uint8Array.of(1), big(3, 2), big(index, 2), path)
    deepStrictEqual(rest.slice(0, head.length), head)
    const signature = rest.slice(head.length + 2)
    ok(await isSigned(scene, 'frameBurst', content, signature))
  }
})

Deno.test('SEAL-1, KEY-6: class, expiry and lane have their bits', () => {
  deepStrictEqual(FRAME_CLASSES, { ephemeral: 0, bulk: 1, normal: 2, urgent: 3 })
  strictEqual(packFlags({ frameClass: 3, expiry: 7, lane: 3 }), 0b11_111_11_0)
  strictEqual(packFlags({ frameClass: 1, expiry: 0, lane: 0 }), 0b01_000_00_0)
  strictEqual(packFlags({ frameClass: 0, expiry: 5, lane: 0 }), 0b00_101_00_0)
  strictEqual(packFlags({ frameClass: 0, expiry: 0, lane: 2 }), 0b00_000_10_0)
  const { header } = decodedFrame()
  const lanes = [0b11_111_00_0, 0b00_000_01_0, 0b00_000_10_0, 0b11_111_11_0]
  deepStrictEqual(lanes.map((flags) => laneOf({ ...header, flags })), [0, 1, 2, 3])
})

function decodedFrame() {
  const scene = createScene()
  const bytes = concat(
    ...[headerOf(scene, scene.item(1)), new Uint8Array(32), opaque(new Uint8Array(1))],
    ...[Uint8Array.of(0), opaque(new Uint8Array(64))],
  )
  const frame = decodeSealedFrame(bytes)
  ok(frame !== null)
  return frame
}

Deno.test('KEY-2, KEY-6: a message secret is derived by hand, from the root down', () => {
  const root = createPrng(3).bytes(48)
  const step = (secret: Uint8Array, label: string, context: Uint8Array) =>
    expand(secret, label, context)
  // Leaf 5 of 8: nodes 7, 11, 9 and 10 (RFC 9420 appendix C).
  const node = [11, 9, 10].reduce<Uint8Array>(
    (secret, at) => step(secret, 'senderKeyNode', big(at, 4)),
    root.slice(),
  )
  const leafSecret = step(node, 'senderKeyLeaf', big(5, 4))
  let chain = step(leafSecret, 'senderKeyLane', Uint8Array.of(2))
  const secrets: Uint8Array[] = []
  for (let generation = 0; generation < 4; generation++) {
    secrets.push(step(chain, 'senderKeyMessage', big(generation, 4)))
    chain = step(chain, 'senderKeyChain', big(generation, 4))
  }
  const keys = createSenderKeys({ suite, root, leafCount: 7 })
  const place = { leaf: leafIndex(5), lane: 2 }
  const block = reserve(crypto, keys, { ...place, count: 2 })
  deepStrictEqual(block.reserved.map(({ secret }) => secret), secrets.slice(0, 2))
  const jumped = take(crypto, block.keys, { ...place, generation: 3 })
  ok(jumped.kind === 'taken')
  deepStrictEqual(jumped.secret, secrets[3])
  deepStrictEqual(jumped.keys.chains.get(5, 2)?.skipped.get(2), secrets[2])
  deepStrictEqual(jumped.keys.chains.get(5, 2)?.secret, chain)
})

Deno.test('DEV-3, KEY-1: records and exports bear their names', () => {
  const keys = createSenderKeys({ suite, root: createPrng(4).bytes(48), leafCount: 2 })
  const { keys: next, touched } = reserve(crypto, keys, { leaf: leafIndex(1), lane: 0, count: 1 })
  const nodes = encodeNodes(next)
  const head = concat(named('sender key nodes'), big(0xf004, 2), big(2, 4))
  deepStrictEqual(nodes.slice(0, head.length), head)
  const [chain] = touched.filter(({ lane }) => lane === 0)
  ok(chain !== undefined)
  const chainHead = concat(named('sender key chain'), big(1, 4), Uint8Array.of(0), big(1, 4))
  deepStrictEqual(encodeChain(chain).slice(0, chainHead.length), chainHead)
  deepStrictEqual(EPOCH_EXPORTS, {
    dataPlane: 'kalandraSenderKeyV1',
    ephemeral: 'kalandraEphemeralV1',
  })
  deepStrictEqual([chainKey(13, 2), chainKey(0x1234567, 0)], ['0000000d:2', '01234567:0'])
})

Deno.test('SES-8: a typing frame is made by hand, and its bytes are bound', async () => {
  const scene = createScene()
  const { context, keyPair, prng } = scene
  const root = prng.bytes(48)
  const nonce = prng.bytes(12)
  const time = timeMs(1_800_000_000_123)
  const { room, epochId, leaf } = context
  const ephemeral = { suite, room, epoch: context.epoch, epochId, leaf, root }
  const item = { time, nonce, signatureSecret: keyPair.secretKey }
  const bytes = await sealTypingFrame(crypto, ephemeral, item)
  const header = concat(
    ...[big(1, 2), big(0xf004, 2), big(0x0102030405n, 8), opaque(epochId), big(leaf, 4)],
    ...[opaque(nonce), Uint8Array.of(0)],
  )
  deepStrictEqual(bytes.slice(0, header.length), header)
  const length = 9 + 16
  strictEqual(bytes[header.length], length)
  const ciphertext = bytes.slice(header.length + 1, header.length + 1 + length)
  const key = expand(root, 'ephemeralKey', big(leaf, 4), 32)
  const opener = createDecipheriv('aes-256-gcm', key, nonce)
  opener.setAAD(concat(room, header))
  opener.setAuthTag(ciphertext.slice(-16))
  const content = concat(opener.update(ciphertext.slice(0, -16)), opener.final())
  deepStrictEqual(content, concat(Uint8Array.of(1), big(time, 8)))
  const signature = bytes.slice(header.length + 1 + length + 2)
  ok(await isSigned(scene, 'ephemeral', concat(room, header, opaque(ciphertext)), signature))
})

Deno.test('SES-8: only typing of this format, suite and nonce opens', async () => {
  const scene = createScene()
  const { context, keyPair, prng } = scene
  const ephemeral = {
    ...{ suite, room: context.room, epoch: context.epoch, epochId: context.epochId },
    ...{ leaf: context.leaf, root: prng.bytes(48) },
  }
  const nonce = prng.bytes(12)
  const item = { time: timeMs(5), nonce, signatureSecret: keyPair.secretKey }
  const bytes = await sealTypingFrame(crypto, ephemeral, item)
  strictEqual(decodeEphemeral(bytes.with(1, 2)), null, 'another format')
  const frame = decodeEphemeral(bytes)
  ok(frame !== null)
  deepStrictEqual(openTypingFrame(crypto, ephemeral, frame), { leaf: 5, timeMs: 5 })
  const check = { suite, room: context.room, epochId: context.epochId }
  const { publicKey } = keyPair
  ok(await verifyEphemeral(crypto, { ...check, frame, publicKey }))
  const otherSuite = { ...suite, id: suite.id + 1 } as Suite
  ok(!await verifyEphemeral(crypto, { ...check, frame, publicKey, suite: otherSuite }))
  const header = { ...frame.header, nonce: prng.bytes(24) }
  strictEqual(openTypingFrame(crypto, ephemeral, { ...frame, header }), null, 'another nonce')
  const bare = { ...ephemeral, suite: SUITES.interoperation }
  strictEqual(openTypingFrame(crypto, bare, frame), null, 'no data plane')
  // What another kind says is sealed rightly, and is no typing.
  const key = expand(ephemeral.root, 'ephemeralKey', big(context.leaf, 4), 32)
  const aad = concat(context.room, bytes.slice(0, 2 + 2 + 8 + 49 + 4 + 13 + 1))
  for (const [content, isTyping] of [[[1], true], [[2], false], [[0], false]] as const) {
    const text = concat(Uint8Array.from(content), big(5, 8))
    const ciphertext = crypto.aeadSeal('aes256gcm', { key, nonce, aad }, text)
    const opened = openTypingFrame(crypto, ephemeral, { ...frame, ciphertext })
    strictEqual(opened !== null, isTyping)
  }
  const padding = concat(bytes, new Uint8Array(LIMITS.ephemeralSizeMax))
  strictEqual(decodeEphemeral(padding), null)
})
