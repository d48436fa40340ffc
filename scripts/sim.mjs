/** `npm run sim -- --seed N --ticks M ...`: the simulation, as `tests/sim` has it. */
import process from 'node:process'
import { fileURLToPath } from 'node:url'
import { deno, install } from './lib/project.mjs'
import { run } from './lib/run.mjs'

install()
const program = fileURLToPath(new URL('../tests/sim/main.ts', import.meta.url))
const command = [deno(), 'run', '--quiet', '--no-check', '--allow-all', program]
process.exit((await run([...command, ...process.argv.slice(2)])).code)
