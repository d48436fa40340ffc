/**
 * The outbox of a room (DEV-4, DEV-5): what was written is stored, sealed in the current epoch,
 * given to the hub, and leaves only when it stands in the log for good. Owns no keys
 * (`epoch-keys.ts`).
 *
 * An item is queued (no seal), sealed (bytes of one epoch), in flight (the hub has it), sequenced
 * (in the log, in an epoch that is not final). A new epoch takes the seal away, a void takes what
 * was sequenced back to the queue; no refusal does either. The same bytes may be given twice: the
 * hub takes a generation once.
 */
import { equalBytes } from '#core/base/bytes.ts'
import type { LogPosition } from '#core/base/ids.ts'
import { LIMITS } from '#core/base/limits.ts'
import { encodeContent, messageId, previewText } from '#core/content/mimi-content.ts'
import { decodeContent, roomProfileContent, textContent } from '#core/content/mimi-content.ts'
import { idOfEpoch, topEpoch } from '#core/device/chain.ts'
import { sealItems, skipGenerations } from '#core/device/epoch-keys.ts'
import { holdRoom, isHeld } from '#core/device/hold.ts'
import { isNew } from '#core/device/repeats.ts'
import { voteToSpeak } from '#core/device/votes.ts'
import { keepItems, newItem, replaceItems, storeItem } from '#core/device/outbox-items.ts'
import type { OutboxRecord } from '#core/device/records.ts'
import { addItem, caughtUp, checkedTitle, resubscribe, roomUri } from '#core/device/room.ts'
import type { OutboxItem, PlacedEntry, RoomState } from '#core/device/state.ts'
import type { Turn } from '#core/device/turn.ts'
import { entryBodyHash } from '#core/wire/log-entry.ts'
import type { Refusal } from '#core/wire/refusals.ts'
import { STRUCTURE_VERSION } from '#core/wire/structure.ts'

const SALT_LENGTH = 16

/** Takes a text into the outbox; it is sent when it can be (DEV-4). */
export async function sendMessage(
  turn: Turn,
  command: number,
  wanted: { readonly room: string; readonly text: string; readonly localId: string },
): Promise<void> {
  const room = turn.room(wanted.room)
  const { text, localId } = wanted
  if (room === null || !(room.record.phase === 'live' || room.record.phase === 'creating')) {
    return turn.fail(command, 'roomNotLive')
  }
  const tooLong = text.length > LIMITS.textMax || localId.length > LIMITS.localIdMax
  if (text.trim().length === 0 || localId.length === 0 || tooLong) {
    return turn.fail(command, 'badText')
  }
  const known = room.outbox.some((item) => item.record.localId === localId) ||
    room.record.sentIds.includes(localId)
  if (known) return turn.done(command)
  if (room.outbox.length >= LIMITS.outboxMax) return turn.fail(command, 'outboxFull')
  const content = textContent({ ...contentOptions(turn, room), text })
  enqueue(turn, room.key, { localId, purpose: 'message', content: encodeContent(content) })
  turn.done(command)
  await pumpOutbox(turn, room.key)
}

/** Tells the members the room's title, which the hub must not know (ROOM-11). */
export async function queueProfile(turn: Turn, key: string): Promise<void> {
  const room = turn.room(key)
  const title = checkedTitle(room?.record.title ?? '')
  if (room === null || title === null) return
  // One that stands in the log already was said before whoever is new could read it.
  const isUnsaid = ({ purpose, sequencedAt, refused }: OutboxRecord) =>
    purpose === 'profile' && sequencedAt === null && refused === ''
  if (room.outbox.some(({ record }) => isUnsaid(record))) return
  const content = roomProfileContent({ ...contentOptions(turn, room), title })
  enqueue(turn, key, { localId: '', purpose: 'profile', content: encodeContent(content) })
  await pumpOutbox(turn, key)
}

function contentOptions(turn: Turn, room: RoomState) {
  return {
    salt: turn.ports.entropy.randomBytes(SALT_LENGTH),
    senderUri: accountUri(turn.registered?.name ?? ''),
    roomUri: roomUri(room),
  }
}

