/**
 * The threads of the load, seen from the benchmark: a call for each task, and an end to the whole
 * run when one of them fails. Owns the workers; what a task does stands in `hub-thread.ts`.
 */
import type { Call, Tasks } from './hub-thread.ts'

/** No task takes as long, whatever the machine. */
const TASK_MS_MAX = 120_000

type Result<T extends keyof Tasks> = Awaited<ReturnType<Tasks[T]>>

export class LoadThread {
  readonly #worker = new Worker(new URL('./hub-thread.ts', import.meta.url), { type: 'module' })
  readonly #waiting = new Map<number, (result: unknown) => void>()
  readonly #failed: (reason: string) => void
  #lastId = 0

  constructor(failed: (reason: string) => void) {
    this.#failed = failed
    this.#worker.onmessage = ({ data: { id, result } }) => {
      this.#waiting.get(id)?.(result)
      this.#waiting.delete(id)
    }
    this.#worker.onerror = (event) => {
      event.preventDefault()
      failed(event.message)
    }
  }

  call<T extends keyof Tasks>(task: T, ...args: Parameters<Tasks[T]>): Promise<Result<T>> {
    const id = ++this.#lastId
    const { promise, resolve } = Promise.withResolvers<unknown>()
    this.#waiting.set(id, resolve)
    const call: Call = { id, task, args }
    this.#worker.postMessage(call)
    const late = setTimeout(() => this.#failed(`${task} did not end`), TASK_MS_MAX)
    return promise.finally(() => clearTimeout(late)) as Promise<Result<T>>
  }

  stop(): void {
    this.#worker.terminate()
  }
}
