/**
 * Which browsers the tests drive, and how a missing one is installed. Owns finding them; how they
 * are launched is told by the tests' own configuration.
 */
import { existsSync } from 'node:fs'
import { createRequire } from 'node:module'
import process from 'node:process'
import { installFromDebian, isRootOnDebian, succeeds } from './debian.mjs'
import { packageBin } from './project.mjs'

export const browserNames = /** @type {const} */ (['chromium', 'firefox'])

const system = {
  chromium: { variable: 'KALANDRA_CHROMIUM', file: '/usr/bin/chromium', package: 'chromium' },
  firefox: { variable: 'KALANDRA_FIREFOX', file: '/usr/bin/firefox-esr', package: 'firefox-esr' },
}

/**
 * The browser as it is installed: a file, or `downloaded` when Playwright brought its own.
 *
 * @param {'chromium' | 'firefox'} name
 * @returns {{ kind: 'file', path: string } | { kind: 'downloaded' } | { kind: 'missing' }}
 */
export function findBrowser(name) {
  const { variable, file } = system[name]
  const path = process.env[variable] || file
  if (existsSync(path)) return { kind: 'file', path }
  const playwright = createRequire(import.meta.url)('@playwright/test')
  return existsSync(playwright[name].executablePath())
    ? { kind: 'downloaded' }
    : { kind: 'missing' }
}

function download(name) {
  console.log(`Downloading Playwright's ${name}`)
  const [node, cli] = packageBin('@playwright/test', 'cli.js')
  return succeeds(node, [cli, 'install', name])
}

/**
 * Installs what is missing.
 *
 * @returns {{ name: string, reason: string }[]} the browsers that there are not, and why
 */
export function ensureBrowsers() {
  const missing = () => browserNames.filter((name) => findBrowser(name).kind === 'missing')
  const wanted = missing()
  if (wanted.length === 0) return []
  const viaDebian = isRootOnDebian()
  if (viaDebian) installFromDebian(wanted.map((name) => system[name].package))
  for (const name of missing()) download(name)
  const tried = viaDebian ? 'neither apt-get nor Playwright' : 'Playwright'
  const reason = `${tried} could install it${viaDebian ? '' : ' (apt-get needs root on Debian)'}`
  return missing().map((name) => ({
    name,
    reason: viaDebian ? reason : `not installed: ${reason}`,
  }))
}
