/**
 * The sequencer: who may append what to a room's log, and at which position (SEQ-1 to SEQ-6, LOG-1,
 * LOG-4, LOG-5). Pure and synchronous: `sequence` decides on a batch and changes nothing;
 * `install` takes the decision into the room's state once the log has stored it. Signatures,
 * certificates and MLS were checked before; what they said is part of a submission, with the very
 * state that they were checked against.
 */
import { assert, unreachable } from '#core/base/assert.ts'
import { equalBytes } from '#core/base/bytes.ts'
import { type LogPosition, type TimeMs, timeMs } from '#core/base/ids.ts'
import { LIMITS } from '#core/base/limits.ts'
import type { PublicGroup } from '#core/mls/public-group.ts'
import type { CommitChange } from '#core/mls/staged-commit.ts'
import type { JudgedCommit } from '#core/policy/commit-rules.ts'
import { castVote, type CommitFacts, judgeAppend } from '#core/policy/finality.ts'
import { hasSeenVoids, type JudgedVote, maySpeak } from '#core/policy/finality.ts'
import type { Sha256 } from '#core/wire/log-entry.ts'
import type { Refusal } from '#core/wire/refusals.ts'
import type { StoredCertificate } from '#hub/ports.ts'
import { type Decision, Draft, type Outcome } from '#hub/sequencer/draft.ts'
import { type Author, type EpochView, isSameDevice } from '#hub/sequencer/group-view.ts'
import { memberAt, viewOf } from '#hub/sequencer/group-view.ts'
import { chainKey, chainsAt, type SequencedRoom } from '#hub/sequencer/room-state.ts'

export type { Decision, Outcome } from '#hub/sequencer/draft.ts'

/** Last entry that a sender had seen; `found` is the log's own hash there if it was looked up. */
export interface Seen {
  readonly position: bigint
  readonly hash: Uint8Array
  readonly found: Uint8Array | null
}

export interface FrameSubmission {
  readonly kind: 'frame'
  readonly author: Author
  readonly suite: number
  readonly epoch: bigint
  readonly epochId: Uint8Array
  readonly leaf: number
  readonly lane: number
  readonly generation: number
  /** Generation that the chain must have reached before (SEQ-7); null: any. */
  readonly after: number | null
  readonly seen: Seen
  /** By the leaf's key in the newest epoch; `unchecked` where that was another epoch then. */
  readonly signature: 'right' | 'wrong' | 'unchecked'
  readonly bytes: Uint8Array
}

export interface CommitSubmission {
  readonly kind: 'commit'
  readonly author: Author
  readonly epoch: bigint
  readonly epochId: Uint8Array
  readonly seen: Seen
  /** The group that the commit was judged against, and what came of it. */
  readonly before: PublicGroup
  readonly after: PublicGroup
  readonly change: CommitChange
  /** With the time that the commit was judged at. */
  readonly facts: Omit<CommitFacts, 'position'>
  /** How its committer came by itself; null: it was a member. */
  readonly external: JudgedCommit['external']
  readonly certificates: readonly StoredCertificate[]
  /** One for all adds; empty without adds. */
  readonly welcome: Uint8Array
  /** Encoded `CommitEntry`. */
  readonly bytes: Uint8Array
}

export interface ProposalSubmission {
  readonly kind: 'proposal'
  readonly author: Author
  /** Leaf that proposes. */
  readonly leaf: number
  /** The group that the proposal was judged against, and the same with the proposal. */
  readonly before: PublicGroup
  readonly after: PublicGroup
  /** Encoded `ProposalEntry`. */
  readonly bytes: Uint8Array
}

export interface VoteSubmission {
  readonly kind: 'vote'
  readonly author: Author
  readonly vote: JudgedVote
  /** Encoded `VoteEntry`. */
  readonly bytes: Uint8Array
}

export interface GenesisSubmission {
  readonly kind: 'genesis'
  readonly author: Author
  readonly group: PublicGroup
  readonly certificate: StoredCertificate
  /** Encoded `GenesisEntry`. */
  readonly bytes: Uint8Array
}

export type Submission =
  | FrameSubmission
  | CommitSubmission
  | ProposalSubmission
  | VoteSubmission
  | GenesisSubmission

export interface SequenceContext {
  readonly nowMs: TimeMs
  readonly sha256: Sha256
  /** Whether a device that may vote on this commit is connected. */
  hasElectorHere(view: EpochView, facts: CommitFacts): boolean
}

/** Decides on a batch, in order; verdicts that are due stand where they became so. */
export function sequence(
  room: SequencedRoom,
  batch: readonly Submission[],
  context: SequenceContext,
): Decision {
  const time = timeMs(Math.max(room.time, context.nowMs))
  const draft = new Draft(room, time, context.sha256)
  draft.settle()
  const outcomes = batch.map((submission) => decide(draft, submission, context))
  return draft.decision(outcomes)
}

