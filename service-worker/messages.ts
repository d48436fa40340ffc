/** What a page may say to the service worker. Owns the shapes only. */

/** The waiting worker takes over at once: the person accepted the new version. */
export interface SkipWaiting {
  readonly kind: 'skipWaiting'
}

export type ServiceWorkerMessage = SkipWaiting

/** True for a message of ours; anything else is ignored. */
export function isServiceWorkerMessage(value: unknown): value is ServiceWorkerMessage {
  return typeof value === 'object' && value !== null && 'kind' in value &&
    value.kind === 'skipWaiting'
}
