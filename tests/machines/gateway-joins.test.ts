/** Coming into a room while nobody is there: group, anchors, holes, the external commits. */
import { deepStrictEqual, ok, strictEqual } from 'node:assert/strict'
import { logPosition, type RequestId, type RoomId } from '#core/base/ids.ts'
import type { AccountName, DeviceId } from '#core/base/ids.ts'
import { LIMITS } from '#core/base/limits.ts'
import { accountSecrets, makeCertificate, rootHash } from '#core/identity/certificate.ts'
import { encodeIdentity } from '#core/identity/leaf-identity.ts'
import { sessionHash } from '#core/identity/session-proof.ts'
import { encodeRatchetTree } from '#core/mls/tree-codec.ts'
import { verifyAnchor } from '#core/policy/anchor.ts'
import type { Refusal } from '#core/wire/refusals.ts'
import { HandDevice, type HandIdentity, type HandRoom } from '../support/hand-device.ts'
import { makeIdentity } from '../support/hand-device.ts'
import { askGroup, externalCommit, groupAnswer, joinByLink } from '../support/hand-joiner.ts'
import { catchUp, linkPurpose, replay } from '../support/hand-joiner.ts'
import { add } from '../support/hand-members.ts'
import { createHubWorld, DOMAIN, type HubWorld } from '../support/hub-world.ts'

interface Scene {
  readonly world: HubWorld
  readonly alice: HandDevice
  readonly bob: HandDevice
  readonly room: HandRoom
  /** Of a link. */
  readonly secret: Uint8Array
}

/** Alice has made a link and has gone; nobody is there. */
async function invited(over: Parameters<HandDevice['invite']>[1] = {}): Promise<Scene> {
  const world = createHubWorld()
  const [alice, bob] = [await world.device('alice'), await world.device('bob')]
  const room = await alice.createRoom()
  await alice.write(room)
  const secret = await alice.invite(room, over)
  return { world, alice, bob, room, secret }
}

async function leave(device: HandDevice): Promise<void> {
  device.hangUp()
  await device.closed
}

async function refusalTo(device: HandDevice, request: RequestId): Promise<Refusal> {
  return (await device.hear('refused', ({ body }) => body.request === request)).body.refusal
}

async function asked(device: HandDevice, id: RoomId, secret: Uint8Array) {
  return askGroup(device, id, await linkPurpose(device, id, secret))
}

Deno.test('JOIN-1 to JOIN-4: by a link into a room where nobody is', async () => {
  const { world, alice, bob, room, secret } = await invited()
  await alice.write(room)
  await leave(alice)
  const bobs = await joinByLink(bob, room.id, secret)
  // Frames from before came as holes; from the own commit on they are whole.
  const forms = bobs.entries.map(({ entry }) => `${entry.header.entry} ${entry.body.kind}`)
  deepStrictEqual(forms, ['verdict whole', 'frame hole', 'commit whole'])
  const said = await bob.write(bobs)
  strictEqual(bobs.entries.at(-1)?.entry.body.kind, 'whole')
  // Alice comes back, follows, agrees, and answers.
  const back = new HandDevice(world.parts, alice.self)
  for (const [key, of] of alice.rooms) back.rooms.set(key, of)
  await back.connect(world.dialer())
  await back.subscribe(room)
  await back.hear('askVote')
  await back.follow(room, said + 1n)
  await back.process(room)
  await back.position(await back.vote(room))
  await back.write(room)
  world.clock.advance(LIMITS.verdictWaitMs)
  world.gateway.tick()
  await bob.follow(bobs, room.next)
  await bob.write(bobs)
  await back.follow(room, bobs.next)
  deepStrictEqual(room.headHash, bobs.headHash)
  deepStrictEqual(world.faults, [])
})

Deno.test('JOIN-2, JOIN-3: the answer is the anchored state, whole and proven', async () => {
  const { world, alice, bob, room, secret } = await invited()
  const tree = encodeRatchetTree(room.group.public.tree)
  await alice.follow(room, 4n)
  const anchored = room.next
  for (let i = 0; i < 3; i++) await alice.change(room, {})
  await alice.follow(room, anchored + 6n)
  world.restart()
  const back = new HandDevice(world.parts, bob.self)
  await back.connect(world.dialer())
  const answer = await groupAnswer(back, await asked(back, room.id, secret))
  strictEqual(answer.position, 2n)
  deepStrictEqual(answer.entryHash, room.entries[2]?.hash)
  deepStrictEqual(answer.ratchetTree, tree)
  deepStrictEqual(answer.certificates, [alice.self.certificate])
  const replayed = await replay(back, room.id, answer)
  strictEqual(replayed.group.context.epoch, 4n)
  const purpose = await linkPurpose(back, room.id, secret)
  ok(purpose.kind === 'invitation' && answer.anchor !== null)
  const expected = {
    room: room.id,
    invitation: purpose.id,
    inviterRootHash: alice.self.rootHash,
  }
  // Opened anew, and nothing replayed: the anchored state itself.
  const end = { ...answer, position: logPosition(room.next - 1n), entryHash: room.headHash }
  const { group } = await replay(back, room.id, end)
  ok(await verifyAnchor(world.parts.crypto, answer.anchor, { ...expected, group }))
  deepStrictEqual(world.faults, [])
})

