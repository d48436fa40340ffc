/**
 * `npm run fuzz -- mls --seed N --runs M [--profile NAME]`: histories from one seed on, until one
 * fails; then its seed, and the command that repeats it.
 */
import process from 'node:process'
import { runHistory } from './history.ts'
import { PROFILES } from './profiles.ts'

function option(name: string, otherwise: string): string {
  const at = process.argv.indexOf(`--${name}`)
  return at < 0 ? otherwise : process.argv[at + 1] ?? otherwise
}

const seed = Number(option('seed', '1'))
const runs = Number(option('runs', '200'))
const profile = PROFILES[option('profile', 'quick')]
if (profile === undefined || !Number.isInteger(seed) || !Number.isInteger(runs)) {
  console.log(`--seed N --runs M --profile ${Object.keys(PROFILES).join(' | ')}`)
  process.exit(2)
}
const totals: Record<string, number> = {}
const started = performance.now()
for (let each = seed; each < seed + runs; each++) {
  try {
    const counts = await runHistory(profile, each)
    for (const [name, many] of Object.entries(counts)) totals[name] = (totals[name] ?? 0) + many
  } catch (error) {
    console.log(error)
    console.log(`npm run fuzz -- mls --seed ${each} --runs 1 --profile ${profile.name}`)
    process.exit(1)
  }
}
for (const name of Object.keys(totals).sort()) console.log(`${totals[name]}\t${name}`)
const seconds = (performance.now() - started) / 1_000
console.log(`${runs} histories in ${seconds.toFixed(1)} s`)
