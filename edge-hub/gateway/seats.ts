/**
 * Where a session's device stands in a room. Owns that look-up and its memory of one room, since a
 * device mostly speaks of the room that it spoke of before; what follows from a seat is
 * `authorize.ts`.
 */
import type { Seat } from '#hub/gateway/authorize.ts'
import type { Connection, Room } from '#hub/gateway/model.ts'
import { leafOf } from '#hub/sequencer/group-view.ts'
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
  const isMember = leaf !== null || (final !== head && leafOf(final, device) !== null)
  return { leaf, isMember, isJoining: connection.joining.has(room.key) }
}

/** The device may follow a room from a position on, to become a member (JOIN-1). */
export function letFollow(connection: Connection, room: Room, from: bigint): void {
  const { joining } = connection
  joining.delete(room.key)
  joining.set(room.key, from)
  const [oldest] = joining.keys()
  if (joining.size > JOINING_MAX && oldest !== undefined) joining.delete(oldest)
  connection.lastSeat = null
}

/** Rooms that one session may be about to join. */
const JOINING_MAX = 64
