/**
 * HPKE in base mode (RFC 9180) over the `Crypto` port: key schedule, single-shot seal and open,
 * contexts with more than one message, and secret export. Owns no KEM (see `kem.ts`). Intermediate
 * secrets are wiped; keys that a context keeps are wiped by `wipe`.
 */
import { assert } from '#core/base/assert.ts'
import { concat, EMPTY, utf8Encode, wipe } from '#core/base/bytes.ts'
import type { AeadName, Crypto, HashName, KemName } from '#core/crypto/crypto.ts'
import { KEM_IDS, labeledExpand, labeledExtract, uint16 } from '#core/crypto/kem.ts'
import { AEAD_LENGTHS, HASH_LENGTHS, type Suite } from '#core/crypto/suites.ts'

/** AEADs that have an identifier in the HPKE registry. */
export type HpkeAeadName = Exclude<AeadName, 'xchacha20poly1305'>

export interface HpkeSuite {
  readonly kem: KemName
  readonly hash: HashName
  readonly aead: HpkeAeadName
}

/** RFC 9180 section 7.2. */
const KDF_IDS: Readonly<Record<HashName, number>> = { sha256: 1, sha384: 2, sha512: 3 }
/** RFC 9180 section 7.3. */
const AEAD_IDS: Readonly<Record<HpkeAeadName, number>> = {
  aes128gcm: 1,
  aes256gcm: 2,
  chacha20poly1305: 3,
}
const MODE_BASE = Uint8Array.of(0)

/** The HPKE of an MLS cipher suite (RFC 9420 section 17.1). */
export function hpkeSuite({ kem, hash, mlsAead }: Suite): HpkeSuite {
  assert(mlsAead !== 'xchacha20poly1305', 'the AEAD of MLS is registered for HPKE')
  return { kem, hash, aead: mlsAead }
}

/** Where a sender's or a receiver's context starts. */
export interface HpkeSending {
  readonly publicKey: Uint8Array
  readonly info: Uint8Array
  /** `kemRandomnessLength(kem)` fresh bytes; the caller wipes them. */
  readonly randomness: Uint8Array
}
export interface HpkeReceiving {
  readonly secretKey: Uint8Array
  readonly enc: Uint8Array
  readonly info: Uint8Array
}

/** One direction of messages under one encapsulation (RFC 9180 section 5.2). */
export interface HpkeContext {
  /** Seals the next message. */
  seal(aad: Uint8Array, plaintext: Uint8Array): Uint8Array
  /** Opens the next message; null, without going on to the next, when it does not verify. */
  open(aad: Uint8Array, ciphertext: Uint8Array): Uint8Array | null
  /** Secret export (RFC 9180 section 5.3). `length` in bytes. */
  exportSecret(exporterContext: Uint8Array, length: number): Uint8Array
  /** Ends the context. */
  wipe(): void
}

export interface HpkeSender {
  readonly enc: Uint8Array
  readonly context: HpkeContext
}

/** SetupBaseS (RFC 9180 section 5.1.1); null for a malformed public key. */
export async function setupBaseSender(
  crypto: Crypto,
  suite: HpkeSuite,
  { publicKey, info, randomness }: HpkeSending,
): Promise<HpkeSender | null> {
  const encapsulation = await crypto.encapsulate(suite.kem, publicKey, randomness)
  if (encapsulation === null) return null
  const { enc, sharedSecret } = encapsulation
  return { enc, context: keySchedule(crypto, suite, { sharedSecret, info }) }
}

/** SetupBaseR (RFC 9180 section 5.1.1); null for a malformed encapsulation. */
export async function setupBaseReceiver(
  crypto: Crypto,
  suite: HpkeSuite,
  { secretKey, enc, info }: HpkeReceiving,
): Promise<HpkeContext | null> {
  const sharedSecret = await crypto.decapsulate(suite.kem, secretKey, enc)
  return sharedSecret === null ? null : keySchedule(crypto, suite, { sharedSecret, info })
}

export interface HpkeSealed {
  readonly enc: Uint8Array
  readonly ciphertext: Uint8Array
}

/** SealBase (RFC 9180 section 6.1); null for a malformed public key. */
export async function hpkeSeal(
  crypto: Crypto,
  suite: HpkeSuite,
  sealing: HpkeSending & { readonly aad: Uint8Array; readonly plaintext: Uint8Array },
): Promise<HpkeSealed | null> {
  const sender = await setupBaseSender(crypto, suite, sealing)
  if (sender === null) return null
  const ciphertext = sender.context.seal(sealing.aad, sealing.plaintext)
  sender.context.wipe()
  return { enc: sender.enc, ciphertext }
}

