/**
 * `npm run explore`: visits the worlds of `worlds.ts` in two lanes and says what it found; its last
 * line is one JSON object. Owns arguments, output and the status: 1 where an invariant broke.
 */
import { drain } from '../support/lanes.ts'
import type { LaneOrder } from './lane.ts'
import type { Report } from './search.ts'
import { EXPLORATIONS } from './worlds.ts'

interface Arguments {
  readonly world: string | null
  readonly statesMax: number | null
}

function argumentsOf(given: readonly string[]): Arguments | null {
  let [world, statesMax]: [string | null, number | null] = [null, null]
  for (let at = 0; at < given.length; at += 2) {
    const value = given[at + 1]
    if (value === undefined) return null
    if (given[at] === '--world' && EXPLORATIONS.some(({ name }) => name === value)) world = value
    else if (given[at] === '--states' && Number(value) > 0) statesMax = Number(value)
    else return null
  }
  return { world, statesMax }
}

function show(report: Report): void {
  const { world, bounds, states, transitions, depth, ends, exhausted, seconds, violation } = report
  console.log(`${world}: ${bounds}`)
  const whole = exhausted ? 'all of it' : 'up to the limit'
  console.log(
    `  ${states} states (${whole}), ${transitions} transitions, depth ${depth}, ` +
      `${ends} played to their end, ${seconds} s`,
  )
  if (violation === null) return
  console.log(`  BROKEN: ${violation.invariant}\n  ${violation.detail}`)
  for (const [index, name] of violation.path.entries()) console.log(`  ${index + 1}. ${name}`)
}

const wanted = argumentsOf(Deno.args)
if (wanted === null) {
  const names = EXPLORATIONS.map(({ name }) => `'${name}'`).join(', ')
  console.error(`npm run explore -- [--world NAME] [--states N], of the worlds ${names}`)
  Deno.exit(2)
}
const { world, statesMax } = wanted
const chosen = EXPLORATIONS.filter(({ name }) => world === null || name === world)
const reports: Report[] = []
const heard = (report: Report) => {
  reports.push(report)
  show(report)
}
const startedMs = performance.now()
const orders = ([0, 1] as const).flatMap((number): LaneOrder[] => {
  const worlds = chosen.filter(({ lane }) => lane === number).map(({ name }) => name)
  return worlds.length === 0 ? [] : [{ worlds, statesMax }]
})
await drain<LaneOrder, Report | null>({
  worker: new URL('./lane.ts', import.meta.url),
  lanes: orders.length,
  next: () => orders.shift() ?? null,
  answered(report) {
    if (report !== null) heard(report)
    return report === null
  },
})
console.log(JSON.stringify({
  seconds: Math.round((performance.now() - startedMs) / 1_000),
  states: reports.reduce((sum, { states }) => sum + states, 0),
  transitions: reports.reduce((sum, { transitions }) => sum + transitions, 0),
  broken: reports.filter(({ violation }) => violation !== null).length,
  worlds: reports,
}))
Deno.exit(reports.some(({ violation }) => violation !== null) ? 1 : 0)
