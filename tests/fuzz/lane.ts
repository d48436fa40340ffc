/** A worker that runs histories of one profile, seed after seed, and says how each batch ended. */
import { runHistory } from './history.ts'
import { PROFILES } from './profiles.ts'

export interface Batch {
  readonly profile: string
  readonly seed: number
  readonly runs: number
}

export type BatchEnded =
  | { readonly kind: 'held'; readonly counts: Readonly<Record<string, number>> }
  | { readonly kind: 'failed'; readonly seed: number; readonly text: string }

async function runBatch({ profile: name, seed, runs }: Batch): Promise<BatchEnded> {
  const totals: Record<string, number> = {}
  const profile = PROFILES[name]
  if (profile === undefined) return { kind: 'failed', seed, text: `there is no profile ${name}` }
  for (let each = seed; each < seed + runs; each++) {
    try {
      const counts = await runHistory(profile, each)
      for (const [what, many] of Object.entries(counts)) totals[what] = (totals[what] ?? 0) + many
    } catch (error) {
      const text = error instanceof Error ? error.stack ?? error.message : String(error)
      return { kind: 'failed', seed: each, text }
    }
  }
  return { kind: 'held', counts: totals }
}

const port = globalThis as unknown as {
  onmessage: (event: MessageEvent<Batch>) => void
  postMessage(ended: BatchEnded): void
}
port.onmessage = ({ data: batch }) => void runBatch(batch).then((ended) => port.postMessage(ended))
