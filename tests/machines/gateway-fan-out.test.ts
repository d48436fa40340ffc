/** Following a room: catch-up by pages and tail, holes, slow devices, many subscribers. */
import { deepStrictEqual, ok, strictEqual } from 'node:assert/strict'
import { equalBytes, toHex } from '#core/base/bytes.ts'
import { leafIndex, logPosition, type RequestId, type RoomId, type TimeMs } from '#core/base/ids.ts'
import { LIMITS } from '#core/base/limits.ts'
import { FRAME_HEADER_LENGTH } from '#core/wire/frame.ts'
import { sealTypingFrame } from '#core/sender-keys/ephemeral.ts'
import { sealBurst } from '#core/sender-keys/seal.ts'
import { BODIES } from '#core/wire/bodies.ts'
import type { HubSession, RoomLog } from '#hub/ports.ts'
import { HandDevice, type HandRoom } from '../support/hand-device.ts'
import { createHubWorld, type HubWorld } from '../support/hub-world.ts'
import { createMemoryHubPorts } from '../support/memory-hub-ports.ts'

/** Alice with a room of `count` frames, followed to the end. */
async function filled(
  count: number,
): Promise<{ world: HubWorld; alice: HandDevice; room: HandRoom }> {
  const world = createHubWorld()
  const alice = await world.device('alice')
  const room = await alice.createRoom()
  await write(alice, room, count)
  return { world, alice, room }
}

async function write(device: HandDevice, room: HandRoom, count: number): Promise<void> {
  for (let left = count; left > 0; left -= LIMITS.burstFramesMax) {
    const frames = await device.seal(room, Math.min(left, LIMITS.burstFramesMax))
    const requests = frames.map((frame) => device.submit(room, frame))
    const positions = await Promise.all(requests.map((request) => device.position(request)))
    await device.follow(room, (positions.at(-1) as bigint) + 1n)
  }
}

/** The same person again, with nothing of the room but its id. */
async function again(
  world: HubWorld,
  device: HandDevice,
  room: HandRoom,
  dialer = world.dialer(),
): Promise<{ device: HandDevice; room: HandRoom }> {
  const fresh = new HandDevice(world.parts, device.self)
  await fresh.connect(dialer)
  const empty = await fresh.enter(room.id, room.group)
  fresh.rooms.set(toHex(room.id), empty)
  return { device: fresh, room: empty }
}

Deno.test('ROOM-6: a device catches up from anywhere, by pages, to the same chain', async () => {
  const { world, alice, room } = await filled(900)
  for (const from of [0n, 1n, 450n, 900n, 901n]) {
    const back = await again(world, alice, room)
    back.room.next = from
    back.room.headHash = hashBefore(world, room, from)
    strictEqual((await back.device.subscribe(back.room)).next, 901n)
    await back.device.follow(back.room, 901n)
    deepStrictEqual(back.room.headHash, room.headHash)
  }
  deepStrictEqual(world.faults, [])
})

/** The chain hash below a position, computed from the entries. */
function hashBefore(world: HubWorld, room: HandRoom, position: bigint): Uint8Array {
  const replay = new HandDevice(world.parts, {} as never)
  const empty: HandRoom = { ...room, next: 0n, headHash: new Uint8Array(32), entries: [] }
  replay.rooms.set(toHex(room.id), empty)
  const entries = room.entries.slice(0, Number(position)).map(({ entry }) => entry)
  replay.chain(room.id, 0n, entries)
  return empty.headHash
}

Deno.test('ROOM-6: frames before a device’s time come as holes, all else whole', async () => {
  const { world, alice, room } = await filled(20)
  await alice.change(room, {})
  await alice.follow(room, 23n)
  await write(alice, room, 3)
  const back = await again(world, alice, room)
  await back.device.subscribe(back.room, { holesBefore: logPosition(23n) })
  await back.device.follow(back.room, 26n)
  deepStrictEqual(back.room.headHash, room.headHash)
  const forms = back.room.entries.map(({ entry }) => `${entry.header.entry} ${entry.body.kind}`)
  deepStrictEqual(forms[0], 'genesis whole')
  deepStrictEqual(new Set(forms.slice(1, 21)), new Set(['frame hole']))
  deepStrictEqual(forms.slice(21), [
    'commit whole',
    'verdict whole',
    'frame whole',
    'frame whole',
    'frame whole',
  ])
})

