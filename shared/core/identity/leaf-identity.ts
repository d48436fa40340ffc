/**
 * What a leaf says of its member (ID-5): the identity inside the basic credential, and the check
 * that a certificate bears it out (ID-7). Owns no trust decision of a person.
 */
import { equalBytes } from '#core/base/bytes.ts'
import { LIMITS } from '#core/base/limits.ts'
import type { SignatureName } from '#core/crypto/crypto.ts'
import { deviceKeyOf, type VerifiedCertificate } from '#core/identity/certificate.ts'
import { accountNameCodec, deviceIdCodec } from '#core/wire/bodies.ts'
import { decode, encode, fixed, type Infer, struct, u32 } from '#core/wire/codec.ts'
import { extensions, format, NO_EXTENSIONS, STRUCTURE_VERSION } from '#core/wire/structure.ts'

const leafIdentityCodec = struct({
  format: format('leaf identity'),
  account: accountNameCodec,
  device: deviceIdCodec,
  manifestVersion: u32,
  /** SHA-256 of the account's root, so that a tree alone tells one root from another (ID-7). */
  rootHash: fixed(32),
  certificateHash: fixed(32),
  extensions,
})

/** Account, device, manifest version, root hash and certificate hash of one leaf (ID-5). */
export type LeafIdentity = Omit<Infer<typeof leafIdentityCodec>, 'format' | 'extensions'>

/** The identity of an MLS basic credential (RFC 9420 section 5.3). */
export function encodeIdentity(identity: LeafIdentity): Uint8Array {
  return encode(leafIdentityCodec, {
    ...identity,
    format: STRUCTURE_VERSION,
    extensions: NO_EXTENSIONS,
  })
}

/** Null for anything but an encoded leaf identity of at most `leafIdentitySizeMax` bytes. */
export function decodeIdentity(bytes: Uint8Array): LeafIdentity | null {
  if (bytes.length > LIMITS.leafIdentitySizeMax) return null
  const decoded = decode(leafIdentityCodec, bytes)
  if (decoded.kind === 'malformed') return null
  const { account, device, manifestVersion, rootHash, certificateHash } = decoded.value
  return { account, device, manifestVersion, rootHash, certificateHash }
}

export interface LeafClaim {
  readonly identity: LeafIdentity
  readonly signatureKey: Uint8Array
  readonly algorithm: SignatureName
}

/** True when the certificate proves all that the leaf claims, key included (ID-7). */
export function leafIsCertified(claim: LeafClaim, certificate: VerifiedCertificate): boolean {
  const { identity } = claim
  const key = deviceKeyOf(certificate, identity.device, claim.algorithm)
  return identity.account === certificate.account &&
    identity.manifestVersion === certificate.manifestVersion &&
    equalBytes(identity.rootHash, certificate.rootHash) &&
    equalBytes(identity.certificateHash, certificate.hash) &&
    key !== null && equalBytes(key, claim.signatureKey)
}
