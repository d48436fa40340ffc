/**
 * The group as anybody can know it who holds no secret (RFC 9420 sections 12.4.2 and 14): context,
 * tree, transcript and the proposals of the epoch. The hub follows a room with it, a joiner replays
 * a log with it, and a member's state contains it, so that all judge a commit by the same code.
 * Owns signatures, proposals, tree and transcript; membership tag, confirmation tag and encrypted
 * path can be judged by members only.
 */
import { equalBytes, toHex } from '#core/base/bytes.ts'
import { assert } from '#core/base/assert.ts'
import type { TimeMs } from '#core/base/ids.ts'
import { LIMITS } from '#core/base/limits.ts'
import type { CipherSuite } from '#core/mls/cipher-suite.ts'
import { EXTENSION_TYPE, findExtension } from '#core/mls/extension.ts'
import { readExternalSenders } from '#core/mls/extension.ts'
import { type MlsFault, type MlsRefusal, refuse } from '#core/mls/fault.ts'
import { type AuthenticatedContent, decodeMlsMessage, type Sender } from '#core/mls/framing.ts'
import { encodeGroupContext, type GroupContext } from '#core/mls/group-context.ts'
import { type GroupInfo, verifyGroupInfo } from '#core/mls/group-info.ts'
import { MLS_VERSION } from '#core/mls/key-package.ts'
import { censusOf, credentialsAgree, type LeafCensus } from '#core/mls/leaf-census.ts'
import { judgeLeaf, validateKeyPackage } from '#core/mls/leaf-validation.ts'
import type { LeafPlace } from '#core/mls/leaf-node.ts'
import type { Proposal } from '#core/mls/proposal.ts'
import { judgeExtensions, judgeProposal } from '#core/mls/proposal-list.ts'
import { proposalReference, verifyContentSignature } from '#core/mls/public-message.ts'
import { leafAt, members, type RatchetTree, treeHash } from '#core/mls/ratchet-tree.ts'
import { type CommitChange, stageCommit } from '#core/mls/staged-commit.ts'
import { interimTranscriptHash } from '#core/mls/transcript.ts'
import { decodeRatchetTree } from '#core/mls/tree-codec.ts'
import { verifyTree } from '#core/mls/tree-validation.ts'
import { validateLeaf } from '#core/mls/leaf-validation.ts'

/** A proposal that may be committed by reference in its epoch. */
export interface CachedProposal {
  readonly reference: Uint8Array
  readonly sender: Sender
  readonly proposal: Proposal
}

/** Immutable. */
export interface PublicGroup {
  readonly suite: CipherSuite
  readonly context: GroupContext
  readonly tree: RatchetTree
  readonly census: LeafCensus
  readonly confirmationTag: Uint8Array
  readonly interimTranscriptHash: Uint8Array
  /** By reference in hex, in the order of their coming. */
  readonly proposals: ReadonlyMap<string, CachedProposal>
  /** True after a ReInit was committed: nothing more is taken (section 11.2). */
  readonly suspended: boolean
}

export interface PublicGroupOpening {
  readonly groupInfo: GroupInfo
  /** `ratchet_tree` body; null where the GroupInfo carries it. */
  readonly ratchetTree: Uint8Array | null
}

export interface PublicGroupOpened {
  readonly kind: 'opened'
  readonly group: PublicGroup
}

/**
 * The group that a GroupInfo describes, with everything checked that section 12.4.3.1 asks of a
 * tree and of its leaves. Lifetimes in it are not judged: they were when the leaves came.
 */
