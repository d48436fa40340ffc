/**
 * Message framing (RFC 9420 section 6): FramedContent, its authentication, PublicMessage,
 * PrivateMessage and the MLSMessage around all of them. Owns encodings; signatures and tags are
 * `public-message.ts`, encryption is `private-message.ts`.
 */
import { LIMITS } from '#core/base/limits.ts'
import { type Commit, commit } from '#core/mls/commit.ts'
import { type GroupInfo, groupInfo } from '#core/mls/group-info.ts'
import { type KeyPackage, keyPackage, MLS_VERSION } from '#core/mls/key-package.ts'
import { type Proposal, proposal } from '#core/mls/proposal.ts'
import { type Welcome, welcome } from '#core/mls/welcome.ts'
import {
  type Codec,
  decode,
  encode,
  enumU8,
  opaque,
  type Reader,
  struct,
  u32,
  u64,
  variant,
  type Writer,
} from '#core/wire/codec.ts'

/** RFC 9420 section 6. */
const CONTENT_TYPE = { application: 1, proposal: 2, commit: 3 } as const
export type ContentType = keyof typeof CONTENT_TYPE

/** RFC 9420 section 17.2. */
export const WIRE_FORMAT = {
  publicMessage: 1,
  privateMessage: 2,
  welcome: 3,
  groupInfo: 4,
  keyPackage: 5,
} as const
export type WireFormat = keyof typeof WIRE_FORMAT

export type Sender =
  | { readonly kind: 'member'; readonly leaf: number }
  /** Index into the `external_senders` extension (RFC 9420 section 12.1.8.1). */
  | { readonly kind: 'external'; readonly senderIndex: number }
  | { readonly kind: 'newMemberProposal' }
  | { readonly kind: 'newMemberCommit' }

export const sender: Codec<Sender> = variant('kind', {
  member: [1, struct({ leaf: u32 })],
  external: [2, struct({ senderIndex: u32 })],
  newMemberProposal: [3, struct({})],
  newMemberCommit: [4, struct({})],
})

export type Content =
  | { readonly kind: 'application'; readonly content: Uint8Array }
  | { readonly kind: 'proposal'; readonly proposal: Proposal }
  | { readonly kind: 'commit'; readonly commit: Commit }

const contentByType = {
  application: struct({ content: opaque(LIMITS.mlsMessageSizeMax) }),
  proposal: struct({ proposal }),
  commit: struct({ commit }),
} as const
const contentBody = variant('kind', {
  application: [CONTENT_TYPE.application, contentByType.application],
  proposal: [CONTENT_TYPE.proposal, contentByType.proposal],
  commit: [CONTENT_TYPE.commit, contentByType.commit],
})

export interface FramedContent {
  readonly groupId: Uint8Array
  readonly epoch: bigint
  readonly sender: Sender
  readonly authenticatedData: Uint8Array
  readonly body: Content
}

const groupId = opaque(LIMITS.mlsGroupIdMax)
const authenticatedData = opaque(LIMITS.mlsMessageSizeMax)

export const framedContent: Codec<FramedContent> = struct({
  groupId,
  epoch: u64,
  sender,
  authenticatedData,
  body: contentBody,
})

/** FramedContentAuthData. The tag is there for a Commit, and null for all else. */
export interface ContentAuthentication {
  readonly signature: Uint8Array
  readonly confirmationTag: Uint8Array | null
}

const signature = opaque(LIMITS.mlsKeySizeMax)
const tag = opaque(255)

/** Which fields there are is told by the content's type. */
export const contentAuthentication = {
  encode(w: Writer, value: ContentAuthentication): void {
    signature.encode(w, value.signature)
    if (value.confirmationTag !== null) tag.encode(w, value.confirmationTag)
  },
  decode(r: Reader, type: ContentType): ContentAuthentication {
    const signed = signature.decode(r)
    return { signature: signed, confirmationTag: type === 'commit' ? tag.decode(r) : null }
  },
}

export type ContentWireFormat = 'publicMessage' | 'privateMessage'

export interface AuthenticatedContent {
  readonly wireFormat: ContentWireFormat
  readonly content: FramedContent
  readonly auth: ContentAuthentication
}

/** AuthenticatedContent as it is hashed for a reference; wire format as uint16. */
export const authenticatedContent: Codec<AuthenticatedContent> = {
  encode(w, value) {
    w.u16(WIRE_FORMAT[value.wireFormat])
    framedContent.encode(w, value.content)
    contentAuthentication.encode(w, value.auth)
  },
  decode(r) {
    const format = r.u16()
    if (format !== WIRE_FORMAT.publicMessage && format !== WIRE_FORMAT.privateMessage) {
      r.refuse('badValue')
    }
    const wireFormat = format === WIRE_FORMAT.publicMessage ? 'publicMessage' : 'privateMessage'
    const content = framedContent.decode(r)
    return { wireFormat, content, auth: contentAuthentication.decode(r, content.body.kind) }
  },
}

