/**
 * A link that a test can cut or hold back: over any dialer, for somebody who is away or late while
 * others go on. Owns whether the link is there; devices notice and redial by themselves.
 */
import type { Dialer, SessionListener, SessionTransport } from '#core/device/transport.ts'

export interface CutLink extends Dialer {
  /** Ends what is open and lets nothing through until `mend`. */
  cut(): void
  mend(): void
  /** Keeps back what the other side says, until `release`. */
  hold(): void
  release(): void
}

export function cutLink(over: Dialer): CutLink {
  const open = new Set<SessionTransport>()
  let isCut = false
  let held: (() => unknown)[] | null = null
  const heard = (listener: SessionListener): SessionListener => {
    let transport: SessionTransport | null = null
    return {
      opened(of) {
        transport = of
        open.add(of)
        listener.opened(of)
        if (isCut) of.close()
      },
      framesReceived(frames) {
        if (isCut) return
        if (held === null) return listener.framesReceived(frames)
        const copies = frames.map((frame) => frame.slice())
        held.push(() => listener.framesReceived(copies))
      },
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
    hold() {
      held = []
    },
    release() {
      const waiting = held ?? []
      held = null
      for (const give of waiting) give()
    },
  }
}
