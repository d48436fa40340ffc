/**
 * The three KEMs: DHKEM(X25519, HKDF-SHA256) of RFC 9180 section 4.1, and the hybrids X-Wing
 * (draft-connolly-cfrg-xwing-kem) and MLKEM1024-P384 (draft-ietf-hpke-pq). Owns their
 * constructions, once, over primitives that an implementation of the `Crypto` port brings; owns no
 * primitive.
 *
 * The secret key of a hybrid is the seed of both halves, so it is expanded at each use.
 */
import { assert } from '#core/base/assert.ts'
import { concat, EMPTY, utf8Encode, wipe } from '#core/base/bytes.ts'
import type { Crypto, Encapsulation, HashName, KemName, KeyPair } from '#core/crypto/crypto.ts'
import { KEM_LENGTHS } from '#core/crypto/suites.ts'

/** A Diffie-Hellman group with raw keys. */
export interface DiffieHellman {
  publicKey(secretKey: Uint8Array): Promise<Uint8Array>
  /** The x or u coordinate; null for a malformed public key and for a neutral result. */
  sharedSecret(secretKey: Uint8Array, publicKey: Uint8Array): Promise<Uint8Array | null>
}

/** ML-KEM (FIPS 203) with the 64-byte seed as secret key. */
export interface MlKem {
  publicKey(seed: Uint8Array): Promise<Uint8Array>
  /** Null for a public key that fails the modulus check. `randomness` has 32 bytes. */
  encapsulate(publicKey: Uint8Array, randomness: Uint8Array): Promise<Encapsulation | null>
  /** Any ciphertext of the right length gives a secret (implicit rejection). */
  decapsulate(seed: Uint8Array, ciphertext: Uint8Array): Promise<Uint8Array>
}

export interface KemPrimitives {
  readonly x25519: DiffieHellman
  readonly p384: DiffieHellman
  readonly mlkem768: MlKem
  readonly mlkem1024: MlKem
  readonly hkdf: Pick<Crypto, 'hkdfExtract' | 'hkdfExpand'>
  shake256(input: Uint8Array, length: number): Uint8Array
  sha3(input: Uint8Array): Uint8Array
}

export type Kems = Pick<Crypto, 'kemKeyPair' | 'encapsulate' | 'decapsulate'>

/** KEM identifiers of the HPKE registry (RFC 9180 section 7.1). */
export const KEM_IDS: Readonly<Record<KemName, number>> = {
  x25519: 0x0020,
  xwing: 0x647a,
  mlkem1024p384: 0x0051,
}

/** Builds the KEM part of the `Crypto` port. */
export function createKems(primitives: KemPrimitives): Kems {
  const kems: Readonly<Record<KemName, OneKem>> = {
    x25519: dhKem(primitives),
    xwing: hybridKem(primitives, {
      kem: 'xwing',
      mlkem: primitives.mlkem768,
      group: primitives.x25519,
      mlkemPublicKeyLength: 1_184,
      mlkemCiphertextLength: 1_088,
      scalarLength: 32,
      label: '\\.//^\\',
    }),
    mlkem1024p384: hybridKem(primitives, {
      kem: 'mlkem1024p384',
      mlkem: primitives.mlkem1024,
      group: primitives.p384,
      mlkemPublicKeyLength: 1_568,
      mlkemCiphertextLength: 1_568,
      scalarLength: 48,
      label: 'MLKEM1024-P384',
    }),
  }
  return {
    kemKeyPair: (kem, ikm) => kems[kem].keyPair(ikm),
    async encapsulate(kem, publicKey, randomness) {
      assert(randomness.length === KEM_LENGTHS[kem].randomness, 'randomness has its length')
      if (publicKey.length !== KEM_LENGTHS[kem].publicKey) return null
      return await kems[kem].encapsulate(publicKey, randomness)
    },
    async decapsulate(kem, secretKey, enc) {
      assert(secretKey.length === KEM_LENGTHS[kem].secretKey, 'a secret key has its length')
      if (enc.length !== KEM_LENGTHS[kem].enc) return null
      return await kems[kem].decapsulate(secretKey, enc)
    },
  }
}

