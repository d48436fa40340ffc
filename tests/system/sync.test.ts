/**
 * What a power loss would leave, seen from the kernel: the hub runs under strace, and each batch
 * that it acknowledges has been synced to its files before. Killing a process cannot show this.
 */
import { deepStrictEqual, ok } from 'node:assert/strict'
import { readFile } from 'node:fs/promises'
import { spawnSync } from 'node:child_process'
import path from 'node:path'
import { type HubProcess, startHub } from '../e2e/support/hub.ts'
import { createWebSocketDialer } from '../support/hub-client.ts'
import { makeAccount, ProtocolSession } from '../support/protocol-client.ts'
import { createRoom, keyPackageFor, type RoomClient } from '../support/room-client.ts'

const BATCHES = 20
const FRAMES_PER_BATCH = 5

/** Why there can be no trace here; null when there can. */
function whyNoTrace(): string | null {
  const tried = spawnSync('strace', ['-f', '-e', 'trace=fsync', '-o', '/dev/null', 'true'])
  if (tried.error !== undefined) return 'strace is not installed'
  return tried.status === 0 ? null : 'strace may not trace here'
}

/**
 * Syncs of files below a folder that ended well, in what strace has written. A call that another
 * thread interrupts is two lines: its file stands in the first, its outcome in the second.
 */
function countSyncs(trace: string, folder: string): number {
  const begun = new Map<string, boolean>()
  let count = 0
  for (const line of trace.split('\n')) {
    const pid = line.split(' ', 1)[0] ?? ''
    const call = /\bf(?:data)?sync\(\d+<([^>]*)>/.exec(line)
    const inFolder = call === null ? begun.get(pid) === true : call[1]?.startsWith(folder) === true
    if (/<unfinished \.\.\.>$/.test(line)) begun.set(pid, inFolder)
    else if (inFolder && /\) += 0$/.test(line)) count++
  }
  return count
}

/** Runs with a hub under strace; `syncs` counts what it has synced until now. */
async function withTracedHub(
  run: (hub: HubProcess, syncs: () => Promise<number>) => Promise<void>,
): Promise<void> {
  const folder = await Deno.makeTempDir({ prefix: 'kalandra-trace-' })
  const trace = path.join(folder, 'trace')
  // With -D the hub itself is the child that is signalled, and strace its grandchild.
  const prefix = ['strace', '-D', '-f', '-y', '-e', 'trace=fdatasync,fsync', '-o', trace]
  try {
    const hub = await startHub({ prefix })
    const syncs = async () => countSyncs(await readFile(trace, 'utf8'), hub.directory)
    await run(hub, syncs).finally(() => hub.close())
  } finally {
    await Deno.remove(folder, { recursive: true })
  }
}

Deno.test('HUB-3: syncs are counted by file and outcome', () => {
  const trace = [
    '71 fdatasync(5</tmp/a/hub.db-wal>) = 0',
    '71 fdatasync(5</tmp/b/hub.db-wal>) = 0',
    '72 fsync(6</tmp/a/hub.db>) = -1 EIO (Input/output error)',
    '72 fsync(6</tmp/a/hub.db> <unfinished ...>',
    '71 fdatasync(5</tmp/b/hub.db-wal> <unfinished ...>',
    '71 <... fdatasync resumed>)          = 0',
    '72 <... fsync resumed>)              = 0',
    '73 fdatasync(5</tmp/a/hub.db-wal>',
  ].join('\n')
  deepStrictEqual(countSyncs(trace, '/tmp/a/'), 2)
})

/** Each of these is acknowledged as a whole before the next begins. */
async function* batches(endpoint: string): AsyncGenerator<string> {
  const account = await makeAccount('alice')
  const session = await ProtocolSession.open(createWebSocketDialer(), endpoint)
  await session.greet()
  await session.register(account)
  yield 'a registration'
  await session.authenticate(account)
  const { keyPackage } = await keyPackageFor(account)
  const published = { keyPackages: [keyPackage], lastResort: null }
  const answer = await session.request('publishKeyPackages', published)
  deepStrictEqual(answer.kind, 'accepted')
  yield 'KeyPackages'
  const room = await createRoom(account, session)
  yield 'a room'
  for (let batch = 0; batch < BATCHES; batch++) {
    await acknowledged(room, batch)
    yield `batch ${batch}`
  }
  await session.leave()
}

async function acknowledged(room: RoomClient, batch: number): Promise<void> {
  const texts = Array.from({ length: FRAMES_PER_BATCH }, (_, index) => `${batch}.${index}`)
  const frames = await room.sealBurst(texts)
  const answers = await Promise.all(frames.map((frame) => room.submit(frame)))
  ok(answers.every(({ kind }) => kind === 'accepted'), 'all of the batch is taken')
}

const reason = whyNoTrace()
if (reason !== null) console.log(`skipped: syncs counted by strace (${reason})`)

Deno.test({
  name: 'HUB-3: each acknowledged batch has been synced to the medium',
  ignore: reason !== null,
  fn: () =>
    withTracedHub(async (hub, syncs) => {
      let before = await syncs()
      let batchCount = 0
      for await (const what of batches(`http://localhost:${hub.port}`)) {
        const after = await syncs()
        ok(after > before, `${what}: no sync between ${before} and its acknowledgement`)
        before = after
        batchCount++
      }
      console.log(`${batchCount} acknowledged batches, ${before} syncs in all`)
      deepStrictEqual(batchCount, BATCHES + 3)
    }),
})
