/**
 * The stored form of groups: a head, which is small and rewritten with each epoch, and the tree,
 * whose nodes are stored one by one (`changedNodes`, `treeOfNodes`), so that a commit among 10,000
 * members writes what it changed. Owns versions and encodings; where they are kept, and how they
 * are sealed, is the caller's. The head of a member is a secret.
 */
import { EMPTY, fromHex, toHex } from '#core/base/bytes.ts'
import { LIMITS } from '#core/base/limits.ts'
import type { CipherSuite } from '#core/mls/cipher-suite.ts'
import { sender } from '#core/mls/framing.ts'
import type { Group } from '#core/mls/group.ts'
import { groupContext } from '#core/mls/group-context.ts'
import type { EpochSecrets } from '#core/mls/key-schedule.ts'
import { proposal, type ReInitProposal } from '#core/mls/proposal.ts'
import { type PublicGroup, publicGroupOf } from '#core/mls/public-group.ts'
import type { RatchetTree } from '#core/mls/ratchet-tree.ts'
import { secretTreeCodec } from '#core/mls/secret-tree-codec.ts'
import { type Codec, decode, encode, type Infer, mapped } from '#core/wire/codec.ts'
import { opaque, optional, struct, u32, u64, vector } from '#core/wire/codec.ts'
import { format, STRUCTURE_VERSION } from '#core/wire/structure.ts'

const secret = opaque(LIMITS.mlsKeySizeMax)
const hash = opaque(255)

const reInit: Codec<ReInitProposal> = mapped(proposal, {
  to: (value: ReInitProposal) => value,
  from: (value) => value.kind === 'reInit' ? value : null,
})

const publicPart = struct({
  format: format('MLS public group'),
  context: groupContext,
  leafWidth: u32,
  confirmationTag: hash,
  proposals: vector(struct({ reference: hash, sender, proposal }), LIMITS.mlsProposalsMax),
  reInit: optional(reInit),
})

/** A public group without its tree. */
export function encodePublicHead(group: PublicGroup): Uint8Array {
  return encode(publicPart, publicPartOf(group))
}

function publicPartOf(group: PublicGroup): Infer<typeof publicPart> {
  const { context, tree, confirmationTag, reInit } = group
  const proposals = [...group.proposals.values()]
  const { leafWidth } = tree
  return { format: STRUCTURE_VERSION, context, leafWidth, confirmationTag, proposals, reInit }
}

/** How many leaves wide the tree of a head is, for `treeOfNodes`; null when it is malformed. */
export function leafWidthOf(head: Uint8Array): number | null {
  const decoded = decode(publicPart, head)
  return decoded.kind === 'decoded' ? decoded.value.leafWidth : null
}

/** Null when the head is not one of this version, or of another suite or tree. */
export function restorePublicGroup(
  suite: CipherSuite,
  head: Uint8Array,
  tree: RatchetTree,
): PublicGroup | null {
  const decoded = decode(publicPart, head.slice())
  return decoded.kind === 'decoded' ? publicGroupFrom(suite, decoded.value, tree) : null
}

function publicGroupFrom(
  suite: CipherSuite,
  part: Infer<typeof publicPart>,
  tree: RatchetTree,
): PublicGroup | null {
  const { context, leafWidth, confirmationTag, reInit } = part
  if (context.cipherSuite !== suite.id || leafWidth !== tree.leafWidth) return null
  const group = publicGroupOf(suite, { context, tree, confirmationTag, reInit })
  const proposals = new Map(part.proposals.map((each) => [toHex(each.reference), each]))
  return { ...group, proposals }
}

const epochSecrets = struct({
  senderDataSecret: hash,
  exporterSecret: hash,
  externalSecret: hash,
  confirmationKey: hash,
  membershipKey: hash,
  resumptionPsk: hash,
  epochAuthenticator: hash,
  initSecret: hash,
})

const memberHead = struct({
  format: format('MLS group'),
  public: publicPart,
  ownLeaf: u32,
  privateKeys: vector(struct({ node: u32, secretKey: secret }), LIMITS.mlsPathNodesMax + 1),
  secrets: epochSecrets,
  secretTree: optional(secretTreeCodec),
  resumptions: vector(struct({ epoch: u64, psk: hash }), LIMITS.mlsResumptionsKeptMax),
  pendingUpdates: vector(struct({ publicKey: secret, secretKey: secret }), LIMITS.mlsProposalsMax),
})

/** A member's state without its tree and without its signature key. A secret. */
export function encodeGroupHead(group: Group): Uint8Array {
  const { ownLeaf, secrets, secretTree, resumptions } = group
  const privateKeys = [...group.privateKeys].map(([node, secretKey]) => ({ node, secretKey }))
  const pendingUpdates = [...group.pendingUpdates].map(([publicKey, secretKey]) => ({
    publicKey: bytesOf(publicKey),
    secretKey,
  }))
  return encode(memberHead, {
    format: STRUCTURE_VERSION,
    public: publicPartOf(group.public),
    ownLeaf,
    privateKeys,
    secrets,
    secretTree,
    resumptions,
    pendingUpdates,
  })
}

/** How many leaves wide the tree of a member's head is; null when it is malformed. */
export function memberLeafWidthOf(head: Uint8Array): number | null {
  const decoded = decode(memberHead, head)
  return decoded.kind === 'decoded' ? decoded.value.public.leafWidth : null
}

export interface StoredGroup {
  readonly head: Uint8Array
  readonly tree: RatchetTree
  readonly signatureSecret: Uint8Array
}

/** Null when the head is not one of this version, or of another suite or tree. */
export function restoreGroup(suite: CipherSuite, stored: StoredGroup): Group | null {
  // Views of a copy: the secrets live as long as the state, the caller's bytes need not.
  const decoded = decode(memberHead, stored.head.slice())
  if (decoded.kind === 'malformed') return null
  const { public: part, ownLeaf, privateKeys, secretTree, resumptions } = decoded.value
  const group = publicGroupFrom(suite, part, stored.tree)
  if (group === null) return null
  const secrets: EpochSecrets = { ...decoded.value.secrets, encryptionSecret: EMPTY }
  return {
    public: group,
    ownLeaf,
    signatureSecret: stored.signatureSecret,
    privateKeys: new Map(privateKeys.map(({ node, secretKey }) => [node, secretKey])),
    secrets,
    secretTree,
    resumptions,
    pendingUpdates: new Map(
      decoded.value.pendingUpdates.map(({ publicKey, secretKey }) => [toHex(publicKey), secretKey]),
    ),
  }
}

/** A key that was written as hex by this engine. */
function bytesOf(hex: string): Uint8Array {
  return fromHex(hex) ?? EMPTY
}
