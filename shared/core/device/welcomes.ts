/**
 * Welcomes that the hub has given out (ROOM-7): each is used, or found needless, and acknowledged
 * only then. Owns which of them wait, in memory for a session, and when each is looked at; the ways
 * in that they give are `joining.ts`.
 */
import { EMPTY } from '#core/base/bytes.ts'
import type { RoomId } from '#core/base/ids.ts'
import { LIMITS } from '#core/base/limits.ts'
import { ownLeafIn, topEpoch } from '#core/device/chain.ts'
import { guarded } from '#core/device/ends.ts'
import { dropKeyPackagesOf, enterByWalk, enterByWelcome } from '#core/device/joining.ts'
import { hasLink, roomKey } from '#core/device/room.ts'
import type { HeldWelcome, RoomState } from '#core/device/state.ts'
import type { Turn } from '#core/device/turn.ts'
import type { Body } from '#core/wire/bodies.ts'

/** Takes a Welcome; one that cannot be held comes again with the next session. */
export async function welcomeReceived(turn: Turn, body: Body<'welcome'>): Promise<void> {
  const { id, position } = body
  const key = roomKey(body.room as RoomId)
  const { rooms, welcomes } = turn.state
  const isBounded = position <= BigInt(Number.MAX_SAFE_INTEGER) &&
    (rooms.has(key) || rooms.size < LIMITS.roomsMax)
  if (!isBounded) return turn.send('welcomeReceived', { id })
  const before = welcomes.get(key)
  if (before !== undefined && before.position >= position) return
  hold(turn, key, { id, position, welcome: body.welcome.slice(), isUsed: false })
  await welcomeDue(turn, key)
  let size = 0
  for (const { welcome } of turn.state.welcomes.values()) size += welcome.length
  if (size > LIMITS.welcomesHeldBytesMax) letGo(turn, key)
}

function hold(turn: Turn, key: string, welcome: HeldWelcome): void {
  turn.set({ welcomes: new Map(turn.state.welcomes).set(key, welcome) })
}

function letGo(turn: Turn, key: string): void {
  const welcomes = new Map(turn.state.welcomes)
  welcomes.delete(key)
  turn.set({ welcomes })
}

/** The hub forgets it, and there is no other: what it has led to is on the medium before. */
function acknowledge(turn: Turn, key: string, { id, welcome }: HeldWelcome): void {
  letGo(turn, key)
  if (welcome.length > 0) dropKeyPackagesOf(turn, welcome)
  if (turn.room(key) !== null) turn.setRecord(key, {})
  turn.strictly()
  turn.send('welcomeReceived', { id })
}

/** Looks at all that wait, when something has happened. */
export async function welcomesDue(turn: Turn): Promise<void> {
  for (const key of turn.state.welcomes.keys()) await welcomeDue(turn, key)
}

/** One that meets a fault of ours comes again with the next session. */
async function welcomeDue(turn: Turn, key: string): Promise<void> {
  if (!await guarded(turn, key, () => lookAt(turn, key))) letGo(turn, key)
}

async function lookAt(turn: Turn, key: string): Promise<void> {
  const held = turn.state.welcomes.get(key)
  const room = turn.room(key)
  if (held === undefined) return
  switch (room?.record.phase) {
    case 'live':
      // Further up the log may say that this device was removed, and the Welcome brings it back.
      if (isNeedless(turn, room, held)) acknowledge(turn, key, held)
      return
    case 'creating':
      return acknowledge(turn, key, held)
    case 'broken':
      // A log that is wrong is refused again on the walk.
      if (held.isUsed || isBrokenByHub(room)) return acknowledge(turn, key, held)
      return await comeIn(turn, key, held)
    case 'removed':
      // The way in has led to the end of the log, or the hub knows of no seat.
      if (held.isUsed) return acknowledge(turn, key, held)
      return await comeIn(turn, key, held)
    case 'joinRefused':
      if (held.isUsed) return letGo(turn, key)
      return await comeIn(turn, key, held)
    default:
      // One way in at a time: a Welcome may be of a seat that is lost, and the link still open; and
      // the log, whose end is not reached, may have the own commit, also from a session before.
      if (!held.isUsed && !isByLink(room) && room?.pending == null) await comeIn(turn, key, held)
  }
}

/** True for a member that has taken the commit to which the Welcome belongs. */
function isNeedless(turn: Turn, room: RoomState, { position }: HeldWelcome): boolean {
  const top = topEpoch(room)
  return room.joining === null && room.record.next > position &&
    top !== null && ownLeafIn(turn, top) !== null
}

/** The hub has shown two logs, or has given the room away. */
function isBrokenByHub({ record: { code } }: RoomState): boolean {
  return code === 'fork' || code === 'moved'
}

/** By the Welcome; where it opens nothing by the log, once no other way is under way. */
async function comeIn(turn: Turn, key: string, held: HeldWelcome): Promise<void> {
  const used = { ...held, welcome: EMPTY, isUsed: true }
  if (isUnderWay(turn.room(key), held)) return hold(turn, key, used)
  if (held.welcome.length > 0 && await enterByWelcome(turn, key, held)) {
    return hold(turn, key, used)
  }
  const room = turn.room(key)
  const isFree = room?.record.phase !== 'joining' || room.joining === null
  hold(turn, key, isFree ? used : { ...held, welcome: EMPTY })
  if (isFree) enterByWalk(turn, key, held.position)
}

function isByLink(room: RoomState | null): boolean {
  return room?.record.phase === 'joining' && hasLink(room.record)
}

/** A session before this one has begun with it. */
function isUnderWay(room: RoomState | null, { id }: HeldWelcome): boolean {
  return room?.joining?.kind === 'welcome' && room.joining.id === id
}
