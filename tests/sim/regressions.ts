/** Every seed that ever failed, with what it found. Owns reading the list. */
import regressions from './regressions.json' with { type: 'json' }
import { type Plan, planOf, type PlanOptions } from './plan.ts'

export interface Regression {
  readonly plan: Plan
  /** What was wrong, in one line. */
  readonly why: string
}

export function readRegressions(): readonly Regression[] {
  return (regressions as readonly (PlanOptions & { why: string })[])
    .map(({ why, ...options }) => ({ plan: planOf(options), why }))
}