Deno.test('JOIN-1, ROOM-12: without a right, no room is there', async () => {
  const { world, alice, bob, room, secret } = await invited()
  const nowhere = new Uint8Array(32).fill(9) as RoomId
  const purposes = [
    { kind: 'member' },
    { kind: 'newDevice' },
    await linkPurpose(bob, room.id, new Uint8Array(16)),
    await linkPurpose(bob, nowhere, secret),
    { ...await linkPurpose(bob, room.id, secret), signature: new Uint8Array(64) },
  ] as const
  for (const purpose of purposes) {
    for (const id of [room.id, nowhere]) {
      const fresh = new HandDevice(world.parts, bob.self)
      await fresh.connect(world.dialer())
      deepStrictEqual(await refusalTo(fresh, askGroup(fresh, id, purpose)), { kind: 'unknownRoom' })
      world.clock.advance(60_000)
    }
  }
  // A proof of another session is none in this one.
  const overheard = await linkPurpose(bob, room.id, secret)
  const carol = await world.device('carol')
  deepStrictEqual(await refusalTo(carol, askGroup(carol, room.id, overheard)), {
    kind: 'unknownRoom',
  })
  ok(bob.greeted !== null && carol.greeted !== null && alice.greeted !== null)
  const { crypto } = world.parts
  ok(
    sessionHash(crypto, bob.greeted).some((b, i) =>
      b !== sessionHash(crypto, carol.greeted as never)[i]
    ),
  )
  for (const kind of ['subscribe', 'unsubscribe'] as const) {
    const request = carol.nextRequest()
    const from = logPosition(0n)
    carol.say(kind, { request, from, holesBefore: from, open: false } as never, room.id)
    strictEqual(await carol.answer(request), 'unknownRoom')
  }
  deepStrictEqual(world.faults, [])
})

Deno.test('JOIN-1: ended invitations, no anchor, too many requests', async () => {
  const { world, alice, bob, room, secret } = await invited()
  const { secret: bare, invitation } = alice.invitation(room)
  const listed = alice.invitation(room)
  await alice.change(room, { invitations: [invitation, listed.invitation] })
  deepStrictEqual(await refusalTo(bob, await asked(bob, room.id, bare)), { kind: 'noAnchor' })
  // The first link was taken back.
  deepStrictEqual(await refusalTo(bob, await asked(bob, room.id, secret)), { kind: 'unknownRoom' })
  world.clock.advance(3_600_000)
  await bob.beat()
  deepStrictEqual(await refusalTo(bob, await asked(bob, room.id, bare)), {
    kind: 'invitationSpent',
  })
  for (let i = 1; i < LIMITS.groupRequestsPerMinuteMax; i++) {
    strictEqual((await refusalTo(bob, await asked(bob, room.id, bare))).kind, 'invitationSpent')
  }
  strictEqual((await refusalTo(bob, await asked(bob, room.id, bare))).kind, 'tooMany')
  deepStrictEqual(world.faults, [])
})

Deno.test('JOIN-2: who has the group follows, reads no frame, says nothing', async () => {
  const { world, alice, bob, room, secret } = await invited()
  const answer = await groupAnswer(bob, await asked(bob, room.id, secret))
  const replayed = await replay(bob, room.id, answer)
  const early = bob.nextRequest()
  const from = logPosition(answer.position)
  bob.say('subscribe', { request: early, from, holesBefore: from, open: false }, room.id)
  strictEqual(await bob.answer(early), 'notAllowed')
  const written = await alice.write(room)
  await bob.follow(replayed.log, written + 1n)
  strictEqual(replayed.log.entries.at(-1)?.entry.body.kind, 'hole')
  const [frame] = await alice.seal(room)
  const request = bob.nextRequest()
  bob.say('submitFrame', { request, after: null, frame: frame as Uint8Array }, room.id)
  strictEqual(await bob.answer(request), 'unknownRoom')
  // The right ends with the session.
  const again = new HandDevice(world.parts, bob.self)
  await again.connect(world.dialer())
  const late = again.nextRequest()
  again.say('subscribe', { request: late, from, holesBefore: from, open: false }, room.id)
  strictEqual(await again.answer(late), 'unknownRoom')
  deepStrictEqual(world.faults, [])
})

