/** Single steps of what the gateway is made of: hand-built frames, outbound queues, rates. */
import { deepStrictEqual, strictEqual } from 'node:assert/strict'
import { NO_ROOM, type RequestId, type RoomId, type TimeMs } from '#core/base/ids.ts'
import { LIMITS } from '#core/base/limits.ts'
import { encodeMessage } from '#core/wire/bodies.ts'
import { encode } from '#core/wire/codec.ts'
import { type LogEntry, logEntryCodec } from '#core/wire/log-entry.ts'
import {
  acceptedFrame,
  encodeEntry,
  encodeHole,
  entriesFrames,
} from '#hub/gateway/entries-frame.ts'
import { Outbound, type OutboundItem } from '#hub/gateway/outbound.ts'
import { Buckets, fullBucket, spend } from '#hub/gateway/rate.ts'
import type { HubSession, Lane } from '#hub/ports.ts'
import { createPrng } from '../core/prng.ts'

const prng = createPrng(11)
const room = prng.bytes(32) as RoomId

function entry(size: number): LogEntry {
  return {
    header: { entry: 'frame', time: 1_700_000_000_123n },
    body: { kind: 'whole', bytes: prng.bytes(size) },
  }
}

Deno.test('LOG-2: hand-built entries and holes are those of the codec', () => {
  for (const size of [0, 1, 63, 64, 300, 16_383, 16_384, 70_000]) {
    const whole = entry(size)
    deepStrictEqual(encodeEntry(whole), encode(logEntryCodec, whole))
    const hash = prng.bytes(32)
    const hole = { ...whole, body: { kind: 'hole', hash } } as const
    deepStrictEqual(encodeHole(whole, hash), encode(logEntryCodec, hole))
    deepStrictEqual(encodeEntry(hole), encode(logEntryCodec, hole))
  }
})

Deno.test('WIRE-4: hand-built `accepted` and `entries` are those of the codec', () => {
  for (const position of [null, 0n, 5n, 2n ** 40n]) {
    const body = { request: 77 as RequestId, position: position as never }
    deepStrictEqual(
      acceptedFrame(body.request, position),
      encodeMessage('accepted', NO_ROOM, body),
    )
  }
  const entries = [entry(300), entry(1), entry(40_000)]
  const { frames, bytes } = entriesFrames(room, 9n, entries.map(encodeEntry))
  const expected = encodeMessage('entries', room, { first: 9n as never, entries })
  deepStrictEqual(frames, [expected])
  strictEqual(bytes, expected.length)
})

Deno.test('ROOM-6: a flush is cut into frames below their limits, and no entry is cut', () => {
  const many = Array.from({ length: LIMITS.entriesPerFrameMax * 2 + 1 }, () => entry(10))
  deepStrictEqual(entriesFrames(room, 0n, many.map(encodeEntry)).frames.length, 3)
  const large = Array.from({ length: 5 }, () => entry(100_000))
  const { frames } = entriesFrames(room, 0n, large.map(encodeEntry))
  strictEqual(frames.length, 3)
  for (const frame of frames) strictEqual(frame.length <= LIMITS.entriesFrameSizeMax + 64, true)
  strictEqual(entriesFrames(room, 0n, []).frames.length, 0)
})

interface Written {
  readonly lane: Lane
  readonly frames: readonly Uint8Array[]
  take(): Promise<void>
}

function fakeSession(transport: HubSession['transport']) {
  const writes: Written[] = []
  const session: HubSession = {
    transport,
    write(lane, frames) {
      const { promise, resolve } = Promise.withResolvers<void>()
      writes.push({ lane, frames, take: () => (resolve(), promise.then(() => {})) })
      return promise
    },
    writeDatagram: () => false,
    close: () => {},
  }
  return { session, writes }
}

const shared = (index: number): Lane => ({ kind: 'shared', index })
const item = (lane: Lane, value: number, size = 4): OutboundItem => ({
  lane,
  frames: [new Uint8Array(size).fill(value)],
  bytes: size,
  first: BigInt(value),
})
const firstBytes = (write: Written | undefined) => write?.frames.map((frame) => frame[0])

