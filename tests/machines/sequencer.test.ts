/** Single steps of the sequencer: positions, epochs, generations, seen pairs, queues. */
import { deepStrictEqual, notStrictEqual, strictEqual } from 'node:assert/strict'
import { equalBytes } from '#core/base/bytes.ts'
import { type LogPosition, logPosition, type Term } from '#core/base/ids.ts'
import { LIMITS } from '#core/base/limits.ts'
import { entryHash, FIRST_PREVIOUS_HASH } from '#core/wire/log-entry.ts'
import { createRoomQueue } from '#hub/sequencer/room-queue.ts'
import { decodeState, emptyRoom, restoreRoom } from '#hub/sequencer/room-state.ts'
import type { SequencedRoom } from '#hub/sequencer/room-state.ts'
import { install } from '#hub/sequencer/sequencer.ts'
import { ALICE, authorOf, BOB, CAROL, codes, commit, decide } from '../support/sequencer-parts.ts'
import { frame, genesis, headOf, kinds, openedRoom, pass } from '../support/sequencer-parts.ts'
import { proposal, ROOM, run, seenNow, sha256, START_MS } from '../support/sequencer-parts.ts'
import { SUITE } from '../support/sequencer-parts.ts'

Deno.test('SEQ-1, LOG-1: positions have no gap, each entry chains to the last', async () => {
  const room = emptyRoom(ROOM, 1n as Term)
  const { submission } = await genesis()
  const first = run(room, [submission, frame(room)])
  deepStrictEqual(codes(first), ['accepted', 'wrongEpochId'])
  const second = run(room, [0, 1, 2].map((generation) => frame(room, { generation })))
  deepStrictEqual(codes(second), ['accepted', 'accepted', 'accepted'])
  let previous: Uint8Array = FIRST_PREVIOUS_HASH
  for (const [index, stored] of [...first.entries, ...second.entries].entries()) {
    deepStrictEqual(stored.position, BigInt(index) as LogPosition)
    const place = { room: ROOM, position: stored.position, previous }
    deepStrictEqual(stored.entryHash, entryHash(sha256, place, stored.entry))
    previous = stored.entryHash
  }
  deepStrictEqual(room.next, 4n)
  deepStrictEqual(room.headHash, previous)
})

Deno.test('HUB-3: a decision changes nothing until it is installed', async () => {
  const story = await openedRoom()
  const { room } = story
  const { submission } = await commit(story, { adds: [BOB] })
  const state = () => ({ ...room, memory: null, generations: [...room.generations] })
  const before = state()
  const batch = [frame(room), submission]
  const once = decide(room, batch)
  deepStrictEqual(decide(room, batch), once)
  deepStrictEqual(state(), before)
  install(room, once)
  deepStrictEqual(room.next, 4n)
  deepStrictEqual(headOf(room).epoch, 1n as never)
})

Deno.test('LOG-4: hub time never decreases within a room', async () => {
  const { room } = await openedRoom()
  const later = run(room, [frame(room)], { nowMs: START_MS + 50 })
  const earlier = run(room, [frame(room, { generation: 1 })], { nowMs: START_MS - 5_000 })
  deepStrictEqual(later.entries[0]?.entry.header.time, BigInt(START_MS + 50))
  deepStrictEqual(earlier.entries[0]?.entry.header.time, BigInt(START_MS + 50))
})

Deno.test('ROOM-1: the same genesis again finds its room and is not stored twice', async () => {
  const { room } = await openedRoom()
  const again = run(room, [(await genesis()).submission, (await genesis(BOB)).submission])
  deepStrictEqual(codes(again), ['roomExists', 'roomExists'])
  deepStrictEqual(again.entries, [])
})

Deno.test('SEQ-2: stale and future epochs are told apart, as are epochIds', async () => {
  const story = await openedRoom()
  const { room } = story
  const old = headOf(room).epochId
  await pass(story)
  const decision = run(room, [
    frame(room, { epoch: 0n, epochId: old }),
    frame(room, { epoch: 2n }),
    frame(room, { epochId: old }),
    frame(room),
  ])
  deepStrictEqual(codes(decision), ['staleEpoch', 'futureEpoch', 'wrongEpochId', 'accepted'])
  deepStrictEqual(decision.outcomes[0], {
    kind: 'refused',
    refusal: { kind: 'staleEpoch', epoch: 1n },
  })
})