function enqueue(
  turn: Turn,
  key: string,
  what: Pick<OutboxRecord, 'localId' | 'purpose' | 'content'>,
): void {
  const room = turn.room(key)
  if (room === null) return
  const sequence = room.record.nextOutboxKey
  const record: OutboxRecord = {
    format: STRUCTURE_VERSION,
    ...what,
    createdAt: turn.nowMs,
    refused: '',
    sealed: null,
    sequencedAt: null,
  }
  const item = newItem(key, sequence, record)
  storeItem(turn, item)
  turn.setRecord(key, { nextOutboxKey: sequence + 1 })
  turn.setRoom(key, { outbox: [...room.outbox, item] })
  turn.effect({ kind: 'showAccount' })
}

const isWaiting = ({ inFlight, record }: OutboxItem): boolean =>
  !inFlight && record.refused === '' && record.sequencedAt === null

const queued = (room: RoomState): boolean => room.outbox.some((item) => isWaiting(item))

/** Seals what is queued and gives it to the hub, oldest first (DEV-5). */
export async function pumpOutbox(turn: Turn, key: string): Promise<void> {
  const room = turn.room(key)
  // A commit that the hub has may make another epoch; one that it puts off holds up nothing.
  if (room === null || room.pending?.sent === true || !queued(room)) return
  if (!turn.ready || !caughtUp(room) || room.record.phase !== 'live') return
  if (isHeld(turn, room) || !await voteToSpeak(turn, key)) return
  const flying = room.outbox.filter((item) => item.inFlight).length
  const waiting = room.outbox
    .filter((item) => isWaiting(item))
    .slice(0, LIMITS.outboxInFlightMax - flying)
  if (waiting.length === 0) return
  const top = topEpoch(room)
  const isOfNow = ({ record: { sealed } }: OutboxItem) =>
    sealed !== null && top !== null && equalBytes(sealed.epochId, idOfEpoch(top))
  // The log is taken to its end: the epoch of another seal went by without it.
  const unsealed = waiting.filter((item) => !isOfNow(item))
  const seals = await sealItems(turn, key, unsealed.map((item) => item.record.content))
  const sealed = waiting.map((item): OutboxItem => {
    const index = unsealed.indexOf(item)
    const seal = index < 0 ? item.record.sealed : seals[index] ?? null
    return { ...item, record: { ...item.record, sealed: seal }, inFlight: seal !== null }
  })
  const now = turn.room(key) ?? room
  replaceItems(turn, now, sealed)
  giveItems(turn, now, sealed)
}

/** Gives items to the hub, each with the generation that must stand in the log first (SEQ-7). */
function giveItems(turn: Turn, { id, key, outbox }: RoomState, given: readonly OutboxItem[]): void {
  const byKey = new Map(given.map((item) => [item.key, item]))
  let after: number | null = null
  for (const each of outbox) {
    const item = byKey.get(each.key) ?? each
    const { sealed, sequencedAt, refused } = item.record
    if (item !== each) storeItem(turn, item)
    if (sealed === null || sequencedAt !== null || refused !== '') continue
    const { bytes: frame, generation } = sealed
    if (item !== each) {
      const pending = { kind: 'frame', room: key, outboxKey: item.key, sealed: frame } as const
      turn.send('submitFrame', { request: turn.request(pending), after, frame }, id)
    }
    after = generation
  }
}

/** A new epoch: what was sealed in the old one is sealed again (KEY-2). */
export function requeueOutbox(turn: Turn, key: string): void {
  const room = turn.room(key)
  if (room === null) return
  unsealByLog(turn, room, room.outbox.filter(isSealed))
}

/** Sealed, and not found in the log. */
const isSealed = ({ record: { sealed, sequencedAt } }: OutboxItem): boolean =>
  sealed !== null && sequencedAt === null

function unseal(turn: Turn, room: RoomState, items: readonly OutboxItem[]): void {
  const queued = items.map((item): OutboxItem => ({
    ...item,
    record: { ...item.record, sealed: null, sequencedAt: null },
    inFlight: false,
  }))
  keepItems(turn, room, queued)
}

/** The log says why they were refused: that counts against nobody. */
function unsealByLog(turn: Turn, room: RoomState, items: readonly OutboxItem[]): void {
  unseal(turn, room, items.map((item) => ({ ...item, attempts: 0 })))
}

