/**
 * The hub of the log world: the production sequencer over a state that is copied before it is
 * changed, and a count of its own of what each verdict must be. Owns the log as members read it,
 * and the invariants that a log has by itself.
 */
import type { LogPosition, Term, TimeMs } from '#core/base/ids.ts'
import { chooseAsked } from '#core/policy/asking.ts'
import { isElector, nextVerdict, type OpenEpoch, type VoteChoice } from '#core/policy/finality.ts'
import { decode } from '#core/wire/codec.ts'
import { type VerdictEntry, verdictEntryCodec } from '#core/wire/log-entry.ts'
import { type EpochView, leafOf } from '#hub/sequencer/group-view.ts'
import { emptyRoom, headView, type SequencedRoom, viewAt } from '#hub/sequencer/room-state.ts'
import { type Decision, install, sequence, type Submission } from '#hub/sequencer/sequencer.ts'
import { holds } from './search.ts'
import { authorOf, leafOfSeat, ROOM, type Seat, SEATS, START_MS, SUITE } from './small-members.ts'
import { ENTRY_HASH, isFromOutside, openSmallRoom, seenAt, type SmallCommit } from './small-room.ts'
import type { SmallEpoch } from './small-room.ts'

/** A message as it was sealed once. */
export interface Frame {
  readonly name: string
  readonly seat: Seat
  readonly message: string
  readonly epoch: SmallEpoch
  readonly seen: bigint
  readonly generation: number
}

/** A vote on a commit that stands in the log. */
export interface Ballot {
  readonly name: string
  readonly seat: Seat
  readonly position: LogPosition
  readonly choice: VoteChoice
}

/** What a member gives the hub. */
export type Upward =
  | { readonly kind: 'commit'; readonly name: string; readonly commit: SmallCommit }
  | {
    readonly kind: 'frame'
    readonly name: string
    readonly frame: Frame
    /** Generation of the one that it wrote before and that does not stand yet (SEQ-7). */
    readonly after: number | null
  }
  | { readonly kind: 'vote'; readonly name: string; readonly ballot: Ballot }

interface Placed {
  readonly name: string
  readonly position: LogPosition
  readonly timeMs: TimeMs
}

/** An entry of the log. */
export type Entry =
  & Placed
  & (
    | { readonly kind: 'commit'; readonly commit: SmallCommit }
    | { readonly kind: 'frame'; readonly frame: Frame }
    | { readonly kind: 'vote'; readonly ballot: Ballot }
    | { readonly kind: 'verdict'; readonly verdict: VerdictEntry }
  )

export interface LogHub {
  readonly id: number
  readonly room: SequencedRoom
  /** From position `LOG_BEGINS` on. */
  readonly log: readonly Entry[]
  /** Names of the epochs that became final, oldest first. */
  readonly finals: readonly string[]
}

/** Genesis, commit and verdict stand below what is explored. */
export const LOG_BEGINS = 3

/** Bit of each seat that has a session. */
export type Here = number

export interface Taken {
  readonly hub: LogHub
  /** Null: it stands in the log. */
  readonly refusal: string | null
}

const hubs = new Map<string, LogHub>()
const taken = new WeakMap<LogHub, Map<string, Taken>>()

export async function openLogHub(): Promise<{ readonly hub: LogHub; readonly epoch: SmallEpoch }> {
  const { genesis, commit, epoch } = await openSmallRoom()
  const room = copied(emptyRoom(ROOM, 1n as Term))
  for (const submission of [genesis, commit]) {
    const decision = decided(room, [submission], { nowMs: START_MS, here: 7 })
    holds(decision.outcomes[0]?.kind === 'accepted', 'a room opens', () => submission.kind)
    install(room, decision)
  }
  holds(room.next === BigInt(LOG_BEGINS), 'a room opens', () => `${room.next}`)
  return { hub: known({ id: 0, room, log: [], finals: [epoch.name] }), epoch }
}

/** A copy that `install` may change. */
function copied(room: SequencedRoom): SequencedRoom {
  const generations = new Map([...room.generations].map(([at, chains]) => [at, new Map(chains)]))
  const memory = { remember: () => {}, recall: () => ENTRY_HASH }
  return { ...room, memory, generations }
}

interface Moment {
  readonly nowMs: TimeMs
  readonly here: Here
}

function decided(room: SequencedRoom, batch: readonly Submission[], moment: Moment): Decision {
  const { nowMs, here } = moment
  return sequence(room, batch, {
    nowMs,
    sha256: () => ENTRY_HASH,
    hasElectorHere: (view, facts) =>
      SEATS.some((seat) => isIn(view, seat, here) && elects(facts, seat)),
  })
}

