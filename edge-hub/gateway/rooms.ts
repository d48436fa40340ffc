/**
 * The rooms that are in memory: loading one from the log, holding what is said about it meanwhile,
 * letting go of those that nobody needs. Owns the cache; owns no rule of a room.
 */
import type { LogPosition, RoomId, Term, TimeMs } from '#core/base/ids.ts'
import { LIMITS } from '#core/base/limits.ts'
import { BODIES, type Message } from '#core/wire/bodies.ts'
import { background, beginRequest, endRequest, refuse } from '#hub/gateway/answering.ts'
import { UNAVAILABLE } from '#hub/gateway/answering.ts'
import { requestOf } from '#hub/gateway/requests.ts'
import { type Connection, createRoom, type HeldMessage, type Hub } from '#hub/gateway/model.ts'
import { isIdle, type Room } from '#hub/gateway/model.ts'
import { readEpochs } from '#hub/gateway/load-group.ts'
import { decodeState, emptyRoom, restoreRoom } from '#hub/sequencer/room-state.ts'

/** One owner orders all rooms of this hub. */
const TERM = 1n as Term

/** Handles one message about a room that is neither loading nor being created. */
type RoomHandler = (connection: Connection, room: Room, message: Message) => void

/** The room of a frame, loading it if it is not in memory. */
export function roomOf(hub: Hub, connection: Connection, id: RoomId): Room {
  const last = connection.lastRoom
  if (last !== null && last.phase !== 'gone' && isSame(last.id, id)) return last
  const key = keyOf(id)
  let room = hub.rooms.get(key)
  if (room === undefined) {
    room = placeFor(hub, id)
  } else if (hub.rooms.size > LIMITS.roomsCachedMax / 2) {
    // Moves it to the end, away from eviction; nothing is evicted from a cache that is half empty.
    hub.rooms.delete(key)
    hub.rooms.set(key, room)
  }
  connection.lastRoom = room
  return room
}

/**
 * Loads a room that nobody speaks about, so that time decides what is open in it (VOTE-3). False
 * where it cannot be read now, whoever began to load it.
 */
export async function wakeRoom(hub: Hub, id: RoomId): Promise<boolean> {
  const room = hub.rooms.get(keyOf(id)) ?? placeFor(hub, id)
  await room.loading
  return room.phase !== 'gone'
}

/** A room that is being loaded. */
function placeFor(hub: Hub, id: RoomId): Room {
  const key = keyOf(id)
  const room = createRoom(id.slice() as RoomId, key, emptyRoom(id.slice() as RoomId, TERM))
  hub.rooms.set(key, room)
  room.loading = load(hub, room)
  background(hub, room.loading)
  return room
}

/** Cheaper than `equalBytes`, which takes the same time for all; room ids are no secrets. */
function isSame(a: Uint8Array, b: Uint8Array): boolean {
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return false
  return true
}

/** The bytes as 16 characters: a key that is made for each frame, and never shown. */
function keyOf(id: RoomId): string {
  const units: number[] = []
  for (let at = 0; at < id.length; at += 2) {
    units.push((id[at] as number) << 8 | (id[at + 1] as number))
  }
  return String.fromCharCode(...units)
}

/** Keeps a message until the room is loaded or created. */
export function hold(hub: Hub, room: Room, held: HeldMessage): void {
  if (room.held.length >= LIMITS.roomQueueFramesMax) {
    refuse(hub, held.connection, {
      request: requestOf(held.message),
      opcode: BODIES[held.message.kind][0],
      refusal: { kind: 'tooMany', retryAfterMs: LIMITS.headIntervalMs },
    })
    return
  }
  beginRequest(hub, held.connection, held.size)
  room.held.push(held)
}

/** Handles what was held, in order, until the room is being created by one of it. */
export function release(hub: Hub, room: Room, handle: RoomHandler): void {
  while (!isHolding(room)) {
    const held = room.held.shift()
    if (held === undefined) break
    endRequest(hub, held.connection, held.size)
    handle(held.connection, room, held.message)
  }
  if (room.phase === 'absent' && !room.creating) forget(hub, room)
}

/** True while messages about the room must wait. */
export function isHolding(room: Room): boolean {
  return room.phase === 'loading' || room.creating
}

/** The room must be looked up again. */
export function forget(hub: Hub, room: Room): void {
  room.phase = 'gone'
  if (hub.rooms.get(room.key) === room) hub.rooms.delete(room.key)
  hub.headsDue.delete(room)
  hub.provisional.delete(room)
}

/**
 * Lets go of the rooms that were used longest ago and that nobody needs; of those that wait for a
 * verdict last.
 */
export function evictRooms(hub: Hub): void {
  let excess = hub.rooms.size - LIMITS.roomsCachedMax
  for (const isWaiting of [false, true]) {
    for (const room of excess > 0 ? hub.rooms.values() : []) {
      if (excess <= 0) return
      if (!isIdle(room) || hub.provisional.has(room) !== isWaiting) continue
      forget(hub, room)
      excess--
    }
  }
}

async function load(hub: Hub, room: Room): Promise<void> {
  const outcome = await readRoom(hub, room).catch(() => 'failed' as const)
  if (outcome === 'failed') {
    hub.ports.effects.observe({ kind: 'roomUnreadable' })
    const { held } = room
    room.held = []
    forget(hub, room)
    for (const { connection, message, size } of held) {
      endRequest(hub, connection, size)
      refuse(hub, connection, {
        request: requestOf(message),
        opcode: BODIES[message.kind][0],
        refusal: UNAVAILABLE,
      })
    }
    return
  }
  room.phase = outcome
  hub.roomSettled(room)
}

async function readRoom(hub: Hub, room: Room): Promise<'open' | 'absent' | 'failed'> {
  const { log, crypto } = hub.ports
  const stored = await log.readRoom(room.id)
  if (stored === null || stored.next === 0n) return 'absent'
  const state = decodeState(stored.state)
  if (state === null) return 'failed'
  const epochs = await readEpochs(crypto, log, { room: room.id, state })
  const from = stored.next - 1n as LogPosition
  const [last] = await log.read(room.id, { from, limit: 1, bytesMax: 1 })
  if (epochs === null || last === undefined) return 'failed'
  const time = Number(last.entry.header.time) as TimeMs
  room.sequenced = restoreRoom(room.id, TERM, { ...stored, epochs, state, time })
  if (state.finality.open.length > 0) hub.provisional.add(room)
  return 'open'
}