Deno.test('SEQ-5, ROOM-4: one commit for each epoch, and frames behind it are stale', async () => {
  const story = await openedRoom()
  const { room } = story
  const first = await commit(story, { adds: [BOB] })
  const second = await commit(story, { adds: [CAROL] })
  const decision = run(room, [first.submission, second.submission, frame(room)])
  deepStrictEqual(codes(decision), ['accepted', 'staleEpoch', 'staleEpoch'])
  strictEqual(headOf(room).made.tree.memberCount, 2)
})

Deno.test('SEQ-5: a commit judged against another state or time is refused', async () => {
  const story = await openedRoom()
  const { room } = story
  await pass(story, { adds: [BOB] })
  const behind = await commit(story)
  run(room, [await proposal(story, BOB)])
  // The proposal came in between: the same epoch, and not the state that was judged.
  deepStrictEqual(codes(run(room, [behind.submission])), ['staleEpoch'])
  const late = await commit(story)
  const decision = run(room, [late.submission], { nowMs: START_MS + 1 })
  deepStrictEqual(decision.outcomes, [{
    kind: 'refused',
    refusal: { kind: 'unavailable', retryAfterMs: 0 },
  }])
  deepStrictEqual(codes(run(room, [(await commit(story, { atMs: START_MS })).submission])), [
    'accepted',
  ])
})

Deno.test('SEQ-4: a generation is above the last one and at most 1,024 above', async () => {
  const { room } = await openedRoom()
  const at = (generation: number, lane = 0) => frame(room, { generation, lane })
  const first = run(room, [at(LIMITS.generationJumpMax), at(LIMITS.generationJumpMax - 1)])
  deepStrictEqual(codes(first), ['generationTooFar', 'accepted'])
  const last = LIMITS.generationJumpMax - 1
  const second = run(room, [at(last), at(3), at(last + 1), at(last + 1), at(0, 1)])
  deepStrictEqual(codes(second), ['replayed', 'replayed', 'accepted', 'replayed', 'accepted'])
  deepStrictEqual(second.outcomes[1], {
    kind: 'refused',
    refusal: { kind: 'replayed', generation: last },
  })
  deepStrictEqual(second.generations, [
    { origin: logPosition(0n), leaf: 0, lane: 0, generation: last + 1 },
    { origin: logPosition(0n), leaf: 0, lane: 1, generation: 0 },
  ])
})

Deno.test('SEQ-4: behind the last generation there is no other', async () => {
  const { room } = await openedRoom()
  const at = (generation: number) => frame(room, { generation })
  run(room, [at(0)])
  for (const chains of room.generations.values()) {
    for (const chain of chains.keys()) chains.set(chain, LIMITS.generationMax - 1)
  }
  const decision = run(room, [at(LIMITS.generationMax + 1), at(LIMITS.generationMax)])
  deepStrictEqual(codes(decision), ['generationTooFar', 'accepted'])
})

Deno.test('SEQ-7: a frame stands behind the one that its sender wrote before', async () => {
  const { room } = await openedRoom()
  const at = (generation: number, after: number | null) => frame(room, { generation, after })
  const first = run(room, [at(1, 0), at(0, null), at(1, 0), at(3, 2), at(1, 0)])
  deepStrictEqual(codes(first), ['unavailable', 'accepted', 'accepted', 'unavailable', 'replayed'])
  deepStrictEqual(first.outcomes[0], {
    kind: 'refused',
    refusal: { kind: 'unavailable', retryAfterMs: 0 },
  })
  deepStrictEqual(codes(run(room, [at(2, 1), at(3, 2), at(9, 3)])), [
    'accepted',
    'accepted',
    'accepted',
  ])
})

