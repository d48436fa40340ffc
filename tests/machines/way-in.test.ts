/**
 * A way into a room that a restart cuts in two, in a simulated world without faults: what the
 * device had of it is gone, and the room may be gone with it.
 */
import { deepStrictEqual, ok, strictEqual } from 'node:assert/strict'
import { fromBase64Url } from '#core/base/bytes.ts'
import { NO_ROOM, type RequestId, type RoomId } from '#core/base/ids.ts'
import { LIMITS } from '#core/base/limits.ts'
import type { Dialer, SessionListener } from '#core/device/transport.ts'
import { decodeInviteLink } from '#core/identity/invitation.ts'
import { BODIES, bodyKind, decodeMessage, encodeMessage } from '#core/wire/bodies.ts'
import { parseFrame } from '#core/wire/frame.ts'
import { calmWorld, openInWorld, rest, told, type WorldPerson } from '../capsule/world.ts'
import { HandDevice, makeIdentity } from '../support/hand-device.ts'
import { joinByLink } from '../support/hand-joiner.ts'

/** Time in which a commit becomes final. */
const FINAL_MS = 4_000
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
  const people = [alice, dave]
  for (const { name, sdk } of people) {
    await told(world, people, sdk.signUp({ name, deviceName: 'phone' }))
  }
  const room = await told(world, people, alice.sdk.createRoom({ title: 'Larks' }))
  await rest(world, people, FINAL_MS)
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
  const asked: RequestId[] = []
  const held: (() => void)[] = []
  let hearing: SessionListener | null = null
  let isHolding = false
  /** The first request is refused; the answers to others are held for as long as the test wants. */
  const dialer = (way: Dialer): Dialer => ({
    dial: (endpoint, listener) =>
      way.dial(endpoint, {
        ...listener,
        opened(transport) {
          hearing = listener
          listener.opened({
            ...transport,
            send(bytes) {
              const frame = parseFrame(bytes)
              const decoded = frame.kind === 'frame' ? decodeMessage(frame) : null
              const message = decoded?.kind === 'message' ? decoded.message : null
              if (message?.kind !== 'requestGroup') return transport.send(bytes)
              const { request } = message.body
              if (asked.push(request) > 1) return transport.send(bytes)
              const [opcode] = BODIES.requestGroup
              const refusal = { kind: 'tooMany', retryAfterMs: BUSY_MS } as const
              const body = { request, opcode, refusal }
              hearing?.framesReceived([encodeMessage('refused', NO_ROOM, body)])
            },
          })
        },
        framesReceived(frames) {
          const isGroup = frames.some((frame) => bodyKind(frame[1] ?? 0) === 'group')
          if (isHolding && isGroup) held.push(() => listener.framesReceived(frames))
          else listener.framesReceived(frames)
        },
      }),
  })
  const alice = await openInWorld(world, 'alice')
  const bob = await openInWorld(world, 'bob', { dialer })
  const people = [alice, bob]
  for (const { name, sdk } of people) {
    await told(world, people, sdk.signUp({ name, deviceName: 'phone' }))
  }
  const room = await told(world, people, alice.sdk.createRoom({ title: 'Larks' }))
  await rest(world, people, FINAL_MS)
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
  strictEqual(asked.length, 2)
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
