/** Bad input: each kind has its code, nothing of it is stored, and the session goes on. */
import { deepStrictEqual, ok, strictEqual } from 'node:assert/strict'
import { leafIndex, logPosition, NO_ROOM, type RequestId, type RoomId } from '#core/base/ids.ts'
import type { TimeMs } from '#core/base/ids.ts'
import { LIMITS } from '#core/base/limits.ts'
import { decodeSealedFrame, encodeSealedFrame } from '#core/sender-keys/sealed-frame.ts'
import { seal } from '#core/sender-keys/seal.ts'
import { BODIES, encodeMessage } from '#core/wire/bodies.ts'
import { buildFrame, PROTOCOL_VERSION } from '#core/wire/frame.ts'
import { entryHash, FIRST_PREVIOUS_HASH } from '#core/wire/log-entry.ts'
import type { Refusal } from '#core/wire/refusals.ts'
import type { RoomLog, StoredEntry } from '#hub/ports.ts'
import { HandDevice, type HandRoom } from '../support/hand-device.ts'
import { add } from '../support/hand-members.ts'
import { createHubWorld, type HubWorld } from '../support/hub-world.ts'
import { createMemoryHubPorts } from '../support/memory-hub-ports.ts'

interface Scene {
  readonly world: HubWorld
  readonly alice: HandDevice
  readonly room: HandRoom
  readonly before: number
}

async function begin(): Promise<Scene> {
  const world = createHubWorld()
  const alice = await world.device('alice')
  const room = await alice.createRoom()
  await alice.write(room)
  return { world, alice, room, before: world.log.appends }
}

/** The room is as it was, and the same session still writes to it. */
async function end({ world, alice, room, before }: Scene, next = 2n): Promise<void> {
  strictEqual(world.log.appends, before)
  strictEqual(await alice.write(room), next)
  deepStrictEqual(world.faults, [])
}

const flipped = (bytes: Uint8Array, at: number) => bytes.with(at, (bytes[at] as number) ^ 1)

async function refusal(device: HandDevice): Promise<Refusal> {
  return (await device.hear('refused')).body.refusal
}

Deno.test('WIRE-1: a truncated and an oversized frame', async () => {
  const scene = await begin()
  const { alice } = scene
  for (const length of [0, 1, 33]) {
    alice.sayBytes(new Uint8Array(length).fill(1))
    deepStrictEqual(await refusal(alice), { kind: 'malformed' })
  }
  alice.sayBytes(new Uint8Array(LIMITS.frameSizeMax + 1).fill(1))
  deepStrictEqual(await refusal(alice), { kind: 'oversized', sizeMax: LIMITS.frameSizeMax })
  await end(scene)
})

Deno.test('WIRE-3: unknown versions and opcodes are refused with their number', async () => {
  const scene = await begin()
  const { alice, room } = scene
  const frame = buildFrame(BODIES.subscribe[0], room.id, new Uint8Array(4))
  frame[0] = PROTOCOL_VERSION + 8
  alice.sayBytes(frame)
  deepStrictEqual(await refusal(alice), { kind: 'unknownVersion', version: 9 })
  alice.sayBytes(buildFrame(0xee, room.id, new Uint8Array(4)))
  deepStrictEqual(await refusal(alice), { kind: 'unknownOpcode', opcode: 0xee })
  await end(scene)
})

Deno.test('ROOM-12: a room where none belongs, none where one does, one of nobody', async () => {
  const scene = await begin()
  const { alice, room } = scene
  const beat = encodeMessage('heartbeat', NO_ROOM, { sequence: 1 })
  beat.set(room.id, 2)
  alice.sayBytes(beat)
  deepStrictEqual(await refusal(alice), { kind: 'wrongRoom' })
  const [frame] = await alice.seal(room) as [Uint8Array]
  const request = alice.nextRequest()
  alice.sayBytes(encodeMessage('submitFrame', NO_ROOM, { request, after: null, frame }))
  strictEqual(await alice.answer(request), 'wrongRoom')
  const nowhere = new Uint8Array(32).fill(3) as RoomId
  alice.say('submitFrame', { request, after: null, frame }, nowhere)
  strictEqual(await alice.answer(request), 'unknownRoom')
  await end(scene)
})

