/** The steps of `npm run check`. Owns their commands and order; two run at a time. */
import { existsSync, readdirSync } from 'node:fs'
import process from 'node:process'
import { buildApp, measureApp } from './app.mjs'
import { measureMls } from './mls-size.mjs'
import { deno, inRoot, packageBin } from './project.mjs'
import { run } from './run.mjs'

/** What Deno checks; components and what they import are for svelte-check. */
const typed = [
  'shared',
  'edge-hub',
  'service-worker',
  'web/src/engine/engine.worker.ts',
  'web/vite.config.ts',
  'lint',
  'bench',
  'playwright.config.ts',
]

/** The tests but those that stand on components. */
const typedTests = () =>
  readdirSync(inRoot('tests')).filter((name) => name !== 'screens' && !name.endsWith('.json'))
    .map((name) => `tests/${name}`)

const there = (place) => existsSync(inRoot(place))

async function command(...parts) {
  const { code, output } = await run(parts, { quiet: true, env: { NO_COLOR: '1' } })
  return { passed: code === 0, output }
}

const absent = (what) => ({ passed: true, output: `there is no ${what} yet\n` })

function components() {
  if (!there('web/src')) return absent('app')
  const check = packageBin('svelte-check', 'bin/svelte-check')
  const places = ['--workspace', inRoot('web'), '--tsconfig', inRoot('web/tsconfig.json')]
  return command(...check, ...places, '--fail-on-warnings', '--output', 'human')
}

async function build() {
  const { code, output } = await buildApp({ quiet: true })
  return { passed: code === 0, output }
}

function budgets() {
  if (!there('web/vite.config.ts')) return absent('app')
  if (!there('dist/index.html')) return { passed: false, output: 'dist/ is missing\n' }
  const { passed, lines } = measureApp()
  return { passed, output: `${lines.join('\n')}\n`, shown: true }
}

async function mlsBudget() {
  const { passed, line } = await measureMls()
  return { passed, output: `${line}\n`, shown: true }
}

/** Names the files only: `npm run fmt` makes the difference. */
async function format() {
  const { passed, output } = await command(deno(), 'fmt', '--check')
  const files = [...output.matchAll(/^from (.*):$/gm)].map(([, file]) => `${file}\n`)
  return {
    passed,
    output: passed || files.length === 0 ? output : `npm run fmt\n${files.join('')}`,
  }
}

/** Steps in lanes: those of one lane run one after the other. */
const lanes = [
  [
    ['format', format],
    ['lint', () => command(deno(), 'lint')],
    ['types', () => command(deno(), 'check', '--quiet', ...typed.filter(there), ...typedTests())],
    [
      'tidy',
      () => command(deno(), 'test', '--quiet', '--no-check', '--allow-all', 'tests/tidy.test.ts'),
    ],
  ],
  [['build', build], ['components', components], ['budgets', budgets], ['engine', mlsBudget]],
]

/**
 * Runs every step, prints one line for each and the output of those that failed.
 *
 * @returns {Promise<{ passed: number, failed: number }>}
 */
export async function runCheck() {
  const counts = { passed: 0, failed: 0 }
  await Promise.all(lanes.map(async (lane) => {
    for (const [name, step] of lane) {
      const began = performance.now()
      const { passed, output, shown = false } = await step()
      counts[passed ? 'passed' : 'failed'] += 1
      const seconds = ((performance.now() - began) / 1000).toFixed(1)
      console.log(`check ${name}: ${passed ? 'ok' : 'FAILED'} (${seconds} s)`)
      if (!passed || shown) process.stdout.write(output.replace(/^(?=.)/gm, '  '))
    }
  }))
  return counts
}
