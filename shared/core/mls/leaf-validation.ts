/**
 * What RFC 9420 asks of a leaf (section 7.3) and of a KeyPackage (10.1) by themselves and against
 * the group's parameters. Owns no rule on how leaves stand to one another in the tree: keys are
 * `ratchet-tree.ts`, credential types `leaf-census.ts`.
 */
import { equalBytes } from '#core/base/bytes.ts'
import type { TimeMs } from '#core/base/ids.ts'
import type { CipherSuite } from '#core/mls/cipher-suite.ts'
import { credentialType } from '#core/mls/credential.ts'
import {
  DEFAULT_EXTENSION_TYPES,
  type Extension,
  readRequiredCapabilities,
} from '#core/mls/extension.ts'
import type { MlsFault } from '#core/mls/fault.ts'
import { type KeyPackage, MLS_VERSION, verifyKeyPackageSignature } from '#core/mls/key-package.ts'
import { type LeafNode, type LeafPlace, verifyLeafNode } from '#core/mls/leaf-node.ts'
import { DEFAULT_PROPOSAL_TYPES } from '#core/mls/proposal.ts'

/** What leaves are measured against. */
export interface GroupParameters {
  readonly cipherSuite: number
  /** Extensions of the GroupContext. */
  readonly extensions: readonly Extension[]
}

/** The synchronous part of section 7.3: null where the leaf may stand in a group like this. */
export function judgeLeaf(leaf: LeafNode, group: GroupParameters): MlsFault | null {
  const { capabilities } = leaf
  if (!capabilities.credentials.includes(credentialType(leaf.credential))) return 'badLeaf'
  if (!supportsExtensions(leaf, leaf.extensions)) return 'badLeaf'
  if (!capabilities.versions.includes(MLS_VERSION)) return 'unsupportedCapability'
  if (!capabilities.cipherSuites.includes(group.cipherSuite)) return 'unsupportedCapability'
  return supportsParameters(leaf, group.extensions)
}

/** Whether a leaf supports what the extensions of a GroupContext demand (sections 7.3 and 11.1). */
export function supportsParameters(
  leaf: LeafNode,
  extensions: readonly Extension[],
): MlsFault | null {
  if (!supportsExtensions(leaf, extensions)) return 'unsupportedCapability'
  const required = readRequiredCapabilities(extensions)
  if (required === 'malformed') return 'malformed'
  if (required === null) return null
  const { capabilities } = leaf
  const lacks =
    required.extensions.some((type) =>
      !DEFAULT_EXTENSION_TYPES.has(type) && !capabilities.extensions.includes(type)
    ) ||
    required.proposals.some((type) =>
      !DEFAULT_PROPOSAL_TYPES.has(type) && !capabilities.proposals.includes(type)
    ) ||
    required.credentials.some((type) => !capabilities.credentials.includes(type))
  return lacks ? 'unsupportedCapability' : null
}

function supportsExtensions(leaf: LeafNode, extensions: readonly Extension[]): boolean {
  return extensions.every(({ type }) =>
    DEFAULT_EXTENSION_TYPES.has(type) || leaf.capabilities.extensions.includes(type)
  )
}

/** `timeMs` null leaves lifetimes unjudged, as of leaves that a tree holds (section 7.3). */
function isAlive(leaf: LeafNode, timeMs: TimeMs | null): boolean {
  if (leaf.source.kind !== 'keyPackage' || timeMs === null) return true
  const seconds = BigInt(Math.floor(timeMs / 1_000))
  const { notBefore, notAfter } = leaf.source.lifetime
  return notBefore <= seconds && seconds <= notAfter
}

export interface KeyPackageCheck {
  readonly group: GroupParameters
  readonly timeMs: TimeMs | null
}

/** KeyPackage validation (section 10.1) for a group like this. */
export async function validateKeyPackage(
  suite: CipherSuite,
  value: KeyPackage,
  { group, timeMs }: KeyPackageCheck,
): Promise<MlsFault | null> {
  const { leafNode } = value
  if (value.version !== MLS_VERSION) return 'wrongVersion'
  if (value.cipherSuite !== group.cipherSuite) return 'wrongSuite'
  if (leafNode.source.kind !== 'keyPackage') return 'badKeyPackage'
  if (equalBytes(value.initKey, leafNode.encryptionKey)) return 'badKeyPackage'
  if (value.initKey.length !== suite.kemPublicKeyLength) return 'badKeyPackage'
  const fault = judgeLeaf(leafNode, group)
  if (fault !== null) return fault
  if (leafNode.encryptionKey.length !== suite.kemPublicKeyLength) return 'badLeaf'
  if (!isAlive(leafNode, timeMs)) return 'expired'
  const [signed, leafSigned] = await Promise.all([
    verifyKeyPackageSignature(suite, value),
    verifyLeafNode(suite, leafNode, NO_PLACE),
  ])
  if (!leafSigned) return 'badLeafSignature'
  return signed ? null : 'badSignature'
}

/** A leaf of a KeyPackage is signed without its place. */
const NO_PLACE: LeafPlace = { groupId: new Uint8Array(0), leaf: 0 }

export interface LeafCheck {
  readonly group: GroupParameters
  readonly source: 'update' | 'commit'
  readonly place: LeafPlace
}

/** A leaf of an Update or of a path, which stands in the tree at `place` (section 7.3). */
export async function validateLeaf(
  suite: CipherSuite,
  leaf: LeafNode,
  { group, source, place }: LeafCheck,
): Promise<MlsFault | null> {
  if (leaf.source.kind !== source) return 'badLeaf'
  const fault = judgeLeaf(leaf, group)
  if (fault !== null) return fault
  if (leaf.encryptionKey.length !== suite.kemPublicKeyLength) return 'badLeaf'
  return await verifyLeafNode(suite, leaf, place) ? null : 'badLeafSignature'
}