const isIn = (view: EpochView, seat: Seat, here: Here): boolean =>
  (here & (1 << seat)) !== 0 && leafOf(view, authorOf(seat)) !== null

const elects = (facts: Pick<OpenEpoch, 'account' | 'added'>, seat: Seat): boolean =>
  isElector(facts as OpenEpoch, { leaf: leafOfSeat(seat), account: authorOf(seat).account })

/** What the hub makes of what arrives. */
export function take(hub: LogHub, upward: Upward, moment: Moment): Taken {
  const key = `${upward.name}/${moment.nowMs}/${moment.here}`
  return remembered(hub, key, () => {
    const submission = submissionOf(hub.room, upward, moment)
    if (submission === null) return { hub, refusal: 'settled' }
    return sequenced(hub, { upward, submission }, moment)
  })
}

/** Time has passed: the verdicts that are due stand in the log. */
export function tick(hub: LogHub, moment: Moment): LogHub {
  const { finality } = hub.room
  if (finality === null || nextVerdict(finality, moment.nowMs) === null) return hub
  return remembered(hub, `tick/${moment.nowMs}`, () => sequenced(hub, null, moment)).hub
}

/** A member is back: it is asked about what is open (VOTE-2). */
export function askNewcomer(hub: LogHub, seat: Seat): LogHub {
  return remembered(hub, `ask/${seat}`, () => {
    const { room } = hub
    const asks = (room.finality?.open ?? []).flatMap((epoch) => {
      const own = leafOfSeat(seat)
      const isOver = epoch.votes.some(({ leaf }) => leaf === own) || isAsked(room, epoch, own)
      return isOver ? [] : asksOf(room, epoch.position, 1 << seat)
    })
    const hubAfter = asks.length === 0
      ? hub
      : known({ ...hub, room: { ...room, asks: [...room.asks, ...asks] } })
    return { hub: hubAfter, refusal: null }
  }).hub
}

function isAsked(room: SequencedRoom, epoch: OpenEpoch, own: number): boolean {
  return epoch.asked.includes(own) ||
    room.asks.some(({ position, leaf }) => position === epoch.position && leaf === own)
}

function asksOf(room: SequencedRoom, position: LogPosition, here: Here) {
  const epoch = room.finality?.open.find((each) => each.position === position)
  const view = viewAt(room, position)
  if (epoch === undefined || view === null) return []
  const connected = SEATS.filter((seat) => isIn(view, seat, here))
    .map((seat) => ({ leaf: leafOfSeat(seat), account: authorOf(seat).account }))
  const random = new Uint8Array(connected.length * 4)
  const chosen = chooseAsked({ facts: epoch, connected, asked: [], random })
  return chosen.map(({ leaf }) => ({ position, leaf }))
}

function submissionOf(room: SequencedRoom, upward: Upward, { nowMs }: Moment): Submission | null {
  switch (upward.kind) {
    case 'commit': {
      const { submission, judged } = upward.commit
      // Judged when it arrives: at the time of its entry.
      const timeMs = Math.max(room.time, nowMs) as TimeMs
      return { ...submission, facts: { ...judged.facts, timeMs } }
    }
    case 'frame': {
      const { frame, after } = upward
      return {
        kind: 'frame',
        author: authorOf(frame.seat),
        suite: SUITE,
        epoch: frame.epoch.public.context.epoch,
        epochId: frame.epoch.epochId,
        leaf: leafOfSeat(frame.seat),
        lane: 0,
        generation: frame.generation,
        after,
        seen: seenAt(frame.seen),
        signature: 'right',
        bytes: Uint8Array.of(1),
      }
    }
    case 'vote': {
      const { position, seat, choice } = upward.ballot
      const author = authorOf(seat)
      const view = viewAt(room, position)
      // `checkVote`: about nothing that is open, or from no leaf of that device.
      if (view === null || leafOf(view, author) !== leafOfSeat(seat)) return null
      const vote = { position, leaf: leafOfSeat(seat), account: author.account, choice }
      return { kind: 'vote', author, vote, bytes: Uint8Array.of(1) }
    }
  }
}

interface Arrived {
  readonly upward: Upward
  readonly submission: Submission
}

function sequenced(hub: LogHub, arrived: Arrived | null, moment: Moment): Taken {
  const room = copied(hub.room)
  const decision = decided(room, arrived === null ? [] : [arrived.submission], moment)
  install(room, decision)
  for (const view of decision.opened) {
    room.asks = [...room.asks, ...asksOf(room, view.origin, moment.here)]
  }
  const [outcome] = decision.outcomes
  const entries = entriesOf(decision, arrived?.upward ?? null)
  const log = [...hub.log, ...entries]
  const finals = [...hub.finals]
  for (const { view } of decision.finals) finals.push(nameAt(log, view.origin))
  const after = known({ id: 0, room, log, finals })
  judgeLog(hub, after)
  return { hub: after, refusal: outcome?.kind === 'refused' ? outcome.refusal.kind : null }
}

