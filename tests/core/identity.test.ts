/** Tests of accounts, certificates, session proofs, genesis, invitations and heads. */
import { deepStrictEqual, ok, strictEqual } from 'node:assert/strict'
import { fromHex, toHex } from '#core/base/bytes.ts'
import type { AccountName, DeviceId, HubDomain, TimeMs } from '#core/base/ids.ts'
import { logPosition } from '#core/base/ids.ts'
import { createNobleCrypto } from '#core/crypto/noble.ts'
import { accountName, isUserName, parseAccountName } from '#core/identity/account-name.ts'
import * as certificates from '#core/identity/certificate.ts'
import { groupIdOf, makeGenesis, roomOfGroupId, verifyGenesis } from '#core/identity/genesis.ts'
import { signHead, verifyHead } from '#core/identity/head.ts'
import * as invitations from '#core/identity/invitation.ts'
import { decodeIdentity, encodeIdentity, leafIsCertified } from '#core/identity/leaf-identity.ts'
import * as proofs from '#core/identity/session-proof.ts'
import { createPrng } from './prng.ts'

const crypto = createNobleCrypto()
const prng = createPrng(7)
const bytes = (length: number) => prng.bytes(length)
const NAME = 'alice@hub.example' as AccountName
const DOMAIN = 'hub.example' as HubDomain
const hubKey = crypto.signatureKeyPair('ed25519', bytes(32))
const deviceKey = crypto.signatureKeyPair('ed25519', bytes(32))
const device = bytes(16) as DeviceId
const secrets = certificates.accountSecrets(crypto, bytes(96))
const laptopKeys = [{ signature: 'ed25519' as const, publicKey: deviceKey.publicKey }]
const plain = await certificates.makeCertificate(crypto, {
  account: NAME,
  secrets,
  devices: [{ device, name: 'Laptop', keys: laptopKeys }],
})

async function attested(key = hubKey): Promise<Uint8Array> {
  const verified = await certificates.verifyCertificate(crypto, plain, { hubKey: null })
  ok(verified.kind === 'verified')
  const attestation = await certificates.makeAttestation(crypto, verified, {
    hubDomain: DOMAIN,
    key,
    time: 1 as TimeMs,
  })
  const certificate = certificates.attachAttestation(plain, attestation)
  ok(certificate !== null)
  return certificate
}

async function verifiedAlice() {
  const verified = await certificates.verifyCertificate(crypto, await attested(), {
    hubKey: hubKey.publicKey,
  })
  ok(verified.kind === 'verified')
  return verified
}

Deno.test('ID-1: names of accounts', () => {
  for (const name of ['a', 'alice', 'a.b', 'x-1_2', 'a'.repeat(32)]) ok(isUserName(name), name)
  const bad = ['', 'Alice', '.a', 'a.', 'a..b', 'a b', 'ä', 'a@b', 'a'.repeat(33), 'a\n']
  for (const name of bad) ok(!isUserName(name), name)
  strictEqual(accountName('alice', 'hub.example'), NAME)
  deepStrictEqual(parseAccountName(NAME), { user: 'alice', domain: DOMAIN })
  for (const name of ['alice', '@hub', 'a@', 'a@Hub', 'a@b:1', 'a@b..c', 'a@b@c', 'a@-b']) {
    strictEqual(parseAccountName(name), null, name)
  }
})

Deno.test('ID-2, ID-3: no manifest of a stolen key is above those of the next key', async () => {
  const stolen = { account: NAME, secrets, devices: [{ device, name: 'x', keys: laptopKeys }] }
  const after = (version: number) => ({ version, hash: bytes(32) })
  const signing = crypto.signatureKeyPair('ed25519', bytes(32))
  const next = { ...stolen, secrets: { ...secrets, signing }, serial: 2 }
  const versionOf = async (request: Parameters<typeof certificates.makeCertificate>[1]) => {
    const made = await certificates.makeCertificate(crypto, request)
    const verified = await certificates.verifyCertificate(crypto, made, { hubKey: null })
    return verified.kind === 'refused' ? verified.code : verified.manifestVersion
  }
  strictEqual(await versionOf(stolen), 1)
  const [highest, first] = [
    await versionOf({ ...stolen, after: after(65_534) }),
    await versionOf(next),
  ]
  deepStrictEqual([highest, first], [65_535, 65_537])
  strictEqual(await versionOf({ ...stolen, after: after(65_535) }), 'badManifest')
  strictEqual(await versionOf({ ...next, serial: 65_536 }), 'badManifest')
  strictEqual(await versionOf({ ...next, serial: 0 }), 'badManifest')
})

Deno.test('ID-2, ID-3: a certificate verifies whole, and no byte of it may change', async () => {
  const verified = await certificates.verifyCertificate(crypto, plain, { hubKey: null })
  ok(verified.kind === 'verified')
  strictEqual(verified.account, NAME)
  deepStrictEqual(certificates.deviceKeyOf(verified, device, 'ed25519'), deviceKey.publicKey)
  strictEqual(certificates.deviceKeyOf(verified, device, 'p384'), null)
  // Every signature and field: a stride that meets each part without ten thousand ML-DSA checks.
  for (let index = 0; index < plain.length; index += 97) {
    const changed = plain.slice()
    changed[index] = (changed[index] as number) ^ 1
    const outcome = await certificates.verifyCertificate(crypto, changed, { hubKey: null })
    strictEqual(outcome.kind, 'refused', `byte ${index}`)
  }
})

