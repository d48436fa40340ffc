/**
 * A measurement in Chromium: bundles a page as the app is bundled, serves it on loopback and drives
 * the browser. Owns build, server and browser for the time of one call; owns nothing of what the
 * page measures.
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

const BUNDLE = 'page.js'

/** A function that a page has under a global name. */
export interface PageCall<Argument> {
  /** File of the page's script, beside this one. */
  readonly entry: string
  readonly name: string
  readonly argument: Argument
}

export interface MeasuredInPage<Result> {
  readonly version: string
  readonly result: Result
}

/** What a page's function resolves to; null where Chromium is not installed. */
export async function callInChromium<Argument, Result>(
  call: PageCall<Argument>,
): Promise<MeasuredInPage<Result> | null> {
  const launch = browserLaunch('chromium')
  if (launch === null) return null
  const directory = await mkdtemp(path.join(tmpdir(), 'kalandra-bench-'))
  try {
    await buildPage(call.entry, directory)
    const server = await serve(await readFile(path.join(directory, BUNDLE)))
    try {
      return await callIn<Argument, Result>(launch.launchOptions, server, call)
    } finally {
      server.closeAllConnections()
      server.close()
    }
  } finally {
    await rm(directory, { recursive: true })
  }
}

async function buildPage(entry: string, directory: string): Promise<void> {
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
        input: fileURLToPath(new URL(entry, import.meta.url)),
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

async function callIn<Argument, Result>(
  launchOptions: Parameters<typeof chromium.launch>[0],
  server: Server,
  { name, argument }: PageCall<Argument>,
): Promise<MeasuredInPage<Result>> {
  const browser = await chromium.launch(launchOptions)
  try {
    const page = await browser.newPage()
    const { port } = server.address() as AddressInfo
    await page.goto(`http://127.0.0.1:${port}/`, { waitUntil: 'load' })
    const result = await page.evaluate(
      ([called, given]) => {
        const functions = globalThis as unknown as Record<string, (given: unknown) => unknown>
        return functions[called]?.(given)
      },
      [name, argument] as const,
    )
    return { result: result as Result, version: browser.version() }
  } finally {
    await browser.close()
  }
}
