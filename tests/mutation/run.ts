/**
 * `npm run mutate -- [AREA...] [--sample N] [--seed S] [--again]`: makes the mutants of each area,
 * runs the tests against them and ends with 1 where a score is too low or a survivor has no reason.
 * `--again`: only what survived when the area last ran and has no reason, for who writes tests; the
 * score is of the whole area, and holds as long as the product is as it was then.
 */
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import process from 'node:process'
import { createPrng } from '../core/prng.ts'
import { type Area, AREAS } from './areas.ts'
import { type Mutant, mutantsOf } from './mutants.ts'
import { type AreaResult, faultsOf, isSurvivor, keyOf, type KnownSurvivor } from './report.ts'
import { lineOf, outdated, placeOf, survivorLine, survivorsOf } from './report.ts'
import { filesOfCheckout, Sandbox } from './sandbox.ts'
import { judge, type Judged, observe } from './trial.ts'
import { Compiler } from './validity.ts'

const root = path.join(import.meta.dirname as string, '../..')
const here = import.meta.dirname as string
const known = JSON.parse(readFileSync(path.join(here, 'survivors.json'), 'utf8')) as KnownSurvivor[]

interface Options {
  readonly areas: readonly Area[]
  /** Mutants of each area that run; null: all. */
  readonly sample: number | null
  readonly seed: number
  readonly again: boolean
}

function readOptions(args: readonly string[]): Options | null {
  const names: string[] = []
  let sample: number | null = null
  let seed = 1
  let again = false
  for (let at = 0; at < args.length; at++) {
    const word = args[at] as string
    if (word === '--sample') sample = Number(args[++at])
    else if (word === '--seed') seed = Number(args[++at])
    else if (word === '--again') again = true
    else names.push(word)
  }
  const areas = AREAS.filter(({ name }) => names.length === 0 || names.includes(name))
  const isKnown = names.every((name) => AREAS.some((area) => area.name === name))
  const isWhole = Number.isInteger(seed) && (sample === null || sample > 0)
  return isKnown && isWhole ? { areas, sample, seed, again } : null
}

function testFilesOf({ tests }: Area): readonly string[] {
  return tests.flatMap((place) => {
    if (place.endsWith('.test.ts')) return [`tests/${place}`]
    const names = readdirSync(path.join(root, 'tests', place))
    return names.filter((name) => name.endsWith('.test.ts')).sort()
      .map((name) => `tests/${place}/${name}`)
  })
}

/** Which of some test files name a file, or a folder, in an import. */
function importersAmong(files: readonly string[]): (place: string) => ReadonlySet<string> {
  const texts = files.map((file) => [file, readFileSync(path.join(root, file), 'utf8')] as const)
  return (place) => {
    const alias = place.replace('edge-hub/', '#hub/').replace('shared/core/', '#core/')
    return new Set(
      texts.filter(([, text]) => text.includes(`'${alias}${place.endsWith('.ts') ? "'" : '/'}`))
        .map(([file]) => file),
    )
  }
}

function sampled<T>(values: readonly T[], { sample, seed }: Options): readonly T[] {
  if (sample === null || sample >= values.length) return values
  const prng = createPrng(seed)
  const places = new Set<number>()
  while (places.size < sample) places.add(prng.integer(values.length))
  return values.filter((_, place) => places.has(place))
}

const resultFile = (area: string): string => path.join(root, `test-results/mutants-${area}.json`)

const lastResult = ({ name }: Area): AreaResult =>
  JSON.parse(readFileSync(resultFile(name), 'utf8')) as AreaResult

/** What survived an area's last run for no reason that is known. */
function openBefore(area: Area): ReadonlySet<string> {
  const open = survivorsOf(lastResult(area), known).filter(({ reason }) => reason === null)
  return new Set(open.map(({ judged: { mutant } }) => keyOf(mutant)))
}

function openAmong(area: Area, mutants: readonly Mutant[]): readonly Mutant[] {
  const open = openBefore(area)
  return mutants.filter((mutant) => open.has(keyOf(mutant)))
}

/** The last result of an area, with what came of some of its survivors since. */
function renewed(area: Area, judged: readonly Judged[]): AreaResult {
  const before = lastResult(area)
  const again = new Set(judged.map(({ mutant }) => keyOf(mutant)))
  const others = before.judged.filter((each) => !isSurvivor(each) || !again.has(keyOf(each.mutant)))
  return { ...before, judged: [...others, ...judged] }
}

/** The mutants of an area that compile, and how many do not. */
function validMutants(area: Area, options: Options): { valid: readonly Mutant[]; invalid: number } {
  const compiler = new Compiler(root, area.files)
  for (const file of area.files) {
    const [error] = compiler.errors(file)
    if (error !== undefined) throw new Error(`${file} does not compile: ${error}`)
  }
  const { program } = compiler
  const all = area.files.flatMap((file) => mutantsOf(program, path.join(root, file), file))
  const some = sampled(options.again ? openAmong(area, all) : all, options)
  const valid = some.filter((mutant) => compiler.accepts(mutant))
  return { valid, invalid: some.length - valid.length }
}

const secondsSince = (startedMs: number): string =>
  `${((performance.now() - startedMs) / 1_000).toFixed(0)} s`

async function runArea(area: Area, options: Options): Promise<AreaResult> {
  const started = performance.now()
  const { valid, invalid } = validMutants(area, options)
  console.log(`${area.name}: ${valid.length} mutants compile, after ${secondsSince(started)}`)
  const sandbox = new Sandbox(root, filesOfCheckout(root))
  try {
    sandbox.mutate(valid)
    const files = testFilesOf(area)
    const importing = importersAmong(files)
    const trial = { sandbox, modules: area.files, files, mutants: valid, importing }
    const observed = await observe(trial)
    for (const each of observed.failing) console.log(`  fails without a mutant: ${each}`)
    console.log(`${area.name}: ${observed.tests.length} tests, after ${secondsSince(started)}`)
    let done = 0
    const judged = await judge(trial, observed, (each) => {
      done++
      if (isSurvivor(each)) console.log(`  ${each.verdict}: ${placeOf(each.mutant)}`)
      if (done % 100 === 0) console.log(`  ${done} judged, after ${secondsSince(started)}`)
    })
    const result = options.again ? renewed(area, judged) : { area: area.name, judged, invalid }
    console.log(`${lineOf(result)}, in ${secondsSince(started)}`)
    return result
  } finally {
    sandbox.remove()
  }
}

const options = readOptions(process.argv.slice(2))
if (options === null) {
  console.log(`[${AREAS.map(({ name }) => name).join(' | ')}] [--sample N] [--seed S] [--again]`)
  process.exit(2)
}
process.env['KALANDRA_VECTORS'] ??= path.join(root, '../shared/vectors')
const results: AreaResult[] = []
for (const area of options.areas) results.push(await runArea(area, options))
mkdirSync(path.join(root, 'test-results'), { recursive: true })
for (const result of results) {
  if (options.sample === null) {
    writeFileSync(resultFile(result.area), JSON.stringify(result, null, 1))
  }
  console.log(`\n${lineOf(result)}`)
  for (const survivor of survivorsOf(result, known)) console.log(survivorLine(survivor))
}
if (options.sample === null && !options.again) {
  for (const { file, inside, change } of outdated(results, known)) {
    console.log(`no survivor any more: ${file} ${inside}: ${change}`)
  }
}
const faults = faultsOf(results, known)
for (const fault of faults) console.log(fault)
process.exit(faults.length > 0 ? 1 : 0)
