/**
 * The wire form of a sealed frame and what its sender signs (SEAL-1, SEAL-2, SEAL-6). Owns layout
 * and signature check, for hub and members alike; owns no keys and no plaintext.
 */
import type { RoomId } from '#core/base/ids.ts'
import { LIMITS } from '#core/base/limits.ts'
import type { Crypto } from '#core/crypto/crypto.ts'
import { LABELS, verifyWithLabel } from '#core/crypto/labels.ts'
import { type Suite, suiteById } from '#core/crypto/suites.ts'
import type { BurstCache, BurstOrigin } from '#core/sender-keys/burst-cache.ts'
import { type Inclusion, leafHash, merkleRoot } from '#core/sender-keys/merkle.ts'
import { decode, encode, fixed, type Infer, opaque, struct } from '#core/wire/codec.ts'
import { u16, u32, u64, u8, variant, vector } from '#core/wire/codec.ts'
import { PROTOCOL_VERSION } from '#core/wire/frame.ts'
import { seenCodec } from '#core/wire/log-entry.ts'
import { extensions } from '#core/wire/structure.ts'

export const SEAL_FORMAT = 1
/** Content types of sealed frames: the signed header names one. */
export const CONTENT_TYPES = { mimiContent: 1 } as const
/** Classes order queues between rooms and pushes, never positions in a room. */
export const FRAME_CLASSES = { ephemeral: 0, bulk: 1, normal: 2, urgent: 3 } as const

/** Everything in front of commitment and ciphertext; the AAD of the seal. */
export const sealHeaderCodec = struct({
  format: u16,
  suite: u16,
  epoch: u64,
  epochId: opaque(48, 32),
  leaf: u32,
  generation: u32,
  /** Bits 7–6 class, 5–3 expiry bucket, 2–1 lane, 0 zero. */
  flags: u8,
  contentType: u8,
  nonce: opaque(24, 12),
  /** Last entry that the sender had seen (LOG-5). */
  seen: seenCodec,
  extensions,
})
export type SealHeader = Infer<typeof sealHeaderCodec>

const signature = opaque(128, 64)
const PATH_MAX = 8

const sealedFrameCodec = struct({
  header: sealHeaderCodec,
  commitment: fixed(32),
  ciphertext: opaque(LIMITS.sealedFrameSizeMax),
  authenticator: variant('kind', {
    single: [0, struct({ signature })],
    burst: [
      1,
      struct({ count: u16, index: u16, path: vector(fixed(32), PATH_MAX), signature }),
    ],
  }),
})
export type SealedFrame = Infer<typeof sealedFrameCodec>

/** Lane of a header's flags (KEY-6). */
export function laneOf(header: SealHeader): number {
  return (header.flags >>> 1) & 3
}

/** Packs class, expiry bucket (0–7) and lane (0–3) into the byte of flags. */
export function packFlags(
  parts: { readonly frameClass: number; readonly expiry: number; readonly lane: number },
): number {
  return (parts.frameClass << 6) | (parts.expiry << 3) | (parts.lane << 1)
}

export function encodeSealedFrame(frame: SealedFrame): Uint8Array {
  return encode(sealedFrameCodec, frame)
}

/** Null for what is no sealed frame of this format: malformed, or a bit that must be zero. */
export function decodeSealedFrame(bytes: Uint8Array): SealedFrame | null {
  if (bytes.length > LIMITS.sealedFrameSizeMax) return null
  const decoded = decode(sealedFrameCodec, bytes)
  if (decoded.kind === 'malformed') return null
  const { header } = decoded.value
  return header.format === SEAL_FORMAT && (header.flags & 1) === 0 ? decoded.value : null
}

const signedCodec = struct({
  version: u8,
  room: fixed(32),
  header: sealHeaderCodec,
  commitment: fixed(32),
  ciphertextHash: fixed(32),
})
/** `signed` is shorter than the frame, whose header it repeats and whose text it hashes. */
const burstLeafCodec = struct({ index: u16, signed: opaque(LIMITS.sealedFrameSizeMax) })
const burstCodec = struct({
  room: fixed(32),
  epochId: opaque(48, 32),
  leaf: u32,
  count: u16,
  root: fixed(32),
})

