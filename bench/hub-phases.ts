/**
 * The phases of a round, each on a hub that was started for it: sessions are opened, frames sealed,
 * a part of them sent to warm up, and only then is anything measured. Owns what a figure means.
 */
import { readFile } from 'node:fs/promises'
import { ok } from 'node:assert/strict'
import type { HubProcess } from '../tests/e2e/support/hub.ts'
import type { ClientAccount } from '../tests/support/protocol-client.ts'
import { percentile, type Turns, turnsOf } from './hub-figures.ts'
import { addressOf, type BenchTransport, type HubAddress } from './hub-address.ts'
import { shareOf } from './hub-limits.ts'
import type { Arrival } from './hub-member.ts'
import type { WrittenRoom } from './hub-seal.ts'
import type { MemberTask, Sent } from './hub-thread.ts'
import type { LoadThread } from './hub-threads.ts'

const WINDOW = 512
const BURST = 256
const ONE_ROOM_FRAMES = 16_384
const WARM_FRAMES = 1_024
const ROOM_FRAMES = 16
const WARM_ROOM_FRAMES = 2
const FAN_OUT_FRAMES = 4_096
const FAN_OUT_FRAMES_200 = 2_048
const PACED_FRAMES = 500
const PACED_WARM_FRAMES = 50
const PACED_INTERVAL_MS = 10
/** The hub's process settles after its start and after sessions were opened. */
const SETTLE_MS = 1_000
/** What proc(5) counts in, on every Linux. */
const MS_PER_TICK = 10

/** Everything that lives as long as the benchmark. */
export interface Bench {
  readonly hub: HubProcess
  /** Where the hub's process writes its id when it starts. */
  readonly pidFile: string
  /** The first sends, the others only receive. */
  readonly threads: readonly [LoadThread, ...LoadThread[]]
  readonly creator: ClientAccount
  readonly members: readonly ClientAccount[]
  readonly lone: WrittenRoom
  readonly fifty: WrittenRoom
  readonly twoHundred: WrittenRoom
  /** Eight writers, and the rooms of each. */
  readonly many: readonly { readonly account: ClientAccount; readonly rooms: WrittenRoom[] }[]
}

/** Runs on a freshly started hub; also what the hub counted meanwhile. */
async function onFreshHub<T>(
  { hub }: Bench,
  transport: BenchTransport,
  run: (address: HubAddress) => Promise<T>,
): Promise<T & { readonly turns: Turns }> {
  const before = (await hub.readLog()).length
  await hub.start()
  const outcome = await run(await addressOf(hub.port, transport))
  await hub.stop()
  const log = (await hub.readLog()).slice(before)
  ok(log.includes('"hubStopped"'), 'the hub drains')
  return { ...outcome, turns: turnsOf(log) }
}

const follow = (account: ClientAccount, rooms: readonly WrittenRoom[]): MemberTask => ({
  account,
  rooms: rooms.map(({ id, next }) => ({ id, from: next })),
})

// ---- Sequencing ---------------------------------------------------------------------------

export interface Sequenced {
  readonly framesPerSec: number
  /** Processor time of the hub for one frame. */
  readonly hubUs: number
  readonly hubMainUs: number
}

/** One sender in one room, which follows it: frames that were accepted, so durable, in a second. */
export function oneRoom(
  bench: Bench,
  options: { readonly transport: BenchTransport; readonly burst?: number },
): Promise<Sequenced & { readonly turns: Turns }> {
  const { transport, burst = BURST } = options
  const writers = [{ account: bench.creator, rooms: [bench.lone] }]
  return sequenceIn(bench, writers, {
    transport,
    warm: { framesPerRoom: WARM_FRAMES, framesPerBurst: burst },
    measured: { framesPerRoom: ONE_ROOM_FRAMES, framesPerBurst: burst },
  })
}

/** Eight senders in 125 rooms each, all rooms in turn. */
export function manyRooms(
  bench: Bench,
  { burst }: { readonly burst: number },
): Promise<Sequenced & { readonly turns: Turns }> {
  return sequenceIn(bench, bench.many, {
    transport: 'webTransport',
    warm: { framesPerRoom: WARM_ROOM_FRAMES, framesPerBurst: burst },
    measured: { framesPerRoom: ROOM_FRAMES, framesPerBurst: burst },
  })
}

