/**
 * `npm run sim -- [--seed N] [--ticks M] [--devices D] [--rooms R] [--suite real|fast]
 * [--without NAMES] [--trace] [--shrink]`, or many: `[--seeds COUNT] [--lanes L]
 * [--first-violation]`. Owns the options and what is printed; the last line is one JSON object,
 * and a violation ends with status 1.
 */
import { parseArgs } from 'node:util'
import process from 'node:process'
import { FAULTS, OPERATIONS, planOf, type PlanOptions, STRAINS } from './plan.ts'
import { repeatedBy, runMany, sumOf } from './lanes.ts'
import { type Report, runPlan } from './run.ts'
import { shrink } from './shrink.ts'

const { values } = parseArgs({
  args: Deno.args,
  options: {
    seed: { type: 'string', default: '1' },
    seeds: { type: 'string', default: '1' },
    lanes: { type: 'string', default: '2' },
    ticks: { type: 'string', default: '2000' },
    devices: { type: 'string', default: '8' },
    rooms: { type: 'string', default: '3' },
    suite: { type: 'string', default: 'fast' },
    without: { type: 'string', default: '' },
    trace: { type: 'boolean', default: false },
    shrink: { type: 'boolean', default: false },
    'first-violation': { type: 'boolean', default: false },
  },
})

function optionsOf(): PlanOptions {
  const { suite } = values
  const number = (name: 'seed' | 'ticks' | 'devices' | 'rooms') => Number(values[name])
  const without = values.without.split(',').filter((name) => name !== '')
  const known = new Set<string>([...Object.keys(FAULTS), ...Object.keys(OPERATIONS), ...STRAINS])
  const numbers = [number('seed'), number('ticks'), number('devices'), number('rooms')]
  const isGood = (suite === 'fast' || suite === 'real') && numbers.every(Number.isInteger) &&
    without.every((name) => known.has(name))
  if (!isGood) {
    console.log('--seed N --ticks M --devices D --rooms R --suite fast|real --without NAMES')
    console.log([...known].join(', '))
    process.exit(2)
  }
  const [seed = 1, ticks = 1, devices = 1, rooms = 1] = numbers
  return { seed, ticks, devices, rooms, suite, without }
}

function tellFailure(options: PlanOptions, { seed, violations }: Report): void {
  for (const { what } of violations) console.log(what)
  if (violations.length > 0) console.log(`fails: ${repeatedBy({ ...options, seed })}`)
}

/** One run; its story, if that is asked for. */
async function one(options: PlanOptions): Promise<boolean> {
  const { report, story } = await runPlan(planOf(options), values.trace)
  for (const line of story ?? []) console.log(line)
  tellFailure(options, report)
  if (values.shrink && report.violations.length > 0) {
    const smallest = await shrink(options, (smaller) => console.log(repeatedBy(smaller)))
    if (smallest !== null) console.log(`smallest: ${repeatedBy(smallest)}`)
  }
  console.log(JSON.stringify(report))
  return report.violations.length === 0
}

/** Many seeds; what they were together. */
async function many(options: PlanOptions, count: number): Promise<boolean> {
  const { seed, ...others } = options
  const reports = await runMany({
    first: seed,
    count,
    lanes: Number(values.lanes),
    options: others,
    endsAtViolation: values['first-violation'],
    ended: (report) => tellFailure(options, report),
  })
  const sum = sumOf(reports)
  const silent = Object.keys(FAULTS).filter((name) => !(name in sum.faults))
  if (silent.length > 0) console.log(`never happened: ${silent.join(', ')}`)
  console.log(JSON.stringify({ suite: options.suite, firstSeed: seed, ...sum }))
  return sum.violations === 0
}

const options = optionsOf()
const count = Number(values.seeds)
const holds = count > 1 ? await many(options, count) : await one(options)
process.exit(holds ? 0 : 1)
