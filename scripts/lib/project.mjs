/**
 * Where the project stands and what is installed in it. Owns paths, the installation and the deno
 * executable; owns no task.
 */
import { spawnSync } from 'node:child_process'
import { existsSync, readdirSync, statSync } from 'node:fs'
import { createRequire } from 'node:module'
import path from 'node:path'
import process from 'node:process'
import { fileURLToPath } from 'node:url'

export const root = fileURLToPath(new URL('../../', import.meta.url))
export const inRoot = (...parts) => path.join(root, ...parts)

const modifiedMs = (file) => existsSync(file) ? statSync(file).mtimeMs : 0

/** Installs what the lock file names, when it is missing or older than the lock file. */
export function install() {
  const installed = modifiedMs(inRoot('node_modules/.package-lock.json'))
  if (installed !== 0 && installed >= modifiedMs(inRoot('package-lock.json'))) return
  console.log('Installing the packages of package-lock.json')
  const npm = process.platform === 'win32' ? 'npm.cmd' : 'npm'
  const { status } = spawnSync(npm, ['ci', '--no-audit', '--no-fund', '--loglevel=error'], {
    cwd: root,
    stdio: 'inherit',
    shell: process.platform === 'win32',
  })
  if (status !== 0) fail('npm ci failed: the packages could not be installed')
}

let denoPath = ''

/** The deno executable that npm installed; its own launcher would block signals. */
export function deno() {
  if (denoPath === '') {
    denoPath = createRequire(import.meta.url)('deno/install_api.cjs').runInstall()
  }
  return denoPath
}

/** An executable that a package brings, as `[program, ...arguments]` for node. */
export function packageBin(name, file) {
  return [process.execPath, inRoot('node_modules', name, file)]
}

/** Ends the process with one clear line. */
export function fail(line, code = 1) {
  console.error(line)
  process.exit(code)
}

/** Newest change below some folders or files, in milliseconds; 0 when there is none. */
function newestMs(places) {
  let newest = 0
  for (const place of places) {
    const at = inRoot(place)
    if (!existsSync(at)) continue
    if (!statSync(at).isDirectory()) newest = Math.max(newest, modifiedMs(at))
    else {
      for (const entry of readdirSync(at)) {
        if (entry === 'paraglide') continue
        newest = Math.max(newest, newestMs([path.join(place, entry)]))
      }
    }
  }
  return newest
}

const appSources = ['web', 'service-worker', 'shared', 'package-lock.json']

/** True when `dist/` holds the app as its sources are now, and its message code is there. */
export function appIsBuilt() {
  return existsSync(inRoot('web/src/paraglide')) &&
    modifiedMs(inRoot('dist/index.html')) > newestMs(appSources)
}