interface Plan {
  readonly framesPerRoom: number
  readonly framesPerBurst: number
}

function sequenceIn(
  bench: Bench,
  writers: Bench['many'],
  plan: { readonly transport: BenchTransport; readonly warm: Plan; readonly measured: Plan },
): Promise<Sequenced & { readonly turns: Turns }> {
  const [sender] = bench.threads
  return onFreshHub(bench, plan.transport, async (address) => {
    await sender.call('open', address, writers.map(({ account, rooms }) => follow(account, rooms)))
    await submitAll(bench, writers, plan.warm)
    const measured = await submitAll(bench, writers, plan.measured)
    const { beganMs, endedMs, frames, processor } = measured
    await sender.call('close')
    return { framesPerSec: frames * 1_000 / (endedMs - beganMs), ...processor }
  })
}

async function submitAll(bench: Bench, writers: Bench['many'], plan: Plan) {
  const [sender] = bench.threads
  let frames = 0
  for (const { account, rooms } of writers) {
    await sender.call('prepare', account, rooms, plan)
    for (const room of rooms) room.next += plan.framesPerRoom
    frames += rooms.length * plan.framesPerRoom
  }
  await sender.call('restartCounts', false)
  const before = await processorMs(bench)
  const span = await sender.call('submit', WINDOW)
  const [{ rooms }] = writers as [Bench['many'][number]]
  await sender.call('reach', rooms.length * plan.framesPerRoom)
  const processor = processorUs(before, await processorMs(bench), frames)
  return { ...span, frames, processor }
}

// ---- Fan-out ------------------------------------------------------------------------------

export interface FannedOut {
  readonly deliveriesPerSec: number
  /** Entries in one `entries` frame, on average. */
  readonly entriesPerFrame: number
  /** Processor time of the hub for one delivery. */
  readonly hubUs: number
  readonly hubMainUs: number
  /** Processor time of the hub for one message at the pace, all its deliveries included. */
  readonly hubUsPerPacedMessage: number
  readonly p50Ms: number
  readonly p99Ms: number
  /** Resident memory of the hub for each of the sessions, once all follow the room. */
  readonly kbPerSession: number
}

/** One sender, everybody follows: deliveries in a second, then the delay at a steady pace. */
export function fanOut(
  bench: Bench,
  options: { readonly room: 'fifty' | 'twoHundred'; readonly transport: BenchTransport },
): Promise<FannedOut & { readonly turns: Turns }> {
  const { threads, creator } = bench
  const room = bench[options.room]
  const members = bench.members.slice(0, options.room === 'fifty' ? 49 : 199)
  const frames = options.room === 'fifty' ? FAN_OUT_FRAMES : FAN_OUT_FRAMES_200
  return onFreshHub(bench, options.transport, async (address) => {
    const emptyKb = await residentKb(bench)
    await openAll(threads, address, { room, creator, members })
    const fullKb = await residentKb(bench)
    const sessions = members.length + 1
    await spread(bench, { room, frames: WARM_FRAMES / 2 })
    const before = await processorMs(bench)
    const measured = await spread(bench, { room, frames })
    const processor = processorUs(before, await processorMs(bench), sessions * frames)
    const isPaced = options.room === 'fifty'
    const paced = await processorMs(bench)
    const delays = isPaced ? await pacedDelays(bench, room) : []
    const pacedUs = processorUs(paced, await processorMs(bench), PACED_FRAMES + PACED_WARM_FRAMES)
    const cuts = await Promise.all(threads.map((thread) => thread.call('cuts')))
    ok(cuts.every((count) => count === 0), 'every session keeps up')
    await Promise.all(threads.map((thread) => thread.call('close')))
    return {
      deliveriesPerSec: sessions * frames * 1_000 / measured.tookMs,
      entriesPerFrame: measured.entriesPerFrame,
      ...processor,
      hubUsPerPacedMessage: pacedUs.hubUs,
      p50Ms: percentile(delays, 0.5),
      p99Ms: percentile(delays, 0.99),
      kbPerSession: (fullKb - emptyKb) / sessions,
    }
  })
}

