/** The simulation with fixed seeds: what failed once, many on fast primitives, few on real ones. */
import { deepStrictEqual, ok, strictEqual } from 'node:assert/strict'
import type { Command } from '#core/device/io.ts'
import { repeatedBy, runMany, sumOf } from './lanes.ts'
import { FAULTS, OPERATIONS, planOf, type PlanOptions } from './plan.ts'
import { readRegressions } from './regressions.ts'
import { type Report, runPlan } from './run.ts'

const LANES = 2
const FAST = { ticks: 1_500, suite: 'fast' } as const
const FAST_SEEDS = 200
const REAL = { ticks: 500, suite: 'real' } as const
const REAL_SEEDS = 4

/** Each is not only asked for, but done. */
const COMMANDS: Readonly<Record<Command['kind'], true>> = {
  signUp: true,
  createRoom: true,
  sendMessage: true,
  invite: true,
  revokeInvitation: true,
  joinByLink: true,
  addMember: true,
  setTyping: true,
  markRead: true,
}

function holds(reports: readonly Report[], options: Omit<PlanOptions, 'seed'>): void {
  const failed = reports.filter(({ violations }) => violations.length > 0)
  const told = failed.map(({ seed, violations }) =>
    `${repeatedBy({ ...options, seed })}\n${violations.map(({ what }) => what).join('\n')}`
  )
  deepStrictEqual(told, [])
}

for (const { plan, why } of readRegressions()) {
  Deno.test(`seed ${plan.seed} holds: ${why}`, async () => {
    deepStrictEqual((await runPlan(plan)).report.violations, [])
  })
}

Deno.test(`${FAST_SEEDS} seeds hold all invariants, and everything happens`, async () => {
  const reports = await runMany({ first: 1, count: FAST_SEEDS, lanes: LANES, options: FAST })
  holds(reports, FAST)
  const sum = sumOf(reports)
  const missing = [
    ...Object.keys(FAULTS).filter((name) => !(name in sum.faults)),
    ...Object.keys(OPERATIONS).filter((name) => !(name in sum.operations)),
    ...Object.keys(COMMANDS).map((name) => `${name} done`).filter((name) =>
      !(name in sum.outcomes)
    ),
  ]
  deepStrictEqual(missing, [])
  ok(sum.finals > 0 && sum.voids > 0, 'commits became final and void')
  ok('setTyping seen' in sum.outcomes, 'somebody saw that somebody types')
})

Deno.test(`${REAL_SEEDS} seeds hold all invariants on the real primitives`, async () => {
  const reports = await runMany({ first: 1, count: REAL_SEEDS, lanes: LANES, options: REAL })
  holds(reports, REAL)
})

Deno.test('a seed is the same run each time, entry by entry', async () => {
  const hashes: string[] = []
  for (let time = 0; time < 2; time++) {
    hashes.push((await runPlan(planOf({ seed: 7, ticks: 3_000 }))).report.traceHash)
  }
  strictEqual(hashes[0], hashes[1])
  const { report } = await runPlan(planOf({ seed: 8, ticks: 3_000 }))
  ok(report.traceHash !== hashes[0], 'another seed is another run')
})
