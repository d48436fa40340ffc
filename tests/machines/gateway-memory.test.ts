/** What a gateway holds while sessions live, and what is left of it when they have gone. */
import { deepStrictEqual, ok, strictEqual } from 'node:assert/strict'
import { logPosition, type RoomId, type TimeMs } from '#core/base/ids.ts'
import { LIMITS } from '#core/base/limits.ts'
import type { HubMemory } from '#hub/gateway/memory.ts'
import type { Directory, RoomLog } from '#hub/ports.ts'
import { HandDevice, type HandRoom } from '../support/hand-device.ts'
import { add } from '../support/hand-members.ts'
import { createHubWorld, type HubWorld } from '../support/hub-world.ts'
import { createMemoryHubPorts, type MemoryHubPorts } from '../support/memory-hub-ports.ts'

function createStores(): MemoryHubPorts {
  return createMemoryHubPorts({ clock: { nowMs: () => Date.now() as TimeMs } })
}

/** Some of what is held, in the order in which it is named. */
async function held(world: HubWorld, ...names: readonly (keyof HubMemory)[]): Promise<number[]> {
  await world.settled()
  const memory = world.gateway.memory()
  return names.map((name) => memory[name])
}

Deno.test('HUB-5: of sessions that are gone nothing is held but their rooms', async () => {
  const world = createHubWorld()
  const [alice, bob] = [await world.device('alice'), await world.device('bob')]
  const room = await alice.createRoom()
  const bobs = await add(alice, room, bob)
  await bob.write(bobs)
  await alice.follow(room, bobs.next)
  deepStrictEqual(
    await held(world, 'sessions', 'devices', 'subscriptions', 'followers', 'rooms', 'epochs'),
    [2, 2, 2, 2, 1, 1],
  )
  ok(world.gateway.memory().tailBytes > 0)
  const release = Promise.withResolvers<void>()
  world.log.hold = release.promise
  const [frame] = await bob.seal(bobs)
  bob.submit(bobs, frame as Uint8Array)
  deepStrictEqual(await held(world, 'requests', 'waiting'), [1, 1])
  const { requestBytes } = world.gateway.memory()
  ok(requestBytes > (frame as Uint8Array).length)
  for (const device of [alice, bob]) {
    device.hangUp()
    await device.closed
  }
  // What the store has been given is waited for, whoever asked.
  deepStrictEqual(
    await held(world, 'sessions', 'devices', 'subscriptions', 'followers', 'requests', 'waiting'),
    [0, 0, 0, 0, 1, 1],
  )
  release.resolve()
  await world.settled()
  world.gateway.tick()
  const { rooms, epochs, chains, tailBytes, buckets, ...others } = world.gateway.memory()
  // The log has grown since anybody followed it: its tail is of no use.
  deepStrictEqual([rooms, epochs, chains, tailBytes], [1, 1, 1, 0])
  ok(buckets > 0 && buckets < 8)
  for (const [name, count] of Object.entries(others)) strictEqual(count, 0, name)
  deepStrictEqual(world.faults, [])
})

Deno.test('HUB-5: of a followed room the newest entries are held, so many bytes', async () => {
  const world = createHubWorld()
  const alice = await world.device('alice')
  const room = await alice.createRoom()
  let sizes = 0
  while (sizes < LIMITS.roomTailBytesMax * 1.5) {
    const frames = await alice.seal(room, LIMITS.burstFramesMax)
    for (const frame of frames) {
      sizes += frame.length
      alice.submit(room, frame)
    }
    await alice.beat()
    await world.settled()
    const { tailBytes } = world.gateway.memory()
    ok(tailBytes <= LIMITS.roomTailBytesMax, `${tailBytes} B`)
    ok(tailBytes > Math.min(sizes, LIMITS.roomTailBytesMax - 1_024), `${tailBytes} of ${sizes} B`)
  }
  deepStrictEqual(world.faults, [])
})

