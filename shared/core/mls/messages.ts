/**
 * Messages of a member within an epoch: standalone proposals, application messages, and the one
 * entrance for what comes in (RFC 9420 sections 6 and 12.1).
 */
import { assert } from '#core/base/assert.ts'
import { equalBytes, toHex } from '#core/base/bytes.ts'
import type { TimeMs } from '#core/base/ids.ts'
import type { Entropy } from '#core/base/ports.ts'
import type { CipherSuite } from '#core/mls/cipher-suite.ts'
import { ownTemplate } from '#core/mls/commit-make.ts'
import { type CommitFollowed, type CommitProcessing } from '#core/mls/commit-process.ts'
import { processCommit, type RemovedByCommit } from '#core/mls/commit-process.ts'
import { type MlsRefusal, refuse } from '#core/mls/fault.ts'
import { type AuthenticatedContent, type Content, encodeMlsMessage } from '#core/mls/framing.ts'
import { type ContentWireFormat, mlsMessage, type PublicMessage } from '#core/mls/framing.ts'
import type { FramedContent, PrivateMessage, Sender } from '#core/mls/framing.ts'
import { encodeGroupContext } from '#core/mls/group-context.ts'
import type { Group } from '#core/mls/group.ts'
import type { KeyPackage } from '#core/mls/key-package.ts'
import { signLeafNode } from '#core/mls/leaf-node.ts'
import { freshKeyPair, type LeafTemplate } from '#core/mls/own-leaf.ts'
import { protect, unprotect } from '#core/mls/private-message.ts'
import type { Proposal } from '#core/mls/proposal.ts'
import type { CachedProposal } from '#core/mls/public-group.ts'
import { takeProposal, verifyAuthenticated } from '#core/mls/public-process.ts'
import { membershipTag, signContent } from '#core/mls/public-message.ts'
import { decode } from '#core/wire/codec.ts'

export interface Sending {
  readonly authenticatedData: Uint8Array
  readonly wireFormat: ContentWireFormat
  readonly paddingLength?: number
  /** By which the lifetime of a proposed KeyPackage is judged; not judged without it. */
  readonly timeMs?: TimeMs | null
  readonly entropy: Entropy
}

export interface Sent {
  readonly kind: 'sent'
  /** MLSMessage. */
  readonly message: Uint8Array
  readonly group: Group
  readonly consumed: readonly Uint8Array[]
}

/** Proposes something; it is then among the proposals of the epoch, for the own commit too. */
export async function propose(
  group: Group,
  proposal: Proposal,
  sending: Sending,
): Promise<Sent & { readonly reference: Uint8Array } | MlsRefusal> {
  const framed = await frame(group, { kind: 'proposal', proposal }, sending)
  if (framed.kind === 'refused') return framed
  const taken = await takeProposal(group.public, framed.authenticated, {
    timeMs: sending.timeMs ?? null,
  })
  if (taken.kind === 'refused') return taken
  const { message, consumed } = framed
  const { reference } = taken.cached
  return {
    kind: 'sent',
    message,
    group: { ...framed.group, public: taken.group },
    consumed,
    reference,
  }
}

/** An Update of the own leaf with a fresh key, whose secret waits for the commit (12.1.2). */
export async function proposeUpdate(
  group: Group,
  sending: Sending & { readonly template?: LeafTemplate },
): Promise<Sent & { readonly reference: Uint8Array } | MlsRefusal> {
  const { suite, context } = group.public
  const pair = await freshKeyPair(suite, sending.entropy)
  const leafNode = await signLeafNode(suite, {
    ...sending.template ?? ownTemplate(group),
    encryptionKey: pair.publicKey,
    source: { kind: 'update' },
  }, {
    signatureSecret: group.signatureSecret,
    place: { groupId: context.groupId, leaf: group.ownLeaf },
  })
  const sent = await propose(group, { kind: 'update', leafNode }, sending)
  if (sent.kind === 'refused') return sent
  const pendingUpdates = new Map(group.pendingUpdates).set(toHex(pair.publicKey), pair.secretKey)
  return { ...sent, group: { ...sent.group, pendingUpdates } }
}

/**
 * An application message, which is always encrypted (section 6). Not while proposals of the epoch
 * wait for a commit (section 12.4): whoever they remove would still read it.
 */
