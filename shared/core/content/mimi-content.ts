/**
 * Message content in the format of draft-ietf-mimi-content (CONTENT-1 to CONTENT-3): structure, message
 * ids, and the few kinds of content that Kalandra writes itself. Owns reading and writing; owns no
 * rule of who may say what.
 */
import { concat, EMPTY, utf8Decode, utf8Encode } from '#core/base/bytes.ts'
import { assert } from '#core/base/assert.ts'
import { LIMITS } from '#core/base/limits.ts'
import { CBOR_NULL, cborArray, cborBytes, cborInteger, cborText } from '#core/content/cbor.ts'
import { type CborValue, decodeCbor, encodeCbor } from '#core/content/cbor.ts'

/** Keys of the extensions map: 1 and 2 are the draft's, negative ones are private use (CONTENT-3). */
export const EXTENSION_KEYS = {
  senderUri: 1,
  roomUri: 2,
  subject: -1,
  bccOf: -2,
  rfc5322MessageId: -3,
  references: -4,
  correlation: -5,
  replyBy: -6,
  requestType: -7,
} as const

export const DISPOSITIONS = {
  unspecified: 0,
  render: 1,
  reaction: 2,
  profile: 3,
  inline: 4,
  icon: 5,
  attachment: 6,
  session: 7,
  preview: 8,
} as const

export const TEXT_TYPE = 'text/markdown;variant=GFM-MIMI'
const PLAIN_TYPE = 'text/plain'
const PROFILE_TYPE = 'application/vnd.kalandra.room-profile+cbor'

const SALT_LENGTH = 16
const MESSAGE_ID_LENGTH = 32
const SHA256_ID = 1

interface PartBase {
  readonly disposition: number
  readonly language: string
}

/** NestedPart. An external part keeps its fields in the order of the draft. */
export type Part = PartBase & PartBody

type PartBody =
  | { readonly kind: 'nullPart' }
  | { readonly kind: 'single'; readonly contentType: string; readonly content: Uint8Array }
  | {
    readonly kind: 'external'
    readonly contentType: string
    readonly url: string
    readonly expires: bigint
    readonly size: bigint
    readonly encAlg: bigint
    readonly key: Uint8Array
    readonly nonce: Uint8Array
    readonly aad: Uint8Array
    readonly hashAlg: bigint
    readonly contentHash: Uint8Array
    readonly description: string
    readonly filename: string
  }
  | { readonly kind: 'multi'; readonly semantics: number; readonly parts: readonly Part[] }

export interface MimiContent {
  /** 16 random bytes. */
  readonly salt: Uint8Array
  readonly replaces: Uint8Array | null
  readonly topicId: Uint8Array
  readonly expires: { readonly relative: boolean; readonly time: bigint } | null
  readonly inReplyTo: Uint8Array | null
  /** Known and unknown ones alike, kept as they came. */
  readonly extensions: readonly (readonly [CborValue, CborValue])[]
  readonly body: Part
}

export type ContentDecoded =
  | { readonly kind: 'decoded'; readonly value: MimiContent }
  | { readonly kind: 'malformed' }

// ---- Writing ------------------------------------------------------------------------------

const nullable = (bytes: Uint8Array | null): CborValue =>
  bytes === null ? CBOR_NULL : cborBytes(bytes)

function partValue(part: Part): CborValue {
  const start = [cborInteger(part.disposition), cborText(part.language)]
  switch (part.kind) {
    case 'nullPart':
      return cborArray([...start, cborInteger(0)])
    case 'single':
      return cborArray([
        ...start,
        cborInteger(1),
        cborText(part.contentType),
        cborBytes(part.content),
      ])
    case 'external':
      return cborArray([...start, cborInteger(2), ...externalFields(part)])
    case 'multi': {
      const parts = cborArray(part.parts.map(partValue))
      return cborArray([...start, cborInteger(3), cborInteger(part.semantics), parts])
    }
  }
}

function externalFields(part: Extract<PartBody, { kind: 'external' }>): readonly CborValue[] {
  return [
    cborText(part.contentType),
    cborText(part.url),
    cborInteger(part.expires),
    cborInteger(part.size),
    cborInteger(part.encAlg),
    cborBytes(part.key),
    cborBytes(part.nonce),
    cborBytes(part.aad),
    cborInteger(part.hashAlg),
    cborBytes(part.contentHash),
    cborText(part.description),
    cborText(part.filename),
  ]
}