function entriesOf(decision: Decision, upward: Upward | null): readonly Entry[] {
  return decision.entries.map(({ position, entry }): Entry => {
    const timeMs = decision.time
    if (entry.header.entry === 'verdict' && entry.body.kind === 'whole') {
      const decoded = decode(verdictEntryCodec, entry.body.bytes)
      holds(decoded.kind === 'decoded', 'a verdict can be read', () => `${position}`)
      const verdict = decoded.value
      const name = `${verdict.verdict} ${verdict.position} [${verdict.asked}] ${timeMs}`
      return { kind: 'verdict', name, position, timeMs, verdict }
    }
    holds(upward !== null, 'time alone writes nothing but verdicts', () => entry.header.entry)
    return { ...upward, position, timeMs, name: `${upward.name} ${timeMs}` }
  })
}

export function nameAt(log: readonly Entry[], position: bigint): string {
  const entry = log[Number(position) - LOG_BEGINS]
  return entry?.kind === 'commit' ? entry.commit.epoch.name : '?'
}

// ---- Invariants of the log ------------------------------------------------------------------

function judgeLog(before: LogHub, after: LogHub): void {
  const { epochs, finality } = after.room
  const numbers = epochs.map(({ epoch }) => epoch)
  const isChain = numbers.every((epoch, index) => epoch === numbers[0]! + BigInt(index))
  holds(isChain, 'one commit for each epoch that is not void', () => `${numbers}`)
  const fresh = after.log.slice(before.log.length)
  const hasVoid = fresh.some((each) => each.kind === 'verdict' && each.verdict.verdict === 'void')
  const [was, is] = [headView(before.room)?.epoch ?? 0n, headView(after.room)?.epoch ?? 0n]
  holds(is >= was || hasVoid, 'epoch decreases only by a void', () => `${was} to ${is}`)
  const kept = before.finals.every((name, index) => after.finals[index] === name)
  holds(kept, 'final is never undone', () => `${before.finals} to ${after.finals}`)
  for (const entry of fresh) {
    if (entry.kind === 'verdict') judgeVerdict(after.log, entry)
    else judgeSpeaker(after.log, entry)
  }
  if (fresh.some(({ kind }) => kind === 'frame')) judgeOrder(after)
  const due = finality === null ? null : nextVerdict(finality, after.room.time)
  holds(due === null, 'no verdict that is due is left out', () => JSON.stringify(due?.verdict))
}

/** In an epoch that is open its committer speaks, and who agreed (VOTE-5). */
function judgeSpeaker(log: readonly Entry[], entry: Entry): void {
  const said = entry.kind === 'frame'
    ? entry.frame
    : entry.kind === 'commit' && !isFromOutside(entry.commit)
    ? { seat: entry.commit.seat, epoch: entry.commit.before }
    : null
  if (said === null) return
  const below = log.filter(({ position }) => position < entry.position)
  const made = below.findLast((each) => each.kind === 'commit' && each.commit.epoch === said.epoch)
  // The epoch that the room begins with is final.
  if (made?.kind !== 'commit' || made.commit.seat === said.seat) return
  const isFree = below.some((each) =>
    each.kind === 'verdict'
      ? each.verdict.position === made.position && each.verdict.verdict === 'final'
      : each.kind === 'vote' && each.ballot.position === made.position &&
        each.ballot.seat === said.seat && each.ballot.choice === 'agree'
  )
  holds(isFree, 'in an open epoch speaks who made it or agreed', () => entry.name)
}

/** Messages of one member are named in their order. */
function judgeOrder({ log, room }: LogHub): void {
  for (const seat of SEATS) {
    const own = standing(log, room.next).filter((frame) => frame.seat === seat)
      .map(({ message }) => message)
    const isRight = own.every((message, index) => index === 0 || message >= own[index - 1]!)
    holds(isRight, 'what a member writes keeps its order', () => own.join())
  }
}

type VerdictAt = Extract<Entry, { readonly kind: 'verdict' }>

