/**
 * `npm run fuzz -- mls --seed N --runs M [--profile NAME] [--lanes N]`: histories from one seed
 * on, until one fails; then its seed, and the command that repeats it.
 */
import process from 'node:process'
import { repeatedBy, runLanes } from './lanes.ts'
import { PROFILES } from './profiles.ts'

function option(name: string, otherwise: string): string {
  const at = process.argv.indexOf(`--${name}`)
  return at < 0 ? otherwise : process.argv[at + 1] ?? otherwise
}

const run = {
  profile: option('profile', 'quick'),
  seed: Number(option('seed', '1')),
  runs: Number(option('runs', '200')),
  lanes: Number(option('lanes', '2')),
}
const isWhole = Number.isInteger(run.seed) && Number.isInteger(run.runs) && run.lanes > 0
if (PROFILES[run.profile] === undefined || !isWhole) {
  console.log(`--seed N --runs M --lanes N --profile ${Object.keys(PROFILES).join(' | ')}`)
  process.exit(2)
}
const started = performance.now()
const ended = await runLanes(run)
if (ended.kind === 'failed') {
  console.log(ended.text)
  console.log(`seed ${ended.seed} fails: ${repeatedBy({ ...run, seed: ended.seed })}`)
  process.exit(1)
}
for (const name of Object.keys(ended.counts).sort()) console.log(`${ended.counts[name]}\t${name}`)
const seconds = (performance.now() - started) / 1_000
console.log(`${run.runs} histories from seed ${run.seed} hold, in ${seconds.toFixed(1)} s`)