export async function openPublicGroup(
  suite: CipherSuite,
  { groupInfo, ratchetTree }: PublicGroupOpening,
): Promise<PublicGroupOpened | MlsRefusal> {
  const { groupContext: context } = groupInfo
  if (context.version !== MLS_VERSION) return refuse('wrongVersion')
  if (context.cipherSuite !== suite.id) return refuse('wrongSuite')
  if (judgeExtensions(context.extensions) !== null) return refuse('malformed')
  const bytes = ratchetTree ?? findExtension(groupInfo.extensions, EXTENSION_TYPE.ratchetTree)
  const tree = bytes === null ? null : decodeRatchetTree(suite, bytes)
  if (tree === null) return refuse('badTree')
  const signer = leafAt(tree, groupInfo.signer)
  if (signer === null) return refuse('wrongSender')
  if (!await verifyGroupInfo(suite, groupInfo, signer.signatureKey)) return refuse('badSignature')
  const group = publicGroupOf(suite, { context, tree, confirmationTag: groupInfo.confirmationTag })
  const fault = await verifyMembers(group)
  return fault === null ? { kind: 'opened', group } : refuse(fault)
}

/** A group in a new epoch, without proposals; the interim transcript hash follows. */
export function publicGroupOf(
  suite: CipherSuite,
  parts: {
    readonly context: GroupContext
    readonly tree: RatchetTree
    readonly confirmationTag: Uint8Array
    readonly census?: LeafCensus
    readonly suspended?: boolean
  },
): PublicGroup {
  const { context, tree, confirmationTag } = parts
  return {
    suite,
    context,
    tree,
    census: parts.census ?? censusOf(members(tree)),
    confirmationTag,
    interimTranscriptHash: interimTranscriptHash(
      suite,
      context.confirmedTranscriptHash,
      confirmationTag,
    ),
    proposals: new Map(),
    suspended: parts.suspended ?? false,
  }
}

/** Tree hash, parent hashes, keys, signatures and capabilities of a whole received tree. */
async function verifyMembers(group: PublicGroup): Promise<MlsFault | null> {
  const { suite, context, tree, census } = group
  if (!equalBytes(treeHash(suite, tree), context.treeHash)) return 'badTreeHash'
  const parameters = { cipherSuite: suite.id, extensions: context.extensions }
  for (const { leafNode } of members(tree)) {
    const fault = judgeLeaf(leafNode, parameters)
    if (fault !== null) return fault
  }
  if (!credentialsAgree(census)) return 'unsupportedCapability'
  return await verifyTree(suite, tree, context.groupId)
}

export interface PublicProcessing {
  /** Hub time of the message; null leaves lifetimes of KeyPackages unjudged. */
  readonly timeMs: TimeMs | null
}

export interface PublicProposal {
  readonly kind: 'proposal'
  readonly group: PublicGroup
  readonly cached: CachedProposal
}

export interface PublicCommit {
  readonly kind: 'commit'
  /** The group in the epoch that the commit made. */
  readonly group: PublicGroup
  readonly change: CommitChange
}

/** Takes a PublicMessage, as an encoded MLSMessage: everything is judged that needs no secret. */
export async function publicProcess(
  group: PublicGroup,
  message: Uint8Array,
  processing: PublicProcessing,
): Promise<PublicProposal | PublicCommit | MlsRefusal> {
  const decoded = decodeMlsMessage('publicMessage', message)
  if (decoded === null) return refuse('malformed')
  const { content, auth } = decoded.publicMessage
  const authenticated: AuthenticatedContent = { wireFormat: 'publicMessage', content, auth }
  const fault = await verifyAuthenticated(group, authenticated)
  if (fault !== null) return refuse(fault)
  switch (content.body.kind) {
    case 'application':
      return refuse('wrongKind')
    case 'proposal':
      return await takeProposal(group, authenticated, processing)
    case 'commit': {
      const staged = await stageCommit(group, authenticated, processing)
      if (staged.kind === 'refused') return staged
      assert(auth.confirmationTag !== null, 'a commit has its tag')
      const { context, tree, census, change } = staged
      const { confirmationTag } = auth
      const suspended = staged.applied.reInit !== null
      const parts = { context, tree, census, confirmationTag, suspended }
      return { kind: 'commit', group: publicGroupOf(group.suite, parts), change }
    }
  }
}

