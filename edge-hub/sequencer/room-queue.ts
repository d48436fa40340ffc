/**
 * The queue of one room between its devices and the sequencer: bounded, in order, in two stages.
 * What arrived waits to be checked; what was checked waits for its turn. A submission that changes
 * the epoch is a barrier: nothing behind it is checked before it is settled, since whose signature
 * counts depends on it. Owns no rule of the log.
 */
import { assert } from '#core/base/assert.ts'
import { LIMITS } from '#core/base/limits.ts'

export interface RoomQueue<Arrived, Checked> {
  /** False when the queue is full and nothing was queued. `size` is in bytes. */
  offer(item: Arrived, options: { readonly size: number; readonly barrier: boolean }): boolean
  /** What may be checked next, up to and with the first barrier; empty while a check is running. */
  startCheck(): readonly Arrived[]
  /** Ends the check: what passed, in order. */
  finishCheck(passed: readonly Checked[]): void
  /** At most `limit` checked submissions, in order. */
  takeChecked(limit: number): readonly Checked[]
  /** A submission was answered: its place is free, and its barrier is lifted. */
  settle(options: { readonly size: number; readonly barrier: boolean }): void
  readonly checkedCount: number
  /** Submissions that have not been answered. */
  readonly unsettledCount: number
}

interface Waiting<Arrived> {
  readonly item: Arrived
  readonly barrier: boolean
}

export function createRoomQueue<Arrived, Checked>(): RoomQueue<Arrived, Checked> {
  const arrived: Waiting<Arrived>[] = []
  let checked: Checked[] = []
  let checking = false
  let barred = false
  let count = 0
  let bytes = 0
  return {
    offer(item, { size, barrier }) {
      if (count >= LIMITS.roomQueueFramesMax) return false
      if (bytes + size > LIMITS.roomQueueBytesMax) return false
      arrived.push({ item, barrier })
      count++
      bytes += size
      return true
    },
    startCheck() {
      if (checking || barred || arrived.length === 0) return []
      const barrierAt = arrived.findIndex(({ barrier }) => barrier)
      barred = barrierAt >= 0
      const taken = arrived.splice(0, barred ? barrierAt + 1 : arrived.length)
      checking = true
      return taken.map(({ item }) => item)
    },
    finishCheck(passed) {
      assert(checking, 'a check that ends has begun')
      checking = false
      checked = checked.length === 0 ? [...passed] : checked.concat(passed)
    },
    takeChecked: (limit) => checked.splice(0, limit),
    settle({ size, barrier }) {
      assert(count > 0, 'what is settled was queued')
      count--
      bytes -= size
      if (barrier) barred = false
    },
    get checkedCount() {
      return checked.length
    },
    get unsettledCount() {
      return count
    },
  }
}
