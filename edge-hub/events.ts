/**
 * Operational events: a closed catalogue (HUB-7). Owns, for each kind, what is counted and what is
 * written as one JSON line. Every label is chosen here one by one, from a closed set of words or as
 * a number, so that an id, a name, an address or a text cannot be said, whatever a caller passes.
 *
 * What a device can cause is counted, and the counts are one line in each interval: nobody can fill
 * the log from outside. What is held in memory stands in that line where it has changed. What is
 * rare, or is ours to act upon, is a line at once.
 */
import type { Clock } from '#core/base/ports.ts'
import type { HubMemory } from '#hub/gateway/memory.ts'
import type { GatewayEvent } from '#hub/gateway/model.ts'
import type { AdapterEvent } from '#hub/ports.ts'

/** What the process itself reports. */
export type ProcessEvent =
  | { readonly kind: 'hubStarted' }
  | { readonly kind: 'hubDraining' }
  | { readonly kind: 'hubStopped' }
  | { readonly kind: 'hubFaulted' }
  | { readonly kind: 'checkFaulted' }
  | { readonly kind: 'memoryHeld'; readonly memory: HubMemory }

export type HubEvent = GatewayEvent | AdapterEvent | ProcessEvent

export interface Events {
  report(event: HubEvent): void
  /** Writes what was counted since the last time; nothing when nothing was. */
  writeCounts(): void
}

type Labels = Readonly<Record<string, string | number>>

/** Where a row puts what it says. */
interface Sink {
  /** One line at once. */
  line(labels?: Labels): void
  /** Adds to a counter of this kind; `label` is a word of a closed set. */
  count(label: string, by?: number): void
  /** Keeps the largest value since the last line. */
  peak(label: string, value: number): void
  /** Says a value that lasts until it is said anew; nothing while it stays the same. */
  level(label: string, value: number): void
}

type Row<K extends HubEvent['kind']> = (
  sink: Sink,
  event: Extract<HubEvent, { readonly kind: K }>,
) => void

/** What is said of the memory. */
const HELD = [
  'sessions',
  'devices',
  'subscriptions',
  'followers',
  'requests',
  'requestBytes',
  'waiting',
  'outboundBytes',
  'welcomes',
  'groups',
  'groupBytes',
  'pages',
  'rooms',
  'roomsProvisional',
  'headsDue',
  'epochs',
  'chains',
  'tailBytes',
  'buckets',
] as const satisfies readonly (keyof HubMemory)[]

/** One function for each event; an event without a row does not compile. */
const CATALOGUE: { readonly [K in HubEvent['kind']]: Row<K> } = {
  hubStarted: (sink) => sink.line(),
  hubDraining: (sink) => sink.line(),
  hubStopped: (sink) => sink.line(),
  hubFaulted: (sink) => sink.line(),
  checkFaulted: (sink) => sink.line(),
  memoryHeld(sink, { memory }) {
    for (const label of HELD) sink.level(label, memory[label])
  },

  certificateReplaced: (sink, { origin }) => sink.line({ origin }),
  certificateRefused: (sink) => sink.line(),
  handshakeFailed: (sink, { transport }) => sink.count(transport),
  sessionTurnedAway: (sink, { transport }) => sink.count(transport),
  storeFailed: (sink) => sink.line(),
  storeBroken: (sink) => sink.line(),
  storeDamaged: (sink, { part }) => sink.count(part),
  adapterFaulted: (sink) => sink.line(),

  sessionOpened: (sink, { transport }) => sink.count(transport),
  sessionReady: (sink, { transport }) => sink.count(transport),
  sessionEnded: (sink, { transport, reason }) => sink.count(`${transport}.${reason}`),
  requestDenied: (sink, { code }) => sink.count(code),
  accountRegistered: (sink) => sink.count('all'),
  roomCreated: (sink) => sink.count('all'),
  memberCountChanged(sink, { added, removed }) {
    sink.count('added', added)
    sink.count('removed', removed)
  },
  epochFinal(sink, { finalMs }) {
    sink.count('all')
    sink.count('finalMs', finalMs)
    sink.peak('finalMsMax', finalMs)
  },
  epochVoid: (sink) => sink.count('all'),
  frameStalled(sink, { stallMs }) {
    sink.count('all')
    sink.count('stallMs', stallMs)
    sink.peak('stallMsMax', stallMs)
  },
  turnStored(sink, { rooms, entries, durationMs }) {
    sink.count('turns')
    sink.count('rooms', rooms)
    sink.count('entries', entries)
    sink.peak('durationMsMax', durationMs)
  },
  appendRejected: (sink) => sink.line(),
  appendConflicted: (sink) => sink.line(),
  roomUnreadable: (sink) => sink.line(),
  subscriptionCut: (sink) => sink.count('all'),
}

/** Creates the catalogue over a clock and a writer of lines. */
export function createEvents(clock: Clock, write: (line: string) => void): Events {
  const counts = new Map<string, Map<string, number>>()
  const levels = new Map<string, number>()
  const of = (kind: string): Map<string, number> => {
    let counters = counts.get(kind)
    if (counters === undefined) {
      counters = new Map()
      counts.set(kind, counters)
    }
    return counters
  }
  const sinkOf = (kind: string): Sink => ({
    line: (labels = {}) => write(JSON.stringify({ time: clock.nowMs(), kind, ...labels })),
    count: (label, by = 1) => void of(kind).set(label, (of(kind).get(label) ?? 0) + by),
    peak: (label, value) => void of(kind).set(label, Math.max(of(kind).get(label) ?? 0, value)),
    level(label, value) {
      const name = `${kind}.${label}`
      if (levels.get(name) === value) return
      levels.set(name, value)
      of(kind).set(label, value)
    },
  })
  const sinks = new Map(Object.keys(CATALOGUE).map((kind) => [kind, sinkOf(kind)]))
  return {
    report(event) {
      const sink = sinks.get(event.kind)
      const row = CATALOGUE[event.kind] as Row<HubEvent['kind']>
      if (sink !== undefined) row(sink, event)
    },
    writeCounts() {
      if (counts.size === 0) return
      const counted = Object.fromEntries(
        [...counts].map(([kind, counters]) => [kind, Object.fromEntries(counters)]),
      )
      counts.clear()
      write(JSON.stringify({ time: clock.nowMs(), kind: 'counted', ...counted }))
    },
  }
}
