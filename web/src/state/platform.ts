/**
 * What this browser is and can do. Owns detection and saving a file; owns no words for it.
 */

export type MissingPart = 'secureContext' | 'locks' | 'storage' | 'workers'

/** The first thing without which the app cannot work here, or null. */
export function missingPart(): MissingPart | null {
  if (!globalThis.isSecureContext || globalThis.crypto?.subtle === undefined) return 'secureContext'
  if (navigator.locks === undefined || globalThis.BroadcastChannel === undefined) return 'locks'
  if (globalThis.indexedDB === undefined || !localStorageWorks()) return 'storage'
  if (globalThis.Worker === undefined) return 'workers'
  return null
}

function localStorageWorks(): boolean {
  try {
    localStorage.getItem('kalandra.accounts')
    return true
  } catch {
    return false
  }
}

/** Asks the browser not to evict this device's keys; some browsers never answer. */
export function keepStorage(): void {
  void navigator.storage?.persist?.().catch(() => false)
}

const browsers: readonly (readonly [RegExp, string])[] = [
  [/\bEdg\//, 'Edge'],
  [/\bFirefox\//, 'Firefox'],
  [/Chrom(?:e|ium)\//, 'Chrome'],
  [/\bSafari\//, 'Safari'],
]

const systems: readonly (readonly [RegExp, string])[] = [
  [/Android/, 'Android'],
  [/iPhone|iPad/, 'iOS'],
  [/Windows/, 'Windows'],
  [/Mac OS X/, 'macOS'],
  [/CrOS/, 'ChromeOS'],
  [/Linux/, 'Linux'],
]

/** Product names of browser and system for a first device name; null where unknown. */
export function describePlatform(
  userAgent: string,
): { readonly browser: string | null; readonly system: string | null } {
  const find = (table: readonly (readonly [RegExp, string])[]): string | null =>
    table.find(([pattern]) => pattern.test(userAgent))?.[1] ?? null
  return { browser: find(browsers), system: find(systems) }
}

let savedUrl: string | null = null

/** Has the browser save a text as a file, as it saves a download. */
export function saveFile(name: string, text: string): void {
  // A browser may read it after the click: it is let go when another one takes its place.
  if (savedUrl !== null) URL.revokeObjectURL(savedUrl)
  savedUrl = URL.createObjectURL(new Blob([text], { type: 'application/jsonl' }))
  const link = document.createElement('a')
  link.href = savedUrl
  link.download = name
  link.click()
}
