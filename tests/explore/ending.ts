/**
 * Playing a state to its end: all that can happen without time happens, in a fixed order; then time
 * passes, first little, then much. Owns that schedule, and the memory of states from which all came
 * to rest: who reaches one of them need not go on.
 */
import { Broken, KeySet } from './search.ts'

export interface Ending<State> {
  /** Equal for states with equal ends. */
  keyOf(state: State): string
  /** The next thing that happens without time; null: nothing. */
  prompted(state: State): Promise<State | null>
  isAtRest(state: State): boolean
  later(state: State, ms: number): State | Promise<State>
  /** For who looks for the fault. */
  pictureOf(state: State): string
}

const SECONDS_2 = 2_000
const HOUR = 3_600_000
const WEEK = 7 * 24 * HOUR
/** What votes, resyncs and links wait for, then strikes, then epochs that nobody judges. */
const WAITS = [...Array<number>(12).fill(SECONDS_2), HOUR, HOUR, ...Array<number>(10).fill(WEEK)]
const STEPS_MAX = 1_000

export class Endings<State> {
  readonly #ending: Ending<State>
  readonly #resting = new KeySet()

  constructor(ending: Ending<State>) {
    this.#ending = ending
  }

  /** Throws `Broken` where a state does not come to rest. */
  async play(from: State): Promise<void> {
    const ending = this.#ending
    const trail: string[] = []
    let state = from
    for (const ms of [...WAITS, null]) {
      const settled = await this.#settle(state, trail)
      if (settled === null || ending.isAtRest(settled)) {
        for (const key of trail) this.#resting.add(key)
        return
      }
      state = ms === null ? settled : await ending.later(settled, ms)
    }
    throw new Broken('all agree in the end', ending.pictureOf(state))
  }

  /** Null where it meets a state that is known to come to rest. */
  async #settle(from: State, trail: string[]): Promise<State | null> {
    let state = from
    for (let count = 0; count < STEPS_MAX; count++) {
      const key = this.#ending.keyOf(state)
      if (this.#resting.has(key)) return null
      trail.push(key)
      const next = await this.#ending.prompted(state)
      if (next === null) return state
      state = next
    }
    throw new Broken('a room comes to rest', this.#ending.pictureOf(state))
  }
}
