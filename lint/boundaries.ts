/**
 * Who may import whom: the areas of the repository, the rows of the import table and the files that
 * may name a vendor package. Owns the decision about one import; reading source is the caller's.
 */

/** One area: the files under `at`, and what they may import. A longer `at` wins over a shorter. */
interface Area {
  readonly name: string
  /** Folder with a trailing slash, or one file. */
  readonly at: readonly string[]
  /** Areas, or `core` for all of core. Its own area is always allowed. */
  readonly may: readonly string[]
  /** Areas of which only types may be imported. */
  readonly mayTypes?: readonly string[]
}

/** Folders of core in the order of their dependence. */
const coreAreas: readonly Area[] = [
  { name: 'core/base', at: ['shared/core/base/'], may: [] },
  { name: 'core/wire', at: ['shared/core/wire/'], may: ['core/base'] },
  { name: 'core/crypto', at: ['shared/core/crypto/'], may: ['core/base', 'core/wire'] },
  ...['identity', 'content', 'mls', 'sender-keys', 'push', 'privacy-pass'].map((folder) => ({
    name: `core/${folder}`,
    at: [`shared/core/${folder}/`, `shared/core/${folder}.ts`],
    may: ['core/base', 'core/wire', 'core/crypto'],
  })),
  {
    name: 'core/policy',
    at: ['shared/core/policy/'],
    may: ['core/base', 'core/wire', 'core/crypto', 'core/identity', 'core/mls'],
  },
  { name: 'core/device', at: ['shared/core/device/'], may: ['core'] },
]

const hubAreas: readonly Area[] = [
  { name: 'hub/ports', at: ['edge-hub/ports.ts'], may: [], mayTypes: ['core'] },
  { name: 'hub/sequencer', at: ['edge-hub/sequencer/'], may: ['core'], mayTypes: ['hub/ports'] },
  {
    name: 'hub/gateway',
    at: ['edge-hub/gateway/'],
    may: ['core', 'hub/sequencer'],
    mayTypes: ['hub/ports'],
  },
  { name: 'hub/config', at: ['edge-hub/config.ts'], may: ['core/base'] },
  {
    name: 'hub/events',
    at: ['edge-hub/events.ts'],
    may: ['core/base'],
    mayTypes: ['hub/ports', 'hub/gateway', 'hub/sequencer', 'core/wire'],
  },
  {
    name: 'hub/adapters',
    at: ['edge-hub/adapters/'],
    may: ['core/base', 'core/wire', 'core/crypto', 'hub/ports'],
  },
  { name: 'hub/main', at: ['edge-hub/'], may: ['hub', 'core', 'native'] },
]

const webAreas: readonly Area[] = [
  { name: 'web/messages', at: ['web/src/paraglide/'], may: [] },
  {
    name: 'web/components',
    at: ['web/src/components/'],
    may: ['web/messages', 'web/styles'],
    mayTypes: ['sdk'],
  },
  {
    name: 'web/routes',
    at: ['web/src/routes/', 'web/src/App.svelte'],
    may: ['web/state', 'web/components', 'web/router', 'web/messages', 'web/styles'],
    mayTypes: ['sdk'],
  },
  { name: 'web/router', at: ['web/src/router.svelte.ts'], may: [] },
  { name: 'web/styles', at: ['web/src/styles/'], may: [] },
  {
    name: 'web/state',
    at: ['web/src/state/'],
    may: ['web/client', 'web/router'],
    mayTypes: ['sdk'],
  },
  { name: 'web/protocol', at: ['web/src/engine/protocol.ts'], may: [], mayTypes: ['sdk'] },
  {
    name: 'web/client',
    at: ['web/src/engine/client.ts', 'web/src/engine/host.ts'],
    may: ['web/protocol', 'browser'],
    mayTypes: ['sdk'],
  },
  {
    name: 'web/engine',
    at: ['web/src/engine/'],
    may: ['web/protocol', 'sdk', 'browser', 'native', 'core'],
  },
  { name: 'web/build', at: ['web/vite/', 'web/vite.config.ts'], may: [], mayTypes: ['worker'] },
  {
    name: 'web/main',
    at: ['web/src/'],
    may: ['web/routes', 'web/state', 'web/client', 'web/styles', 'web/messages', 'web/router'],
  },
]

const AREAS: readonly Area[] = [
  ...coreAreas,
  { name: 'sdk', at: ['shared/sdk/'], may: ['core'] },
  { name: 'browser', at: ['shared/browser/'], may: ['core'] },
  { name: 'native', at: ['shared/native/'], may: ['core/base', 'core/crypto'] },
  ...hubAreas,
  {
    name: 'worker',
    at: ['service-worker/'],
    may: [
      'core/base',
      'core/crypto',
      'core/push',
      'core/sender-keys',
      'core/wire',
      'browser',
      'native',
    ],
  },
  ...webAreas,
  { name: 'scripts', at: ['scripts/'], may: [] },
  { name: 'lint', at: ['lint/'], may: [] },
  {
    name: 'bench',
    at: ['bench/'],
    may: ['core', 'sdk', 'browser', 'native', 'hub', 'tests', 'scripts'],
  },
  {
    name: 'tests',
    at: ['tests/', 'playwright.config.ts'],
    may: ['core', 'sdk', 'browser', 'native', 'hub', 'worker', 'web', 'scripts', 'lint', 'bench'],
  },
]

/** A package and the files that may import it; `types` lists files that may import its types. */
interface Vendor {
  readonly package: string
  readonly importers: readonly RegExp[]
  readonly types?: readonly RegExp[]
}

