/**
 * A hub under wrong input, over both transports: each fault gets its code, and after each of them
 * the next good frame is taken at the next position. Owns the faults that a device can make by
 * hand; the same rules in every combination are the machines' tests.
 */
import { deepStrictEqual, ok, strictEqual } from 'node:assert/strict'
import { logPosition, NO_ROOM, requestId, type RoomId } from '#core/base/ids.ts'
import { LIMITS } from '#core/base/limits.ts'
import type { Dialer } from '#core/device/transport.ts'
import type { SealContext } from '#core/sender-keys/seal.ts'
import { decodeSealedFrame, encodeSealedFrame } from '#core/sender-keys/sealed-frame.ts'
import type { SealHeader } from '#core/sender-keys/sealed-frame.ts'
import { SUITES } from '#core/crypto/suites.ts'
import { type BodyKind, encodeMessage } from '#core/wire/bodies.ts'
import { buildFrame, FRAME_HEADER_LENGTH } from '#core/wire/frame.ts'
import type { Refusal } from '#core/wire/refusals.ts'
import { startHub } from '../e2e/support/hub.ts'
import { type Answer, makeAccount, opcodeOf, ProtocolSession } from '../support/protocol-client.ts'
import { type ClientAccount, signIn, signUp } from '../support/protocol-client.ts'
import { entropy, within } from '../support/protocol-parts.ts'
import { dialerOf, TRANSPORT_NAMES, type TransportName } from '../support/real-dialers.ts'
import { createRoom, keyPackageFor, type RoomClient } from '../support/room-client.ts'

/** Alice and Bob in a room in epoch 1, and what the tests break rules with. */
interface World {
  readonly transport: TransportName
  readonly dialer: Dialer
  readonly endpoint: string
  readonly alice: RoomClient
  readonly bob: RoomClient
  /** A room of Alice alone, in epoch 0. */
  readonly other: RoomClient
  /** Registered, and in no room; each test of his has a session of its own. */
  readonly mallory: ClientAccount
  /** Sealed by Alice in epoch 0. */
  readonly stale: Uint8Array
  /** Texts of the good frames, in their order. */
  readonly good: string[]
}

async function makeWorld(transport: TransportName, endpoint: string): Promise<World> {
  const dialer = await dialerOf(transport, endpoint)
  const { account, session } = await signUp(dialer, endpoint, `alice-${transport.toLowerCase()}`)
  const alice = await createRoom(account, session)
  const stale = await alice.seal('of the epoch before')
  const guest = await signUp(dialer, endpoint, `bob-${transport.toLowerCase()}`)
  const bob = await alice.add(guest.account, guest.session)
  const other = await createRoom(account, session)
  const third = await signUp(dialer, endpoint, `mallory-${transport.toLowerCase()}`)
  await third.session.leave()
  const mallory = third.account
  return { transport, dialer, endpoint, alice, bob, other, mallory, stale, good: [] }
}

/** The session lives, and a good frame gets the next position (SEQ-1). */
async function goesOn(world: World): Promise<void> {
  const { alice, good } = world
  await alice.session.beat()
  const text = `good ${good.length}`
  await alice.say(text)
  good.push(text)
}

function requireRefusal(answer: Answer, kind: BodyKind, refusal: Refusal): void {
  deepStrictEqual(answer, { kind: 'refused', opcode: opcodeOf(kind), refusal })
}

/** The next refusal that answers no known request. */
async function nextRefusal(session: ProtocolSession) {
  const { opcode, refusal, request } = await session.next('refused')
  return { opcode, refusal, request }
}

/** A frame with another header; what it was signed over is as before. */
function altered(frame: Uint8Array, header: Partial<SealHeader>): Uint8Array {
  const decoded = decodeSealedFrame(frame)
  ok(decoded !== null)
  return encodeSealedFrame({ ...decoded, header: { ...decoded.header, ...header } })
}

