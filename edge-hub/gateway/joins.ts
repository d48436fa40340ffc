/**
 * Requests to join one room, as a machine (ROOM-9): each waits, is offered to one online member at
 * a time in a fixed order, the inviter's devices first, and is answered once, by a commit that adds
 * the device, by a member's decline, or because its invitation ended. Pure and bounded. Owns no
 * check of a request: what gets here was proven.
 */
import { unreachable } from '#core/base/assert.ts'
import { equalBytes } from '#core/base/bytes.ts'
import type { AccountName, DeviceId, LogPosition, RequestId, TimeMs } from '#core/base/ids.ts'
import { LIMITS } from '#core/base/limits.ts'
import { DECLINE_REASONS } from '#core/wire/bodies.ts'
import type { Refusal } from '#core/wire/refusals.ts'

/** Whom to answer: a session, by the number that the gateway gave it, and its request. */
export interface JoinerAddress {
  readonly session: number
  readonly request: RequestId
}

export interface JoinWish {
  /** Id of the request in hex (ROOM-9). */
  readonly id: string
  readonly bytes: Uint8Array
  readonly account: AccountName
  readonly device: DeviceId
  readonly invitation: Uint8Array
  readonly inviter: AccountName
  readonly inviterDevice: DeviceId
  readonly expiresAt: TimeMs
  readonly joiner: JoinerAddress
}

export interface PendingJoin extends JoinWish {
  /** Leaves that were asked in this round. */
  readonly tried: readonly number[]
  /** Leaf whose answer is awaited, no longer than until `waitsUntilMs`. */
  readonly asked: number | null
  /** Before this time no new round begins. */
  readonly waitsUntilMs: TimeMs
}

/** Oldest first. */
export type Joins = readonly PendingJoin[]

/** A member that is online and follows the room. */
export interface Candidate {
  readonly leaf: number
  readonly account: AccountName
  readonly device: DeviceId
}

export interface JoinContext {
  readonly nowMs: TimeMs
  readonly candidates: readonly Candidate[]
}

export type JoinInput =
  | { readonly kind: 'requested'; readonly wish: JoinWish }
  | {
    readonly kind: 'declined'
    readonly id: string
    readonly leaf: number
    readonly reason: number
  }
  /** A commit stands in the log; what it added is answered. */
  | {
    readonly kind: 'committed'
    readonly added: readonly { readonly account: AccountName; readonly device: DeviceId }[]
    readonly position: LogPosition
  }
  /** A member came or went, or time passed. */
  | { readonly kind: 'looked' }

export type JoinEffect =
  | { readonly kind: 'ask'; readonly leaf: number; readonly bytes: Uint8Array }
  | { readonly kind: 'accept'; readonly joiner: JoinerAddress; readonly position: LogPosition }
  | { readonly kind: 'refuse'; readonly joiner: JoinerAddress; readonly refusal: Refusal }

export interface JoinStep {
  readonly joins: Joins
  readonly effects: readonly JoinEffect[]
}

/** One input, then whatever can be asked now. */
export function stepJoins(joins: Joins, input: JoinInput, context: JoinContext): JoinStep {
  const step = take(joins, input, context)
  return offer(step, context)
}

function take(joins: Joins, input: JoinInput, { nowMs }: JoinContext): JoinStep {
  switch (input.kind) {
    case 'requested':
      return requested(joins, input.wish)
    case 'declined':
      return declined(joins, input)
    case 'committed':
      return committed(joins, input)
    case 'looked': {
      const expired = joins.filter(({ expiresAt }) => expiresAt <= nowMs)
      return {
        joins: joins.filter((join) => !expired.includes(join)),
        effects: expired.map(({ joiner }) => ({
          kind: 'refuse',
          joiner,
          refusal: { kind: 'invitationSpent' },
        })),
      }
    }
    default:
      return unreachable(input)
  }
}

