/**
 * One epoch of a room's group as the hub follows it: the public group that its commit made, what
 * has been proposed in it since, and the certificates that came with it. Owns who sits in a leaf,
 * and the stored form of a final epoch. It holds no secret.
 */
import { equalBytes, toHex } from '#core/base/bytes.ts'
import { type AccountName, type DeviceId, type Epoch, epoch } from '#core/base/ids.ts'
import { type EpochId, type LeafIndex, leafIndex, type LogPosition } from '#core/base/ids.ts'
import type { TimeMs } from '#core/base/ids.ts'
import { LIMITS } from '#core/base/limits.ts'
import type { CipherSuite } from '#core/mls/cipher-suite.ts'
import { epochIdOf } from '#core/mls/group-context.ts'
import type { LeafNode } from '#core/mls/leaf-node.ts'
import type { PublicGroup } from '#core/mls/public-group.ts'
import { changedNodes, leafAt, treeHash, treeOfNodes } from '#core/mls/ratchet-tree.ts'
import { encodePublicHead, restorePublicGroup } from '#core/mls/state-codec.ts'
import { isLeaf, nodeToLeaf } from '#core/mls/tree-math.ts'
import { policyOf } from '#core/policy/room-policy.ts'
import { identityOf, leafOfDevice, leavesOfAccount, rosterOf } from '#core/policy/roster.ts'
import { decode, encode, opaque, struct, u16 } from '#core/wire/codec.ts'
import { format, STRUCTURE_VERSION } from '#core/wire/structure.ts'
import type { StoredCertificate, StoredNode, StoredVersion } from '#hub/ports.ts'

/** A device, as its session has proven it. */
export interface Author {
  readonly account: AccountName
  readonly device: DeviceId
}

/** Who sits in a leaf. */
export interface MemberLeaf extends Author {
  readonly certificateHash: Uint8Array
  readonly signatureKey: Uint8Array
}

/** Immutable; a proposal in the epoch gives a new one. */
export interface EpochView {
  /** Position of the genesis or commit that made the epoch. */
  readonly origin: LogPosition
  readonly suite: number
  readonly epoch: Epoch
  readonly epochId: EpochId
  /** As its commit made it, without proposals. */
  readonly made: PublicGroup
  /** With the proposals of the epoch. */
  readonly group: PublicGroup
  /** Positions of the proposals. */
  readonly proposals: readonly LogPosition[]
  /** What stood in the entry of its commit; empty once the epoch is stored as final. */
  readonly certificates: readonly StoredCertificate[]
}

/** One key for an account's device. An account name holds no slash, so it is unambiguous. */
export function deviceKey({ account, device }: Author): string {
  return `${account}/${toHex(device)}`
}

export function isSameDevice(a: Author, b: Author): boolean {
  return a.account === b.account && equalBytes(a.device, b.device)
}

/** The epoch that the entry at `origin` made. */
export function viewOf(
  made: PublicGroup,
  entry: {
    readonly origin: LogPosition
    readonly certificates: readonly StoredCertificate[]
  },
): EpochView {
  return {
    ...entry,
    suite: made.suite.id,
    epoch: epoch(made.context.epoch),
    epochId: epochIdOf(made.suite, made.context),
    made,
    group: made,
    proposals: [],
  }
}

/** Leaves are asked for with every frame and never change. */
const known = new WeakMap<LeafNode, MemberLeaf>()

/** Who sits in a leaf; null for a blank one. */
export function memberAt({ made }: Pick<EpochView, 'made'>, leaf: number): MemberLeaf | null {
  const leafNode = leafAt(made.tree, leaf)
  if (leafNode === null) return null
  const before = known.get(leafNode)
  if (before !== undefined) return before
  const identity = identityOf(leafNode)
  if (identity === null) return null
  const { account, device, certificateHash } = identity
  const member = { account, device, certificateHash, signatureKey: leafNode.signatureKey }
  known.set(leafNode, member)
  return member
}

