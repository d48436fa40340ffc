/**
 * A member of the log world: the production finality machine, fed with the log, and of a device no
 * more than the rules ask of everybody. It may act whenever a rule lets it, and so does all that a
 * device does, and more. Owns what a member holds, and the invariants of one member.
 */
import type { LogPosition, TimeMs } from '#core/base/ids.ts'
import { LIMITS } from '#core/base/limits.ts'
import type { Group } from '#core/mls/group.ts'
import { leafAt } from '#core/mls/ratchet-tree.ts'
import { appendCommit, applyVerdict, castVote, type Finality } from '#core/policy/finality.ts'
import { hasSeenVoids, isElector, judgeAppend, maySpeak } from '#core/policy/finality.ts'
import { openFinality, type VoteChoice } from '#core/policy/finality.ts'
import type { Ballot, Entry, Frame, Upward } from './log-hub.ts'
import { LOG_BEGINS, standing } from './log-hub.ts'
import { holds } from './search.ts'
import { authorOf, leafOfSeat, NAMES, type Seat, SECOND } from './small-members.ts'
import type { CommitKind, SmallCommit, SmallEpoch } from './small-room.ts'

/** A message until it stands in the log for good (DEV-5). */
export interface Item {
  readonly message: string
  readonly sealed: Frame | null
  readonly inFlight: boolean
  /** Where it stands in an epoch that is not final. */
  readonly sequencedAt: bigint | null
}

/** What is shown of a message. */
interface Shown {
  readonly message: string
  readonly position: bigint
}

export interface MadeEpoch {
  readonly position: bigint
  readonly epoch: SmallEpoch
}

/** A refusal on its way. */
export interface Refused {
  readonly upward: Upward
  readonly code: string
}

export interface LogMember {
  readonly id: number
  readonly seat: Seat
  /** Next position to read. */
  readonly next: bigint
  readonly finality: Finality
  /** The last final epoch, then those above it. */
  readonly chain: readonly MadeEpoch[]
  readonly finals: readonly string[]
  readonly pending: SmallCommit | null
  /** The hub was given the pending commit in this session. */
  readonly isGiven: boolean
  /** The hub said that it was too much: nothing is committed before time has passed (WIRE-5). */
  readonly isHeld: boolean
  /** It does nothing before it has read so far: the end of the log when its session began. */
  readonly until: bigint
  readonly items: readonly Item[]
  readonly shown: readonly Shown[]
  readonly seals: number
  readonly said: number
  /** Positions of the commits on which this session gave a vote. */
  readonly voted: readonly LogPosition[]
  readonly isHere: boolean
  readonly up: readonly Upward[]
  readonly down: readonly Refused[]
}

const members = new Map<string, LogMember>()
const memory = new WeakMap<LogMember, Map<string, LogMember>>()

export function openLogMember(seat: Seat, epoch: SmallEpoch): LogMember {
  const position = 1n as LogPosition
  return known({
    id: 0,
    seat,
    next: BigInt(LOG_BEGINS),
    finality: openFinality({ position, epochId: epoch.epochId as never }),
    chain: [{ position, epoch }],
    finals: [epoch.name],
    pending: null,
    isGiven: false,
    isHeld: false,
    until: 0n,
    items: [],
    shown: [],
    seals: 0,
    said: 0,
    voted: [],
    isHere: true,
    up: [],
    down: [],
  })
}

export function topOf({ chain }: LogMember): MadeEpoch {
  return chain.at(-1) as MadeEpoch
}

/** Null where it cannot follow. */
export function heldIn({ seat }: LogMember, { epoch }: MadeEpoch): Group | null {
  return epoch.held[seat] ?? null
}

/** Reads the next entry of the log. */
export function read(member: LogMember, log: readonly Entry[]): LogMember {
  const entry = log[Number(member.next) - LOG_BEGINS]
  holds(entry !== undefined, 'there is an entry to read', () => `${member.next}`)
  return remembered(member, `read ${entry.name}`, () => {
    const next = taken({ ...member, next: member.next + 1n }, entry)
    judgeShown(next, log)
    return next
  })
}

function taken(member: LogMember, entry: Entry): LogMember {
  switch (entry.kind) {
    case 'commit':
      return commitRead(member, entry)
    case 'frame':
      return frameRead(member, entry)
    case 'vote':
      return voteRead(member, entry)
    case 'verdict':
      return verdictRead(member, entry)
  }
}

