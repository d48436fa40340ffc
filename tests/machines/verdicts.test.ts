/**
 * Provisional epochs in the sequencer: who may speak in them, what votes and time make of them, and
 * what a verdict does to Welcomes, generations and the stored group.
 */
import { deepStrictEqual, ok, strictEqual } from 'node:assert/strict'
import type { LogPosition } from '#core/base/ids.ts'
import { LIMITS } from '#core/base/limits.ts'
import { changedNodes, leafAt } from '#core/mls/ratchet-tree.ts'
import { decode } from '#core/wire/codec.ts'
import { verdictEntryCodec } from '#core/wire/log-entry.ts'
import type { Decision } from '#hub/sequencer/sequencer.ts'
import { restoreGroup, suiteOfHead } from '#hub/sequencer/group-view.ts'
import { decodeState } from '#hub/sequencer/room-state.ts'
import { ALICE, authorOf, BOB, CAROL, codes, commit, decide } from '../support/sequencer-parts.ts'
import { engine, frame, headOf, kinds, openedRoom, pass } from '../support/sequencer-parts.ts'
import { person, run, START_MS, type Story, SUITE, vote } from '../support/sequencer-parts.ts'

const DAVE = person('dave', 4)
const LATER_MS = START_MS + LIMITS.verdictWaitMs

/** Alice, Bob and Carol in a final epoch: genesis, commit, verdict. */
async function three(): Promise<Story> {
  const story = await openedRoom()
  const decision = await pass(story, { adds: [BOB, CAROL] })
  deepStrictEqual(kinds(decision), ['commit', 'verdict'])
  return story
}

function verdictsOf(decision: Decision) {
  return decision.entries.flatMap(({ entry }) => {
    if (entry.header.entry !== 'verdict' || entry.body.kind !== 'whole') return []
    const decoded = decode(verdictEntryCodec, entry.body.bytes)
    ok(decoded.kind === 'decoded')
    return [[decoded.value.verdict, Number(decoded.value.position)]]
  })
}

Deno.test('VOTE-3: a commit with nobody to vote is final at once, in the same batch', async () => {
  const story = await openedRoom()
  const decision = await pass(story, { adds: [BOB] })
  deepStrictEqual(verdictsOf(decision), [['final', 1]])
  strictEqual(decision.finality?.open.length, 0)
  deepStrictEqual(decision.opened, [])
  deepStrictEqual(decision.finals.map(({ view }) => view.origin), [1n])
  deepStrictEqual(decision.effects?.finals.map(({ position }) => position), [1n])
})

Deno.test('VOTE-5: in a provisional epoch its committer speaks, and who has agreed', async () => {
  const story = await three()
  const { room } = story
  const decision = await pass(story)
  deepStrictEqual(kinds(decision), ['commit'])
  const by = (author: typeof BOB, leaf: number, generation = 0) =>
    frame(room, { author: authorOf(author), leaf, generation })
  const waiting = run(room, [by(BOB, 1)])
  deepStrictEqual(waiting.outcomes, [{
    kind: 'refused',
    refusal: { kind: 'provisional', position: 3n as LogPosition },
  }])
  const riding = run(room, [by(ALICE, 0), vote(room, CAROL, { leaf: 2 }), by(CAROL, 2), by(BOB, 1)])
  deepStrictEqual(codes(riding), ['accepted', 'accepted', 'accepted', 'provisional'])
  const commitOfBob = await commit(story, { by: BOB })
  deepStrictEqual(codes(run(room, [commitOfBob.submission])), ['provisional'])
  const commitOfCarol = await commit(story, { by: CAROL })
  deepStrictEqual(codes(run(room, [commitOfCarol.submission])), ['accepted'])
})

