/**
 * Sealing and opening of room messages (SEAL-3 to SEAL-7). Owns keys from a message secret,
 * padding, commitment, signature and their order; takes message secrets, nonces and signing keys as
 * arguments.
 */
import { assert } from '#core/base/assert.ts'
import { equalBytes, wipe } from '#core/base/bytes.ts'
import type { Epoch, EpochId, LeafIndex, RoomId } from '#core/base/ids.ts'
import { LIMITS } from '#core/base/limits.ts'
import type { AeadName, Crypto } from '#core/crypto/crypto.ts'
import { expandWithLabel, LABELS, signWithLabel } from '#core/crypto/labels.ts'
import type { Suite } from '#core/crypto/suites.ts'
import { merkleTree } from '#core/sender-keys/merkle.ts'
import { pad, unpad } from '#core/sender-keys/padding.ts'
import type { BurstCache } from '#core/sender-keys/burst-cache.ts'
import { burstContent, burstLeaf } from '#core/sender-keys/sealed-frame.ts'
import { CONTENT_TYPES, decodeSealedFrame, FRAME_CLASSES, laneOf } from './sealed-frame.ts'
import { encodeSealedFrame, packFlags, SEAL_FORMAT, type SealedFrame } from './sealed-frame.ts'
import { type SealHeader, sealHeaderCodec, signedContent } from './sealed-frame.ts'
import { verifySealedFrame } from './sealed-frame.ts'
import { type SenderKeys, take, type Transition } from '#core/sender-keys/secret-tree.ts'
import { encode, fixed, struct } from '#core/wire/codec.ts'
import { NO_EXTENSIONS } from '#core/wire/structure.ts'

const COMMITMENT_LENGTH = 32
const aadCodec = struct({ room: fixed(32), header: sealHeaderCodec })

/** Where and by whom a frame is sealed. */
export interface SealContext {
  readonly suite: Suite
  readonly room: RoomId
  readonly epoch: Epoch
  readonly epochId: EpochId
  readonly leaf: LeafIndex
  readonly lane: number
  readonly seen: { readonly position: bigint; readonly hash: Uint8Array }
  /** Signature key of the leaf. */
  readonly signatureSecret: Uint8Array
}

export interface SealItem {
  readonly generation: number
  /** Of this generation; the caller wipes it afterwards. */
  readonly messageSecret: Uint8Array
  /** Fresh random bytes of `suite.frameNonceLength` (SEAL-3). */
  readonly nonce: Uint8Array
  readonly plaintext: Uint8Array
}

/** Seals one plaintext, signed by itself. */
export async function seal(
  crypto: Crypto,
  context: SealContext,
  item: SealItem,
): Promise<Uint8Array> {
  const unsigned = encrypt(crypto, context, item)
  const signature = await signWithLabel(crypto, {
    algorithm: context.suite.signature,
    secretKey: context.signatureSecret,
    label: LABELS.frame,
    content: signedContent(crypto, context.room, unsigned),
  })
  return encodeSealedFrame({ ...unsigned, authenticator: { kind: 'single', signature } })
}

/** Seals up to 256 plaintexts under one signature; each can be checked alone (SEAL-6). */
export async function sealBurst(
  crypto: Crypto,
  context: SealContext,
  items: readonly SealItem[],
): Promise<readonly Uint8Array[]> {
  const count = items.length
  assert(count > 0 && count <= LIMITS.burstFramesMax, 'a burst has 1 to 256 frames')
  const frames = items.map((item) => encrypt(crypto, context, item))
  const leaves = frames.map((frame, index) =>
    burstLeaf(crypto, index, signedContent(crypto, context.room, frame))
  )
  const { root, paths } = merkleTree(crypto, leaves)
  const { header } = frames[0] as (typeof frames)[number]
  const signature = await signWithLabel(crypto, {
    algorithm: context.suite.signature,
    secretKey: context.signatureSecret,
    label: LABELS.frameBurst,
    content: burstContent(context.room, header, { count, root }),
  })
  return frames.map((frame, index) =>
    encodeSealedFrame({
      ...frame,
      authenticator: { kind: 'burst', count, index, path: paths[index] ?? [], signature },
    })
  )
}

function frameAead(suite: Suite): AeadName {
  assert(suite.frameAead !== null, 'a suite with a data plane')
  return suite.frameAead
}

interface MessageKeys {
  readonly key: Uint8Array
  readonly commitment: Uint8Array
}

/** AEAD key and commitment of a message secret (SEAL-4). */
function messageKeys(crypto: Crypto, suite: Suite, secret: Uint8Array): MessageKeys {
  const context = new Uint8Array(0)
  return {
    key: expandWithLabel(crypto, suite.hash, {
      secret,
      label: LABELS.messageKey,
      context,
      length: suite.frameKeyLength,
    }),
    commitment: expandWithLabel(crypto, suite.hash, {
      secret,
      label: LABELS.messageCommitment,
      context,
      length: COMMITMENT_LENGTH,
    }),
  }
}

