/**
 * The third fence: each check of `tests/tidy/` sees what is planted, also in a component, and is
 * silent about the same text without it.
 */
import { deepStrictEqual } from 'node:assert/strict'
import * as banned from '../tidy/banned.ts'
import * as graph from '../tidy/graph.ts'
import * as names from '../tidy/names.ts'
import * as rules from '../tidy/rules.ts'
import * as screens from '../tidy/screens.ts'
import * as shape from '../tidy/shape.ts'
import type { Check, SourceText } from '../tidy/source.ts'

type Files = Readonly<Record<string, string>>

interface Plant {
  readonly title: string
  readonly check: Check
  /** Files of which those in `found` must be named. */
  readonly files: Files
  readonly found: readonly string[]
}

const core = 'shared/core/base/a.ts'
const component = 'web/src/components/Part.svelte'
const script = (text: string): string => `<script lang="ts">\n${text}\n</script>\n`
const lines = (count: number): string => '0\n'.repeat(count)
const joined = (...parts: string[]): string => parts.join('')

const shapePlants: readonly Plant[] = [
  {
    title: 'a file of 501 lines',
    check: shape.longFiles,
    files: { [core]: lines(501), 'shared/core/base/b.ts': lines(500), [component]: lines(501) },
    found: [core, component],
  },
  {
    title: 'a line of 101 columns',
    check: shape.longLines,
    files: {
      [core]: `// a ${'b'.repeat(96)}\n`,
      'shared/core/base/b.ts': `// a ${'b'.repeat(95)}\n`,
      [component]: `<p> a ${'b'.repeat(95)}</p>`,
    },
    found: [core, component],
  },
  {
    title: 'a function of 71 lines',
    check: shape.largeFunctions,
    files: {
      [core]: `export function a() {\n${lines(69)}}\n`,
      'shared/core/base/b.ts': `export function b() {\n${lines(68)}}\n`,
      [component]: script(`const a = () => {\n${lines(69)}}`),
    },
    found: [core, component],
  },
  {
    title: 'a function of five parameters',
    check: shape.largeFunctions,
    files: {
      [core]: 'export const a = (b, c, d, e, f) => 0\n',
      'shared/core/base/b.ts': 'export const a = (b, c, d, e) => 0\n',
      [component]: script('class A { a(b, c, d, e, f) {} }'),
    },
    found: [core, component],
  },
]

const graphPlants: readonly Plant[] = [
  {
    title: 'a cycle',
    check: graph.importCycles,
    files: {
      'shared/core/base/a.ts': "import './b.ts'\n",
      'shared/core/base/b.ts': "import type { A } from '#core/base/a.ts'\nexport type B = A\n",
      'shared/core/base/c.ts': "import './a.ts'\n",
    },
    found: ['shared/core/base/b.ts'],
  },
  {
    title: 'a cycle through components',
    check: graph.importCycles,
    files: {
      'web/src/components/A.svelte': script("import B from './B.svelte'"),
      'web/src/components/B.svelte': script("import A from './A.svelte'"),
    },
    found: ['web/src/components/B.svelte'],
  },
  {
    title: 'a file that nothing reaches, and one that only tests reach',
    check: graph.deadFiles,
    files: {
      'edge-hub/main.ts':
        "import './config.ts'\nnew URL('./adapters/a-writer.ts', import.meta.url)\n",
      'edge-hub/config.ts': 'export {}\n',
      'edge-hub/adapters/a-writer.ts': 'export {}\n',
      'edge-hub/alone.ts': 'export {}\n',
      'tests/a.test.ts': "import '#hub/tested.ts'\nimport './support/used.ts'\n",
      'tests/support/used.ts': 'export {}\n',
      'tests/support/alone.ts': 'export {}\n',
      'edge-hub/tested.ts': 'export {}\n',
      [component]: '<p></p>',
    },
    found: ['edge-hub/alone.ts', 'tests/support/alone.ts', 'edge-hub/tested.ts', component],
  },
  {
    title: 'a component outside of the import table',
    check: graph.componentImports,
    files: {
      'web/src/components/A.svelte': script("import { openKalandra } from '#sdk'"),
      'web/src/components/B.svelte': script("import type { RoomView } from '#sdk'"),
      'web/src/components/C.svelte': script("import { state } from '../state/app.svelte.ts'"),
      'web/src/routes/D.svelte': script("import { state } from '../state/app.svelte.ts'"),
      'web/src/routes/E.svelte': script("import { sha256 } from '@noble/hashes/sha2.js'"),
      'web/src/routes/F.svelte': `<button onclick={() => import('#browser/vault.ts')}></button>`,
    },
    found: ['A', 'C'].map((name) => `web/src/components/${name}.svelte`)
      .concat(['web/src/routes/E.svelte', 'web/src/routes/F.svelte']),
  },
  {
    title: 'ambient time and entropy in a component',
    check: graph.componentAmbience,
    files: {
      'web/src/components/A.svelte': script('const now = Date.now()'),
      'web/src/components/B.svelte': '<p>{Math.random()}</p>',
      'web/src/components/C.svelte': '<p onclick={() => performance.now()}></p>',
      'web/src/components/D.svelte': '<p>{new Date()}</p>',
      [component]: '<p>{new Date(time)} {Math.floor(a.random)}</p>',
    },
    found: [...'ABCD'].map((name) => `web/src/components/${name}.svelte`),
  },
  {
    title: 'an import of a file that is not there',
    check: graph.brokenImports,
    files: { [core]: "import './b.ts'\n", [component]: script("import './Other.svelte'") },
    found: [core, component],
  },
]