Deno.test('WIRE-3, WIRE-5: a malformed body is refused under the number it had', async () => {
  const scene = await begin()
  const { alice, room } = scene
  const whole = encodeMessage('submitFrame', room.id, {
    request: 77 as RequestId,
    after: null,
    frame: new Uint8Array(5),
  })
  for (const bytes of [whole.subarray(0, whole.length - 1), new Uint8Array([...whole, 0])]) {
    alice.sayBytes(bytes)
    strictEqual(await alice.answer(77 as RequestId), 'malformed')
  }
  alice.sayBytes(whole)
  strictEqual(await alice.answer(77 as RequestId), 'malformed')
  await end(scene)
})

Deno.test('HUB-1: what only hubs say, and what does not fit the state of a session', async () => {
  const scene = await begin()
  const { world, alice, room } = scene
  alice.say('ready', {
    session: new Uint8Array(16),
    heartbeatIntervalMs: 1,
    sessionSilenceMsMax: 1,
    time: world.clock.nowMs(),
    keyPackagesLeft: 0,
  })
  deepStrictEqual(await refusal(alice), { kind: 'notAllowed' })
  alice.say('catchUp', { position: logPosition(0n) }, room.id)
  deepStrictEqual(await refusal(alice), { kind: 'notAllowed' })
  alice.say('authenticate', {
    account: alice.self.account,
    device: alice.self.device,
    signature: new Uint8Array(64),
  })
  deepStrictEqual(await refusal(alice), { kind: 'notInThisState' })
  const guest = new HandDevice(world.parts, alice.self)
  await guest.open(world.dialer())
  const request = guest.nextRequest()
  const [frame] = await alice.seal(room) as [Uint8Array]
  for (const greeted of [false, true]) {
    if (greeted) await guest.greet()
    guest.say('submitFrame', { request, after: null, frame }, room.id)
    strictEqual(await guest.answer(request), 'notInThisState')
    guest.say('publishKeyPackages', { request, keyPackages: [], lastResort: null })
    strictEqual(await guest.answer(request), 'notInThisState')
  }
  await end(scene)
})

Deno.test('SEQ-4: a replayed frame, whole or with another signature, is stored once', async () => {
  const scene = await begin()
  const { world, alice, room } = scene
  const [frame] = await alice.seal(room) as [Uint8Array]
  strictEqual(await alice.position(alice.submit(room, frame)), 2n)
  await alice.follow(room, 3n)
  strictEqual(await alice.answer(alice.submit(room, frame)), 'replayed')
  const items = [{ ...alice.take(room, 1)[0] as never as object, generation: 1 }]
  const again = await seal(world.parts.crypto, alice.context(room), items[0] as never)
  strictEqual(await alice.answer(alice.submit(room, again)), 'replayed')
  const far = { ...items[0], generation: 2 + LIMITS.generationJumpMax }
  const jump = await seal(world.parts.crypto, alice.context(room), far as never)
  strictEqual(await alice.answer(alice.submit(room, jump)), 'generationTooFar')
  await end({ ...scene, before: scene.before + 1 }, 3n)
})

Deno.test('SEQ-3, SEAL-2: a wrong signature, and each change to what is signed', async () => {
  const scene = await begin()
  const { world, alice, room } = scene
  const frames = [...await alice.seal(room), ...await alice.seal(room, 2)]
  for (const bytes of frames) {
    const frame = decodeSealedFrame(bytes)
    ok(frame !== null)
    const { header, authenticator } = frame
    const flip = (value: Uint8Array) => value.map((byte, i) => i === 5 ? byte ^ 1 : byte)
    const changed = [
      { ...frame, commitment: flip(frame.commitment) },
      { ...frame, ciphertext: flip(frame.ciphertext) },
      { ...frame, header: { ...header, nonce: flip(header.nonce) } },
      { ...frame, header: { ...header, generation: header.generation + 1 } },
      { ...frame, header: { ...header, flags: header.flags ^ 2 } },
      { ...frame, header: { ...header, seen: { ...header.seen, position: 0n } } },
      { ...frame, authenticator: { ...authenticator, signature: flip(authenticator.signature) } },
    ]
    for (const each of changed) {
      strictEqual(await alice.answer(alice.submit(room, encodeSealedFrame(each))), 'wrongSignature')
    }
  }
  const other = await alice.createRoom()
  const [foreign] = await alice.seal(other, 1, { epochId: alice.context(room).epochId })
  strictEqual(await alice.answer(alice.submit(room, foreign as Uint8Array)), 'wrongSignature')
  const stranger = world.parts.crypto.signatureKeyPair('ed25519', new Uint8Array(32).fill(4))
  const [forged] = await alice.seal(room, 1, { signatureSecret: stranger.secretKey })
  strictEqual(await alice.answer(alice.submit(room, forged as Uint8Array)), 'wrongSignature')
  await end({ ...scene, before: scene.before + 1 })
})

