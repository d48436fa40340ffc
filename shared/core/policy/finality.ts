/**
 * Which epochs of a room are final (VOTE-3, VOTE-4): the last final epoch and the provisional ones
 * above it, what votes and time make of them, and the check of a verdict. One machine for the hub,
 * which decides by it, and for the members, who check by it. Owns no signature (see `vote.ts`), no
 * choice of who is asked (see `asking.ts`), and no MLS state.
 *
 * Everything in it follows from the log but `asked`, which is the hub's word and stands in the
 * verdict. A value is never changed; each step gives a new one.
 */
import { assert } from '#core/base/assert.ts'
import type { AccountName, EpochId, LogPosition, TimeMs } from '#core/base/ids.ts'
import { LIMITS } from '#core/base/limits.ts'
import { accountNameCodec, epochIdCodec, positionCodec, timeCodec } from '#core/wire/bodies.ts'
import { bool, enumU8, optional, struct, u32, vector } from '#core/wire/codec.ts'
import type { Verdict, VerdictEntry } from '#core/wire/log-entry.ts'
import type { CommitFault } from '#core/wire/refusals.ts'
import { format, STRUCTURE_VERSION } from '#core/wire/structure.ts'

/** What a leaf says of a commit: it follows, or it cannot. */
export const VOTE_CHOICES = { agree: 1, cannot: 2 } as const
export type VoteChoice = keyof typeof VOTE_CHOICES

/** What the machine has to know of a commit that stands in the log. */
export interface CommitFacts {
  /** Of the commit's entry, and its hub time. */
  readonly position: LogPosition
  readonly timeMs: TimeMs
  /** Of the epoch that it makes. */
  readonly epochId: EpochId
  /** Leaf of the committer in the epoch made, and its account. */
  readonly committer: number
  readonly account: AccountName
  /** Leaves that were not there before, an external committer's among them. */
  readonly added: readonly number[]
  /** False where every leaf of the epoch made is new or of the committer's account. */
  readonly hasElectors: boolean
}

/** A vote whose signature and place were checked (`judgeVote`). */
export interface JudgedVote {
  /** Of the commit. */
  readonly position: LogPosition
  readonly leaf: number
  /** Of the leaf in the epoch made. */
  readonly account: AccountName
  readonly choice: VoteChoice
}

/** A vote that stands in the log. `counts` is false for all but the first of an account. */
export interface TakenVote {
  readonly leaf: number
  readonly account: AccountName
  readonly choice: VoteChoice
  readonly counts: boolean
}

/** An epoch that is not final yet. */
export interface OpenEpoch extends CommitFacts {
  readonly votes: readonly TakenVote[]
  /** Leaves that this hub asked; empty on devices, and after a restart. */
  readonly asked: readonly number[]
}

export interface FinalEpoch {
  /** Of the genesis or commit that made it. */
  readonly position: LogPosition
  readonly epochId: EpochId
}

export interface Finality {
  /** Where this machine began: the genesis, or the epoch of an anchor. */
  readonly began: LogPosition
  readonly final: FinalEpoch
  /** Position of the last verdict that made something void; null where there was none. */
  readonly lastVoid: LogPosition | null
  /** Oldest first. */
  readonly open: readonly OpenEpoch[]
}

/** A room whose last final epoch is this one: epoch 0, or that of an anchor (JOIN-3). */
export function openFinality(final: FinalEpoch): Finality {
  return { began: final.position, final, lastVoid: null, open: [] }
}

/** The newest epoch, final or not: the one in which frames and commits are made. */
export function headEpoch(finality: Finality): FinalEpoch {
  return finality.open.at(-1) ?? finality.final
}

/**
 * Why no commit may stand above the head that had seen only this (VOTE-6); null: it may. *A void
 * commit that its hub sequences again would bring its epochId and its keys back.*
 */
export function judgeAppend(finality: Finality, seen: bigint): CommitFault | null {
  if (finality.open.length >= LIMITS.provisionalEpochsMax) return 'tooMany'
  const lowest = headEpoch(finality).position
  return seen < lowest || !hasSeenVoids(finality, seen) ? 'staleSeen' : null
}

/**
 * True for who had seen the last void (VOTE-6). *A frame that was on its way while its epoch was
 * left and came back would be taken beside its second seal: the message would stand twice.*
 */
export function hasSeenVoids({ lastVoid }: Finality, seen: bigint): boolean {
  return lastVoid === null || seen >= lastVoid
}

