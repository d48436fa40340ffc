/**
 * Subscriptions (ROOM-6, HUB-5): following the log from any position, then each flush as it is
 * stored; a device that is too slow is cut and told from where to ask again. Owns the phases of a
 * subscription and the tail of encoded entries; owns no queue (`outbound.ts`) and no position.
 */
import { assert } from '#core/base/assert.ts'
import type { LogPosition, RequestId, RoomId } from '#core/base/ids.ts'
import { LIMITS } from '#core/base/limits.ts'
import { type Body, encodeMessage } from '#core/wire/bodies.ts'
import { entryBodyHash } from '#core/wire/log-entry.ts'
import type { Refusal } from '#core/wire/refusals.ts'
import { accept, refuse, send } from '#hub/gateway/answering.ts'
import { encodeEntry, encodeHole, type EntriesFrames } from '#hub/gateway/entries-frame.ts'
import { entriesFrames } from '#hub/gateway/entries-frame.ts'
import { showHead } from '#hub/gateway/heads.ts'
import { type Connection, type Hub, NEVER, nowMs, type Room } from '#hub/gateway/model.ts'
import type { Subscription } from '#hub/gateway/model.ts'
import { seatOf } from '#hub/gateway/seats.ts'
import type { Lane, StoredEntry } from '#hub/ports.ts'
import { type EpochView, leafOf } from '#hub/sequencer/group-view.ts'
import { chainKey, headView } from '#hub/sequencer/room-state.ts'

const NO_REQUEST = 0 as RequestId

/** The open room has a lane of its own, the others share by hash; the id is one. */
export function laneOf(room: RoomId, open: boolean): Lane {
  if (open) return { kind: 'open' }
  return { kind: 'shared', index: (room[0] as number) % LIMITS.roomStreamCount }
}

/**
 * Begins or begins anew a subscription of a member, or of who may become one: that one follows from
 * behind the group that it was given, and gets every frame as a hole (JOIN-1). False where it is
 * refused.
 */
export function subscribe(
  hub: Hub,
  connection: Connection,
  asked: { readonly room: Room; readonly opcode: number; readonly body: Body<'subscribe'> },
): boolean {
  const { room, opcode, body } = asked
  const { request, from, holesBefore, open } = body
  const { next } = room.sequenced
  const head = headView(room.sequenced)
  const seat = seatOf(connection, room)
  assert(head !== null && seat !== null, 'who subscribes has a place in an open room')
  const refused = (refusal: Refusal): false => {
    refuse(hub, connection, { request, opcode, refusal })
    return false
  }
  if (from > next) return refused({ kind: 'unknownEntry' })
  const first = seat.isMember ? 0n : connection.joining.get(room.key)?.from ?? next
  if (from < first) return refused({ kind: 'notAllowed' })
  endSubscription(hub, connection.subscriptions.get(room))
  // Answers wait behind the entries and are never taken back.
  const isFull = connection.outbound.roomBytes > LIMITS.outboundQueueBytesMax
  if (isFull || connection.subscriptions.size >= LIMITS.subscriptionsPerSessionMax) {
    return refused({ kind: 'tooMany', retryAfterMs: LIMITS.retryMsMax })
  }
  const whole = holesBefore < next ? holesBefore : next
  const subscription: Subscription = {
    connection,
    room,
    lane: laneOf(room.id, open),
    holesBefore: seat.isMember ? whole : NEVER,
    holesFrom: NEVER,
    phase: 'reading',
    pageAsked: false,
    pageFailedAtMs: null,
    next: from,
    until: null,
    acknowledged: -1n,
    queuedBytes: 0,
  }
  showFrames(subscription)
  connection.subscriptions.set(room, subscription)
  connection.readingCount++
  room.subscribers.add(subscription)
  const answer = encodeMessage('subscribed', room.id, {
    request,
    next: next as LogPosition,
    epoch: head.epoch,
    epochId: head.epochId,
    leaf: seat.leaf,
    lastGenerations: lastGenerations(room, head.origin, seat.leaf),
  })
  queueFrames(hub, subscription, { first: null, frames: [answer], bytes: answer.length })
  follow(hub, subscription)
  return true
}

