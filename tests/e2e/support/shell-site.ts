/**
 * A small app with the real service worker, on a server that a test stops, silences and updates.
 * Owns its folder and its port; the app shows its version as a heading.
 */
import { once } from 'node:events'
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { createServer, type Socket as TcpEnd } from 'node:net'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { startAppServer } from '../../../scripts/app-server.mjs'
import { buildServiceWorker } from '../../../web/vite/service-worker-plugin.ts'

export interface ShellSite {
  readonly origin: string
  /** Writes another version of the app and builds its worker. */
  publish(version: string): Promise<void>
  /** Changes one file behind the back of the built worker. */
  tamper(): Promise<void>
  /** Connections are refused from now on. */
  stop(): Promise<void>
  /** Connections are taken and never answered. */
  silence(): Promise<void>
  serve(hubOrigin: string): Promise<void>
  close(): Promise<void>
}

type Server = { close(): Promise<void> }

/** Publishes version `one` and serves it. */
export async function startShellSite(): Promise<ShellSite> {
  const directory = await mkdtemp(path.join(tmpdir(), 'kalandra-shell-'))
  const script = path.join(directory, 'assets', 'app.js')
  await mkdir(path.dirname(script))
  const publish = async (version: string): Promise<void> => {
    await writeFile(
      path.join(directory, 'index.html'),
      `<!doctype html><title>App</title><script type="module" src="/assets/app.js"></script>`,
    )
    await writeFile(
      script,
      `const heading = document.createElement('h1')
      heading.textContent = '${version}'
      document.body.append(heading)`,
    )
    await buildServiceWorker({ outDir: directory })
  }
  await publish('one')
  let server: Server
  const first = await startAppServer({ directory, hubOrigin: 'http://localhost:1' })
  server = first
  const { port, origin } = first
  return {
    origin,
    publish,
    tamper: () => writeFile(script, 'document.body.append("changed")'),
    stop: () => server.close(),
    async silence() {
      await server.close()
      server = await startSilentServer(port)
    },
    async serve(hubOrigin) {
      await server.close()
      server = await startAppServer({ directory, hubOrigin, port })
    },
    async close() {
      await server.close()
      await rm(directory, { recursive: true })
    },
  }
}

async function startSilentServer(port: number): Promise<Server> {
  const clients = new Set<TcpEnd>()
  const server = createServer((client) => {
    clients.add(client)
    client.on('error', () => {})
  })
  server.listen(port, '127.0.0.1')
  await once(server, 'listening')
  return {
    async close() {
      const closed = new Promise<void>((resolve) => server.close(() => resolve()))
      for (const client of clients) client.destroy()
      await closed
    },
  }
}