Deno.test('VOTE-3: more than half of the asked make an epoch final at once', async () => {
  const story = await three()
  const { room } = story
  await pass(story)
  room.asks = [{ position: 3n as LogPosition, leaf: 1 }, { position: 3n as LogPosition, leaf: 2 }]
  const first = run(room, [vote(room, BOB)])
  deepStrictEqual(kinds(first), ['vote'])
  strictEqual(first.asksTaken, 2)
  deepStrictEqual(room.asks, [])
  const second = run(room, [vote(room, CAROL), frame(room, { author: authorOf(BOB), leaf: 1 })])
  deepStrictEqual(kinds(second), ['vote', 'verdict', 'frame'])
  deepStrictEqual(verdictsOf(second), [['final', 3]])
  strictEqual(room.epochs.length, 1)
})

Deno.test('VOTE-3: time alone makes a verdict due, which an empty batch writes', async () => {
  const story = await three()
  const { room } = story
  await pass(story)
  run(room, [vote(room, BOB)])
  deepStrictEqual(decide(room, [], { nowMs: LATER_MS - 1 }).entries, [])
  const decision = run(room, [], { nowMs: LATER_MS })
  deepStrictEqual(verdictsOf(decision), [['final', 3]])
  deepStrictEqual(decide(room, [], { nowMs: LATER_MS * 2 }).entries, [])
})

Deno.test('VOTE-2: a vote counts once, of one’s own leaf, in an open epoch', async () => {
  const story = await three()
  const { room } = story
  await pass(story)
  const faults = run(room, [
    vote(room, BOB),
    vote(room, BOB),
    { ...vote(room, CAROL), author: authorOf(BOB) },
    vote(room, ALICE),
    vote(room, CAROL, { position: 1n as LogPosition }),
    vote(room, CAROL, { position: 77n as LogPosition }),
  ]).outcomes.map((outcome) =>
    outcome.kind === 'refused' && 'fault' in outcome.refusal ? outcome.refusal.fault : outcome.kind
  )
  deepStrictEqual(faults, ['accepted', 'twice', 'wrongLeaf', 'wrongLeaf', 'settled', 'settled'])
})

Deno.test('VOTE-3, SEQ-4: a void brings the epoch below back, with its generations', async () => {
  const story = await three()
  const { room } = story
  const below = headOf(room)
  run(room, [frame(room, { generation: 4 })])
  await pass(story, { adds: [DAVE] })
  run(room, [frame(room, { generation: 7 }), vote(room, BOB, { choice: 'cannot' })])
  strictEqual(room.generations.size, 2)
  const void_ = run(room, [vote(room, CAROL, { choice: 'cannot' })], { nowMs: LATER_MS })
  deepStrictEqual(verdictsOf(void_), [['void', 4]])
  deepStrictEqual(void_.effects, { voidFrom: 4n, finals: [] })
  deepStrictEqual(void_.voided.map(({ origin }) => origin), [4n])
  strictEqual(headOf(room).made, below.made)
  const again = run(room, [frame(room, { generation: 4 }), frame(room, { generation: 5 })])
  deepStrictEqual(codes(again), ['replayed', 'accepted'])
  strictEqual(room.generations.size, 1)
})

Deno.test('VOTE-3: a void takes all above it, also what came in its own batch', async () => {
  const story = await openedRoom()
  const { room } = story
  await pass(story, { adds: [BOB, CAROL, DAVE] })
  const final = headOf(room)
  await pass(story)
  const lowest = headOf(room).origin
  run(room, [vote(room, BOB, { choice: 'cannot' }), vote(room, CAROL)])
  await pass(story)
  strictEqual(room.epochs.length, 3)
  // A tie on the lowest; in one batch comes a third epoch, and the vote that ends them all.
  const erin = person('erin', 5)
  const third = await commit(story, { adds: [erin], atMs: LATER_MS })
  const facts = {
    epoch: third.submission.after.context.epoch,
    epochId: third.submission.facts.epochId,
  }
  const decision = run(room, [
    third.submission,
    frame(room, facts),
    vote(room, DAVE, { position: lowest, choice: 'cannot' }),
    frame(room, facts),
  ], { nowMs: LATER_MS })
  deepStrictEqual(codes(decision), ['accepted', 'accepted', 'accepted', 'futureEpoch'])
  deepStrictEqual(kinds(decision), ['commit', 'frame', 'vote', 'verdict'])
  deepStrictEqual(verdictsOf(decision), [['void', Number(lowest)]])
  deepStrictEqual(decision.voided.map(({ origin }) => Number(origin)), [3, 6, 7])
  deepStrictEqual([decision.welcomes, decision.generations, decision.opened], [[], [], []])
  strictEqual(headOf(room).made, final.made)
  strictEqual(decision.strikes.length, 1)
})

