/** The measurement of sealing and opening in Chromium. Owns the choice of page and function. */
import { callInChromium } from './chromium.ts'
import type { Effort } from './crypto-cases.ts'
import type { EngineRounds } from './crypto-engine.ts'

export interface ChromiumRounds extends EngineRounds {
  readonly version: string
}

/** Null where Chromium is not installed. */
export async function measureChromium(effort: Effort): Promise<ChromiumRounds | null> {
  const call = { entry: 'crypto-page.ts', name: 'measureEngine', argument: effort }
  const measured = await callInChromium<Effort, EngineRounds>(call)
  return measured && { ...measured.result, version: measured.version }
}