type Of<Kind extends Entry['kind']> = Extract<Entry, { readonly kind: Kind }>

function commitRead(member: LogMember, entry: Of<'commit'>): LogMember {
  const { commit, position, timeMs } = entry
  const top = topOf(member)
  const { name } = commit
  holds(top.epoch === commit.before, 'a commit stands on the epoch that members have', () => name)
  const fault = judgeAppend(member.finality, commit.seen)
  holds(fault === null, 'members take each commit that the hub took', () => `${name}: ${fault}`)
  const facts = { ...commit.judged.facts, position, timeMs }
  return {
    ...member,
    finality: appendCommit(member.finality, facts),
    chain: [...member.chain, { position, epoch: commit.epoch }],
    pending: null,
    // What was sealed and does not stand is sealed again (KEY-2).
    items: member.items.map((item) => item.sequencedAt === null ? unsealed(item) : item),
  }
}

const unsealed = (item: Item): Item => ({
  ...item,
  sealed: null,
  inFlight: false,
  sequencedAt: null,
})

function frameRead(member: LogMember, { frame, position, name }: Of<'frame'>): LogMember {
  const top = topOf(member)
  holds(top.epoch === frame.epoch, 'a frame stands in the newest epoch', () => name)
  const isStale = !hasSeenVoids(member.finality, frame.seen)
  holds(!isStale, 'members show each frame that the hub took', () => name)
  if (heldIn(member, top) === null) return member
  const { message } = frame
  const isTwice = member.shown.some((each) => each.message === message)
  holds(!isTwice, 'a message stands once', () => `${NAMES[member.seat]} has ${message} twice`)
  const shown = [...member.shown, { message, position }]
  const items = member.items.flatMap((item) => {
    if (item.message !== message || item.sequencedAt !== null) return [item]
    return member.finality.open.length === 0 ? [] : [{ ...item, sequencedAt: position }]
  })
  return { ...member, shown, items }
}

function voteRead(member: LogMember, { ballot }: Of<'vote'>): LogMember {
  const { position, seat, choice } = ballot
  const { account } = authorOf(seat)
  const cast = castVote(member.finality, { position, leaf: leafOfSeat(seat), account, choice })
  return cast.kind === 'taken' ? { ...member, finality: cast.finality } : member
}

function verdictRead(member: LogMember, entry: Of<'verdict'>): LogMember {
  const { position, timeMs, verdict } = entry
  const outcome = applyVerdict(member.finality, { position, timeMs, entry: verdict })
  const { kind } = outcome
  const isRight = kind === 'final' || kind === 'void'
  holds(isRight, 'members agree to each verdict', () => `${entry.name}: ${kind}`)
  const { finality } = outcome
  if (kind === 'final') {
    const [, ...chain] = member.chain
    const [final] = chain
    holds(final?.position === verdict.position, 'the lowest epoch becomes final', () => entry.name)
    const [lowest] = finality.open
    const isOpen = (item: Item) =>
      item.sequencedAt === null || (lowest !== undefined && item.sequencedAt > lowest.position)
    const finals = [...member.finals, final.epoch.name]
    return { ...member, finality, chain, finals, items: member.items.filter(isOpen) }
  }
  const from = verdict.position
  return dropStale({
    ...member,
    finality,
    chain: member.chain.filter((each) => each.position < from),
    shown: member.shown.filter((each) => each.position < from),
    items: member.items.map((item) =>
      item.sequencedAt === null || item.sequencedAt >= from ? unsealed(item) : item
    ),
  })
}

/** A commit of one's own that was made in an epoch which is no longer the newest is given up. */
function dropStale(member: LogMember): LogMember {
  const isStale = member.pending !== null && member.pending.before !== topOf(member).epoch
  return isStale ? { ...member, pending: null } : member
}

/** What is shown is what stands in the log and could be opened. */
function judgeShown(member: LogMember, log: readonly Entry[]): void {
  const stands = standing(log, member.next)
  const readable = stands.filter(({ epoch }) => (epoch.held[member.seat] ?? null) !== null)
  const wanted = readable.map(({ message }) => message).join()
  const shown = member.shown.map(({ message }) => message).join()
  holds(wanted === shown, 'what is shown stands in the log, in its order, and all of it', () => {
    return `${NAMES[member.seat]} shows ${shown} of ${wanted}`
  })
}

// ---- What a member may do -------------------------------------------------------------------

