/**
 * Clients that break the rules of a session on purpose: bytes in chosen chunks, frames over their
 * limit, a peer that never reads. Owns no framing; the test says every byte.
 */
import { SESSION_PATH } from '#core/wire/endpoint.ts'

/** A session seen from a misbehaving device. */
export interface RawClient {
  /** Sends one part of the byte stream (WebTransport) or one WebSocket frame (RFC 6455). */
  send(bytes: Uint8Array): Promise<void>
  close(): void
}

/** Opens the control stream with nothing read on it or on any other. */
export async function openRawWebTransport(
  endpoint: string,
  hashes: readonly Uint8Array[],
  path = SESSION_PATH,
): Promise<RawClient> {
  const session = new WebTransport(`https://${new URL(endpoint).host}${path}`, {
    serverCertificateHashes: hashes.map((hash) => ({
      algorithm: 'sha-256',
      value: hash as Uint8Array<ArrayBuffer>,
    })),
  })
  session.closed.catch(() => {})
  await session.ready
  const control = await session.createBidirectionalStream()
  const writer = control.writable.getWriter()
  return {
    send: (bytes) => writer.write(bytes),
    close: () => session.close(),
  }
}

/** Upgrades by hand and then never reads. */
export async function openRawWebSocket(endpoint: string): Promise<RawClient> {
  const { hostname, port, host } = new URL(endpoint)
  const connection = await Deno.connect({ hostname, port: Number(port) })
  await writeAll(
    connection,
    new TextEncoder().encode([
      `GET ${SESSION_PATH} HTTP/1.1`,
      `Host: ${host}`,
      'Upgrade: websocket',
      'Connection: Upgrade',
      'Sec-WebSocket-Version: 13',
      'Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==',
      '\r\n',
    ].join('\r\n')),
  )
  const answer = new Uint8Array(1_024)
  await connection.read(answer)
  return {
    send: (bytes) => writeAll(connection, bytes),
    close: () => connection.close(),
  }
}

async function writeAll(connection: Deno.Conn, bytes: Uint8Array): Promise<void> {
  for (let offset = 0; offset < bytes.length;) {
    offset += await connection.write(bytes.subarray(offset))
  }
}

/** One WebSocket frame as a client sends it (RFC 6455 section 5.2), masked with zeros. */
export function webSocketFrame(
  content: Uint8Array,
  options: { readonly opcode: number; readonly fin: boolean },
): Uint8Array {
  const frame = new Uint8Array(14 + content.length)
  frame[0] = (options.fin ? 0x80 : 0) | options.opcode
  frame[1] = 0x80 | 127
  new DataView(frame.buffer).setBigUint64(2, BigInt(content.length))
  frame.set(content, 14)
  return frame
}
