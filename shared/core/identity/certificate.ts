/**
 * Accounts and their certificates (ID-2 to ID-7): root, account signing key, manifest of devices,
 * the hub's attestation. Owns encodings, making and verifying; owns no storage, no trust decision
 * of a person, and no clock.
 */
import { concat, equalBytes, wipe } from '#core/base/bytes.ts'
import type { AccountName, DeviceId, HubDomain, TimeMs } from '#core/base/ids.ts'
import { LIMITS } from '#core/base/limits.ts'
import type { Crypto, KeyPair, SignatureName } from '#core/crypto/crypto.ts'
import { LABELS, signWithLabel, verifyWithLabel } from '#core/crypto/labels.ts'
import { parseAccountName } from '#core/identity/account-name.ts'
import { accountNameCodec, deviceIdCodec } from '#core/wire/bodies.ts'
import { hubDomainCodec, timeCodec } from '#core/wire/bodies.ts'
import { decode, encode, enumU8, fixed, type Infer, opaque } from '#core/wire/codec.ts'
import { optional, struct, u32, utf8, vector } from '#core/wire/codec.ts'
import { extensions, format, NO_EXTENSIONS, STRUCTURE_VERSION } from '#core/wire/structure.ts'

const ED25519_SIGNATURE_LENGTH = 64
const MLDSA65_SIGNATURE_LENGTH = 3_309

/** Both public halves of an account root; both signatures must verify (ID-2). */
export const accountRootCodec = struct({ ed25519: fixed(32), mldsa65: fixed(1_952) })
export type AccountRoot = Infer<typeof accountRootCodec>

const accountContent = struct({
  format: format('account certificate'),
  account: accountNameCodec,
  root: accountRootCodec,
  /** Ed25519 key that signs manifests (ID-2). */
  signingKey: fixed(32),
  /** Grows with every new signing key of the account. */
  serial: u32,
  extensions,
})

const deviceKey = struct({
  signature: enumU8({ ed25519: 1, p384: 2 }),
  publicKey: opaque(133, 32),
})

/** A device in a manifest. `name` is the person's own word for it. */
export const manifestDeviceCodec = struct({
  device: deviceIdCodec,
  name: utf8(LIMITS.deviceNameMax * 4),
  keys: vector(deviceKey, 4),
})
export type ManifestDevice = Infer<typeof manifestDeviceCodec>

const manifestContent = struct({
  format: format('manifest'),
  account: accountNameCodec,
  /** 1 for the first; each names the hash of the one before (ID-3). */
  version: u32,
  previousHash: opaque(32),
  kind: enumU8({ person: 0, agent: 1 }),
  owner: optional(accountNameCodec),
  devices: vector(manifestDeviceCodec, LIMITS.devicesPerAccountMax),
  extensions,
})

const attestationContent = struct({
  format: format('attestation'),
  hubDomain: hubDomainCodec,
  hubKey: fixed(32),
  account: accountNameCodec,
  rootHash: fixed(32),
  time: timeCodec,
  extensions,
})

/** The hub's word on name and root, as it travels alone (ID-4). */
export const attestationCodec = struct({
  content: attestationContent,
  signature: fixed(ED25519_SIGNATURE_LENGTH),
})

/** Everything that a stranger needs to check a leaf's identity; about 6 KB (ID-6). */
export const certificateCodec = struct({
  account: struct({
    content: accountContent,
    ed25519: fixed(ED25519_SIGNATURE_LENGTH),
    mldsa65: fixed(MLDSA65_SIGNATURE_LENGTH),
  }),
  manifest: struct({ content: manifestContent, signature: fixed(ED25519_SIGNATURE_LENGTH) }),
  attestation: optional(attestationCodec),
})
export type Certificate = Infer<typeof certificateCodec>

/** Secret halves of an account and of its first device; wiped by whoever holds them. */
export interface AccountSecrets {
  readonly rootEd25519: KeyPair
  readonly rootMldsa65: KeyPair
  readonly signing: KeyPair
}

/** Three seeds of 32 bytes: root Ed25519, root ML-DSA-65, signing key. */
export const ACCOUNT_SEED_LENGTH = 96

/** Derives the three key pairs of an account from 96 fresh random bytes, which are wiped. */
export function accountSecrets(crypto: Crypto, seed: Uint8Array): AccountSecrets {
  const secrets = {
    rootEd25519: crypto.signatureKeyPair('ed25519', seed.slice(0, 32)),
    rootMldsa65: crypto.signatureKeyPair('mldsa65', seed.slice(32, 64)),
    signing: crypto.signatureKeyPair('ed25519', seed.slice(64, 96)),
  }
  wipe(seed)
  return secrets
}

/** SHA-256 of the encoded root, 32 bytes: what a person compares, and what links carry (ID-2). */
export function rootHash(crypto: Crypto, root: AccountRoot): Uint8Array {
  return crypto.hash('sha256', encode(accountRootCodec, root))
}

/** SHA-256 of an encoded certificate, 32 bytes (ID-5). */
export function certificateHash(crypto: Crypto, certificate: Uint8Array): Uint8Array {
  return crypto.hash('sha256', certificate)
}

