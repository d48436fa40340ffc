/** `npm test`: check, all tests, browser tests. The last line counts them. */
import process from 'node:process'
import { runCheck } from './lib/check-steps.mjs'
import { install } from './lib/project.mjs'
import { add, summary } from './lib/reports.mjs'
import { runBrowserTests, runDenoTests } from './lib/tests.mjs'

install()
let counts = { passed: 0, failed: 0, skipped: 0 }
for (const part of [runCheck, runDenoTests, runBrowserTests]) counts = add(counts, await part())
console.log(summary(counts))
process.exit(counts.failed > 0 ? 1 : 0)
