/**
 * A capsule replays: random lives go step for step as they went, and a failure that was provoked in
 * a world comes again at the same step, from nothing but the capsule.
 */
import { deepStrictEqual, ok, strictEqual } from 'node:assert/strict'
import type { RoomId } from '#core/base/ids.ts'
import { LIMITS } from '#core/base/limits.ts'
import type { Crypto } from '#core/crypto/crypto.ts'
import { decodeInviteLink } from '#core/identity/invitation.ts'
import type { World } from '../sim/world.ts'
import { HandDevice, makeIdentity } from '../support/hand-device.ts'
import { joinByLink } from '../support/hand-joiner.ts'
import { sayContent, textOf } from '../support/hostile-speech.ts'
import { leaksIn, stringsIn } from './leaks.ts'
import { live } from './life.ts'
import { LIES, lyingWay } from './lies.ts'
import { listOf, readCapsule, roomShapeOf } from './reading.ts'
import { replayCapsule, type Replayed } from './replay.ts'
import { ending, failuresOf } from './story.ts'
import { calmWorld, openInWorld, rest, told, type WorldPerson } from './world.ts'

const options = { sanitizeOps: false, sanitizeResources: false }

/** Replays, and tells how far it came where it did not come to the end. */
async function replaysWhole(capsule: string): Promise<Replayed> {
  const replayed = await replayCapsule(capsule)
  strictEqual(replayed.divergence, null, ending(replayed))
  deepStrictEqual(replayed.missing, [])
  return replayed
}

for (const seed of [1, 47, 51, 69]) {
  Deno.test(
    `DEV-10: a random life replays and gives nothing away, seed ${seed}`,
    options,
    async () => {
      const lives = await live(seed, 40)
      ok(lives.length >= 4, 'everybody has lived')
      const secrets = lives.flatMap(({ witness }) => witness.secrets)
      for (const { capsule } of lives) await replaysWhole(capsule)
      const all = lives.map(({ capsule }) => capsule).join('')
      deepStrictEqual(leaksIn(all, secrets), [])
      for (const text of stringsIn(all)) ok(/^[A-Za-z0-9:]{0,40}$/.test(text), text)
    },
  )
}

interface Betrayed {
  readonly world: World
  readonly alice: WorldPerson
  readonly bob: WorldPerson
  readonly room: string
  readonly lies: { now: keyof typeof LIES | null }
}

/** Alice and Bob in a room; what comes to Bob may be changed on the way. */
async function betrayed(
  seed: number,
  crypto: (port: Crypto) => Crypto = (port) => port,
): Promise<Betrayed> {
  const world = calmWorld(seed)
  const lies: Betrayed['lies'] = { now: null }
  const alice = await openInWorld(world, 'alice')
  const bob = await openInWorld(world, 'bob', { dialer: lyingWay(lies), crypto })
  const people = [alice, bob]
  for (const person of people) {
    const { name } = person
    await told(world, people, person.sdk.signUp({ name, deviceName: 'Test device' }))
  }
  const room = await told(world, people, alice.sdk.createRoom({ title: 'Larks' }))
  await rest(world, people, 1_000)
  await told(world, people, alice.sdk.addMember({ room, account: 'bob@hub.example' }))
  await rest(world, people, 3_000)
  return { world, alice, bob, room, lies }
}

const CODES = Object.keys(LIES) as (keyof typeof LIES)[]
for (const [index, code] of CODES.entries()) {
  const title = `DEV-9: a room that a hub broke with ${code} breaks again at the same step`
  Deno.test(title, options, async () => {
    const { world, alice, bob, room, lies } = await betrayed(20 + index)
    const people = [alice, bob]
    lies.now = code
    await told(world, people, alice.sdk.sendMessage({ room, text: 'One', id: 'one' }))
    await rest(world, people, 2_000)
    if (code === 'fork') lies.now = null
    await told(world, people, alice.sdk.invite({ room }))
    await told(world, people, alice.sdk.sendMessage({ room, text: 'Two', id: 'two' }))
    await rest(world, people, 5_000)

    const capsule = bob.sdk.exportCapsule()
    const { steps } = readCapsule(capsule)
    const failed = steps.findIndex((step) => failuresOf(step).includes(`r1 is broken: ${code}`))
    ok(failed > 0, `bob's room broke with ${code}`)
    const replayed = await replaysWhole(capsule)
    ok(ending(replayed).includes(`Failure at step ${failed + 1}: r1 is broken: ${code}.`))
  })
}

Deno.test('DEV-10, CONTENT-4: what a member says again replays as it came', options, async () => {
  const { world, alice, bob, room } = await betrayed(35)
  const people = [alice, bob]
  const link = decodeInviteLink(await told(world, people, alice.sdk.invite({ room })))
  ok(link !== null)
  const mallory = new HandDevice(world.handParts, await makeIdentity(world.handParts, 'mallory'))
  await told(world, people, mallory.connect(world.network.dialer('mallory')))
  const joined = await told(world, people, joinByLink(mallory, link.room as RoomId, link.secret))
  const [twice, between] = [textOf(mallory, joined, 'One'), textOf(mallory, joined, 'Two')]
  for (const content of [twice, between, twice, twice]) {
    await told(world, people, sayContent(mallory, joined, content))
    await rest(world, people, 500)
  }
  strictEqual(bob.sdk.view().rooms[0]?.unreadCount, 2)
  await replaysWhole(bob.sdk.exportCapsule())
})

