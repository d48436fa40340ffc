/**
 * Sessions over WebTransport, on Deno's unstable QUIC endpoint: the only file that knows it. The
 * control lane is the first bidirectional stream of the page; the shared lanes and the open room's
 * are streams that are opened here at their first use and stay, since a page grants about a hundred
 * in all the life of a session. Owns no frame but its boundaries, and no heartbeat: neither close
 * codes nor a page that has gone are reported by this transport.
 */
import { LIMITS } from '#core/base/limits.ts'
import { SESSION_PATH } from '#core/wire/endpoint.ts'
import { FrameSplitter, joinFrames } from '#core/wire/frame.ts'
import type { HubSession, HubSessionListener, HubTransport, Lane, Observe } from '#hub/ports.ts'
import type { CertificateSource } from './certificate.ts'
import { guardListener, PendingWrites } from './session-parts.ts'

const HANDSHAKES_MAX = 256
const LINGER_MS = 200
/** Control traffic leaves before data. */
const CONTROL_SEND_ORDER = 1
const DATAGRAMS_QUEUED_MAX = 256
/** What every path carries (RFC 9221 with RFC 9000 section 14); larger ones go another way. */
const DATAGRAM_SIZE_MAX = 1_100
/** Bytes that one read takes at most: at first, and of a page that sends much. */
const READ_SIZE_MIN = 4_096
const READ_SIZE_MAX = 65_536

export interface WebTransportOptions {
  /** UDP port; 0 takes a free one. */
  readonly port: number
  /** `::` takes IPv4 as well. */
  readonly hostname?: string
  readonly certificates: CertificateSource
  readonly observe: Observe
}

export interface WebTransportListener extends HubTransport {
  /** The port that is bound; from `listen` on. */
  readonly port: number
  /** Resolves after `stop`, when the last session has left and the port is free. */
  ended(): Promise<void>
}

type Accept = (session: HubSession) => HubSessionListener | null

/** Creates the listener; `listen` binds. */
export function createWebTransportListener(options: WebTransportOptions): WebTransportListener {
  return new Listener(options)
}

class Listener implements WebTransportListener {
  readonly #options: WebTransportOptions
  readonly #sessions = new Set<WebTransportSession>()
  #endpoint: Deno.QuicEndpoint | null = null
  #handshakes = 0
  #stopped = false
  #unsubscribe: () => void = () => {}
  readonly #ended = Promise.withResolvers<void>()

  constructor(options: WebTransportOptions) {
    this.#options = options
  }

  get port(): number {
    return this.#endpoint?.addr.port ?? this.#options.port
  }

  listen(accept: Accept): Promise<void> {
    return Promise.try(() => this.#bind(accept))
  }

  #bind(accept: Accept): void {
    const { port, hostname = '::', certificates } = this.#options
    const endpoint = new Deno.QuicEndpoint({ hostname, port })
    this.#endpoint = endpoint
    const listener = this.#present(endpoint)
    // Listening once more gives new handshakes the new certificate. All of them still arrive at the
    // first listener; stopping it would stop them.
    this.#unsubscribe = certificates.subscribe(() => this.#present(endpoint))
    void this.#takeAll(listener, accept)
  }

  stop(): Promise<void> {
    this.#stopped = true
    this.#unsubscribe()
    this.#closeWhenUnused()
    return Promise.resolve()
  }

  ended(): Promise<void> {
    return this.#ended.promise
  }