/** Takes a stored decision into the room. */
export function install(room: SequencedRoom, decision: Decision): void {
  assert(room.next === decision.expectedNext, 'a decision is installed on the state it was made of')
  for (const { position, entryHash } of decision.entries) {
    room.memory.remember(position, entryHash)
    room.headHash = entryHash
    room.next = position + 1n
  }
  if (decision.entries.length > 0) room.time = decision.time
  room.epochs = decision.epochs
  room.finality = decision.finality
  room.strikes = decision.strikes
  room.asks = room.asks.slice(decision.asksTaken)
  for (const { origin, leaf, lane, generation } of decision.generations) {
    chainsAt(room.generations, origin).set(chainKey(leaf, lane), generation)
  }
  if (decision.effects === null) return
  const kept = new Set<bigint>(room.epochs.map(({ origin }) => origin))
  for (const origin of [...room.generations.keys()]) {
    if (!kept.has(origin)) room.generations.delete(origin)
  }
}

const refused = (refusal: Refusal): Outcome => ({ kind: 'refused', refusal })
const accepted = (position: LogPosition): Outcome => ({ kind: 'accepted', position })

function decide(draft: Draft, submission: Submission, context: SequenceContext): Outcome {
  if (submission.kind === 'genesis') return decideGenesis(draft, submission)
  const { head } = draft
  if (head === null) return refused({ kind: 'unknownRoom' })
  switch (submission.kind) {
    case 'frame':
      return decideFrame(draft, head, submission)
    case 'commit':
      return decideCommit(draft, head, submission, context)
    case 'proposal':
      return decideProposal(draft, head, submission)
    case 'vote':
      return decideVote(draft, submission)
    default:
      return unreachable(submission)
  }
}

/** The same genesis again finds its room, and is not sequenced again (ROOM-1). */
function decideGenesis(draft: Draft, submission: GenesisSubmission): Outcome {
  if (draft.head !== null) return refused({ kind: 'roomExists' })
  const origin = draft.append('genesis', submission.bytes)
  draft.begin(viewOf(submission.group, { origin, certificates: [submission.certificate] }))
  return accepted(origin)
}

function decideFrame(draft: Draft, head: EpochView, frame: FrameSubmission): Outcome {
  const outdated = judgeEpoch(head, frame)
  if (outdated !== null) return refused(outdated)
  if (frame.suite !== head.suite) return refused({ kind: 'unknownSuite', suite: frame.suite })
  if (!ownsLeaf(head, frame.author, frame.leaf)) return refused({ kind: 'wrongLeaf' })
  if (frame.signature === 'unchecked') return refused({ kind: 'staleEpoch', epoch: head.epoch })
  if (frame.signature === 'wrong') return refused({ kind: 'wrongSignature' })
  if (!speaks(draft, frame.leaf)) return refused({ kind: 'provisional', position: head.origin })
  // Sealed before the epoch was left and came back: its sender seals it again.
  const { finality } = draft
  const isOld = finality !== null && !hasSeenVoids(finality, frame.seen.position)
  if (isOld) return refused({ kind: 'staleEpoch', epoch: head.epoch })
  const last = draft.lastGeneration(head, frame.leaf, frame.lane)
  const generation = Math.max(last, 0)
  if (frame.generation <= last) return refused({ kind: 'replayed', generation })
  if (frame.generation > Math.min(last + LIMITS.generationJumpMax, LIMITS.generationMax)) {
    return refused({ kind: 'generationTooFar', generation })
  }
  // The one before it was not taken, and will be given again: they keep their order.
  const isAhead = frame.after !== null && frame.after > last
  if (isAhead) return refused({ kind: 'unavailable', retryAfterMs: 0 })
  if (!hasSeen(draft.room, frame.seen)) return refused({ kind: 'unknownEntry' })
  draft.take(head, chainKey(frame.leaf, frame.lane), frame.generation)
  return accepted(draft.append('frame', frame.bytes))
}

/** One commit for each epoch: the second finds the epoch gone (RFC 9420 section 14). */
function decideCommit(
  draft: Draft,
  head: EpochView,
  commit: CommitSubmission,
  context: SequenceContext,
): Outcome {
  const outdated = judgeEpoch(head, commit) ?? judgeCommitter(draft, head, commit)
  if (outdated !== null) return refused(outdated)
  if (!hasSeen(draft.room, commit.seen)) return refused({ kind: 'unknownEntry' })
  const { finality } = draft
  const fault = finality === null ? 'entry' : judgeAppend(finality, commit.seen.position)
  if (fault !== null) return refused({ kind: 'badCommit', fault })
  const { after, change, certificates } = commit
  const position = draft.append('commit', commit.bytes)
  const view = viewOf(after, { origin: position, certificates })
  const facts: CommitFacts = { ...commit.facts, position }
  const held = change.added.length > 0 && context.hasElectorHere(view, facts)
  for (const { leaf } of change.added) {
    const member = memberAt(view, leaf)
    if (member === null) continue
    const { account, device } = member
    draft.welcome({ account, device, position, welcome: commit.welcome, held })
  }
  draft.open(view, facts)
  draft.settle()
  return accepted(position)
}

