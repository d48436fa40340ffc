/**
 * Samples of one operation for the benchmark of MLS: how many, and which of them stands for all.
 * Owns no operation.
 */
import { median } from './hub-figures.ts'

/** The operations of the benchmark. */
export const OPS = [
  'add',
  'joinWelcome',
  'joinExternal',
  'makeCommit',
  'processCommit',
  'publicProcess',
] as const
export type Op = (typeof OPS)[number]

export interface Measured {
  /** Median of the samples. */
  readonly ms: number
  readonly samples: number
  /** Sent by whoever does it, or fetched and received for it. */
  readonly bytes: number
}

const SAMPLES_MAX = 9
const SAMPLES_MIN = 3
/** What one operation may take when it is sampled more often than it must be. */
const BUDGET_MS = 2_500
/** A sample that takes so long stands alone. */
const LONE_SAMPLE_MS = 5_000

/** One sample: its own time, since what prepares it does not count, and its bytes. */
export type Sample = () => Promise<{ readonly ms: number; readonly bytes: number }>

export async function measure(sample: Sample): Promise<Measured> {
  const times: number[] = []
  let bytes = 0
  let spent = 0
  while (times.length < SAMPLES_MAX && (times.length < SAMPLES_MIN || spent < BUDGET_MS)) {
    const taken = await sample()
    bytes = taken.bytes
    times.push(taken.ms)
    spent += taken.ms
    if (spent > LONE_SAMPLE_MS) break
  }
  return { ms: median(times), samples: times.length, bytes }
}

/** What an operation gave, and its milliseconds. */
export async function timed<T>(run: () => Promise<T>): Promise<{ ms: number; value: T }> {
  const began = performance.now()
  const value = await run()
  return { ms: performance.now() - began, value }
}
