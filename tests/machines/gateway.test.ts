/** The gateway with devices by hand over memory: sessions, the way of a message, membership. */
import { deepStrictEqual, notDeepStrictEqual, ok, strictEqual } from 'node:assert/strict'
import { toHex } from '#core/base/bytes.ts'
import { type AccountName, type DeviceId, leafIndex, logPosition } from '#core/base/ids.ts'
import { LIMITS } from '#core/base/limits.ts'
import { verifyCertificate } from '#core/identity/certificate.ts'
import { verifyHead } from '#core/identity/head.ts'
import { sealTypingFrame } from '#core/sender-keys/ephemeral.ts'
import { BODIES, encodeMessage } from '#core/wire/bodies.ts'
import { NO_ROOM } from '#core/base/ids.ts'
import { encode } from '#core/wire/codec.ts'
import { HandDevice, type HandRoom, makeIdentity } from '../support/hand-device.ts'
import { add, agree } from '../support/hand-members.ts'
import { createHubWorld, DOMAIN, type HubWorld } from '../support/hub-world.ts'

function noFaults(world: HubWorld): void {
  deepStrictEqual(world.faults, [])
}

Deno.test('HUB-3: a frame is stored, accepted at its position, delivered in order', async () => {
  const world = createHubWorld()
  const alice = await world.device('alice')
  const room = await alice.createRoom()
  for (const expected of [1n, 2n, 3n]) strictEqual(await alice.write(room), expected)
  deepStrictEqual(room.entries.map(({ entry }) => entry.header.entry), [
    'genesis',
    'frame',
    'frame',
    'frame',
  ])
  noFaults(world)
})

Deno.test('HUB-3: nothing is acknowledged or delivered before the log has stored it', async () => {
  const world = createHubWorld()
  const alice = await world.device('alice')
  const room = await alice.createRoom()
  await alice.follow(room, 1n)
  const gate = Promise.withResolvers<void>()
  world.log.hold = gate.promise
  const appends = world.log.appends
  const frames = await alice.seal(room, 3)
  const requests = frames.map((frame) => alice.submit(room, frame))
  await world.settled()
  // The append has begun, and all that is asked meanwhile is answered without the frames.
  await alice.subscribe(room)
  strictEqual(world.log.appends, appends + 1)
  strictEqual(room.next, 1n)
  strictEqual(alice.heard.some(({ kind }) => kind === 'accepted'), false)
  gate.resolve()
  deepStrictEqual(await Promise.all(requests.map((request) => alice.position(request))), [
    1n,
    2n,
    3n,
  ])
  await alice.follow(room, 4n)
  noFaults(world)
})

Deno.test('HUB-2: what comes while a turn is stored is one turn of all rooms', async () => {
  const world = createHubWorld()
  const [alice, bob] = [await world.device('alice'), await world.device('bob')]
  const [room, other] = [await alice.createRoom(), await bob.createRoom()]
  await alice.follow(room, 1n)
  await bob.follow(other, 1n)
  const gate = Promise.withResolvers<void>()
  world.log.hold = gate.promise
  const [frame] = await alice.seal(room) as [Uint8Array]
  const opening = alice.submit(room, frame)
  await world.settled()
  const appends = world.log.appends
  const positions: Promise<bigint>[] = []
  for (const [device, of] of [[alice, room], [bob, other]] as const) {
    const frames = await device.seal(of, 20)
    positions.push(...frames.map((each) => device.position(device.submit(of, each))))
  }
  await world.settled()
  strictEqual(world.log.appends, appends)
  world.log.hold = null
  gate.resolve()
  strictEqual(await alice.position(opening), 1n)
  await Promise.all(positions)
  strictEqual(world.log.appends, appends + 1)
  noFaults(world)
})

Deno.test('HUB-3: when nothing is stored, senders are told and the room is as before', async () => {
  const world = createHubWorld()
  const alice = await world.device('alice')
  const room = await alice.createRoom()
  await alice.follow(room, 1n)
  const [frame] = await alice.seal(room)
  world.log.failing = true
  strictEqual(await alice.answer(alice.submit(room, frame as Uint8Array)), 'unavailable')
  world.log.failing = false
  strictEqual(await alice.position(alice.submit(room, frame as Uint8Array)), 1n)
  await alice.follow(room, 2n)
  strictEqual(world.events.filter(({ kind }) => kind === 'appendRejected').length, 1)
  noFaults(world)
})

