/**
 * Histories on several cores at once. Owns how seeds are shared out; a run has the same histories
 * however many lanes there are.
 */
import { drain } from '../support/lanes.ts'
import type { Batch, BatchEnded } from './lane.ts'

const RUNS_PER_BATCH = 16

/** What was tried how often, or the first seed that failed. */
export type RunEnded = BatchEnded

export async function runLanes(run: Batch & { readonly lanes: number }): Promise<RunEnded> {
  const waiting: Batch[] = []
  for (let seed = run.seed; seed < run.seed + run.runs; seed += RUNS_PER_BATCH) {
    const runs = Math.min(RUNS_PER_BATCH, run.seed + run.runs - seed)
    waiting.push({ profile: run.profile, seed, runs })
  }
  waiting.reverse()
  const ended: BatchEnded[] = []
  await drain<Batch, BatchEnded>({
    worker: new URL('./lane.ts', import.meta.url),
    lanes: run.lanes,
    next: () => waiting.pop() ?? null,
    answered(result) {
      ended.push(result)
      if (result.kind === 'failed') waiting.length = 0
      return true
    },
  })
  const failed = ended.filter((each) => each.kind === 'failed')
  const [first] = failed.sort((a, b) => a.seed - b.seed)
  if (first !== undefined) return first
  const counts: Record<string, number> = {}
  for (const each of ended) {
    if (each.kind === 'failed') continue
    for (const [what, many] of Object.entries(each.counts)) {
      counts[what] = (counts[what] ?? 0) + many
    }
  }
  return { kind: 'held', counts }
}

/** The command that repeats one history. */
export function repeatedBy({ profile, seed }: Pick<Batch, 'profile' | 'seed'>): string {
  return `npm run fuzz -- mls --seed ${seed} --runs 1 --profile ${profile}`
}
