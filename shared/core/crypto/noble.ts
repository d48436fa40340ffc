/**
 * The `Crypto` port on the noble libraries: every algorithm, in every host, and the same result for
 * the same arguments, so the simulator uses it. The only importer of these libraries. Owns the
 * mapping of names, and the turning of exceptions into null and false; owns no construction.
 *
 * What an argument of our own gets wrong is asserted before a library is called. What a library
 * throws after that is about outside input.
 */
import { gcm } from '@noble/ciphers/aes.js'
import { chacha20poly1305, xchacha20poly1305 } from '@noble/ciphers/chacha.js'
import { ed25519, x25519 } from '@noble/curves/ed25519.js'
import { p384 } from '@noble/curves/nist.js'
import { expand, extract } from '@noble/hashes/hkdf.js'
import { hmac } from '@noble/hashes/hmac.js'
import { sha256, sha384, sha512 } from '@noble/hashes/sha2.js'
import { sha3_256, shake256 } from '@noble/hashes/sha3.js'
import { ml_dsa65 } from '@noble/post-quantum/ml-dsa.js'
import { ml_kem1024, ml_kem768, type MLKEM } from '@noble/post-quantum/ml-kem.js'
import { assert } from '#core/base/assert.ts'
import { concat, equalBytes, toHex, wipe } from '#core/base/bytes.ts'
import type { AeadKeyed, AeadName, Crypto, HashName } from '#core/crypto/crypto.ts'
import { SIGNATURE_SEED_LENGTH, type SignatureName, type SignedBytes } from '#core/crypto/crypto.ts'
import { ecdsaFromDer, ecdsaToDer } from '#core/crypto/ecdsa-der.ts'
import { ed25519Canonical } from '#core/crypto/ed25519-encoding.ts'
import { createKems, type DiffieHellman, type KemPrimitives, type MlKem } from '#core/crypto/kem.ts'
import { AEAD_LENGTHS, AEAD_TAG_LENGTH, SIGNATURE_LENGTHS } from '#core/crypto/suites.ts'

/** Creates the implementation. It holds no secrets, only tables of public keys. */
export function createNobleCrypto(): Crypto {
  const signatures = createSignatures()
  return {
    ...symmetric,
    signatureKeyPair(signature, seed) {
      assert(seed.length === SIGNATURE_SEED_LENGTH[signature], 'a seed has its length')
      return signatures[signature].keyPair(seed)
    },
    sign: (signature, secretKey, content) =>
      promised(() => {
        const { secretKey: length } = SIGNATURE_LENGTHS[signature]
        assert(secretKey.length === length, 'a secret key has its length')
        return signatures[signature].sign(secretKey, content)
      }),
    verify(signature, signed) {
      const lengths = SIGNATURE_LENGTHS[signature]
      const { length } = signed.signature
      const plausible = signed.publicKey.length === lengths.publicKey &&
        length >= lengths.signatureMin && length <= lengths.signatureMax
      const verified = plausible && attempt(() => signatures[signature].verify(signed))
      return Promise.resolve(verified === true)
    },
    ...createKems(noblePrimitives),
  }
}

/** Null where `operation` throws: for outside input only, after own arguments were asserted. */
function attempt<T>(operation: () => T): T | null {
  try {
    return operation()
  } catch {
    return null
  }
}

/** The result of a synchronous operation as the port awaits it; what it throws is a rejection. */
function promised<T>(operation: () => T): Promise<T> {
  return new Promise((resolve) => resolve(operation()))
}

const hashes = { sha256, sha384, sha512 } as const satisfies Record<HashName, unknown>

const ciphers = {
  aes128gcm: (keyed: AeadKeyed) => gcm(keyed.key, keyed.nonce, keyed.aad),
  aes256gcm: (keyed: AeadKeyed) => gcm(keyed.key, keyed.nonce, keyed.aad),
  chacha20poly1305: (keyed: AeadKeyed) => chacha20poly1305(keyed.key, keyed.nonce, keyed.aad),
  xchacha20poly1305: (keyed: AeadKeyed) => xchacha20poly1305(keyed.key, keyed.nonce, keyed.aad),
} as const satisfies Record<AeadName, unknown>

function assertKeyed(aead: AeadName, keyed: AeadKeyed): void {
  const { key, nonce } = AEAD_LENGTHS[aead]
  assert(keyed.key.length === key && keyed.nonce.length === nonce, 'key and nonce have lengths')
}

