/**
 * The checks of what changes a group or judges such a change: commits, proposals and votes
 * (ROOM-4, GROUP-1 to GROUP-5, VOTE-2), each by the judgement that every member makes, against the
 * state that the room has now; the sequencer refuses what meets another one. Owns what a hub asks
 * beyond that: rates, sizes, and that a newcomer's certificate is attested here.
 */
import { equalBytes } from '#core/base/bytes.ts'
import type { LeafIndex } from '#core/base/ids.ts'
import { LIMITS } from '#core/base/limits.ts'
import { isAttested } from '#core/identity/certificate.ts'
import { decodeMlsMessage, type PublicMessage } from '#core/mls/framing.ts'
import { publicProcess } from '#core/mls/public-process.ts'
import { judgeCommit, type JudgedCommit, judgeProposal } from '#core/policy/commit-rules.ts'
import { identityOf } from '#core/policy/roster.ts'
import { judgeVote, readVote } from '#core/policy/vote.ts'
import type { Body } from '#core/wire/bodies.ts'
import { encode } from '#core/wire/codec.ts'
import { type CommitEntry, commitEntryCodec, proposalEntryCodec } from '#core/wire/log-entry.ts'
import { voteEntryCodec } from '#core/wire/log-entry.ts'
import type { Refusal } from '#core/wire/refusals.ts'
import { refusalOf } from '#hub/gateway/answering.ts'
import { type Hub, LINK_RATE, nowMs, type Room } from '#hub/gateway/model.ts'
import { type Buckets, spend } from '#hub/gateway/rate.ts'
import { type Author, deviceKey, type EpochView, isSameDevice } from '#hub/sequencer/group-view.ts'
import { memberAt } from '#hub/sequencer/group-view.ts'
import { headView, viewAt } from '#hub/sequencer/room-state.ts'
import type { CommitSubmission, ProposalSubmission } from '#hub/sequencer/sequencer.ts'
import type { VoteSubmission } from '#hub/sequencer/sequencer.ts'

/** Room for everything of an `entries` frame that is neither commit nor certificate. */
const ENTRY_AROUND_COMMIT_MAX = 1_024

type Refused = { readonly kind: 'refused'; readonly refusal: Refusal }
const refused = (refusal: Refusal): Refused => ({ kind: 'refused', refusal })

export interface CommitCheck {
  readonly author: Author
  readonly body: Body<'submitCommit'>
  /** The hash in the log at a position, if there is one. */
  find(position: bigint): Promise<Uint8Array | null>
}

export async function checkCommit(
  hub: Hub,
  room: Room,
  check: CommitCheck,
): Promise<CommitSubmission | Refused> {
  const { author, body, find } = check
  const head = headView(room.sequenced)
  const { finality } = room.sequenced
  if (head === null || finality === null) return refused({ kind: 'unknownRoom' })
  const message = decodeMlsMessage('publicMessage', body.commit)?.publicMessage ?? null
  if (message === null) return refused({ kind: 'malformed' })
  const cheap = judgeEpoch(head, body) ?? judgeSizes(message, body) ??
    judgeSender(head, message, author) ?? spendOf(hub, hub.commits, room, author)
  if (cheap !== null) return refused(cheap)
  // The time of the entry: while a commit is judged, the room has no other.
  const timeMs = room.judgingAtMs ?? nowMs(hub)
  const processed = await publicProcess(head.group, body.commit, { timeMs })
  if (processed.kind !== 'commit') return refused({ kind: 'badCommit', fault: 'mls' })
  const { commit, groupInfo, certificates, seen, welcome, epoch, epochId } = body
  const entry: CommitEntry = { commit, groupInfo, certificates: [...certificates], seen }
  const judged = await judgeCommit(hub.ports.crypto, {
    room: room.id,
    before: head.group,
    after: processed.group,
    change: processed.change,
    entry,
    timeMs,
    finality,
  })
  if (judged.kind === 'refused') return refused({ kind: 'badCommit', fault: judged.fault })
  if (!await areAttested(hub, body.certificates)) return refused({ kind: 'badCertificate' })
  const { external } = judged
  const late = judgeShare(hub, room, { author, external })
  if (late !== null) return refused(late)
  return {
    kind: 'commit',
    author,
    epoch,
    epochId,
    seen: { ...seen, found: await find(seen.position) },
    before: head.group,
    after: processed.group,
    change: processed.change,
    facts: judged.facts,
    external,
    certificates: storedCertificates(judged, certificates),
    welcome,
    bytes: encode(commitEntryCodec, entry),
  }
}

function judgeEpoch(head: EpochView, body: Body<'submitCommit'>): Refusal | null {
  if (body.epoch < head.epoch) return { kind: 'staleEpoch', epoch: head.epoch }
  if (body.epoch > head.epoch) return { kind: 'futureEpoch', epoch: head.epoch }
  return equalBytes(body.epochId, head.epochId) ? null : { kind: 'wrongEpochId' }
}

function judgeSizes(message: PublicMessage, body: Body<'submitCommit'>): Refusal | null {
  const { content } = message
  if (content.body.kind !== 'commit') return { kind: 'malformed' }
  const hasAdds = content.body.commit.proposals.some((each) =>
    each.kind === 'proposal' && each.proposal.kind === 'add'
  )
  if (hasAdds !== (body.welcome.length > 0)) return { kind: 'malformed' }
  const size = body.certificates.reduce((sum, { length }) => sum + length, 0)
  if (size > LIMITS.certificatesSizeMax) {
    return { kind: 'oversized', sizeMax: LIMITS.certificatesSizeMax }
  }
  // Readers get the entry in one frame: without the Welcome, but with more around it.
  const sizeMax = LIMITS.frameSizeMax - ENTRY_AROUND_COMMIT_MAX
  const entry = size + body.commit.length + body.groupInfo.length
  return entry > sizeMax ? { kind: 'oversized', sizeMax } : null
}