/** An own entry: it enters the timeline, and leaves the outbox when its epoch is final (DEV-5). */
export function ownFrameSequenced(
  turn: Turn,
  key: string,
  placed: PlacedEntry,
  bytes: Uint8Array,
): boolean {
  const room = turn.room(key)
  const account = turn.registered
  const item = room?.outbox.find(({ record }) =>
    record.sealed !== null && record.sequencedAt === null && equalBytes(record.sealed.bytes, bytes)
  )
  if (room === null || account === null || item === undefined) return false
  if (room.chain.length === 0) dropItems(turn, room, [item])
  else {
    // Whatever was answered, the log has it.
    const record = { ...item.record, sequencedAt: placed.position, refused: '' }
    keepItems(turn, room, [{ ...item, record, inFlight: false }])
  }
  if (item.record.purpose === 'message') noteOwnMessage(turn, room, placed, item.record)
  return true
}

function dropItems(turn: Turn, room: RoomState, items: readonly OutboxItem[]): void {
  for (const item of items) turn.delete('outbox', item.key)
  turn.setRoom(room.key, { outbox: room.outbox.filter((each) => !items.includes(each)) })
}

/** Epochs became final: what was said in them is no longer needed (ROOM-4). */
export function settleOutbox(turn: Turn, key: string): void {
  const room = turn.room(key)
  if (room === null) return
  const open = room.chain[0]?.position ?? room.record.next
  const settled = room.outbox.filter(({ record }) =>
    record.sequencedAt !== null && record.sequencedAt < open
  )
  if (settled.length > 0) dropItems(turn, room, settled)
}

/**
 * What was said between two positions is void: it is sealed and sent again (ROOM-4). So is what a
 * member had sealed and not found by then (VOTE-6); who walks the log on the way in may yet find it
 * above.
 */
export function unsendOutbox(
  turn: Turn,
  key: string,
  { from, to }: { readonly from: LogPosition; readonly to: LogPosition },
): void {
  const room = turn.room(key)
  if (room === null) return
  const isVoid = ({ record: { sequencedAt } }: OutboxItem) =>
    sequencedAt !== null && from <= sequencedAt && sequencedAt < to
  const isMember = room.joining === null
  const items = room.outbox.filter((item) => isVoid(item) || isMember && isSealed(item))
  unsealByLog(turn, room, items)
}

/** An own frame that is known by its hash alone (JOIN-7, LOG-2); true where it is one. */
export function ownFrameWalked(turn: Turn, key: string, placed: PlacedEntry): boolean {
  const room = turn.room(key)
  if (room === null || room.outbox.length === 0) return false
  const sha256 = (bytes: Uint8Array) => turn.ports.crypto.hash('sha256', bytes)
  const hash = entryBodyHash(sha256, placed.entry.body)
  const top = topEpoch(room)
  // In another epoch nobody could read it.
  const item = room.outbox.find(({ record: { sealed } }) =>
    sealed !== null && top !== null && equalBytes(sealed.epochId, idOfEpoch(top)) &&
    equalBytes(sha256(sealed.bytes), hash)
  )
  if (item?.record.sealed == null) return false
  return ownFrameSequenced(turn, key, placed, item.record.sealed.bytes)
}

function noteOwnMessage(
  turn: Turn,
  room: RoomState,
  placed: PlacedEntry,
  record: OutboxRecord,
): void {
  const account = turn.registered
  const content = decodeContent(record.content)
  if (account === null || content.kind === 'malformed') return
  const { key } = room
  const { position, time } = placed
  const id = messageId((bytes) => turn.ports.crypto.hash('sha256', bytes), {
    senderUri: accountUri(account.name),
    roomUri: roomUri(room),
    content: record.content,
  })
  addItem(turn, key, {
    position,
    index: 0,
    time,
    item: {
      kind: 'message',
      account: account.name,
      own: true,
      content: record.content,
      messageId: id,
      localId: record.localId,
      messageSecret: new Uint8Array(0),
    },
  })
  const last = { text: previewText(content.value), author: account.name, time }
  turn.setRecord(key, {
    sentIds: [...room.record.sentIds.filter((id) => id !== record.localId), record.localId]
      .slice(-LIMITS.sentIdsMax),
    ...(isNew(turn, key, { position, messageId: id }) ? { last } : {}),
  })
  turn.effect({ kind: 'showAccount' })
}