function encrypt(
  crypto: Crypto,
  context: SealContext,
  item: SealItem,
): Omit<SealedFrame, 'authenticator'> {
  const { suite, room, epoch, epochId, leaf, lane, seen } = context
  assert(item.nonce.length === suite.frameNonceLength, 'a nonce has its length')
  const header: SealHeader = {
    format: SEAL_FORMAT,
    suite: suite.id,
    epoch,
    epochId,
    leaf,
    generation: item.generation,
    flags: packFlags({ frameClass: FRAME_CLASSES.normal, expiry: 0, lane }),
    contentType: CONTENT_TYPES.mimiContent,
    nonce: item.nonce,
    seen,
    extensions: NO_EXTENSIONS,
  }
  const { key, commitment } = messageKeys(crypto, suite, item.messageSecret)
  const padded = pad(item.plaintext)
  const aad = encode(aadCodec, { room, header })
  const ciphertext = crypto.aeadSeal(frameAead(suite), { key, nonce: item.nonce, aad }, padded)
  wipe(key, padded)
  return { header, commitment, ciphertext }
}

// ---- Opening ------------------------------------------------------------------------------

export interface OpenContext {
  readonly suite: Suite
  readonly room: RoomId
  readonly epochId: EpochId
  /** Signature key of a leaf; null for a blank one. */
  readonly signatureKeyOf: (leaf: LeafIndex) => Uint8Array | null
  readonly bursts?: BurstCache
}

export type OpenRefusal =
  | 'malformed'
  | 'wrongSuite'
  | 'wrongEpochId'
  | 'unknownLeaf'
  | 'wrongSignature'
  | 'replayed'
  | 'generationTooFar'
  | 'wrongCommitment'
  | 'notOpened'

export type Opened =
  | Transition & {
    readonly kind: 'opened'
    readonly leaf: LeafIndex
    readonly generation: number
    readonly contentType: number
    readonly plaintext: Uint8Array
    /** Reveals this one message; kept with the plaintext or wiped (KEY-8). */
    readonly messageSecret: Uint8Array
    /** Last entry that the sender had seen, as it signed it (LOG-5). */
    readonly seen: SealHeader['seen']
  }
  | { readonly kind: 'refused'; readonly code: OpenRefusal }

/**
 * Opens a sealed frame: signature first, then the key of its generation, then the commitment, then
 * the text (SEAL-7). A refusal leaves the keys as they were.
 */
export async function open(
  crypto: Crypto,
  keys: SenderKeys,
  context: OpenContext,
  bytes: Uint8Array,
): Promise<Opened> {
  const refused = (code: OpenRefusal): Opened => ({ kind: 'refused', code })
  const frame = decodeSealedFrame(bytes)
  if (frame === null) return refused('malformed')
  const { header } = frame
  if (header.suite !== context.suite.id) return refused('wrongSuite')
  if (!equalBytes(header.epochId, context.epochId)) return refused('wrongEpochId')
  const leaf = header.leaf as LeafIndex
  const publicKey = context.signatureKeyOf(leaf)
  if (publicKey === null) return refused('unknownLeaf')
  const { room, bursts } = context
  const check = { frame, room, publicKey, ...(bursts === undefined ? {} : { bursts }) }
  if (!await verifySealedFrame(crypto, check)) return refused('wrongSignature')
  const place = { leaf, lane: laneOf(header), generation: header.generation }
  const taken = take(crypto, keys, place)
  if (taken.kind === 'refused') return refused(taken.code)
  const opened = openWithSecret(crypto, { suite: context.suite, room, frame }, taken.secret)
  if (opened.kind === 'refused') return opened
  const { secret, kind: _kind, ...transition } = taken
  return {
    ...transition,
    kind: 'opened',
    leaf,
    generation: header.generation,
    contentType: header.contentType,
    plaintext: opened.plaintext,
    messageSecret: secret,
    seen: header.seen,
  }
}

/** Opens a frame whose signature was checked with its message secret alone (KEY-8). */
export function openWithSecret(
  crypto: Crypto,
  sealed: { readonly suite: Suite; readonly room: RoomId; readonly frame: SealedFrame },
  messageSecret: Uint8Array,
):
  | { readonly kind: 'opened'; readonly plaintext: Uint8Array }
  | { readonly kind: 'refused'; readonly code: 'wrongCommitment' | 'notOpened' } {
  const { suite, room, frame } = sealed
  const { key, commitment } = messageKeys(crypto, suite, messageSecret)
  if (!equalBytes(commitment, frame.commitment)) {
    wipe(key)
    return { kind: 'refused', code: 'wrongCommitment' }
  }
  const { header } = frame
  const keyed = { key, nonce: header.nonce, aad: encode(aadCodec, { room, header }) }
  const padded = crypto.aeadOpen(frameAead(suite), keyed, frame.ciphertext)
  wipe(key)
  const plaintext = padded === null ? null : unpad(padded)
  if (padded !== null) wipe(padded)
  return plaintext === null ? { kind: 'refused', code: 'notOpened' } : { kind: 'opened', plaintext }
}