/** The leaf of a device; null where it has none. */
export function leafOf(
  { made }: Pick<EpochView, 'made'>,
  { account, device }: Author,
): LeafIndex | null {
  const member = leafOfDevice(rosterOf(made.tree), account, device)
  return member === null ? null : leafIndex(member.leaf)
}

// ---- Stored form --------------------------------------------------------------------------

const headCodec = struct({
  format: format('group head'),
  suite: u16,
  /** `encodePublicHead`. */
  group: opaque(LIMITS.mlsMessageSizeMax),
})

/**
 * A final epoch, as a change of the final one before it (null: of nothing). `invitations` may have
 * an anchor from now on.
 */
export function versionOf(
  before: EpochView | null,
  view: EpochView,
  invitations: readonly Uint8Array[],
): StoredVersion {
  const { made, origin } = view
  const { leafWidth, nodes } = changedNodes(before?.made.tree ?? null, made.tree)
  const touched = nodes.flatMap(({ node }) => isLeaf(node) ? [nodeToLeaf(node)] : [])
  return {
    position: origin,
    leafWidth,
    head: encode(headCodec, {
      format: STRUCTURE_VERSION,
      suite: made.suite.id,
      group: encodePublicHead(made),
    }),
    nodes,
    ...changedCertificates(before, view, touched),
    invitations,
  }
}

/** Several devices of an account may name one certificate: it comes and goes with all of them. */
function changedCertificates(
  before: EpochView | null,
  view: EpochView,
  touched: readonly number[],
): Pick<StoredVersion, 'certificates' | 'certificatesDropped'> {
  const came = hashesOf(view, touched).filter((member) => !isNamed(before, member))
  const left = hashesOf(before, touched).filter((member) => !isNamed(view, member))
  const brought = new Map(view.certificates.map((each) => [toHex(each.hash), each]))
  return {
    certificates: came.flatMap(({ certificateHash }) => brought.get(toHex(certificateHash)) ?? []),
    certificatesDropped: left.map(({ certificateHash }) => certificateHash),
  }
}

/** The members of some leaves, one for each certificate. */
function hashesOf(view: EpochView | null, leaves: readonly number[]): readonly MemberLeaf[] {
  if (view === null) return []
  const byHash = new Map<string, MemberLeaf>()
  for (const leaf of leaves) {
    const member = memberAt(view, leaf)
    if (member !== null) byHash.set(toHex(member.certificateHash), member)
  }
  return [...byHash.values()]
}

function isNamed(view: EpochView | null, { account, certificateHash }: MemberLeaf): boolean {
  return view !== null && leavesOfAccount(rosterOf(view.made.tree), account)
    .some(({ identity }) => equalBytes(identity.certificateHash, certificateHash))
}

/** Invitations that a policy of these epochs lists and that have not expired, by their ids. */
export function openInvitations(
  views: readonly EpochView[],
  nowMs: TimeMs,
): readonly Uint8Array[] {
  const ids = new Map<string, Uint8Array>()
  for (const { made } of views) {
    for (const { id, expiresAt } of policyOf(made.context.extensions)?.invitations ?? []) {
      if (expiresAt > nowMs) ids.set(toHex(id), id)
    }
  }
  return [...ids.values()]
}

/** What a stored version is made of. */
export interface StoredGroup {
  readonly leafWidth: number
  readonly head: Uint8Array
  readonly nodes: readonly StoredNode[]
}

/** The suite of a stored head; null when it is something else. */
export function suiteOfHead(head: Uint8Array): number | null {
  const decoded = decode(headCodec, head)
  return decoded.kind === 'malformed' ? null : decoded.value.suite
}

/** Reads what `versionOf` wrote; null when it is something else, or its tree another one. */
export function restoreGroup(suite: CipherSuite, stored: StoredGroup): PublicGroup | null {
  const decoded = decode(headCodec, stored.head)
  const tree = treeOfNodes(suite, stored.leafWidth, stored.nodes)
  if (decoded.kind === 'malformed' || tree === null) return null
  const group = restorePublicGroup(suite, decoded.value.group, tree)
  return group !== null && equalBytes(treeHash(suite, tree), group.context.treeHash) ? group : null
}
