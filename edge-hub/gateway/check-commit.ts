/**
 * The check of a commit (ROOM-4, ROOM-9): what anybody can read from it agrees with the submission
 * around it, and a certificate bears out each leaf that it brings. What the hub cannot see (tags,
 * the encrypted path) members check for themselves. Owns no roster (see `sequencer/group-view.ts`).
 */
import { equalBytes, toHex } from '#core/base/bytes.ts'
import { LIMITS } from '#core/base/limits.ts'
import { type Suite, suiteById } from '#core/crypto/suites.ts'
import { groupIdOf } from '#core/identity/genesis.ts'
import type { HandshakeView } from '#core/mls/mls.ts'
import type { Body } from '#core/wire/bodies.ts'
import { encode } from '#core/wire/codec.ts'
import { commitEntryCodec, seenCodec } from '#core/wire/log-entry.ts'
import type { Refusal } from '#core/wire/refusals.ts'
import { usesOf } from '#hub/gateway/joins.ts'
import { allNamed, certifyLeaf, verifyAll } from '#hub/gateway/leaf-proof.ts'
import { COMMIT_RATE, type Hub, nowMs, type Room } from '#hub/gateway/model.ts'
import { fullBucket, spend } from '#hub/gateway/rate.ts'
import { type CertifiedLeaf, deviceKey, type GroupView } from '#hub/sequencer/group-view.ts'
import type { Author, CommitSubmission } from '#hub/sequencer/sequencer.ts'

/** Room for everything of an `entries` frame that is neither commit nor certificate. */
const ENTRY_AROUND_COMMIT_MAX = 1_024

type Check = CommitSubmission | { readonly kind: 'refused'; readonly refusal: Refusal }
const refused = (refusal: Refusal): Check => ({ kind: 'refused', refusal })

export interface CommitCheck {
  readonly author: Author
  readonly body: Body<'submitCommit'>
  /** The hash in the log at a position, if there is one. */
  find(position: bigint): Promise<Uint8Array | null>
}

export async function checkCommit(hub: Hub, room: Room, check: CommitCheck): Promise<Check> {
  const { author, body, find } = check
  const { view } = room.sequenced
  const suite = suiteById(view?.suite ?? 0)
  if (view === null || suite === null) return refused({ kind: 'unknownRoom' })
  if (body.epoch < view.epoch) return refused({ kind: 'staleEpoch', epoch: view.epoch })
  if (body.epoch > view.epoch) return refused({ kind: 'futureEpoch', epoch: view.epoch })
  const handshake = hub.ports.mls.readCommit(body.commit)
  if (handshake.kind === 'refused') return refused({ kind: 'malformed' })
  const fault = judgeHandshake(handshake, { body, room, suite }) ??
    judgeSender(handshake, { author, view }) ??
    judgeJoins(handshake, { body, room }) ?? spendCommit(hub, room, handshake.sender)
  if (fault !== null) return refused(fault)
  const leaves = await certifiedLeaves(hub, { handshake, view, suite, body })
  if (leaves === null) return refused({ kind: 'badCertificate' })
  const uses = usesOf(room.joins, leaves.adds)
  if (!hasUses(view, uses)) return refused({ kind: 'invitationSpent' })
  const { commit, newEpochId, certificates, seen, welcome, epoch } = body
  return {
    kind: 'commit',
    author,
    epoch,
    seen: { ...seen, found: await find(seen.position) },
    sender: handshake.sender,
    ...leaves,
    removes: handshake.removes,
    newEpochId,
    welcome,
    uses,
    bytes: encode(commitEntryCodec, { commit, newEpochId, certificates: [...certificates], seen }),
  }
}

