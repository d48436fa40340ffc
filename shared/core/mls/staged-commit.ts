/**
 * A commit as far as anybody can judge it (RFC 9420 section 12.4.2): its proposals resolved and
 * applied, its path merged into the tree, the next GroupContext. Owns no secret: decrypting the
 * path and the key schedule are `commit-process.ts`.
 */
import { equalBytes, toHex } from '#core/base/bytes.ts'
import { assert } from '#core/base/assert.ts'
import type { TimeMs } from '#core/base/ids.ts'
import { LIMITS } from '#core/base/limits.ts'
import type { UpdatePath } from '#core/mls/commit.ts'
import { type MlsFault, type MlsRefusal, refuse } from '#core/mls/fault.ts'
import type { AuthenticatedContent, FramedContent, Sender } from '#core/mls/framing.ts'
import type { GroupContext } from '#core/mls/group-context.ts'
import { countLeaf, credentialsAgree, type LeafCensus } from '#core/mls/leaf-census.ts'
import { validateLeaf } from '#core/mls/leaf-validation.ts'
import type { Extension } from '#core/mls/extension.ts'
import type { ProposalOrRef } from '#core/mls/proposal.ts'
import {
  type AppliedProposals,
  applyProposals,
  isFreeFor,
  isFreeForComer,
} from '#core/mls/proposal-list.ts'
import type { Committer, PlacedLeaf, SentProposal } from '#core/mls/proposal-list.ts'
import type { PublicGroup } from '#core/mls/public-group.ts'
import {
  addLeaf,
  encryptionKeyOwner,
  filteredDirectPath,
  leafAt,
  mergePath,
  pathParentHashes,
  type RatchetTree,
  resolution,
  treeHash,
} from '#core/mls/ratchet-tree.ts'
import { isLeaf, nodeToLeaf } from '#core/mls/tree-math.ts'
import { confirmedTranscriptHash } from '#core/mls/transcript.ts'

/** What a commit changes, in words that need no knowledge of MLS. */
export interface CommitChange {
  /** Leaf of the committer, after the commit where it comes from outside. */
  readonly committer: number
  /** True for an external commit. */
  readonly external: boolean
  readonly added: readonly PlacedLeaf[]
  readonly removed: readonly PlacedLeaf[]
  /** Leaves of Update proposals, and the committer's own where there is a path. */
  readonly updated: readonly PlacedLeaf[]
  readonly extensionsBefore: readonly Extension[]
  readonly extensionsAfter: readonly Extension[]
  readonly proposals: readonly SentProposal[]
  readonly authenticatedData: Uint8Array
}

export type FilteredPath = ReturnType<typeof filteredDirectPath>

export interface StagedPath {
  readonly updatePath: UpdatePath
  readonly path: FilteredPath
}

export interface StagedCommit {
  readonly kind: 'staged'
  readonly applied: AppliedProposals
  readonly committer: number
  /** The tree to which the path was encrypted: after the proposals, before the path. */
  readonly treeBefore: RatchetTree
  readonly path: StagedPath | null
  /** Leaves that the commit adds, to which nothing of the path is encrypted. */
  readonly excluded: ReadonlySet<number>
  readonly tree: RatchetTree
  readonly census: LeafCensus
  /** What path secrets are encrypted under: new tree, old transcript (section 7.5). */
  readonly provisionalContext: GroupContext
  readonly context: GroupContext
  /** As the committer states it: only a member can judge it. */
  readonly confirmationTag: Uint8Array
  readonly change: CommitChange
}

export interface Staging {
  readonly timeMs: TimeMs | null
  /** True for the first commit of a group that succeeds another (section 8.4). */
  readonly successor?: boolean
}

