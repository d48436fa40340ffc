/**
 * Both transports of a running hub, as a device on Deno dials them. Owns reading the hashes of its
 * certificates from where the hub publishes them.
 */
import { ok } from 'node:assert/strict'
import { fromBase64Url } from '#core/base/bytes.ts'
import type { Dialer } from '#core/device/transport.ts'
import { DESCRIPTION_PATH } from '#core/wire/endpoint.ts'
import { createWebSocketDialer, createWebTransportDialer } from './hub-client.ts'

export const TRANSPORT_NAMES = ['webSocket', 'webTransport'] as const
export type TransportName = (typeof TRANSPORT_NAMES)[number]

/** The dialer of one transport, for a hub that makes its own certificate. */
export async function dialerOf(transport: TransportName, endpoint: string): Promise<Dialer> {
  if (transport === 'webSocket') return createWebSocketDialer()
  const answer = await fetch(new URL(DESCRIPTION_PATH, endpoint))
  const { certificateHashes } = await answer.json() as { certificateHashes: readonly string[] }
  const hashes = certificateHashes.map((text) => {
    const hash = fromBase64Url(text)
    ok(hash?.length === 32, 'a published SHA-256')
    return hash
  })
  return createWebTransportDialer({ hashes: () => hashes })
}
