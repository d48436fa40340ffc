/** Joining by link through the gateway: who is asked, what is proven, how it is answered. */
import { deepStrictEqual, strictEqual } from 'node:assert/strict'
import type { RoomId, TimeMs } from '#core/base/ids.ts'
import { LIMITS } from '#core/base/limits.ts'
import { invitationKeyPair, joinRequestId, readJoinRequest } from '#core/identity/invitation.ts'
import { invitationId, makeJoinRequest } from '#core/identity/invitation.ts'
import { DECLINE_REASONS } from '#core/wire/bodies.ts'
import type { HandDevice, HandRoom } from '../support/hand-device.ts'
import { createHubWorld, type HubWorld } from '../support/hub-world.ts'

/** Answers the next request to join with Add and Welcome. */
async function letIn(member: HandDevice, room: HandRoom): Promise<void> {
  const { body } = await member.hear('joinRequested')
  const request = readJoinRequest(body.joinRequest)
  if (request === null) throw new Error('the hub passes on requests that can be read')
  await member.change(room, {
    adds: [request],
    joinRequest: joinRequestId(member.parts.crypto, body.joinRequest),
  })
}

async function invited(usesMax = 5): Promise<{
  world: HubWorld
  alice: HandDevice
  bob: HandDevice
  room: HandRoom
  secret: Uint8Array
}> {
  const world = createHubWorld()
  const [alice, bob] = [await world.device('alice'), await world.device('bob')]
  const room = await alice.createRoom()
  await alice.follow(room, 1n)
  const secret = await alice.invite(room, { usesMax })
  return { world, alice, bob, room, secret }
}

Deno.test('ROOM-8, ROOM-9: who holds a link’s secret asks, is let in, and reads on', async () => {
  const { world, alice, bob, room, secret } = await invited()
  await alice.write(room)
  const made = await bob.makeKeyPackage()
  const request = await bob.requestJoin(room.id, secret, made.keyPackage)
  await letIn(alice, room)
  strictEqual(await bob.position(request), 3n)
  const bobs = await bob.join(made)
  await bob.write(bobs)
  await alice.follow(room, bobs.next)
  deepStrictEqual(room.headHash, bobs.headHash)
  deepStrictEqual(world.faults, [])
})

Deno.test('ROOM-9: a request waits while no member is there', async () => {
  const { world, alice, bob, room, secret } = await invited()
  alice.hangUp()
  await alice.closed
  const made = await bob.makeKeyPackage()
  const request = await bob.requestJoin(room.id, secret, made.keyPackage)
  await bob.beat()
  await alice.connect(world.dialer())
  await alice.subscribe(room)
  await letIn(alice, room)
  await bob.position(request)
  await bob.join(made)
  deepStrictEqual(world.faults, [])
})

Deno.test('ROOM-9: one member is asked at a time, and the next when it stays silent', async () => {
  const { world, alice, bob, room, secret } = await invited()
  const made = await bob.makeKeyPackage()
  await bob.requestJoin(room.id, secret, made.keyPackage)
  await letIn(alice, room)
  const bobs = await bob.join(made)
  const carol = await world.device('carol')
  const carols = await carol.makeKeyPackage()
  const request = await carol.requestJoin(room.id, secret, carols.keyPackage)
  await alice.hear('joinRequested')
  await bob.beat()
  strictEqual(bob.heard.some(({ kind }) => kind === 'joinRequested'), false)
  world.clock.advance(LIMITS.joinAskMs)
  world.gateway.tick()
  await bob.follow(bobs, room.next)
  await letIn(bob, bobs)
  await carol.position(request)
  await carol.join(carols)
  deepStrictEqual(world.faults, [])
})

Deno.test('ROOM-9: a member declines, and the joiner is told why', async () => {
  const { alice, bob, room, secret } = await invited()
  const made = await bob.makeKeyPackage()
  const request = await bob.requestJoin(room.id, secret, made.keyPackage)
  const { body } = await alice.hear('joinRequested')
  const id = joinRequestId(alice.parts.crypto, body.joinRequest)
  bob.say('declineJoin', { id, reason: DECLINE_REASONS.invalid }, room.id)
  strictEqual((await bob.hear('refused')).body.refusal.kind, 'unknownRoom')
  alice.say('declineJoin', { id, reason: DECLINE_REASONS.invalid }, room.id)
  strictEqual(await bob.answer(request), 'declined')
})

Deno.test('ROOM-8: an invitation is spent by its uses and by its time', async () => {
  const { world, alice, bob, room, secret } = await invited(1)
  const made = await bob.makeKeyPackage()
  await bob.requestJoin(room.id, secret, made.keyPackage)
  await letIn(alice, room)
  await bob.join(made)
  const carol = await world.device('carol')
  const carols = await carol.makeKeyPackage()
  const late = await carol.requestJoin(room.id, secret, carols.keyPackage)
  strictEqual(await carol.answer(late), 'invitationSpent')
  const expiresAt = world.clock.nowMs() + 1_000 as TimeMs
  const short = await alice.invite(room, { expiresAt })
  world.clock.advance(1_000)
  const over = await carol.requestJoin(room.id, short, carols.keyPackage)
  strictEqual(await carol.answer(over), 'invitationSpent')
  deepStrictEqual(world.faults, [])
})

Deno.test('ROOM-9: a request must be proven, and tells nobody whether a room exists', async () => {
  const { world, alice, bob, room, secret } = await invited()
  const { crypto, clock } = world.parts
  const made = await bob.makeKeyPackage()
  const pair = invitationKeyPair(crypto, secret, room.id)
  const other = invitationKeyPair(crypto, new Uint8Array(16), room.id)
  const carol = await world.device('carol')
  const carols = await carol.makeKeyPackage()
  const content = {
    room: room.id,
    invitation: invitationId(crypto, pair.publicKey),
    account: bob.self.account,
    device: bob.self.device,
    suite: bob.suite.id,
    keyPackage: made.keyPackage,
    certificate: bob.self.certificate,
    time: clock.nowMs(),
  }
  const ask = async (over: Partial<typeof content>, key = pair.secretKey, id: RoomId = room.id) => {
    const joinRequest = await makeJoinRequest(crypto, { ...content, ...over }, key)
    const request = bob.nextRequest()
    bob.say('requestJoin', { request, token: null, joinRequest }, id)
    return await bob.answer(request)
  }
  const nowhere = new Uint8Array(32).fill(9) as RoomId
  const unknown = invitationId(crypto, other.publicKey)
  strictEqual(await ask({}, other.secretKey), 'wrongSignature')
  strictEqual(await ask({ invitation: unknown }, other.secretKey), 'unknownInvitation')
  strictEqual(await ask({ room: nowhere }, pair.secretKey, nowhere), 'unknownInvitation')
  strictEqual(await ask({ room: nowhere }), 'wrongRoom')
  strictEqual(await ask({ account: carol.self.account }), 'notAllowed')
  strictEqual(await ask({ suite: 0xf004 }), 'unknownSuite')
  strictEqual(await ask({ keyPackage: new Uint8Array(9) }), 'malformed')
  strictEqual(await ask({ keyPackage: carols.keyPackage }), 'badCertificate')
  strictEqual(await ask({ certificate: carol.self.certificate }), 'badCertificate')
  const request = bob.nextRequest()
  bob.say('requestJoin', { request, token: null, joinRequest: new Uint8Array(7) }, room.id)
  strictEqual(await bob.answer(request), 'malformed')
  await alice.beat()
  strictEqual(alice.heard.some(({ kind }) => kind === 'joinRequested'), false)
  deepStrictEqual(world.faults, [])
})