Deno.test('SEQ-2, LOG-5: stale and future epoch, other epoch id, suite and past', async () => {
  const scene = await begin()
  const { alice, room } = scene
  await alice.change(room, {})
  const codes: [Parameters<HandDevice['seal']>[2], string][] = [
    [{ epoch: 0n as never }, 'staleEpoch'],
    [{ epoch: 7n as never }, 'futureEpoch'],
    [{ epochId: new Uint8Array(32) as never }, 'wrongEpochId'],
    [{ leaf: leafIndex(3) }, 'wrongLeaf'],
    [{ seen: { position: 1n, hash: new Uint8Array(32) } }, 'unknownEntry'],
    [{ seen: { position: 99n, hash: room.headHash } }, 'unknownEntry'],
  ]
  for (const [over, code] of codes) {
    const [frame] = await alice.seal(room, 1, over)
    strictEqual(await alice.answer(alice.submit(room, frame as Uint8Array)), code)
  }
  await end({ ...scene, before: scene.before + 1 }, 4n)
})

Deno.test('SEQ-3, ROOM-12: a sender that is no member, and one from another leaf', async () => {
  const scene = await begin()
  const { world, alice, room } = scene
  const bob = await world.device('bob')
  const [frame] = await alice.seal(room) as [Uint8Array]
  strictEqual(await bob.answer(bob.submit(room, frame)), 'unknownRoom')
  const bobs = await add(alice, room, bob)
  const [asAlice] = await alice.seal(room) as [Uint8Array]
  strictEqual(await bob.answer(bob.submit(bobs, asAlice)), 'wrongLeaf')
  const [from0] = await bob.seal(bobs, 1, { leaf: leafIndex(0) })
  strictEqual(await bob.answer(bob.submit(bobs, from0 as Uint8Array)), 'wrongLeaf')
  await end({ ...scene, before: scene.before + 1 }, 4n)
})

Deno.test('ROOM-1: a genesis of another room, device or hub, or a bad certificate', async () => {
  const scene = await begin()
  const { world, alice } = scene
  const bob = await world.device('bob')
  const { room, body } = await alice.genesis()
  const create = async (by: HandDevice, over: Partial<typeof body>, id = room.id) => {
    const request = by.nextRequest()
    by.say('createRoom', { ...body, ...over, request }, id)
    return await by.answer(request)
  }
  strictEqual(await create(alice, {}, new Uint8Array(32).fill(5) as RoomId), 'badGenesis')
  strictEqual(await create(bob, {}), 'badGenesis')
  strictEqual(await create(bob, { certificate: bob.self.certificate }), 'badGenesis')
  strictEqual(await create(alice, { suite: 1 }), 'unknownSuite')
  strictEqual(await create(alice, { suite: 0xf004 }), 'badGenesis')
  strictEqual(await create(alice, { groupInfo: new Uint8Array(40) }), 'badGroupInfo')
  const { body: other } = await alice.genesis()
  strictEqual(await create(alice, { groupInfo: other.groupInfo }), 'badGroupInfo')
  strictEqual(await create(alice, { certificate: new Uint8Array(9) }), 'badCertificate')
  const elsewhere = new HandDevice({ ...world.parts, domain: 'other.example' as never }, alice.self)
  const foreign = await elsewhere.genesis()
  strictEqual(await create(alice, foreign.body, foreign.room.id), 'badGenesis')
  strictEqual(await create(alice, {}), 'accepted')
  strictEqual(await create(bob, {}), 'badGenesis')
  await end({ ...scene, before: scene.before + 1 })
})