/** Rule VOTE-3 counted anew, from nothing but the log below the verdict. */
function judgeVerdict(log: readonly Entry[], at: VerdictAt): void {
  const { position, verdict, asked } = at.verdict
  const below = log.filter((entry) => entry.position < at.position)
  const commit = below.find((entry) => entry.position === position)
  holds(commit?.kind === 'commit', 'a verdict is about a commit', () => at.name)
  const { account: committer } = authorOf(commit.commit.seat)
  const words = new Map<string, VoteChoice>()
  const agreed = new Set<number>()
  for (const entry of below) {
    if (entry.kind !== 'vote' || entry.ballot.position !== position) continue
    const { seat, choice } = entry.ballot
    const { account } = authorOf(seat)
    if (account === committer) continue
    if (!words.has(account)) words.set(account, choice)
    if (choice === 'agree') agreed.add(leafOfSeat(seat))
  }
  const agreeing = [...words.values()].filter((choice) => choice === 'agree')
  const balance = agreeing.length * 2 - words.size
  const ageMs = at.timeMs - commit.timeMs
  const agreesOfAsked = asked.filter((leaf) => agreed.has(leaf)).length
  const right = verdict === 'void'
    ? balance < 0 && ageMs >= 2_000
    : (balance > 0 && (ageMs >= 2_000 || agreesOfAsked * 2 > asked.length)) ||
      (balance >= 0 && ageMs >= 7 * 24 * 3_600_000)
  holds(right, 'a verdict is what the votes below it say', () => {
    return `${at.name}: ${agreeing.length} of ${words.size} agree after ${ageMs} ms`
  })
}

/** The messages that stand in the log below a position, void ones left out. */
export function standing(log: readonly Entry[], below: bigint): readonly Frame[] {
  const gone: (readonly [bigint, bigint])[] = []
  for (const entry of log) {
    if (entry.position >= below || entry.kind !== 'verdict') continue
    if (entry.verdict.verdict === 'void') gone.push([entry.verdict.position, entry.position])
  }
  return log.flatMap((entry) => {
    if (entry.kind !== 'frame' || entry.position >= below) return []
    const isVoid = gone.some(([from, to]) => entry.position >= from && entry.position < to)
    return isVoid ? [] : [entry.frame]
  })
}

// ---- Equal hubs are one ---------------------------------------------------------------------

function remembered(hub: LogHub, key: string, make: () => Taken): Taken {
  const memory = taken.get(hub) ?? new Map<string, Taken>()
  taken.set(hub, memory)
  const before = memory.get(key)
  if (before !== undefined) return before
  const outcome = make()
  memory.set(key, outcome)
  return outcome
}

const ids = new Map<string, number>()
const standings = new WeakMap<LogHub, Map<bigint, string>>()

function idOf(text: string): number {
  const before = ids.get(text)
  if (before !== undefined) return before
  ids.set(text, ids.size)
  return ids.size - 1
}

/**
 * What of a hub can still matter where everybody has read the log up to a position: how things
 * stand, in which order votes came to stand no longer counts, and the entries from there on.
 */
export function futureOf(hub: LogHub, read: bigint): string {
  const known = standings.get(hub) ?? new Map<bigint, string>()
  standings.set(hub, known)
  const before = known.get(read)
  if (before !== undefined) return before
  const { room, log, finals } = hub
  const { finality, asks } = room
  const open = finality?.open.map(({ position, timeMs, votes, asked }) => {
    const said = votes.map(({ leaf, choice }) => `${leaf}${choice}`).sort()
    return `${position}:${timeMs}:${said}:${[...asked].sort()}`
  })
  const epochs = room.epochs.map(({ origin }) => `${origin}:${nameAt(log, origin)}`)
  const chains = [...room.generations].map(([at, each]) => `${at}:${[...each].sort()}`).sort()
  const strikes = room.strikes.map(({ account, timeMs }) => `${account}:${timeMs}`)
  const asked = asks.map(({ position, leaf }) => `${position}:${leaf}`).sort()
  const stands = standing(log, room.next).map(({ name }) => name)
  const ahead = log.slice(Number(read) - LOG_BEGINS).map(({ name }) => name)
  const parts = [finality?.lastVoid, room.next, room.time, open, epochs, chains, strikes, asked]
  const future = String(idOf([...parts, stands, finals, ahead].join('|')))
  known.set(read, future)
  return future
}

/** What the log says is the key: all else follows from it, but who was asked. */
function known(hub: LogHub): LogHub {
  const { room, log } = hub
  const asked = room.finality?.open.map((epoch) => `${epoch.position}:${epoch.asked}`) ?? []
  const asks = room.asks.map(({ position, leaf }) => `${position}:${leaf}`)
  const key = [...log.map(({ name }) => name), '', ...asked, '', ...asks].join(';')
  const before = hubs.get(key)
  if (before !== undefined) return before
  const fresh = { ...hub, id: hubs.size }
  hubs.set(key, fresh)
  return fresh
}