/** Judges a commit whose signature was checked. */
export async function stageCommit(
  group: PublicGroup,
  authenticated: AuthenticatedContent,
  staging: Staging,
): Promise<StagedCommit | MlsRefusal> {
  const { content, auth } = authenticated
  const { confirmationTag } = auth
  if (content.body.kind !== 'commit' || confirmationTag === null) return refuse('wrongKind')
  const { commit } = content.body
  const committer = committerOf(content.sender)
  if (committer === null) return refuse('wrongSender')
  const proposals = resolveProposals(group, content.sender, commit.proposals)
  if (proposals === null) return refuse('unknownProposal')
  const applied = await applyProposals(listContext(group, committer, staging), proposals)
  if (applied.kind === 'refused') return applied
  if (commit.path === null && (applied.pathRequired || committer.kind === 'external')) {
    return refuse('missingPath')
  }
  const merged = commit.path === null
    ? unmerged(applied, committer)
    : await mergeUpdatePath(group, { applied, committer, updatePath: commit.path })
  if (merged.kind === 'refused') return merged
  if (!credentialsAgree(merged.census)) return refuse('unsupportedCapability')
  const confirmed = confirmedTranscriptHash(group.suite, group.interimTranscriptHash, {
    wireFormat: authenticated.wireFormat,
    content,
    signature: auth.signature,
  })
  return stagedOf(group, { applied, merged, proposals, content, confirmationTag, confirmed })
}

function committerOf(sender: Sender): Committer | null {
  if (sender.kind === 'member') return { kind: 'member', leaf: sender.leaf }
  return sender.kind === 'newMemberCommit' ? { kind: 'external' } : null
}

/** References looked up among the proposals of the epoch; null for one that is not known. */
export function resolveProposals(
  group: PublicGroup,
  sender: Sender,
  list: readonly ProposalOrRef[],
): readonly SentProposal[] | null {
  const resolved: SentProposal[] = []
  for (const item of list) {
    if (item.kind === 'proposal') {
      resolved.push({ proposal: item.proposal, sender, byReference: false })
      continue
    }
    const cached = group.proposals.get(toHex(item.reference))
    if (cached === undefined) return null
    resolved.push({ proposal: cached.proposal, sender: cached.sender, byReference: true })
  }
  return resolved
}

export function listContext(group: PublicGroup, committer: Committer, staging: Staging) {
  return {
    suite: group.suite,
    groupId: group.context.groupId,
    tree: group.tree,
    census: group.census,
    extensions: group.context.extensions,
    committer,
    timeMs: staging.timeMs,
    successor: staging.successor ?? false,
  }
}

interface Merged {
  readonly kind: 'merged'
  readonly committer: number
  readonly treeBefore: RatchetTree
  readonly path: StagedPath | null
  readonly tree: RatchetTree
  readonly census: LeafCensus
}

function unmerged(applied: AppliedProposals, committer: Committer): Merged {
  assert(committer.kind === 'member', 'an external commit has a path')
  const { tree, census } = applied
  return { kind: 'merged', committer: committer.leaf, treeBefore: tree, path: null, tree, census }
}

/** The place of the committer's leaf; from outside it comes like an Add (section 12.4.3.2). */
export function committerPlace(
  applied: AppliedProposals,
  committer: Committer,
  leafNode: UpdatePath['leafNode'],
): { readonly tree: RatchetTree; readonly leaf: number } {
  if (committer.kind === 'member') return { tree: applied.tree, leaf: committer.leaf }
  return addLeaf(applied.tree, leafNode)
}

