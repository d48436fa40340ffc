/**
 * HPKE (RFC 9180, draft-ietf-hpke-pq) and X-Wing against published vectors: every case whose KEM,
 * KDF and AEAD are ours, on both implementations of the port.
 * The KEMs of the registered suites, which only tests have, are run beside them.
 */
import { deepStrictEqual, ok, strictEqual } from 'node:assert/strict'
import { toHex } from '#core/base/bytes.ts'
import type { Crypto, HashName, KemName } from '#core/crypto/crypto.ts'
import * as hpke from '#core/crypto/hpke.ts'
import { dhKems } from './dhkem.ts'
import { everyCase, type LeftOut } from './families.ts'
import { implementations } from './implementations.ts'
import { hex, vectorTest } from './published.ts'

interface HpkeVector {
  mode: number
  kem_id: number
  kdf_id: number
  aead_id: number
  info: string
  ikmE: string
  ikmR: string
  skRm: string
  pkRm: string
  enc: string
  shared_secret: string
  encryptions: { aad: string; ct: string; nonce: string; pt: string }[]
  exports: { exporter_context: string; L: number; exported_value: string }[]
}

interface XWingVector {
  seed: string
  eseed: string
  ss: string
  sk: string
  pk: string
  ct: string
}

const kems: Readonly<Record<number, KemName>> = {
  0x0020: 'x25519',
  0x647a: 'xwing',
  0x0051: 'mlkem1024p384',
}
const hashes: Readonly<Record<number, HashName>> = { 1: 'sha256', 2: 'sha384', 3: 'sha512' }
const aeads: Readonly<Record<number, hpke.HpkeAeadName>> = {
  1: 'aes128gcm',
  2: 'aes256gcm',
  3: 'chacha20poly1305',
}

const published = { folder: 'hpke-pq', pattern: '*.json' }

for (const [name, implementation] of implementations) {
  everyCase<HpkeVector>(`KEMs of draft-ietf-hpke-pq, ${name}`, published, async (vector) => {
    const kem = kems[vector.kem_id]
    if (kem === undefined) return foreign('KEM', vector.kem_id)
    await checkKem(implementation, kem, vector)
  })

  everyCase<HpkeVector>(`HPKE of draft-ietf-hpke-pq, ${name}`, published, async (vector) => {
    const kem = kems[vector.kem_id]
    const hash = hashes[vector.kdf_id]
    const aead = aeads[vector.aead_id]
    if (kem === undefined) return foreign('KEM', vector.kem_id)
    if (hash === undefined) return foreign('KDF', vector.kdf_id)
    if (aead === undefined) return foreign('AEAD', vector.aead_id)
    await checkHpke(implementation, { kem, hash, aead }, vector)
  })

  const ofXWing = { folder: 'xwing', pattern: '*.json' }
  everyCase<XWingVector>(`X-Wing, ${name}`, ofXWing, async ({ sk, pk, eseed, ct, ss }) => {
    const sent = await implementation.encapsulate('xwing', hex(pk), hex(eseed))
    deepStrictEqual(sent, { enc: hex(ct), sharedSecret: hex(ss) })
    deepStrictEqual(await implementation.decapsulate('xwing', hex(sk), hex(ct)), hex(ss))
  })
}

vectorTest<HpkeVector[]>(
  'the published cases have both hybrids with the KDF and the AEAD of their suites',
  'hpke-pq/test-vectors.json',
  (vectors) => {
    for (const ids of [[0x647a, 1, 3], [0x0051, 2, 2]]) {
      ok(
        vectors.some((vector) =>
          [vector.kem_id, vector.kdf_id, vector.aead_id].every((id, index) => id === ids[index])
        ),
      )
    }
  },
)

everyCase<HpkeVector>('DHKEM of the tests of registered suites', published, (vector) => {
  const kem = Object.values(dhKems).find(({ id }) => id === vector.kem_id)
  if (kem === undefined) return foreign('KEM', vector.kem_id)
  // The published secret key of X448 is clamped (RFC 9180 section 7.1.2), and so another string.
  const pair = kem.deriveKeyPair(hex(vector.ikmR))
  strictEqual(toHex(pair.publicKey), vector.pkRm)
  const sent = kem.encapsulate(pair.publicKey, hex(vector.ikmE))
  deepStrictEqual(sent, { enc: hex(vector.enc), sharedSecret: hex(vector.shared_secret) })
  for (const secretKey of [pair.secretKey, hex(vector.skRm)]) {
    deepStrictEqual(kem.decapsulate(secretKey, hex(vector.enc)), hex(vector.shared_secret))
  }
})

function foreign(what: string, id: number): LeftOut {
  return { kind: 'leftOut', reason: `${what} 0x${id.toString(16).padStart(4, '0')}` }
}

async function checkKem(crypto: Crypto, kem: KemName, vector: HpkeVector): Promise<void> {
  const pair = await crypto.kemKeyPair(kem, hex(vector.ikmR))
  strictEqual(toHex(pair.secretKey), vector.skRm)
  strictEqual(toHex(pair.publicKey), vector.pkRm)
  const sent = await crypto.encapsulate(kem, pair.publicKey, hex(vector.ikmE))
  ok(sent !== null)
  strictEqual(toHex(sent.enc), vector.enc)
  strictEqual(toHex(sent.sharedSecret), vector.shared_secret)
  const received = await crypto.decapsulate(kem, pair.secretKey, sent.enc)
  deepStrictEqual(received, sent.sharedSecret)
}

async function checkHpke(crypto: Crypto, suite: hpke.HpkeSuite, vector: HpkeVector): Promise<void> {
  strictEqual(vector.mode, 0)
  const info = hex(vector.info)
  const sending = { publicKey: hex(vector.pkRm), info, randomness: hex(vector.ikmE) }
  const receiving = { secretKey: hex(vector.skRm), enc: hex(vector.enc), info }
  const sender = await hpke.setupBaseSender(crypto, suite, sending)
  const receiver = await hpke.setupBaseReceiver(crypto, suite, receiving)
  ok(sender !== null && receiver !== null)
  strictEqual(toHex(sender.enc), vector.enc)
  ok(vector.encryptions.length > 1 && vector.exports.length > 0)
  for (const { aad, pt, ct } of vector.encryptions) {
    strictEqual(toHex(sender.context.seal(hex(aad), hex(pt))), ct)
    strictEqual(receiver.open(hex(aad), hex(ct + '00')), null)
    deepStrictEqual(receiver.open(hex(aad), hex(ct)), hex(pt))
  }
  for (const { exporter_context, L, exported_value } of vector.exports) {
    strictEqual(toHex(receiver.exportSecret(hex(exporter_context), L)), exported_value)
    const exporting = { exporterContext: hex(exporter_context), length: L }
    const exported = await hpke.hpkeSendExport(crypto, suite, { ...sending, ...exporting })
    strictEqual(exported && toHex(exported.exported), exported_value)
    const imported = await hpke.hpkeReceiveExport(crypto, suite, { ...receiving, ...exporting })
    strictEqual(imported && toHex(imported), exported_value)
  }
  const { aad, pt, ct } = vector.encryptions[0] as HpkeVector['encryptions'][number]
  const sealed = await hpke.hpkeSeal(crypto, suite, {
    ...sending,
    aad: hex(aad),
    plaintext: hex(pt),
  })
  deepStrictEqual(sealed, { enc: hex(vector.enc), ciphertext: hex(ct) })
  const opened = await hpke.hpkeOpen(crypto, suite, {
    ...receiving,
    aad: hex(aad),
    ciphertext: hex(ct),
  })
  deepStrictEqual(opened, hex(pt))
}
