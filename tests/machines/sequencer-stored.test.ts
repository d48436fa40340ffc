/**
 * What the sequencer gives a store and takes back: records that bear their names, whole states, one
 * version for each final epoch, and what several verdicts in one batch come to.
 */
import { deepStrictEqual, notDeepStrictEqual, ok, strictEqual, throws } from 'node:assert/strict'
import type { AccountName, DeviceId, LogPosition, Term, TimeMs } from '#core/base/ids.ts'
import { LIMITS } from '#core/base/limits.ts'
import { roomExtensions, withPolicy } from '#core/policy/room-policy.ts'
import { type EpochView, openInvitations } from '#hub/sequencer/group-view.ts'
import { chainKey, decodeState, emptyRoom, encodeState } from '#hub/sequencer/room-state.ts'
import { type Strike, STRIKES_MAX } from '#hub/sequencer/room-state.ts'
import { ALICE, authorOf, BOB, CAROL, codes, commit, decide } from '../support/sequencer-parts.ts'
import { roomOfThree } from '../support/sequencer-parts.ts'
import { frame, headOf, kinds, openedRoom, pass, person } from '../support/sequencer-parts.ts'
import { proposal, ROOM, run, START_MS, vote } from '../support/sequencer-parts.ts'

const LATER_MS = START_MS + LIMITS.verdictWaitMs
const DAVE = person('dave', 4)

const beginsWith = (bytes: Uint8Array, label: string): void => {
  const text = new TextDecoder().decode(bytes.subarray(1, 1 + label.length))
  deepStrictEqual([bytes[0], text], [label.length, label])
}

Deno.test('DEV-3: what is stored bears its name', async () => {
  const decision = await pass(await openedRoom(), { adds: [BOB] })
  beginsWith(decision.state as Uint8Array, 'room state')
  const [version] = decision.effects?.finals ?? []
  ok(version !== undefined)
  beginsWith(version.head, 'group head')
})

Deno.test('GROUP-5: a state holds the proposals of its epochs, and its own bytes', async () => {
  const story = await roomOfThree()
  const { room } = story
  const { state } = run(room, [await proposal(story, BOB)])
  const bytes = state as Uint8Array
  const read = decodeState(bytes)
  deepStrictEqual(read?.proposals, headOf(room).proposals)
  strictEqual(read?.proposals.length, 1)
  await pass(story)
  const opened = run(room, [vote(room, BOB)]).state as Uint8Array
  const kept = decodeState(opened)
  const epochId = kept?.finality.open[0]?.epochId.slice()
  opened.fill(0)
  deepStrictEqual(kept?.finality.open[0]?.epochId, epochId)
})

Deno.test('GROUP-4: a state has a place for every proposal that its epochs may hold', async () => {
  const { room } = await openedRoom()
  const { finality } = room
  ok(finality !== null)
  const proposals = Array.from(
    { length: LIMITS.proposalsPerEpochMax },
    (_, at) => BigInt(at) as LogPosition,
  )
  const view: EpochView = { ...headOf(room), proposals }
  const epochs = Array.from({ length: LIMITS.provisionalEpochsMax + 1 }, () => view)
  const state = encodeState({ epochs, finality, strikes: [] })
  strictEqual(decodeState(state)?.proposals.length, epochs.length * proposals.length)
  const more = [...epochs, { ...view, proposals: proposals.slice(0, 1) }]
  throws(() => encodeState({ epochs: more, finality, strikes: [] }))
})

Deno.test('VOTE-8: of strikes the newest 1,024 are kept', async () => {
  const story = await roomOfThree()
  const { room } = story
  const strike: Strike = {
    account: 'eve@hub.example' as AccountName,
    device: new Uint8Array(16) as DeviceId,
    origin: 1n as LogPosition,
    timeMs: room.time,
  }
  room.strikes = Array.from({ length: STRIKES_MAX }, () => strike)
  strictEqual(STRIKES_MAX, 1_024)
  await pass(story)
  const complaints = [BOB, CAROL].map((who) => vote(room, who, { choice: 'cannot' }))
  const decision = run(room, complaints, { nowMs: LATER_MS })
  strictEqual(decision.strikes.length, STRIKES_MAX)
  strictEqual(decision.strikes.at(-1)?.account, ALICE.account)
  ok(decodeState(decision.state as Uint8Array) !== null)
})

