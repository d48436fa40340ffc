/** The test vocabulary for the parts of `shared/browser`: a page that carries them, and no app. */
import { expect, type Page, test as base } from '@playwright/test'
import { startAppServer } from '../../../scripts/app-server.mjs'
import type { Parts } from '../pages/page.ts'
import { buildTestPage, type TestPage } from './test-page.ts'

export { expect }

interface PartsFixtures {
  /** The hub that the page may talk to; a test that has one overrides it. */
  readonly hubOrigin: string | null
  /** Opens another tab of the same browser context. */
  readonly openTab: () => Promise<Page>
}

interface PartsWorkerFixtures {
  readonly testPage: TestPage
}

export const test = base.extend<PartsFixtures, PartsWorkerFixtures>({
  testPage: [async ({ browserName: _ }, use) => {
    const testPage = await buildTestPage()
    await use(testPage)
    await testPage.remove()
  }, { scope: 'worker' }],
  hubOrigin: [null, { option: true }],
  openTab: async ({ context, testPage, hubOrigin }, use) => {
    const server = await startAppServer({ directory: testPage.directory, hubOrigin })
    await use(async () => {
      const page = await context.newPage()
      await page.goto(server.origin)
      await page.waitForFunction(() => 'parts' in globalThis)
      return page
    })
    await server.close()
  },
})

/** Names of the parts that take and return what can be cloned. */
type Callable = { [K in keyof Parts]: Parts[K] extends (...args: never[]) => unknown ? K : never }[
  keyof Parts
]

/** Calls one part inside a page. */
export function call<K extends Callable>(
  page: Page,
  name: K,
  ...args: Parameters<Parts[K]>
): Promise<Awaited<ReturnType<Parts[K]>>> {
  return page.evaluate(
    ([part, values]) => {
      const run = globalThis.parts[part] as (...args: readonly unknown[]) => unknown
      return run(...values) as never
    },
    [name, args as readonly unknown[]] as const,
  )
}
