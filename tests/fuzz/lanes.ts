/**
 * Histories on several cores at once. Owns how seeds are shared out; a run has the same histories
 * however many lanes there are.
 */
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
  const lanes = Array.from({ length: Math.min(run.lanes, waiting.length) }, () => {
    return drain(waiting, ended)
  })
  await Promise.all(lanes)
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

/** One lane takes batches until there are none, or one has failed. */
async function drain(waiting: Batch[], ended: BatchEnded[]): Promise<void> {
  const worker = new Worker(new URL('./lane.ts', import.meta.url), { type: 'module' })
  try {
    for (let batch = waiting.pop(); batch !== undefined; batch = waiting.pop()) {
      const result = await answer(worker, batch)
      ended.push(result)
      if (result.kind === 'failed') waiting.length = 0
    }
  } finally {
    worker.terminate()
  }
}

function answer(worker: Worker, batch: Batch): Promise<BatchEnded> {
  return new Promise((resolve, reject) => {
    worker.onmessage = ({ data: ended }: MessageEvent<BatchEnded>) => resolve(ended)
    worker.onerror = (event) => reject(new Error(event.message))
    worker.postMessage(batch)
  })
}

/** The command that repeats one history. */
export function repeatedBy({ profile, seed }: Pick<Batch, 'profile' | 'seed'>): string {
  return `npm run fuzz -- mls --seed ${seed} --runs 1 --profile ${profile}`
}
