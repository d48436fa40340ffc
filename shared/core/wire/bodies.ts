/**
 * Frame bodies: what device and hub may say to one another (WIRE-4). Owns opcodes and encodings;
 * owns no rule of when something may be said (see the machines) and none of what the opaque parts
 * mean (`mls/`, `sender-keys/`, `identity/`).
 */
import { LIMITS } from '#core/base/limits.ts'
import type { DeviceId, EpochId, HubDomain } from '#core/base/ids.ts'
import type { AccountName, Epoch, LogPosition, RequestId, TimeMs } from '#core/base/ids.ts'
import { branded, type Codec, fixed, opaque, optional, struct } from '#core/wire/codec.ts'
import { bool, enumU8, mapped, u16, u32, u64, u8, utf8, variant, vector } from '#core/wire/codec.ts'
import { decode, encode } from '#core/wire/codec.ts'
import { buildFrame, type Frame, PROTOCOL_VERSION } from '#core/wire/frame.ts'
import { type Refusal, refusalCodec } from '#core/wire/refusals.ts'
import { logEntryCodec } from '#core/wire/log-entry.ts'
import type { LeafIndex, RoomId } from '#core/base/ids.ts'

const requestIdCodec = branded<RequestId, number>(u32)
export const accountNameCodec = branded<AccountName, string>(utf8(LIMITS.accountNameMax))
export const hubDomainCodec = branded<HubDomain, string>(utf8(LIMITS.hubDomainMax))
export const deviceIdCodec = branded<DeviceId, Uint8Array>(fixed(16))
export const epochCodec = branded<Epoch, bigint>(u64)
export const epochIdCodec = branded<EpochId, Uint8Array>(opaque(48, 32))
export const positionCodec = branded<LogPosition, bigint>(u64)
/** Milliseconds as uint64 on the wire; values above 2^53 are refused. */
export const timeCodec: Codec<TimeMs> = mapped(u64, {
  to: (value: TimeMs) => BigInt(value),
  from: (value: bigint) =>
    value <= BigInt(Number.MAX_SAFE_INTEGER) ? (Number(value) as TimeMs) : null,
})
const hash32 = fixed(32)
const signature = opaque(128, 64)
const versions = vector(u8, LIMITS.versionsMax)
const features = vector(u16, LIMITS.featuresMax)
const token = optional(opaque(LIMITS.tokenSizeMax))
const certificate = opaque(LIMITS.certificateSizeMax, 1)
const keyPackage = opaque(LIMITS.keyPackageSizeMax, 1)
/** MLSMessage(GroupInfo). */
const groupInfo = opaque(LIMITS.groupInfoSizeMax, 1)
const leafCodec = branded<LeafIndex, number>(u32)

/**
 * By which right a session asks for the group (JOIN-1). `member`: the session's own account and
 * device have a leaf. `newDevice`: its account has one, the device none.
 */
const groupPurposeCodec = variant('kind', {
  invitation: [1, struct({ id: hash32, signature: fixed(64) })],
  member: [2, struct({})],
  newDevice: [3, struct({})],
})
export type GroupPurpose = ReturnType<typeof groupPurposeCodec.decode>

export const CLOSE_REASONS = {
  goodbye: 0,
  silence: 1,
  drain: 2,
  protocolError: 3,
  replaced: 4,
  slow: 5,
  handshakeTimeout: 6,
  overloaded: 7,
} as const

export const TRANSPORTS = { webTransport: 1, webSocket: 2, exchange: 3, memory: 4 } as const

