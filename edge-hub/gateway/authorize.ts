/**
 * Who may say what: one pure function over one table with a row for each opcode. An opcode without
 * a row does not compile. Uses local state only and fails closed. Owns no rule of the log (see
 * `sequencer/`) and no proof of who somebody is (see `session.ts`).
 */
import { unreachable } from '#core/base/assert.ts'
import type { LeafIndex } from '#core/base/ids.ts'
import type { BodyKind } from '#core/wire/bodies.ts'
import type { Refusal } from '#core/wire/refusals.ts'
import type { Author } from '#hub/sequencer/group-view.ts'

/** How far a session has got. `busy` waits for the outcome of what it asked for last. */
export type Standing = 'stranger' | 'guest' | 'busy' | 'device' | 'closing'

export interface Actor {
  readonly standing: Standing
  /** Null until the device is proven. */
  readonly device: Author | null
  /** `deviceKey` of the device; empty until it is proven. */
  readonly key: string
}

/** Where an actor stands in a room. */
export interface Seat {
  /** In the newest epoch; null: it has none there. */
  readonly leaf: LeafIndex | null
  /** True with a leaf in the last final epoch or in an open one (SEQ-6). */
  readonly isMember: boolean
  /** True for who has shown a right to come in, and follows the log for it (JOIN-1). */
  readonly isJoining: boolean
}

type Right =
  /** Sent by hubs only. */
  | { readonly kind: 'hubOnly' }
  | { readonly kind: 'session'; readonly standings: readonly Standing[] }
  /** Of a proven device, about no room or about one that it need not be in. */
  | { readonly kind: 'device' }
  /** Of a member of the room; to others the room does not exist. */
  | { readonly kind: 'member' }
  /** Of a member, and of who may become one. */
  | { readonly kind: 'follower' }

const hubOnly: Right = { kind: 'hubOnly' }
const device: Right = { kind: 'device' }
const member: Right = { kind: 'member' }
const follower: Right = { kind: 'follower' }
const session = (...standings: Standing[]): Right => ({ kind: 'session', standings })

const RIGHTS: Readonly<Record<BodyKind, Right>> = {
  hello: session('stranger'),
  greeting: hubOnly,
  authenticate: session('guest'),
  ready: hubOnly,
  heartbeat: session('guest', 'busy', 'device'),
  goodbye: session('stranger', 'guest', 'busy', 'device'),
  sessionClosing: hubOnly,
  redirect: hubOnly,
  refused: hubOnly,
  accepted: hubOnly,
  register: session('guest'),
  registered: hubOnly,
  publishKeyPackages: device,
  claimKeyPackages: device,
  keyPackages: hubOnly,
  welcome: hubOnly,
  welcomeReceived: device,
  createRoom: device,
  submitCommit: follower,
  submitFrame: member,
  subscribe: follower,
  subscribed: hubOnly,
  unsubscribe: follower,
  entries: hubOnly,
  head: hubOnly,
  acknowledge: follower,
  catchUp: hubOnly,
  ephemeral: member,
  submitProposal: member,
  submitVote: member,
  askVote: hubOnly,
  requestGroup: device,
  group: hubOnly,
  leaveAnchor: member,
}

export type Authorization =
  | { readonly kind: 'allowed' }
  | { readonly kind: 'refused'; readonly refusal: Refusal }

const ALLOWED: Authorization = { kind: 'allowed' }
const refused = (refusal: Refusal): Authorization => ({ kind: 'refused', refusal })
const NOT_IN_THIS_STATE = refused({ kind: 'notInThisState' })
const NOT_ALLOWED = refused({ kind: 'notAllowed' })
const UNKNOWN_ROOM = refused({ kind: 'unknownRoom' })

/**
 * Judges one action of one actor. `seat` is null for opcodes without a room, and for a room that
 * does not exist, which is answered like a room that the actor is not in: no code tells whether a
 * room exists.
 */
export function authorize(seat: Seat | null, actor: Actor, action: BodyKind): Authorization {
  const right = RIGHTS[action]
  switch (right.kind) {
    case 'hubOnly':
      return NOT_ALLOWED
    case 'session':
      return right.standings.includes(actor.standing) ? ALLOWED : NOT_IN_THIS_STATE
    case 'device':
      return actor.standing === 'device' ? ALLOWED : NOT_IN_THIS_STATE
    case 'member':
    case 'follower': {
      if (actor.standing !== 'device') return NOT_IN_THIS_STATE
      const isFollower = right.kind === 'follower' && seat?.isJoining === true
      return seat?.isMember === true || isFollower ? ALLOWED : UNKNOWN_ROOM
    }
    default:
      return unreachable(right)
  }
}
