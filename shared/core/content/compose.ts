/**
 * The frame of every content that Kalandra writes. Owns the fields that all of them share; owns no
 * kind of content.
 */
import { EMPTY } from '#core/base/bytes.ts'
import type { CborValue } from '#core/content/cbor.ts'
import { EXTENSION_KEYS } from '#core/content/extension-keys.ts'
import type { Expiration, MimiContent, NestedPart } from '#core/content/mimi-structure.ts'

export interface ContentOptions {
  /** 16 fresh random bytes. */
  readonly salt: Uint8Array
  readonly senderUri: string
  readonly roomUri: string
  /** Message id, 32 bytes. */
  readonly replyTo?: Uint8Array
  /** Message id, 32 bytes. */
  readonly replaces?: Uint8Array
  readonly topicId?: Uint8Array
  readonly expires?: Expiration
  /** Further extensions, beside the URIs. */
  readonly extensions?: readonly (readonly [number | string, CborValue])[]
}

/** A content that names its sender and its room, around a part. */
export function compose(options: ContentOptions, nestedPart: NestedPart): MimiContent {
  return {
    salt: options.salt,
    replaces: options.replaces ?? null,
    topicId: options.topicId ?? EMPTY,
    expires: options.expires ?? null,
    inReplyTo: options.replyTo ?? null,
    mimiExtensions: new Map<number | string, CborValue>([
      ...(options.extensions ?? []),
      [EXTENSION_KEYS.senderUri, options.senderUri],
      [EXTENSION_KEYS.roomUri, options.roomUri],
    ]),
    nestedPart,
  }
}
