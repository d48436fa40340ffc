/**
 * Authentication of content (RFC 9420 section 6.1): the signature of FramedContent, the membership
 * tag of a PublicMessage (6.2), and the reference of a proposal (5.2). Owns what is signed and
 * tagged; which key a sender has is the caller's.
 */
import { assert } from '#core/base/assert.ts'
import { concat, EMPTY } from '#core/base/bytes.ts'
import type { CipherSuite } from '#core/mls/cipher-suite.ts'
import {
  type AuthenticatedContent,
  authenticatedContent,
  type ContentAuthentication,
  contentAuthentication,
  type ContentWireFormat,
  type FramedContent,
  framedContent,
  WIRE_FORMAT,
} from '#core/mls/framing.ts'
import { MLS_VERSION } from '#core/mls/key-package.ts'
import { refHash, signWithLabel, verifyWithLabel } from '#core/mls/labelled.ts'
import { type Codec, encode, rest, struct, u16, VARINT_MAX } from '#core/wire/codec.ts'

/** Content before it is signed, or with the signature that is to be verified. */
export interface SignedContent {
  readonly wireFormat: ContentWireFormat
  readonly content: FramedContent
  /**
   * Encoded. What stands outside of the group (`external`, `newMemberProposal`) is signed without
   * it, and may have null.
   */
  readonly groupContext: Uint8Array | null
}

/** The signature of FramedContentAuthData. */
export function signContent(
  suite: CipherSuite,
  signing: SignedContent & { readonly signatureSecret: Uint8Array },
): Promise<Uint8Array> {
  const content = framedContentTbs(signing)
  return signWithLabel(suite, signing.signatureSecret, { label: 'FramedContentTBS', content })
}

/** False for another signature, and for a malformed key or signature. */
export function verifyContentSignature(
  suite: CipherSuite,
  signed: SignedContent & { readonly signature: Uint8Array; readonly publicKey: Uint8Array },
): Promise<boolean> {
  const { publicKey, signature } = signed
  const content = framedContentTbs(signed)
  return verifyWithLabel(suite, { publicKey, label: 'FramedContentTBS', content, signature })
}

/** membership_tag of a member's PublicMessage (RFC 9420 section 6.2). */
export function membershipTag(
  suite: CipherSuite,
  membershipKey: Uint8Array,
  tagged: {
    readonly content: FramedContent
    readonly auth: ContentAuthentication
    /** Encoded. */
    readonly groupContext: Uint8Array
  },
): Uint8Array {
  assert(tagged.content.sender.kind === 'member', 'a member has a membership tag')
  const tbs = framedContentTbs({ ...tagged, wireFormat: 'publicMessage' })
  return suite.mac(membershipKey, concat(tbs, encode(authentication, tagged.auth)))
}

/** ProposalRef (RFC 9420 section 5.2) of a proposal as it was sent. */
export function proposalReference(
  suite: CipherSuite,
  authenticated: AuthenticatedContent,
): Uint8Array {
  return refHash(suite, 'Proposal', encode(authenticatedContent, authenticated))
}

const contentTbs = struct({
  version: u16,
  wireFormat: u16,
  content: framedContent,
  groupContext: rest(VARINT_MAX),
})

/** FramedContentTBS: the GroupContext is in it for a sender in the group, or coming into it. */
function framedContentTbs(signed: SignedContent): Uint8Array {
  const { kind } = signed.content.sender
  const withContext = kind === 'member' || kind === 'newMemberCommit'
  const groupContext = withContext ? signed.groupContext : EMPTY
  assert(groupContext !== null, 'a sender of the group signs its GroupContext')
  return encode(contentTbs, {
    version: MLS_VERSION,
    wireFormat: WIRE_FORMAT[signed.wireFormat],
    content: signed.content,
    groupContext,
  })
}

/** Of a commit, where it has both fields. */
const authentication: Codec<ContentAuthentication> = {
  encode: (w, value) => contentAuthentication.encode(w, value),
  decode: (r) => contentAuthentication.decode(r, 'commit'),
}
