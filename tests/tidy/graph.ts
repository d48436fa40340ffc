/**
 * Imports as a graph: cycles, files that nothing reaches, and the linter's rules in components,
 * which it does not read. Owns the table of entry points.
 */
import { judgeImport, resolveImport } from '../../lint/boundaries.ts'
import { ambientReads } from './component.ts'
import { type Finding, isScript, type SourceText } from './source.ts'
import { importsOf } from './syntax.ts'

/** Where a run of something begins. What none of these reaches is dead. */
const productEntries: readonly RegExp[] = [
  /^edge-hub\/main\.ts$/,
  /^shared\/sdk\/index\.ts$/,
  /^shared\/core\/mls\/index\.ts$/,
  /^service-worker\/main\.ts$/,
  /^web\/src\/main\.ts$/,
  /^web\/vite\.config\.ts$/,
]
const otherEntries: readonly RegExp[] = [
  /^lint\/kalandra\.ts$/,
  /^playwright\.config\.ts$/,
  /^scripts\/[a-z0-9-]+\.mjs$/,
  /^bench\/[a-z0-9-]+\.ts$/,
  /^tests\/.*\.(test|spec)\.ts$/,
  /^tests\/support\/(echo-hub|hostile-speaker)\.ts$/,
  /^tests\/e2e\/(pages\/.*|support\/global-[a-z]+)\.ts$/,
]
const product = /^(edge-hub|shared|service-worker|web)\//

type Graph = ReadonlyMap<string, readonly { readonly to: string; readonly typeOnly: boolean }[]>

function graphOf(files: readonly SourceText[]): Graph {
  const scripts = files.filter(isScript)
  const paths = new Set(scripts.map(({ path }) => path))
  return new Map(scripts.map((file) => [
    file.path,
    importsOf(file).flatMap(({ specifier, typeOnly }) => {
      const to = resolveImport(file.path, specifier)
      return to !== null && paths.has(to) ? [{ to, typeOnly }] : []
    }),
  ]))
}

/** Each cycle once, named by its files; imports of types count as well. */
export function importCycles(files: readonly SourceText[]): readonly Finding[] {
  const graph = graphOf(files)
  const state = new Map<string, 'open' | 'done'>()
  const trail: string[] = []
  const found: Finding[] = []
  const walk = (path: string): void => {
    state.set(path, 'open')
    trail.push(path)
    for (const { to } of graph.get(path) ?? []) {
      if (state.get(to) === 'open') {
        const cycle = [...trail.slice(trail.indexOf(to)), to]
        found.push({ path, line: 0, message: `import cycle ${cycle.join(' -> ')}` })
      } else if (!state.has(to)) walk(to)
    }
    trail.pop()
    state.set(path, 'done')
  }
  for (const path of graph.keys()) if (!state.has(path)) walk(path)
  return found
}

function reached(graph: Graph, entries: readonly RegExp[]): ReadonlySet<string> {
  const seen = new Set([...graph.keys()].filter((path) => entries.some((each) => each.test(path))))
  for (const path of seen) for (const { to } of graph.get(path) ?? []) seen.add(to)
  return seen
}

/** Product code that no entry of the product reaches, and other code that nothing reaches. */
export function deadFiles(files: readonly SourceText[]): readonly Finding[] {
  const graph = graphOf(files)
  const byProduct = reached(graph, productEntries)
  const byAny = reached(graph, [...productEntries, ...otherEntries])
  return [...graph.keys()].flatMap((path) => {
    if ((product.test(path) ? byProduct : byAny).has(path)) return []
    const message = byAny.has(path) ? 'only tests reach this file' : 'nothing reaches this file'
    return [{ path, line: 0, message }]
  })
}

/** The import table, where the linter does not look. */
export function componentImports(files: readonly SourceText[]): readonly Finding[] {
  return files.filter(({ path }) => path.endsWith('.svelte')).flatMap((file) =>
    importsOf(file).flatMap(({ specifier, typeOnly, line }) => {
      const message = judgeImport({ from: file.path, specifier, typeOnly })
      return message === null ? [] : [{ path: file.path, line, message }]
    })
  )
}

/** The host's clock and dice, where the linter does not look. */
export function componentAmbience(files: readonly SourceText[]): readonly Finding[] {
  return files.filter(({ path }) => path.endsWith('.svelte')).flatMap((file) =>
    ambientReads(file).map(({ name, line }) => ({
      path: file.path,
      line,
      message: `${name} is ambient: take it as an argument`,
    }))
  )
}

/** An import of ours that names no file. */
export function brokenImports(files: readonly SourceText[]): readonly Finding[] {
  const paths = new Set(files.map(({ path }) => path))
  return files.filter(isScript).flatMap((file) =>
    importsOf(file).flatMap(({ specifier, line }) => {
      const target = resolveImport(file.path, specifier)
      if (target === null || paths.has(target) || /^(web\/src\/paraglide|dist)\//.test(target)) {
        return []
      }
      return [{ path: file.path, line, message: `${specifier} names no file` }]
    })
  )
}
