/**
 * One run of a plan: ticks under faults and load with all invariants after each, then the end. Owns
 * the order of the phases and the report.
 */
import { Chaos } from './chaos.ts'
import { judgeEnd, settleWorld } from './ending.ts'
import { judgeEmptied } from './ending-hub.ts'
import { letEverybodyIn, letEverybodySpeak } from './ending-late.ts'
import { Hostile } from './hostile.ts'
import { Violation } from './invariants.ts'
import type { Replay } from './oracle.ts'
import type { Plan } from './plan.ts'
import { Workload } from './workload.ts'
import { World } from './world.ts'

/** What a run was, as its last line says it. */
export interface Report {
  readonly seed: number
  /** Of the plan; the end takes further ones. */
  readonly ticks: number
  readonly suite: Plan['suite']
  readonly traceHash: string
  readonly violations: readonly { readonly invariant: string; readonly what: string }[]
  readonly faults: Readonly<Record<string, number>>
  readonly operations: Readonly<Record<string, number>>
  /** How operations ended. */
  readonly outcomes: Readonly<Record<string, number>>
  readonly entries: number
  readonly finals: number
  readonly voids: number
  readonly simulatedHours: number
  readonly seconds: number
}

export interface Run {
  readonly report: Report
  /** Null unless it was asked for. */
  readonly story: readonly string[] | null
}

export async function runPlan(plan: Plan, keepsStory = false): Promise<Run> {
  const beganAt = performance.now()
  const world = new World(plan, keepsStory)
  const violations: { invariant: string; what: string }[] = []
  try {
    await live(world)
  } catch (error) {
    if (!(error instanceof Violation)) throw error
    violations.push({ invariant: error.invariant, what: error.message })
    world.chronicle.note(`! ${error.message}`)
  }
  const { chronicle, watch } = world
  const replays = [...watch.readers.values()].map((reader) => reader.replay())
  const sum = (of: (replay: Replay) => number) =>
    replays.reduce((total, replay) => total + of(replay), 0)
  const report = {
    seed: plan.seed,
    ticks: plan.ticks,
    suite: plan.suite,
    traceHash: chronicle.hash,
    violations,
    faults: Object.fromEntries(chronicle.faults),
    operations: Object.fromEntries(chronicle.operations),
    outcomes: Object.fromEntries([...chronicle.outcomes].sort()),
    entries: sum(({ next }) => Number(next)),
    finals: sum(({ finals }) => finals),
    voids: sum(({ voids }) => voids.length),
    simulatedHours: world.simulatedMs / 3_600_000,
    seconds: (performance.now() - beganAt) / 1_000,
  }
  return { report, story: chronicle.story }
}

async function live(world: World): Promise<void> {
  const { plan } = world
  const workload = new Workload(world)
  const chaos = new Chaos(world)
  const hostile = new Hostile(world, workload.links)
  await workload.begin()
  while (world.ticks < plan.ticks) {
    await chaos.tick()
    await workload.tick()
    await hostile.tick()
    await world.tick()
  }
  world.chronicle.note('-- the end')
  hostile.end()
  await settleWorld(world)
  // Before anybody does anything more: what hangs may go on by that.
  await judgeEnd(world, workload)
  await letEverybodyIn(world, workload)
  letEverybodySpeak(world, workload)
  await settleWorld(world)
  await judgeEnd(world, workload)
  await judgeEmptied(world)
}
