/** Every seed that ever failed, with what it found. Owns reading the list. */
import regressions from './regressions.json' with { type: 'json' }
import { type Plan, planOf, type PlanOptions } from './plan.ts'

export interface Regression {
  readonly plan: Plan
  /** What was wrong, in one line. */
  readonly why: string
}

/** A seed as it was when it failed: without what has been added to plans since. */
interface Kept extends PlanOptions {
  /** The first of `added` that it did not know. */
  readonly before?: string
  readonly why: string
}

export function readRegressions(): readonly Regression[] {
  const { added, seeds } = regressions as {
    /** Faults and operations, in the order in which they came after the first seeds. */
    readonly added: readonly string[]
    readonly seeds: readonly Kept[]
  }
  return seeds.map(({ before, why, ...options }) => {
    const younger = before === undefined ? [] : added.slice(added.indexOf(before))
    const without = [...options.without ?? [], ...younger]
    return { plan: planOf({ ...options, without }), why }
  })
}
