/**
 * Welcomes that wait for a device (ROOM-7): offered when it is ready and when new ones are stored,
 * one after another as the control lane has room, kept until the device has them. Owns what was
 * offered in a session; the store keeps them.
 */
import { LIMITS } from '#core/base/limits.ts'
import type { Body } from '#core/wire/bodies.ts'
import { background, flush, send } from '#hub/gateway/answering.ts'
import type { Connection, Hub } from '#hub/gateway/model.ts'
import { type Author, deviceKey } from '#hub/sequencer/group-view.ts'

/** New Welcomes are given out: offers them to those of their owners that are here. */
export function offerWelcomesTo(hub: Hub, owners: readonly Author[]): void {
  for (const owner of owners) {
    const connection = hub.devices.get(deviceKey(owner))
    if (connection !== undefined) offerWelcomes(hub, connection)
  }
}

/** Reads what waits for a session's device and offers what was not offered yet. */
export function offerWelcomes(hub: Hub, connection: Connection): void {
  background(hub, read(hub, connection))
}

async function read(hub: Hub, connection: Connection): Promise<void> {
  const owner = connection.actor.device
  if (owner === null) return
  const stored = await hub.ports.directory.readWelcomes(owner.account, owner.device).catch(() => [])
  const { welcomes } = connection
  for (const welcome of stored) {
    if (welcomes.offered.has(welcome.id)) continue
    welcomes.offered.add(welcome.id)
    welcomes.waiting.push(welcome)
  }
  sendWelcomes(hub, connection)
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

/** The device has stored a Welcome, or cannot use it: it is not offered again. */
export function welcomeReceived(
  hub: Hub,
  connection: Connection,
  body: Body<'welcomeReceived'>,
): void {
  const owner = connection.actor.device
  if (owner === null) return
  background(hub, forget(hub, connection, { owner, id: body.id }))
}

/** What is not deleted now is offered again in the next session. The store reads in pages. */
async function forget(
  hub: Hub,
  connection: Connection,
  { owner, id }: { readonly owner: Author; readonly id: bigint },
): Promise<void> {
  await hub.ports.directory.deleteWelcome(owner, id).catch(() => {})
  if (connection.welcomes.waiting.length === 0) await read(hub, connection)
}
