/** The app as it stands on a device: installable, started offline, handed over to a new version. */
import { copyApp } from './support/app-copy.ts'
import { expect, gather, test } from './support/app.ts'

test('installed, it starts offline, shows the history and takes messages', async ({ people }) => {
  const [alice, bob] = await people('alice', 'bob')
  await gather('Harvest', alice, bob)
  await bob.says('Keep this')
  await alice.sees('Keep this', bob)
  await alice.tab.isInstalled()
  await alice.closesTab()

  await alice.appServer.close()
  await alice.network.cut()
  await alice.opensTab()
  await alice.opensRoom('Harvest')
  await alice.sees('Keep this', bob)
  await alice.isOffline()
  await alice.says('Written offline')

  await alice.network.heal()
  await bob.sees('Written offline', alice)
})

test('a browser may install it: manifest, icons and worker', async ({ newcomer, request }) => {
  const alice = await newcomer('alice')
  const { page } = await alice.opensTab()
  const { origin } = alice.appServer
  const href = await page.locator('link[rel=manifest]').getAttribute('href')
  const manifest = await (await request.get(new URL(String(href), origin).href)).json()
  expect(manifest).toMatchObject({ name: 'Kalandra', display: 'standalone' })
  expect(new URL(manifest.start_url, origin).origin).toBe(origin)
  const sizes = manifest.icons.map((icon: { sizes: string }) => icon.sizes)
  expect(sizes).toEqual(expect.arrayContaining(['192x192', '512x512']))
  for (const icon of manifest.icons) {
    const answer = await request.get(new URL(icon.src, origin).href)
    expect(answer.headers()['content-type']).toBe(icon.type)
  }
  await alice.tab.isInstalled()
})

test('a new version is offered, taken when asked, and keeps everything', async ({ newcomer }) => {
  const app = await copyApp()
  await app.publish('one')
  const alice = await newcomer('alice', { appDirectory: app.directory })
  await alice.signsUp()
  await alice.createsRoom('Harvest')
  await alice.says('Keep this')
  await alice.sees('Keep this', alice)
  await alice.tab.isInstalled()
  await alice.tab.isVersion('one')

  await app.publish('two')
  await alice.tab.reloads()
  await alice.tab.isVersion('one')
  await alice.tab.acceptsUpdate()
  await alice.tab.isVersion('two')
  await alice.sees('Keep this', alice)
  await alice.says('Said in version two')
  await alice.sees('Said in version two', alice)
  await app.remove()
})
