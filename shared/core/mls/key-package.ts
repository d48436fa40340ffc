/**
 * KeyPackage (RFC 9420 section 10): encoding, reference, making and verifying. Owns no policy about
 * where packages are kept and how often they are given out.
 */
import { LIMITS } from '#core/base/limits.ts'
import type { CipherSuite } from '#core/mls/cipher-suite.ts'
import { type Extension, extensions } from '#core/mls/extension.ts'
import { refHash, signWithLabel, verifyWithLabel } from '#core/mls/labelled.ts'
import { type LeafNode, leafNode } from '#core/mls/leaf-node.ts'
import { type Codec, encode, opaque, struct, u16 } from '#core/wire/codec.ts'

/** mls10, the one version of the protocol (RFC 9420 section 6). */
export const MLS_VERSION = 1

export interface KeyPackageContent {
  readonly version: number
  readonly cipherSuite: number
  readonly initKey: Uint8Array
  readonly leafNode: LeafNode
  readonly extensions: readonly Extension[]
}

export interface KeyPackage extends KeyPackageContent {
  readonly signature: Uint8Array
}

const key = opaque(LIMITS.mlsKeySizeMax)
const contentFields = { version: u16, cipherSuite: u16, initKey: key, leafNode, extensions }
const content: Codec<KeyPackageContent> = struct(contentFields)
export const keyPackage: Codec<KeyPackage> = struct({ ...contentFields, signature: key })

/** KeyPackageRef (RFC 9420 section 5.2). */
export function keyPackageRef(suite: CipherSuite, value: KeyPackage): Uint8Array {
  return refHash(suite, 'KeyPackage', encode(keyPackage, value))
}

export async function signKeyPackage(
  suite: CipherSuite,
  value: KeyPackageContent,
  signatureSecret: Uint8Array,
): Promise<KeyPackage> {
  const signed = { label: 'KeyPackageTBS', content: encode(content, value) } as const
  return { ...value, signature: await signWithLabel(suite, signatureSecret, signed) }
}

/** Whether the key of its leaf signed the package. */
export function verifyKeyPackageSignature(
  suite: CipherSuite,
  value: KeyPackage,
): Promise<boolean> {
  return verifyWithLabel(suite, {
    publicKey: value.leafNode.signatureKey,
    label: 'KeyPackageTBS',
    content: encode(content, value),
    signature: value.signature,
  })
}
