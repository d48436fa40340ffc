/** A fault of ours in a step: who waits is told, and what has nothing to do with it goes on. */
import { deepStrictEqual, rejects, strictEqual } from 'node:assert/strict'
import { LIMITS } from '#core/base/limits.ts'
import { calmWorld, FINAL_MS, gathered, openInWorld, rest } from '../capsule/world.ts'
import { roomOf, signUp, told } from '../capsule/world.ts'

Deno.test('DEV-9: a command that meets a fault of ours is answered', async () => {
  const world = calmWorld(11)
  let isFaulty = false
  const alice = await openInWorld(world, 'alice', {
    crypto: (port) => ({
      ...port,
      signatureKeyPair(...args) {
        if (isFaulty) throw new Error('a fault')
        return port.signatureKeyPair(...args)
      },
    }),
  })
  const { sdk } = alice
  const room = await gathered(world, [alice])
  isFaulty = true
  await rejects(told(world, [alice], sdk.invite({ room })), { code: 'internal' })
  isFaulty = false
  strictEqual(alice.faults.length, 1)
  await told(world, [alice], sdk.invite({ room }))
  strictEqual(sdk.view().rooms[0]?.state, 'live')
  strictEqual(alice.faults.length, 1)
})

Deno.test('DEV-9: a fault of ours when a time has come stops one room', async () => {
  const world = calmWorld(12)
  let faults = 0
  const alice = await openInWorld(world, 'alice', {
    crypto: (port) => ({
      ...port,
      sign(...args) {
        if (faults-- > 0) throw new Error('a fault')
        return port.sign(...args)
      },
    }),
  })
  const { sdk } = alice
  await signUp(world, [alice])
  const limits = { usesMax: 1, lifetimeMs: 3_600_000 }
  for (const title of ['Faulty', 'Sound']) {
    const room = await roomOf(world, [alice], title)
    // By the second of them the first one's anchor is old, and due in a minute.
    await told(world, [alice], sdk.invite({ room, limits }))
    await told(world, [alice], sdk.invite({ room, limits }))
  }
  faults = 1
  await rest(world, [alice], LIMITS.anchorIntervalMsMin + FINAL_MS)
  const states = () => sdk.view().rooms.map(({ title, state }) => `${title} ${state}`).toSorted()
  deepStrictEqual(states(), ['Faulty broken', 'Sound live'])
  strictEqual(alice.faults.length, 1)
  const sound = sdk.view().rooms.find(({ title }) => title === 'Sound')?.room ?? ''
  await told(world, [alice], sdk.sendMessage({ room: sound, text: 'on', id: 'one' }))
  await told(world, [alice], sdk.invite({ room: sound, limits }))
  await rest(world, [alice], LIMITS.anchorIntervalMsMin + FINAL_MS)
  deepStrictEqual(states(), ['Faulty broken', 'Sound live'])
  strictEqual(alice.faults.length, 1)
})

Deno.test('DEV-9: a Welcome that meets a fault of ours comes again', async () => {
  const world = calmWorld(13)
  let faults = 0
  const alice = await openInWorld(world, 'alice')
  const bob = await openInWorld(world, 'bob', {
    crypto: (port) => ({
      ...port,
      decapsulate(...args) {
        if (faults-- > 0) throw new Error('a fault')
        return port.decapsulate(...args)
      },
    }),
  })
  const people = [alice, bob] as const
  await signUp(world, people)
  const states = () => bob.sdk.view().rooms.map(({ state }) => state)
  for (const [title, fault] of [['Sound', 0], ['Faulty', 1]] as const) {
    const room = await roomOf(world, people, title)
    faults = fault
    await told(world, people, alice.sdk.addMember({ room, account: 'bob@hub.example' }))
    await rest(world, people, FINAL_MS)
  }
  deepStrictEqual(states(), ['live'])
  strictEqual(bob.faults.length, 1)
  bob.sdk.networkChanged(false)
  await bob.sdk.close()
  const again = await openInWorld(world, 'bob', { store: bob.store })
  await rest(world, [alice, again], FINAL_MS)
  deepStrictEqual(again.sdk.view().rooms.map(({ state }) => state), ['live', 'live'])
  deepStrictEqual([...alice.faults, ...again.faults], [])
})
