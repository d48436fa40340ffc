/**
 * The account on this device (ID-2 to ID-6, DIR-1 to DIR-3): choosing a name, making the
 * certificate, registering it, keeping KeyPackages at the hub. Owns no rooms.
 */
import { toHex, wipe } from '#core/base/bytes.ts'
import { DEVICE_ID_LENGTH, type DeviceId, type RequestId } from '#core/base/ids.ts'
import { LIMITS } from '#core/base/limits.ts'
import { SIGNATURE_SEED_LENGTH } from '#core/crypto/crypto.ts'
import { suiteById } from '#core/crypto/suites.ts'
import type { CommandError } from '#core/device/io.ts'
import { type AccountRecord, keyPackageRecordCodec } from '#core/device/records.ts'
import type { KeyPackageRecord } from '#core/device/records.ts'
import { leafLifetime, leafTemplate, signatureKeyOf } from '#core/device/leaf.ts'
import { cipherSuiteOf, type Turn } from '#core/device/turn.ts'
import { accountName, isUserName } from '#core/identity/account-name.ts'
import {
  ACCOUNT_SEED_LENGTH,
  accountSecrets,
  attachAttestation,
} from '#core/identity/certificate.ts'
import { makeCertificate, rootHash, verifyCertificate } from '#core/identity/certificate.ts'
import { encodeMlsMessage } from '#core/mls/framing.ts'
import { keyPackageRef } from '#core/mls/key-package.ts'
import { makeKeyPackage as makeMlsKeyPackage } from '#core/mls/own-leaf.ts'
import type { Body } from '#core/wire/bodies.ts'
import { encode } from '#core/wire/codec.ts'
import type { Refusal } from '#core/wire/refusals.ts'
import { STRUCTURE_VERSION } from '#core/wire/structure.ts'

/** The suite of rooms where nobody asks for another. */
export const DEFAULT_SUITE = 0xf003

/**
 * Chooses a name (ID-1); the certificate follows as soon as the hub has greeted. False where it is
 * answered already.
 */
export function signUp(
  turn: Turn,
  command: number,
  wanted: { readonly name: string; readonly deviceName: string },
): boolean {
  const { account: { kind }, session } = turn.state
  if (session.kind === 'refused') {
    turn.fail(command, session.code)
    return false
  }
  if (kind === 'registered' || kind === 'registering' || kind === 'wanted') {
    turn.fail(command, 'alreadyRegistered')
    return false
  }
  const deviceName = wanted.deviceName.trim()
  const tooLong = deviceName.length > LIMITS.deviceNameMax
  if (!isUserName(wanted.name) || deviceName.length === 0 || tooLong) {
    turn.fail(command, 'badName')
    return false
  }
  turn.set({ account: { kind: 'wanted', name: wanted.name, deviceName, command } })
  turn.effect({ kind: 'showAccount' })
  return true
}

/** Makes certificate and keys once the hub's domain is known, and asks for the name (ID-4). */
export async function register(turn: Turn): Promise<void> {
  const { account, hub, session } = turn.state
  if (session.kind !== 'guest' || hub === null) return
  if (account.kind === 'registering') {
    sendRegistration(turn, account.record)
    return
  }
  if (account.kind !== 'wanted') return
  const name = accountName(account.name, hub.domain)
  if (name === null) {
    turn.set({ account: { kind: 'none' } })
    turn.fail(account.command, 'badName')
    return
  }
  const { crypto, entropy } = turn.ports
  const secrets = accountSecrets(crypto, entropy.randomBytes(ACCOUNT_SEED_LENGTH))
  const device = entropy.randomBytes(DEVICE_ID_LENGTH) as DeviceId
  const ed25519 = deviceKeyPair(turn, 'ed25519')
  const p384 = deviceKeyPair(turn, 'p384')
  const certificate = await makeCertificate(crypto, {
    account: name,
    secrets,
    devices: [{
      device,
      name: account.deviceName,
      keys: [
        { signature: 'ed25519', publicKey: ed25519.publicKey },
        { signature: 'p384', publicKey: p384.publicKey },
      ],
    }],
  })
  const record: AccountRecord = {
    format: STRUCTURE_VERSION,
    phase: 'registering',
    name,
    device,
    deviceName: account.deviceName,
    hubDomain: hub.domain,
    hubKey: hub.key,
    rootHash: rootHash(crypto, {
      ed25519: secrets.rootEd25519.publicKey,
      mldsa65: secrets.rootMldsa65.publicKey,
    }),
    ...secrets,
    ed25519,
    p384,
    certificate,
  }
  turn.storeAccount(record)
  turn.set({ account: { kind: 'registering', record, command: account.command } })
  sendRegistration(turn, record)
  turn.effect({ kind: 'showAccount' })
}

function deviceKeyPair(turn: Turn, signature: 'ed25519' | 'p384') {
  const seed = turn.ports.entropy.randomBytes(SIGNATURE_SEED_LENGTH[signature])
  const pair = turn.ports.crypto.signatureKeyPair(signature, seed)
  wipe(seed)
  return pair
}

function sendRegistration(turn: Turn, record: AccountRecord): void {
  const request = turn.request({ kind: 'register' })
  turn.send('register', { request, token: null, certificate: record.certificate })
}

/**
 * The hub's attestation (ID-4): checked, put into the certificate, stored. True when all is well.
 */
