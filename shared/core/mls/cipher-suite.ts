/**
 * A cipher suite of MLS (RFC 9420 section 5.1) as an object: the lengths and the primitives that
 * the engine calls, hashes and AEAD at once, signatures and HPKE awaited. Owns the binding of a
 * `Suite` to the `Crypto` port; owns no label (see `labelled.ts`) and no randomness.
 */
import { type Crypto, type KeyPair, SIGNATURE_SEED_LENGTH } from '#core/crypto/crypto.ts'
import {
  hpkeOpen,
  hpkeReceiveExport,
  hpkeSeal,
  type HpkeSealed,
  hpkeSendExport,
  hpkeSuite,
} from '#core/crypto/hpke.ts'
import { AEAD_LENGTHS, KEM_LENGTHS, type Suite } from '#core/crypto/suites.ts'

export interface AeadMessage {
  readonly key: Uint8Array
  readonly nonce: Uint8Array
  readonly aad: Uint8Array
}

export interface SuiteSending {
  readonly publicKey: Uint8Array
  readonly info: Uint8Array
  /** `encapsulationEntropyLength` fresh bytes; the caller wipes them. */
  readonly randomness: Uint8Array
}

export interface SuiteReceiving {
  readonly secretKey: Uint8Array
  readonly enc: Uint8Array
  readonly info: Uint8Array
}

/**
 * Lengths are in bytes. A malformed key or ciphertext of somebody else gives null or false; a wrong
 * length of one's own is an assertion failure.
 */
export interface CipherSuite {
  /** RFC 9420 section 17.1. */
  readonly id: number
  /** Nh of the KDF, and of the hash. */
  readonly hashLength: number
  readonly aeadKeyLength: number
  readonly aeadNonceLength: number
  readonly signatureSeedLength: number
  /** Of an HPKE public key; the length of the one encoding that the KEM has. */
  readonly kemPublicKeyLength: number
  /** What one encapsulation takes. */
  readonly encapsulationEntropyLength: number

  hash(content: Uint8Array): Uint8Array
  /** HMAC of the suite's hash. */
  mac(key: Uint8Array, content: Uint8Array): Uint8Array
  extract(salt: Uint8Array, ikm: Uint8Array): Uint8Array
  expand(prk: Uint8Array, info: Uint8Array, length: number): Uint8Array
  /** Ciphertext with the tag at its end. */
  seal(message: AeadMessage, plaintext: Uint8Array): Uint8Array
  open(message: AeadMessage, ciphertext: Uint8Array): Uint8Array | null

  signatureKeyPair(seed: Uint8Array): KeyPair
  sign(secretKey: Uint8Array, content: Uint8Array): Promise<Uint8Array>
  verify(
    signed: {
      readonly publicKey: Uint8Array
      readonly content: Uint8Array
      readonly signature: Uint8Array
    },
  ): Promise<boolean>

  /** DeriveKeyPair of the KEM (RFC 9180 section 4); the caller wipes `ikm` and the secret key. */
  deriveKeyPair(ikm: Uint8Array): Promise<KeyPair>
  /** SealBase with empty associated data (RFC 9420 section 5.1.3). */
  hpkeSeal(sending: SuiteSending, plaintext: Uint8Array): Promise<HpkeSealed | null>
  hpkeOpen(receiving: SuiteReceiving, ciphertext: Uint8Array): Promise<Uint8Array | null>
  /** SendExportBase (RFC 9180 section 6.2), for external initialisation (RFC 9420 section 8.3). */
  hpkeSendExport(
    sending: SuiteSending,
    exporting: SuiteExport,
  ): Promise<{ readonly enc: Uint8Array; readonly exported: Uint8Array } | null>
  hpkeReceiveExport(
    receiving: SuiteReceiving,
    exporting: SuiteExport,
  ): Promise<Uint8Array | null>
}

export interface SuiteExport {
  readonly exporterContext: Uint8Array
  readonly length: number
}

const NO_AAD = new Uint8Array(0)

/** The suite on a `Crypto` port. */
export function cipherSuite(crypto: Crypto, suite: Suite): CipherSuite {
  const { hash, mlsAead, signature, kem } = suite
  const hpke = hpkeSuite(suite)
  return {
    id: suite.id,
    hashLength: suite.hashLength,
    aeadKeyLength: AEAD_LENGTHS[mlsAead].key,
    aeadNonceLength: AEAD_LENGTHS[mlsAead].nonce,
    signatureSeedLength: SIGNATURE_SEED_LENGTH[signature],
    kemPublicKeyLength: KEM_LENGTHS[kem].publicKey,
    encapsulationEntropyLength: KEM_LENGTHS[kem].randomness,
    hash: (content) => crypto.hash(hash, content),
    mac: (key, content) => crypto.hmac(hash, key, content),
    extract: (salt, ikm) => crypto.hkdfExtract(hash, salt, ikm),
    expand: (prk, info, length) => crypto.hkdfExpand(hash, prk, info, length),
    seal: (message, plaintext) => crypto.aeadSeal(mlsAead, message, plaintext),
    open: (message, ciphertext) => crypto.aeadOpen(mlsAead, message, ciphertext),
    signatureKeyPair: (seed) => crypto.signatureKeyPair(signature, seed),
    sign: (secretKey, content) => crypto.sign(signature, secretKey, content),
    verify: (signed) => crypto.verify(signature, signed),
    deriveKeyPair: (ikm) => crypto.kemKeyPair(kem, ikm),
    hpkeSeal: (sending, plaintext) =>
      hpkeSeal(crypto, hpke, { ...sending, aad: NO_AAD, plaintext }),
    hpkeOpen: (receiving, ciphertext) =>
      hpkeOpen(crypto, hpke, { ...receiving, aad: NO_AAD, ciphertext }),
    hpkeSendExport: (sending, exporting) =>
      hpkeSendExport(crypto, hpke, { ...sending, ...exporting }),
    hpkeReceiveExport: (receiving, exporting) =>
      hpkeReceiveExport(crypto, hpke, { ...receiving, ...exporting }),
  }
}
