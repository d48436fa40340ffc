/**
 * A cipher suite for random histories that is fast and not secret: every primitive is one mixing
 * function over 256 bits, so that a history costs what the engine costs. It keeps what faults of
 * the engine show in: other input gives other output, a signature is of one key and one content,
 * and a ciphertext opens with the key that it was sealed to, whole. Anybody can forge its
 * signatures. Owns no real algorithm; histories on the product's own suites stand beside it.
 */
import { concat, equalBytes } from '#core/base/bytes.ts'
import type { KeyPair } from '#core/crypto/crypto.ts'
import type { CipherSuite } from '#core/mls/cipher-suite.ts'
import { mix, MIX_WIDTH } from '../support/mixer.ts'

const TAG_LENGTH = 16
const PURPOSE = {
  hash: 1,
  mac: 2,
  extract: 3,
  expand: 4,
  stream: 5,
  tag: 6,
  signatureKey: 7,
  signature: 8,
  kemSecret: 9,
  kemPublic: 10,
  shared: 11,
  hpkeKey: 12,
  exported: 13,
} as const

interface Sealing {
  readonly key: Uint8Array
  readonly nonce: Uint8Array
  readonly aad: Uint8Array
}

function crypt({ key, nonce }: Sealing, text: Uint8Array): Uint8Array<ArrayBuffer> {
  const out = mix(PURPOSE.stream, [key, nonce], text.length)
  for (let at = 0; at < out.length; at++) out[at] = (out[at] as number) ^ (text[at] as number)
  return out
}

function tagOf({ key, nonce, aad }: Sealing, ciphertext: Uint8Array): Uint8Array {
  return mix(PURPOSE.tag, [key, nonce, aad, ciphertext], TAG_LENGTH)
}

function seal(message: Sealing, plaintext: Uint8Array): Uint8Array {
  const ciphertext = crypt(message, plaintext)
  return concat(ciphertext, tagOf(message, ciphertext))
}

function open(message: Sealing, sealed: Uint8Array): Uint8Array | null {
  if (sealed.length < TAG_LENGTH) return null
  const ciphertext = sealed.subarray(0, sealed.length - TAG_LENGTH)
  const tag = sealed.subarray(ciphertext.length)
  return equalBytes(tag, tagOf(message, ciphertext)) ? crypt(message, ciphertext) : null
}

function keyPair(secretKey: Uint8Array<ArrayBuffer>, purpose: number): KeyPair {
  return { secretKey, publicKey: mix(purpose, [secretKey]) }
}

function hpkeMessage(publicKey: Uint8Array, enc: Uint8Array, info: Uint8Array): Sealing {
  const shared = mix(PURPOSE.shared, [publicKey, enc])
  const key = mix(PURPOSE.hpkeKey, [shared, info])
  return { key, nonce: new Uint8Array(12), aad: new Uint8Array(0) }
}

function receiving(secretKey: Uint8Array, enc: Uint8Array, info: Uint8Array): Sealing | null {
  if (enc.length !== MIX_WIDTH) return null
  return hpkeMessage(mix(PURPOSE.kemPublic, [secretKey]), enc, info)
}

/** Identifiers for private use. */
export const STAND_INS = [0xf0f1, 0xf0f2] as const

/** A suite of this kind under an identifier of one's own; two of them share no ciphertext. */
export function standInSuite(id: number): CipherSuite {
  const salt = Uint8Array.of(id >>> 8, id & 0xff)
  return {
    id,
    hashLength: MIX_WIDTH,
    aeadKeyLength: MIX_WIDTH,
    aeadNonceLength: 12,
    signatureSeedLength: MIX_WIDTH,
    kemPublicKeyLength: MIX_WIDTH,
    encapsulationEntropyLength: MIX_WIDTH,
    hash: (content) => mix(PURPOSE.hash, [salt, content]),
    mac: (key, content) => mix(PURPOSE.mac, [salt, key, content]),
    extract: (given, ikm) => mix(PURPOSE.extract, [salt, given, ikm]),
    expand: (prk, info, length) => mix(PURPOSE.expand, [salt, prk, info], length),
    seal,
    open,
    signatureKeyPair: (seed) => keyPair(Uint8Array.from(seed), PURPOSE.signatureKey),
    sign: (secretKey, content) =>
      Promise.resolve(
        mix(PURPOSE.signature, [salt, mix(PURPOSE.signatureKey, [secretKey]), content]),
      ),
    verify: ({ publicKey, content, signature }) =>
      Promise.resolve(
        equalBytes(signature, mix(PURPOSE.signature, [salt, publicKey, content])),
      ),
    deriveKeyPair: (ikm) =>
      Promise.resolve(keyPair(mix(PURPOSE.kemSecret, [ikm]), PURPOSE.kemPublic)),
    hpkeSeal({ publicKey, info, randomness }, plaintext) {
      if (publicKey.length !== MIX_WIDTH) return Promise.resolve(null)
      const enc = randomness.slice()
      return Promise.resolve({
        enc,
        ciphertext: seal(hpkeMessage(publicKey, enc, info), plaintext),
      })
    },
    hpkeOpen({ secretKey, enc, info }, ciphertext) {
      const message = receiving(secretKey, enc, info)
      return Promise.resolve(message && open(message, ciphertext))
    },
    hpkeSendExport({ publicKey, info, randomness }, { exporterContext, length }) {
      if (publicKey.length !== MIX_WIDTH) return Promise.resolve(null)
      const enc = randomness.slice()
      const { key } = hpkeMessage(publicKey, enc, info)
      const exported = mix(PURPOSE.exported, [key, exporterContext], length)
      return Promise.resolve({ enc, exported })
    },
    hpkeReceiveExport({ secretKey, enc, info }, { exporterContext, length }) {
      const message = receiving(secretKey, enc, info)
      return Promise.resolve(
        message && mix(PURPOSE.exported, [message.key, exporterContext], length),
      )
    },
  }
}