interface OneKem {
  keyPair(ikm: Uint8Array): Promise<KeyPair>
  encapsulate(publicKey: Uint8Array, randomness: Uint8Array): Promise<Encapsulation | null>
  decapsulate(secretKey: Uint8Array, enc: Uint8Array): Promise<Uint8Array | null>
}

/** DHKEM(X25519, HKDF-SHA256): RFC 9180 sections 4.1 and 7.1.3. */
function dhKem({ x25519, hkdf }: KemPrimitives): OneKem {
  const suiteId = kemSuiteId('x25519')
  const deriveSecretKey = (ikm: Uint8Array) => {
    const prk = labeledExtract(hkdf, {
      suiteId,
      hash: 'sha256',
      salt: EMPTY,
      label: 'dkp_prk',
      ikm,
    })
    const secretKey = labeledExpand(hkdf, {
      suiteId,
      hash: 'sha256',
      prk,
      label: 'sk',
      info: EMPTY,
      length: 32,
    })
    wipe(prk)
    return secretKey
  }
  const extractAndExpand = (dh: Uint8Array, kemContext: Uint8Array) => {
    const hash = 'sha256'
    const prk = labeledExtract(hkdf, { suiteId, hash, salt: EMPTY, label: 'eae_prk', ikm: dh })
    const label = 'shared_secret'
    const secret = labeledExpand(hkdf, { suiteId, hash, prk, label, info: kemContext, length: 32 })
    wipe(dh, prk)
    return secret
  }
  return {
    async keyPair(ikm) {
      const secretKey = deriveSecretKey(ikm)
      return { secretKey, publicKey: await x25519.publicKey(secretKey) }
    },
    async encapsulate(publicKey, randomness) {
      const ephemeral = deriveSecretKey(randomness)
      const dh = await x25519.sharedSecret(ephemeral, publicKey)
      const enc = await x25519.publicKey(ephemeral)
      wipe(ephemeral)
      if (dh === null) return null
      return { enc, sharedSecret: extractAndExpand(dh, concat(enc, publicKey)) }
    },
    async decapsulate(secretKey, enc) {
      const dh = await x25519.sharedSecret(secretKey, enc)
      if (dh === null) return null
      return extractAndExpand(dh, concat(enc, await x25519.publicKey(secretKey)))
    },
  }
}

interface HybridOptions {
  readonly kem: KemName
  readonly mlkem: MlKem
  readonly group: DiffieHellman
  readonly mlkemPublicKeyLength: number
  readonly mlkemCiphertextLength: number
  readonly scalarLength: number
  readonly label: string
}

const MLKEM_SEED_LENGTH = 64
const MLKEM_RANDOMNESS_LENGTH = 32

/**
 * ML-KEM with a nominal group. Keys and encapsulations are those of ML-KEM followed by those of the
 * group; the secret is SHA3-256(ss_M || ss_G || ct_G || pk_G || label). A group element that gives
 * a neutral result is refused, where X-Wing would let it pass: no honest sender makes one.
 */
