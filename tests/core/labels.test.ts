/** Tests of the suites and of the table of labels. */
import { deepStrictEqual, ok, strictEqual } from 'node:assert/strict'
import { concat, toHex } from '#core/base/bytes.ts'
import { hpkeSuite } from '#core/crypto/hpke.ts'
import * as labels from '#core/crypto/labels.ts'
import { createNobleCrypto } from '#core/crypto/noble.ts'
import { AEAD_LENGTHS, HASH_LENGTHS, type Suite, suiteById, SUITES } from '#core/crypto/suites.ts'

const noble = createNobleCrypto()
const suites: readonly Suite[] = Object.values(SUITES)

Deno.test('suites are found by identifier, and classical IANA suites are not among ours', () => {
  for (const suite of suites) strictEqual(suiteById(suite.id), suite)
  for (const id of [0, 2, 3, 4, 7, 0xf000, 0xf005, 0xffff, -1, NaN]) {
    strictEqual(suiteById(id), null)
  }
  deepStrictEqual(suites.map((suite) => suite.id), [0xf003, 0xf004, 0x0001])
})

Deno.test('lengths of a suite are those of its algorithms', () => {
  for (const suite of suites) {
    strictEqual(suite.hashLength, HASH_LENGTHS[suite.hash])
    const lengths = suite.frameAead === null ? { key: 0, nonce: 0 } : AEAD_LENGTHS[suite.frameAead]
    strictEqual(suite.frameKeyLength, lengths.key)
    strictEqual(suite.frameNonceLength, lengths.nonce)
    strictEqual(hpkeSuite(suite).aead, suite.mlsAead)
  }
})

Deno.test('a label is its own name, in plain letters', () => {
  for (const [name, label] of Object.entries(labels.LABELS)) {
    strictEqual(label, name)
    ok(/^[a-zA-Z0-9]{1,64}$/.test(label))
  }
})

Deno.test('WIRE-7: a signature counts under its label only', async () => {
  const { secretKey, publicKey } = noble.signatureKeyPair('ed25519', new Uint8Array(32).fill(1))
  const content = new Uint8Array(40)
  const signing = { algorithm: 'ed25519', secretKey, content } as const
  const signature = await labels.signWithLabel(noble, { ...signing, label: 'frame' })
  const signed = { algorithm: 'ed25519', publicKey, content, signature } as const
  strictEqual(await labels.verifyWithLabel(noble, { ...signed, label: 'frame' }), true)
  strictEqual(await labels.verifyWithLabel(noble, { ...signed, label: 'frameBurst' }), false)
  strictEqual(await noble.verify('ed25519', { publicKey, content, signature }), false)
  const other = concat(content, Uint8Array.of(0))
  const extended = { ...signed, content: other, label: 'frame' } as const
  strictEqual(await labels.verifyWithLabel(noble, extended), false)
})

Deno.test('a derivation depends on secret, label, context and length', () => {
  const base = {
    secret: new Uint8Array(32).fill(1),
    label: 'senderKeyNode',
    context: new Uint8Array(4),
    length: 32,
  } as const
  const variants: readonly labels.LabelledExpansion[] = [
    base,
    { ...base, secret: new Uint8Array(32).fill(2) },
    { ...base, label: 'senderKeyLeaf' },
    { ...base, context: new Uint8Array(5) },
    { ...base, length: 31 },
  ]
  const outputs = variants.map((variant) => labels.expandWithLabel(noble, 'sha256', variant))
  const starts = outputs.map((output) => toHex(output.subarray(0, 31)))
  strictEqual(new Set(starts).size, variants.length)
  deepStrictEqual(outputs.map((output) => output.length), [32, 32, 32, 32, 31])
})

Deno.test('deriveSecret is as long as the hash and has no context', () => {
  for (const hash of ['sha256', 'sha384', 'sha512'] as const) {
    const secret = new Uint8Array(HASH_LENGTHS[hash]).fill(3)
    const derived = labels.deriveSecret(noble, hash, { secret, label: 'senderKeyChain' })
    const context = new Uint8Array(0)
    const length = HASH_LENGTHS[hash]
    const expansion = { secret, label: 'senderKeyChain', context, length } as const
    deepStrictEqual(derived, labels.expandWithLabel(noble, hash, expansion))
    deepStrictEqual(secret, new Uint8Array(length).fill(3))
  }
})
