/** Ephemeral frames: typing, as it goes by datagram outside of the log. */
import { deepStrictEqual, ok, strictEqual } from 'node:assert/strict'
import { epoch, type EpochId, leafIndex, type RoomId, timeMs } from '#core/base/ids.ts'
import { LIMITS } from '#core/base/limits.ts'
import { SIGNATURE_SEED_LENGTH } from '#core/crypto/crypto.ts'
import { createNobleCrypto } from '#core/crypto/noble.ts'
import { type Suite, SUITES } from '#core/crypto/suites.ts'
import {
  decodeEphemeral,
  type EphemeralContext,
  openTypingFrame,
} from '#core/sender-keys/ephemeral.ts'
import { sealTypingFrame, verifyEphemeral } from '#core/sender-keys/ephemeral.ts'
import { createPrng } from './prng.ts'

const crypto = createNobleCrypto()
const NOW = timeMs(1_800_000_000_123)

async function createScene(suite: Suite) {
  const prng = createPrng(60)
  const seed = prng.bytes(SIGNATURE_SEED_LENGTH[suite.signature])
  const { secretKey, publicKey } = crypto.signatureKeyPair(suite.signature, seed)
  const context: EphemeralContext = {
    suite,
    room: prng.bytes(32) as RoomId,
    epoch: epoch(3n),
    epochId: prng.bytes(suite.hashLength) as EpochId,
    leaf: leafIndex(2),
    root: prng.bytes(suite.hashLength),
  }
  const nonce = prng.bytes(suite.frameNonceLength)
  const item = { time: NOW, nonce, signatureSecret: secretKey }
  return { prng, context, publicKey, bytes: await sealTypingFrame(crypto, context, item) }
}

type Scene = Awaited<ReturnType<typeof createScene>>

async function read({ context, publicKey }: Scene, bytes: Uint8Array) {
  const frame = decodeEphemeral(bytes)
  if (frame === null) return null
  const { suite, room, epochId } = context
  if (!await verifyEphemeral(crypto, { frame, suite, room, epochId, publicKey })) return null
  return openTypingFrame(crypto, context, frame)
}

for (const suite of [SUITES.performance, SUITES.compliance]) {
  Deno.test(`SES-8: who types is told with the time, in a datagram (${suite.name})`, async () => {
    const scene = await createScene(suite)
    deepStrictEqual(await read(scene, scene.bytes), { leaf: 2, timeMs: NOW })
    ok(scene.bytes.length < LIMITS.ephemeralSizeMax / 2, `${scene.bytes.length} bytes`)
  })

  Deno.test(`SES-8: a typing frame with any bit changed is refused (${suite.name})`, async () => {
    const scene = await createScene(suite)
    for (let bit = 0; bit < scene.bytes.length * 8; bit++) {
      const at = Math.floor(bit / 8)
      const changed = scene.bytes.with(at, (scene.bytes[at] as number) ^ (1 << (bit % 8)))
      strictEqual(await read(scene, changed), null, `bit ${bit}`)
    }
  })

  Deno.test(`SES-8: one of another room, epoch or leaf is refused (${suite.name})`, async () => {
    const scene = await createScene(suite)
    const { context, prng } = scene
    const others: readonly Partial<EphemeralContext>[] = [
      { room: prng.bytes(32) as RoomId },
      { epochId: prng.bytes(suite.hashLength) as EpochId },
      { root: prng.bytes(suite.hashLength) },
    ]
    for (const other of others) {
      strictEqual(await read({ ...scene, context: { ...context, ...other } }, scene.bytes), null)
    }
    const seed = prng.bytes(SIGNATURE_SEED_LENGTH[suite.signature])
    const { publicKey } = crypto.signatureKeyPair(suite.signature, seed)
    strictEqual(await read({ ...scene, publicKey }, scene.bytes), null)
  })
}

Deno.test('SES-8: noise and cut frames are no typing frames', async () => {
  const { prng, bytes } = await createScene(SUITES.performance)
  for (let length = 0; length < bytes.length; length++) {
    strictEqual(decodeEphemeral(bytes.slice(0, length)), null)
    strictEqual(decodeEphemeral(prng.bytes(length)), null)
  }
  strictEqual(decodeEphemeral(Uint8Array.of(...bytes, 0)), null)
})
