/**
 * Chances of a plan, drawn from generators of their own for each part of the world and each fault
 * in it, so that no choice moves another, and a new fault leaves old seeds as they were. Owns no
 * fault.
 */
import { createPrng, type Prng } from '../core/prng.ts'
import { type FaultName, type Plan, seedOf } from './plan.ts'

export class Chance {
  /** For everything but whether a fault comes. */
  readonly prng: Prng
  readonly #plan: Plan
  readonly #part: number
  readonly #ofFault = new Map<FaultName, Prng>()
  #isOff = false

  /** `part` keeps generators of one seed apart. */
  constructor(plan: Plan, part: number) {
    this.#plan = plan
    this.#part = part
    this.prng = createPrng(seedOf(plan.seed, `${part}`))
  }

  /** Whether a fault comes now. */
  comes(fault: FaultName): boolean {
    const chance = this.#plan.faults[fault]
    if (chance === 0 || this.#isOff) return false
    let prng = this.#ofFault.get(fault)
    if (prng === undefined) {
      prng = createPrng(seedOf(this.#plan.seed, `${this.#part} ${fault}`))
      this.#ofFault.set(fault, prng)
    }
    return prng.integer(1_000_000) < chance
  }

  /** No fault comes any more. */
  end(): void {
    this.#isOff = true
  }
}
