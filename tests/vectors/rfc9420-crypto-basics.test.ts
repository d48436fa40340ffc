/**
 * The labelled primitives of RFC 9420 (sections 5.1.2, 5.1.3, 5.2, 8 and 9) against published
 * vectors: suites 1 to 7, and those of the product on every implementation of the `Crypto` port.
 */
import { deepStrictEqual, notDeepStrictEqual, ok, strictEqual } from 'node:assert/strict'
import { toHex } from '#core/base/bytes.ts'
import type { Entropy } from '#core/base/ports.ts'
import { encodeSignContent } from '#core/crypto/labels.ts'
import type { CipherSuite } from '#core/mls/cipher-suite.ts'
import {
  decryptWithLabel,
  deriveSecret,
  encryptWithLabel,
  expandWithLabel,
  type MlsEncryptionLabel,
  type MlsSignatureLabel,
  refHash,
  signWithLabel,
  verifyWithLabel,
} from '#core/mls/labelled.ts'
import { createPrng } from '../core/prng.ts'
import { type CryptoBasics, uint32 } from './crypto-basics.ts'
import { familyTest, plainFamilyTest } from './families.ts'
import { implementations, noble } from './implementations.ts'
import { hex } from './published.ts'
import { ownSuites } from './suites.ts'

familyTest<CryptoBasics>('crypto-basics', 'crypto-basics*.json', checkAll)

for (const [name, implementation] of implementations) {
  if (implementation === noble) continue
  const suites = ownSuites(implementation)
  plainFamilyTest<CryptoBasics>(`crypto-basics, ${name}`, 'crypto-basics*.json', (vector) => {
    const suite = suites.find(({ id }) => id === vector.cipher_suite)
    if (suite !== undefined) return checkAll(vector, suite)
    return { kind: 'leftOut', reason: 'suite not of the product' }
  })
}

/** The same bytes for the same seed. */
function seeded(seed: number): Entropy {
  const prng = createPrng(seed)
  return { randomBytes: (length) => prng.bytes(length) }
}

async function checkAll(vector: CryptoBasics, suite: CipherSuite): Promise<void> {
  checkDerivations(vector, suite)
  checkRefHash(vector, suite)
  await checkSignature(vector, suite)
  await checkEncryption(vector, suite)
}

function checkDerivations(vector: CryptoBasics, suite: CipherSuite): void {
  const { expand_with_label, derive_secret, derive_tree_secret } = vector
  const expanded = expandWithLabel(suite, hex(expand_with_label.secret), {
    label: expand_with_label.label,
    context: hex(expand_with_label.context),
    length: expand_with_label.length,
  })
  strictEqual(toHex(expanded), expand_with_label.out)
  const derived = deriveSecret(suite, hex(derive_secret.secret), derive_secret.label)
  strictEqual(toHex(derived), derive_secret.out)
  const ofTree = expandWithLabel(suite, hex(derive_tree_secret.secret), {
    label: derive_tree_secret.label,
    context: uint32(derive_tree_secret.generation),
    length: derive_tree_secret.length,
  })
  strictEqual(toHex(ofTree), derive_tree_secret.out)
}

/** The vector has a label that no reference has; RefHashInput has the form of SignContent. */
function checkRefHash({ ref_hash }: CryptoBasics, suite: CipherSuite): void {
  const value = hex(ref_hash.value)
  strictEqual(toHex(suite.hash(encodeSignContent(ref_hash.label, value))), ref_hash.out)
  for (const kind of ['KeyPackage', 'Proposal'] as const) {
    const input = encodeSignContent(`MLS 1.0 ${kind} Reference`, value)
    deepStrictEqual(refHash(suite, kind, value), suite.hash(input))
  }
}

async function checkSignature({ sign_with_label }: CryptoBasics, suite: CipherSuite) {
  const { pub, priv } = sign_with_label
  const publicKey = hex(pub)
  const content = hex(sign_with_label.content)
  const label = sign_with_label.label as MlsSignatureLabel
  const published = hex(sign_with_label.signature)
  const verifies = (signature: Uint8Array) =>
    verifyWithLabel(suite, { publicKey, label, content, signature })
  ok(await verifies(published))
  const own = await signWithLabel(suite, hex(priv), { label, content })
  ok(await verifies(own))
  published[published.length - 1] = (published[published.length - 1] as number) ^ 1
  strictEqual(await verifies(published), false)
  const other = { publicKey, label: 'GroupInfoTBS', content, signature: own } as const
  strictEqual(await verifyWithLabel(suite, other), false)
}

async function checkEncryption({ encrypt_with_label: sealed }: CryptoBasics, suite: CipherSuite) {
  const label = sealed.label as MlsEncryptionLabel
  const context = hex(sealed.context)
  const plaintext = hex(sealed.plaintext)
  const published = { kemOutput: hex(sealed.kem_output), ciphertext: hex(sealed.ciphertext) }
  const opens = (from: typeof published) =>
    decryptWithLabel(suite, hex(sealed.priv), { ...from, label, context })
  deepStrictEqual(await opens(published), plaintext)
  const to = { publicKey: hex(sealed.pub), label, context, plaintext }
  const own = await encryptWithLabel(suite, to, seeded(suite.id))
  ok(own !== null)
  notDeepStrictEqual(own, published)
  deepStrictEqual(await opens(own), plaintext)
  strictEqual(await opens({ ...own, kemOutput: published.kemOutput }), null)
  strictEqual(await opens({ ...own, kemOutput: own.kemOutput.subarray(1) }), null)
  const malformed = { ...to, publicKey: to.publicKey.subarray(1) }
  strictEqual(await encryptWithLabel(suite, malformed, seeded(suite.id)), null)
}
