/** Bundles the page of `pages/` and serves it, once for each worker of the test runner. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { build } from 'vite'
import { startAppServer } from '../../../scripts/app-server.mjs'

export interface TestPage {
  readonly origin: string
  close(): Promise<void>
}

/** Builds and serves the page. */
export async function startTestPage(): Promise<TestPage> {
  const directory = await mkdtemp(path.join(tmpdir(), 'kalandra-page-'))
  await build({
    configFile: false,
    root: fileURLToPath(new URL('../pages', import.meta.url)),
    logLevel: 'warn',
    build: { outDir: directory, emptyOutDir: true, target: 'es2023', minify: false },
  })
  const server = await startAppServer({ directory, hubOrigin: null })
  return {
    origin: server.origin,
    async close() {
      await server.close()
      await rm(directory, { recursive: true })
    },
  }
}
