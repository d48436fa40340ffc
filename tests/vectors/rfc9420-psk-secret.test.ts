/** psk_secret (RFC 9420 section 8.4) against published vectors of none to ten keys. */
import { notDeepStrictEqual, strictEqual } from 'node:assert/strict'
import { toHex } from '#core/base/bytes.ts'
import { type Psk, pskSecret } from '#core/mls/psk.ts'
import { familyTest } from './families.ts'
import { hex } from './published.ts'

interface PskSecret {
  readonly cipher_suite: number
  readonly psks: readonly {
    readonly psk_id: string
    readonly psk: string
    readonly psk_nonce: string
  }[]
  readonly psk_secret: string
}

familyTest<PskSecret>('psk_secret', 'psk_secret*.json', (vector, suite) => {
  const psks = vector.psks.map(({ psk_id, psk, psk_nonce }): Psk => ({
    id: { kind: 'external', pskId: hex(psk_id), pskNonce: hex(psk_nonce) },
    secret: hex(psk),
  }))
  strictEqual(toHex(pskSecret(suite, psks)), vector.psk_secret)
  for (const [index, { psk }] of vector.psks.entries()) {
    strictEqual(toHex((psks[index] as Psk).secret), psk)
  }
  if (psks.length < 2) return
  notDeepStrictEqual(pskSecret(suite, psks.toReversed()), hex(vector.psk_secret))
  notDeepStrictEqual(pskSecret(suite, psks.slice(1)), hex(vector.psk_secret))
})
