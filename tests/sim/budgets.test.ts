/** What joining, saying something and coming back cost on the wire, frame by frame. */
import { deepStrictEqual, ok } from 'node:assert/strict'
import type { Command } from '#core/device/io.ts'
import type { SimDevice } from './device.ts'
import { FAULTS, planOf } from './plan.ts'
import { World } from './world.ts'

const QUIET_MS = 5_000
const STEP_MS = 50

interface Scene {
  readonly world: World
  readonly people: readonly [SimDevice, SimDevice, SimDevice]
  readonly room: string
  readonly link: string
}

/** Ann made a room, Bob is in it by a link, Cleo has an account. */
async function begin(): Promise<Scene> {
  const world = new World(planOf({ seed: 1, without: Object.keys(FAULTS) }))
  const people: SimDevice[] = []
  for (const name of ['ann', 'bob', 'cleo']) {
    const device = await world.addDevice(name)
    await done(world, device, { kind: 'signUp', name, deviceName: 'phone' })
    people.push(device)
  }
  const [ann, bob] = people as [SimDevice, SimDevice]
  const room = await done(world, ann, { kind: 'createRoom', title: 'Larks' })
  await world.rest(QUIET_MS, STEP_MS)
  const link = await done(world, ann, { kind: 'invite', room, limits: null })
  await done(world, bob, { kind: 'joinByLink', link })
  await world.rest(QUIET_MS, STEP_MS)
  return { world, people: people as unknown as Scene['people'], room, link }
}

async function done(world: World, device: SimDevice, command: Command): Promise<string> {
  const answer = device.command(command)
  let outcome: Awaited<typeof answer> | undefined
  answer.then((came) => {
    outcome = came
  })
  for (let ticks = 0; outcome === undefined; ticks++) {
    ok(ticks < 1_000, `${command.kind} is answered`)
    await world.tick(STEP_MS)
  }
  ok(outcome?.kind === 'done', `${command.kind} is done`)
  return outcome.value ?? ''
}

/** Frames by who, way and kind, without those that only show that somebody is there. */
async function framesOf(world: World, act: () => unknown): Promise<Record<string, number>> {
  const before = new Map(world.chronicle.frames)
  await act()
  await world.rest(QUIET_MS, STEP_MS)
  const counts = [...world.chronicle.frames]
    .map(([name, count]) => [name, count - (before.get(name) ?? 0)] as const)
    .filter(([name, count]) => count > 0 && !name.endsWith('heartbeat'))
  return Object.fromEntries(counts.sort())
}

/** Who reads one entry: it, the head of the room, and that the device has it. */
function readerOf(name: string): Record<string, number> {
  return { [`${name} down entries`]: 1, [`${name} down head`]: 1, [`${name} up acknowledge`]: 1 }
}

/** Who is asked about a commit: it, the votes, the verdict. */
function voterOf(name: string): Record<string, number> {
  return {
    [`${name} down entries`]: 3,
    [`${name} down head`]: 2,
    [`${name} up acknowledge`]: 3,
    [`${name} down askVote`]: 1,
    [`${name} up submitVote`]: 1,
    [`${name} down accepted`]: 1,
  }
}

Deno.test('a message costs one frame up, and one down to each member', async () => {
  const { world, people: [, bob], room } = await begin()
  const text = { kind: 'sendMessage', room, text: 'hello', localId: '1' } as const
  deepStrictEqual(await framesOf(world, () => done(world, bob, text)), {
    'bob up submitFrame': 1,
    'bob down accepted': 1,
    ...readerOf('ann'),
    ...readerOf('bob'),
  })
})

Deno.test('coming in by a link', async () => {
  const { world, people: [, , cleo], link } = await begin()
  const join = { kind: 'joinByLink', link } as const
  deepStrictEqual(await framesOf(world, () => done(world, cleo, join)), {
    'cleo up requestGroup': 1,
    'cleo down group': 1,
    'cleo up subscribe': 1,
    'cleo down subscribed': 1,
    'cleo up submitCommit': 1,
    'cleo down accepted': 1,
    // The log above the anchor, the commit, two votes with the verdict.
    'cleo down entries': 4,
    'cleo up acknowledge': 4,
    'cleo down head': 3,
    ...voterOf('ann'),
    ...voterOf('bob'),
  })
})

Deno.test('coming back after a cut', async () => {
  const { world } = await begin()
  deepStrictEqual(await framesOf(world, () => world.network.cut('bob')), {
    'bob up hello': 1,
    'bob down greeting': 1,
    'bob up authenticate': 1,
    'bob down ready': 1,
    'bob up subscribe': 1,
    'bob down subscribed': 1,
    'bob down head': 1,
  })
})
