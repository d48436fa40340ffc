/** The simulation finds the bugs that it is there for, each within a bounded number of seeds. */
import { ok } from 'node:assert/strict'
import { BUGS, hunt } from './bugs.ts'

const BOUND = { seeds: 60, ticks: 2_000 } as const

for (const bug of BUGS) {
  const { name, invariant } = bug
  Deno.test(`found within ${BOUND.seeds} seeds: ${name}`, async () => {
    const { seed, what } = await hunt(bug, BOUND)
    console.log(`seed ${seed}: ${what}`)
    ok(seed !== null, what)
    ok(invariant === undefined || what.startsWith(`${invariant}: `), what)
  })
}
