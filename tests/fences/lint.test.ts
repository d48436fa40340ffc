/**
 * The second fence: the lint plugin. Violations are planted beside each other in a copy of the
 * rules, and the real linter must name the rule for each, and none for what is allowed.
 */
import { deepStrictEqual } from 'node:assert/strict'
import { output, withPlanted } from './planted.ts'

const imported = (specifier: string): string =>
  `import { value } from '${specifier}'\nexport const other = value\n`
const typed = (specifier: string): string =>
  `import type { Value } from '${specifier}'\nexport type Other = Value\n`
const used = (expression: string): string => `export const value = ${expression}\n`

interface Plant {
  readonly path: string
  readonly text: string
  /** The rule that must refuse it; null: it is allowed. */
  readonly rule: 'imports' | 'ambient' | 'entropy' | 'dynamic-import' | null
}

const importPlants: readonly Plant[] = [
  { path: 'shared/core/base/a.ts', text: imported('#core/wire/codec.ts'), rule: 'imports' },
  { path: 'shared/core/wire/a.ts', text: imported('#core/crypto/noble.ts'), rule: 'imports' },
  { path: 'shared/core/wire/b.ts', text: imported('#core/base/bytes.ts'), rule: null },
  { path: 'shared/core/mls/a.ts', text: imported('../sender-keys/seal.ts'), rule: 'imports' },
  { path: 'shared/core/mls/b.ts', text: imported('ts-mls'), rule: 'imports' },
  { path: 'shared/core/crypto/a.ts', text: imported('@noble/hashes/sha2.js'), rule: 'imports' },
  { path: 'shared/core/crypto/noble.ts', text: imported('@noble/hashes/sha2.js'), rule: null },
  { path: 'shared/core/base/b.ts', text: imported('node:fs'), rule: 'imports' },
  { path: 'shared/core/base/c.ts', text: imported('left-pad'), rule: 'imports' },
  { path: 'shared/core/base/d.ts', text: typed('#sdk'), rule: 'imports' },
  { path: 'shared/core/base/e.ts', text: used("{} as import('#sdk').Value"), rule: 'imports' },
  { path: 'shared/core/base/f.ts', text: "export * from '#core/wire/a.ts'\n", rule: 'imports' },
  { path: 'shared/sdk/a.ts', text: imported('#browser/vault.ts'), rule: 'imports' },
  { path: 'shared/native/a.ts', text: imported('#core/mls/group.ts'), rule: 'imports' },
  { path: 'shared/browser/a.ts', text: imported('idb'), rule: 'imports' },
  { path: 'shared/browser/b.ts', text: typed('idb'), rule: null },
  { path: 'edge-hub/gateway/a.ts', text: imported('../adapters/sqlite.ts'), rule: 'imports' },
  { path: 'edge-hub/gateway/b.ts', text: imported('#hub/ports.ts'), rule: 'imports' },
  { path: 'edge-hub/gateway/c.ts', text: typed('#hub/ports.ts'), rule: null },
  { path: 'edge-hub/sequencer/a.ts', text: imported('../gateway/a.ts'), rule: 'imports' },
  { path: 'edge-hub/adapters/a.ts', text: imported('../gateway/a.ts'), rule: 'imports' },
  { path: 'edge-hub/main.ts', text: imported('./gateway/a.ts'), rule: null },
  { path: 'edge-hub/events.ts', text: imported('https://host.example/a.ts'), rule: 'imports' },
  { path: 'service-worker/a.ts', text: imported('#core/mls/group.ts'), rule: 'imports' },
  { path: 'web/src/components/a.ts', text: imported('#sdk'), rule: 'imports' },
  { path: 'web/src/components/b.ts', text: typed('#sdk'), rule: null },
  { path: 'web/src/state/a.ts', text: imported('#browser/vault.ts'), rule: 'imports' },
  { path: 'web/src/engine/protocol.ts', text: imported('#sdk'), rule: 'imports' },
  { path: 'edge-hub/config.ts', text: imported('../tests/tidy/source.ts'), rule: 'imports' },
]

