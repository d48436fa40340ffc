/**
 * Making a commit as a member (RFC 9420 section 12.4.1), with the Welcome for whom it adds
 * (12.4.3.1). A path is there where section 12.4 demands one, or where the caller wants one.
 */
import { assert } from '#core/base/assert.ts'
import { wipe } from '#core/base/bytes.ts'
import { LIMITS } from '#core/base/limits.ts'
import type { TimeMs } from '#core/base/ids.ts'
import type { Entropy } from '#core/base/ports.ts'
import { type MadePath, makePath, wipePath } from '#core/mls/commit-path.ts'
import { type MlsFault, type MlsRefusal, refuse } from '#core/mls/fault.ts'
import { encodeMlsMessage, type FramedContent } from '#core/mls/framing.ts'
import type { ContentWireFormat, Sender } from '#core/mls/framing.ts'
import { encodeGroupContext, type GroupContext } from '#core/mls/group-context.ts'
import { enterEpoch, findPsks, type Group, keptKeys, nextGroup } from '#core/mls/group.ts'
import { nextJoinerSecret, type PskLookup } from '#core/mls/group.ts'
import { countLeaf, credentialsAgree, type LeafCensus } from '#core/mls/leaf-census.ts'
import type { LeafNode } from '#core/mls/leaf-node.ts'
import type { LeafTemplate } from '#core/mls/own-leaf.ts'
import { protect } from '#core/mls/private-message.ts'
import type { Proposal, ProposalOrRef } from '#core/mls/proposal.ts'
import {
  type AppliedProposals,
  applyProposals,
  type SentProposal,
} from '#core/mls/proposal-list.ts'
import type { Psk } from '#core/mls/psk.ts'
import { type PublicGroup, publicGroupOf } from '#core/mls/public-group.ts'
import { membershipTag, signContent } from '#core/mls/public-message.ts'
import { leafAt, parentAt, type RatchetTree } from '#core/mls/ratchet-tree.ts'
import { secretsOfTree } from '#core/mls/secret-tree.ts'
import { type CommitChange, listContext, nextContext } from '#core/mls/staged-commit.ts'
import { confirmedTranscriptHash } from '#core/mls/transcript.ts'
import { encodeRatchetTree } from '#core/mls/tree-codec.ts'
import { leafToNode } from '#core/mls/tree-math.ts'
import { makeWelcome, type WelcomeContents } from '#core/mls/welcome-make.ts'

export interface CommitMaking {
  /** By value. */
  readonly proposals: readonly Proposal[]
  /** References of the epoch's proposals that go in with them, before those by value. */
  readonly references?: readonly Uint8Array[]
  /** `always` also refreshes the committer's keys where no proposal demands it. */
  readonly path: 'whenRequired' | 'always'
  readonly authenticatedData: Uint8Array
  readonly wireFormat: ContentWireFormat
  /** Zero bytes behind a PrivateMessage. */
  readonly paddingLength?: number
  /** Of the committer's leaf, where it changes. */
  readonly template?: LeafTemplate
  readonly welcome: WelcomeContents
  readonly psks: PskLookup
  /** Null leaves the lifetimes of KeyPackages unjudged. */
  readonly timeMs: TimeMs | null
  readonly entropy: Entropy
  /** True for the first commit of a group that succeeds another (sections 11.2 and 11.3). */
  readonly successor?: boolean
}

export interface CommitMade {
  readonly kind: 'committed'
  /** MLSMessage. */
  readonly message: Uint8Array
  /** MLSMessage with a Welcome for all who are added; null where nobody is. */
  readonly welcome: Uint8Array | null
  /** The state in the new epoch; it counts once the commit stands in the group's order. */
  readonly next: Group
  readonly change: CommitChange
  /** Wiped once the state before has no use left. */
  readonly consumed: readonly Uint8Array[]
}

