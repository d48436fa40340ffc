/**
 * Whether a commit is valid in a room (GROUP-1 to GROUP-4, JOIN-4 to JOIN-6): one judgement for the
 * hub, for members and for who replays a log. It depends on GroupContext, tree and log entry alone:
 * *members who judge by their own clock, pins or directory split the room.* What RFC 9420 asks was
 * judged before, by `publicProcess`; who is believed to be whom is each device's own affair.
 */
import { equalBytes } from '#core/base/bytes.ts'
import { LIMITS } from '#core/base/limits.ts'
import type { RoomId, TimeMs } from '#core/base/ids.ts'
import type { Crypto } from '#core/crypto/crypto.ts'
import { suiteById } from '#core/crypto/suites.ts'
import { type VerifiedCertificate, verifyCertificate } from '#core/identity/certificate.ts'
import { groupIdOf } from '#core/identity/genesis.ts'
import { type LeafIdentity, leafIsCertified } from '#core/identity/leaf-identity.ts'
import { epochIdOf } from '#core/mls/group-context.ts'
import { type LeafNode, leafNode as leafNodeCodec } from '#core/mls/leaf-node.ts'
import type { Proposal } from '#core/mls/proposal.ts'
import { isFreeFor } from '#core/mls/proposal-list.ts'
import type { CachedProposal, PublicGroup } from '#core/mls/public-group.ts'
import { leafAt, members } from '#core/mls/ratchet-tree.ts'
import type { CommitChange } from '#core/mls/staged-commit.ts'
import { admissionBody, decodeAdmission, verifyAdmission } from '#core/policy/admission.ts'
import { type CommitFacts, type Finality, judgeAppend } from '#core/policy/finality.ts'
import { isGroupInfoOf } from '#core/policy/group-info-rules.ts'
import { findInvitation, type PolicyInvitation, policyOf } from '#core/policy/room-policy.ts'
import { isPolicyChangeAllowed, ROOM_EXTENSION_TYPE } from '#core/policy/room-policy.ts'
import { hasAccount, identityOf, leavesOfAccount, type Roster } from '#core/policy/roster.ts'
import { rosterAfter, rosterOf, usesOf } from '#core/policy/roster.ts'
import { encode } from '#core/wire/codec.ts'
import { type CommitEntry, seenCodec } from '#core/wire/log-entry.ts'
import type { CommitFault } from '#core/wire/refusals.ts'

export interface CommitInLog {
  readonly room: RoomId
  /** The group in which the commit was made, and the one that it makes. */
  readonly before: PublicGroup
  readonly after: PublicGroup
  readonly change: CommitChange
  readonly entry: CommitEntry
  /** Of the entry. */
  readonly timeMs: TimeMs
  /** Of the log below the entry. */
  readonly finality: Finality
}

/** The three ways to come in by a commit of one's own (JOIN-4 to JOIN-6). */
export type ExternalKind = 'invitation' | 'resync' | 'newDevice'

export interface JudgedCommit {
  readonly kind: 'judged'
  /** For `appendCommit`, which also needs the position. */
  readonly facts: Omit<CommitFacts, 'position'>
  readonly external: ExternalKind | null
  /** Those of the entry, verified but for the hub's attestation. */
  readonly certificates: readonly VerifiedCertificate[]
}

export interface RefusedCommit {
  readonly kind: 'refused'
  readonly fault: CommitFault
}

const refused = (fault: CommitFault): RefusedCommit => ({ kind: 'refused', fault })

/** Judges a commit that `publicProcess` has taken. What costs nothing is refused first. */
export async function judgeCommit(
  crypto: Crypto,
  commit: CommitInLog,
): Promise<JudgedCommit | RefusedCommit> {
  const { room, before, after, change, entry, timeMs, finality } = commit
  const said = equalBytes(before.context.groupId, groupIdOf(room)) &&
    equalBytes(change.authenticatedData, encode(seenCodec, entry.seen))
  if (!said) return refused('entry')
  const late = judgeAppend(finality, entry.seen.position)
  if (late !== null) return refused(late)
  const rosters = rostersOf(commit)
  const leaves = readLeaves(commit)
  if (leaves === null) return refused('identity')
  const coming = judgeComing(commit, { leaves, rosters })
  if (typeof coming === 'string') return refused(coming)
  const fault = judgeCounts(commit) ?? judgeProposals(change) ?? judgeLeaves(leaves, rosters) ??
    judgeCommitter(commit, rosters) ?? judgeExtensions(crypto, commit, rosters)
  if (fault !== null) return refused(fault)
  const signed = await isGroupInfoOf(after, change.committer, entry.groupInfo)
  if (!signed) return refused('groupInfo')
  if (!await isAdmitted(crypto, commit, coming)) return refused('admission')
  const certificates = await verifyCertificates(crypto, commit, leaves)
  if (certificates === null) return refused('certificate')
  return {
    kind: 'judged',
    facts: factsOf(after, change, timeMs),
    external: coming.kind,
    certificates,
  }
}

