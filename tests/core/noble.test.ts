/**
 * The synchronous part of the `Crypto` port against the engine's WebCrypto, which is somebody
 * else's implementation; XChaCha20 is reduced to ChaCha20 by its definition.
 */
import { deepStrictEqual, notDeepStrictEqual, strictEqual } from 'node:assert/strict'
import { concat } from '#core/base/bytes.ts'
import { createNobleCrypto } from '#core/crypto/noble.ts'
import { createPrng } from './prng.ts'

const noble = createNobleCrypto()
const { subtle } = crypto
const prng = createPrng(21)
const lengths = [0, 1, 31, 32, 55, 56, 63, 64, 65, 111, 112, 127, 128, 129, 1_000]
const hashes = [['sha256', 'SHA-256'], ['sha384', 'SHA-384'], ['sha512', 'SHA-512']] as const

Deno.test('hashes and HMAC agree with the engine', async () => {
  for (const [ours, theirs] of hashes) {
    for (const length of lengths) {
      const content = own(prng.bytes(length))
      deepStrictEqual(noble.hash(ours, content), bytes(await subtle.digest(theirs, content)))
      const secret = own(prng.bytes(length + 1))
      const usage = { name: 'HMAC', hash: theirs }
      const key = await subtle.importKey('raw', secret, usage, false, ['sign'])
      const mac = bytes(await subtle.sign('HMAC', key, content))
      deepStrictEqual(noble.hmac(ours, secret, content), mac)
    }
  }
})

Deno.test('HKDF agrees with the engine', async () => {
  for (const [ours, theirs] of hashes) {
    for (const length of [1, 12, 32, 48, 64, 65, 255]) {
      const [ikm, salt, info] = [32, length, 40].map((size) => own(prng.bytes(size)))
      if (ikm === undefined || salt === undefined || info === undefined) throw new Error()
      const key = await subtle.importKey('raw', ikm, 'HKDF', false, ['deriveBits'])
      const algorithm = { name: 'HKDF', hash: theirs, salt, info }
      const expected = bytes(await subtle.deriveBits(algorithm, key, length * 8))
      const prk = noble.hkdfExtract(ours, salt, ikm)
      deepStrictEqual(noble.hkdfExpand(ours, prk, info, length), expected)
    }
  }
})

Deno.test('AES-GCM and ChaCha20-Poly1305 agree with the engine', async () => {
  const aeads = [
    ['aes128gcm', 'AES-GCM', 16],
    ['aes256gcm', 'AES-GCM', 32],
    ['chacha20poly1305', 'ChaCha20-Poly1305', 32],
  ] as const
  for (const [aead, name, keyLength] of aeads) {
    for (const length of lengths) {
      const keyed = { key: prng.bytes(keyLength), nonce: prng.bytes(12), aad: prng.bytes(length) }
      const plaintext = prng.bytes(length)
      const expected = await engineSeal(name, keyed, plaintext)
      deepStrictEqual(noble.aeadSeal(aead, keyed, plaintext), expected)
    }
  }
})

Deno.test('XChaCha20-Poly1305 is ChaCha20-Poly1305 under the key of HChaCha20', async () => {
  for (const length of lengths) {
    const [key, nonce, aad] = [prng.bytes(32), prng.bytes(24), prng.bytes(length)]
    const plaintext = prng.bytes(length)
    const inner = concat(new Uint8Array(4), nonce.subarray(16))
    const keyed = { key: hchacha20(key, nonce.subarray(0, 16)), nonce: inner, aad }
    const expected = await engineSeal('ChaCha20-Poly1305', keyed, plaintext)
    deepStrictEqual(noble.aeadSeal('xchacha20poly1305', { key, nonce, aad }, plaintext), expected)
  }
})

Deno.test('the same arguments give the same signatures, keys and encapsulations', async () => {
  for (const [signature, seedLength] of [['ed25519', 32], ['p384', 72], ['mldsa65', 32]] as const) {
    const { secretKey } = noble.signatureKeyPair(signature, prng.bytes(seedLength))
    const content = prng.bytes(100)
    const first = await noble.sign(signature, secretKey, content)
    deepStrictEqual(await noble.sign(signature, secretKey, content), first)
    deepStrictEqual(await createNobleCrypto().sign(signature, secretKey, content), first)
  }
  const { publicKey } = await noble.kemKeyPair('xwing', prng.bytes(32))
  const randomness = prng.bytes(64)
  const sent = await noble.encapsulate('xwing', publicKey, randomness)
  deepStrictEqual(await noble.encapsulate('xwing', publicKey, randomness), sent)
  notDeepStrictEqual(await noble.encapsulate('xwing', publicKey, prng.bytes(64)), sent)
})

Deno.test('a secret key is a copy: wiping the seed leaves it', () => {
  for (const [signature, seedLength] of [['ed25519', 32], ['p384', 72], ['mldsa65', 32]] as const) {
    const seed = prng.bytes(seedLength)
    const { secretKey } = noble.signatureKeyPair(signature, seed)
    const kept = secretKey.slice()
    seed.fill(0)
    deepStrictEqual(secretKey, kept)
    strictEqual(secretKey.some((byte) => byte !== 0), true)
  }
})

/** With a buffer that the engine's types accept. */
function own(content: Uint8Array): Uint8Array<ArrayBuffer> {
  return Uint8Array.from(content)
}

function bytes(buffer: ArrayBuffer): Uint8Array {
  return new Uint8Array(buffer)
}

async function engineSeal(
  name: string,
  keyed: { key: Uint8Array; nonce: Uint8Array; aad: Uint8Array },
  plaintext: Uint8Array,
): Promise<Uint8Array> {
  const format = name === 'AES-GCM' ? 'raw' : 'raw-secret'
  const key = await subtle.importKey(format as 'raw', own(keyed.key), name, false, ['encrypt'])
  const algorithm = { name, iv: own(keyed.nonce), additionalData: own(keyed.aad), tagLength: 128 }
  return bytes(await subtle.encrypt(algorithm, key, own(plaintext)))
}

/** draft-irtf-cfrg-xchacha section 2.2. */
function hchacha20(key: Uint8Array, nonce: Uint8Array): Uint8Array {
  const input = concat(new TextEncoder().encode('expand 32-byte k'), key, nonce)
  const words = new Uint32Array(16)
  const view = new DataView(input.buffer)
  for (let i = 0; i < 16; i++) words[i] = view.getUint32(4 * i, true)
  const at = (i: number) => words[i] as number
  const turn = (target: number, added: number, mixed: number, bits: number) => {
    words[target] = at(target) + at(added)
    const value = at(mixed) ^ at(target)
    words[mixed] = (value << bits) | (value >>> (32 - bits))
  }
  const quarter = (a: number, b: number, c: number, d: number) => {
    turn(a, b, d, 16)
    turn(c, d, b, 12)
    turn(a, b, d, 8)
    turn(c, d, b, 7)
  }
  for (let round = 0; round < 10; round++) {
    for (let i = 0; i < 4; i++) quarter(i, 4 + i, 8 + i, 12 + i)
    for (let i = 0; i < 4; i++) {
      quarter(i, 4 + ((i + 1) % 4), 8 + ((i + 2) % 4), 12 + ((i + 3) % 4))
    }
  }
  const out = new Uint8Array(32)
  const result = new DataView(out.buffer)
  for (let i = 0; i < 4; i++) {
    result.setUint32(4 * i, at(i), true)
    result.setUint32(16 + 4 * i, at(12 + i), true)
  }
  return out
}
