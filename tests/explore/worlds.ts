/** The worlds that are explored, and how far. Owns the table alone. */
import { type Deed, type DeviceBounds, deviceWorld } from './device-world.ts'
import { DAN, type Lie } from './device-room.ts'
import { SECOND } from './small-members.ts'
import { type LogBounds, logWorld } from './log-world.ts'
import { type Limits, type Report, search, type Violation, walk } from './search.ts'

export interface Exploration {
  readonly name: string
  /** Worlds of one lane are visited by one worker, one after the other. */
  readonly lane: 0 | 1
  readonly limits: Limits
  /** As far as a test goes. */
  readonly small: Limits
  explore(limits: Limits): Promise<Report>
  /** Goes one path (`walk`). */
  go(path: readonly string[]): Promise<Violation | null>
}

const SMALL = { statesMax: 3_000, depthMax: 60 }
const SMALL_DEVICES = { statesMax: 250, depthMax: 60 }
const TWO_SECONDS = 2_000
const TEN_SECONDS = 10_000
const SEVEN_DAYS = 7 * 24 * 3_600_000

const QUIET: LogBounds = {
  commits: 0,
  lies: 0,
  lieKinds: [],
  entries: 0,
  newcomer: null,
  messages: [0, 0, 0],
  ends: 0,
  waits: [{ ms: TWO_SECONDS, count: 1 }],
  falseVotes: false,
}

const log = (name: string, lane: 0 | 1, bounds: Partial<LogBounds>): Exploration => ({
  name,
  lane,
  limits: { statesMax: 700_000, depthMax: 60 },
  small: SMALL,
  explore: async (limits) => search(await logWorld(name, { ...QUIET, ...bounds }), limits),
  go: async (path) => walk(await logWorld(name, { ...QUIET, ...bounds }), path),
})

const device = (
  name: string,
  lane: 0 | 1,
  bounds: DeedsAndBounds,
  limits: Limits = { statesMax: 30_000, depthMax: 60 },
): Exploration => ({
  name,
  lane,
  limits,
  small: SMALL_DEVICES,
  explore: async (limits) => search(await deviceWorld(name, { ...ALONE, ...bounds }), limits),
  go: async (path) => walk(await deviceWorld(name, { ...ALONE, ...bounds }), path),
})

/** A world that is small enough to be visited whole. */
const wholeDevice = (name: string, lane: 0 | 1, bounds: DeedsAndBounds): Exploration =>
  device(name, lane, bounds, { statesMax: 700_000, depthMax: 60 })

type DeedsAndBounds = Pick<DeviceBounds, 'deeds'> & Partial<DeviceBounds>

const ALONE = {
  ends: 0,
  restarts: 0,
  isMalloryDeaf: false,
  waits: [{ ms: TWO_SECONDS, count: 1 }],
} as const

const [MALLORY, ANN, BEN] = [0, 1, 2] as const

type Place = Parameters<Deed['command']>[0]

/** Dan takes the link that Ann has made. */
const joins: Deed = {
  seat: DAN,
  name: 'joins by the link',
  command: ({ link }) => ({ kind: 'joinByLink', link }),
}

/** A commit with a link in it. */
function invites(seat: number, lie?: Lie): Deed {
  const limits = { usesMax: 3, lifetimeMs: 3_600_000 }
  const command = ({ key: room }: Place) => ({ kind: 'invite', room, limits }) as const
  return lie === undefined
    ? { seat, name: 'invites', command }
    : { seat, name: `invites, lying to ${lie}`, command, lie }
}

function says(seat: number, text: string): Deed {
  const command = ({ key: room }: Place) =>
    ({ kind: 'sendMessage', room, text, localId: text }) as const
  return { seat, name: `says ${text}`, command }
}

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
    entries: 2,
    messages: [0, 0, 1],
    waits: [{ ms: TWO_SECONDS, count: 1 }, { ms: TEN_SECONDS, count: 1 }],
    falseVotes: true,
  }),
  log('old epochs', 1, {
    commits: 1,
    lies: 1,
    lieKinds: ['last'],
    entries: 1,
    waits: [{ ms: TWO_SECONDS, count: 1 }, { ms: SEVEN_DAYS, count: 1 }],
    falseVotes: true,
  }),
  log('two messages', 0, {
    lies: 1,
    lieKinds: ['none'],
    messages: [0, 2, 0],
    ends: 1,
  }),
  log('a link', 0, {
    commits: 1,
    lies: 1,
    lieKinds: ['first', 'externalPub'],
    entries: 2,
    newcomer: DAN,
    messages: [0, 1, 0],
  }),
  log('a new device', 1, {
    commits: 1,
    entries: 2,
    newcomer: SECOND,
    messages: [0, 1, 0],
    falseVotes: true,
  }),
  wholeDevice('one commit', 0, { deeds: [invites(ANN)] }),
  wholeDevice('one commit that is complained of', 0, {
    deeds: [invites(ANN)],
    isMalloryDeaf: true,
  }),
  wholeDevice('one newcomer', 0, { deeds: [joins] }),
  wholeDevice('one lie', 1, { deeds: [invites(MALLORY, 'none')] }),
  wholeDevice('one commit and one message', 0, { deeds: [invites(ANN), says(ANN, 'm')] }),
  device('devices that race', 0, { deeds: [invites(ANN), invites(BEN), says(ANN, 'm')] }),
  device('devices and a lie', 1, {
    deeds: [invites(MALLORY, 'none'), says(MALLORY, 'x'), says(ANN, 'm')],
  }),
  device('devices and a complaint', 0, {
    deeds: [invites(ANN), says(ANN, 'm')],
    isMalloryDeaf: true,
  }),
  device('devices whose sessions end', 1, { deeds: [invites(ANN), says(ANN, 'm')], ends: 1 }),
  device('devices that start anew', 0, { deeds: [invites(ANN), says(ANN, 'm')], restarts: 1 }),
  device('devices on a way back', 1, {
    deeds: [invites(MALLORY, 'first'), says(BEN, 'm')],
    waits: [{ ms: TWO_SECONDS, count: 1 }, { ms: TEN_SECONDS, count: 1 }],
  }),
  device('devices and a newcomer', 0, { deeds: [joins, invites(MALLORY, 'none'), says(ANN, 'm')] }),
  device('a newcomer whose session ends', 1, { deeds: [joins, invites(BEN)], ends: 1 }),
  device('a newcomer who is complained of', 0, {
    deeds: [joins, says(BEN, 'm')],
    isMalloryDeaf: true,
  }),
  device('a newcomer who starts anew', 1, { deeds: [joins, says(BEN, 'm')], restarts: 1 }),
]

export function explorationOf(name: string): Exploration | null {
  return EXPLORATIONS.find((each) => each.name === name) ?? null
}
