/**
 * Rooms that wait: where the hub says that it is too much (WIRE-5), for as long as it asks, or for
 * a Welcome (ROOM-7). Then they go on by themselves. Owns the time; what goes on is the caller's.
 */
import { LIMITS } from '#core/base/limits.ts'
import type { RoomState } from '#core/device/state.ts'
import type { Turn } from '#core/device/turn.ts'
import type { Refusal } from '#core/wire/refusals.ts'

/** Holds the room if the refusal names a time; false when it is one of another kind. */
export function holdRoom(turn: Turn, key: string, refusal: Refusal): boolean {
  if (refusal.kind !== 'tooMany' && refusal.kind !== 'unavailable') return false
  const waitMs = Math.min(
    Math.max(refusal.retryAfterMs, LIMITS.redialDelayMsMin),
    LIMITS.retryMsMax,
  )
  holdFor(turn, key, waitMs)
  return true
}

/** The room goes on by itself after a time, and asks nothing before. */
export function holdFor(turn: Turn, key: string, waitMs: number): void {
  turn.setRoom(key, { holdUntilMs: turn.nowMs + waitMs })
  armRetry(turn)
}

/** True while the hub is not to be asked. */
export function isHeld(turn: Turn, room: RoomState): boolean {
  return turn.nowMs < room.holdUntilMs
}

/** The retry timer fired: the rooms whose time is over. */
export function releaseRooms(turn: Turn): readonly string[] {
  const released: string[] = []
  for (const room of turn.state.rooms.values()) {
    if (room.holdUntilMs === 0 || isHeld(turn, room)) continue
    turn.setRoom(room.key, { holdUntilMs: 0 })
    released.push(room.key)
  }
  armRetry(turn)
  return released
}

function armRetry(turn: Turn): void {
  let atMs = Number.POSITIVE_INFINITY
  for (const room of turn.state.rooms.values()) {
    if (room.holdUntilMs > 0) atMs = Math.min(atMs, room.holdUntilMs)
  }
  if (Number.isFinite(atMs)) turn.effect({ kind: 'armTimer', timer: 'retry', atMs })
}