/** URI of an account in message content (CONTENT-2). */
export function accountUri(account: string): string {
  const [user, domain] = account.split('@')
  return `mimi://${domain}/u/${user}`
}

/** The session ended: nothing is in flight any more. */
export function landOutbox(turn: Turn, key: string): void {
  const room = turn.room(key)
  if (room === null || !room.outbox.some((item) => item.inFlight)) return
  replaceItems(turn, room, room.outbox.map((item) => ({ ...item, inFlight: false })))
}

const AFTER_CATCH_UP: ReadonlySet<string> = new Set([
  'staleEpoch',
  'futureEpoch',
  'wrongEpochId',
  'unknownEntry',
  'replayed',
  'generationTooFar',
  'provisional',
  // Who is out of the room says it when it is in again.
  'unknownRoom',
])

/** Refusals for an open epoch before a frame is held back. */
const SOON_ATTEMPTS = 4
const PROVISIONAL: Refusal = { kind: 'tooMany', retryAfterMs: LIMITS.verdictWaitMs }

/**
 * The hub refused a frame: the same bytes go again after catching up, or the item is shown as
 * refused (DEV-5). Its seal stays: what becomes of it the log says alone, and an item that the log
 * shows after all is sent. *A hub that took a frame, or forgot that it did, and refused it would be
 * given the message a second time.* A refusal may come behind the commit that caused it, when the
 * item has been sealed and given anew: it says nothing of that.
 */
export function frameRefused(
  turn: Turn,
  pending: { readonly room: string; readonly outboxKey: string; readonly sealed: Uint8Array },
  refusal: Refusal,
): void {
  const room = turn.room(pending.room)
  const item = room?.outbox.find((each) => each.key === pending.outboxKey)
  if (room === null || item === undefined) return
  if (item.record.sealed?.bytes !== pending.sealed || item.record.sequencedAt !== null) return
  if (holdRoom(turn, pending.room, refusal)) {
    // The same bytes later: the hub has not taken their generation.
    return replaceItems(turn, turn.room(pending.room) ?? room, [{ ...item, inFlight: false }])
  }
  // A verdict that does not come soon is waited for, however long it takes.
  const isOpen = refusal.kind === 'provisional' && item.attempts >= SOON_ATTEMPTS
  if (isOpen) holdRoom(turn, pending.room, PROVISIONAL)
  const again = AFTER_CATCH_UP.has(refusal.kind) && item.attempts < LIMITS.outboxAttemptsMax
  keepItems(turn, room, [{
    ...item,
    record: { ...item.record, refused: again ? '' : refusal.kind },
    inFlight: false,
    attempts: isOpen ? item.attempts : item.attempts + 1,
  }])
  if (again) resubscribe(turn, pending.room)
}

/**
 * The hub named the last generations that it took in an epoch (KEY-5). One beyond the device's own
 * means that its state was rolled back: the chain goes on beyond it, never again below. Called at
 * the end of the log that the hub named with them: a seal below that was refused and is not in it
 * was not taken, and never is (SEQ-4).
 */
export function reconcileGenerations(turn: Turn, key: string): void {
  const room = turn.room(key)
  const top = room === null ? null : topEpoch(room)
  if (room?.subscription.kind !== 'following' || top === null) return
  const { epochId, lastGenerations } = room.subscription
  if (!equalBytes(epochId, idOfEpoch(top))) return
  const lane = lastGenerations.find((each) => each.lane === 0)
  if (lane === undefined) return
  skipGenerations(turn, key, lane.generation)
  const isSpent = ({ attempts, record: { sealed } }: OutboxItem) =>
    attempts > 0 && sealed !== null && equalBytes(sealed.epochId, epochId) &&
    sealed.generation <= lane.generation
  const now = turn.room(key) ?? room
  unseal(turn, now, now.outbox.filter((item) => isSealed(item) && isSpent(item)))
}
