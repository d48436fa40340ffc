/**
 * The one table of labels, and the only way in which a key of ours signs or is expanded (RFC 9420
 * sections 5.1.2 and 8, with a prefix of our own, so that nothing of ours can be taken for MLS).
 * Owns names and framing; what stands under a label is the caller's.
 */
import { wipe } from '#core/base/bytes.ts'
import type { Crypto, HashName, SignatureName } from '#core/crypto/crypto.ts'
import { HASH_LENGTHS } from '#core/crypto/suites.ts'
import { encode, opaque, struct, u16, utf8, VARINT_MAX } from '#core/wire/codec.ts'

/** Stands before every label of ours, on the wire of signatures and key derivations. */
export const LABEL_PREFIX = 'Kalandra 1.0 '

/** One label for each signed structure; the account certificate is signed under two. */
const signatureLabels = {
  accountCertificateEd25519: 'accountCertificateEd25519',
  accountCertificateMldsa65: 'accountCertificateMldsa65',
  manifest: 'manifest',
  attestation: 'attestation',
  greeting: 'greeting',
  sessionChallenge: 'sessionChallenge',
  frame: 'frame',
  frameBurst: 'frameBurst',
  ephemeral: 'ephemeral',
  genesis: 'genesis',
  head: 'head',
  admission: 'admission',
  vote: 'vote',
  anchor: 'anchor',
  groupRequest: 'groupRequest',
} as const

/** One label for each derivation. */
const kdfLabels = {
  senderKeyNode: 'senderKeyNode',
  senderKeyLeaf: 'senderKeyLeaf',
  senderKeyLane: 'senderKeyLane',
  senderKeyMessage: 'senderKeyMessage',
  senderKeyChain: 'senderKeyChain',
  messageKey: 'messageKey',
  messageCommitment: 'messageCommitment',
  ephemeralKey: 'ephemeralKey',
  invitationKey: 'invitationKey',
  voteKey: 'voteKey',
} as const

export type SignatureLabel = keyof typeof signatureLabels
export type KdfLabel = keyof typeof kdfLabels
export const LABELS: {
  readonly [Label in SignatureLabel | KdfLabel]: Label
} = { ...signatureLabels, ...kdfLabels }

export interface LabelledSigning {
  readonly algorithm: SignatureName
  readonly secretKey: Uint8Array
  readonly label: SignatureLabel
  readonly content: Uint8Array
}

export interface LabelledSignature {
  readonly algorithm: SignatureName
  readonly publicKey: Uint8Array
  readonly label: SignatureLabel
  readonly content: Uint8Array
  readonly signature: Uint8Array
}

export interface LabelledExpansion {
  readonly secret: Uint8Array
  readonly label: KdfLabel
  readonly context: Uint8Array
  /** Bytes of output. */
  readonly length: number
}

/** SignWithLabel (RFC 9420 section 5.1.2) under our prefix. */
export function signWithLabel(crypto: Crypto, signing: LabelledSigning): Promise<Uint8Array> {
  const { algorithm, secretKey, label, content } = signing
  return crypto.sign(algorithm, secretKey, encodeSignContent(LABEL_PREFIX + label, content))
}

/** VerifyWithLabel (RFC 9420 section 5.1.2) under our prefix; false for any malformed input. */
export function verifyWithLabel(crypto: Crypto, signed: LabelledSignature): Promise<boolean> {
  const { algorithm, publicKey, label, content, signature } = signed
  return crypto.verify(algorithm, {
    publicKey,
    content: encodeSignContent(LABEL_PREFIX + label, content),
    signature,
  })
}

/** ExpandWithLabel (RFC 9420 section 8) under our prefix. The caller wipes the result. */
export function expandWithLabel(
  crypto: Crypto,
  hash: HashName,
  expansion: LabelledExpansion,
): Uint8Array {
  const { secret, label, context, length } = expansion
  const kdfLabel = encodeKdfLabel({ label: LABEL_PREFIX + label, context, length })
  const expanded = crypto.hkdfExpand(hash, secret, kdfLabel, length)
  // The context can be a secret, and the encoding holds a copy of it.
  wipe(kdfLabel)
  return expanded
}

/** DeriveSecret (RFC 9420 section 8) under our prefix: as long as the hash, without context. */
export function deriveSecret(
  crypto: Crypto,
  hash: HashName,
  derivation: { readonly secret: Uint8Array; readonly label: KdfLabel },
): Uint8Array {
  const length = HASH_LENGTHS[hash]
  return expandWithLabel(crypto, hash, { ...derivation, context: NO_CONTEXT, length })
}

const NO_CONTEXT = new Uint8Array(0)

const signContent = struct({ label: utf8(255), content: opaque(VARINT_MAX) })
const kdfLabel = struct({ length: u16, label: utf8(255), context: opaque(VARINT_MAX) })

/** SignContent of RFC 9420 section 5.1.2. `label` is the whole label, prefix included. */
export function encodeSignContent(label: string, content: Uint8Array): Uint8Array {
  return encode(signContent, { label, content })
}

/** KDFLabel of RFC 9420 section 8. `label` is the whole label, prefix included. */
export function encodeKdfLabel(
  fields: { readonly label: string; readonly context: Uint8Array; readonly length: number },
): Uint8Array {
  return encode(kdfLabel, fields)
}
