/**
 * The measurement in Chromium: bundles `crypto-page.ts` as the app is bundled, serves it on
 * loopback and drives the browser. Owns build, server and browser for the time of one call.
 */
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { chromium } from '@playwright/test'
import { build } from 'vite'
import { browserLaunch } from '../tests/e2e/support/browsers.ts'
import type { Effort } from './crypto-cases.ts'
import type { EngineRounds } from './crypto-engine.ts'

const BUNDLE = 'page.js'

export interface ChromiumRounds extends EngineRounds {
  readonly version: string
}

/** Null where Chromium is not installed. */
export async function measureChromium(effort: Effort): Promise<ChromiumRounds | null> {
  const launch = browserLaunch('chromium')
  if (launch === null) return null
  const directory = await mkdtemp(path.join(tmpdir(), 'kalandra-bench-'))
  try {
    await buildPage(directory)
    const server = await serve(await readFile(path.join(directory, BUNDLE)))
    try {
      return await measureIn(launch.launchOptions, { server, effort })
    } finally {
      server.closeAllConnections()
      server.close()
    }
  } finally {
    await rm(directory, { recursive: true })
  }
}

async function buildPage(directory: string): Promise<void> {
  await build({
    configFile: false,
    root: fileURLToPath(new URL('..', import.meta.url)),
    publicDir: false,
    logLevel: 'error',
    build: {
      outDir: directory,
      emptyOutDir: true,
      target: 'es2023',
      modulePreload: { polyfill: false },
      rolldownOptions: {
        input: fileURLToPath(new URL('crypto-page.ts', import.meta.url)),
        output: { entryFileNames: BUNDLE, codeSplitting: false },
      },
    },
  })
}

/** Isolated from other origins, which gives the page the finest clock that the browser has. */
function serve(bundle: Uint8Array): Promise<Server> {
  const page = `<!doctype html><title>bench</title><script type="module" src="/${BUNDLE}"></script>`
  const server = createServer((request, response) => {
    const script = request.url === `/${BUNDLE}`
    response.setHeader('content-type', script ? 'text/javascript' : 'text/html')
    response.setHeader('cross-origin-opener-policy', 'same-origin')
    response.setHeader('cross-origin-embedder-policy', 'require-corp')
    response.end(script ? bundle : page)
  })
  return new Promise((resolve) => server.listen(0, '127.0.0.1', () => resolve(server)))
}

async function measureIn(
  launchOptions: Parameters<typeof chromium.launch>[0],
  work: { readonly server: Server; readonly effort: Effort },
): Promise<ChromiumRounds> {
  const browser = await chromium.launch(launchOptions)
  try {
    const page = await browser.newPage()
    const { port } = work.server.address() as AddressInfo
    await page.goto(`http://127.0.0.1:${port}/`, { waitUntil: 'load' })
    const rounds = await page.evaluate(
      (effort) =>
        (globalThis as unknown as { measureEngine(effort: Effort): Promise<EngineRounds> })
          .measureEngine(effort),
      work.effort,
    )
    return { ...rounds, version: browser.version() }
  } finally {
    await browser.close()
  }
}