Deno.test('ROOM-7: a Welcome is held while somebody may vote, and goes with a void', async () => {
  const story = await three()
  const { room } = story
  const held = await commit(story, { adds: [DAVE] })
  const withElectors = decide(room, [held.submission])
  deepStrictEqual(withElectors.welcomes.map((each) => [each.account, each.held]), [
    [DAVE.account, true],
  ])
  const alone = decide(room, [held.submission], { electors: false })
  deepStrictEqual(alone.welcomes.map((each) => each.held), [false])
  const due = decide(room, [held.submission], { nowMs: START_MS })
  deepStrictEqual(due.effects, null)
})

Deno.test('VOTE-8: two void commits end a device’s right for an hour', async () => {
  const story = await three()
  const { room } = story
  const voidOne = async (atMs: number) => {
    const groups = new Map(story.groups)
    await pass(story, { atMs })
    const complaints = [BOB, CAROL].map((who) => vote(room, who, { choice: 'cannot' }))
    const decision = run(room, complaints, { nowMs: atMs + LIMITS.verdictWaitMs })
    strictEqual(decision.voided.length, 1)
    for (const [who, group] of groups) story.groups.set(who, group)
  }
  await voidOne(START_MS)
  await voidOne(START_MS + 60_000)
  const last = START_MS + 60_000 + LIMITS.verdictWaitMs
  const third = await commit(story, { atMs: last + 1_000 })
  const refused = decide(room, [third.submission], { nowMs: last + 1_000 })
  deepStrictEqual(refused.outcomes, [{
    kind: 'refused',
    refusal: { kind: 'tooMany', retryAfterMs: LIMITS.voidsWindowMs - 1_000 },
  }])
  const other = await commit(story, { by: BOB, atMs: last + 1_000 })
  deepStrictEqual(codes(decide(room, [other.submission], { nowMs: last + 1_000 })), ['accepted'])
  const lateMs = last + LIMITS.voidsWindowMs
  const late = await commit(story, { atMs: lateMs })
  deepStrictEqual(codes(decide(room, [late.submission], { nowMs: lateMs })), ['accepted'])
})

Deno.test('VOTE-8: complaints of the upper of two commits first make no two of one', async () => {
  const story = await three()
  const { room } = story
  const groups = new Map(story.groups)
  await pass(story)
  const lower = headOf(room).origin
  await pass(story)
  const upper = headOf(room).origin
  const complain = (position: LogPosition, nowMs: number) =>
    run(room, [BOB, CAROL].map((who) => vote(room, who, { position, choice: 'cannot' })), { nowMs })
  deepStrictEqual(verdictsOf(complain(upper, LATER_MS)), [['void', Number(upper)]])
  deepStrictEqual(room.strikes.map(({ origin }) => origin), [upper])
  deepStrictEqual(verdictsOf(complain(lower, LATER_MS)), [['void', Number(lower)]])
  deepStrictEqual(room.strikes.map(({ origin }) => origin), [upper], 'of both one counts')
  for (const [who, group] of groups) story.groups.set(who, group)
  const third = await commit(story, { atMs: LATER_MS })
  deepStrictEqual(codes(run(room, [third.submission], { nowMs: LATER_MS })), ['accepted'])
  const { origin } = headOf(room)
  complain(origin, LATER_MS + LIMITS.verdictWaitMs)
  deepStrictEqual(room.strikes.map((strike) => strike.origin), [upper, origin], 'a later one does')
})

