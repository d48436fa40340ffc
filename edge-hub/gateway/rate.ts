/**
 * A token bucket, as a pure function over its state. Owns no clock; who is limited by it, and how
 * that is answered, is the caller's.
 */
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
