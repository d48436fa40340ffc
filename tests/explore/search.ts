/**
 * Breadth-first search over the states of a small world: every step of every state, each state
 * once, and the path to a state that breaks an invariant. Owns no world; a state is known by 64
 * bits of its key, so that one of millions may be taken for another with a chance below 10⁻⁶.
 */

/** An invariant does not hold. */
export class Broken extends Error {
  readonly invariant: string

  constructor(invariant: string, detail: string) {
    super(detail)
    this.invariant = invariant
  }
}

/** Throws `Broken` unless the invariant holds. */
export function holds(right: boolean, invariant: string, detail: () => string): asserts right {
  if (!right) throw new Broken(invariant, detail())
}

/** Something that may happen next. `run` gives the state behind it and throws what it breaks. */
export interface Choice<State> {
  readonly name: string
  run(): State | Promise<State>
}

export interface World<State> {
  readonly name: string
  /** What bounds it, in words. */
  readonly bounds: string
  readonly initial: State
  /** Equal for states that cannot be told apart by what comes after them. */
  keyOf(state: State): string
  choices(state: State): Iterable<Choice<State>>
  /** Plays a state to its end; throws `Broken` where it does not come to rest as it should. */
  finish(state: State): void | Promise<void>
}

export interface Limits {
  readonly statesMax: number
  readonly depthMax: number
}

export interface Violation {
  readonly invariant: string
  readonly detail: string
  readonly path: readonly string[]
}

export interface Report {
  readonly world: string
  readonly bounds: string
  readonly states: number
  readonly transitions: number
  readonly depth: number
  /** States in which nothing more can happen, and those that a limit left alone: all finished. */
  readonly ends: number
  /** No limit was met. */
  readonly exhausted: boolean
  readonly seconds: number
  readonly violation: Violation | null
}

/** Visits every state within the limits. */
export async function search<State>(world: World<State>, limits: Limits): Promise<Report> {
  const startedMs = performance.now()
  const run = new Run(world, limits)
  const violation = await run.all()
  const { states, transitions, depth, ends, exhausted } = run
  const seconds = Math.round((performance.now() - startedMs) / 100) / 10
  const { name, bounds } = world
  return {
    world: name,
    bounds,
    states,
    transitions,
    depth,
    ends,
    exhausted: exhausted && violation === null,
    seconds,
    violation,
  }
}

/** Goes one path, by the names of its steps, and plays what it comes to to its end. */
export async function walk<State>(
  world: World<State>,
  path: readonly string[],
): Promise<Violation | null> {
  let state = world.initial
  const gone: string[] = []
  try {
    for (const name of path) {
      const choice = [...world.choices(state)].find((each) => each.name === name)
      if (choice === undefined) throw new Broken('a path can be gone', name)
      gone.push(name)
      state = await choice.run()
    }
    gone.push(TO_ITS_END)
    await world.finish(state)
    return null
  } catch (error) {
    return violationOf(gone, error)
  }
}

const TO_ITS_END = 'played to its end'

function violationOf(path: readonly string[], error: unknown): Violation {
  if (error instanceof Broken) {
    return { invariant: error.invariant, detail: error.message, path }
  }
  const detail = error instanceof Error ? error.stack ?? error.message : String(error)
  return { invariant: 'no assertion of the product fails', detail, path }
}

interface Visit<State> {
  readonly state: State
  readonly index: number
}

class Run<State> {
  readonly #world: World<State>
  readonly #limits: Limits
  readonly #seen = new KeySet()
  readonly #parents: number[] = []
  readonly #labels: number[] = []
  readonly #names = new Names()
  transitions = 0
  depth = 0
  ends = 0
  exhausted = true

  constructor(world: World<State>, limits: Limits) {
    this.#world = world
    this.#limits = limits
  }

  get states(): number {
    return this.#seen.count
  }

  async all(): Promise<Violation | null> {
    const { initial } = this.#world
    this.#seen.add(this.#world.keyOf(initial))
    this.#note(-1, '')
    let front: Visit<State>[] = [{ state: initial, index: 0 }]
    while (front.length > 0) {
      const reached: Visit<State>[] = []
      for (const visit of front) {
        const violation = await this.#expand(visit, reached)
        if (violation !== null) return violation
      }
      front = reached
      if (front.length > 0) this.depth++
    }
    return null
  }