/** Session frames; their room is `NO_ROOM` (SES-*). */
const session = {
  /** Device's first frame (SES-1). */
  hello: [0x01, struct({ versions, appVersion: u32, features, deviceNonce: hash32 })],
  /** Hub's answer; `signature` over greeting and both nonces proves the hub's key (SES-2). */
  greeting: [
    0x02,
    struct({
      versions,
      version: u8,
      appVersion: u32,
      features,
      hubDomain: hubDomainCodec,
      hubKey: hash32,
      hubNonce: hash32,
      time: timeCodec,
      signature,
    }),
  ],
  /** Device's signature over the session challenge (SES-3). */
  authenticate: [
    0x03,
    struct({ account: accountNameCodec, device: deviceIdCodec, signature }),
  ],
  ready: [
    0x04,
    struct({
      session: fixed(16),
      heartbeatIntervalMs: u32,
      sessionSilenceMsMax: u32,
      time: timeCodec,
      keyPackagesLeft: u16,
    }),
  ],
  /** Both directions; the hub answers with the same number (SES-5). */
  heartbeat: [0x05, struct({ sequence: u32 })],
  goodbye: [0x06, struct({ reason: enumU8(CLOSE_REASONS) })],
  sessionClosing: [0x07, struct({ reason: enumU8(CLOSE_REASONS) })],
  redirect: [0x08, struct({ endpoint: utf8(LIMITS.endpointMax), reason: u8 })],
  /** Refusal of a request, or with request 0 of a frame that had none (WIRE-5). */
  refused: [0x09, struct({ request: requestIdCodec, opcode: u8, refusal: refusalCodec })],
  /** The request is durable (HUB-3); `position` where the room's log grew by it. */
  accepted: [0x0a, struct({ request: requestIdCodec, position: optional(positionCodec) })],

  register: [0x10, struct({ request: requestIdCodec, token, certificate })],
  /** The hub's attestation of name and root (ID-4). */
  registered: [
    0x11,
    struct({ request: requestIdCodec, attestation: opaque(LIMITS.certificateSizeMax) }),
  ],
  publishKeyPackages: [
    0x12,
    struct({
      request: requestIdCodec,
      keyPackages: vector(keyPackage, LIMITS.keyPackagesPerPublishMax),
      lastResort: optional(keyPackage),
    }),
  ],
  claimKeyPackages: [
    0x13,
    struct({ request: requestIdCodec, token, account: accountNameCodec, suite: u16 }),
  ],
  /** Same size for every account, known or not: `padding` fills to `claimAnswerSize` (DIR-4). */
  keyPackages: [
    0x14,
    struct({
      request: requestIdCodec,
      claimed: vector(
        struct({ device: deviceIdCodec, keyPackage, lastResort: bool, certificate }),
        LIMITS.devicesPerAccountMax,
      ),
      padding: opaque(LIMITS.claimAnswerSize),
    }),
  ],
  /** A Welcome that waits for this device, durable until `welcomeReceived` (ROOM-7). */
  welcome: [
    0x15,
    struct({
      id: u64,
      room: hash32,
      /** Position of the commit that added the device. */
      position: positionCodec,
      welcome: opaque(LIMITS.welcomeSizeMax),
    }),
  ],
  welcomeReceived: [0x16, struct({ id: u64 })],
} as const

/** Room frames; their room is in the header (ROOM-*). */
const room = {
  createRoom: [
    0x20,
    struct({
      request: requestIdCodec,
      genesis: opaque(LIMITS.genesisSizeMax, 1),
      suite: u16,
      /** Of epoch 0, with `ratchet_tree` and `external_pub` (ROOM-1). */
      groupInfo,
      certificate,
    }),
  ],
  submitCommit: [
    0x21,
    struct({
      request: requestIdCodec,
      /** Epoch in which the commit was made, and its epochId (ROOM-3). */
      epoch: epochCodec,
      epochId: epochIdCodec,
      seen: struct({ position: positionCodec, hash: hash32 }),
      commit: opaque(LIMITS.commitSizeMax, 1),
      /** Of the epoch that the commit makes (GROUP-2). */
      groupInfo,
      certificates: vector(certificate, LIMITS.certificatesPerCommitMax),
      welcome: opaque(LIMITS.welcomeSizeMax),
    }),
  ],
  submitFrame: [
    0x22,
    struct({
      request: requestIdCodec,
      /** Generation of the frame that goes before this one in its chain, if one does (SEQ-7). */
      after: optional(u32),
      frame: opaque(LIMITS.sealedFrameSizeMax, 1),
    }),
  ],
  /** Everything from `from` on, in order (ROOM-6). Frames below `holesBefore` come as holes. */
  subscribe: [
    0x24,
    struct({
      request: requestIdCodec,
      from: positionCodec,
      holesBefore: positionCodec,
      open: bool,
    }),
  ],
  /** `next` is the first position that was not yet taken when the subscription began. */
  subscribed: [
    0x25,
    struct({
      request: requestIdCodec,
      next: positionCodec,
      /** The newest epoch, final or provisional. */
      epoch: epochCodec,
      epochId: epochIdCodec,
      /** Absent: the device is no member, and follows the log to become one (JOIN-1). */
      leaf: optional(leafCodec),
      /** Last accepted generation by lane, of this leaf in this epoch; absent: none (KEY-5). */
      lastGenerations: vector(struct({ lane: u8, generation: u32 }), LIMITS.lanesMax),
    }),
  ],
  unsubscribe: [0x26, struct({ request: requestIdCodec })],
  entries: [
    0x27,
    struct({ first: positionCodec, entries: vector(logEntryCodec, LIMITS.entriesPerFrameMax) }),
  ],
  /** Signed head of the room (LOG-3). */
  head: [
    0x28,
    struct({
      term: u64,
      keyId: fixed(8),
      position: positionCodec,
      entryHash: hash32,
      time: timeCodec,
      directoryHead: hash32,
      signature,
    }),
  ],
  /** Everything up to `position` is durable on the device (HUB-6). */
  acknowledge: [0x29, struct({ position: positionCodec })],
  /** The hub dropped its queue for this room: subscribe again from what you have (HUB-5). */
  catchUp: [0x2a, struct({ position: positionCodec })],
  /** Typing and presence: a datagram where the transport has them (SES-8). */
  ephemeral: [0x2e, struct({ frame: opaque(LIMITS.ephemeralSizeMax, 1) })],
  /** An Update of a member, or a Remove of an external sender (GROUP-4). */
  submitProposal: [
    0x2f,
    struct({ request: requestIdCodec, proposal: opaque(LIMITS.proposalSizeMax, 1) }),
  ],
  submitVote: [
    0x30,
    struct({ request: requestIdCodec, vote: opaque(LIMITS.voteSizeMax, 1) }),
  ],
  /** Hub to device: vote on the commit at this position (VOTE-2). */
  askVote: [0x31, struct({ position: positionCodec })],
  /** The public group, for who has a right to it (JOIN-1). */
  requestGroup: [0x32, struct({ request: requestIdCodec, token, purpose: groupPurposeCodec })],
  /** A part of the answer, in order from sequence 0 (JOIN-2, `policy/group-request.ts`). */
  group: [
    0x33,
    struct({
      request: requestIdCodec,
      sequence: u32,
      last: bool,
      bytes: opaque(LIMITS.groupPartSizeMax, 1),
    }),
  ],
  /** Of the inviter's devices, for who joins while they are away (JOIN-3). */
  leaveAnchor: [
    0x34,
    struct({ request: requestIdCodec, anchor: opaque(LIMITS.anchorSizeMax, 1) }),
  ],
} as const

