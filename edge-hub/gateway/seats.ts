/**
 * Where a session's device stands in a room. Owns that look-up and its memory of one room, since a
 * device mostly speaks of the room that it spoke of before; what follows from a seat is
 * `authorize.ts`.
 */
import { findInvitation, policyOf } from '#core/policy/room-policy.ts'
import { hasAccount, leavesOfAccount, rosterOf } from '#core/policy/roster.ts'
import type { Seat } from '#hub/gateway/authorize.ts'
import type { Connection, JoinRight, Room } from '#hub/gateway/model.ts'
import { type EpochView, leafOf } from '#hub/sequencer/group-view.ts'
import { finalView, headView } from '#hub/sequencer/room-state.ts'

/** Null for a room without a genesis. */
export function seatOf(connection: Connection, room: Room): Seat | null {
  const { epochs } = room.sequenced
  const before = connection.lastSeat
  if (before !== null && before.epochs === epochs) return before.seat
  const seat = lookUp(connection, room)
  if (seat !== null) connection.lastSeat = { epochs, seat }
  return seat
}

function lookUp(connection: Connection, room: Room): Seat | null {
  const { device } = connection.actor
  const [head, final] = [headView(room.sequenced), finalView(room.sequenced)]
  if (head === null || final === null || device === null) return null
  const leaf = leafOf(head, device)
  // Who is in any epoch that may come to count is not out yet (SEQ-6).
  const isMember = room.sequenced.epochs.some((view) => leafOf(view, device) !== null)
  return { leaf, isMember, isJoining: mayJoin(connection, room, [final, head]) }
}

/**
 * Whether a session's right to come in (JOIN-1) still holds in one of these epochs. *Who was
 * removed, or never came in, would follow the room for as long as its session lasts.*
 */
export function mayJoin(
  { joining, actor: { device } }: Connection,
  room: Room,
  views: readonly EpochView[],
): boolean {
  const right = joining.get(room.key)
  if (right === undefined || device === null) return false
  const { invitation } = right
  return views.some(({ made: { context, tree } }) => {
    const roster = rosterOf(tree)
    if (invitation === null) return leavesOfAccount(roster, device.account).length > 0
    const policy = policyOf(context.extensions)
    const listed = policy === null ? null : findInvitation(policy, invitation)
    return listed !== null && listed.expiresAt > room.sequenced.time &&
      hasAccount(roster, listed.inviter, listed.inviterRootHash)
  })
}

/** The device may follow a room, to become a member (JOIN-1). */
export function letFollow(connection: Connection, room: Room, right: JoinRight): void {
  const { joining } = connection
  joining.delete(room.key)
  joining.set(room.key, right)
  const [oldest] = joining.keys()
  if (joining.size > JOINING_MAX && oldest !== undefined) joining.delete(oldest)
  connection.lastSeat = null
}

/** Rooms that one session may be about to join. */
const JOINING_MAX = 64