/** Deterministic CBOR of a content. */
export function encodeContent(content: MimiContent): Uint8Array {
  assert(content.salt.length === SALT_LENGTH, 'a salt has 16 bytes')
  const { expires } = content
  return encodeCbor(cborArray([
    cborBytes(content.salt),
    nullable(content.replaces),
    cborBytes(content.topicId),
    expires === null
      ? CBOR_NULL
      : cborArray([{ kind: 'boolean', value: expires.relative }, cborInteger(expires.time)]),
    nullable(content.inReplyTo),
    { kind: 'map', entries: content.extensions },
    partValue(content.body),
  ]))
}

// ---- Reading ------------------------------------------------------------------------------

class Malformed extends Error {}

function items(value: CborValue | undefined, least: number): readonly CborValue[] {
  if (value?.kind !== 'array' || value.items.length < least) throw new Malformed()
  return value.items
}

function bytesOf(value: CborValue | undefined): Uint8Array {
  if (value?.kind !== 'bytes') throw new Malformed()
  return value.value
}

function textOf(value: CborValue | undefined): string {
  if (value?.kind !== 'text') throw new Malformed()
  return value.value
}

function unsigned(value: CborValue | undefined, bits: number): bigint {
  if (value?.kind !== 'integer' || value.value < 0n || value.value >= 1n << BigInt(bits)) {
    throw new Malformed()
  }
  return value.value
}

function messageIdOf(value: CborValue | undefined): Uint8Array | null {
  if (value?.kind === 'null') return null
  const bytes = bytesOf(value)
  if (bytes.length !== MESSAGE_ID_LENGTH) throw new Malformed()
  return bytes
}

/** Reads one content, to the last byte; unknown extensions are kept (CONTENT-1). */
export function decodeContent(bytes: Uint8Array): ContentDecoded {
  if (bytes.length > LIMITS.plaintextSizeMax) return { kind: 'malformed' }
  const decoded = decodeCbor(bytes)
  if (decoded.kind === 'malformed') return decoded
  try {
    return { kind: 'decoded', value: contentOf(decoded.value) }
  } catch (error) {
    if (error instanceof Malformed) return { kind: 'malformed' }
    throw error
  }
}

function contentOf(value: CborValue): MimiContent {
  const fields = items(value, 7)
  if (fields.length !== 7) throw new Malformed()
  const [salt, replaces, topicId, expires, inReplyTo, extensions, body] = fields
  const saltBytes = bytesOf(salt)
  if (saltBytes.length !== SALT_LENGTH || extensions?.kind !== 'map') throw new Malformed()
  if (!extensions.entries.every(([key]) => isExtensionKey(key))) throw new Malformed()
  return {
    salt: saltBytes,
    replaces: messageIdOf(replaces),
    topicId: bytesOf(topicId),
    expires: expires?.kind === 'null' ? null : expirationOf(expires),
    inReplyTo: messageIdOf(inReplyTo),
    extensions: extensions.entries,
    body: partOf(body, 0),
  }
}

function isExtensionKey(key: CborValue): boolean {
  if (key.kind === 'integer') return true
  return key.kind === 'text' && key.value.length > 0 && utf8Encode(key.value).length <= 255
}

function expirationOf(value: CborValue | undefined): MimiContent['expires'] {
  const [relative, time, ...more] = items(value, 2)
  if (relative?.kind !== 'boolean' || more.length > 0) throw new Malformed()
  return { relative: relative.value, time: unsigned(time, 32) }
}

function partOf(value: CborValue | undefined, depth: number): Part {
  if (depth > LIMITS.contentDepthMax) throw new Malformed()
  const [disposition, language, cardinality, ...rest] = items(value, 3)
  const base = { disposition: Number(unsigned(disposition, 8)), language: textOf(language) }
  const lengths = [0, 2, 12, 2] as const
  const kind = Number(unsigned(cardinality, 8))
  if (rest.length !== lengths[kind]) throw new Malformed()
  switch (kind) {
    case 0:
      return { ...base, kind: 'nullPart' }
    case 1:
      return { ...base, kind: 'single', contentType: textOf(rest[0]), content: bytesOf(rest[1]) }
    case 2:
      return { ...base, ...externalOf(rest) }
    default: {
      const semantics = Number(unsigned(rest[0], 8))
      const parts = items(rest[1], 2).map((part) => partOf(part, depth + 1))
      if (semantics > 2) throw new Malformed()
      return { ...base, kind: 'multi', semantics, parts }
    }
  }
}

function externalOf(fields: readonly CborValue[]): Extract<PartBody, { kind: 'external' }> {
  return {
    kind: 'external',
    contentType: textOf(fields[0]),
    url: textOf(fields[1]),
    expires: unsigned(fields[2], 32),
    size: unsigned(fields[3], 64),
    encAlg: unsigned(fields[4], 16),
    key: bytesOf(fields[5]),
    nonce: bytesOf(fields[6]),
    aad: bytesOf(fields[7]),
    hashAlg: unsigned(fields[8], 8),
    contentHash: bytesOf(fields[9]),
    description: textOf(fields[10]),
    filename: textOf(fields[11]),
  }
}