export async function protectApplication(
  group: Group,
  content: Uint8Array,
  sending: Omit<Sending, 'wireFormat'>,
): Promise<Sent | MlsRefusal> {
  if (group.public.proposals.size > 0) return refuse('proposalsPending')
  const body: Content = { kind: 'application', content }
  const framed = await frame(group, body, { ...sending, wireFormat: 'privateMessage' })
  if (framed.kind === 'refused') return framed
  const { message, consumed } = framed
  return { kind: 'sent', message, group: framed.group, consumed }
}

interface Framed {
  readonly kind: 'framed'
  readonly authenticated: AuthenticatedContent
  readonly message: Uint8Array
  readonly group: Group
  readonly consumed: readonly Uint8Array[]
}

async function frame(
  group: Group,
  body: Content,
  sending: Sending,
): Promise<Framed | MlsRefusal> {
  const { suite, context } = group.public
  const { wireFormat, authenticatedData } = sending
  if (group.public.reInit !== null) return refuse('suspended')
  const sender: Sender = { kind: 'member', leaf: group.ownLeaf }
  const { groupId, epoch } = context
  const content: FramedContent = { groupId, epoch, sender, authenticatedData, body }
  const groupContext = encodeGroupContext(context)
  const { signatureSecret } = group
  const signature = await signContent(suite, { wireFormat, content, groupContext, signatureSecret })
  const auth = { signature, confirmationTag: null }
  const authenticated: AuthenticatedContent = { wireFormat, content, auth }
  if (wireFormat === 'publicMessage') {
    const tag = membershipTag(suite, group.secrets.membershipKey, { content, auth, groupContext })
    const publicMessage = { content, auth, membershipTag: tag }
    const message = encodeMlsMessage({ kind: 'publicMessage', publicMessage })
    return { kind: 'framed', authenticated, message, group, consumed: [] }
  }
  if (group.secretTree === null) return refuse('wrongKind')
  const state = {
    senderDataSecret: group.secrets.senderDataSecret,
    secretTree: group.secretTree,
  }
  const { ownLeaf } = group
  const { entropy, paddingLength } = sending
  const sealing = { content, auth, ownLeaf, paddingLength: paddingLength ?? 0, entropy }
  const sealed = protect(suite, state, sealing)
  return {
    kind: 'framed',
    authenticated,
    message: encodeMlsMessage({ kind: 'privateMessage', privateMessage: sealed.message }),
    group: { ...group, secretTree: sealed.secretTree },
    consumed: sealed.consumed,
  }
}

export interface ProposalReceived {
  readonly kind: 'proposal'
  readonly group: Group
  readonly cached: CachedProposal
  readonly consumed: readonly Uint8Array[]
}

export interface ApplicationReceived {
  readonly kind: 'application'
  readonly group: Group
  readonly sender: number
  readonly content: Uint8Array
  readonly authenticatedData: Uint8Array
  readonly consumed: readonly Uint8Array[]
}

export type Processed =
  | ProposalReceived
  | ApplicationReceived
  | CommitFollowed
  | RemovedByCommit
  | MlsRefusal

/** Takes a PublicMessage or PrivateMessage, as an encoded MLSMessage. A refusal changes nothing. */
export async function processMessage(
  group: Group,
  message: Uint8Array,
  processing: CommitProcessing,
): Promise<Processed> {
  const decoded = decode(mlsMessage, message)
  if (decoded.kind === 'malformed') return refuse('malformed')
  switch (decoded.value.kind) {
    case 'publicMessage':
      return await processPublic(group, decoded.value.publicMessage, processing)
    case 'privateMessage':
      return await processPrivate(group, decoded.value.privateMessage, processing)
    default:
      return refuse('wrongKind')
  }
}

async function processPublic(
  group: Group,
  message: PublicMessage,
  processing: CommitProcessing,
): Promise<Processed> {
  const { content, auth } = message
  const { suite, context } = group.public
  const authenticated: AuthenticatedContent = { wireFormat: 'publicMessage', content, auth }
  if (content.body.kind === 'application') return refuse('wrongKind')
  const fault = await verifyAuthenticated(group.public, authenticated)
  if (fault !== null) return refuse(fault)
  if (message.membershipTag !== null) {
    const groupContext = encodeGroupContext(context)
    const tag = membershipTag(suite, group.secrets.membershipKey, { content, auth, groupContext })
    if (!equalBytes(tag, message.membershipTag)) return refuse('badMembershipTag')
  }
  return await takeContent(group, authenticated, processing)
}

