/**
 * What anybody can take into a public group (RFC 9420 sections 6.1, 12.1.8 and 12.4.2): standalone
 * proposals and commits as PublicMessages. Judges signatures, proposals, tree and transcript.
 */
import { equalBytes, toHex } from '#core/base/bytes.ts'
import type { TimeMs } from '#core/base/ids.ts'
import { LIMITS } from '#core/base/limits.ts'
import { readExternalSenders } from '#core/mls/extension.ts'
import { type MlsFault, type MlsRefusal, refuse } from '#core/mls/fault.ts'
import { type AuthenticatedContent, decodeMlsMessage, type Sender } from '#core/mls/framing.ts'
import { encodeGroupContext } from '#core/mls/group-context.ts'
import type { LeafPlace } from '#core/mls/leaf-node.ts'
import { validateKeyPackage, validateLeaf } from '#core/mls/leaf-validation.ts'
import type { Proposal } from '#core/mls/proposal.ts'
import { judgeProposal } from '#core/mls/proposal-list.ts'
import { type CachedProposal, type PublicGroup, publicGroupOf } from '#core/mls/public-group.ts'
import { proposalReference, verifyContentSignature } from '#core/mls/public-message.ts'
import { leafAt } from '#core/mls/ratchet-tree.ts'
import { type CommitChange, stageCommit } from '#core/mls/staged-commit.ts'

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
  const { content, auth, membershipTag: tag } = decoded.publicMessage
  if (tag !== null && tag.length !== group.suite.hashLength) return refuse('badMembershipTag')
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
      const { context, tree, census, confirmationTag, change } = staged
      const { reInit } = staged.applied
      const parts = { context, tree, census, confirmationTag, reInit }
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
  if (group.reInit !== null) return 'suspended'
  // A tag is as long as the MAC of the suite, whoever can verify it.
  const tag = auth.confirmationTag
  if (tag !== null && tag.length !== group.suite.hashLength) return 'badConfirmationTag'
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
