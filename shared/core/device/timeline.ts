/**
 * From opened content to what a person reads (DEV-8): the records of a room's timeline and the
 * items of its view. Owns the reading of content; owns no keys and no order.
 */
import { toBase64Url } from '#core/base/bytes.ts'
import { decodeContent, messageId, plainText, previewText } from '#core/content/mimi-content.ts'
import { type MimiContent, namedUris, roomProfile } from '#core/content/mimi-content.ts'
import type { OpenedFrame } from '#core/device/epoch-keys.ts'
import { accountUri } from '#core/device/outbox.ts'
import { positionOfTimelineKey, timelineRecordCodec } from '#core/device/records.ts'
import type { TimelineRecord } from '#core/device/records.ts'
import { isNew } from '#core/device/repeats.ts'
import { addItem, checkedTitle, roomUri } from '#core/device/room.ts'
import type { OutboxItem, PlacedEntry } from '#core/device/state.ts'
import type { DeviceRecord } from '#core/device/store.ts'
import type { Turn } from '#core/device/turn.ts'
import { typingEnded } from '#core/device/typing.ts'
import { decode } from '#core/wire/codec.ts'

/** A frame of another member was opened: a message, a title, or something newer than this code. */
export function contentReceived(
  turn: Turn,
  key: string,
  placed: PlacedEntry,
  opened: OpenedFrame,
): void {
  const room = turn.room(key)
  if (room === null) return
  const { position, time } = placed
  const content = decodeContent(opened.plaintext)
  const { member } = opened
  typingEnded(turn, key, member.leaf)
  const senderUri = accountUri(member.account)
  const code = !member.verified
    ? 'unverifiedSender'
    : content.kind === 'malformed'
    ? 'malformedContent'
    : namesMatch(content.value, { senderUri, roomUri: roomUri(room) })
    ? null
    : 'wrongSender'
  if (content.kind === 'malformed' || code !== null) {
    turn.effect({ kind: 'wipe', secrets: [opened.messageSecret] })
    addItem(turn, key, {
      position,
      index: 0,
      time,
      item: { kind: 'unreadable', code: code ?? 'malformedContent' },
    })
    return
  }
  const profile = roomProfile(content.value)
  if (profile !== null) return titled(turn, key, placed, { title: profile.title, opened })
  const own = member.account === turn.registered?.name
  const id = messageId((bytes) => turn.ports.crypto.hash('sha256', bytes), {
    senderUri,
    roomUri: roomUri(room),
    content: opened.plaintext,
  })
  addItem(turn, key, {
    position,
    index: 0,
    time,
    item: {
      kind: 'message',
      account: member.account,
      own,
      content: opened.plaintext,
      messageId: id,
      localId: '',
      messageSecret: opened.messageSecret,
    },
  })
  turn.effect({ kind: 'wipe', secrets: [opened.messageSecret] })
  if (!isNew(turn, key, { position, messageId: id })) return
  const text = previewText(content.value)
  turn.setRecord(key, {
    unread: room.record.unread + (own ? 0 : 1),
    last: { text, author: member.account, time },
  })
  turn.effect({ kind: 'showAccount' })
}

/** A content names its sender and room, and both are who and where it came from (CONTENT-2). */
function namesMatch(
  content: MimiContent,
  expected: { readonly senderUri: string; readonly roomUri: string },
): boolean {
  const named = namedUris(content)
  return named?.senderUri === expected.senderUri && named.roomUri === expected.roomUri
}

function titled(
  turn: Turn,
  key: string,
  placed: PlacedEntry,
  said: { readonly title: string; readonly opened: OpenedFrame },
): void {
  const room = turn.room(key)
  const title = checkedTitle(said.title)
  if (room === null || title === null || title === room.record.title) return
  const renamed = room.record.title !== null && room.record.joinedAt !== null &&
    placed.position > room.record.joinedAt + 1n
  turn.setRecord(key, { title })
  turn.effect({ kind: 'showAccount' })
  if (!renamed) return
  const actor = said.opened.member.account
  const item = { kind: 'event', event: 'titled', actor, subject: title } as const
  addItem(turn, key, { position: placed.position, index: 0, time: placed.time, item })
}

