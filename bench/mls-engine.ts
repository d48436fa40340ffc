/**
 * The engine of `#core/mls` on the primitives of whatever host loads this file, for the benchmark
 * of MLS: every operation on a group of one shape, each beside its floor. Owns the order of
 * operations; owns no output.
 */
import { createNobleCrypto } from '#core/crypto/noble.ts'
import type { Crypto } from '#core/crypto/crypto.ts'
import { type Suite, suiteById } from '#core/crypto/suites.ts'
import { cipherSuite } from '#core/mls/cipher-suite.ts'
import { createWebCrypto } from '#native/webcrypto.ts'
import { floorsOf, makeSigners, type Signers } from './mls-floor.ts'
import { makeGroup, makePopulation, type Population, type TreeState } from './mls-group.ts'
import { measure, type Measured, type Op } from './mls-measure.ts'
import { operationsOn } from './mls-ops.ts'

export interface Shape {
  readonly members: number
  readonly tree: TreeState
}

export type MeasuredOps = Partial<Record<Op, Measured>>

/** A suite with everything that its groups are made of. */
export interface Ground {
  readonly population: Population
  readonly signers: Signers
}

/** People for groups of up to so many members, and code that has run once. */
export async function prepareGround(
  crypto: Crypto,
  suite: Suite,
  membersMax: number,
): Promise<Ground> {
  const population = await makePopulation(cipherSuite(crypto, suite), membersMax)
  const ground = { population, signers: await makeSigners(population) }
  await measureOurs(ground, WARM_UP)
  return ground
}

export const WARM_UP: Shape = { members: 10, tree: 'warm' }

/** Commits are made before they are processed. */
const MEASURED_ORDER: readonly Op[] = [
  'makeCommit',
  'processCommit',
  'publicProcess',
  'add',
  'joinWelcome',
  'joinExternal',
]

export async function measureOurs(
  { population, signers }: Ground,
  shape: Shape,
): Promise<MeasuredOps> {
  const bench = await makeGroup(population, { ...shape, vacant: [] })
  const operations = operationsOn(bench)
  const floors = await floorsOf(bench.public, 0, signers)
  const measured: MeasuredOps = {}
  for (const op of MEASURED_ORDER) measured[op] = await measure(operations[op], floors(op))
  return measured
}

/** What a page measures. */
export interface PageWork {
  readonly suiteId: number
  readonly shapes: readonly Shape[]
}

/** Measures in this host, with nothing but its WebCrypto under the engine. */
export async function measureShapes(
  { suiteId, shapes }: PageWork,
): Promise<readonly MeasuredOps[]> {
  const suite = suiteById(suiteId) as Suite
  const webCrypto = await createWebCrypto(crypto.subtle, createNobleCrypto())
  const membersMax = Math.max(...shapes.map(({ members }) => members))
  const ground = await prepareGround(webCrypto, suite, membersMax)
  const measured: MeasuredOps[] = []
  for (const shape of shapes) measured.push(await measureOurs(ground, shape))
  return measured
}