Deno.test('HUB-4: one write in flight for each lane, the next takes all since', async () => {
  const { session, writes } = fakeSession('webTransport')
  const outbound = new Outbound(session, () => {})
  const sender = { queuedBytes: 0 }
  outbound.queue(sender, item(shared(1), 1))
  outbound.queue(sender, item(shared(2), 2))
  outbound.flush()
  for (const value of [3, 4]) outbound.queue(sender, item(shared(1), value))
  outbound.flush()
  deepStrictEqual(writes.map(firstBytes), [[1], [2]])
  strictEqual(outbound.roomBytes, 16)
  await writes[0]?.take()
  deepStrictEqual(writes.map(firstBytes), [[1], [2], [3, 4]])
  strictEqual(sender.queuedBytes, 12)
})

Deno.test('HUB-6: control goes before data, also where one stream carries all lanes', () => {
  const { session, writes } = fakeSession('webSocket')
  const outbound = new Outbound(session, () => {})
  const sender = { queuedBytes: 0 }
  for (const index of [1, 2, 3]) outbound.queue(sender, item(shared(index), index))
  outbound.control(Uint8Array.of(99))
  outbound.flush()
  deepStrictEqual(writes.map((write) => write.lane.kind), ['control', 'shared'])
  deepStrictEqual(firstBytes(writes[1]), [1, 2, 3])
})

Deno.test('HUB-5: what is not being written can be taken back, by its first position', () => {
  const { session, writes } = fakeSession('webTransport')
  const outbound = new Outbound(session, () => {})
  const [kept, dropped] = [{ queuedBytes: 0 }, { queuedBytes: 0 }]
  outbound.queue(dropped, item(shared(1), 5))
  outbound.flush()
  for (const value of [8, 6, 7]) outbound.queue(dropped, item(shared(1), value))
  outbound.queue(kept, item(shared(1), 9))
  strictEqual(outbound.takeBack(dropped), 6n)
  strictEqual(outbound.takeBack(dropped), null)
  strictEqual(dropped.queuedBytes, 4)
  strictEqual(outbound.roomBytes, 8)
  strictEqual(writes.length, 1)
  outbound.clear()
  strictEqual(kept.queuedBytes, 0)
})

Deno.test('HUB-5: one write holds a bounded number of bytes, and at least one item', async () => {
  const { session, writes } = fakeSession('webTransport')
  const outbound = new Outbound(session, () => {})
  const sender = { queuedBytes: 0 }
  const half = LIMITS.writeBytesMax / 2
  for (const size of [LIMITS.writeBytesMax * 2, half, half, half]) {
    outbound.queue(sender, item(shared(1), 1, size))
  }
  outbound.flush()
  await writes[0]?.take()
  await writes[1]?.take()
  deepStrictEqual(writes.map(({ frames }) => frames.length), [1, 2, 1])
})

Deno.test('a bucket gives its count at once, then by time; a clock set back gives none', () => {
  const rate = { count: 3, intervalMs: 3_000 }
  const at = (ms: number) => 1_000_000 + ms as TimeMs
  let bucket = fullBucket(rate, at(0))
  for (let i = 0; i < 3; i++) {
    const spent = spend(bucket, rate, at(0))
    if (spent.kind === 'spent') bucket = spent.bucket
  }
  deepStrictEqual(spend(bucket, rate, at(0)), { kind: 'empty', retryAfterMs: 1_000 })
  deepStrictEqual(spend(bucket, rate, at(-5_000)), { kind: 'empty', retryAfterMs: 1_000 })
  strictEqual(spend(bucket, rate, at(1_000)).kind, 'spent')
})

Deno.test('of too many buckets the one that was asked longest ago is forgotten', () => {
  const now = 1_000_000 as TimeMs
  const buckets = new Buckets({ count: 1, intervalMs: 1_000 }, 2)
  const spends = (...keys: string[]) => keys.map((key) => buckets.spend(key, now).kind)
  deepStrictEqual(spends('a', 'b'), ['spent', 'spent'])
  // Who is refused was asked too: `b` makes way for `c`.
  deepStrictEqual(spends('a', 'c', 'a'), ['empty', 'spent', 'empty'])
  deepStrictEqual(spends('b', 'a', 'c'), ['spent', 'empty', 'spent'])
})