Deno.test('ROOM-6: what comes while a device catches up is neither lost nor doubled', async () => {
  const { world, alice, room } = await filled(700)
  const reader = await again(world, alice, room)
  const writer = reader.device
  await writer.subscribe(reader.room)
  const context = { seen: { position: room.next - 1n, hash: room.headHash } }
  reader.room.keys = room.keys
  const requests = []
  for (let i = 0; i < 5; i++) {
    for (const frame of await writer.seal(reader.room, 40, context)) {
      requests.push(writer.submit(reader.room, frame))
    }
  }
  await Promise.all(requests.map((request) => writer.position(request)))
  await writer.follow(reader.room, 901n)
  strictEqual(reader.room.entries.length, 901)
  deepStrictEqual(world.faults, [])
})

/** Bob, whom Alice adds to her room and who goes, and the room as he left it. */
async function withBobGone(
  { world, alice, room }: Awaited<ReturnType<typeof filled>>,
): Promise<{ bob: HandDevice; bobs: HandRoom }> {
  const bob = await world.device('bob')
  const made = await bob.makeKeyPackage()
  const { certificate } = bob.self
  await alice.change(room, { adds: [{ keyPackage: made.keyPackage, certificate }] })
  const bobs = await bob.join(made)
  bob.hangUp()
  await bob.closed
  return { bob, bobs }
}

/** The same person again, with the room, who reads nothing but control until the gate opens. */
async function stalled(
  world: HubWorld,
  { self }: HandDevice,
  room: HandRoom,
): Promise<{ device: HandDevice; gate: PromiseWithResolvers<void> }> {
  const device = new HandDevice(world.parts, self)
  device.rooms.set(toHex(room.id), room)
  const gate = Promise.withResolvers<void>()
  await device.connect(world.dialer({
    stall: (lane) => lane.kind === 'control' ? undefined : gate.promise,
  }))
  return { device, gate }
}

/** Asks for all that follows, and does not wait for an answer. */
function askFor(device: HandDevice, room: HandRoom): RequestId {
  const request = device.nextRequest()
  const from = logPosition(room.next)
  device.say('subscribe', { request, from, holesBefore: from, open: false }, room.id)
  return request
}

Deno.test('HUB-5: a slow device is cut, catches up, and holds up nobody else', async () => {
  const { world, alice, room } = await filled(1)
  const { bob, bobs } = await withBobGone({ world, alice, room })
  const { device: slow, gate } = await stalled(world, bob, bobs)
  askFor(slow, bobs)
  await slow.beat()
  const before = room.next
  // Frames of 64 KiB: the queue of a session holds 4 MiB.
  for (let i = 0; i < 5; i++) await writeLarge(alice, room, 16)
  const { position } = (await slow.hear('catchUp')).body
  ok(position >= before && position < room.next, 'from something that was not delivered')
  strictEqual(world.events.filter(({ kind }) => kind === 'subscriptionCut').length, 1)
  gate.resolve()
  await slow.subscribe(bobs)
  await slow.follow(bobs, room.next)
  deepStrictEqual(bobs.headHash, room.headHash)
  deepStrictEqual(world.faults, [])
})

Deno.test('SEQ-6: who is out, and has not read the log to its end, hears nobody type', async () => {
  const { world, alice, room } = await filled(1)
  const { bob, bobs } = await withBobGone({ world, alice, room })
  await writeLarge(alice, room, 16)
  const { device: slow, gate } = await stalled(world, bob, bobs)
  askFor(slow, bobs)
  await slow.beat()
  const typing = async () => {
    const secrets = { time: world.clock.nowMs(), nonce: new Uint8Array(24) }
    const { secretKey } = alice.self.key
    const context = { ...alice.context(room), root: new Uint8Array(32) }
    const frame = await sealTypingFrame(world.parts.crypto, context, {
      ...secrets,
      signatureSecret: secretKey,
    })
    alice.say('ephemeral', { frame }, room.id)
    await alice.beat()
    await slow.beat()
    return slow.heard.filter(({ kind }) => kind === 'ephemeral').length
  }
  strictEqual(await typing(), 1)
  const position = await alice.change(room, { removes: [leafIndex(1)] })
  await alice.follow(room, position + 2n)
  strictEqual(room.entries.at(-1)?.entry.header.entry, 'verdict')
  strictEqual(await typing(), 1)
  gate.resolve()
  await slow.follow(bobs, position + 2n)
  deepStrictEqual(world.faults, [])
})

