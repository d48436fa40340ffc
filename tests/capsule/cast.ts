/**
 * The stand-ins of a replay: a hub with a key of its own, and people for the numbers of a capsule.
 * Owns their identities; what they do in a room is `stand-in-room.ts`.
 */
import { ok } from 'node:assert/strict'
import { toHex } from '#core/base/bytes.ts'
import type { AccountName, HubDomain, TimeMs } from '#core/base/ids.ts'
import type { KeyPair } from '#core/crypto/crypto.ts'
import type { CertificateRecord } from '#core/device/records.ts'
import type { AccountRecord } from '#core/device/records.ts'
import { attachAttestation, certificateHash } from '#core/identity/certificate.ts'
import { makeAttestation, verifyCertificate } from '#core/identity/certificate.ts'
import type { KeyPackageSecrets } from '#core/mls/own-leaf.ts'
import { STRUCTURE_VERSION } from '#core/wire/structure.ts'
import {
  HandDevice,
  type HandIdentity,
  type HandParts,
  makeIdentity,
} from '../support/hand-device.ts'

export const DOMAIN = 'hub.example' as HubDomain
export const HOME = 'https://hub.example'

/** A KeyPackage of a stand-in and what opens a Welcome for it. */
export interface Handed {
  readonly device: HandDevice
  readonly keyPackage: Uint8Array
  readonly secrets: KeyPackageSecrets
}

export class Cast {
  readonly parts: HandParts
  readonly hubKey: KeyPair
  /** KeyPackages that were handed out, oldest first. */
  readonly handed: Handed[] = []
  readonly #people = new Map<number, Promise<HandDevice>>()

  constructor(parts: HandParts) {
    this.parts = parts
    this.hubKey = parts.crypto.signatureKeyPair('ed25519', parts.entropy.randomBytes(32))
  }

  nameOf(number: number): AccountName {
    return `p${number}@${DOMAIN}` as AccountName
  }

  /** The stand-in of an account that is not the device's own. */
  person(number: number): Promise<HandDevice> {
    const known = this.#people.get(number) ?? this.#make(number)
    this.#people.set(number, known)
    return known
  }

  async #make(number: number): Promise<HandDevice> {
    const identity = await makeIdentity(this.parts, `p${number}`)
    const certificate = await this.attested(identity.certificate)
    return new HandDevice(this.parts, { ...identity, certificate, attested: true })
  }

  /** The device of the capsule, seen from outside: its keys are those of its own account record. */
  own(record: AccountRecord): HandDevice {
    const identity: HandIdentity = {
      account: record.name,
      device: record.device,
      rootHash: record.rootHash,
      key: record.ed25519,
      certificate: record.certificate,
      attested: true,
    }
    return new HandDevice(this.parts, identity)
  }

  /** The hub's word on a certificate; a certificate that is none fails. */
  async attestation(certificate: Uint8Array, timeMs: TimeMs): Promise<Uint8Array> {
    const { crypto } = this.parts
    const verified = await verifyCertificate(crypto, certificate, { hubKey: null })
    ok(verified.kind === 'verified')
    const attester = { hubDomain: DOMAIN, key: this.hubKey, time: timeMs }
    return await makeAttestation(crypto, verified, attester)
  }

  async attested(certificate: Uint8Array): Promise<Uint8Array> {
    const word = await this.attestation(certificate, this.parts.clock.nowMs())
    const attested = attachAttestation(certificate, word)
    ok(attested !== null)
    return attested
  }

  async handOut(number: number): Promise<Handed> {
    const device = await this.person(number)
    const handed = { device, ...await device.makeKeyPackage() }
    this.handed.push(handed)
    return handed
  }

  /** What a device keeps of a certificate that it has checked. */
  certificateRecord(device: HandDevice): readonly [string, CertificateRecord] {
    const { certificate, device: id } = device.self
    const hash = toHex(certificateHash(this.parts.crypto, certificate))
    const devices = [{ device: id, name: 'stand-in' }]
    return [hash, { format: STRUCTURE_VERSION, attested: true, devices }]
  }
}