const namePlants: readonly Plant[] = [
  {
    title: 'a vague name',
    check: names.vagueNames,
    files: {
      [core]: 'export class RoomManager {}\n',
      'shared/core/base/string-utils.ts': 'export {}\n',
      'shared/core/base/b.ts': 'export interface GroupInfo { authenticatedData: 0 }\n',
      'shared/core/base/c.ts': 'export const read = (packet: 0) => packet\n',
      [component]: script('let roomData = $state(0)'),
    },
    found: [core, 'shared/core/base/string-utils.ts', 'shared/core/base/c.ts', component],
  },
  {
    title: 'a file name in another case',
    check: names.fileNames,
    files: {
      'shared/core/base/roomLog.ts': '',
      'shared/core/base/room-log.ts': '',
      'web/src/components/room-list.svelte': '',
    },
    found: ['shared/core/base/roomLog.ts', 'web/src/components/room-list.svelte'],
  },
  {
    title: 'a file that does not say what it owns',
    check: names.missingHeaders,
    files: {
      [core]: 'export {}\n',
      'shared/core/base/b.ts': '/** B. */\n',
      [component]: '<p></p>',
    },
    found: [core, component],
  },
]

const bannedPlants: readonly Plant[] = [
  ...[['deno-lint-', 'ignore'], ['@ts-', 'ignore'], ['@ts-', 'nocheck'], ['eslint-dis', 'able']]
    .map((parts): Plant => ({
      title: `a switched-off check by ${parts[1]}`,
      check: banned.suppressions,
      files: { [core]: `// ${joined(...parts)}\n`, [component]: `<!-- ${joined(...parts)} -->` },
      found: [core, component],
    })),
  {
    title: 'a switched-off test',
    check: banned.narrowedTests,
    files: {
      'tests/a.test.ts': joined('Deno.test.on', 'ly(() => {})\n'),
      'tests/e2e/a.spec.ts': joined('test.sk', 'ip(true)\n'),
      'tests/b.test.ts': 'Deno.test(() => {})\n',
    },
    found: ['tests/a.test.ts', 'tests/e2e/a.spec.ts'],
  },
  {
    title: 'a path of one machine',
    check: banned.machinePaths,
    files: {
      [core]: joined('// /ho', 'me/alice/a\n'),
      [component]: joined('<!-- /ro', 'ot/a -->'),
    },
    found: [core, component],
  },
  {
    title: 'a registry host',
    check: banned.registryHosts,
    files: { 'README.md': joined('https://registry.npm', 'js.org/'), [core]: '' },
    found: ['README.md'],
  },
  {
    title: 'an address in the lock file',
    check: banned.lockAddresses,
    files: { 'package-lock.json': '{ "resolved": "https://host.example/a.tgz" }' },
    found: ['package-lock.json'],
  },
  {
    title: 'a version that is not exact',
    check: banned.looseVersions,
    files: { 'package.json': '{ "dependencies": { "idb": "^8.0.4" } }' },
    found: ['package.json'],
  },
]

