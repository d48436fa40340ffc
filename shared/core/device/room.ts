/**
 * Rooms of this device: making one, asking the hub for its entries, marking what was read. Owns the
 * fresh state of a room and its subscription; following entries is `follow.ts`, sending is
 * `outbox.ts`, membership is `membership.ts`.
 */
import { fromBase64Url, toBase64Url } from '#core/base/bytes.ts'
import { type HubDomain, logPosition, type RoomId, type TimeMs } from '#core/base/ids.ts'
import { LIMITS } from '#core/base/limits.ts'
import { suiteById } from '#core/crypto/suites.ts'
import { DEFAULT_SUITE, signerFor } from '#core/device/account.ts'
import { enterEpoch } from '#core/device/epoch-keys.ts'
import type { RoomRecord, TimelineRecord } from '#core/device/records.ts'
import { timelineKey, timelineRecordCodec } from '#core/device/records.ts'
import type { RoomState } from '#core/device/state.ts'
import type { Turn } from '#core/device/turn.ts'
import { groupIdOf, makeGenesis } from '#core/identity/genesis.ts'
import { BODIES, type Body } from '#core/wire/bodies.ts'
import { decode, encode } from '#core/wire/codec.ts'
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
      joinedAt: null,
      invitations: [],
      ownLink: null,
      readUpTo: logPosition(0n),
      unread: 0,
      last: null,
      sentIds: [],
      nextOutboxKey: 0,
      ...rest,
    },
    members: [],
    group: null,
    keys: null,
    outbox: [],
    jobs: [],
    pending: null,
    subscription: { kind: 'none' },
    typing: [],
    typingSentAtMs: 0,
    holdUntilMs: 0,
    racesLost: 0,
    gathered: new Map(),
    recent: [],
  }
}

/** A title of 1 to 128 characters without line breaks; null otherwise. */
export function checkedTitle(text: string): string | null {
  const title = text.trim()
  if (title.length === 0 || title.length > LIMITS.titleMax) return null
  return /[\u0000-\u001f\u007f]/.test(title) ? null : title
}

/** Makes a room, also while offline; the hub hears of it as soon as it can (ROOM-1). */
export async function createRoom(turn: Turn, command: number, title: string): Promise<void> {
  const account = turn.registered
  const checked = checkedTitle(title)
  const suite = suiteById(DEFAULT_SUITE)
  if (account === null || suite === null) return turn.fail(command, 'notRegistered')
  if (checked === null) return turn.fail(command, 'badTitle')
  const { crypto, entropy, mls } = turn.ports
  const { genesis, room: id } = await makeGenesis(
    crypto,
    {
      creator: account.name,
      creatorRootHash: account.rootHash,
      creatorDevice: account.device,
      domain: account.hubDomain,
      suite: suite.id,
      random: entropy.randomBytes(32),
    },
    account.ed25519.secretKey,
  )
  const group = await mls.createGroup({
    suite,
    groupId: groupIdOf(id),
    signer: signerFor(turn, account, suite),
    nowMs: turn.nowMs,
    entropy,
  })
  const opening = encode(BODIES.createRoom[1], {
    request: 0 as Body<'createRoom'>['request'],
    genesis,
    suite: suite.id,
    epochId: mls.epochId(group),
    certificate: account.certificate,
  })
  const room = newRoom({
    id,
    phase: 'creating',
    suite: suite.id,
    domain: account.hubDomain,
    title: checked,
    opening,
    inviterRootHash: new Uint8Array(0),
    createdAt: turn.nowMs,
  })
  turn.addRoom(room)
  const leaf = mls.ownLeaf(group)
  await enterEpoch(turn, room.key, {
    group,
    members: [{
      leaf,
      account: account.name,
      device: account.device,
      deviceName: account.deviceName,
      rootHash: account.rootHash,
      verified: true,
      signatureKey: suite.signature === 'p384' ? account.p384.publicKey : account.ed25519.publicKey,
      identity: signerFor(turn, account, suite).identity,
    }],
  })
  openRoom(turn, room.key)
  turn.done(command, room.key)
}

/** Sends what a room that is not open yet waits for: its genesis, or the request to join. */
export function openRoom(turn: Turn, key: string): void {
  const room = turn.room(key)
  if (room === null || !turn.ready) return
  const { phase, opening } = room.record
  if (phase === 'creating') {
    const body = decode(BODIES.createRoom[1], opening)
    if (body.kind === 'malformed') return
    const request = turn.request({ kind: 'createRoom', room: key })
    turn.send('createRoom', { ...body.value, request }, room.id)
  } else if (phase === 'joining') {
    const request = turn.request({ kind: 'join', room: key })
    turn.send('requestJoin', { request, token: null, joinRequest: opening }, room.id)
  } else if (phase === 'live') {
    subscribe(turn, key)
  }
}

/** Asks for everything from the first position that is missing (ROOM-6). */
export function subscribe(turn: Turn, key: string): void {
  const room = turn.room(key)
  if (room === null || !turn.ready || room.subscription.kind === 'asked') return
  if (room.record.phase !== 'live' && room.record.phase !== 'creating') return
  const request = turn.request({ kind: 'subscribe', room: key })
  const { next, joinedAt } = room.record
  turn.setRoom(key, { subscription: { kind: 'asked' } })
  turn.send('subscribe', {
    request,
    from: next,
    holesBefore: joinedAt === null ? logPosition(0n) : logPosition(joinedAt + 1n),
    open: false,
  }, room.id)
}

/** Begins to follow anew, unless the hub has been asked already. */
export function resubscribe(turn: Turn, key: string): void {
  const room = turn.room(key)
  if (room === null || room.subscription.kind === 'asked') return
  turn.setRoom(key, { subscription: { kind: 'none' } })
  subscribe(turn, key)
}

/**
 * True when every entry that the hub had at the time of asking has been taken, and the entry that
 * added this device is among them: before it nobody in the room is proven, so nothing is said there
 * (ROOM-10).
 */
export function caughtUp(room: RoomState): boolean {
  const { subscription, record } = room
  const entered = record.joinedAt === null || record.next > record.joinedAt
  return entered && subscription.kind === 'following' && record.next >= subscription.until
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

/** A room that cannot be followed any further, with the reason (DEV-9). */
export function breakRoom(turn: Turn, key: string, code: string): void {
  const room = turn.room(key)
  if (room === null) return
  for (const job of room.jobs) turn.fail(job.command, 'roomNotLive')
  turn.setRecord(key, { phase: 'broken', code })
  turn.setRoom(key, { jobs: [], pending: null, subscription: { kind: 'none' } })
  turn.effect({ kind: 'showAccount' })
}

/** URI of a room in message content, under the domain where it was created (CONTENT-2). */
export function roomUri(room: RoomState): string {
  return `mimi://${room.record.domain}/r/${room.key}`
}