type Case = readonly [title: string, run: (world: World) => Promise<void>]

// ---- Frames -------------------------------------------------------------------------------

const frames: readonly Case[] = [
  ['WIRE-3: a body that ends too early, at every length', async ({ alice }) => {
    const { session } = alice
    const request = session.nextRequest()
    const from = logPosition(0n)
    const body = { request, from, holesBefore: from, open: false }
    const whole = encodeMessage('subscribe', alice.id, body)
    for (let length = FRAME_HEADER_LENGTH; length < whole.length; length++) {
      session.sendBytes(whole.subarray(0, length))
      deepStrictEqual(await nextRefusal(session), {
        opcode: opcodeOf('subscribe'),
        refusal: { kind: 'malformed' },
        request: length < FRAME_HEADER_LENGTH + 4 ? 0 : request,
      })
    }
  }],
  ['WIRE-3: a body with a byte behind it', async ({ alice }) => {
    const { session } = alice
    const sequence = session.nextRequest()
    const beat = encodeMessage('heartbeat', NO_ROOM, { sequence })
    session.sendBytes(Uint8Array.of(...beat, 0))
    const refusal: Refusal = { kind: 'malformed' }
    deepStrictEqual(await nextRefusal(session), {
      opcode: opcodeOf('heartbeat'),
      refusal,
      request: 0,
    })
  }],
  ['WIRE-3: an unknown version is named', async ({ alice }) => {
    const { session } = alice
    const frame = encodeMessage('heartbeat', NO_ROOM, { sequence: 1 })
    for (const version of [0, 2, 255]) {
      frame[0] = version
      session.sendBytes(frame)
      const { refusal } = await nextRefusal(session)
      deepStrictEqual(refusal, { kind: 'unknownVersion', version })
    }
  }],
  ['WIRE-3, WIRE-4: an unknown opcode is named', async ({ alice }) => {
    const { session } = alice
    for (const opcode of [0, 0x1f, 0x3f, 0xff]) {
      session.sendBytes(buildFrame(opcode, NO_ROOM, entropy.randomBytes(9)))
      const { refusal } = await nextRefusal(session)
      deepStrictEqual(refusal, { kind: 'unknownOpcode', opcode })
    }
  }],
  ['WIRE-1: a room where none belongs, and none where one belongs', async ({ alice }) => {
    const { session } = alice
    session.send('heartbeat', { sequence: 1 }, alice.id)
    deepStrictEqual((await nextRefusal(session)).refusal, { kind: 'wrongRoom' })
    session.send('acknowledge', { position: logPosition(0n) }, NO_ROOM)
    deepStrictEqual((await nextRefusal(session)).refusal, { kind: 'wrongRoom' })
  }],
  ['HUB-1: what only a hub may say, and what was said already', async ({ alice }) => {
    const { session } = alice
    session.send('accepted', { request: requestId(1), position: null })
    const { refusal } = await nextRefusal(session)
    deepStrictEqual(refusal, { kind: 'notAllowed' })
    session.send('hello', {
      versions: [1],
      appVersion: 1,
      features: [],
      deviceNonce: entropy.randomBytes(32),
    })
    deepStrictEqual((await nextRefusal(session)).refusal, { kind: 'notInThisState' })
  }],
  ['WIRE-1: a part over its limit in a frame within its own', async ({ alice }) => {
    const frame = new Uint8Array(LIMITS.sealedFrameSizeMax + 1)
    const { session } = alice
    const request = session.nextRequest()
    // The codec would not write it, so the length stands in front of it by hand (RFC 9420 2.1.2).
    const body = new Uint8Array(8 + frame.length)
    const view = new DataView(body.buffer)
    view.setUint32(0, request)
    view.setUint32(4, frame.length + 0x8000_0000)
    body.set(frame, 8)
    const answer = session.answerTo(request)
    session.sendBytes(buildFrame(opcodeOf('submitFrame'), alice.id, body))
    requireRefusal(await answer, 'submitFrame', { kind: 'malformed' })
  }],
]

