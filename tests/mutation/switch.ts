/**
 * The switch that every mutant in a process stands behind. Owns which one is on, which ones the
 * code came by, and the end of a mutant that never ends.
 */

export interface Switch {
  /** Turns a mutant on, which may be asked for `asksMax` times; null: none is on. */
  turn(mutant: number | null, asksMax: number): void
  /** How often each mutant was asked for since this was last called. */
  takeReached(): ReadonlyMap<number, number>
  /** Whether the mutant that is on was asked for more often than it may be. */
  readonly isEndless: boolean
}

export class EndlessMutant extends Error {}

/** Puts `$mutant` where code with switches finds it. */
export function installSwitch(): Switch {
  let on: number | null = null
  let asksLeft = 0
  let reached = new Map<number, number>()
  const isOn = (mutant: number): boolean => {
    if (mutant === on) {
      asksLeft--
      if (asksLeft < 0) throw new EndlessMutant(`mutant ${mutant} does not end`)
      return true
    }
    if (on === null) reached.set(mutant, (reached.get(mutant) ?? 0) + 1)
    return false
  }
  Object.assign(globalThis, { $mutant: isOn })
  return {
    turn: (mutant, asksMax) => {
      on = mutant
      asksLeft = asksMax
    },
    takeReached: () => {
      const taken = reached
      reached = new Map()
      return taken
    },
    get isEndless() {
      return asksLeft < 0
    },
  }
}
