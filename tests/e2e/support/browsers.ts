/** How each browser is launched for tests. Owns switches; scripts own where the browsers are. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import process from 'node:process'
import type { LaunchOptions, PlaywrightWorkerOptions } from '@playwright/test'
import { findBrowser } from '../../../scripts/lib/browsers.mjs'

/** A channel is present when the browser is an installed Firefox, not Playwright's own build. */
export type BrowserLaunch =
  & Pick<PlaywrightWorkerOptions, 'browserName' | 'launchOptions'>
  & Partial<Pick<PlaywrightWorkerOptions, 'channel'>>

const chromiumSwitches: readonly string[] = [
  '--no-sandbox',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
  '--no-first-run',
]

/** Firefox keeps files under HOME, which must be writable. */
function firefoxEnvironment(): Record<string, string> {
  const given = Object.entries(process.env).filter(([, value]) => value !== undefined)
  const home = mkdtempSync(path.join(tmpdir(), 'kalandra-firefox-'))
  process.once('exit', () => rmSync(home, { recursive: true, force: true }))
  return { ...Object.fromEntries(given) as Record<string, string>, HOME: home }
}

/** Null where the browser is not installed. */
export function browserLaunch(name: 'chromium' | 'firefox'): BrowserLaunch | null {
  const found = findBrowser(name)
  if (found.kind === 'missing') return null
  const args = name === 'chromium' ? [...chromiumSwitches] : []
  if (found.kind === 'downloaded') return { browserName: name, launchOptions: { args } }
  const launchOptions: LaunchOptions = { args, executablePath: found.path }
  if (name === 'chromium') return { browserName: name, launchOptions }
  return {
    browserName: name,
    channel: 'moz-firefox',
    launchOptions: { ...launchOptions, env: firefoxEnvironment() },
  }
}