/** A log in which each room is the first one over again. */
function repeating({ log, directory }: MemoryHubPorts): MemoryHubPorts {
  let first: RoomId | null = null
  const idOf = (room: RoomId) => first ??= room
  return {
    directory,
    log: {
      ...log,
      readRoom: (room) => log.readRoom(idOf(room)),
      read: (room, range) => log.read(idOf(room), range),
      readVersion: (room, at) => log.readVersion(idOf(room), at),
      readNodes: (room, page) => log.readNodes(idOf(room), page),
    },
  }
}

Deno.test('HUB-5: so many rooms are kept, and those that somebody follows', async () => {
  const world = createHubWorld(1, repeating(createStores()))
  const alice = await world.device('alice')
  await alice.createRoom()
  const others = 100
  for (let count = 0; count < LIMITS.roomsCachedMax + others; count++) {
    const id = world.parts.entropy.randomBytes(32) as RoomId
    const request = alice.nextRequest()
    alice.say('unsubscribe', { request }, id)
    strictEqual(await alice.answer(request), 'accepted')
  }
  deepStrictEqual(await held(world, 'rooms', 'followers'), [LIMITS.roomsCachedMax + others + 1, 1])
  world.gateway.tick()
  deepStrictEqual(await held(world, 'rooms', 'followers'), [LIMITS.roomsCachedMax, 1])
  deepStrictEqual(world.faults, [])
})

/** Alice adds a device by a KeyPackage of it, to a new room if none is given. */
async function welcome(alice: HandDevice, device: HandDevice, room: HandRoom | null = null) {
  const made = await device.makeKeyPackage()
  const { certificate } = device.self
  const adds = [{ keyPackage: made.keyPackage, certificate }]
  await alice.change(room ?? await alice.createRoom(), { adds })
  return made
}

Deno.test('ROOM-7, HUB-5: Welcomes that a device has taken are not remembered', async () => {
  const world = createHubWorld()
  const [alice, bob] = [await world.device('alice'), await world.device('bob')]
  for (let count = 0; count < 3; count++) await bob.join(await welcome(alice, bob))
  deepStrictEqual(await held(world, 'welcomes'), [0])
  // One that is not answered is offered once, whatever comes behind it.
  await welcome(alice, bob)
  const { body } = await bob.hear('welcome')
  for (let count = 0; count < 3; count++) await bob.join(await welcome(alice, bob))
  deepStrictEqual(await held(world, 'welcomes'), [1])
  bob.say('welcomeReceived', { id: body.id })
  deepStrictEqual(await held(world, 'welcomes'), [0])
  strictEqual(bob.heard.some(({ kind }) => kind === 'welcome'), false)
  deepStrictEqual(world.faults, [])
})

Deno.test('ROOM-7, HUB-5: what a session before said is heard by the next one', async () => {
  const stores = createStores()
  const release = Promise.withResolvers<void>()
  const world = createHubWorld(1, {
    ...stores,
    directory: {
      ...stores.directory,
      async deleteWelcome(owner, id) {
        await release.promise
        await stores.directory.deleteWelcome(owner, id)
      },
    },
  })
  const [alice, bob] = [await world.device('alice'), await world.device('bob')]
  await bob.join(await welcome(alice, bob))
  const again = new HandDevice(world.parts, bob.self)
  await again.connect(world.dialer())
  await again.hear('welcome')
  deepStrictEqual(await held(world, 'welcomes'), [2])
  world.clock.advance(LIMITS.closeGraceMs)
  world.gateway.tick()
  deepStrictEqual(await held(world, 'sessions', 'welcomes'), [2, 1])
  release.resolve()
  deepStrictEqual(await held(world, 'requests', 'welcomes'), [0, 0])
  deepStrictEqual(world.faults, [])
})

