/**
 * A link that a test can cut: over any dialer, for somebody who is away while others go on. Owns
 * whether the link is there; devices notice and redial by themselves.
 */
import type { Dialer, SessionListener, SessionTransport } from '#core/device/transport.ts'

export interface CutLink extends Dialer {
  /** Ends what is open and lets nothing through until `mend`. */
  cut(): void
  mend(): void
}

export function cutLink(over: Dialer): CutLink {
  const open = new Set<SessionTransport>()
  let isCut = false
  const heard = (listener: SessionListener): SessionListener => {
    let transport: SessionTransport | null = null
    return {
      opened(of) {
        transport = of
        open.add(of)
        listener.opened(of)
        if (isCut) of.close()
      },
      framesReceived: (frames) => isCut ? undefined : listener.framesReceived(frames),
      closed() {
        if (transport !== null) open.delete(transport)
        listener.closed()
      },
    }
  }
  return {
    dial(endpoint, listener) {
      if (!isCut) return over.dial(endpoint, heard(listener))
      queueMicrotask(() => listener.closed())
      return { abort: () => {} }
    },
    cut() {
      isCut = true
      for (const transport of open) transport.close()
    },
    mend() {
      isCut = false
    },
  }
}
