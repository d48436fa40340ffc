/**
 * Invitations by link (ROOM-8, ROOM-9). Owns the key that a link's secret gives, the entry that
 * lists it in a room, the request to join that it signs, and the link's fragment. The hub sees the
 * public key and the requests; it never sees the secret.
 */
import { fromBase64Url, toBase64Url, wipe } from '#core/base/bytes.ts'
import type { EpochId } from '#core/base/ids.ts'
import type { LeafIndex, RoomId, TimeMs } from '#core/base/ids.ts'
import { LIMITS } from '#core/base/limits.ts'
import type { Crypto, KeyPair, SignatureName } from '#core/crypto/crypto.ts'
import { expandWithLabel, LABELS, signWithLabel, verifyWithLabel } from '#core/crypto/labels.ts'
import { accountNameCodec, deviceIdCodec, epochIdCodec } from '#core/wire/bodies.ts'
import { hubDomainCodec, timeCodec } from '#core/wire/bodies.ts'
import { decode, encode, fixed, type Infer, opaque, struct } from '#core/wire/codec.ts'
import { u16, u32, utf8 } from '#core/wire/codec.ts'
import { extensions, format, NO_EXTENSIONS, STRUCTURE_VERSION } from '#core/wire/structure.ts'

export const INVITATION_SECRET_LENGTH = 16

/** The Ed25519 key pair that a link's 16-byte secret gives in this room (ROOM-8). */
export function invitationKeyPair(crypto: Crypto, secret: Uint8Array, room: RoomId): KeyPair {
  const extracted = crypto.hkdfExtract('sha256', new Uint8Array(32), secret)
  const seed = expandWithLabel(crypto, 'sha256', {
    secret: extracted,
    label: LABELS.invitationKey,
    context: room,
    length: 32,
  })
  const pair = crypto.signatureKeyPair('ed25519', seed)
  wipe(extracted)
  return pair
}

/** SHA-256 of the public key, 32 bytes (ROOM-8). */
export function invitationId(crypto: Crypto, publicKey: Uint8Array): Uint8Array {
  return crypto.hash('sha256', publicKey)
}

const invitationContent = struct({
  format: format('invitation'),
  room: fixed(32),
  epochId: epochIdCodec,
  leaf: u32,
  publicKey: fixed(32),
  expiresAt: timeCodec,
  usesMax: u32,
  extensions,
})
const invitationCodec = struct({ content: invitationContent, signature: opaque(128, 64) })
export type Invitation = Infer<typeof invitationContent>

export interface InvitationRequest {
  readonly room: RoomId
  readonly epochId: EpochId
  readonly leaf: LeafIndex
  readonly publicKey: Uint8Array
  readonly expiresAt: TimeMs
  readonly usesMax: number
}

/** Lists an invitation key in a room, signed by the inviter's leaf (ROOM-8). */
export async function makeInvitation(
  crypto: Crypto,
  request: InvitationRequest,
  signer: { readonly algorithm: SignatureName; readonly secretKey: Uint8Array },
): Promise<Uint8Array> {
  const content: Invitation = { ...request, format: STRUCTURE_VERSION, extensions: NO_EXTENSIONS }
  const signature = await signWithLabel(crypto, {
    ...signer,
    label: LABELS.invitation,
    content: encode(invitationContent, content),
  })
  return encode(invitationCodec, { content, signature })
}

/** Reads an invitation without judging its signature; null when it is malformed. */
export function readInvitation(bytes: Uint8Array): Invitation | null {
  const decoded = decode(invitationCodec, bytes)
  return decoded.kind === 'malformed' ? null : decoded.value.content
}

/** True when the invitation is signed by this leaf key (ROOM-8). */
export function verifyInvitation(
  crypto: Crypto,
  bytes: Uint8Array,
  signer: { readonly algorithm: SignatureName; readonly publicKey: Uint8Array },
): Promise<boolean> {
  const decoded = decode(invitationCodec, bytes)
  if (decoded.kind === 'malformed') return Promise.resolve(false)
  return verifyWithLabel(crypto, {
    ...signer,
    label: LABELS.invitation,
    content: encode(invitationContent, decoded.value.content),
    signature: decoded.value.signature,
  })
}

const joinContent = struct({
  format: format('join request'),
  room: fixed(32),
  invitation: fixed(32),
  account: accountNameCodec,
  device: deviceIdCodec,
  suite: u16,
  keyPackage: opaque(LIMITS.keyPackageSizeMax, 1),
  certificate: opaque(LIMITS.certificateSizeMax, 1),
  time: timeCodec,
  extensions,
})
const joinCodec = struct({ content: joinContent, signature: fixed(64) })
export type JoinRequest = Infer<typeof joinContent>

/** Signs a request to join with the invitation key (ROOM-9). */
export async function makeJoinRequest(
  crypto: Crypto,
  request: Omit<JoinRequest, 'format' | 'extensions'>,
  invitationSecretKey: Uint8Array,
): Promise<Uint8Array> {
  const content: JoinRequest = { ...request, format: STRUCTURE_VERSION, extensions: NO_EXTENSIONS }
  const signature = await signWithLabel(crypto, {
    algorithm: 'ed25519',
    secretKey: invitationSecretKey,
    label: LABELS.joinRequest,
    content: encode(joinContent, content),
  })
  return encode(joinCodec, { content, signature })
}

/** Reads a request without judging its signature; null when it is malformed. */
export function readJoinRequest(bytes: Uint8Array): JoinRequest | null {
  const decoded = decode(joinCodec, bytes)
  return decoded.kind === 'malformed' ? null : decoded.value.content
}

/** True when the request is signed by the invitation key `publicKey` (ROOM-9). */
export function verifyJoinRequest(
  crypto: Crypto,
  bytes: Uint8Array,
  publicKey: Uint8Array,
): Promise<boolean> {
  const decoded = decode(joinCodec, bytes)
  if (decoded.kind === 'malformed') return Promise.resolve(false)
  return verifyWithLabel(crypto, {
    algorithm: 'ed25519',
    publicKey,
    label: LABELS.joinRequest,
    content: encode(joinContent, decoded.value.content),
    signature: decoded.value.signature,
  })
}

/** Id of a request: SHA-256 of its bytes, 32 bytes (ROOM-9). */
export function joinRequestId(crypto: Crypto, bytes: Uint8Array): Uint8Array {
  return crypto.hash('sha256', bytes)
}

const linkCodec = struct({
  format: format('invite link'),
  room: fixed(32),
  secret: fixed(INVITATION_SECRET_LENGTH),
  inviterRootHash: fixed(32),
  hubDomain: hubDomainCodec,
  /** Shown before joining; proven only by what follows. */
  inviter: accountNameCodec,
  title: utf8(LIMITS.titleMax * 4),
  suite: u16,
  extensions,
})
export type InviteLink = Omit<Infer<typeof linkCodec>, 'format' | 'extensions'>

/** The fragment of a link, base64url. It holds a secret and must never reach a server (ROOM-8). */
export function encodeInviteLink(link: InviteLink): string {
  return toBase64Url(
    encode(linkCodec, { ...link, format: STRUCTURE_VERSION, extensions: NO_EXTENSIONS }),
  )
}

/** Null for anything but a whole fragment (ROOM-8). */
export function decodeInviteLink(fragment: string): InviteLink | null {
  if (fragment.length > LIMITS.inviteLinkMax) return null
  const bytes = fromBase64Url(fragment)
  if (bytes === null) return null
  const decoded = decode(linkCodec, bytes)
  if (decoded.kind === 'malformed') return null
  const { format: _format, extensions: _extensions, ...link } = decoded.value
  return link
}
