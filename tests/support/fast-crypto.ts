/**
 * The `Crypto` port for simulation: every primitive is one mixing function, with the lengths of the
 * real ones. It keeps what faults of a protocol show in: a signature is of one key and one content,
 * a ciphertext opens whole and with its key alone, another input gives another output. Anybody can
 * forge it. Owns no real algorithm; the same seeds also run on the real ones.
 */
import { assert } from '#core/base/assert.ts'
import { concat, equalBytes } from '#core/base/bytes.ts'
import type { AeadKeyed, Crypto, KemName, SignatureName } from '#core/crypto/crypto.ts'
import { AEAD_LENGTHS, AEAD_TAG_LENGTH, HASH_LENGTHS } from '#core/crypto/suites.ts'
import { KEM_LENGTHS, SIGNATURE_LENGTHS } from '#core/crypto/suites.ts'
import { mix } from './mixer.ts'

/** Of one primitive each; numbers of the algorithms are added. */
const PURPOSE = {
  hash: 100,
  mac: 200,
  extract: 300,
  expand: 400,
  stream: 500,
  tag: 600,
  signatureSecret: 700,
  signaturePublic: 800,
  signature: 900,
  kemSecret: 1_000,
  kemPublic: 1_100,
  enc: 1_200,
  shared: 1_300,
} as const

const HASHES = { sha256: 1, sha384: 2, sha512: 3 } as const
const AEADS = { aes128gcm: 1, aes256gcm: 2, chacha20poly1305: 3, xchacha20poly1305: 4 } as const
const SIGNATURES = { ed25519: 1, p384: 2, mldsa65: 3 } as const
const KEMS = { x25519: 1, xwing: 2, mlkem1024p384: 3 } as const

/** P-384 signatures vary in length; these do not. */
function signatureLength(signature: SignatureName): number {
  return signature === 'p384' ? 96 : SIGNATURE_LENGTHS[signature].signatureMax
}

function stream(aead: number, { key, nonce }: AeadKeyed, text: Uint8Array): Uint8Array {
  const out = mix(PURPOSE.stream + aead, [key, nonce], text.length)
  for (let at = 0; at < out.length; at++) out[at] = (out[at] as number) ^ (text[at] as number)
  return out
}

function tagOf(aead: number, { key, nonce, aad }: AeadKeyed, ciphertext: Uint8Array): Uint8Array {
  return mix(PURPOSE.tag + aead, [key, nonce, aad, ciphertext], AEAD_TAG_LENGTH)
}

function publicOf(signature: SignatureName, secretKey: Uint8Array): Uint8Array {
  const { publicKey } = SIGNATURE_LENGTHS[signature]
  return mix(PURPOSE.signaturePublic + SIGNATURES[signature], [secretKey], publicKey)
}

function kemPublicOf(kem: KemName, secretKey: Uint8Array): Uint8Array {
  return mix(PURPOSE.kemPublic + KEMS[kem], [secretKey], KEM_LENGTHS[kem].publicKey)
}

function sharedOf(kem: KemName, publicKey: Uint8Array, enc: Uint8Array): Uint8Array {
  return mix(PURPOSE.shared + KEMS[kem], [publicKey, enc], KEM_LENGTHS[kem].sharedSecret)
}

/** Creates the implementation; it has no state. */
export function createFastCrypto(): Crypto {
  return {
    hash: (hash, content) => mix(PURPOSE.hash + HASHES[hash], [content], HASH_LENGTHS[hash]),
    hmac: (hash, key, content) =>
      mix(PURPOSE.mac + HASHES[hash], [key, content], HASH_LENGTHS[hash]),
    hkdfExtract: (hash, salt, ikm) =>
      mix(PURPOSE.extract + HASHES[hash], [salt, ikm], HASH_LENGTHS[hash]),
    hkdfExpand: (hash, prk, info, length) =>
      mix(PURPOSE.expand + HASHES[hash], [prk, info], length),
    aeadSeal(aead, keyed, plaintext) {
      const { key, nonce } = AEAD_LENGTHS[aead]
      assert(keyed.key.length === key && keyed.nonce.length === nonce, 'key and nonce have lengths')
      const ciphertext = stream(AEADS[aead], keyed, plaintext)
      return concat(ciphertext, tagOf(AEADS[aead], keyed, ciphertext))
    },
    aeadOpen(aead, keyed, sealed) {
      if (sealed.length < AEAD_TAG_LENGTH) return null
      const ciphertext = sealed.subarray(0, sealed.length - AEAD_TAG_LENGTH)
      const tag = sealed.subarray(ciphertext.length)
      const isWhole = equalBytes(tag, tagOf(AEADS[aead], keyed, ciphertext))
      return isWhole ? stream(AEADS[aead], keyed, ciphertext) : null
    },
    signatureKeyPair(signature, seed) {
      const { secretKey: length } = SIGNATURE_LENGTHS[signature]
      const secretKey = mix(PURPOSE.signatureSecret + SIGNATURES[signature], [seed], length)
      return { secretKey, publicKey: publicOf(signature, secretKey) }
    },
    sign(signature, secretKey, content) {
      const signed = [publicOf(signature, secretKey), content]
      const purpose = PURPOSE.signature + SIGNATURES[signature]
      return Promise.resolve(mix(purpose, signed, signatureLength(signature)))
    },
    verify(name, { publicKey, content, signature }) {
      const isPlausible = publicKey.length === SIGNATURE_LENGTHS[name].publicKey &&
        signature.length === signatureLength(name)
      const expected = () =>
        mix(PURPOSE.signature + SIGNATURES[name], [publicKey, content], signature.length)
      return Promise.resolve(isPlausible && equalBytes(signature, expected()))
    },
    kemKeyPair(kem, ikm) {
      const secretKey = mix(PURPOSE.kemSecret + KEMS[kem], [ikm], KEM_LENGTHS[kem].secretKey)
      return Promise.resolve({ secretKey, publicKey: kemPublicOf(kem, secretKey) })
    },
    encapsulate(kem, publicKey, randomness) {
      if (publicKey.length !== KEM_LENGTHS[kem].publicKey) return Promise.resolve(null)
      const enc = mix(PURPOSE.enc + KEMS[kem], [randomness], KEM_LENGTHS[kem].enc)
      return Promise.resolve({ enc, sharedSecret: sharedOf(kem, publicKey, enc) })
    },
    decapsulate(kem, secretKey, enc) {
      if (enc.length !== KEM_LENGTHS[kem].enc) return Promise.resolve(null)
      return Promise.resolve(sharedOf(kem, kemPublicOf(kem, secretKey), enc))
    },
  }
}
