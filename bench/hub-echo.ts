/**
 * The transport without a hub behind it: frames that come back, at a pace or as fast as they can.
 * Owns sessions with the echo process; it says what no hub on this transport can be faster than.
 */
import { ok } from 'node:assert/strict'
import { NO_ROOM } from '#core/base/ids.ts'
import type { Dialer, SessionTransport } from '#core/device/transport.ts'
import { buildFrame, FRAME_HEADER_LENGTH } from '#core/wire/frame.ts'
import { clockMs } from './hub-member.ts'

/** What an opcode asks of the echo process. */
const CONTROL = 1
const REPEAT = 5

export interface EchoRound {
  /** Bytes of one frame. */
  readonly frameLength: number
  readonly count: number
  readonly intervalMs: number
}

interface Client {
  readonly transport: SessionTransport
  received: (frames: readonly Uint8Array[]) => void
}

export class EchoClients {
  #clients: Client[] = []

  async open(
    dialer: Dialer,
    { endpoint }: { readonly endpoint: string },
    count: number,
  ): Promise<void> {
    for (let opened = 0; opened < count; opened++) {
      this.#clients.push(await openClient(dialer, endpoint))
    }
  }

  /** Times in milliseconds from a frame's sending to its return, one frame in each interval. */
  async paced({ frameLength, count, intervalMs }: EchoRound): Promise<readonly number[]> {
    const [client] = this.#clients
    ok(client !== undefined, 'a session')
    const tookMs: number[] = []
    const sentMs: number[] = []
    const done = Promise.withResolvers<void>()
    client.received = (frames) => {
      for (const _ of frames) tookMs.push(clockMs() - (sentMs[tookMs.length] as number))
      if (tookMs.length === count) done.resolve()
    }
    const frame = echoFrame(CONTROL, frameLength)
    const beganMs = clockMs()
    for (let index = 0; index < count; index++) {
      const waitMs = beganMs + index * intervalMs - clockMs()
      if (waitMs > 0) await new Promise((resolve) => setTimeout(resolve, waitMs))
      sentMs.push(clockMs())
      client.transport.send(frame)
    }
    await done.promise
    return tookMs
  }

  /** Each session asks once and is sent the frame `count` times; how long that took for all. */
  async repeat({ frameLength, count }: EchoRound): Promise<number> {
    const frame = echoFrame(REPEAT, frameLength)
    new DataView(frame.buffer).setUint32(FRAME_HEADER_LENGTH, count)
    const beganMs = clockMs()
    await Promise.all(this.#clients.map(async (client) => {
      const done = Promise.withResolvers<void>()
      let returned = 0
      client.received = (frames) => {
        returned += frames.length
        if (returned === count) done.resolve()
      }
      client.transport.send(frame)
      await done.promise
    }))
    return clockMs() - beganMs
  }

  close(): void {
    for (const { transport } of this.#clients) transport.close()
    this.#clients = []
  }
}

function echoFrame(opcode: number, length: number): Uint8Array {
  return buildFrame(opcode, NO_ROOM, new Uint8Array(length - FRAME_HEADER_LENGTH))
}

function openClient(dialer: Dialer, endpoint: string): Promise<Client> {
  const opening = Promise.withResolvers<Client>()
  let client: Client | null = null
  dialer.dial(endpoint, {
    opened(transport) {
      client = { transport, received: () => {} }
      opening.resolve(client)
    },
    framesReceived: (frames) => client?.received(frames),
    closed: () => opening.reject(new Error('the dial failed')),
  })
  return opening.promise
}
