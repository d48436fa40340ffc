/**
 * `npm run bench -- mls [MEMBERS_MAX] [SUITES]`: what commits and joins cost at 10 to 10,000 members
 * in cold and warm trees, beside the primitives that they cannot avoid and beside two libraries on
 * the same trees. Owns the order, the table and the last line.
 */
import process from 'node:process'
import { createNobleCrypto } from '#core/crypto/noble.ts'
import { type Suite, SUITES } from '#core/crypto/suites.ts'
import { type CipherSuite, cipherSuite } from '#core/mls/cipher-suite.ts'
import { createWebCrypto, detectEngine } from '#native/webcrypto.ts'
import { floorMs, floorsOf } from './mls-floor.ts'
import { makeGroup, makePopulation, type Population, TREES, type TreeState } from './mls-group.ts'
import { measure, type Measured, type Op, OPS } from './mls-measure.ts'
import { operationsOn } from './mls-ops.ts'

const SIZES = [10, 100, 1_000, 10_000]
/** Members whose operations are run before anything is measured. */
const WARM_UP_MEMBERS = 10

interface Row {
  readonly impl: 'kalandra' | 'ts-mls' | 'core-crypto'
  /** Identifier, in hexadecimal. */
  readonly suite: string
  readonly members: number
  readonly tree: TreeState
  readonly op: Op
  readonly ms: number
  readonly samples: number
  readonly bytes: number
  readonly floorMs?: number
  /** `ms` over `floorMs`. */
  readonly ratio?: number
}

const rounded = (value: number) => Number(value.toPrecision(4))
const suiteName = ({ id }: { readonly id: number }) => `0x${id.toString(16).padStart(4, '0')}`

async function main(): Promise<void> {
  const [membersMax = '10000', names = Object.values(SUITES).map(suiteName).join(',')] = Deno.args
  const sizes = SIZES.filter((size) => size <= Number(membersMax))
  const suites = Object.values<Suite>(SUITES).filter((suite) =>
    names.toLowerCase().split(',').includes(suiteName(suite))
  )
  const noble = createNobleCrypto()
  const webCrypto = await createWebCrypto(crypto.subtle, noble)
  console.log(`Deno ${Deno.version.deno}, V8 ${Deno.version.v8}`)
  console.log(`WebCrypto: ${[...await detectEngine(crypto.subtle, noble)].join(' ')}`)
  const rows: Row[] = []
  for (const suite of suites) {
    const population = await makePopulation(cipherSuite(webCrypto, suite), Math.max(...sizes))
    await warmUp(population)
    for (const members of sizes) {
      for (const tree of TREES) rows.push(...await measureGroup(population, members, tree))
    }
  }
  const load = Deno.loadavg().map((each) => each.toFixed(1)).join(' ')
  console.log(`load of the machine ${load} on ${navigator.hardwareConcurrency} processors`)
  console.log(JSON.stringify({ rows }))
}

async function warmUp(population: Population): Promise<void> {
  const bench = await makeGroup(population, { members: WARM_UP_MEMBERS, tree: 'warm', vacant: [] })
  const operations = operationsOn(bench)
  for (const op of MEASURED_ORDER) await measure(operations[op])
}

/** Commits are made before they are processed. */
const MEASURED_ORDER: readonly Op[] = [
  'makeCommit',
  'processCommit',
  'publicProcess',
  'add',
  'joinWelcome',
  'joinExternal',
]

async function measureGroup(
  population: Population,
  members: number,
  tree: TreeState,
): Promise<readonly Row[]> {
  const { suite } = population
  const bench = await makeGroup(population, { members, tree, vacant: [] })
  const operations = operationsOn(bench)
  const measured: Partial<Record<Op, Measured>> = {}
  for (const op of MEASURED_ORDER) measured[op] = await measure(operations[op])
  const all = measured as Readonly<Record<Op, Measured>>
  const floors = await floorsOf(bench.public, 0, all.makeCommit.bytes)
  const rows: Row[] = []
  for (const op of OPS) {
    const floor = await floorMs(floors[op])
    const { ms, samples, bytes } = all[op]
    rows.push({
      impl: 'kalandra',
      suite: suiteName(suite),
      members,
      tree,
      op,
      ms: rounded(ms),
      samples,
      bytes,
      floorMs: rounded(floor),
      ratio: rounded(ms / floor),
    })
  }
  explain(rows)
  return rows
}

function explain(rows: readonly Row[]): void {
  for (const { impl, suite, members, tree, op, ms, samples, bytes, floorMs, ratio } of rows) {
    const times = `${ms.toFixed(1).padStart(9)} ms of ${String(samples).padEnd(2)}`
    const beside = floorMs === undefined
      ? ''
      : `  floor ${floorMs.toFixed(1).padStart(8)}, times ${(ratio ?? 0).toFixed(2)}`
    const place = `${impl.padEnd(12)}${suite} ${String(members).padStart(6)} ${tree}`
    console.log(`${place} ${op.padEnd(14)}${times}${String(bytes).padStart(10)} B${beside}`)
  }
}

await main()
// A dependency may keep the process alive.
process.exit(0)