const shown = (
  name: string,
  text: string,
): [string, string] => [`web/src/routes/${name}.svelte`, text]

const wordPlants: Files = Object.fromEntries([
  shown('Text', '<p>Hello</p>'),
  shown('Nested', '{#if open}<ul><li>· Hello</li></ul>{/if}'),
  shown('Label', '<button aria-label="Close"></button>'),
  shown('Title', '<p title={"Close"}></p>'),
  shown('Placeholder', '<input placeholder={`Find ${name}`} />'),
  shown('Expression', "{'Hello'}"),
  shown('Choice', "<p>{open ? 'Open' : m.closed()}</p>"),
  shown('Alt', '<img alt="A lark" />'),
])

const stylePlants: Files = Object.fromEntries([
  shown('Margin', '<p></p><style>p { margin-left: 1rem }</style>'),
  shown('Place', '<p></p><style>@media (width > 1rem) { p { right: 0 } }</style>'),
  shown('Align', '<p></p><style>p { text-align: left }</style>'),
  shown('Corner', '<p></p><style>p { border-top-left-radius: 1px }</style>'),
  shown('Directive', '<p style:left="1px"></p>'),
  ['web/src/styles/a.css', ':root { --a: 1px }\np { padding-right: 1px }\n'],
])

const screenPlants: readonly Plant[] = [
  {
    title: 'words in markup',
    check: screens.literalTexts,
    files: {
      ...wordPlants,
      [component]: '<p class="row" data-part="text">{m.hello()} · {count} {label("x")}</p>',
    },
    found: Object.keys(wordPlants),
  },
  {
    title: 'physical directions in styles',
    check: screens.physicalStyles,
    files: {
      ...stylePlants,
      [component]: '<p></p><style>p { margin-inline-start: 1rem; text-align: start }</style>',
    },
    found: Object.keys(stylePlants),
  },
]

const protocol = '# Rules\n\n- **SEQ-1** One.\n- **SEQ-2** Two, see SEQ-1.\n'
const cites = (title: string): string => `Deno.test('${title}', () => {})\n`

const rulePlants: readonly Plant[] = [
  {
    title: 'a rule without a test',
    check: rules.uncitedRules,
    files: { 'shared/PROTOCOL.md': protocol, 'tests/a.test.ts': cites('SEQ-1: holds') },
    found: ['shared/PROTOCOL.md'],
  },
  {
    title: 'no rule without a test',
    check: rules.uncitedRules,
    files: { 'shared/PROTOCOL.md': protocol, 'tests/a.test.ts': cites('SEQ-1, SEQ-2: hold') },
    found: [],
  },
  {
    title: 'a cited rule that does not exist',
    check: rules.unknownRules,
    files: {
      'shared/PROTOCOL.md': protocol,
      'tests/a.test.ts': cites('SEQ-3: holds'),
      'tests/b.test.ts': cites('SHA-256: holds'),
      [core]: '/** Rule SEQ-4. */\n',
      'shared/core/base/b.ts': '/** Rule SEQ-2. */\n',
    },
    found: ['tests/a.test.ts', core],
  },
]

const plants = [
  ...shapePlants,
  ...graphPlants,
  ...namePlants,
  ...bannedPlants,
  ...screenPlants,
  ...rulePlants,
]

for (const { title, check, files, found } of plants) {
  Deno.test(`fence: tidy sees ${title}`, () => {
    const texts: SourceText[] = Object.entries(files).map(([path, text]) => ({ path, text }))
    const seen = new Set(check(texts).map(({ path }) => path))
    deepStrictEqual([...seen].sort(), [...found].sort())
  })
}
