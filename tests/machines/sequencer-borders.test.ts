/**
 * The borders of what the sequencer takes: the last value that is right and the first that is not,
 * and what a decision leaves as it was.
 */
import { deepStrictEqual, strictEqual } from 'node:assert/strict'
import { type LogPosition, logPosition } from '#core/base/ids.ts'
import { LIMITS } from '#core/base/limits.ts'
import { createChainMemory } from '#hub/sequencer/chain-memory.ts'
import { createRoomQueue } from '#hub/sequencer/room-queue.ts'
import { emptyRoom } from '#hub/sequencer/room-state.ts'
import { install } from '#hub/sequencer/sequencer.ts'
import { ALICE, authorOf, BOB, CAROL, codes, commit, decide } from '../support/sequencer-parts.ts'
import { roomOfThree } from '../support/sequencer-parts.ts'
import { frame, headOf, openedRoom, pass, proposal } from '../support/sequencer-parts.ts'
import { run, seenNow, START_MS, type Story, vote } from '../support/sequencer-parts.ts'

/** Bob and Carol cannot follow; those who follow are back in the epoch below. */
async function leave(story: Story, atMs: number) {
  const groups = new Map(story.groups)
  await pass(story, { atMs })
  const complaints = [BOB, CAROL].map((who) => vote(story.room, who, { choice: 'cannot' }))
  const decision = run(story.room, complaints, { nowMs: atMs + LIMITS.verdictWaitMs })
  for (const [who, group] of groups) story.groups.set(who, group)
  return decision
}

// ---- Who -----------------------------------------------------------------------------------

Deno.test('SEQ-3: a leaf is of an account and a device, both', async () => {
  const { room } = await roomOfThree()
  const sameDevice = { account: BOB.account, device: ALICE.device }
  const sameAccount = { account: ALICE.account, device: BOB.device }
  const batch = [sameDevice, sameAccount, authorOf(ALICE)].map((author) => frame(room, { author }))
  deepStrictEqual(codes(decide(room, batch)), ['wrongLeaf', 'wrongLeaf', 'accepted'])
})

Deno.test('SEQ-3, VOTE-5: nobody proposes for another leaf, nor before it may speak', async () => {
  const story = await roomOfThree()
  const { room } = story
  const own = await proposal(story, BOB)
  deepStrictEqual(codes(decide(room, [{ ...own, leaf: 0 }])), ['wrongLeaf'])
  deepStrictEqual(codes(run(room, [own])), ['accepted'])
  strictEqual(room.epochs.length, 1, 'the epoch is the same, with a proposal')
  await pass(story)
  const early = await proposal(story, BOB)
  const decision = decide(room, [early])
  deepStrictEqual(decision.outcomes, [{
    kind: 'refused',
    refusal: { kind: 'provisional', position: headOf(room).origin },
  }])
})

Deno.test('ROOM-1: before the genesis there is no room to say anything in', async () => {
  const { room } = await openedRoom()
  const submission = frame(room)
  deepStrictEqual(codes(decide(emptyRoom(room.id, room.term), [submission])), ['unknownRoom'])
})

// ---- When ----------------------------------------------------------------------------------

Deno.test('SEQ-2, SEQ-5: a commit is told which epoch it is of before anything else', async () => {
  const story = await openedRoom()
  const { room } = story
  const { submission } = await commit(story)
  const other = { ...submission, before: submission.after }
  const epochId = new Uint8Array(32)
  const decision = decide(room, [
    { ...other, epoch: 1n },
    { ...other, epochId },
    { ...submission, epochId },
    other,
    submission,
  ])
  deepStrictEqual(codes(decision), [
    'futureEpoch',
    'wrongEpochId',
    'wrongEpochId',
    'staleEpoch',
    'accepted',
  ])
})

Deno.test('VOTE-6: after a void, what had not seen it is made again', async () => {
  const story = await roomOfThree()
  const { room } = story
  const before = seenNow(room)
  const left = await leave(story, START_MS)
  strictEqual(left.voided.length, 1)
  const verdict = room.next - 1n
  const atMs = START_MS + 2 * LIMITS.verdictWaitMs
  const old = await commit(story, { atMs, over: { seen: before } })
  const lateFrame = frame(room, { seen: before })
  const decision = decide(room, [lateFrame, old.submission], { nowMs: atMs })
  deepStrictEqual(decision.outcomes, [
    { kind: 'refused', refusal: { kind: 'staleEpoch', epoch: headOf(room).epoch } },
    { kind: 'refused', refusal: { kind: 'badCommit', fault: 'staleSeen' } },
  ])
  strictEqual(seenNow(room).position, verdict)
  const now = await commit(story, { atMs })
  const again = decide(room, [frame(room), now.submission], { nowMs: atMs })
  deepStrictEqual(codes(again), ['accepted', 'accepted'])
})