function lastGenerations(room: Room, origin: bigint, leaf: number | null) {
  const chains = room.sequenced.generations.get(origin)
  if (chains === undefined || leaf === null) return []
  return [0, 1, 2, 3].flatMap((lane) => {
    const generation = chains.get(chainKey(leaf, lane))
    return generation === undefined ? [] : [{ lane, generation }]
  })
}

export function unsubscribe(
  hub: Hub,
  connection: Connection,
  asked: { readonly room: Room; readonly body: Body<'unsubscribe'> },
): void {
  endSubscription(hub, connection.subscriptions.get(asked.room))
  accept(hub, connection, { request: asked.body.request, position: null })
}

/** Queued entries are taken back, the first of them is named; what is being written arrives. */
export function endSubscription(
  hub: Hub,
  subscription: Subscription | undefined,
): bigint | null {
  if (subscription === undefined || subscription.phase === 'ended') return null
  finish(hub, subscription)
  return subscription.connection.outbound.takeBack(subscription)
}

/** The device has everything up to here; beyond what it was given it cannot have (HUB-6). */
export function acknowledge(
  hub: Hub,
  connection: Connection,
  asked: { readonly room: Room; readonly opcode: number; readonly body: Body<'acknowledge'> },
): void {
  const subscription = connection.subscriptions.get(asked.room)
  const { position } = asked.body
  if (position >= asked.room.sequenced.next) {
    const refusal = { kind: 'unknownEntry' } as const
    return refuse(hub, connection, { request: NO_REQUEST, opcode: asked.opcode, refusal })
  }
  if (subscription !== undefined && position > subscription.acknowledged) {
    subscription.acknowledged = position
  }
}

// ---- Each flush ---------------------------------------------------------------------------

/** Gives newly stored entries to all who are live, encoded once (HUB-4). */
export function publish(hub: Hub, room: Room, entries: readonly StoredEntry[]): void {
  const [first] = entries
  if (first === undefined) return
  if (room.subscribers.size === 0) {
    dropTail(room)
    return
  }
  const encoded = entries.map(({ entry }) => encodeEntry(entry))
  extendTail(room, first.position, encoded)
  const flushed = entriesFrames(room.id, first.position, encoded)
  const end = first.position + BigInt(entries.length)
  for (const subscription of room.subscribers) {
    if (subscription.phase !== 'live') continue
    if (subscription.holesBefore <= first.position && end <= subscription.holesFrom) {
      queueEntries(hub, subscription, flushed)
    } else {
      const own = entries.map((stored) => encodeFor(hub, subscription, stored))
      queueEntries(hub, subscription, entriesFrames(room.id, first.position, own))
    }
  }
}

/**
 * Which frames a subscription gets whole, by the epochs that the room has now: who comes in by its
 * own commit from there on, who is removed by one that is not final up to there.
 */
export function showFrames(subscription: Subscription): void {
  const { room, connection: { actor: { device }, joining } } = subscription
  const { epochs } = room.sequenced
  const seated = epochs.map((view) => device !== null && leafOf(view, device) !== null)
  const first = seated.indexOf(true)
  if (joining.has(room.key)) {
    if (first < 0) subscription.holesBefore = NEVER
    else if (subscription.holesBefore === NEVER) {
      subscription.holesBefore = (epochs[first] as EpochView).origin
    }
  }
  const gone = seated.indexOf(false, seated.lastIndexOf(true) + 1)
  // Who has no seat left was told before from where on.
  if (first < 0) return
  subscription.holesFrom = gone < 0 ? NEVER : (epochs[gone] as EpochView).origin
}

/** Whoever is no member any more gets everything up to `until`, and nothing after (SEQ-6). */
export function endForStrangers(
  hub: Hub,
  room: Room,
  until: bigint,
  isFollower: (connection: Connection) => boolean,
): void {
  for (const subscription of [...room.subscribers]) {
    if (!isFollower(subscription.connection)) endAt(hub, subscription, until)
  }
}

function endAt(hub: Hub, subscription: Subscription, until: bigint): void {
  subscription.until ??= until
  const isThere = subscription.phase === 'live' || subscription.next >= subscription.until
  if (isThere) finish(hub, subscription)
}

