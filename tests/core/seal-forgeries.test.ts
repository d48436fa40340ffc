/**
 * Bursts and typing frames that a member signs but no honest device makes: too many frames, a nonce
 * of another length, a root that somebody else signed, a frame that is too long.
 */
import { deepStrictEqual, ok, strictEqual } from 'node:assert/strict'
import { concat } from '#core/base/bytes.ts'
import { epoch, type EpochId, leafIndex, type RoomId, timeMs } from '#core/base/ids.ts'
import { LIMITS } from '#core/base/limits.ts'
import type { Crypto } from '#core/crypto/crypto.ts'
import { LABELS, signWithLabel } from '#core/crypto/labels.ts'
import { createNobleCrypto } from '#core/crypto/noble.ts'
import { SUITES } from '#core/crypto/suites.ts'
import { BurstCache } from '#core/sender-keys/burst-cache.ts'
import { decodeEphemeral, sealTypingFrame } from '#core/sender-keys/ephemeral.ts'
import { leafHash, merkleTree } from '#core/sender-keys/merkle.ts'
import { open, seal, type SealContext } from '#core/sender-keys/seal.ts'
import {
  burstContent,
  burstLeaf,
  decodeSealedFrame,
  encodeSealedFrame,
  isOfKnownBurst,
  type SealedFrame,
  sealHeaderCodec,
  signedContent,
  verifySealedFrame,
} from '#core/sender-keys/sealed-frame.ts'
import { createSenderKeys, reserve } from '#core/sender-keys/secret-tree.ts'
import { encode } from '#core/wire/codec.ts'
import { createPrng } from './prng.ts'

const crypto = createNobleCrypto()
const suite = SUITES.performance
const prng = createPrng(23)
const mallory = crypto.signatureKeyPair('ed25519', prng.bytes(32))
const stranger = crypto.signatureKeyPair('ed25519', prng.bytes(32))
const room = prng.bytes(32) as RoomId
const { publicKey } = mallory

type Header = SealedFrame['header']
type Unsigned = Omit<SealedFrame, 'authenticator'>

const header = (over: Partial<Header> = {}): Header => ({
  format: 1,
  suite: suite.id,
  epoch: epoch(2n),
  epochId: new Uint8Array(32).fill(1) as EpochId,
  leaf: leafIndex(1),
  generation: 0,
  flags: 0,
  contentType: 1,
  nonce: new Uint8Array(24),
  seen: { position: 0n, hash: new Uint8Array(32) },
  extensions: [],
  ...over,
})

const unsigned = (over: Partial<Header> = {}): Unsigned => ({
  header: header(over),
  commitment: prng.bytes(32),
  ciphertext: prng.bytes(64),
})

/** A burst as Mallory likes it; `others` are leaves of frames that nobody sees. */
async function burst(
  frames: readonly Unsigned[],
  options: { readonly others?: number; readonly secretKey?: Uint8Array } = {},
): Promise<readonly SealedFrame[]> {
  const { others = 0, secretKey = mallory.secretKey } = options
  const own = frames.map((frame, index) =>
    burstLeaf(crypto, index, signedContent(crypto, room, frame))
  )
  const unseen = Array.from({ length: others }, (_, at) => leafHash(crypto, Uint8Array.of(at)))
  const { root, paths } = merkleTree(crypto, [...own, ...unseen])
  const count = frames.length + others
  const signature = await signWithLabel(crypto, {
    algorithm: suite.signature,
    secretKey,
    label: LABELS.frameBurst,
    content: burstContent(room, (frames[0] as Unsigned).header, { count, root }),
  })
  return frames.map((frame, index) => ({
    ...frame,
    authenticator: { kind: 'burst', count, index, path: paths[index] ?? [], signature },
  }))
}

Deno.test('SEAL-6: a burst of 256 frames is one, a larger is none, whoever signed it', async () => {
  const check = async (others: number) => {
    const [frame] = await burst([unsigned()], { others })
    return await verifySealedFrame(crypto, { frame: frame as SealedFrame, room, publicKey })
  }
  strictEqual(LIMITS.burstFramesMax, 256)
  deepStrictEqual([await check(255), await check(256), await check(0)], [true, false, true])
})

Deno.test('SEAL-6: a root that the leaf has not signed is never remembered as good', async () => {
  const bursts = new BurstCache()
  const forged = await burst([unsigned(), unsigned()], { secretKey: stranger.secretKey })
  for (const frame of [...forged, ...forged]) {
    const check = { frame, room, publicKey, bursts }
    strictEqual(await verifySealedFrame(crypto, check), false)
    strictEqual(isOfKnownBurst(crypto, check), false)
  }
})

