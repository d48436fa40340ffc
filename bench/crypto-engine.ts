/**
 * The measurement of one engine, in whatever engine this file is loaded: the product's primitives
 * over that engine's WebCrypto. Owns entropy and clocks of the host; owns no output.
 */
import { createNobleCrypto } from '#core/crypto/noble.ts'
import { SUITES } from '#core/crypto/suites.ts'
import { createWebCrypto, detectEngine } from '#native/webcrypto.ts'
import { type BenchSuite, type Effort, measureSuite, type SuiteRounds } from './crypto-cases.ts'
import type { Host } from './crypto-ends.ts'

export type BenchSuiteName = BenchSuite['name']

export interface EngineRounds {
  readonly suites: Readonly<Record<BenchSuiteName, SuiteRounds>>
  /** Operations that the engine's WebCrypto gives. */
  readonly native: readonly string[]
  /** Smallest step of the clock, in microseconds. */
  readonly clockStepUs: number
}

/** Measures both suites, one after the other. */
export async function measureEngine(effort: Effort): Promise<EngineRounds> {
  const noble = createNobleCrypto()
  const host: Host = {
    crypto: await createWebCrypto(crypto.subtle, noble),
    entropy: { randomBytes: (length) => crypto.getRandomValues(new Uint8Array(length)) },
    nowMs: () => performance.now(),
  }
  const performanceSuite = await measureSuite(host, SUITES.performance, effort)
  const complianceSuite = await measureSuite(host, SUITES.compliance, effort)
  return {
    suites: { performance: performanceSuite, compliance: complianceSuite },
    native: [...await detectEngine(crypto.subtle, noble)],
    clockStepUs: clockStepUs(host.nowMs),
  }
}

function clockStepUs(nowMs: () => number): number {
  let smallest = Infinity
  for (let step = 0; step < 100; step++) {
    const began = nowMs()
    let now = nowMs()
    while (now === began) now = nowMs()
    smallest = Math.min(smallest, now - began)
  }
  return smallest * 1_000
}
