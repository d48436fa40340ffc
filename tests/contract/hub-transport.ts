/**
 * What every `HubTransport` must do, seen by real clients over real ports. An adapter is done when
 * it passes. Nothing here waits for a time: that something does not happen is shown by other things
 * that happen meanwhile.
 */
import { deepStrictEqual, ok, rejects, strictEqual } from 'node:assert/strict'
import { LIMITS } from '#core/base/limits.ts'
import { NO_ROOM } from '#core/base/ids.ts'
import type { Dialer, SessionTransport } from '#core/device/transport.ts'
import { buildFrame, FRAME_HEADER_LENGTH } from '#core/wire/frame.ts'
import type { AdapterEvent, HubSession, HubTransport, Lane } from '#hub/ports.ts'
import { Inbox } from '../support/inbox.ts'
import type { RawClient } from '../support/raw-hub-client.ts'

export interface RunningTransport {
  readonly transport: HubTransport
  readonly endpoint: string
  readonly dialer: Dialer
  /** A device that breaks rules; it never reads. */
  openRaw(): Promise<RawClient>
  readonly events: readonly AdapterEvent[]
  stop(): Promise<void>
}

export interface TransportHarness {
  readonly name: string
  readonly datagrams: boolean
  /** Whether the hub can make a sender wait by not reading. */
  readonly waitsForListener: boolean
  start(): Promise<RunningTransport>
  /** Bytes of whole frames, cut into parts for `RawClient.send`, as unhandily as possible. */
  cut(frames: readonly Uint8Array[]): Uint8Array[]
  /** What makes the hub see a frame over its limit. */
  oversized(): Uint8Array[]
  /** What cannot be a frame. */
  truncated(): Uint8Array[]
}

type HubHeard =
  | { readonly kind: 'frames'; readonly frames: readonly Uint8Array[] }
  | { readonly kind: 'lost'; readonly code: string }
  | { readonly kind: 'closed' }

/** One accepted session and what its listener heard; a gate holds its reading up. */
interface HubSide {
  readonly session: HubSession
  readonly heard: Inbox<HubHeard>
  gate: Promise<void> | null
}

interface Client {
  readonly transport: SessionTransport
  readonly frames: Inbox<Uint8Array>
  readonly closed: Promise<void>
}

interface Context {
  readonly running: RunningTransport
  readonly accepted: Inbox<HubSide>
  dial(): Promise<Client>
  /** A client, and the hub's side of it. */
  connect(): Promise<{ readonly client: Client; readonly hub: HubSide }>
}

const CONTROL: Lane = { kind: 'control' }
const LANES: readonly Lane[] = [
  CONTROL,
  ...Array.from(
    { length: LIMITS.roomStreamCount },
    (_, index): Lane => ({ kind: 'shared', index }),
  ),
  { kind: 'open' },
]

/** A frame that names its lane and its number there. */
function numbered(lane: number, number: number, length = 100): Uint8Array {
  const body = new Uint8Array(length)
  new DataView(body.buffer).setUint32(0, number)
  return buildFrame(lane, NO_ROOM, body)
}

const laneOf = (frame: Uint8Array) => frame[1] ?? -1
const numberOf = (frame: Uint8Array) =>
  new DataView(frame.buffer, frame.byteOffset + FRAME_HEADER_LENGTH).getUint32(0)

function dialWith(running: RunningTransport): Promise<Client> {
  const frames = new Inbox<Uint8Array>()
  const closed = Promise.withResolvers<void>()
  return new Promise((resolve, reject) => {
    running.dialer.dial(running.endpoint, {
      opened: (transport) => resolve({ transport, frames, closed: closed.promise }),
      framesReceived: (received) => received.forEach((frame) => frames.push(frame)),
      closed: () => {
        closed.resolve()
        reject(new Error('the dial failed'))
      },
    })
  })
}

