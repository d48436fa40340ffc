/**
 * What a device stores (DEV-3): the encodings of its records and their keys. Each begins with its
 * label and version. Owns no storage and no rule of when something is written.
 */
import { LIMITS } from '#core/base/limits.ts'
import type { LogPosition } from '#core/base/ids.ts'
import { VOTE_CHOICES } from '#core/policy/finality.ts'
import { accountNameCodec, deviceIdCodec, epochIdCodec } from '#core/wire/bodies.ts'
import { hubDomainCodec, positionCodec, timeCodec } from '#core/wire/bodies.ts'
import { bool, enumU8, fixed, type Infer, opaque, optional } from '#core/wire/codec.ts'
import { struct, u16, u32, utf8, variant, vector } from '#core/wire/codec.ts'
import { format } from '#core/wire/structure.ts'

/** Counted in UTF-16 code units, of which each is at most 3 bytes (DEV-4). */
const localId = utf8(LIMITS.localIdMax * 3)
const keyPair = struct({ secretKey: opaque(8_192), publicKey: opaque(8_192) })

/** The account, its keys and the hub's key (ID-2); one record, key `account`. */
export const accountRecordCodec = struct({
  format: format('account record'),
  phase: enumU8({ registering: 0, registered: 1 }),
  name: accountNameCodec,
  device: deviceIdCodec,
  deviceName: utf8(LIMITS.deviceNameMax * 4),
  hubDomain: hubDomainCodec,
  hubKey: fixed(32),
  rootHash: fixed(32),
  /** Sealed here until a recovery backup holds it; the app says so. */
  rootEd25519: keyPair,
  rootMldsa65: keyPair,
  signing: keyPair,
  ed25519: keyPair,
  p384: keyPair,
  /** With the attestation in it once the account is registered (ID-6). */
  certificate: opaque(LIMITS.certificateSizeMax, 1),
})
export type AccountRecord = Infer<typeof accountRecordCodec>

/** The hub's domain and key, key `hub`: trust on first use (SES-2). */
export const hubRecordCodec = struct({
  format: format('hub record'),
  domain: hubDomainCodec,
  key: fixed(32),
})

export const keyPackageRecordCodec = struct({
  format: format('key package record'),
  suite: u16,
  keyPackage: opaque(LIMITS.keyPackageSizeMax, 1),
  initSecret: opaque(8_192, 1),
  encryptionSecret: opaque(8_192, 1),
  /** Kept after use: the last resort package may be used again (DIR-3). */
  lastResort: bool,
  notAfter: timeCodec,
})
export type KeyPackageRecord = Infer<typeof keyPackageRecordCodec>

const ROOM_PHASES = {
  creating: 0,
  joining: 1,
  joinRefused: 2,
  live: 3,
  broken: 4,
  removed: 5,
} as const

/** A link that this device made: by it the person finds it again (ROOM-8). */
const linkRecord = struct({ id: fixed(32), fragment: utf8(LIMITS.inviteLinkMax) })

/** The anchor that was last left for an invitation of the own account (JOIN-3). */
const anchorRecord = struct({ id: fixed(32), position: positionCodec, time: timeCodec })

export type Anchored = Infer<typeof anchorRecord>

const lastMessage = optional(
  struct({ text: utf8(LIMITS.textMax * 4), author: accountNameCodec, time: timeCodec }),
)
const title = optional(utf8(LIMITS.titleMax * 4))

/** Everything of a room but its group, members, keys, outbox and history. */
export const roomRecordCodec = struct({
  format: format('room record'),
  phase: enumU8(ROOM_PHASES),
  code: utf8(64),
  title,
  suite: u16,
  domain: hubDomainCodec,
  /** First position that has not been taken yet, and the hash of the entry before it. */
  next: positionCodec,
  headHash: fixed(32),
  /** Hub time of that entry (LOG-4). */
  headTime: timeCodec,
  /** Position of the commit that brought this device in, or on the way in is said to (ROOM-7). */
  joinedAt: optional(positionCodec),
  links: vector(linkRecord, LIMITS.invitationsPerRoomMax),
  anchors: vector(anchorRecord, LIMITS.invitationsPerRoomMax),
  /** The request to create, or the link's secret, until the room is entered for good. */
  opening: opaque(LIMITS.frameSizeMax),
  inviterRootHash: opaque(32),
  /** How far the log was known when the group was lost or left (JOIN-5, JOIN-9). */
  recovery: optional(struct({ position: positionCodec, hash: fixed(32) })),
  createdAt: timeCodec,
  readUpTo: positionCodec,
  unread: u32,
  last: lastMessage,
  /** Ids of own messages that were sent, the last of them (DEV-4). */
  sentIds: vector(localId, LIMITS.sentIdsMax),
  nextOutboxKey: u32,
})
export type RoomRecord = Infer<typeof roomRecordCodec>

export const outboxRecordCodec = struct({
  format: format('outbox record'),
  localId,
  content: opaque(LIMITS.plaintextSizeMax),
  /** `profile` tells members the room's title and is not shown as a message. */
  purpose: enumU8({ message: 0, profile: 1 }),
  createdAt: timeCodec,
  refused: utf8(64),
  sealed: optional(
    struct({
      epochId: epochIdCodec,
      generation: u32,
      bytes: opaque(LIMITS.sealedFrameSizeMax, 1),
    }),
  ),
  /** Where it stands in the log while its epoch is provisional; it leaves when that is final. */
  sequencedAt: optional(positionCodec),
})
export type OutboxRecord = Infer<typeof outboxRecordCodec>