/** The machine with one more commit, above the head. */
export function appendCommit(finality: Finality, facts: CommitFacts): Finality {
  assert(facts.position > headEpoch(finality).position, 'a commit stands above the head')
  return { ...finality, open: [...finality.open, { ...facts, votes: [], asked: [] }] }
}

/** True for a leaf whose vote counts: there before and after, not of the committer's account. */
export function isElector(
  facts: CommitFacts,
  voter: { readonly leaf: number; readonly account: AccountName },
): boolean {
  return voter.account !== facts.account && !facts.added.includes(voter.leaf)
}

export type VoteOutcome =
  | { readonly kind: 'taken'; readonly finality: Finality }
  | { readonly kind: 'refused'; readonly fault: 'settled' | 'twice' | 'noElector' | 'wrongLeaf' }

/**
 * Takes a vote (VOTE-2). Each leaf votes once, an account counts by its first vote. A leaf that is
 * no elector may agree, which lets it speak and counts for nothing; it may not complain.
 */
export function castVote(finality: Finality, vote: JudgedVote): VoteOutcome {
  const { position, leaf, account, choice } = vote
  const epoch = finality.open.find((open) => open.position === position)
  if (epoch === undefined) return { kind: 'refused', fault: 'settled' }
  if (leaf === epoch.committer) return { kind: 'refused', fault: 'wrongLeaf' }
  if (epoch.votes.some((taken) => taken.leaf === leaf)) return { kind: 'refused', fault: 'twice' }
  const elects = isElector(epoch, vote)
  if (!elects && choice === 'cannot') return { kind: 'refused', fault: 'noElector' }
  const counts = elects && !epoch.votes.some((taken) => taken.account === account && taken.counts)
  const votes = [...epoch.votes, { leaf, account, choice, counts }]
  return { kind: 'taken', finality: withEpoch(finality, { ...epoch, votes }) }
}

/** The hub asked these leaves, besides those before: at most `askedMax` in all. */
export function askLeaves(
  finality: Finality,
  position: LogPosition,
  leaves: readonly number[],
): Finality {
  const epoch = finality.open.find((open) => open.position === position)
  if (epoch === undefined) return finality
  const asked = [...new Set([...epoch.asked, ...leaves])]
  assert(asked.length <= LIMITS.askedMax, 'no more are asked than a verdict can name')
  return withEpoch(finality, { ...epoch, asked })
}

function withEpoch(finality: Finality, epoch: OpenEpoch): Finality {
  const open = finality.open.map((each) => each.position === epoch.position ? epoch : each)
  return { ...finality, open }
}

export interface Tally {
  readonly agrees: number
  readonly complaints: number
  /** Agreeing leaves among those asked; only electors. */
  readonly agreesOfAsked: number
}

/** Counts the votes that count. */
export function tally(epoch: OpenEpoch, asked: readonly number[]): Tally {
  const counted = epoch.votes.filter(({ counts }) => counts)
  const agreeing = epoch.votes.filter((vote) => vote.choice === 'agree' && isElector(epoch, vote))
  return {
    agrees: counted.filter(({ choice }) => choice === 'agree').length,
    complaints: counted.filter(({ choice }) => choice === 'cannot').length,
    agreesOfAsked: agreeing.filter(({ leaf }) => asked.includes(leaf)).length,
  }
}

/**
 * What an epoch has come to at a time (VOTE-3), whatever is below it; null: neither yet.
 *
 * Final: nobody is there to vote; or agrees outnumber complaints, and more than half of the asked
 * agree or 2 s are over; or after 7 days complaints do not outnumber agrees. Void: 2 s are over and
 * complaints outnumber agrees. The two exclude one another.
 */
function verdictOn(
  epoch: OpenEpoch,
  asked: readonly number[],
  timeMs: TimeMs,
): Verdict | null {
  if (!epoch.hasElectors) return 'final'
  const { agrees, complaints, agreesOfAsked } = tally(epoch, asked)
  const ageMs = timeMs - epoch.timeMs
  const waited = ageMs >= LIMITS.verdictWaitMs
  if (complaints > agrees) return waited ? 'void' : null
  if (ageMs >= LIMITS.provisionalMsMax) return 'final'
  return agrees > complaints && (waited || agreesOfAsked * 2 > asked.length) ? 'final' : null
}

/**
 * The verdict that is due (VOTE-3), for the hub to write; null: none. Call again after it was
 * applied. Epochs become final from the lowest up; a void may come anywhere.
 */
