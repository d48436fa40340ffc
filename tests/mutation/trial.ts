/**
 * Runs mutants against tests. Owns which tests a mutant meets and in which order, and what becomes
 * of a mutant whose process ends early.
 */
import path from 'node:path'
import { type ProcessEnd, runProbe } from './process.ts'
import type { Job, Plan, Said, Verdict } from './probe.ts'
import type { Mutant } from './mutants.ts'
import type { Sandbox } from './sandbox.ts'

/** Time of the processor for tests that one mutant may cost. */
const testMsMax = 4_000
const loadMsMax = 120_000

export interface Judged {
  readonly mutant: Mutant
  /** `unreached`: no test comes by. It counts as a survivor. */
  readonly verdict: Verdict | 'unreached'
  readonly by: string
}

interface SeenTest {
  readonly key: string
  readonly file: string
  readonly ms: number
  readonly computedMs: number
  readonly reached: ReadonlyMap<number, number>
}

/** What the tests come by when no mutant is on. */
export interface Observed {
  readonly tests: readonly SeenTest[]
  /** Mutants that are met while a file loads. */
  readonly loading: ReadonlyMap<string, ReadonlySet<number>>
  readonly failing: readonly string[]
}

export interface Trial {
  readonly sandbox: Sandbox
  readonly modules: readonly string[]
  readonly files: readonly string[]
  readonly mutants: readonly Mutant[]
  /** Test files that import a file, or something of a folder. */
  importing(place: string): ReadonlySet<string>
}

const planOf = (trial: Trial, rest: Partial<Plan>): Plan => ({
  root: trial.sandbox.root,
  kind: 'judge',
  modules: trial.modules,
  files: trial.files,
  usualMs: {},
  jobs: [],
  first: null,
  ...rest,
})

/** Runs every test once. Throws where a file does not load. */
export async function observe(trial: Trial): Promise<Observed> {
  const tests: SeenTest[] = []
  const loading = new Map<string, ReadonlySet<number>>()
  const failing: string[] = []
  const hear = (said: Said): void => {
    if (said.kind === 'loaded') loading.set(said.file, new Set(said.reached))
    if (said.kind !== 'tested') return
    const { key, ms, computedMs, passed, title, why, reached } = said
    if (!passed) return void failing.push(`${title}: ${why}`)
    const file = key.split('#')[0] as string
    tests.push({ key, file, ms, computedMs, reached: new Map(reached) })
  }
  const plan = planOf(trial, { kind: 'observe' })
  const end = await runProbe(trial.sandbox, { plan, silenceMsMax: () => loadMsMax, hear })
  if (end !== 'ready') throw new Error(`the tests did not run without a mutant: ${end}`)
  return { tests, loading, failing }
}

// ---- Which tests ----------------------------------------------------------------------------

/** First those that import the mutant's file, then its folder; of each the fastest first. */
function affordable(
  { importing }: Trial,
  { file }: Mutant,
  tests: readonly SeenTest[],
): readonly SeenTest[] {
  const [nearest, near] = [importing(file), importing(path.dirname(file))]
  const order = (test: SeenTest) => nearest.has(test.file) ? 0 : near.has(test.file) ? 1 : 2
  let spentMs = 0
  return tests.toSorted((a, b) => order(a) - order(b) || a.computedMs - b.computedMs).filter(
    ({ computedMs }, place) => {
      if (place > 0 && spentMs + computedMs > testMsMax) return false
      spentMs += computedMs
      return true
    },
  )
}

/** A mutant in a loop is endless when it is asked for far more often than usual. */
function jobOf(mutant: number, tests: readonly SeenTest[]): Job {
  const asks = Math.max(0, ...tests.map(({ reached }) => reached.get(mutant) ?? 0))
  return { mutant, tests: tests.map(({ key }) => key), asksMax: 20_000 + 50 * asks }
}

/** Who meets a mutant while it loads: nobody, the product, or some test files. */
function metWhileLoading(trial: Trial, { loading }: Observed, mutant: number) {
  const files = [...loading].filter(([, met]) => met.has(mutant)).map(([file]) => file)
  if (files.length === 0) return { kind: 'never' } as const
  const isOwn = files.some((file) => trial.modules.includes(file))
  return isOwn ? { kind: 'product' } as const : { kind: 'tests', files } as const
}

/**
 * Tests for which a mutant is on before anything loads: those of the files that meet it; where the
 * product does, all that come by its file or import from its folder.
 */
function testsFromTheStart(trial: Trial, observed: Observed, mutant: number): readonly SeenTest[] {
  const met = metWhileLoading(trial, observed, mutant)
  if (met.kind === 'never') return []
  if (met.kind === 'tests') return observed.tests.filter(({ file }) => met.files.includes(file))
  const own = trial.mutants[mutant] as Mutant
  const near = trial.importing(path.dirname(own.file))
  const siblings = new Set(
    trial.mutants.flatMap((each, place) => each.file === own.file ? [place] : []),
  )
  return observed.tests.filter(({ file, reached }) =>
    near.has(file) || [...reached.keys()].some((place) => siblings.has(place))
  )
}

// ---- Judging --------------------------------------------------------------------------------

