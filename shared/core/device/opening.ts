/**
 * What a room waits for when a session begins (ROOM-1, ROOM-6, ROOM-7, JOIN-1): its genesis, its
 * public group, its Welcome, or its log. Owns the choice between them.
 */
import { LIMITS } from '#core/base/limits.ts'
import { guarded } from '#core/device/ends.ts'
import { holdFor } from '#core/device/hold.ts'
import { enterByWalk, requestGroup } from '#core/device/joining.ts'
import { hasLink, isOwn, subscribe } from '#core/device/room.ts'
import type { DeviceState, RoomState } from '#core/device/state.ts'
import type { Turn } from '#core/device/turn.ts'
import { BODIES } from '#core/wire/bodies.ts'
import { decode } from '#core/wire/codec.ts'

/** Asks for what all rooms wait for. */
export async function openRooms(turn: Turn): Promise<void> {
  for (const key of inOrder(turn.state)) await guarded(turn, key, () => openRoom(turn, key))
}

/** Where there are more rooms than a session follows, the own ones first. */
function inOrder({ rooms }: DeviceState): readonly string[] {
  if (rooms.size <= LIMITS.subscriptionsForOthersMax) return [...rooms.keys()]
  const all = [...rooms.values()]
  return [...all.filter(isOwn), ...all.filter((room) => !isOwn(room))].map(({ key }) => key)
}

/**
 * True for who was added and began anew on its way in: its Welcome comes again in this session,
 * unless a void took it back.
 */
function isWaiting({ record, joining }: RoomState): boolean {
  return record.phase === 'joining' && !hasLink(record) && joining === null
}

/**
 * The room's time has come. Where no Welcome did, the log says what became of it: this device walks
 * to where it is in, or learns that it is not (JOIN-5).
 */
export async function reopenRoom(turn: Turn, key: string): Promise<void> {
  const room = turn.room(key)
  if (room === null || !turn.ready) return
  if (isWaiting(room)) enterByWalk(turn, key, room.record.joinedAt)
  else if (room.subscription.kind === 'none') await openRoom(turn, key)
}

/** Asks for what a room waits for; a Welcome comes unasked. */
export async function openRoom(turn: Turn, key: string): Promise<void> {
  const room = turn.room(key)
  if (room === null || !turn.ready) return
  const { phase, opening } = room.record
  if (isWaiting(room)) holdFor(turn, key, LIMITS.resyncWaitMs)
  else if (phase === 'creating') {
    const body = decode(BODIES.createRoom[1], opening)
    if (body.kind === 'malformed') return
    const request = turn.request({ kind: 'createRoom', room: key })
    turn.send('createRoom', { ...body.value, request }, room.id)
  } else if (phase === 'joining' && hasLink(room.record)) {
    await requestGroup(turn, key)
  } else if (phase === 'live' || phase === 'joining') {
    subscribe(turn, key)
  }
}
