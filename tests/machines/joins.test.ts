/** Single steps of the requests to join one room: who is asked, when, and how each ends. */
import { deepStrictEqual, strictEqual } from 'node:assert/strict'
import type { DeviceId, LogPosition, RequestId, TimeMs } from '#core/base/ids.ts'
import { LIMITS } from '#core/base/limits.ts'
import { DECLINE_REASONS } from '#core/wire/bodies.ts'
import { type JoinContext, type JoinInput, type Joins } from '#hub/gateway/joins.ts'
import { type JoinStep, type JoinWish, stepJoins, usesOf } from '#hub/gateway/joins.ts'
import { ALICE, BOB, CAROL, person } from '../support/sequencer-parts.ts'

const START = 1_700_000_000_000
const dave = person('dave', 4)
const alicePhone = person('alice', 1, 9)
const candidate = (leaf: number, { account, device }: typeof ALICE) => ({ leaf, account, device })
const EVERYBODY = [candidate(1, BOB), candidate(3, alicePhone), candidate(0, ALICE)]

function wish(over: Partial<JoinWish> = {}): JoinWish {
  return {
    id: 'one',
    bytes: Uint8Array.of(1),
    account: dave.account,
    device: dave.device,
    invitation: new Uint8Array(32).fill(8),
    inviter: ALICE.account,
    inviterDevice: ALICE.device,
    expiresAt: START + 3_600_000 as TimeMs,
    joiner: { session: 4, request: 11 as RequestId },
    ...over,
  }
}

const context = (afterMs: number, candidates: JoinContext['candidates'] = EVERYBODY) => ({
  nowMs: START + afterMs as TimeMs,
  candidates,
})
const step = (joins: Joins, input: JoinInput, afterMs = 0, candidates = EVERYBODY): JoinStep =>
  stepJoins(joins, input, context(afterMs, candidates))
const looked: JoinInput = { kind: 'looked' }
const requested: JoinInput = { kind: 'requested', wish: wish() }
const asked = ({ effects }: JoinStep) =>
  effects.flatMap((effect) => effect.kind === 'ask' ? [effect.leaf] : [])

Deno.test('ROOM-9: one member at a time is asked: inviter, its account, then others', () => {
  let current = step([], requested)
  const order = [...asked(current)]
  for (let round = 1; round <= 3; round++) {
    strictEqual(asked(step(current.joins, looked, round * LIMITS.joinAskMs - 1)).length, 0)
    current = step(current.joins, looked, round * LIMITS.joinAskMs)
    order.push(...asked(current))
  }
  deepStrictEqual(order, [0, 3, 1, 0])
})

Deno.test('ROOM-9: with nobody there a request waits and is offered to the first who comes', () => {
  const waiting = step([], requested, 0, [])
  deepStrictEqual(waiting.effects, [])
  deepStrictEqual(asked(step(waiting.joins, looked, 50, [candidate(1, BOB)])), [1])
})

Deno.test('ROOM-9: when the asked member goes, the next one is asked at once', () => {
  const first = step([], requested)
  const second = step(first.joins, looked, 10, EVERYBODY.slice(0, 2))
  deepStrictEqual(asked(second), [3])
})

Deno.test('ROOM-9: a decline is the answer if the asked member gave it', () => {
  const { joins } = step([], requested)
  const decline = (leaf: number): JoinInput => ({ kind: 'declined', id: 'one', leaf, reason: 2 })
  deepStrictEqual(step(joins, decline(1), 1).effects, [])
  const answered = step(joins, decline(0), 1)
  deepStrictEqual(answered, {
    joins: [],
    effects: [{ kind: 'refuse', joiner: wish().joiner, refusal: { kind: 'declined', reason: 2 } }],
  })
})

Deno.test('ROOM-9: a member that cannot just now passes it on, and is asked again later', () => {
  const notNow = (leaf: number): JoinInput => ({
    kind: 'declined',
    id: 'one',
    leaf,
    reason: DECLINE_REASONS.notNow,
  })
  const two = EVERYBODY.slice(1)
  const first = step([], requested, 0, two)
  const second = step(first.joins, notNow(0), 5, two)
  deepStrictEqual(asked(second), [3])
  const third = step(second.joins, notNow(3), 6, two)
  deepStrictEqual(third.effects, [])
  deepStrictEqual(asked(step(third.joins, looked, 7, two)), [])
  deepStrictEqual(asked(step(third.joins, looked, 5 + LIMITS.joinAskMs, two)), [0])
})

Deno.test('ROOM-9: a commit answers every request whose device it adds, and counts its use', () => {
  const carols = wish({ id: 'two', account: CAROL.account, device: CAROL.device })
  const other = wish({ id: 'three', account: BOB.account, device: new Uint8Array(16) as DeviceId })
  let { joins } = step([], requested)
  for (const next of [carols, other]) joins = step(joins, { kind: 'requested', wish: next }).joins
  const added = [dave, CAROL]
  strictEqual(usesOf(joins, added).length, 2)
  const committed = step(joins, { kind: 'committed', added, position: 9n as LogPosition }, 1)
  deepStrictEqual(committed.joins.map(({ id }) => id), ['three'])
  deepStrictEqual(committed.effects.map(({ kind }) => kind), ['accept', 'accept'])
})

Deno.test('ROOM-9: the same request again moves the answer, a newer one takes its place', () => {
  const first = step([], requested)
  const joiner = { session: 5, request: 1 as RequestId }
  const again = step(first.joins, { kind: 'requested', wish: wish({ joiner }) }, 1)
  deepStrictEqual(again.effects, [])
  deepStrictEqual(again.joins[0]?.joiner, joiner)
  const newer = step(again.joins, { kind: 'requested', wish: wish({ id: 'new', joiner }) }, 2)
  deepStrictEqual(newer.joins.map(({ id }) => id), ['new'])
  deepStrictEqual(asked(newer), [0])
})

Deno.test('ROOM-9: requests are bounded, and end with their invitation', () => {
  let joins: Joins = []
  for (let i = 0; i < LIMITS.joinRequestsPerRoomMax; i++) {
    const device = new Uint8Array(16).fill(i) as DeviceId
    joins = step(joins, { kind: 'requested', wish: wish({ id: `${i}`, device }) }, 0, []).joins
  }
  const full = step(joins, { kind: 'requested', wish: wish({ account: CAROL.account }) }, 0, [])
  deepStrictEqual(full.joins, joins)
  deepStrictEqual(full.effects.map(({ kind }) => kind), ['refuse'])
  const over = step(joins, looked, 3_600_000)
  strictEqual(over.joins.length, 0)
  strictEqual(over.effects.length, LIMITS.joinRequestsPerRoomMax)
})
