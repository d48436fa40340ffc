/**
 * How large the MLS engine is in a browser: everything of `shared/core/mls` with the codecs that it
 * stands on, minified and compressed, without the primitives. Owns that measurement and its budget.
 */
import { readdirSync } from 'node:fs'
import { brotliCompressSync, constants } from 'node:zlib'
import { inRoot } from './project.mjs'

/** Brotli, in bytes. */
const engineSizeMax = 45_000

const entry = 'virtual:mls'

/** Imports each file of the engine whole, so that nothing of it is shaken off. */
function wholeEngine() {
  const folder = inRoot('shared/core/mls')
  const files = readdirSync(folder).filter((name) => name.endsWith('.ts'))
  const imports = files.map((name, index) => `import * as m${index} from '${folder}/${name}'`)
  const names = files.map((_, index) => `m${index}`)
  return {
    name: 'whole-engine',
    enforce: 'pre',
    resolveId: (id) => id === entry ? id : null,
    load: (id) => id === entry ? `${imports.join('\n')}\nexport { ${names.join(', ')} }` : null,
  }
}

/** Builds the engine in memory. Passed means: within the budget. */
export async function measureMls() {
  const { build } = await import('vite')
  const result = await build({
    configFile: false,
    logLevel: 'error',
    plugins: [wholeEngine()],
    build: {
      write: false,
      target: 'es2022',
      rollupOptions: {
        input: entry,
        preserveEntrySignatures: 'strict',
        external: (id) => id.startsWith('#core/crypto/') || id.startsWith('@noble/'),
      },
    },
  })
  const [output] = Array.isArray(result) ? result : [result]
  const code = output.output.map((chunk) => chunk.code ?? '').join('')
  const size = brotliCompressSync(code, {
    params: { [constants.BROTLI_PARAM_QUALITY]: constants.BROTLI_MAX_QUALITY },
  }).length
  const kb = (bytes) => `${(bytes / 1000).toFixed(1)} KB`
  return {
    passed: size <= engineSizeMax,
    line: `MLS engine: ${kb(size)} of ${kb(engineSizeMax)} (Brotli), ${kb(code.length)} minified`,
  }
}
