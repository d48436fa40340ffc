/**
 * A hub as a process of its own, on a free port, with a folder that goes with the test: the real
 * one, or one that only has its transports. Owns the processes it started, by their ids.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { randomInt } from 'node:crypto'
import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import { closeSync, openSync } from 'node:fs'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { hubCommand } from '../../../scripts/lib/hub.mjs'
import { deno, inRoot } from '../../../scripts/lib/project.mjs'

const READY_MS_MAX = 15_000
const POLL_MS = 25
const PORT_ATTEMPTS_MAX = 20
const PORT_MIN = 20_000
const PORT_MAX = 32_000

export interface HubProcess {
  readonly port: number
  /** Folder of the database. */
  readonly directory: string
  /** Starts again, with the same port and folder, after `kill` or `stop`. */
  start(): Promise<void>
  /** SIGKILL: nothing is said and nothing saved. */
  kill(): Promise<void>
  /** SIGTERM: drains. Resolves with the exit code. */
  stop(): Promise<number | null>
  /** Everything that the hub has logged. */
  readLog(): Promise<string>
  close(): Promise<void>
}

type Command = (env: Record<string, string>) => readonly string[]

export interface HubOptions {
  /** Program and arguments that run the hub's command, such as a tracer. */
  readonly prefix?: readonly string[]
}

/** Starts a hub and waits until it is healthy. */
export function startHub({ prefix = [] }: HubOptions = {}): Promise<HubProcess> {
  return startProcess((env) => [...prefix, ...hubCommand(env)])
}

/** Starts transports that send every frame back. */
export function startEchoHub(): Promise<HubProcess> {
  const program = inRoot('tests/support/echo-hub.ts')
  return startProcess(({ KALANDRA_PORT: port = '' }) => [
    deno(),
    'run',
    '--quiet',
    '--no-prompt',
    '--no-remote',
    '--cached-only',
    '--unstable-net',
    `--allow-net=[::]:${port}`,
    program,
    port,
  ])
}

async function startProcess(command: Command): Promise<HubProcess> {
  const directory = await mkdtemp(path.join(tmpdir(), 'kalandra-hub-'))
  const hub = new DenoHub({ directory, port: await findFreePort(), command })
  try {
    await hub.start()
  } catch (error) {
    await hub.close()
    throw error
  }
  return hub
}

class DenoHub implements HubProcess {
  readonly directory: string
  readonly port: number
  readonly #command: Command
  #process: ChildProcess | null = null

  constructor(options: { directory: string; port: number; command: Command }) {
    this.directory = options.directory
    this.port = options.port
    this.#command = options.command
  }

  async start(): Promise<void> {
    const env = this.#environment
    const [program, ...args] = this.#command(env) as [string, ...string[]]
    const log = openSync(this.#logFile, 'a')
    const started = spawn(program, args, {
      cwd: inRoot(),
      env: { ...process.env, ...env },
      stdio: ['ignore', log, log],
    })
    closeSync(log)
    this.#process = started
    await this.#ready(started)
  }

  async kill(): Promise<void> {
    await this.#end('SIGKILL')
  }

  stop(): Promise<number | null> {
    return this.#end('SIGTERM')
  }

  readLog(): Promise<string> {
    return readFile(this.#logFile, 'utf8')
  }

  async close(): Promise<void> {
    await this.kill()
    await rm(this.directory, { recursive: true })
  }

  get #logFile(): string {
    return path.join(this.directory, 'hub.log')
  }

  get #environment(): Record<string, string> {
    return {
      KALANDRA_PORT: String(this.port),
      KALANDRA_DATA: path.join(this.directory, 'data'),
      KALANDRA_KEY_FILE: path.join(this.directory, 'key'),
      KALANDRA_DOMAIN: 'localhost',
    }
  }

  async #ready(started: ChildProcess): Promise<void> {
    const deadline = Date.now() + READY_MS_MAX
    while (started.exitCode === null && Date.now() < deadline) {
      const answer = await fetch(`http://127.0.0.1:${this.port}/healthz`).catch(() => null)
      if (answer?.ok) return
      await new Promise((resolve) => setTimeout(resolve, POLL_MS))
    }
    throw new Error(`the hub did not come up:\n${await this.readLog()}`)
  }

  async #end(signal: NodeJS.Signals): Promise<number | null> {
    const running = this.#process
    this.#process = null
    if (running === null || running.exitCode !== null || running.signalCode !== null) return null
    const exited = once(running, 'exit')
    running.kill(signal)
    const [code] = await exited
    return code as number | null
  }
}

/**
 * A port that is free for TCP and UDP, below those that systems give to outgoing connections: a hub
 * that is started again finds it free.
 */
async function findFreePort(): Promise<number> {
  for (let attempt = 0; attempt < PORT_ATTEMPTS_MAX; attempt += 1) {
    const port = randomInt(PORT_MIN, PORT_MAX)
    if (await isFree(port)) return port
  }
  throw new Error('no port is free for TCP and UDP alike')
}

async function isFree(port: number): Promise<boolean> {
  const tcp = createServer()
  const udp = createSocket('udp6')
  const bound = await Promise.all([
    new Promise<boolean>((resolve) => {
      tcp.once('error', () => resolve(false))
      tcp.listen({ port, host: '::', exclusive: true }, () => resolve(true))
    }),
    new Promise<boolean>((resolve) => {
      udp.once('error', () => resolve(false))
      udp.bind(port, '::', () => resolve(true))
    }),
  ])
  await Promise.all([
    new Promise<void>((resolve) => udp.close(resolve)),
    new Promise((resolve) => tcp.close(resolve)),
  ])
  return bound.every((each) => each)
}
