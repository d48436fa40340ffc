/**
 * The chains of an epoch as a value: a table that shares all but one bucket with the table before,
 * so that taking a key costs the same in a room of ten and of ten thousand. Owns no derivation.
 */
import type { LeafIndex } from '#core/base/ids.ts'

/** The chain of one leaf and lane: the secret of `generation`, and those that were skipped. */
export interface Chain {
  readonly leaf: LeafIndex
  readonly lane: number
  readonly generation: number
  readonly secret: Uint8Array
  readonly skipped: ReadonlyMap<number, Uint8Array>
}

/** Name of a chain in records and transitions. */
export function chainKey(leaf: number, lane: number): string {
  return `${leaf.toString(16).padStart(8, '0')}:${lane}`
}

const BUCKET_BITS = 5
const LANE_BITS = 2

type Bucket = ReadonlyMap<number, Chain>

const slotOf = (leaf: number, lane: number): number =>
  ((leaf & (2 ** BUCKET_BITS - 1)) << LANE_BITS) | lane

/** Chains by leaf and lane; never changed, replaced by `with`. */
export class ChainTable {
  static readonly EMPTY = new ChainTable([])
  readonly #buckets: readonly (Bucket | undefined)[]

  private constructor(buckets: readonly (Bucket | undefined)[]) {
    this.#buckets = buckets
  }

  get(leaf: number, lane: number): Chain | undefined {
    return this.#buckets[leaf >>> BUCKET_BITS]?.get(slotOf(leaf, lane))
  }

  /** The table with these chains, in place of the ones of the same leaf and lane. */
  with(...chains: readonly Chain[]): ChainTable {
    const buckets = this.#buckets.slice()
    for (const chain of chains) {
      const index = chain.leaf >>> BUCKET_BITS
      buckets[index] = new Map(buckets[index]).set(slotOf(chain.leaf, chain.lane), chain)
    }
    return new ChainTable(buckets)
  }

  *[Symbol.iterator](): IterableIterator<Chain> {
    for (const bucket of this.#buckets) if (bucket !== undefined) yield* bucket.values()
  }
}
