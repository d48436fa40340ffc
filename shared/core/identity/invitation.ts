/**
 * Invitations by link (ROOM-8). Owns the key that a link's secret gives, its id, and the link's
 * fragment; what lists a key in a room is `policy/room-policy.ts`, what it signs is
 * `policy/admission.ts` and `policy/group-request.ts`. The hub never sees the secret.
 */
import { fromBase64Url, toBase64Url, wipe } from '#core/base/bytes.ts'
import type { RoomId } from '#core/base/ids.ts'
import { LIMITS } from '#core/base/limits.ts'
import type { Crypto, KeyPair } from '#core/crypto/crypto.ts'
import { expandWithLabel, LABELS } from '#core/crypto/labels.ts'
import { accountNameCodec, hubDomainCodec } from '#core/wire/bodies.ts'
import { decode, encode, fixed, type Infer, struct, u16, utf8 } from '#core/wire/codec.ts'
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
  wipe(extracted, seed)
  return pair
}

/** SHA-256 of the public key, 32 bytes (ROOM-8). */
export function invitationId(crypto: Crypto, publicKey: Uint8Array): Uint8Array {
  return crypto.hash('sha256', publicKey)
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
