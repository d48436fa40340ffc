/**
 * What nothing above them can be faster than, measured in the same run: a file that is written and
 * synced, the store without a hub, the transport without a hub. Owns temporary files; says nothing
 * about the hub.
 */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { type LogPosition, type RoomId, type Term, timeMs } from '#core/base/ids.ts'
import { openSqliteStore } from '#hub/adapters/sqlite.ts'
import type { RoomAppend } from '#hub/ports.ts'
import { startEchoHub } from '../tests/e2e/support/hub.ts'
import { addressOf, type BenchTransport } from './hub-address.ts'
import type { LoadThread } from './hub-threads.ts'
import { percentile } from './hub-figures.ts'

const APPEND_MS = 1_500
const ECHO_COUNT = 300
const ECHO_INTERVAL_MS = 10
const REPEAT_FRAMES = 64

/** The shape of what the hub stored: what the limits are measured with. */
export interface BatchShape {
  readonly entryLength: number
  /** Entries of one append. */
  readonly entries: number
  /** Rooms of one append. */
  readonly rooms: number
}

async function inFolder<T>(measure: (folder: string) => Promise<T>): Promise<T> {
  const folder = await mkdtemp(path.join(tmpdir(), 'kalandra-limit-'))
  try {
    return await measure(folder)
  } finally {
    await rm(folder, { recursive: true })
  }
}

/** Entries per second into one file, one write and one sync for each batch. */
export function rawFilePerSec({ entryLength, entries }: BatchShape): Promise<number> {
  return inFolder(async (folder) => {
    using file = await Deno.open(path.join(folder, 'raw'), { create: true, write: true })
    const batch = new Uint8Array(entryLength * entries)
    return await repeated(entries, async () => {
      file.writeSync(batch)
      await file.syncData()
    })
  })
}

/** Entries per second into the hub's store, one append after the other as the hub does it. */
export function storePerSec(shape: BatchShape): Promise<number> {
  return inFolder(async (folder) => {
    const clock = { nowMs: () => timeMs(Date.now()) }
    const opened = await openSqliteStore({ dataDir: folder, clock, observe: () => {} })
    if (opened.kind === 'refused') throw new Error(opened.code)
    const { log, close } = opened.store
    const perRoom = Math.max(1, Math.round(shape.entries / shape.rooms))
    let turn = 0
    const rate = await repeated(perRoom * shape.rooms, async () => {
      await log.append(
        Array.from(
          { length: shape.rooms },
          (_, room) => appendOf(room, turn * perRoom, { ...shape, entries: perRoom }),
        ),
      )
      turn++
    })
    await close()
    return rate
  })
}

function appendOf(room: number, from: number, { entryLength, entries }: BatchShape): RoomAppend {
  const id = new Uint8Array(32) as RoomId
  new DataView(id.buffer).setUint32(0, room + 1)
  return {
    room: id,
    term: 1n as Term,
    expectedNext: BigInt(from) as LogPosition,
    entries: Array.from({ length: entries }, (_, index) => ({
      position: BigInt(from + index) as LogPosition,
      entry: {
        header: { entry: 'frame', time: BigInt(from) },
        body: { kind: 'whole', bytes: new Uint8Array(entryLength) },
      },
      entryHash: new Uint8Array(32),
    })),
    state: null,
    generations: [{ origin: 0n as LogPosition, leaf: 0, lane: 0, generation: from }],
    welcomes: [],
    effects: null,
  }
}

async function repeated(each: number, run: () => Promise<void>): Promise<number> {
  await run()
  const beganMs = performance.now()
  let count = 0
  while (performance.now() - beganMs < APPEND_MS) {
    await run()
    count += each
  }
  return count * 1_000 / (performance.now() - beganMs)
}

// ---- Transport ----------------------------------------------------------------------------

export interface TransportLimits {
  readonly echoP50Ms: number
  readonly echoP99Ms: number
  /** Deliveries that fit into what the transport carries to these sessions. */
  readonly deliveriesPerSec: number
}

/** The transport alone: one echo at a time, then the flushes of a room to all its sessions. */
export async function transportLimits(
  threads: readonly LoadThread[],
  of: {
    readonly transport: BenchTransport
    readonly sessions: number
    readonly frameLength: number
    readonly flush: { readonly frameLength: number; readonly entries: number }
  },
): Promise<TransportLimits> {
  const { transport, sessions, frameLength, flush } = of
  const hub = await startEchoHub()
  try {
    const address = await addressOf(hub.port, transport)
    const [first, ...others] = threads as [LoadThread, ...LoadThread[]]
    await first.call('echoOpen', address, 1)
    const round = { frameLength, count: ECHO_COUNT, intervalMs: ECHO_INTERVAL_MS }
    const tookMs = await first.call('echoPaced', round)
    await Promise.all(
      others.map((thread, index) =>
        thread.call('echoOpen', address, shareOf(sessions, others.length, index))
      ),
    )
    const repeats = { frameLength: flush.frameLength, count: REPEAT_FRAMES, intervalMs: 0 }
    const beganMs = performance.now()
    await Promise.all(others.map((thread) => thread.call('echoRepeat', repeats)))
    const seconds = (performance.now() - beganMs) / 1_000
    await Promise.all(threads.map((thread) => thread.call('echoClose')))
    return {
      echoP50Ms: percentile(tookMs, 0.5),
      echoP99Ms: percentile(tookMs, 0.99),
      deliveriesPerSec: sessions * REPEAT_FRAMES * flush.entries / seconds,
    }
  } finally {
    await hub.close()
  }
}

/** A fair share of `count` for one of `parts`. */
export function shareOf(count: number, parts: number, index: number): number {
  return Math.floor(count / parts) + (index < count % parts ? 1 : 0)
}