export async function judge(
  trial: Trial,
  observed: Observed,
  progress: (judged: Judged) => void,
): Promise<readonly Judged[]> {
  const usualMs = Object.fromEntries(observed.tests.map(({ key, ms }) => [key, ms]))
  const results = new Map<number, Judged>()
  const again: number[] = []
  const settle = (place: number, verdict: Judged['verdict'], by: string): void => {
    const judged = { mutant: trial.mutants[place] as Mutant, verdict, by }
    results.set(place, judged)
    progress(judged)
  }
  const isMetEarly = (place: number): boolean =>
    metWhileLoading(trial, observed, place).kind !== 'never'
  const hear = (said: Said): void => {
    if (said.kind !== 'judged') return
    const { mutant, verdict, by } = said
    const isOpen = verdict === 'unclear' || (verdict === 'survived' && isMetEarly(mutant))
    if (isOpen) again.push(mutant)
    else settle(mutant, verdict, by)
  }
  let jobs: readonly Job[] = trial.mutants.flatMap((mutant, place) => {
    const reaching = observed.tests.filter(({ reached }) => reached.has(place))
    const tests = affordable(trial, mutant, reaching)
    if (tests.length > 0) return [jobOf(place, tests)]
    if (isMetEarly(place)) again.push(place)
    else settle(place, 'unreached', '')
    return []
  })
  while (jobs.length > 0) {
    const open = await judgeMany(trial, { jobs, usualMs }, hear)
    if (open.broken !== null) settle(open.broken, 'timedOut', open.why)
    jobs = jobs.filter(({ mutant }) => !results.has(mutant) && !again.includes(mutant))
  }
  for (const place of again) {
    const reaching = observed.tests.filter(({ reached }) => reached.has(place))
    const early = testsFromTheStart(trial, observed, place)
    const own = trial.mutants[place] as Mutant
    const tests = affordable(trial, own, [...new Set([...reaching, ...early])])
    await judgeAlone(trial, { job: jobOf(place, tests), usualMs }, settle)
  }
  return trial.mutants.map((_, place) => results.get(place) as Judged)
}

interface Many {
  readonly jobs: readonly Job[]
  readonly usualMs: Readonly<Record<string, number>>
}

const silenceMsMaxOf = (last: Said | null): number =>
  last?.kind === 'started' ? 15_000 + 10 * testMsMax : loadMsMax

/** One process for many mutants; the one that it could not end is named. */
async function judgeMany(
  trial: Trial,
  { jobs, usualMs }: Many,
  hear: (said: Said) => void,
): Promise<{ readonly broken: number | null; readonly why: string }> {
  let started: number | null = null
  const plan = planOf(trial, { jobs, usualMs })
  const end = await runProbe(trial.sandbox, {
    plan,
    silenceMsMax: silenceMsMaxOf,
    hear: (said) => {
      if (said.kind === 'started') started = said.mutant
      if (said.kind === 'judged') started = null
      hear(said)
    },
  })
  if (end === 'ready') return { broken: null, why: '' }
  if (started === null) throw new Error(`the process of the tests is ${end}`)
  return { broken: started, why: whyBroken(end) }
}

const whyBroken = (end: ProcessEnd): string =>
  end === 'silent' ? 'the process hung' : 'the process broke down'

/** What a process of its own says about a job; null where it ended before. */
async function judgeApart(
  trial: Trial,
  { job, usualMs }: Apart,
): Promise<Extract<Said, { readonly kind: 'judged' }> | { readonly broken: string }> {
  const files = [...new Set(job.tests.map((key) => key.split('#')[0] as string))]
  const plan = planOf(trial, { files, usualMs, first: job })
  let judged: Extract<Said, { readonly kind: 'judged' }> | null = null
  const hear = (said: Said): void => {
    if (said.kind === 'judged') judged = said
  }
  const end = await runProbe(trial.sandbox, { plan, silenceMsMax: silenceMsMaxOf, hear })
  return judged ?? { broken: whyBroken(end) }
}

interface Apart {
  readonly job: Job
  readonly usualMs: Many['usualMs']
}

/** No mutant has this number. */
const NOBODY = -1

/**
 * Judges a mutant that is on from the start. Where a test fails, the same tests must pass without
 * the mutant; one that does not, since it counts on others of its file, is not asked.
 */
async function judgeAlone(
  trial: Trial,
  { job, usualMs }: Apart,
  settle: (place: number, verdict: Judged['verdict'], by: string) => void,
): Promise<void> {
  const found = await judgeApart(trial, { job, usualMs })
  if ('broken' in found) return settle(job.mutant, 'timedOut', found.broken)
  const { verdict, by, ran } = found
  if (verdict !== 'killed' && verdict !== 'unclear') return settle(job.mutant, verdict, by)
  const without = { ...job, mutant: NOBODY, tests: job.tests.slice(0, Math.max(ran, 1)) }
  const control = await judgeApart(trial, { job: without, usualMs })
  if ('broken' in control) return settle(job.mutant, 'survived', control.broken)
  if (control.verdict === 'survived') return settle(job.mutant, 'killed', by)
  const tests = job.tests.filter((_, place) => place !== control.ran - 1)
  if (tests.length === job.tests.length) return settle(job.mutant, 'survived', control.by)
  await judgeAlone(trial, { job: { ...job, tests }, usualMs }, settle)
}