/** The same request again moves its answer; another one of the same device takes its place. */
function requested(joins: Joins, wish: JoinWish): JoinStep {
  const before = joins.find((join) => isOf(join, wish))
  if (before?.id === wish.id) {
    const moved = { ...before, joiner: wish.joiner }
    return { joins: joins.map((join) => join === before ? moved : join), effects: [] }
  }
  const others = joins.filter((join) => join !== before)
  if (others.length >= LIMITS.joinRequestsPerRoomMax) {
    const refusal: Refusal = { kind: 'tooMany', retryAfterMs: LIMITS.joinAskMs }
    return { joins, effects: [{ kind: 'refuse', joiner: wish.joiner, refusal }] }
  }
  const join = { ...wish, tried: [], asked: null, waitsUntilMs: 0 as TimeMs }
  return { joins: [...others, join], effects: [] }
}

/** Only the member that was asked may decline. One that cannot just now passes it on. */
function declined(joins: Joins, input: Extract<JoinInput, { kind: 'declined' }>): JoinStep {
  const { id, leaf, reason } = input
  const join = joins.find((each) => each.id === id && each.asked === leaf)
  if (join === undefined) return { joins, effects: [] }
  if (reason === DECLINE_REASONS.notNow) {
    const waiting = { ...join, asked: null }
    return { joins: joins.map((each) => each === join ? waiting : each), effects: [] }
  }
  const refusal: Refusal = { kind: 'declined', reason }
  return {
    joins: joins.filter((each) => each !== join),
    effects: [{ kind: 'refuse', joiner: join.joiner, refusal }],
  }
}

function committed(joins: Joins, input: Extract<JoinInput, { kind: 'committed' }>): JoinStep {
  const { added, position } = input
  const answered = joins.filter((join) => added.some((device) => isOf(join, device)))
  return {
    joins: joins.filter((join) => !answered.includes(join)),
    effects: answered.map(({ joiner }) => ({ kind: 'accept', joiner, position })),
  }
}

/** The invitations by which `added` devices come, once for each use. */
export function usesOf(
  joins: Joins,
  added: readonly { readonly account: AccountName; readonly device: DeviceId }[],
): readonly Uint8Array[] {
  return joins.filter((join) => added.some((device) => isOf(join, device)))
    .map(({ invitation }) => invitation)
}

function offer(step: JoinStep, context: JoinContext): JoinStep {
  const effects = [...step.effects]
  const joins = step.joins.map((join): PendingJoin => {
    if (isAnswerAwaited(join, context)) return join
    const next = nextCandidate(join, context)
    if (next === null) return join.asked === null ? join : { ...join, asked: null }
    effects.push({ kind: 'ask', leaf: next.leaf, bytes: join.bytes })
    const waitsUntilMs = context.nowMs + LIMITS.joinAskMs as TimeMs
    return { ...join, tried: [...next.tried, next.leaf], asked: next.leaf, waitsUntilMs }
  })
  return { joins, effects }
}

function isAnswerAwaited(join: PendingJoin, { nowMs, candidates }: JoinContext): boolean {
  if (join.asked === null || nowMs >= join.waitsUntilMs) return false
  return candidates.some(({ leaf }) => leaf === join.asked)
}

interface NextCandidate {
  readonly leaf: number
  /** Leaves that were asked before it in its round. */
  readonly tried: readonly number[]
}

/** The first in order that was not asked in this round; a new round waits for its time. */
function nextCandidate(join: PendingJoin, context: JoinContext): NextCandidate | null {
  const ordered = [...context.candidates]
    .sort((a, b) => rank(join, a) - rank(join, b) || a.leaf - b.leaf)
  const fresh = ordered.find(({ leaf }) => !join.tried.includes(leaf))
  if (fresh !== undefined) return { leaf: fresh.leaf, tried: join.tried }
  const first = ordered[0]
  if (first === undefined || context.nowMs < join.waitsUntilMs) return null
  return { leaf: first.leaf, tried: [] }
}

/** The inviting device, then its account's others, then everybody else. */
function rank(join: PendingJoin, candidate: Candidate): number {
  if (candidate.account !== join.inviter) return 2
  return equalBytes(candidate.device, join.inviterDevice) ? 0 : 1
}

function isOf(
  join: { readonly account: AccountName; readonly device: DeviceId },
  device: { readonly account: AccountName; readonly device: DeviceId },
): boolean {
  return join.account === device.account && equalBytes(join.device, device.device)
}
