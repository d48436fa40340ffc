/** `npm run sim -- --seed N --ticks M ...`: the simulation, as `tests/sim` has it. */
import process from 'node:process'
import { fileURLToPath } from 'node:url'
import { deno, install } from './lib/project.mjs'
import { run } from './lib/run.mjs'

install()
const program = fileURLToPath(new URL('../tests/sim/main.ts', import.meta.url))
// Each lane fills a core: helpers of the collector would take it from another, or from itself.
const flags = '--v8-flags=--single-threaded-gc,--min-semi-space-size=32,--max-semi-space-size=64'
const command = [deno(), 'run', '--quiet', '--no-check', '--allow-all', flags, program]
process.exit((await run([...command, ...process.argv.slice(2)])).code)