Deno.test('VOTE-8: whose right to commit has ended may come back to its own leaf', async () => {
  const story = await three()
  const { room } = story
  const { account, device } = authorOf(ALICE)
  const struck = [3n, 5n].map((origin) => ({
    account,
    device,
    origin: origin as LogPosition,
    timeMs: room.time,
  }))
  const { submission } = await commit(story)
  const old = leafAt(headOf(room).group.tree, 0)
  ok(old !== null)
  const change = { ...submission.change, external: true, removed: [{ leaf: 0, leafNode: old }] }
  const resync = { ...submission, change }
  const joining = { ...submission, change: { ...change, removed: [] } }
  const bars = { ...room, strikes: struck }
  deepStrictEqual(codes(decide(bars, [submission])), ['tooMany'])
  deepStrictEqual(codes(decide(bars, [joining])), ['tooMany'])
  const removal = await commit(story, { removes: [1] })
  deepStrictEqual(codes(decide(bars, [removal.submission])), ['tooMany'])
  deepStrictEqual(codes(decide(bars, [resync])), ['accepted'])
})

Deno.test('what becomes final is stored as a change of the version before', async () => {
  const story = await openedRoom()
  const { room } = story
  const genesisTree = headOf(room).made.tree
  const first = await pass(story, { adds: [BOB, CAROL] })
  const [version] = first.effects?.finals ?? []
  ok(version !== undefined)
  const changed = changedNodes(genesisTree, headOf(room).made.tree)
  deepStrictEqual(version.nodes, changed.nodes)
  strictEqual(version.leafWidth, 4)
  deepStrictEqual(version.certificates.map(({ hash }) => hash[0]).sort(), [2, 3])
  deepStrictEqual(version.certificatesDropped, [])
  strictEqual(suiteOfHead(version.head), SUITE)
  const whole = changedNodes(null, headOf(room).made.tree).nodes
    .flatMap(({ node, bytes }) => bytes === null ? [] : [{ node, bytes }])
  const restored = restoreGroup(engine, { ...version, nodes: whole })
  deepStrictEqual(restored?.context, headOf(room).made.context)
  const wrong = whole.filter(({ node }) => node !== 2)
  strictEqual(restoreGroup(engine, { ...version, nodes: wrong }), null)
  // Carol goes, and with her the certificate that only she named.
  await pass(story, { removes: [2] })
  const second = run(room, [vote(room, BOB)], { nowMs: LATER_MS })
  const [removal] = second.effects?.finals ?? []
  deepStrictEqual(removal?.certificatesDropped.map((hash) => hash[0]), [3])
  strictEqual(removal?.leafWidth, 2)
})

Deno.test('a certificate stays while one of an account’s devices names it', async () => {
  const story = await openedRoom()
  const { room } = story
  const phone = { ...person('bob', 2, 20) }
  await pass(story, { adds: [BOB, phone] })
  await pass(story, { removes: [1] })
  const decision = run(room, [vote(room, phone)], { nowMs: LATER_MS })
  const [version] = decision.effects?.finals ?? []
  deepStrictEqual(version?.certificatesDropped, [])
})

Deno.test('the state names what is open, with votes and those who were asked', async () => {
  const story = await three()
  const { room } = story
  await pass(story)
  room.asks = [{ position: 3n as LogPosition, leaf: 2 }]
  const { state } = run(room, [vote(room, BOB)])
  const read = decodeState(state as Uint8Array)
  deepStrictEqual(read?.finality, room.finality)
  deepStrictEqual(read?.finality.open[0]?.asked, [2])
  deepStrictEqual(read?.finality.open[0]?.votes.map(({ leaf }) => leaf), [1])
  strictEqual(run(room, [frame(room)]).state, null)
})
