/** The dialer's race, memory, bounds and endings, on a network that the test plays. */
import { deepStrictEqual as equal, ok } from 'node:assert/strict'
import { LIMITS } from '#core/base/limits.ts'
import { joinFrames } from '#core/wire/frame.ts'
import { createDialer, createDialMemory, type DialMemory } from '#browser/webtransport-dialer.ts'
import {
  DESCRIPTION,
  FakeNetwork,
  type FakeWebSocket,
  type FakeWebTransport,
  HeardSession,
  settle,
  Settled,
} from './fake-network.ts'

const ENDPOINT = 'http://localhost:4433'

function frame(fill: number, length = 40): Uint8Array {
  return new Uint8Array(length).fill(fill)
}

interface Dialed {
  readonly network: FakeNetwork
  readonly listener: HeardSession
  readonly dialing: { abort(): void }
  readonly webTransport: FakeWebTransport
}

/** Dials and waits until the WebTransport handshake is under way. */
async function dial(network = new FakeNetwork(), memory?: DialMemory): Promise<Dialed> {
  const listener = new HeardSession()
  const options = { environment: network.environment() }
  const dialer = createDialer(memory === undefined ? options : { ...options, memory })
  const dialing = dialer.dial(ENDPOINT, listener)
  await settle()
  return {
    network,
    listener,
    dialing,
    webTransport: network.webTransports.at(-1) as FakeWebTransport,
  }
}

async function dialOpen(): Promise<Dialed> {
  const dialed = await dial()
  dialed.webTransport.open()
  await settle()
  equal(dialed.listener.heard, ['opened webTransport'])
  return dialed
}

async function dialWebSocket(
  network = new FakeNetwork(),
): Promise<Dialed & { readonly webSocket: FakeWebSocket }> {
  const dialed = await dial(network)
  await network.pass(800)
  const webSocket = network.webSockets[0] as FakeWebSocket
  webSocket.open()
  await settle()
  equal(dialed.listener.heard, ['opened webSocket'])
  return { ...dialed, webSocket }
}

Deno.test('WebTransport is dialed with the published hashes, and nothing beside it', async () => {
  const { network, listener, webTransport } = await dialOpen()
  equal(network.fetched, ['http://localhost:4433/.well-known/kalandra'])
  equal(webTransport.url, 'https://localhost:4433/v1/session')
  equal(webTransport.hashes, 1)
  await network.pass(60_000)
  equal(network.webSockets.length, 0)
  equal(listener.heard, ['opened webTransport'])
  equal(network.timerCount, 0)
})

Deno.test('an https hub without hashes is dialed by its own certificate', async () => {
  const network = new FakeNetwork()
  network.describe = () => Response.json({ ...DESCRIPTION, certificateHashes: [] })
  const dialer = createDialer({ environment: network.environment() })
  dialer.dial('https://hub.example', new HeardSession())
  await settle()
  equal(network.webTransports[0]?.url, 'https://hub.example:443/v1/session')
  equal(network.webTransports[0]?.hashes, 0)
  await network.pass(800)
  equal(network.webSockets[0]?.url, 'wss://hub.example/v1/session')
})

Deno.test('silently dropped UDP leads to the WebSocket, and is remembered', async () => {
  const memory = createDialMemory()
  const network = new FakeNetwork()
  const { listener, webTransport } = await dial(network, memory)
  await network.pass(799)
  equal(network.webSockets.length, 0)
  await network.pass(1)
  network.webSockets[0]?.open()
  await settle()
  equal(listener.heard, ['opened webSocket'])
  ok(webTransport.closeCalls > 0)

  const again = await dial(network, memory)
  equal(network.webTransports.length, 1)
  network.webSockets[1]?.open()
  await settle()
  equal(again.listener.heard, ['opened webSocket'])

  await network.pass(300_000)
  await dial(network, memory)
  equal(network.webTransports.length, 2)
})

Deno.test('what was remembered and does not work any more is forgotten', async () => {
  const memory = createDialMemory()
  memory.write(ENDPOINT, { kind: 'webSocket', untilMs: Number.MAX_SAFE_INTEGER })
  const { network, listener } = await dial(new FakeNetwork(), memory)
  network.webSockets[0]?.end()
  await settle()
  equal(listener.heard, ['closed'])
  equal(memory.read(ENDPOINT), null)
})

Deno.test('a session whose control stream never becomes writable has failed', async () => {
  const { network, listener, webTransport } = await dial()
  webTransport.opening.resolve()
  await network.pass(800)
  equal(network.webSockets.length, 1)
  equal(listener.heard, [])
  network.webSockets[0]?.open()
  await settle()
  equal(listener.heard, ['opened webSocket'])
  ok(webTransport.closeCalls > 0)
})