/** OpenBase (RFC 9180 section 6.1); null when encapsulation or ciphertext do not verify. */
export async function hpkeOpen(
  crypto: Crypto,
  suite: HpkeSuite,
  opening: HpkeReceiving & { readonly aad: Uint8Array; readonly ciphertext: Uint8Array },
): Promise<Uint8Array | null> {
  const context = await setupBaseReceiver(crypto, suite, opening)
  if (context === null) return null
  const plaintext = context.open(opening.aad, opening.ciphertext)
  context.wipe()
  return plaintext
}

export interface HpkeExport {
  readonly exporterContext: Uint8Array
  /** Bytes of output. */
  readonly length: number
}

/** SendExportBase (RFC 9180 section 6.2); null for a malformed public key. */
export async function hpkeSendExport(
  crypto: Crypto,
  suite: HpkeSuite,
  sending: HpkeSending & HpkeExport,
): Promise<{ readonly enc: Uint8Array; readonly exported: Uint8Array } | null> {
  const sender = await setupBaseSender(crypto, suite, sending)
  if (sender === null) return null
  const exported = sender.context.exportSecret(sending.exporterContext, sending.length)
  sender.context.wipe()
  return { enc: sender.enc, exported }
}

/** ReceiveExportBase (RFC 9180 section 6.2); null for a malformed encapsulation. */
export async function hpkeReceiveExport(
  crypto: Crypto,
  suite: HpkeSuite,
  receiving: HpkeReceiving & HpkeExport,
): Promise<Uint8Array | null> {
  const context = await setupBaseReceiver(crypto, suite, receiving)
  if (context === null) return null
  const exported = context.exportSecret(receiving.exporterContext, receiving.length)
  context.wipe()
  return exported
}

/** KeySchedule in base mode (RFC 9180 section 5.1). Wipes the shared secret. */
function keySchedule(
  crypto: Crypto,
  suite: HpkeSuite,
  input: { readonly sharedSecret: Uint8Array; readonly info: Uint8Array },
): HpkeContext {
  const { hash, aead } = suite
  const suiteId = hpkeSuiteId(suite)
  const extract = (salt: Uint8Array, label: string, ikm: Uint8Array) =>
    labeledExtract(crypto, { hash, suiteId, salt, label, ikm })
  const schedule = concat(
    MODE_BASE,
    extract(EMPTY, 'psk_id_hash', EMPTY),
    extract(EMPTY, 'info_hash', input.info),
  )
  const secret = extract(input.sharedSecret, 'secret', EMPTY)
  const expand = (label: string, length: number) =>
    labeledExpand(crypto, { hash, suiteId, prk: secret, label, info: schedule, length })
  const key = expand('key', AEAD_LENGTHS[aead].key)
  const baseNonce = expand('base_nonce', AEAD_LENGTHS[aead].nonce)
  const exporterSecret = expand('exp', HASH_LENGTHS[hash])
  wipe(input.sharedSecret, secret)
  return createContext(crypto, suite, { key, baseNonce, exporterSecret })
}

interface ContextSecrets {
  readonly key: Uint8Array
  readonly baseNonce: Uint8Array
  readonly exporterSecret: Uint8Array
}

function createContext(crypto: Crypto, suite: HpkeSuite, secrets: ContextSecrets): HpkeContext {
  const { key, baseNonce, exporterSecret } = secrets
  const { hash, aead } = suite
  let sequence = 0
  let wiped = false
  const keyed = (aad: Uint8Array) => {
    assert(!wiped, 'a context is not used after its end')
    assert(sequence < Number.MAX_SAFE_INTEGER, 'a context does not repeat a nonce')
    return { key, nonce: nonceAt(baseNonce, sequence), aad }
  }
  return {
    seal(aad, plaintext) {
      const ciphertext = crypto.aeadSeal(aead, keyed(aad), plaintext)
      sequence++
      return ciphertext
    },
    open(aad, ciphertext) {
      const plaintext = crypto.aeadOpen(aead, keyed(aad), ciphertext)
      if (plaintext !== null) sequence++
      return plaintext
    },
    exportSecret(exporterContext, length) {
      assert(!wiped, 'a context is not used after its end')
      return labeledExpand(crypto, {
        hash,
        suiteId: hpkeSuiteId(suite),
        prk: exporterSecret,
        label: 'sec',
        info: exporterContext,
        length,
      })
    },
    wipe() {
      wiped = true
      wipe(key, baseNonce, exporterSecret)
    },
  }
}

/** ComputeNonce (RFC 9180 section 5.2). */
function nonceAt(baseNonce: Uint8Array, sequence: number): Uint8Array {
  const nonce = baseNonce.slice()
  let left = sequence
  for (let i = nonce.length - 1; left > 0; i--) {
    nonce[i] = (nonce[i] as number) ^ (left % 256)
    left = Math.floor(left / 256)
  }
  return nonce
}

function hpkeSuiteId({ kem, hash, aead }: HpkeSuite): Uint8Array {
  const ids = [KEM_IDS[kem], KDF_IDS[hash], AEAD_IDS[aead]]
  return concat(utf8Encode('HPKE'), ...ids.map(uint16))
}
