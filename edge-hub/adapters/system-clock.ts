/** The hub's wall clock and randomness, from the host. Owns nothing else. */
import type { TimeMs } from '#core/base/ids.ts'
import type { Clock, Entropy } from '#core/base/ports.ts'

export const systemClock: Clock = { nowMs: () => Date.now() as TimeMs }

export const systemEntropy: Entropy = {
  randomBytes: (length) => crypto.getRandomValues(new Uint8Array(length)),
}
