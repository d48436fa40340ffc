/** The transport contract, on WebTransport and on WebSocket. */
import { ok } from 'node:assert/strict'
import { LIMITS } from '#core/base/limits.ts'
import type { HubDomain, TimeMs } from '#core/base/ids.ts'
import { joinFrames } from '#core/wire/frame.ts'
import { type CertificateSource, openCertificates } from '#hub/adapters/certificate.ts'
import { startHttp } from '#hub/adapters/http.ts'
import { createWebSocketListener } from '#hub/adapters/websocket.ts'
import { createWebTransportListener } from '#hub/adapters/webtransport.ts'
import type { AdapterEvent, Observe } from '#hub/ports.ts'
import { createWebSocketDialer, createWebTransportDialer } from '../support/hub-client.ts'
import { openRawWebSocket, openRawWebTransport } from '../support/raw-hub-client.ts'
import { webSocketFrame } from '../support/raw-hub-client.ts'
import { hubTransportSuite, type TransportHarness } from './hub-transport.ts'

async function openOwnCertificates(observe: Observe): Promise<CertificateSource> {
  const opened = await openCertificates({
    domain: 'localhost' as HubDomain,
    files: null,
    clock: { nowMs: () => Date.now() as TimeMs },
    observe,
  })
  ok(opened.kind === 'opened')
  return opened.certificates
}

const webTransport: TransportHarness = {
  name: 'WebTransport',
  datagrams: true,
  waitsForListener: true,
  async start() {
    const events: AdapterEvent[] = []
    const observe: Observe = (event) => events.push(event)
    const certificates = await openOwnCertificates(observe)
    const transport = createWebTransportListener({ port: 0, certificates, observe })
    const hashes = () => certificates.publishedHashes()
    const endpoint = () => `https://localhost:${transport.port}`
    return {
      transport,
      events,
      get endpoint() {
        return endpoint()
      },
      dialer: createWebTransportDialer({ hashes }),
      openRaw: () => openRawWebTransport(endpoint(), hashes()),
      async stop() {
        certificates.close()
        await transport.stop()
        await transport.ended()
      },
    }
  },
  /** One byte at a time through the prefix and the header, then ever larger parts. */
  cut(frames) {
    const bytes = joinFrames(frames)
    const parts: Uint8Array[] = []
    for (let offset = 0, length = 1; offset < bytes.length; offset += length) {
      if (offset > 50) length = offset < 1_000 ? (length % 60) + 7 : 10_000
      parts.push(bytes.subarray(offset, offset + length))
    }
    return parts
  },
  oversized() {
    const prefix = new Uint8Array(4)
    new DataView(prefix.buffer).setUint32(0, LIMITS.frameSizeMax + 1)
    return [prefix]
  },
  /** A length that leaves no space for a header. */
  truncated: () => [Uint8Array.of(0, 0, 0, 3, 1, 2, 3)],
}

const BINARY = 2
const CONTINUATION = 0
const TEXT = 1

const webSocket: TransportHarness = {
  name: 'WebSocket',
  datagrams: false,
  waitsForListener: false,
  async start() {
    const events: AdapterEvent[] = []
    const observe: Observe = (event) => events.push(event)
    const certificates = await openOwnCertificates(observe)
    const transport = createWebSocketListener({ observe })
    const http = await startHttp({
      port: 0,
      certificates,
      webSocket: transport,
      wellKnown: () => ({
        domain: 'localhost',
        hubKey: '',
        versions: [1],
        sessionPath: '/v1/session',
        certificateHashes: [],
        webTransport: false,
      }),
      healthy: () => true,
      appDir: null,
      appOrigins: '*',
      observe,
    })
    const endpoint = `http://localhost:${http.port}`
    return {
      transport,
      events,
      endpoint,
      dialer: createWebSocketDialer(),
      openRaw: () => openRawWebSocket(endpoint),
      async stop() {
        certificates.close()
        await transport.stop()
        await http.stop()
      },
    }
  },
  /** Each frame as a fragmented message, each fragment in parts (RFC 6455 section 5.4). */
  cut: (frames) =>
    frames.flatMap((frame) => {
      const bytes = [
        webSocketFrame(frame.subarray(0, 5), { opcode: BINARY, fin: false }),
        webSocketFrame(frame.subarray(5, 6), { opcode: CONTINUATION, fin: false }),
        webSocketFrame(frame.subarray(6), { opcode: CONTINUATION, fin: true }),
      ]
      return bytes.flatMap((part) => [part.subarray(0, 3), part.subarray(3)])
    }),
  oversized: () => [
    webSocketFrame(new Uint8Array(LIMITS.frameSizeMax + 1), { opcode: BINARY, fin: true }),
  ],
  /** A text message is no frame. */
  truncated: () => [webSocketFrame(new Uint8Array(40).fill(65), { opcode: TEXT, fin: true })],
}

for (const harness of [webTransport, webSocket]) hubTransportSuite(harness)
