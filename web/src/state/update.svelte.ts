/**
 * Hand-over to a new version of the app. Owns the registration of the service worker and whether a
 * version waits; never reloads without being asked.
 */
import { Workbox } from 'workbox-window'

export class UpdateState {
  ready = $state(false)

  /** Registers the service worker, where there is one. */
  async register(): Promise<void> {
    if (!('serviceWorker' in navigator)) return
    const workbox = new Workbox('/service-worker.js', { scope: '/' })
    workbox.addEventListener('waiting', () => {
      this.ready = true
    })
    workbox.addEventListener('controlling', (event) => {
      if (event.isUpdate === true) location.reload()
    })
    try {
      await workbox.register({ immediate: true })
    } catch {
      // Without a service worker the app works while there is a network.
    }
  }

  /** Lets the waiting version take over; the page reloads once it does. */
  accept(): void {
    void navigator.serviceWorker.getRegistration('/').then((registration) => {
      registration?.waiting?.postMessage({ kind: 'skipWaiting' })
    })
  }
}
