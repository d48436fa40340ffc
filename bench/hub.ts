/**
 * `npm run bench -- hub [ROUNDS] [PHASES]`: what the hub sequences and delivers, how late, and what
 * a session costs, each beside the raw limit of the same run and beside ejabberd. The hub is the
 * real process; the load comes from threads of this one. Owns the rounds, the table and the last
 * line.
 */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import process from 'node:process'
import { LIMITS } from '#core/base/limits.ts'
import { type HubProcess, startHub } from '../tests/e2e/support/hub.ts'
import { createWebSocketDialer } from '../tests/support/hub-client.ts'
import { ROOM, startEjabberd } from './hub-ejabberd.ts'
import { median } from './hub-figures.ts'
import { rawFilePerSec, shareOf, storePerSec, transportLimits } from './hub-limits.ts'
import { type Bench, fanOut, manyRooms, oneRoom } from './hub-phases.ts'
import { makeLoneRooms, makeRoom, registerAccounts } from './hub-rooms.ts'
import { PLAINTEXT_LENGTH } from './hub-seal.ts'
import { LoadThread } from './hub-threads.ts'

const ROUNDS = 5
const WRITERS = 8
const ROOMS_OF_EACH_WRITER = 125
const MEMBERS_MAX = 199
const RECEIVING_THREADS = 2
/** A sealed frame of a burst of 256, 300 bytes padded to 512, as it is stored. */
const ENTRY_LENGTH = 1_062
const XMPP_MESSAGES = 4_096
const XMPP_WINDOW = 512
const FRAMES_AIM = 10_000
const P99_AIM_MS = 50

type Figures = Record<string, number>
type Phase = (bench: Bench) => Promise<Figures>