Deno.test('JOIN-7: of two who come at once the second tries again', async () => {
  const { world, alice, bob, room, secret } = await invited()
  const carol = await world.device('carol')
  await leave(alice)
  const bobs = await replay(bob, room.id, await groupAnswer(bob, await asked(bob, room.id, secret)))
  const carols = await replay(
    carol,
    room.id,
    await groupAnswer(carol, await asked(carol, room.id, secret)),
  )
  const first = await externalCommit(bob, bobs, secret)
  const second = await externalCommit(carol, carols, secret)
  const seen = carols.log.entries.length
  bob.say('submitCommit', first.body, room.id)
  const position = await bob.position(first.body.request)
  carol.say('submitCommit', second.body, room.id)
  strictEqual(await carol.answer(second.body.request), 'staleEpoch')
  await carol.follow(carols.log, position + 1n)
  await catchUp(carols, seen)
  const third = await externalCommit(carol, carols, secret)
  carol.say('submitCommit', third.body, room.id)
  strictEqual(await carol.position(third.body.request), position + 1n)
  deepStrictEqual(world.faults, [])
})

Deno.test('JOIN-4: a link that is spent or another leaf’s lets nobody in', async () => {
  const { world, alice, bob, room, secret } = await invited({ usesMax: 1 })
  const carol = await world.device('carol')
  await leave(alice)
  const carols = await replay(
    carol,
    room.id,
    await groupAnswer(carol, await asked(carol, room.id, secret)),
  )
  const bobs = await joinByLink(bob, room.id, secret)
  await carol.follow(carols.log, bobs.next)
  await catchUp(carols, 0)
  const { body } = await externalCommit(carol, carols, secret)
  carol.say('submitCommit', body, room.id)
  deepStrictEqual(await refusalTo(carol, body.request), {
    kind: 'badCommit',
    fault: 'invitationSpent',
  })
  // From another session, the commit is of a leaf that is not its own.
  const request = bob.nextRequest()
  bob.say('submitCommit', { ...body, request }, room.id)
  strictEqual(await bob.answer(request), 'wrongLeaf')
  deepStrictEqual(world.faults, [])
})

Deno.test('JOIN-5, JOIN-8: who has lost its state comes back, once in ten minutes', async () => {
  const { world, alice, bob, room } = await invited()
  const bobs = await add(alice, room, bob)
  await leave(alice)
  const lost = new HandDevice(world.parts, bob.self)
  await lost.connect(world.dialer())
  const resync = async () => {
    const answer = await groupAnswer(lost, askGroup(lost, room.id, { kind: 'member' }))
    strictEqual(answer.anchor, null)
    const replayed = await replay(lost, room.id, answer)
    const { body } = await externalCommit(lost, replayed, null)
    lost.say('submitCommit', body, room.id)
    return { request: body.request, log: replayed.log }
  }
  const first = await resync()
  const position = await lost.position(first.request)
  await lost.follow(first.log, position + 1n)
  ok(position >= bobs.next)
  strictEqual(await lost.answer((await resync()).request), 'tooMany')
  world.clock.advance(LIMITS.resyncIntervalMsMin)
  await lost.beat()
  strictEqual(await lost.answer((await resync()).request), 'accepted')
  deepStrictEqual(world.faults, [])
})

Deno.test('HUB-3, JOIN-8: a resync that was not stored is none of the device’s share', async () => {
  const { world, alice, bob, room } = await invited()
  await add(alice, room, bob)
  await leave(alice)
  const lost = new HandDevice(world.parts, bob.self)
  await lost.connect(world.dialer())
  const answer = await groupAnswer(lost, askGroup(lost, room.id, { kind: 'member' }))
  const { body } = await externalCommit(lost, await replay(lost, room.id, answer), null)
  const give = () => {
    const request = lost.nextRequest()
    lost.say('submitCommit', { ...body, request }, room.id)
    return lost.answer(request)
  }
  world.log.failing = true
  strictEqual(await give(), 'unavailable')
  world.log.failing = false
  strictEqual(await give(), 'accepted')
  deepStrictEqual(world.faults, [])
})