// ---- Sessions that end --------------------------------------------------------------------

/**
 * Sends bytes that are no frame in a session of its own: only a stream loses its place (WIRE-2).
 */
async function sendNoFrame(world: World, bytes: Uint8Array, refusal: Refusal): Promise<void> {
  const { dialer, endpoint, mallory, transport } = world
  const session = await signIn(dialer, endpoint, mallory)
  session.sendBytes(bytes)
  deepStrictEqual(await nextRefusal(session), { opcode: 0, refusal, request: 0 })
  const goesOn = transport === 'webSocket' && refusal.kind === 'malformed'
  if (goesOn) {
    await session.beat()
    return await session.leave()
  }
  deepStrictEqual(await session.next('sessionClosing'), { reason: 'protocolError' })
  await within(session.closed, 'the end of the session')
}

const sessions: readonly Case[] = [
  ['WIRE-2: an oversized frame is refused and ends its session', async (world) => {
    const sizeMax = LIMITS.frameSizeMax
    await sendNoFrame(world, new Uint8Array(sizeMax + 1), { kind: 'oversized', sizeMax })
  }],
  ['WIRE-2: less than a header is refused, and ends a stream', async (world) => {
    const bytes = new Uint8Array(FRAME_HEADER_LENGTH - 1)
    await sendNoFrame(world, bytes, { kind: 'malformed' })
  }],
  ['SES-3, SES-4: who is not proven may not speak of rooms', async (world) => {
    const { dialer, endpoint, alice, mallory } = world
    const session = await ProtocolSession.open(dialer, endpoint)
    await session.greet()
    const unproven = await session.request(
      'submitFrame',
      { after: null, frame: world.stale },
      alice.id,
    )
    requireRefusal(unproven, 'submitFrame', { kind: 'notInThisState' })
    const signature = await session.prove(mallory)
    const { account, device } = alice.account
    session.send('authenticate', { account, device, signature })
    deepStrictEqual((await nextRefusal(session)).refusal, { kind: 'wrongSignature' })
    session.send('authenticate', { account, device: mallory.device, signature })
    deepStrictEqual((await nextRefusal(session)).refusal, { kind: 'unknownDevice' })
    await session.authenticate(mallory)
    await session.leave()
  }],
  ['ID-2, ID-4: certificates that are broken, and a name that is taken', async (world) => {
    const { dialer, endpoint, alice } = world
    const session = await ProtocolSession.open(dialer, endpoint)
    await session.greet()
    const [user = ''] = alice.account.account.split('@')
    const thief = await makeAccount(user)
    const taken = { token: null, certificate: thief.certificate }
    requireRefusal(await session.request('register', taken), 'register', { kind: 'nameTaken' })
    const free = await makeAccount(`no${user}`)
    const broken = { token: null, certificate: free.certificate.with(-1, 0).with(-2, 0xff) }
    const badCertificate = { kind: 'badCertificate' } as const
    requireRefusal(await session.request('register', broken), 'register', badCertificate)
    const noise = { token: null, certificate: entropy.randomBytes(6_000) }
    requireRefusal(await session.request('register', noise), 'register', badCertificate)
    await session.leave()
  }],
]

// ---- Rooms --------------------------------------------------------------------------------

async function refusedFrame(room: RoomClient, frame: Uint8Array, refusal: Refusal): Promise<void> {
  requireRefusal(await room.submit(frame), 'submitFrame', refusal)
}

/** A frame that Alice really signs, with a header that does not fit. */
async function refusedLie(
  { alice }: World,
  context: Partial<SealContext>,
  refusal: Refusal,
): Promise<void> {
  await refusedFrame(alice, await alice.seal('a lie', { context }), refusal)
}

