/** `npm run replay -- FILE`: replays the report of a device, as `tests/capsule` does. */
import process from 'node:process'
import { fileURLToPath } from 'node:url'
import { deno, fail, install } from './lib/project.mjs'
import { run } from './lib/run.mjs'

const args = process.argv.slice(2)
if (args.length !== 1) fail('npm run replay -- FILE')
install()
const program = fileURLToPath(new URL('../tests/capsule/main.ts', import.meta.url))
const command = [deno(), 'run', '--quiet', '--no-check', '--allow-all', program]
process.exit((await run([...command, ...args])).code)
