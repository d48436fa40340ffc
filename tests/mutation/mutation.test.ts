/** The tool on a small function: what it makes, what tests find, what survives is said. */
import { deepStrictEqual, ok, strictEqual } from 'node:assert/strict'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { type Mutant, mutantsOf } from './mutants.ts'
import { type AreaResult, faultsOf, scoreOf, survivorsOf } from './report.ts'
import { Sandbox } from './sandbox.ts'
import { judge, type Judged, observe } from './trial.ts'
import { Compiler } from './validity.ts'

const product = `
/** Counts what is large; the lowest wins where limits meet. */
const START = 0

export function large(sizes: readonly number[], limit: number | null): number {
  if (limit === null) return sizes.length
  let count = START
  for (let at = 0; at < sizes.length; at++) {
    if (sizes[at]! > limit) count++
  }
  return count
}

export function nobodyAsks(name: string): boolean {
  return name === 'nobody'
}
`

const tests = `
import { strictEqual } from 'node:assert/strict'
import { large } from '../shared/part.ts'

Deno.test('what is above the limit counts', () => strictEqual(large([1, 5, 9], 4), 2))
Deno.test('without a limit all count', async () => strictEqual(await large([1, 5], null), 2))
`

interface Fixture {
  readonly root: string
  readonly mutants: readonly Mutant[]
  readonly refused: readonly Mutant[]
}

/** A project of one function and two tests. */
function makeFixture(): Fixture {
  const root = mkdtempSync(path.join(tmpdir(), 'kalandra-fixture-'))
  for (const folder of ['shared', 'tests', 'node_modules']) mkdirSync(path.join(root, folder))
  writeFileSync(path.join(root, 'shared/part.ts'), product)
  writeFileSync(path.join(root, 'tests/part.test.ts'), tests)
  writeFileSync(path.join(root, 'package.json'), '{ "type": "module" }')
  const compilerOptions = { target: 'ES2024', module: 'ESNext', strict: true }
  writeFileSync(path.join(root, 'tsconfig.base.json'), JSON.stringify({ compilerOptions }))
  const compiler = new Compiler(root, ['shared/part.ts'])
  deepStrictEqual(compiler.errors('shared/part.ts'), [])
  const { program } = compiler
  const all = mutantsOf(program, path.join(root, 'shared/part.ts'), 'shared/part.ts')
  const mutants = all.filter((mutant) => compiler.accepts(mutant))
  return { root, mutants, refused: all.filter((mutant) => !mutants.includes(mutant)) }
}

async function judgeFixture({ root, mutants }: Fixture): Promise<readonly Judged[]> {
  const sandbox = new Sandbox(root, ['shared/part.ts', 'tests/part.test.ts', 'package.json'])
  try {
    sandbox.mutate(mutants)
    const trial = {
      sandbox,
      modules: ['shared/part.ts'],
      files: ['tests/part.test.ts'],
      mutants,
      importing: () => new Set<string>(),
    }
    const observed = await observe(trial)
    deepStrictEqual([observed.tests.length, observed.failing], [2, []])
    return await judge(trial, observed, () => {})
  } finally {
    sandbox.remove()
  }
}

Deno.test('mutants: what tests do not find is said, and fails the run', async () => {
  const fixture = makeFixture()
  try {
    const judged = await judgeFixture(fixture)
    const verdicts = new Map(judged.map((each) => [each.mutant.change, each.verdict]))
    // A limit that no size meets exactly.
    strictEqual(verdicts.get('sizes[at]! > limit → sizes[at]! >= limit'), 'survived')
    strictEqual(verdicts.get('sizes[at]! > limit → sizes[at]! <= limit'), 'killed')
    strictEqual(verdicts.get('count++ → count--'), 'killed')
    strictEqual(verdicts.get('count++ → (gone)'), 'killed')
    strictEqual(verdicts.get('at++ → at--'), 'timedOut')
    strictEqual(verdicts.get("name === 'nobody' → name !== 'nobody'"), 'unreached')
    // On before the module loads, or it would never count.
    strictEqual(judged.find(({ mutant }) => mutant.inside === 'START')?.verdict, 'killed')
    const isRefused = fixture.refused.some(({ change }) => change === 'limit === null → false')
    ok(isRefused, 'the compiler would not let null be compared')

    const result: AreaResult = { area: 'part', judged, invalid: fixture.refused.length }
    const alive = survivorsOf(result, [])
    ok(alive.some(({ judged: { mutant } }) => mutant.line === 9), 'the line is told')
    strictEqual(Math.round(scoreOf(result)), Math.round(100 - 100 * alive.length / judged.length))
    ok(faultsOf([result], []).some((fault) => fault.includes('without a reason')))
    const known = alive.map(({ judged: { mutant } }) => ({
      file: mutant.file,
      inside: mutant.inside,
      change: mutant.change,
      reason: 'nobody asks',
    }))
    const isLow = scoreOf(result) < 80
    strictEqual(faultsOf([result], known).length, isLow ? 1 : 0, 'a reason is enough, a score not')
  } finally {
    rmSync(fixture.root, { recursive: true })
  }
})
