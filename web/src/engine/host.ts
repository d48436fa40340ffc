/**
 * The engine's worker as the leading tab sees it. Owns the worker's life; owns no election and no
 * meaning of what passes.
 */
import type { Engine, ToTabs } from '#browser/tab-leader.ts'
import type {
  EngineMessage,
  EngineStart,
  TabMessage,
  WorkerInput,
  WorkerOutput,
} from './protocol.ts'

/** How long a stop may wait for the engine's goodbye to the hub. */
const stopMsMax = 1_000

/** Starts the worker of the engine; messages that arrive before it has opened wait inside of it. */
export function startEngineWorker(
  start: EngineStart,
  toTabs: ToTabs<EngineMessage>,
): Engine<TabMessage> {
  const worker = new Worker(new URL('./engine.worker.ts', import.meta.url), {
    type: 'module',
    name: 'kalandra-engine',
  })
  const tell = (input: WorkerInput): void => worker.postMessage(input)
  let stopped = (): void => {}

  worker.addEventListener('message', ({ data: output }: MessageEvent<WorkerOutput>) => {
    if (output.kind === 'stopped') stopped()
    else if (output.tab === null) toTabs.broadcast(output.message)
    else toTabs.send(output.tab, output.message)
  })
  worker.addEventListener('error', () => {
    toTabs.broadcast({ kind: 'engineFailed', code: 'engineCrashed' })
  })
  tell({ kind: 'start', start })

  return {
    received: (tab, message) => tell({ kind: 'tabSpoke', tab, message }),
    tabGone: (tab) => tell({ kind: 'tabGone', tab }),
    stop: () =>
      new Promise<void>((resolve) => {
        const timer = setTimeout(() => stopped(), stopMsMax)
        stopped = () => {
          clearTimeout(timer)
          worker.terminate()
          resolve()
        }
        tell({ kind: 'stop' })
      }),
  }
}