function hybridKem(primitives: KemPrimitives, options: HybridOptions): OneKem {
  const { shake256, sha3 } = primitives
  const { kem, mlkem, group, mlkemPublicKeyLength, mlkemCiphertextLength, scalarLength } = options
  const label = utf8Encode(options.label)

  const expand = (seed: Uint8Array) => {
    const expanded = shake256(seed, MLKEM_SEED_LENGTH + scalarLength)
    return {
      mlkemSeed: expanded.subarray(0, MLKEM_SEED_LENGTH),
      scalar: expanded.subarray(MLKEM_SEED_LENGTH),
      expanded,
    }
  }
  const combine = (secrets: readonly [Uint8Array, Uint8Array], ct: Uint8Array, pk: Uint8Array) => {
    const input = concat(...secrets, ct, pk, label)
    const combined = sha3(input)
    wipe(input, ...secrets)
    return combined
  }
  return {
    async keyPair(ikm) {
      const secretKey = hybridSecretKey(primitives, kem, ikm)
      const { mlkemSeed, scalar, expanded } = expand(secretKey)
      const publicKey = concat(await mlkem.publicKey(mlkemSeed), await group.publicKey(scalar))
      wipe(expanded)
      return { secretKey, publicKey }
    },
    async encapsulate(publicKey, randomness) {
      const mlkemPublicKey = publicKey.subarray(0, mlkemPublicKeyLength)
      const groupPublicKey = publicKey.subarray(mlkemPublicKeyLength)
      const mlkemRandomness = randomness.subarray(0, MLKEM_RANDOMNESS_LENGTH)
      const ephemeral = randomness.subarray(MLKEM_RANDOMNESS_LENGTH)
      const groupSecret = await group.sharedSecret(ephemeral, groupPublicKey)
      if (groupSecret === null) return null
      const encapsulated = await mlkem.encapsulate(mlkemPublicKey, mlkemRandomness)
      if (encapsulated === null) {
        wipe(groupSecret)
        return null
      }
      const groupCiphertext = await group.publicKey(ephemeral)
      const secrets = [encapsulated.sharedSecret, groupSecret] as const
      return {
        enc: concat(encapsulated.enc, groupCiphertext),
        sharedSecret: combine(secrets, groupCiphertext, groupPublicKey),
      }
    },
    async decapsulate(secretKey, enc) {
      const groupCiphertext = enc.subarray(mlkemCiphertextLength)
      const { mlkemSeed, scalar, expanded } = expand(secretKey)
      const groupSecret = await group.sharedSecret(scalar, groupCiphertext)
      if (groupSecret === null) {
        wipe(expanded)
        return null
      }
      const groupPublicKey = await group.publicKey(scalar)
      const mlkemCiphertext = enc.subarray(0, mlkemCiphertextLength)
      const mlkemSecret = await mlkem.decapsulate(mlkemSeed, mlkemCiphertext)
      wipe(expanded)
      return combine([mlkemSecret, groupSecret], groupCiphertext, groupPublicKey)
    },
  }
}

/** DeriveKeyPair of the hybrids: LabeledDerive with SHAKE256 (draft-ietf-hpke-pq). */
function hybridSecretKey(primitives: KemPrimitives, kem: KemName, ikm: Uint8Array): Uint8Array {
  const length = KEM_LENGTHS[kem].secretKey
  const label = utf8Encode('DeriveKeyPair')
  const input = concat(
    ikm,
    HPKE_VERSION,
    kemSuiteId(kem),
    uint16(label.length),
    label,
    uint16(length),
  )
  const secretKey = primitives.shake256(input, length)
  wipe(input)
  return secretKey
}

const HPKE_VERSION = utf8Encode('HPKE-v1')

function kemSuiteId(kem: KemName): Uint8Array {
  return concat(utf8Encode('KEM'), uint16(KEM_IDS[kem]))
}

/** I2OSP(value, 2). */
export function uint16(value: number): Uint8Array {
  assert(value >= 0 && value <= 0xffff, 'a uint16')
  return Uint8Array.of(value >> 8, value & 0xff)
}

type Hkdf = KemPrimitives['hkdf']

interface LabeledExtraction {
  readonly hash: HashName
  readonly suiteId: Uint8Array
  readonly salt: Uint8Array
  readonly label: string
  readonly ikm: Uint8Array
}

/** LabeledExtract (RFC 9180 section 4). */
export function labeledExtract(hkdf: Hkdf, extraction: LabeledExtraction): Uint8Array {
  const { hash, suiteId, salt, label, ikm } = extraction
  const labeledIkm = concat(HPKE_VERSION, suiteId, utf8Encode(label), ikm)
  const prk = hkdf.hkdfExtract(hash, salt, labeledIkm)
  wipe(labeledIkm)
  return prk
}

interface LabeledExpansion {
  readonly hash: HashName
  readonly suiteId: Uint8Array
  readonly prk: Uint8Array
  readonly label: string
  readonly info: Uint8Array
  /** Bytes of output. */
  readonly length: number
}

/** LabeledExpand (RFC 9180 section 4). */
export function labeledExpand(hkdf: Hkdf, expansion: LabeledExpansion): Uint8Array {
  const { hash, suiteId, prk, label, info, length } = expansion
  const labeledInfo = concat(uint16(length), HPKE_VERSION, suiteId, utf8Encode(label), info)
  return hkdf.hkdfExpand(hash, prk, labeledInfo, length)
}
