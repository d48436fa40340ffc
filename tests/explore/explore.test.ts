/**
 * The worlds of `worlds.ts`, each as far as a few seconds go; paths on which something broke once;
 * and the search itself: it visits each state once and finds the shortest path to what is broken.
 */
import { deepStrictEqual, ok, strictEqual } from 'node:assert/strict'
import { holds, search, type World } from './search.ts'
import { explorationOf, EXPLORATIONS } from './worlds.ts'

/** Two counters; they must not both be two. */
const counters: World<readonly [number, number]> = {
  name: 'counters',
  bounds: 'to three',
  initial: [0, 0],
  keyOf: (state) => state.join(),
  *choices([a, b]) {
    const judged = (next: readonly [number, number]) => {
      holds(next[0] + next[1] < 4, 'not both are two', () => next.join())
      return next
    }
    if (a < 2) yield { name: 'a', run: () => judged([a + 1, b]) }
    if (b < 2) yield { name: 'b', run: () => judged([a, b + 1]) }
  },
  finish: () => {},
}

Deno.test('a search visits each state once and finds the shortest path to a fault', async () => {
  const found = await search(counters, { statesMax: 100, depthMax: 100 })
  const { states, violation } = found
  strictEqual(states, 8)
  deepStrictEqual(violation, {
    invariant: 'not both are two',
    detail: '2,2',
    path: ['a', 'a', 'b', 'b'],
  })
  const near = await search(counters, { statesMax: 100, depthMax: 3 })
  strictEqual(near.violation, null)
  ok(!near.exhausted && near.depth === 3)
})

for (const { name, small, explore } of EXPLORATIONS) {
  const bound = `the first ${small.statesMax} states`
  Deno.test(`VOTE-3, VOTE-4, VOTE-6, SEQ-5: ${name}, ${bound} of all orders`, async () => {
    const report = await explore(small)
    strictEqual(report.violation, null, JSON.stringify(report.violation, null, 1))
    ok(report.states >= small.statesMax && report.depth >= 4, JSON.stringify(report))
  })
}

function go(world: string, path: readonly string[]) {
  const exploration = explorationOf(world)
  ok(exploration !== null)
  return exploration.go(path)
}

Deno.test('JOIN-3: a link is given when its anchor is there', async () => {
  // Another epoch has become final at the hub, which the inviter has not heard of.
  const late = await go('devices that race', [
    'ann invites',
    'the hub takes submitCommit of ann',
    'mallory takes commit at 12',
    'mallory takes askVote',
    '2000 ms pass',
    'the hub takes submitVote of mallory',
    'ann takes commit at 12',
  ])
  strictEqual(late, null)
  // A void took the invitation away.
  const gone = await go('devices and a complaint', [
    'ann invites',
    'the hub takes submitCommit of ann',
    'mallory takes commit at 12',
    'the hub takes submitVote of mallory',
    'ann takes commit at 12',
    '2000 ms pass',
    'the hub takes leaveAnchor of ann',
    'ann takes refused',
  ])
  strictEqual(gone, null)
})

Deno.test('JOIN-7: a newcomer whose commit meets a void tries again', async () => {
  const met = await go('devices and a newcomer', [
    'mallory invites, lying to none',
    'the hub takes submitCommit of mallory',
    '2000 ms pass',
    'dan joins by the link',
    'the hub takes requestGroup of dan',
    'dan takes group',
    'the hub takes subscribe of dan',
  ])
  strictEqual(met, null)
})
