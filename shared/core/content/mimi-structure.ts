/**
 * The structures of draft-ietf-mimi-content-08, by the draft's names: the container and its parts.
 * Owns types and registry values; owns no encoding.
 */
import type { CborValue } from '#core/content/cbor.ts'

export const SALT_LENGTH = 16
export const MESSAGE_ID_LENGTH = 32

/** Registry of dispositions. Parts also carry unknown ones, which are treated as `render`. */
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

/**
 * How the parts of a multipart belong together: the receiver picks exactly one; processes all as a
 * single unit, or none; processes each that it can.
 */
export const PART_SEMANTICS = { chooseOne: 0, singleUnit: 1, processAll: 2 } as const
export type PartSemantics = keyof typeof PART_SEMANTICS

interface PartHead {
  /** 0 to 255. */
  readonly disposition: number
  /** Comma-separated language tags (RFC 5646), or empty. */
  readonly language: string
}

/** Nothing: the content of a message that deletes or unlikes. */
export interface NullPart extends PartHead {
  readonly kind: 'nullPart'
}

export interface SinglePart extends PartHead {
  readonly kind: 'singlePart'
  /** Media type with parameters. */
  readonly contentType: string
  readonly content: Uint8Array
}

/** Content that lies at a URL, usually encrypted. */
export interface ExternalPart extends PartHead {
  readonly kind: 'externalPart'
  readonly contentType: string
  readonly url: string
  /** Seconds since 1970-01-01T00:00:00Z, 32 bits; 0: does not expire. */
  readonly expires: number
  /** Bytes, 64 bits; 0: not stated. */
  readonly size: bigint
  /** Number of an AEAD (RFC 5116), 16 bits; 0: not encrypted. */
  readonly encAlg: number
  readonly key: Uint8Array
  readonly nonce: Uint8Array
  readonly aad: Uint8Array
  /** Number of a hash algorithm (RFC 6920), 8 bits; 0: no hash. */
  readonly hashAlg: number
  readonly contentHash: Uint8Array
  readonly description: string
  readonly filename: string
}

export interface MultiPart extends PartHead {
  readonly kind: 'multiPart'
  readonly partSemantics: PartSemantics
  /** At least two. */
  readonly parts: readonly NestedPart[]
}

export type NestedPart = NullPart | SinglePart | ExternalPart | MultiPart

export interface Expiration {
  /** True: seconds after it was read. False: seconds since 1970-01-01T00:00:00Z. */
  readonly relative: boolean
  /** 32 bits. */
  readonly time: number
}

/** A key is a safe integer or a text of 1 to 255 bytes. Unknown ones are kept as they came. */
export type MimiExtensions = ReadonlyMap<number | string, CborValue>

export interface MimiContent {
  /** 16 random bytes. */
  readonly salt: Uint8Array
  /** Id of the message that this one edits or deletes, 32 bytes. */
  readonly replaces: Uint8Array | null
  /** Empty: no topic. At most 4,096 bytes. */
  readonly topicId: Uint8Array
  readonly expires: Expiration | null
  /** Id of the message that this one answers or reacts to, 32 bytes. */
  readonly inReplyTo: Uint8Array | null
  readonly mimiExtensions: MimiExtensions
  readonly nestedPart: NestedPart
}