Deno.test('JOIN-2: a large group comes in parts, as its device takes them', async () => {
  const world = createHubWorld()
  const alice = await world.device('alice')
  const room = await alice.createRoom()
  const adds = await Promise.all(Array.from({ length: 37 }, async (_, index) => {
    const identity = await makeIdentity(world.parts, `member${index}`)
    const certificate = await world.enrol(identity.certificate)
    const device = new HandDevice(world.parts, { ...identity, certificate })
    const { keyPackage } = await device.makeKeyPackage()
    return { keyPackage, certificate }
  }))
  await alice.change(room, { adds })
  const flow = { stopped: false, go: Promise.withResolvers<void>() }
  const phone = new HandDevice(world.parts, alice.self)
  const stall = () => flow.stopped ? flow.go.promise : undefined
  await phone.connect(world.dialer({ stall }))
  flow.stopped = true
  const request = askGroup(phone, room.id, { kind: 'member' })
  await world.settled()
  // What is not taken waits at the hub, and not in the queue of the session.
  const parts = () => phone.heard.filter(({ kind }) => kind === 'group').length
  strictEqual(parts(), 0)
  flow.stopped = false
  flow.go.resolve()
  const answer = await groupAnswer(phone, request)
  strictEqual(answer.certificates.length, 38)
  const replayed = await replay(phone, room.id, answer)
  strictEqual(replayed.group.tree.memberCount, 38)
  deepStrictEqual(world.faults, [])
})

/** A device that stands in the second manifest of its account. */
class LaterDevice extends HandDevice {
  override get template() {
    const { account, device, certificate, rootHash } = this.self
    const certificateHash = this.parts.crypto.hash('sha256', certificate)
    const identity = encodeIdentity({
      account,
      device,
      rootHash,
      certificateHash,
      manifestVersion: 2,
    })
    return { ...super.template, credential: { kind: 'basic', identity } } as const
  }
}

/** Two devices of one account: the first in a manifest of its own, the second in that of both. */
async function twoDevices(world: HubWorld): Promise<readonly [HandIdentity, HandIdentity]> {
  const { crypto, entropy } = world.parts
  const account = `erin@${DOMAIN}` as AccountName
  const secrets = accountSecrets(crypto, entropy.randomBytes(96))
  const root = { ed25519: secrets.rootEd25519.publicKey, mldsa65: secrets.rootMldsa65.publicKey }
  const made = [0, 1].map(() => ({
    device: entropy.randomBytes(16) as DeviceId,
    key: crypto.signatureKeyPair('ed25519', entropy.randomBytes(32)),
  }))
  const devices = made.map(({ device, key: { publicKey } }) => ({
    device,
    name: 'x',
    keys: [{ signature: 'ed25519' as const, publicKey }],
  }))
  const first = await makeCertificate(crypto, { account, secrets, devices: devices.slice(0, 1) })
  const after = { version: 1, hash: crypto.hash('sha256', first) }
  const later = await makeCertificate(crypto, { account, secrets, devices, after })
  const identity = (index: 0 | 1, certificate: Uint8Array): HandIdentity => ({
    account,
    ...made[index] as (typeof made)[0],
    rootHash: rootHash(crypto, root),
    certificate,
    attested: false,
  })
  return [identity(0, first), identity(1, later)]
}

Deno.test('JOIN-6: a new device of a member’s account comes in by its own commit', async () => {
  const world = createHubWorld()
  const [old, fresh] = await twoDevices(world)
  const first = new HandDevice(world.parts, old)
  await first.connect(world.dialer())
  const room = await first.createRoom()
  fresh.certificate = await world.enrol(fresh.certificate)
  fresh.attested = true
  const phone = new LaterDevice(world.parts, fresh)
  await phone.connect(world.dialer())
  const answer = await groupAnswer(phone, askGroup(phone, room.id, { kind: 'newDevice' }))
  const replayed = await replay(phone, room.id, answer)
  const { next, body } = await externalCommit(phone, replayed, null)
  phone.say('submitCommit', body, room.id)
  const position = await phone.position(body.request)
  await phone.follow(replayed.log, position + 2n)
  strictEqual(replayed.log.entries.at(-1)?.entry.header.entry, 'verdict')
  const phones = { ...phone.enter(room.id, next), ...replayed.log }
  phone.rooms.set([...room.id].map((byte) => byte.toString(16).padStart(2, '0')).join(''), phones)
  await phone.write(phones)
  await first.follow(room, phones.next)
  await first.process(room)
  await first.write(room)
  // It is a member now: there is no new device to let in.
  deepStrictEqual(
    await refusalTo(phone, askGroup(phone, room.id, { kind: 'newDevice' })),
    { kind: 'unknownRoom' },
  )
  deepStrictEqual(world.faults, [])
})

