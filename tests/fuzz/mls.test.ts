/** Random histories of groups on the MLS engine: fixed seeds, most of them on a stand-in suite. */
import { repeatedBy, runLanes } from './lanes.ts'

const LANES = 2
const SHARES = [
  { profile: 'quick', runs: 2_000 },
  { profile: 'interoperation', runs: 12 },
  { profile: 'performance', runs: 6 },
  { profile: 'compliance', runs: 3 },
] as const

for (const { profile, runs } of SHARES) {
  Deno.test(`${runs} random histories of groups hold what they must (${profile})`, async () => {
    const ended = await runLanes({ profile, seed: 1, runs, lanes: LANES })
    if (ended.kind === 'held') return
    const command = repeatedBy({ profile, seed: ended.seed })
    throw new Error(`seed ${ended.seed} fails, ${command}\n${ended.text}`)
  })
}
