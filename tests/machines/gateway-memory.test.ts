/** What a gateway holds while sessions live, and what is left of it when they have gone. */
import { deepStrictEqual, ok, strictEqual } from 'node:assert/strict'
import type { HubMemory } from '#hub/gateway/memory.ts'
import { add } from '../support/hand-members.ts'
import { createHubWorld, type HubWorld } from '../support/hub-world.ts'

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
