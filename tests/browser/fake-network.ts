/**
 * The network of a dialer as a test plays it: timers that it fires, WebTransport sessions and
 * WebSockets that it opens, feeds and ends. Owns no check.
 */
import type { SessionListener, SessionTransport } from '#core/device/transport.ts'
import type { DialEnvironment } from '#browser/dial-environment.ts'

/** A promise that the test settles. */
export class Settled<T> {
  readonly promise: Promise<T>
  resolve: (value: T) => void = () => {}
  reject: (error: Error) => void = () => {}

  constructor() {
    this.promise = new Promise((resolve, reject) => {
      this.resolve = resolve
      this.reject = reject
    })
    this.promise.catch(() => {})
  }
}

export class FakeWebTransport {
  readonly url: string
  readonly hashes: number
  readonly opening = new Settled<void>()
  readonly ending = new Settled<void>()
  readonly ready = this.opening.promise
  readonly closed = this.ending.promise
  readonly written: Uint8Array[] = []
  readonly sentDatagrams: Uint8Array[] = []
  closeCalls = 0
  /** While set, the control stream takes no writes. */
  stalled: Settled<void> | null = null
  control: ReadableStreamDefaultController<Uint8Array> | null = null
  rooms: ReadableStreamDefaultController<ReadableStream<Uint8Array>> | null = null
  incoming: ReadableStreamDefaultController<Uint8Array> | null = null
  readonly incomingUnidirectionalStreams = new ReadableStream<ReadableStream<Uint8Array>>({
    start: (controller) => void (this.rooms = controller),
  })
  readonly datagrams = {
    readable: new ReadableStream<Uint8Array>({
      start: (controller) => void (this.incoming = controller),
    }),
    writable: new WritableStream<Uint8Array>({
      write: (bytes) => void this.sentDatagrams.push(bytes),
    }),
    maxDatagramSize: 1_000,
    incomingHighWaterMark: 1,
  }
  readonly streams = new Settled<{
    readable: ReadableStream<Uint8Array>
    writable: WritableStream<Uint8Array>
  }>()

  constructor(url: string, hashes: number) {
    this.url = url
    this.hashes = hashes
  }

  /** The handshake ends well; the control stream can be had. */
  open(): void {
    this.opening.resolve()
    this.streams.resolve({
      readable: new ReadableStream({ start: (controller) => void (this.control = controller) }),
      writable: new WritableStream({
        write: async (bytes) => {
          await this.stalled?.promise
          this.written.push(bytes)
        },
      }),
    })
  }

  /** The network or the hub ends the session. */
  end(): void {
    const gone = new Error('connection lost')
    this.opening.reject(gone)
    this.ending.reject(gone)
  }

  createBidirectionalStream() {
    return this.streams.promise
  }

  close(): void {
    this.closeCalls += 1
    this.opening.reject(new Error('closed'))
    this.ending.resolve()
  }
}

export class FakeWebSocket {
  readonly url: string
  binaryType = ''
  bufferedAmount = 0
  onopen: ((event: never) => void) | null = null
  onmessage: ((event: never) => void) | null = null
  onerror: ((event: never) => void) | null = null
  onclose: ((event: never) => void) | null = null
  readonly sent: Uint8Array[] = []
  closeCalls = 0

  constructor(url: string) {
    this.url = url
  }

  open(): void {
    this.onopen?.({} as never)
  }

  receive(content: unknown): void {
    this.onmessage?.({ data: content } as never)
  }

  end(): void {
    this.onclose?.({} as never)
  }

  send(bytes: Uint8Array): void {
    this.sent.push(bytes)
  }

  close(): void {
    this.closeCalls += 1
  }
}

interface Timer {
  readonly run: () => void
  readonly dueMs: number
}

/** A hub description with one certificate hash. */
export const DESCRIPTION = { webTransport: true, certificateHashes: ['A'.repeat(43)] }

export class FakeNetwork {
  nowMs = 1_000_000
  readonly fetched: string[] = []
  readonly webTransports: FakeWebTransport[] = []
  readonly webSockets: FakeWebSocket[] = []
  /** What `fetch` answers; null keeps it waiting. */
  describe: (() => Response) | null = () => Response.json(DESCRIPTION)
  #timers = new Set<Timer>()

  environment(): DialEnvironment {
    const { webTransports, webSockets } = this
    return {
      fetch: (url) => {
        this.fetched.push(url)
        return this.describe === null
          ? new Promise(() => {})
          : Promise.resolve().then(this.describe)
      },
      WebTransport: function (url: string, options: { serverCertificateHashes?: unknown[] }) {
        const session = new FakeWebTransport(url, options.serverCertificateHashes?.length ?? 0)
        webTransports.push(session)
        return session
      } as unknown as NonNullable<DialEnvironment['WebTransport']>,
      WebSocket: function (url: string) {
        const connection = new FakeWebSocket(url)
        webSockets.push(connection)
        return connection
      } as unknown as DialEnvironment['WebSocket'],
      setTimer: (run, delayMs) => {
        const timer = { run, dueMs: this.nowMs + delayMs }
        this.#timers.add(timer)
        return () => void this.#timers.delete(timer)
      },
      nowMs: () => this.nowMs,
    }
  }

  get timerCount(): number {
    return this.#timers.size
  }

  /** Lets time pass, then everything that is ready run. */
  async pass(ms: number): Promise<void> {
    await settle()
    this.nowMs += ms
    for (const timer of [...this.#timers].sort((a, b) => a.dueMs - b.dueMs)) {
      if (timer.dueMs > this.nowMs) break
      this.#timers.delete(timer)
      timer.run()
      await settle()
    }
    await settle()
  }
}

/** Ends when promise chains and streams have nothing left to do. */
export async function settle(): Promise<void> {
  for (let turn = 0; turn < 5; turn += 1) await new Promise((done) => setTimeout(done, 0))
}

/** A listener that writes down what it hears. */
export class HeardSession implements SessionListener {
  transport: SessionTransport | null = null
  readonly frames: Uint8Array[] = []
  readonly heard: string[] = []

  opened(transport: SessionTransport): void {
    this.transport = transport
    this.heard.push(`opened ${transport.kind}`)
  }

  framesReceived(frames: readonly Uint8Array[]): void {
    this.frames.push(...frames)
    this.heard.push(`frames ${frames.length}`)
  }

  closed(): void {
    this.heard.push('closed')
  }
}
