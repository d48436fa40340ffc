/**
 * The registered MLS cipher suites 1 to 7 (RFC 9420 section 17.1) as `CipherSuite`, for published
 * vectors alone. Suites 1 and 3 are the product's own; the others differ in the algorithms that the
 * product does not have. Owns HPKE and signatures of those.
 */
import { ed448 } from '@noble/curves/ed448.js'
import { p256, p384, p521 } from '@noble/curves/nist.js'
import { concat, EMPTY, utf8Encode } from '#core/base/bytes.ts'
import type { AeadName, Crypto, HashName } from '#core/crypto/crypto.ts'
import { labeledExpand, labeledExtract, uint16 } from '#core/crypto/kem.ts'
import { AEAD_LENGTHS, HASH_LENGTHS, SUITES } from '#core/crypto/suites.ts'
import { type CipherSuite, cipherSuite } from '#core/mls/cipher-suite.ts'
import { type DhKem, dhKems, leftPadded, refusing } from './dhkem.ts'
import { noble } from './implementations.ts'

type Signatures = Pick<
  CipherSuite,
  'signatureSeedLength' | 'signatureKeyPair' | 'sign' | 'verify'
>
type HpkeCalls = Pick<
  CipherSuite,
  'hpkeSeal' | 'hpkeOpen' | 'hpkeSendExport' | 'hpkeReceiveExport'
>

/** ECDSA in DER over the hash that belongs to the curve (RFC 9420 section 5.1.2). */
function ecdsa(curve: typeof p256): Signatures {
  const { secretKey: length = 0, seed: signatureSeedLength = 0 } = curve.lengths
  const options = { format: 'der', lowS: false } as const
  return {
    signatureSeedLength,
    signatureKeyPair(seed) {
      const { secretKey } = curve.keygen(seed)
      return { secretKey, publicKey: curve.getPublicKey(secretKey, false) }
    },
    sign: (secretKey, content) =>
      Promise.resolve(curve.sign(content, leftPadded(secretKey, length), options)),
    verify: ({ publicKey, content, signature }) =>
      Promise.resolve(
        refusing(() => curve.verify(signature, content, publicKey, options)) === true,
      ),
  }
}

const ed448Signatures: Signatures = {
  signatureSeedLength: 57,
  signatureKeyPair: (seed) => ({ secretKey: seed.slice(), publicKey: ed448.getPublicKey(seed) }),
  sign: (secretKey, content) => Promise.resolve(ed448.sign(content, secretKey)),
  verify: ({ publicKey, content, signature }) =>
    Promise.resolve(refusing(() => ed448.verify(signature, content, publicKey)) === true),
}

interface Parts {
  readonly id: number
  readonly kem: DhKem
  readonly hash: HashName
  readonly aead: Exclude<AeadName, 'xchacha20poly1305'>
  readonly signatures: Signatures
}

const KDF_IDS: Readonly<Record<HashName, number>> = { sha256: 1, sha384: 2, sha512: 3 }
const AEAD_IDS = { aes128gcm: 1, aes256gcm: 2, chacha20poly1305: 3 } as const
const MODE_BASE = Uint8Array.of(0)

/** Key, nonce and exporter secret of the first message in base mode (RFC 9180 section 5.1). */
function hpkeSchedule({ kem, hash, aead }: Parts, sharedSecret: Uint8Array, info: Uint8Array) {
  const ids = [kem.id, KDF_IDS[hash], AEAD_IDS[aead]]
  const suiteId = concat(utf8Encode('HPKE'), ...ids.map(uint16))
  const extract = (salt: Uint8Array, label: string, ikm: Uint8Array) =>
    labeledExtract(noble, { hash, suiteId, salt, label, ikm })
  const schedule = concat(
    MODE_BASE,
    extract(EMPTY, 'psk_id_hash', EMPTY),
    extract(EMPTY, 'info_hash', info),
  )
  const secret = extract(sharedSecret, 'secret', EMPTY)
  const expand = (prk: Uint8Array, label: string, to: { info: Uint8Array; length: number }) =>
    labeledExpand(noble, { hash, suiteId, prk, label, ...to })
  const lengths = AEAD_LENGTHS[aead]
  const exporter = expand(secret, 'exp', { info: schedule, length: HASH_LENGTHS[hash] })
  return {
    message: {
      key: expand(secret, 'key', { info: schedule, length: lengths.key }),
      nonce: expand(secret, 'base_nonce', { info: schedule, length: lengths.nonce }),
      aad: EMPTY,
    },
    exported: (context: Uint8Array, length: number) =>
      expand(exporter, 'sec', { info: context, length }),
  }
}