/** Ends without taking back what is queued. */
function finish(hub: Hub, subscription: Subscription): void {
  const { connection, room } = subscription
  if (subscription.phase === 'reading') connection.readingCount--
  subscription.phase = 'ended'
  hub.pages.waiting.delete(subscription)
  connection.subscriptions.delete(room)
  room.subscribers.delete(subscription)
}

function queueEntries(hub: Hub, subscription: Subscription, flushed: EntriesFrames): void {
  subscription.next = flushed.first + BigInt(flushed.count)
  queueFrames(hub, subscription, flushed)
}

/** On the lane of the room; beyond what a session may have queued, its longest queue is dropped. */
export function queueFrames(
  hub: Hub,
  subscription: Subscription,
  item: {
    readonly first: bigint | null
    readonly frames: readonly Uint8Array[]
    readonly bytes: number
  },
): void {
  const { connection, lane } = subscription
  const { first, frames, bytes } = item
  connection.outbound.queue(subscription, { lane, frames, bytes, first })
  hub.dirty.add(connection)
  if (connection.outbound.roomBytes > LIMITS.outboundQueueBytesMax) cutLongest(hub, connection)
}

/** Drops the longest queue of a session that cannot keep up (HUB-5). */
function cutLongest(hub: Hub, connection: Connection): void {
  let longest: Subscription | null = null
  for (const subscription of connection.subscriptions.values()) {
    if (longest === null || subscription.queuedBytes > longest.queuedBytes) longest = subscription
  }
  if (longest !== null) cut(hub, longest)
}

/** Ends a subscription and names the position from which the device may ask again (HUB-5). */
function cut(hub: Hub, subscription: Subscription): void {
  const { next, room, connection } = subscription
  const position = (endSubscription(hub, subscription) ?? next) as LogPosition
  hub.ports.effects.observe({ kind: 'subscriptionCut' })
  send(hub, connection, { kind: 'catchUp', room: room.id, body: { position } })
}

/** Ends all subscriptions of a room whose state is no longer known. */
export function cutAll(hub: Hub, room: Room): void {
  for (const subscription of [...room.subscribers]) cut(hub, subscription)
}

// ---- The tail -----------------------------------------------------------------------------

function extendTail(room: Room, first: bigint, encoded: readonly Uint8Array[]): void {
  const { tail } = room
  if (tail.first + BigInt(tail.encoded.length) !== first) {
    dropTail(room)
    tail.first = first
  }
  for (const entry of encoded) {
    tail.encoded.push(entry)
    tail.bytes += entry.length
  }
  let dropped = 0
  while (tail.bytes > LIMITS.roomTailBytesMax) {
    tail.bytes -= (tail.encoded[dropped] as Uint8Array).length
    dropped++
  }
  if (dropped > 0) {
    tail.encoded.splice(0, dropped)
    tail.first += BigInt(dropped)
  }
}

function dropTail({ tail }: Room): void {
  tail.encoded = []
  tail.bytes = 0
}

// ---- Catching up --------------------------------------------------------------------------

/** Goes on with a subscription that is not live: from the tail, or with a page of the log. */
export function follow(hub: Hub, subscription: Subscription): void {
  if (subscription.phase !== 'reading' || subscription.pageAsked) return
  if (subscription.queuedBytes > LIMITS.entriesFrameSizeMax) return
  const { room } = subscription
  if (subscription.until !== null && subscription.next >= subscription.until) {
    return finish(hub, subscription)
  }
  if (subscription.next >= room.sequenced.next) return goLive(hub, subscription)
  if (subscription.until === null && isInTail(subscription)) {
    const { tail } = room
    const encoded = tail.encoded.slice(Number(subscription.next - tail.first))
    queueEntries(hub, subscription, entriesFrames(room.id, subscription.next, encoded))
    return goLive(hub, subscription)
  }
  subscription.pageAsked = true
  hub.pages.waiting.add(subscription)
  readPages(hub)
}