Deno.test('VOTE-3, ROOM-7, HUB-5: a Welcome that is void is not remembered', async () => {
  const world = createHubWorld()
  const [alice, bob] = [await world.device('alice'), await world.device('bob')]
  const room = await alice.createRoom()
  const bobs = await add(alice, room, bob)
  bob.hangUp()
  await bob.closed
  // Nobody who could vote is there: it goes out at once, to somebody who says nothing of it.
  const dave = await world.device('dave')
  await welcome(alice, dave, room)
  await dave.hear('welcome')
  deepStrictEqual(await held(world, 'welcomes'), [1])
  const back = new HandDevice(world.parts, bob.self)
  for (const [key, of] of bob.rooms) back.rooms.set(key, of)
  await back.connect(world.dialer())
  await back.subscribe(bobs)
  const { body } = await back.hear('askVote')
  await back.follow(bobs, body.position + 1n)
  await back.process(bobs)
  strictEqual(await back.answer(await back.vote(bobs, { choice: 'cannot' })), 'accepted')
  world.clock.advance(LIMITS.verdictWaitMs)
  world.gateway.tick()
  deepStrictEqual(await held(world, 'roomsProvisional', 'welcomes'), [0, 0])
  strictEqual(world.events.filter(({ kind }) => kind === 'epochVoid').length, 1)
  deepStrictEqual(world.faults, [])
})

Deno.test('HUB-5: what a device says of Welcomes is bounded like all its requests', async () => {
  const stores = createStores()
  const release = Promise.withResolvers<void>()
  let deletions = 0
  const world = createHubWorld(1, {
    ...stores,
    directory: {
      ...stores.directory,
      deleteWelcome: async () => {
        deletions++
        await release.promise
      },
    },
  })
  const alice = await world.device('alice')
  for (let id = 0; id <= LIMITS.requestsInFlightMax; id++) {
    alice.say('welcomeReceived', { id: BigInt(id) })
  }
  const { body } = await alice.hear('refused')
  deepStrictEqual([body.request, body.refusal.kind], [0, 'tooMany'])
  strictEqual(deletions, LIMITS.requestsInFlightMax)
  deepStrictEqual(await held(world, 'requests'), [LIMITS.requestsInFlightMax])
  release.resolve()
  deepStrictEqual(await held(world, 'requests', 'requestBytes'), [0, 0])
  alice.say('welcomeReceived', { id: 0n })
  await alice.beat()
  strictEqual(deletions, LIMITS.requestsInFlightMax + 1)
  deepStrictEqual(world.faults, [])
})

Deno.test('ROOM-7: Welcomes that could not be read are read at the next heartbeat', async () => {
  const stores = createStores()
  const { directory } = stores
  let isFailing = false
  const world = createHubWorld(1, {
    ...stores,
    directory: {
      ...directory,
      readWelcomes: (...wanted) =>
        isFailing
          ? Promise.reject(new Error('the read failed'))
          : directory.readWelcomes(...wanted),
    },
  })
  const [alice, bob] = [await world.device('alice'), await world.device('bob')]
  isFailing = true
  const made = await welcome(alice, bob)
  await bob.beat()
  await world.settled()
  isFailing = false
  await world.settled()
  strictEqual(bob.heard.some(({ kind }) => kind === 'welcome'), false)
  await bob.beat()
  await bob.join(made)
  deepStrictEqual(world.faults, [])
})

Deno.test('ROOM-7: all Welcomes are offered, however many are not taken', async () => {
  const world = createHubWorld()
  const [alice, bob] = [await world.device('alice'), await world.device('bob')]
  bob.hangUp()
  await bob.closed
  const count = 10
  for (let room = 0; room < count; room++) await welcome(alice, bob)
  const back = new HandDevice(world.parts, bob.self)
  await back.connect(world.dialer())
  const ids = new Set<bigint>()
  while (ids.size < count) ids.add((await back.hear('welcome')).body.id)
  await back.beat()
  strictEqual(back.heard.some(({ kind }) => kind === 'welcome'), false, 'each once')
  deepStrictEqual(await held(world, 'welcomes'), [count])
  deepStrictEqual(world.faults, [])
})

/** Bob, and a room in which Alice has added him by a commit that Carol may vote on. */
async function heldBack(world: HubWorld, newcomers: readonly HandDevice[]) {
  const [alice, carol] = [await world.device('alice'), await world.device('carol')]
  const room = await alice.createRoom()
  await add(alice, room, carol)
  const made = await Promise.all(newcomers.map((device) => device.makeKeyPackage()))
  const adds = newcomers.map(({ self: { certificate } }, index) => {
    const { keyPackage } = made[index] as (typeof made)[0]
    return { keyPackage, certificate }
  })
  await alice.change(room, { adds })
  return { room, made }
}

