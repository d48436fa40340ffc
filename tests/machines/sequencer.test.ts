/** Single steps of the sequencer: positions, epochs, generations, seen pairs, rosters. */
import { equalBytes } from '#core/base/bytes.ts'
import { deepStrictEqual, notStrictEqual } from 'node:assert/strict'
import { leafIndex, type LogPosition, type Term, type TimeMs } from '#core/base/ids.ts'
import { LIMITS } from '#core/base/limits.ts'
import { entryHash, FIRST_PREVIOUS_HASH } from '#core/wire/log-entry.ts'
import { decodeView, encodeView } from '#hub/sequencer/group-view.ts'
import { createRoomQueue } from '#hub/sequencer/room-queue.ts'
import { emptyRoom, install, restoreRoom, sequence } from '#hub/sequencer/sequencer.ts'
import {
  ALICE,
  authorOf,
  BOB,
  CAROL,
  codes,
  commit,
  epochIdAt,
  frame,
} from '../support/sequencer-parts.ts'
import { genesis, invitation, openedRoom, person, ROOM, run } from '../support/sequencer-parts.ts'
import { seenNow, sha256, START_MS, SUITE } from '../support/sequencer-parts.ts'

Deno.test('SEQ-1, LOG-1: positions have no gap and every entry chains to the one before', () => {
  const room = emptyRoom(ROOM, 1n as Term)
  const first = run(room, [genesis(), frame(room)])
  deepStrictEqual(codes(first), ['accepted', 'unknownEntry'])
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

Deno.test('HUB-3: a decision changes nothing until it is installed', () => {
  const room = openedRoom()
  const before = { next: room.next, headHash: room.headHash, view: room.view }
  const batch = [frame(room), commit(room, { adds: [BOB] })]
  const context = { nowMs: START_MS, sha256 }
  const once = sequence(room, batch, context)
  deepStrictEqual(sequence(room, batch, context), once)
  deepStrictEqual({ next: room.next, headHash: room.headHash, view: room.view }, before)
  deepStrictEqual(room.generations.size, 0)
  install(room, once)
  deepStrictEqual(room.next, 3n)
  deepStrictEqual(room.view?.epoch, 1n as never)
})

Deno.test('LOG-4: hub time never decreases within a room', () => {
  const room = openedRoom()
  const later = run(room, [frame(room)], START_MS + 50)
  const earlier = run(room, [frame(room, { generation: 1 })], START_MS - 5_000)
  deepStrictEqual(later.entries[0]?.entry.header.time, BigInt(START_MS + 50))
  deepStrictEqual(earlier.entries[0]?.entry.header.time, BigInt(START_MS + 50))
})

Deno.test('ROOM-1: the same genesis again finds its room and is not stored twice', () => {
  const room = openedRoom()
  const again = run(room, [genesis(), { ...genesis(), author: authorOf(BOB), creator: BOB }])
  deepStrictEqual(codes(again), ['roomExists', 'roomExists'])
  deepStrictEqual(again.entries, [])
})

Deno.test('SEQ-2: stale and future epochs are told apart, another epoch id is refused', () => {
  const room = openedRoom()
  run(room, [commit(room)])
  const at = (epoch: bigint) => frame(room, { epoch, epochId: epochIdAt(epoch) })
  const foreign = frame(room, { epochId: epochIdAt(5n) })
  const decision = run(room, [at(0n), at(2n), foreign, at(1n)])
  deepStrictEqual(codes(decision), ['staleEpoch', 'futureEpoch', 'wrongEpochId', 'accepted'])
  deepStrictEqual(decision.verdicts[0], {
    kind: 'refused',
    refusal: { kind: 'staleEpoch', epoch: 1n },
  })
})

Deno.test('SEQ-5, ROOM-4: one commit for each epoch, and frames behind it are stale', () => {
  const room = openedRoom()
  const first = commit(room, { adds: [BOB] })
  const second = commit(room, { adds: [CAROL] })
  const decision = run(room, [first, second, frame(room)])
  deepStrictEqual(codes(decision), ['accepted', 'staleEpoch', 'staleEpoch'])
  deepStrictEqual(room.view?.leaves.size, 2)
})

Deno.test('SEQ-4: a generation is above the last one and at most 1,024 above', () => {
  const room = openedRoom()
  const at = (generation: number, lane = 0) => frame(room, { generation, lane })
  const first = run(room, [at(LIMITS.generationJumpMax), at(LIMITS.generationJumpMax - 1)])
  deepStrictEqual(codes(first), ['generationTooFar', 'accepted'])
  const last = LIMITS.generationJumpMax - 1
  const second = run(room, [at(last), at(3), at(last + 1), at(last + 1), at(0, 1)])
  deepStrictEqual(codes(second), ['replayed', 'replayed', 'accepted', 'replayed', 'accepted'])
  deepStrictEqual(second.verdicts[1], {
    kind: 'refused',
    refusal: { kind: 'replayed', generation: last },
  })
  deepStrictEqual(second.generations, [
    { epoch: 0n, leaf: 0, lane: 0, generation: last + 1 },
    { epoch: 0n, leaf: 0, lane: 1, generation: 0 },
  ])
})

Deno.test('SEQ-4, KEY-5: generations begin anew with an epoch, not with a restart', () => {
  const room = openedRoom()
  run(room, [frame(room, { generation: 9 })])
  run(room, [commit(room)])
  const decision = run(room, [frame(room, { generation: 0 })])
  deepStrictEqual(codes(decision), ['accepted'])
  const view = decodeView(encodeView(room.view as NonNullable<typeof room.view>))
  const restored = restoreRoom(ROOM, 1n as Term, {
    view: view as NonNullable<typeof view>,
    next: room.next as LogPosition,
    headHash: room.headHash,
    time: room.time,
    generations: [{ epoch: 0n, leaf: 0, lane: 0, generation: 9 }, ...decision.generations],
  })
  deepStrictEqual(codes(run(restored, [frame(restored), frame(restored, { generation: 1 })])), [
    'replayed',
    'accepted',
  ])
})

Deno.test('LOG-5: the seen pair must stand in the chain of this room', () => {
  const room = openedRoom()
  run(room, [0, 1].map((generation) => frame(room, { generation })))
  const { position, hash } = seenNow(room)
  const seen = (over: object) =>
    frame(room, { generation: 5, seen: { position, hash, found: null, ...over } })
  const other = new Uint8Array(32).fill(1)
  const ahead = run(room, [seen({ position: position + 1n }), seen({ hash: other }), seen({})])
  deepStrictEqual(codes(ahead), ['unknownEntry', 'unknownEntry', 'accepted'])
})

Deno.test('LOG-5: a pair that is no longer remembered counts by what the log says', () => {
  const opened = openedRoom()
  const old = seenNow(opened)
  run(opened, [frame(opened)])
  const view = opened.view as NonNullable<typeof opened.view>
  const room = restoreRoom(ROOM, 1n as Term, {
    view,
    next: opened.next as LogPosition,
    headHash: opened.headHash,
    time: opened.time,
    generations: [],
  })
  const found = { ...old, found: old.hash }
  const foreign = { ...old, found: new Uint8Array(32) }
  const decision = run(room, [old, foreign, found].map((seen) => frame(room, { seen })))
  deepStrictEqual(codes(decision), ['unknownEntry', 'unknownEntry', 'accepted'])
})

Deno.test('LOG-5: 8,192 hashes are remembered, older ones are forgotten', () => {
  const room = openedRoom()
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

Deno.test('SEQ-3: a device speaks from its own leaf only, and a frame must be signed', () => {
  const room = openedRoom()
  run(room, [commit(room, { adds: [BOB] })])
  const decision = run(room, [
    frame(room, { leaf: 1 }),
    frame(room, { leaf: 7 }),
    frame(room, { author: authorOf(CAROL) }),
    frame(room, { signed: false }),
    frame(room, { suite: SUITE + 1 }),
    frame(room, { author: authorOf(BOB), leaf: 1 }),
  ])
  deepStrictEqual(codes(decision), [
    'wrongLeaf',
    'wrongLeaf',
    'wrongLeaf',
    'wrongSignature',
    'unknownSuite',
    'accepted',
  ])
})

Deno.test('SEQ-5: removes blank leaves, then adds take the leftmost blank', () => {
  const room = openedRoom()
  run(room, [commit(room, { adds: [BOB, CAROL] })])
  const dave = person('dave', 4)
  const erin = person('erin', 5)
  const decision = run(room, [
    commit(room, { removes: [leafIndex(1)], adds: [dave, erin], welcome: Uint8Array.of(6) }),
  ])
  deepStrictEqual(decision.removed.map(({ account }) => account), [BOB.account])
  deepStrictEqual(decision.added.map(({ account, leaf }) => [account, leaf]), [
    [dave.account, leafIndex(1)],
    [erin.account, leafIndex(3)],
  ])
  deepStrictEqual(decision.welcomes.map(({ account, position }) => [account, position]), [
    [dave.account, 2n as LogPosition],
    [erin.account, 2n as LogPosition],
  ])
  deepStrictEqual(codes(run(room, [frame(room, { author: authorOf(BOB), leaf: 1 })])), [
    'wrongLeaf',
  ])
})

Deno.test('SEQ-5: a commit that contradicts the roster is refused and changes nothing', () => {
  const room = openedRoom()
  run(room, [commit(room, { adds: [BOB] })])
  const otherRoot = { ...person('bob', 2, 9), rootHash: new Uint8Array(32).fill(99) }
  const behind = { ...person('bob', 2, 9), manifestVersion: 0 }
  const refusals = [
    commit(room, { sender: leafIndex(1) }),
    commit(room, { removes: [leafIndex(0)] }),
    commit(room, { removes: [leafIndex(5)] }),
    commit(room, { adds: [BOB] }),
    commit(room, { adds: [CAROL, CAROL] }),
    commit(room, { adds: [otherRoot] }),
    commit(room, { adds: [behind] }),
    commit(room, { senderLeaf: BOB }),
    commit(room, { seen: { position: 0n, hash: new Uint8Array(32), found: null } }),
  ]
  const decision = run(room, refusals)
  deepStrictEqual(codes(decision), [
    'wrongLeaf',
    'notAllowed',
    'wrongLeaf',
    'alreadyMember',
    'alreadyMember',
    'badCertificate',
    'badCertificate',
    'wrongLeaf',
    'unknownEntry',
  ])
  deepStrictEqual(decision.entries, [])
  deepStrictEqual(room.view?.epoch, 1n as never)
})

Deno.test('SEQ-5: a path may bring a new key for the same device', () => {
  const room = openedRoom()
  const renewed = { ...ALICE, signatureKey: new Uint8Array(32).fill(77) }
  run(room, [commit(room, { senderLeaf: renewed })])
  deepStrictEqual(room.view?.leaves.get(0)?.signatureKey, renewed.signatureKey)
})

Deno.test('ROOM-8: invitations are listed once, counted, and go with their maker', () => {
  const room = openedRoom()
  run(room, [commit(room, { adds: [BOB] })])
  const byBob = invitation(room, { author: authorOf(BOB), leaf: 1 })
  const wrong = [{ leaf: 0 }, { signed: false }, { epochId: epochIdAt(0n) }]
    .map((over) => ({ ...byBob, ...over }))
  const listed = run(room, [...wrong, byBob])
  deepStrictEqual(codes(listed), ['wrongLeaf', 'wrongSignature', 'wrongEpochId', 'accepted'])
  const { id } = byBob.invitation
  run(room, [commit(room, { adds: [CAROL], uses: [id] })])
  run(room, [{ ...byBob, epochId: epochIdAt(2n) }])
  deepStrictEqual(
    [...room.view?.invitations.values() ?? []].map(({ uses, inviter }) => [uses, inviter]),
    [
      [1, BOB.account],
    ],
  )
  run(room, [commit(room, { removes: [leafIndex(1)] })])
  deepStrictEqual(room.view?.invitations.size, 0)
})

Deno.test('ROOM-8: a room holds a bounded number of invitations, expired ones go', () => {
  const room = openedRoom()
  const many = Array.from({ length: LIMITS.invitationsPerRoomMax + 1 }, (_, i) => {
    const base = invitation(room)
    const id = new Uint8Array(32).fill(i & 255)
    id[0] = i >> 8
    return { ...base, invitation: { ...base.invitation, id } }
  })
  const decision = run(room, many)
  deepStrictEqual(codes(decision).filter((code) => code !== 'accepted'), ['tooMany'])
  deepStrictEqual(codes(run(room, [invitation(room)], START_MS + 2_000)), ['accepted'])
  deepStrictEqual(room.view?.invitations.size, 1)
})

Deno.test('the stored view is the view, and foreign bytes are not', () => {
  const room = openedRoom()
  run(room, [commit(room, { adds: [BOB, CAROL] })])
  run(room, [invitation(room)])
  const view = room.view as NonNullable<typeof room.view>
  deepStrictEqual(decodeView(encodeView(view)), view)
  deepStrictEqual(decodeView(encodeView(view).subarray(1)), null)
  deepStrictEqual(decodeView(new Uint8Array(0)), null)
})

Deno.test('a batch does not mutate what it is given', () => {
  const room = openedRoom()
  const batch = [frame(room), commit(room, { adds: [BOB] })]
  const copy = structuredClone(batch)
  sequence(room, batch, { nowMs: START_MS as TimeMs, sha256 })
  deepStrictEqual(batch, copy)
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
