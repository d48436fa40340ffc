/**
 * PrivateMessage (RFC 9420 section 6.3): encrypts content and who sent it, and opens both. Owns
 * sender data, reuse guard, padding and their associated data. The signature inside is made and
 * verified with `public-message.ts`; group, epoch and the sender's leaf are checked by the caller.
 */
import { assert } from '#core/base/assert.ts'
import { wipe } from '#core/base/bytes.ts'
import { LIMITS } from '#core/base/limits.ts'
import type { Entropy } from '#core/base/ports.ts'
import type { CipherSuite } from '#core/mls/cipher-suite.ts'
import {
  type Content,
  type ContentAuthentication,
  type ContentType,
  type FramedContent,
  type PrivateMessage,
  privateMessageContent,
} from '#core/mls/framing.ts'
import { expandWithLabel } from '#core/mls/labelled.ts'
import {
  messageKey,
  nextMessageKey,
  type RatchetKind,
  type SecretTree,
} from '#core/mls/secret-tree.ts'
import {
  type Codec,
  decode,
  encode,
  enumU8,
  fixed,
  opaque,
  struct,
  type StructOf,
  u32,
  u64,
} from '#core/wire/codec.ts'

/** What an epoch has for private messages. */
export interface MessageSecrets {
  readonly senderDataSecret: Uint8Array
  readonly secretTree: SecretTree
}

const REUSE_GUARD_LENGTH = 4

const senderDataFields = {
  leaf: u32,
  generation: u32,
  reuseGuard: fixed(REUSE_GUARD_LENGTH),
}
const senderData = struct(senderDataFields)
type SenderData = StructOf<typeof senderDataFields>

const header = {
  groupId: opaque(LIMITS.mlsGroupIdMax),
  epoch: u64,
  contentType: enumU8({ application: 1, proposal: 2, commit: 3 }),
}
const senderDataAad = struct(header)
const privateContentAad = struct({
  ...header,
  authenticatedData: opaque(LIMITS.mlsMessageSizeMax),
})

/**
 * Encrypts content of a member that was signed as a PrivateMessage, with the next key of its leaf.
 * The caller stores the next secret tree before the message leaves, and then wipes `consumed`.
 */
export function protect(
  suite: CipherSuite,
  state: MessageSecrets,
  input: {
    readonly content: FramedContent
    readonly auth: ContentAuthentication
    /** Leaf index. */
    readonly ownLeaf: number
    /** Zero bytes behind the content. */
    readonly paddingLength: number
    readonly entropy: Entropy
  },
): {
  readonly message: PrivateMessage
  readonly secretTree: SecretTree
  readonly consumed: readonly Uint8Array[]
} {
  const { content, auth, ownLeaf, paddingLength } = input
  const { groupId, epoch, sender, authenticatedData, body } = content
  assert(sender.kind === 'member' && sender.leaf === ownLeaf, 'a member sends as itself')
  const place = { leaf: ownLeaf, ratchet: ratchetOf(body.kind) }
  const taken = nextMessageKey(suite, state.secretTree, place)
  const reuseGuard = input.entropy.randomBytes(REUSE_GUARD_LENGTH)
  const clear = { groupId, epoch, contentType: body.kind, authenticatedData }
  const plaintext = encode(contentOf(body.kind), { body, auth, paddingLength })
  guard(taken.nonce, reuseGuard)
  const aad = encode(privateContentAad, clear)
  const ciphertext = suite.seal({ key: taken.key, nonce: taken.nonce, aad }, plaintext)
  wipe(plaintext, taken.key, taken.nonce)
  const from = encode(senderData, { leaf: ownLeaf, generation: taken.generation, reuseGuard })
  const keyed = senderDataKeyNonce(suite, state.senderDataSecret, ciphertext)
  const encryptedSenderData = suite.seal({ ...keyed, aad: encode(senderDataAad, clear) }, from)
  wipe(keyed.key, keyed.nonce, from)
  return {
    message: { ...clear, encryptedSenderData, ciphertext },
    secretTree: taken.tree,
    consumed: taken.consumed,
  }
}

export interface Unprotected {
  readonly kind: 'unprotected'
  /** Not yet authenticated: its signature is to be verified. */
  readonly content: FramedContent
  readonly auth: ContentAuthentication
  readonly secretTree: SecretTree
  /** Wiped once only the next secret tree is used. */
  readonly consumed: readonly Uint8Array[]
  /** Wiped instead when the message is refused, and the tree before goes on. */
  readonly derived: readonly Uint8Array[]
}