/** What a stored or queued item says; plain values for `sdk/views.ts`. */
export type TimelineEntry =
  | {
    readonly kind: 'message'
    /** Of the caller where this device sent it, else its message id; one entry has it. */
    readonly id: string
    readonly author: string | null
    readonly own: boolean
    readonly text: string
    readonly time: number
    /** Log position; null while it waits in the outbox. */
    readonly position: number | null
    /** `queued`: on this device. `sending`: given to the hub. `sent`: durable in the room's log. */
    readonly delivery: 'queued' | 'sending' | 'sent' | 'refused'
  }
  | {
    readonly kind: 'event'
    readonly id: string
    readonly event: Extract<TimelineRecord['item'], { readonly kind: 'event' }>['event']
    /** Who did it. */
    readonly actor: string | null
    /** Whom it concerns; the title for `titled`. */
    readonly subject: string | null
    readonly time: number
    readonly position: number
  }
  | {
    /** An entry that could not be opened; the code says why (DEV-9). */
    readonly kind: 'unreadable'
    readonly id: string
    readonly code: string
    readonly time: number
    readonly position: number
  }

/** Reads a timeline record back; null for one that does not decode. */
export function timelineEntry({ key, value }: DeviceRecord): TimelineEntry | null {
  const decoded = decode(timelineRecordCodec, value)
  return decoded.kind === 'malformed' ? null : entryOf(key, decoded.value)
}

/**
 * What is shown of records that stand one after another, oldest first: each message once, at its
 * first place among them (CONTENT-4).
 */
export function timelineEntries(records: readonly DeviceRecord[]): readonly TimelineEntry[] {
  const said = new Set<string>()
  const entries: TimelineEntry[] = []
  for (const { key, value } of records) {
    const decoded = decode(timelineRecordCodec, value)
    if (decoded.kind === 'malformed') continue
    const { item } = decoded.value
    const id = item.kind === 'message' ? toBase64Url(item.messageId) : null
    if (id !== null && said.has(id)) continue
    if (id !== null) said.add(id)
    entries.push(entryOf(key, decoded.value))
  }
  return entries
}

function entryOf(key: string, { item, time }: TimelineRecord): TimelineEntry {
  const position = positionOfTimelineKey(key)
  const id = key.slice(key.indexOf(':') + 1)
  switch (item.kind) {
    case 'message': {
      const content = decodeContent(item.content)
      const text = content.kind === 'decoded' ? plainText(content.value) ?? '' : ''
      return {
        kind: 'message',
        id: item.localId === '' ? toBase64Url(item.messageId) : item.localId,
        author: item.account,
        own: item.own,
        text,
        time,
        position,
        delivery: 'sent',
      }
    }
    case 'event':
      return {
        kind: 'event',
        id,
        event: item.event,
        actor: item.actor,
        subject: item.subject === '' ? null : item.subject,
        time,
        position,
      }
    case 'unreadable':
      return { kind: 'unreadable', id, code: item.code, time, position }
  }
}

/** What a message that is not in the log yet looks like; null for what is not shown. */
export function queuedEntry(item: OutboxItem, author: string): TimelineEntry | null {
  // What stands in the log is shown from the timeline.
  if (item.record.purpose !== 'message' || item.record.sequencedAt !== null) return null
  const content = decodeContent(item.record.content)
  const delivery = item.record.refused !== '' ? 'refused' : item.inFlight ? 'sending' : 'queued'
  return {
    kind: 'message',
    id: item.record.localId,
    author,
    own: true,
    text: content.kind === 'decoded' ? plainText(content.value) ?? '' : '',
    time: item.record.createdAt,
    position: null,
    delivery,
  }
}
