/**
 * Ways into a name and into rooms that something cuts in two, in a simulated world without faults:
 * a restart, a hub that is busy, a person who asks twice.
 */
import { deepStrictEqual, ok, strictEqual } from 'node:assert/strict'
import { fromBase64Url } from '#core/base/bytes.ts'
import type { RoomId } from '#core/base/ids.ts'
import { LIMITS } from '#core/base/limits.ts'
import type { Dialer } from '#core/device/transport.ts'
import { decodeInviteLink } from '#core/identity/invitation.ts'
import { bodyKind } from '#core/wire/bodies.ts'
import { calmWorld, FINAL_MS, gathered, openInWorld, rest } from '../capsule/world.ts'
import { told, type WorldPerson } from '../capsule/world.ts'
import { refusingDialer } from '../device/tampering.ts'
import { HandDevice, makeIdentity } from '../support/hand-device.ts'
import { joinByLink } from '../support/hand-joiner.ts'

/** What a busy hub asks for. */
const BUSY_MS = 5_000

/** A dialer through which no entry of a log comes. */
function withoutEntries(dialer: Dialer): Dialer {
  return {
    dial: (endpoint, listener) =>
      dialer.dial(endpoint, {
        ...listener,
        framesReceived: (frames) =>
          listener.framesReceived(frames.filter((frame) => bodyKind(frame[1] ?? 0) !== 'entries')),
      }),
  }
}

function stateOf({ sdk }: WorldPerson): string | null {
  return sdk.view().rooms[0]?.state ?? null
}

Deno.test('ROOM-7, JOIN-5: a way in by a Welcome ends, whatever a restart took of it', async () => {
  const world = calmWorld(6)
  const alice = await openInWorld(world, 'alice')
  const dave = await openInWorld(world, 'dave', { dialer: withoutEntries })
  const people = [alice, dave] as const
  const room = await gathered(world, people)
  const fragment = await told(world, people, alice.sdk.invite({ room }))
  const link = decodeInviteLink(fragment)
  ok(link !== null)
  const mallory = new HandDevice(world.handParts, await makeIdentity(world.handParts, 'mallory'))
  await told(world, people, mallory.connect(world.network.dialer('mallory')))
  const joined = joinByLink(mallory, fromBase64Url(room) as RoomId, link.secret)
  const place = await told(world, people, joined)
  await rest(world, people, FINAL_MS)
  // The only elector is away: the Welcome goes out at once.
  mallory.hangUp()
  await rest(world, people, FINAL_MS)
  await told(world, people, alice.sdk.addMember({ room, account: 'dave@hub.example' }))
  await rest(world, people, FINAL_MS)
  strictEqual(stateOf(dave), 'joining')
  await dave.sdk.close()
  await alice.sdk.close()
  // Whom a void leaves outside she would add again, had she not been started anew.
  const anew = await openInWorld(world, 'alice', { store: alice.store })
  await rest(world, [anew], FINAL_MS)
  const back = new HandDevice(world.handParts, mallory.self)
  for (const [key, of] of mallory.rooms) back.rooms.set(key, of)
  const complaint = async () => {
    await back.connect(world.network.dialer('mallory'))
    await back.subscribe(place)
    const { body } = await back.hear('askVote')
    await back.follow(place, body.position + 1n)
    await back.process(place)
    return await back.answer(await back.vote(place, { choice: 'cannot' }))
  }
  strictEqual(await told(world, [anew], complaint()), 'accepted')
  await rest(world, [anew], FINAL_MS)
  const again = await openInWorld(world, 'dave', { store: dave.store })
  const now = [anew, again]
  // Had the Welcome not been taken back, it would have come again by now.
  await rest(world, now, LIMITS.resyncWaitMs + FINAL_MS)
  strictEqual(stateOf(again), 'removed')
  strictEqual(await told(world, now, again.sdk.joinByLink(fragment)), room)
  await rest(world, now, FINAL_MS)
  strictEqual(stateOf(again), 'live')
  deepStrictEqual([alice, dave, anew, again].flatMap(({ faults }) => faults), [])
})

Deno.test('JOIN-1, WIRE-5: who waits for a group does not ask for it again', async () => {
  const world = calmWorld(7)
  const given = { count: 0 }
  const held: (() => void)[] = []
  let isHolding = false
  // The first request is refused; answers to others are held for as long as the test wants.
  const busy = { kind: 'tooMany', retryAfterMs: BUSY_MS } as const
  const refusal = () => given.count === 1 ? busy : null
  const holding = (way: Dialer): Dialer => ({
    dial: (endpoint, listener) =>
      way.dial(endpoint, {
        ...listener,
        framesReceived(frames) {
          const isGroup = frames.some((frame) => bodyKind(frame[1] ?? 0) === 'group')
          if (isHolding && isGroup) held.push(() => listener.framesReceived(frames))
          else listener.framesReceived(frames)
        },
      }),
  })
  const dialer = (way: Dialer) =>
    refusingDialer({ kind: 'requestGroup', refusal, given, way: holding(way) })
  const alice = await openInWorld(world, 'alice')
  const bob = await openInWorld(world, 'bob', { dialer })
  const people = [alice, bob] as const
  const room = await gathered(world, people)
  const fragment = await told(world, people, alice.sdk.invite({ room }))
  await told(world, people, bob.sdk.joinByLink(fragment))
  // The next session asks at once, and its answer is late.
  isHolding = true
  bob.sdk.networkChanged(false)
  bob.sdk.networkChanged(true)
  world.network.cut('bob')
  await rest(world, people, BUSY_MS)
  // Meanwhile the room has a newer group.
  await told(world, people, alice.sdk.invite({ room, limits: { usesMax: 1, lifetimeMs: 60_000 } }))
  await rest(world, people, FINAL_MS)
  isHolding = false
  for (const give of held) give()
  await rest(world, people, FINAL_MS)
  strictEqual(stateOf(bob), 'live')
  strictEqual(given.count, 2)
  deepStrictEqual(people.flatMap(({ faults }) => faults), [])
})

Deno.test('ID-4: who asks for a name again, while the hub looks at it, has it once', async () => {
  const world = calmWorld(15)
  const alice = await openInWorld(world, 'alice')
  const signUp = () => alice.sdk.signUp({ name: 'alice', deviceName: 'phone' })
  let isDone = false
  const first = signUp().finally(() => isDone = true)
  const codes = new Set<string>()
  while (!isDone) {
    await signUp().catch(({ code }) => codes.add(code))
    await world.tick(1)
    alice.passTime()
  }
  strictEqual(await first, 'alice@hub.example')
  deepStrictEqual([...codes], ['alreadyRegistered'])
  strictEqual(alice.sdk.view().account.kind, 'registered')
})
