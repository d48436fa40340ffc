/**
 * Medians and percentiles, and what the hub's log of events says of its turns. Owns arithmetic.
 */

export function percentile(values: readonly number[], part: number): number {
  const sorted = values.toSorted((a, b) => a - b)
  const index = Math.min(sorted.length - 1, Math.floor(sorted.length * part))
  return sorted[index] ?? Number.NaN
}

export const median = (values: readonly number[]): number => percentile(values, 0.5)

/** What the hub reported of the turns that it stored. */
export interface Turns {
  readonly turns: number
  readonly entries: number
  readonly rooms: number
  /** Subscriptions that were cut because a session did not keep up. */
  readonly cuts: number
}

interface Counted {
  readonly turnStored?: { readonly turns: number; readonly entries: number; readonly rooms: number }
  readonly subscriptionCut?: { readonly all: number }
}

/** The counts in a part of the hub's log of events. */
export function turnsOf(log: string): Turns {
  const lines = log.split('\n').filter((line) => line.includes('"counted"'))
  return lines.map((line) => JSON.parse(line) as Counted).reduce(
    (sum: Turns, { turnStored, subscriptionCut }) => ({
      turns: sum.turns + (turnStored?.turns ?? 0),
      entries: sum.entries + (turnStored?.entries ?? 0),
      rooms: sum.rooms + (turnStored?.rooms ?? 0),
      cuts: sum.cuts + (subscriptionCut?.all ?? 0),
    }),
    { turns: 0, entries: 0, rooms: 0, cuts: 0 },
  )
}