Deno.test('ID-2: both root signatures must verify', async () => {
  const other = certificates.accountSecrets(crypto, bytes(96))
  for (const swapped of ['rootEd25519', 'rootMldsa65'] as const) {
    const forged = await certificates.makeCertificate(crypto, {
      account: NAME,
      secrets: {
        ...secrets,
        [swapped]: { ...secrets[swapped], secretKey: other[swapped].secretKey },
      },
      devices: [{ device, name: 'x', keys: [{ signature: 'ed25519', publicKey: bytes(32) }] }],
    })
    const outcome = await certificates.verifyCertificate(crypto, forged, { hubKey: null })
    deepStrictEqual(outcome, { kind: 'refused', code: 'badRootSignature' })
  }
})

Deno.test('ID-4: the attestation must be this hub’s', async () => {
  const expected = { hubKey: hubKey.publicKey }
  strictEqual((await verifiedAlice()).attestedBy, DOMAIN)
  deepStrictEqual(await certificates.verifyCertificate(crypto, plain, expected), {
    kind: 'refused',
    code: 'notAttested',
  })
  const stranger = crypto.signatureKeyPair('ed25519', bytes(32))
  deepStrictEqual(
    await certificates.verifyCertificate(crypto, await attested(stranger), expected),
    {
      kind: 'refused',
      code: 'badAttestation',
    },
  )
})

Deno.test('ID-5, ID-7: a leaf is certified only with all that it says', async () => {
  const verified = await verifiedAlice()
  const identity = {
    account: NAME,
    device,
    manifestVersion: 1,
    rootHash: verified.rootHash,
    certificateHash: verified.hash,
  }
  deepStrictEqual(decodeIdentity(encodeIdentity(identity)), identity)
  strictEqual(decodeIdentity(encodeIdentity(identity).subarray(1)), null)
  const claim = { identity, signatureKey: deviceKey.publicKey, algorithm: 'ed25519' as const }
  ok(leafIsCertified(claim, verified))
  ok(!leafIsCertified({ ...claim, signatureKey: bytes(32) }, verified))
  ok(!leafIsCertified({ ...claim, algorithm: 'p384' }, verified))
  const lies = [
    { account: 'bob@hub.example' as AccountName },
    { device: bytes(16) as DeviceId },
    { manifestVersion: 2 },
    { rootHash: bytes(32) },
    { certificateHash: bytes(32) },
  ]
  for (const lie of lies) {
    ok(!leafIsCertified({ ...claim, identity: { ...identity, ...lie } }, verified))
  }
})

const hello = { versions: [1], appVersion: 3, features: [], deviceNonce: bytes(32) }

async function greeting() {
  return await proofs.signGreeting(crypto, {
    hello,
    greeting: {
      versions: [1],
      version: 1,
      appVersion: 3,
      features: [],
      hubDomain: DOMAIN,
      hubKey: hubKey.publicKey,
      hubNonce: bytes(32),
      time: 5 as TimeMs,
    },
  }, hubKey.secretKey)
}

Deno.test('SES-2: a greeting proves the hub’s key over both messages', async () => {
  const said = await greeting()
  ok(await proofs.verifyGreeting(crypto, { hello, greeting: said }))
  const otherHello = { ...hello, versions: [1, 2] }
  ok(!await proofs.verifyGreeting(crypto, { hello: otherHello, greeting: said }))
  ok(!await proofs.verifyGreeting(crypto, { hello, greeting: { ...said, features: [9] } }))
})

Deno.test('SES-3, JOIN-1: a session’s hash is of both messages', async () => {
  const said = await greeting()
  const hash = proofs.sessionHash(crypto, { hello, greeting: said })
  const others = [
    { hello: { ...hello, deviceNonce: bytes(32) }, greeting: said },
    { hello, greeting: { ...said, hubNonce: bytes(32) } },
    { hello, greeting: { ...said, hubKey: bytes(32) } },
  ]
  const hashes = [hash, ...others.map((other) => proofs.sessionHash(crypto, other))].map(toHex)
  strictEqual(new Set(hashes).size, 4)
})

Deno.test('SES-3: a challenge is bound to session, account, device and transport', async () => {
  const challenge = { hello, greeting: await greeting(), account: NAME, device, transport: 1 }
  const signature = await proofs.signSessionChallenge(crypto, challenge, deviceKey.secretKey)
  const proof = { publicKey: deviceKey.publicKey, signature }
  ok(await proofs.verifySessionChallenge(crypto, challenge, proof))
  const lies = [
    { transport: 2 },
    { account: 'bob@hub.example' as AccountName },
    { device: bytes(16) as DeviceId },
    { greeting: await greeting() },
    { hello: { ...hello, deviceNonce: bytes(32) } },
  ]
  for (const lie of lies) {
    ok(!await proofs.verifySessionChallenge(crypto, { ...challenge, ...lie }, proof))
  }
})

