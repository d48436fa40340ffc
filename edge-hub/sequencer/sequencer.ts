/**
 * The sequencer: who may append what to a room's log, and at which position (SEQ-1 to SEQ-6, LOG-1,
 * LOG-4, LOG-5). Pure and synchronous: `sequence` decides on a batch and changes nothing;
 * `install` takes the decision into the room's state once the log has stored it. Signatures and
 * certificates were checked before; what they said is part of a submission.
 */
import { assert, unreachable } from '#core/base/assert.ts'
import { equalBytes } from '#core/base/bytes.ts'
import type { AccountName, DeviceId, EpochId, LeafIndex, LogPosition } from '#core/base/ids.ts'
import { logPosition, type RoomId, type Term, type TimeMs, timeMs } from '#core/base/ids.ts'
import { LIMITS } from '#core/base/limits.ts'
import { chainedHash, entryBodyHash, entryHeaderHash } from '#core/wire/log-entry.ts'
import { type EntryKind, FIRST_PREVIOUS_HASH } from '#core/wire/log-entry.ts'
import type { LogEntry, Sha256 } from '#core/wire/log-entry.ts'
import type { Refusal } from '#core/wire/refusals.ts'
import type { StoredEntry, StoredGeneration, StoredWelcome } from '#hub/ports.ts'
import { type ChainMemory, createChainMemory } from '#hub/sequencer/chain-memory.ts'
import { addInvitation, type CertifiedLeaf, changeRoster } from '#hub/sequencer/group-view.ts'
import { countUse, encodeView, type GroupView } from '#hub/sequencer/group-view.ts'
import type { InvitationView, MemberLeaf } from '#hub/sequencer/group-view.ts'
import { openGroup } from '#hub/sequencer/group-view.ts'

/** The device that a submission came from, proven by its session. */
export interface Author {
  readonly account: AccountName
  readonly device: DeviceId
}

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
  readonly seen: Seen
  /** True when the leaf's key of the current epoch signed the frame. */
  readonly signed: boolean
  readonly bytes: Uint8Array
}

export interface CommitSubmission {
  readonly kind: 'commit'
  readonly author: Author
  readonly epoch: bigint
  readonly seen: Seen
  readonly sender: LeafIndex
  readonly senderLeaf: CertifiedLeaf | null
  readonly adds: readonly CertifiedLeaf[]
  readonly removes: readonly LeafIndex[]
  readonly newEpochId: EpochId
  /** One for all adds; empty without adds. */
  readonly welcome: Uint8Array
  /** Invitations by which adds came, once for each use. */
  readonly uses: readonly Uint8Array[]
  /** Encoded `CommitEntry`. */
  readonly bytes: Uint8Array
}

export interface InvitationSubmission {
  readonly kind: 'invitation'
  readonly author: Author
  readonly epochId: Uint8Array
  readonly leaf: number
  readonly signed: boolean
  readonly invitation: Omit<InvitationView, 'uses' | 'inviter' | 'inviterDevice'>
  readonly bytes: Uint8Array
}

export interface GenesisSubmission {
  readonly kind: 'genesis'
  readonly author: Author
  readonly suite: number
  readonly epochId: EpochId
  readonly creator: CertifiedLeaf
  /** Encoded `GenesisEntry`. */
  readonly bytes: Uint8Array
}

export type Submission =
  | FrameSubmission
  | CommitSubmission
  | InvitationSubmission
  | GenesisSubmission

export type Verdict =
  | { readonly kind: 'accepted'; readonly position: LogPosition }
  | { readonly kind: 'refused'; readonly refusal: Refusal }

/** A room as the sequencer knows it. Only `install` changes it. */
export interface SequencedRoom {
  readonly id: RoomId
  readonly term: Term
  /** Null until the genesis is stored. */
  view: GroupView | null
  next: bigint
  headHash: Uint8Array
  /** Hub time of the last entry; time never decreases (LOG-4). */
  time: TimeMs
  readonly memory: ChainMemory
  /** Last accepted generation of the current epoch, by `chainKey`. */
  generations: Map<number, number>
}

/** What was decided on a batch. Nothing of it counts before the log has stored it (HUB-3). */
export interface Decision {
  readonly expectedNext: LogPosition
  readonly entries: readonly StoredEntry[]
  /** One for each submission, in order. */
  readonly verdicts: readonly Verdict[]
  /** Stored state of the room; null when it stays as it was. */
  readonly state: Uint8Array | null
  readonly generations: readonly StoredGeneration[]
  readonly welcomes: readonly StoredWelcome[]
  readonly view: GroupView | null
  readonly epochChanged: boolean
  readonly added: readonly MemberLeaf[]
  readonly removed: readonly MemberLeaf[]
  readonly time: TimeMs
}

/** A room without entries. */
export function emptyRoom(id: RoomId, term: Term): SequencedRoom {
  return {
    id,
    term,
    view: null,
    next: 0n,
    headHash: FIRST_PREVIOUS_HASH,
    time: timeMs(0),
    memory: createChainMemory(0n),
    generations: new Map(),
  }
}

