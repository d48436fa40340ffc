/** Bundles the page of `pages/` into a folder that is removed again. Owns no server. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { build } from 'vite'

export interface TestPage {
  readonly directory: string
  remove(): Promise<void>
}

/** Builds the page and its workers. */
export async function buildTestPage(): Promise<TestPage> {
  const directory = await mkdtemp(path.join(tmpdir(), 'kalandra-page-'))
  await build({
    configFile: false,
    root: fileURLToPath(new URL('../pages', import.meta.url)),
    logLevel: 'warn',
    worker: { format: 'es' },
    build: { outDir: directory, emptyOutDir: true, target: 'es2023', minify: false },
  })
  return { directory, remove: () => rm(directory, { recursive: true }) }
}
