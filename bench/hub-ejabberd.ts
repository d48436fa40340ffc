/**
 * ejabberd beside us: the installed Debian package as a process of its own, configured for nothing
 * but a room with 50 members, without TLS, without an archive and without a limit of rate. Owns the
 * process and its folder.
 */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { closeSync, existsSync, openSync } from 'node:fs'
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { connect, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import path from 'node:path'

const READY_MS_MAX = 30_000
const POLL_MS = 100
/** Where Debian puts the package's modules. */
const LIBRARIES = '/usr/lib/x86_64-linux-gnu'

export const ROOM = 'bench@conference.localhost'

export interface Ejabberd {
  readonly port: number
  close(): Promise<void>
}

const configuration = (port: number): string => `
loglevel: error
hosts: [localhost]
auth_method: [anonymous]
anonymous_protocol: sasl_anon
allow_multiple_connections: true
max_fsm_queue: 100000
listen:
  - port: ${port}
    ip: "127.0.0.1"
    module: ejabberd_c2s
    max_stanza_size: 262144
    starttls: false
    access: all
modules:
  mod_muc:
    max_users: 1000
    max_users_presence: 1000
    history_size: 0
    min_message_interval: 0
    default_room_options:
      persistent: false
      logging: false
      mam: false
`

/** Null when it is not installed. */
export async function startEjabberd(): Promise<Ejabberd | null> {
  if (!existsSync('/usr/sbin/ejabberdctl') || !existsSync('/usr/bin/erl')) return null
  const directory = await mkdtemp(path.join(tmpdir(), 'kalandra-ejabberd-'))
  const port = await freePort()
  const config = path.join(directory, 'ejabberd.yml')
  const database = path.join(directory, 'database')
  await mkdir(database)
  await writeFile(config, configuration(port))
  const logFile = path.join(directory, 'out.log')
  const log = openSync(logFile, 'a')
  const started = spawn(
    '/usr/bin/erl',
    ['-noinput', '+K', 'true', '+P', '250000', '-mnesia', 'dir', `"${database}"`, '-s', 'ejabberd'],
    {
      cwd: directory,
      env: {
        ...process.env,
        HOME: directory,
        ERL_LIBS: LIBRARIES,
        EJABBERD_CONFIG_PATH: config,
        EJABBERD_LOG_PATH: path.join(directory, 'ejabberd.log'),
      },
      stdio: ['ignore', log, log],
    },
  )
  closeSync(log)
  const close = async () => {
    if (started.exitCode === null && started.signalCode === null) {
      const exited = once(started, 'exit')
      started.kill('SIGKILL')
      await exited
    }
    await rm(directory, { recursive: true })
  }
  const deadline = Date.now() + READY_MS_MAX
  while (Date.now() < deadline && started.exitCode === null) {
    if (await answers(port)) return { port, close }
    await new Promise((resolve) => setTimeout(resolve, POLL_MS))
  }
  console.log(await readFile(logFile, 'utf8'))
  await close()
  return null
}

function answers(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const probe = connect({ port, host: '127.0.0.1' })
    probe.once('error', () => resolve(false))
    probe.once('connect', () => {
      probe.destroy()
      resolve(true)
    })
  })
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as { readonly port: number }
  await new Promise((resolve) => server.close(resolve))
  return port
}
