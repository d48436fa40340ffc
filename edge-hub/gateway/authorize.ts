/**
 * Who may say what: one pure function over one table with a row for each opcode. An opcode without
 * a row does not compile. Uses local state only and fails closed. Owns no rule of the log (see
 * `sequencer/`) and no proof of who somebody is (see `session.ts`).
 */
import { unreachable } from '#core/base/assert.ts'
import type { AccountName, DeviceId } from '#core/base/ids.ts'
import type { BodyKind } from '#core/wire/bodies.ts'
import type { Refusal } from '#core/wire/refusals.ts'
import type { GroupView } from '#hub/sequencer/group-view.ts'

/** How far a session has got. `busy` waits for the outcome of what it asked for last. */
export type Standing = 'stranger' | 'guest' | 'busy' | 'device' | 'closing'

export interface Actor {
  readonly standing: Standing
  /** Null until the device is proven. */
  readonly device: { readonly account: AccountName; readonly device: DeviceId } | null
  /** `deviceKey` of the device; empty until it is proven. */
  readonly key: string
}

type Right =
  /** Sent by hubs only. */
  | { readonly kind: 'hubOnly' }
  | { readonly kind: 'session'; readonly standings: readonly Standing[] }
  /** Of a proven device, about no room or about one that it need not be in. */
  | { readonly kind: 'device' }
  /** Of a member of the room; to others the room does not exist. */
  | { readonly kind: 'member' }

const hubOnly: Right = { kind: 'hubOnly' }
const device: Right = { kind: 'device' }
const member: Right = { kind: 'member' }
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
  submitCommit: member,
  submitFrame: member,
  submitInvitation: member,
  subscribe: member,
  subscribed: hubOnly,
  unsubscribe: member,
  entries: hubOnly,
  head: hubOnly,
  acknowledge: member,
  catchUp: hubOnly,
  requestJoin: device,
  joinRequested: hubOnly,
  declineJoin: member,
  ephemeral: member,
}

export type Authorization =
  | { readonly kind: 'allowed' }
  | { readonly kind: 'refused'; readonly refusal: Refusal }

const ALLOWED: Authorization = { kind: 'allowed' }
const refused = (refusal: Refusal): Authorization => ({ kind: 'refused', refusal })
const NOT_IN_THIS_STATE = refused({ kind: 'notInThisState' })
const NOT_ALLOWED = refused({ kind: 'notAllowed' })
const UNKNOWN_ROOM = refused({ kind: 'unknownRoom' })

/** What the action is about: `session` for opcodes without a room, which have no view. */
export interface ActionContext {
  readonly scope: 'session' | 'room'
}

/**
 * Judges one action of one actor. `view` is null for a room that does not exist, which is answered
 * like a room that the actor is not in: no code tells whether a room exists.
 */
export function authorize(
  view: GroupView | null,
  actor: Actor,
  action: BodyKind,
  context: ActionContext,
): Authorization {
  const right = RIGHTS[action]
  switch (right.kind) {
    case 'hubOnly':
      return NOT_ALLOWED
    case 'session':
      return right.standings.includes(actor.standing) ? ALLOWED : NOT_IN_THIS_STATE
    case 'device':
      return actor.standing === 'device' ? ALLOWED : NOT_IN_THIS_STATE
    case 'member': {
      if (actor.standing !== 'device') return NOT_IN_THIS_STATE
      if (context.scope !== 'room' || view === null) return UNKNOWN_ROOM
      return view.byDevice.has(actor.key) ? ALLOWED : UNKNOWN_ROOM
    }
    default:
      return unreachable(right)
  }
}
