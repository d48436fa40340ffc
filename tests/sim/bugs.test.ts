/** The simulation finds the bugs that it is there for, each within a bounded number of seeds. */
import { deepStrictEqual, notStrictEqual } from 'node:assert/strict'
import { BUGS } from './bugs.ts'
import { type Hunt, hunt } from './hunt.ts'
import { INVARIANTS } from './invariants.ts'

const BOUND = { seeds: 60, ticks: 2_000 } as const
const LANES = 2

Deno.test('each invariant is broken by a bug', () => {
  const broken = new Set<string>(BUGS.map(({ invariant }) => invariant))
  deepStrictEqual(Object.keys(INVARIANTS).filter((name) => !broken.has(name)), [])
})

/** In the order of the bugs; each is a process of its own, and so many run at once. */
function huntAll(): readonly Promise<Hunt>[] {
  const hunts = BUGS.map(() => Promise.withResolvers<Hunt>())
  const left = hunts.entries()
  const drain = async () => {
    for (const [index, { resolve, reject }] of left) {
      await hunt(BUGS[index] as typeof BUGS[number], BOUND).then(resolve, reject)
    }
  }
  for (let lane = 0; lane < LANES; lane++) void drain()
  const found = hunts.map(({ promise }) => promise)
  // One that fails before its turn waits for it.
  for (const each of found) each.catch(() => {})
  return found
}

Deno.test(`each bug is found within ${BOUND.seeds} seeds`, async (test) => {
  for (const [index, found] of huntAll().entries()) {
    const { name, invariant } = BUGS[index] as typeof BUGS[number]
    await test.step({
      name: `${invariant} breaks: ${name}`,
      // The next hunts are under way.
      sanitizeOps: false,
      sanitizeResources: false,
      async fn() {
        const { seed, what } = await found
        console.log(`seed ${seed}: ${what}`)
        notStrictEqual(seed, null, what)
      },
    })
  }
})