/**
 * A standalone proposal may be an Update that changes nobody's identity (GROUP-4), the only one of
 * its leaf, with a key that is new. *RFC 9420 binds no external proposal to the tree of an epoch: a
 * Remove would hit whoever sits there later. Two Updates of a leaf, or one with a key that is there
 * already, would make invalid whatever commit takes them up.*
 */
export function judgeProposal(before: PublicGroup, { sender, proposal }: CachedProposal): boolean {
  if (sender.kind !== 'member' || proposal.kind !== 'update') return false
  const old = leafAt(before.tree, sender.leaf)
  const identity = old === null ? null : identityOf(old)
  if (old === null || identity === null) return false
  const roster = rosterOf(before.tree)
  const { encryptionKey } = proposal.leafNode
  const isAlone = [...before.proposals.values()].every((other) =>
    other.proposal.kind !== 'update' || other.sender.kind !== 'member' ||
    (other.sender.leaf !== sender.leaf &&
      !equalBytes(other.proposal.leafNode.encryptionKey, encryptionKey))
  )
  return isAlone && isFreeFor(before.tree, sender.leaf, proposal.leafNode) &&
    isSameIdentity(old, proposal.leafNode) && isOfSize(proposal.leafNode) &&
    identity.manifestVersion === highestManifest(identity, { before: roster, after: roster }) &&
    isSameBody(admissionBody(old.extensions), admissionBody(proposal.leafNode.extensions))
}

// ---- What changes -------------------------------------------------------------------------

interface Rosters {
  readonly before: Roster
  readonly after: Roster
}

function rostersOf({ before, after, change }: CommitInLog): Rosters {
  const { added, removed, updated, committer } = change
  const leaves = [...added, ...removed, ...updated].map(({ leaf }) => leaf)
  return {
    before: rosterOf(before.tree),
    after: rosterAfter({
      before: before.tree,
      after: after.tree,
      leaves: [...leaves, committer],
    }),
  }
}

/** A leaf that the commit brings or renews. */
interface TouchedLeaf {
  readonly leaf: number
  readonly leafNode: LeafNode
  readonly identity: LeafIdentity
  /** The leaf in whose place it comes: its device's own, also in a resync; null: none. */
  readonly old: LeafNode | null
  /** Brought by an Add. */
  readonly isAdded: boolean
}

/** Null where one of them has no identity of ours. */
function readLeaves({ before, change }: CommitInLog): readonly TouchedLeaf[] | null {
  const { added, removed, updated, committer, external } = change
  const touched: TouchedLeaf[] = []
  for (const { leaf, leafNode } of added) {
    const identity = identityOf(leafNode)
    if (identity === null) return null
    touched.push({ leaf, leafNode, identity, old: null, isAdded: true })
  }
  for (const { leaf, leafNode } of updated) {
    const identity = identityOf(leafNode)
    if (identity === null) return null
    const isComing = external && leaf === committer
    const old = isComing ? removed[0]?.leafNode ?? null : leafAt(before.tree, leaf)
    touched.push({ leaf, leafNode, identity, old, isAdded: false })
  }
  return touched
}

function judgeCounts({ after, change }: CommitInLog): CommitFault | null {
  const full = change.added.length > LIMITS.membersPerCommitMax ||
    after.tree.memberCount > LIMITS.membersMax
  return full ? 'tooMany' : null
}

const KINDS: ReadonlySet<Proposal['kind']> = new Set([
  ...['add', 'update', 'remove', 'externalInit', 'groupContextExtensions'] as const,
])

/** By reference only Updates; PSKs and ReInit not at all (GROUP-4). */
function judgeProposals({ proposals }: CommitChange): CommitFault | null {
  const good = proposals.every(({ proposal, byReference, sender }) =>
    KINDS.has(proposal.kind) && (!byReference || proposal.kind === 'update') &&
    (sender.kind === 'member' || sender.kind === 'newMemberCommit')
  )
  return good ? null : 'proposalKind'
}

// ---- Leaves and accounts ------------------------------------------------------------------

/** What each leaf must be to its account and device (GROUP-3). */
function judgeLeaves(leaves: readonly TouchedLeaf[], rosters: Rosters): CommitFault | null {
  for (const touched of leaves) {
    const { leafNode, identity, old, isAdded } = touched
    if (!isOfSize(leafNode)) return 'leafSize'
    if (isAdded && admissionBody(leafNode.extensions) !== null) return 'admission'
    const renewal = old === null ? null : judgeRenewal(touched, old)
    if (renewal !== null) return renewal
    const inTree = leavesOfAccount(rosters.after, identity.account)
    if (inTree.some((each) => !equalBytes(each.identity.rootHash, identity.rootHash))) {
      return 'twoRoots'
    }
    const same = inTree.filter((each) => equalBytes(each.identity.device, identity.device))
    if (same.length !== 1) return 'twoLeaves'
    if (identity.manifestVersion < highestManifest(identity, rosters)) return 'oldManifest'
  }
  return null
}