/** What the leaf signs of one frame (SEAL-2). */
export function signedContent(
  crypto: Crypto,
  room: RoomId,
  frame: Pick<SealedFrame, 'header' | 'commitment' | 'ciphertext'>,
): Uint8Array {
  return encode(signedCodec, {
    version: PROTOCOL_VERSION,
    room,
    header: frame.header,
    commitment: frame.commitment,
    ciphertextHash: crypto.hash('sha256', frame.ciphertext),
  })
}

/** Leaf of a frame in the tree of its burst; the index is inside (SEAL-6). */
export function burstLeaf(crypto: Crypto, index: number, signed: Uint8Array): Uint8Array {
  return leafHash(crypto, encode(burstLeafCodec, { index, signed }))
}

/** What the leaf signs of a whole burst (SEAL-6). */
export function burstContent(
  room: RoomId,
  header: SealHeader,
  burst: { readonly count: number; readonly root: Uint8Array },
): Uint8Array {
  const { epochId, leaf } = header
  return encode(burstCodec, { room, epochId, leaf, ...burst })
}

/** True when a header has the lengths of its suite, and the suite has a data plane. */
function fitsSuite({ nonce, epochId }: SealHeader, suite: Suite): boolean {
  return suite.frameAead !== null && nonce.length === suite.frameNonceLength &&
    epochId.length === suite.hashLength
}

export interface FrameCheck {
  readonly frame: SealedFrame
  readonly room: RoomId
  /** Signature key of the leaf that the header names. */
  readonly publicKey: Uint8Array
  readonly bursts?: BurstCache
}

/** True when the leaf signed this frame for this room (SEAL-2, SEAL-6). */
export function verifySealedFrame(crypto: Crypto, check: FrameCheck): Promise<boolean> {
  const suite = suiteById(check.frame.header.suite)
  if (suite === null || !fitsSuite(check.frame.header, suite)) return Promise.resolve(false)
  const content = signedContent(crypto, check.room, check.frame)
  const { authenticator } = check.frame
  if (authenticator.kind === 'single') {
    return verifyWithLabel(crypto, {
      algorithm: suite.signature,
      publicKey: check.publicKey,
      label: LABELS.frame,
      content,
      signature: authenticator.signature,
    })
  }
  return verifyBurst(crypto, { ...check, suite, authenticator, content })
}

/**
 * True when `verifySealedFrame` would be, and that is known without a signature check: the frame
 * belongs to a burst that was found good. False says nothing.
 */
export function isOfKnownBurst(crypto: Crypto, check: FrameCheck): boolean {
  const { frame, room, bursts } = check
  const suite = suiteById(frame.header.suite)
  const { authenticator } = frame
  if (bursts === undefined || authenticator.kind === 'single') return false
  if (suite === null || !fitsSuite(frame.header, suite)) return false
  const origin = originOf(check, authenticator)
  if (!bursts.knows(origin)) return false
  const content = signedContent(crypto, room, frame)
  return bursts.includes(crypto, origin, inclusionOf(crypto, authenticator, content))
}

type BurstAuthenticator = Extract<SealedFrame['authenticator'], { readonly kind: 'burst' }>

async function verifyBurst(
  crypto: Crypto,
  check: FrameCheck & {
    readonly suite: Suite
    readonly authenticator: BurstAuthenticator
    readonly content: Uint8Array
  },
): Promise<boolean> {
  const { frame, room, publicKey, bursts, suite, authenticator, content } = check
  const { count, signature } = authenticator
  if (count > LIMITS.burstFramesMax) return false
  const origin = originOf(check, authenticator)
  const inclusion = inclusionOf(crypto, authenticator, content)
  if (bursts?.includes(crypto, origin, inclusion) === true) return true
  const root = merkleRoot(crypto, inclusion)
  if (root === null) return false
  const good = await verifyWithLabel(crypto, {
    algorithm: suite.signature,
    publicKey,
    label: LABELS.frameBurst,
    content: burstContent(room, frame.header, { count, root }),
    signature,
  })
  if (good) bursts?.add(crypto, origin, inclusion)
  return good
}

function originOf(
  { frame, room, publicKey }: FrameCheck,
  { signature, count }: BurstAuthenticator,
): BurstOrigin {
  const { suite, epochId, leaf } = frame.header
  return { signature, publicKey, suite, room, epochId, leaf, count }
}

function inclusionOf(
  crypto: Crypto,
  { count, index, path }: BurstAuthenticator,
  content: Uint8Array,
): Inclusion {
  return { leaf: burstLeaf(crypto, index, content), index, count, path }
}
