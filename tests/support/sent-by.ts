/** A transport whose reliable frames go another way. Owns nothing of what becomes of them. */
import type { SessionTransport } from '#core/device/transport.ts'

/** The same transport, but for what `send` does. */
export function sentBy(
  transport: SessionTransport,
  send: (frame: Uint8Array) => void,
): SessionTransport {
  // Named one by one: a real transport is of a class, whose methods no copy has.
  return {
    kind: transport.kind,
    sendDatagram: (frame) => transport.sendDatagram(frame),
    close: () => transport.close(),
    send,
  }
}