export type UnprotectRefusal =
  | 'malformed'
  | 'notDecryptable'
  | 'generationUsed'
  | 'generationTooFar'

/** Opens a message of this group and epoch. A refusal uses no key up. */
export function unprotect(
  suite: CipherSuite,
  state: MessageSecrets,
  message: PrivateMessage,
): Unprotected | { readonly kind: 'refused'; readonly code: UnprotectRefusal } {
  const from = openSenderData(suite, state.senderDataSecret, message)
  if (from.kind === 'refused') return from
  const { leaf, generation, reuseGuard } = from.senderData
  const { groupId, epoch, contentType, authenticatedData } = message
  const place = { leaf, ratchet: ratchetOf(contentType), generation }
  const taken = messageKey(suite, state.secretTree, place)
  if (taken.kind === 'refused') {
    return refused(taken.code === 'unknownLeaf' ? 'malformed' : taken.code)
  }
  guard(taken.nonce, reuseGuard)
  const aad = encode(privateContentAad, { groupId, epoch, contentType, authenticatedData })
  const keyed = { key: taken.key, nonce: taken.nonce, aad }
  const plaintext = suite.open(keyed, message.ciphertext)
  wipe(taken.key, taken.nonce)
  const decoded = plaintext && decode(contentOf(contentType), plaintext)
  if (decoded === null || decoded.kind === 'malformed') {
    for (const secret of taken.derived) wipe(secret)
    return refused(decoded === null ? 'notDecryptable' : 'malformed')
  }
  const { body, auth } = decoded.value
  return {
    kind: 'unprotected',
    content: { groupId, epoch, sender: { kind: 'member', leaf }, authenticatedData, body },
    auth,
    secretTree: taken.tree,
    consumed: taken.consumed,
    derived: taken.derived,
  }
}

function refused(code: UnprotectRefusal) {
  return { kind: 'refused', code } as const
}

function ratchetOf(type: ContentType): RatchetKind {
  return type === 'application' ? 'application' : 'handshake'
}

/** PrivateMessageContent of one type. */
function contentOf(type: ContentType): Codec<{
  readonly body: Content
  readonly auth: ContentAuthentication
  readonly paddingLength: number
}> {
  return {
    encode: (w, value) => privateMessageContent.encode(w, value),
    decode(r) {
      const { body, auth } = privateMessageContent.decode(r, type)
      return { body, auth, paddingLength: 0 }
    },
  }
}

/** Two messages under one key, after a restart gone wrong, do not share a nonce (section 6.3.1). */
function guard(nonce: Uint8Array, reuseGuard: Uint8Array): void {
  for (const [index, byte] of reuseGuard.entries()) {
    nonce[index] = (nonce[index] as number) ^ byte
  }
}

/**
 * Key and nonce of a message's sender data (RFC 9420 section 6.3.2), which depend on its
 * ciphertext. The caller wipes both.
 */
export function senderDataKeyNonce(
  suite: CipherSuite,
  senderDataSecret: Uint8Array,
  ciphertext: Uint8Array,
): { readonly key: Uint8Array; readonly nonce: Uint8Array } {
  const context = ciphertext.subarray(0, suite.hashLength)
  const expanded = (label: string, length: number) =>
    expandWithLabel(suite, senderDataSecret, { label, context, length })
  return {
    key: expanded('key', suite.aeadKeyLength),
    nonce: expanded('nonce', suite.aeadNonceLength),
  }
}

function openSenderData(
  suite: CipherSuite,
  senderDataSecret: Uint8Array,
  message: PrivateMessage,
):
  | { readonly kind: 'opened'; readonly senderData: SenderData }
  | { readonly kind: 'refused'; readonly code: UnprotectRefusal } {
  const keyed = senderDataKeyNonce(suite, senderDataSecret, message.ciphertext)
  const aad = encode(senderDataAad, message)
  const opened = suite.open({ ...keyed, aad }, message.encryptedSenderData)
  wipe(keyed.key, keyed.nonce)
  if (opened === null) return refused('notDecryptable')
  const decoded = decode(senderData, opened)
  if (decoded.kind === 'malformed') return refused('malformed')
  return { kind: 'opened', senderData: decoded.value }
}