async function runWith(
  harness: TransportHarness,
  test: (context: Context) => Promise<void>,
): Promise<void> {
  const running = await harness.start()
  const accepted = new Inbox<HubSide>()
  const sessions: HubSession[] = []
  await running.transport.listen((session) => {
    const heard = new Inbox<HubHeard>()
    const side: HubSide = { session, heard, gate: null }
    sessions.push(session)
    accepted.push(side)
    return {
      framesReceived: (frames) => {
        heard.push({ kind: 'frames', frames })
        if (side.gate !== null) return side.gate
      },
      framingLost: (code) => heard.push({ kind: 'lost', code }),
      closed: () => heard.push({ kind: 'closed' }),
    }
  })
  const clients: Client[] = []
  const dial = async () => {
    const client = await dialWith(running)
    clients.push(client)
    return client
  }
  try {
    await test({
      running,
      accepted,
      dial,
      async connect() {
        const [client, hub] = await Promise.all([dial(), accepted.next()])
        return { client, hub }
      },
    })
  } finally {
    for (const client of clients) client.transport.close()
    for (const session of sessions) session.close()
    await Promise.all(clients.map(({ closed }) => closed))
    await running.stop()
  }
}

/** Frames that the hub hears, one after the other, however they were grouped. */
async function hearFrames(hub: HubSide, count: number): Promise<Uint8Array[]> {
  const frames: Uint8Array[] = []
  while (frames.length < count) {
    const heard = await hub.heard.next()
    ok(heard.kind === 'frames')
    frames.push(...heard.frames.map((frame) => frame.slice()))
  }
  strictEqual(frames.length, count)
  return frames
}

/** A round trip on the control lane. */
async function roundTrip({ client, hub }: { client: Client; hub: HubSide }): Promise<void> {
  client.transport.send(numbered(200, 1))
  await hearFrames(hub, 1)
  await hub.session.write(CONTROL, [numbered(201, 2)])
  strictEqual(laneOf(await client.frames.next()), 201)
}

/** Registers the suite. */
export function hubTransportSuite(harness: TransportHarness): void {
  const test: Test = (title, body) =>
    Deno.test(`${harness.name} transport: ${title}`, () => runWith(harness, body))
  deliveryTests(test, harness)
  framingTests(test, harness)
  endTests(test)
  backpressureTests(test, harness)
  admissionTests(test, harness)
}

type Test = (title: string, body: (context: Context) => Promise<void>) => void

function deliveryTests(test: Test, harness: TransportHarness): void {
  test('frames of a device arrive whole and in order', async ({ connect }) => {
    const { client, hub } = await connect()
    const lengths = [0, 1, 300, 70_000, LIMITS.frameSizeMax - FRAME_HEADER_LENGTH, 5]
    const sent = lengths.map((length) => buildFrame(7, NO_ROOM, new Uint8Array(length).fill(3)))
    for (const frame of sent) client.transport.send(frame)
    deepStrictEqual(await hearFrames(hub, sent.length), sent)
  })

  test('frames of the hub arrive on every lane, in order within each', async ({ connect }) => {
    const { client, hub } = await connect()
    client.transport.send(numbered(0, 0))
    await hearFrames(hub, 1)
    const perLane = 20
    await Promise.all(LANES.map(async (lane, opcode) => {
      for (let number = 0; number < perLane; number += 4) {
        const group = [0, 1, 2, 3].map((i) => numbered(opcode, number + i, 10 + number * 100))
        await hub.session.write(lane, group)
      }
    }))
    const next = LANES.map(() => 0)
    for (let i = 0; i < LANES.length * perLane; i++) {
      const frame = await client.frames.next()
      const lane = laneOf(frame)
      strictEqual(numberOf(frame), next[lane])
      next[lane] = numberOf(frame) + 1
    }
    ok(next.every((count) => count === perLane))
  })

  test('a frame of the largest size crosses to the device', async ({ connect }) => {
    const { client, hub } = await connect()
    const body = new Uint8Array(LIMITS.frameSizeMax - FRAME_HEADER_LENGTH).fill(9)
    const frame = buildFrame(7, NO_ROOM, body)
    await hub.session.write({ kind: 'open' }, [frame])
    deepStrictEqual(await client.frames.next(), frame)
  })

  test('SES-8: datagrams cross where the transport has them', async ({ connect }) => {
    const { client, hub } = await connect()
    if (!harness.datagrams) {
      strictEqual(hub.session.writeDatagram(numbered(1, 1)), false)
      return
    }
    strictEqual(hub.session.writeDatagram(numbered(1, 1, 60_000)), false)
    // One may be lost, not all of many.
    for (let number = 0; client.frames.size === 0 && number < 200; number++) {
      strictEqual(hub.session.writeDatagram(numbered(90, number)), true)
      client.transport.sendDatagram(numbered(91, number))
      client.transport.send(numbered(92, number))
      for (let frame = 0; frame !== 92;) {
        const heard = await hub.heard.next()
        ok(heard.kind === 'frames')
        frame = laneOf(heard.frames.at(-1) as Uint8Array)
      }
    }
    strictEqual(laneOf(await client.frames.next()), 90)
    for (let number = 0;; number++) {
      ok(number < 200, 'a datagram of the device arrives')
      client.transport.sendDatagram(numbered(91, number))
      const heard = await hub.heard.next()
      if (heard.kind === 'frames' && laneOf(heard.frames[0] as Uint8Array) === 91) return
    }
  })
}