/** *A few large leaves would make the tree too large to be given to anybody who is added.* */
function isOfSize(leaf: LeafNode): boolean {
  return encode(leafNodeCodec, leaf).length <= LIMITS.leafSizeMax
}

function judgeRenewal({ leafNode, identity }: TouchedLeaf, old: LeafNode): CommitFault | null {
  const before = identityOf(old)
  if (before === null) return 'identity'
  const same = before.account === identity.account && equalBytes(before.device, identity.device) &&
    equalBytes(before.rootHash, identity.rootHash)
  if (!same) return 'otherDevice'
  const [was, is] = [admissionBody(old.extensions), admissionBody(leafNode.extensions)]
  return isSameBody(was, is) ? null : 'admission'
}

function isSameBody(a: Uint8Array | null, b: Uint8Array | null): boolean {
  return a === null || b === null ? a === b : equalBytes(a, b)
}

/** Of this account and root, before the commit or after it (GROUP-3). */
function highestManifest(identity: LeafIdentity, { before, after }: Rosters): number {
  return [before, after]
    .flatMap((roster) => leavesOfAccount(roster, identity.account))
    .filter((each) => equalBytes(each.identity.rootHash, identity.rootHash))
    .reduce((highest, each) => Math.max(highest, each.identity.manifestVersion), 0)
}

/**
 * Also a committer that brings no leaf of its own must not be below the manifest. *Who stole a
 * device that was dropped would add members without a path.* An Update comes as it was proposed.
 */
function judgeCommitter({ after, change }: CommitInLog, rosters: Rosters): CommitFault | null {
  const own = leafAt(after.tree, change.committer)
  const identity = own === null ? null : identityOf(own)
  if (identity === null) return 'identity'
  if (identity.manifestVersion < highestManifest(identity, rosters)) return 'oldManifest'
  return null
}

function isSameIdentity(a: LeafNode, b: LeafNode): boolean {
  return a.credential.kind === 'basic' && b.credential.kind === 'basic' &&
    equalBytes(a.credential.identity, b.credential.identity) &&
    equalBytes(a.signatureKey, b.signatureKey)
}

// ---- Who comes in by a commit of its own --------------------------------------------------

type Coming =
  | { readonly kind: null | 'resync' | 'newDevice' }
  | {
    readonly kind: 'invitation'
    readonly invitation: PolicyInvitation
    readonly own: TouchedLeaf
  }

interface Reading {
  readonly leaves: readonly TouchedLeaf[]
  readonly rosters: Rosters
}

/** Which of the three external commits it is, or why none (JOIN-4 to JOIN-6). */
function judgeComing(commit: CommitInLog, { leaves, rosters }: Reading): Coming | CommitFault {
  const { change } = commit
  if (!change.external) return { kind: null }
  // RFC 9420 section 12.4.3.2: it brings nobody else, and removes one leaf at most.
  const [own] = leaves
  if (own === undefined) return 'externalKind'
  // Account, device, root and admission are compared with those of the removed leaf.
  if (change.removed.length > 0) return { kind: 'resync' }
  const isKnown = leavesOfAccount(rosters.before, own.identity.account).length > 0
  if (admissionBody(own.leafNode.extensions) !== null) {
    return isKnown ? 'alreadyMember' : judgeInvitation(commit, own, rosters)
  }
  // That its root is the one that is there is judged with all leaves.
  return isKnown ? { kind: 'newDevice' } : 'externalKind'
}

function judgeInvitation(
  { before, timeMs }: CommitInLog,
  own: TouchedLeaf,
  rosters: Rosters,
): Coming | CommitFault {
  const body = admissionBody(own.leafNode.extensions)
  const admission = body === null ? null : decodeAdmission(body)
  if (admission === null) return 'admission'
  const policy = policyOf(before.context.extensions)
  const invitation = policy === null ? null : findInvitation(policy, admission.invitation)
  if (invitation === null) return 'unknownInvitation'
  // An invitation ends with its inviter: nobody comes back by a link of its own.
  const { inviter, inviterRootHash, expiresAt, usesMax } = invitation
  if (!hasAccount(rosters.before, inviter, inviterRootHash)) return 'unknownInvitation'
  if (timeMs >= expiresAt) return 'invitationExpired'
  if (usesOf(rosters.before, invitation.id) >= usesMax) return 'invitationSpent'
  return { kind: 'invitation', invitation, own }
}

