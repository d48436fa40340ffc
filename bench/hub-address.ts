/** Where a hub is reached, and over which transport: what a thread of the load needs to dial. */
import { fromBase64Url } from '#core/base/bytes.ts'
import type { Dialer } from '#core/device/transport.ts'
import { createWebSocketDialer, createWebTransportDialer } from '../tests/support/hub-client.ts'

export type BenchTransport = 'webTransport' | 'webSocket'

export interface HubAddress {
  readonly endpoint: string
  readonly hashes: readonly Uint8Array[]
  readonly transport: BenchTransport
}

export const dialerOf = ({ hashes, transport }: HubAddress): Dialer =>
  transport === 'webSocket'
    ? createWebSocketDialer()
    : createWebTransportDialer({ hashes: () => hashes })

/** Where a process offers sessions, from what it publishes. */
export async function addressOf(port: number, transport: BenchTransport): Promise<HubAddress> {
  const endpoint = `http://localhost:${port}`
  const answer = await fetch(`${endpoint}/.well-known/kalandra`)
  const { certificateHashes } = await answer.json() as { certificateHashes: string[] }
  const hashes = certificateHashes.flatMap((text) => fromBase64Url(text) ?? [])
  return { endpoint, hashes, transport }
}