function framingTests(test: Test, harness: TransportHarness): void {
  test('WIRE-2: chunk boundaries mean nothing', async ({ running, accepted }) => {
    const client = await running.openRaw()
    const hub = await accepted.next()
    const sent = [0, 1, 2, 3, 4, 5, 6].map((i) => numbered(1, i, 10 + i * 7))
    for (const part of harness.cut(sent)) await client.send(part)
    deepStrictEqual(await hearFrames(hub, sent.length), sent)
    client.close()
  })

  test('WIRE-2: a frame over its limit is named, and nothing after it is read', async (context) => {
    const client = await context.running.openRaw()
    const hub = await context.accepted.next()
    for (const part of harness.cut([numbered(1, 1)])) await client.send(part)
    await hearFrames(hub, 1)
    for (const part of harness.oversized()) await client.send(part)
    deepStrictEqual(await hub.heard.next(), { kind: 'lost', code: 'oversized' })
    for (const part of harness.cut([numbered(1, 2)])) await client.send(part)
    hub.session.close()
    deepStrictEqual(await hub.heard.next(), { kind: 'closed' })
    strictEqual(hub.heard.size, 0)
    client.close()
  })

  test('WIRE-2: what cannot be a frame is named', async ({ running, accepted }) => {
    const client = await running.openRaw()
    const hub = await accepted.next()
    for (const part of harness.truncated()) await client.send(part)
    deepStrictEqual(await hub.heard.next(), { kind: 'lost', code: 'truncated' })
    hub.session.close()
    deepStrictEqual(await hub.heard.next(), { kind: 'closed' })
    client.close()
  })
}

function endTests(test: Test): void {
  test('a device that closes is seen, once', async ({ connect }) => {
    const { client, hub } = await connect()
    client.transport.close()
    deepStrictEqual(await hub.heard.next(), { kind: 'closed' })
    await rejects(hub.session.write(CONTROL, [numbered(1, 1)]))
    hub.session.close()
    await client.closed
    strictEqual(hub.heard.size, 0)
  })

  test('a session that the hub closes ends on both sides, once', async ({ connect }) => {
    const { client, hub } = await connect()
    hub.session.close()
    hub.session.close()
    deepStrictEqual(await hub.heard.next(), { kind: 'closed' })
    await client.closed
    for (const lane of LANES) await rejects(hub.session.write(lane, [numbered(1, 1)]))
    strictEqual(hub.heard.size, 0)
  })

  test('SES-6: what was written before the hub closed still arrives', async ({ connect }) => {
    for (let i = 0; i < 10; i++) {
      const { client, hub } = await connect()
      client.transport.send(numbered(0, 0))
      await hearFrames(hub, 1)
      await hub.session.write(CONTROL, [numbered(1, i)])
      hub.session.close()
      strictEqual(numberOf(await client.frames.next()), i)
      client.transport.close()
    }
  })
}