Deno.test('a session that ends before its first frame counts as blocked UDP', async () => {
  const memory = createDialMemory()
  const { network, listener, webTransport } = await dial(new FakeNetwork(), memory)
  webTransport.open()
  await settle()
  webTransport.end()
  await settle()
  equal(listener.heard, ['opened webTransport', 'closed'])
  equal(memory.read(ENDPOINT)?.untilMs, network.nowMs + 300_000)
})

Deno.test('WebTransport that fails at once does not cost the delay', async () => {
  const { network, webTransport } = await dial()
  webTransport.end()
  await settle()
  equal(network.webSockets.length, 1)
})

Deno.test('an engine without WebTransport starts with the WebSocket', async () => {
  const network = new FakeNetwork()
  const environment = { ...network.environment(), WebTransport: null }
  createDialer({ environment }).dial(ENDPOINT, new HeardSession())
  await settle()
  equal(network.webSockets.length, 1)
  equal(network.fetched, [])
})

for (
  const [name, describe] of Object.entries({
    'an error': () => new Response('', { status: 500 }),
    'no JSON': () => new Response('<html>'),
    'null': () => Response.json(null),
    'no WebTransport': () => Response.json({ ...DESCRIPTION, webTransport: false }),
    'a short hash': () => Response.json({ ...DESCRIPTION, certificateHashes: ['AAAA'] }),
    'too many hashes': () =>
      Response.json({ ...DESCRIPTION, certificateHashes: Array(9).fill('A'.repeat(43)) }),
    'an endless text': () => new Response('x'.repeat(65_537)),
    'an exception': () => {
      throw new TypeError('connection refused')
    },
  })
) {
  Deno.test(`a description that is ${name} leads to the WebSocket at once`, async () => {
    const network = new FakeNetwork()
    network.describe = describe
    await dial(network)
    equal(network.webTransports.length, 0)
    equal(network.webSockets.length, 1)
  })
}

Deno.test('a description that does not come leads to the WebSocket after a while', async () => {
  const network = new FakeNetwork()
  network.describe = null
  await dial(network)
  await network.pass(2_500)
  equal(network.webSockets.length, 1)
})

Deno.test('DEV-6: a dial that gets nowhere ends with one closed', async () => {
  const { network, listener, webTransport } = await dial()
  await network.pass(LIMITS.handshakeMsMax)
  equal(listener.heard, ['closed'])
  ok(webTransport.closeCalls > 0)
  ok((network.webSockets[0] as FakeWebSocket).closeCalls > 0)
  webTransport.open()
  network.webSockets[0]?.open()
  await settle()
  equal(listener.heard, ['closed'])
})

Deno.test('both ways refused end with one closed', async () => {
  const { network, listener, webTransport } = await dial()
  webTransport.end()
  await settle()
  network.webSockets[0]?.end()
  await settle()
  equal(listener.heard, ['closed'])
  equal(network.timerCount, 0)
})

Deno.test('an abort at any time ends with one closed, never inside the call', async () => {
  const network = new FakeNetwork()
  const listener = new HeardSession()
  const dialing = createDialer({ environment: network.environment() }).dial(ENDPOINT, listener)
  dialing.abort()
  equal(listener.heard, [])
  await settle()
  equal(listener.heard, ['closed'])

  const opened = await dialOpen()
  opened.dialing.abort()
  opened.listener.transport?.close()
  equal(opened.listener.heard, ['opened webTransport'])
  await settle()
  equal(opened.listener.heard, ['opened webTransport', 'closed'])
  opened.dialing.abort()
  opened.webTransport.end()
  await settle()
  equal(opened.listener.heard, ['opened webTransport', 'closed'])
})

Deno.test('the loser of the race is closed and says nothing', async () => {
  const { network, listener, webTransport } = await dial()
  await network.pass(800)
  webTransport.open()
  await settle()
  const webSocket = network.webSockets[0] as FakeWebSocket
  ok(webSocket.closeCalls > 0)
  webSocket.open()
  webSocket.receive(frame(1).buffer)
  await settle()
  equal(listener.heard, ['opened webTransport'])
})

Deno.test('WIRE-2: frames come from the control stream, room streams and datagrams', async () => {
  const { listener, webTransport } = await dialOpen()
  const joined = joinFrames([frame(1), frame(2)])
  webTransport.control?.enqueue(joined.slice(0, 50))
  webTransport.control?.enqueue(joined.slice(50))
  await settle()
  let room: ReadableStreamDefaultController<Uint8Array> | null = null
  webTransport.rooms?.enqueue(
    new ReadableStream({ start: (controller) => void (room = controller) }),
  )
  await settle()
  const roomStream = room as unknown as ReadableStreamDefaultController<Uint8Array>
  roomStream.enqueue(joinFrames([frame(3)]))
  await settle()
  webTransport.incoming?.enqueue(frame(4))
  await settle()
  equal(listener.frames, [frame(1), frame(2), frame(3), frame(4)])
  roomStream.close()
  await settle()
  equal(listener.heard.includes('closed'), false)
})

