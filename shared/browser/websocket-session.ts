/**
 * One WebSocket (RFC 6455) as a `SessionTransport`, for networks that block UDP: one binary message
 * for each frame, in both directions. Owns that mapping; knows nothing of when it is used.
 */
import { LIMITS } from '#core/base/limits.ts'
import type { SessionTransport } from '#core/device/transport.ts'
import { FRAME_HEADER_LENGTH } from '#core/wire/frame.ts'
import type { DialEnvironment, WebSocketLike } from '#browser/dial-environment.ts'
import { type OpenedSession, type SessionEvents, unlessAborted } from '#browser/opened-session.ts'

export interface WebSocketOptions {
  readonly WebSocket: DialEnvironment['WebSocket']
  readonly url: string
  /** Ends the attempt. */
  readonly signal: AbortSignal
}

/** Opens a connection. Rejects with no promise made about the error. */
export async function openWebSocket(options: WebSocketOptions): Promise<OpenedSession> {
  const connection = new options.WebSocket(options.url)
  connection.binaryType = 'arraybuffer'
  const opened = new Promise<void>((resolve, reject) => {
    connection.onopen = () => resolve()
    connection.onerror = () => reject(new Error('failed'))
    connection.onclose = () => reject(new Error('closed'))
  })
  try {
    await unlessAborted(opened, options.signal)
  } catch (error) {
    release(connection)
    throw error
  }
  return {
    start: (events) => startSession(connection, events),
    discard: () => release(connection),
  }
}

function startSession(connection: WebSocketLike, events: SessionEvents): SessionTransport {
  let ended = false
  const end = (): void => {
    if (ended) return
    ended = true
    release(connection)
    events.ended()
  }
  connection.onerror = end
  connection.onclose = end
  connection.onmessage = (event: MessageEvent<unknown>) => {
    const bytes = event.data instanceof ArrayBuffer ? new Uint8Array(event.data) : null
    if (ended) return
    if (
      bytes === null || bytes.length < FRAME_HEADER_LENGTH || bytes.length > LIMITS.frameSizeMax
    ) return end()
    events.framesReceived([bytes])
  }
  const send = (frame: Uint8Array): void => {
    if (ended) return
    if (connection.bufferedAmount + frame.length > LIMITS.outboundQueueBytesMax) return end()
    connection.send(frame)
  }
  return { kind: 'webSocket', send, sendDatagram: send, close: end }
}

/** Closes without waiting for the other side; what was sent before still goes out. */
function release(connection: WebSocketLike): void {
  connection.onopen = null
  connection.onmessage = null
  connection.onerror = null
  connection.onclose = null
  connection.close()
}
