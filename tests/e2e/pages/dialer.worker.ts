/** The dialer where it lives in the app: in a dedicated worker. One dial at a time. */
import type { RoomId } from '#core/base/ids.ts'
import type { SessionTransport } from '#core/device/transport.ts'
import { buildFrame } from '#core/wire/frame.ts'
import { createDialer } from '#browser/webtransport-dialer.ts'

export type DialerOrder =
  | { readonly kind: 'dial'; readonly endpoint: string }
  /** Sends `count` frames with this opcode and `size` bytes of body. */
  | {
    readonly kind: 'send' | 'sendDatagram'
    readonly opcode: number
    readonly count: number
    readonly size: number
  }
  | { readonly kind: 'close' }

export type DialerEvent =
  | { readonly kind: 'opened'; readonly transport: string; readonly afterMs: number }
  /** First body bytes of the frames: the numbers that `send` counted. */
  | { readonly kind: 'frames'; readonly numbers: readonly number[] }
  | { readonly kind: 'closed' }

const ROOM = new Uint8Array(32).fill(7) as RoomId
const NUMBER_AT = 34

const dialer = createDialer()
let transport: SessionTransport | null = null

const report = (event: DialerEvent): void => postMessage(event)

function dial(endpoint: string): void {
  const began = performance.now()
  dialer.dial(endpoint, {
    opened(opened) {
      transport = opened
      report({
        kind: 'opened',
        transport: opened.kind,
        afterMs: Math.round(performance.now() - began),
      })
    },
    framesReceived: (frames) =>
      report({ kind: 'frames', numbers: frames.map((frame) => frame[NUMBER_AT] ?? -1) }),
    closed: () => report({ kind: 'closed' }),
  })
}

onmessage = ({ data: order }: MessageEvent<DialerOrder>) => {
  if (order.kind === 'dial') return dial(order.endpoint)
  if (order.kind === 'close') return transport?.close()
  for (let count = 1; count <= order.count; count += 1) {
    const body = new Uint8Array(order.size).fill(count)
    const frame = buildFrame(order.opcode, ROOM, body)
    if (order.kind === 'send') transport?.send(frame)
    else transport?.sendDatagram(frame)
  }
}