/** Its answer came: what was refused is made again, or given up, once all else was read. */
export function hearRefusal(member: LogMember, until: bigint): LogMember {
  return remembered(member, `refused ${until}`, () => {
    const [refused, ...down] = member.down
    holds(refused !== undefined, 'there is an answer', () => `${member.seat}`)
    const { upward } = refused
    const heard = { ...member, down }
    if (upward.kind === 'commit') {
      const isHeld = heard.isHeld || refused.code === 'tooMany'
      return heard.pending === upward.commit ? { ...heard, pending: null, isHeld } : heard
    }
    if (upward.kind === 'vote') return heard
    // The seal stays: what stands in the log, or by what its epoch went by, is told there (DEV-5).
    const isHeld = heard.isHeld || refused.code === 'unavailable'
    const items = heard.items.map((item) =>
      item.sealed === upward.frame && item.sequencedAt === null
        ? { ...item, inFlight: false }
        : item
    )
    return { ...heard, items, isHeld, until }
  })
}

/** True where it has read all that stood in the log when its session began (ROOM-6). */
export function isCaughtUp({ next, until }: LogMember): boolean {
  return next >= until
}

export function mayCommit(member: LogMember): boolean {
  const { pending, finality, seat, isHeld } = member
  return pending === null && !isHeld && heldIn(member, topOf(member)) !== null &&
    maySpeak(finality, leafOfSeat(seat))
}

function sitsIn({ public: { tree } }: SmallEpoch, seat: Seat): boolean {
  return leafAt(tree, leafOfSeat(seat)) !== null
}

/** How a member comes in, or back. */
export function entryOf(member: LogMember): CommitKind {
  const { seat } = member
  if (sitsIn(topOf(member).epoch, seat)) return 'resync'
  return seat === SECOND ? 'newDevice' : 'link'
}

/** Its place was lost for good, or hangs for too long (VOTE-7). */
export function mayResync(member: LogMember, nowMs: TimeMs): boolean {
  const { pending, finality, chain, isHeld } = member
  if (pending !== null || isHeld || heldIn(member, topOf(member)) !== null) return false
  if (heldIn(member, chain[0] as MadeEpoch) === null) return true
  const since = chain.findIndex((each) => heldIn(member, each) === null)
  const open = finality.open[since - 1]
  return open !== undefined && nowMs - open.timeMs >= LIMITS.resyncWaitMs
}

export function give(member: LogMember, commit: SmallCommit): LogMember {
  return remembered(member, `give ${commit.name}`, () => ({
    ...member,
    pending: commit,
    isGiven: true,
    up: [...member.up, { kind: 'commit', name: `commit ${commit.name}`, commit }],
  }))
}

/** The votes that a member may give now; a liar may say either. */
export function votesOf(member: LogMember, isLiar: boolean): readonly Ballot[] {
  const { finality, chain, seat, voted } = member
  const voter = { leaf: leafOfSeat(seat), account: authorOf(seat).account }
  return finality.open.flatMap((open, index): readonly Ballot[] => {
    const { position, committer, votes } = open
    const { epoch } = chain[index + 1] as MadeEpoch
    const isOver = committer === voter.leaf || voted.includes(position) ||
      votes.some(({ leaf }) => leaf === voter.leaf)
    if (isOver || !sitsIn(epoch, seat)) return []
    const truth = epoch.choices[seat] as VoteChoice
    const said: readonly VoteChoice[] = isLiar ? ['agree', 'cannot'] : [truth]
    return said.filter((choice) => choice === 'agree' || isElector(open, voter))
      .map((choice) => ({ name: `${seat} ${choice} ${position}`, seat, position, choice }))
  })
}

export function vote(member: LogMember, ballot: Ballot): LogMember {
  return remembered(member, `vote ${ballot.name}`, () => ({
    ...member,
    voted: [...member.voted, ballot.position],
    up: [...member.up, { kind: 'vote', name: `vote ${ballot.name}`, ballot }],
  }))
}

export function maySay({ said }: LogMember, count: number): boolean {
  return said < count
}

/** Writes one more message; it is sent when it may be. */
export function say(member: LogMember): LogMember {
  return remembered(member, 'say', () => {
    const message = `m${member.seat}${member.said}`
    const item = { message, sealed: null, inFlight: false, sequencedAt: null }
    return { ...member, said: member.said + 1, items: [...member.items, item] }
  })
}

const isWaiting = (item: Item): boolean => !item.inFlight && item.sequencedAt === null

