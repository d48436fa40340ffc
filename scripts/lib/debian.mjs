/**
 * Packages of Debian that the tests use, installed when they are missing and this is root on
 * Debian. Owns apt-get; what is done without them is the caller's.
 */
import { spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import process from 'node:process'
import { root } from './project.mjs'

/** True when the program ended well; what it prints to standard output is not shown. */
export const succeeds = (program, args, env = {}) =>
  spawnSync(program, args, {
    cwd: root,
    env: { ...process.env, ...env },
    stdio: ['ignore', 'ignore', 'inherit'],
  }).status === 0

export const isRootOnDebian = () => process.getuid?.() === 0 && existsSync('/etc/debian_version')

/** @param {readonly string[]} packages */
export function installFromDebian(packages) {
  console.log(`Installing ${packages.join(' and ')} with apt-get`)
  const quiet = { DEBIAN_FRONTEND: 'noninteractive' }
  return succeeds('apt-get', ['-qq', 'update'], quiet) &&
    succeeds('apt-get', ['-qq', 'install', '-y', '--no-install-recommends', ...packages], quiet)
}

/** The tracer that counts the hub's syncs; the test says so where it is not there. */
export function ensureTracer() {
  const isThere = spawnSync('strace', ['-V'], { stdio: 'ignore' }).error === undefined
  if (!isThere && isRootOnDebian()) installFromDebian(['strace'])
}
