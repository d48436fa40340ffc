/**
 * The label constructions of RFC 9420 against the published vectors (crypto-basics): the same
 * framing as ours under the prefix of MLS, so that only the prefix is left to trust. Their
 * EncryptWithLabel covers DHKEM(X25519) with two AEADs.
 */
import { deepStrictEqual, strictEqual } from 'node:assert/strict'
import { concat, toHex, utf8Encode } from '#core/base/bytes.ts'
import type { HashName, SignatureName } from '#core/crypto/crypto.ts'
import { type HpkeAeadName, hpkeOpen } from '#core/crypto/hpke.ts'
import { encodeKdfLabel, encodeSignContent } from '#core/crypto/labels.ts'
import { implementations, noble } from './implementations.ts'
import { hex, vectorTest } from './published.ts'

interface CryptoBasics {
  cipher_suite: number
  expand_with_label: { label: string; context: string; length: number; out: string; secret: string }
  derive_secret: { label: string; out: string; secret: string }
  derive_tree_secret: {
    label: string
    generation: number
    length: number
    out: string
    secret: string
  }
  sign_with_label: { label: string; content: string; priv: string; pub: string; signature: string }
  encrypt_with_label: {
    label: string
    context: string
    kem_output: string
    ciphertext: string
    plaintext: string
    priv: string
    pub: string
  }
}

const hashBySuite: Readonly<Record<number, HashName>> = {
  1: 'sha256',
  2: 'sha256',
  3: 'sha256',
  4: 'sha512',
  5: 'sha512',
  6: 'sha512',
  7: 'sha384',
}
const signatureBySuite: Readonly<Record<number, SignatureName>> = {
  1: 'ed25519',
  3: 'ed25519',
  7: 'p384',
}
const x25519AeadBySuite: Readonly<Record<number, HpkeAeadName>> = {
  1: 'aes128gcm',
  3: 'chacha20poly1305',
}
const FILE = 'mls/crypto-basics.json'
const uint32 = (value: number) => hex(value.toString(16).padStart(8, '0'))

function expand(
  hash: HashName,
  fields: { label: string; context: Uint8Array; length: number; secret: string },
) {
  const { label, context, length, secret } = fields
  const kdfLabel = encodeKdfLabel({ label: 'MLS 1.0 ' + label, context, length })
  return toHex(noble.hkdfExpand(hash, hex(secret), kdfLabel, length))
}

vectorTest<CryptoBasics[]>('ExpandWithLabel, DeriveSecret, DeriveTreeSecret', FILE, (vectors) => {
  strictEqual(vectors.length, 7)
  for (const vector of vectors) {
    const hash = hashBySuite[vector.cipher_suite] as HashName
    const { expand_with_label, derive_secret, derive_tree_secret } = vector
    const context = hex(expand_with_label.context)
    strictEqual(expand(hash, { ...expand_with_label, context }), expand_with_label.out)
    const length = derive_secret.out.length / 2
    const derived = expand(hash, { ...derive_secret, context: new Uint8Array(0), length })
    strictEqual(derived, derive_secret.out)
    const generation = uint32(derive_tree_secret.generation)
    strictEqual(
      expand(hash, { ...derive_tree_secret, context: generation }),
      derive_tree_secret.out,
    )
  }
})

for (const [name, implementation] of implementations) {
  vectorTest<CryptoBasics[]>(`SignWithLabel, ${name}`, FILE, async (vectors) => {
    let cases = 0
    for (const { cipher_suite, sign_with_label } of vectors) {
      const signature = signatureBySuite[cipher_suite]
      if (signature === undefined) continue
      cases++
      const publicKey = hex(sign_with_label.pub)
      const content = encodeSignContent(
        'MLS 1.0 ' + sign_with_label.label,
        hex(sign_with_label.content),
      )
      const published = hex(sign_with_label.signature)
      strictEqual(
        await implementation.verify(signature, { publicKey, content, signature: published }),
        true,
      )
      const own = await implementation.sign(signature, hex(sign_with_label.priv), content)
      strictEqual(
        await implementation.verify(signature, { publicKey, content, signature: own }),
        true,
      )
      if (signature === 'ed25519') deepStrictEqual(own, published)
    }
    strictEqual(cases, 3)
  })

  vectorTest<CryptoBasics[]>(`EncryptWithLabel with X25519, ${name}`, FILE, async (vectors) => {
    let cases = 0
    for (const { cipher_suite, encrypt_with_label: sealed } of vectors) {
      const aead = x25519AeadBySuite[cipher_suite]
      if (aead === undefined) continue
      cases++
      const suite = { kem: 'x25519', hash: 'sha256', aead } as const
      // EncryptContext has the form of SignContent (RFC 9420 section 5.1.3).
      const opened = await hpkeOpen(implementation, suite, {
        secretKey: hex(sealed.priv),
        enc: hex(sealed.kem_output),
        info: encodeSignContent('MLS 1.0 ' + sealed.label, hex(sealed.context)),
        aad: new Uint8Array(0),
        ciphertext: hex(sealed.ciphertext),
      })
      deepStrictEqual(opened, hex(sealed.plaintext))
    }
    strictEqual(cases, 2)
  })
}

Deno.test('a label with our prefix stands whole in what is signed and expanded', () => {
  const content = encodeSignContent('Kalandra 1.0 frame', hex('0102'))
  deepStrictEqual(content, concat(hex('12'), utf8Encode('Kalandra 1.0 frame'), hex('020102')))
  const kdf = encodeKdfLabel({ label: 'Kalandra 1.0 x', context: hex('03'), length: 32 })
  deepStrictEqual(kdf, concat(hex('00200e'), utf8Encode('Kalandra 1.0 x'), hex('0103')))
})
