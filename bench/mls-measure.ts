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
  /** Median of the floors that were measured in turn with the samples. */
  readonly floorMs: number | null
}

const SAMPLES_MAX = 9
const SAMPLES_MIN = 3
/** What one operation may take when it is sampled more often than it must be. */
const BUDGET_MS = 2_000
/** Samples that took so long together are enough, however few. */
const ENOUGH_MS = 4_000

/** The time of one run, without what prepares it. */
export interface Taken {
  readonly ms: number
  readonly bytes: number
  /** Bytes of the commit that is in it. */
  readonly commit: number
}
export type Sample = () => Promise<Taken>

/** Milliseconds of the floor of an operation on a commit of so many bytes. */
export type FloorSample = (commit: number) => Promise<number>

/** Samples and floors in turn, so that what else the machine does meets both alike. */
export async function measure(sample: Sample, floor: FloorSample | null = null): Promise<Measured> {
  const taken: Taken[] = []
  const floors: number[] = []
  let spent = 0
  while (taken.length < SAMPLES_MAX && (taken.length < SAMPLES_MIN || spent < BUDGET_MS)) {
    const one = await sample()
    taken.push(one)
    spent += one.ms
    if (floor !== null) floors.push(await floor(one.commit))
    if (spent > ENOUGH_MS) break
  }
  return measuredOf(taken, floors)
}

export function measuredOf(taken: readonly Taken[], floors: readonly number[] = []): Measured {
  return {
    ms: median(taken.map(({ ms }) => ms)),
    samples: taken.length,
    bytes: taken.at(-1)?.bytes ?? 0,
    floorMs: floors.length === 0 ? null : median(floors),
  }
}

/** What an operation gave, and its milliseconds. */
export async function timed<T>(run: () => Promise<T>): Promise<{ ms: number; value: T }> {
  const began = performance.now()
  const value = await run()
  return { ms: performance.now() - began, value }
}
