/**
 * Whether certificates bear out the leaves that somebody brings (ID-6, ID-7). Owns the check; what
 * follows from a leaf that is not borne out is the caller's.
 */
import { toHex } from '#core/base/bytes.ts'
import type { Crypto } from '#core/crypto/crypto.ts'
import type { Suite } from '#core/crypto/suites.ts'
import {
  certificateHash,
  type VerifiedCertificate,
  verifyCertificate,
} from '#core/identity/certificate.ts'
import { decodeIdentity, leafIsCertified } from '#core/identity/leaf-identity.ts'
import type { CertifiedLeaf } from '#hub/sequencer/group-view.ts'

/** What a leaf or a KeyPackage claims. */
export interface ClaimedLeaf {
  /** Identity of the basic credential, encoded (ID-5). */
  readonly identity: Uint8Array
  readonly signatureKey: Uint8Array
}

/** Verified certificates by their hash in hex. */
export type Certificates = ReadonlyMap<string, VerifiedCertificate>

/**
 * True when each certificate is named by a leaf and there are no more of them than leaves (ID-6):
 * what stands for nobody is neither checked nor stored. Two devices of an account may name one
 * certificate, which then may come twice.
 */
export function allNamed(
  crypto: Crypto,
  certificates: readonly Uint8Array[],
  leaves: readonly ClaimedLeaf[],
): boolean {
  if (certificates.length > leaves.length) return false
  const named = new Set(leaves.map(({ identity }) => {
    const decoded = decodeIdentity(identity)
    return decoded === null ? '' : toHex(decoded.certificateHash)
  }))
  return certificates.every((bytes) => named.has(toHex(certificateHash(crypto, bytes))))
}

/** All of them verified and attested by this hub; null when one is not. */
export async function verifyAll(
  crypto: Crypto,
  certificates: readonly Uint8Array[],
  hubKey: Uint8Array,
): Promise<Certificates | null> {
  const verified = new Map<string, VerifiedCertificate>()
  const outcomes = await Promise.all(
    certificates.map((bytes) => verifyCertificate(crypto, bytes, { hubKey })),
  )
  for (const outcome of outcomes) {
    if (outcome.kind === 'refused') return null
    verified.set(toHex(outcome.hash), outcome)
  }
  return verified
}

/** The leaf, if one of the certificates proves what it claims; else null (ID-7). */
export function certifyLeaf(
  claimed: ClaimedLeaf,
  certificates: Certificates,
  suite: Suite,
): CertifiedLeaf | null {
  const identity = decodeIdentity(claimed.identity)
  if (identity === null) return null
  const certificate = certificates.get(toHex(identity.certificateHash))
  if (certificate === undefined) return null
  const { signatureKey } = claimed
  if (!leafIsCertified({ identity, signatureKey, algorithm: suite.signature }, certificate)) {
    return null
  }
  const { account, device, manifestVersion } = identity
  return {
    account,
    device,
    manifestVersion,
    rootHash: certificate.rootHash,
    identity: claimed.identity,
    signatureKey,
  }
}
