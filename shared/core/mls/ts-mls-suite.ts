/**
 * The primitives that `ts-mls` computes with: a suite of ours as its `CiphersuiteImpl`, over the
 * `Crypto` port and the HPKE of this core. Owns the mapping only; randomness is the caller's.
 */
import type { CiphersuiteImpl, CiphersuiteName, PrivateKey, PublicKey } from 'ts-mls'
import { assert } from '#core/base/assert.ts'
import { EMPTY, equalBytes } from '#core/base/bytes.ts'
import type { Entropy } from '#core/base/ports.ts'
import type { Crypto } from '#core/crypto/crypto.ts'
import { hpkeOpen, hpkeReceiveExport, hpkeSeal } from '#core/crypto/hpke.ts'
import { hpkeSendExport, type HpkeSuite, hpkeSuite } from '#core/crypto/hpke.ts'
import { AEAD_LENGTHS, kemRandomnessLength, type Suite, SUITES } from '#core/crypto/suites.ts'

/** Keying material for a fresh KEM key pair: enough for every KEM of the suites. */
const IKM_LENGTH = 64

/** The library's name of a suite; private identifiers are their number in words. */
export function cipherSuiteName(suite: Suite): CiphersuiteName {
  const name = suite.id === SUITES.interoperation.id
    ? 'MLS_128_DHKEMX25519_AES128GCM_SHA256_Ed25519'
    : suite.id.toString()
  return name as CiphersuiteName
}

/** Raw bytes travel as the library's opaque keys; nothing but this file looks into them. */
const asPrivate = (bytes: Uint8Array): PrivateKey => bytes as unknown as PrivateKey
const asPublic = (bytes: Uint8Array): PublicKey => bytes as unknown as PublicKey
const rawKey = (key: PrivateKey | PublicKey): Uint8Array => key as unknown as Uint8Array

/** Refuses to make randomness: for calls that must not need any. */
export const NO_ENTROPY: Entropy = {
  randomBytes(): Uint8Array {
    assert(false, 'this call takes no randomness')
  },
}

/** A suite as the library wants it. Rejections become refusals of the port. */
export function ciphersuiteOf(crypto: Crypto, suite: Suite, entropy: Entropy): CiphersuiteImpl {
  return {
    name: cipherSuiteName(suite),
    rng: { randomBytes: (length) => entropy.randomBytes(length) },
    hash: {
      digest: (content) => Promise.resolve(crypto.hash(suite.hash, content)),
      mac: (key, content) => Promise.resolve(crypto.hmac(suite.hash, key, content)),
      verifyMac: (key, mac, content) =>
        Promise.resolve(equalBytes(crypto.hmac(suite.hash, key, content), mac)),
    },
    kdf: {
      size: suite.hashLength,
      extract: (salt, ikm) => Promise.resolve(crypto.hkdfExtract(suite.hash, salt, ikm)),
      expand: (prk, info, length) =>
        Promise.resolve(crypto.hkdfExpand(suite.hash, prk, info, length)),
    },
    signature: {
      sign: (secretKey, content) => crypto.sign(suite.signature, secretKey, content),
      verify: (publicKey, content, signature) =>
        crypto.verify(suite.signature, { publicKey, content, signature }),
      keygen: () => Promise.reject(new Error('signature keys belong to the device')),
    },
    hpke: hpkeOf(crypto, suite, entropy),
  }
}

function found<T>(value: T | null): T {
  if (value === null) throw new Error('not opened')
  return value
}

function hpkeOf(crypto: Crypto, suite: Suite, entropy: Entropy): CiphersuiteImpl['hpke'] {
  const hpke = hpkeSuite(suite)
  const lengths = AEAD_LENGTHS[suite.mlsAead]
  const pair = async (ikm: Uint8Array) => {
    const { secretKey, publicKey } = await crypto.kemKeyPair(suite.kem, ikm)
    return { privateKey: asPrivate(secretKey), publicKey: asPublic(publicKey) }
  }
  return {
    ...hpkeMessages(crypto, { hpke, suite, entropy }),
    keyLength: lengths.key,
    nonceLength: lengths.nonce,
    importPrivateKey: (bytes) => Promise.resolve(asPrivate(bytes)),
    importPublicKey: (bytes) => Promise.resolve(asPublic(bytes)),
    exportPublicKey: (key) => Promise.resolve(rawKey(key)),
    exportPrivateKey: (key) => Promise.resolve(rawKey(key)),
    deriveKeyPair: pair,
    generateKeyPair: () => pair(entropy.randomBytes(IKM_LENGTH)),
    encryptAead: (key, nonce, aad, plaintext) =>
      Promise.resolve(
        crypto.aeadSeal(suite.mlsAead, { key, nonce, aad: aad ?? EMPTY }, plaintext),
      ),
    decryptAead: async (key, nonce, aad, ciphertext) =>
      found(
        await Promise.resolve(
          crypto.aeadOpen(suite.mlsAead, { key, nonce, aad: aad ?? EMPTY }, ciphertext),
        ),
      ),
  }
}

type HpkeMessages = Pick<
  CiphersuiteImpl['hpke'],
  'open' | 'seal' | 'exportSecret' | 'importSecret'
>

function hpkeMessages(
  crypto: Crypto,
  parts: { readonly hpke: HpkeSuite; readonly suite: Suite; readonly entropy: Entropy },
): HpkeMessages {
  const { hpke, suite, entropy } = parts
  const sending = (key: PublicKey, info: Uint8Array) => ({
    publicKey: rawKey(key),
    info,
    randomness: entropy.randomBytes(kemRandomnessLength(suite.kem)),
  })
  return {
    async open(privateKey, enc, ciphertext, info, aad = EMPTY) {
      const secretKey = rawKey(privateKey)
      return found(await hpkeOpen(crypto, hpke, { secretKey, enc, info, aad, ciphertext }))
    },
    async seal(publicKey, plaintext, info, aad = EMPTY) {
      const sealing = { ...sending(publicKey, info), aad, plaintext }
      const { enc, ciphertext } = found(await hpkeSeal(crypto, hpke, sealing))
      return { enc, ct: ciphertext }
    },
    async exportSecret(publicKey, exporterContext, length, info) {
      const exporting = { ...sending(publicKey, info), exporterContext, length }
      const { enc, exported } = found(await hpkeSendExport(crypto, hpke, exporting))
      return { enc, secret: exported }
    },
    async importSecret(privateKey, exporterContext, enc, length, info) {
      const importing = { secretKey: rawKey(privateKey), enc, info, exporterContext, length }
      return found(await hpkeReceiveExport(crypto, hpke, importing))
    },
  }
}
