/**
 * Accounts and KeyPackages: registering, proving a device, publishing and claiming (ID-4, SES-3,
 * DIR-1 to DIR-4). Owns the rules of these requests; the store is the `Directory`, and sessions and
 * answers are the caller's.
 */
import { equalBytes } from '#core/base/bytes.ts'
import type { AccountName, DeviceId, TimeMs } from '#core/base/ids.ts'
import { LIMITS } from '#core/base/limits.ts'
import { parseAccountName } from '#core/identity/account-name.ts'
import {
  attachAttestation,
  attestationCodec,
  certificateCodec,
} from '#core/identity/certificate.ts'
import { certificateHash, deviceKeyOf, makeAttestation } from '#core/identity/certificate.ts'
import { verifyCertificate } from '#core/identity/certificate.ts'
import type { SessionChallenge } from '#core/identity/session-proof.ts'
import { verifySessionChallenge } from '#core/identity/session-proof.ts'
import { identityOf } from '#core/policy/roster.ts'
import { BODIES, type Body } from '#core/wire/bodies.ts'
import { decode, encode } from '#core/wire/codec.ts'
import type { Refusal } from '#core/wire/refusals.ts'
import { refusalOf, UNAVAILABLE } from '#hub/gateway/answering.ts'
import { readKeyPackage } from '#hub/gateway/key-packages.ts'
import { type Hub, nowMs, REGISTRATION_RATE } from '#hub/gateway/model.ts'
import { spend } from '#hub/gateway/rate.ts'
import type { StoredAccount, StoredKeyPackage } from '#hub/ports.ts'
import { type Author, isSameDevice } from '#hub/sequencer/group-view.ts'

export type Registration =
  | { readonly kind: 'registered'; readonly attestation: Uint8Array; readonly isNew: boolean }
  | { readonly kind: 'refused'; readonly refusal: Refusal }

/**
 * Attests name and root, first come, first served (ID-4). The very same certificate may come again,
 * since its answer may have been lost; it gets the attestation that it got. Anybody may ask, so a
 * name that is taken costs no signature check, and the others are limited for all guests together.
 */
export async function register(hub: Hub, certificate: Uint8Array): Promise<Registration> {
  const { crypto, directory, identity } = hub.ports
  const refused = (refusal: Refusal): Registration => ({ kind: 'refused', refusal })
  const name = claimedName(certificate)
  if (name === null || parseAccountName(name)?.domain !== identity.domain) {
    return refused({ kind: 'badCertificate' })
  }
  try {
    const before = await directory.readAccount(name)
    if (before !== null) {
      const attestation = attestationOf(before, certificate)
      if (attestation === null) return refused({ kind: 'nameTaken' })
      return { kind: 'registered', attestation, isNew: false }
    }
    const spent = spend(hub.registrations, REGISTRATION_RATE, nowMs(hub))
    if (spent.kind === 'spent') hub.registrations = spent.bucket
    const tooMany = refusalOf(spent)
    if (tooMany !== null) return refused(tooMany)
    const verified = await verifyCertificate(crypto, certificate, { hubKey: null })
    if (verified.kind === 'refused') return refused({ kind: 'badCertificate' })
    const { account, rootHash } = verified
    const attestation = await makeAttestation(crypto, verified, {
      hubDomain: identity.domain,
      key: { publicKey: identity.publicKey, secretKey: identity.secretKey },
      time: nowMs(hub),
    })
    const attested = attachAttestation(certificate, attestation)
    if (attested === null) return refused({ kind: 'badCertificate' })
    // What is stored is given to others under the bound of a certificate (DIR-4).
    if (attested.length > LIMITS.certificateSizeMax) {
      return refused({ kind: 'oversized', sizeMax: LIMITS.certificateSizeMax })
    }
    const outcome = await directory.register({ account, rootHash, certificate: attested })
    if (outcome === 'nameTaken') return refused({ kind: 'nameTaken' })
    return { kind: 'registered', attestation, isNew: true }
  } catch {
    return refused(UNAVAILABLE)
  }
}

/** The account that a certificate names, which nothing has borne out; null when it is malformed. */
function claimedName(certificate: Uint8Array): AccountName | null {
  if (certificate.length > LIMITS.certificateSizeMax) return null
  const decoded = decode(certificateCodec, certificate)
  return decoded.kind === 'malformed' ? null : decoded.value.account.content.account
}

/** The attestation of an account if `certificate` is the one that it registered with; else null. */
function attestationOf(account: StoredAccount, certificate: Uint8Array): Uint8Array | null {
  const stored = decode(certificateCodec, account.certificate)
  if (stored.kind === 'malformed' || stored.value.attestation === null) return null
  const attestation = encode(attestationCodec, stored.value.attestation)
  const again = attachAttestation(certificate, attestation)
  return again !== null && equalBytes(again, account.certificate) ? attestation : null
}

export type Proof =
  | { readonly kind: 'proven'; readonly keyPackagesLeft: number }
  | { readonly kind: 'refused'; readonly refusal: Refusal }

