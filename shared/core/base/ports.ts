/**
 * All of the world that the core may touch. Owns the contracts of `Clock` and `Entropy`; the
 * composition roots choose the implementations.
 */
import type { TimeMs } from '#core/base/ids.ts'

/** Wall clock. May jump; nothing in the core relies on it being monotone. */
export interface Clock {
  nowMs(): TimeMs
}

/** Cryptographic randomness. */
export interface Entropy {
  /** Returns `length` fresh random bytes that the caller owns. */
  randomBytes(length: number): Uint8Array
}