/** Makes a commit. Refuses what section 12.2 forbids with the code that others would have. */
export async function makeCommit(
  group: Group,
  making: CommitMaking,
): Promise<CommitMade | MlsRefusal> {
  const collected = collectProposals(group, making)
  if (collected === null) return refuse('unknownProposal')
  const staging = { timeMs: making.timeMs, successor: making.successor ?? false }
  const committer = { kind: 'member', leaf: group.ownLeaf } as const
  const applied = await applyProposals(
    listContext(group.public, committer, staging),
    collected.sent,
  )
  if (applied.kind === 'refused') return applied
  const fault = judgeMaking(group, making, applied)
  if (fault !== null) return refuse(fault)
  const psks = findPsks(group, applied.psks, making.psks)
  if (psks === null) return refuse('unknownPsk')
  const path = applied.pathRequired || making.path === 'always'
    ? await makePath(group.public, {
      applied,
      committer,
      template: making.template ?? ownTemplate(group),
      signatureSecret: group.signatureSecret,
      entropy: making.entropy,
    })
    : null
  if (applied.added.length > 0 && !fitsWelcome(path?.tree ?? applied.tree, making)) {
    if (path !== null) {
      wipe(...path.privateKeys.map(([, key]) => key))
      wipePath(path.secrets)
    }
    return refuse('tooLarge')
  }
  const made = { applied, path, psks, sent: collected.sent, listed: collected.listed }
  return await finishCommit(group, making, made)
}

/** Whether the Welcome can carry the tree, where it is to. */
function fitsWelcome(tree: RatchetTree, { welcome }: CommitMaking): boolean {
  return !welcome.ratchetTree || encodeRatchetTree(tree).length <= LIMITS.mlsExtensionSizeMax
}

function judgeMaking(
  group: Group,
  making: CommitMaking,
  applied: AppliedProposals,
): MlsFault | null {
  if (group.public.reInit !== null) return 'suspended'
  if (making.wireFormat === 'privateMessage' && group.secretTree === null) return 'wrongKind'
  return credentialsAgree(applied.census) ? null : 'unsupportedCapability'
}

interface Collected {
  readonly sent: readonly SentProposal[]
  readonly listed: readonly ProposalOrRef[]
}

function collectProposals(group: Group, making: CommitMaking): Collected | null {
  const sender: Sender = { kind: 'member', leaf: group.ownLeaf }
  const sent: SentProposal[] = []
  const listed: ProposalOrRef[] = []
  const cached = [...group.public.proposals.values()]
  for (const reference of making.references ?? []) {
    const found = cached.find((each) => sameBytes(each.reference, reference))
    if (found === undefined) return null
    sent.push({ proposal: found.proposal, sender: found.sender, byReference: true })
    listed.push({ kind: 'reference', reference })
  }
  for (const proposal of making.proposals) {
    sent.push({ proposal, sender, byReference: false })
    listed.push({ kind: 'proposal', proposal })
  }
  return { sent, listed }
}

function sameBytes(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, index) => byte === b[index])
}

/** The leaf as it is, for its next version. */
export function ownTemplate(group: Group): LeafTemplate {
  const leaf = leafAt(group.public.tree, group.ownLeaf)
  assert(leaf !== null, 'a member has a leaf')
  const { credential, signatureKey, capabilities, extensions } = leaf
  return { credential, signatureKey, capabilities, extensions }
}

interface MadeParts {
  readonly applied: AppliedProposals
  readonly path: MadePath | null
  readonly psks: readonly Psk[]
  readonly sent: readonly SentProposal[]
  readonly listed: readonly ProposalOrRef[]
}

async function finishCommit(
  group: Group,
  making: CommitMaking,
  parts: MadeParts,
): Promise<CommitMade> {
  const { suite } = group.public
  const { applied, path } = parts
  const content = framed(group, making, parts)
  const signed = await signedCommit(group, {
    wireFormat: making.wireFormat,
    content,
    provisional: path?.context ?? nextContext(group.public, applied.tree, applied.extensions),
  })
  const joiner = nextJoinerSecret(suite, {
    initSecret: group.secrets.initSecret,
    commitSecret: path?.secrets.commitSecret ?? null,
    context: signed.context,
  })
  const entered = enterEpoch(suite, {
    joinerSecret: joiner,
    psks: parts.psks,
    context: signed.context,
  })
  const publicGroup = publicGroupOf(suite, {
    context: signed.context,
    tree: path?.tree ?? applied.tree,
    census: path === null ? applied.census : pathCensus(group, applied, path.updatePath.leafNode),
    confirmationTag: entered.confirmationTag,
    reInit: applied.reInit,
  })
  const isHeld = (node: number) =>
    node === leafToNode(group.ownLeaf) || parentAt(publicGroup.tree, node) !== null
  const privateKeys = keptKeys(group.privateKeys, isHeld, path?.privateKeys ?? [])
  const stepped = nextGroup(group, { publicGroup, secrets: entered.secrets, privateKeys })
  const message = frameCommit(group, making, {
    content,
    auth: { signature: signed.signature, confirmationTag: entered.confirmationTag },
  })
  const welcome = await makeWelcome(stepped.next, {
    added: applied.added,
    joinerSecret: joiner,
    welcomeSecret: entered.welcomeSecret,
    pathSecrets: path?.secrets ?? null,
    psks: applied.psks,
    contents: making.welcome,
    entropy: making.entropy,
  })
  wipe(joiner, entered.welcomeSecret)
  if (path !== null) wipePath(path.secrets)
  return {
    kind: 'committed',
    message: message.bytes,
    welcome,
    next: stepped.next,
    change: changeOf(group.public, { ...parts, content }),
    consumed: [...stepped.consumed, ...message.consumed],
  }
}

