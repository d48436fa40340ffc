/**
 * Keeps the app itself on the device: precache by build, answers from it, hand-over to a newer
 * build. Owns the shell caches and the cached configuration; touches no other cache and no message.
 *
 * Every file is stored only if its SHA-256 is the one that the build wrote into this worker, so one
 * cache never mixes two builds, whatever a server or a proxy answers during an update.
 */

/** One file of the app: its absolute path, and the SHA-256 of its content in base64url. */
export interface ShellFile {
  readonly path: string
  readonly sha256: string
}

/** What the build writes into the worker. */
export interface ShellBuild {
  /** Names the content of all files. */
  readonly id: string
  readonly files: readonly ShellFile[]
}

/** The parts of a service worker's global scope that are used. */
export interface ShellEnvironment {
  readonly caches: Pick<CacheStorage, 'open' | 'keys' | 'delete'>
  readonly origin: string
  fetch(request: Request | string, init?: RequestInit): Promise<Response>
  digest(bytes: ArrayBuffer): Promise<ArrayBuffer>
  /** Returns what cancels it. */
  setTimer(run: () => void, delayMs: number): () => void
}

export interface AppShell {
  /** Stores the whole build or rejects with nothing left behind. */
  install(): Promise<void>
  /** Deletes the shells of other builds. */
  activate(): Promise<void>
  /** The answer to a request, or null where the network answers as if there were no worker. */
  respond(request: Request): Promise<Response> | null
}

const SHELL_PREFIX = 'kalandra:shell:'
const CONFIG_CACHE = 'kalandra:config'
const CONFIG_PATH = '/config.json'
const INDEX_PATH = '/index.html'
/** How long the network may take for the configuration where a cached one exists. */
const CONFIG_MS_MAX = 3_000
/** Paths of the hub, where it serves the app itself; never answered from here. */
const HUB_PATHS = ['/v1/', '/.well-known/', '/healthz']

/** Creates the shell of one build. */
export function createAppShell(build: ShellBuild, environment: ShellEnvironment): AppShell {
  const shellName = SHELL_PREFIX + build.id
  const paths = new Set(build.files.map((file) => file.path))
  const { caches } = environment

  async function fromShell(path: string, request: Request): Promise<Response> {
    const shell = await caches.open(shellName)
    return await shell.match(path) ?? await environment.fetch(request)
  }

  return {
    async install() {
      const older = await openOlderShells(caches, shellName)
      const shell = await caches.open(shellName)
      try {
        await Promise.all(
          build.files.map((file) => storeFile(file, { shell, older, environment })),
        )
        await storeConfig(environment)
      } catch (error) {
        await caches.delete(shellName)
        throw error
      }
    },
    async activate() {
      const names = await caches.keys()
      const others = names.filter((name) => name.startsWith(SHELL_PREFIX) && name !== shellName)
      await Promise.all(others.map((name) => caches.delete(name)))
    },
    respond(request) {
      const url = new URL(request.url)
      if (request.method !== 'GET' || url.origin !== environment.origin) return null
      if (HUB_PATHS.some((path) => url.pathname.startsWith(path))) return null
      if (url.pathname === CONFIG_PATH) return respondConfig(environment)
      if (paths.has(url.pathname)) return fromShell(url.pathname, request)
      return request.mode === 'navigate' ? fromShell(INDEX_PATH, request) : null
    },
  }
}

async function openOlderShells(
  caches: ShellEnvironment['caches'],
  shellName: string,
): Promise<readonly Cache[]> {
  const names = await caches.keys()
  const older = names.filter((name) => name.startsWith(SHELL_PREFIX) && name !== shellName)
  return await Promise.all(older.map((name) => caches.open(name)))
}

interface StoreFileOptions {
  readonly shell: Cache
  /** Shells of other builds: a file that did not change is taken from there. */
  readonly older: readonly Cache[]
  readonly environment: ShellEnvironment
}

async function storeFile(file: ShellFile, options: StoreFileOptions): Promise<void> {
  const { shell, older, environment } = options
  for (const cache of older) {
    const kept = await cache.match(file.path)
    if (kept !== undefined && await hasDigest(kept.clone(), file, environment)) {
      return await shell.put(file.path, kept)
    }
  }
  const response = await environment.fetch(file.path, { cache: 'reload' })
  const whole = response.status === 200 && !response.redirected
  if (!whole || !await hasDigest(response.clone(), file, environment)) {
    throw new Error(`the server has another ${file.path}`)
  }
  await shell.put(file.path, response)
}

async function hasDigest(
  response: Response,
  file: ShellFile,
  environment: ShellEnvironment,
): Promise<boolean> {
  const digest = await environment.digest(await response.arrayBuffer())
  return base64Url(new Uint8Array(digest)) === file.sha256
}

function base64Url(bytes: Uint8Array): string {
  const text = btoa(String.fromCharCode(...bytes))
  return text.replaceAll('+', '-').replaceAll('/', '_').replaceAll('=', '')
}

/** The first visit must be enough to start offline later; an older configuration will do. */
async function storeConfig(environment: ShellEnvironment): Promise<void> {
  const cache = await environment.caches.open(CONFIG_CACHE)
  try {
    const response = await environment.fetch(CONFIG_PATH, { cache: 'no-store' })
    if (response.status !== 200) throw new Error('no configuration')
    await cache.put(CONFIG_PATH, response)
  } catch (error) {
    if (await cache.match(CONFIG_PATH) === undefined) throw error
  }
}

/** Network first: the configuration is what may change without a new build. */
async function respondConfig(environment: ShellEnvironment): Promise<Response> {
  const cache = await environment.caches.open(CONFIG_CACHE)
  const cached = await cache.match(CONFIG_PATH)
  const fresh = environment.fetch(CONFIG_PATH, { cache: 'no-store' }).then(async (response) => {
    if (response.status !== 200) return cached ?? response
    await cache.put(CONFIG_PATH, response.clone())
    return response
  })
  if (cached === undefined) return await fresh
  let cancel = (): void => {}
  const late = new Promise<Response>((resolve) => {
    cancel = environment.setTimer(() => resolve(cached), CONFIG_MS_MAX)
  })
  return await Promise.race([fresh.catch(() => cached), late]).finally(cancel)
}
