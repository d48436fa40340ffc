/**
 * One WebTransport session as a `SessionTransport`. Owns streams, datagrams and the queue of what
 * is not yet written; knows nothing of fallback.
 *
 * Mapping: the control stream is the first bidirectional stream, opened by the device; the hub
 * opens unidirectional streams for rooms; both carry frames behind their length (WIRE-2). A
 * datagram is one frame.
 */
import { LIMITS } from '#core/base/limits.ts'
import type { SessionTransport } from '#core/device/transport.ts'
import { FrameSplitter, joinFrames, STREAM_PREFIX_LENGTH } from '#core/wire/frame.ts'
import type {
  BidirectionalStreamLike,
  CertificateHash,
  DatagramsLike,
  WebTransportConstructor,
  WebTransportLike,
} from '#browser/dial-environment.ts'
import { type OpenedSession, type SessionEvents, unlessAborted } from '#browser/opened-session.ts'

/** Frames that wait are joined up to this size for one write. */
const WRITE_BYTES_MAX = 262_144
/** How long `close` lets a queue, such as a goodbye, drain. */
const DRAIN_MS_MAX = 250
/** Datagrams kept for a reader that is late; engines default to 1. */
const INCOMING_DATAGRAMS_MAX = 256

export interface WebTransportOptions {
  readonly WebTransport: WebTransportConstructor
  /** Timer of the host; returns what cancels it. */
  setTimer(run: () => void, delayMs: number): () => void
  readonly url: string
  /** Empty: the certificate is one that the browser trusts by itself. */
  readonly certificateHashes: readonly CertificateHash[]
  /** Ends the attempt. */
  readonly signal: AbortSignal
}

/**
 * Opens a session and its control stream. A session whose control stream does not become writable
 * is not open: the caller's signal decides how long that may take. Rejects with no promise made
 * about the error.
 */
export async function openWebTransport(options: WebTransportOptions): Promise<OpenedSession> {
  const { url, certificateHashes, signal } = options
  const transport = new options.WebTransport(
    url,
    certificateHashes.length > 0 ? { serverCertificateHashes: certificateHashes } : {},
  )
  transport.closed.catch(() => {})
  try {
    await unlessAborted(transport.ready, signal)
    const control = await unlessAborted(transport.createBidirectionalStream(), signal)
    const writer = control.writable.getWriter()
    writer.closed.catch(() => {})
    await unlessAborted(writer.ready, signal)
    raiseDatagramMark(transport.datagrams)
    const parts = { transport, control, writer, setTimer: options.setTimer }
    return {
      start: (events) => startSession(parts, events),
      discard: () => closeQuietly(transport),
    }
  } catch (error) {
    closeQuietly(transport)
    throw error
  }
}

interface Parts {
  readonly transport: WebTransportLike
  readonly control: BidirectionalStreamLike
  readonly writer: WritableStreamDefaultWriter<Uint8Array>
  readonly setTimer: WebTransportOptions['setTimer']
}

function startSession(parts: Parts, events: SessionEvents): SessionTransport {
  const { transport, control, writer } = parts
  const datagramWriter = openDatagramWriter(transport.datagrams)
  let ended = false
  const end = (): void => {
    if (ended) return
    ended = true
    queue.drop()
    closeQuietly(transport)
    events.ended()
  }
  const deliver = (frames: readonly Uint8Array[]): void => {
    if (!ended && frames.length > 0) events.framesReceived(frames)
  }
  const queue = createWriteQueue(writer, end)
  transport.closed.then(end, end)
  readStream(control.readable, deliver).then(end, end)
  readRoomStreams(transport, { deliver, end })
  readDatagrams(transport.datagrams, deliver).catch(() => {})

  const send = (frame: Uint8Array): void => {
    if (!ended) queue.push(frame)
  }
  return {
    kind: 'webTransport',
    send,
    sendDatagram(frame) {
      if (ended) return
      if (datagramWriter === null || frame.length > transport.datagrams.maxDatagramSize) {
        send(frame)
      } else if (datagramWriter.desiredSize === null || datagramWriter.desiredSize > 0) {
        datagramWriter.write(frame).catch(() => {})
      }
    },
    close() {
      if (queue.empty) return end()
      const cancel = parts.setTimer(end, DRAIN_MS_MAX)
      queue.whenEmpty(() => {
        cancel()
        writer.close().then(end, end)
      })
    },
  }
}