  async #expand(visit: Visit<State>, reached: Visit<State>[]): Promise<Violation | null> {
    const { depthMax, statesMax } = this.#limits
    const isLeft = this.depth >= depthMax || this.states >= statesMax
    let count = 0
    for (const choice of isLeft ? [] : this.#world.choices(visit.state)) {
      count++
      try {
        const made = choice.run()
        const state = made instanceof Promise ? await made : made
        this.transitions++
        if (!this.#seen.add(this.#world.keyOf(state))) continue
        reached.push({ state, index: this.#note(visit.index, choice.name) })
      } catch (error) {
        return violationOf([...this.#path(visit.index), choice.name], error)
      }
    }
    if (count > 0) return null
    if (isLeft) this.exhausted = false
    this.ends++
    try {
      await this.#world.finish(visit.state)
    } catch (error) {
      return violationOf([...this.#path(visit.index), TO_ITS_END], error)
    }
    return null
  }

  #note(parent: number, name: string): number {
    this.#parents.push(parent)
    this.#labels.push(this.#names.idOf(name))
    return this.#parents.length - 1
  }

  #path(index: number): readonly string[] {
    const path: string[] = []
    for (let at = index; at > 0; at = this.#parents[at] as number) {
      path.unshift(this.#names.at(this.#labels[at] as number))
    }
    return path
  }
}

class Names {
  readonly #ids = new Map<string, number>()
  readonly #names: string[] = []

  idOf(name: string): number {
    const known = this.#ids.get(name)
    if (known !== undefined) return known
    this.#ids.set(name, this.#names.length)
    return this.#names.push(name) - 1
  }

  at(id: number): string {
    return this.#names[id] as string
  }
}

/** Keys by 64 bits of each, in an open table. */
export class KeySet {
  #size = 1 << 16
  #high = new Int32Array(this.#size)
  #low = new Int32Array(this.#size)
  count = 0

  /** False when the key was there. */
  add(key: string): boolean {
    const [high, low] = fingerprint(key)
    if (!this.#place(high, low)) return false
    this.count++
    if (this.count * 2 > this.#size) this.#grow()
    return true
  }

  has(key: string): boolean {
    const [high, low] = fingerprint(key)
    const mask = this.#size - 1
    for (let at = low & mask;; at = (at + 1) & mask) {
      if (this.#low[at] === low && this.#high[at] === high) return true
      if (this.#low[at] === 0 && this.#high[at] === 0) return false
    }
  }

  #place(high: number, low: number): boolean {
    const mask = this.#size - 1
    for (let at = low & mask;; at = (at + 1) & mask) {
      if (this.#low[at] === 0 && this.#high[at] === 0) {
        this.#high[at] = high
        this.#low[at] = low
        return true
      }
      if (this.#low[at] === low && this.#high[at] === high) return false
    }
  }

  #grow(): void {
    const [high, low] = [this.#high, this.#low]
    this.#size *= 2
    this.#high = new Int32Array(this.#size)
    this.#low = new Int32Array(this.#size)
    for (let at = 0; at < low.length; at++) {
      if (low[at] !== 0 || high[at] !== 0) this.#place(high[at] as number, low[at] as number)
    }
  }
}

/** Two runs of MurmurHash3's mixing, with other constants. */
function fingerprint(key: string): readonly [number, number] {
  let [high, low] = [0x9e3779b9, key.length]
  for (let at = 0; at < key.length; at++) {
    const code = key.charCodeAt(at)
    high = Math.imul(high ^ code, 0x85ebca6b)
    high = (high << 13) | (high >>> 19)
    low = Math.imul(low ^ code, 0xc2b2ae35)
    low = ((low << 15) | (low >>> 17)) + high
  }
  return [finished(high ^ low), finished(low) | 1]
}

function finished(word: number): number {
  let mixed = Math.imul(word ^ (word >>> 16), 0x85ebca6b)
  mixed = Math.imul(mixed ^ (mixed >>> 13), 0xc2b2ae35)
  return mixed ^ (mixed >>> 16)
}
