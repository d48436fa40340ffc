/**
 * What protocol clients of the tests are made of: the primitives of this runtime, randomness, time,
 * and a wait that fails instead of hanging. Owns no protocol.
 */
import type { TimeMs } from '#core/base/ids.ts'
import type { Entropy } from '#core/base/ports.ts'
import { createNobleCrypto } from '#core/crypto/noble.ts'
import { SUITES } from '#core/crypto/suites.ts'
import { cipherSuite } from '#core/mls/cipher-suite.ts'
import { createWebCrypto } from '#native/webcrypto.ts'

const DEADLINE_MS = 20_000

export const native = await createWebCrypto(crypto.subtle, createNobleCrypto())
export const suite = SUITES.performance
export const engine = cipherSuite(native, suite)
export const entropy: Entropy = {
  randomBytes: (length) => crypto.getRandomValues(new Uint8Array(length)),
}
export const nowMs = (): TimeMs => Date.now() as TimeMs
export const sha256 = (content: Uint8Array): Uint8Array => native.hash('sha256', content)

/** The promise, or a failure that says what did not come; only a failure meets the deadline. */
export async function within<T>(promise: Promise<T>, what: string): Promise<T> {
  let timer: ReturnType<typeof setTimeout> | undefined
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`${what} did not come`)), DEADLINE_MS)
  })
  try {
    return await Promise.race([promise, late])
  } finally {
    clearTimeout(timer)
  }
}