function judgeHandshake(
  handshake: HandshakeView,
  against: { readonly body: Body<'submitCommit'>; readonly room: Room; readonly suite: Suite },
): Refusal | null {
  const { body, room, suite } = against
  const { adds, removes, pathLeaf, otherProposals } = handshake
  if (!equalBytes(handshake.groupId, groupIdOf(room.id))) return { kind: 'wrongRoom' }
  if (handshake.epoch !== body.epoch) return { kind: 'malformed' }
  if (!equalBytes(handshake.authenticated, encode(seenCodec, body.seen))) {
    return { kind: 'malformed' }
  }
  if (body.newEpochId.length !== suite.hashLength) return { kind: 'malformed' }
  if ((adds.length > 0) !== (body.welcome.length > 0)) return { kind: 'malformed' }
  // Without a path a removed member could derive the next epoch (RFC 9420 section 12.4).
  if (pathLeaf === null && (removes.length > 0 || adds.length === 0)) return { kind: 'notAllowed' }
  // What the hub cannot follow it cannot order.
  if (otherProposals > 0) return { kind: 'notAllowed' }
  if (adds.length > LIMITS.membersPerCommitMax) return { kind: 'notAllowed' }
  if (new Set(removes).size !== removes.length) return { kind: 'malformed' }
  const size = body.certificates.reduce((sum, { length }) => sum + length, 0)
  if (size > LIMITS.certificatesSizeMax) {
    return { kind: 'oversized', sizeMax: LIMITS.certificatesSizeMax }
  }
  // Readers get the entry in one frame: without the Welcome, but with more around it.
  const sizeMax = LIMITS.frameSizeMax - ENTRY_AROUND_COMMIT_MAX
  return size + body.commit.length > sizeMax ? { kind: 'oversized', sizeMax } : null
}

/** Nobody else's share of commits is spent, and no certificate is checked, for a foreign leaf. */
function judgeSender(
  handshake: HandshakeView,
  { author, view }: { readonly author: Author; readonly view: GroupView },
): Refusal | null {
  const member = view.leaves.get(handshake.sender)
  const own = member !== undefined && member.account === author.account &&
    equalBytes(member.device, author.device)
  return own ? null : { kind: 'wrongLeaf' }
}

/** A commit that names a request to join must add its device, if the request is still there. */
function judgeJoins(
  handshake: HandshakeView,
  { body, room }: { readonly body: Body<'submitCommit'>; readonly room: Room },
): Refusal | null {
  if (body.joinRequest === null) return null
  if (handshake.adds.length === 0) return { kind: 'malformed' }
  const id = toHex(body.joinRequest)
  const join = room.joins.find((each) => each.id === id)
  if (join === undefined) return null
  const member = room.sequenced.view?.byDevice.has(deviceKey(join.account, join.device))
  return member === true ? { kind: 'alreadyMember' } : null
}

/** Six commits a minute for each device. */
function spendCommit(hub: Hub, room: Room, leaf: number): Refusal | null {
  const now = nowMs(hub)
  const bucket = room.commits.get(leaf) ?? fullBucket(COMMIT_RATE, now)
  const spent = spend(bucket, COMMIT_RATE, now)
  if (spent.kind === 'empty') return { kind: 'tooMany', retryAfterMs: spent.retryAfterMs }
  room.commits.set(leaf, spent.bucket)
  return null
}

interface Leaves {
  readonly senderLeaf: CertifiedLeaf | null
  readonly adds: readonly CertifiedLeaf[]
}

async function certifiedLeaves(
  hub: Hub,
  commit: {
    readonly handshake: HandshakeView
    readonly view: GroupView
    readonly suite: Suite
    readonly body: Body<'submitCommit'>
  },
): Promise<Leaves | null> {
  const { handshake, view, suite, body } = commit
  const { crypto, identity } = hub.ports
  const before = view.leaves.get(handshake.sender)
  const { pathLeaf } = handshake
  const same = before === undefined || pathLeaf === null ||
    (equalBytes(before.identity, pathLeaf.identity) &&
      equalBytes(before.signatureKey, pathLeaf.signatureKey))
  const brought = same ? handshake.adds : [...handshake.adds, pathLeaf]
  if (!allNamed(crypto, body.certificates, brought)) return null
  const certificates = await verifyAll(crypto, body.certificates, identity.publicKey)
  if (certificates === null) return null
  const adds: CertifiedLeaf[] = []
  for (const add of handshake.adds) {
    const leaf = certifyLeaf(add, certificates, suite)
    if (leaf === null) return null
    adds.push(leaf)
  }
  if (same) return { senderLeaf: null, adds }
  const senderLeaf = certifyLeaf(pathLeaf, certificates, suite)
  return senderLeaf === null ? null : { senderLeaf, adds }
}

/** True when each invitation has as many uses left as are taken. */
function hasUses(view: GroupView, uses: readonly Uint8Array[]): boolean {
  const taken = new Map<string, number>()
  for (const id of uses) taken.set(toHex(id), (taken.get(toHex(id)) ?? 0) + 1)
  return [...taken].every(([id, count]) => {
    const invitation = view.invitations.get(id)
    return invitation === undefined || invitation.uses + count <= invitation.usesMax
  })
}
