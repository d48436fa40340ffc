/**
 * Clients of a hub on Deno, for tests and benchmarks: the `Dialer` port over WebSocket and over
 * WebTransport. No race between the two, no memory of what worked: the test says which it wants.
 */
import { LIMITS } from '#core/base/limits.ts'
import type { Dialer, SessionListener, SessionTransport } from '#core/device/transport.ts'
import { SESSION_PATH } from '#core/wire/endpoint.ts'
import { FrameSplitter, joinFrames } from '#core/wire/frame.ts'

/** Dials `ws` for an `http` endpoint and `wss` for an `https` one. */
export function createWebSocketDialer(): Dialer {
  return {
    dial(endpoint, listener) {
      const url = new URL(SESSION_PATH, endpoint)
      url.protocol = url.protocol === 'https:' ? 'wss:' : 'ws:'
      const connection = new WebSocket(url)
      connection.binaryType = 'arraybuffer'
      connection.onopen = () => listener.opened(webSocketTransport(connection))
      connection.onmessage = ({ data: content }) =>
        listener.framesReceived([new Uint8Array(content as ArrayBuffer)])
      connection.onerror = (event) => event.preventDefault()
      connection.onclose = () => listener.closed()
      return { abort: () => connection.close() }
    },
  }
}

function webSocketTransport(connection: WebSocket): SessionTransport {
  const send = (frame: Uint8Array) => {
    if (connection.readyState !== WebSocket.OPEN) return
    connection.send(frame as Uint8Array<ArrayBuffer>)
    if (connection.bufferedAmount > LIMITS.outboundQueueBytesMax) connection.close()
  }
  return { kind: 'webSocket', send, sendDatagram: send, close: () => connection.close() }
}

export interface WebTransportDialerOptions {
  /** SHA-256 of the certificates to accept, as the hub publishes them. */
  hashes(): readonly Uint8Array[]
}

/** Dials `https://host:port/v1/session` over UDP, whatever the scheme of the endpoint is. */
export function createWebTransportDialer({ hashes }: WebTransportDialerOptions): Dialer {
  return {
    dial(endpoint, listener) {
      const url = new URL(SESSION_PATH, endpoint)
      const session = new WebTransport(`https://${url.host}${SESSION_PATH}`, {
        serverCertificateHashes: hashes().map((hash) => ({
          algorithm: 'sha-256',
          value: hash as Uint8Array<ArrayBuffer>,
        })),
      })
      runWebTransport(session, listener).catch(() => {}).finally(() => {
        closeQuietly(session)
        listener.closed()
      })
      return { abort: () => closeQuietly(session) }
    },
  }
}

async function runWebTransport(session: WebTransport, listener: SessionListener): Promise<void> {
  const closed = session.closed.then(() => {}, () => {})
  await session.ready
  const control = await session.createBidirectionalStream()
  const transport = new ClientTransport(session, control.writable.getWriter())
  listener.opened(transport)
  const reading = [
    readFrames(control.readable, listener),
    readStreams(session, listener),
    readDatagrams(session, listener),
  ]
  for (const reader of reading) reader.catch(() => {})
  // The hub ends a session by closing it, or by ending the control stream.
  await Promise.race([closed, reading[0]])
}

async function readStreams(session: WebTransport, listener: SessionListener): Promise<void> {
  const streams = session.incomingUnidirectionalStreams.getReader()
  for (;;) {
    const { done, value } = await streams.read()
    if (done) return
    readFrames(value, listener).catch(() => {})
  }
}

async function readFrames(
  readable: ReadableStream<Uint8Array>,
  listener: SessionListener,
): Promise<void> {
  const reader = readable.getReader()
  const splitter = new FrameSplitter()
  for (;;) {
    const { done, value } = await reader.read()
    if (done) return
    const split = splitter.push(value)
    if (split.kind === 'malformed') throw new Error(`framing lost: ${split.code}`)
    if (split.frames.length > 0) listener.framesReceived(split.frames)
  }
}

async function readDatagrams(session: WebTransport, listener: SessionListener): Promise<void> {
  const reader = (session.datagrams.readable as ReadableStream<Uint8Array>).getReader()
  for (;;) {
    const { done, value } = await reader.read()
    if (done) return
    listener.framesReceived([value])
  }
}

/** Sends on the control stream, what has gathered in one write. */
class ClientTransport implements SessionTransport {
  readonly kind = 'webTransport'
  readonly #session: WebTransport
  readonly #control: WritableStreamDefaultWriter<Uint8Array>
  readonly #datagrams: WritableStreamDefaultWriter<Uint8Array>
  #queue: Uint8Array[] = []
  #queuedBytes = 0
  #writing = false

  constructor(session: WebTransport, control: WritableStreamDefaultWriter<Uint8Array>) {
    this.#session = session
    this.#control = control
    this.#datagrams = session.datagrams.writable.getWriter()
  }

  send(frame: Uint8Array): void {
    this.#queue.push(frame)
    this.#queuedBytes += frame.length
    if (this.#queuedBytes > LIMITS.outboundQueueBytesMax) return this.close()
    if (!this.#writing) void this.#writeAll()
  }

  async #writeAll(): Promise<void> {
    this.#writing = true
    try {
      while (this.#queue.length > 0) {
        const frames = this.#queue
        this.#queue = []
        this.#queuedBytes = 0
        await this.#control.write(joinFrames(frames))
      }
    } catch {
      this.close()
    }
    this.#writing = false
  }

  sendDatagram(frame: Uint8Array): void {
    this.#datagrams.write(frame).catch(() => {})
  }

  close(): void {
    closeQuietly(this.#session)
  }
}

function closeQuietly(session: WebTransport): void {
  try {
    session.close()
  } catch {
    // Closed already, or never open.
  }
}