Deno.test('WIRE-2: a stream that lost its place ends the session', async () => {
  const { listener, webTransport } = await dialOpen()
  webTransport.control?.enqueue(Uint8Array.of(255, 255, 255, 255, 0))
  await settle()
  equal(listener.heard, ['opened webTransport', 'closed'])
  ok(webTransport.closeCalls > 0)
})

Deno.test('a control stream that the hub ends is the end of the session', async () => {
  const { listener, webTransport } = await dialOpen()
  webTransport.control?.close()
  await settle()
  equal(listener.heard, ['opened webTransport', 'closed'])
})

Deno.test('WIRE-2: frames go out in order, joined while a write is in flight', async () => {
  const { listener, webTransport } = await dialOpen()
  for (const fill of [1, 2, 3]) listener.transport?.send(frame(fill))
  await settle()
  const written = webTransport.written.flatMap((bytes) => [...bytes])
  equal(written, [...joinFrames([frame(1), frame(2), frame(3)])])
  ok(webTransport.written.length <= 2)
})

Deno.test('DEV-6: a queue over its limit closes the session', async () => {
  const { listener, webTransport } = await dialOpen()
  webTransport.stalled = new Settled()
  const large = frame(7, 524_288)
  for (let count = 0; count < 7; count += 1) listener.transport?.send(large)
  await settle()
  equal(listener.heard, ['opened webTransport'])
  listener.transport?.send(large)
  listener.transport?.send(large)
  await settle()
  equal(listener.heard, ['opened webTransport', 'closed'])
  webTransport.stalled.resolve(undefined)
  await settle()
  equal(listener.heard, ['opened webTransport', 'closed'])
})

Deno.test('SES-8: a datagram is one frame; what does not fit goes by control', async () => {
  const { listener, webTransport } = await dialOpen()
  listener.transport?.sendDatagram(frame(1))
  listener.transport?.sendDatagram(frame(2, 1_001))
  await settle()
  equal(webTransport.sentDatagrams, [frame(1)])
  equal(webTransport.written, [joinFrames([frame(2, 1_001)])])
  ok(webTransport.datagrams.incomingHighWaterMark > 1)
})

Deno.test('SES-6: close lets a goodbye out, but does not wait for a dead network', async () => {
  const { listener, webTransport } = await dialOpen()
  listener.transport?.send(frame(1))
  listener.transport?.close()
  await settle()
  equal(webTransport.written, [joinFrames([frame(1)])])
  equal(listener.heard, ['opened webTransport', 'closed'])

  const dead = await dialOpen()
  dead.webTransport.stalled = new Settled()
  dead.listener.transport?.send(frame(1))
  await settle()
  dead.listener.transport?.close()
  await settle()
  equal(dead.listener.heard, ['opened webTransport'])
  await dead.network.pass(250)
  equal(dead.listener.heard, ['opened webTransport', 'closed'])
})

Deno.test('WIRE-2: on the WebSocket one message is one frame, also for datagrams', async () => {
  const { listener, webSocket } = await dialWebSocket()
  equal(webSocket.binaryType, 'arraybuffer')
  listener.transport?.send(frame(1))
  listener.transport?.sendDatagram(frame(2))
  equal(webSocket.sent, [frame(1), frame(2)])
  webSocket.receive(frame(3).buffer)
  equal(listener.frames, [frame(3)])
  webSocket.end()
  await settle()
  equal(listener.heard, ['opened webSocket', 'frames 1', 'closed'])
})

for (
  const [name, content] of Object.entries({
    'a text': 'hello',
    'too short': new ArrayBuffer(33),
    'too long': new ArrayBuffer(LIMITS.frameSizeMax + 1),
  })
) {
  Deno.test(`WIRE-2: a WebSocket message that is ${name} ends the session`, async () => {
    const { listener, webSocket } = await dialWebSocket()
    webSocket.receive(content)
    await settle()
    equal(listener.heard, ['opened webSocket', 'closed'])
    ok(webSocket.closeCalls > 0)
  })
}

Deno.test('DEV-6: a WebSocket that does not drain is closed', async () => {
  const { listener, webSocket } = await dialWebSocket()
  webSocket.bufferedAmount = LIMITS.outboundQueueBytesMax
  listener.transport?.send(frame(1))
  await settle()
  equal(webSocket.sent, [])
  equal(listener.heard, ['opened webSocket', 'closed'])
})
