/** `npm run fuzz -- mls [--seed N] [--runs M]`: random histories, as `tests/fuzz` makes them. */
import process from 'node:process'
import { fileURLToPath } from 'node:url'
import { deno, fail, install } from './lib/project.mjs'
import { run } from './lib/run.mjs'

const [name, ...args] = process.argv.slice(2)
if (name !== 'mls') fail('npm run fuzz -- mls [--seed N] [--runs M] [--profile NAME] [--lanes N]')
install()
const program = fileURLToPath(new URL('../tests/fuzz/run.ts', import.meta.url))
const command = [deno(), 'run', '--quiet', '--no-check', '--allow-all', program]
process.exit((await run([...command, ...args])).code)