export const timelineRecordCodec = struct({
  format: format('timeline record'),
  time: timeCodec,
  item: variant('kind', {
    message: [
      0,
      struct({
        account: accountNameCodec,
        own: bool,
        content: opaque(LIMITS.plaintextSizeMax),
        messageId: fixed(32),
        localId,
        /** Reveals this one message to a hub that it is reported to (KEY-8). */
        messageSecret: opaque(64),
      }),
    ],
    event: [
      1,
      struct({
        event: enumU8({
          created: 0,
          joined: 1,
          removed: 2,
          invitationMade: 3,
          titled: 4,
          invitationRevoked: 5,
          resynced: 6,
          falseVote: 7,
        }),
        actor: optional(accountNameCodec),
        subject: utf8(LIMITS.titleMax * 4),
      }),
    ],
    unreadable: [2, struct({ code: utf8(64) })],
  }),
})
export type TimelineRecord = Infer<typeof timelineRecordCodec>

const changedNode = struct({ node: u32, bytes: optional(opaque(LIMITS.mlsMessageSizeMax)) })

/** An epoch without its tree: what of it this device holds (ROOM-4). */
const epochRecord = struct({
  /** Of the entry that made it. */
  position: positionCodec,
  entryHash: fixed(32),
  /** False where `head` is of a public group: no secret of the epoch is held. */
  isMember: bool,
  head: opaque(LIMITS.mlsMessageSizeMax, 1),
  leafWidth: u32,
  groupInfo: opaque(LIMITS.mlsMessageSizeMax),
  ephemeralRoot: opaque(64),
})

export type EpochRecord = Infer<typeof epochRecord>

/** The last final epoch, key of the room; its tree stands in `nodes`, a record for each node. */
export const finalRecordCodec = struct({ format: format('final epoch'), epoch: epochRecord })

/** A provisional epoch: what differs from the one below it, and how to leave it again. */
export const provisionalRecordCodec = struct({
  format: format('provisional epoch'),
  epoch: epochRecord,
  time: timeCodec,
  changed: vector(changedNode, LIMITS.mlsTreeNodesMax),
  isOwn: bool,
  choice: enumU8(VOTE_CHOICES),
  /** As it was before the epoch began. */
  undo: struct({ unread: u32, last: lastMessage, title, joinedAt: optional(positionCodec) }),
})
export type Undo = Infer<typeof provisionalRecordCodec>['undo']

/** Pending commit, key of the room: enough to submit it again or to adopt it after a restart. */
export const pendingRecordCodec = struct({
  format: format('pending commit'),
  commit: opaque(LIMITS.commitSizeMax, 1),
  submission: opaque(LIMITS.frameSizeMax, 1),
  /** The epoch in which it was made, and what differs after it. */
  before: epochIdCodec,
  head: opaque(LIMITS.mlsMessageSizeMax, 1),
  leafWidth: u32,
  changed: vector(changedNode, LIMITS.mlsTreeNodesMax),
})

/** What this device proved of a certificate (ID-7), key of room and hash. */
export const certificateRecordCodec = struct({
  format: format('proven certificate'),
  attested: bool,
  devices: vector(
    struct({ device: deviceIdCodec, name: utf8(LIMITS.deviceNameMax * 4) }),
    LIMITS.devicesPerAccountMax,
  ),
})
export type CertificateRecord = Infer<typeof certificateRecordCodec>

export const ACCOUNT_KEY = 'account'
export const HUB_KEY = 'hub'

/** 16 hex digits, so that keys sort as positions do. */
function positionKey(position: LogPosition): string {
  return position.toString(16).padStart(16, '0')
}

/** Key of the `index`th item of an entry in the timeline. */
export function timelineKey(room: string, position: LogPosition, index: number): string {
  return `${room}:${positionKey(position)}:${index.toString(16).padStart(4, '0')}`
}

/** Position inside a timeline key. */
export function positionOfTimelineKey(key: string): number {
  return Number.parseInt(key.split(':')[1] ?? '', 16)
}

export function outboxKey(room: string, sequence: number): string {
  return `${room}:${sequence.toString(16).padStart(8, '0')}`
}

/** Key of what belongs to one epoch of a room: the position of the entry that made it. */
export function epochKey(room: string, position: LogPosition): string {
  return `${room}:${positionKey(position)}`
}

/** Range of the keys under one epoch of a room. */
export function epochRange(room: string, position: LogPosition): KeySpan {
  return roomRange(epochKey(room, position))
}

/** Range of everything in a room's timeline from one position on, up to another one. */
export function timelineRange(room: string, from: LogPosition, to: LogPosition): KeySpan {
  return { from: epochKey(room, from), to: epochKey(room, to) }
}

/** Key of what the log says of a room's provisional epochs; sorts behind all of these. */
export function finalityKey(room: string): string {
  return `${room}:votes`
}

/** Key of the own commit that is under way. */
export function pendingKey(room: string): string {
  return `${room}:pending`
}

/** Key of a node of the tree. */
export function nodeKey(room: string, node: number): string {
  return `${room}:${node.toString(16).padStart(8, '0')}`
}

/** The node of such a key. */
export function nodeOfKey(key: string): number {
  return Number.parseInt(key.split(':')[1] ?? '', 16)
}

interface KeySpan {
  readonly from: string
  readonly to: string
}

/** Range of all keys of a room: from inclusive, to exclusive. */
export function roomRange(room: string): KeySpan {
  return { from: `${room}:`, to: `${room};` }
}
