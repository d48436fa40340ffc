/**
 * Random bytes and mutated valid frames: nothing throws, nothing stops, nothing false is stored.
 */
import { deepStrictEqual, ok, strictEqual } from 'node:assert/strict'
import { logPosition, NO_ROOM, type RequestId, type RoomId } from '#core/base/ids.ts'
import { proposeUpdate } from '#core/mls/messages.ts'
import { makeAnchor } from '#core/policy/anchor.ts'
import { makeVote, NO_MAC } from '#core/policy/vote.ts'
import { BODIES, encodeMessage } from '#core/wire/bodies.ts'
import { HandDevice, type HandRoom } from '../support/hand-device.ts'
import { linkPurpose } from '../support/hand-joiner.ts'
import { createHubWorld } from '../support/hub-world.ts'
import { createPrng, type Prng } from '../core/prng.ts'

const SEED = 20_260
const ROUNDS = 3_000
const OPCODES = Object.values(BODIES).map(([opcode]) => opcode)
/** They end the session, as they must. */
const ENDING: readonly number[] = [BODIES.goodbye[0]]

async function validFrames(alice: HandDevice, room: HandRoom): Promise<Uint8Array[]> {
  const [frame] = await alice.seal(room) as [Uint8Array]
  const burst = await alice.seal(room, 3)
  const other = await alice.createRoom()
  const { body: commit } = await alice.commit(other, {})
  const { body: genesis } = await alice.genesis()
  const request = 1 as RequestId
  const { keyPackage } = await alice.makeKeyPackage()
  const position = logPosition(0n)
  return [
    encodeMessage('submitFrame', room.id, { request, after: null, frame }),
    ...burst.map((each) =>
      encodeMessage('submitFrame', room.id, { request, after: null, frame: each })
    ),
    encodeMessage('submitCommit', other.id, commit),
    encodeMessage('createRoom', room.id, genesis),
    encodeMessage('subscribe', room.id, {
      request,
      from: position,
      holesBefore: position,
      open: true,
    }),
    encodeMessage('acknowledge', room.id, { position }),
    encodeMessage('ephemeral', room.id, { frame: new Uint8Array(200) }),
    ...await groupFrames(alice, room),
    encodeMessage('publishKeyPackages', NO_ROOM, {
      request,
      keyPackages: [keyPackage],
      lastResort: keyPackage,
    }),
    encodeMessage('welcomeReceived', NO_ROOM, { id: 4n }),
    encodeMessage('heartbeat', NO_ROOM, { sequence: 4 }),
  ]
}

/** Whole structures, so that a change of one byte reaches what reads them. */
async function groupFrames(alice: HandDevice, room: HandRoom): Promise<Uint8Array[]> {
  const { self, suite } = alice
  const { context } = room.group.public
  const epochId = alice.context(room).epochId
  const request = 2 as RequestId
  const signer = { algorithm: suite.signature, secretKey: self.key.secretKey }
  const { secret, invitation } = alice.invitation(room)
  const proposed = await proposeUpdate(room.group, {
    wireFormat: 'publicMessage',
    authenticatedData: new Uint8Array(0),
    entropy: alice.parts.entropy,
  })
  ok(proposed.kind === 'sent' && context.epoch === 0n)
  const vote = await makeVote(alice.parts.crypto, {
    room: room.id,
    epochIdBefore: epochId,
    epochId,
    position: logPosition(0n),
    leaf: 0,
    choice: 'cannot',
    mac: NO_MAC,
  }, signer)
  const anchor = await makeAnchor(alice.parts.crypto, {
    room: room.id,
    epochId,
    position: logPosition(0n),
    entryHash: room.entries[0]?.hash as Uint8Array,
    invitation: invitation.id,
    device: self.device,
    time: alice.parts.clock.nowMs(),
  }, { ...signer, certificate: self.certificate })
  const purposes = [
    await linkPurpose(alice, room.id, secret),
    { kind: 'member' },
    { kind: 'newDevice' },
  ] as const
  return [
    encodeMessage('submitProposal', room.id, { request, proposal: proposed.message }),
    encodeMessage('submitVote', room.id, { request, vote }),
    encodeMessage('leaveAnchor', room.id, { request, anchor }),
    ...purposes.map((purpose) =>
      encodeMessage('requestGroup', room.id, { request, token: null, purpose })
    ),
  ]
}

function mutate(prng: Prng, frame: Uint8Array): Uint8Array {
  const bytes = frame.slice()
  switch (prng.integer(4)) {
    case 0:
      return bytes.subarray(0, prng.integer(bytes.length + 1))
    case 1:
      return new Uint8Array([...bytes, ...prng.bytes(1 + prng.integer(40))])
    case 2: {
      // Within the body, so that it reaches the decoders behind the header.
      const at = Math.min(bytes.length - 1, 34 + prng.integer(Math.max(1, bytes.length - 34)))
      bytes[at] = prng.integer(256)
      return bytes
    }
    default: {
      const start = prng.integer(bytes.length)
      bytes.set(prng.bytes(Math.min(prng.integer(16), bytes.length - start)), start)
      return bytes
    }
  }
}

function random(prng: Prng, room: RoomId): Uint8Array {
  const bytes = prng.bytes(prng.integer(300))
  if (bytes.length < 34 || prng.integer(4) === 0) return bytes
  bytes[0] = 1
  bytes[1] = prng.pick(OPCODES)
  bytes.set(prng.integer(3) === 0 ? NO_ROOM : room, 2)
  return bytes
}

Deno.test('WIRE-5: whatever an authenticated session sends, the gateway goes on', async () => {
  const prng = createPrng(SEED)
  const world = createHubWorld(SEED)
  const alice = await world.device('alice')
  const room = await alice.createRoom()
  await alice.write(room)
  const frames = await validFrames(alice, room)
  for (let round = 0; round < ROUNDS; round++) {
    const bytes = prng.integer(2) === 0 ? random(prng, room.id) : mutate(prng, prng.pick(frames))
    if (ENDING.includes(bytes[1] ?? 0)) continue
    alice.sayBytes(bytes)
    if (round % 250 === 0) {
      await alice.beat()
      alice.heard.length = 0
      world.clock.advance(1_000)
      world.gateway.tick()
    }
  }
  await alice.beat()
  deepStrictEqual(world.faults, [])
  await alice.subscribe(room)
  await alice.follow(room, room.next)
  const last = await alice.write(room)
  strictEqual(room.entries.length, Number(last) + 1)
  ok(room.entries.every(({ entry }) => entry.body.kind === 'whole'))
})

Deno.test('SES-1: whatever bytes a stranger sends, nobody else notices', async () => {
  const prng = createPrng(SEED + 1)
  const world = createHubWorld(SEED)
  const alice = await world.device('alice')
  const room = await alice.createRoom()
  const stranger = new HandDevice(world.parts, alice.self)
  await stranger.open(world.dialer())
  for (let round = 0; round < ROUNDS; round++) {
    const bytes = random(prng, room.id)
    if (!ENDING.includes(bytes[1] ?? 0)) stranger.sayBytes(bytes)
  }
  await alice.write(room)
  deepStrictEqual(world.faults, [])
  strictEqual(stranger.heard.some(({ kind }) => kind === 'entries'), false)
})
