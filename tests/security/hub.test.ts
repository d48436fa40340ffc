/** What a registered device can do to a hub, and through it to others, with input made for it. */
import { deepStrictEqual, ok, strictEqual } from 'node:assert/strict'
import { concat } from '#core/base/bytes.ts'
import type { AccountName, DeviceId } from '#core/base/ids.ts'
import { LIMITS } from '#core/base/limits.ts'
import { SIGNATURE_SEED_LENGTH } from '#core/crypto/crypto.ts'
import { decodeIdentity, encodeIdentity } from '#core/identity/leaf-identity.ts'
import { accountSecrets, certificateHash } from '#core/identity/certificate.ts'
import { makeCertificate, rootHash } from '#core/identity/certificate.ts'
import { decodeMlsMessage, encodeMlsMessage } from '#core/mls/framing.ts'
import { makeKeyPackage } from '#core/mls/own-leaf.ts'
import { encodeMessage } from '#core/wire/bodies.ts'
import { encode, opaque } from '#core/wire/codec.ts'
import { HandDevice, type HandIdentity, type HandParts } from '../support/hand-device.ts'
import { createHubWorld } from '../support/hub-world.ts'

/** An identity like the device's own, grown by an extension that nobody needs to know. */
function grownIdentity(device: HandDevice): Uint8Array {
  const { account, device: id, certificate, rootHash } = device.self
  const plain = encodeIdentity({
    account,
    device: id,
    manifestVersion: 1,
    rootHash,
    certificateHash: certificateHash(device.parts.crypto, certificate),
  })
  const extension = concat(
    Uint8Array.of(0x40, 0, 0),
    encode(opaque(1_024), new Uint8Array(600)),
  )
  return concat(plain.subarray(0, plain.length - 1), encode(opaque(16_384), extension))
}

Deno.test('ID-5: a leaf whose identity cannot be stored comes into no room', async () => {
  const world = createHubWorld()
  const [alice, bob] = [await world.device('alice'), await world.device('bob')]
  const room = await alice.createRoom()
  await alice.follow(room, 1n)
  const identity = grownIdentity(bob)
  const made = await makeKeyPackage(bob.engine, {
    template: { ...bob.template, credential: { kind: 'basic', identity } },
    signatureSecret: bob.self.key.secretKey,
    lifetime: bob.lifetime(),
    entropy: world.parts.entropy,
  })
  const keyPackage = encodeMlsMessage({ kind: 'keyPackage', keyPackage: made.keyPackage })
  const request = bob.nextRequest()
  bob.say('publishKeyPackages', { request, keyPackages: [keyPackage], lastResort: null })
  strictEqual(await bob.answer(request), 'badCertificate')
  strictEqual(decodeIdentity(identity), null)
  const { certificate } = bob.self
  const { body } = await alice.commit(room, { adds: [{ keyPackage, certificate }] })
  alice.say('submitCommit', body, room.id)
  const isAnswer = (message: { body: { request: number } }) => message.body.request === body.request
  const { refusal } = (await alice.hear('refused', isAnswer)).body
  deepStrictEqual(refusal, { kind: 'badCommit', fault: 'identity' })
  deepStrictEqual(world.faults, [])
})

Deno.test('SEQ-3: commits in the name of another leaf take nothing of its share', async () => {
  const world = createHubWorld(2)
  const [alice, bob, carol] = await Promise.all(
    ['alice', 'bob', 'carol'].map((name) => world.device(name)),
  ) as [HandDevice, HandDevice, HandDevice]
  const room = await alice.createRoom()
  await alice.follow(room, 1n)
  const bobs = await bob.makeKeyPackage()
  await alice.change(room, {
    adds: [{ keyPackage: bobs.keyPackage, certificate: bob.self.certificate }],
  })
  const bobsRoom = await bob.join(bobs)
  const carols = await carol.makeKeyPackage()
  const { certificate } = carol.self
  // Bob repeats what Alice might say: the hub sees her leaf as its sender.
  const { body } = await alice.commit(room, {
    adds: [{ keyPackage: carols.keyPackage, certificate }],
  })
  for (let count = 0; count <= LIMITS.commitsPerMinuteMax; count++) {
    const request = bob.nextRequest()
    bob.say('submitCommit', { ...body, request }, bobsRoom.id)
    strictEqual(await bob.answer(request), 'wrongLeaf')
  }
  alice.say('submitCommit', body, room.id)
  strictEqual(await alice.answer(body.request), 'accepted')
  deepStrictEqual(world.faults, [])
})

