/**
 * Serves a built app and its configuration over HTTP on loopback, for tests and for trying a build.
 * Owns headers and caching of files; the hub serves the same app by itself in production.
 *
 * Alone: `PORT=5173 KALANDRA_HUB_ORIGIN=http://localhost:4433 node scripts/app-server.mjs`
 */
import { createServer } from 'node:http'
import { readFile } from 'node:fs/promises'
import path from 'node:path'
import process from 'node:process'
import { fileURLToPath } from 'node:url'

const MEDIA_TYPES = {
  '.css': 'text/css; charset=utf-8',
  '.html': 'text/html; charset=utf-8',
  '.ico': 'image/x-icon',
  '.js': 'text/javascript; charset=utf-8',
  '.json': 'application/json; charset=utf-8',
  '.png': 'image/png',
  '.svg': 'image/svg+xml',
  '.txt': 'text/plain; charset=utf-8',
  '.webmanifest': 'application/manifest+json',
  '.woff2': 'font/woff2',
}

/**
 * @typedef {object} AppServerOptions
 * @property {string} directory folder of the built app; files are read at each request
 * @property {string | null} hubOrigin origin of the hub for `/config.json`; null: the same origin
 * @property {number} [port] 0 or absent: a free one
 */

/**
 * Starts the server.
 *
 * @param {AppServerOptions} options
 * @returns {Promise<{ port: number, origin: string, close(): Promise<void> }>}
 */
export async function startAppServer({ directory, hubOrigin, port = 0 }) {
  const root = path.resolve(directory)
  const policy = contentSecurityPolicy(hubOrigin)
  const server = createServer(async (request, response) => {
    const found = request.method === 'GET' || request.method === 'HEAD'
      ? await answer(root, hubOrigin, new URL(request.url ?? '/', 'http://app').pathname)
      : null
    response.writeHead(found === null ? 404 : 200, {
      'content-type': found?.mediaType ?? 'text/plain; charset=utf-8',
      'cache-control': found?.immutable ? 'public, max-age=31536000, immutable' : 'no-cache',
      'content-security-policy': policy,
      'cross-origin-opener-policy': 'same-origin',
      'referrer-policy': 'no-referrer',
      'x-content-type-options': 'nosniff',
    })
    response.end(request.method === 'HEAD' ? undefined : found?.content ?? 'not found')
  })
  await new Promise((resolve, reject) => {
    server.once('error', reject)
    server.listen(port, '127.0.0.1', () => resolve(undefined))
  })
  const address = /** @type {import('node:net').AddressInfo} */ (server.address())
  return {
    port: address.port,
    origin: `http://localhost:${address.port}`,
    async close() {
      const closed = new Promise((resolve) => server.close(() => resolve(undefined)))
      server.closeAllConnections()
      await closed
    },
  }
}

/**
 * The file at a path; the app itself for every path that is not a file's, so that links work.
 *
 * @param {string} root
 * @param {string | null} hubOrigin
 * @param {string} pathname
 */
async function answer(root, hubOrigin, pathname) {
  if (pathname === '/config.json') {
    return {
      content: JSON.stringify({ hub: hubOrigin }),
      mediaType: MEDIA_TYPES['.json'],
      immutable: false,
    }
  }
  const wanted = decodePath(pathname)
  const name = wanted === null || path.extname(wanted) === '' ? '/index.html' : wanted
  const file = path.join(root, name)
  if (!file.startsWith(root + path.sep)) return null
  try {
    return {
      content: await readFile(file),
      mediaType: MEDIA_TYPES[path.extname(name)] ?? 'application/octet-stream',
      immutable: name.startsWith('/assets/'),
    }
  } catch {
    return null
  }
}

/** @param {string} pathname */
function decodePath(pathname) {
  try {
    return decodeURIComponent(pathname)
  } catch {
    return null
  }
}

/** @param {string | null} hubOrigin */
function contentSecurityPolicy(hubOrigin) {
  const connect = ["'self'"]
  if (hubOrigin !== null) {
    const { protocol, host, origin } = new URL(hubOrigin)
    connect.push(origin, protocol === 'http:' ? `ws://${host}` : `wss://${host}`)
    if (protocol === 'http:') connect.push(`https://${host}`)
  }
  return [
    "default-src 'none'",
    "script-src 'self'",
    "style-src 'self'",
    "img-src 'self' data: blob:",
    "font-src 'self'",
    `connect-src ${connect.join(' ')}`,
    "worker-src 'self'",
    "manifest-src 'self'",
    "base-uri 'none'",
    "form-action 'none'",
    "frame-ancestors 'none'",
  ].join('; ')
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const { PORT, KALANDRA_HUB_ORIGIN, KALANDRA_APP_DIR } = process.env
  const server = await startAppServer({
    directory: KALANDRA_APP_DIR ?? fileURLToPath(new URL('../dist', import.meta.url)),
    hubOrigin: KALANDRA_HUB_ORIGIN ?? null,
    port: Number(PORT ?? 5173),
  })
  console.log(`app ${server.origin}`)
  for (const signal of ['SIGINT', 'SIGTERM']) {
    process.on(signal, () => server.close().then(() => process.exit(0)))
  }
}
