/**
 * A hub whose medium fails while it runs: syncs and writes that end with EIO or ENOSPC, as strace
 * makes them, and a disk that is full. Owns the proof that nothing is acknowledged that is not
 * stored, that the hub says so, and that a good medium finds everything again.
 */
import { deepStrictEqual, ok, strictEqual } from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { deno } from '../../scripts/lib/project.mjs'
import { type HubProcess, startHub } from '../e2e/support/hub.ts'
import { createWebSocketDialer } from '../support/hub-client.ts'
import { signIn, signUp } from '../support/protocol-client.ts'
import { within } from '../support/protocol-parts.ts'
import { createRoom, type RoomClient } from '../support/room-client.ts'

const FRAMES_MAX = 400
const dialer = createWebSocketDialer()

function whyNotTraced(): string | null {
  const tried = spawnSync('strace', ['-f', '-e', 'trace=fsync', '-o', '/dev/null', 'true'])
  if (tried.error !== undefined) return 'strace is not installed'
  return tried.status === 0 ? null : 'strace may not trace here'
}

/** What the sender was told is stored, by position. */
type Acknowledged = Map<bigint, Uint8Array>

/** Sends frames one by one until `enough`; the answers that were no acknowledgement. */
async function talk(
  room: RoomClient,
  acknowledged: Acknowledged,
  enough: (others: readonly string[]) => boolean,
): Promise<readonly string[]> {
  const others: string[] = []
  for (let sent = 0; sent < FRAMES_MAX && !enough(others); sent++) {
    const frame = await room.seal(`text ${sent}`)
    const answer = await room.submit(frame)
    if (answer.kind === 'accepted' && answer.position !== null) {
      acknowledged.set(answer.position, frame)
    } else {
      others.push(answer.kind === 'refused' ? answer.refusal.kind : answer.kind)
    }
  }
  ok(enough(others), 'the medium failed')
  return others
}

async function isHealthy(hub: HubProcess): Promise<boolean> {
  const answer = await fetch(`http://localhost:${hub.port}/healthz`)
  await answer.body?.cancel()
  return answer.ok
}

/** Everything acknowledged stands at its position, and the room goes on. */
async function allIsThere(
  hub: HubProcess,
  room: RoomClient,
  acknowledged: Acknowledged,
): Promise<void> {
  const session = await signIn(dialer, `http://localhost:${hub.port}`, room.account)
  room.log.entries.length = 0
  room.log.hashes.length = 0
  const { next } = await room.follow(session)
  await room.log.reach(next)
  for (const [position, frame] of acknowledged) {
    const body = room.log.entries[Number(position)]?.body
    ok(body?.kind === 'whole', `position ${position} is there`)
    deepStrictEqual(body.bytes, frame)
  }
  strictEqual(await room.say('and on'), next)
  await session.leave()
}

interface Failing {
  readonly hub: HubProcess
  readonly room: RoomClient
  /** The next start has a good medium. */
  heal(): void
}

/** A hub whose calls fail as strace is told; `$KALANDRA_DATA` is its folder. */
async function withFailing(
  options: readonly string[],
  run: (failing: Failing) => Promise<void>,
): Promise<void> {
  // With -D the hub itself is the child that is signalled, and strace its grandchild.
  const command = `exec strace -D -f -o /dev/null ${options.join(' ')} "$@"`
  const prefix = ['sh', '-c', command, 'sh']
  const hub = await startHub({ prefix })
  try {
    const { account, session } = await signUp(dialer, `http://localhost:${hub.port}`, 'alice')
    const room = await createRoom(account, session)
    await run({ hub, room, heal: () => void prefix.splice(0) })
  } finally {
    await hub.close()
  }
}

const reason = whyNotTraced()
if (reason !== null) console.log(`skipped: a medium that fails (${reason})`)

for (const code of ['EIO', 'ENOSPC']) {
  Deno.test({
    name: `HUB-3: a sync that fails with ${code} ends the hub, and nothing acknowledged is lost`,
    ignore: reason !== null,
    fn: () =>
      withFailing([
        '-e trace=fsync,fdatasync',
        `-e inject=fsync,fdatasync:error=${code}:when=40+`,
      ], async ({ hub, room, heal }) => {
        const acknowledged: Acknowledged = new Map()
        const others = await talk(room, acknowledged, ({ length }) => length > 0)
        ok(others.every((kind) => kind === 'lost' || kind === 'unavailable'), others.join())
        ok(acknowledged.size > 0)
        await within(room.session.closed, 'the end of the session')
        await hub.stop()
        const log = await hub.readLog()
        ok(log.includes('"kind":"storeBroken"') && !log.includes('"kind":"hubStopped"'), log)
        heal()
        await hub.start()
        ok(await isHealthy(hub))
        await allIsThere(hub, room, acknowledged)
        console.log(`${acknowledged.size} acknowledged before ${code}, all there afterwards`)
      }),
  })
}

Deno.test({
  name: 'HUB-3: writes that fail with ENOSPC for a while refuse, and the hub goes on afterwards',
  ignore: reason !== null,
  fn: () =>
    withFailing([
      '-e trace=pwrite64',
      '-P "$KALANDRA_DATA/hub.sqlite-wal"',
      '-e inject=pwrite64:error=ENOSPC:when=500..503',
    ], async ({ hub, room, heal }) => {
      const acknowledged: Acknowledged = new Map()
      ok(await isHealthy(hub))
      const refused = await talk(room, acknowledged, ({ length }) => length > 0)
      deepStrictEqual(refused, ['unavailable'])
      ok(!await isHealthy(hub), 'healthz says it')
      ok((await hub.readLog()).includes('"kind":"storeFailed"'), 'the log says it')
      const before = acknowledged.size
      await talk(room, acknowledged, () => acknowledged.size > before + 5)
      ok(await isHealthy(hub))
      await room.session.leave()
      await hub.stop()
      ok((await hub.readLog()).includes('"kind":"hubStopped"'), 'it drains')
      heal()
      await hub.start()
      await allIsThere(hub, room, acknowledged)
      console.log(`${before} acknowledged before ENOSPC, ${acknowledged.size} in all`)
    }),
})

// ---- A full disk --------------------------------------------------------------------------

const DISK = 'size=3m'

/** With a mount of its own, which ends with the command. */
const inNamespace = (command: string, ...args: string[]) =>
  new Deno.Command('unshare', { args: ['-rm', 'sh', '-c', command, 'sh', ...args] }).outputSync()

function whyNoDisk(folder: string): string | null {
  try {
    const { success } = inNamespace(`mount -t tmpfs -o ${DISK} none "$1"`, folder)
    return success ? null : 'no file system may be mounted here'
  } catch {
    return 'unshare is not installed'
  }
}

const mountPoint = Deno.makeTempDirSync({ prefix: 'kalandra-disk-' })
const noDisk = whyNoDisk(mountPoint)
if (noDisk !== null) console.log(`skipped: a full disk (${noDisk})`)

Deno.test({
  name: 'HUB-3: a full disk rejects appends, keeps what it took, and takes more with room again',
  ignore: noDisk !== null,
  fn() {
    const program = fileURLToPath(new URL('./full-disk.ts', import.meta.url))
    const command = `mount -t tmpfs -o ${DISK} none "$1" && exec "$2" run --quiet --no-check -A ` +
      '"$3" "$1"'
    const { success, stdout, stderr } = inNamespace(command, mountPoint, deno(), program)
    ok(success, new TextDecoder().decode(stderr))
    console.log(new TextDecoder().decode(stdout).trim())
  },
})

globalThis.addEventListener('unload', () => Deno.removeSync(mountPoint))
