/**
 * A seeded generator for property tests: the same seed gives the same run on every machine. Owns
 * no secrets; nothing of the product may import it.
 */

export interface Prng {
  /** An integer from 0 to `below` - 1. */
  integer(below: number): number
  bytes(length: number): Uint8Array
  pick<T>(values: readonly T[]): T
}

/** xorshift32 (Marsaglia). */
export function createPrng(seed: number): Prng {
  let state = (seed * 2654435761 + 1) >>> 0 || 1
  const next = () => {
    state ^= state << 13
    state >>>= 0
    state ^= state >>> 17
    state ^= state << 5
    state >>>= 0
    return state
  }
  const integer = (below: number) => Math.floor((next() / 0x100000000) * below)
  return {
    integer,
    bytes: (length) => Uint8Array.from({ length }, () => integer(256)),
    pick: (values) => values[integer(values.length)] as (typeof values)[number],
  }
}