export function nextVerdict(finality: Finality, timeMs: TimeMs): VerdictEntry | null {
  const [lowest] = finality.open
  if (lowest === undefined) return null
  if (verdictOn(lowest, lowest.asked, timeMs) === 'final') return entryOf(lowest, 'final')
  const gone = finality.open.find((epoch) => verdictOn(epoch, epoch.asked, timeMs) === 'void')
  return gone === undefined ? null : entryOf(gone, 'void')
}

function entryOf({ position, asked }: OpenEpoch, verdict: Verdict): VerdictEntry {
  return { position, verdict, asked: [...asked] }
}

/** The next time at which a verdict may be due without another vote; null: none. */
export function verdictDueMs(finality: Finality, nowMs: TimeMs): TimeMs | null {
  const times = finality.open.flatMap(({ timeMs }) => [
    timeMs + LIMITS.verdictWaitMs,
    timeMs + LIMITS.provisionalMsMax,
  ]).filter((time) => time > nowMs)
  return times.length === 0 ? null : Math.min(...times) as TimeMs
}

export type VerdictOutcome =
  | { readonly kind: 'final'; readonly finality: Finality; readonly epoch: OpenEpoch }
  /** Oldest first: the epoch of the verdict, and all above it. */
  | { readonly kind: 'void'; readonly finality: Finality; readonly epochs: readonly OpenEpoch[] }
  /** About an epoch at or below the one where this machine began. */
  | { readonly kind: 'ignored' }
  | { readonly kind: 'wrongVerdict' }

/** A verdict as it stands in the log: its own position and time, and what it says. */
export interface PlacedVerdict {
  readonly position: LogPosition
  readonly timeMs: TimeMs
  readonly entry: VerdictEntry
}

/**
 * Checks a verdict against the votes below it, and does what it says (VOTE-4). The order is kept:
 * only the lowest open epoch becomes final, and a void takes all above it.
 */
export function applyVerdict(finality: Finality, placed: PlacedVerdict): VerdictOutcome {
  const { entry, timeMs, position } = placed
  const { verdict, asked } = entry
  if (entry.position <= finality.began && verdict === 'final') return { kind: 'ignored' }
  const index = finality.open.findIndex((open) => open.position === entry.position)
  const epoch = finality.open[index]
  if (epoch === undefined || (verdict === 'final' && index > 0)) return { kind: 'wrongVerdict' }
  if (new Set(asked).size !== asked.length) return { kind: 'wrongVerdict' }
  if (verdictOn(epoch, asked, timeMs) !== verdict) return { kind: 'wrongVerdict' }
  if (verdict === 'final') {
    const final = { position: epoch.position, epochId: epoch.epochId }
    return { kind: 'final', finality: { ...finality, final, open: finality.open.slice(1) }, epoch }
  }
  return {
    kind: 'void',
    finality: { ...finality, lastVoid: position, open: finality.open.slice(0, index) },
    epochs: finality.open.slice(index),
  }
}

/**
 * Whether a leaf of the newest epoch may send frames and commits in it (VOTE-5): anybody in a final
 * epoch; in a provisional one its committer, and who agreed.
 */
export function maySpeak(finality: Finality, leaf: number): boolean {
  const head = finality.open.at(-1)
  return head === undefined || head.committer === leaf ||
    head.votes.some((vote) => vote.leaf === leaf && vote.choice === 'agree')
}

const leaves = vector(u32, LIMITS.membersMax)
const openEpochCodec = struct({
  position: positionCodec,
  timeMs: timeCodec,
  epochId: epochIdCodec,
  committer: u32,
  account: accountNameCodec,
  added: leaves,
  hasElectors: bool,
  votes: vector(
    struct({
      leaf: u32,
      account: accountNameCodec,
      choice: enumU8(VOTE_CHOICES),
      counts: bool,
    }),
    LIMITS.membersMax,
  ),
  asked: vector(u32, LIMITS.askedMax),
})

/** For a side's own store; `format` is the caller's to set (DEV-3). */
export const finalityCodec = struct({
  format: format('finality'),
  began: positionCodec,
  final: struct({ position: positionCodec, epochId: epochIdCodec }),
  lastVoid: optional(positionCodec),
  open: vector(openEpochCodec, LIMITS.provisionalEpochsMax),
})

/** The stored form of a machine. */
export function finalityRecord(
  finality: Finality,
): Finality & { readonly format: typeof STRUCTURE_VERSION } {
  return { ...finality, format: STRUCTURE_VERSION }
}