const ambientPlants: readonly Plant[] = [
  ...['Date.now()', 'new Date(0)', 'Math.random()', "Math['random']()", 'globalThis', 'fetch'],
  ...['setTimeout', 'performance.now()', 'crypto', 'console', '(Math).random', 'eval'],
].flatMap((use, index) =>
  ['shared/core/base', 'shared/sdk', 'edge-hub/gateway', 'edge-hub/sequencer'].map((folder) => ({
    path: `${folder}/ambient-${index}.ts`,
    text: used(use),
    rule: 'ambient' as const,
  }))
)

const otherPlants: readonly Plant[] = [
  { path: 'shared/core/base/g.ts', text: 'export const { random } = Math\n', rule: 'ambient' },
  { path: 'shared/core/base/h.ts', text: 'const D = Date\nexport const d = D\n', rule: 'ambient' },
  { path: 'shared/core/base/i.ts', text: used('Math.floor(1)'), rule: null },
  {
    path: 'shared/core/base/j.ts',
    text: 'export const hash = (crypto: { hash(): void }) => crypto.hash()\n',
    rule: null,
  },
  { path: 'edge-hub/adapters/b.ts', text: used('Date.now()'), rule: 'ambient' },
  { path: 'edge-hub/adapters/c.ts', text: used('new Date()'), rule: 'ambient' },
  { path: 'edge-hub/adapters/d.ts', text: used('new Date(1)'), rule: null },
  { path: 'edge-hub/adapters/system-clock.ts', text: used('Date.now()'), rule: null },
  { path: 'web/src/state/b.ts', text: used('Math.random()'), rule: 'ambient' },
  {
    path: 'shared/core/base/k.ts',
    text: used("import('#core/base/i.ts')"),
    rule: 'dynamic-import',
  },
]

const noble = (name: string, use: string): string =>
  `import { ${name} } from '@noble/curves/nist.js'\nexport const value = ${use}\n`

const entropyPlants: readonly Plant[] = [
  ['randomBytes', 'randomBytes(1)'],
  ['p384', 'p384.keygen()'],
  ['p384', 'p384.utils.randomSecretKey()'],
  ['ml_kem768', 'ml_kem768.encapsulate(new Uint8Array(1))'],
  ['ml_dsa65', 'ml_dsa65.sign(new Uint8Array(1), new Uint8Array(1))'],
].map(([name = '', use = ''], index) => ({
  path: `shared/core/crypto/entropy-${'abcde'[index]}.ts`,
  text: noble(name, use),
  rule: 'entropy' as const,
}))

const plants = [...importPlants, ...ambientPlants, ...otherPlants, ...entropyPlants]

Deno.test('fence: the linter refuses each planted violation, and only those', async () => {
  const planting = Object.fromEntries(plants.map(({ path, text }) => [path, text]))
  const said = await withPlanted(
    ['lint', 'deno.json', 'package.json'],
    planting,
    (at) =>
      output(at, Deno.execPath(), [
        'lint',
        '--json',
        'shared',
        'edge-hub',
        'service-worker',
        'web',
      ]),
  )
  const { diagnostics } = JSON.parse(said.slice(said.indexOf('{'))) as {
    diagnostics: { filename: string; code: string }[]
  }
  for (const { path, rule } of plants) {
    const named = diagnostics.filter(({ filename }) => filename.endsWith(`/${path}`))
      .map(({ code }) => code).filter((code) => code.startsWith('kalandra/'))
    // Whatever draws entropy comes from a package, which only one file may import.
    const rules = rule === null ? [] : rule === 'entropy' ? ['entropy', 'imports'] : [rule]
    const wanted = rules.map((each) => `kalandra/${each}`)
    deepStrictEqual([path, ...[...new Set(named)].sort()], [path, ...wanted])
  }
})