Deno.test('SEQ-5, GROUP-1: a commit unlike its submission, a second in an epoch', async () => {
  const scene = await begin()
  const { world, alice, room } = scene
  const bob = await world.device('bob')
  const { keyPackage } = await bob.makeKeyPackage()
  const { certificate } = bob.self
  const { body } = await alice.commit(room, { adds: [{ keyPackage, certificate }] })
  const submit = async (over: Partial<typeof body>, of = room.id) => {
    const request = alice.nextRequest()
    alice.say('submitCommit', { ...body, ...over, request }, of)
    const isAnswer = (message: { body: { request: RequestId } }) => message.body.request === request
    const { refusal } = (await alice.hear('refused', isAnswer)).body
    return 'fault' in refusal ? `${refusal.kind} ${refusal.fault}` : refusal.kind
  }
  const other = await alice.createRoom()
  const certificates = [alice.self.certificate]
  const codes: [Partial<typeof body>, string][] = [
    [{ epoch: 5n as never }, 'futureEpoch'],
    [{ epochId: new Uint8Array(32) as never }, 'wrongEpochId'],
    [{ commit: new Uint8Array(40) }, 'malformed'],
    [{ commit: keyPackage }, 'malformed'],
    [{ commit: flipped(body.commit, body.commit.length - 80) }, 'badCommit mls'],
    [{ seen: { ...body.seen, position: logPosition(0n) } }, 'badCommit entry'],
    [{ groupInfo: new Uint8Array(48) }, 'badCommit groupInfo'],
    [{ groupInfo: await alice.groupInfo(room.group) }, 'badCommit groupInfo'],
    [{ welcome: new Uint8Array(0) }, 'malformed'],
    [{ certificates: [] }, 'badCommit certificate'],
    [{ certificates }, 'badCommit certificate'],
    [{ certificates: [certificate, certificate] }, 'badCommit certificate'],
    [{ certificates: [new Uint8Array(7)] }, 'badCommit certificate'],
  ]
  for (const [over, code] of codes) {
    strictEqual(await submit(over), code)
    world.clock.advance(60_000)
    await alice.beat()
  }
  strictEqual(await submit({}, other.id), 'wrongEpochId')
  alice.say('submitCommit', body, room.id)
  strictEqual(await alice.position(body.request), 2n)
  strictEqual(await submit({}), 'staleEpoch')
  await alice.follow(room, 4n)
  deepStrictEqual(world.faults, [])
})

Deno.test('a device commits six times a minute, and again when a minute has passed', async () => {
  const { world, alice, room } = await begin()
  for (let i = 0; i < LIMITS.commitsPerMinuteMax; i++) await alice.change(room, {})
  const over = await alice.commit(room, {})
  alice.say('submitCommit', over.body, room.id)
  strictEqual(await alice.answer(over.body.request), 'tooMany')
  world.clock.advance(10_000)
  await alice.beat()
  await alice.change(room, {})
  deepStrictEqual(world.faults, [])
})

Deno.test('HUB-5: a device begins thirty rooms a minute, more when time passed', async () => {
  const { world, alice } = await begin()
  const create = async () => {
    const { room, body } = await alice.genesis()
    alice.say('createRoom', body, room.id)
    return await alice.answer(body.request)
  }
  // The story begins with one room.
  for (let i = 1; i < LIMITS.roomsCreatedPerMinuteMax; i++) strictEqual(await create(), 'accepted')
  strictEqual(await create(), 'tooMany')
  world.clock.advance(2_000)
  strictEqual(await create(), 'accepted')
  strictEqual(await create(), 'tooMany')
  deepStrictEqual(world.faults, [])
})

Deno.test('HUB-5: requests in flight of a session are bounded, and all are answered', async () => {
  const { world, alice, room } = await begin()
  const gate = Promise.withResolvers<void>()
  world.log.hold = gate.promise
  const frames: Uint8Array[] = []
  while (frames.length <= LIMITS.requestsInFlightMax) {
    frames.push(...await alice.seal(room, LIMITS.burstFramesMax))
  }
  const requests = frames.map((frame) => alice.submit(room, frame))
  gate.resolve()
  const answers = await Promise.all(requests.map((request) => alice.answer(request)))
  strictEqual(answers.filter((code) => code === 'accepted').length, LIMITS.requestsInFlightMax)
  const refused = answers.filter((code) => code !== 'accepted')
  strictEqual(refused.length, frames.length - LIMITS.requestsInFlightMax)
  strictEqual(refused.every((code) => code === 'tooMany'), true)
  deepStrictEqual(world.faults, [])
})

