/**
 * What the gateway is made of: its ports, its sessions, rooms and subscriptions, as plain records.
 * Owns their shape and their empty state; the files around it own what happens to them.
 */
import type { HubDomain, LogPosition, RequestId, RoomId, TimeMs } from '#core/base/ids.ts'
import type { Clock, Entropy } from '#core/base/ports.ts'
import { LIMITS } from '#core/base/limits.ts'
import type { Crypto } from '#core/crypto/crypto.ts'
import type { TransportKind } from '#core/device/transport.ts'
import { BurstCache } from '#core/sender-keys/burst-cache.ts'
import type { Body, Message } from '#core/wire/bodies.ts'
import type { RefusalCode } from '#core/wire/refusals.ts'
import type { Actor, Seat } from '#hub/gateway/authorize.ts'
import type { Outbound, Sender } from '#hub/gateway/outbound.ts'
import type { Bucket, Buckets } from '#hub/gateway/rate.ts'
import type { CloseReason, SessionState, SessionTerms } from '#hub/gateway/session.ts'
import type { Directory, HubSession, Lane, RoomLog } from '#hub/ports.ts'
import { createRoomQueue, type RoomQueue } from '#hub/sequencer/room-queue.ts'
import type { EpochView } from '#hub/sequencer/group-view.ts'
import type { SequencedRoom } from '#hub/sequencer/room-state.ts'
import type { Submission } from '#hub/sequencer/sequencer.ts'

/** The name and key under which the hub speaks (SES-2, ID-4, LOG-3). */
export interface HubIdentity {
  readonly domain: HubDomain
  readonly publicKey: Uint8Array
  readonly secretKey: Uint8Array
  readonly appVersion: number
  readonly features: readonly number[]
}

/** What the gateway reports. Labels are enums and numbers: nothing in them names anybody. */
export type GatewayEvent =
  | { readonly kind: 'sessionOpened'; readonly transport: TransportKind }
  | { readonly kind: 'sessionReady'; readonly transport: TransportKind }
  | {
    readonly kind: 'sessionEnded'
    readonly transport: TransportKind
    readonly reason: CloseReason | 'lost'
  }
  | { readonly kind: 'requestDenied'; readonly code: RefusalCode }
  | { readonly kind: 'accountRegistered' }
  | { readonly kind: 'roomCreated' }
  | { readonly kind: 'memberCountChanged'; readonly added: number; readonly removed: number }
  /** From a commit to its verdict. */
  | { readonly kind: 'epochFinal'; readonly finalMs: number }
  | { readonly kind: 'epochVoid' }
  /** From the refusal of a frame, since its epoch was provisional, to the sender's next one. */
  | { readonly kind: 'frameStalled'; readonly stallMs: number }
  | {
    readonly kind: 'turnStored'
    readonly rooms: number
    readonly entries: number
    readonly durationMs: number
  }
  | { readonly kind: 'appendRejected' }
  | { readonly kind: 'appendConflicted' }
  | { readonly kind: 'roomUnreadable' }
  | { readonly kind: 'subscriptionCut' }

export interface HubEffects {
  observe(event: GatewayEvent): void
  /** A fault of our own: state may be wrong, the process should end. */
  faulted(error: unknown): void
  /** A check of a submission threw, and it is refused: nothing had been changed for it. */
  checkFaulted(error: unknown): void
}

export interface GatewayPorts {
  readonly crypto: Crypto
  readonly clock: Clock
  readonly entropy: Entropy
  readonly log: RoomLog
  readonly directory: Directory
  readonly identity: HubIdentity
  readonly effects: HubEffects
}

// ---- Sessions -----------------------------------------------------------------------------

export interface Connection {
  /** Unique in the life of the process. */
  readonly number: number
  readonly session: HubSession
  readonly terms: SessionTerms
  readonly outbound: Outbound
  state: SessionState
  actor: Actor
  readonly subscriptions: Map<Room, Subscription>
  /** Subscriptions that are not live yet. */
  readingCount: number
  /** Requests that are not answered, and their bytes. */
  inFlight: number
  inFlightBytes: number
  /** Called when there is room for more requests; null while nobody waits. */
  resume: (() => void) | null
  ephemerals: Bucket
  readonly welcomes: WelcomesOffered
  /** `sessionHash`; null until the hub has greeted. */
  sessionHash: Uint8Array | null
  /** The public group on its way to the device; null: none. */
  groupAnswer: GroupSending | null
  /** Rooms that the device may follow to become a member, by their key. */
  readonly joining: Map<string, JoinRight>
  /** The room of the frame before, to spare a look-up. */
  lastRoom: Room | null
  /** Where the device sat in it, and of which epochs that was said. */
  lastSeat: { readonly epochs: readonly EpochView[]; readonly seat: Seat } | null
}