const PHASES: Readonly<Record<string, Phase>> = {
  async twoHundred(bench) {
    const fan = await fanOut(bench, { room: 'twoHundred', transport: 'webTransport' })
    return {
      deliveriesPerSec200: fan.deliveriesPerSec,
      hubUsPerDelivery200: fan.hubUs,
      hubMainUsPerDelivery200: fan.hubMainUs,
      kbPerSession: fan.kbPerSession,
    }
  },
  async fifty(bench) {
    const fan = await fanOut(bench, { room: 'fifty', transport: 'webTransport' })
    const entries = Math.floor(LIMITS.writeBytesMax / (ENTRY_LENGTH + 12))
    const limits = await transportLimits(bench.threads, {
      transport: 'webTransport',
      sessions: 50,
      frameLength: ENTRY_LENGTH,
      flush: { frameLength: 46 + entries * (ENTRY_LENGTH + 12), entries },
    })
    return {
      deliveriesPerSec50: fan.deliveriesPerSec,
      entriesPerFrame50: fan.entriesPerFrame,
      hubUsPerDelivery50: fan.hubUs,
      hubMainUsPerDelivery50: fan.hubMainUs,
      hubUsPerPacedMessage50: fan.hubUsPerPacedMessage,
      p50Ms: fan.p50Ms,
      p99Ms: fan.p99Ms,
      transportLimitDeliveriesPerSec50: limits.deliveriesPerSec,
      echoLimitMs: limits.echoP50Ms,
      echoLimitP99Ms: limits.echoP99Ms,
    }
  },
  async fiftyWebSocket(bench) {
    const fan = await fanOut(bench, { room: 'fifty', transport: 'webSocket' })
    return {
      webSocketDeliveriesPerSec50: fan.deliveriesPerSec,
      webSocketHubUsPerPacedMessage50: fan.hubUsPerPacedMessage,
      webSocketP50Ms: fan.p50Ms,
      webSocketP99Ms: fan.p99Ms,
      webSocketKbPerSession: fan.kbPerSession,
    }
  },
  async oneRoom(bench) {
    const { framesPerSec, turns, ...processor } = await oneRoom(bench, {
      transport: 'webTransport',
    })
    const entries = Math.max(1, Math.round(turns.entries / turns.turns))
    const shape = { entryLength: ENTRY_LENGTH, entries, rooms: 1 }
    return {
      oneRoomFramesPerSec: framesPerSec,
      hubUsPerFrame: processor.hubUs,
      hubMainUsPerFrame: processor.hubMainUs,
      entriesPerTurn: entries,
      appendLimitPerSec: await storePerSec(shape),
      rawFileLimitPerSec: await rawFilePerSec(shape),
    }
  },
  async oneRoomSingles(bench) {
    const { framesPerSec } = await oneRoom(bench, { transport: 'webTransport', burst: 1 })
    return { oneRoomSinglesPerSec: framesPerSec }
  },
  async oneRoomWebSocket(bench) {
    const { framesPerSec } = await oneRoom(bench, { transport: 'webSocket' })
    return { webSocketOneRoomFramesPerSec: framesPerSec }
  },
  async manyRooms(bench) {
    const { framesPerSec, turns, ...processor } = await manyRooms(bench, { burst: 16 })
    const entries = Math.max(1, Math.round(turns.entries / turns.turns))
    const rooms = Math.max(1, Math.round(turns.rooms / turns.turns))
    const shape = { entryLength: ENTRY_LENGTH, entries, rooms }
    return {
      manyRoomsFramesPerSec: framesPerSec,
      manyRoomsHubUsPerFrame: processor.hubUs,
      manyRoomsHubMainUsPerFrame: processor.hubMainUs,
      manyRoomsEntriesPerTurn: entries,
      manyRoomsRoomsPerTurn: rooms,
      manyRoomsAppendLimitPerSec: await storePerSec(shape),
    }
  },
  async manyRoomsSingles(bench) {
    const { framesPerSec } = await manyRooms(bench, { burst: 1 })
    return { manyRoomsSinglesPerSec: framesPerSec }
  },
  async ejabberd(bench): Promise<Figures> {
    const ejabberd = await startEjabberd()
    if (ejabberd === null) {
      console.log('ejabberd is not installed (apt-get install ejabberd): its figure is left out')
      return {}
    }
    const { port } = ejabberd
    const { threads } = bench
    const of = { port, room: ROOM, bodyLength: PLAINTEXT_LENGTH }
    try {
      let firstNick = 0
      for (const [index, thread] of threads.entries()) {
        const count = index === 0 ? 1 : shareOf(49, threads.length - 1, index - 1)
        await thread.call('xmppOpen', { ...of, firstNick }, count)
        firstNick += count
      }
      await xmppSpread(bench, XMPP_MESSAGES / 4)
      const tookMs = await xmppSpread(bench, XMPP_MESSAGES)
      return { ejabberdDeliveriesPerSec50: 50 * XMPP_MESSAGES * 1_000 / tookMs }
    } finally {
      await Promise.all(threads.map((thread) => thread.call('xmppClose')))
      await ejabberd.close()
    }
  },
}

async function xmppSpread({ threads }: Bench, count: number): Promise<number> {
  await Promise.all(threads.map((thread) => thread.call('xmppRestartCounts')))
  const reached = Promise.all(threads.map((thread) => thread.call('xmppReach', count)))
  const beganMs = await threads[0].call('xmppSend', count, XMPP_WINDOW)
  return Math.max(...await reached) - beganMs
}

// ---- The run ------------------------------------------------------------------------------

/** A shell writes the id that the hub's process then has; `KALANDRA_PROFILES` asks for profiles. */
function startNoted(pidFile: string): Promise<HubProcess> {
  const profiles = Deno.env.get('KALANDRA_PROFILES')
  const profiling = profiles === undefined ? '' : `--cpu-prof-dir='${profiles}'`
  const script =
    `echo $$ > '${pidFile}'; program=$1; shift 2; exec "$program" run ${profiling} "$@"`
  return startHub({ prefix: ['sh', '-c', script, 'sh'] })
}