interface WriteQueue {
  readonly empty: boolean
  push(frame: Uint8Array): void
  /** Calls back once, as soon as nothing waits; never after `drop`. */
  whenEmpty(drained: () => void): void
  drop(): void
}

/** Keeps one write in flight and what waits below its limit (DEV-6); `failed` ends the session. */
function createWriteQueue(
  writer: WritableStreamDefaultWriter<Uint8Array>,
  failed: () => void,
): WriteQueue {
  let waiting: Uint8Array[] = []
  /** Bytes that wait or are being written. */
  let held = 0
  let writing = false
  let drained: (() => void) | null = null

  const takeBatch = (): Uint8Array => {
    let size = 0
    let count = 0
    for (const frame of waiting) {
      size += STREAM_PREFIX_LENGTH + frame.length
      if (count > 0 && size > WRITE_BYTES_MAX) break
      count += 1
    }
    return joinFrames(waiting.splice(0, count))
  }
  const writeAll = async (): Promise<void> => {
    writing = true
    while (waiting.length > 0) {
      await writer.ready
      if (waiting.length === 0) break
      const batch = takeBatch()
      await writer.write(batch)
      held -= batch.length
    }
    writing = false
    drained?.()
    drained = null
  }

  return {
    get empty() {
      return !writing
    },
    push(frame) {
      held += STREAM_PREFIX_LENGTH + frame.length
      if (held > LIMITS.outboundQueueBytesMax) return failed()
      waiting.push(frame)
      if (!writing) writeAll().catch(failed)
    },
    whenEmpty(callback) {
      drained = callback
    },
    drop() {
      waiting = []
      drained = null
    },
  }
}

/** Resolves at the end of the stream; rejects when it loses its place. */
async function readStream(
  readable: ReadableStream<Uint8Array>,
  deliver: (frames: readonly Uint8Array[]) => void,
): Promise<void> {
  const reader = readable.getReader()
  const splitter = new FrameSplitter()
  for (;;) {
    const { done, value } = await reader.read()
    if (done && splitter.empty) return
    const split = done ? null : splitter.push(value)
    if (split?.kind !== 'frames') throw new Error('framing lost')
    deliver(split.frames)
  }
}

function readRoomStreams(
  transport: WebTransportLike,
  session: { deliver(frames: readonly Uint8Array[]): void; end(): void },
): void {
  const accept = async (): Promise<void> => {
    const reader = transport.incomingUnidirectionalStreams.getReader()
    for (;;) {
      const { done, value } = await reader.read()
      if (done) return
      readStream(value, session.deliver).catch(session.end)
    }
  }
  accept().catch(session.end)
}

async function readDatagrams(
  datagrams: DatagramsLike,
  deliver: (frames: readonly Uint8Array[]) => void,
): Promise<void> {
  const reader = datagrams.readable.getReader()
  for (;;) {
    const { done, value } = await reader.read()
    if (done) return
    deliver([value])
  }
}

function openDatagramWriter(
  datagrams: DatagramsLike,
): WritableStreamDefaultWriter<Uint8Array> | null {
  try {
    const writer = (datagrams.createWritable?.() ?? datagrams.writable)?.getWriter() ?? null
    writer?.closed.catch(() => {})
    writer?.ready.catch(() => {})
    return writer
  } catch {
    return null
  }
}

function raiseDatagramMark(datagrams: DatagramsLike): void {
  try {
    if ('incomingMaxBufferedDatagrams' in datagrams) {
      datagrams.incomingMaxBufferedDatagrams = INCOMING_DATAGRAMS_MAX
    } else {
      datagrams.incomingHighWaterMark = INCOMING_DATAGRAMS_MAX
    }
  } catch {
    // Deno 2.9.5 has the member and throws: its queue stays short; datagrams may be lost anyway.
  }
}

function closeQuietly(transport: WebTransportLike): void {
  try {
    transport.close()
  } catch {
    // It was never open, or is closed already.
  }
}