async function mergeUpdatePath(
  group: PublicGroup,
  parts: {
    readonly applied: AppliedProposals
    readonly committer: Committer
    readonly updatePath: UpdatePath
  },
): Promise<Merged | MlsRefusal> {
  const { applied, committer, updatePath } = parts
  const { leafNode } = updatePath
  const { suite, context } = group
  const free = committer.kind === 'external'
    ? isFreeForComer(applied, leafNode)
    : isFreeFor(applied.tree, committer.leaf, leafNode)
  if (!free) return refuse('duplicateKey')
  const full = committer.kind === 'external' && applied.tree.memberCount >= LIMITS.membersMax
  if (full) return refuse('tooLarge')
  const { tree, leaf } = committerPlace(applied, committer, leafNode)
  const fault = await validateLeaf(suite, leafNode, {
    group: { cipherSuite: suite.id, extensions: applied.extensions },
    source: 'commit',
    place: { groupId: context.groupId, leaf },
  })
  if (fault !== null) return refuse(fault)
  const path = filteredDirectPath(tree, leaf)
  const excluded = leavesOf(applied.added)
  const wrong = judgePath(group, { tree, leaf, path, updatePath, excluded })
  if (wrong !== null) return refuse(wrong)
  const keys = path.map(({ node }, index) => ({
    node,
    encryptionKey: updatePath.nodes[index]?.encryptionKey as Uint8Array,
  }))
  const { nodes, leafParentHash } = pathParentHashes(suite, tree, leaf, keys)
  assert(leafNode.source.kind === 'commit', 'the leaf of a path was validated')
  if (!equalBytes(leafNode.source.parentHash, leafParentHash)) return refuse('badParentHash')
  const before = committer.kind === 'member' ? leafAt(applied.tree, committer.leaf) : null
  const counted = before === null ? applied.census : countLeaf(applied.census, before, -1)
  return {
    kind: 'merged',
    committer: leaf,
    treeBefore: tree,
    path: { updatePath, path },
    tree: mergePath(tree, { leaf, leafNode, nodes }),
    census: countLeaf(counted, leafNode, 1),
  }
}

export function leavesOf(placed: readonly PlacedLeaf[]): ReadonlySet<number> {
  return new Set(placed.map(({ leaf }) => leaf))
}

/** Counts of nodes and ciphertexts, and that each key of the path is new (section 12.4.2). */
function judgePath(
  group: PublicGroup,
  parts: {
    readonly tree: RatchetTree
    readonly leaf: number
    readonly path: FilteredPath
    readonly updatePath: UpdatePath
    readonly excluded: ReadonlySet<number>
  },
): MlsFault | null {
  const { tree, path, updatePath, excluded } = parts
  if (updatePath.nodes.length !== path.length) return 'badPath'
  const keys = [updatePath.leafNode.encryptionKey]
  for (const [index, { copath }] of path.entries()) {
    const node = updatePath.nodes[index]
    if (node === undefined) return 'badPath'
    const readers = resolution(tree, copath)
      .filter((each) => !isLeaf(each) || !excluded.has(nodeToLeaf(each)))
    if (node.encryptedPathSecret.length !== readers.length) return 'badPath'
    if (node.encryptionKey.length !== group.suite.kemPublicKeyLength) return 'badPath'
    if (encryptionKeyOwner(tree, node.encryptionKey) !== null) return 'duplicateKey'
    keys.push(node.encryptionKey)
  }
  return new Set(keys.map(toHex)).size === keys.length ? null : 'duplicateKey'
}

function stagedOf(
  group: PublicGroup,
  parts: {
    readonly applied: AppliedProposals
    readonly merged: Merged
    readonly proposals: readonly SentProposal[]
    readonly content: FramedContent
    readonly confirmationTag: Uint8Array
    readonly confirmed: Uint8Array
  },
): StagedCommit {
  const { applied, merged, proposals, content, confirmationTag, confirmed } = parts
  const { committer, treeBefore, path, tree, census } = merged
  const provisionalContext = nextContext(group, tree, applied.extensions)
  const ownLeaf = path === null ? [] : [{ leaf: committer, leafNode: path.updatePath.leafNode }]
  return {
    kind: 'staged',
    applied,
    committer,
    treeBefore,
    path,
    excluded: leavesOf(applied.added),
    tree,
    census,
    provisionalContext,
    context: { ...provisionalContext, confirmedTranscriptHash: confirmed },
    confirmationTag,
    change: {
      committer,
      external: content.sender.kind === 'newMemberCommit',
      added: applied.added,
      removed: applied.removed,
      updated: [...applied.updated, ...ownLeaf],
      extensionsBefore: group.context.extensions,
      extensionsAfter: applied.extensions,
      proposals,
      authenticatedData: content.authenticatedData,
    },
  }
}

/** The next epoch's context, still with the transcript of this one. */
export function nextContext(
  group: PublicGroup,
  tree: RatchetTree,
  extensions: readonly Extension[],
): GroupContext {
  return {
    ...group.context,
    epoch: group.context.epoch + 1n,
    treeHash: treeHash(group.suite, tree),
    extensions,
  }
}
