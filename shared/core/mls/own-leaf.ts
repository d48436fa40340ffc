/**
 * The leaf of one's own: what a client says of itself, and the KeyPackages that it leaves with
 * others (RFC 9420 sections 7.2 and 10). Owns no place in a tree.
 */
import { wipe } from '#core/base/bytes.ts'
import type { Entropy } from '#core/base/ports.ts'
import type { KeyPair } from '#core/crypto/crypto.ts'
import type { CipherSuite } from '#core/mls/cipher-suite.ts'
import type { Credential } from '#core/mls/credential.ts'
import type { Extension } from '#core/mls/extension.ts'
import { type KeyPackage, MLS_VERSION, signKeyPackage } from '#core/mls/key-package.ts'
import {
  type Capabilities,
  type LeafNode,
  type Lifetime,
  signLeafNode,
} from '#core/mls/leaf-node.ts'

/** What stays the same from leaf to leaf of a client. */
export interface LeafTemplate {
  readonly credential: Credential
  readonly signatureKey: Uint8Array
  readonly capabilities: Capabilities
  readonly extensions: readonly Extension[]
}

/** A fresh HPKE key pair of the suite; the caller wipes the secret key. */
export async function freshKeyPair(suite: CipherSuite, entropy: Entropy): Promise<KeyPair> {
  const seed = entropy.randomBytes(suite.hashLength)
  const pair = await suite.deriveKeyPair(seed)
  wipe(seed)
  return pair
}

export interface OwnLeaf {
  readonly leafNode: LeafNode
  readonly encryptionSecret: Uint8Array
}

export interface LeafMaking {
  readonly template: LeafTemplate
  readonly signatureSecret: Uint8Array
  readonly lifetime: Lifetime
  readonly entropy: Entropy
}

/** A leaf that has no place yet: of a KeyPackage, or of who creates a group. */
export async function makeLeaf(suite: CipherSuite, making: LeafMaking): Promise<OwnLeaf> {
  const { template, signatureSecret, lifetime } = making
  const pair = await freshKeyPair(suite, making.entropy)
  const leafNode = await signLeafNode(suite, {
    ...template,
    encryptionKey: pair.publicKey,
    source: { kind: 'keyPackage', lifetime },
  }, { signatureSecret, place: null })
  return { leafNode, encryptionSecret: pair.secretKey }
}

/** The secrets of a KeyPackage; whoever has them can join as it. */
export interface KeyPackageSecrets {
  readonly initSecret: Uint8Array
  readonly encryptionSecret: Uint8Array
}

export interface KeyPackageMade {
  readonly keyPackage: KeyPackage
  readonly secrets: KeyPackageSecrets
}

export async function makeKeyPackage(
  suite: CipherSuite,
  making: LeafMaking & { readonly extensions?: readonly Extension[] },
): Promise<KeyPackageMade> {
  const { leafNode, encryptionSecret } = await makeLeaf(suite, making)
  const init = await freshKeyPair(suite, making.entropy)
  const keyPackage = await signKeyPackage(suite, {
    version: MLS_VERSION,
    cipherSuite: suite.id,
    initKey: init.publicKey,
    leafNode,
    extensions: making.extensions ?? [],
  }, making.signatureSecret)
  return { keyPackage, secrets: { initSecret: init.secretKey, encryptionSecret } }
}
