/** Builds the app into `dist/` and measures what a browser loads of it. Owns the size budgets. */
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import path from 'node:path'
import { brotliCompressSync, constants } from 'node:zlib'
import { appIsBuilt, inRoot, packageBin } from './project.mjs'
import { run } from './run.mjs'

/** Brotli, in bytes. */
const budgets = { 'service worker': 45_000, engine: 180_000, page: 120_000 }

/** Builds when the sources are newer than the build. Quiet: the output is returned only. */
export async function buildApp({ quiet = false, always = false } = {}) {
  if (!existsSync(inRoot('web/vite.config.ts'))) return { code: 0, output: 'there is no app yet' }
  if (!always && appIsBuilt()) return { code: 0, output: '' }
  const vite = packageBin('vite', 'bin/vite.js')
  const config = ['--config', 'web/vite.config.ts', '--logLevel', quiet ? 'warn' : 'info']
  return await run([...vite, 'build', ...config], { quiet })
}

const compressedSize = (file) =>
  brotliCompressSync(readFileSync(file), {
    params: { [constants.BROTLI_PARAM_QUALITY]: 11 },
  }).length

/** The files and all chunks that they import statically. */
function withImports(files) {
  const seen = new Set(files.filter((file) => existsSync(file)))
  for (const file of seen) {
    if (!file.endsWith('.js')) continue
    const text = readFileSync(file, 'utf8')
    for (const [, specifier] of text.matchAll(/(?:from|import)\s*["'](\.{1,2}\/[^"']+\.js)["']/g)) {
      seen.add(path.resolve(path.dirname(file), specifier))
    }
  }
  return [...seen]
}

/** What a browser loads before the page, the engine and the service worker run. */
function loadedFiles() {
  const dist = inRoot('dist')
  const html = readFileSync(path.join(dist, 'index.html'), 'utf8')
  const linked = [...html.matchAll(/(?:src|href)="\/?([^"]+\.(?:js|css))"/g)].map(([, file]) =>
    path.join(dist, file)
  )
  const assets = path.join(dist, 'assets')
  const engine = existsSync(assets)
    ? readdirSync(assets).filter((name) => /engine[^/]*\.js$/.test(name))
    : []
  return {
    'service worker': [path.join(dist, 'service-worker.js')],
    engine: withImports(engine.map((name) => path.join(assets, name))),
    page: [path.join(dist, 'index.html'), ...withImports(linked)],
  }
}

/** One line for each part, and whether all are within their budget. */
export function measureApp() {
  let passed = true
  const lines = Object.entries(loadedFiles()).map(([part, files]) => {
    const present = files.filter((file) => existsSync(file))
    const size = present.reduce((sum, file) => sum + compressedSize(file), 0)
    const fits = present.length > 0 && size <= budgets[part]
    passed &&= fits
    const kb = (bytes) => `${(bytes / 1000).toFixed(1)} KB`
    const verdict = present.length === 0 ? 'is missing' : fits ? 'fits' : 'is too large'
    return `${part}: ${kb(size)} of ${kb(budgets[part])} (Brotli) ${verdict}`
  })
  return { passed, lines }
}
