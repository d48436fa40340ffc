/**
 * Sessions over WebSocket, for networks that block UDP: one binary message for each frame, all
 * lanes on the one connection. Owns the mapping; owns no port (`http.ts` hands over the requests).
 *
 * The platform takes messages of up to 64 MiB before they can be judged here, and a connection
 * whose peer does not read cannot be torn down, only closed: it counts until it has really gone.
 */
import { LIMITS } from '#core/base/limits.ts'
import type { HubSession, HubSessionListener, HubTransport, Lane, Observe } from '#hub/ports.ts'
import { guardListener, PendingWrites } from './session-parts.ts'

/** A write waits above this many unsent bytes until half of them have left. */
const BUFFERED_BYTES_MAX = 1_048_576
const DRAIN_CHECK_MS_MIN = 2
const DRAIN_CHECK_MS_MAX = 64

export interface WebSocketListener extends HubTransport {
  /** Answers a request to `SESSION_PATH`. */
  upgrade(request: Request): Response
}

type Accept = (session: HubSession) => HubSessionListener | null

/** Creates the listener; it answers 503 before `listen` and after `stop`. */
export function createWebSocketListener(options: { readonly observe: Observe }): WebSocketListener {
  const { observe } = options
  let accept: Accept | null = null
  let connections = 0

  const turnAway = (status: number) => {
    observe({ kind: 'sessionTurnedAway', transport: 'webSocket' })
    return new Response(null, { status })
  }
  return {
    listen(given) {
      accept = given
      return Promise.resolve()
    },
    stop() {
      accept = null
      return Promise.resolve()
    },
    upgrade(request) {
      const taking = accept
      if (taking === null || connections >= LIMITS.sessionsMax) return turnAway(503)
      if (request.headers.get('upgrade')?.toLowerCase() !== 'websocket') {
        return new Response(null, { status: 426, headers: { upgrade: 'websocket' } })
      }
      try {
        // Silence is the gateway's to judge, by heartbeats.
        const { socket: connection, response } = Deno.upgradeWebSocket(request, { idleTimeout: 0 })
        connections++
        begin(connection, taking, { observe, gone: () => connections-- })
        return response
      } catch {
        observe({ kind: 'handshakeFailed', transport: 'webSocket' })
        return new Response(null, { status: 400 })
      }
    },
  }
}

/** Wires one connection; `gone` is called once when nothing is left of it. */
function begin(
  connection: WebSocket,
  accept: Accept,
  host: { readonly observe: Observe; gone(): void },
): void {
  const session = new WebSocketSession(connection)
  connection.binaryType = 'arraybuffer'
  connection.onopen = () => {
    const listener = accept(session)
    if (listener === null) {
      host.observe({ kind: 'sessionTurnedAway', transport: 'webSocket' })
      session.close()
      return
    }
    session.run(guardListener(listener, () => {
      host.observe({ kind: 'adapterFaulted' })
      session.close()
    }))
  }
  // `close` follows an error.
  connection.onerror = (event) => event.preventDefault()
  connection.onclose = () => {
    session.close()
    host.gone()
  }
}

class WebSocketSession implements HubSession {
  readonly transport = 'webSocket'
  readonly #connection: WebSocket
  readonly #writes = new PendingWrites()
  #ended: (() => void) | null = null
  /** Resolves when the writers before have passed: the connection is one queue for all lanes. */
  #turn: Promise<void> = Promise.resolve()

  constructor(connection: WebSocket) {
    this.#connection = connection
  }

  write(lane: Lane, frames: readonly Uint8Array[]): Promise<void> {
    // Control does not wait for data that has not been handed over yet.
    if (lane.kind === 'control') return this.#writes.add(this.#send(frames))
    this.#turn = this.#turn.then(() => this.#send(frames))
    return this.#writes.add(this.#turn)
  }

  /** Never rejects, so that the next turn comes; an ended session rejects by `PendingWrites`. */
  async #send(frames: readonly Uint8Array[]): Promise<void> {
    for (const frame of frames) {
      if (this.#writes.ended) return
      try {
        this.#connection.send(frame as Uint8Array<ArrayBuffer>)
      } catch {
        return this.close()
      }
      if (this.#connection.bufferedAmount > BUFFERED_BYTES_MAX) await this.#drained()
    }
  }

  /** There is no event for it, so it is looked at, less often the longer it takes. */
  async #drained(): Promise<void> {
    let delayMs = DRAIN_CHECK_MS_MIN
    while (!this.#writes.ended && this.#connection.bufferedAmount > BUFFERED_BYTES_MAX / 2) {
      await new Promise((resolve) => setTimeout(resolve, delayMs))
      delayMs = Math.min(delayMs * 2, DRAIN_CHECK_MS_MAX)
    }
  }

  writeDatagram(): boolean {
    return false
  }

  close(): void {
    if (this.#writes.ended) return
    this.#writes.end()
    this.#connection.onmessage = null
    if (this.#connection.readyState <= WebSocket.OPEN) this.#connection.close()
    this.#ended?.()
  }

  run(listener: HubSessionListener): void {
    this.#ended = () => {
      this.#ended = null
      listener.closed()
    }
    const lost = (code: 'truncated' | 'oversized') => {
      this.#connection.onmessage = null
      listener.framingLost(code)
    }
    this.#connection.onmessage = ({ data: content }: MessageEvent<unknown>) => {
      if (!(content instanceof ArrayBuffer)) return lost('truncated')
      if (content.byteLength > LIMITS.frameSizeMax) return lost('oversized')
      void listener.framesReceived([new Uint8Array(content)])
    }
  }
}
