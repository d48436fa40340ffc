/**
 * The parts of a browser that dialing needs, as minimal interfaces. Owns the mapping to the host's
 * globals; owns no behaviour. Everything here exists in a dedicated worker.
 */

/** W3C WebTransport, section 6: the members that are used. */
export interface WebTransportLike {
  readonly ready: Promise<unknown>
  readonly closed: Promise<unknown>
  readonly incomingUnidirectionalStreams: ReadableStream<ReadableStream<Uint8Array>>
  readonly datagrams: DatagramsLike
  createBidirectionalStream(): Promise<BidirectionalStreamLike>
  close(): void
}

export interface BidirectionalStreamLike {
  readonly readable: ReadableStream<Uint8Array>
  readonly writable: WritableStream<Uint8Array>
}

/** Engines differ: `createWritable` follows `writable`, `incomingMaxBufferedDatagrams` the mark. */
export interface DatagramsLike {
  readonly readable: ReadableStream<Uint8Array>
  readonly writable?: WritableStream<Uint8Array>
  createWritable?(): WritableStream<Uint8Array>
  readonly maxDatagramSize: number
  incomingHighWaterMark?: number | null
  incomingMaxBufferedDatagrams?: number
}

export interface CertificateHash {
  readonly algorithm: 'sha-256'
  readonly value: Uint8Array
}

export type WebTransportConstructor = new (
  url: string,
  options: { readonly serverCertificateHashes?: readonly CertificateHash[] },
) => WebTransportLike

/** WHATWG WebSockets: the members that are used. */
export interface WebSocketLike {
  binaryType: string
  readonly bufferedAmount: number
  onopen: ((event: never) => void) | null
  onmessage: ((event: never) => void) | null
  onerror: ((event: never) => void) | null
  onclose: ((event: never) => void) | null
  send(bytes: Uint8Array): void
  close(): void
}

export interface DialEnvironment {
  fetch(url: string, init: RequestInit): Promise<Response>
  /** Null where the engine has none. */
  readonly WebTransport: WebTransportConstructor | null
  readonly WebSocket: new (url: string) => WebSocketLike
  /** Returns what cancels it. */
  setTimer(run: () => void, delayMs: number): () => void
  nowMs(): number
}

/** The host's own globals. */
export function hostDialEnvironment(): DialEnvironment {
  const host = globalThis as {
    readonly WebTransport?: unknown
    readonly WebSocket: unknown
  }
  return {
    fetch: (url, init) => fetch(url, init),
    WebTransport: (host.WebTransport ?? null) as WebTransportConstructor | null,
    WebSocket: host.WebSocket as DialEnvironment['WebSocket'],
    setTimer(run, delayMs) {
      const timer = setTimeout(run, delayMs)
      return () => clearTimeout(timer)
    },
    nowMs: () => Date.now(),
  }
}
