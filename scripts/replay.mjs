/**
 * `npm run replay -- FILE`: replays the report of a device, as `tests/capsule` does. The report may
 * come from anybody, so the program may read that file and do nothing else.
 */
import path from 'node:path'
import process from 'node:process'
import { fileURLToPath } from 'node:url'
import { deno, fail, install } from './lib/project.mjs'
import { run } from './lib/run.mjs'

const args = process.argv.slice(2)
const [given] = args
if (args.length !== 1 || given === undefined) fail('npm run replay -- FILE')
install()
const file = path.resolve(given)
// A comma separates files; one that is doubled is a comma.
const mayRead = `--allow-read=${file.replaceAll(',', ',,')}`
const permissions = ['--no-prompt', '--no-remote', '--cached-only', mayRead]
const program = fileURLToPath(new URL('../tests/capsule/main.ts', import.meta.url))
const command = [deno(), 'run', '--quiet', '--no-check', ...permissions, program, file]
process.exit((await run(command)).code)
