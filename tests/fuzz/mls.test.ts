/** Random histories of groups, a fixed share of seeds for each suite. */
import { runHistory } from './history.ts'
import { PROFILES } from './profiles.ts'

const SHARES: readonly (readonly [name: keyof typeof PROFILES, runs: number])[] = [
  ['quick', 200],
  ['interoperation', 4],
  ['performance', 2],
  ['compliance', 1],
]

for (const [name, runs] of SHARES) {
  Deno.test(`${runs} random histories of groups hold what they must (${name})`, async () => {
    const profile = PROFILES[name]
    if (profile === undefined) throw new Error(`no profile ${name}`)
    for (let seed = 1; seed <= runs; seed++) {
      try {
        await runHistory(profile, seed)
      } catch (cause) {
        const command = `npm run fuzz -- mls --seed ${seed} --runs 1 --profile ${name}`
        throw new Error(`seed ${seed} fails; ${command}`, { cause })
      }
    }
  })
}