  #present(endpoint: Deno.QuicEndpoint): Deno.QuicListener {
    const { certificate, key } = this.#options.certificates.current()
    return endpoint.listen({
      cert: certificate,
      key,
      alpnProtocols: ['h3'],
      maxIdleTimeout: LIMITS.sessionSilenceMsMax,
      maxConcurrentBidirectionalStreams: 16,
      maxConcurrentUnidirectionalStreams: 16,
    })
  }

  async #takeAll(listener: Deno.QuicListener, accept: Accept): Promise<void> {
    for (;;) {
      let incoming: Deno.QuicIncoming
      try {
        incoming = await listener.incoming()
      } catch {
        if (!this.#stopped) this.#options.observe({ kind: 'adapterFaulted' })
        return
      }
      this.#take(incoming, accept)
    }
  }

  #take(incoming: Deno.QuicIncoming, accept: Accept): void {
    const full = this.#sessions.size + this.#handshakes >= LIMITS.sessionsMax
    if (this.#stopped || full || this.#handshakes >= HANDSHAKES_MAX) {
      if (!this.#stopped) this.#turnedAway()
      ignoreErrors(() => incoming.refuse())
      return
    }
    this.#handshakes++
    this.#shakeHands(incoming, accept)
      .catch(() => this.#options.observe({ kind: 'handshakeFailed', transport: 'webTransport' }))
      .finally(() => {
        this.#handshakes--
        this.#closeWhenUnused()
      })
  }

  async #shakeHands(incoming: Deno.QuicIncoming, accept: Accept): Promise<void> {
    let connection: Deno.QuicConn | null = null
    let late = false
    const timer = setTimeout(() => {
      late = true
      if (connection !== null) closeConnection(connection)
    }, LIMITS.handshakeMsMax)
    try {
      connection = await incoming.accept()
      const transport = await Deno.upgradeWebTransport(connection)
      transport.closed.catch(() => {})
      await transport.ready
      const asked = new URL(transport.url).pathname === SESSION_PATH
      if (late || this.#stopped || !asked) throw new Error('no session')
      this.#begin(new WebTransportSession(connection, transport), accept)
    } catch (error) {
      if (connection !== null) closeConnection(connection)
      throw error
    } finally {
      clearTimeout(timer)
    }
  }

  #begin(session: WebTransportSession, accept: Accept): void {
    const accepted = accept(session)
    if (accepted === null) {
      this.#turnedAway()
      session.close()
      return
    }
    const listener = guardListener(accepted, () => {
      this.#options.observe({ kind: 'adapterFaulted' })
      session.close()
    })
    this.#sessions.add(session)
    session.run(listener, () => {
      this.#sessions.delete(session)
      this.#closeWhenUnused()
    })
  }

  #turnedAway(): void {
    this.#options.observe({ kind: 'sessionTurnedAway', transport: 'webTransport' })
  }

  #closeWhenUnused(): void {
    if (!this.#stopped || this.#sessions.size > 0 || this.#handshakes > 0) return
    this.#endpoint?.close()
    this.#endpoint = null
    this.#ended.resolve()
  }
}

type StreamWriter = WritableStreamDefaultWriter<Uint8Array>

/** One session. `run` starts it; until then nothing is read. */
class WebTransportSession implements HubSession {
  readonly transport = 'webTransport'
  readonly #connection: Deno.QuicConn
  readonly #session: WebTransport
  readonly #writes = new PendingWrites()
  readonly #control = Promise.withResolvers<StreamWriter>()
  readonly #streams = new Map<string, Promise<StreamWriter>>()
  readonly #datagrams: StreamWriter
  #ended: () => void = () => {}
  #gone: () => void = () => {}
  #linger: ReturnType<typeof setTimeout> | undefined
  #isCut = false

  constructor(connection: Deno.QuicConn, session: WebTransport) {
    this.#connection = connection
    this.#session = session
    this.#datagrams = session.datagrams.writable.getWriter()
    this.#control.promise.catch(() => {})
  }

  write(lane: Lane, frames: readonly Uint8Array[]): Promise<void> {
    return this.#writes.add(this.#write(lane, joinFrames(frames)))
  }