const rooms: readonly Case[] = [
  ['ROOM-12: a room that is not, and a room of others, are the same', async (world) => {
    const { alice, dialer, endpoint, mallory, stale } = world
    const session = await signIn(dialer, endpoint, mallory)
    const unknown = entropy.randomBytes(32) as RoomId
    const refusal: Refusal = { kind: 'unknownRoom' }
    for (const room of [unknown, alice.id]) {
      const answer = await session.request('submitFrame', { after: null, frame: stale }, room)
      requireRefusal(answer, 'submitFrame', refusal)
    }
    const own = await alice.session.request('submitFrame', { after: null, frame: stale }, unknown)
    requireRefusal(own, 'submitFrame', refusal)
    await session.leave()
  }],
  ['SEAL-1: what is no sealed frame', async ({ alice }) => {
    const malformed: Refusal = { kind: 'malformed' }
    await refusedFrame(alice, entropy.randomBytes(400), malformed)
    const frame = await alice.seal('cut')
    await refusedFrame(alice, frame.subarray(0, -1), malformed)
    await refusedFrame(alice, altered(frame, { flags: 1 }), malformed)
    await refusedFrame(alice, altered(frame, { format: 2 }), malformed)
  }],
  [
    'SEAL-2, SEQ-3: a signature of nobody, over other bytes, and for another room',
    async (world) => {
      const { alice, other, mallory } = world
      const wrongSignature: Refusal = { kind: 'wrongSignature' }
      const signatureSecret = mallory.ed25519.secretKey
      await refusedLie(world, { signatureSecret }, wrongSignature)
      const frame = await alice.seal('changed on the way')
      await refusedFrame(alice, frame.with(-1, (frame.at(-1) ?? 0) ^ 1), wrongSignature)
      const { generation } = decodeSealedFrame(frame)?.header ?? { generation: 0 }
      await refusedFrame(alice, altered(frame, { generation: generation + 1 }), wrongSignature)
      await refusedLie(world, { room: other.id }, wrongSignature)
      const [first, second] = await alice.sealBurst(['first', 'second'])
      const path = decodeSealedFrame(second ?? frame)?.authenticator
      const mixed = decodeSealedFrame(first ?? frame)
      ok(path !== undefined && mixed !== null)
      await refusedFrame(
        alice,
        encodeSealedFrame({ ...mixed, authenticator: path }),
        wrongSignature,
      )
    },
  ],
  ['SEQ-2: another epoch, another epochId', async (world) => {
    const { alice, other, stale } = world
    const { epoch } = alice
    await refusedFrame(alice, stale, { kind: 'staleEpoch', epoch })
    await refusedFrame(alice, await other.seal('astray'), { kind: 'staleEpoch', epoch })
    const ahead = epoch + 1n as SealContext['epoch']
    await refusedLie(world, { epoch: ahead }, { kind: 'futureEpoch', epoch })
    const far = 2n ** 64n - 1n as SealContext['epoch']
    await refusedLie(world, { epoch: far }, { kind: 'futureEpoch', epoch })
    const { epochId } = other
    await refusedLie(world, { epochId }, { kind: 'wrongEpochId' })
    const suite = SUITES.compliance.id
    const foreign = altered(await alice.seal('of another suite'), { suite })
    await refusedFrame(alice, foreign, { kind: 'unknownSuite', suite })
  }],
  ['SEQ-3: the leaf of somebody else, and one that is not there', async (world) => {
    const { alice, bob } = world
    const wrongLeaf: Refusal = { kind: 'wrongLeaf' }
    await refusedFrame(bob, await alice.seal('taken by bob'), wrongLeaf)
    const lie = { context: { leaf: alice.leaf } }
    await refusedFrame(bob, await bob.seal('as alice', lie), wrongLeaf)
    const leaf = 99 as SealContext['leaf']
    await refusedLie(world, { leaf }, wrongLeaf)
  }],
  ['SEQ-4: a frame again, an older one, and one from far ahead', async (world) => {
    const { alice, good } = world
    const older = await alice.seal('sent too late')
    const frame = await alice.seal(`good ${good.length}`)
    const position = alice.log.next
    deepStrictEqual(await alice.submit(frame), { kind: 'accepted', position })
    good.push(`good ${good.length}`)
    await alice.log.reach(position + 1n)
    const { generation } = decodeSealedFrame(frame)?.header ?? { generation: -1 }
    await refusedFrame(alice, frame, { kind: 'replayed', generation })
    await refusedFrame(alice, older, { kind: 'replayed', generation })
    const generationAhead = LIMITS.generationJumpMax
    const far = await alice.seal('too far', { generationAhead })
    await refusedFrame(alice, far, { kind: 'generationTooFar', generation })
  }],
  ['LOG-5: an entry that is not in the chain', async (world) => {
    const { seen } = world.alice.log
    const unknownEntry: Refusal = { kind: 'unknownEntry' }
    const hash = entropy.randomBytes(32)
    await refusedLie(world, { seen: { ...seen, hash } }, unknownEntry)
    const position = logPosition(seen.position + 1n)
    await refusedLie(world, { seen: { ...seen, position } }, unknownEntry)
    await refusedLie(world, { seen: { position: 2n ** 64n - 1n, hash } }, unknownEntry)
    const early = { position: logPosition(0n), hash: seen.hash }
    await refusedLie(world, { seen: early }, unknownEntry)
  }],
  ['SEQ-5, ROOM-4: commits of another epoch, leaf, room, and with another certificate', commits],
  ['VOTE-2, GROUP-4, JOIN-1, JOIN-3: no vote, no proposal, no anchor, and no right', others],
  ['SEQ-1: good frames between bad ones, all at once', mixed],
]

