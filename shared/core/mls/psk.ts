/**
 * Pre-shared keys (RFC 9420 section 8.4): how a list of them becomes the one psk_secret of the key
 * schedule. Owns no store of keys, and wipes none of the caller's.
 */
import { wipe } from '#core/base/bytes.ts'
import type { CipherSuite } from '#core/mls/cipher-suite.ts'
import { expandWithLabel } from '#core/mls/labelled.ts'
import { type PreSharedKeyId, preSharedKeyId } from '#core/mls/proposal.ts'
import { encode, struct, u16 } from '#core/wire/codec.ts'

export interface Psk {
  readonly id: PreSharedKeyId
  readonly secret: Uint8Array
}

const pskLabel = struct({ id: preSharedKeyId, index: u16, count: u16 })

/**
 * psk_secret of a list in the order of its proposals, at most 65,535; zeros for none. The caller
 * wipes it.
 */
export function pskSecret(suite: CipherSuite, psks: readonly Psk[]): Uint8Array {
  const zeros = new Uint8Array(suite.hashLength)
  let chained: Uint8Array = new Uint8Array(suite.hashLength)
  for (const [index, { id, secret }] of psks.entries()) {
    const extracted = suite.extract(zeros, secret)
    const input = expandWithLabel(suite, extracted, {
      label: 'derived psk',
      context: encode(pskLabel, { id, index, count: psks.length }),
      length: suite.hashLength,
    })
    const next = suite.extract(input, chained)
    wipe(extracted, input, chained)
    chained = next
  }
  return chained
}