/** Nobody else's share of commits is spent, and no certificate is checked, for a foreign leaf. */
function judgeSender(
  head: EpochView,
  { content: { sender, body } }: PublicMessage,
  author: Author,
): Refusal | null {
  const member = sender.kind === 'member'
    ? memberAt(head, sender.leaf)
    : sender.kind === 'newMemberCommit' && body.kind === 'commit' && body.commit.path !== null
    ? identityOf(body.commit.path.leafNode)
    : null
  return member !== null && isSameDevice(member, author) ? null : { kind: 'wrongLeaf' }
}

/** One token of a device's share in a room. */
function spendOf(hub: Hub, buckets: Buckets, room: Room, author: Author): Refusal | null {
  return refusalOf(buckets.spend(shareKey(room, author), nowMs(hub)))
}

function shareKey(room: Room, author: Author): string {
  return `${room.key}${deviceKey(author)}`
}

type External = Pick<CommitSubmission, 'author' | 'external'>

/**
 * Joins by link are few for each room, and so are the resyncs of a device. The check only looks: it
 * is the entry that counts, and a commit that is not stored may come again.
 */
function judgeShare(hub: Hub, room: Room, { author, external }: External): Refusal | null {
  if (external === 'resync') {
    return refusalOf(hub.resyncs.look(shareKey(room, author), nowMs(hub)))
  }
  if (external !== 'invitation') return null
  return refusalOf(spend(room.linkJoins, LINK_RATE, nowMs(hub)))
}

/** An external commit stands in the log: it takes its part of the share that it was checked for. */
export function spendShare(hub: Hub, room: Room, { author, external }: External): void {
  if (external === 'resync') hub.resyncs.spend(shareKey(room, author), nowMs(hub))
  if (external !== 'invitation') return
  const spent = spend(room.linkJoins, LINK_RATE, nowMs(hub))
  if (spent.kind === 'spent') room.linkJoins = spent.bucket
}

async function areAttested(hub: Hub, certificates: readonly Uint8Array[]): Promise<boolean> {
  const { crypto, identity } = hub.ports
  const attested = await Promise.all(
    certificates.map((bytes) => isAttested(crypto, bytes, identity.publicKey)),
  )
  return attested.every((each) => each)
}

function storedCertificates(judged: JudgedCommit, certificates: readonly Uint8Array[]) {
  return judged.certificates.map(({ hash }, index) => ({
    hash,
    certificate: certificates[index] as Uint8Array,
  }))
}

export interface ProposalCheck {
  readonly author: Author
  readonly body: Body<'submitProposal'>
}

export async function checkProposal(
  hub: Hub,
  room: Room,
  { author, body }: ProposalCheck,
): Promise<ProposalSubmission | Refused> {
  const head = headView(room.sequenced)
  if (head === null) return refused({ kind: 'unknownRoom' })
  const { proposal } = body
  const message = decodeMlsMessage('publicMessage', proposal)?.publicMessage ?? null
  if (message === null) return refused({ kind: 'malformed' })
  const { epoch } = message.content
  if (epoch < head.epoch) return refused({ kind: 'staleEpoch', epoch: head.epoch })
  if (epoch > head.epoch) return refused({ kind: 'futureEpoch', epoch: head.epoch })
  const foreign = judgeSender(head, message, author)
  if (foreign !== null) return refused(foreign)
  // The sequencer would refuse it: no signature is checked for it.
  if (head.proposals.length >= LIMITS.proposalsPerEpochMax) {
    return refused({ kind: 'tooMany', retryAfterMs: LIMITS.verdictWaitMs })
  }
  const taken = await publicProcess(head.group, proposal, { timeMs: nowMs(hub) })
  const isGood = taken.kind === 'proposal' && judgeProposal(head.group, taken.cached)
  if (!isGood || taken.cached.sender.kind !== 'member') return refused({ kind: 'badProposal' })
  return {
    kind: 'proposal',
    author,
    leaf: taken.cached.sender.leaf as LeafIndex,
    before: head.group,
    after: taken.group,
    bytes: encode(proposalEntryCodec, { proposal }),
  }
}

export interface VoteCheck {
  readonly author: Author
  readonly body: Body<'submitVote'>
}

/** A vote of somebody else's leaf, or about nothing that is open, costs no signature check. */
export async function checkVote(
  hub: Hub,
  room: Room,
  { author, body }: VoteCheck,
): Promise<VoteSubmission | Refused> {
  const { vote } = body
  const { sequenced } = room
  const { finality } = sequenced
  const said = readVote(vote)
  if (finality === null) return refused({ kind: 'unknownRoom' })
  if (said === null) return refused({ kind: 'badVote', fault: 'malformed' })
  const view = viewAt(sequenced, said.position)
  const member = view === null ? null : memberAt(view, said.leaf)
  if (member !== null && !isSameDevice(member, author)) {
    return refused({ kind: 'badVote', fault: 'wrongLeaf' })
  }
  const place = {
    room: room.id,
    finality,
    groupAt: (position: bigint) => viewAt(sequenced, position)?.made ?? null,
  }
  const judged = await judgeVote(hub.ports.crypto, place, vote)
  if (judged.kind === 'refused') return refused({ kind: 'badVote', fault: judged.fault })
  return { kind: 'vote', author, vote: judged.vote, bytes: encode(voteEntryCodec, { vote }) }
}