Deno.test('LOG-5: nobody has seen the entry that is next', async () => {
  const { room } = await openedRoom()
  const hash = new Uint8Array(32).fill(5)
  const next = { position: room.next, hash, found: hash }
  deepStrictEqual(codes(decide(room, [frame(room, { seen: next })])), ['unknownEntry'])
  const known = { ...seenNow(room), found: hash }
  const claimed = { ...known, hash }
  const decision = decide(room, [
    frame(room, { seen: claimed }),
    frame(room, { seen: known }),
  ])
  deepStrictEqual(codes(decision), ['unknownEntry', 'accepted'], 'what is remembered comes first')
})

Deno.test('VOTE-8: two voids within an hour count until it is over', async () => {
  for (const [lessMs, last] of [[1, 'tooMany'], [0, 'accepted']] as const) {
    const story = await roomOfThree()
    await leave(story, START_MS)
    await leave(story, START_MS + LIMITS.voidsWindowMs - lessMs)
    const atMs = story.room.time + 1
    const { submission } = await commit(story, { atMs })
    deepStrictEqual(codes(decide(story.room, [submission], { nowMs: atMs })), [last])
  }
  const story = await roomOfThree()
  await leave(story, START_MS)
  const once = await commit(story, { atMs: story.room.time })
  deepStrictEqual(codes(decide(story.room, [once.submission], { nowMs: story.room.time })), [
    'accepted',
  ])
  await leave(story, story.room.time)
  for (const [beforeMs, code] of [[1, 'tooMany'], [0, 'accepted']] as const) {
    const atMs = story.room.time + LIMITS.voidsWindowMs - beforeMs
    const { submission } = await commit(story, { atMs })
    const decision = decide(story.room, [submission], { nowMs: atMs })
    deepStrictEqual(codes(decision), [code])
  }
})

Deno.test('VOTE-8: strikes are a device’s own, and are kept for two hours', async () => {
  const story = await roomOfThree()
  await leave(story, START_MS)
  const struckMs = story.room.time
  deepStrictEqual(story.room.strikes.map(({ account, timeMs }) => [account, timeMs]), [
    [ALICE.account, struckMs],
  ])
  for (const [afterMs, count] of [[0, 2], [1, 1]] as const) {
    const atMs = struckMs + 2 * LIMITS.voidsWindowMs - 1 - LIMITS.verdictWaitMs + afterMs
    const again = await commit(story, { by: BOB, atMs })
    const { room } = story
    const opened = decide(room, [again.submission], { nowMs: atMs })
    deepStrictEqual(codes(opened), ['accepted'])
    const copy = { ...room, generations: new Map(), memory: createChainMemory(room.next) }
    install(copy, opened)
    // Of another device it spares nothing, however high its commit stood.
    copy.strikes = copy.strikes.map((strike) => ({ ...strike, origin: logPosition(1_000n) }))
    const complaints = [ALICE, CAROL].map((who) => vote(copy, who, { choice: 'cannot' }))
    const decision = decide(copy, complaints, { nowMs: atMs + LIMITS.verdictWaitMs })
    strictEqual(decision.strikes.length, count)
    deepStrictEqual(decision.strikes.at(-1)?.account, BOB.account)
  }
})

// ---- How many ------------------------------------------------------------------------------

Deno.test('GROUP-4: an epoch holds 64 proposals', async () => {
  const story = await roomOfThree()
  const { room } = story
  const [final] = room.epochs
  const positions = Array.from({ length: LIMITS.proposalsPerEpochMax }, (_, at) => BigInt(at))
  const withProposals = (count: number) => {
    room.epochs = [{ ...headOf(room), proposals: positions.slice(0, count) as LogPosition[] }]
  }
  const byBob = await proposal(story, BOB)
  withProposals(LIMITS.proposalsPerEpochMax)
  deepStrictEqual(decide(room, [byBob]).outcomes, [{
    kind: 'refused',
    refusal: { kind: 'tooMany', retryAfterMs: LIMITS.verdictWaitMs },
  }])
  withProposals(LIMITS.proposalsPerEpochMax - 1)
  deepStrictEqual(codes(decide(room, [byBob])), ['accepted'])
  strictEqual(headOf(room).made, final?.made)
})

Deno.test('SEQ-4: the jump is counted from the last generation of the chain', async () => {
  const { room } = await openedRoom()
  const at = (generation: number) => frame(room, { generation })
  run(room, [at(10)])
  const last = 10 + LIMITS.generationJumpMax
  const decision = decide(room, [at(10), at(last + 1), at(last)])
  deepStrictEqual(decision.outcomes.slice(0, 2), [
    { kind: 'refused', refusal: { kind: 'replayed', generation: 10 } },
    { kind: 'refused', refusal: { kind: 'generationTooFar', generation: 10 } },
  ])
  deepStrictEqual(codes(decision), ['replayed', 'generationTooFar', 'accepted'])
  const none = decide(room, [frame(room, { lane: 1, generation: LIMITS.generationJumpMax })])
  deepStrictEqual(none.outcomes, [
    { kind: 'refused', refusal: { kind: 'generationTooFar', generation: 0 } },
  ])
})

