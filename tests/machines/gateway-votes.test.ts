/** Provisional epochs through the gateway: who is asked, what goes out when, voids, restarts. */
import { deepStrictEqual, ok, strictEqual } from 'node:assert/strict'
import { leafIndex, type LogPosition, logPosition, type RequestId } from '#core/base/ids.ts'
import { LIMITS } from '#core/base/limits.ts'
import { type Group } from '#core/mls/group.ts'
import { proposeUpdate } from '#core/mls/messages.ts'
import { decode } from '#core/wire/codec.ts'
import { verdictEntryCodec } from '#core/wire/log-entry.ts'
import type { Refusal } from '#core/wire/refusals.ts'
import { HandDevice, type HandRoom } from '../support/hand-device.ts'
import { add, agree, type Follower, passed } from '../support/hand-members.ts'
import { createHubWorld, type HubWorld } from '../support/hub-world.ts'

interface Scene {
  readonly world: HubWorld
  readonly alice: HandDevice
  readonly bob: HandDevice
  readonly carol: HandDevice
  readonly room: HandRoom
  readonly bobs: HandRoom
  readonly carols: HandRoom
}

/** Three members who follow the room, in a final epoch. */
async function three(): Promise<Scene> {
  const world = createHubWorld()
  const alice = await world.device('alice')
  const bob = await world.device('bob')
  const carol = await world.device('carol')
  const room = await alice.createRoom()
  const bobs = await add(alice, room, bob)
  const carols = await add(alice, room, carol, [{ device: bob, room: bobs }])
  await bob.follow(bobs, room.next)
  await carol.follow(carols, room.next)
  return { world, alice, bob, carol, room, bobs, carols }
}

/** Time passes for everybody, and the hub looks at what has become due. */
async function wait(world: HubWorld, ms: number): Promise<void> {
  world.clock.advance(ms)
  world.gateway.tick()
  await world.settled()
}

async function refusalTo(device: HandDevice, request: RequestId): Promise<Refusal> {
  return (await device.hear('refused', ({ body }) => body.request === request)).body.refusal
}

function verdictsOf(room: HandRoom) {
  return room.entries.flatMap(({ entry }) => {
    if (entry.header.entry !== 'verdict' || entry.body.kind !== 'whole') return []
    const decoded = decode(verdictEntryCodec, entry.body.bytes)
    ok(decoded.kind === 'decoded')
    return [`${decoded.value.verdict} ${decoded.value.position}`]
  })
}

/** Follows a commit, and says that it cannot; the group from before comes back. */
async function complain({ device, room }: Follower): Promise<Group> {
  const before = room.group
  const { body } = await device.hear('askVote')
  await device.follow(room, body.position + 1n)
  await device.process(room)
  strictEqual(await device.answer(await device.vote(room, { choice: 'cannot' })), 'accepted')
  return before
}

Deno.test('VOTE-2, VOTE-3: who follows is asked, more than half is final', async () => {
  const { world, alice, bob, carol, room, bobs, carols } = await three()
  const position = await alice.change(room, {})
  strictEqual(await agree({ device: bob, room: bobs }), position + 1n)
  await bob.beat()
  strictEqual(bobs.next, position + 2n)
  strictEqual(await agree({ device: carol, room: carols }), position + 2n)
  await alice.follow(room, position + 4n)
  strictEqual(verdictsOf(room).at(-1), `final ${position}`)
  const finals = world.events.filter(({ kind }) => kind === 'epochFinal')
  strictEqual(finals.length, 3)
  deepStrictEqual(world.faults, [])
})

Deno.test('VOTE-2: one device of each account is asked, no committer’s', async () => {
  const { world, alice, bob, carol, room } = await three()
  const phone = new HandDevice(world.parts, alice.self)
  await phone.connect(world.dialer())
  const laptop = await phone.enter(room.id, room.group)
  phone.rooms.set([...room.id].map((byte) => byte.toString(16).padStart(2, '0')).join(''), laptop)
  await phone.subscribe(laptop)
  await phone.follow(laptop, room.next)
  const { next, body } = await phone.commit({ ...laptop, keys: room.keys }, {})
  ok(next !== null)
  phone.say('submitCommit', body, room.id)
  await phone.position(body.request)
  for (const device of [bob, carol]) await device.hear('askVote')
  for (const device of [bob, carol, phone]) {
    await device.beat()
    strictEqual(device.heard.some(({ kind }) => kind === 'askVote'), false)
  }
})