export interface PublicMessage {
  readonly content: FramedContent
  readonly auth: ContentAuthentication
  /** There for a message of a member, null for all other senders. */
  readonly membershipTag: Uint8Array | null
}

export const publicMessage: Codec<PublicMessage> = {
  encode(w, value) {
    framedContent.encode(w, value.content)
    contentAuthentication.encode(w, value.auth)
    if (value.membershipTag !== null) tag.encode(w, value.membershipTag)
  },
  decode(r) {
    const content = framedContent.decode(r)
    const auth = contentAuthentication.decode(r, content.body.kind)
    const membershipTag = content.sender.kind === 'member' ? tag.decode(r) : null
    return { content, auth, membershipTag }
  },
}

export interface PrivateMessage {
  readonly groupId: Uint8Array
  readonly epoch: bigint
  readonly contentType: ContentType
  readonly authenticatedData: Uint8Array
  readonly encryptedSenderData: Uint8Array
  readonly ciphertext: Uint8Array
}

export const privateMessage: Codec<PrivateMessage> = struct({
  groupId,
  epoch: u64,
  contentType: enumU8(CONTENT_TYPE),
  authenticatedData,
  encryptedSenderData: opaque(LIMITS.mlsKeySizeMax),
  ciphertext: opaque(LIMITS.mlsMessageSizeMax),
})

/** What is encrypted in a PrivateMessage; the padding must be zeros (RFC 9420 section 6.3.1). */
export const privateMessageContent = {
  encode(
    w: Writer,
    value: {
      readonly body: Content
      readonly auth: ContentAuthentication
      readonly paddingLength: number
    },
  ): void {
    ;(contentByType[value.body.kind] as Codec<unknown>).encode(w, value.body)
    contentAuthentication.encode(w, value.auth)
    w.raw(new Uint8Array(value.paddingLength))
  },
  decode(
    r: Reader,
    type: ContentType,
  ): { readonly body: Content; readonly auth: ContentAuthentication } {
    const body = { kind: type, ...contentByType[type].decode(r) } as Content
    const auth = contentAuthentication.decode(r, type)
    if (r.take(r.remaining).some((byte) => byte !== 0)) r.refuse('badValue')
    return { body, auth }
  },
}

export type MlsMessage =
  | { readonly kind: 'publicMessage'; readonly publicMessage: PublicMessage }
  | { readonly kind: 'privateMessage'; readonly privateMessage: PrivateMessage }
  | { readonly kind: 'welcome'; readonly welcome: Welcome }
  | { readonly kind: 'groupInfo'; readonly groupInfo: GroupInfo }
  | { readonly kind: 'keyPackage'; readonly keyPackage: KeyPackage }

const messageBodies = {
  publicMessage: struct({ publicMessage }),
  privateMessage: struct({ privateMessage }),
  welcome: struct({ welcome }),
  groupInfo: struct({ groupInfo }),
  keyPackage: struct({ keyPackage }),
} as const

const formatNames = new Map(
  Object.entries(WIRE_FORMAT).map(([name, format]) => [format as number, name as WireFormat]),
)

export const mlsMessage: Codec<MlsMessage> = {
  encode(w, value) {
    w.u16(MLS_VERSION)
    w.u16(WIRE_FORMAT[value.kind])
    ;(messageBodies[value.kind] as Codec<unknown>).encode(w, value)
  },
  decode(r) {
    if (r.u16() !== MLS_VERSION) r.refuse('badValue')
    const kind = formatNames.get(r.u16()) ?? r.refuse('badValue')
    return { kind, ...(messageBodies[kind] as Codec<object>).decode(r) } as MlsMessage
  },
}

export function encodeMlsMessage(message: MlsMessage): Uint8Array {
  return encode(mlsMessage, message)
}

/** The message, if it is one of this kind; null when it is malformed or another. */
export function decodeMlsMessage<K extends WireFormat>(
  kind: K,
  bytes: Uint8Array,
): Extract<MlsMessage, { readonly kind: K }> | null {
  const decoded = decode(mlsMessage, bytes)
  if (decoded.kind !== 'decoded' || decoded.value.kind !== kind) return null
  return decoded.value as Extract<MlsMessage, { readonly kind: K }>
}
