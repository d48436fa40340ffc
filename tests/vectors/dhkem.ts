/**
 * DHKEM (RFC 9180 section 4.1) over the curves of the registered MLS suites, for published vectors
 * alone: the product has DHKEM(X25519) only. Owns the construction; LabeledExtract and
 * LabeledExpand are the product's.
 */
import { x25519 } from '@noble/curves/ed25519.js'
import { x448 } from '@noble/curves/ed448.js'
import { p256, p384, p521 } from '@noble/curves/nist.js'
import { ok, strictEqual } from 'node:assert/strict'
import { concat, EMPTY, utf8Encode } from '#core/base/bytes.ts'
import type { Encapsulation, HashName, KeyPair } from '#core/crypto/crypto.ts'
import { labeledExpand, labeledExtract, uint16 } from '#core/crypto/kem.ts'
import { noble } from './implementations.ts'

/** A KEM as HPKE calls it; null for a malformed key or encapsulation of somebody else. */
export interface DhKem {
  /** RFC 9180 section 7.1. */
  readonly id: number
  /** Bytes of a secret key, and of what an encapsulation takes. */
  readonly secretKeyLength: number
  readonly publicKeyLength: number
  deriveKeyPair(ikm: Uint8Array): KeyPair
  encapsulate(publicKey: Uint8Array, ikm: Uint8Array): Encapsulation | null
  decapsulate(secretKey: Uint8Array, enc: Uint8Array): Uint8Array | null
}

export type DhKemName = 'p256' | 'p384' | 'p521' | 'x25519' | 'x448'

interface Group {
  readonly secretKeyLength: number
  readonly publicKeyLength: number
  publicKey(secretKey: Uint8Array): Uint8Array
  /** Throws for a malformed public key and for a neutral result. */
  sharedSecret(secretKey: Uint8Array, publicKey: Uint8Array): Uint8Array
  /** DeriveKeyPair after the extraction (RFC 9180 section 7.1.3). */
  secretKey(expand: (label: string, info: Uint8Array, length: number) => Uint8Array): Uint8Array
}

type Montgomery = typeof x25519
type Weierstrass = typeof p256

function montgomery(curve: Montgomery, length: number): Group {
  return {
    secretKeyLength: length,
    publicKeyLength: length,
    publicKey: (secretKey) => curve.getPublicKey(secretKey),
    sharedSecret: (secretKey, publicKey) => curve.getSharedSecret(secretKey, publicKey),
    secretKey: (expand) => expand('sk', EMPTY, length),
  }
}

/** `bitmask` is that of RFC 9180 section 7.1.3. */
function weierstrass(curve: Weierstrass, length: number, bitmask: number): Group {
  return {
    secretKeyLength: length,
    publicKeyLength: 1 + 2 * length,
    publicKey: (secretKey) => curve.getPublicKey(secretKey, false),
    sharedSecret(secretKey, publicKey) {
      strictEqual(publicKey.length, 1 + 2 * length)
      return curve.getSharedSecret(secretKey, publicKey, true).subarray(1)
    },
    secretKey(expand) {
      for (let counter = 0; counter < 256; counter++) {
        const candidate = expand('candidate', Uint8Array.of(counter), length)
        candidate[0] = (candidate[0] as number) & bitmask
        if (curve.utils.isValidSecretKey(candidate)) return candidate
      }
      throw new Error('no candidate is a scalar')
    },
  }
}

function dhKem(id: number, hash: HashName, group: Group): DhKem {
  const suiteId = concat(utf8Encode('KEM'), uint16(id))
  const secretLength = noble.hash(hash, EMPTY).length
  const extract = (label: string, ikm: Uint8Array) =>
    labeledExtract(noble, { hash, suiteId, salt: EMPTY, label, ikm })
  const derive = (ikm: Uint8Array) => {
    const prk = extract('dkp_prk', ikm)
    return group.secretKey((label, info, length) =>
      labeledExpand(noble, { hash, suiteId, prk, label, info, length })
    )
  }
  const combine = (dh: Uint8Array, info: Uint8Array) =>
    labeledExpand(noble, {
      hash,
      suiteId,
      prk: extract('eae_prk', dh),
      label: 'shared_secret',
      info,
      length: secretLength,
    })
  return {
    id,
    secretKeyLength: group.secretKeyLength,
    publicKeyLength: group.publicKeyLength,
    deriveKeyPair(ikm) {
      const secretKey = derive(ikm)
      return { secretKey, publicKey: group.publicKey(secretKey) }
    },
    encapsulate(publicKey, ikm) {
      ok(ikm.length === group.secretKeyLength)
      const ephemeral = derive(ikm)
      const dh = refusing(() => group.sharedSecret(ephemeral, publicKey))
      const enc = group.publicKey(ephemeral)
      return dh && { enc, sharedSecret: combine(dh, concat(enc, publicKey)) }
    },
    decapsulate(secretKey, enc) {
      const own = leftPadded(secretKey, group.secretKeyLength)
      const dh = refusing(() => group.sharedSecret(own, enc))
      return dh && combine(dh, concat(enc, group.publicKey(own)))
    },
  }
}

/** RFC 9180 table 2. */
export const dhKems: Readonly<Record<DhKemName, DhKem>> = {
  p256: dhKem(0x0010, 'sha256', weierstrass(p256, 32, 0xff)),
  p384: dhKem(0x0011, 'sha384', weierstrass(p384, 48, 0xff)),
  p521: dhKem(0x0012, 'sha512', weierstrass(p521, 66, 0x01)),
  x25519: dhKem(0x0020, 'sha256', montgomery(x25519, 32)),
  x448: dhKem(0x0021, 'sha512', montgomery(x448, 56)),
}

/** Some of the published scalars of P-521 lack their leading zero. */
export function leftPadded(scalar: Uint8Array, length: number): Uint8Array {
  ok(scalar.length <= length, 'a secret key has its length')
  return concat(new Uint8Array(length - scalar.length), scalar)
}

/** Null where `operation` throws, as the libraries do for malformed keys of others. */
export function refusing<T>(operation: () => T): T | null {
  try {
    return operation()
  } catch {
    return null
  }
}
