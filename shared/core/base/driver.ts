/**
 * The one loop that runs every machine: decide, store, act (DEV-1). Owns the order of the three
 * and the bounded input queue; knows neither what is stored nor what an effect does.
 */
import { assert } from '#core/base/assert.ts'
import type { Clock } from '#core/base/ports.ts'
import type { TimeMs } from '#core/base/ids.ts'

/** What one step decided. `changes` are stored in one transaction before any effect runs. */
export interface Step<State, Change, Effect> {
  readonly state: State
  readonly changes: readonly Change[]
  readonly effects: readonly Effect[]
}

/** A machine. `step` awaits nothing but the crypto and MLS ports. */
export interface Machine<State, Input, Change, Effect> {
  step(state: State, input: Input, nowMs: TimeMs): Promise<Step<State, Change, Effect>>
  /** The input that tells the machine that the changes of `input` could not be stored. */
  storeFailed(input: Input): Input | null
}

/** What a host gives the driver. */
export interface DriverHost<Change, Effect> {
  readonly clock: Clock
  /** Stores all changes or none; rejects if nothing was stored. */
  store(changes: readonly Change[]): Promise<void>
  /**
   * Starts an effect. What the machine waits for comes back by `Driver.deliver`, all else by
   * `post`. Must not throw.
   */
  run(effect: Effect): void
  /** A step rejected: a programmer error. The state before the input is kept. */
  faulted(error: unknown): void
}

/** Runs one machine, one input at a time. */
export interface Driver<State, Input> {
  /** Queues an input; false when the queue is full and nothing was queued. */
  post(input: Input): boolean
  /**
   * Queues an input that the machine waits for, such as the end of what it began, however full the
   * queue is. The host answers for it that there are few.
   */
  deliver(input: Input): void
  readonly state: State
  /** Resolves when the queue is empty and no step is running. */
  settled(): Promise<void>
}

export interface DriverOptions<State, Input, Change, Effect> {
  readonly machine: Machine<State, Input, Change, Effect>
  readonly initial: State
  readonly host: DriverHost<Change, Effect>
  readonly queuedInputsMax: number
}

/** Creates a driver; the loop starts with the first posted input. */
export function createDriver<State, Input, Change, Effect>(
  options: DriverOptions<State, Input, Change, Effect>,
): Driver<State, Input> {
  const { machine, host, queuedInputsMax } = options
  assert(queuedInputsMax > 0, 'a driver needs room for one input')
  let state = options.initial
  let running: Promise<void> | null = null
  const queue: Input[] = []

  async function takeOne(input: Input): Promise<void> {
    const step = await machine.step(state, input, host.clock.nowMs())
    if (step.changes.length > 0) {
      try {
        await host.store(step.changes)
      } catch {
        const failure = machine.storeFailed(input)
        if (failure !== null) queue.unshift(failure)
        return
      }
    }
    state = step.state
    for (const effect of step.effects) host.run(effect)
  }

  async function loop(): Promise<void> {
    for (let input = queue.shift(); input !== undefined; input = queue.shift()) {
      try {
        await takeOne(input)
      } catch (error) {
        host.faulted(error)
      }
    }
    running = null
  }

  const deliver = (input: Input): void => {
    queue.push(input)
    running ??= loop()
  }

  return {
    post(input) {
      if (queue.length >= queuedInputsMax) return false
      deliver(input)
      return true
    },
    deliver,
    get state() {
      return state
    },
    async settled() {
      while (running !== null) await running
    },
  }
}