function isAdmitted(
  crypto: Crypto,
  { room, before }: CommitInLog,
  coming: Coming,
): Promise<boolean> {
  if (coming.kind !== 'invitation') return Promise.resolve(true)
  const { invitation, own } = coming
  const { account, device, rootHash, certificateHash } = own.identity
  const { signatureKey, encryptionKey, extensions } = own.leafNode
  const body = admissionBody(extensions)
  const signature = body === null ? null : decodeAdmission(body)?.signature ?? null
  if (signature === null) return Promise.resolve(false)
  return verifyAdmission(crypto, {
    room,
    epochIdBefore: epochIdOf(before.suite, before.context),
    invitation: invitation.id,
    account,
    device,
    rootHash,
    signatureKey,
    encryptionKey,
    certificateHash,
  }, { publicKey: invitation.publicKey, signature })
}

// ---- Extensions and certificates ----------------------------------------------------------

/** The policy as a difference; all other extensions stay byte for byte (POLICY-2). */
function judgeExtensions(
  crypto: Crypto,
  { change, after, timeMs }: CommitInLog,
  rosters: Rosters,
): CommitFault | null {
  const { extensionsBefore, extensionsAfter, committer } = change
  if (extensionsBefore === extensionsAfter) return null
  if (extensionsBefore.length !== extensionsAfter.length) return 'extensions'
  const others = extensionsBefore.every(({ type, body }, index) => {
    const now = extensionsAfter[index]
    return now !== undefined && now.type === type &&
      (type === ROOM_EXTENSION_TYPE.policy || equalBytes(now.body, body))
  })
  if (!others) return 'extensions'
  const [was, is] = [policyOf(extensionsBefore), policyOf(extensionsAfter)]
  const own = leafAt(after.tree, committer)
  const identity = own === null ? null : identityOf(own)
  if (was === null || is === null || identity === null) return 'policy'
  const allowed = isPolicyChangeAllowed(crypto, {
    before: was,
    after: is,
    committer: identity,
    timeMs,
    hasMember: (account, rootHash) => hasAccount(rosters.after, account, rootHash),
  })
  return allowed ? null : 'policy'
}

/**
 * Each new or changed identity is borne out by a certificate of the entry, and each certificate
 * bears out one of them (GROUP-3, ID-6); null otherwise.
 */
async function verifyCertificates(
  crypto: Crypto,
  { after, entry }: CommitInLog,
  leaves: readonly TouchedLeaf[],
): Promise<readonly VerifiedCertificate[] | null> {
  const suite = suiteById(after.suite.id)
  const brought = leaves.filter(({ leafNode, old }) =>
    old === null || !isSameIdentity(old, leafNode)
  )
  if (suite === null) return null
  const hashes = entry.certificates.map((bytes) => crypto.hash('sha256', bytes))
  const isNamed = (hash: Uint8Array) =>
    brought.some(({ identity }) => equalBytes(identity.certificateHash, hash))
  const isOnce = hashes.every((hash, index) =>
    hashes.findIndex((other) => equalBytes(other, hash)) === index
  )
  if (!isOnce || !hashes.every(isNamed)) return null
  const verified: VerifiedCertificate[] = []
  for (const bytes of entry.certificates) {
    const certificate = await verifyCertificate(crypto, bytes, { hubKey: null })
    if (certificate.kind === 'refused') return null
    verified.push(certificate)
  }
  const borneOut = brought.every(({ identity, leafNode }) => {
    const { signatureKey } = leafNode
    const claim = { identity, signatureKey, algorithm: suite.signature }
    return verified.some((certificate) => leafIsCertified(claim, certificate))
  })
  return borneOut ? verified : null
}

// ---- For finality -------------------------------------------------------------------------

function factsOf(
  after: PublicGroup,
  { committer, added, external }: CommitChange,
  timeMs: TimeMs,
): JudgedCommit['facts'] {
  const own = leafAt(after.tree, committer)
  const account = (own === null ? null : identityOf(own))?.account ?? ''
  const newcomers = new Set(added.map(({ leaf }) => leaf))
  if (external) newcomers.add(committer)
  return {
    timeMs,
    epochId: epochIdOf(after.suite, after.context),
    committer,
    account: account as CommitFacts['account'],
    added: [...newcomers],
    hasElectors: hasElectors(after, newcomers, account),
  }
}

/** Stops at the first elector, which in most rooms is one of the first leaves. */
function hasElectors(after: PublicGroup, added: ReadonlySet<number>, account: string): boolean {
  for (const { leaf, leafNode } of members(after.tree)) {
    if (!added.has(leaf) && identityOf(leafNode)?.account !== account) return true
  }
  return false
}
