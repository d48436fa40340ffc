/**
 * Chances of a plan. Whether a fault comes is drawn from a generator of its own for each part of
 * the world and each fault; who is struck and for how long comes from one generator of the part,
 * or from one of its own (`apart`). A new fault leaves an old seed as it was only where the seed
 * leaves it out (`without`). Owns no fault.
 */
import { createPrng, type Prng } from '../core/prng.ts'
import { type FaultName, type Plan, seedOf } from './plan.ts'

export class Chance {
  /** For everything but whether a fault comes, and what is drawn apart. */
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

  /** A generator that nothing else draws from. */
  apart(use: string): Prng {
    return createPrng(seedOf(this.#plan.seed, `${this.#part} of ${use}`))
  }

  /** No fault comes any more. */
  end(): void {
    this.#isOff = true
  }
}
