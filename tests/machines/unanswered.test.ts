/**
 * A session that ends before the hub has said what became of a commit: its author finds it in the
 * log, and can read what was said behind it.
 */
import { deepStrictEqual, ok, strictEqual } from 'node:assert/strict'
import { LIMITS } from '#core/base/limits.ts'
import { roomIdOfKey } from '#core/device/room.ts'
import type { Dialer, SessionListener } from '#core/device/transport.ts'
import { decodeInviteLink } from '#core/identity/invitation.ts'
import { bodyKind } from '#core/wire/bodies.ts'
import type { RequestId } from '#core/base/ids.ts'
import type { RoomView } from '#sdk'
import type { World } from '../sim/world.ts'
import { calmWorld, FINAL_MS, gathered, openInWorld } from '../capsule/world.ts'
import { rest, told, type WorldPerson } from '../capsule/world.ts'
import { refuseTo, requestIn } from '../device/tampering.ts'
import { HandDevice, makeIdentity } from '../support/hand-device.ts'
import { joinByLink } from '../support/hand-joiner.ts'
import { HostileMember } from '../support/hostile-member.ts'
import { sentBy } from '../support/sent-by.ts'

/** What comes through between a device and its hub; a test changes it as it goes. */
class Wire {
  /** Kinds of messages of the hub that are lost. */
  readonly lost = new Set<string>()
  /** Kinds that wait, in their order, until they are given. */
  readonly waiting = new Set<string>()
  /** Once this device has given a commit it hears nothing. */
  isDeafFromCommit = false
  isDeaf = false
  /** Of the commits that the device gives from now on. */
  readonly becomes: ('lost' | 'refused' | 'refused, and taken all the same')[] = []
  commits = 0
  /** The next commit stays on its way until it is handed on. */
  isCommitKept = false
  handOn: (() => void) | null = null
  #held: (readonly [kind: string, hear: () => void])[] = []

  readonly over = (way: Dialer): Dialer => ({
    dial: (endpoint, listener) =>
      way.dial(endpoint, {
        closed: () => listener.closed(),
        framesReceived: (frames) => frames.forEach((frame) => this.#heard(frame, listener)),
        opened: (transport) =>
          listener.opened(sentBy(transport, (frame) => {
            const give = () => transport.send(frame)
            const request = requestIn(frame, 'submitCommit')
            if (request === null) give()
            else this.#commitGiven(listener, request, give)
          })),
      }),
  })

  /** Gives what waits: of one kind first, which so overtakes the rest. */
  give(first = ''): void {
    this.waiting.clear()
    const held = this.#held.splice(0)
    for (const [kind, hear] of held) if (kind === first) hear()
    for (const [kind, hear] of held) if (kind !== first) hear()
  }

  #heard(frame: Uint8Array, listener: SessionListener): void {
    const kind = bodyKind(frame[1] ?? 0) ?? ''
    if (this.isDeaf || this.lost.has(kind)) return
    if (this.waiting.has(kind)) this.#held.push([kind, () => listener.framesReceived([frame])])
    else listener.framesReceived([frame])
  }

  #commitGiven(listener: SessionListener, request: RequestId, give: () => void): void {
    this.commits++
    if (this.isCommitKept) {
      this.isCommitKept = false
      this.handOn = give
      return
    }
    const becomes = this.becomes.shift()
    if (becomes !== 'lost' && becomes !== 'refused') give()
    if (this.isDeafFromCommit) this.isDeaf = true
    if (becomes === undefined || becomes === 'lost') return
    const refusal = { kind: 'tooMany', retryAfterMs: PUT_OFF_MS } as const
    refuseTo(listener, { kind: 'submitCommit', request, refusal })
  }
}

/** For which a commit is put off each time. */
const PUT_OFF_MS = 2_000
const HOUR_MS = 3_600_000

/** What somebody is shown of a room: texts, and what happened to its members. */
async function shown({ sdk }: WorldPerson, room: string): Promise<readonly string[]> {
  const { promise, resolve } = Promise.withResolvers<RoomView>()
  const stop = sdk.watchRoom(room, { limit: 200 }, resolve)
  const { items } = await promise
  stop()
  return items.map((item) =>
    item.kind === 'message' ? item.text : item.kind === 'event' ? item.event : item.kind
  )
}

