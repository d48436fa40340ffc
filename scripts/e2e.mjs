/** `npm run e2e`: the browser tests. Arguments go to Playwright: `-- --project=firefox`. */
import process from 'node:process'
import { install } from './lib/project.mjs'
import { summary } from './lib/reports.mjs'
import { runBrowserTests } from './lib/tests.mjs'

install()
const counts = await runBrowserTests(process.argv.slice(2))
console.log(summary(counts))
process.exit(counts.failed > 0 ? 1 : 0)