Deno.test('VOTE-3: after two seconds one agree is enough', async () => {
  const { world, alice, bob, carol, room, bobs } = await three()
  const position = await alice.change(room, {})
  await carol.hear('askVote')
  await agree({ device: bob, room: bobs })
  await wait(world, LIMITS.verdictWaitMs - 1)
  await alice.beat()
  strictEqual(room.next, position + 2n)
  await wait(world, 1)
  await alice.follow(room, position + 3n)
  strictEqual(verdictsOf(room).at(-1), `final ${position}`)
  deepStrictEqual(
    world.events.filter(({ kind }) => kind === 'epochFinal').at(-1),
    { kind: 'epochFinal', finalMs: LIMITS.verdictWaitMs },
  )
  deepStrictEqual(world.faults, [])
})

/** Bob again, who takes nothing of rooms, and follows one in which something is open. */
async function deafBob({ world, alice, bob, room }: Scene): Promise<HandDevice> {
  bob.hangUp()
  await bob.closed
  for (let commits = 0; commits < 3; commits++) await alice.change(room, {})
  const deaf = new HandDevice(world.parts, bob.self)
  const never = new Promise<void>(() => {})
  await deaf.connect(world.dialer({
    stall: (lane) => lane.kind === 'control' ? undefined : never,
  }))
  follows(deaf, room)
  await deaf.beat()
  return deaf
}

function follows(device: HandDevice, { id, next }: HandRoom, from = next): RequestId {
  const request = device.nextRequest()
  const holesBefore = logPosition(0n)
  device.say('subscribe', { request, from: logPosition(from), holesBefore, open: false }, id)
  return request
}

Deno.test('HUB-5, VOTE-2: who asks for what is not there is not asked for its vote', async () => {
  const scene = await three()
  const { world, bobs } = scene
  const deaf = await deafBob(scene)
  const { outboundBytes, subscriptions } = world.gateway.memory()
  for (let asked = 0; asked < 1_000; asked++) follows(deaf, bobs, 1n << 40n)
  strictEqual(await deaf.answer(follows(deaf, bobs, 1n << 40n)), 'unknownEntry')
  await deaf.beat()
  const after = world.gateway.memory()
  deepStrictEqual([after.outboundBytes, after.subscriptions], [outboundBytes, subscriptions])
  deepStrictEqual(world.faults, [])
})

Deno.test('HUB-5, VOTE-2: what a device is asked counts like all that waits for it', async () => {
  const scene = await three()
  const { world, bob, room } = scene
  const [own, quiet] = [await bob.createRoom(), await bob.createRoom()]
  // Its head is older than this entry: who follows it is told none.
  await bob.write(quiet)
  const deaf = await deafBob(scene)
  for (const each of [own, quiet]) follows(deaf, each)
  const left = async () => {
    await deaf.beat()
    return LIMITS.outboundQueueBytesMax - world.gateway.memory().outboundBytes
  }
  const write = async (length: number) => {
    const frame = await deaf.sealContent(own, new Uint8Array(length))
    strictEqual(await deaf.answer(deaf.submit(own, frame)), 'accepted')
  }
  const before = await left()
  follows(deaf, room)
  const length = before - await left()
  while (await left() > 80_000) await write(60_000)
  while (await left() > 4_000) await write(1_000)
  // Until there is room for the answer, and not for all that the device is asked behind it.
  while (await left() >= length) follows(deaf, quiet)
  follows(deaf, room)
  strictEqual(world.events.filter(({ kind }) => kind === 'subscriptionCut').length, 1)
  strictEqual((await deaf.hear('catchUp')).room.join(), own.id.join())
  ok(await left() > 0, `${-await left()} B too many`)
  deepStrictEqual(world.faults, [])
})

Deno.test('VOTE-2, VOTE-3: nobody is there: the next who comes is asked, and agrees', async () => {
  const { world, alice, bob, carol, room, bobs } = await three()
  for (const device of [bob, carol]) {
    device.hangUp()
    await device.closed
  }
  const dave = await world.device('dave')
  const made = await dave.makeKeyPackage()
  const { certificate } = dave.self
  const adds = [{ keyPackage: made.keyPackage, certificate }]
  const position = await alice.change(room, { adds })
  // Nobody who could vote is there: the Welcome does not wait.
  const daves = await dave.join(made)
  await wait(world, LIMITS.verdictWaitMs)
  strictEqual(verdictsOf(daves).includes(`final ${position}`), false)
  const { rooms } = bob
  const back = new HandDevice(world.parts, bob.self)
  for (const [key, of] of rooms) back.rooms.set(key, of)
  await back.connect(world.dialer())
  await back.subscribe(bobs)
  await agree({ device: back, room: bobs })
  await dave.follow(daves, position + 3n)
  strictEqual(verdictsOf(daves).at(-1), `final ${position}`)
  await dave.write(daves)
  deepStrictEqual(world.faults, [])
})

