/**
 * Welcomes that wait for a device (ROOM-7): offered when it is ready and when new ones are stored,
 * one after another as the control lane has room, kept until the device has them. Those that are
 * held back wake their rooms. Owns what was offered in a session; the store keeps them.
 */
import { assert } from '#core/base/assert.ts'
import { LIMITS } from '#core/base/limits.ts'
import type { Body } from '#core/wire/bodies.ts'
import { background, beginRequest, endRequest, flush, send } from '#hub/gateway/answering.ts'
import type { Connection, Hub, WelcomesOffered } from '#hub/gateway/model.ts'
import { wakeRoom } from '#hub/gateway/rooms.ts'
import type { WaitingWelcome } from '#hub/ports.ts'
import { type Author, deviceKey } from '#hub/sequencer/group-view.ts'

/** New Welcomes are given out: offers them to those of their owners that are here. */
export function offerWelcomesTo(hub: Hub, owners: readonly Author[]): void {
  for (const owner of owners) {
    const connection = hub.devices.get(deviceKey(owner))
    if (connection !== undefined) offerWelcomes(hub, connection)
  }
}

/**
 * Reads what waits for a session's device and offers what was not offered yet. One read at a time:
 * what a newer one found gone, an older one would bring back.
 */
export function offerWelcomes(hub: Hub, connection: Connection): void {
  const { welcomes } = connection
  const isReading = welcomes.reads > 0
  welcomes.reads = isReading ? 2 : 1
  if (!isReading) background(hub, read(hub, connection))
}

async function read(hub: Hub, connection: Connection): Promise<void> {
  const { welcomes, actor: { device: owner } } = connection
  assert(owner !== null, 'a device that is offered Welcomes is proven')
  for (; welcomes.reads > 0; welcomes.reads--) {
    const { account, device } = owner
    const stored = await hub.ports.directory.readWelcomes(account, device).catch(() => null)
    if (stored === null) {
      welcomes.isUnread = true
      continue
    }
    take(welcomes, stored)
    sendWelcomes(hub, connection)
  }
}

/** The device is heard of: what could not be read for it is read again. */
export function readUnread(hub: Hub, connection: Connection): void {
  if (!connection.welcomes.isUnread) return
  connection.welcomes.isUnread = false
  offerWelcomes(hub, connection)
  wakeHoldingRooms(hub, connection)
}

/** What does not stand in the page of the store is not kept; should it come back, it is offered. */
function take(welcomes: WelcomesOffered, page: readonly WaitingWelcome[]): void {
  const before = welcomes.offered
  welcomes.offered = new Set(page.map(({ id }) => id))
  welcomes.waiting = [
    ...welcomes.waiting.filter(({ id }) => welcomes.offered.has(id)),
    ...page.filter(({ id }) => !before.has(id)),
  ]
}

/** Sends as many as the control lane has room for; the others follow when it is drained. */
export function sendWelcomes(hub: Hub, connection: Connection): void {
  const { waiting } = connection.welcomes
  if (waiting.length === 0 || connection.state.kind !== 'ready') return
  while (connection.outbound.controlBytes < LIMITS.writeBytesMax) {
    const welcome = waiting.shift()
    if (welcome === undefined) break
    const { id, room, position } = welcome
    send(hub, connection, {
      kind: 'welcome',
      body: { id, room, position, welcome: welcome.welcome },
    })
  }
  flush(hub)
}

/**
 * The device has stored a Welcome, or cannot use it: it is not offered again. What cannot be
 * deleted now is offered again in the next session. The store reads in pages.
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
  background(
    hub,
    hub.ports.directory.deleteWelcome(owner, body.id).catch(() => {}).then(() => {
      endRequest(hub, connection, size)
      // By now it may be here in another session.
      const present = hub.devices.get(key)
      if (present?.welcomes.waiting.length === 0) offerWelcomes(hub, present)
    }),
  )
}

/**
 * Loads the rooms that hold Welcomes for a device back, one after another and a bounded number: a
 * verdict, or the time for one, gives them out or takes them away. *Where the hub was started anew
 * and no member comes, nobody else speaks about such a room, and its newcomer knows nothing of it.*
 */
export function wakeHoldingRooms(hub: Hub, connection: Connection): void {
  background(hub, wake(hub, connection))
}

async function wake(hub: Hub, { welcomes, actor: { device: owner } }: Connection): Promise<void> {
  assert(owner !== null, 'a device that is offered Welcomes is proven')
  const { account, device } = owner
  const rooms = await hub.ports.directory.readHoldingRooms(account, device).catch(() => null)
  if (rooms === null) welcomes.isUnread = true
  for (const room of rooms?.slice(0, LIMITS.roomsWokenMax) ?? []) await wakeRoom(hub, room)
}

/** A void has taken Welcomes back: what of them was offered or is to be sent is forgotten. */
export function dropVoidWelcomes(hub: Hub): void {
  for (const connection of hub.devices.values()) {
    if (connection.welcomes.offered.size > 0) offerWelcomes(hub, connection)
  }
}
