/**
 * Serves the built app from a folder: content types, caching and the headers that confine a page.
 * Owns which path is which file; owns no route of the hub (see `http.ts`).
 */

/** Names with a hash of their content, as the build writes them below `/assets/`. */
const HASHED = /^\/assets\/.+-[\w-]{8}\.\w+(\.map)?$/

const CONTENT_TYPES: Readonly<Record<string, string>> = {
  css: 'text/css; charset=utf-8',
  html: 'text/html; charset=utf-8',
  ico: 'image/x-icon',
  js: 'text/javascript; charset=utf-8',
  json: 'application/json; charset=utf-8',
  map: 'application/json; charset=utf-8',
  png: 'image/png',
  svg: 'image/svg+xml',
  txt: 'text/plain; charset=utf-8',
  wasm: 'application/wasm',
  webmanifest: 'application/manifest+json; charset=utf-8',
  webp: 'image/webp',
  woff2: 'font/woff2',
}

/** What every answer of the HTTP port carries. */
export const COMMON_HEADERS: Readonly<Record<string, string>> = {
  'x-content-type-options': 'nosniff',
  'referrer-policy': 'no-referrer',
  'cross-origin-opener-policy': 'same-origin',
}

export interface AppFiles {
  /** The file for a path, index.html for a path that a person navigates to, or 404. */
  serve(request: Request): Promise<Response>
}

/** Serves the files below `appDir`; each is read when it is asked for. */
export function createAppFiles(appDir: string): AppFiles {
  return {
    async serve(request) {
      const path = safePath(new URL(request.url).pathname)
      if (path === null) return notFound()
      const own = path === '/' ? null : await readFile(`${appDir}${path}`)
      if (own !== null) return answer(request, path, own)
      if (!isNavigation(path)) return notFound()
      const index = await readFile(`${appDir}/index.html`)
      return index === null ? notFound() : answer(request, '/index.html', index)
    },
  }
}

interface AppFile {
  readonly bytes: Uint8Array<ArrayBuffer>
  readonly etag: string
}

async function readFile(path: string): Promise<AppFile | null> {
  try {
    const { isFile, size, mtime } = await Deno.stat(path)
    if (!isFile) return null
    const bytes = await Deno.readFile(path)
    return { bytes, etag: `W/"${size.toString(36)}-${(mtime?.getTime() ?? 0).toString(36)}"` }
  } catch {
    return null
  }
}

/** The path as it is on the disk below the app's folder, or null if it could lead out of it. */
function safePath(pathname: string): string | null {
  let path: string
  try {
    path = decodeURIComponent(pathname)
  } catch {
    return null
  }
  if (/[\\\0]/.test(path) || path.split('/').some((part) => part.startsWith('.'))) return null
  return path
}

/** Paths of the app's own router have no dot in their last part; missing assets are not found. */
function isNavigation(path: string): boolean {
  return !path.startsWith('/assets/') && !(path.split('/').at(-1) ?? '').includes('.')
}

function answer(request: Request, path: string, file: AppFile): Response {
  const extension = path.slice(path.lastIndexOf('.') + 1)
  const headers = new Headers({
    ...COMMON_HEADERS,
    'content-type': CONTENT_TYPES[extension] ?? 'application/octet-stream',
    'cache-control': HASHED.test(path) ? 'public, max-age=31536000, immutable' : 'no-cache',
    'cross-origin-resource-policy': 'same-origin',
    // Workers take the policy of their own script, so that it goes with every file.
    'content-security-policy': contentSecurityPolicy(request),
    etag: file.etag,
  })
  if (request.headers.get('if-none-match') === file.etag) {
    return new Response(null, { status: 304, headers })
  }
  return new Response(file.bytes, { headers })
}

/**
 * Nothing but what the app itself brings; connections to this host only, also as WebSocket, and as
 * WebTransport, which is `https` even where the page came by plain HTTP.
 */
function contentSecurityPolicy(request: Request): string {
  const host = request.headers.get('host') ?? ''
  const named = /^(\[[0-9a-fA-F:]+\]|[\w.-]+)(:\d{1,5})?$/.test(host)
  const connect = named ? `'self' https://${host} wss://${host} ws://${host}` : `'self'`
  return [
    `default-src 'none'`,
    `script-src 'self'`,
    `style-src 'self'`,
    `img-src 'self' data: blob:`,
    `font-src 'self'`,
    `media-src 'self' blob:`,
    `worker-src 'self'`,
    `manifest-src 'self'`,
    `connect-src ${connect}`,
    `base-uri 'none'`,
    `form-action 'none'`,
    `frame-ancestors 'none'`,
  ].join('; ')
}

function notFound(): Response {
  return new Response(null, { status: 404, headers: { ...COMMON_HEADERS } })
}
