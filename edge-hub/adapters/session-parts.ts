/**
 * What the session adapters share: the end of writes that have not settled, and a listener whose
 * faults end one session and not the process. Owns nothing that a platform decides.
 */
import type { HubSessionListener } from '#hub/ports.ts'

/** A session has ended; carries nothing else, since nobody learns why (SES-6). */
export class SessionEnded extends Error {
  override readonly name = 'SessionEnded'
}

/** One promise for all adapters: when a session ends, each of its pending writes rejects. */
export class PendingWrites {
  readonly #rejects = new Set<(error: SessionEnded) => void>()
  #ended = false

  get ended(): boolean {
    return this.#ended
  }

  get pending(): number {
    return this.#rejects.size
  }

  /** Settles like `write`, but rejects at once when the session ends before. */
  add(write: Promise<void>): Promise<void> {
    if (this.#ended) {
      write.catch(() => {})
      return Promise.reject(new SessionEnded('the session has ended'))
    }
    const { promise, resolve, reject } = Promise.withResolvers<void>()
    this.#rejects.add(reject)
    const settle = (outcome: () => void) => {
      this.#rejects.delete(reject)
      outcome()
    }
    write.then(
      () => settle(resolve),
      () => settle(() => reject(new SessionEnded('the session has ended'))),
    )
    return promise
  }

  /** Rejects all that is pending and all that comes. */
  end(): void {
    this.#ended = true
    for (const reject of this.#rejects) reject(new SessionEnded('the session has ended'))
    this.#rejects.clear()
  }
}

/** The same listener; whatever it throws or rejects with is reported by `faulted` instead. */
export function guardListener(
  listener: HubSessionListener,
  faulted: () => void,
): HubSessionListener {
  const guard = (call: () => void | Promise<void>): void | Promise<void> => {
    try {
      const outcome = call()
      return outcome instanceof Promise ? outcome.catch(faulted) : outcome
    } catch {
      faulted()
    }
  }
  return {
    framesReceived: (frames) => guard(() => listener.framesReceived(frames)),
    framingLost: (code) => void guard(() => listener.framingLost(code)),
    closed: () => void guard(() => listener.closed()),
  }
}