function stateOf({ sdk }: WorldPerson): string | undefined {
  return sdk.view().rooms[0]?.state
}

async function isSaid(
  world: World,
  people: readonly WorldPerson[],
  { by, room, text }: { readonly by: WorldPerson; readonly room: string; readonly text: string },
): Promise<void> {
  await told(world, people, by.sdk.sendMessage({ room, text, id: text }))
  await rest(world, people, FINAL_MS)
}

/** Another session of somebody, who hears again. */
async function cutOff(
  world: World,
  people: readonly WorldPerson[],
  { name, wire }: { readonly name: string; readonly wire: Wire },
): Promise<void> {
  wire.isDeafFromCommit = false
  wire.isDeaf = false
  world.network.cut(name)
  await rest(world, people, 2 * FINAL_MS)
}

for (const usesMax of [1, 100]) {
  Deno.test(`JOIN-7: a link for ${usesMax}, and no answer to the commit by it`, async () => {
    const world = calmWorld(21)
    const wire = new Wire()
    const alice = await openInWorld(world, 'alice')
    const bob = await openInWorld(world, 'bob', { dialer: wire.over })
    const people = [alice, bob] as const
    const room = await gathered(world, people)
    const limits = { usesMax, lifetimeMs: HOUR_MS }
    const link = await told(world, people, alice.sdk.invite({ room, limits }))
    // The anchor stays where it is, and the newcomer walks through other epochs to its own.
    for (const other of [2, 3]) {
      await told(world, people, alice.sdk.invite({ room, limits: { ...limits, usesMax: other } }))
    }
    await rest(world, people, FINAL_MS)
    wire.isDeafFromCommit = true
    await told(world, people, bob.sdk.joinByLink(link))
    await rest(world, people, FINAL_MS)
    strictEqual(stateOf(bob), 'joining')
    await isSaid(world, people, { by: alice, room, text: 'early' })
    await cutOff(world, people, { name: 'bob', wire })
    strictEqual(stateOf(bob), 'live')
    strictEqual((await shown(bob, room)).includes('early'), true)
    strictEqual((await shown(alice, room)).includes('resynced'), false)
    strictEqual(wire.commits, 1)
    deepStrictEqual(people.flatMap(({ faults }) => faults), [])
  })
}

Deno.test('ROOM-7: a Welcome that comes beside an unanswered resync takes no seat', async () => {
  const world = calmWorld(22)
  const wire = new Wire()
  const alice = await openInWorld(world, 'alice')
  const first = await openInWorld(world, 'dave', { dialer: wire.over })
  const room = await gathered(world, [alice, first])
  wire.lost.add('entries')
  await told(world, [alice, first], alice.sdk.addMember({ room, account: 'dave@hub.example' }))
  await rest(world, [alice, first], FINAL_MS)
  strictEqual(stateOf(first), 'joining')
  await first.sdk.close()
  // The Welcome does not come for so long that the log is walked without it.
  wire.lost.clear()
  wire.lost.add('welcome')
  wire.isDeafFromCommit = true
  const dave = await openInWorld(world, 'dave', { store: first.store, dialer: wire.over })
  const people = [alice, dave] as const
  await rest(world, people, LIMITS.resyncWaitMs + FINAL_MS)
  strictEqual(wire.commits, 1)
  strictEqual(stateOf(dave), 'joining')
  // In the next session it comes before the log does.
  wire.lost.clear()
  wire.waiting.add('entries')
  await cutOff(world, people, { name: 'dave', wire })
  wire.give()
  await rest(world, people, FINAL_MS)
  await isSaid(world, people, { by: alice, room, text: 'welcome' })
  strictEqual((await shown(dave, room)).includes('welcome'), true)
  const resyncs = (await shown(alice, room)).filter((each) => each === 'resynced')
  deepStrictEqual([stateOf(dave), resyncs.length, wire.commits], ['live', 1, 1])
  deepStrictEqual([alice, first, dave].flatMap(({ faults }) => faults), [])
})

