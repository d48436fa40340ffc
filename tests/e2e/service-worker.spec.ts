/** The service worker alone: what it stores, what it answers, how it hands over. */
import { expect, type Page, test as base } from '@playwright/test'
import { type ShellSite, startShellSite } from './support/shell-site.ts'

const test = base.extend<{ site: ShellSite }>({
  site: async ({ browserName: _ }, use) => {
    const site = await startShellSite()
    await use(site)
    await site.close()
  },
})

/** Visits the app and waits until its worker serves it. */
async function install(page: Page, site: ShellSite): Promise<void> {
  await page.goto(site.origin)
  await page.evaluate(async () => {
    const controlled = new Promise((resolve) =>
      navigator.serviceWorker.addEventListener('controllerchange', resolve, { once: true })
    )
    await navigator.serviceWorker.register('/service-worker.js')
    await controlled
  })
}

function readText(page: Page, path: string): Promise<string> {
  return page.evaluate(async (asked) => {
    try {
      return await (await fetch(asked)).text()
    } catch {
      return 'unreachable'
    }
  }, path)
}

const version = (page: Page) => page.getByRole('heading')
const shellNames = (page: Page) =>
  page.evaluate(async () =>
    (await caches.keys()).filter((name) => name.startsWith('kalandra:shell:'))
  )

test('one visit is enough for a cold start offline', async ({ context, page, site }) => {
  await install(page, site)
  await page.close()
  await site.stop()
  const cold = await context.newPage()
  for (const path of ['/', '/room/abc', '/join?from=link']) {
    await cold.goto(site.origin + path)
    await expect(version(cold)).toHaveText('one')
  }
  expect(await readText(cold, '/config.json')).toBe('{"hub":"http://localhost:1"}')
})

test('what is not a file of the app is left to the network', async ({ page, site }) => {
  await install(page, site)
  await site.stop()
  for (const path of ['/v1/session', '/.well-known/kalandra', '/healthz', '/assets/none.js']) {
    expect(await readText(page, path)).toBe('unreachable')
  }
  expect(await readText(page, '/assets/app.js')).toContain('one')
  await expect(page.evaluate(() => fetch('/assets/app.js', { method: 'POST' }))).rejects.toThrow()
})

test('a file of another build stops the installation', async ({ page, site }) => {
  await site.tamper()
  await page.goto(site.origin)
  const state = await page.evaluate(async () => {
    const registration = await navigator.serviceWorker.register('/service-worker.js')
    const worker = registration.installing as ServiceWorker
    return await new Promise((resolve) =>
      worker.addEventListener('statechange', () => resolve(worker.state))
    )
  })
  expect(state).toBe('redundant')
  expect(await shellNames(page)).toEqual([])
})

test('a new version waits until it is told to take over', async ({ page, site }) => {
  await install(page, site)
  const [before] = await shellNames(page)
  await page.evaluate(async () => void await caches.open('of-someone-else'))
  await site.publish('two')
  await page.evaluate(async () => void await (await navigator.serviceWorker.ready).update())
  await expect.poll(() =>
    page.evaluate(async () => (await navigator.serviceWorker.ready).waiting !== null)
  ).toBe(true)
  await page.reload()
  await expect(version(page)).toHaveText('one')

  await page.evaluate(async () => {
    const registration = await navigator.serviceWorker.ready
    const taken = new Promise((resolve) =>
      navigator.serviceWorker.addEventListener('controllerchange', resolve, { once: true })
    )
    registration.waiting?.postMessage({ kind: 'anything else' })
    registration.waiting?.postMessage({ kind: 'skipWaiting' })
    await taken
  })
  await page.reload()
  await expect(version(page)).toHaveText('two')
  await expect.poll(() => shellNames(page)).toHaveLength(1)
  expect(await shellNames(page)).not.toContain(before)
  expect(await page.evaluate(() => caches.keys())).toContain('of-someone-else')
})

test('a silent network leaves the configuration that was known', async ({ page, site }) => {
  await install(page, site)
  await site.serve('http://localhost:2')
  expect(await readText(page, '/config.json')).toBe('{"hub":"http://localhost:2"}')
  await site.silence()
  expect(await readText(page, '/config.json')).toBe('{"hub":"http://localhost:2"}')
})