/** The room as it would be after a restart: from what a store was given. */
function restored(room: SequencedRoom, state: Uint8Array, generations: [number, number][]) {
  const read = decodeState(state)
  if (read === null) throw new Error('a stored state can be read')
  return restoreRoom(ROOM, 1n as Term, {
    epochs: room.epochs,
    state: read,
    next: room.next as LogPosition,
    headHash: room.headHash,
    time: room.time,
    generations: generations.map(([origin, generation]) => ({
      origin: logPosition(BigInt(origin)),
      leaf: 0,
      lane: 0,
      generation,
    })),
  })
}

Deno.test('SEQ-4, KEY-5: generations begin anew with an epoch, not with a restart', async () => {
  const story = await openedRoom()
  const { room } = story
  run(room, [frame(room, { generation: 9 })])
  const passed = await pass(story)
  deepStrictEqual(codes(run(room, [frame(room, { generation: 0 })])), ['accepted'])
  const back = restored(room, passed.state as Uint8Array, [[0, 9], [2, 0]])
  deepStrictEqual(codes(run(back, [frame(back), frame(back, { generation: 1 })])), [
    'replayed',
    'accepted',
  ])
})

Deno.test('LOG-5: the seen pair must stand in the chain of this room', async () => {
  const { room } = await openedRoom()
  run(room, [0, 1].map((generation) => frame(room, { generation })))
  const { position, hash } = seenNow(room)
  const seen = (over: object) =>
    frame(room, { generation: 5, seen: { position, hash, found: null, ...over } })
  const other = new Uint8Array(32).fill(1)
  const ahead = run(room, [seen({ position: position + 1n }), seen({ hash: other }), seen({})])
  deepStrictEqual(codes(ahead), ['unknownEntry', 'unknownEntry', 'accepted'])
})

Deno.test('LOG-5: a pair that is no longer remembered counts by what the log says', async () => {
  const story = await openedRoom()
  const opened = story.room
  const old = seenNow(opened)
  const { state } = await pass(story)
  const room = restored(opened, state as Uint8Array, [])
  const found = { ...old, found: old.hash }
  const foreign = { ...old, found: new Uint8Array(32) }
  const decision = run(room, [old, foreign, found].map((seen) => frame(room, { seen })))
  deepStrictEqual(codes(decision), ['unknownEntry', 'unknownEntry', 'accepted'])
})

Deno.test('LOG-5: 8,192 hashes are remembered, older ones are forgotten', async () => {
  const { room } = await openedRoom()
  const first = seenNow(room)
  for (let turn = 0; turn < 9; turn++) {
    run(
      room,
      Array.from({ length: 1_024 }, (_, i) => frame(room, { generation: turn * 1_024 + i })),
    )
  }
  deepStrictEqual(room.memory.recall(first.position), null)
  const oldest = room.next - BigInt(LIMITS.hashesRememberedMax) + 64n
  notStrictEqual(room.memory.recall(oldest), null)
  deepStrictEqual(equalBytes(room.memory.recall(room.next - 1n) as Uint8Array, room.headHash), true)
})

Deno.test('SEQ-3: a device speaks from its own leaf only, and a frame must be signed', async () => {
  const story = await openedRoom()
  const { room } = story
  await pass(story, { adds: [BOB] })
  const decision = run(room, [
    frame(room, { leaf: 1 }),
    frame(room, { leaf: 7 }),
    frame(room, { author: authorOf(CAROL) }),
    frame(room, { signature: 'wrong' }),
    frame(room, { signature: 'unchecked' }),
    frame(room, { suite: SUITE + 1 }),
    frame(room, { author: authorOf(BOB), leaf: 1 }),
  ])
  deepStrictEqual(codes(decision), [
    'wrongLeaf',
    'wrongLeaf',
    'wrongLeaf',
    'wrongSignature',
    'staleEpoch',
    'unknownSuite',
    'accepted',
  ])
})

