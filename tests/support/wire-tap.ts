/**
 * Records what devices send to a hub: on the wire, where a WebSocket's payloads can be read behind
 * their masks, and at the dialer, whatever the transport is. Owns recording; changes nothing.
 */
import { once } from 'node:events'
import { connect, createServer, type Socket as TcpEnd } from 'node:net'
import type { AddressInfo } from 'node:net'
import { concat } from '#core/base/bytes.ts'
import type { Dialer, SessionTransport } from '#core/device/transport.ts'

export interface WireTap {
  readonly port: number
  /** What clients sent, as it passed. */
  raw(): Uint8Array
  /** Contents of all WebSocket messages of clients, unmasked, in the order of each connection. */
  payloads(): Uint8Array
  close(): Promise<void>
}

/** Passes TCP on to a port of this machine. */
export async function startWireTap(hubPort: number): Promise<WireTap> {
  const recorded: Uint8Array[][] = []
  const ends = new Set<TcpEnd>()
  const server = createServer((client) => {
    const chunks: Uint8Array[] = []
    recorded.push(chunks)
    client.on('data', (chunk: Uint8Array) => chunks.push(chunk.slice()))
    const hub = connect({ host: '127.0.0.1', port: hubPort })
    for (const [from, to] of [[client, hub], [hub, client]] as const) {
      ends.add(from)
      from.on('error', () => to.destroy())
      from.on('close', () => {
        ends.delete(from)
        to.destroy()
      })
      from.pipe(to)
    }
  })
  server.listen({ host: '::', port: 0 })
  await once(server, 'listening')
  const streams = () => recorded.map((chunks) => concat(...chunks))
  return {
    port: (server.address() as AddressInfo).port,
    raw: () => concat(...streams()),
    payloads: () => concat(...streams().map(webSocketPayloads)),
    async close() {
      for (const end of ends) end.destroy()
      await new Promise((closed) => server.close(closed))
    },
  }
}

/** Contents of a client's WebSocket frames behind its upgrade request (RFC 6455 section 5.2). */
export function webSocketPayloads(stream: Uint8Array): Uint8Array {
  const payloads: Uint8Array[] = []
  const view = new DataView(stream.buffer, stream.byteOffset, stream.length)
  let offset = headEnd(stream)
  while (offset + 2 <= stream.length) {
    const marked = view.getUint8(offset + 1)
    const short = marked & 0x7f
    let start = offset + 2
    let length = short
    if (short === 126) {
      length = view.getUint16(start)
      start += 2
    } else if (short === 127) {
      length = Number(view.getBigUint64(start))
      start += 8
    }
    const isMasked = (marked & 0x80) !== 0
    const mask = isMasked ? stream.slice(start, start + 4) : new Uint8Array(4)
    if (isMasked) start += 4
    const content = stream.slice(start, start + length).map((byte, i) => byte ^ (mask[i % 4] ?? 0))
    payloads.push(content)
    offset = start + length
  }
  return concat(...payloads)
}

/** Offset behind the empty line that ends an HTTP request; the end when there is none. */
function headEnd(stream: Uint8Array): number {
  for (let i = 0; i + 4 <= stream.length; i++) {
    const isEnd = stream[i] === 13 && stream[i + 1] === 10 && stream[i + 2] === 13 &&
      stream[i + 3] === 10
    if (isEnd) return i + 4
  }
  return stream.length
}

export interface DialerTap {
  readonly dialer: Dialer
  /** All frames and datagrams that were sent, one behind the other. */
  sent(): Uint8Array
  /** Names of the transports that were used. */
  readonly kinds: ReadonlySet<string>
}

/** Wraps a dialer; what it sends is recorded. */
export function tapDialer(dialer: Dialer): DialerTap {
  const frames: Uint8Array[] = []
  const kinds = new Set<string>()
  const record = (frame: Uint8Array): Uint8Array => {
    frames.push(frame.slice())
    return frame
  }
  const tapped = (transport: SessionTransport): SessionTransport => {
    kinds.add(transport.kind)
    return {
      kind: transport.kind,
      send: (frame) => transport.send(record(frame)),
      sendDatagram: (frame) => transport.sendDatagram(record(frame)),
      close: () => transport.close(),
    }
  }
  return {
    dialer: {
      dial: (endpoint, listener) =>
        dialer.dial(endpoint, {
          opened: (transport) => listener.opened(tapped(transport)),
          framesReceived: (received) => listener.framesReceived(received),
          closed: () => listener.closed(),
        }),
    },
    sent: () => concat(...frames),
    kinds,
  }
}
