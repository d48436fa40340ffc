/**
 * A token bucket, as a pure function over its state, and a bounded number of them by key. Owns no
 * clock; who is limited by it, and how that is answered, is the caller's.
 */
import { assert } from '#core/base/assert.ts'
import type { TimeMs } from '#core/base/ids.ts'

export interface Bucket {
  readonly tokens: number
  readonly atMs: TimeMs
}

/** `count` in each `intervalMs`, and as many at once. */
export interface Rate {
  readonly count: number
  readonly intervalMs: number
}

export type Spent =
  | { readonly kind: 'spent'; readonly bucket: Bucket }
  | { readonly kind: 'empty'; readonly retryAfterMs: number }

/** A full bucket. */
export function fullBucket(rate: Rate, nowMs: TimeMs): Bucket {
  return { tokens: rate.count, atMs: nowMs }
}

/** Takes one token. A clock that jumps back gives none. */
export function spend(bucket: Bucket, rate: Rate, nowMs: TimeMs): Spent {
  const perMs = rate.count / rate.intervalMs
  const elapsedMs = Math.max(0, nowMs - bucket.atMs)
  const tokens = Math.min(rate.count, bucket.tokens + elapsedMs * perMs)
  if (tokens < 1) return { kind: 'empty', retryAfterMs: Math.ceil((1 - tokens) / perMs) }
  return { kind: 'spent', bucket: { tokens: tokens - 1, atMs: nowMs } }
}

/**
 * Buckets of one rate by key, all full to begin with. Of more than `countMax` the one that was
 * asked longest ago is forgotten.
 */
export class Buckets {
  readonly #rate: Rate
  readonly #countMax: number
  /** In the order of their last use. */
  readonly #byKey = new Map<string, Bucket>()

  constructor(rate: Rate, countMax: number) {
    assert(countMax > 0, 'at least one bucket')
    this.#rate = rate
    this.#countMax = countMax
  }

  get size(): number {
    return this.#byKey.size
  }

  /** What `spend` would say now. */
  look(key: string, nowMs: TimeMs): Spent {
    return spend(this.#byKey.get(key) ?? fullBucket(this.#rate, nowMs), this.#rate, nowMs)
  }

  /** Takes one token of `key`. Who is refused is not forgotten for it. */
  spend(key: string, nowMs: TimeMs): Spent {
    const bucket = this.#byKey.get(key) ?? fullBucket(this.#rate, nowMs)
    const spent = spend(bucket, this.#rate, nowMs)
    this.#byKey.delete(key)
    this.#byKey.set(key, spent.kind === 'spent' ? spent.bucket : bucket)
    if (this.#byKey.size > this.#countMax) {
      const [oldest] = this.#byKey.keys()
      if (oldest !== undefined) this.#byKey.delete(oldest)
    }
    return spent
  }
}