/** An account of 16 devices, whose names have `nameLength` characters together. */
async function wideIdentity(
  parts: HandParts,
  name: string,
  nameLength: number,
): Promise<HandIdentity> {
  const { crypto, entropy, domain } = parts
  const account = `${name}@${domain}` as AccountName
  const secrets = accountSecrets(crypto, entropy.randomBytes(96))
  const pairs = Array.from({ length: LIMITS.devicesPerAccountMax }, () => ({
    device: entropy.randomBytes(16) as DeviceId,
    ed25519: crypto.signatureKeyPair('ed25519', entropy.randomBytes(32)),
    p384: crypto.signatureKeyPair('p384', entropy.randomBytes(SIGNATURE_SEED_LENGTH.p384)),
  }))
  const certificate = await makeCertificate(crypto, {
    account,
    secrets,
    devices: pairs.map(({ device, ed25519, p384 }, index) => ({
      device,
      name: 'x'.repeat(Math.max(0, Math.min(63, nameLength - index * 63))),
      keys: [
        { signature: 'ed25519', publicKey: ed25519.publicKey },
        { signature: 'p384', publicKey: p384.publicKey },
      ],
    })),
  })
  const [first] = pairs
  ok(first !== undefined)
  const { device, ed25519: key } = first
  const root = { ed25519: secrets.rootEd25519.publicKey, mldsa65: secrets.rootMldsa65.publicKey }
  return { account, device, rootHash: rootHash(crypto, root), key, certificate, attested: false }
}

/** The commit with a node more in its path, which holds `length` bytes of nothing. */
function swollen(commit: Uint8Array, length: number): Uint8Array {
  const message = decodeMlsMessage('publicMessage', commit)
  const { content } = message?.publicMessage ?? {}
  ok(message !== null && content?.body.kind === 'commit' && content.body.commit.path !== null)
  const { path } = content.body.commit
  const node = {
    encryptionKey: new Uint8Array(0),
    encryptedPathSecret: [{ kemOutput: new Uint8Array(0), ciphertext: new Uint8Array(length) }],
  }
  const nodes = [...path.nodes, node]
  const body = { kind: 'commit', commit: { ...content.body.commit, path: { ...path, nodes } } }
  return encodeMlsMessage({
    kind: 'publicMessage',
    publicMessage: { ...message.publicMessage, content: { ...content, body } as typeof content },
  })
}

Deno.test('WIRE-1, ROOM-4: an entry that fits no frame to its readers is refused', async () => {
  const world = createHubWorld(3)
  const wide = async (name: string, nameLength: number) => {
    const device = new HandDevice(world.parts, await wideIdentity(world.parts, name, nameLength))
    await device.connect(world.dialer())
    return device
  }
  const namesMax = LIMITS.devicesPerAccountMax * 63
  const { length } = (await wide('mallor1', namesMax)).self.certificate
  const count = Math.ceil(LIMITS.certificatesSizeMax / length)
  const size = Math.floor(LIMITS.certificatesSizeMax / count)
  const mallory = await wide('mallor2', namesMax - (length - size))
  strictEqual(mallory.self.certificate.length, size)
  const room = await mallory.createRoom()
  await mallory.follow(room, 1n)
  const { body } = await mallory.commit(room, {})
  const certificates = Array.from({ length: count }, () => mallory.self.certificate)
  const said = (swelling: number) =>
    encodeMessage('submitCommit', room.id, {
      ...body,
      certificates,
      commit: swollen(body.commit, swelling),
    })
  const around = said(20_000).length - 20_000
  const swelling = Math.min(
    LIMITS.frameSizeMax - around,
    LIMITS.commitSizeMax - body.commit.length - 64,
  )
  const frame = said(swelling)
  ok(frame.length <= LIMITS.frameSizeMax && frame.length > LIMITS.frameSizeMax - 1_024)
  mallory.sayBytes(frame)
  strictEqual(await mallory.answer(body.request), 'oversized')
  deepStrictEqual(world.faults, [])
})

Deno.test('ID-6: a commit carries certificates of the leaves that it brings only', async () => {
  const world = createHubWorld(8)
  const [alice, bob, carol] = await Promise.all(
    ['alice', 'bob', 'carol'].map((name) => world.device(name)),
  ) as [HandDevice, HandDevice, HandDevice]
  const room = await alice.createRoom()
  await alice.follow(room, 1n)
  const { keyPackage } = await bob.makeKeyPackage()
  const { certificate } = bob.self
  const adding = await alice.commit(room, { adds: [{ keyPackage, certificate }] })
  const plain = await alice.commit(room, {})
  const { mldsa65: before } = world.checks
  const submit = async ({ body }: typeof adding, certificates: Uint8Array[]) => {
    const request = alice.nextRequest()
    alice.say('submitCommit', { ...body, certificates, request }, room.id)
    const code = await alice.answer(request)
    world.clock.advance(60_000)
    await alice.beat()
    return code
  }
  // Each of them is genuine, and stands for nobody who comes in.
  strictEqual(await submit(plain, [carol.self.certificate]), 'badCommit')
  strictEqual(await submit(plain, [alice.self.certificate]), 'badCommit')
  strictEqual(await submit(adding, [certificate, carol.self.certificate]), 'badCommit')
  strictEqual(await submit(adding, [certificate, alice.self.certificate]), 'badCommit')
  strictEqual(await submit(adding, [certificate, certificate]), 'badCommit')
  strictEqual(world.checks.mldsa65, before)
  strictEqual(await submit(adding, [certificate]), 'accepted')
  strictEqual(world.checks.mldsa65, before + 1)
  deepStrictEqual(world.faults, [])
})
