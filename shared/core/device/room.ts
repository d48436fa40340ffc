/**
 * Rooms of this device: their fresh state, what may be asked of it, asking the hub for their
 * entries, and marking what was read. Owns subscriptions; making one is `create.ts`, following
 * entries is `follow.ts`, sending is `outbox.ts`, membership is `membership.ts`, ending is
 * `ends.ts`.
 */
import { fromBase64Url, toBase64Url } from '#core/base/bytes.ts'
import { type HubDomain, logPosition, type RoomId, type TimeMs } from '#core/base/ids.ts'
import { LIMITS } from '#core/base/limits.ts'
import { holdFor } from '#core/device/hold.ts'
import type { RoomRecord, TimelineRecord } from '#core/device/records.ts'
import { pendingKey, timelineKey, timelineRecordCodec } from '#core/device/records.ts'
import type { RoomState } from '#core/device/state.ts'
import type { Turn } from '#core/device/turn.ts'
import { allSecrets, type Group } from '#core/mls/group.ts'
import { encode } from '#core/wire/codec.ts'
import { FIRST_PREVIOUS_HASH } from '#core/wire/log-entry.ts'
import type { LogPosition } from '#core/base/ids.ts'
import { STRUCTURE_VERSION } from '#core/wire/structure.ts'

/** The name by which views and records call a room. */
export function roomKey(id: RoomId): string {
  return toBase64Url(id)
}

/** The id behind a room's name; null when it is none. */
export function roomIdOfKey(key: string): RoomId | null {
  const bytes = fromBase64Url(key)
  return bytes?.length === 32 ? bytes as RoomId : null
}

export interface NewRoom {
  readonly id: RoomId
  readonly phase: RoomRecord['phase']
  readonly suite: number
  /** Domain of creation, which every message's room URI names (CONTENT-2). */
  readonly domain: HubDomain
  readonly title: string | null
  readonly opening: Uint8Array
  readonly inviterRootHash: Uint8Array
  readonly createdAt: TimeMs
}

/** A room of which nothing is known yet but how it began. */
export function newRoom(options: NewRoom): RoomState {
  const { id, ...rest } = options
  return {
    key: roomKey(id),
    id,
    record: {
      format: STRUCTURE_VERSION,
      code: '',
      next: logPosition(0n),
      headHash: FIRST_PREVIOUS_HASH,
      headTime: 0 as TimeMs,
      joinedAt: null,
      links: [],
      recovery: null,
      anchors: [],
      readUpTo: logPosition(0n),
      unread: 0,
      last: null,
      sentIds: [],
      nextOutboxKey: 0,
      ...rest,
    },
    final: null,
    chain: [],
    finality: null,
    asked: [],
    certificates: new Map(),
    joining: null,
    inviting: new Map(),
    outbox: [],
    jobs: [],
    pending: null,
    subscription: { kind: 'none' },
    typing: [],
    typingSentAtMs: 0,
    holdUntilMs: 0,
    racesLost: 0,
    recent: [],
    said: [],
  }
}

/**
 * Who comes into a room again must find the log as it was known (JOIN-9). *A hub leads it back to
 * where people were members who have been removed since.*
 */
export function withHeadOf(before: RoomState | null, room: RoomState): RoomState {
  if (before === null) return room
  return { ...room, record: { ...room.record, recovery: knownHead(before.record) } }
}

/** How far the log was known to this device as a member; null where it never was in the room. */
function knownHead({ phase, next, headHash, recovery }: RoomRecord): RoomRecord['recovery'] {
  const wasIn = phase === 'live' || phase === 'broken' || phase === 'removed'
  const isFurther = next > 0n && (recovery === null || next > recovery.position)
  return wasIn && isFurther ? { position: logPosition(next - 1n), hash: headHash } : recovery
}

/** The log is walked anew, and must be the known one (JOIN-5, JOIN-9). */
export function atBeginning(record: RoomRecord) {
  return {
    recovery: knownHead(record),
    next: logPosition(0n),
    headHash: FIRST_PREVIOUS_HASH,
    headTime: 0 as TimeMs,
  }
}

/** True for a member, also one whose removal is not final; false on any way in. */
export function isIn({ record, joining }: RoomState): boolean {
  return record.phase === 'live' && joining === null
}

/** True where the group of the room is kept in the store; on the way in it is only in memory. */
export function isStored({ record, joining }: RoomState): boolean {
  return record.phase !== 'joining' && joining === null
}

/** True for who comes by a link and is not in for good: its secret is kept as long. */
export function hasLink({ phase, opening }: RoomRecord): boolean {
  return phase !== 'creating' && opening.length > 0
}

/** True for a room that the person made, came into by a link, or has spoken or invited in. */
export function isOwn({ record }: RoomState): boolean {
  const { phase, joinedAt, inviterRootHash, nextOutboxKey, links } = record
  const isMaker = joinedAt === null && phase !== 'joining'
  return isMaker || inviterRootHash.length > 0 || nextOutboxKey > 0 || links.length > 0
}

/** True for a member whose state of the group is lost: what is said meanwhile is its loss. */
export function isStateLost({ record, joining }: RoomState): boolean {
  return record.phase === 'live' && joining?.kind === 'recovery'
}

/** A title of 1 to 128 characters without line breaks; null otherwise. */
export function checkedTitle(text: string): string | null {
  const title = text.trim()
  if (title.length === 0 || title.length > LIMITS.titleMax) return null
  return /[\u0000-\u001f\u007f]/.test(title) ? null : title
}

