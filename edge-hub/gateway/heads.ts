/**
 * Signed heads of rooms that somebody follows (LOG-3): at most one in `headIntervalMs` for a room,
 * trailing, and what is current for whoever has just caught up. A head names the time of its entry,
 * so that no entry of that or an earlier time can follow unseen. Owns no signature (`identity/`).
 */
import type { LogPosition, TimeMs } from '#core/base/ids.ts'
import { LIMITS } from '#core/base/limits.ts'
import { hubKeyId } from '#core/identity/certificate.ts'
import { signHead } from '#core/identity/head.ts'
import { encodeMessage } from '#core/wire/bodies.ts'
import { background, flush } from '#hub/gateway/answering.ts'
import { type Hub, nowMs, type Room, type Subscription } from '#hub/gateway/model.ts'

/** No directory log yet: the head of an empty one. */
const EMPTY_DIRECTORY_HEAD = new Uint8Array(32)

/** A room has grown: its head is due, now or at the end of the interval. */
export function headMoved(hub: Hub, room: Room): void {
  if (room.subscribers.size === 0) return
  hub.headsDue.add(room)
  signIfDue(hub, room)
}

/** Signs what has become due since. */
export function signDueHeads(hub: Hub): void {
  for (const room of hub.headsDue) signIfDue(hub, room)
}

/** Gives the current head to one subscription, or has it signed for all. */
export function showHead(hub: Hub, subscription: Subscription): void {
  const { room } = subscription
  const { frame, position } = room.head
  if (frame !== null && position === room.sequenced.next - 1n) queueHead(hub, subscription, frame)
  else headMoved(hub, room)
}

function signIfDue(hub: Hub, room: Room): void {
  const { head } = room
  if (room.subscribers.size === 0 || room.phase !== 'open') {
    hub.headsDue.delete(room)
    return
  }
  const now = nowMs(hub)
  const waited = now - head.signedAtMs
  if (head.signing || (waited >= 0 && waited < LIMITS.headIntervalMs)) return
  hub.headsDue.delete(room)
  head.signing = true
  head.signedAtMs = now
  background(hub, sign(hub, room))
}

async function sign(hub: Hub, room: Room): Promise<void> {
  const { crypto, identity } = hub.ports
  const { term, next, headHash, time } = room.sequenced
  const position = next - 1n
  const signed = await signHead(crypto, {
    hubDomain: identity.domain,
    room: room.id,
    head: {
      term,
      keyId: hubKeyId(crypto, identity.publicKey),
      position: position as LogPosition,
      entryHash: headHash,
      time: time as TimeMs,
      directoryHead: EMPTY_DIRECTORY_HEAD,
    },
  }, identity.secretKey)
  const frame = encodeMessage('head', room.id, signed)
  room.head.signing = false
  room.head.frame = frame
  room.head.position = position
  for (const subscription of room.subscribers) {
    if (subscription.phase === 'live') queueHead(hub, subscription, frame)
  }
  flush(hub)
}

function queueHead(hub: Hub, subscription: Subscription, frame: Uint8Array): void {
  const { connection, lane } = subscription
  const item = { lane, frames: [frame], bytes: frame.length, first: null }
  connection.outbound.queue(subscription, item)
  hub.dirty.add(connection)
}