Deno.test('SES-3: a device proves itself; a wrong signature or device does not', async () => {
  const world = createHubWorld()
  const alice = await world.device('alice')
  const other = new HandDevice(world.parts, { ...alice.self })
  await other.open(world.dialer())
  const greeted = await other.greet()
  const proof = await other.proof(greeted)
  const refusal = async (over: Partial<typeof proof>) => {
    other.say('authenticate', { ...proof, ...over })
    return (await other.hear('refused')).body.refusal.kind
  }
  strictEqual(
    await refusal({ signature: proof.signature.map((byte) => byte ^ 1) }),
    'wrongSignature',
  )
  strictEqual(await refusal({ device: new Uint8Array(16) as DeviceId }), 'unknownDevice')
  strictEqual(await refusal({ account: 'nobody@hub.example' as AccountName }), 'unknownDevice')
  other.say('authenticate', proof)
  await other.hear('ready')
  noFaults(world)
})

Deno.test('SES-3: a proof of one session is nothing in another', async () => {
  const world = createHubWorld()
  const alice = await world.device('alice')
  const first = new HandDevice(world.parts, alice.self)
  await first.open(world.dialer())
  const proof = await first.proof(await first.greet())
  const second = new HandDevice(world.parts, alice.self)
  await second.open(world.dialer())
  await second.greet()
  second.say('authenticate', proof)
  strictEqual((await second.hear('refused')).body.refusal.kind, 'wrongSignature')
})

Deno.test('ID-4: a name is attested once; the same certificate may ask again', async () => {
  const world = createHubWorld()
  const guest = async (self: HandDevice['self']) => {
    const device = new HandDevice(world.parts, self)
    await device.open(world.dialer())
    await device.greet()
    return device
  }
  const self = await makeIdentity(world.parts, 'olga')
  const first = await guest({ ...self })
  await first.register()
  const again = await guest({ ...self })
  await again.register()
  deepStrictEqual(again.self.certificate, first.self.certificate)
  const hubKey = await verifyCertificate(world.parts.crypto, first.self.certificate, {
    hubKey: null,
  })
  ok(hubKey.kind === 'verified' && hubKey.attestedBy === DOMAIN)
  const refusalOf = async (certificate: Uint8Array) => {
    const device = await guest({ ...self, certificate })
    const request = device.nextRequest()
    device.say('register', { request, token: null, certificate })
    return await device.answer(request)
  }
  const rival = await makeIdentity(world.parts, 'olga')
  strictEqual(await refusalOf(rival.certificate), 'nameTaken')
  const elsewhere = { ...world.parts, domain: 'other.example' as typeof DOMAIN }
  strictEqual(
    await refusalOf((await makeIdentity(elsewhere, 'olga')).certificate),
    'badCertificate',
  )
  const forged = (await makeIdentity(world.parts, 'oscar')).certificate
  forged[forged.length - 3] = (forged[forged.length - 3] as number) ^ 1
  strictEqual(await refusalOf(forged), 'badCertificate')
  noFaults(world)
})

Deno.test('SES-4: a second session of a device ends the first and says so', async () => {
  const world = createHubWorld()
  const first = await world.device('alice')
  const second = new HandDevice(world.parts, first.self)
  await second.connect(world.dialer())
  strictEqual((await first.hear('sessionClosing')).body.reason, 'replaced')
  world.clock.advance(LIMITS.closeGraceMs)
  world.gateway.tick()
  await first.closed
  await second.beat()
  strictEqual(world.gateway.memory().sessions, 1)
})

Deno.test('SES-5: a silent session is told and cut, one that beats lives', async () => {
  const world = createHubWorld()
  const [alice, bob] = [await world.device('alice'), await world.device('bob')]
  world.clock.advance(LIMITS.sessionSilenceMsMax)
  await bob.beat()
  world.clock.advance(1)
  world.gateway.tick()
  strictEqual((await alice.hear('sessionClosing')).body.reason, 'silence')
  world.clock.advance(LIMITS.closeGraceMs)
  world.gateway.tick()
  await alice.closed
  await bob.beat()
})