/** A commit is a device's own, and was judged against the state that it now meets. */
function judgeCommitter(draft: Draft, head: EpochView, commit: CommitSubmission): Refusal | null {
  const { author, change, before, after, facts } = commit
  if (before !== head.group) return { kind: 'staleEpoch', epoch: head.epoch }
  // Members judge it by the time of its entry: a clock that jumped back in between.
  if (facts.timeMs !== draft.time) return { kind: 'unavailable', retryAfterMs: 0 }
  const isResync = change.external && change.removed.length > 0
  const waits = isResync ? null : strikeWait(draft, author)
  if (waits !== null) return { kind: 'tooMany', retryAfterMs: waits }
  const sitsIn = change.external ? after : before
  if (!ownsLeaf({ made: sitsIn }, author, change.committer)) return { kind: 'wrongLeaf' }
  if (change.external || speaks(draft, change.committer)) return null
  return { kind: 'provisional', position: head.origin }
}

/**
 * Two commits of a device that became void within an hour end its right for an hour; coming back to
 * its own leaf has a limit of its own (VOTE-8, JOIN-8).
 */
function strikeWait(draft: Draft, author: Author): number | null {
  const own = draft.strikes.filter((strike) => isSameDevice(strike, author))
  const [first] = own.slice(-LIMITS.voidsPerDeviceMax)
  const last = own.at(-1)
  if (own.length < LIMITS.voidsPerDeviceMax || first === undefined || last === undefined) {
    return null
  }
  if (last.timeMs - first.timeMs >= LIMITS.voidsWindowMs) return null
  const until = last.timeMs + LIMITS.voidsWindowMs
  return until > draft.time ? until - draft.time : null
}

function decideProposal(draft: Draft, head: EpochView, proposal: ProposalSubmission): Outcome {
  const { before, after, author, leaf } = proposal
  if (before !== head.group) return refused({ kind: 'staleEpoch', epoch: head.epoch })
  if (!ownsLeaf(head, author, leaf)) return refused({ kind: 'wrongLeaf' })
  if (!speaks(draft, leaf)) return refused({ kind: 'provisional', position: head.origin })
  if (head.proposals.length >= LIMITS.proposalsPerEpochMax) {
    return refused({ kind: 'tooMany', retryAfterMs: LIMITS.verdictWaitMs })
  }
  const position = draft.append('proposal', proposal.bytes)
  draft.propose({ ...head, group: after, proposals: [...head.proposals, position] })
  return accepted(position)
}

function decideVote(draft: Draft, { author, vote, bytes }: VoteSubmission): Outcome {
  const { finality } = draft
  const view = draft.viewAt(vote.position)
  if (finality === null || view === null) return refused({ kind: 'badVote', fault: 'settled' })
  if (!ownsLeaf(view, author, vote.leaf)) return refused({ kind: 'badVote', fault: 'wrongLeaf' })
  const cast = castVote(finality, vote)
  if (cast.kind === 'refused') return refused({ kind: 'badVote', fault: cast.fault })
  const position = draft.append('vote', bytes)
  draft.vote(cast.finality)
  draft.settle()
  return accepted(position)
}

function judgeEpoch(
  head: EpochView,
  made: { readonly epoch: bigint; readonly epochId: Uint8Array },
): Refusal | null {
  if (made.epoch < head.epoch) return { kind: 'staleEpoch', epoch: head.epoch }
  if (made.epoch > head.epoch) return { kind: 'futureEpoch', epoch: head.epoch }
  return equalBytes(made.epochId, head.epochId) ? null : { kind: 'wrongEpochId' }
}

/** True when the leaf is the author's own: nobody speaks from another leaf. */
function ownsLeaf(view: Pick<EpochView, 'made'>, author: Author, leaf: number): boolean {
  const member = memberAt(view, leaf)
  return member !== null && isSameDevice(member, author)
}

function speaks({ finality }: Draft, leaf: number): boolean {
  return finality !== null && maySpeak(finality, leaf)
}

/** True when the pair stands in this room's chain (LOG-5). Nobody has seen what is not stored. */
function hasSeen(room: SequencedRoom, seen: Seen): boolean {
  if (seen.position >= room.next) return false
  const known = room.memory.recall(seen.position) ?? seen.found
  return known !== null && equalBytes(known, seen.hash)
}