  async #write(lane: Lane, bytes: Uint8Array): Promise<void> {
    const writer = await this.#writerOf(lane)
    await writer.write(bytes)
  }

  writeDatagram(frame: Uint8Array): boolean {
    if (frame.length > DATAGRAM_SIZE_MAX) return false
    const room = this.#datagrams.desiredSize
    if (room !== null && room > 0) this.#datagrams.write(frame).catch(() => {})
    return true
  }

  close(): void {
    // What was just written is lost if the connection goes now, and nothing tells when it arrived.
    this.#end(this.#writes.pending > 0 ? 0 : LINGER_MS)
  }

  /** Reads until the session ends, tells the listener, and calls `gone` when nothing is left. */
  run(listener: HubSessionListener, gone: () => void): void {
    this.#ended = () => listener.closed()
    this.#gone = gone
    const over = () => this.#end(0)
    this.#session.closed.then(over, over)
    this.#readStreams(listener).then(over, over)
    this.#readDatagrams(listener).catch(over)
  }

  #end(lingerMs: number): void {
    if (lingerMs === 0) this.#cut()
    if (this.#writes.ended) return
    this.#writes.end()
    this.#control.reject(new Error('the session is gone'))
    if (lingerMs > 0) this.#linger = setTimeout(() => this.#cut(), lingerMs)
    this.#ended()
  }

  #cut(): void {
    clearTimeout(this.#linger)
    if (this.#isCut) return
    this.#isCut = true
    ignoreErrors(() => this.#session.close())
    closeConnection(this.#connection)
    this.#gone()
  }

  #writerOf(lane: Lane): Promise<StreamWriter> {
    if (lane.kind === 'control') return this.#control.promise
    const name = lane.kind === 'open' ? 'open' : `shared ${lane.index}`
    let stream = this.#streams.get(name)
    if (stream === undefined) {
      stream = this.#session.createUnidirectionalStream()
        .then((writable) => writable.getWriter() as StreamWriter)
      stream.catch(() => {})
      this.#streams.set(name, stream)
    }
    return stream
  }

  /** The first stream is control; a page that opens a second one breaks the protocol. */
  async #readStreams(listener: HubSessionListener): Promise<void> {
    const streams = this.#session.incomingBidirectionalStreams.getReader()
    const first = await streams.read()
    if (first.done) return
    const { readable, writable } = first.value
    ignoreErrors(() => writable.sendOrder = CONTROL_SEND_ORDER)
    this.#control.resolve(writable.getWriter() as StreamWriter)
    const second = streams.read().then(() => {})
    await Promise.race([second, this.#readFrames(readable, listener)])
  }

  /** Resolves when the page has ended the stream between two frames. */
  async #readFrames(
    readable: ReadableStream<Uint8Array>,
    listener: HubSessionListener,
  ): Promise<void> {
    const reads = new Reads(readable)
    const splitter = new FrameSplitter()
    for (;;) {
      const value = await reads.next()
      if (this.#writes.ended) return
      if (value === null) {
        if (splitter.empty) return
        listener.framingLost('truncated')
        return this.#untilEnded()
      }
      const split = splitter.push(value)
      if (split.kind === 'malformed') {
        listener.framingLost(split.code)
        return this.#untilEnded()
      }
      if (split.frames.length > 0) await listener.framesReceived(split.frames)
    }
  }

  /** After lost framing the listener ends the session, or the page does. */
  async #untilEnded(): Promise<void> {
    await this.#session.closed
  }

  async #readDatagrams(listener: HubSessionListener): Promise<void> {
    const { datagrams } = this.#session
    // Deno 2.9.5 throws a ReferenceError here and goes on with a queue of one.
    ignoreErrors(() => datagrams.incomingHighWaterMark = DATAGRAMS_QUEUED_MAX)
    const reader = (datagrams.readable as ReadableStream<Uint8Array>).getReader()
    for (;;) {
      const { done, value } = await reader.read()
      if (done || this.#writes.ended) return
      await listener.framesReceived([value])
    }
  }
}

/**
 * Reads of one stream into one buffer: a default reader would have 64 KiB made for each read, also
 * for those that wait, while most frames of a page are small. The buffer grows while it is filled.
 */
class Reads {
  readonly #reader: ReadableStreamBYOBReader
  #buffer = new ArrayBuffer(READ_SIZE_MIN)

  constructor(readable: ReadableStream<Uint8Array>) {
    this.#reader = readable.getReader({ mode: 'byob' })
  }

  /** What came, in memory of its own, since frames are views of it; null at the end. */
  async next(): Promise<Uint8Array | null> {
    const { done, value } = await this.#reader.read(new Uint8Array(this.#buffer))
    if (done || value === undefined) return null
    const { buffer, byteLength } = value
    const isFull = byteLength === buffer.byteLength && byteLength < READ_SIZE_MAX
    this.#buffer = isFull ? new ArrayBuffer(byteLength * 2) : buffer
    return value.slice()
  }
}

/** `WebTransport.close` alone leaves the connection to its idle timeout. */
function closeConnection(connection: Deno.QuicConn): void {
  connection.closed.catch(() => {})
  ignoreErrors(() => connection.close({ closeCode: 0, reason: '' }))
}

/** For calls on something that may have ended already. */
function ignoreErrors(run: () => void): void {
  try {
    run()
  } catch {
    // It has ended, which is what was wanted.
  }
}