Deno.test('JOIN-3: an anchor is of the final epoch, one’s own, well signed', async () => {
  const { world, alice, bob, room, secret } = await invited()
  const purpose = await linkPurpose(bob, room.id, secret)
  ok(purpose.kind === 'invitation')
  const { id } = purpose
  const bobs = await add(alice, room, bob)
  const left = async (device: HandDevice, of: HandRoom, over: object = {}) =>
    await device.answer(await device.leaveAnchor(of, id, over))
  strictEqual(await left(alice, room), 'accepted')
  strictEqual(await left(alice, room, { position: logPosition(2n) }), 'badAnchor')
  strictEqual(await left(alice, room, { epochId: new Uint8Array(32) as never }), 'badAnchor')
  strictEqual(await left(alice, room, { entryHash: new Uint8Array(32) }), 'badAnchor')
  strictEqual(await left(alice, room, { invitation: new Uint8Array(32) }), 'badAnchor')
  strictEqual(await left(alice, room, { device: new Uint8Array(16) }), 'badAnchor')
  strictEqual(await left(alice, room, { room: new Uint8Array(32) }), 'badAnchor')
  // Bob is a member, and the invitation is not his.
  strictEqual(await left(bob, bobs), 'badAnchor')
  const request = alice.nextRequest()
  alice.say('leaveAnchor', { request, anchor: new Uint8Array(90) }, room.id)
  strictEqual(await alice.answer(request), 'badAnchor')
  deepStrictEqual(world.faults, [])
})

Deno.test('JOIN-3: a newer anchor takes the place of the older one, with its version', async () => {
  const { world, alice, bob, room, secret } = await invited()
  const purpose = await linkPurpose(bob, room.id, secret)
  ok(purpose.kind === 'invitation')
  const second = await alice.change(room, {})
  await alice.follow(room, second + 2n)
  strictEqual((await world.stored.readVersion(room.id, logPosition(3n)))?.position, 2n)
  const made = room.entries.findLast(({ entry }) => entry.header.entry === 'commit')
  strictEqual(await alice.answer(await alice.leaveAnchor(room, purpose.id)), 'accepted')
  strictEqual(await world.stored.readVersion(room.id, logPosition(3n)), null)
  const answer = await groupAnswer(bob, await asked(bob, room.id, secret))
  strictEqual(answer.position, made?.position)
  deepStrictEqual(world.faults, [])
})

Deno.test('JOIN-8: the anchors of one invitation are few in a minute', async () => {
  const { world, alice, bob, room, secret } = await invited()
  const purpose = await linkPurpose(bob, room.id, secret)
  ok(purpose.kind === 'invitation')
  const codes: string[] = []
  for (let i = 0; i < 9; i++) {
    codes.push(await alice.answer(await alice.leaveAnchor(room, purpose.id)))
  }
  strictEqual(codes.at(-1), 'tooMany')
  world.clock.advance(LIMITS.anchorIntervalMsMin)
  await alice.beat()
  strictEqual(await alice.answer(await alice.leaveAnchor(room, purpose.id)), 'accepted')
  deepStrictEqual(world.faults, [])
})

Deno.test('JOIN-5: who asks while its own commit is not stored is told to come again', async () => {
  const { world, bob, room, secret } = await invited()
  const replayed = await replay(
    bob,
    room.id,
    await groupAnswer(bob, await asked(bob, room.id, secret)),
  )
  const { body } = await externalCommit(bob, replayed, secret)
  const gate = Promise.withResolvers<void>()
  world.log.hold = gate.promise
  bob.say('submitCommit', body, room.id)
  await world.settled()
  await leave(bob)
  // Meanwhile the link ends.
  world.clock.advance(3_600_000)
  const back = new HandDevice(world.parts, bob.self)
  await back.connect(world.dialer())
  const [zero, later] = [logPosition(0n), { kind: 'unavailable', retryAfterMs: 1_000 }]
  const ask = () => {
    const request = back.nextRequest()
    back.say('subscribe', { request, from: zero, holesBefore: zero, open: false }, room.id)
    return request
  }
  const link = await refusalTo(back, await asked(back, room.id, secret))
  deepStrictEqual(link, { kind: 'invitationSpent' })
  deepStrictEqual(await refusalTo(back, ask()), later)
  world.log.hold = null
  gate.resolve()
  await world.settled()
  ask()
  strictEqual((await back.hear('subscribed')).body.leaf, 1)
  deepStrictEqual(world.faults, [])
})
