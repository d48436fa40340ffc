/**
 * The items of a room's outbox (DEV-5): how one is stored, what goes with its device into a room
 * that it enters anew, and what is in doubt once epochs are forgotten. Owns no seal and no sending
 * (`outbox.ts`).
 */
import { outboxKey, outboxRecordCodec, timelineKey } from '#core/device/records.ts'
import type { OutboxRecord } from '#core/device/records.ts'
import type { OutboxItem, RoomState } from '#core/device/state.ts'
import type { Turn } from '#core/device/turn.ts'
import { encode } from '#core/wire/codec.ts'

/** An item that was not given to the hub in this session. */
export function newItem(room: string, sequence: number, record: OutboxRecord): OutboxItem {
  return { key: outboxKey(room, sequence), record, inFlight: false, attempts: 0 }
}

/** Strictly: what the hub has and a power loss took would be lost to its author alone. */
export function storeItem(turn: Turn, item: OutboxItem): void {
  turn.put('outbox', item.key, encode(outboxRecordCodec, item.record), 'strict')
}

/** Replaces items of a room in memory. */
export function replaceItems(turn: Turn, room: RoomState, changed: readonly OutboxItem[]): void {
  const byKey = new Map(changed.map((item) => [item.key, item]))
  turn.setRoom(room.key, { outbox: room.outbox.map((item) => byKey.get(item.key) ?? item) })
}

/** Replaces items of a room, in memory and in the store. */
export function keepItems(turn: Turn, room: RoomState, changed: readonly OutboxItem[]): void {
  for (const item of changed) storeItem(turn, item)
  if (changed.length > 0) replaceItems(turn, room, changed)
}

/**
 * Open epochs are forgotten, and so what became of what was said in them: it waits again, and is
 * shown from the log only when the log shows it (JOIN-7). By its seal a walk finds it. *An epoch
 * may become void while its author is away: the message would be lost, and shown as sent.*
 */
export function doubtOutbox(turn: Turn, key: string): void {
  const room = turn.room(key)
  if (room === null) return
  const doubted: OutboxItem[] = []
  for (const item of room.outbox) {
    const { sequencedAt } = item.record
    if (sequencedAt === null) continue
    turn.delete('timeline', timelineKey(key, sequencedAt, 0))
    doubted.push({ ...item, record: { ...item.record, sequencedAt: null } })
  }
  keepItems(turn, room, doubted)
}

/** Who comes into a room again still has to say what was not said before (DEV-5). */
export function withOutboxOf(before: RoomState | null, room: RoomState): RoomState {
  if (before === null) return room
  const { nextOutboxKey, sentIds } = before.record
  const outbox = before.outbox.map((item) => ({ ...item, inFlight: false }))
  return { ...room, outbox, record: { ...room.record, nextOutboxKey, sentIds } }
}
