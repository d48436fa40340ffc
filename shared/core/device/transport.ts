/**
 * The device's side of a session with a hub, as ports. Owns the contract; `browser/` and the tests
 * implement it. Frames in and out are whole (WIRE-1); streams, prefixes and fallback are not seen.
 */

export type TransportKind = 'webTransport' | 'webSocket' | 'memory'

/** What a dialer reports, in this order: `opened`, any number of frames, `closed` once. */
export interface SessionListener {
  opened(transport: SessionTransport): void
  /** Frames of one read, in the order of their stream; streams are not ordered to each other. */
  framesReceived(frames: readonly Uint8Array[]): void
  /** Also when the dial fails. Nothing follows. */
  closed(): void
}

export interface SessionTransport {
  readonly kind: TransportKind
  /** Reliable, in order. Never blocks; a transport that cannot keep up closes (DEV-6). */
  send(frame: Uint8Array): void
  /** May be lost. Where the transport has no datagrams it is sent reliably (SES-8). */
  sendDatagram(frame: Uint8Array): void
  close(): void
}

export interface Dialer {
  /** `endpoint` is the origin of a hub, such as `https://hub.example`. */
  dial(endpoint: string, listener: SessionListener): { abort(): void }
}
