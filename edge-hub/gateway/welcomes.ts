/**
 * Welcomes that wait for a device (ROOM-7): offered when it is ready and when new ones are stored,
 * one after another as the control lane has room, kept by the store until the device has them.
 * Those that are held back wake their rooms. Owns what was offered in a session.
 */
import { assert } from '#core/base/assert.ts'
import { equalBytes } from '#core/base/bytes.ts'
import type { LogPosition, RoomId } from '#core/base/ids.ts'
import { LIMITS } from '#core/base/limits.ts'
import type { Body } from '#core/wire/bodies.ts'
import { background, beginRequest, endRequest, flush, send } from '#hub/gateway/answering.ts'
import type { Connection, Hub } from '#hub/gateway/model.ts'
import { wakeRoom } from '#hub/gateway/rooms.ts'
import { type Author, deviceKey } from '#hub/sequencer/group-view.ts'

/** New Welcomes are given out: offers them to those of their owners that are here. */
export function offerWelcomesTo(hub: Hub, owners: readonly Author[]): void {
  for (const owner of owners) {
    const connection = hub.devices.get(deviceKey(owner))
    if (connection !== undefined) offerWelcomes(hub, connection)
  }
}

/**
 * Offers all that wait for a session's device and were not offered in it, a page at a time while
 * the control lane has room. One read at a time: what a newer one found gone, an older one would
 * bring back.
 */
export function offerWelcomes(hub: Hub, connection: Connection): void {
  const { welcomes } = connection
  const isReading = welcomes.reads > 0
  welcomes.reads = isReading ? 2 : 1
  if (!isReading) background(hub, read(hub, connection))
}

/** The control lane has room again. */
export function offerMore(hub: Hub, connection: Connection): void {
  if (connection.welcomes.isMore) offerWelcomes(hub, connection)
}

async function read(hub: Hub, connection: Connection): Promise<void> {
  const { welcomes, actor: { device: owner } } = connection
  assert(owner !== null, 'a device that is offered Welcomes is proven')
  const { account, device } = owner
  for (; welcomes.reads > 0; welcomes.reads--) {
    welcomes.isMore = connection.outbound.controlBytes >= LIMITS.writeBytesMax
    if (welcomes.isMore || connection.state.kind !== 'ready') continue
    const offered = new Set(welcomes.offered.keys())
    const page = await hub.ports.directory.readWelcomes(account, device, offered).catch(() => null)
    if (page === null) welcomes.isUnread = true
    if (page === null || welcomes.reads > 1 || connection.state.kind !== 'ready') continue
    for (const { id, room, position, welcome } of page) {
      welcomes.offered.set(id, { room, position })
      send(hub, connection, { kind: 'welcome', body: { id, room, position, welcome } })
    }
    flush(hub)
    // Behind a page there may be another.
    if (page.length > 0) welcomes.reads = 2
  }
}

/** The device is heard of: what could not be read for it is read again. */
export function readUnread(hub: Hub, connection: Connection): void {
  if (!connection.welcomes.isUnread) return
  connection.welcomes.isUnread = false
  offerWelcomes(hub, connection)
  wakeHoldingRooms(hub, connection)
}

/**
 * The device has stored a Welcome, or cannot use it: it is not offered again. What cannot be
 * deleted now is offered again in the next session.
 */
export function welcomeReceived(
  hub: Hub,
  connection: Connection,
  body: Body<'welcomeReceived'>,
  size: number,
): void {
  const { device: owner, key } = connection.actor
  assert(owner !== null, 'a device that has Welcomes is proven')
  beginRequest(hub, connection, size)
  const deleted = hub.ports.directory.deleteWelcome(owner, body.id).then(() => {
    // By now it may be here in another session.
    for (const each of [connection, hub.devices.get(key)]) each?.welcomes.offered.delete(body.id)
  })
  background(hub, deleted.catch(() => {}).then(() => endRequest(hub, connection, size)))
}

/**
 * Loads the rooms that hold Welcomes for a device back, one after another and a bounded number: a
 * verdict, or the time for one, gives them out or takes them away. One run at a time. *Where the
 * hub was started anew and no member comes, nobody else speaks about such a room, and its newcomer
 * knows nothing of it.*
 */
export function wakeHoldingRooms(hub: Hub, connection: Connection): void {
  if (connection.welcomes.isWaking) return
  connection.welcomes.isWaking = true
  background(hub, wake(hub, connection))
}

async function wake(hub: Hub, { welcomes, actor: { device: owner } }: Connection): Promise<void> {
  assert(owner !== null, 'a device that is offered Welcomes is proven')
  const { account, device } = owner
  const rooms = await hub.ports.directory.readHoldingRooms(account, device).catch(() => null)
  let isUnread = rooms === null
  for (const room of someOf(hub, rooms ?? [])) {
    if (!await wakeRoom(hub, room)) isUnread = true
  }
  welcomes.isWaking = false
  if (isUnread) welcomes.isUnread = true
}

/** All, or as many as are woken, from any place on: nobody can put others before them. */
function someOf(hub: Hub, rooms: readonly RoomId[]): readonly RoomId[] {
  if (rooms.length <= LIMITS.roomsWokenMax) return rooms
  const [high = 0, low = 0] = hub.ports.entropy.randomBytes(2)
  const start = (high << 8 | low) % rooms.length
  return [...rooms.slice(start), ...rooms.slice(0, start)].slice(0, LIMITS.roomsWokenMax)
}

/** A void has taken Welcomes back: what of them was offered is forgotten, or read anew. */
export function dropVoidWelcomes(hub: Hub, room: RoomId, from: LogPosition): void {
  for (const { welcomes } of hub.devices.values()) {
    for (const [id, place] of welcomes.offered) {
      const isVoid = place.position >= from && equalBytes(place.room, room)
      if (isVoid) welcomes.offered.delete(id)
    }
    if (welcomes.reads > 0) welcomes.reads = 2
  }
}
