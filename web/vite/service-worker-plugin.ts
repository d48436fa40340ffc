/**
 * Builds the service worker after the app: hashes every file of the output and writes the list into
 * the worker. Owns that list; what the worker does with it is in `service-worker/`.
 */
import { createHash } from 'node:crypto'
import { readdir, readFile } from 'node:fs/promises'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { build, type Plugin } from 'vite'
import type { ShellBuild, ShellFile } from '../../service-worker/app-shell.ts'

const DEFAULT_ENTRY = fileURLToPath(new URL('../../service-worker/main.ts', import.meta.url))
const DEFAULT_FILE_NAME = 'service-worker.js'
/** Served with the app, but not a part of the build. */
const CONFIG_FILE_NAME = 'config.json'

export interface ServiceWorkerPluginOptions {
  /** Absolute path of the worker's source. */
  readonly entry?: string
  /** Name of the built worker, in the root of the output. */
  readonly fileName?: string
}

/** Adds the service worker to a Vite build. It is not built during development. */
export function serviceWorkerPlugin(options: ServiceWorkerPluginOptions = {}): Plugin {
  let outDir = ''
  let failed = false
  return {
    name: 'kalandra-service-worker',
    apply: 'build',
    configResolved(config) {
      outDir = path.resolve(config.root, config.build.outDir)
    },
    buildEnd(error) {
      failed = error !== undefined
    },
    async closeBundle() {
      if (!failed) await buildServiceWorker({ ...options, outDir })
    },
  }
}

export interface BuildServiceWorkerOptions extends ServiceWorkerPluginOptions {
  /** Folder of the built app, absolute. The worker is written there. */
  readonly outDir: string
}

/** Builds the worker of whatever app stands in `outDir`, as one classic script. */
export async function buildServiceWorker(
  options: BuildServiceWorkerOptions,
): Promise<{ readonly id: string }> {
  const { outDir, entry = DEFAULT_ENTRY, fileName = DEFAULT_FILE_NAME } = options
  const shell = await listShell(outDir, fileName)
  await build({
    configFile: false,
    root: path.dirname(entry),
    publicDir: false,
    logLevel: 'warn',
    define: { KALANDRA_SHELL_BUILD: JSON.stringify(shell) },
    build: {
      outDir,
      emptyOutDir: false,
      target: 'es2023',
      rolldownOptions: {
        input: entry,
        output: { format: 'iife', entryFileNames: fileName, codeSplitting: false },
      },
    },
  })
  return { id: shell.id }
}

async function listShell(outDir: string, fileName: string): Promise<ShellBuild> {
  const names = (await readdir(outDir, { recursive: true, withFileTypes: true }))
    .filter((found) => found.isFile())
    .map((found) => path.relative(outDir, path.join(found.parentPath, found.name)))
    .filter((name) => ![fileName, CONFIG_FILE_NAME].includes(name) && !name.endsWith('.map'))
    .sort()
  const whole = createHash('sha256')
  const files: ShellFile[] = []
  for (const name of names) {
    const sha256 = createHash('sha256').update(await readFile(path.join(outDir, name)))
      .digest('base64url')
    const file = { path: '/' + name.split(path.sep).map(encodeURIComponent).join('/'), sha256 }
    files.push(file)
    whole.update(`${file.path}\n${file.sha256}\n`)
  }
  return { id: whole.digest('base64url').slice(0, 16), files }
}
