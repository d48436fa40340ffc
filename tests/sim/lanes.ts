/**
 * Many seeds on several cores. Owns how they are shared out and what they are together; each run is
 * the same however many lanes there are.
 */
import { drain } from '../support/lanes.ts'
import type { PlanOptions } from './plan.ts'
import type { Report } from './run.ts'

export interface Many {
  readonly first: number
  readonly count: number
  readonly lanes: number
  readonly options: Omit<PlanOptions, 'seed'>
  /** Begins no further run once an invariant broke. */
  readonly endsAtViolation?: boolean
  /** Called with each report as it comes. */
  ended?(report: Report): void
}

/** The command that repeats one run. */
export function repeatedBy({ seed, ...options }: PlanOptions): string {
  const { ticks = 2_000, devices = 8, rooms = 3, suite = 'fast', without = [] } = options
  const off = without.length === 0 ? '' : ` --without ${without.map((name) => `'${name}'`).join()}`
  return `npm run sim -- --seed ${seed} --ticks ${ticks} --devices ${devices} --rooms ${rooms}` +
    ` --suite ${suite}${off}`
}

/** All reports, in the order of their seeds. */
export async function runMany(many: Many): Promise<readonly Report[]> {
  const { first, count, lanes, options } = many
  const reports: Report[] = []
  let next = first
  await drain<PlanOptions, Report>({
    worker: new URL('./lane.ts', import.meta.url),
    lanes,
    next: () => next < first + count ? { ...options, seed: next++ } : null,
    answered(report) {
      reports.push(report)
      many.ended?.(report)
      if (many.endsAtViolation && report.violations.length > 0) next = first + count
      return true
    },
  })
  return reports.sort((a, b) => a.seed - b.seed)
}

type Counts = Readonly<Record<string, number>>

/** What many runs were together. */
export function sumOf(reports: readonly Report[]) {
  const total = (of: (report: Report) => number) => reports.reduce((sum, each) => sum + of(each), 0)
  const counts = (of: (report: Report) => Counts): Counts => {
    const sums = new Map<string, number>()
    for (const report of reports) {
      for (const [name, many] of Object.entries(of(report))) {
        sums.set(name, (sums.get(name) ?? 0) + many)
      }
    }
    return Object.fromEntries([...sums].sort(([a], [b]) => a < b ? -1 : 1))
  }
  return {
    runs: reports.length,
    ticks: total(({ ticks }) => ticks),
    violations: reports.filter(({ violations }) => violations.length > 0).length,
    faults: counts(({ faults }) => faults),
    operations: counts(({ operations }) => operations),
    outcomes: counts(({ outcomes }) => outcomes),
    entries: total(({ entries }) => entries),
    finals: total(({ finals }) => finals),
    voids: total(({ voids }) => voids),
    simulatedHours: total(({ simulatedHours }) => simulatedHours),
    seconds: total(({ seconds }) => seconds),
  }
}