Deno.test('VOTE-8: of three voids the last two count', async () => {
  const story = await roomOfThree()
  const { room } = story
  const minutes = (count: number) => room.time - count * 60_000 as TimeMs
  const { account, device } = authorOf(ALICE)
  const { submission } = await commit(story)
  const struckAt = (...ago: readonly number[]) =>
    decide({
      ...room,
      strikes: ago.map((each, index) => ({
        account,
        device,
        origin: BigInt(index + 1) as LogPosition,
        timeMs: minutes(each),
      })),
    }, [submission])
  deepStrictEqual(codes(struckAt(70, 5, 1)), ['tooMany'])
  deepStrictEqual(struckAt(70, 5, 1).outcomes, [{
    kind: 'refused',
    refusal: { kind: 'tooMany', retryAfterMs: LIMITS.voidsWindowMs - 60_000 },
  }])
  deepStrictEqual(codes(struckAt(100, 95, 1)), ['accepted'])
  deepStrictEqual(codes(struckAt(70)), ['accepted'])
})

Deno.test('GROUP-5: a verdict that only time makes due is stored with its state', async () => {
  const story = await roomOfThree()
  const { room } = story
  await pass(story)
  run(room, [vote(room, BOB)])
  const { origin } = headOf(room)
  const decision = run(room, [], { nowMs: LATER_MS })
  deepStrictEqual(kinds(decision), ['verdict'])
  strictEqual(decodeState(decision.state as Uint8Array)?.finality.open.length, 0)
  deepStrictEqual(decision.verdicts.map(({ position, epochs }) => [position, epochs[0]?.origin]), [
    [room.next - 1n, origin],
  ])
  const { time } = room
  const idle = run(room, [], { nowMs: LATER_MS + 5_000 })
  deepStrictEqual([idle.entries, idle.state, idle.effects], [[], null, null])
  strictEqual(room.time, time, 'LOG-4: a room has the time of its last entry')
  strictEqual(emptyRoom(ROOM, 1n as Term).time, 0)
})

Deno.test('VOTE-2, VOTE-5: who was added agrees in the epoch that it is in', async () => {
  const story = await roomOfThree()
  const { room } = story
  await pass(story, { adds: [DAVE] })
  const leaf = 3
  deepStrictEqual(codes(run(room, [vote(room, DAVE, { leaf })])), ['accepted'])
  const spoken = frame(room, { author: authorOf(DAVE), leaf })
  deepStrictEqual(codes(decide(room, [spoken])), ['accepted'])
})

Deno.test('VOTE-3: of two voids in a batch the store is told the lower', async () => {
  const story = await openedRoom()
  const { room } = story
  await pass(story, { adds: [BOB, CAROL, DAVE] })
  await pass(story)
  const lowest = headOf(room).origin
  // A tie.
  run(room, [vote(room, BOB), vote(room, CAROL, { choice: 'cannot' })])
  await pass(story, { by: BOB })
  const upper = headOf(room).origin
  const against = (who: typeof BOB, position: LogPosition) =>
    vote(room, who, { position, choice: 'cannot' })
  const batch = [against(CAROL, upper), against(DAVE, lowest)]
  strictEqual(decide(room, batch.slice(0, 1), { nowMs: LATER_MS }).effects?.voidFrom, upper)
  const decision = run(room, batch, { nowMs: LATER_MS })
  deepStrictEqual(codes(decision), ['accepted', 'accepted'])
  deepStrictEqual(decision.effects, { voidFrom: lowest, finals: [] })
  deepStrictEqual(decision.voided.map(({ origin }) => origin), [upper, lowest])
})

