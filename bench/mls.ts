/**
 * `npm run bench -- mls [MEMBERS_MAX] [SUITES]`: what commits and joins cost at 10 to 10,000
 * members in cold and warm trees, beside the primitives that they cannot avoid, and beside two
 * libraries on the same trees. Owns the order, the table and the last line.
 */
import process from 'node:process'
import { createNobleCrypto } from '#core/crypto/noble.ts'
import type { Crypto } from '#core/crypto/crypto.ts'
import { type Suite, SUITES } from '#core/crypto/suites.ts'
import { cipherSuite } from '#core/mls/cipher-suite.ts'
import { ciphersuiteOf } from './mls-ts-mls-suite.ts'
import { createWebCrypto, detectEngine } from '#native/webcrypto.ts'
import { createCoreCryptoPeer } from '../tests/interop/core-crypto-peer.ts'
import { clientName } from '../tests/interop/peer.ts'
import { tsMlsSuite } from '../tests/interop/ts-mls-peer.ts'
import { callInChromium } from './chromium.ts'
import { FINALITY_ROOMS, finalityRows, type Row as FinalityRow } from './finality.ts'
import { type MeasuredOps, measureOurs, type PageWork } from './mls-engine.ts'
import { prepareGround, type Shape, WARM_UP } from './mls-engine.ts'
import { entropy, makeGroup, TREES } from './mls-group.ts'
import { type Op, OPS } from './mls-measure.ts'
import { measureMemory, type StateMemory } from './mls-memory.ts'
import { type Contender, measureContender } from './mls-peers.ts'
import { createTsMls } from './mls-ts-mls.ts'

const SIZES = [10, 100, 1_000, 10_000]
type Implementation = 'kalandra' | 'ts-mls' | 'core-crypto'

interface Row extends Shape {
  readonly impl: Implementation
  readonly engine: 'deno' | 'chromium'
  /** Identifier, in hexadecimal. */
  readonly suite: string
  readonly op: Op
  readonly ms: number
  readonly samples: number
  readonly bytes: number
  readonly floorMs?: number
  /** `ms` over `floorMs`. */
  readonly ratio?: number
}

interface MemoryRow extends StateMemory, Shape {
  readonly suite: string
}

/** A library in one suite, and the shapes that do not take it minutes. */
interface Library {
  readonly impl: Implementation
  reaches(shape: Shape): boolean
  create(device: number): Promise<Contender>
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
  const results: Results = { rows: [], memory: [], finality: [] }
  for (const suite of suites) await measureSuite(webCrypto, { suite, sizes, results })
  const largest = Math.max(...sizes)
  if (suites.includes(SUITES.performance)) await measureInChromium(largest, results.rows)
  if (suites.includes(SUITES.performance)) {
    const rooms = FINALITY_ROOMS.filter((members) => members <= largest)
    results.finality.push(...await finalityRows(rooms))
  }
  const load = Deno.loadavg().map((each) => each.toFixed(1)).join(' ')
  console.log(`load of the machine ${load} on ${navigator.hardwareConcurrency} processors`)
  console.log(JSON.stringify(results))
}

interface Results {
  readonly rows: Row[]
  readonly memory: MemoryRow[]
  /** Commits through a hub: how late they are final, how long they hold up a room. */
  readonly finality: FinalityRow[]
}