Deno.test('ROOM-1, ROOM-2: a room is the hash of its signed genesis', async () => {
  const verified = await verifiedAlice()
  const { genesis, room } = await makeGenesis(crypto, {
    creator: NAME,
    creatorRootHash: verified.rootHash,
    creatorDevice: device,
    domain: DOMAIN,
    suite: 0xf003,
    random: bytes(32),
  }, deviceKey.secretKey)
  strictEqual((await verifyGenesis(crypto, genesis, verified))?.suite, 0xf003)
  deepStrictEqual(roomOfGroupId(groupIdOf(room)), room)
  strictEqual(roomOfGroupId(room), null)
  const changed = genesis.slice()
  changed[genesis.length - 1] = (changed[genesis.length - 1] as number) ^ 1
  strictEqual(await verifyGenesis(crypto, changed, verified), null)
  const impostor = { ...verified, rootHash: bytes(32) }
  strictEqual(await verifyGenesis(crypto, genesis, impostor), null)
})

Deno.test('ROOM-8: a link’s secret gives a key for its room alone', () => {
  const [room, other] = [bytes(32), bytes(32)].map((id) => id as Parameters<typeof groupIdOf>[0])
  ok(room !== undefined && other !== undefined)
  const secret = bytes(invitations.INVITATION_SECRET_LENGTH)
  const pair = invitations.invitationKeyPair(crypto, secret, room)
  deepStrictEqual(invitations.invitationKeyPair(crypto, secret, room), pair)
  const keys = [
    pair,
    invitations.invitationKeyPair(crypto, secret, other),
    invitations.invitationKeyPair(crypto, bytes(16), room),
  ].map(({ publicKey }) => toHex(publicKey))
  strictEqual(new Set(keys).size, 3)
  deepStrictEqual(
    invitations.invitationId(crypto, pair.publicKey),
    crypto.hash('sha256', pair.publicKey),
  )
})

Deno.test('ID-3: a certificate may carry the next manifest, naming the last', async () => {
  const next = await certificates.makeCertificate(crypto, {
    account: NAME,
    secrets,
    devices: [{
      device,
      name: 'Laptop',
      keys: [{ signature: 'ed25519', publicKey: deviceKey.publicKey }],
    }],
    after: { version: 1, hash: bytes(32) },
  })
  const verified = await certificates.verifyCertificate(crypto, next, { hubKey: null })
  ok(verified.kind === 'verified')
  strictEqual(verified.manifestVersion, 2)
  const nameless = await certificates.makeCertificate(crypto, {
    account: NAME,
    secrets,
    devices: verified.devices,
    after: { version: 1, hash: new Uint8Array(0) },
  })
  deepStrictEqual(await certificates.verifyCertificate(crypto, nameless, { hubKey: null }), {
    kind: 'refused',
    code: 'badManifest',
  })
})

Deno.test('ROOM-8: a fragment reads back, and nothing else is a fragment', () => {
  const link = {
    room: bytes(32),
    secret: bytes(16),
    inviterRootHash: bytes(32),
    hubDomain: DOMAIN,
    inviter: NAME,
    title: 'Família',
    suite: 0xf003,
  }
  const fragment = invitations.encodeInviteLink(link)
  deepStrictEqual(invitations.decodeInviteLink(fragment), link)
  for (const bad of ['', 'x', `${fragment}A`, fragment.slice(0, -4), `${fragment}=`]) {
    strictEqual(invitations.decodeInviteLink(bad), null)
  }
})

Deno.test('LOG-3: a head is the hub’s word on one position of one room', async () => {
  const room = bytes(32) as Parameters<typeof groupIdOf>[0]
  const head = await signHead(crypto, {
    hubDomain: DOMAIN,
    room,
    head: {
      term: 1n,
      keyId: certificates.hubKeyId(crypto, hubKey.publicKey),
      position: logPosition(4n),
      entryHash: bytes(32),
      time: 3 as TimeMs,
      directoryHead: bytes(32),
    },
  }, hubKey.secretKey)
  const said = { hubDomain: DOMAIN, room, head }
  ok(await verifyHead(crypto, said, hubKey.publicKey))
  ok(!await verifyHead(crypto, { ...said, room: bytes(32) as typeof room }, hubKey.publicKey))
  const later = { ...head, position: logPosition(5n) }
  ok(!await verifyHead(crypto, { ...said, head: later }, hubKey.publicKey))
})

Deno.test('WIRE-6: a critical extension that nobody knows is refused', () => {
  const identity = encodeIdentity({
    account: NAME,
    device,
    manifestVersion: 1,
    rootHash: bytes(32),
    certificateHash: bytes(32),
  })
  strictEqual(toHex(identity.subarray(-1)), '00')
  const extended = (critical: string) => {
    const tail = fromHex(`040007${critical}00`) as Uint8Array
    return new Uint8Array([...identity.subarray(0, -1), ...tail])
  }
  ok(decodeIdentity(extended('00')) !== null)
  strictEqual(decodeIdentity(extended('01')), null)
})