/** True where something waits and may go out: in an epoch that it holds and may speak in. */
export function maySend(member: LogMember): boolean {
  return member.pending === null && !member.isHeld &&
    heldIn(member, topOf(member)) !== null &&
    maySpeak(member.finality, leafOfSeat(member.seat)) && member.items.some(isWaiting)
}

/** Seals what waits, or gives again what was sealed in this epoch, oldest first. */
export function send(member: LogMember): LogMember {
  return remembered(member, 'send', () => {
    let { seals } = member
    const up = [...member.up]
    const { epoch } = topOf(member)
    const seen = member.next - 1n
    // Of the one that must stand before (SEQ-7).
    let after: number | null = null
    const items = member.items.map((item): Item => {
      let { sealed } = item
      if (sealed === null) {
        const generation = seals++
        const name = `frame ${item.message} ${epoch.name} ${seen} ${generation}`
        sealed = { name, seat: member.seat, message: item.message, epoch, seen, generation }
      }
      if (isWaiting(item)) {
        up.push({ kind: 'frame', name: `${sealed.name} after ${after}`, frame: sealed, after })
      }
      if (item.sequencedAt === null) after = sealed.generation
      return isWaiting(item) ? { ...item, sealed, inFlight: true } : item
    })
    return { ...member, seals, up, items }
  })
}

/** The session ends: what was on the way is gone. */
export function leave(member: LogMember): LogMember {
  return remembered(member, 'leave', () => ({
    ...member,
    isHere: false,
    voted: [],
    up: [],
    down: [],
    items: member.items.map((item) => ({ ...item, inFlight: false })),
  }))
}

/** It comes back, and follows the log from where it was. */
export function comeBack(member: LogMember, until: bigint): LogMember {
  return remembered(member, `come back ${until}`, () => ({
    ...member,
    isHere: true,
    isGiven: false,
    until,
  }))
}

/** Time has passed. */
export function wait(member: LogMember): LogMember {
  if (!member.isHeld) return member
  return remembered(member, 'wait', () => ({ ...member, isHeld: false }))
}

/** The hub is given the same commit once more. */
export function giveAgain(member: LogMember): LogMember {
  return remembered(member, 'give again', () => {
    const { pending } = member
    holds(pending !== null, 'there is a commit to give', () => NAMES[member.seat])
    const again = { kind: 'commit', name: `commit ${pending.name}`, commit: pending } as const
    return { ...member, isGiven: true, up: [...member.up, again] }
  })
}

/** The hub has taken the first of what was given; null: it stands in the log. */
export function answered(member: LogMember, code: string | null): LogMember {
  return remembered(member, `answered ${code}`, () => {
    const [first, ...up] = member.up
    if (code === null || first === undefined) return { ...member, up }
    return { ...member, up, down: [...member.down, { upward: first, code }] }
  })
}

// ---- Equal members are one ------------------------------------------------------------------

function remembered(member: LogMember, key: string, make: () => LogMember): LogMember {
  const known = memory.get(member) ?? new Map<string, LogMember>()
  memory.set(member, known)
  const before = known.get(key)
  if (before !== undefined) return before
  const fresh = intern(make())
  known.set(key, fresh)
  return fresh
}

const known = (member: LogMember): LogMember => intern(member)

function intern(member: LogMember): LogMember {
  const key = keyOf(member)
  const before = members.get(key)
  if (before !== undefined) return before
  const fresh = { ...member, id: members.size }
  members.set(key, fresh)
  return fresh
}

function keyOf(member: LogMember): string {
  const { seat, next, finality, chain, pending, items, shown, up, down } = member
  const open = finality.open.map(({ position, timeMs, votes }) =>
    `${position}:${timeMs}:${votes.map(({ leaf, choice }) => `${leaf}${choice}`).sort()}`
  )
  return [
    ...[seat, next, finality.lastVoid, member.isHere, member.seals, member.said],
    ...[open, member.voted, pending?.name, member.isGiven, member.isHeld],
    member.until > next ? member.until : '',
    ...[chain.map(({ position, epoch }) => `${position}:${epoch.name}`), member.finals],
    items.map((item) =>
      `${item.message} ${item.sealed?.name} ${item.inFlight} ${item.sequencedAt}`
    ),
    shown.map(({ message, position }) => `${message}:${position}`),
    up.map(({ name }) => name),
    down.map(({ upward, code }) => `${upward.name} ${code}`),
  ].join('|')
}