export const BODIES = { ...session, ...room } as const
export type BodyKind = keyof typeof BODIES
export type SessionKind = keyof typeof session

type BodyOf<K extends BodyKind> = (typeof BODIES)[K][1] extends Codec<infer T> ? T : never
/** The decoded body of a frame of kind `K`. */
export type Body<K extends BodyKind> = BodyOf<K>
/** A decoded frame: what was said, about which room. */
export type Message = { [K in BodyKind]: { kind: K; room: RoomId; body: Body<K> } }[BodyKind]

const kindByOpcode: ReadonlyMap<number, BodyKind> = new Map(
  (Object.keys(BODIES) as BodyKind[]).map((kind) => [BODIES[kind][0], kind]),
)

/** What an opcode is called; null for one that this version does not know. */
export function bodyKind(opcode: number): BodyKind | null {
  return kindByOpcode.get(opcode) ?? null
}

/** True for frames whose room must be `NO_ROOM`. */
export function isSessionKind(kind: BodyKind): kind is SessionKind {
  return kind in session
}

/** Encodes one message as a whole frame (WIRE-1, WIRE-4). */
export function encodeMessage<K extends BodyKind>(
  kind: K,
  room: RoomId,
  body: Body<K>,
): Uint8Array {
  const [opcode, codec] = BODIES[kind]
  return buildFrame(opcode, room, encode(codec as unknown as Codec<Body<K>>, body))
}

export type DecodedMessage =
  | { readonly kind: 'message'; readonly message: Message }
  | { readonly kind: 'refused'; readonly opcode: number; readonly refusal: Refusal }

/**
 * Decodes a frame of this version; any fault becomes the refusal that answers it (WIRE-3, WIRE-5).
 */
export function decodeMessage(frame: Frame): DecodedMessage {
  const refused = (refusal: Refusal): DecodedMessage => ({
    kind: 'refused',
    opcode: frame.opcode,
    refusal,
  })
  if (frame.version !== PROTOCOL_VERSION) {
    return refused({ kind: 'unknownVersion', version: frame.version })
  }
  const kind = bodyKind(frame.opcode)
  if (kind === null) return refused({ kind: 'unknownOpcode', opcode: frame.opcode })
  if (isSessionKind(kind) !== isZero(frame.room)) return refused({ kind: 'wrongRoom' })
  const decoded = decode(BODIES[kind][1] as Codec<unknown>, frame.body)
  if (decoded.kind === 'malformed') return refused({ kind: 'malformed' })
  return {
    kind: 'message',
    message: { kind, room: frame.room, body: decoded.value } as Message,
  }
}

function isZero(bytes: Uint8Array): boolean {
  return bytes.every((byte) => byte === 0)
}