async function others({ alice, dialer, endpoint, mallory }: World): Promise<void> {
  const { session, id } = alice
  const noise = entropy.randomBytes(300)
  requireRefusal(await session.request('submitVote', { vote: noise }, id), 'submitVote', {
    kind: 'badVote',
    fault: 'malformed',
  })
  const proposal = { proposal: noise }
  requireRefusal(await session.request('submitProposal', proposal, id), 'submitProposal', {
    kind: 'malformed',
  })
  requireRefusal(await session.request('leaveAnchor', { anchor: noise }, id), 'leaveAnchor', {
    kind: 'badAnchor',
  })
  const stranger = await signIn(dialer, endpoint, mallory)
  const proof = { id: noise.subarray(0, 32), signature: noise.subarray(0, 64) }
  for (const purpose of [{ kind: 'member' }, { kind: 'invitation', ...proof }] as const) {
    const answer = await stranger.request('requestGroup', { token: null, purpose }, id)
    requireRefusal(answer, 'requestGroup', { kind: 'unknownRoom' })
  }
  await stranger.leave()
}

async function commits({ alice, bob, other, mallory }: World): Promise<void> {
  const { epoch } = alice
  const { keyPackage } = await keyPackageFor(mallory)
  const { body } = await alice.makeAdd(keyPackage, mallory.certificate)
  const submit = async (by: RoomClient, changed: Partial<typeof body>, refusal: Refusal) => {
    const answer = await by.session.request('submitCommit', { ...body, ...changed }, by.id)
    requireRefusal(answer, 'submitCommit', refusal)
  }
  const before = epoch - 1n as typeof epoch
  const after = epoch + 1n as typeof epoch
  await submit(alice, { epoch: before }, { kind: 'staleEpoch', epoch })
  await submit(alice, { epoch: after }, { kind: 'futureEpoch', epoch })
  await submit(alice, { commit: entropy.randomBytes(500) }, { kind: 'malformed' })
  const foreign = { certificates: [bob.account.certificate] }
  await submit(alice, foreign, { kind: 'badCommit', fault: 'certificate' })
  const unseen = { seen: { ...body.seen, hash: new Uint8Array(32) } }
  await submit(alice, unseen, { kind: 'badCommit', fault: 'entry' })
  await submit(alice, { epochId: other.epochId }, { kind: 'wrongEpochId' })
  await submit(bob, {}, { kind: 'wrongLeaf' })
  const astray = await other.session.request(
    'submitCommit',
    { ...body, epoch: other.epoch },
    other.id,
  )
  requireRefusal(astray, 'submitCommit', { kind: 'wrongEpochId' })
  strictEqual(alice.epoch, epoch)
}