async function prepare(hub: HubProcess, pidFile: string): Promise<Bench> {
  const endpoint = `http://localhost:${hub.port}`
  const dialer = createWebSocketDialer()
  const register = (prefix: string, count: number) =>
    registerAccounts(dialer, endpoint, { prefix, count })
  const members = await register('member', MEMBERS_MAX)
  const [creator, ...writers] = await register('writer', WRITERS + 1)
  if (creator === undefined) throw new Error('no account')
  const room = (count: number) => makeRoom(dialer, endpoint, creator, members.slice(0, count))
  const many: Bench['many'][number][] = []
  for (const account of writers) {
    const rooms = await makeLoneRooms(dialer, endpoint, account, ROOMS_OF_EACH_WRITER)
    many.push({ account, rooms })
  }
  const [lone] = await makeLoneRooms(dialer, endpoint, creator, 1)
  if (lone === undefined) throw new Error('no room')
  const failed = (reason: string) => {
    console.error(`a thread of the load failed: ${reason}`)
    process.exit(1)
  }
  const thread = () => new LoadThread(failed)
  const receivers = Array.from({ length: RECEIVING_THREADS }, thread)
  return {
    hub,
    pidFile,
    threads: [thread(), ...receivers],
    creator,
    members,
    lone,
    fifty: await room(49),
    twoHundred: await room(MEMBERS_MAX),
    many,
  }
}

const EXPLANATION = `\
The real hub, started anew for each phase; the load comes from ${1 + RECEIVING_THREADS} threads of
this process, on the same processors. ${PLAINTEXT_LENGTH} bytes of text are padded to 512 and sealed
before anything is measured: sealing is the senders' cost, and stands in the crypto benchmark.
Bursts of up to 256 frames share a signature, except in "Singles" and at the pace.
Durable: "accepted" came back. Every receiver checks that no position is missing, and acknowledges.
Delay: from giving a frame to the transport to each of 50 deliveries, at 100 messages a second.
Limits: the store alone, and a file with a sync for each batch, with batches as the hub made them;
an echo over the same transport, and the transport alone with full writes.
Delays over WebSocket hold up to 40 ms of the client's own: Deno delays small segments (RFC 896)
where browsers do not.`

/** The aims, beside what was found. */
function judge(found: Figures): void {
  const { oneRoomFramesPerSec: frames, p99Ms, deliveriesPerSec50: ours } = found
  const theirs = found['ejabberdDeliveriesPerSec50']
  const say = (aim: string, met: boolean) => console.log(`${met ? 'met' : 'NOT MET'}: ${aim}`)
  if (frames !== undefined) say('10,000 durable frames/s in one room', frames >= FRAMES_AIM)
  if (p99Ms !== undefined) say('p99 under 50 ms at 100 messages/s', p99Ms < P99_AIM_MS)
  if (ours === undefined || theirs === undefined) return
  say('with 50 sessions more deliveries/s than ejabberd', ours > theirs)
}

async function main(): Promise<void> {
  console.log(EXPLANATION)
  const rounds = Number(Deno.args[0] ?? ROUNDS)
  const names = Deno.args[1]?.split(',') ?? Object.keys(PHASES)
  const folder = await mkdtemp(path.join(tmpdir(), 'kalandra-bench-'))
  const pidFile = path.join(folder, 'hub.pid')
  const hub = await startNoted(pidFile)
  const found = new Map<string, number[]>()
  try {
    const bench = await prepare(hub, pidFile)
    await hub.stop()
    for (let round = 0; round < rounds; round++) {
      for (const name of names) {
        const figures = await PHASES[name]?.(bench) ?? {}
        console.log(`round ${round + 1} ${name}: ${lineOf(figures)}`)
        for (const [key, value] of Object.entries(figures)) {
          found.set(key, [...found.get(key) ?? [], value])
        }
      }
    }
    for (const thread of bench.threads) thread.stop()
  } finally {
    await hub.close()
    await rm(folder, { recursive: true })
  }
  const medians: Figures = Object.fromEntries(
    [...found].map(([key, values]) => [key, rounded(median(values))]),
  )
  judge(medians)
  console.log(JSON.stringify(medians))
}

const rounded = (value: number): number =>
  value >= 100 ? Math.round(value) : Number(value.toFixed(2))

const lineOf = (figures: Figures): string =>
  Object.entries(figures).map(([key, value]) => `${key} ${rounded(value)}`).join(', ')

await main()
process.exit(0)