Deno.test('SEAL-6: a known burst is known by its frames alone, and only with a cache', async () => {
  const bursts = new BurstCache()
  const frames = await burst([unsigned(), unsigned(), unsigned()])
  const [first, second] = frames as [SealedFrame, SealedFrame]
  strictEqual(isOfKnownBurst(crypto, { frame: first, room, publicKey, bursts }), false)
  ok(await verifySealedFrame(crypto, { frame: first, room, publicKey, bursts }))
  strictEqual(isOfKnownBurst(crypto, { frame: second, room, publicKey, bursts }), true)
  strictEqual(isOfKnownBurst(crypto, { frame: second, room, publicKey }), false)
  const alone: SealedFrame = {
    ...second,
    authenticator: { kind: 'single', signature: new Uint8Array(64) },
  }
  strictEqual(isOfKnownBurst(crypto, { frame: alone, room, publicKey, bursts }), false)
  const unknown = { ...second, header: { ...second.header, suite: 0x7777 } }
  strictEqual(isOfKnownBurst(crypto, { frame: unknown, room, publicKey, bursts }), false)
})

Deno.test('SEAL-3, SEAL-6: a burst makes no nonce of another length right', async () => {
  const bursts = new BurstCache()
  const frames = await burst([unsigned(), unsigned({ nonce: new Uint8Array(12) }), unsigned()])
  const checks = frames.map((frame) => ({ frame, room, publicKey, bursts }))
  const results: boolean[] = []
  for (const check of checks) results.push(await verifySealedFrame(crypto, check))
  deepStrictEqual(results, [true, false, true])
  deepStrictEqual(checks.map((check) => isOfKnownBurst(crypto, check)), [true, false, true])
})

Deno.test('SEAL-6: an opened burst costs one check of a signature', async () => {
  let checks = 0
  const counting: Crypto = {
    ...crypto,
    verify(...wanted) {
      checks++
      return crypto.verify(...wanted)
    },
  }
  const root = prng.bytes(32)
  const keys = createSenderKeys({ suite, root, leafCount: 2 })
  const frames = await burst([unsigned(), unsigned()])
  const bursts = new BurstCache()
  const context = {
    ...{ suite, room, epochId: header().epochId as EpochId, bursts },
    signatureKeyOf: () => publicKey,
  }

  for (const frame of frames) {
    const opened = await open(counting, keys, context, encodeSealedFrame(frame))
    // Its keys are nobody's: what counts is that the signature was found good.
    strictEqual(opened.kind === 'refused' && opened.code, 'wrongCommitment')
  }
  strictEqual(checks, 1)
})

Deno.test('KEY-4: a reserved block names every secret that it used up', () => {
  const root = prng.bytes(32)
  const keys = createSenderKeys({ suite, root, leafCount: 2 })
  const place = { leaf: leafIndex(1), lane: 0, count: 3 }
  const first = reserve(crypto, keys, place)
  // Root, the leaf's node and secret, and the beginnings of three steps of the chain.
  strictEqual(first.consumed.length, 6)
  strictEqual(first.consumed[0], root)
  const begun = first.keys.chains.get(1, 0)?.secret
  const second = reserve(crypto, first.keys, place)
  deepStrictEqual([second.consumed.length, second.consumed[0]], [3, begun])
  deepStrictEqual(second.reserved.map(({ generation }) => generation), [3, 4, 5])
  strictEqual(second.nodesChanged, false)
})

Deno.test('SES-8: a typing frame has at most its size, to the byte', async () => {
  const context = {
    ...{ suite, room, epoch: epoch(2n), epochId: new Uint8Array(32).fill(1) as EpochId },
    ...{ leaf: leafIndex(1), root: prng.bytes(32) },
  }
  const item = { time: timeMs(1), nonce: prng.bytes(24), signatureSecret: mallory.secretKey }
  const bytes = await sealTypingFrame(crypto, context, item)
  // Extensions that say nothing end the header, in front of 25 bytes of ciphertext.
  const headerLength = 2 + 2 + 8 + 33 + 4 + 25
  const grown = (length: number): Uint8Array => {
    const content = new Uint8Array(length)
    const list = concat(Uint8Array.of(0, 1, 0, 0x40 | (length >> 8), length & 0xff), content)
    const head = Uint8Array.of(0x40 | (list.length >> 8), list.length & 0xff)
    return concat(bytes.slice(0, headerLength), head, list, bytes.slice(headerLength + 1))
  }
  const around = grown(100).length - 100
  const most = LIMITS.ephemeralSizeMax - around
  ok(most > 64 && most <= 1_024, `${most}`)
  strictEqual(decodeEphemeral(grown(most))?.header.extensions.length, 1)
  strictEqual(decodeEphemeral(grown(most + 1)), null)
})

Deno.test('SEAL-2: the header that is signed is the one that travels', async () => {
  const context: SealContext = {
    ...{ suite, room, epoch: epoch(2n), epochId: header().epochId as EpochId },
    ...{ leaf: leafIndex(1), lane: 3, seen: header().seen },
    signatureSecret: mallory.secretKey,
  }
  const nonce = prng.bytes(24)
  const item = { generation: 9, messageSecret: prng.bytes(32), nonce, plaintext: prng.bytes(3) }
  const frame = decodeSealedFrame(await seal(crypto, context, item))
  const wanted = header({ generation: 9, nonce, flags: 0b10_000_11_0 })
  deepStrictEqual(
    encode(sealHeaderCodec, (frame as SealedFrame).header),
    encode(sealHeaderCodec, wanted),
  )
})
