/** Browser tests: every test on every browser that there is, one after the other, never again. */
import { defineConfig } from '@playwright/test'
import { browserLaunch } from './tests/e2e/support/browsers.ts'

const projects = (['chromium', 'firefox'] as const).flatMap((name) => {
  const use = browserLaunch(name)
  return use === null ? [] : [{ name, use }]
})

export default defineConfig({
  testDir: './tests/e2e',
  testMatch: '**/*.spec.ts',
  outputDir: './test-results/browsers',
  workers: 1,
  retries: 0,
  forbidOnly: true,
  timeout: 60_000,
  expect: { timeout: 10_000 },
  reporter: [['list'], ['json', { outputFile: './test-results/browsers.json' }]],
  use: { locale: 'en', trace: 'retain-on-failure' },
  projects,
})