Deno.test('SEQ-3: a commit and a proposal come from the leaf of their own device', async () => {
  const story = await openedRoom()
  const { room } = story
  await pass(story, { adds: [BOB] })
  const foreign = await commit(story, { over: { author: authorOf(BOB) } })
  const unseen = { position: 0n, hash: new Uint8Array(32), found: null }
  const blind = await commit(story, { over: { seen: unseen } })
  const byBob = await proposal(story, BOB)
  const decision = run(room, [
    foreign.submission,
    blind.submission,
    { ...byBob, author: authorOf(ALICE) },
    byBob,
  ])
  deepStrictEqual(codes(decision), ['wrongLeaf', 'unknownEntry', 'wrongLeaf', 'accepted'])
  deepStrictEqual(kinds(decision), ['proposal'])
  strictEqual(headOf(room).epoch, 1n)
})

Deno.test('SEQ-5: removes blank leaves, adds take the leftmost, with Welcomes', async () => {
  const story = await openedRoom()
  const { room } = story
  await pass(story, { adds: [BOB, CAROL] })
  run(room, [], { nowMs: START_MS })
  const made = await commit(story, { removes: [1], adds: [BOB] })
  const decision = run(room, [made.submission])
  deepStrictEqual(decision.welcomes.map(({ account, position }) => [account, position]), [
    [BOB.account, 3n as LogPosition],
  ])
  deepStrictEqual(made.submission.change.removed.map(({ leaf }) => leaf), [1])
  deepStrictEqual(made.submission.change.added.map(({ leaf }) => leaf), [1])
})

Deno.test('GROUP-4: a commit takes in what was proposed in its epoch', async () => {
  const story = await openedRoom()
  const { room } = story
  await pass(story, { adds: [BOB] })
  const key = headOf(room).made.tree
  run(room, [await proposal(story, BOB)])
  deepStrictEqual(headOf(room).proposals, [3n])
  const decision = await pass(story)
  strictEqual(decision.opened.length, 1)
  notStrictEqual(headOf(room).made.tree, key)
  deepStrictEqual(headOf(room).proposals, [])
  const updated = story.groups.get(BOB)?.public.context.epoch
  strictEqual(updated, 2n)
})

Deno.test('a batch does not mutate what it is given', async () => {
  const story = await openedRoom()
  const batch = [frame(story.room), frame(story.room, { generation: 1 })]
  const copy = structuredClone(batch)
  decide(story.room, batch)
  deepStrictEqual(batch, copy)
})

Deno.test('the stored state is the state, and foreign bytes are not', async () => {
  const story = await openedRoom()
  const { state, finality, strikes } = await pass(story, { adds: [BOB] })
  const stored = state as Uint8Array
  deepStrictEqual(decodeState(stored), { finality, strikes, proposals: [] })
  deepStrictEqual(decodeState(stored.subarray(1)), null)
  deepStrictEqual(decodeState(new Uint8Array(0)), null)
})

Deno.test('HUB-5: a queue is bounded, and a barrier holds back what comes behind it', () => {
  const queue = createRoomQueue<string, string>()
  const offer = (item: string, barrier = false) => queue.offer(item, { size: 10, barrier })
  offer('a')
  offer('commit', true)
  offer('b')
  deepStrictEqual(queue.startCheck(), ['a', 'commit'])
  deepStrictEqual(queue.startCheck(), [])
  queue.finishCheck(['a', 'commit'])
  deepStrictEqual(queue.startCheck(), [])
  deepStrictEqual(queue.takeChecked(1), ['a'])
  deepStrictEqual(queue.takeChecked(5), ['commit'])
  queue.settle({ size: 10, barrier: false })
  queue.settle({ size: 10, barrier: true })
  deepStrictEqual(queue.startCheck(), ['b'])
  queue.finishCheck([])
  queue.settle({ size: 10, barrier: false })
  deepStrictEqual(queue.unsettledCount, 0)
  for (let i = 0; i < LIMITS.roomQueueFramesMax; i++) offer('x')
  deepStrictEqual(offer('x'), false)
  const bytes = createRoomQueue<string, string>()
  deepStrictEqual(bytes.offer('x', { size: LIMITS.roomQueueBytesMax, barrier: false }), true)
  deepStrictEqual(bytes.offer('x', { size: 1, barrier: false }), false)
})