async function measureSuite(
  webCrypto: Crypto,
  { suite, sizes, results }: {
    readonly suite: Suite
    readonly sizes: readonly number[]
    readonly results: Results
  },
): Promise<void> {
  const ground = await prepareGround(webCrypto, suite, Math.max(...sizes))
  const { population } = ground
  const libraries = await librariesOf(webCrypto, suite)
  for (const { create } of libraries) await measureContender(population, WARM_UP, create)
  const { rows, memory } = results
  for (const shape of sizes.flatMap((members) => TREES.map((tree) => ({ members, tree })))) {
    const place = { engine: 'deno', suite: suiteName(suite), ...shape } as const
    const ours = await measureOurs(ground, shape)
    rows.push(...explained({ impl: 'kalandra', ...place }, ours))
    for (const { impl, create } of libraries.filter((library) => library.reaches(shape))) {
      const measured = await measureContender(population, shape, create)
      rows.push(...explained({ impl, ...place }, measured))
    }
    if (shape.members >= MEMORY_MEMBERS_MIN) {
      const state = await measureMemory(await makeGroup(population, { ...shape, vacant: [] }))
      memory.push({ ...place, ...state })
      const { joinedMb, followedMb, peakMb } = state
      console.log(`state of a member: ${joinedMb} MB, after commits ${followedMb}, peak ${peakMb}`)
    }
  }
}

/** Smaller states weigh less than what a process does of itself. */
const MEMORY_MEMBERS_MIN = 1_000

/** The default suite in a warm tree, where members are: in a browser. */
async function measureInChromium(members: number, rows: Row[]): Promise<void> {
  const suite = SUITES.performance
  const shapes = [{ members, tree: 'warm' }] as const
  const argument = { suiteId: suite.id, shapes }
  const call = { entry: 'mls-page.ts', name: 'measureShapes', argument }
  const measured = await callInChromium<PageWork, readonly MeasuredOps[]>(call)
  if (measured === null) return console.log('Chromium is not installed: its figures are left out')
  console.log(`Chromium ${measured.version}`)
  measured.result.forEach((each, index) => {
    const shape = shapes[index] as Shape
    const place = { impl: 'kalandra', engine: 'chromium', suite: suiteName(suite) } as const
    rows.push(...explained({ ...place, ...shape }, each))
  })
}

async function librariesOf(webCrypto: Crypto, suite: Suite): Promise<readonly Library[]> {
  const own = cipherSuite(webCrypto, suite)
  const implementation = suite.id === SUITES.interoperation.id
    ? await tsMlsSuite()
    : ciphersuiteOf(webCrypto, suite, entropy)
  const tsMls: Library = {
    impl: 'ts-mls',
    reaches: ({ members }) => members <= 1_000,
    create: (device) => createTsMls(own, implementation, device),
  }
  const coreCrypto: Library = {
    impl: 'core-crypto',
    reaches: ({ members, tree }) => members <= 1_000 || tree === 'warm',
    async create(device) {
      const peer = await createCoreCryptoPeer(clientName(device))
      return { ...peer, epochSecret: () => peer.exporter() }
    },
  }
  if (suite.id === SUITES.interoperation.id) return [tsMls, coreCrypto]
  return suite.id === SUITES.performance.id ? [tsMls] : []
}

/** Rows, which are also shown. */
function explained(
  place: Omit<Row, 'op' | 'ms' | 'samples' | 'bytes'>,
  measured: MeasuredOps,
): readonly Row[] {
  const rows = OPS.flatMap((op): readonly Row[] => {
    const taken = measured[op]
    if (taken === undefined) return []
    const { ms, samples, bytes, floorMs } = taken
    const beside = floorMs === null
      ? {}
      : { floorMs: rounded(floorMs), ratio: rounded(ms / floorMs) }
    return [{ ...place, op, ms: rounded(ms), samples, bytes, ...beside }]
  })
  for (const row of rows) console.log(lineOf(row))
  return rows
}

function lineOf(
  { impl, engine, suite, members, tree, op, ms, samples, bytes, floorMs, ratio }: Row,
) {
  const place = `${impl.padEnd(12)}${engine.padEnd(9)}${suite} ${
    String(members).padStart(6)
  } ${tree}`
  const times = `${ms.toFixed(1).padStart(9)} ms (${samples})${String(bytes).padStart(10)} B`
  const beside = `  ${(floorMs ?? 0).toFixed(1).padStart(8)} ms, times ${(ratio ?? 0).toFixed(2)}`
  return `${place} ${op.padEnd(14)}${times}${floorMs === undefined ? '' : beside}`
}

await main()
// A dependency may keep the process alive.
process.exit(0)
