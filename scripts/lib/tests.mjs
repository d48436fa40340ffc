/** Runs the two test runners and counts what they report. Owns their options. */
import { existsSync, mkdirSync, rmSync } from 'node:fs'
import { buildApp } from './app.mjs'
import { browserNames, ensureBrowsers } from './browsers.mjs'
import { ensureTracer } from './debian.mjs'
import { deno, inRoot, packageBin } from './project.mjs'
import { add, readJunit, readPlaywright } from './reports.mjs'
import { run } from './run.mjs'

const reports = inRoot('test-results')

function freshReport(name) {
  mkdirSync(reports, { recursive: true })
  const file = `${reports}/${name}`
  rmSync(file, { force: true })
  return file
}

/** Tests that only compute: they run beside those that start hubs, on a core of their own. */
const computing = ['tests/core', 'tests/fuzz', 'tests/interop', 'tests/sim', 'tests/vectors']

/** Everything that needs no browser. Types and tidy are a part of check. */
export async function runDenoTests() {
  ensureTracer()
  const others = [`--ignore=${['tests/tidy.test.ts', ...computing].join()}`, 'tests']
  const [first, second] = await Promise.all([
    runLane('computing', computing),
    runLane('hubs', others),
  ])
  return add(first, second)
}

async function runLane(name, places) {
  const report = freshReport(`deno-${name}.xml`)
  const { code } = await run([
    deno(),
    'test',
    '--allow-all',
    '--no-check',
    '--unstable-net',
    `--junit-path=${report}`,
    ...places,
  ])
  return readJunit(report, code)
}

/**
 * Everything that needs a browser, on every browser that there is.
 *
 * @param {readonly string[]} args passed on to Playwright
 */
export async function runBrowserTests(args = []) {
  const missing = ensureBrowsers()
  for (const { name, reason } of missing) console.log(`Skipped: tests on ${name}, ${reason}`)
  const skipped = missing.length
  if (!existsSync(inRoot('tests/e2e')) || skipped === browserNames.length) {
    return { passed: 0, failed: 0, skipped }
  }
  if ((await buildApp()).code !== 0) {
    console.log('The app could not be built for the browser tests')
    return { passed: 0, failed: 1, skipped }
  }
  // Where playwright.config.ts has it written.
  const report = freshReport('browsers.json')
  const command = [...packageBin('@playwright/test', 'cli.js'), 'test', ...args]
  const { code } = await run(command)
  const counts = readPlaywright(report, code)
  return { ...counts, skipped: counts.skipped + skipped }
}
