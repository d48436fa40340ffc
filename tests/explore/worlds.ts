/** The worlds that are explored, and how far. Owns the table alone. */
import { type LogBounds, logWorld } from './log-world.ts'
import { type Limits, type Report, search } from './search.ts'

export interface Exploration {
  readonly name: string
  /** Worlds of one lane are visited by one worker, one after the other. */
  readonly lane: 0 | 1
  readonly limits: Limits
  /** As far as a test goes. */
  readonly small: Limits
  explore(limits: Limits): Promise<Report>
}

const SMALL = { statesMax: 8_000, depthMax: 40 }
const TWO_SECONDS = 2_000
const TEN_SECONDS = 10_000
const SEVEN_DAYS = 7 * 24 * 3_600_000

const QUIET: LogBounds = {
  commits: 0,
  lies: 0,
  lieKinds: [],
  resyncs: 0,
  messages: [0, 0, 0],
  ends: 0,
  waits: [{ ms: TWO_SECONDS, count: 1 }],
  falseVotes: false,
}

const log = (name: string, lane: 0 | 1, bounds: Partial<LogBounds>): Exploration => ({
  name,
  lane,
  limits: { statesMax: 1_200_000, depthMax: 60 },
  small: SMALL,
  explore: async (limits) => search(await logWorld(name, { ...QUIET, ...bounds }), limits),
})

export const EXPLORATIONS: readonly Exploration[] = [
  log('races', 0, { commits: 2, messages: [0, 1, 1], falseVotes: true }),
  log('lies', 0, { commits: 1, lies: 1, lieKinds: ['first', 'none'], messages: [0, 1, 0] }),
  log('sessions', 1, {
    commits: 1,
    lies: 1,
    lieKinds: ['first'],
    messages: [0, 1, 0],
    ends: 1,
  }),
  log('resyncs', 1, {
    lies: 1,
    lieKinds: ['first', 'last', 'none', 'externalPub'],
    resyncs: 2,
    messages: [0, 0, 1],
    waits: [{ ms: TWO_SECONDS, count: 1 }, { ms: TEN_SECONDS, count: 1 }],
    falseVotes: true,
  }),
  log('old epochs', 1, {
    commits: 1,
    lies: 1,
    lieKinds: ['last'],
    resyncs: 1,
    waits: [{ ms: TWO_SECONDS, count: 1 }, { ms: SEVEN_DAYS, count: 1 }],
    falseVotes: true,
  }),
]

export function explorationOf(name: string): Exploration | null {
  return EXPLORATIONS.find((each) => each.name === name) ?? null
}