Deno.test('ROOM-7: a Welcome waits for the verdict while somebody may vote', async () => {
  const { world, alice, bob, room, bobs } = await three()
  const dave = await world.device('dave')
  const made = await dave.makeKeyPackage()
  const { certificate } = dave.self
  const adds = [{ keyPackage: made.keyPackage, certificate }]
  await alice.change(room, { adds })
  await agree({ device: bob, room: bobs })
  await dave.beat()
  strictEqual(dave.heard.some(({ kind }) => kind === 'welcome'), false)
  await wait(world, LIMITS.verdictWaitMs)
  const daves = await dave.join(made)
  await dave.write(daves)
  deepStrictEqual(world.faults, [])
})

Deno.test('ROOM-7: who is let in by nobody but time is, also by a hub started anew', async () => {
  const { world, alice, room } = await three()
  const dave = await world.device('dave')
  const made = await dave.makeKeyPackage()
  const { certificate } = dave.self
  const adds = [{ keyPackage: made.keyPackage, certificate }]
  const position = await alice.change(room, { adds })
  world.restart()
  await wait(world, LIMITS.provisionalMsMax)
  const back = new HandDevice(world.parts, dave.self)
  await back.connect(world.dialer())
  await world.settled()
  strictEqual(back.heard.some(({ kind }) => kind === 'welcome'), false)
  await wait(world, 0)
  const daves = await back.join(made)
  strictEqual(verdictsOf(daves).at(-1), `final ${position}`)
  deepStrictEqual(world.faults, [])
})

Deno.test('VOTE-3, ROOM-7: a void brings the epoch below back, and nobody is let in', async () => {
  const { world, alice, bob, carol, room, bobs, carols } = await three()
  const dave = await world.device('dave')
  const made = await dave.makeKeyPackage()
  const { certificate } = dave.self
  const before = room.group
  const keys = room.keys
  const adds = [{ keyPackage: made.keyPackage, certificate }]
  const position = await alice.change(room, { adds })
  const [void_] = await alice.seal(room)
  const voided = await alice.position(alice.submit(room, void_ as Uint8Array))
  bobs.group = await complain({ device: bob, room: bobs })
  carols.group = await complain({ device: carol, room: carols })
  await wait(world, LIMITS.verdictWaitMs)
  await alice.follow(room, voided + 4n)
  strictEqual(verdictsOf(room).at(-1), `void ${position}`)
  room.group = before
  room.keys = keys
  await alice.write(room)
  await dave.beat()
  strictEqual(dave.heard.some(({ kind }) => kind === 'welcome'), false)
  strictEqual(world.events.filter(({ kind }) => kind === 'epochVoid').length, 1)
  // Whoever was let in by the void commit is nobody: the room is not there for it.
  const request = dave.nextRequest()
  const zero = logPosition(0n)
  dave.say('subscribe', { request, from: zero, holesBefore: zero, open: false }, room.id)
  strictEqual(await dave.answer(request), 'unknownRoom')
  deepStrictEqual(world.faults, [])
})

Deno.test('SEQ-6: who was removed sees no frame, and after a void all of them again', async () => {
  const { world, alice, bob, carol, room, bobs, carols } = await three()
  const before = { group: room.group, keys: room.keys }
  const position = await alice.change(room, { removes: [leafIndex(2)] })
  const [frame] = await alice.seal(room)
  const hidden = await alice.position(alice.submit(room, frame as Uint8Array))
  await carol.follow(carols, hidden + 1n)
  strictEqual(carols.entries[Number(position)]?.entry.body.kind, 'whole')
  strictEqual(carols.entries[Number(hidden)]?.entry.body.kind, 'hole')
  strictEqual((await carol.subscribe(carols)).leaf, null)
  bobs.group = await complain({ device: bob, room: bobs })
  await wait(world, LIMITS.verdictWaitMs)
  await alice.follow(room, hidden + 3n)
  Object.assign(room, before)
  const shown = await alice.write(room)
  await carol.follow(carols, shown + 1n)
  strictEqual(verdictsOf(carols).at(-1), `void ${position}`)
  strictEqual(carols.entries[Number(shown)]?.entry.body.kind, 'whole')
  deepStrictEqual(carols.headHash, room.headHash)
  deepStrictEqual(world.faults, [])
})