export async function registered(turn: Turn, body: Body<'registered'>): Promise<boolean> {
  const pending = turn.takeRequest(body.request as RequestId)
  const { account, hub } = turn.state
  if (pending?.kind !== 'register' || account.kind !== 'registering' || hub === null) return false
  const certificate = attachAttestation(account.record.certificate, body.attestation)
  const verified = certificate === null
    ? null
    : await verifyCertificate(turn.ports.crypto, certificate, { hubKey: hub.key })
  if (certificate === null || verified?.kind !== 'verified') {
    registrationRefused(turn, { kind: 'badCertificate' })
    return false
  }
  const record: AccountRecord = { ...account.record, phase: 'registered', certificate }
  turn.storeAccount(record)
  turn.set({ account: { kind: 'registered', record, command: account.command } })
  turn.effect({ kind: 'showAccount' })
  return true
}

/** The hub holds KeyPackages, or cannot be asked: whoever signed up has an account (DIR-1). */
export function signedUp(turn: Turn): void {
  const { account } = turn.state
  if (account.kind !== 'registered' || account.command === null) return
  turn.done(account.command, account.record.name)
  turn.set({ account: { ...account, command: null } })
}

/** No session comes any more: whoever waits to be signed up is told why. */
export function signUpEnded(turn: Turn, code: CommandError): void {
  const { account } = turn.state
  if (account.kind === 'registered') return signedUp(turn)
  if (account.kind !== 'wanted' && account.kind !== 'registering') return
  turn.fail(account.command, code)
  // A root that the hub may have taken is kept.
  const isKept = account.kind === 'registering'
  turn.set({ account: isKept ? { ...account, command: null } : { kind: 'none' } })
}

/** The name may be given yet, or has been and the answer was lost. */
const MAY_BE_TAKEN: ReadonlySet<Refusal['kind']> = new Set([
  'tooMany',
  'unavailable',
  'notInThisState',
])

/** The hub did not give the name: nothing of the attempt is kept, unless it only was too busy. */
export function registrationRefused(turn: Turn, refusal: Refusal): void {
  const { account, session } = turn.state
  if (account.kind !== 'registering') return
  if (MAY_BE_TAKEN.has(refusal.kind)) {
    // An answer may have been lost: the root is kept, and the next session asks again.
    if ('attempt' in session) turn.effect({ kind: 'hangUp', attempt: session.attempt })
    return
  }
  turn.delete('account', 'account')
  turn.set({ account: { kind: 'refused', name: account.record.name, code: refusal.kind } })
  turn.fail(account.command, refusal.kind)
  turn.effect({ kind: 'showAccount' })
}

/** Makes a KeyPackage and keeps its secrets in memory and in the store (DIR-1). */
export async function makeKeyPackage(
  turn: Turn,
  suiteId: number,
  lastResort: boolean,
): Promise<Uint8Array | null> {
  const account = turn.registered
  const suite = suiteById(suiteId)
  const engine = cipherSuiteOf(turn.ports.crypto, suiteId)
  if (account === null || suite === null || engine === null) return null
  const { lifetime, notAfter } = leafLifetime(turn.nowMs)
  const made = await makeMlsKeyPackage(engine, {
    template: leafTemplate(turn, account, suite),
    signatureSecret: signatureKeyOf(account, suite).secretKey,
    lifetime,
    entropy: turn.ports.entropy,
  })
  const keyPackage = encodeMlsMessage({ kind: 'keyPackage', keyPackage: made.keyPackage })
  const record: KeyPackageRecord = {
    format: STRUCTURE_VERSION,
    suite: suiteId,
    keyPackage,
    ...made.secrets,
    lastResort,
    notAfter,
  }
  const key = toHex(keyPackageRef(engine, made.keyPackage))
  turn.put('keyPackages', key, encode(keyPackageRecordCodec, record), 'strict')
  turn.set({ keyPackages: new Map(turn.state.keyPackages).set(key, record) })
  return keyPackage
}

/** A single-use KeyPackage was used: its secrets go (RFC 9420 section 10). */
export function dropKeyPackage(turn: Turn, key: string): void {
  if (turn.state.keyPackages.get(key)?.lastResort === false) forgetKeyPackage(turn, key)
}

function forgetKeyPackage(turn: Turn, key: string): void {
  const record = turn.state.keyPackages.get(key)
  if (record === undefined) return
  const keyPackages = new Map(turn.state.keyPackages)
  keyPackages.delete(key)
  turn.set({ keyPackages })
  turn.delete('keyPackages', key)
  turn.effect({ kind: 'wipe', secrets: [record.initSecret, record.encryptionSecret] })
}

/** Fills the hub's stock up when it runs low (DIR-1). */
export async function fillKeyPackages(turn: Turn, left: number): Promise<void> {
  for (const [key, record] of turn.state.keyPackages) {
    if (record.notAfter < turn.nowMs) forgetKeyPackage(turn, key)
  }
  // What the hub says of its stock is its word: what is kept here is bounded all the same.
  const room = LIMITS.keyPackagesKeptMax - turn.state.keyPackages.size
  if (left >= LIMITS.keyPackagesLow || room <= 0) return signedUp(turn)
  const keyPackages: Uint8Array[] = []
  for (let count = left; count < LIMITS.keyPackagesTarget; count++) {
    const keyPackage = await makeKeyPackage(turn, DEFAULT_SUITE, false)
    if (keyPackage !== null) keyPackages.push(keyPackage)
  }
  const hasLastResort = [...turn.state.keyPackages.values()].some((record) => record.lastResort)
  const lastResort = hasLastResort ? null : await makeKeyPackage(turn, DEFAULT_SUITE, true)
  const request = turn.request({ kind: 'publish' })
  turn.send('publishKeyPackages', { request, keyPackages, lastResort })
}
