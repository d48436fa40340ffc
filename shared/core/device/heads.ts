/**
 * Signed heads (LOG-3): what the hub swears stands at a position, against what this device chained.
 * Owns the comparison only; a proof of a fork needs two heads.
 */
import { equalBytes } from '#core/base/bytes.ts'
import { breakRoom } from '#core/device/room.ts'
import type { Turn } from '#core/device/turn.ts'
import { type Head, verifyHead } from '#core/identity/head.ts'

/** A head at the device's own last position must name the same hash; otherwise the room forked. */
export async function headReceived(turn: Turn, key: string, head: Head): Promise<void> {
  const room = turn.room(key)
  const { hub } = turn.state
  if (room === null || hub === null || room.record.phase !== 'live') return
  if (head.position + 1n !== room.record.next) return
  const signed = await verifyHead(
    turn.ports.crypto,
    { hubDomain: hub.domain, room: room.id, head },
    hub.key,
  )
  if (!signed) return
  if (!equalBytes(head.entryHash, room.record.headHash)) breakRoom(turn, key, 'fork')
}
