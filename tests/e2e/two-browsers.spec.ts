/** One person with Chromium, one with Firefox, where both are installed. */
import { browserNames, findBrowser } from '../../scripts/lib/browsers.mjs'
import { gather, test } from './support/app.ts'
import { type BrowserLaunch, browserLaunch } from './support/browsers.ts'

const OTHER = { chromium: 'firefox', firefox: 'chromium' } as const

if (browserNames.every((name) => findBrowser(name).kind !== 'missing')) {
  test('a message goes to the other browser and back', async ({ browserName, playwright, people, newcomer }) => {
    const name = OTHER[browserName as keyof typeof OTHER]
    const { launchOptions, channel } = browserLaunch(name) as BrowserLaunch
    const browser = await playwright[name].launch({
      ...launchOptions,
      ...(channel === undefined ? {} : { channel }),
    })
    const [alice] = await people('alice')
    const bob = await newcomer('bob', { browser })
    await bob.signsUp()
    await gather('Harvest', alice, bob)
    await alice.says('From here')
    await bob.sees('From here', alice)
    await bob.says('And back')
    await alice.sees('And back', bob)
    await browser.close()
  })
}