/** Welcomes of the store that a session has been offered (ROOM-7). */
export interface WelcomesOffered {
  /** Those that are neither taken nor void, by their ids, with the commits that they belong to. */
  readonly offered: Map<bigint, { readonly room: RoomId; readonly position: LogPosition }>
  /** The control lane was full: there may be others. */
  isMore: boolean
  /** Reads under way or to come: the one that runs, and one more for all that came since. */
  reads: 0 | 1 | 2
  /** The store did not give them: they are read again when the device is heard of. */
  isUnread: boolean
  /** The rooms that hold some back are being woken. */
  isWaking: boolean
}

/** What a device has shown to follow a room as a newcomer (JOIN-1). */
export interface JoinRight {
  /** First position that it may read. */
  readonly from: bigint
  /** Id of the invitation; null for a new device of a member's account. */
  readonly invitation: Uint8Array | null
}

/** An encoded group, as far as it was sent (JOIN-2). */
export interface GroupSending {
  readonly request: RequestId
  readonly room: RoomId
  /** Null while it is being put together. */
  bytes: Uint8Array | null
  /** When the device last took a part of it. */
  movedAtMs: TimeMs
  sequence: number
  offset: number
}

export const EPHEMERAL_RATE = { count: LIMITS.ephemeralsPerSecondMax, intervalMs: 1_000 }
export const STRANGER_RATE = { count: LIMITS.strangerRequestsPerMinuteMax, intervalMs: 60_000 }
export const CLAIM_RATE = { count: LIMITS.claimsPerAccountPerMinuteMax, intervalMs: 60_000 }
export const REGISTRATION_RATE = {
  count: LIMITS.guestRegistrationsPerMinuteMax,
  intervalMs: 60_000,
}
export const COMMIT_RATE = { count: LIMITS.commitsPerMinuteMax, intervalMs: 60_000 }
export const CREATION_RATE = { count: LIMITS.roomsCreatedPerMinuteMax, intervalMs: 60_000 }
export const LINK_RATE = { count: LIMITS.joinsByLinkPerMinuteMax, intervalMs: 60_000 }
export const RESYNC_RATE = { count: 1, intervalMs: LIMITS.resyncIntervalMsMin }
export const GROUP_RATE = { count: LIMITS.groupRequestsPerMinuteMax, intervalMs: 60_000 }
/** Several devices of an inviter leave one each, and again when an epoch has become final. */
export const ANCHOR_RATE = { count: 8, intervalMs: LIMITS.anchorIntervalMsMin }

// ---- Rooms --------------------------------------------------------------------------------

/** A submission on its way: given to the room's queue, and held there until it is settled. */
export interface Arrival {
  readonly connection: Connection
  readonly request: RequestId
  readonly opcode: number
  /** Bytes that it holds until it is answered. */
  readonly size: number
  readonly asked: Asked
}

export type Asked =
  | { readonly kind: 'submitFrame'; readonly body: Body<'submitFrame'> }
  | { readonly kind: 'submitCommit'; readonly body: Body<'submitCommit'> }
  | { readonly kind: 'submitProposal'; readonly body: Body<'submitProposal'> }
  | { readonly kind: 'submitVote'; readonly body: Body<'submitVote'> }
  | { readonly kind: 'createRoom'; readonly body: Body<'createRoom'> }

export interface Checked {
  readonly arrival: Arrival
  readonly submission: Submission
}

/** A message that waits until the room is loaded or created. */
export interface HeldMessage {
  readonly connection: Connection
  readonly message: Message
  /** Bytes of its frame. */
  readonly size: number
}

export interface Subscription extends Sender {
  readonly connection: Connection
  readonly room: Room
  readonly lane: Lane
  /** Frames below this position come as holes (ROOM-6); to who is no member yet, all of them. */
  holesBefore: bigint
  /** And from this one on, to who was removed by a commit that is not final (SEQ-6). */
  holesFrom: bigint
  /** `reading` follows the log, `live` gets each flush, `ended` gets nothing more. */
  phase: 'reading' | 'live' | 'ended'
  /** True while a page is being read or waits for its turn, or to be read again. */
  pageAsked: boolean
  /** When the log did not give a page, which is asked for again later; null: it did. */
  pageFailedAtMs: TimeMs | null
  /** First position that is not queued yet. */
  next: bigint
  /** Position behind the last one that is delivered; null: no end. */
  until: bigint | null
  /** Everything up to here is durable on the device (HUB-6); -1: nothing. */
  acknowledged: bigint
}

/** The last signed head, as a frame (LOG-3). */
export interface RoomHead {
  frame: Uint8Array | null
  position: bigint
  signedAtMs: TimeMs
  signing: boolean
}

