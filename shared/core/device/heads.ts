/**
 * Evidence of a fork (LOG-3, LOG-5): what the hub swears, and what other members saw, against what
 * this device chained itself. Owns the memory of recent hashes and the comparison.
 */
import { equalBytes } from '#core/base/bytes.ts'
import { LIMITS } from '#core/base/limits.ts'
import { breakRoom } from '#core/device/ends.ts'
import { isFollowed } from '#core/device/room.ts'
import type { ChainedHash } from '#core/device/state.ts'
import type { Turn } from '#core/device/turn.ts'
import { type Head, verifyHead } from '#core/identity/head.ts'

export interface SeenEntry {
  readonly position: bigint
  readonly hash: Uint8Array
}

/** Remembers the hash of an entry that was chained; the oldest is forgotten. */
export function remember(turn: Turn, key: string, chained: ChainedHash): void {
  const room = turn.room(key)
  if (room === null) return
  turn.setRoom(key, { recent: [...room.recent, chained].slice(-LIMITS.recentHashesMax) })
}

/**
 * True when somebody's word on an entry differs from what this device chained at that position.
 * What it does not remember it does not judge.
 */
export function contradicts(turn: Turn, key: string, seen: SeenEntry): boolean {
  const known = turn.room(key)?.recent.find((each) => each.position === seen.position)
  return known !== undefined && !equalBytes(known.hash, seen.hash)
}

/** A head that the hub signed must name the hash that this device has there (LOG-3). */
export async function headReceived(turn: Turn, key: string, head: Head): Promise<void> {
  const room = turn.room(key)
  const { hub } = turn.state
  if (room === null || hub === null || !isFollowed(room)) return
  const seen = { position: head.position, hash: head.entryHash }
  if (!contradicts(turn, key, seen)) return
  const said = { hubDomain: hub.domain, room: room.id, head }
  if (await verifyHead(turn.ports.crypto, said, hub.key)) breakRoom(turn, key, 'fork')
}
