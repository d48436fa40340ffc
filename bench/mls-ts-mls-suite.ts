/**
 * The primitives that `ts-mls` computes with: a suite of ours as its `CiphersuiteImpl`, over the
 * `Crypto` port and the HPKE of this core. Owns the mapping only; randomness is the caller's. The
 * library's own providers, which take time and entropy from the host, are never loaded.
 */
import type { CiphersuiteImpl, CiphersuiteName, PrivateKey, PublicKey } from 'ts-mls'
import { assert, AssertionFailure } from '#core/base/assert.ts'
import { EMPTY, equalBytes, wipe } from '#core/base/bytes.ts'
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

const suiteByName: ReadonlyMap<string, Suite> = new Map(
  Object.values<Suite>(SUITES).map((suite) => [cipherSuiteName(suite), suite]),
)

/** The names of every suite of ours, as leaves announce them. */
export const CIPHER_SUITE_NAMES = [...suiteByName.keys()] as readonly CiphersuiteName[]

/** The suite that the library calls so; null for one that is not ours. */
export function suiteOfName(name: CiphersuiteName): Suite | null {
  return suiteByName.get(name) ?? null
}

/** Raw bytes travel as the library's opaque keys; nothing but this file looks into them. */
const asPrivate = (bytes: Uint8Array): PrivateKey => bytes as unknown as PrivateKey
const asPublic = (bytes: Uint8Array): PublicKey => bytes as unknown as PublicKey
const rawKey = (key: PrivateKey | PublicKey): Uint8Array => key as unknown as Uint8Array

/** Refuses to make randomness: for calls that must not need any. */
export const NO_ENTROPY: Entropy = {
  randomBytes(): never {
    throw new AssertionFailure('this call takes no randomness')
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
      keygen: () => Promise.reject(new AssertionFailure('signature keys belong to the device')),
    },
    hpke: hpkeOf(crypto, suite, entropy),
  }
}

function found<T>(value: T | null): T {
  assert(value !== null, 'what a benchmark makes is well-formed')
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
    async generateKeyPair() {
      const ikm = entropy.randomBytes(IKM_LENGTH)
      const made = await pair(ikm)
      wipe(ikm)
      return made
    },
    encryptAead: (key, nonce, aad, plaintext) =>
      Promise.resolve(
        crypto.aeadSeal(suite.mlsAead, { key, nonce, aad: aad ?? EMPTY }, plaintext),
      ),
    async decryptAead(key, nonce, aad, ciphertext) {
      return found(crypto.aeadOpen(suite.mlsAead, { key, nonce, aad: aad ?? EMPTY }, ciphertext))
    },
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
  const sending = async <T>(use: (randomness: Uint8Array) => Promise<T | null>): Promise<T> => {
    const randomness = entropy.randomBytes(kemRandomnessLength(suite.kem))
    const sent = await use(randomness)
    wipe(randomness)
    return found(sent)
  }
  return {
    async open(...[privateKey, enc, ciphertext, info, aad = EMPTY]) {
      const secretKey = rawKey(privateKey)
      return found(await hpkeOpen(crypto, hpke, { secretKey, enc, info, aad, ciphertext }))
    },
    async seal(publicKey, plaintext, info, aad = EMPTY) {
      const to = { publicKey: rawKey(publicKey), info, aad, plaintext }
      const { enc, ciphertext } = await sending((randomness) =>
        hpkeSeal(crypto, hpke, { ...to, randomness })
      )
      return { enc, ct: ciphertext }
    },
    async exportSecret(publicKey, exporterContext, length, info) {
      const to = { publicKey: rawKey(publicKey), info, exporterContext, length }
      const { enc, exported } = await sending((randomness) =>
        hpkeSendExport(crypto, hpke, { ...to, randomness })
      )
      return { enc, secret: exported }
    },
    async importSecret(...[privateKey, exporterContext, enc, length, info]) {
      const importing = { secretKey: rawKey(privateKey), enc, info, exporterContext, length }
      return found(await hpkeReceiveExport(crypto, hpke, importing))
    },
  }
}
