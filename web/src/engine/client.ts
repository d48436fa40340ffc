/**
 * The engine as a tab uses it. Owns calls in flight, watches and the last snapshot of this tab, and
 * says them again when another tab takes the lead. Owns no state of the account.
 */
import { electLeader, type Tab } from '#browser/tab-leader.ts'
import type { AppView, RoomView } from '#sdk/views.ts'
import { startEngineWorker } from './host.ts'
import type {
  EngineCall,
  EngineCalls,
  EngineMessage,
  EngineResult,
  EngineStart,
  TabMessage,
} from './protocol.ts'

export type { InvitePreview, LinkLimits } from './protocol.ts'

export type EngineSnapshot =
  | { readonly kind: 'starting' }
  | { readonly kind: 'failed'; readonly code: string }
  | { readonly kind: 'running'; readonly view: AppView }

/** A call that the engine refused; `code` is one of the SDK's, or `interrupted`. */
export class EngineError extends Error {
  readonly code: string
  constructor(code: string) {
    super(code)
    this.name = 'EngineError'
    this.code = code
  }
}

export interface EngineClient {
  snapshot(): EngineSnapshot
  /** Calls `listener` after each change of the snapshot; returns how to stop it. */
  subscribe(listener: () => void): () => void
  watchRoom(
    room: string,
    options: { readonly limit: number },
    listener: (view: RoomView) => void,
  ): () => void
  /** Rejects with `EngineError`. */
  call<Kind extends keyof EngineCalls>(
    kind: Kind,
    options: Parameters<EngineCalls[Kind]>[0],
  ): Promise<ReturnType<EngineCalls[Kind]>>
  networkChanged(online: boolean): void
  /** Before the page is hidden for good: the hub gets its goodbye, another tab may lead. */
  suspend(): Promise<void>
  /** After a page came back from the browser's memory. */
  resume(): void
}

/** Safe to say twice; every other call is given up when the leading tab ends under it. */
const repeatable: ReadonlySet<EngineCall['kind']> = new Set(
  ['sendMessage', 'readInvite', 'joinByLink', 'markRead', 'addMember', 'invite'] as const,
)

interface CallInFlight {
  readonly call: EngineCall
  said: boolean
  readonly answered: (result: EngineResult) => void
  readonly refused: (code: string) => void
}

interface RoomWatch {
  readonly room: string
  readonly limit: number
  readonly listener: (view: RoomView) => void
}

class TabEngine implements EngineClient {
  readonly #start: EngineStart
  readonly #listeners = new Set<() => void>()
  readonly #calls = new Map<number, CallInFlight>()
  readonly #watches = new Map<number, RoomWatch>()
  #snapshot: EngineSnapshot = { kind: 'starting' }
  #tab: Tab<TabMessage> | null = null
  #ready = false
  #nextId = 1

  constructor(start: EngineStart) {
    this.#start = start
    this.resume()
  }

  snapshot(): EngineSnapshot {
    return this.#snapshot
  }

  subscribe(listener: () => void): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  watchRoom(
    room: string,
    { limit }: { readonly limit: number },
    listener: (view: RoomView) => void,
  ): () => void {
    const watch = this.#nextId++
    this.#watches.set(watch, { room, limit, listener })
    this.#say({ kind: 'watchRoom', watch, room, limit })
    return () => {
      if (this.#watches.delete(watch)) this.#say({ kind: 'unwatchRoom', watch })
    }
  }

  call<Kind extends keyof EngineCalls>(
    kind: Kind,
    options: Parameters<EngineCalls[Kind]>[0],
  ): Promise<ReturnType<EngineCalls[Kind]>> {
    return new Promise((resolve, reject) => {
      const id = this.#nextId++
      const call = { kind, options } as EngineCall
      this.#calls.set(id, {
        call,
        said: this.#ready,
        answered: (result) => resolve(result as ReturnType<EngineCalls[Kind]>),
        refused: (code) => reject(new EngineError(code)),
      })
      this.#say({ kind: 'call', id, call })
    })
  }

  networkChanged(online: boolean): void {
    this.#say({ kind: 'networkChanged', online })
  }

  async suspend(): Promise<void> {
    const tab = this.#tab
    this.#tab = null
    this.#ready = false
    await tab?.close()
  }

  resume(): void {
    if (this.#tab !== null) return
    this.#tab = electLeader<TabMessage, EngineMessage>({
      accountId: this.#start.accountId,
      startEngine: (toTabs) => startEngineWorker(this.#start, toTabs),
      received: (message) => this.#received(message),
      leaderReady: () => this.#leaderReady(),
    })
  }

  #say(message: TabMessage): void {
    if (this.#ready) this.#tab?.send(message)
  }

  #leaderReady(): void {
    this.#ready = true
    this.#say({ kind: 'attach' })
    for (const [watch, { room, limit }] of this.#watches) {
      this.#say({ kind: 'watchRoom', watch, room, limit })
    }
    for (const [id, inFlight] of this.#calls) {
      if (inFlight.said && !repeatable.has(inFlight.call.kind)) {
        this.#calls.delete(id)
        inFlight.refused('interrupted')
        continue
      }
      inFlight.said = true
      this.#say({ kind: 'call', id, call: inFlight.call })
    }
  }

  #received(message: EngineMessage): void {
    switch (message.kind) {
      case 'appView':
        return this.#install({ kind: 'running', view: message.view })
      case 'engineFailed':
        return this.#fail(message.code)
      case 'roomView':
        return this.#watches.get(message.watch)?.listener(message.view)
      case 'answered':
        return this.#take(message.id)?.answered(message.result)
      case 'refused':
        return this.#take(message.id)?.refused(message.code)
    }
  }

  #take(id: number): CallInFlight | undefined {
    const inFlight = this.#calls.get(id)
    this.#calls.delete(id)
    return inFlight
  }

  #fail(code: string): void {
    for (const id of [...this.#calls.keys()]) this.#take(id)?.refused(code)
    this.#install({ kind: 'failed', code })
  }

  #install(snapshot: EngineSnapshot): void {
    this.#snapshot = snapshot
    for (const listener of [...this.#listeners]) listener()
  }
}

/** Joins the tabs of one account; the leading one among them runs the engine. */
export function openEngine(start: EngineStart): EngineClient {
  return new TabEngine(start)
}
