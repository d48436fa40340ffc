/** Rights that must end with what they came from: links of who is gone, and of who joins. */
import { deepStrictEqual, strictEqual } from 'node:assert/strict'
import { type AccountName, leafIndex } from '#core/base/ids.ts'
import { LIMITS } from '#core/base/limits.ts'
import { HandDevice, type HandRoom } from '../support/hand-device.ts'
import { askGroup, externalCommit, groupAnswer, linkPurpose } from '../support/hand-joiner.ts'
import { joinByLink, replay } from '../support/hand-joiner.ts'
import { add, passed } from '../support/hand-members.ts'
import { createHubWorld, type HubWorld } from '../support/hub-world.ts'

interface Scene {
  readonly world: HubWorld
  readonly alice: HandDevice
  readonly bob: HandDevice
  readonly room: HandRoom
  readonly bobs: HandRoom
  /** Of Bob's link. */
  readonly secret: Uint8Array
}

/** Alice and Bob are in a room, and Bob has made a link. */
async function bobInvites(usesMax = 5): Promise<Scene> {
  const world = createHubWorld()
  const [alice, bob] = [await world.device('alice'), await world.device('bob')]
  const room = await alice.createRoom()
  const bobs = await add(alice, room, bob)
  const { secret, invitation } = bob.invitation(bobs, { usesMax })
  const change = { invitations: [invitation] }
  await passed({ device: bob, room: bobs }, change, [{ device: alice, room }])
  strictEqual(await bob.answer(await bob.leaveAnchor(bobs, invitation.id)), 'accepted')
  return { world, alice, bob, room, bobs, secret }
}

async function groupFor(device: HandDevice, { room, secret }: Scene): Promise<string> {
  const purpose = await linkPurpose(device, room.id, secret)
  const request = askGroup(device, room.id, purpose)
  const given = device.hear('group', ({ body }) => body.request === request)
  return await Promise.race([device.answer(request), given.then(({ kind }) => kind)])
}

Deno.test('JOIN-1, JOIN-4: the link of a removed member shows nobody the room', async () => {
  const scene = await bobInvites()
  const { world, alice, room } = scene
  const carol = await world.device('carol')
  await alice.change(room, { removes: [leafIndex(1)] })
  strictEqual(await groupFor(carol, scene), 'unknownRoom')
  deepStrictEqual(world.faults, [])
})

Deno.test('JOIN-1, JOIN-4: a link that is used up shows nobody else the room', async () => {
  const scene = await bobInvites(1)
  const { world, room, secret } = scene
  await joinByLink(await world.device('carol'), room.id, secret)
  strictEqual(await groupFor(await world.device('dave'), scene), 'invitationSpent')
  deepStrictEqual(world.faults, [])
})

Deno.test('JOIN-2, SEQ-6: a member that also asks by link is out when removed', async () => {
  const { world, alice, bob, room, bobs, secret } = await bobInvites()
  const request = askGroup(bob, room.id, await linkPurpose(bob, room.id, secret))
  await groupAnswer(bob, request)
  const removal = await alice.change(room, { removes: [leafIndex(1)] })
  await alice.follow(room, removal + 2n)
  await alice.change(room, {})
  await bob.beat()
  strictEqual(bobs.next, removal + 2n, 'nothing behind the verdict')
  deepStrictEqual(world.faults, [])
})

Deno.test('JOIN-2, SEQ-6: who has not joined follows as long as the link lasts', async () => {
  const scene = await bobInvites()
  const { world, alice, room, secret } = scene
  const carol = await world.device('carol')
  const request = askGroup(carol, room.id, await linkPurpose(carol, room.id, secret))
  const { log } = await replay(carol, room.id, await groupAnswer(carol, request))
  const removal = await alice.change(room, { removes: [leafIndex(1)] })
  await alice.follow(room, removal + 2n)
  await alice.change(room, {})
  await carol.beat()
  strictEqual(log.next, removal + 2n, 'nothing behind the verdict')
  deepStrictEqual(world.faults, [])
})

Deno.test('SEQ-3, JOIN-8: an external commit for a foreign leaf costs no check', async () => {
  const scene = await bobInvites()
  const { world, bob, room, secret } = scene
  const carol = await world.device('carol')
  const request = askGroup(carol, room.id, await linkPurpose(carol, room.id, secret))
  const carols = await replay(carol, room.id, await groupAnswer(carol, request))
  const { body } = await externalCommit(carol, carols, secret)
  const before = world.checks.mldsa65
  const foreign = bob.nextRequest()
  bob.say('submitCommit', { ...body, request: foreign }, room.id)
  strictEqual(await bob.answer(foreign), 'wrongLeaf')
  strictEqual(world.checks.mldsa65, before)
  carol.say('submitCommit', body, room.id)
  strictEqual(await carol.answer(body.request), 'accepted')
  deepStrictEqual(world.faults, [])
})

Deno.test('HUB-5, JOIN-2: who asks for a group and does not take it is closed', async () => {
  const { world, room, secret } = await bobInvites()
  const { self } = await world.device('carol')
  const stall: { until: Promise<void> | undefined } = { until: undefined }
  const slow = new HandDevice(world.parts, self)
  await slow.connect(world.dialer({ stall: () => stall.until }))
  const purpose = await linkPurpose(slow, room.id, secret)
  stall.until = new Promise(() => {})
  // The first answer fills what may be written at once, so that the second is held.
  const account = 'nobody@hub.example' as AccountName
  const request = slow.nextRequest()
  slow.say('claimKeyPackages', { request, token: null, account, suite: slow.suite.id })
  await world.settled()
  slow.say('claimKeyPackages', { request, token: null, account, suite: slow.suite.id })
  await world.settled()
  askGroup(slow, room.id, purpose)
  await world.settled()
  const ends = () => world.events.filter((e) => e.kind === 'sessionEnded' && e.reason === 'slow')
  for (let beats = 0; beats < 4; beats++) {
    strictEqual(ends().length, 0)
    world.clock.advance(LIMITS.heartbeatIntervalMs)
    slow.say('heartbeat', { sequence: beats })
    world.gateway.tick()
    await world.settled()
  }
  strictEqual(ends().length, 1)
  deepStrictEqual(world.faults, [])
})