export interface RestoredRoom {
  readonly view: GroupView
  readonly next: LogPosition
  readonly headHash: Uint8Array
  readonly time: TimeMs
  readonly generations: readonly StoredGeneration[]
}

/** A room as the log has it. Hashes before the head are read from the log when they are named. */
export function restoreRoom(id: RoomId, term: Term, stored: RestoredRoom): SequencedRoom {
  const { view, next, headHash, time } = stored
  assert(next > 0n, 'a stored room has its genesis')
  const memory = createChainMemory(next - 1n)
  memory.remember(next - 1n, headHash)
  const generations = new Map<number, number>()
  for (const { epoch, leaf, lane, generation } of stored.generations) {
    if (epoch === view.epoch) generations.set(chainKey(leaf, lane), generation)
  }
  return { id, term, view, next, headHash, time, memory, generations }
}

/** One number for each chain of message keys: leaf and lane. */
export function chainKey(leaf: number, lane: number): number {
  return leaf * LIMITS.lanesMax + lane
}

/** Decides on a batch, in order. Pure: `room` is only read. */
export function sequence(
  room: SequencedRoom,
  batch: readonly Submission[],
  context: { readonly nowMs: TimeMs; readonly sha256: Sha256 },
): Decision {
  const draft = new Draft(room, timeMs(Math.max(room.time, context.nowMs)), context.sha256)
  const verdicts = batch.map((submission) => decide(draft, submission))
  return draft.decision(verdicts)
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
  if (decision.view !== null) room.view = decision.view
  if (decision.epochChanged) room.generations = new Map()
  for (const { leaf, lane, generation } of decision.generations) {
    room.generations.set(chainKey(leaf, lane), generation)
  }
}

/** The state of a room while a batch is being decided. */
class Draft {
  readonly room: SequencedRoom
  readonly time: TimeMs
  readonly #sha256: Sha256
  readonly #entries: StoredEntry[] = []
  readonly #welcomes: StoredWelcome[] = []
  readonly #added: MemberLeaf[] = []
  readonly #removed: MemberLeaf[] = []
  /** One for each kind: all entries of a batch have one time. */
  readonly #headerHashes = new Map<EntryKind, Uint8Array>()
  #generations = new Map<number, number>()
  #epochChanged = false
  #next: bigint
  #headHash: Uint8Array
  #changedView: GroupView | null = null

  constructor(room: SequencedRoom, time: TimeMs, sha256: Sha256) {
    this.room = room
    this.time = time
    this.#sha256 = sha256
    this.#next = room.next
    this.#headHash = room.headHash
  }

  get view(): GroupView | null {
    return this.#changedView ?? this.room.view
  }

  lastGeneration(leaf: number, lane: number): number {
    const key = chainKey(leaf, lane)
    const stored = this.#epochChanged ? undefined : this.room.generations.get(key)
    return this.#generations.get(key) ?? stored ?? -1
  }

  take(leaf: number, lane: number, generation: number): void {
    this.#generations.set(chainKey(leaf, lane), generation)
  }

  change(view: GroupView): void {
    this.#changedView = view
  }

  enterEpoch(
    view: GroupView,
    change: { readonly added: readonly MemberLeaf[]; readonly removed: readonly MemberLeaf[] },
  ): void {
    this.#changedView = view
    this.#epochChanged = true
    this.#generations = new Map()
    this.#added.push(...change.added)
    this.#removed.push(...change.removed)
  }

  welcome(to: MemberLeaf, position: LogPosition, welcome: Uint8Array): void {
    const { account, device } = to
    this.#welcomes.push({ account, device, position, welcome })
  }