Deno.test('SES-7, HUB-8: a drain says so or where to go, takes nobody new, and ends', async () => {
  for (const redirect of [undefined, { endpoint: 'https://other.example', reason: 1 }]) {
    const world = createHubWorld()
    const alice = await world.device('alice')
    world.gateway.drain(redirect)
    if (redirect !== undefined) {
      strictEqual((await alice.hear('redirect')).body.endpoint, redirect.endpoint)
    }
    strictEqual((await alice.hear('sessionClosing')).body.reason, 'drain')
    const late = new HandDevice(world.parts, alice.self)
    await late.open(world.dialer()).then(() => ok(false, 'turned away'), () => {})
    world.clock.advance(LIMITS.closeGraceMs)
    world.gateway.tick()
    await alice.closed
    strictEqual(world.gateway.idle, true)
  }
})

Deno.test('SEQ-6, ROOM-7, ROOM-12: added members talk, a removed one is out', async () => {
  const world = createHubWorld()
  const [alice, bob, carol] = [
    await world.device('alice'),
    await world.device('bob'),
    await world.device('carol'),
  ]
  const room = await alice.createRoom()
  await alice.write(room)
  const bobs = await add(alice, room, bob)
  strictEqual(bobs.next, 4n)
  strictEqual(bobs.entries[1]?.entry.body.kind, 'hole')
  const carols = await add(alice, room, carol, [{ device: bob, room: bobs }])
  for (const [device, of] of [[bob, bobs], [carol, carols]] as const) {
    await device.follow(of, room.next)
    await device.write(of)
    await alice.follow(room, of.next)
  }
  // Carol goes: she gets everything up to the verdict and nothing after.
  const position = await alice.change(room, { removes: [leafIndex(2)] })
  strictEqual(await agree({ device: bob, room: bobs }), position + 1n)
  await carol.follow(carols, position + 3n)
  strictEqual(carols.entries.at(-1)?.entry.header.entry, 'verdict')
  await bob.follow(bobs, position + 3n)
  await bob.write(bobs)
  await carol.beat()
  strictEqual(carols.next, position + 3n)
  const request = carol.nextRequest()
  const from = logPosition(carols.next)
  carol.say('subscribe', { request, from, holesBefore: from, open: false }, carols.id)
  strictEqual(await carol.answer(request), 'unknownRoom')
  strictEqual(await carol.answer(carol.submit(carols, new Uint8Array(8))), 'unknownRoom')
  noFaults(world)
})

Deno.test('ROOM-7: a Welcome waits for a device until it has it', async () => {
  const world = createHubWorld()
  const [alice, bob] = [await world.device('alice'), await world.device('bob')]
  const room = await alice.createRoom()
  const made = await bob.makeKeyPackage()
  bob.hangUp()
  await bob.closed
  await alice.follow(room, 1n)
  const { certificate } = bob.self
  await alice.change(room, { adds: [{ keyPackage: made.keyPackage, certificate }] })
  world.restart()
  const back = new HandDevice(world.parts, bob.self)
  await back.connect(world.dialer())
  await back.join(made)
  await back.beat()
  const again = new HandDevice(world.parts, bob.self)
  await again.connect(world.dialer())
  await again.beat()
  strictEqual(again.heard.some(({ kind }) => kind === 'welcome'), false)
  noFaults(world)
})

Deno.test('DIR-2, DIR-4: a claim gives each KeyPackage once, always in one size', async () => {
  const world = createHubWorld()
  const [alice, bob] = [await world.device('alice'), await world.device('bob')]
  const [one, last] = [await bob.makeKeyPackage(), await bob.makeKeyPackage()]
  const request = bob.nextRequest()
  bob.say('publishKeyPackages', {
    request,
    keyPackages: [one.keyPackage],
    lastResort: last.keyPackage,
  })
  strictEqual(await bob.answer(request), 'accepted')
  const claim = async (account: string) => {
    const { body } = await (alice.say('claimKeyPackages', {
      request: alice.nextRequest(),
      token: null,
      account: account as AccountName,
      suite: alice.suite.id,
    }),
      alice.hear('keyPackages'))
    strictEqual(encode(BODIES.keyPackages[1], body).length, LIMITS.claimAnswerSize)
    return body.claimed
  }
  const claimed = [await claim(bob.self.account), await claim(bob.self.account)].flat()
  deepStrictEqual(claimed.map(({ lastResort }) => lastResort), [false, true])
  deepStrictEqual(claimed.map(({ keyPackage }) => keyPackage), [one.keyPackage, last.keyPackage])
  deepStrictEqual(claimed[0]?.certificate, bob.self.certificate)
  deepStrictEqual(await claim('nobody@hub.example'), [])
  noFaults(world)
})