/**
 * Whether a content is for this group and epoch and signed by whom it names (sections 6.1 and
 * 12.1.8). A proposal or commit that comes from outside is told by its sender.
 */
export async function verifyAuthenticated(
  group: PublicGroup,
  { wireFormat, content, auth }: AuthenticatedContent,
): Promise<MlsFault | null> {
  const { context } = group
  if (group.suspended) return 'suspended'
  if (!equalBytes(content.groupId, context.groupId)) return 'wrongGroup'
  if (content.epoch !== context.epoch) return 'wrongEpoch'
  const publicKey = senderKey(group, content.sender, content.body)
  if (publicKey === null) return 'wrongSender'
  const inGroup = content.sender.kind === 'member' || content.sender.kind === 'newMemberCommit'
  const signed = await verifyContentSignature(group.suite, {
    wireFormat,
    content,
    signature: auth.signature,
    groupContext: inGroup ? encodeGroupContext(context) : null,
    publicKey,
  })
  return signed ? null : 'badSignature'
}

function senderKey(
  group: PublicGroup,
  sender: Sender,
  body: AuthenticatedContent['content']['body'],
): Uint8Array | null {
  switch (sender.kind) {
    case 'member':
      return leafAt(group.tree, sender.leaf)?.signatureKey ?? null
    case 'external': {
      if (body.kind !== 'proposal') return null
      const senders = readExternalSenders(group.context.extensions)
      if (senders === null || senders === 'malformed') return null
      return senders[sender.senderIndex]?.signatureKey ?? null
    }
    case 'newMemberProposal': {
      if (body.kind !== 'proposal' || body.proposal.kind !== 'add') return null
      return body.proposal.keyPackage.leafNode.signatureKey
    }
    case 'newMemberCommit':
      return body.kind === 'commit' ? body.commit.path?.leafNode.signatureKey ?? null : null
  }
}

/** A standalone proposal whose signature was checked: judged by itself, and kept for its epoch. */
export async function takeProposal(
  group: PublicGroup,
  authenticated: AuthenticatedContent,
  { timeMs }: PublicProcessing,
): Promise<PublicProposal | MlsRefusal> {
  const { content } = authenticated
  if (content.body.kind !== 'proposal') return refuse('wrongKind')
  const { proposal } = content.body
  const fault = await judgeStandalone(group, { proposal, sender: content.sender, timeMs })
  if (fault !== null) return refuse(fault)
  if (group.proposals.size >= LIMITS.mlsProposalsMax) return refuse('tooLarge')
  const reference = proposalReference(group.suite, authenticated)
  const cached: CachedProposal = { reference, sender: content.sender, proposal }
  const proposals = new Map(group.proposals).set(toHex(reference), cached)
  return { kind: 'proposal', group: { ...group, proposals }, cached }
}

async function judgeStandalone(
  group: PublicGroup,
  sent: {
    readonly proposal: Proposal
    readonly sender: Sender
    readonly timeMs: TimeMs | null
  },
): Promise<MlsFault | null> {
  const { suite, tree, context } = group
  const { proposal, sender, timeMs } = sent
  const { extensions } = context
  if (proposal.kind === 'externalInit') return 'badProposal'
  const fault = judgeProposal({ suite, tree, extensions, successor: false }, proposal, sender)
  if (fault !== null) return fault
  const parameters = { cipherSuite: suite.id, extensions }
  if (proposal.kind === 'add') {
    return await validateKeyPackage(suite, proposal.keyPackage, { group: parameters, timeMs })
  }
  if (proposal.kind === 'update' && sender.kind === 'member') {
    const place: LeafPlace = { groupId: context.groupId, leaf: sender.leaf }
    const check = { group: parameters, source: 'update', place } as const
    return await validateLeaf(suite, proposal.leafNode, check)
  }
  return null
}