/** Alice and Bob in a room, and Alice's commits go as the wire says. */
async function withCommits(seed: number) {
  const world = calmWorld(seed)
  const wire = new Wire()
  const alice = await openInWorld(world, 'alice', { dialer: wire.over })
  const bob = await openInWorld(world, 'bob')
  const people = [alice, bob] as const
  const room = await gathered(world, people)
  const link = await told(world, people, alice.sdk.invite({ room }))
  await told(world, people, bob.sdk.joinByLink(link))
  await rest(world, people, FINAL_MS)
  const limits = { usesMax: 1, lifetimeMs: HOUR_MS }
  const commits = wire.commits
  /** A commit whose first copy is lost with its session. */
  const changes = async (...becomes: Wire['becomes']) => {
    wire.becomes.push('lost', ...becomes)
    const other = alice.sdk.invite({ room, limits })
    await rest(world, people, FINAL_MS)
    await cutOff(world, people, { name: 'alice', wire })
    return () => told(world, people, other)
  }
  return { world, wire, alice, bob, people, room, commits, changes }
}

Deno.test('DEV-5: a commit given twice, the second copy of which is put off', async () => {
  const { world, wire, alice, bob, people, room, commits, changes } = await withCommits(23)
  const changed = await changes('refused, and taken all the same')
  await changed()
  await isSaid(world, people, { by: bob, room, text: 'on' })
  strictEqual((await shown(alice, room)).includes('on'), true)
  strictEqual((await shown(bob, room)).includes('resynced'), false)
  strictEqual(wire.commits, commits + 2)
  deepStrictEqual(people.flatMap(({ faults }) => faults), [])
})

Deno.test('DEV-5: a repeated commit that is put off again and again holds up no word', async () => {
  const { world, wire, alice, bob, people, room, commits, changes } = await withCommits(24)
  const changed = await changes(...Array.from({ length: 12 }, () => 'refused' as const))
  await isSaid(world, people, { by: alice, room, text: 'meanwhile' })
  strictEqual((await shown(bob, room)).includes('meanwhile'), true)
  strictEqual(wire.commits < commits + 12, true)
  await rest(world, people, 12 * PUT_OFF_MS)
  await changed()
  strictEqual(wire.commits, commits + 14)
  deepStrictEqual(people.flatMap(({ faults }) => faults), [])
})

Deno.test('JOIN-7: a way in is made again where its rival fell before it was known', async () => {
  const world = calmWorld(31)
  const wire = new Wire()
  const alice = await openInWorld(world, 'alice')
  const bob = await openInWorld(world, 'bob')
  const carol = await openInWorld(world, 'carol', { dialer: wire.over })
  const people = [alice, bob, carol] as const
  const room = await gathered(world, people)
  const link = await told(world, people, alice.sdk.invite({ room }))
  await told(world, people, bob.sdk.joinByLink(link))
  await rest(world, people, FINAL_MS)
  const mallory = await told(world, people, hostileBy(world, room, link))
  await rest(world, people, FINAL_MS)

  wire.isCommitKept = true
  await told(world, people, carol.sdk.joinByLink(link))
  await rest(world, people, 1_000)
  // The refusal overtakes the log, in which the rival comes and is void.
  for (const kind of ['refused', 'entries', 'subscribed', 'head']) wire.waiting.add(kind)
  await mallory.follow()
  await told(world, people, mallory.post('confirmationTag').then(() => undefined))
  ok(wire.handOn !== null)
  wire.handOn()
  await rest(world, people, FINAL_MS)
  wire.give('refused')
  await rest(world, people, FINAL_MS)

  strictEqual(stateOf(carol), 'live')
  strictEqual(wire.commits, 2)
  deepStrictEqual(people.flatMap(({ faults }) => faults), [])
})

/** Somebody who comes in by a link, and then commits what members refuse. */
async function hostileBy(world: World, room: string, link: string): Promise<HostileMember> {
  const parts = world.handParts
  const device = new HandDevice(parts, await makeIdentity(parts, 'mallory'))
  await device.connect(world.network.dialer('mallory'))
  const [id, opened] = [roomIdOfKey(room), decodeInviteLink(link)]
  ok(id !== null && opened !== null)
  return new HostileMember(device, await joinByLink(device, id, opened.secret))
}