Deno.test('SEQ-6: who came in and was removed in open epochs follows on', async () => {
  const { world, alice, bob, room, bobs } = await three()
  const dave = await world.device('dave')
  const made = await dave.makeKeyPackage()
  const adds = [{ keyPackage: made.keyPackage, certificate: dave.self.certificate }]
  const added = await alice.change(room, { adds })
  await agree({ device: bob, room: bobs })
  const before = room.group
  const removed = await alice.change(room, { removes: [leafIndex(3)] })
  const zero = logPosition(0n)
  const asks = () => {
    const request = dave.nextRequest()
    dave.say('subscribe', { request, from: zero, holesBefore: zero, open: false }, room.id)
    return dave.hear('subscribed')
  }
  strictEqual((await asks()).body.leaf, null)
  bobs.group = await complain({ device: bob, room: bobs })
  await wait(world, LIMITS.verdictWaitMs)
  await alice.follow(room, removed + 4n)
  room.group = before
  deepStrictEqual(verdictsOf(room).slice(-2), [`final ${added}`, `void ${removed}`])
  strictEqual((await asks()).body.leaf, 3)
  deepStrictEqual(world.faults, [])
})

Deno.test('SEQ-6: verdicts of one turn reach who is in some epoch between them', async () => {
  const { world, alice, bob, carol, room, bobs, carols } = await three()
  const made = await carol.makeKeyPackage()
  // Dave says nothing, so that what Bob follows is final after two seconds, all at once.
  await add(alice, room, await world.device('dave'), [
    { device: bob, room: bobs },
    { device: carol, room: carols },
  ])
  const commits = [await alice.change(room, { removes: [leafIndex(2)] })]
  await agree({ device: bob, room: bobs })
  const adds = [{ keyPackage: made.keyPackage, certificate: carol.self.certificate }]
  commits.push(await alice.change(room, { adds }))
  await agree({ device: bob, room: bobs })
  commits.push(await alice.change(room, { removes: [leafIndex(2)] }))
  const votedAt = await agree({ device: bob, room: bobs })
  await wait(world, LIMITS.verdictWaitMs)
  await carol.beat()
  strictEqual(carols.next, votedAt + 1n + BigInt(commits.length))
  deepStrictEqual(verdictsOf(carols).slice(-3), commits.map((position) => `final ${position}`))
  await alice.follow(room, carols.next)
  // That was the last of it for her.
  await alice.write(room)
  await carol.beat()
  strictEqual(carols.next, room.next - 1n)
  deepStrictEqual(world.faults, [])
})

Deno.test('VOTE-5, VOTE-9: a frame that came too early waits, measured', async () => {
  const { world, alice, bob, room, bobs } = await three()
  const position = await alice.change(room, {})
  await bob.hear('askVote')
  await bob.follow(bobs, position + 1n)
  await bob.process(bobs)
  const [frame] = await bob.seal(bobs)
  const refusal = await refusalTo(bob, bob.submit(bobs, frame as Uint8Array))
  deepStrictEqual(refusal, { kind: 'provisional', position })
  world.clock.advance(700)
  const voted = await bob.vote(bobs)
  const sent = bob.submit(bobs, frame as Uint8Array)
  strictEqual(await bob.position(voted), position + 1n)
  strictEqual(await bob.position(sent), position + 2n)
  deepStrictEqual(world.events.filter(({ kind }) => kind === 'frameStalled'), [
    { kind: 'frameStalled', stallMs: 700 },
  ])
  deepStrictEqual(world.faults, [])
})