export interface CertificateRequest {
  readonly account: AccountName
  readonly secrets: AccountSecrets
  readonly devices: readonly ManifestDevice[]
  /** Count of signing keys that the account has had, 1 for the first. */
  readonly serial?: number
  /** Version and hash of the manifest before; absent for the first. */
  readonly after?: { readonly version: number; readonly hash: Uint8Array }
}

/** Makes a certificate of an account, without attestation (ID-2, ID-3). */
export async function makeCertificate(
  crypto: Crypto,
  request: CertificateRequest,
): Promise<Uint8Array> {
  const { account, secrets } = request
  const accountPart: Infer<typeof accountContent> = {
    format: STRUCTURE_VERSION,
    account,
    root: { ed25519: secrets.rootEd25519.publicKey, mldsa65: secrets.rootMldsa65.publicKey },
    signingKey: secrets.signing.publicKey,
    serial: request.serial ?? 1,
    extensions: NO_EXTENSIONS,
  }
  const manifestPart: Infer<typeof manifestContent> = {
    format: STRUCTURE_VERSION,
    account,
    version: (request.after?.version ?? 0) + 1,
    previousHash: request.after?.hash ?? new Uint8Array(0),
    kind: 'person',
    owner: null,
    devices: [...request.devices],
    extensions: NO_EXTENSIONS,
  }
  const content = encode(accountContent, accountPart)
  return encode(certificateCodec, {
    account: {
      content: accountPart,
      ed25519: await signWithLabel(crypto, {
        algorithm: 'ed25519',
        secretKey: secrets.rootEd25519.secretKey,
        label: LABELS.accountCertificateEd25519,
        content,
      }),
      mldsa65: await signWithLabel(crypto, {
        algorithm: 'mldsa65',
        secretKey: secrets.rootMldsa65.secretKey,
        label: LABELS.accountCertificateMldsa65,
        content,
      }),
    },
    manifest: {
      content: manifestPart,
      signature: await signWithLabel(crypto, {
        algorithm: 'ed25519',
        secretKey: secrets.signing.secretKey,
        label: LABELS.manifest,
        content: encode(manifestContent, manifestPart),
      }),
    },
    attestation: null,
  })
}

export interface VerifiedCertificate {
  readonly kind: 'verified'
  readonly account: AccountName
  readonly rootHash: Uint8Array
  /** In the order of all manifests of the account: the signing key's serial goes before (ID-3). */
  readonly manifestVersion: number
  readonly devices: readonly ManifestDevice[]
  /** Hash of the bytes that were verified; what a leaf's credential names (ID-5). */
  readonly hash: Uint8Array
  readonly attestedBy: HubDomain | null
}

export interface CertificateRefused {
  readonly kind: 'refused'
  readonly code:
    | 'malformed'
    | 'badName'
    | 'namesDiffer'
    | 'badRootSignature'
    | 'badManifest'
    | 'notAttested'
    | 'badAttestation'
}

export interface CertificateExpectation {
  /** Key that the attestation must be signed with; null when none is required yet (ID-4). */
  readonly hubKey: Uint8Array | null
}

/** Verifies every signature and relation inside a certificate (ID-2 to ID-4). */
export async function verifyCertificate(
  crypto: Crypto,
  bytes: Uint8Array,
  expected: CertificateExpectation,
): Promise<VerifiedCertificate | CertificateRefused> {
  const refused = (code: CertificateRefused['code']): CertificateRefused => ({
    kind: 'refused',
    code,
  })
  if (bytes.length > LIMITS.certificateSizeMax) return refused('malformed')
  const decoded = decode(certificateCodec, bytes)
  if (decoded.kind === 'malformed') return refused('malformed')
  const { account, manifest, attestation } = decoded.value
  const parts = parseAccountName(account.content.account)
  if (parts === null) return refused('badName')
  if (account.content.account !== manifest.content.account) return refused('namesDiffer')
  if (!await rootSigned(crypto, account)) return refused('badRootSignature')
  const manifestSigned = await verifyWithLabel(crypto, {
    algorithm: 'ed25519',
    publicKey: account.content.signingKey,
    label: LABELS.manifest,
    content: encode(manifestContent, manifest.content),
    signature: manifest.signature,
  })
  if (!manifestSigned || !manifestSound(manifest.content)) return refused('badManifest')
  const { serial } = account.content
  if (serial < 1 || serial > COUNT_MAX) return refused('badManifest')
  const root = rootHash(crypto, account.content.root)
  if (expected.hubKey !== null) {
    if (attestation === null) return refused('notAttested')
    const attested = await attests(crypto, decoded.value, expected.hubKey)
    if (!attested) return refused('badAttestation')
  }
  return {
    kind: 'verified',
    account: account.content.account,
    rootHash: root,
    manifestVersion: orderOf(account.content.serial, manifest.content.version),
    devices: manifest.content.devices,
    hash: certificateHash(crypto, bytes),
    attestedBy: attestation?.content.hubDomain ?? null,
  }
}

