/**
 * The threads of the load, seen from the benchmark: a call for each task, and an end to the whole
 * run when one of them fails. Owns the workers; what a task does stands in `hub-thread.ts`.
 */
import type { Call, Tasks } from './hub-thread.ts'

type Result<T extends keyof Tasks> = Awaited<ReturnType<Tasks[T]>>

export class LoadThread {
  readonly #worker = new Worker(new URL('./hub-thread.ts', import.meta.url), { type: 'module' })
  readonly #waiting = new Map<number, (result: unknown) => void>()
  #lastId = 0

  constructor(failed: (reason: string) => void) {
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
    return promise as Promise<Result<T>>
  }

  stop(): void {
    this.#worker.terminate()
  }
}
