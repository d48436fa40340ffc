/**
 * `npm run bench -- crypto`: what sealing and opening of a message cost, in both product suites, in
 * Deno and in Chromium, and how that compares with MLS PrivateMessage in the same run. Owns the
 * effort, the table and the last line; what a sample is stands in `crypto-cases.ts`.
 */
import process from 'node:process'
import { BURST_FRAMES, type Effort, type Measure, MEASURES, median } from './crypto-cases.ts'
import { PLAINTEXT_LENGTH, type Round, type SuiteRounds } from './crypto-cases.ts'
import { measureChromium } from './crypto-chromium.ts'
import { type BenchSuiteName, type EngineRounds, measureEngine } from './crypto-engine.ts'

const EFFORT: Effort = { rounds: 7, bursts: 8, samplesPerBurst: 20, newSenders: 32 }
/** What the medians of ours stay under, in microseconds. */
const AIM_US = 1_000
const AIMED: readonly Measure[] = ['seal', 'open', 'burstSeal', 'burstOpen']

const SUITE_NAMES: readonly BenchSuiteName[] = ['performance', 'compliance']
/** Ours over MLS: single frames over single messages, bursts over series of the same length. */
const RATIOS = {
  sealRatio: ['seal', 'privateMessageSeal'],
  openRatio: ['open', 'privateMessageOpen'],
  burstSealRatio: ['burstSeal', 'privateMessageSeriesSeal'],
  burstOpenRatio: ['burstOpen', 'privateMessageSeriesOpen'],
} as const satisfies Record<string, readonly [Measure, Measure]>

type Figure = (round: Round) => number
type BySuite = Record<BenchSuiteName, Record<string, number>>

async function main(): Promise<void> {
  const engines: Record<string, EngineRounds> = { deno: await measureEngine(EFFORT) }
  console.log(`Deno ${Deno.version.deno}, V8 ${Deno.version.v8}`)
  const chromium = await measureChromium(EFFORT)
  if (chromium === null) console.log('Chromium is not installed: its figures are left out')
  else {
    console.log(`Chromium ${chromium.version}`)
    engines['chromium'] = chromium
  }
  explain(engines)
  const load = Deno.loadavg().map((each) => each.toFixed(1)).join(' ')
  console.log(`load of the machine ${load} on ${navigator.hardwareConcurrency} processors`)
  console.log(JSON.stringify(figures(engines)))
}

function explain(engines: Record<string, EngineRounds>): void {
  const { rounds, bursts, samplesPerBurst, newSenders } = EFFORT
  const samples = bursts * samplesPerBurst
  console.log(
    [
      `${PLAINTEXT_LENGTH} bytes of plaintext, two members; ${rounds} rounds after a warm-up,`,
      `each of ${samples} single frames, ${bursts} bursts of ${BURST_FRAMES}`,
      `and the first frames of ${newSenders} people.`,
      'From plaintext to bytes on the wire and back: ratchet, signature and its check, encoding,',
      'wiping; nothing is stored. Median of the medians of rounds in microseconds for one frame,',
      'and the lowest and highest median of a round.',
    ].join('\n'),
  )
  for (const [engine, { suites, native, clockStepUs }] of Object.entries(engines)) {
    const step = clockStepUs.toFixed(1)
    console.log(`${engine}: clock step ${step} us; WebCrypto: ${native.join(' ')}`)
    for (const name of SUITE_NAMES) explainSuite(name, suites[name])
  }
}

function explainSuite(name: BenchSuiteName, { rounds, sizes }: SuiteRounds): void {
  console.log(
    `  ${name}: ${sizes.sealed} bytes a frame (${sizes.burst} in a burst of ${BURST_FRAMES}), ` +
      `${sizes.privateMessage} as PrivateMessage`,
  )
  for (const measure of MEASURES) {
    const medians = rounds.map((round) => round[measure])
    const middle = median(medians)
    const range = [Math.min(...medians), Math.max(...medians)].map((us) => us.toFixed(0)).join('-')
    const late = middle < AIM_US || !AIMED.includes(measure) ? '' : `  over ${AIM_US}`
    console.log(`    ${measure.padEnd(26)}${middle.toFixed(0).padStart(6)}  (${range})${late}`)
  }
}

function figures(engines: Record<string, EngineRounds>): Record<string, BySuite> {
  const bySuite = (figure: Figure, digits: number): BySuite => {
    const ofSuite = (name: BenchSuiteName) =>
      Object.fromEntries(
        Object.entries(engines).map(([engine, { suites }]) => [
          engine,
          Number(median(suites[name].rounds.map(figure)).toFixed(digits)),
        ]),
      )
    return { performance: ofSuite('performance'), compliance: ofSuite('compliance') }
  }
  const times = MEASURES.map((measure) => [
    `${measure}Us`,
    bySuite((round) => round[measure], 0),
  ])
  const ratios = Object.entries(RATIOS).map(([name, [ours, mls]]) => [
    name,
    bySuite((round) => round[ours] / round[mls], 2),
  ])
  return Object.fromEntries([...times, ...ratios]) as Record<string, BySuite>
}

await main()
// A dependency of the bundler may keep the process alive.
process.exit(0)
