/**
 * Ephemeral frames (SES-8): typing, sealed under a key of the epoch and leaf, outside of the log
 * and its ratchets. Owns their wire form; who may send and how often is the hub's.
 */
import { assert } from '#core/base/assert.ts'
import { equalBytes, wipe } from '#core/base/bytes.ts'
import type { Epoch, EpochId, LeafIndex, RoomId, TimeMs } from '#core/base/ids.ts'
import { LIMITS } from '#core/base/limits.ts'
import type { Crypto } from '#core/crypto/crypto.ts'
import { expandWithLabel, LABELS, signWithLabel, verifyWithLabel } from '#core/crypto/labels.ts'
import type { Suite } from '#core/crypto/suites.ts'
import { decode, encode, fixed, type Infer, opaque, struct } from '#core/wire/codec.ts'
import { u16, u32, u64, u8 } from '#core/wire/codec.ts'
import { extensions, NO_EXTENSIONS } from '#core/wire/structure.ts'

/** What an ephemeral frame may say. */
export const EPHEMERAL_KINDS = { typing: 1 } as const

const EPHEMERAL_FORMAT = 1

const headerCodec = struct({
  format: u16,
  suite: u16,
  epoch: u64,
  epochId: opaque(48, 32),
  leaf: u32,
  nonce: opaque(24, 12),
  extensions,
})
const ephemeralCodec = struct({
  header: headerCodec,
  ciphertext: opaque(512),
  signature: opaque(128, 64),
})
export type EphemeralFrame = Infer<typeof ephemeralCodec>
const contentCodec = struct({ kind: u8, time: u64 })
const signedCodec = struct({ room: fixed(32), header: headerCodec, ciphertext: opaque(512) })
const aadCodec = struct({ room: fixed(32), header: headerCodec })

/** Null for what is no ephemeral frame. */
export function decodeEphemeral(bytes: Uint8Array): EphemeralFrame | null {
  if (bytes.length > LIMITS.ephemeralSizeMax) return null
  const decoded = decode(ephemeralCodec, bytes)
  if (decoded.kind === 'malformed') return null
  return decoded.value.header.format === EPHEMERAL_FORMAT ? decoded.value : null
}

function ephemeralKey(
  crypto: Crypto,
  suite: Suite,
  from: { readonly root: Uint8Array; readonly leaf: number },
): Uint8Array {
  return expandWithLabel(crypto, suite.hash, {
    secret: from.root,
    label: LABELS.ephemeralKey,
    context: encode(u32, from.leaf),
    length: suite.frameKeyLength,
  })
}

export interface EphemeralContext {
  readonly suite: Suite
  readonly room: RoomId
  readonly epoch: Epoch
  readonly epochId: EpochId
  readonly leaf: LeafIndex
  /** The epoch's ephemeral root (KEY-1). */
  readonly root: Uint8Array
}

export interface EphemeralItem {
  readonly time: TimeMs
  readonly nonce: Uint8Array
  readonly signatureSecret: Uint8Array
}

/** Seals "this member types now" (SES-8). */
export async function sealTypingFrame(
  crypto: Crypto,
  context: EphemeralContext,
  item: EphemeralItem,
): Promise<Uint8Array> {
  const { suite, room, epoch, epochId, leaf, root } = context
  assert(suite.frameAead !== null, 'a suite with a data plane')
  const header = {
    format: EPHEMERAL_FORMAT,
    suite: suite.id,
    epoch,
    epochId,
    leaf,
    nonce: item.nonce,
    extensions: NO_EXTENSIONS,
  }
  const key = ephemeralKey(crypto, suite, { root, leaf })
  const content = encode(contentCodec, { kind: EPHEMERAL_KINDS.typing, time: BigInt(item.time) })
  const keyed = { key, nonce: item.nonce, aad: encode(aadCodec, { room, header }) }
  const ciphertext = crypto.aeadSeal(suite.frameAead, keyed, content)
  wipe(key)
  const signature = await signWithLabel(crypto, {
    algorithm: suite.signature,
    secretKey: item.signatureSecret,
    label: LABELS.ephemeral,
    content: encode(signedCodec, { room, header, ciphertext }),
  })
  return encode(ephemeralCodec, { header, ciphertext, signature })
}

export interface EphemeralCheck {
  readonly frame: EphemeralFrame
  readonly suite: Suite
  readonly room: RoomId
  readonly epochId: EpochId
  readonly publicKey: Uint8Array
}

/** True when this leaf signed the frame for this room and epoch. */
export async function verifyEphemeral(crypto: Crypto, check: EphemeralCheck): Promise<boolean> {
  const { frame, suite, room, epochId, publicKey } = check
  const { header, ciphertext, signature } = frame
  if (header.suite !== suite.id || !equalBytes(header.epochId, epochId)) return false
  return await verifyWithLabel(crypto, {
    algorithm: suite.signature,
    publicKey,
    label: LABELS.ephemeral,
    content: encode(signedCodec, { room, header, ciphertext }),
    signature,
  })
}

/** Opens a verified frame: when its sender typed; null for anything else (SES-8). */
export function openTypingFrame(
  crypto: Crypto,
  context: Pick<EphemeralContext, 'suite' | 'room' | 'root'>,
  frame: EphemeralFrame,
): { readonly leaf: LeafIndex; readonly timeMs: number } | null {
  const { suite, room, root } = context
  const { header, ciphertext } = frame
  if (suite.frameAead === null || header.nonce.length !== suite.frameNonceLength) return null
  const key = ephemeralKey(crypto, suite, { root, leaf: header.leaf })
  const keyed = { key, nonce: header.nonce, aad: encode(aadCodec, { room, header }) }
  const content = crypto.aeadOpen(suite.frameAead, keyed, ciphertext)
  wipe(key)
  const decoded = content === null ? null : decode(contentCodec, content)
  if (decoded?.kind !== 'decoded' || decoded.value.kind !== EPHEMERAL_KINDS.typing) return null
  return { leaf: header.leaf as LeafIndex, timeMs: Number(decoded.value.time) }
}