/** Stores in which a test says when a room is read, and how that ends. */
function gated() {
  const stores = createStores()
  const reads: PromiseWithResolvers<void>[] = []
  const gate = { isShut: false, holdingReads: 0, areWelcomesFailing: false, reads }
  const log: RoomLog = {
    ...stores.log,
    async readRoom(room) {
      if (gate.isShut) {
        const read = Promise.withResolvers<void>()
        reads.push(read)
        await read.promise
      }
      return await stores.log.readRoom(room)
    },
  }
  const directory: Directory = {
    ...stores.directory,
    readHoldingRooms(...wanted) {
      gate.holdingReads++
      return stores.directory.readHoldingRooms(...wanted)
    },
    readWelcomes: (...wanted) =>
      gate.areWelcomesFailing
        ? Promise.reject(new Error('the read failed'))
        : stores.directory.readWelcomes(...wanted),
  }
  return { stores: { log, directory }, gate }
}

Deno.test('ROOM-7: of two for whom one room is woken, both are looked after', async () => {
  const { stores, gate } = gated()
  const world = createHubWorld(1, stores)
  const newcomers = [await world.device('bob'), await world.device('dave')]
  const { made } = await heldBack(world, newcomers)
  world.restart()
  world.clock.advance(LIMITS.provisionalMsMax)
  gate.isShut = true
  const backs = newcomers.map(({ self }) => new HandDevice(world.parts, self))
  for (const back of backs) await back.connect(world.dialer())
  await world.settled()
  strictEqual(gate.reads.length, 1, 'the second waits for what the first began')
  gate.isShut = false
  gate.reads[0]?.reject(new Error('the read failed'))
  await world.settled()
  // The first says nothing more.
  const second = backs[1] as HandDevice
  await second.beat()
  await world.settled()
  world.gateway.tick()
  await second.join(made[1] as (typeof made)[0])
  deepStrictEqual(world.faults, [])
})

Deno.test('ROOM-7, HUB-5: rooms are woken for a device by one run at a time', async () => {
  const { stores, gate } = gated()
  const world = createHubWorld(1, stores)
  const bob = await world.device('bob')
  for (let rooms = 0; rooms < 2; rooms++) await heldBack(world, [bob])
  world.restart()
  gate.isShut = true
  gate.holdingReads = 0
  gate.areWelcomesFailing = true
  const back = new HandDevice(world.parts, bob.self)
  await back.connect(world.dialer())
  const runs = async () => {
    await back.beat()
    await world.settled()
    return gate.holdingReads
  }
  strictEqual(await runs(), 1)
  gate.areWelcomesFailing = false
  strictEqual(await runs(), 1)
  gate.reads[0]?.reject(new Error('the read failed'))
  await world.settled()
  strictEqual(gate.reads.length, 2)
  strictEqual(await runs(), 1)
  gate.isShut = false
  gate.reads[1]?.resolve()
  await world.settled()
  // What of it failed is tried once more, and then no more.
  strictEqual(await runs(), 2)
  strictEqual(await runs(), 2)
  deepStrictEqual(world.faults, [])
})

Deno.test('HUB-5: of who follows again and again, one page at most waits to be read', async () => {
  const stores = createStores()
  const release = Promise.withResolvers<void>()
  const hold: { until: Promise<void> | null } = { until: null }
  const world = createHubWorld(1, {
    ...stores,
    log: {
      ...stores.log,
      async read(room, range) {
        if (hold.until !== null) await hold.until
        return await stores.log.read(room, range)
      },
    },
  })
  const before = await world.device('alice')
  const { id, group } = await before.createRoom()
  world.restart()
  const alice = new HandDevice(world.parts, before.self)
  await alice.connect(world.dialer())
  const room = alice.enter(id, group)
  await alice.subscribe(room, { from: logPosition(1n) })
  hold.until = release.promise
  for (let asked = 0; asked < 1_000; asked++) await alice.subscribe(room)
  strictEqual(world.gateway.memory().pages, LIMITS.catchUpReadsMax + 1)
  release.resolve()
  deepStrictEqual(await held(world, 'pages', 'followers'), [0, 1])
  deepStrictEqual(world.faults, [])
})
