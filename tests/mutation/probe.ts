/**
 * The process in which mutants run, in a copy of the tree. `observe` runs every test once and says
 * which mutants it came by; `judge` runs for each mutant the tests that it was given, until one
 * fails. Owns no decision: it is told what to run, and answers one line of JSON for each step.
 */
import { readFileSync, writeSync } from 'node:fs'
import process from 'node:process'
import { collect, type CollectedTest, runTest } from './collected.ts'
import { installSwitch } from './switch.ts'

export interface Job {
  readonly mutant: number
  /** Keys, in the order to run. */
  readonly tests: readonly string[]
  readonly asksMax: number
}

export interface Plan {
  readonly root: string
  readonly kind: 'observe' | 'judge'
  /** Product files that load before the tests. */
  readonly modules: readonly string[]
  readonly files: readonly string[]
  /** How long a test takes without a mutant. */
  readonly usualMs: Readonly<Record<string, number>>
  readonly jobs: readonly Job[]
  /** On from the beginning: for what happens while files load. */
  readonly first: Job | null
}

export type Verdict = 'killed' | 'timedOut' | 'survived'

export type Said =
  | { readonly kind: 'loaded'; readonly file: string; readonly reached: readonly number[] }
  | {
    readonly kind: 'tested'
    readonly key: string
    readonly title: string
    readonly ms: number
    /** What the processor gave to it, whatever else the machine did. */
    readonly computedMs: number
    readonly passed: boolean
    readonly why: string
    readonly reached: readonly (readonly [number, number])[]
  }
  | { readonly kind: 'started'; readonly mutant: number }
  | {
    readonly kind: 'judged'
    readonly mutant: number
    readonly verdict: Verdict | 'unclear'
    readonly by: string
    /** Tests that ran. */
    readonly ran: number
  }

/** Time for a test that a mutant makes slow: its usual time, and what a busy machine adds. */
const limitMsOf = (usualMs: number): number => 2_000 + 6 * usualMs

const say = (said: Said): void => {
  writeSync(1, `@${JSON.stringify(said)}\n`)
}

const plan = JSON.parse(readFileSync(process.argv[2] as string, 'utf8')) as Plan
const mutants = installSwitch()
const tests = new Map<string, CollectedTest>()

async function load(): Promise<void> {
  for (const file of [...plan.modules, ...plan.files]) {
    const found = await collect(plan.root, file)
    for (const test of found) tests.set(test.key, test)
    say({ kind: 'loaded', file, reached: [...mutants.takeReached().keys()] })
  }
}

async function observe(): Promise<void> {
  for (const test of tests.values()) {
    mutants.takeReached()
    const started = performance.now()
    const before = process.cpuUsage()
    const ending = await runTest(test, 120_000)
    const ms = performance.now() - started
    const { user, system } = process.cpuUsage(before)
    const computedMs = (user + system) / 1_000
    const why = ending.kind === 'failed' ? ending.why : ending.kind
    const reached = [...mutants.takeReached()]
    const passed = ending.kind === 'passed'
    say({ kind: 'tested', key: test.key, title: test.title, ms, computedMs, passed, why, reached })
  }
}

/** False: something of the mutant is left in this process, which ends. */
async function judge({ mutant, tests: keys, asksMax }: Job): Promise<boolean> {
  say({ kind: 'started', mutant })
  for (const [place, key] of keys.entries()) {
    const ran = place + 1
    const test = tests.get(key) as CollectedTest
    mutants.turn(mutant, asksMax)
    const ending = await runTest(test, limitMsOf(plan.usualMs[key] ?? 0))
    const { isEndless } = mutants
    mutants.turn(null, 0)
    if (ending.kind === 'passed' && !isEndless) continue
    const isLate = ending.kind === 'late' || isEndless
    const isSober = plan.first !== null || isLate || await passes(test)
    const verdict = isLate ? 'timedOut' : isSober ? 'killed' : 'unclear'
    const why = ending.kind === 'failed' ? ending.why : ''
    say({ kind: 'judged', mutant, verdict, by: `${test.title} (${key}) ${why}`, ran })
    return isSober && !isLate
  }
  say({ kind: 'judged', mutant, verdict: 'survived', by: '', ran: keys.length })
  return true
}

/** A test that found a mutant must pass without it, or an earlier one left something behind. */
const passes = async (test: CollectedTest): Promise<boolean> =>
  (await runTest(test, limitMsOf(plan.usualMs[test.key] ?? 0))).kind === 'passed'

async function judgeAll(): Promise<void> {
  for (const job of plan.jobs) {
    if (!await judge(job)) return
  }
}

async function judgeFromTheStart(job: Job): Promise<void> {
  say({ kind: 'started', mutant: job.mutant })
  mutants.turn(job.mutant, job.asksMax)
  try {
    await load()
  } catch (error) {
    const by = `loading: ${String(error).split('\n')[0]}`
    return say({ kind: 'judged', mutant: job.mutant, verdict: 'killed', by, ran: 0 })
  }
  await judge(job)
}

if (plan.first !== null) await judgeFromTheStart(plan.first)
else {
  await load()
  if (plan.kind === 'observe') await observe()
  else await judgeAll()
}
process.exit(0)
