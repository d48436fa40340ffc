/**
 * How a room ends on this device: it is left for good, refused on the way in, or broken. Owns what
 * is the same in all of them: nothing of the group and nothing of the way in is kept, what was said
 * in an open epoch waits (JOIN-7), and the log is followed no more.
 */
import { EMPTY } from '#core/base/bytes.ts'
import { forgetRoom } from '#core/device/epochs.ts'
import type { RoomRecord } from '#core/device/records.ts'
import { hasLink } from '#core/device/room.ts'
import type { Turn } from '#core/device/turn.ts'

type End = Partial<Pick<RoomRecord, 'phase' | 'code'>>

function endRoom(turn: Turn, key: string, end: End): void {
  const room = turn.room(key)
  if (room === null) return
  forgetRoom(turn, key)
  turn.effect({ kind: 'wipe', secrets: [room.record.opening] })
  turn.setRecord(key, { ...end, opening: EMPTY })
  turn.setRoom(key, { asked: [] })
  turn.effect({ kind: 'showAccount' })
}

/** This device is out for good (SEQ-6). */
export function leaveRoom(turn: Turn, key: string): void {
  endRoom(turn, key, { phase: 'removed' })
}

/** The way into a room has ended before it was entered (JOIN-7). */
export function refuseJoin(turn: Turn, key: string, code: string): void {
  if (turn.room(key)?.record.phase !== 'joining') return
  endRoom(turn, key, { phase: 'joinRefused', code })
}

/**
 * The way in has led to where this device has no seat. Who came by a link learns why the hub
 * refused it, or else the code; who was added was removed again.
 */
export function wayInEnded(turn: Turn, key: string, code: string): void {
  const room = turn.room(key)
  if (room === null) return
  const { record } = room
  if (record.phase !== 'joining' || !hasLink(record)) return leaveRoom(turn, key)
  refuseJoin(turn, key, record.code === '' ? code : record.code)
}

/** A room that cannot be followed any further, with the reason (DEV-9). */
export function breakRoom(turn: Turn, key: string, code: string): void {
  const room = turn.room(key)
  if (room === null) return
  if (room.record.phase === 'joining') {
    return refuseJoin(turn, key, code === 'internal' || code === 'fork' ? code : 'brokenLog')
  }
  endRoom(turn, key, { phase: 'broken', code })
}

/**
 * A fault of ours in one room stops that room and nothing else: the step goes on without it. False
 * where it did.
 */
export async function guarded(
  turn: Turn,
  key: string,
  work: () => Promise<void>,
): Promise<boolean> {
  const mark = turn.mark()
  try {
    await work()
    return true
  } catch (error) {
    turn.rewind(mark)
    turn.effect({ kind: 'reportFault', error })
    breakRoom(turn, key, 'internal')
    return false
  }
}