Deno.test('VOTE-2: a vote of others, of elsewhere, or unsigned has its code', async () => {
  const { world, alice, bob, carol, room, bobs, carols } = await three()
  const position = await alice.change(room, {})
  for (const [device, of] of [[bob, bobs], [carol, carols]] as const) {
    await device.hear('askVote')
    await device.follow(of, position + 1n)
    await device.process(of)
  }
  const faultOf = async (over: Parameters<HandDevice['vote']>[1]) => {
    const refusal = await refusalTo(bob, await bob.vote(bobs, over))
    return 'fault' in refusal ? `${refusal.kind} ${refusal.fault}` : refusal.kind
  }
  strictEqual(await faultOf({ leaf: 2 }), 'badVote wrongLeaf')
  strictEqual(await faultOf({ leaf: 0 }), 'badVote wrongLeaf')
  strictEqual(await faultOf({ leaf: 77 }), 'badVote wrongLeaf')
  strictEqual(await faultOf({ room: new Uint8Array(32) }), 'badVote otherEpoch')
  strictEqual(await faultOf({ epochId: new Uint8Array(32) as never }), 'badVote otherEpoch')
  strictEqual(await faultOf({ epochIdBefore: new Uint8Array(32) as never }), 'badVote otherEpoch')
  strictEqual(await faultOf({ position: logPosition(1n) }), 'badVote settled')
  strictEqual(await faultOf({ position: logPosition(99n) }), 'badVote otherEpoch')
  strictEqual(await faultOf({ mac: new Uint8Array(0) }), 'badVote malformed')
  const request = bob.nextRequest()
  bob.say('submitVote', { request, vote: new Uint8Array(80) }, room.id)
  deepStrictEqual(await refusalTo(bob, request), { kind: 'badVote', fault: 'malformed' })
  strictEqual(await bob.answer(await bob.vote(bobs)), 'accepted')
  strictEqual(await faultOf({}), 'badVote twice')
  strictEqual(await carol.answer(await carol.vote(carols)), 'accepted')
  strictEqual(await faultOf({}), 'badVote settled')
  deepStrictEqual(world.faults, [])
})

Deno.test('GROUP-4: an own Update is proposed, and the next commit takes it in', async () => {
  const { world, alice, bob, room, bobs } = await three()
  const sending = {
    wireFormat: 'publicMessage',
    authenticatedData: new Uint8Array(0),
    entropy: world.parts.entropy,
  } as const
  const sent = await proposeUpdate(bobs.group, sending)
  ok(sent.kind === 'sent')
  const submit = async (device: HandDevice, proposal: Uint8Array) => {
    const request = device.nextRequest()
    device.say('submitProposal', { request, proposal }, room.id)
    return await device.answer(request)
  }
  strictEqual(await submit(alice, sent.message), 'wrongLeaf')
  strictEqual(await submit(bob, new Uint8Array(60)), 'malformed')
  const last = sent.message.length - 50
  const broken = sent.message.with(last, (sent.message[last] as number) ^ 1)
  strictEqual(await submit(bob, broken), 'badProposal')
  strictEqual(await submit(bob, sent.message), 'accepted')
  await alice.follow(room, bobs.next)
  strictEqual(room.entries.at(-1)?.entry.header.entry, 'proposal')
  // A commit that was made before it came stands on another state.
  const other = await proposeUpdate(room.group, sending)
  ok(other.kind === 'sent')
  strictEqual(await submit(alice, other.message), 'accepted')
  deepStrictEqual(world.faults, [])
})

Deno.test('GROUP-5: a restart goes on with what is provisional, votes and all', async () => {
  const { world, alice, bob, carol, room, bobs, carols } = await three()
  const position = await alice.change(room, {})
  await agree({ device: bob, room: bobs })
  const second = await alice.change(room, {})
  world.restart()
  const back = new HandDevice(world.parts, carol.self)
  for (const [key, of] of carol.rooms) back.rooms.set(key, of)
  await back.connect(world.dialer())
  strictEqual((await back.subscribe(carols)).epoch, 4n)
  // It is asked about both, and votes on both; the lower one becomes final first.
  const asked: LogPosition[] = []
  for (let i = 0; i < 2; i++) asked.push((await back.hear('askVote')).body.position)
  deepStrictEqual(asked, [position, second])
  await back.follow(carols, second + 1n)
  const commits = carols.entries.filter(({ entry }) => entry.header.entry === 'commit').slice(-2)
  for (const commit of commits) {
    const upTo = { ...carols, entries: carols.entries.slice(0, Number(commit.position) + 1) }
    await back.process(upTo)
    carols.group = upTo.group
    strictEqual(await back.answer(await back.vote({ ...upTo })), 'accepted')
  }
  await back.follow(carols, second + 5n)
  deepStrictEqual(verdictsOf(carols).slice(-2), [`final ${position}`, `final ${second}`])
  deepStrictEqual(world.faults, [])
})

Deno.test('VOTE-4: what passed is final for ever: the room goes on from there', async () => {
  const { world, alice, bob, carol, room, bobs, carols } = await three()
  const others = [{ device: bob, room: bobs }, { device: carol, room: carols }]
  const first = await passed({ device: alice, room }, {}, others)
  const second = await passed({ device: alice, room }, {}, others)
  deepStrictEqual(verdictsOf(room).slice(-2), [`final ${first}`, `final ${second}`])
  strictEqual(world.events.filter(({ kind }) => kind === 'memberCountChanged').length, 4)
  deepStrictEqual(world.faults, [])
})
