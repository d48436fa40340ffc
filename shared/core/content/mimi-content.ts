/**
 * Message content in the format of draft-ietf-mimi-content-08 (CONTENT-1, CONTENT-2): encoding,
 * decoding and the message id. Owns what the format allows; owns no rule of who may say what, and
 * no judgement of times, which needs a clock.
 *
 * The draft hashes the URIs of sender and room into the message id, where they are inputs, and may
 * name them in two extensions. Kalandra requires both extensions: a receiver compares them with the
 * leaf that signed and the room that it came in.
 */
import { assert } from '#core/base/assert.ts'
import { concat, utf8Encode } from '#core/base/bytes.ts'
import { LIMITS } from '#core/base/limits.ts'
import {
  asMap,
  cborDepth,
  type CborMap,
  type CborValue,
  decodeCbor,
  encodeCbor,
  isArray,
} from '#core/content/cbor.ts'
import { EXTENSION_KEY_LENGTH_MAX, EXTENSION_KEYS } from '#core/content/extension-keys.ts'
import {
  type ContentMalformedCode,
  type Decoding,
  decoding,
  refuse,
} from '#core/content/malformed.ts'
import {
  type Expiration,
  MESSAGE_ID_LENGTH,
  type MimiContent,
  type MimiExtensions,
  SALT_LENGTH,
} from '#core/content/mimi-structure.ts'
import { cborOfPart, partOfCbor } from '#core/content/nested-part.ts'

export type { MimiContent } from '#core/content/mimi-structure.ts'
export { roomProfile, roomProfileContent } from '#core/content/room-profile.ts'
export { plainText, previewText, textContent } from '#core/content/text.ts'

export type ContentDecoded = Decoding<MimiContent, ContentMalformedCode>

const FIELD_COUNT = 7
/** The container, then an array for each part and one for the parts within it. */
const CBOR_BOUNDS = { depthMax: LIMITS.contentDepthMax * 2, itemsMax: LIMITS.contentItemsMax }
/** The extensions map is the first of the levels that it may have. */
const EXTENSION_VALUE_DEPTH_MAX = LIMITS.contentDepthMax - 1
/** How every content begins: an array of seven, then 16 bytes of salt. */
const HEAD = [0x87, 0x50] as const
/** SHA-256 in the registry of RFC 6920 section 9.4. */
const HASH_ALGORITHM_SHA256 = 1

/** Encodes a content. One that `decodeContent` would refuse is a programmer error. */
export function encodeContent(content: MimiContent): Uint8Array {
  const { expires } = content
  const value: CborValue = [
    content.salt,
    content.replaces,
    content.topicId,
    expires === null ? null : [expires.relative, expires.time],
    content.inReplyTo,
    { kind: 'map', entries: [...content.mimiExtensions] },
    cborOfPart(content.nestedPart),
  ]
  assert(decoding(() => contentOfCbor(value)).kind === 'decoded', 'a content keeps to the draft')
  const bytes = encodeCbor(value)
  assert(bytes.length <= LIMITS.plaintextSizeMax, 'a content fits a plaintext')
  return bytes
}

/**
 * Decodes a content that must fill the input. Each content has one encoding; unknown extensions
 * and dispositions are kept. Byte strings are views into `bytes`.
 */
export function decodeContent(bytes: Uint8Array): ContentDecoded {
  if (bytes.length > LIMITS.plaintextSizeMax) return { kind: 'malformed', code: 'tooLong' }
  const decoded = decodeCbor(bytes, CBOR_BOUNDS)
  return decoded.kind === 'malformed' ? decoded : decoding(() => contentOfCbor(decoded.value))
}

export interface MessageUris {
  /** `mimi://` URI of the account that sent it. */
  readonly senderUri: string
  readonly roomUri: string
}

/** What a message id is computed from. */
export interface IdentifiedMessage extends MessageUris {
  /** The content as it was sent: made by `encodeContent` or accepted by `decodeContent`. */
  readonly content: Uint8Array
}

