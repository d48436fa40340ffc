/** Whom a device names: leaves that a certificate bears out, and whom its own hub attests. */
import { deepStrictEqual, ok, strictEqual } from 'node:assert/strict'
import { type HubDomain, leafIndex, logPosition, type TimeMs } from '#core/base/ids.ts'
import { createNobleCrypto } from '#core/crypto/noble.ts'
import { beginEpochs } from '#core/device/epochs.ts'
import { keepCertificates, membersOf } from '#core/device/members.ts'
import { newRoom } from '#core/device/room.ts'
import { emptyState } from '#core/device/state.ts'
import { Turn } from '#core/device/turn.ts'
import { attachAttestation } from '#core/identity/certificate.ts'
import { makeAttestation, verifyCertificate } from '#core/identity/certificate.ts'
import { roomOfGroupId } from '#core/identity/genesis.ts'
import { createPrng } from '../core/prng.ts'
import { HandDevice, makeIdentity } from '../support/hand-device.ts'

const crypto = createNobleCrypto()
const prng = createPrng(7)
const entropy = { randomBytes: (length: number) => prng.bytes(length) }
const domain = 'hub.example' as HubDomain
const now = 1_800_000_000_000 as TimeMs
const parts = { crypto, clock: { nowMs: () => now }, entropy, domain }
const hub = crypto.signatureKeyPair('ed25519', entropy.randomBytes(32))
const otherHub = crypto.signatureKeyPair('ed25519', entropy.randomBytes(32))

/** A device whose certificate a hub has attested; null: none has. */
async function attested(name: string, key: typeof hub | null): Promise<HandDevice> {
  const identity = await makeIdentity(parts, name)
  if (key !== null) {
    const verified = await verifyCertificate(crypto, identity.certificate, { hubKey: null })
    ok(verified.kind === 'verified')
    const attester = { hubDomain: domain, key, time: now }
    const attestation = await makeAttestation(crypto, verified, attester)
    const certificate = attachAttestation(identity.certificate, attestation)
    ok(certificate !== null)
    identity.certificate = certificate
  }
  return new HandDevice(parts, identity)
}

/** The room of a device alone, as another device sees it that has these certificates. */
async function seen(device: HandDevice, certificates: readonly Uint8Array[]) {
  const { room, body } = await device.genesis()
  const state = { ...emptyState('http://hub.example'), hub: { domain, key: hub.publicKey } }
  const turn = new Turn({ crypto, entropy, appVersion: 1 }, state, now)
  const id = roomOfGroupId(room.group.public.context.groupId)
  ok(id !== null)
  const none = new Uint8Array(0)
  const fresh = newRoom({
    id,
    phase: 'live',
    suite: device.suite.id,
    domain,
    title: null,
    opening: none,
    inviterRootHash: none,
    createdAt: now,
  })
  turn.addRoom(fresh)
  beginEpochs(turn, fresh.key, {
    position: logPosition(0n),
    entryHash: new Uint8Array(32),
    public: room.group.public,
    group: null,
    keys: null,
    groupInfo: body.groupInfo,
  })
  for (const bytes of certificates) {
    const certificate = await verifyCertificate(crypto, bytes, { hubKey: null })
    ok(certificate.kind === 'verified')
    await keepCertificates(turn, fresh.key, [{ bytes, certificate }])
  }
  const known = turn.room(fresh.key)
  ok(known !== null)
  return membersOf(known).map(({ leaf, account, deviceName, verified }) => ({
    leaf,
    account,
    deviceName,
    verified,
  }))
}

Deno.test('ID-7, ID-4: named is whom the own hub attests, and nobody else', async () => {
  const alice = await attested('alice', hub)
  const [named] = await seen(alice, [alice.self.certificate])
  const member = { leaf: leafIndex(0), account: alice.self.account, deviceName: 'by hand' }
  deepStrictEqual(named, { ...member, verified: true })
  for (const key of [otherHub, null]) {
    const mallory = await attested('alice', key)
    const [unnamed] = await seen(mallory, [mallory.self.certificate])
    deepStrictEqual(unnamed, { ...member, verified: false })
  }
})

Deno.test('ID-6, ID-7: a certificate of another root bears out nothing', async () => {
  const alice = await attested('alice', hub)
  const other = await attested('alice', hub)
  const [member] = await seen(alice, [other.self.certificate])
  strictEqual(member?.verified, false)
  strictEqual(member?.deviceName, '')
})
