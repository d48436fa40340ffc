/**
 * The first fence: in the core and in the hub's machines the host does not exist for the compiler.
 * One violation is planted for each name, and the real compiler must refuse it.
 */
import { ok } from 'node:assert/strict'
import { output, withPlanted } from './planted.ts'

/** One expression for each part of a host that must not compile. */
const hosts: Readonly<Record<string, string>> = {
  fetch: "fetch('/')",
  timer: 'setTimeout(() => {}, 1)',
  microtask: 'queueMicrotask(() => {})',
  crypto: 'crypto.getRandomValues(new Uint8Array(1))',
  console: "console.log('')",
  'text-encoder': 'new TextEncoder()',
  url: "new URL('a:b')",
  document: 'document.title',
  storage: 'indexedDB.databases()',
  worker: 'self.postMessage(0)',
  deno: 'Deno.pid',
  process: 'process.env',
  buffer: 'Buffer.alloc(1)',
  performance: 'performance.now()',
}

const nodeImport = "import { readFileSync } from 'node:fs'\nexport const value = readFileSync\n"

for (const folder of ['shared/core', 'edge-hub/gateway', 'edge-hub/sequencer']) {
  Deno.test(`fence: no host compiles in ${folder}`, async () => {
    const planted = Object.fromEntries(
      Object.entries(hosts).map((
        [name, use],
      ) => [`${folder}/${name}.ts`, `export const value = ${use}\n`]),
    )
    const control = `${folder}/control.ts`
    const all = {
      ...planted,
      [`${folder}/node.ts`]: nodeImport,
      [control]: 'export const value = new Uint8Array(1).toString()\n',
    }
    const copied = ['tsconfig.base.json', `${folder}/tsconfig.json`]
    const said = await withPlanted(
      copied,
      all,
      (at) =>
        output(at, 'node', ['node_modules/typescript/bin/tsc', '--pretty', 'false', '-p', folder]),
    )
    for (const file of Object.keys(all)) {
      const refused = said.includes(`${file}(`)
      ok(refused === (file !== control), `${file} ${refused ? 'was refused' : 'compiled'}\n${said}`)
    }
  })
}
