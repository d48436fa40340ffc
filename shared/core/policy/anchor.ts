/**
 * Anchors (JOIN-3): a device of the inviter says which final epoch the room had, so that who joins
 * by a link while nobody is there need not believe the hub. Owns encoding, signature and check;
 * when one is left is the device's, how long it is kept the hub's.
 */
import { equalBytes } from '#core/base/bytes.ts'
import type { RoomId } from '#core/base/ids.ts'
import { LIMITS } from '#core/base/limits.ts'
import type { Crypto, SignatureName } from '#core/crypto/crypto.ts'
import { LABELS, signWithLabel, verifyWithLabel } from '#core/crypto/labels.ts'
import { suiteById } from '#core/crypto/suites.ts'
import { deviceKeyOf, verifyCertificate } from '#core/identity/certificate.ts'
import { epochIdOf } from '#core/mls/group-context.ts'
import type { PublicGroup } from '#core/mls/public-group.ts'
import { leafAt } from '#core/mls/ratchet-tree.ts'
import { leafOfDevice, rosterOf } from '#core/policy/roster.ts'
import { deviceIdCodec, epochIdCodec, positionCodec, timeCodec } from '#core/wire/bodies.ts'
import { decode, encode, fixed, type Infer, opaque, struct } from '#core/wire/codec.ts'
import { extensions, format, NO_EXTENSIONS, STRUCTURE_VERSION } from '#core/wire/structure.ts'

const anchorContent = struct({
  format: format('anchor'),
  room: fixed(32),
  /** Of a final epoch. */
  epochId: epochIdCodec,
  /** Of the genesis or commit that made it, and the hash of that entry. */
  position: positionCodec,
  entryHash: fixed(32),
  invitation: fixed(32),
  device: deviceIdCodec,
  time: timeCodec,
  extensions,
})
const anchorCodec = struct({
  content: anchorContent,
  /** By the device's key in the signature algorithm of the room's suite. */
  signature: opaque(128, 8),
  certificate: opaque(LIMITS.certificateSizeMax, 1),
})
export type Anchor = Omit<Infer<typeof anchorContent>, 'format' | 'extensions'>

export interface AnchorSigner {
  readonly algorithm: SignatureName
  readonly secretKey: Uint8Array
  /** The one that the device's leaf names. */
  readonly certificate: Uint8Array
}

/** Signs an anchor with the device's key (JOIN-3). */
export async function makeAnchor(
  crypto: Crypto,
  anchor: Anchor,
  signer: AnchorSigner,
): Promise<Uint8Array> {
  const content = { ...anchor, format: STRUCTURE_VERSION, extensions: NO_EXTENSIONS } as const
  const { algorithm, secretKey, certificate } = signer
  const signature = await signWithLabel(crypto, {
    algorithm,
    secretKey,
    label: LABELS.anchor,
    content: encode(anchorContent, content),
  })
  return encode(anchorCodec, { content, signature, certificate })
}

/** Reads an anchor without judging it; null when it is malformed. */
export function readAnchor(bytes: Uint8Array): Anchor | null {
  if (bytes.length > LIMITS.anchorSizeMax) return null
  const decoded = decode(anchorCodec, bytes)
  return decoded.kind === 'malformed' ? null : decoded.value.content
}

export interface AnchorExpectation {
  readonly room: RoomId
  readonly invitation: Uint8Array
  /** Of the link, or of the policy's invitation. */
  readonly inviterRootHash: Uint8Array
  /** The group in the epoch that the anchor names. */
  readonly group: PublicGroup
}

/**
 * The anchor, if a device of this root signed it for this room, invitation and epoch, and has a
 * leaf with that key in the epoch's tree; else null (JOIN-3). *A hub invents a room around the
 * public invitation key; a device that was removed vouches for what came after.*
 */
export async function verifyAnchor(
  crypto: Crypto,
  bytes: Uint8Array,
  expected: AnchorExpectation,
): Promise<Anchor | null> {
  if (bytes.length > LIMITS.anchorSizeMax) return null
  const decoded = decode(anchorCodec, bytes)
  if (decoded.kind === 'malformed') return null
  const { content, signature, certificate } = decoded.value
  const { room, invitation, inviterRootHash, group } = expected
  const named = equalBytes(content.room, room) && equalBytes(content.invitation, invitation) &&
    equalBytes(content.epochId, epochIdOf(group.suite, group.context))
  const suite = suiteById(group.suite.id)
  if (!named || suite === null) return null
  const verified = await verifyCertificate(crypto, certificate, { hubKey: null })
  if (verified.kind === 'refused' || !equalBytes(verified.rootHash, inviterRootHash)) return null
  const publicKey = deviceKeyOf(verified, content.device, suite.signature)
  const member = leafOfDevice(rosterOf(group.tree), verified.account, content.device)
  const leafNode = member === null ? null : leafAt(group.tree, member.leaf)
  if (publicKey === null || leafNode === null) return null
  if (!equalBytes(leafNode.signatureKey, publicKey)) return null
  const signed = await verifyWithLabel(crypto, {
    algorithm: suite.signature,
    publicKey,
    label: LABELS.anchor,
    content: encode(anchorContent, content),
    signature,
  })
  return signed ? content : null
}
