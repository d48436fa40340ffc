/**
 * Runs programs for the scripts. Owns their output and their end; a program that the script started
 * never outlives it.
 */
import { spawn } from 'node:child_process'
import process from 'node:process'
import { root } from './project.mjs'

/** What runs now; told to end when the script is, and killed when it is told twice. */
const running = new Set()
let interrupted = false
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) {
  process.on(signal, () => {
    if (running.size === 0) process.exit(130)
    for (const child of running) child.kill(interrupted ? 'SIGKILL' : 'SIGTERM')
    interrupted = true
  })
}

/**
 * Runs `[program, ...arguments]` to its end.
 *
 * @param {readonly string[]} command
 * @param {{ env?: Record<string, string>, quiet?: boolean }} [options] quiet: nothing is shown
 * @returns {Promise<{ code: number, output: string }>} code 1 where it was ended or did not start;
 *   `output` is empty unless quiet
 */
export function run([program, ...args], { env = {}, quiet = false } = {}) {
  return new Promise((resolve) => {
    const child = spawn(program, args, {
      cwd: root,
      env: { ...process.env, ...env },
      stdio: quiet ? ['ignore', 'pipe', 'pipe'] : ['ignore', 'inherit', 'inherit'],
    })
    running.add(child)
    let output = ''
    const take = (text) => output += text
    child.stdout?.setEncoding('utf8').on('data', take)
    child.stderr?.setEncoding('utf8').on('data', take)
    const end = (code) => {
      running.delete(child)
      if (interrupted) process.exit(130)
      resolve({ code, output })
    }
    child.on('error', (error) => {
      output += error.message
      end(1)
    })
    child.on('close', (code) => end(code ?? 1))
  })
}

/**
 * Starts a program that stays, in a group of its own, so that a Ctrl-C of the terminal reaches only
 * the script, which passes it on as SIGTERM and waits for the drain.
 */
export function start([program, ...args], { env = {} } = {}) {
  const child = spawn(program, args, {
    cwd: root,
    env: { ...process.env, ...env },
    stdio: ['ignore', 'inherit', 'inherit'],
    detached: true,
  })
  const ended = new Promise((resolve) => {
    child.on('error', () => resolve(1))
    child.on('close', (code, signal) => resolve(code ?? (signal === 'SIGTERM' ? 0 : 1)))
  })
  ended.then(() => running.delete(child))
  running.add(child)
  return { child, ended }
}
