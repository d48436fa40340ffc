/**
 * What a seed decides before anything happens: how many take part, which faults are on and how
 * often they come, which operations people do. Owns the catalogue of faults and operations.
 */
import { createPrng } from '../core/prng.ts'
import { type Lie, LIES } from '../support/hostile-member.ts'

/**
 * Faults by name, each with the chance that the comment says, in a million. A seed switches some
 * off and makes others rarer or more frequent.
 */
export const FAULTS = {
  // Network, for each write, datagram or dial.
  'delayed stream': 120_000,
  'lost datagram': 300_000,
  'late datagram': 300_000,
  'refused dial': 80_000,
  // Network, for each dial: a WebSocket carries the session.
  'no WebTransport': 200_000,
  // Network, for each tick.
  'session death': 1_500,
  partition: 400,
  // Network, for each stream with something on the way when its session dies.
  'cut inside a frame': 500_000,
  // The hub's store, for each transaction: appends, and what the directory and anchors write.
  'slow append': 60_000,
  'failed append': 8_000,
  // The hub's store, for each read.
  'slow read': 20_000,
  'failed read': 4_000,
  // The hub, for each tick.
  'hub crash': 400,
  'hub drain': 100,
  'hub clock jump': 150,
  // A device's store, for each transaction.
  'slow store': 60_000,
  'failed store': 3_000,
  // A device's store, for each read.
  'failed load': 10_000,
  // Devices, for each tick.
  'device crash': 1_000,
  'power loss': 400,
  'leader change': 600,
  eviction: 60,
  'device clock jump': 300,
  // The hostile member, for each tick.
  'false commit': 900,
  'false vote': 1_500,
  removal: 150,
  proposal: 900,
  'forged frame': 1_500,
  'replayed frame': 1_500,
  'malformed frame': 1_500,
  flood: 150,
  'repeated message': 1_500,
  'false content': 1_500,
  'false change': 900,
  'two commits': 900,
  // The hostile member, for each Welcome.
  'spoiled Welcome': 500_000,
  // The hostile member, for each frame that is too short for a stream.
  'lost framing': 500_000,
  // A hub that lies, for each frame that it takes.
  'false refusal': 40_000,
} as const
export type FaultName = keyof typeof FAULTS

/** Operations with their weights. */
export const OPERATIONS = {
  sendMessage: 60,
  sendAgain: 4,
  sendLong: 2,
  burst: 4,
  createRoom: 2,
  invite: 8,
  inviteFew: 4,
  inviteAgain: 3,
  revokeInvitation: 2,
  joinByLink: 14,
  addMember: 8,
  setTyping: 8,
  markRead: 8,
  networkChanged: 3,
  closeProgram: 2,
  timePasses: 1,
} as const
export type OperationName = keyof typeof OPERATIONS
const ALWAYS: ReadonlySet<OperationName> = new Set(['sendMessage', 'invite', 'joinByLink'])

/** What makes a whole seed harder; each is on in a quarter of the seeds. */
export const STRAINS = ['rare often', 'heavy load'] as const
export type StrainName = (typeof STRAINS)[number]
const STRAIN_FACTOR = 4
/** In a million; what comes more often is not rare. */
const RARE_MAX = 1_500

export type SuiteKind = 'fast' | 'real'

export interface Plan {
  readonly seed: number
  readonly ticks: number
  readonly devices: number
  readonly rooms: number
  readonly suite: SuiteKind
  /** Virtual time of one tick. */
  readonly tickMs: number
  /** Chances in a million; what is off is 0. */
  readonly faults: Readonly<Record<FaultName, number>>
  /** Weights; what is off is 0. */
  readonly operations: Readonly<Record<OperationName, number>>
  /** Chance of an operation in a tick, in a million. */
  readonly load: number
  readonly lies: readonly Lie[]
}

export interface PlanOptions {
  readonly seed: number
  readonly ticks?: number
  readonly devices?: number
  readonly rooms?: number
  readonly suite?: SuiteKind
  /** Faults, operations and strains that are left out, whatever the seed says. */
  readonly without?: readonly string[]
}

/** A seed for one use; other uses of the same seed, and other seeds, have nothing to do with it. */
export function seedOf(seed: number, use: string): number {
  let hash = seed ^ 0x811c9dc5
  for (let at = 0; at < use.length; at++) hash = Math.imul(hash ^ use.charCodeAt(at), 0x01000193)
  return Math.imul(hash ^ (hash >>> 15), 0x2c1b3c6d) >>> 0
}

/** Every choice comes from the seed and its own name, whatever the other options are. */
export function planOf(options: PlanOptions): Plan {
  const { seed, ticks = 2_000, devices = 8, rooms = 3, suite = 'fast', without = [] } = options
  const choice = (name: string) => createPrng(seedOf(seed, name))
  const isCalm = choice('calm').integer(16) === 0
  const strain = (name: StrainName) =>
    choice(name).integer(4) === 0 && !without.includes(name) ? STRAIN_FACTOR : 1
  const [rarely, loaded] = [strain('rare often'), strain('heavy load')]
  const faults = mapped(FAULTS, (name, chance) => {
    const prng = choice(name)
    const isOn = prng.integer(3) > 0 && !isCalm && !without.includes(name)
    if (!isOn) return 0
    const factor = prng.pick([0.25, 0.5, 1, 1, 2, 4]) * (chance <= RARE_MAX ? rarely : 1)
    return Math.min(1_000_000, chance * factor)
  })
  const operations = mapped(OPERATIONS, (name, weight) => {
    const prng = choice(name)
    const isOn = (prng.integer(5) > 0 || ALWAYS.has(name)) && !without.includes(name)
    return isOn ? weight * prng.pick([0.5, 1, 1, 2]) : 0
  })
  return {
    seed,
    ticks,
    devices,
    rooms,
    suite,
    tickMs: choice('tick').pick([10, 50, 50, 200]),
    faults,
    operations,
    load: loaded * choice('load').pick([5_000, 20_000, 20_000, 60_000]),
    lies: LIES.filter((lie) => choice(lie).integer(2) === 0),
  }
}

function mapped<Name extends string>(
  table: Readonly<Record<Name, number>>,
  value: (name: Name, was: number) => number,
): Readonly<Record<Name, number>> {
  const entries = Object.entries<number>(table).map(([name, was]) => [
    name,
    value(name as Name, was),
  ])
  return Object.fromEntries(entries)
}
