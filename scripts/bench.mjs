/** `npm run bench -- NAME`: runs `bench/NAME.ts`; its last line is one JSON object. */
import { existsSync, readdirSync } from 'node:fs'
import process from 'node:process'
import { deno, fail, inRoot, install } from './lib/project.mjs'
import { run } from './lib/run.mjs'

const [name, ...args] = process.argv.slice(2)
install()
const folder = inRoot('bench')
const names = existsSync(folder)
  ? readdirSync(folder).filter((file) => file.endsWith('.ts')).map((file) => file.slice(0, -3))
  : []
if (!names.includes(name)) fail(`npm run bench -- NAME, where NAME is one of: ${names.join(', ')}`)
const program = [deno(), 'run', '--quiet', '--allow-all', '--unstable-net', `bench/${name}.ts`]
process.exit((await run([...program, ...args])).code)
