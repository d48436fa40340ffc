/**
 * Which names of the host a file may touch. Owns the lists; the plugin walks the source.
 */

/** What a core file may reach by name: nothing that knows time, chance, the host or other code. */
const bannedInCore: ReadonlySet<string> = new Set([
  ...['Date', 'Temporal', 'performance', 'crypto', 'Crypto', 'Math', 'Intl'],
  ...['setTimeout', 'setInterval', 'setImmediate', 'queueMicrotask', 'requestAnimationFrame'],
  ...['clearTimeout', 'clearInterval', 'scheduler', 'Atomics', 'SharedArrayBuffer'],
  ...['globalThis', 'window', 'self', 'global', 'Deno', 'process', 'Buffer', 'navigator'],
  ...['fetch', 'console', 'eval', 'Function', 'WeakRef', 'FinalizationRegistry', 'require'],
  ...['TextEncoder', 'TextDecoder', 'URL', 'URLSearchParams', 'structuredClone', 'atob', 'btoa'],
])

const bannedElsewhere: ReadonlySet<string> = new Set(['Date', 'performance', 'Math', 'eval'])

/** Where the host's clock is read and handed on, or shown to a person. */
const clockFiles: readonly RegExp[] = [
  /^edge-hub\/main\.ts$/,
  /^edge-hub\/adapters\/system-clock\.ts$/,
  /^shared\/browser\/dial-environment\.ts$/,
  /^web\/src\/engine\/engine\.worker\.ts$/,
  /^web\/src\/(state|components)\/clock\.ts$/,
]

const deterministic = /^(shared\/(core|sdk)\/|edge-hub\/(gateway|sequencer)\/)/
const unruled = /^(tests|bench|scripts|lint)\//

/** How strict a file is held: `core` is deterministic, `host` stands around it. */
export type World = 'core' | 'host' | 'test'

export function worldOf(path: string): World {
  if (deterministic.test(path)) return 'core'
  return unruled.test(path) ? 'test' : 'host'
}

/** The names that the file may not refer to unless it declares them by itself. */
export function bannedNames(path: string): ReadonlySet<string> {
  const world = worldOf(path)
  if (world === 'core') return bannedInCore
  const names = new Set(world === 'test' ? ['Math'] : bannedElsewhere)
  if (clockFiles.some((file) => file.test(path))) {
    names.delete('Date')
    names.delete('performance')
  }
  return names
}

/** Members that draw entropy by themselves, in whatever object they stand. */
export const ENTROPY_MEMBERS: ReadonlySet<string> = new Set([
  ...['randomSecretKey', 'randomPrivateKey', 'randomUUID', 'getRandomValues'],
])

/** Exports of packages that draw entropy by themselves. */
export const ENTROPY_EXPORTS: ReadonlySet<string> = new Set(['randomBytes', 'managedNonce'])

/** Calls that take entropy by themselves when given fewer arguments than this. */
export const SEEDED_CALLS: Readonly<Record<string, number>> = { keygen: 1, encapsulate: 2 }