// ---- What a decision leaves ----------------------------------------------------------------

Deno.test('GROUP-4, VOTE-5: a proposal in a provisional epoch leaves those below', async () => {
  const story = await roomOfThree()
  const { room } = story
  await pass(story)
  const below = room.epochs[0]
  const { made } = headOf(room)
  const decision = run(room, [await proposal(story, ALICE)])
  deepStrictEqual(codes(decision), ['accepted'])
  strictEqual(room.epochs.length, 2)
  strictEqual(room.epochs[0], below)
  strictEqual(headOf(room).made, made)
  strictEqual(headOf(room).proposals.length, 1)
  strictEqual(decision.state === null, false, 'the proposal is stored')
})

Deno.test('VOTE-2: an epoch is opened once', async () => {
  const story = await roomOfThree()
  const { room } = story
  const decision = await pass(story)
  deepStrictEqual(decision.opened.map(({ origin }) => origin), [headOf(room).origin])
  deepStrictEqual(run(room, [frame(room)]).opened, [])
})

Deno.test('LOG-5: a memory knows its own entries, each by its own hash', () => {
  const first = 60n
  const memory = createChainMemory(first)
  const hashOf = (position: bigint) =>
    new Uint8Array(32).map((_, at) => (Number(position) * 7 + at) % 256)
  const last = first + BigInt(LIMITS.hashesRememberedMax) + 130n
  for (let position = first; position <= last; position++) {
    memory.remember(position, hashOf(position))
  }
  strictEqual(memory.recall(last + 1n), null)
  strictEqual(memory.recall(first - 1n), null)
  strictEqual(memory.recall(first), null, 'forgotten')
  for (let back = 0n; back < BigInt(LIMITS.hashesRememberedMax) - 64n; back++) {
    deepStrictEqual(memory.recall(last - back), hashOf(last - back))
  }
  const fresh = createChainMemory(first)
  strictEqual(fresh.recall(first), null)
  fresh.remember(first, hashOf(first))
  strictEqual(fresh.recall(first - 1n), null, 'of the same chunk, and never told')
  deepStrictEqual([fresh.recall(first), fresh.recall(first + 1n)], [hashOf(first), null])
})

Deno.test('HUB-5: what is settled makes room, to the byte and to the frame', () => {
  const queue = createRoomQueue<string, string>()
  const half = LIMITS.roomQueueBytesMax / 2
  const offer = (size: number) => queue.offer('x', { size, barrier: false })
  deepStrictEqual([offer(half), offer(half + 1), offer(half), offer(1)], [true, false, true, false])
  queue.settle({ size: half, barrier: false })
  deepStrictEqual([queue.unsettledCount, offer(half + 1), offer(half)], [1, false, true])
  deepStrictEqual([offer(0), queue.unsettledCount], [true, 3])

  const many = createRoomQueue<number, number>()
  const offered = Array.from(
    { length: LIMITS.roomQueueFramesMax + 1 },
    (_, at) => many.offer(at, { size: 1, barrier: false }),
  )
  strictEqual(offered.filter((taken) => taken).length, LIMITS.roomQueueFramesMax)
  many.settle({ size: 1, barrier: false })
  strictEqual(many.offer(0, { size: 1, barrier: false }), true)
})

Deno.test('SEQ-1: what was checked keeps its order, and waits behind a barrier alone', () => {
  const queue = createRoomQueue<string, string>()
  const offer = (item: string, barrier = false) => queue.offer(item, { size: 1, barrier })
  deepStrictEqual(queue.startCheck(), [])
  offer('a')
  deepStrictEqual(queue.startCheck(), ['a'])
  offer('b')
  deepStrictEqual(queue.startCheck(), [], 'one check at a time')
  queue.finishCheck(['a'])
  deepStrictEqual(queue.startCheck(), ['b'], 'no barrier stands')
  queue.finishCheck(['b'])
  strictEqual(queue.checkedCount, 2)
  deepStrictEqual(queue.takeChecked(9), ['a', 'b'])
  strictEqual(queue.checkedCount, 0)
  offer('commit', true)
  offer('c')
  deepStrictEqual(queue.startCheck(), ['commit'], 'a barrier may come first')
  queue.finishCheck(['commit'])
  queue.settle({ size: 1, barrier: false })
  deepStrictEqual(queue.startCheck(), [], 'only its own end lifts a barrier')
  queue.settle({ size: 1, barrier: true })
  deepStrictEqual(queue.startCheck(), ['c'])
})
