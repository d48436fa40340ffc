/**
 * The command that runs the hub with the least privilege. Owns the permissions; the hub's own
 * variables are described in its `config.ts`.
 */
import { existsSync, readFileSync } from 'node:fs'
import { createServer } from 'node:net'
import path from 'node:path'
import process from 'node:process'
import { deno, inRoot } from './project.mjs'

const defaultPort = 4433

/** Names of the variables that the hub reads, as its configuration lists them. */
function variables() {
  const text = readFileSync(inRoot('edge-hub/config.ts'), 'utf8')
  return [...new Set(text.match(/\bKALANDRA_[A-Z_]+\b/g))]
}

/** Sources of threads: a thread is loaded at run time, so it and its imports must be readable. */
const threads = () => [inRoot('edge-hub/adapters'), inRoot('shared/core')]

/**
 * @param {Record<string, string | undefined>} env its variables; absent ones have its defaults
 * @param {{ watch?: boolean }} [options]
 * @returns {string[]} program and arguments
 */
export function hubCommand(env, { watch = false } = {}) {
  const port = Number(env.KALANDRA_PORT ?? defaultPort)
  const folder = path.resolve(env.KALANDRA_DATA ?? inRoot('data'))
  const keyFile = path.resolve(env.KALANDRA_KEY_FILE ?? `${folder}.key`)
  const log = env.KALANDRA_LOG ? [path.resolve(env.KALANDRA_LOG)] : []
  const read = [env.KALANDRA_APP_DIR, env.KALANDRA_CERT, env.KALANDRA_CERT_KEY]
    .filter((file) => file).map((file) => path.resolve(file))
  // A new key is written beside its place and renamed.
  const written = [folder, keyFile, `${keyFile}.new`, ...log]
  return [
    deno(),
    'run',
    '--quiet',
    '--no-prompt',
    '--no-remote',
    '--cached-only',
    '--unstable-net',
    `--allow-env=${variables().join(',')}`,
    `--allow-net=[::]:${port}`,
    `--allow-read=${[...written, ...read, ...threads()].join(',')}`,
    `--allow-write=${written.join(',')}`,
    ...(watch ? ['--watch'] : []),
    inRoot('edge-hub/main.ts'),
  ]
}

/** The port that was asked for, or null where it is no port. */
export function portFrom(text = process.env.KALANDRA_PORT) {
  if (text === undefined || text === '') return defaultPort
  const port = Number(text)
  return Number.isInteger(port) && port > 0 && port < 65_536 ? port : null
}

/** True when nothing listens on the port of this machine. */
export function portIsFree(port) {
  return new Promise((resolve) => {
    const probe = createServer()
    probe.once('error', (error) => resolve(error.code !== 'EADDRINUSE'))
    probe.listen({ port, host: '::', exclusive: true }, () => probe.close(() => resolve(true)))
  })
}

export const hubExists = () => existsSync(inRoot('edge-hub/main.ts'))