Deno.test('SEAL-6: a burst with the largest header that there may be is judged', async () => {
  const { world, alice, room } = await begin()
  const content = new Uint8Array(1_024)
  const extensions = Array.from({ length: 16 }, (_, id) => ({ id, critical: false, content }))
  for (const bytes of await alice.seal(room, 2)) {
    const frame = decodeSealedFrame(bytes)
    ok(frame?.authenticator.kind === 'burst')
    const changed = encodeSealedFrame({ ...frame, header: { ...frame.header, extensions } })
    strictEqual(await alice.answer(alice.submit(room, changed)), 'wrongSignature')
  }
  await alice.write(room)
  deepStrictEqual(world.faults, [])
})

Deno.test('LOG-5: what a sender had seen counts, however far the room has grown', async () => {
  const { world, alice, room } = await begin()
  const [first] = room.entries
  ok(first !== undefined)
  const position = logPosition(0n)
  const place = { room: room.id, position, previous: FIRST_PREVIOUS_HASH }
  const sha256 = (bytes: Uint8Array) => world.parts.crypto.hash('sha256', bytes)
  const seen = { position, hash: entryHash(sha256, place, first.entry) }
  const submit = async (count: number): Promise<readonly RequestId[]> => {
    const requests: RequestId[] = []
    while (requests.length < count) {
      const left = Math.min(count - requests.length, LIMITS.burstFramesMax)
      for (const frame of await alice.seal(room, left, { seen })) {
        requests.push(alice.submit(room, frame))
      }
    }
    await world.settled()
    return requests
  }
  const accepted = async (requests: readonly RequestId[]) => {
    for (const request of requests) strictEqual(await alice.answer(request), 'accepted')
  }
  for (let next = 2; next + 512 < LIMITS.hashesRememberedMax; next += 512) {
    await accepted(await submit(512))
  }
  // Three turns: the first holds the second back until it is whole, and so on. What is checked
  // while the second is stored has its turn when the room has forgotten the entry.
  const [one, two] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()]
  world.log.hold = one.promise
  const opening = await submit(1)
  const crossing = await submit(512)
  world.log.hold = two.promise
  one.resolve()
  await accepted(opening)
  const late = await submit(64)
  world.log.hold = null
  two.resolve()
  await accepted([...crossing, ...late])
  strictEqual(world.events.some((event) => event.kind === 'requestDenied'), false)
  deepStrictEqual(world.faults, [])
})

/** How a log may fail to give an entry that it has. */
const UNREAD: Readonly<Record<string, () => Promise<readonly StoredEntry[]>>> = {
  'is not read': () => Promise.reject(new Error('the read failed')),
  'is not given': () => Promise.resolve([]),
}

for (const [what, fail] of Object.entries(UNREAD)) {
  Deno.test(`HUB-10, LOG-5: where what was seen ${what}, nothing is said of it`, async () => {
    const stores = createMemoryHubPorts({ clock: { nowMs: () => Date.now() as TimeMs } })
    const failing = { now: false }
    const { log } = stores
    const read: RoomLog['read'] = (...wanted) => failing.now ? fail() : log.read(...wanted)
    const world = createHubWorld(1, { ...stores, log: { ...log, read } })
    const before = await world.device('alice')
    const room = await before.createRoom()
    for (let frames = 0; frames < 3; frames++) await before.write(room)
    // A hub that was started anew remembers nothing of the log but its end.
    world.restart()
    const alice = new HandDevice(world.parts, before.self)
    await alice.connect(world.dialer())
    await alice.subscribe(room)
    failing.now = true
    const [first] = room.entries
    ok(first !== undefined)
    const early = { ...room, next: 1n, headHash: first.hash }
    const frame = await alice.sealContent(early, new Uint8Array(40))
    const { body } = await alice.commit(early, {})
    const commit = () => {
      const request = alice.nextRequest()
      alice.say('submitCommit', { ...body, request }, room.id)
      return request
    }
    strictEqual(await alice.answer(alice.submit(room, frame)), 'unavailable')
    strictEqual(await alice.answer(commit()), 'unavailable')
    const [burst] = await alice.seal(early, 2)
    strictEqual(await alice.answer(alice.submit(room, burst as Uint8Array)), 'unavailable')
    deepStrictEqual(world.faults, [])
    failing.now = false
    strictEqual(await alice.answer(alice.submit(room, frame)), 'accepted')
    strictEqual(await alice.answer(alice.submit(room, burst as Uint8Array)), 'accepted')
    strictEqual(await alice.answer(commit()), 'accepted')
    deepStrictEqual(world.faults, [])
  })
}