Deno.test('DIR-1: a device publishes KeyPackages of its own identity only', async () => {
  const world = createHubWorld()
  const [alice, bob] = [await world.device('alice'), await world.device('bob')]
  const foreign = await bob.makeKeyPackage()
  const publish = async (keyPackages: Uint8Array[]) => {
    const request = alice.nextRequest()
    alice.say('publishKeyPackages', { request, keyPackages, lastResort: null })
    return await alice.answer(request)
  }
  strictEqual(await publish([foreign.keyPackage]), 'badCertificate')
  strictEqual(await publish([new Uint8Array(9)]), 'malformed')
  world.clock.advance(2 * 86_400_000)
  await alice.beat()
  strictEqual(await publish([]), 'accepted')
})

Deno.test('LOG-3: heads are signed, at most one a second, and after catching up', async () => {
  const world = createHubWorld()
  const alice = await world.device('alice')
  const room = await alice.createRoom()
  const { greeting } = await (async () => {
    const guest = new HandDevice(world.parts, alice.self)
    await guest.open(world.dialer())
    return await guest.greet()
  })()
  const first = (await alice.hear('head')).body
  const said = { hubDomain: DOMAIN, room: room.id, head: first }
  ok(await verifyHead(world.parts.crypto, said, greeting.hubKey))
  deepStrictEqual(first.position, logPosition(0n))
  for (let i = 0; i < 3; i++) await alice.write(room)
  world.gateway.tick()
  await alice.beat()
  strictEqual(alice.heard.some(({ kind }) => kind === 'head'), false)
  world.clock.advance(LIMITS.headIntervalMs)
  world.gateway.tick()
  const second = (await alice.hear('head')).body
  deepStrictEqual(second.position, logPosition(3n))
  deepStrictEqual(second.entryHash, room.headHash)
  notDeepStrictEqual(second.signature, first.signature)
  await alice.subscribe(room)
  deepStrictEqual((await alice.hear('head')).body, second)
  noFaults(world)
})

Deno.test('SES-8: typing goes to members, from one’s own leaf, and not too often', async () => {
  const world = createHubWorld()
  const [alice, bob] = [await world.device('alice'), await world.device('bob')]
  const room = await alice.createRoom()
  const bobs = await add(alice, room, bob)
  const typing = async (device: HandDevice, of: HandRoom, over: object = {}) =>
    await sealTypingFrame(world.parts.crypto, {
      ...device.context(of),
      root: new Uint8Array(32),
      ...over,
    }, {
      time: world.clock.nowMs(),
      nonce: new Uint8Array(24),
      signatureSecret: device.self.key.secretKey,
    })
  const frame = await typing(bob, bobs)
  bob.say('ephemeral', { frame }, room.id)
  deepStrictEqual((await alice.hear('ephemeral')).body.frame, frame)
  // With datagrams it does not wait behind control.
  const flow = { stopped: false }
  const never = new Promise<void>(() => {})
  const phone = new HandDevice(world.parts, alice.self)
  const stall = () => flow.stopped ? never : undefined
  await phone.connect(world.dialer({ datagrams: true, stall }))
  await phone.subscribe(room)
  flow.stopped = true
  bob.say('ephemeral', { frame }, room.id)
  deepStrictEqual((await phone.hear('ephemeral')).body.frame, frame)
  const refusal = async (over: object) => {
    bob.say('ephemeral', { frame: await typing(bob, bobs, over) }, room.id)
    return (await bob.hear('refused')).body.refusal.kind
  }
  strictEqual(await refusal({ leaf: leafIndex(0) }), 'wrongLeaf')
  strictEqual(await refusal({ epoch: 0n }), 'staleEpoch')
  strictEqual(await refusal({ epoch: 9n }), 'futureEpoch')
  strictEqual(await refusal({ epochId: new Uint8Array(32) }), 'wrongEpochId')
  for (let i = 1; i < LIMITS.ephemeralsPerSecondMax; i++) bob.say('ephemeral', { frame }, room.id)
  strictEqual((await bob.hear('refused')).body.refusal.kind, 'tooMany')
  deepStrictEqual(bob.heard.filter(({ kind }) => kind === 'ephemeral'), [])
  noFaults(world)
})