Deno.test('HUB-5: who asks again and again, and reads no answer, is refused', async () => {
  const world = createHubWorld()
  const alice = await world.device('alice')
  const room = await alice.createRoom()
  alice.hangUp()
  await alice.closed
  const { device: deaf } = await stalled(world, alice, room)
  const ask = () => askFor(deaf, room)
  const frameBytesMin = 64
  const asks = LIMITS.outboundQueueBytesMax / frameBytesMin
  for (let asked = 0; asked < asks; asked++) {
    ask()
    if (asked % 1_000 === 0) await deaf.beat()
  }
  strictEqual(await deaf.answer(ask()), 'tooMany')
  const { outboundBytes } = world.gateway.memory()
  ok(outboundBytes < LIMITS.outboundQueueBytesMax + 1_000, `${outboundBytes} bytes`)
  deepStrictEqual(world.faults, [])
})

/** Stores whose log gives nothing of one room; reads of it are counted. */
function damageable() {
  const stores = createMemoryHubPorts({ clock: { nowMs: () => Date.now() as TimeMs } })
  const damage: { room: RoomId | null; reads: number } = { room: null, reads: 0 }
  const log: RoomLog = {
    ...stores.log,
    read(room, range) {
      if (damage.room === null || !equalBytes(room, damage.room)) {
        return stores.log.read(room, range)
      }
      damage.reads++
      return Promise.reject(new Error('the row is damaged'))
    },
  }
  return { stores: { ...stores, log }, damage }
}

/** Alice after a restart of the hub, in two rooms that are loaded; the log loses the first one. */
async function damaged() {
  const { stores, damage } = damageable()
  const world = createHubWorld(1, stores)
  const before = await world.device('alice')
  const [room, other] = [await before.createRoom(), await before.createRoom()]
  await write(before, room, 300)
  world.restart()
  const alice = new HandDevice(world.parts, before.self)
  alice.rooms.set(toHex(other.id), other)
  await alice.connect(world.dialer())
  for (const { id, next, group } of [room, other]) {
    await alice.subscribe(alice.enter(id, group), { from: logPosition(next) })
  }
  const empty = alice.enter(room.id, room.group)
  alice.rooms.set(toHex(room.id), empty)
  damage.room = room.id
  /** Time passes in steps of a hub's tick. */
  const wait = async (ms: number) => {
    for (let passed = 0; passed < ms; passed += TICK_MS) {
      world.clock.advance(TICK_MS)
      world.gateway.tick()
      await alice.beat()
      await world.settled()
    }
  }
  return { world, damage, alice, room, empty, other, wait }
}

const TICK_MS = 250

Deno.test('HUB-10: a page that cannot be read is read again later, and nobody asks', async () => {
  const { world, damage, alice, room, empty, other, wait } = await damaged()
  await alice.subscribe(empty)
  await wait(LIMITS.pageRetryMs * 3)
  strictEqual(damage.reads, 4)
  const next = await alice.write(other) + 1n
  strictEqual(other.next, next)
  strictEqual(empty.next, 0n)
  damage.room = null
  await wait(LIMITS.pageRetryMs)
  await alice.follow(empty, room.next)
  deepStrictEqual(empty.headHash, room.headHash)
  empty.keys = room.keys
  await alice.write(empty)
  strictEqual(alice.heard.some(({ kind }) => kind === 'catchUp'), false)
  strictEqual(world.events.some(({ kind }) => kind === 'subscriptionCut'), false)
  deepStrictEqual(world.faults, [])
})

Deno.test('HUB-10: a clock that is turned back holds up no page', async () => {
  const { world, damage, alice, room, empty, wait } = await damaged()
  await alice.subscribe(empty)
  await wait(TICK_MS)
  damage.room = null
  world.clock.advance(-3_600_000)
  await wait(LIMITS.pageRetryMs)
  await alice.follow(empty, room.next)
  deepStrictEqual(world.faults, [])
})

Deno.test('HUB-10: a page is not read again for who has gone', async () => {
  const { world, damage, alice, room, empty, wait } = await damaged()
  await alice.subscribe(empty)
  const request = alice.nextRequest()
  alice.say('unsubscribe', { request }, room.id)
  strictEqual(await alice.answer(request), 'accepted')
  await wait(LIMITS.pageRetryMs * 2)
  strictEqual(damage.reads, 1)
  await alice.subscribe(empty)
  alice.hangUp()
  await alice.closed
  world.clock.advance(LIMITS.pageRetryMs)
  world.gateway.tick()
  await world.settled()
  strictEqual(damage.reads, 2)
  strictEqual(world.gateway.memory().pages, 0)
  deepStrictEqual(world.faults, [])
})

