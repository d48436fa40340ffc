/**
 * The log world: the production sequencer and three members that follow its log, with everything
 * that may happen between them in every order. Mallory commits what some cannot follow and votes as
 * she likes; sessions end; time passes. Owns the composition and the invariants of all together.
 */
import type { TimeMs } from '#core/base/ids.ts'
import { askNewcomer, type LogHub, openLogHub, standing, take, tick } from './log-hub.ts'
import { futureOf, LOG_BEGINS } from './log-hub.ts'
import { answered, comeBack, give, giveAgain, hearRefusal, heldIn } from './log-member.ts'
import { entryOf, isCaughtUp, leave, mayCommit } from './log-member.ts'
import { type LogMember, mayResync, maySay, maySend, openLogMember, read } from './log-member.ts'
import { say, send, topOf, vote, votesOf, wait } from './log-member.ts'
import { type Ending, Endings } from './ending.ts'
import { type Choice, holds, type World } from './search.ts'
import { DAN, MALLORY, NAMES, type Seat, SEATS, START_MS } from './small-members.ts'
import { type CommitKind, commitOf } from './small-room.ts'

/** How often each thing may happen. */
export interface LogBounds {
  readonly commits: number
  /** Commits of Mallory's that lie, each of one of these kinds. */
  readonly lies: number
  readonly lieKinds: readonly CommitKind[]
  /** Commits from outside. */
  readonly entries: number
  /** Who may come in. */
  readonly newcomer: Seat | null
  /** Messages of each member. */
  readonly messages: readonly number[]
  readonly ends: number
  /** Steps of time, by their length. */
  readonly waits: readonly { readonly ms: number; readonly count: number }[]
  /** Mallory votes against the truth. */
  readonly falseVotes: boolean
}

interface LogState {
  readonly hub: LogHub
  readonly members: readonly LogMember[]
  readonly nowMs: TimeMs
  readonly commits: number
  readonly lies: number
  readonly entries: number
  readonly ends: number
  readonly waits: readonly number[]
}

export async function logWorld(name: string, bounds: LogBounds): Promise<World<LogState>> {
  const { hub, epoch } = await openLogHub()
  const { commits, lies, entries, newcomer, ends, waits } = bounds
  const initial: LogState = {
    hub,
    members: [...SEATS.slice(0, DAN), ...newcomer === null ? [] : [newcomer]]
      .map((seat) => openLogMember(seat, epoch)),
    nowMs: START_MS,
    commits,
    lies,
    entries,
    ends,
    waits: waits.map(({ count }) => count),
  }
  const endings = new Endings(ENDING)
  const said = waits.map(({ ms, count }) => `${count} × ${ms} ms`).join(', ')
  return {
    name,
    bounds: `${commits} commits, ${lies} lies (${bounds.lieKinds}), ${entries} from outside` +
      `${newcomer === null ? '' : ` (${NAMES[newcomer]})`}, ` +
      `messages ${bounds.messages}, ${ends} ends of sessions, ${said}`,
    initial,
    keyOf,
    choices: (state) => choicesOf(state, bounds),
    finish: (state) => endings.play(state),
  }
}

function keyOf({ hub, members, nowMs, commits, lies, entries, ends }: LogState): string {
  return `${partsOf(hub, members)},${nowMs},${commits},${lies},${entries},${ends}`
}

function partsOf(hub: LogHub, members: readonly LogMember[]): string {
  const ids = members.map(({ id }) => id)
  const read = members.reduce((least, { next }) => next < least ? next : least, hub.room.next)
  return `${futureOf(hub, read)},${ids}`
}

