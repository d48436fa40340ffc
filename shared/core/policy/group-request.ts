/**
 * Who is given the public group, and how it is written (JOIN-1, JOIN-2): the proof of an invitation
 * key within one session, and the answer that a hub cuts into parts. Owns both encodings; whether
 * an account has a leaf is the hub's to look up.
 */
import type { AccountName, DeviceId, RoomId } from '#core/base/ids.ts'
import { LIMITS } from '#core/base/limits.ts'
import type { Crypto } from '#core/crypto/crypto.ts'
import { LABELS, signWithLabel, verifyWithLabel } from '#core/crypto/labels.ts'
import { accountNameCodec, deviceIdCodec, positionCodec } from '#core/wire/bodies.ts'
import { decode, encode, fixed, type Infer, opaque, optional } from '#core/wire/codec.ts'
import { struct, vector } from '#core/wire/codec.ts'
import { format, STRUCTURE_VERSION } from '#core/wire/structure.ts'

const requestContent = struct({
  format: format('group request'),
  /** `sessionHash` of hello and greeting. */
  session: fixed(32),
  room: fixed(32),
  invitation: fixed(32),
  account: accountNameCodec,
  device: deviceIdCodec,
})

export interface GroupRequest {
  readonly session: Uint8Array
  readonly room: RoomId
  /** Id of the invitation. */
  readonly invitation: Uint8Array
  readonly account: AccountName
  readonly device: DeviceId
}

function requestBytes(request: GroupRequest): Uint8Array {
  return encode(requestContent, { ...request, format: STRUCTURE_VERSION })
}

/** Proves the possession of a link in this session, 64 bytes (JOIN-1). */
export function signGroupRequest(
  crypto: Crypto,
  request: GroupRequest,
  invitationSecretKey: Uint8Array,
): Promise<Uint8Array> {
  return signWithLabel(crypto, {
    algorithm: 'ed25519',
    secretKey: invitationSecretKey,
    label: LABELS.groupRequest,
    content: requestBytes(request),
  })
}

/** Whether the invitation key signed for this very session, account and device (JOIN-1). */
export function verifyGroupRequest(
  crypto: Crypto,
  request: GroupRequest,
  proof: { readonly publicKey: Uint8Array; readonly signature: Uint8Array },
): Promise<boolean> {
  return verifyWithLabel(crypto, {
    algorithm: 'ed25519',
    ...proof,
    label: LABELS.groupRequest,
    content: requestBytes(request),
  })
}

const answerCodec = struct({
  format: format('group answer'),
  /** Present for an invitation: the state is that of its position (JOIN-3). */
  anchor: optional(opaque(LIMITS.anchorSizeMax, 1)),
  /** Of the genesis or commit that made the epoch; the log is replayed from behind it. */
  position: positionCodec,
  entryHash: fixed(32),
  /** MLSMessage(GroupInfo), as it was published in that entry. */
  groupInfo: opaque(LIMITS.groupInfoSizeMax, 1),
  /** Body of `ratchet_tree` (RFC 9420 section 12.4.3.3). */
  ratchetTree: opaque(LIMITS.groupAnswerSizeMax, 1),
  /** Of all leaves, each once. */
  certificates: vector(opaque(LIMITS.certificateSizeMax, 1), LIMITS.membersMax),
})
export type GroupAnswer = Omit<Infer<typeof answerCodec>, 'format'>

/** The answer to `requestGroup`, before it is cut into parts (JOIN-2). */
export function encodeGroupAnswer(answer: GroupAnswer): Uint8Array {
  return encode(answerCodec, { ...answer, format: STRUCTURE_VERSION })
}

/** Null for anything but a whole answer. */
export function decodeGroupAnswer(bytes: Uint8Array): GroupAnswer | null {
  const decoded = bytes.length > LIMITS.groupAnswerSizeMax ? null : decode(answerCodec, bytes)
  return decoded === null || decoded.kind === 'malformed' ? null : decoded.value
}
