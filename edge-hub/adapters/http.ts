/**
 * The hub's TCP port: the WebSocket's path, health, the document by which a device finds the hub,
 * and the app. Plain HTTP, or TLS where certificates come from files. Owns the routes; owns no
 * session (see `websocket.ts`) and no content.
 */
import { DESCRIPTION_PATH, SESSION_PATH } from '#core/wire/endpoint.ts'
import type { Observe } from '#hub/ports.ts'
import { type AppFiles, COMMON_HEADERS, createAppFiles } from './app-files.ts'
import type { CertificateSource } from './certificate.ts'

/** Requests that run get this long once the server stops; then they are cut. */
const STOP_MS_MAX = 2_000

/** What a device must know to dial (WIRE-8). Byte strings are base64url. */
export interface WellKnown {
  readonly domain: string
  readonly hubKey: string
  readonly versions: readonly number[]
  readonly sessionPath: string
  /** SHA-256 of certificates to accept for WebTransport; empty: those of the platform. */
  readonly certificateHashes: readonly string[]
  readonly webTransport: boolean
}

export interface HttpOptions {
  /** TCP port; 0 takes a free one. */
  readonly port: number
  /** `::` takes IPv4 as well. */
  readonly hostname?: string
  readonly certificates: CertificateSource
  readonly webSocket: { upgrade(request: Request): Response }
  wellKnown(): WellKnown
  healthy(): boolean
  /** Folder of the built app; null serves none. */
  readonly appDir: string | null
  /** Origins of apps that may read the well-known document. */
  readonly appOrigins: readonly string[] | '*'
  readonly observe: Observe
}

export interface HttpServer {
  readonly port: number
  /** Lets running requests end for a moment, then cuts what is left, WebSockets too. */
  stop(): Promise<void>
}

/** Binds and serves. Rejects when the port is taken. */
export function startHttp(options: HttpOptions): Promise<HttpServer> {
  return Promise.try(() => bind(options))
}

function bind(options: HttpOptions): HttpServer {
  const { certificates } = options
  const handle = createHandler(options)
  let serving = serve(options, options.port, handle)
  const { port } = serving
  // A server keeps the certificate that it began with, so a second one takes over the port.
  const unsubscribe = certificates.subscribe(() => {
    if (!certificates.given) return
    const before = serving
    serving = serve(options, port, handle)
    void before.retire()
  })
  return {
    port,
    stop() {
      unsubscribe()
      return serving.stop()
    },
  }
}

type Handler = (request: Request) => Response | Promise<Response>

interface Serving {
  readonly port: number
  /** Takes no new connections; those that are open go on. */
  retire(): Promise<void>
  stop(): Promise<void>
}

function serve(options: HttpOptions, port: number, handle: Handler): Serving {
  const { hostname = '::', certificates, observe } = options
  const abort = new AbortController()
  const { certificate: cert, key } = certificates.current()
  const tls = certificates.given ? { cert, key, reusePort: true } : {}
  const server = Deno.serve({
    hostname,
    port,
    ...tls,
    signal: abort.signal,
    onListen: () => {},
    onError: () => {
      observe({ kind: 'adapterFaulted' })
      return new Response(null, { status: 500, headers: { ...COMMON_HEADERS } })
    },
  }, handle)
  return {
    port: (server.addr as Deno.NetAddr).port,
    retire: () => server.shutdown(),
    async stop() {
      const timer = setTimeout(() => abort.abort(), STOP_MS_MAX)
      await server.shutdown()
      clearTimeout(timer)
    },
  }
}

function createHandler(options: HttpOptions): Handler {
  const files = options.appDir === null ? null : createAppFiles(options.appDir)
  return (request) => {
    const { pathname } = new URL(request.url)
    if (request.method !== 'GET' && request.method !== 'HEAD') {
      return new Response(null, { status: 405, headers: { ...COMMON_HEADERS, allow: 'GET, HEAD' } })
    }
    switch (pathname) {
      case SESSION_PATH:
        return options.webSocket.upgrade(request)
      case '/healthz':
        return options.healthy() ? json({ status: 'ok' }) : json({ status: 'failing' }, 503)
      case DESCRIPTION_PATH:
        return wellKnown(request, options)
      case '/config.json':
        // The app is served by its hub: same origin.
        return json({ hub: null })
    }
    return serveApp(request, pathname, files)
  }
}

function serveApp(
  request: Request,
  pathname: string,
  files: AppFiles | null,
): Response | Promise<Response> {
  const reserved = pathname.startsWith('/v1/') || pathname.startsWith('/.well-known/')
  if (files !== null && !reserved) return files.serve(request)
  return new Response(null, { status: 404, headers: { ...COMMON_HEADERS } })
}

function wellKnown(request: Request, { appOrigins, ...options }: HttpOptions): Response {
  const response = json(options.wellKnown())
  const origin = request.headers.get('origin')
  if (appOrigins === '*') {
    response.headers.set('access-control-allow-origin', '*')
  } else {
    response.headers.set('vary', 'origin')
    if (origin !== null && appOrigins.includes(origin)) {
      response.headers.set('access-control-allow-origin', origin)
    }
  }
  return response
}

function json(content: unknown, status = 200): Response {
  return Response.json(content, {
    status,
    headers: { ...COMMON_HEADERS, 'cache-control': 'no-store' },
  })
}