const tests = /^tests\//
/** Screens without an engine, for looking at them. */
const screens = /^tests\/screens\//
const pageMarkup = /^web\/src\/(App|components\/|routes\/).*\.svelte$/

/** Every package that source may name. A package without a row may not be imported. */
const VENDORS: readonly Vendor[] = [
  { package: '@noble/', importers: [/^shared\/core\/crypto\/noble\.ts$/, tests, /^bench\//] },
  { package: 'ts-mls', importers: [/^tests\/interop\//, /^bench\//] },
  { package: '@wireapp/core-crypto', importers: [/^tests\/interop\//, /^bench\//] },
  {
    package: 'idb',
    importers: [/^shared\/browser\/open-database\.ts$/],
    types: [/^shared\/browser\//],
  },
  { package: 'workbox-window', importers: [/^web\/src\/state\/update\.svelte\.ts$/] },
  { package: 'svelte/compiler', importers: [/^tests\/tidy\//] },
  { package: 'typescript', importers: [/^tests\/(tidy|mutation)\//] },
  { package: 'svelte', importers: [/^web\/src\/(?!engine\/)/, screens] },
  { package: '@lucide/svelte', importers: [pageMarkup] },
  { package: '@fontsource/', importers: [/^web\/src\/(main\.ts$|styles\/)/] },
  {
    package: 'vite',
    importers: [/^web\/vite(\/|\.config\.ts$)/, /^tests\/e2e\//, screens, /^bench\//, /^scripts\//],
  },
  { package: '@sveltejs/vite-plugin-svelte', importers: [/^web\/vite\.config\.ts$/, screens] },
  { package: '@inlang/paraglide-js', importers: [/^web\/vite\.config\.ts$/] },
  {
    package: '@playwright/test',
    importers: [/^tests\/e2e\//, /^playwright\.config\.ts$/, /^bench\//],
  },
  {
    package: 'node:',
    importers: [
      /^edge-hub\/(adapters\/|main\.ts$)/,
      /^(tests|bench|lint|scripts)\//,
      /^web\/vite(\/|\.config\.ts$)/,
      /^playwright\.config\.ts$/,
    ],
  },
]

export interface ImportEdge {
  /** The importing file, from the root of the repository. */
  readonly from: string
  readonly specifier: string
  /** True when nothing of it exists at run time. */
  readonly typeOnly: boolean
}

/** The `imports` map of the package, as prefixes. */
const aliases: readonly (readonly [string, string])[] = [
  ['#core/', 'shared/core/'],
  ['#sdk/', 'shared/sdk/'],
  ['#browser/', 'shared/browser/'],
  ['#native/', 'shared/native/'],
  ['#hub/', 'edge-hub/'],
]

/** The file that an import of ours names, from the root; null for a package. */
export function resolveImport(from: string, specifier: string): string | null {
  const plain = specifier.replace(/\?[a-z&=-]*$/, '')
  if (plain === '#sdk') return 'shared/sdk/index.ts'
  for (const [alias, folder] of aliases) {
    if (plain.startsWith(alias)) return normalize(folder + plain.slice(alias.length))
  }
  if (!plain.startsWith('.')) return null
  return normalize(`${from.slice(0, from.lastIndexOf('/') + 1)}${plain}`)
}

function normalize(path: string): string {
  const parts: string[] = []
  for (const part of path.split('/')) {
    if (part === '..') parts.pop()
    else if (part !== '.' && part !== '') parts.push(part)
  }
  return parts.join('/')
}

/** The area that a file belongs to, or null. */
function areaOf(path: string): Area | null {
  let found: Area | null = null
  let length = -1
  for (const area of AREAS) {
    for (const at of area.at) {
      const inside = at.endsWith('/') ? path.startsWith(at) : path === at
      if (inside && at.length > length) [found, length] = [area, at.length]
    }
  }
  return found
}

const covers = (row: readonly string[], area: string): boolean =>
  row.some((name) => name === area || area.startsWith(`${name}/`))

/** What is wrong with an import, or null. */
export function judgeImport(edge: ImportEdge): string | null {
  const area = areaOf(edge.from)
  if (area === null) return null
  const target = resolveImport(edge.from, edge.specifier)
  if (target === null) return judgeVendor(edge)
  const targetArea = areaOf(target)
  if (targetArea === null) {
    return target.startsWith('package') && area.name === 'tests'
      ? null
      : `${edge.specifier} is outside of every area`
  }
  if (targetArea === area || covers(area.may, targetArea.name)) return null
  if (covers(area.mayTypes ?? [], targetArea.name)) {
    return edge.typeOnly ? null : `${area.name} may import only types of ${targetArea.name}`
  }
  return `${area.name} may not import ${targetArea.name}`
}

function judgeVendor({ from, specifier, typeOnly }: ImportEdge): string | null {
  if (/^(https?|jsr|npm|data|file|blob):/.test(specifier)) return `${specifier} is not a package`
  const vendor = VENDORS.find(({ package: name }) =>
    specifier === name || specifier.startsWith(/[/:]$/.test(name) ? name : `${name}/`)
  )
  if (vendor === undefined) return `the package ${specifier} has no row in the import table`
  const allowed = typeOnly ? [...vendor.importers, ...(vendor.types ?? [])] : vendor.importers
  return allowed.some((path) => path.test(from))
    ? null
    : `${specifier} may not be imported here: one file owns each package`
}