function backpressureTests(test: Test, harness: TransportHarness): void {
  test('HUB-5: a device that stops reading makes writes wait until closed', async (context) => {
    const stalled = await context.running.openRaw()
    const hub = await context.accepted.next()
    const other = await context.connect()
    const group = [numbered(3, 0, 65_000)]
    let taken = 0
    for (;;) {
      ok(taken < 64_000_000, 'the transport takes everything for a device that does not read')
      const written = hub.session.write({ kind: 'open' }, group).then(() => 'written')
      written.catch(() => {})
      const meanwhile = manyRoundTrips(other, 50)
      const first = await Promise.race([written, meanwhile])
      await meanwhile
      if (first === 'written') {
        taken += 65_000
        continue
      }
      // Fifty round trips of a neighbour passed meanwhile: it waits, and holds up nobody.
      const rejected = rejects(written)
      hub.session.close()
      await rejected
      deepStrictEqual(await hub.heard.next(), { kind: 'closed' })
      break
    }
    await roundTrip(other)
    stalled.close()
  })

  if (!harness.waitsForListener) return
  test('a listener that is busy slows its device down, and nothing is lost', async (context) => {
    const fast = await context.running.openRaw()
    const hub = await context.accepted.next()
    const other = await context.connect()
    const gate = Promise.withResolvers<void>()
    hub.gate = gate.promise
    let sent = 0
    for (let waits = false; !waits; sent++) {
      ok(sent < 1_000, 'the hub reads without end for a listener that does not follow')
      const parts = harness.cut([numbered(1, sent, 65_000)])
      const sending = sendAll(fast, parts).then(() => 'sent')
      const meanwhile = manyRoundTrips(other, 50)
      waits = await Promise.race([sending, meanwhile]) !== 'sent'
      await meanwhile
      if (waits) gate.resolve()
      await sending
    }
    const frames = await hearFrames(hub, sent)
    deepStrictEqual(frames.map(numberOf), [...Array(sent).keys()])
    fast.close()
  })
}

async function sendAll(client: RawClient, parts: readonly Uint8Array[]): Promise<void> {
  for (const part of parts) await client.send(part)
}

async function manyRoundTrips(pair: { client: Client; hub: HubSide }, count: number) {
  for (let i = 0; i < count; i++) await roundTrip(pair)
  return 'round trips'
}

function admissionTests(test: Test, harness: TransportHarness): void {
  test('after stop no session begins, and those that are open go on', async (context) => {
    const pair = await context.connect()
    await context.running.transport.stop()
    await rejects(context.dial())
    await roundTrip(pair)
    strictEqual(context.accepted.size, 0)
  })

  Deno.test(`${harness.name} transport: a session that is turned away ends`, async () => {
    const running = await harness.start()
    await running.transport.listen(() => null)
    const raw = await running.openRaw().catch(() => null)
    const ended = await dialWith(running).then(({ closed }) => closed, () => {})
    strictEqual(ended, undefined)
    ok(running.events.some(({ kind }) => kind === 'sessionTurnedAway'))
    raw?.close()
    await running.stop()
  })

  Deno.test(`${harness.name} transport: a listener that throws ends its session only`, async () => {
    const running = await harness.start()
    const closed = new Inbox<null>()
    await running.transport.listen((session) => ({
      framesReceived: () => {
        throw new Error('a fault of ours')
      },
      framingLost: () => {},
      closed: () => {
        session.close()
        closed.push(null)
      },
    }))
    const [first, second] = [await dialWith(running), await dialWith(running)]
    first.transport.send(numbered(1, 1))
    await closed.next()
    await first.closed
    deepStrictEqual(running.events, [{ kind: 'adapterFaulted' }])
    second.transport.send(numbered(1, 1))
    await closed.next()
    await second.closed
    await running.stop()
  })
}