function framed(group: Group, making: CommitMaking, parts: MadeParts): FramedContent {
  const { context } = group.public
  return {
    groupId: context.groupId,
    epoch: context.epoch,
    sender: { kind: 'member', leaf: group.ownLeaf },
    authenticatedData: making.authenticatedData,
    body: {
      kind: 'commit',
      commit: { proposals: parts.listed, path: parts.path?.updatePath ?? null },
    },
  }
}

/** A commit's signature and the context of the epoch that it makes, transcript included. */
export async function signedCommit(
  group: { readonly public: PublicGroup; readonly signatureSecret: Uint8Array },
  signing: {
    readonly wireFormat: ContentWireFormat
    readonly content: FramedContent
    readonly provisional: GroupContext
  },
): Promise<{ readonly signature: Uint8Array; readonly context: GroupContext }> {
  const { suite, context, interimTranscriptHash } = group.public
  const { wireFormat, content, provisional } = signing
  const signature = await signContent(suite, {
    wireFormat,
    content,
    groupContext: encodeGroupContext(context),
    signatureSecret: group.signatureSecret,
  })
  const confirmed = confirmedTranscriptHash(suite, interimTranscriptHash, {
    wireFormat,
    content,
    signature,
  })
  return { signature, context: { ...provisional, confirmedTranscriptHash: confirmed } }
}

function pathCensus(group: Group, applied: AppliedProposals, leafNode: LeafNode): LeafCensus {
  const before = leafAt(applied.tree, group.ownLeaf)
  assert(before !== null, 'a committer stays')
  return countLeaf(countLeaf(applied.census, before, -1), leafNode, 1)
}

interface SignedCommit {
  readonly content: FramedContent
  readonly auth: { readonly signature: Uint8Array; readonly confirmationTag: Uint8Array }
}

function frameCommit(
  group: Group,
  making: CommitMaking,
  { content, auth }: SignedCommit,
): { readonly bytes: Uint8Array; readonly consumed: readonly Uint8Array[] } {
  const { suite, context } = group.public
  if (making.wireFormat === 'publicMessage') {
    const groupContext = encodeGroupContext(context)
    const tag = membershipTag(suite, group.secrets.membershipKey, { content, auth, groupContext })
    const publicMessage = { content, auth, membershipTag: tag }
    return { bytes: encodeMlsMessage({ kind: 'publicMessage', publicMessage }), consumed: [] }
  }
  assert(group.secretTree !== null, 'a private message has its keys')
  const { senderDataSecret } = group.secrets
  const state = { senderDataSecret, secretTree: group.secretTree }
  const { message, secretTree, consumed } = protect(suite, state, {
    content,
    auth,
    ownLeaf: group.ownLeaf,
    paddingLength: making.paddingLength ?? 0,
    entropy: making.entropy,
  })
  const bytes = encodeMlsMessage({ kind: 'privateMessage', privateMessage: message })
  // No state goes on with this epoch's tree.
  return { bytes, consumed: [...consumed, ...secretsOfTree(secretTree)] }
}

function changeOf(
  group: PublicGroup,
  parts: MadeParts & { readonly content: FramedContent },
): CommitChange {
  const { applied, path, sent, content } = parts
  assert(content.sender.kind === 'member', 'a member commits')
  const committer = content.sender.leaf
  const own = path === null ? [] : [{ leaf: committer, leafNode: path.updatePath.leafNode }]
  return {
    committer,
    external: false,
    added: applied.added,
    removed: applied.removed,
    updated: [...applied.updated, ...own],
    extensionsBefore: group.context.extensions,
    extensionsAfter: applied.extensions,
    proposals: sent,
    authenticatedData: content.authenticatedData,
  }
}
