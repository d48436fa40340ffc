/** `npm run check`: format, lint, types, tidy, components and size budgets. */
import process from 'node:process'
import { runCheck } from './lib/check-steps.mjs'
import { install } from './lib/project.mjs'

install()
const { passed, failed } = await runCheck()
console.log(`${passed} passed, ${failed} failed`)
process.exit(failed > 0 ? 1 : 0)
