/**
 * Extensions (RFC 9420 section 13): the list, its lookups, and the bodies of those that the RFC
 * defines. Owns encodings and type numbers; who must understand what is `capabilities.ts`.
 */
import { LIMITS } from '#core/base/limits.ts'
import { type Credential, credential } from '#core/mls/credential.ts'
import {
  type Codec,
  decode,
  encode,
  opaque,
  struct,
  type StructOf,
  u16,
  vector,
} from '#core/wire/codec.ts'

/** RFC 9420 section 17.3. */
export const EXTENSION_TYPE = {
  applicationId: 0x0001,
  ratchetTree: 0x0002,
  requiredCapabilities: 0x0003,
  externalPub: 0x0004,
  externalSenders: 0x0005,
} as const

/** Types that every client supports and that need no capability (RFC 9420 section 7.2). */
export const DEFAULT_EXTENSION_TYPES: ReadonlySet<number> = new Set(Object.values(EXTENSION_TYPE))

export interface Extension {
  readonly type: number
  readonly body: Uint8Array
}

const extension: Codec<Extension> = struct({
  type: u16,
  body: opaque(LIMITS.mlsExtensionSizeMax),
})

/** No two extensions of a list have one type (RFC 9420 section 13). */
export const extensions: Codec<readonly Extension[]> = (() => {
  const list = vector(extension, LIMITS.mlsExtensionsMax)
  return {
    encode: list.encode,
    decode(r) {
      const values = list.decode(r)
      if (new Set(values.map(({ type }) => type)).size !== values.length) r.refuse('badValue')
      return values
    },
  }
})()

/** Body of the extension of a type; null where there is none. */
export function findExtension(list: readonly Extension[], type: number): Uint8Array | null {
  return list.find((candidate) => candidate.type === type)?.body ?? null
}

/** The list with this body for a type in place of an earlier one, or without the type. */
export function withExtension(
  list: readonly Extension[],
  type: number,
  body: Uint8Array | null,
): readonly Extension[] {
  const others = list.filter((candidate) => candidate.type !== type)
  return body === null ? others : [...others, { type, body }]
}

const types = vector(u16, LIMITS.mlsCapabilitiesMax)

/** RFC 9420 section 11.1. */
export const requiredCapabilities = struct({
  extensions: types,
  proposals: types,
  credentials: types,
})
export type RequiredCapabilities = StructOf<
  { extensions: typeof types; proposals: typeof types; credentials: typeof types }
>

/** RFC 9420 section 12.1.8.1. */
export interface ExternalSender {
  readonly signatureKey: Uint8Array
  readonly credential: Credential
}
export const externalSenders: Codec<readonly ExternalSender[]> = vector(
  struct({ signatureKey: opaque(LIMITS.mlsKeySizeMax), credential }),
  LIMITS.mlsExtensionsMax,
)

/** Body of `external_pub` (RFC 9420 section 12.4.3.2): the external public key. */
export const externalPub: Codec<Uint8Array> = opaque(LIMITS.mlsKeySizeMax)

/** `required_capabilities` of a GroupContext: null where there are none, or `malformed`. */
export function readRequiredCapabilities(
  list: readonly Extension[],
): RequiredCapabilities | null | 'malformed' {
  return readExtension(list, EXTENSION_TYPE.requiredCapabilities, requiredCapabilities)
}

/** `external_senders` of a GroupContext: null where there are none, or `malformed`. */
export function readExternalSenders(
  list: readonly Extension[],
): readonly ExternalSender[] | null | 'malformed' {
  return readExtension(list, EXTENSION_TYPE.externalSenders, externalSenders)
}

/** An extension's body, decoded. */
export function readExtension<T>(
  list: readonly Extension[],
  type: number,
  codec: Codec<T>,
): T | null | 'malformed' {
  const body = findExtension(list, type)
  if (body === null) return null
  const decoded = decode(codec, body)
  return decoded.kind === 'decoded' ? decoded.value : 'malformed'
}

export function makeExtension<T>(type: number, codec: Codec<T>, value: T): Extension {
  return { type, body: encode(codec, value) }
}