Deno.test('a capsule that was changed goes another way, and says where', options, async () => {
  const { bob } = await betrayed(30)
  const capsule = bob.sdk.exportCapsule()
  const lines = capsule.split('\n')
  const at = lines.findIndex((line) => line.includes('"phase":"live"'))
  const changed = lines.with(
    at,
    (lines[at] as string).replace('"phase":"live"', '"phase":"broken"'),
  )
  const { divergence } = await replayCapsule(changed.join('\n'))
  strictEqual(divergence?.step, at - 1)
  strictEqual(divergence.of, 'state')
  strictEqual(divergence.what, 'rooms.r1.phase was "broken" and is "live"')
})

Deno.test('a capsule that begins in the midst of a life replays from there', options, async () => {
  const { world, alice, bob, room } = await betrayed(31)
  const people = [alice, bob]
  await alice.sdk.close()
  const again = await openInWorld(world, 'alice', { store: alice.store })
  await rest(world, [again, bob], 2_000)
  await told(world, people, again.sdk.sendMessage({ room, text: 'Back', id: 'back' }))
  await rest(world, [again, bob], 2_000)
  const capsule = again.sdk.exportCapsule()
  ok(capsule.split('\n')[1]?.includes('"phase":"live"'), 'the room was there before')
  await replaysWhole(capsule)
})

Deno.test('a capsule that begins in the midst of a vote replays from there', options, async () => {
  const { world, alice, bob, room } = await betrayed(32)
  // Nobody is there to vote on what Alice does, and she is opened anew.
  await bob.sdk.close()
  await rest(world, [alice], 1_000)
  void alice.sdk.invite({ room }).catch(() => null)
  await rest(world, [alice], 3_000)
  await told(world, [alice], alice.sdk.sendMessage({ room, text: 'Waiting', id: 'waiting' }))
  await alice.sdk.close()
  const people = [
    await openInWorld(world, 'alice', { store: alice.store }),
    await openInWorld(world, 'bob', { store: bob.store }),
  ]
  await rest(world, people, 8_000)
  const [again, other] = people as [WorldPerson, WorldPerson]
  await told(world, people, other.sdk.sendMessage({ room, text: 'Here', id: 'here' }))
  await rest(world, people, 2_000)
  const capsule = again.sdk.exportCapsule()
  const { start } = readCapsule(capsule)
  ok(listOf(roomShapeOf(start, 'r1'), 'chain').length > 0, 'an epoch waited')
  await replaysWhole(capsule)
})

Deno.test('a capsule whose beginning was let go replays from its first step', options, async () => {
  const { world, alice, bob, room } = await betrayed(33)
  const people = [alice, bob]
  for (let steps = 0; steps < LIMITS.capsuleStepsMax; steps++) {
    bob.sdk.networkChanged(true)
    if (steps % 1_000 === 0) await rest(world, people, 500)
  }
  for (const text of ['One', 'Two', 'Three']) {
    await told(world, people, alice.sdk.sendMessage({ room, text, id: text }))
    await told(world, people, bob.sdk.sendMessage({ room, text, id: text }))
    await rest(world, people, 1_000)
  }
  const capsule = bob.sdk.exportCapsule()
  ok(readCapsule(capsule).lost > 0, 'something was let go')
  await replaysWhole(capsule)
})

for (
  const [what, failure, fault] of [
    ['hangs', 'the step had not ended when this was made', () => new Promise<never>(() => {})],
    ['fails', 'a fault of the code, in one frame', () => Promise.reject(new Error('a fault'))],
  ] as const
) {
  Deno.test(`a capsule of a device that ${what} says at which step`, options, async () => {
    let isFaulty = false
    const { world, alice, bob, room } = await betrayed(34, (port) => ({
      ...port,
      decapsulate: (...args) => isFaulty ? fault() : port.decapsulate(...args),
    }))
    isFaulty = true
    await told(world, [alice, bob], alice.sdk.invite({ room }))
    await rest(world, [alice, bob], 3_000)
    const capsule = bob.sdk.exportCapsule()
    const { steps } = readCapsule(capsule)
    const failed = steps.find((step) => failuresOf(step).includes(failure))
    ok(failed !== undefined, failure)
    ok(listOf(failed.input, 'frames').length > 0, 'it came with a frame')
    const { divergence, steps: passed } = await replayCapsule(capsule)
    // The code of the product has no such fault: the replay finds all as recorded up to there.
    strictEqual(passed, failed.running ? steps.length : failed.index - 1)
    strictEqual(divergence?.of, failed.running ? undefined : 'state')
  })
}
