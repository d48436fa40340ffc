/**
 * The secret tree (RFC 9420 section 9) and keys of sender data (6.3.2) against published vectors:
 * each key in order, in reverse, and after all other leaves.
 */
import { deepStrictEqual, ok, strictEqual } from 'node:assert/strict'
import { toHex } from '#core/base/bytes.ts'
import type { CipherSuite } from '#core/mls/cipher-suite.ts'
import { senderDataKeyNonce } from '#core/mls/private-message.ts'
import { messageKey, type RatchetKind, secretTree } from '#core/mls/secret-tree.ts'
import { familyTest } from './families.ts'
import { hex } from './published.ts'

interface Generation {
  readonly generation: number
  readonly handshake_key: string
  readonly handshake_nonce: string
  readonly application_key: string
  readonly application_nonce: string
}
interface SecretTreeVector {
  readonly cipher_suite: number
  readonly encryption_secret: string
  readonly sender_data: {
    readonly sender_data_secret: string
    readonly ciphertext: string
    readonly key: string
    readonly nonce: string
  }
  readonly leaves: readonly (readonly Generation[])[]
}

familyTest<SecretTreeVector>('secret-tree', 'secret-tree*.json', (vector, suite) => {
  const { sender_data } = vector
  const secret = hex(sender_data.sender_data_secret)
  const { key, nonce } = senderDataKeyNonce(suite, secret, hex(sender_data.ciphertext))
  deepStrictEqual([toHex(key), toHex(nonce)], [sender_data.key, sender_data.nonce])
  const keys = keysOf(vector)
  ok(keys.length >= 2 * vector.leaves.length)
  checkKeys(suite, vector, keys)
  checkKeys(suite, vector, keys.toReversed())
})

interface PublishedKey {
  readonly leaf: number
  readonly ratchet: RatchetKind
  readonly generation: number
  readonly key: string
  readonly nonce: string
}

function keysOf(vector: SecretTreeVector): readonly PublishedKey[] {
  return vector.leaves.flatMap((generations, leaf) =>
    generations.flatMap(({ generation, ...each }): PublishedKey[] => [
      {
        leaf,
        ratchet: 'handshake',
        generation,
        key: each.handshake_key,
        nonce: each.handshake_nonce,
      },
      {
        leaf,
        ratchet: 'application',
        generation,
        key: each.application_key,
        nonce: each.application_nonce,
      },
    ])
  )
}

function checkKeys(
  suite: CipherSuite,
  vector: SecretTreeVector,
  keys: readonly PublishedKey[],
): void {
  let tree = secretTree(hex(vector.encryption_secret), vector.leaves.length)
  for (const { key, nonce, ...place } of keys) {
    const taken = messageKey(suite, tree, place)
    if (taken.kind === 'refused') throw new Error(`a key is refused: ${taken.code}`)
    deepStrictEqual([toHex(taken.key), toHex(taken.nonce)], [key, nonce])
    tree = taken.tree
    for (const secret of taken.consumed) secret.fill(0)
  }
  for (const { leaf, ratchet, generation } of keys) {
    const again = messageKey(suite, tree, { leaf, ratchet, generation })
    deepStrictEqual(again, { kind: 'refused', code: 'generationUsed' })
  }
  strictEqual(
    messageKey(suite, tree, { leaf: vector.leaves.length, ratchet: 'handshake', generation: 0 })
      .kind,
    'refused',
  )
}