/** Asks for everything from the first position that is missing (ROOM-6). */
export function subscribe(turn: Turn, key: string): void {
  const room = turn.room(key)
  if (room === null || !turn.ready || room.subscription.kind === 'asked') return
  if (!isFollowed(room)) return
  // Whoever adds somebody to many rooms would keep it from its own.
  if (!isOwn(room) && isCrowded(turn)) return holdFor(turn, key, LIMITS.retryMsMax)
  const request = turn.request({ kind: 'subscribe', room: key })
  const { next, joinedAt, recovery } = room.record
  const { joining } = room
  const known = isStateLost(room) ? recovery?.position : null
  const entered = joining?.kind === 'welcome' ? joining.position : known ?? joinedAt
  turn.setRoom(key, { subscription: { kind: 'asked', isCut: false } })
  turn.send('subscribe', {
    request,
    from: next,
    holesBefore: entered === null ? logPosition(0n) : logPosition(entered + 1n),
    open: false,
  }, room.id)
}

/** No further room of others has a place in this session. */
function isCrowded({ state: { rooms } }: Turn): boolean {
  if (rooms.size <= LIMITS.subscriptionsForOthersMax) return false
  let count = 0
  for (const room of rooms.values()) {
    if (room.subscription.kind !== 'none' && !isOwn(room)) count++
  }
  return count >= LIMITS.subscriptionsForOthersMax
}

/** True for a room whose log this device takes. */
export function isFollowed(room: RoomState): boolean {
  const { phase } = room.record
  if (phase === 'joining') return room.joining !== null && room.joining.kind !== 'asked'
  return phase === 'live' || phase === 'creating'
}

/** The room is followed no more, as far as this device is concerned. */
export function unfollow(turn: Turn, key: string): void {
  turn.dropQuestions(key)
  turn.setRoom(key, { subscription: { kind: 'none' } })
}

/** Begins to follow anew, unless the hub has been asked already. */
export function resubscribe(turn: Turn, key: string): void {
  const room = turn.room(key)
  if (room === null || room.subscription.kind === 'asked') return
  turn.setRoom(key, { subscription: { kind: 'none' } })
  subscribe(turn, key)
}

/**
 * The hub follows no more (HUB-5). *Its word comes on another stream than the answer to `subscribe`
 * and may overtake it: whoever passed it by would wait for ever.*
 */
export function subscriptionCut(turn: Turn, key: string): void {
  if (turn.room(key)?.subscription.kind !== 'asked') return resubscribe(turn, key)
  turn.setRoom(key, { subscription: { kind: 'asked', isCut: true } })
}

/**
 * True when every entry that the hub had at the time of asking has been taken, and so every one
 * that was known before (JOIN-9); until then the device says nothing in the room.
 */
export function caughtUp(room: RoomState): boolean {
  const { subscription, record } = room
  return subscription.kind === 'following' && record.next >= subscription.until
}

/** Writes an item of the timeline (DEV-8). */
export function addItem(
  turn: Turn,
  key: string,
  item: {
    readonly position: LogPosition
    readonly index: number
    readonly time: TimeMs
    readonly item: TimelineRecord['item']
  },
): void {
  const { position, index, ...record } = item
  turn.put(
    'timeline',
    timelineKey(key, position, index),
    encode(timelineRecordCodec, { format: STRUCTURE_VERSION, ...record }),
  )
}

/** Everything up to `position` was seen by the person. */
export function markRead(turn: Turn, key: string, position: number): void {
  const room = turn.room(key)
  if (room === null || !Number.isSafeInteger(position) || position < 0) return
  const readUpTo = logPosition(BigInt(position))
  if (readUpTo <= room.record.readUpTo && room.record.unread === 0) return
  const all = readUpTo + 1n >= room.record.next
  turn.setRecord(key, {
    readUpTo: readUpTo > room.record.readUpTo ? readUpTo : room.record.readUpTo,
    unread: all ? 0 : room.record.unread,
  })
  turn.effect({ kind: 'showAccount' })
}

/** Commit, Welcome and jobs of a room end: who waits for them is told, nothing of them is kept. */
export function endUnderWay(turn: Turn, key: string): void {
  const room = turn.room(key)
  if (room === null) return
  const { pending } = room
  for (const job of [...pending?.jobs ?? [], ...room.jobs]) turn.fail(job.command, 'roomNotLive')
  for (const command of room.inviting.values()) turn.fail(command, 'roomNotLive')
  if (pending !== null) turn.delete('groups', pendingKey(key))
  turn.setRoom(key, { joining: null, pending: null, jobs: [], inviting: new Map() })
  wipeGroups(turn, key, groupsUnderWay(room))
}

/** Of a commit that is not in the log yet, and of a Welcome that the walk has not reached. */
function groupsUnderWay({ pending, joining }: RoomState): readonly (Group | null)[] {
  return [pending?.next ?? null, joining?.kind === 'welcome' ? joining.group : null]
}

/** Every group that the room holds. */
function groupsOf(room: RoomState): readonly (Group | null)[] {
  const { final, chain } = room
  return [final?.group ?? null, ...chain.map(({ group }) => group), ...groupsUnderWay(room)]
}

function secretsOf(groups: readonly (Group | null)[]): readonly Uint8Array[] {
  return groups.flatMap((group) => group === null ? [] : allSecrets(group))
}

/** Wipes the secrets of groups that are over; what the room holds may share some with them. */
export function wipeGroups(turn: Turn, key: string, over: readonly (Group | null)[]): void {
  const room = turn.room(key)
  const held = new Set(room === null ? [] : secretsOf(groupsOf(room)))
  const secrets = secretsOf(over)
  turn.effect({ kind: 'wipe', secrets: secrets.filter((secret) => !held.has(secret)) })
}

/** URI of a room in message content, under the domain where it was created (CONTENT-2). */
export function roomUri(room: RoomState): string {
  return `mimi://${room.record.domain}/r/${room.key}`
}
