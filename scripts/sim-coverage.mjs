/**
 * `npm run sim-coverage -- [--seeds N] [--ticks M]`: how many lines of the protocol code the
 * simulation runs through, by area. Ends with 1 where all together are below 90 %.
 */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import process from 'node:process'
import { parseArgs } from 'node:util'
import { deno, inRoot, install } from './lib/project.mjs'
import { run } from './lib/run.mjs'

/** What every room and session goes through. The engine has parts that no room uses yet. */
const AREAS = {
  gateway: 'edge-hub/gateway/',
  sequencer: 'edge-hub/sequencer/',
  device: 'shared/core/device/',
  identity: 'shared/core/identity/',
  policy: 'shared/core/policy/',
  'sender keys': 'shared/core/sender-keys/',
  wire: 'shared/core/wire/',
  engine: 'shared/core/mls/',
}
const UNUSED =
  /\/(psk|successor|successor-rules|private-message|secret-tree|secret-tree-codec)\.ts$/
const LEAST = 90

const { values } = parseArgs({
  options: {
    seeds: { type: 'string', default: '24' },
    ticks: { type: 'string', default: '10000' },
  },
})
install()
const folder = mkdtempSync(path.join(tmpdir(), 'kalandra-coverage-'))
try {
  const program = inRoot('tests/sim/main.ts')
  const flags = ['--quiet', '--no-check', '--allow-all', `--coverage=${folder}/runs`]
  for (let seed = 1; seed <= Number(values.seeds); seed++) {
    const options = ['--seed', `${seed}`, '--ticks', values.ticks]
    const { code } = await run([deno(), 'run', ...flags, program, ...options])
    if (code !== 0) process.exit(code)
  }
  const lcov = `${folder}/lcov`
  await run([deno(), 'coverage', '--quiet', '--lcov', `--output=${lcov}`, `${folder}/runs`])
  process.exit(report(readFileSync(lcov, 'utf8')))
} finally {
  rmSync(folder, { recursive: true })
}

/** @param {string} lcov */
function report(lcov) {
  const sums = Object.fromEntries(Object.keys(AREAS).map((area) => [area, { found: 0, hit: 0 }]))
  for (const record of lcov.split('end_of_record')) {
    const file = /^SF:(.*)$/m.exec(record)?.[1] ?? ''
    const area = Object.keys(AREAS).find((name) => file.includes(`/${AREAS[name]}`))
    if (area === undefined || UNUSED.test(file)) continue
    sums[area].found += Number(/^LF:(\d+)$/m.exec(record)?.[1] ?? 0)
    sums[area].hit += Number(/^LH:(\d+)$/m.exec(record)?.[1] ?? 0)
  }
  const all = { found: 0, hit: 0 }
  for (const { found, hit } of Object.values(sums)) {
    all.found += found
    all.hit += hit
  }
  const percent = ({ found, hit }) => Math.round((hit / found) * 1_000) / 10
  const table = { ...Object.fromEntries(Object.entries(sums).map(([a, b]) => [a, percent(b)])) }
  for (const [area, value] of Object.entries(table)) console.log(`${area.padEnd(12)}${value} %`)
  console.log(JSON.stringify({ seeds: Number(values.seeds), areas: table, all: percent(all) }))
  return percent(all) < LEAST ? 1 : 0
}
