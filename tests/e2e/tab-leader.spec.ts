/** Election and relay between tabs, in real browsers: locks decide, nothing beats. */
import type { Page } from '@playwright/test'
import { call, expect, test } from './support/parts.ts'

async function lines(page: Page, name: string): Promise<readonly string[]> {
  return (await call(page, 'probe', name)).lines
}

async function leads(page: Page, name: string): Promise<boolean> {
  return (await call(page, 'probe', name)).leads
}

/** Joins and waits until the tab has a leader. */
async function join(page: Page, name: string): Promise<void> {
  await call(page, 'joinTabs', 'account', name)
  await expect.poll(() => lines(page, name)).toContain('leaderReady')
}

test('the first tab leads, the second speaks through it, in order', async ({ openTab }) => {
  const [first, second] = [await openTab(), await openTab()]
  await join(first, 'first')
  await join(second, 'second')
  expect(await leads(first, 'first')).toBe(true)
  expect(await leads(second, 'second')).toBe(false)
  for (const word of ['one', 'two', 'three']) await call(second, 'say', 'second', word)
  await expect.poll(() => lines(second, 'second'))
    .toEqual(['leaderReady', 'echo one', 'echo two', 'echo three'])
  await call(first, 'say', 'first', 'all hello')
  await expect.poll(() => lines(second, 'second')).toContain('hello')
  expect(await lines(first, 'first')).toEqual(['leads', 'leaderReady', 'hello'])
})

test('when the leading tab closes, the next one leads and is told so', async ({ openTab }) => {
  const [first, second, third] = [await openTab(), await openTab(), await openTab()]
  await join(first, 'first')
  await join(second, 'second')
  await join(third, 'third')
  await first.close()
  await expect.poll(() => lines(second, 'second')).toEqual(['leaderReady', 'leads', 'leaderReady'])
  await expect.poll(() => lines(third, 'third')).toEqual(['leaderReady', 'leaderReady'])
  await call(third, 'say', 'third', 'again')
  await expect.poll(() => lines(third, 'third')).toContain('echo again')
})

test('a leader that leaves stops its engine before the next one starts', async ({ openTab }) => {
  const [first, second] = [await openTab(), await openTab()]
  await join(first, 'first')
  await join(second, 'second')
  await call(first, 'leave', 'first')
  expect(await lines(first, 'first')).toEqual(['leads', 'leaderReady', 'stopped'])
  expect(await leads(first, 'first')).toBe(false)
  await expect.poll(() => leads(second, 'second')).toBe(true)
})

test('the leader hears of every tab that went, however it went', async ({ openTab }) => {
  const [first, second, third] = [await openTab(), await openTab(), await openTab()]
  await join(first, 'first')
  await join(second, 'second')
  await join(third, 'third')
  await call(second, 'leave', 'second')
  await expect.poll(() => lines(first, 'first')).toContain('gone second')
  await third.close()
  await expect.poll(() => lines(first, 'first')).toContain('gone third')
})

test('two accounts of one origin lead apart', async ({ openTab }) => {
  const page = await openTab()
  await join(page, 'first')
  await call(page, 'joinTabs', 'other', 'second')
  await expect.poll(() => leads(page, 'second')).toBe(true)
  expect(await leads(page, 'first')).toBe(true)
})

test('a reload of the only tab leads again', async ({ openTab }) => {
  const page = await openTab()
  await join(page, 'first')
  await page.reload()
  await page.waitForFunction(() => 'parts' in globalThis)
  await join(page, 'first')
  expect(await leads(page, 'first')).toBe(true)
})
