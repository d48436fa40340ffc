/** One person with Chromium, one with Firefox, where both are installed. */
import type { Browser } from '@playwright/test'
import { browserNames, findBrowser } from '../../scripts/lib/browsers.mjs'
import { gather, test as base } from './support/app.ts'
import { type BrowserLaunch, browserLaunch } from './support/browsers.ts'

const OTHER = { chromium: 'firefox', firefox: 'chromium' } as const

const test = base.extend<{ otherBrowser: Browser }>({
  otherBrowser: async ({ browserName, playwright }, use) => {
    const name = OTHER[browserName as keyof typeof OTHER]
    const { launchOptions, channel } = browserLaunch(name) as BrowserLaunch
    const options = channel === undefined ? launchOptions : { ...launchOptions, channel }
    const browser = await playwright[name].launch(options)
    await use(browser)
    await browser.close()
  },
})

if (browserNames.every((name) => findBrowser(name).kind !== 'missing')) {
  test('there and back', async ({ otherBrowser, people, newcomer }) => {
    const [alice] = await people('alice')
    const bob = await newcomer('bob', { browser: otherBrowser })
    await bob.signsUp()
    await gather('Harvest', alice, bob)
    await alice.says('From here')
    await bob.sees('From here', alice)
    await bob.says('And back')
    await alice.sees('And back', bob)
  })
}
