/**
 * The three suites as data, pinned by identifier, and the lengths of what they are made of. Owns no
 * algorithm (see `crypto.ts`). A suite is never changed: another choice is another identifier.
 */
import type { AeadName, HashName, KemName, SignatureName } from '#core/crypto/crypto.ts'

export type SuiteName = 'performance' | 'compliance' | 'interoperation'

/** Lengths are in bytes. */
export interface Suite {
  /** MLS cipher suite identifier (RFC 9420 section 17.1); 0xF000 and above are private use. */
  readonly id: number
  readonly name: SuiteName
  readonly kem: KemName
  /** AEAD of MLS and of its HPKE. */
  readonly mlsAead: AeadName
  /** AEAD of room messages; null where the suite has no data plane. */
  readonly frameAead: AeadName | null
  readonly hash: HashName
  readonly signature: SignatureName
  readonly hashLength: number
  /** 0 where the suite has no data plane. */
  readonly frameKeyLength: number
  readonly frameNonceLength: number
}

export const SUITES = {
  /** The default: post-quantum and fast in every engine. */
  performance: {
    id: 0xf003,
    name: 'performance',
    kem: 'xwing',
    mlsAead: 'chacha20poly1305',
    frameAead: 'xchacha20poly1305',
    hash: 'sha256',
    signature: 'ed25519',
    hashLength: 32,
    frameKeyLength: 32,
    frameNonceLength: 24,
  },
  /** FIPS algorithms only. */
  compliance: {
    id: 0xf004,
    name: 'compliance',
    kem: 'mlkem1024p384',
    mlsAead: 'aes256gcm',
    frameAead: 'aes256gcm',
    hash: 'sha384',
    signature: 'p384',
    hashLength: 48,
    frameKeyLength: 32,
    frameNonceLength: 12,
  },
  /** MLS_128_DHKEMX25519_AES128GCM_SHA256_Ed25519, for tests and bridges. */
  interoperation: {
    id: 0x0001,
    name: 'interoperation',
    kem: 'x25519',
    mlsAead: 'aes128gcm',
    frameAead: null,
    hash: 'sha256',
    signature: 'ed25519',
    hashLength: 32,
    frameKeyLength: 0,
    frameNonceLength: 0,
  },
} as const satisfies Readonly<Record<SuiteName, Suite>>

/** The suite of an identifier; null for one that this version does not know. */
export function suiteById(id: number): Suite | null {
  return Object.values<Suite>(SUITES).find((suite) => suite.id === id) ?? null
}

export interface AeadLengths {
  readonly key: number
  readonly nonce: number
}

/** Every AEAD has a tag of 16 bytes. */
export const AEAD_TAG_LENGTH = 16
export const AEAD_LENGTHS: Readonly<Record<AeadName, AeadLengths>> = {
  aes128gcm: { key: 16, nonce: 12 },
  aes256gcm: { key: 32, nonce: 12 },
  chacha20poly1305: { key: 32, nonce: 12 },
  xchacha20poly1305: { key: 32, nonce: 24 },
}

export const HASH_LENGTHS: Readonly<Record<HashName, number>> = {
  sha256: 32,
  sha384: 48,
  sha512: 64,
}

export interface KemLengths {
  /** A hybrid's secret key is the seed of both halves. */
  readonly secretKey: number
  readonly publicKey: number
  readonly enc: number
  readonly sharedSecret: number
  /** What `encapsulate` takes. */
  readonly randomness: number
}

/** RFC 9180 section 7.1 and draft-ietf-hpke-pq. */
export const KEM_LENGTHS: Readonly<Record<KemName, KemLengths>> = {
  x25519: { secretKey: 32, publicKey: 32, enc: 32, sharedSecret: 32, randomness: 32 },
  xwing: { secretKey: 32, publicKey: 1_216, enc: 1_120, sharedSecret: 32, randomness: 64 },
  mlkem1024p384: { secretKey: 32, publicKey: 1_665, enc: 1_665, sharedSecret: 32, randomness: 80 },
}

/** Bytes of randomness that one encapsulation consumes. */
export function kemRandomnessLength(kem: KemName): number {
  return KEM_LENGTHS[kem].randomness
}

export interface SignatureLengths {
  readonly secretKey: number
  readonly publicKey: number
  readonly signatureMin: number
  readonly signatureMax: number
}

/**
 * Ed25519: RFC 8032. P-384: scalar, uncompressed point, and Ecdsa-Sig-Value in DER (RFC 9420
 * section 5.1.2). ML-DSA-65: FIPS 204; its secret key is the seed.
 */
export const SIGNATURE_LENGTHS: Readonly<Record<SignatureName, SignatureLengths>> = {
  ed25519: { secretKey: 32, publicKey: 32, signatureMin: 64, signatureMax: 64 },
  p384: { secretKey: 48, publicKey: 97, signatureMin: 8, signatureMax: 104 },
  mldsa65: { secretKey: 32, publicKey: 1_952, signatureMin: 3_309, signatureMax: 3_309 },
}
