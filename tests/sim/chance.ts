/**
 * Chances of a plan, drawn from one generator for each part of the world, so that one part's
 * choices do not move another's. Owns no fault.
 */
import { createPrng, type Prng } from '../core/prng.ts'
import type { FaultName, Plan } from './plan.ts'

export class Chance {
  readonly prng: Prng
  readonly #plan: Plan
  #isOff = false

  /** `part` keeps generators of one seed apart. */
  constructor(plan: Plan, part: number) {
    this.#plan = plan
    this.prng = createPrng(Math.imul(plan.seed, 31) + part)
  }

  /** Whether a fault comes now. It draws also where the fault is off. */
  comes(fault: FaultName): boolean {
    const drawn = this.prng.integer(1_000_000)
    return !this.#isOff && drawn < this.#plan.faults[fault]
  }

  /** No fault comes any more. */
  end(): void {
    this.#isOff = true
  }
}
