/**
 * The hub's transports without a hub behind them: each frame comes back by the way that its opcode
 * names. Owns that, and one port (the only argument). For tests of the device's side.
 */
import { timeMs } from '#core/base/ids.ts'
import { toBase64Url } from '#core/base/bytes.ts'
import { FRAME_HEADER_LENGTH } from '#core/wire/frame.ts'
import { openCertificates } from '#hub/adapters/certificate.ts'
import { startHttp } from '#hub/adapters/http.ts'
import { createWebSocketListener } from '#hub/adapters/websocket.ts'
import { createWebTransportListener } from '#hub/adapters/webtransport.ts'
import type { HubSession, HubSessionListener, Lane } from '#hub/ports.ts'

/** What an opcode asks for. */
const CONTROL = 1
const SHARED_STREAM = 2
const DATAGRAM = 3
const CLOSE = 4
/** The body begins with a uint32: how often the frame is sent, one write after another. */
const REPEAT = 5

function echo(session: HubSession): HubSessionListener {
  const write = (lane: Lane, frame: Uint8Array): void => {
    session.write(lane, [frame]).catch(() => {})
  }
  const answer = (frame: Uint8Array): void => {
    const opcode = frame[1]
    if (opcode === CONTROL) write({ kind: 'control' }, frame)
    if (opcode === SHARED_STREAM) write({ kind: 'shared', index: 3 }, frame)
    if (opcode === DATAGRAM && !session.writeDatagram(frame)) write({ kind: 'control' }, frame)
    if (opcode === CLOSE) session.close()
    if (opcode === REPEAT) repeat(frame).catch(() => {})
  }
  const repeat = async (frame: Uint8Array): Promise<void> => {
    const view = new DataView(frame.buffer, frame.byteOffset, frame.length)
    const count = view.getUint32(FRAME_HEADER_LENGTH)
    for (let sent = 0; sent < count; sent++) await session.write({ kind: 'open' }, [frame])
  }
  return {
    framesReceived: (frames) => frames.forEach(answer),
    framingLost: () => session.close(),
    closed() {},
  }
}

const port = Number(Deno.args[0])
const observe = () => {}
const opened = await openCertificates({
  domain: 'localhost',
  files: null,
  clock: { nowMs: () => timeMs(Date.now()) },
  observe,
})
if (opened.kind === 'refused') throw new Error(opened.code)
const { certificates } = opened
const webSocket = createWebSocketListener({ observe })
const webTransport = createWebTransportListener({ port, certificates, observe })
await webSocket.listen(echo)
await webTransport.listen(echo)
await startHttp({
  port,
  certificates,
  webSocket,
  wellKnown: () => ({
    domain: 'localhost',
    hubKey: '',
    versions: [1],
    sessionPath: '/v1/session',
    certificateHashes: certificates.publishedHashes().map(toBase64Url),
    webTransport: true,
  }),
  healthy: () => true,
  appDir: null,
  appOrigins: '*',
  observe,
})