const symmetric = {
  hash: (hash, content) => hashes[hash](content),
  hmac: (hash, key, content) => hmac(hashes[hash], key, content),
  hkdfExtract: (hash, salt, ikm) => extract(hashes[hash], ikm, salt),
  hkdfExpand: (hash, prk, info, length) => expand(hashes[hash], prk, info, length),
  aeadSeal(aead, keyed, plaintext) {
    assertKeyed(aead, keyed)
    return ciphers[aead](keyed).encrypt(plaintext)
  },
  aeadOpen(aead, keyed, ciphertext) {
    assertKeyed(aead, keyed)
    if (ciphertext.length < AEAD_TAG_LENGTH) return null
    return attempt(() => ciphers[aead](keyed).decrypt(ciphertext))
  },
} as const satisfies Partial<Crypto>

interface OneSignature {
  keyPair(seed: Uint8Array): { secretKey: Uint8Array; publicKey: Uint8Array }
  sign(secretKey: Uint8Array, content: Uint8Array): Uint8Array
  verify(signed: SignedBytes): boolean
}

function createSignatures(): Readonly<Record<SignatureName, OneSignature>> {
  const prepared = createPreparedP384()
  return { ed25519: ed25519Signature, p384: p384Signature(prepared), mldsa65: mldsa65Signature }
}

const ed25519Signature: OneSignature = {
  keyPair: (seed) => ({ secretKey: seed.slice(), publicKey: ed25519.getPublicKey(seed) }),
  sign: (secretKey, content) => ed25519.sign(content, secretKey),
  verify: verifyEd25519,
}

/** RFC 6979 nonces. A high s is accepted, as everywhere but in blockchains. */
function p384Signature(prepared: PreparedP384): OneSignature {
  return {
    keyPair(seed) {
      const { secretKey } = p384.keygen(seed)
      return { secretKey, publicKey: p384.getPublicKey(secretKey, false) }
    },
    sign: (secretKey, content) => ecdsaToDer(p384.sign(content, secretKey, { lowS: false })),
    verify(signed) {
      const verified = prepared(signed)
      if (verified !== null) return verified
      const raw = ecdsaFromDer(signed.signature)
      return raw !== null && signed.publicKey[0] === UNCOMPRESSED &&
        p384.verify(raw, signed.content, signed.publicKey, { lowS: false })
    },
  }
}

/** Deterministic variant of FIPS 204, empty context. The secret key is the seed. */
const mldsa65Signature: OneSignature = {
  keyPair: (seed) => ({ secretKey: seed.slice(), publicKey: ml_dsa65.keygen(seed).publicKey }),
  sign(secretKey, content) {
    const expanded = ml_dsa65.keygen(secretKey).secretKey
    const signature = ml_dsa65.sign(content, expanded, { extraEntropy: false })
    wipe(expanded)
    return signature
  },
  verify: ({ publicKey, content, signature }) => ml_dsa65.verify(signature, content, publicKey),
}

const UNCOMPRESSED = 0x04

/** Verdict under a key that has a table; null for other keys. What is thrown is outside input. */
export type PreparedP384 = (signed: SignedBytes) => boolean | null

/** Uses of a public key after which its table, worth some ten verifications, is built. */
const TABLE_AFTER_USES = 32
/** Tables take 0.4 megabytes each. */
const TABLES_MAX = 16
const COUNTED_KEYS_MAX = 1_024
const TABLE_WINDOW_BITS = 6

/**
 * ECDSA verification with tables for the public keys that come again and again, such as those of
 * the senders in an open room. A table makes it three times as fast. The oldest table goes first.
 */
export function createPreparedP384(): PreparedP384 {
  const uses = new Map<string, number>()
  const tables = new Map<string, P384Point>()
  return (signed) => {
    const name = toHex(signed.publicKey)
    const table = tables.get(name)
    if (table !== undefined) return attempt(() => verifyP384(table, signed)) === true
    const count = (uses.get(name) ?? 0) + 1
    forgetOldest(uses, COUNTED_KEYS_MAX)
    uses.set(name, count)
    if (count < TABLE_AFTER_USES || signed.publicKey[0] !== UNCOMPRESSED) return null
    const point = attempt(() => p384.Point.fromBytes(signed.publicKey))
    if (point === null) return null
    uses.delete(name)
    forgetOldest(tables, TABLES_MAX)
    // Built by its first use. Built at once it has the width of secret, blinded scalars, and
    // verification then builds its own beside it.
    tables.set(name, point.precompute(TABLE_WINDOW_BITS, true))
    return attempt(() => verifyP384(point, signed)) === true
  }
}