function* choicesOf(state: LogState, bounds: LogBounds): Iterable<Choice<LogState>> {
  for (const member of state.members) {
    const who = NAMES[member.seat]
    if (!member.isHere) {
      yield { name: `${who} comes back`, run: () => back(state, member) }
      continue
    }
    yield* arrivals(state, member)
    yield* acts(state, member, bounds)
    if (state.ends > 0) {
      yield {
        name: `the session of ${who} ends`,
        run: () => with_({ ...state, ends: state.ends - 1 }, leave(member)),
      }
    }
  }
  for (const [index, { ms }] of bounds.waits.entries()) {
    const left = state.waits[index] as number
    if (left === 0) continue
    const waits = state.waits.map((count, at) => at === index ? count - 1 : count)
    yield { name: `${ms} ms pass`, run: () => later({ ...state, waits }, ms) }
  }
}

/** What a member does by itself, once it has caught up. */
function* acts(
  state: LogState,
  member: LogMember,
  bounds: LogBounds,
): Iterable<Choice<LogState>> {
  if (!isCaughtUp(member)) return
  if (mayGiveAgain(member)) {
    const run = () => with_(state, giveAgain(member))
    yield { name: `${NAMES[member.seat]} gives its commit again`, run }
  }
  yield* votes(state, member, bounds)
  yield* changes(state, member, bounds)
  yield* words(state, member, bounds)
}

const mayGiveAgain = ({ pending, isGiven }: LogMember): boolean => pending !== null && !isGiven

function with_(state: LogState, member: LogMember): LogState {
  const members = state.members.map((each) => each.seat === member.seat ? member : each)
  return judged({ ...state, members })
}

function back(state: LogState, member: LogMember): LogState {
  const hub = askNewcomer(state.hub, member.seat)
  return with_({ ...state, hub }, comeBack(member, endOf(state)))
}

const endOf = ({ hub }: LogState): bigint => BigInt(hub.log.length + LOG_BEGINS)

function hereIn({ members }: LogState): number {
  return members.reduce((bits, { seat, isHere }) => isHere ? bits | (1 << seat) : bits, 0)
}

function* arrivals(state: LogState, member: LogMember): Iterable<Choice<LogState>> {
  const who = NAMES[member.seat]
  const [first] = member.up
  if (first !== undefined) {
    yield { name: `the hub takes ${first.name}`, run: () => arrive(state, member) }
  }
  if (member.next < endOf(state)) {
    const run = () => with_(state, read(member, state.hub.log))
    yield { name: `${who} reads ${member.next}`, run }
  }
  if (member.down.length > 0) {
    yield {
      name: `${who} hears a refusal`,
      run: () => with_(state, hearRefusal(member, endOf(state))),
    }
  }
}

function arrive(state: LogState, member: LogMember): LogState {
  const [first] = member.up
  if (first === undefined) return state
  const { hub, refusal } = take(state.hub, first, { nowMs: state.nowMs, here: hereIn(state) })
  return with_({ ...state, hub }, answered(member, refusal))
}

function later(state: LogState, ms: number): LogState {
  const nowMs = state.nowMs + ms as TimeMs
  const hub = tick(state.hub, { nowMs, here: hereIn(state) })
  return judged({ ...state, nowMs, hub, members: state.members.map(wait) })
}

function* votes(
  state: LogState,
  member: LogMember,
  { falseVotes }: LogBounds,
): Iterable<Choice<LogState>> {
  for (const ballot of votesOf(member, falseVotes && member.seat === MALLORY)) {
    const { choice, position } = ballot
    const run = () => with_(state, vote(member, ballot))
    yield { name: `${NAMES[member.seat]} says ${choice} to ${position}`, run }
  }
}

function* changes(
  state: LogState,
  member: LogMember,
  { lieKinds }: LogBounds,
): Iterable<Choice<LogState>> {
  const { seat } = member
  const { commits, lies, entries } = state
  if (mayCommit(member)) {
    if (commits > 0) yield commitChoice({ ...state, commits: commits - 1 }, member, 'honest')
    if (lies > 0 && seat === MALLORY) {
      for (const kind of lieKinds) yield commitChoice({ ...state, lies: lies - 1 }, member, kind)
    }
  }
  if (entries > 0 && mayResync(member, state.nowMs)) {
    yield commitChoice({ ...state, entries: entries - 1 }, member, entryOf(member))
  }
}

