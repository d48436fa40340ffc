/**
 * The genesis of a room (ROOM-1, ROOM-2): the signed statement whose hash is the room's id. Owns
 * its encoding, signature and the MLS group id that follows from it.
 */
import type { AccountName, DeviceId, HubDomain, RoomId } from '#core/base/ids.ts'
import { ROOM_ID_LENGTH } from '#core/base/ids.ts'
import { equalBytes } from '#core/base/bytes.ts'
import type { Crypto } from '#core/crypto/crypto.ts'
import { LABELS, signWithLabel, verifyWithLabel } from '#core/crypto/labels.ts'
import { deviceKeyOf, type VerifiedCertificate } from '#core/identity/certificate.ts'
import { accountNameCodec, deviceIdCodec, hubDomainCodec } from '#core/wire/bodies.ts'
import { decode, encode, fixed, type Infer, struct, u16, u32 } from '#core/wire/codec.ts'
import { extensions, format, NO_EXTENSIONS, STRUCTURE_VERSION } from '#core/wire/structure.ts'

const genesisContent = struct({
  format: format('genesis'),
  creator: accountNameCodec,
  creatorRootHash: fixed(32),
  creatorDevice: deviceIdCodec,
  /** Domain of the hub where the room was created; never where it lives now. */
  domain: hubDomainCodec,
  suite: u16,
  random: fixed(32),
  extensions,
})
const genesisCodec = struct({ content: genesisContent, signature: fixed(64) })
export type Genesis = Infer<typeof genesisContent>

export interface GenesisRequest {
  readonly creator: AccountName
  readonly creatorRootHash: Uint8Array
  readonly creatorDevice: DeviceId
  readonly domain: HubDomain
  readonly suite: number
  /** 32 fresh random bytes. */
  readonly random: Uint8Array
}

/**
 * Signs a genesis with the creator's Ed25519 device key; the result's hash is the room (ROOM-1).
 */
export async function makeGenesis(
  crypto: Crypto,
  request: GenesisRequest,
  deviceSecret: Uint8Array,
): Promise<{ readonly genesis: Uint8Array; readonly room: RoomId }> {
  const content: Genesis = { ...request, format: STRUCTURE_VERSION, extensions: NO_EXTENSIONS }
  const signature = await signWithLabel(crypto, {
    algorithm: 'ed25519',
    secretKey: deviceSecret,
    label: LABELS.genesis,
    content: encode(genesisContent, content),
  })
  const genesis = encode(genesisCodec, { content, signature })
  return { genesis, room: roomIdOf(crypto, genesis) }
}

/** SHA-256 of the signed genesis, 32 bytes (ROOM-1). */
export function roomIdOf(crypto: Crypto, genesis: Uint8Array): RoomId {
  return crypto.hash('sha256', genesis) as RoomId
}

/**
 * The genesis if its creator's certificate bears out creator, root, device and signature; else
 * null.
 */
export async function verifyGenesis(
  crypto: Crypto,
  genesis: Uint8Array,
  certificate: VerifiedCertificate,
): Promise<Genesis | null> {
  const decoded = decode(genesisCodec, genesis)
  if (decoded.kind === 'malformed') return null
  const { content, signature } = decoded.value
  const publicKey = deviceKeyOf(certificate, content.creatorDevice, 'ed25519')
  if (publicKey === null || content.creator !== certificate.account) return null
  if (!equalBytes(content.creatorRootHash, certificate.rootHash)) return null
  const signed = await verifyWithLabel(crypto, {
    algorithm: 'ed25519',
    publicKey,
    label: LABELS.genesis,
    content: encode(genesisContent, content),
    signature,
  })
  return signed ? content : null
}

const groupIdCodec = struct({ room: fixed(ROOM_ID_LENGTH), incarnation: u32 })

/** MLS group_id: room and incarnation, 36 bytes (ROOM-2). */
export function groupIdOf(room: RoomId, incarnation = 0): Uint8Array {
  return encode(groupIdCodec, { room, incarnation })
}

/** The room of a group_id; null when it is none of ours (ROOM-2). */
export function roomOfGroupId(groupId: Uint8Array): RoomId | null {
  const decoded = decode(groupIdCodec, groupId)
  return decoded.kind === 'malformed' ? null : decoded.value.room as RoomId
}