async function processPrivate(
  group: Group,
  message: PrivateMessage,
  processing: CommitProcessing,
): Promise<Processed> {
  const { suite, context } = group.public
  if (!equalBytes(message.groupId, context.groupId)) return refuse('wrongGroup')
  if (message.epoch !== context.epoch) return refuse('wrongEpoch')
  if (group.secretTree === null) return refuse('wrongKind')
  const opened = unprotect(suite, {
    senderDataSecret: group.secrets.senderDataSecret,
    secretTree: group.secretTree,
  }, message)
  if (opened.kind === 'refused') return opened
  const { content, auth, derived } = opened
  const authenticated: AuthenticatedContent = { wireFormat: 'privateMessage', content, auth }
  const fault = await verifyAuthenticated(group.public, authenticated)
  if (fault !== null) {
    wipeAll(derived)
    return refuse(fault)
  }
  const taken = await takeContent({ ...group, secretTree: opened.secretTree }, authenticated, {
    ...processing,
  })
  if (taken.kind === 'refused') {
    wipeAll(derived)
    return taken
  }
  return { ...taken, consumed: [...taken.consumed, ...opened.consumed] }
}

function wipeAll(secrets: readonly Uint8Array[]): void {
  for (const secret of secrets) secret.fill(0)
}

/** A content whose authenticity was checked. */
async function takeContent(
  group: Group,
  authenticated: AuthenticatedContent,
  processing: CommitProcessing,
): Promise<Processed> {
  const { content } = authenticated
  switch (content.body.kind) {
    case 'application': {
      assert(content.sender.kind === 'member', 'only members send privately')
      return {
        kind: 'application',
        group,
        sender: content.sender.leaf,
        content: content.body.content,
        authenticatedData: content.authenticatedData,
        consumed: [],
      }
    }
    case 'proposal': {
      const taken = await takeProposal(group.public, authenticated, processing)
      if (taken.kind === 'refused') return taken
      const next = { ...group, public: taken.group }
      return { kind: 'proposal', group: next, cached: taken.cached, consumed: [] }
    }
    case 'commit':
      return await processCommit(group, authenticated, processing)
  }
}

export interface OutsideProposal {
  readonly groupId: Uint8Array
  readonly epoch: bigint
  readonly authenticatedData: Uint8Array
}

/** A proposal of an external sender, such as a hub (section 12.1.8), as an MLSMessage. */
export async function proposeExternally(
  suite: CipherSuite,
  proposal: Proposal,
  from: OutsideProposal & {
    readonly senderIndex: number
    readonly signatureSecret: Uint8Array
  },
): Promise<Uint8Array> {
  const sender: Sender = { kind: 'external', senderIndex: from.senderIndex }
  return await outside(suite, { ...from, proposal, sender })
}

/** A proposal to be added, of who has no place in the group yet (section 12.1.8). */
export async function proposeOwnAdd(
  suite: CipherSuite,
  keyPackage: KeyPackage,
  from: OutsideProposal & { readonly signatureSecret: Uint8Array },
): Promise<Uint8Array> {
  const proposal: Proposal = { kind: 'add', keyPackage }
  return await outside(suite, { ...from, proposal, sender: { kind: 'newMemberProposal' } })
}

async function outside(
  suite: CipherSuite,
  from: OutsideProposal & {
    readonly proposal: Proposal
    readonly sender: Sender
    readonly signatureSecret: Uint8Array
  },
): Promise<Uint8Array> {
  const { groupId, epoch, authenticatedData, sender, proposal, signatureSecret } = from
  const body: Content = { kind: 'proposal', proposal }
  const content: FramedContent = { groupId, epoch, sender, authenticatedData, body }
  const wireFormat = 'publicMessage'
  const signature = await signContent(suite, {
    wireFormat,
    content,
    groupContext: null,
    signatureSecret,
  })
  const auth = { signature, confirmationTag: null }
  const publicMessage = { content, auth, membershipTag: null }
  return encodeMlsMessage({ kind: 'publicMessage', publicMessage })
}
