/**
 * Somebody by hand who comes into a room of a running hub by a link. Owns the way in; what is said
 * there is `hostile-speech.ts`.
 */
import { ok } from 'node:assert/strict'
import type { HubDomain, RoomId } from '#core/base/ids.ts'
import { decodeInviteLink } from '#core/identity/invitation.ts'
import { HandDevice, type HandRoom, makeIdentity } from './hand-device.ts'
import { joinByLink } from './hand-joiner.ts'
import { entropy, native, nowMs } from './protocol-parts.ts'
import { dialerOf } from './real-dialers.ts'

/** Registers a name at the hub of an origin and follows a link's fragment. */
export async function comeByLink(
  { endpoint, name }: { readonly endpoint: string; readonly name: string },
  fragment: string,
): Promise<{ readonly device: HandDevice; readonly room: HandRoom }> {
  const link = decodeInviteLink(fragment)
  ok(link !== null, 'a link')
  const parts = { crypto: native, clock: { nowMs }, entropy, domain: 'localhost' as HubDomain }
  const device = new HandDevice(parts, await makeIdentity(parts, name))
  await device.connect(await dialerOf('webSocket', endpoint), endpoint)
  return { device, room: await joinByLink(device, link.room as RoomId, link.secret) }
}
