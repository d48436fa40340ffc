/** The report for a fault: made, looked at and saved with the keyboard alone, without a secret. */
import type { Page } from '@playwright/test'
import { replayCapsule } from '../capsule/replay.ts'
import { expect, gather, test } from './support/app.ts'

/** Goes on with the key of focus until a button of this name has it, and presses it. */
async function presses(page: Page, name: string): Promise<void> {
  const button = page.getByRole('button', { name, exact: true })
  await expect(button).toBeVisible()
  for (let keys = 0; keys < 60; keys++) {
    if (await button.evaluate((element) => element === document.activeElement)) break
    await page.keyboard.press('Tab')
  }
  await expect(button).toBeFocused()
  await page.keyboard.press('Enter')
}

/** Keeps what the page gives the browser to save: no event tells of it in every browser. */
async function observeSaving(page: Page): Promise<() => Promise<readonly string[]>> {
  await page.addInitScript(() => {
    const given: Blob[] = []
    const saved: string[] = []
    const create = URL.createObjectURL
    URL.createObjectURL = (content: Blob) => {
      given.push(content)
      return create.call(URL, content)
    }
    const click = HTMLAnchorElement.prototype.click
    HTMLAnchorElement.prototype.click = function () {
      const name = this.download
      void given.at(-1)?.text().then((text) => saved.push(name, text))
      click.call(this)
    }
    Object.assign(globalThis, { saved })
  })
  await page.reload()
  return () => page.evaluate(() => (globalThis as unknown as { saved: readonly string[] }).saved)
}

test('a report is made, seen and saved by keyboard, and tells no secret', async ({ people }) => {
  const [alice, bob] = await people('alice', 'bob')
  await gather('Harvest', alice, bob)
  await alice.says('The wheat is in the barn.')
  await bob.sees('The wheat is in the barn.', alice)

  const { page } = await alice.opensTab('/settings')
  const saved = await observeSaving(page)
  await expect(page.getByRole('heading', { name: 'If something goes wrong' })).toBeVisible()
  await presses(page, 'Make report')
  const field = page.getByRole('textbox', { name: 'The whole report' })
  await expect(field).toBeVisible()
  const text = await field.inputValue()
  await expect(page.getByRole('main')).toContainText(/The report holds \d+ steps/)
  await presses(page, 'Save as file')
  await expect.poll(saved).toEqual(['kalandra-report.jsonl', text])

  const [header, start, ...steps] = text.trimEnd().split('\n').map((line) => JSON.parse(line))
  expect(header).toMatchObject({ capsule: 1, lost: 0 })
  expect(start).toHaveProperty('state')
  const kinds = steps.map((step: { in: { kind: string } }) => step.in.kind)
  expect(kinds).toContain('framesReceived')
  // What a person gives away is enough to go through it again.
  const replayed = await replayCapsule(text)
  expect(replayed).toMatchObject({ divergence: null, missing: [], steps: steps.length })
  for (const secret of ['alice', 'bob', 'Harvest', 'wheat', 'localhost']) {
    expect(text).not.toContain(secret)
  }
})