/**
 * The 32-byte message id: number of the hash, then the first 31 bytes of the hash over sender URI
 * and room URI, each behind its length in 16 bits, the content, and its salt once more
 * (draft-ietf-mimi-content-08 section 3.3; CONTENT-2). `sha256` is always SHA-256, whatever the
 * suite of the room.
 */
export function messageId(
  sha256: (bytes: Uint8Array) => Uint8Array,
  { senderUri, roomUri, content }: IdentifiedMessage,
): Uint8Array {
  const salted = content.length > HEAD.length + SALT_LENGTH
  assert(salted && content[0] === HEAD[0] && content[1] === HEAD[1], 'a content begins with a salt')
  const salt = content.subarray(HEAD.length, HEAD.length + SALT_LENGTH)
  const hash = sha256(concat(counted(senderUri), counted(roomUri), content, salt))
  return concat(Uint8Array.of(HASH_ALGORITHM_SHA256), hash.subarray(0, MESSAGE_ID_LENGTH - 1))
}

/** Sender and room that the extensions name; null where one is missing (CONTENT-2). */
export function namedUris({ mimiExtensions }: MimiContent): MessageUris | null {
  const senderUri = mimiExtensions.get(EXTENSION_KEYS.senderUri)
  const roomUri = mimiExtensions.get(EXTENSION_KEYS.roomUri)
  return typeof senderUri === 'string' && typeof roomUri === 'string'
    ? { senderUri, roomUri }
    : null
}

function counted(uri: string): Uint8Array {
  const bytes = utf8Encode(uri)
  assert(bytes.length <= 0xffff, 'the length of a URI has 16 bits')
  return concat(Uint8Array.of(bytes.length >> 8, bytes.length & 0xff), bytes)
}

function contentOfCbor(value: CborValue): MimiContent {
  if (!isArray(value) || value.length !== FIELD_COUNT) return refuse('badStructure')
  const [salt, replaces, topicId, expires, inReplyTo, extensions, part] = value
  return {
    salt: salt instanceof Uint8Array && salt.length === SALT_LENGTH ? salt : refuse('badSalt'),
    replaces: messageIdOfCbor(replaces),
    topicId: topicId instanceof Uint8Array && topicId.length <= LIMITS.topicIdMax
      ? topicId
      : refuse('badTopicId'),
    expires: expirationOfCbor(expires),
    inReplyTo: messageIdOfCbor(inReplyTo),
    mimiExtensions: extensionsOfCbor(extensions),
    nestedPart: partOfCbor(part),
  }
}

/** Ids that begin with the number of another hash are refused: no message has one. */
function messageIdOfCbor(value: CborValue | undefined): Uint8Array | null {
  if (value === null) return null
  const isMessageId = value instanceof Uint8Array && value.length === MESSAGE_ID_LENGTH &&
    value[0] === HASH_ALGORITHM_SHA256
  return isMessageId ? value : refuse('badMessageId')
}

function expirationOfCbor(value: CborValue | undefined): Expiration | null {
  if (value === null) return null
  if (value === undefined || !isArray(value) || value.length !== 2) return refuse('badExpiration')
  const [relative, time] = value
  const isTime = typeof time === 'number' && time >= 0 && time <= 0xffffffff
  return typeof relative === 'boolean' && isTime ? { relative, time } : refuse('badExpiration')
}

function extensionsOfCbor(value: CborValue | undefined): MimiExtensions {
  const map: CborMap = asMap(value ?? null) ?? refuse('badExtensions')
  const extensions = new Map<number | string, CborValue>()
  for (const [key, each] of map.entries) {
    if (key instanceof Uint8Array || !isExtensionKey(key)) return refuse('badExtensions')
    if (cborDepth(each) > EXTENSION_VALUE_DEPTH_MAX) refuse('tooDeep')
    const isUri = key === EXTENSION_KEYS.senderUri || key === EXTENSION_KEYS.roomUri
    if (isUri && typeof each !== 'string') refuse('badExtensions')
    extensions.set(key, each)
  }
  return extensions
}

function isExtensionKey(key: number | string): boolean {
  if (typeof key === 'number') return true
  return key.length > 0 && utf8Encode(key).length <= EXTENSION_KEY_LENGTH_MAX
}
