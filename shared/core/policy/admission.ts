/**
 * The admission of a leaf that came by a link (JOIN-4): LeafNode extension 0xF011, signed by the
 * invitation key over everything that the leaf is. Owns its encoding, making and signature; whether
 * the invitation is good is `commit-rules.ts`.
 */
import type { AccountName, DeviceId, EpochId, RoomId } from '#core/base/ids.ts'
import type { Crypto } from '#core/crypto/crypto.ts'
import { LABELS, signWithLabel, verifyWithLabel } from '#core/crypto/labels.ts'
import { type Extension, findExtension } from '#core/mls/extension.ts'
import { ROOM_EXTENSION_TYPE } from '#core/policy/room-policy.ts'
import { accountNameCodec, deviceIdCodec, epochIdCodec } from '#core/wire/bodies.ts'
import { decode, encode, fixed, type Infer, opaque, struct } from '#core/wire/codec.ts'
import { format, STRUCTURE_VERSION } from '#core/wire/structure.ts'

const admissionCodec = struct({
  format: format('admission'),
  /** Id of the invitation. */
  invitation: fixed(32),
  /** Ed25519, by the invitation key. */
  signature: fixed(64),
})
export type Admission = Omit<Infer<typeof admissionCodec>, 'format'>

const admissionContent = struct({
  format: format('admission content'),
  room: fixed(32),
  epochIdBefore: epochIdCodec,
  invitation: fixed(32),
  account: accountNameCodec,
  device: deviceIdCodec,
  rootHash: fixed(32),
  signatureKey: opaque(133, 32),
  encryptionKey: opaque(2_048, 32),
  certificateHash: fixed(32),
})

/** What an admission names. `epochIdBefore` is of the epoch that the joiner commits in. */
export interface AdmissionContent {
  readonly room: RoomId
  readonly epochIdBefore: EpochId
  readonly invitation: Uint8Array
  readonly account: AccountName
  readonly device: DeviceId
  readonly rootHash: Uint8Array
  readonly signatureKey: Uint8Array
  readonly encryptionKey: Uint8Array
  readonly certificateHash: Uint8Array
}

function contentBytes(content: AdmissionContent): Uint8Array {
  return encode(admissionContent, { ...content, format: STRUCTURE_VERSION })
}

/** Makes the extension of a joiner's leaf, signed by the invitation key (JOIN-4). */
export async function makeAdmission(
  crypto: Crypto,
  content: AdmissionContent,
  invitationSecretKey: Uint8Array,
): Promise<Extension> {
  const signature = await signWithLabel(crypto, {
    algorithm: 'ed25519',
    secretKey: invitationSecretKey,
    label: LABELS.admission,
    content: contentBytes(content),
  })
  const { invitation } = content
  const body = encode(admissionCodec, { format: STRUCTURE_VERSION, invitation, signature })
  return { type: ROOM_EXTENSION_TYPE.admission, body }
}

/** Body of a leaf's admission; null where it has none. Kept byte for byte in later leaves. */
export function admissionBody(list: readonly Extension[]): Uint8Array | null {
  return findExtension(list, ROOM_EXTENSION_TYPE.admission)
}

/** Null for anything but an admission. */
export function decodeAdmission(body: Uint8Array): Admission | null {
  const decoded = decode(admissionCodec, body)
  if (decoded.kind === 'malformed') return null
  const { invitation, signature } = decoded.value
  return { invitation, signature }
}

/** Whether the invitation key `publicKey` let in exactly this leaf, in this epoch (JOIN-4). */
export function verifyAdmission(
  crypto: Crypto,
  content: AdmissionContent,
  by: { readonly publicKey: Uint8Array; readonly signature: Uint8Array },
): Promise<boolean> {
  const { signatureKey, encryptionKey } = content
  // Keys of lengths that no suite has would be a programmer's error in the codec.
  if (signatureKey.length < 32 || signatureKey.length > 133) return Promise.resolve(false)
  if (encryptionKey.length < 32 || encryptionKey.length > 2_048) return Promise.resolve(false)
  return verifyWithLabel(crypto, {
    algorithm: 'ed25519',
    ...by,
    label: LABELS.admission,
    content: contentBytes(content),
  })
}