export interface Room {
  readonly id: RoomId
  /** The id in hex. */
  readonly key: string
  /** `absent` has no genesis; `gone` was replaced or evicted and must be looked up again. */
  phase: 'loading' | 'absent' | 'open' | 'gone'
  /** Ends when the room is no longer `loading`; null: it was not loaded. */
  loading: Promise<void> | null
  sequenced: SequencedRoom
  readonly queue: RoomQueue<Arrival, Checked>
  /** Messages that wait while the room is loading or its genesis is on the way. */
  held: HeldMessage[]
  creating: boolean
  /** Commits that have no answer yet. */
  readonly commits: Set<Arrival>
  readonly subscribers: Set<Subscription>
  /** The room's time while a commit is being judged: that of its entry; null: none is. */
  judgingAtMs: TimeMs | null
  /** Time alone has made a verdict due. */
  verdictDue: boolean
  /** Since when a leaf's frames are refused, its epoch being provisional. */
  readonly stalls: Map<number, TimeMs>
  linkJoins: Bucket
  /** Newest entries, encoded, from position `first` on: what late subscribers mostly need. */
  readonly tail: { first: bigint; encoded: Uint8Array[]; bytes: number }
  readonly head: RoomHead
  readonly bursts: BurstCache
  /** Hashes that were read from the log for a seen pair (LOG-5). */
  readonly found: Map<bigint, Uint8Array>
}

/** Above every position. */
export const NEVER = 1n << 64n

export function createRoom(id: RoomId, key: string, sequenced: SequencedRoom): Room {
  return {
    id,
    key,
    phase: 'loading',
    loading: null,
    sequenced,
    queue: createRoomQueue(),
    held: [],
    creating: false,
    commits: new Set(),
    subscribers: new Set(),
    judgingAtMs: null,
    verdictDue: false,
    stalls: new Map(),
    linkJoins: { tokens: LINK_RATE.count, atMs: 0 as TimeMs },
    tail: { first: 0n, encoded: [], bytes: 0 },
    head: { frame: null, position: -1n, signedAtMs: 0 as TimeMs, signing: false },
    bursts: new BurstCache(),
    found: new Map(),
  }
}

/** True when nothing but the cache holds the room. */
export function isIdle(room: Room): boolean {
  return room.phase !== 'loading' && !room.creating && room.subscribers.size === 0 &&
    room.queue.unsettledCount === 0 && room.held.length === 0 &&
    !room.head.signing
}

// ---- The hub ------------------------------------------------------------------------------

/** Everything that lives as long as the process. */
export interface Hub {
  readonly ports: GatewayPorts
  readonly connections: Map<number, Connection>
  /** Ready sessions, by `deviceKey`. */
  readonly devices: Map<string, Connection>
  /** By the id in hex; the order is that of the last use. */
  readonly rooms: Map<string, Room>
  /** Rooms with checked submissions. */
  readonly ready: Set<Room>
  /** Rooms with provisional epochs. */
  readonly provisional: Set<Room>
  /** Rooms whose head is behind. */
  readonly headsDue: Set<Room>
  /** Sessions with something to write. */
  readonly dirty: Set<Connection>
  /** Subscriptions whose page waits for its turn, in order, and how many pages are being read. */
  readonly pages: { readonly waiting: Set<Subscription>; reading: number }
  /** Requests of all sessions, also of those that have ended: they hold their bytes until then. */
  readonly unanswered: { count: number; bytes: number }
  /** Registrations of all guests together: a new session is nobody new. */
  registrations: Bucket
  /** What devices ask of strangers, by `deviceKey`, whatever sessions they open for it. */
  readonly strangerRequests: Buckets
  /** Claims by the account that is claimed, also of accounts that nobody has (DIR-4). */
  readonly claims: Buckets
  /** By room and device. */
  readonly commits: Buckets
  /** By device. */
  readonly creations: Buckets
  readonly resyncs: Buckets
  /** By device. */
  readonly groupRequests: Buckets
  /** By room and invitation. */
  readonly anchors: Buckets
  /** Groups that are being put together. */
  groupsReading: number
  turnRunning: boolean
  draining: boolean
  /** Ends a session with a reason. */
  endSession(connection: Connection, reason: CloseReason): void
  /** The genesis of a room was stored or refused: what was held about it goes on. */
  roomSettled(room: Room): void
  /** The room must be looked up again. */
  forgetRoom(room: Room): void
  /** A barrier may have been lifted: what is behind it can be checked. */
  checkMore(room: Room): void
}

export function nowMs(hub: Hub): TimeMs {
  return hub.ports.clock.nowMs()
}
