/**
 * What the hub reads from a KeyPackage that a device publishes (DIR-1): that it could be added to a
 * room, and whose it says to be. Owns no store and no rule of who may publish what.
 */
import type { Crypto } from '#core/crypto/crypto.ts'
import { type Suite, suiteById } from '#core/crypto/suites.ts'
import { cipherSuite } from '#core/mls/cipher-suite.ts'
import { decodeMlsMessage } from '#core/mls/framing.ts'
import { keyPackageRef } from '#core/mls/key-package.ts'
import type { LeafNode } from '#core/mls/leaf-node.ts'
import { validateKeyPackage } from '#core/mls/leaf-validation.ts'
import { roomExtensions } from '#core/policy/room-policy.ts'

export interface ReadKeyPackage {
  readonly kind: 'read'
  readonly suite: Suite
  readonly reference: Uint8Array
  readonly leafNode: LeafNode
  /** Milliseconds since 1970. */
  readonly notAfter: number
}

export type KeyPackageReading =
  | ReadKeyPackage
  | { readonly kind: 'malformed' }
  | { readonly kind: 'unknownSuite'; readonly suite: number }

/** Reads a KeyPackage in an MLSMessage, its signatures checked; its lifetime is not judged. */
export async function readKeyPackage(
  crypto: Crypto,
  message: Uint8Array,
): Promise<KeyPackageReading> {
  const keyPackage = decodeMlsMessage('keyPackage', message)?.keyPackage ?? null
  if (keyPackage === null) return { kind: 'malformed' }
  const { leafNode, cipherSuite: suiteId } = keyPackage
  const suite = suiteById(suiteId)
  if (suite === null) return { kind: 'unknownSuite', suite: suiteId }
  const engine = cipherSuite(crypto, suite)
  const group = { cipherSuite: suite.id, extensions: roomExtensions() }
  const fault = await validateKeyPackage(engine, keyPackage, { group, timeMs: null })
  if (fault !== null || leafNode.source.kind !== 'keyPackage') return { kind: 'malformed' }
  return {
    kind: 'read',
    suite,
    reference: keyPackageRef(engine, keyPackage),
    leafNode,
    notAfter: Number(leafNode.source.lifetime.notAfter) * 1_000,
  }
}
