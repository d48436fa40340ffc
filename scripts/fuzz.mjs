/** `npm run fuzz -- mls --seed N --runs M`: random histories, as `tests/fuzz` makes them. */
import process from 'node:process'
import { deno, fail, install } from './lib/project.mjs'
import { run } from './lib/run.mjs'

const [name, ...args] = process.argv.slice(2)
if (name !== 'mls') fail('npm run fuzz -- mls [--seed N] [--runs M] [--profile NAME]')
install()
const program = [deno(), 'run', '--quiet', '--no-check', '--allow-all', 'tests/fuzz/run.ts']
process.exit((await run([...program, ...args])).code)