function commitChoice(state: LogState, member: LogMember, kind: CommitKind): Choice<LogState> {
  return {
    name: `${NAMES[member.seat]} commits ${kind} on ${topOf(member).epoch.name}`,
    run: () => committed(state, member, kind),
  }
}

async function committed(
  state: LogState,
  member: LogMember,
  kind: CommitKind,
): Promise<LogState> {
  const before = topOf(member).epoch
  const commit = await commitOf({ seat: member.seat, kind, before, seen: member.next - 1n })
  return with_(state, give(member, commit))
}

function* words(
  state: LogState,
  member: LogMember,
  { messages }: LogBounds,
): Iterable<Choice<LogState>> {
  const who = NAMES[member.seat]
  if (maySay(member, messages[member.seat] ?? 0)) {
    yield { name: `${who} writes`, run: () => with_(state, say(member)) }
  }
  if (maySend(member)) yield { name: `${who} sends`, run: () => with_(state, send(member)) }
}

// ---- Invariants of all together -------------------------------------------------------------

function judged(state: LogState): LogState {
  const { hub, members } = state
  for (const { finals, seat } of members) {
    const isPrefix = finals.every((name, index) => hub.finals[index] === name)
    holds(isPrefix, 'all hold one final chain', () => `${NAMES[seat]}: ${finals} of ${hub.finals}`)
  }
  return state
}

/**
 * Everything arrives, everybody who is honest does what the rules ask, and time passes; Mallory
 * reads and says nothing more. Then all agree and nothing is open.
 */
const ENDING: Ending<LogState> = {
  keyOf: ({ hub, members, nowMs }) => `${partsOf(hub, members)},${nowMs}`,
  prompted,
  isAtRest,
  later,
  pictureOf,
}

function pictureOf({ hub, members }: LogState): string {
  return JSON.stringify({
    log: hub.log.map(({ name }) => name),
    open: hub.room.finality?.open.map(({ position }) => String(position)),
    members: members.map((each) => ({
      next: String(each.next),
      chain: each.chain.map(({ epoch }) => epoch.name),
      pending: each.pending?.name ?? null,
      items: each.items.map(({ message }) => message),
    })),
  })
}

/** The next thing that happens without time; null: nothing. */
async function prompted(state: LogState): Promise<LogState | null> {
  for (const member of state.members) {
    if (!member.isHere) return back(state, member)
    const [arrival] = [...arrivals(state, member)]
    if (arrival !== undefined) return await arrival.run()
  }
  for (const member of state.members) {
    if (mayGiveAgain(member)) return with_(state, giveAgain(member))
    if (member.seat === MALLORY) continue
    const [ballot] = votesOf(member, false)
    if (ballot !== undefined) return with_(state, vote(member, ballot))
    if (mayResync(member, state.nowMs)) return await committed(state, member, entryOf(member))
    if (maySend(member)) return with_(state, send(member))
  }
  return null
}

function isAtRest(state: LogState): boolean {
  const { hub, members } = state
  const end = endOf(state)
  if ((hub.room.finality?.open.length ?? 0) > 0) return false
  const honest = members.filter(({ seat }) => seat !== MALLORY)
  return honest.every((member) => isSettled(member, end)) && isSaidOnce(state, honest)
}

function isSettled(member: LogMember, end: bigint): boolean {
  return member.next === end && member.pending === null && member.items.length === 0 &&
    heldIn(member, topOf(member)) !== null
}

/** Every word of the honest stands once. */
function isSaidOnce({ hub }: LogState, honest: readonly LogMember[]): boolean {
  const stands = standing(hub.log, BigInt(hub.log.length + LOG_BEGINS))
  return honest.every(({ seat, said }) => {
    const own = stands.filter((frame) => frame.seat === seat).map(({ message }) => message)
    return own.length === said && new Set(own).size === said
  })
}

export type { LogState }
