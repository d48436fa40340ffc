/**
 * The label constructions under a prefix of ours: they frame as those of RFC 9420 do, which the
 * published vectors show, so that only the prefix is left to trust. ECDSA in the DER form of RFC
 * 9420 on both implementations of the port.
 */
import { deepStrictEqual, strictEqual } from 'node:assert/strict'
import { concat, utf8Encode } from '#core/base/bytes.ts'
import { encodeKdfLabel, encodeSignContent } from '#core/crypto/labels.ts'
import type { CryptoBasics } from './crypto-basics.ts'
import { implementations } from './implementations.ts'
import { hex, vectorTest } from './published.ts'

for (const [name, implementation] of implementations) {
  vectorTest<CryptoBasics[]>(
    `SignWithLabel with P-384, ${name}`,
    'mls/crypto-basics.json',
    async (vectors) => {
      const vector = vectors.find(({ cipher_suite }) => cipher_suite === 7)
      const { pub, priv, label, ...signed } = (vector as CryptoBasics).sign_with_label
      const publicKey = hex(pub)
      const content = encodeSignContent('MLS 1.0 ' + label, hex(signed.content))
      const own = await implementation.sign('p384', hex(priv), content)
      for (const signature of [hex(signed.signature), own]) {
        strictEqual(await implementation.verify('p384', { publicKey, content, signature }), true)
        signature[signature.length - 1] = (signature[signature.length - 1] as number) ^ 1
        strictEqual(await implementation.verify('p384', { publicKey, content, signature }), false)
      }
    },
  )
}

Deno.test('a label with our prefix stands whole in what is signed and expanded', () => {
  const content = encodeSignContent('Kalandra 1.0 frame', hex('0102'))
  deepStrictEqual(content, concat(hex('12'), utf8Encode('Kalandra 1.0 frame'), hex('020102')))
  const kdf = encodeKdfLabel({ label: 'Kalandra 1.0 x', context: hex('03'), length: 32 })
  deepStrictEqual(kdf, concat(hex('00200e'), utf8Encode('Kalandra 1.0 x'), hex('0103')))
})
