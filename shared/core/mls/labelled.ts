/**
 * The labelled primitives of RFC 9420: KDF (section 8), signatures (5.1.2), public-key encryption
 * (5.1.3) and references (5.2). The only way in which the engine signs, expands or encrypts; owns
 * the prefix `MLS 1.0 ` and the closed sets of labels, and no key.
 */
import { EMPTY, utf8Encode, wipe } from '#core/base/bytes.ts'
import type { Entropy } from '#core/base/ports.ts'
import { encodeKdfLabel, encodeSignContent } from '#core/crypto/labels.ts'
import type { CipherSuite } from '#core/mls/cipher-suite.ts'
import { encode, opaque, struct, VARINT_MAX } from '#core/wire/codec.ts'

const PREFIX = 'MLS 1.0 '

/** What a signature key of a leaf, a group or an external sender signs in MLS. */
export type MlsSignatureLabel =
  | 'FramedContentTBS'
  | 'LeafNodeTBS'
  | 'KeyPackageTBS'
  | 'GroupInfoTBS'

/** ExpandWithLabel (RFC 9420 section 8). The caller wipes the result. */
export function expandWithLabel(
  suite: CipherSuite,
  secret: Uint8Array,
  expansion: { readonly label: string; readonly context: Uint8Array; readonly length: number },
): Uint8Array {
  const { label, context, length } = expansion
  const kdfLabel = encodeKdfLabel({ label: PREFIX + label, context, length })
  const expanded = suite.expand(secret, kdfLabel, length)
  wipe(kdfLabel)
  return expanded
}

/** DeriveSecret (RFC 9420 section 8): as long as the hash, without context. */
export function deriveSecret(suite: CipherSuite, secret: Uint8Array, label: string): Uint8Array {
  return expandWithLabel(suite, secret, { label, context: EMPTY, length: suite.hashLength })
}

/** SignWithLabel (RFC 9420 section 5.1.2). `content` is an encoded TBS structure. */
export function signWithLabel(
  suite: CipherSuite,
  secretKey: Uint8Array,
  signing: { readonly label: MlsSignatureLabel; readonly content: Uint8Array },
): Promise<Uint8Array> {
  return suite.sign(secretKey, encodeSignContent(PREFIX + signing.label, signing.content))
}

/** VerifyWithLabel (RFC 9420 section 5.1.2); false for any malformed input. */
export function verifyWithLabel(
  suite: CipherSuite,
  signed: {
    readonly publicKey: Uint8Array
    readonly label: MlsSignatureLabel
    readonly content: Uint8Array
    readonly signature: Uint8Array
  },
): Promise<boolean> {
  const { publicKey, label, content, signature } = signed
  return suite.verify({ publicKey, content: encodeSignContent(PREFIX + label, content), signature })
}

/** HPKECiphertext (RFC 9420 section 7.6). */
export interface HpkeCiphertext {
  readonly kemOutput: Uint8Array
  readonly ciphertext: Uint8Array
}

/** What stands encrypted to a node (`UpdatePathNode`) or to a new member (`Welcome`). */
export type MlsEncryptionLabel = 'UpdatePathNode' | 'Welcome'

/** EncryptWithLabel (RFC 9420 section 5.1.3); null for a malformed public key. */
export async function encryptWithLabel(
  suite: CipherSuite,
  to: {
    readonly publicKey: Uint8Array
    readonly label: MlsEncryptionLabel
    readonly context: Uint8Array
    readonly plaintext: Uint8Array
  },
  entropy: Entropy,
): Promise<HpkeCiphertext | null> {
  const randomness = entropy.randomBytes(suite.encapsulationEntropyLength)
  const info = encryptContext(to.label, to.context)
  const { publicKey, plaintext } = to
  const sealed = await suite.hpkeSeal({ publicKey, info, randomness }, plaintext)
  wipe(randomness)
  return sealed && { kemOutput: sealed.enc, ciphertext: sealed.ciphertext }
}

/** DecryptWithLabel (RFC 9420 section 5.1.3); null when it does not open. */
export function decryptWithLabel(
  suite: CipherSuite,
  secretKey: Uint8Array,
  from: HpkeCiphertext & { readonly label: MlsEncryptionLabel; readonly context: Uint8Array },
): Promise<Uint8Array | null> {
  const info = encryptContext(from.label, from.context)
  return suite.hpkeOpen({ secretKey, enc: from.kemOutput, info }, from.ciphertext)
}

const refHashInput = struct({ label: opaque(255), value: opaque(VARINT_MAX) })

/** RefHash (RFC 9420 section 5.2): of a KeyPackage or of an AuthenticatedContent. */
export function refHash(
  suite: CipherSuite,
  kind: 'KeyPackage' | 'Proposal',
  value: Uint8Array,
): Uint8Array {
  const label = utf8Encode(`${PREFIX}${kind} Reference`)
  return suite.hash(encode(refHashInput, { label, value }))
}

/** EncryptContext has the form of SignContent. */
function encryptContext(label: string, context: Uint8Array): Uint8Array {
  return encodeSignContent(PREFIX + label, context)
}