async function openAll(
  threads: Bench['threads'],
  address: HubAddress,
  { room, creator, members }: {
    readonly room: WrittenRoom
    readonly creator: ClientAccount
    readonly members: readonly ClientAccount[]
  },
): Promise<void> {
  const [sender, ...receivers] = threads
  await sender.call('open', address, [follow(creator, [room])])
  let from = 0
  await Promise.all(receivers.map((thread, index) => {
    const share = shareOf(members.length, receivers.length, index)
    const tasks = members.slice(from, from + share).map((account) => follow(account, [room]))
    from += share
    return thread.call('open', address, tasks)
  }))
}

async function spread(
  { threads, creator }: Bench,
  load: { readonly room: WrittenRoom; readonly frames: number },
): Promise<{ readonly tookMs: number; readonly entriesPerFrame: number }> {
  const { room, frames } = load
  const [sender] = threads
  await sender.call('prepare', creator, [room], { framesPerRoom: frames, framesPerBurst: BURST })
  room.next += frames
  await Promise.all(threads.map((thread) => thread.call('restartCounts', true)))
  const reached = Promise.all(threads.map((thread) => thread.call('reach', frames)))
  const { beganMs } = await sender.call('submit', WINDOW)
  const tookMs = Math.max(...await reached) - beganMs
  const arrivals = (await Promise.all(threads.map((thread) => thread.call('arrivals')))).flat()
  const frameCount = arrivals.reduce((sum, { length }) => sum + length, 0)
  return { tookMs, entriesPerFrame: arrivals.length * frames / frameCount }
}

/** Milliseconds from sending to each delivery, one message in each interval, each signed. */
async function pacedDelays(
  { threads, creator }: Bench,
  room: WrittenRoom,
): Promise<readonly number[]> {
  const [sender] = threads
  const plan = { framesPerRoom: PACED_FRAMES + PACED_WARM_FRAMES, framesPerBurst: 1 }
  await sender.call('prepare', creator, [room], plan)
  const warm = room.next + PACED_WARM_FRAMES
  room.next += plan.framesPerRoom
  await Promise.all(threads.map((thread) => thread.call('restartCounts', true)))
  const reached = Promise.all(threads.map((thread) => thread.call('reach', plan.framesPerRoom)))
  const sent = await sender.call('submitPaced', PACED_INTERVAL_MS)
  await reached
  const arrivals = (await Promise.all(threads.map((thread) => thread.call('arrivals')))).flat()
  return arrivals.flatMap((of) => delaysOf(sent, of, warm))
}

function delaysOf(sent: readonly Sent[], arrivals: readonly Arrival[], from: number): number[] {
  const sentMs = new Map(sent.map(({ position, atMs }) => [position, atMs]))
  return arrivals.flatMap(({ first, count, atMs }) =>
    Array.from({ length: count }, (_, index) => first + index)
      .filter((position) => position >= from)
      .map((position) => atMs - (sentMs.get(position) as number))
  )
}

/** Processor time of the hub's process and of its main thread so far (proc(5)), in milliseconds. */
async function processorMs({ pidFile }: Bench): Promise<Processor> {
  const pid = (await readFile(pidFile, 'utf8')).trim()
  const read = async (file: string) => {
    const stat = await readFile(file, 'utf8')
    const [user, system] = stat.slice(stat.lastIndexOf(')') + 2).split(' ').slice(11, 13)
    return (Number(user) + Number(system)) * MS_PER_TICK
  }
  return {
    wholeMs: await read(`/proc/${pid}/stat`),
    mainMs: await read(`/proc/${pid}/task/${pid}/stat`),
  }
}

interface Processor {
  readonly wholeMs: number
  readonly mainMs: number
}

/** Microseconds of processor for each of `count`, in the whole hub and in its main thread. */
function processorUs(before: Processor, after: Processor, count: number) {
  return {
    hubUs: (after.wholeMs - before.wholeMs) * 1_000 / count,
    hubMainUs: (after.mainMs - before.mainMs) * 1_000 / count,
  }
}

/** Resident memory of the hub's process (proc(5)), once it has settled. */
async function residentKb({ pidFile }: Bench): Promise<number> {
  await new Promise((resolve) => setTimeout(resolve, SETTLE_MS))
  const pid = (await readFile(pidFile, 'utf8')).trim()
  const status = await readFile(`/proc/${pid}/status`, 'utf8')
  const [, kb] = /^VmRSS:\s+(\d+) kB$/m.exec(status) ?? []
  ok(kb !== undefined, 'the kernel says what is resident')
  return Number(kb)
}