Deno.test('ROOM-1: what is said about a room while it is being created waits', async () => {
  const world = createHubWorld()
  const alice = await world.device('alice')
  const { room, body } = await alice.genesis()
  alice.rooms.set([...room.id].map((byte) => byte.toString(16).padStart(2, '0')).join(''), room)
  alice.say('createRoom', body, room.id)
  const subscribed = alice.subscribe(room)
  strictEqual(await alice.position(body.request), 0n)
  strictEqual((await subscribed).next, 1n)
  await alice.follow(room, 1n)
  alice.sayBytes(encodeMessage('createRoom', room.id, body))
  strictEqual(await alice.answer(body.request), 'roomExists')
  strictEqual(room.next, 1n)
  noFaults(world)
})

Deno.test('SEQ-1, KEY-5: after a restart chain, epoch and generations go on', async () => {
  const world = createHubWorld()
  const [alice, bob] = [await world.device('alice'), await world.device('bob')]
  const room = await alice.createRoom()
  await add(alice, room, bob)
  const [old] = await alice.seal(room)
  await alice.position(alice.submit(room, old as Uint8Array))
  await alice.follow(room, 4n)
  world.restart()
  const back = new HandDevice(world.parts, alice.self)
  await back.connect(world.dialer())
  back.rooms.set([...room.id].map((byte) => byte.toString(16).padStart(2, '0')).join(''), room)
  const subscribed = await back.subscribe(room)
  deepStrictEqual(subscribed, {
    request: subscribed.request,
    next: 4n,
    epoch: 1n,
    epochId: alice.context(room).epochId,
    leaf: leafIndex(0),
    lastGenerations: [{ lane: 0, generation: 0 }],
  })
  strictEqual(await back.answer(back.submit(room, old as Uint8Array)), 'replayed')
  strictEqual(await back.write(room), 4n)
  noFaults(world)
})

Deno.test('ROOM-6: a request beyond the end, or of nobody known, is refused', async () => {
  const world = createHubWorld()
  const alice = await world.device('alice')
  const room = await alice.createRoom()
  const request = alice.nextRequest()
  const holesBefore = logPosition(0n)
  alice.say('subscribe', { request, from: logPosition(9n), holesBefore, open: false }, room.id)
  strictEqual(await alice.answer(request), 'unknownEntry')
  alice.say('acknowledge', { position: logPosition(9n) }, room.id)
  strictEqual((await alice.hear('refused')).body.refusal.kind, 'unknownEntry')
  alice.say('acknowledge', { position: logPosition(0n) }, room.id)
  const end = alice.nextRequest()
  alice.say('unsubscribe', { request: end }, room.id)
  strictEqual(await alice.answer(end), 'accepted')
  const [frame] = await alice.seal(room)
  await alice.position(alice.submit(room, frame as Uint8Array))
  await alice.beat()
  strictEqual(room.next, 1n)
  strictEqual(NO_ROOM.length, 32)
})

Deno.test('HUB-3: who meets a room that another hub wrote to is told, and goes on', async () => {
  const world = createHubWorld()
  const alice = await world.device('alice')
  const room = await alice.createRoom()
  await alice.write(room)
  // A second gateway on the same store takes a frame of the room; the first knows nothing of it.
  world.restart()
  const elsewhere = new HandDevice(world.parts, alice.self)
  const there = { ...room, entries: [...room.entries] }
  elsewhere.rooms.set(toHex(room.id), there)
  await elsewhere.connect(world.dialer())
  await elsewhere.subscribe(there)
  await elsewhere.write(there)
  room.keys = there.keys
  const gate = Promise.withResolvers<void>()
  world.log.hold = gate.promise
  const first = (await alice.seal(room, 3)).map((frame) => alice.submit(room, frame))
  await world.settled()
  // Checked, and waiting behind what is being stored.
  const second = (await alice.seal(room, 3)).map((frame) => alice.submit(room, frame))
  await world.settled()
  gate.resolve()
  for (const request of [...first, ...second]) {
    strictEqual(await alice.answer(request), 'unavailable')
  }
  await alice.hear('catchUp')
  ok(world.events.some(({ kind }) => kind === 'appendConflicted'))
  await alice.subscribe(room)
  await alice.follow(room, 3n)
  strictEqual(await alice.write(room), 3n)
  noFaults(world)
})