/** Whether the hub of this key attests name and root of a certificate; all else is unjudged. */
export function isAttested(
  crypto: Crypto,
  bytes: Uint8Array,
  hubKey: Uint8Array,
): Promise<boolean> {
  const decoded = decode(certificateCodec, bytes)
  if (decoded.kind === 'malformed') return Promise.resolve(false)
  return attests(crypto, decoded.value, hubKey)
}

async function attests(
  crypto: Crypto,
  { account, attestation }: Certificate,
  hubKey: Uint8Array,
): Promise<boolean> {
  if (attestation === null) return false
  const { content } = attestation
  return equalBytes(content.hubKey, hubKey) &&
    equalBytes(content.rootHash, rootHash(crypto, account.content.root)) &&
    content.account === account.content.account &&
    content.hubDomain === parseAccountName(account.content.account)?.domain &&
    await attestationSigned(crypto, attestation)
}

async function rootSigned(crypto: Crypto, account: Certificate['account']): Promise<boolean> {
  const content = encode(accountContent, account.content)
  const { root } = account.content
  const ed25519 = await verifyWithLabel(crypto, {
    algorithm: 'ed25519',
    publicKey: root.ed25519,
    label: LABELS.accountCertificateEd25519,
    content,
    signature: account.ed25519,
  })
  return ed25519 && await verifyWithLabel(crypto, {
    algorithm: 'mldsa65',
    publicKey: root.mldsa65,
    label: LABELS.accountCertificateMldsa65,
    content,
    signature: account.mldsa65,
  })
}

/** Of serials and of manifest versions. */
const COUNT_MAX = 0xffff

/**
 * One number for the order of manifests: those under a newer signing key are above all others.
 * *Whoever stole the key of before could go on to any version.*
 */
function orderOf(serial: number, version: number): number {
  return (serial - 1) * (COUNT_MAX + 1) + version
}

function manifestSound(manifest: Infer<typeof manifestContent>): boolean {
  const { version, previousHash, devices } = manifest
  if (version === 0 || version > COUNT_MAX || (version === 1) !== (previousHash.length === 0)) {
    return false
  }
  if (previousHash.length !== 0 && previousHash.length !== 32) return false
  const ids = new Set(devices.map((device) => device.device.join(',')))
  if (ids.size !== devices.length || devices.length === 0) return false
  return devices.every((device) =>
    new Set(device.keys.map((key) => key.signature)).size === device.keys.length &&
    device.keys.some((key) => key.signature === 'ed25519')
  )
}

function attestationSigned(
  crypto: Crypto,
  attestation: NonNullable<Certificate['attestation']>,
): Promise<boolean> {
  return verifyWithLabel(crypto, {
    algorithm: 'ed25519',
    publicKey: attestation.content.hubKey,
    label: LABELS.attestation,
    content: encode(attestationContent, attestation.content),
    signature: attestation.signature,
  })
}

export interface Attester {
  readonly hubDomain: HubDomain
  readonly key: KeyPair
  readonly time: TimeMs
}

/**
 * The hub's attestation of name and root (ID-4), encoded. The certificate must have been verified
 * and the name must be of this hub; both are the caller's duty.
 */
export async function makeAttestation(
  crypto: Crypto,
  verified: VerifiedCertificate,
  attester: Attester,
): Promise<Uint8Array> {
  const content: Infer<typeof attestationContent> = {
    format: STRUCTURE_VERSION,
    hubDomain: attester.hubDomain,
    hubKey: attester.key.publicKey,
    account: verified.account,
    rootHash: verified.rootHash,
    time: attester.time,
    extensions: NO_EXTENSIONS,
  }
  const signature = await signWithLabel(crypto, {
    algorithm: 'ed25519',
    secretKey: attester.key.secretKey,
    label: LABELS.attestation,
    content: encode(attestationContent, content),
  })
  return encode(attestationCodec, { content, signature })
}

/** The certificate with this attestation in it; null when either does not decode (ID-6). */
export function attachAttestation(
  certificate: Uint8Array,
  attestation: Uint8Array,
): Uint8Array | null {
  const outer = decode(certificateCodec, certificate)
  const inner = decode(attestationCodec, attestation)
  if (outer.kind === 'malformed' || inner.kind === 'malformed') return null
  return encode(certificateCodec, { ...outer.value, attestation: inner.value })
}

/** Public key of a device for a signature algorithm, or null (ID-7). */
export function deviceKeyOf(
  certificate: Pick<VerifiedCertificate, 'devices'>,
  device: DeviceId,
  algorithm: SignatureName,
): Uint8Array | null {
  const found = certificate.devices.find((candidate) => equalBytes(candidate.device, device))
  return found?.keys.find((key) => key.signature === algorithm)?.publicKey ?? null
}

/** 8-byte id of a hub key: the start of its SHA-256 (LOG-3). */
export function hubKeyId(crypto: Crypto, hubKey: Uint8Array): Uint8Array {
  return crypto.hash('sha256', concat(hubKey)).subarray(0, 8)
}