/** One write with everything in it: the good ones get positions without a gap, in their order. */
async function mixed({ alice, good }: World): Promise<void> {
  const { session } = alice
  const first = alice.log.next
  const taken: Promise<Answer>[] = []
  const refused: Promise<Answer>[] = []
  const sealed: Uint8Array[] = []
  for (let count = 0; count < 20; count++) {
    sealed.push(await alice.seal(`good ${good.length + count}`))
  }
  const bad = await alice.seal('bad')
  for (const [index, frame] of sealed.entries()) {
    taken.push(alice.submit(frame))
    session.sendBytes(buildFrame(0x3f, alice.id, bad))
    refused.push(alice.submit(bad.with(-1, (bad.at(-1) ?? 0) ^ 1)))
    refused.push(alice.submit(frame))
    refused.push(alice.submit(frame.subarray(0, 40 + index)))
    session.sendBytes(frame)
  }
  const positions = (await Promise.all(taken)).map((answer) => {
    ok(answer.kind === 'accepted', 'a good frame is taken')
    return answer.position
  })
  deepStrictEqual(positions, sealed.map((_, index) => first + BigInt(index)))
  for (const [index, answer] of (await Promise.all(refused)).entries()) {
    ok(answer.kind === 'refused')
    const kinds = ['wrongSignature', 'replayed', 'malformed']
    strictEqual(answer.refusal.kind, kinds[index % kinds.length])
  }
  for (const _ of sealed) {
    const [unknown, garbled] = [await nextRefusal(session), await nextRefusal(session)]
    deepStrictEqual(unknown.refusal, { kind: 'unknownOpcode', opcode: 0x3f })
    deepStrictEqual(garbled.refusal, { kind: 'unknownVersion', version: 0 })
  }
  good.push(...sealed.map((_, index) => `good ${good.length + index}`))
  await alice.log.reach(first + BigInt(sealed.length))
}

// ---- All of it ----------------------------------------------------------------------------

/** Bob fetches the log anew: the good frames, and nothing else, in order and without a gap. */
async function nothingLost({ dialer, endpoint, bob, alice, good }: World): Promise<void> {
  await bob.log.reach(alice.log.next)
  deepStrictEqual(bob.log.hashes, alice.log.hashes)
  bob.log.entries.length = 0
  bob.log.hashes.length = 0
  await bob.follow(await signIn(dialer, endpoint, bob.account))
  deepStrictEqual(bob.log.hashes, alice.log.hashes)
  const texts: string[] = []
  for (const { header, body } of bob.log.entries) {
    if (header.entry !== 'frame') continue
    ok(body.kind === 'whole')
    texts.push(await bob.openText(body.bytes))
  }
  deepStrictEqual(texts, good)
}

for (const transport of TRANSPORT_NAMES) {
  Deno.test(`HUB-1, WIRE-5: each fault has its code, over ${transport}`, async (test) => {
    const hub = await startHub()
    try {
      const world = await makeWorld(transport, `http://localhost:${hub.port}`)
      await goesOn(world)
      for (const [title, run] of [...frames, ...sessions, ...rooms]) {
        await test.step(title, async () => {
          await run(world)
          await goesOn(world)
        })
      }
      await test.step('SEQ-1: nothing is lost', () => nothingLost(world))
      for (const { session } of [world.alice, world.bob]) await session.leave()
    } finally {
      await hub.close()
    }
  })
}