Deno.test('SEQ-4: a generation goes with its epoch also within one batch', async () => {
  const story = await roomOfThree()
  const { room } = story
  await pass(story)
  const decision = run(room, [
    frame(room),
    ...[BOB, CAROL].map((who) => vote(room, who, { choice: 'cannot' })),
  ], { nowMs: LATER_MS })
  deepStrictEqual(codes(decision), ['accepted', 'accepted', 'badVote'])
  deepStrictEqual([decision.voided.length, decision.generations], [1, []])
})

Deno.test('VOTE-3, SEQ-4: generations of an epoch go with it, at once', async () => {
  const story = await roomOfThree()
  const { room } = story
  run(room, [frame(room)])
  await pass(story)
  run(room, [frame(room)])
  strictEqual(room.generations.size, 2)
  const complaints = [BOB, CAROL].map((who) => vote(room, who, { choice: 'cannot' }))
  run(room, complaints, { nowMs: LATER_MS })
  strictEqual(room.generations.size, 1)
  ok(room.generations.has(headOf(room).origin))
})

Deno.test('GROUP-4: a proposal that was judged against another state is refused', async () => {
  const story = await roomOfThree()
  const { room } = story
  const stale = await proposal(story, CAROL)
  const groups = new Map(story.groups)
  const first = await proposal({ room, groups }, BOB)
  run(room, [first])
  const decision = decide(room, [stale])
  deepStrictEqual(decision.outcomes, [{
    kind: 'refused',
    refusal: { kind: 'staleEpoch', epoch: headOf(room).epoch },
  }])
})

Deno.test('KEY-6: each leaf and lane has a number of its own', () => {
  const keys = Array.from({ length: 50 }, (_, leaf) => leaf)
    .flatMap((leaf) => [0, 1, 2, 3].map((lane) => chainKey(leaf, lane)))
  strictEqual(new Set(keys).size, keys.length)
  ok(keys.every((key) => Number.isSafeInteger(key)))
})

Deno.test('ID-6: a certificate that is stored is not stored again', async () => {
  const story = await openedRoom()
  const { room } = story
  await pass(story, { adds: [BOB] })
  const phone = { ...person('bob', 2, 20) }
  await pass(story, { adds: [phone] })
  const decision = run(room, [vote(room, BOB)], { nowMs: LATER_MS })
  deepStrictEqual(decision.finals.length, 1)
  deepStrictEqual(decision.effects?.finals[0]?.certificates, [])
})

Deno.test('JOIN-3: an invitation is open until its time, in any of the epochs', async () => {
  const { room } = await openedRoom()
  const head = headOf(room)
  const invitation = (number: number, expiresAt: number) => ({
    id: new Uint8Array(32).fill(number),
    publicKey: new Uint8Array(32).fill(number),
    inviter: ALICE.account,
    inviterRootHash: new Uint8Array(32).fill(1),
    createdAt: START_MS,
    expiresAt: expiresAt as TimeMs,
    usesMax: 1,
  })
  const viewWith = (...invitations: readonly ReturnType<typeof invitation>[]): EpochView => {
    const extensions = withPolicy(roomExtensions(), { invitations })
    return { ...head, made: { ...head.made, context: { ...head.made.context, extensions } } }
  }
  const views = [
    viewWith(invitation(1, START_MS), invitation(2, START_MS + 1)),
    viewWith(invitation(2, START_MS + 1), invitation(3, START_MS + 9)),
  ]
  const open = openInvitations(views, START_MS)
  deepStrictEqual(open.map((id) => id[0]), [2, 3])
  notDeepStrictEqual(openInvitations(views, START_MS - 1 as TimeMs).length, 2)
  const bare = {
    ...head,
    made: { ...head.made, context: { ...head.made.context, extensions: [] } },
  }
  deepStrictEqual(openInvitations([bare], START_MS), [])
})
