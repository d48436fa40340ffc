/**
 * What an attempt to reach a hub leads to, before it is known whether it is the one that is kept.
 * Owns the contract between the dialer and the two ways of dialing.
 */
import type { SessionTransport } from '#core/device/transport.ts'

export interface SessionEvents {
  framesReceived(frames: readonly Uint8Array[]): void
  /** Once, whoever ended it; nothing follows. */
  ended(): void
}

/** A session that is open and not yet read. */
export interface OpenedSession {
  /** Reads from now on; events come later than this call. */
  start(events: SessionEvents): SessionTransport
  /** Lets go of a session that lost the race. */
  discard(): void
}

/** Rejects as soon as `signal` aborts; otherwise settles like `work`. Never leaves a rejection. */
export async function unlessAborted<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  work.catch(() => {})
  let abort = (): void => {}
  const aborted = new Promise<never>((_, reject) => {
    abort = () => reject(new Error('aborted'))
    if (signal.aborted) abort()
    else signal.addEventListener('abort', abort, { once: true })
  })
  try {
    return await Promise.race([work, aborted])
  } finally {
    signal.removeEventListener('abort', abort)
  }
}