// ---- Message ids --------------------------------------------------------------------------

export interface MessageIdInput {
  readonly senderUri: string
  readonly roomUri: string
  /** Encoded content, as it was sent. */
  readonly content: Uint8Array
}

function counted(text: string): Uint8Array {
  const bytes = utf8Encode(text)
  assert(bytes.length < 0x10000, 'a URI has a length of 16 bits')
  return concat(Uint8Array.of(bytes.length >>> 8, bytes.length & 255), bytes)
}

/**
 * The 32-byte message id: the number of SHA-256, then 31 bytes of the hash over sender, room, content
 * and salt (draft-ietf-mimi-content, "Message ID"; CONTENT-2). `sha256` is an argument.
 */
export function messageId(
  sha256: (bytes: Uint8Array) => Uint8Array,
  input: MessageIdInput,
): Uint8Array {
  const decoded = decodeContent(input.content)
  assert(decoded.kind === 'decoded', 'only what was decoded has a message id')
  const hash = sha256(
    concat(counted(input.senderUri), counted(input.roomUri), input.content, decoded.value.salt),
  )
  return concat(Uint8Array.of(SHA256_ID), hash.subarray(0, MESSAGE_ID_LENGTH - 1))
}

// ---- What Kalandra writes -----------------------------------------------------------------

export interface ContentOptions {
  /** 16 fresh random bytes. */
  readonly salt: Uint8Array
  readonly senderUri: string
  readonly roomUri: string
}

function content(options: ContentOptions, body: Part): MimiContent {
  return {
    salt: options.salt,
    replaces: null,
    topicId: EMPTY,
    expires: null,
    inReplyTo: null,
    extensions: [
      [cborInteger(EXTENSION_KEYS.senderUri), cborText(options.senderUri)],
      [cborInteger(EXTENSION_KEYS.roomUri), cborText(options.roomUri)],
    ],
    body,
  }
}

/** A text message. */
export function textContent(options: ContentOptions & { readonly text: string }): MimiContent {
  return content(options, {
    kind: 'single',
    disposition: DISPOSITIONS.render,
    language: '',
    contentType: TEXT_TYPE,
    content: utf8Encode(options.text),
  })
}

/** Tells the members the title of the room (ROOM-11). */
export function roomProfileContent(
  options: ContentOptions & { readonly title: string },
): MimiContent {
  return content(options, {
    kind: 'single',
    disposition: DISPOSITIONS.profile,
    language: '',
    contentType: PROFILE_TYPE,
    content: encodeCbor({ kind: 'map', entries: [[cborInteger(1), cborText(options.title)]] }),
  })
}

/** The title that a room profile tells; null for any other content. */
export function roomProfile(content: MimiContent): { readonly title: string } | null {
  const { body } = content
  if (body.kind !== 'single' || body.contentType !== PROFILE_TYPE) return null
  const decoded = decodeCbor(body.content)
  if (decoded.kind === 'malformed' || decoded.value.kind !== 'map') return null
  const entry = decoded.value.entries.find(([key]) => key.kind === 'integer' && key.value === 1n)
  return entry?.[1].kind === 'text' ? { title: entry[1].value } : null
}

/** The text that a person reads: the first text part; null where there is none. */
export function plainText(content: MimiContent): string | null {
  return partText(content.body)
}

function partText(part: Part): string | null {
  if (part.kind === 'multi') {
    for (const each of part.parts) {
      const text = partText(each)
      if (text !== null) return text
    }
  }
  if (part.kind !== 'single') return null
  const isText = part.contentType === TEXT_TYPE || part.contentType.startsWith(PLAIN_TYPE)
  return isText ? utf8Decode(part.content) : null
}

/** Sender and room that a content names; null where one is missing (CONTENT-2). */
export function namedUris(
  content: MimiContent,
): { readonly senderUri: string; readonly roomUri: string } | null {
  const named = (wanted: number) => {
    const entry = content.extensions.find(([key]) =>
      key.kind === 'integer' && key.value === BigInt(wanted)
    )
    return entry?.[1].kind === 'text' ? entry[1].value : null
  }
  const senderUri = named(EXTENSION_KEYS.senderUri)
  const roomUri = named(EXTENSION_KEYS.roomUri)
  return senderUri === null || roomUri === null ? null : { senderUri, roomUri }
}