type P384Point = ReturnType<typeof p384.Point.fromBytes>

/** Makes room for one more in a map that keeps the order of its insertions. */
function forgetOldest(map: Map<string, unknown>, max: number): void {
  for (const oldest of map.keys()) {
    if (map.size < max) return
    map.delete(oldest)
  }
}

/** FIPS 186-5 section 6.4.2. The group has no cofactor. */
function verifyP384(publicKey: P384Point, { content, signature }: SignedBytes): boolean {
  const raw = ecdsaFromDer(signature)
  if (raw === null) return false
  const { BASE, Fn } = p384.Point
  const r = bigEndian(raw.subarray(0, 48))
  const s = bigEndian(raw.subarray(48))
  if (!Fn.isValidNot0(r) || !Fn.isValidNot0(s)) return false
  const inverse = Fn.inv(s)
  const u1 = Fn.mul(Fn.create(bigEndian(sha384(content))), inverse)
  const u2 = Fn.mul(r, inverse)
  const point = BASE.multiplyUnsafe(u1).add(publicKey.multiplyUnsafe(u2))
  return !point.is0() && Fn.create(point.toAffine().x) === r
}

/**
 * The equation without cofactor, which engines use; the library's own `verify` multiplies by the
 * cofactor and so accepts signatures that engines refuse. See `ed25519-encoding.ts`.
 */
function verifyEd25519({ publicKey, content, signature }: SignedBytes): boolean {
  if (!ed25519Canonical(publicKey, signature)) return false
  const { Point } = ed25519
  const r = signature.subarray(0, 32)
  const minusA = Point.fromBytes(publicKey).negate()
  const k = Point.Fn.create(littleEndian(sha512(concat(r, publicKey, content))))
  const s = littleEndian(signature.subarray(32))
  const expected = Point.BASE.multiplyUnsafe(s).add(minusA.multiplyUnsafe(k))
  return equalBytes(expected.toBytes(), r)
}

function bigEndian(bytes: Uint8Array): bigint {
  return BigInt('0x' + toHex(bytes))
}

function littleEndian(bytes: Uint8Array): bigint {
  let value = 0n
  for (let i = bytes.length - 1; i >= 0; i--) value = (value << 8n) | BigInt(bytes[i] as number)
  return value
}

const x25519Group: DiffieHellman = {
  publicKey: (secretKey) => Promise.resolve(x25519.getPublicKey(secretKey)),
  sharedSecret: (secretKey, publicKey) =>
    Promise.resolve(attempt(() => x25519.getSharedSecret(secretKey, publicKey))),
}

const p384Group: DiffieHellman = {
  publicKey: (secretKey) => Promise.resolve(p384.getPublicKey(secretKey, false)),
  sharedSecret(secretKey, publicKey) {
    if (publicKey.length !== 97 || publicKey[0] !== UNCOMPRESSED) return Promise.resolve(null)
    // The compressed point without its first byte is the x coordinate (SEC 1 section 3.3.1).
    const point = attempt(() => p384.getSharedSecret(secretKey, publicKey, true))
    return Promise.resolve(point && point.subarray(1))
  },
}

function mlKem(kem: MLKEM): MlKem {
  return {
    publicKey(seed) {
      const { publicKey, secretKey } = kem.keygen(seed)
      wipe(secretKey)
      return Promise.resolve(publicKey)
    },
    encapsulate(publicKey, randomness) {
      const encapsulated = attempt(() => kem.encapsulate(publicKey, randomness))
      return Promise.resolve(
        encapsulated && { enc: encapsulated.cipherText, sharedSecret: encapsulated.sharedSecret },
      )
    },
    decapsulate(seed, ciphertext) {
      const { secretKey } = kem.keygen(seed)
      const sharedSecret = kem.decapsulate(ciphertext, secretKey)
      wipe(secretKey)
      return Promise.resolve(sharedSecret)
    },
  }
}

/** What the KEMs are built of; an engine's own primitives replace them one by one. */
export const noblePrimitives: KemPrimitives = {
  x25519: x25519Group,
  p384: p384Group,
  mlkem768: mlKem(ml_kem768),
  mlkem1024: mlKem(ml_kem1024),
  hkdf: symmetric,
  shake256: (input, length) => shake256(input, { dkLen: length }),
  sha3: (input) => sha3_256(input),
}