  append(kind: EntryKind, bytes: Uint8Array): LogPosition {
    const position = logPosition(this.#next)
    const entry: LogEntry = {
      header: { entry: kind, time: BigInt(this.time) },
      body: { kind: 'whole', bytes },
    }
    const place = { room: this.room.id, position, previous: this.#headHash }
    const headerHash = this.#headerHashes.get(kind) ?? entryHeaderHash(this.#sha256, entry.header)
    this.#headerHashes.set(kind, headerHash)
    const bodyHash = entryBodyHash(this.#sha256, entry.body)
    const hash = chainedHash(this.#sha256, place, { headerHash, bodyHash })
    this.#entries.push({ position, entry, entryHash: hash })
    this.#headHash = hash
    this.#next++
    return position
  }

  decision(verdicts: readonly Verdict[]): Decision {
    const changed = this.#changedView
    const epoch = this.view?.epoch ?? 0n
    return {
      expectedNext: logPosition(this.room.next),
      entries: this.#entries,
      verdicts,
      state: changed === null ? null : encodeView(changed),
      generations: [...this.#generations].map(([key, generation]) => ({
        epoch,
        leaf: Math.floor(key / LIMITS.lanesMax),
        lane: key % LIMITS.lanesMax,
        generation,
      })),
      welcomes: this.#welcomes,
      view: changed,
      epochChanged: this.#epochChanged,
      added: this.#added,
      removed: this.#removed,
      time: this.time,
    }
  }
}

const refused = (refusal: Refusal): Verdict => ({ kind: 'refused', refusal })
const accepted = (position: LogPosition): Verdict => ({ kind: 'accepted', position })

function decide(draft: Draft, submission: Submission): Verdict {
  if (submission.kind === 'genesis') return decideGenesis(draft, submission)
  const { view } = draft
  if (view === null) return refused({ kind: 'unknownRoom' })
  switch (submission.kind) {
    case 'frame':
      return decideFrame(draft, view, submission)
    case 'commit':
      return decideCommit(draft, view, submission)
    case 'invitation':
      return decideInvitation(draft, view, submission)
    default:
      return unreachable(submission)
  }
}

/** The same genesis again finds its room, and is not sequenced again (ROOM-1). */
function decideGenesis(draft: Draft, submission: GenesisSubmission): Verdict {
  const { suite, epochId, creator } = submission
  if (draft.view !== null) return refused({ kind: 'roomExists' })
  draft.change(openGroup({ suite, epochId, creator }))
  return accepted(draft.append('genesis', submission.bytes))
}

function decideFrame(draft: Draft, view: GroupView, frame: FrameSubmission): Verdict {
  const outdated = judgeEpoch(view, frame.epoch)
  if (outdated !== null) return refused(outdated)
  if (frame.suite !== view.suite) return refused({ kind: 'unknownSuite', suite: frame.suite })
  if (!equalBytes(frame.epochId, view.epochId)) return refused({ kind: 'wrongEpochId' })
  if (!ownsLeaf(view, frame.author, frame.leaf)) return refused({ kind: 'wrongLeaf' })
  if (!frame.signed) return refused({ kind: 'wrongSignature' })
  const last = draft.lastGeneration(frame.leaf, frame.lane)
  const generation = Math.max(last, 0)
  if (frame.generation <= last) return refused({ kind: 'replayed', generation })
  if (frame.generation > last + LIMITS.generationJumpMax) {
    return refused({ kind: 'generationTooFar', generation })
  }
  if (!hasSeen(draft.room, frame.seen)) return refused({ kind: 'unknownEntry' })
  draft.take(frame.leaf, frame.lane, frame.generation)
  return accepted(draft.append('frame', frame.bytes))
}

/** One commit for each epoch: the second finds the epoch gone (RFC 9420 section 14). */
function decideCommit(draft: Draft, view: GroupView, commit: CommitSubmission): Verdict {
  const outdated = judgeEpoch(view, commit.epoch)
  if (outdated !== null) return refused(outdated)
  if (!ownsLeaf(view, commit.author, commit.sender)) return refused({ kind: 'wrongLeaf' })
  if (!hasSeen(draft.room, commit.seen)) return refused({ kind: 'unknownEntry' })
  const outcome = changeRoster(view, commit)
  if (outcome.kind === 'refused') return refused({ kind: outcome.code })
  const next = commit.uses.reduce(countUse, outcome.next)
  const position = draft.append('commit', commit.bytes)
  draft.enterEpoch(next, outcome)
  for (const member of outcome.added) draft.welcome(member, position, commit.welcome)
  return accepted(position)
}

function decideInvitation(
  draft: Draft,
  view: GroupView,
  submission: InvitationSubmission,
): Verdict {
  const { author, invitation } = submission
  if (!equalBytes(submission.epochId, view.epochId)) return refused({ kind: 'wrongEpochId' })
  if (!ownsLeaf(view, author, submission.leaf)) return refused({ kind: 'wrongLeaf' })
  if (!submission.signed) return refused({ kind: 'wrongSignature' })
  const listed: InvitationView = {
    ...invitation,
    uses: 0,
    inviter: author.account,
    inviterDevice: author.device,
  }
  const next = addInvitation(view, listed, draft.time)
  if (next === null) return refused({ kind: 'tooMany', retryAfterMs: 0 })
  draft.change(next)
  return accepted(draft.append('invitation', submission.bytes))
}

function judgeEpoch(view: GroupView, epoch: bigint): Refusal | null {
  if (epoch < view.epoch) return { kind: 'staleEpoch', epoch: view.epoch }
  if (epoch > view.epoch) return { kind: 'futureEpoch', epoch: view.epoch }
  return null
}

/** True when the leaf is the author's own: nobody speaks from another leaf. */
function ownsLeaf(view: GroupView, author: Author, leaf: number): boolean {
  const member = view.leaves.get(leaf)
  return member !== undefined && member.account === author.account &&
    equalBytes(member.device, author.device)
}

/** True when the pair stands in this room's chain (LOG-5). Nobody has seen what is not stored. */
function hasSeen(room: SequencedRoom, seen: Seen): boolean {
  if (seen.position >= room.next) return false
  const known = room.memory.recall(seen.position) ?? seen.found
  return known !== null && equalBytes(known, seen.hash)
}
