/**
 * The leaf of this device (ID-5, POLICY-1): what it says of itself in a room of a suite, and for
 * how long. Owns no tree and no group.
 */
import type { TimeMs } from '#core/base/ids.ts'
import { LIMITS } from '#core/base/limits.ts'
import { type Suite } from '#core/crypto/suites.ts'
import type { AccountRecord } from '#core/device/records.ts'
import type { Turn } from '#core/device/turn.ts'
import { certificateHash } from '#core/identity/certificate.ts'
import { encodeIdentity } from '#core/identity/leaf-identity.ts'
import { CREDENTIAL_TYPE } from '#core/mls/credential.ts'
import { MLS_VERSION } from '#core/mls/key-package.ts'
import type { Lifetime } from '#core/mls/leaf-node.ts'
import type { LeafTemplate } from '#core/mls/own-leaf.ts'
import { ROOM_EXTENSION_TYPES } from '#core/policy/room-policy.ts'

/** The device's signature key in the algorithm of a suite. */
export function signatureKeyOf(account: AccountRecord, suite: Suite) {
  return suite.signature === 'p384' ? account.p384 : account.ed25519
}

/** What every leaf of this device has in a suite (ID-5). */
export function leafTemplate(turn: Turn, account: AccountRecord, suite: Suite): LeafTemplate {
  const identity = encodeIdentity({
    account: account.name,
    device: account.device,
    manifestVersion: 1,
    rootHash: account.rootHash,
    certificateHash: certificateHash(turn.ports.crypto, account.certificate),
  })
  return {
    credential: { kind: 'basic', identity },
    signatureKey: signatureKeyOf(account, suite).publicKey,
    capabilities: {
      versions: [MLS_VERSION],
      cipherSuites: [suite.id],
      extensions: ROOM_EXTENSION_TYPES,
      proposals: [],
      credentials: [CREDENTIAL_TYPE.basic],
    },
    extensions: [],
  }
}

/** How long a KeyPackage is good: from a day ago, for clocks that are slow. */
export function leafLifetime(
  nowMs: TimeMs,
): { readonly lifetime: Lifetime; readonly notAfter: TimeMs } {
  const notAfter = nowMs + LIMITS.keyPackageLifetimeMs as TimeMs
  const seconds = (timeMs: number) => BigInt(Math.floor(timeMs / 1_000))
  const notBefore = nowMs - LIMITS.keyPackageBackdateMs
  return { lifetime: { notBefore: seconds(notBefore), notAfter: seconds(notAfter) }, notAfter }
}