/** Whether the device signed the challenge of this session (SES-3). */
export async function proveDevice(
  hub: Hub,
  challenge: SessionChallenge,
  signature: Uint8Array,
): Promise<Proof> {
  const { crypto, directory } = hub.ports
  const { account, device } = challenge
  const refused = (refusal: Refusal): Proof => ({ kind: 'refused', refusal })
  try {
    const stored = await directory.readAccount(account)
    const publicKey = stored === null ? null : deviceKey(stored, device)
    if (publicKey === null) return refused({ kind: 'unknownDevice' })
    const proven = await verifySessionChallenge(crypto, challenge, { publicKey, signature })
    if (!proven) return refused({ kind: 'wrongSignature' })
    const left = await directory.countKeyPackages(account, device)
    return { kind: 'proven', keyPackagesLeft: Math.min(left, 0xffff) }
  } catch {
    return refused(UNAVAILABLE)
  }
}

/** Ed25519 key of a device; the certificate was verified when it was stored. */
function deviceKey(stored: StoredAccount, device: DeviceId): Uint8Array | null {
  const decoded = decode(certificateCodec, stored.certificate)
  if (decoded.kind === 'malformed') return null
  return deviceKeyOf(decoded.value.manifest.content, device, 'ed25519')
}

/** Stores KeyPackages of the session's own device; null when they are stored (DIR-1). */
export async function publish(
  hub: Hub,
  owner: Author,
  body: Body<'publishKeyPackages'>,
): Promise<Refusal | null> {
  const { directory } = hub.ports
  try {
    const account = await directory.readAccount(owner.account)
    if (account === null) return { kind: 'unknownDevice' }
    const single: StoredKeyPackage[] = []
    for (const keyPackage of body.keyPackages) {
      const read = await readOwn(hub, { owner, account, keyPackage })
      if ('kind' in read) return read
      single.push(read)
    }
    const lastResort = body.lastResort === null
      ? null
      : await readOwn(hub, { owner, account, keyPackage: body.lastResort })
    if (lastResort !== null && 'kind' in lastResort) return lastResort
    const outcome = await directory.publish(owner, { single, lastResort })
    return outcome === 'tooMany' ? { kind: 'tooMany', retryAfterMs: 0 } : null
  } catch {
    return UNAVAILABLE
  }
}

/** A KeyPackage must carry the identity and the key of the device that publishes it (ID-5). */
async function readOwn(
  hub: Hub,
  own: {
    readonly owner: Author
    readonly account: StoredAccount
    readonly keyPackage: Uint8Array
  },
): Promise<StoredKeyPackage | Refusal> {
  const { owner, account, keyPackage } = own
  const { crypto } = hub.ports
  const read = await readKeyPackage(crypto, keyPackage)
  if (read.kind !== 'read') return read
  const { suite, leafNode, reference, notAfter } = read
  const identity = identityOf(leafNode)
  const certificate = decode(certificateCodec, account.certificate)
  if (identity === null || certificate.kind === 'malformed') return { kind: 'badCertificate' }
  const key = deviceKeyOf(certificate.value.manifest.content, owner.device, suite.signature)
  const isOwn = isSameDevice(identity, owner) &&
    identity.manifestVersion === certificate.value.manifest.content.version &&
    equalBytes(identity.rootHash, account.rootHash) &&
    equalBytes(identity.certificateHash, certificateHash(crypto, account.certificate)) &&
    key !== null && equalBytes(key, leafNode.signatureKey)
  if (!isOwn) return { kind: 'badCertificate' }
  if (notAfter <= nowMs(hub)) return { kind: 'notAllowed' }
  return { reference, suite: suite.id, keyPackage, notAfter }
}

type Claimed = Body<'keyPackages'>['claimed'][number]

/** One KeyPackage for each device of an account; answers have one size for all accounts (DIR-4). */
export async function claim(
  hub: Hub,
  body: Body<'claimKeyPackages'>,
): Promise<Body<'keyPackages'> | Refusal> {
  const { directory } = hub.ports
  const { request, account, suite } = body
  try {
    const stored = await directory.readAccount(account)
    const given = stored === null
      ? []
      : await directory.claim(account, { suite, nowMs: nowMs(hub) as TimeMs })
    const claimed = given.map(({ device, keyPackage, lastResort }): Claimed => ({
      device,
      keyPackage,
      lastResort,
      certificate: stored?.certificate ?? new Uint8Array(0),
    }))
    return padded({ request, claimed: claimed.slice(0, LIMITS.devicesPerAccountMax) })
  } catch {
    return UNAVAILABLE
  }
}

/** Fills the answer to `claimAnswerSize` bytes; devices that do not fit are left out. */
function padded(
  answer: {
    readonly request: Body<'keyPackages'>['request']
    readonly claimed: readonly Claimed[]
  },
): Body<'keyPackages'> {
  const [, codec] = BODIES.keyPackages
  let claimed = answer.claimed
  for (;;) {
    const bare = encode(codec, { ...answer, claimed, padding: new Uint8Array(0) }).length - 1
    const length = LIMITS.claimAnswerSize - bare - PADDING_PREFIX_LENGTH
    if (length >= PADDING_LENGTH_MIN) {
      return { ...answer, claimed, padding: new Uint8Array(length) }
    }
    claimed = claimed.slice(0, -1)
  }
}

/** From this length on a prefix has four bytes (RFC 9420 section 2.1.2). */
const PADDING_LENGTH_MIN = 0x4000
const PADDING_PREFIX_LENGTH = 4