function isInTail({ room, next, holesBefore, holesFrom }: Subscription): boolean {
  const { tail, sequenced } = room
  return next >= holesBefore && holesFrom === NEVER && next >= tail.first &&
    tail.encoded.length > 0 &&
    tail.first + BigInt(tail.encoded.length) === sequenced.next
}

function goLive(hub: Hub, subscription: Subscription): void {
  if (subscription.phase !== 'reading') return
  subscription.phase = 'live'
  subscription.connection.readingCount--
  showHead(hub, subscription)
}

/** Pages are read in the order in which they were asked for: round robin between rooms. */
function readPages(hub: Hub): void {
  const { pages } = hub
  while (pages.reading < LIMITS.catchUpReadsMax) {
    const [subscription] = pages.waiting
    if (subscription === undefined) return
    pages.waiting.delete(subscription)
    pages.reading++
    readPage(hub, subscription).then(() => {
      pages.reading--
      readPages(hub)
    }, (error) => hub.ports.effects.faulted(error))
  }
}

async function readPage(hub: Hub, subscription: Subscription): Promise<void> {
  const { room, next } = subscription
  const range = {
    from: next as LogPosition,
    limit: LIMITS.catchUpPageEntriesMax,
    bytesMax: LIMITS.entriesFrameSizeMax - LIMITS.catchUpPageEntriesMax * 16,
  }
  const read = await hub.ports.log.read(room.id, range).catch(() => null)
  if (subscription.phase !== 'reading') return
  const published = room.sequenced.next
  const end = subscription.until ?? published
  const entries = (read ?? []).filter(({ position }) => position < end && position < published)
  if (entries.length === 0 && next < end) {
    subscription.pageFailedAtMs = nowMs(hub)
    return
  }
  subscription.pageAsked = false
  const encoded = entries.map((stored) => encodeFor(hub, subscription, stored))
  queueEntries(hub, subscription, entriesFrames(room.id, next, encoded))
  follow(hub, subscription)
  subscription.connection.outbound.flush()
}

/**
 * Asks anew for the pages that the log did not give, once their time has come (HUB-10). *Who was
 * told to ask again would do so at once, again and again.*
 */
export function readAgain(hub: Hub): void {
  for (const { readingCount, subscriptions } of hub.connections.values()) {
    if (readingCount === 0) continue
    for (const subscription of subscriptions.values()) {
      const { pageFailedAtMs } = subscription
      if (pageFailedAtMs === null) continue
      const waited = nowMs(hub) - pageFailedAtMs
      // A clock that was turned back holds up nobody.
      if (waited >= 0 && waited < LIMITS.pageRetryMs) continue
      subscription.pageFailedAtMs = null
      subscription.pageAsked = false
      follow(hub, subscription)
    }
  }
}

/** Frames outside of the device's time come as holes: it has no keys for them. */
function encodeFor(hub: Hub, subscription: Subscription, stored: StoredEntry): Uint8Array {
  const { entry, position } = stored
  const { holesBefore, holesFrom } = subscription
  if (entry.header.entry !== 'frame' || (position >= holesBefore && position < holesFrom)) {
    return encodeEntry(entry)
  }
  const sha256 = (bytes: Uint8Array) => hub.ports.crypto.hash('sha256', bytes)
  return encodeHole(entry, entryBodyHash(sha256, entry.body))
}

/** The transport took a write: subscriptions that were waiting for it go on. */
export function drained(hub: Hub, connection: Connection): void {
  if (connection.readingCount === 0) return
  for (const subscription of connection.subscriptions.values()) follow(hub, subscription)
  connection.outbound.flush()
}

/**
 * An ephemeral frame for everybody but its sender, by datagram where there are any (SES-8). Who is
 * out and still reads up to its end hears none (SEQ-6).
 */
export function passOn(room: Room, sender: Connection, frame: Uint8Array): void {
  for (const { connection, phase, until } of room.subscribers) {
    if (connection === sender || phase === 'ended' || until !== null) continue
    if (connection.session.writeDatagram(frame)) continue
    const crowded = connection.outbound.controlBytes > LIMITS.writeBytesMax
    if (crowded) continue
    connection.outbound.control(frame)
    connection.outbound.flush()
  }
}