async function writeLarge(device: HandDevice, room: HandRoom, count: number): Promise<void> {
  const plaintext = new Uint8Array(60_000)
  const items = device.take(room, count).map((item) => ({ ...item, plaintext }))
  const frames = await sealBurst(device.parts.crypto, device.context(room), items)
  const requests = frames.map((frame) => device.submit(room, frame))
  const positions = await Promise.all(requests.map((request) => device.position(request)))
  await device.follow(room, (positions.at(-1) as bigint) + 1n)
}

Deno.test('HUB-5: a device that reads nothing is ended, and nothing is held for it', async () => {
  const world = createHubWorld()
  const alice = await world.device('alice')
  const stuck = new HandDevice(world.parts, alice.self)
  const reading = { stopped: false }
  const never = new Promise<void>(() => {})
  await stuck.connect(world.dialer({ stall: () => reading.stopped ? never : undefined }))
  reading.stopped = true
  const request = stuck.nextRequest()
  const ask = () =>
    stuck.say('claimKeyPackages', {
      request,
      token: null,
      account: 'nobody@hub.example' as never,
      suite: stuck.suite.id,
    })
  for (let i = 0; i < 40; i++) ask()
  const beatLength = FRAME_HEADER_LENGTH + 4
  const flood = Math.ceil(LIMITS.controlQueueBytesMax / beatLength) + 1
  for (let i = 0; i < flood; i++) stuck.say('heartbeat', { sequence: i })
  const ended = world.events.find((event) =>
    event.kind === 'sessionEnded' && event.reason === 'slow'
  )
  ok(ended !== undefined)
  world.clock.advance(LIMITS.closeGraceMs)
  world.gateway.tick()
  await stuck.closed
  deepStrictEqual(world.faults, [])
})

Deno.test('HUB-4: entries are encoded once: every subscriber is given the same bytes', async () => {
  const { world, alice, room } = await filled(1)
  const written: Uint8Array[][] = [[], []]
  const members = [await world.device('bob'), await world.device('carol')]
  const made = await Promise.all(members.map((member) => member.makeKeyPackage()))
  const adds = members.map(({ self: { certificate } }, index) => {
    const { keyPackage } = made[index] as (typeof made)[0]
    return { keyPackage, certificate }
  })
  await alice.change(room, { adds })
  for (const [index, member] of members.entries()) {
    await member.join(made[index] as (typeof made)[0])
    member.hangUp()
    await member.closed
    const entriesOnly = (frame: Uint8Array) => frame[1] === BODIES.entries[0]
    const back = new HandDevice(world.parts, member.self)
    await back.connect(
      watched(world, (frames) => written[index]?.push(...frames.filter(entriesOnly))),
    )
    await back.subscribe(back.enter(room.id, room.group), { from: logPosition(room.next) })
    await back.beat()
  }
  for (const frames of written) frames.length = 0
  await write(alice, room, 3)
  ok((written[0]?.length ?? 0) > 0)
  strictEqual(written[0]?.length, written[1]?.length)
  for (const [index, frame] of (written[0] ?? []).entries()) {
    strictEqual(frame, written[1]?.[index])
    ok(frame.length > FRAME_HEADER_LENGTH)
  }
})

/** A dialer that shows what the hub writes, before any copy. */
function watched(world: HubWorld, seen: (frames: readonly Uint8Array[]) => void) {
  return {
    dial(_endpoint: string, listener: Parameters<ReturnType<HubWorld['dialer']>['dial']>[1]) {
      const session: HubSession = {
        transport: 'memory',
        write(_lane, frames) {
          seen(frames)
          listener.framesReceived(frames)
          return Promise.resolve()
        },
        writeDatagram: () => false,
        close: () => listener.closed(),
      }
      const hub = world.gateway.accept(session)
      const send = (frame: Uint8Array) => void hub?.framesReceived([frame])
      listener.opened({ kind: 'memory', send, sendDatagram: send, close: () => hub?.closed() })
      return { abort: () => {} }
    },
  }
}