function hpkeCalls(parts: Parts): HpkeCalls {
  const { kem, aead } = parts
  const sender = (publicKey: Uint8Array, info: Uint8Array, randomness: Uint8Array) => {
    const made = kem.encapsulate(publicKey, randomness)
    return made && { enc: made.enc, ...hpkeSchedule(parts, made.sharedSecret, info) }
  }
  const receiver = (secretKey: Uint8Array, enc: Uint8Array, info: Uint8Array) => {
    const sharedSecret = kem.decapsulate(secretKey, enc)
    return sharedSecret && hpkeSchedule(parts, sharedSecret, info)
  }
  return {
    hpkeSeal({ publicKey, info, randomness }, plaintext) {
      const to = sender(publicKey, info, randomness)
      const sealed = to &&
        { enc: to.enc, ciphertext: noble.aeadSeal(aead, to.message, plaintext) }
      return Promise.resolve(sealed)
    },
    hpkeOpen({ secretKey, enc, info }, ciphertext) {
      const from = receiver(secretKey, enc, info)
      return Promise.resolve(from && noble.aeadOpen(aead, from.message, ciphertext))
    },
    hpkeSendExport({ publicKey, info, randomness }, { exporterContext, length }) {
      const to = sender(publicKey, info, randomness)
      return Promise.resolve(
        to && { enc: to.enc, exported: to.exported(exporterContext, length) },
      )
    },
    hpkeReceiveExport({ secretKey, enc, info }, { exporterContext, length }) {
      const from = receiver(secretKey, enc, info)
      return Promise.resolve(from && from.exported(exporterContext, length))
    },
  }
}

function assembled(parts: Parts): CipherSuite {
  const { id, kem, hash, aead, signatures } = parts
  return {
    id,
    hashLength: HASH_LENGTHS[hash],
    aeadKeyLength: AEAD_LENGTHS[aead].key,
    aeadNonceLength: AEAD_LENGTHS[aead].nonce,
    kemPublicKeyLength: kem.publicKeyLength,
    encapsulationEntropyLength: kem.secretKeyLength,
    hash: (content) => noble.hash(hash, content),
    mac: (key, content) => noble.hmac(hash, key, content),
    extract: (salt, ikm) => noble.hkdfExtract(hash, salt, ikm),
    expand: (prk, info, length) => noble.hkdfExpand(hash, prk, info, length),
    seal: (message, plaintext) => noble.aeadSeal(aead, message, plaintext),
    open: (message, ciphertext) => noble.aeadOpen(aead, message, ciphertext),
    ...signatures,
    deriveKeyPair: (ikm) => Promise.resolve(kem.deriveKeyPair(ikm)),
    ...hpkeCalls(parts),
  }
}

/** Suites 1 and 3, which are wholly made of what an implementation of the `Crypto` port has. */
export function ownSuites(crypto: Crypto): readonly CipherSuite[] {
  const chacha = { ...SUITES.interoperation, id: 3, mlsAead: 'chacha20poly1305' } as const
  return [cipherSuite(crypto, SUITES.interoperation), cipherSuite(crypto, chacha)]
}

/** Suites 1 to 7 in the order of their identifiers. */
export const registeredSuites: readonly CipherSuite[] = [
  ...ownSuites(noble),
  assembled({
    id: 2,
    kem: dhKems.p256,
    hash: 'sha256',
    aead: 'aes128gcm',
    signatures: ecdsa(p256),
  }),
  assembled({
    id: 4,
    kem: dhKems.x448,
    hash: 'sha512',
    aead: 'aes256gcm',
    signatures: ed448Signatures,
  }),
  assembled({
    id: 5,
    kem: dhKems.p521,
    hash: 'sha512',
    aead: 'aes256gcm',
    signatures: ecdsa(p521),
  }),
  assembled({
    id: 6,
    kem: dhKems.x448,
    hash: 'sha512',
    aead: 'chacha20poly1305',
    signatures: ed448Signatures,
  }),
  assembled({
    id: 7,
    kem: dhKems.p384,
    hash: 'sha384',
    aead: 'aes256gcm',
    signatures: ecdsa(p384),
  }),
].sort((a, b) => a.id - b.id)

/** The suite of an identifier; null for one outside of 1 to 7. */
export function registeredSuite(id: number): CipherSuite | null {
  return registeredSuites.find((suite) => suite.id === id) ?? null
}
