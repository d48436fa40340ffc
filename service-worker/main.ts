/** The service worker's events, each handed to one function. Owns nothing else. */
import { type AppShell, createAppShell, type ShellBuild } from './app-shell.ts'
import { isServiceWorkerMessage } from './messages.ts'

declare const self: ServiceWorkerGlobalScope
/** Written by the build. */
declare const KALANDRA_SHELL_BUILD: ShellBuild

const shell: AppShell = createAppShell(KALANDRA_SHELL_BUILD, {
  caches: self.caches,
  origin: self.location.origin,
  fetch: (request, init) => self.fetch(request, init),
  digest: (bytes) => self.crypto.subtle.digest('SHA-256', bytes),
  setTimer(run, delayMs) {
    const timer = self.setTimeout(run, delayMs)
    return () => self.clearTimeout(timer)
  },
})

self.addEventListener('install', (event) => {
  event.waitUntil(shell.install())
})

self.addEventListener('activate', (event) => {
  event.waitUntil(shell.activate().then(() => self.clients.claim()))
})

self.addEventListener('fetch', (event) => {
  const response = shell.respond(event.request)
  if (response !== null) event.respondWith(response)
})

self.addEventListener('message', (event) => {
  if (isServiceWorkerMessage(event.data)) event.waitUntil(self.skipWaiting())
})
