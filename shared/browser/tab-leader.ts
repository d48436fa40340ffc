/**
 * One tab of an account leads and owns its engine, the others talk through it. Owns election and
 * relay, for any message types; owns no engine and repeats no message.
 *
 * Only Web Locks decide, there is no heartbeat: the tab that holds the account's leader lock leads,
 * and the browser grants the lock to the next tab when that one is gone, however it went. Each tab
 * also holds a lock of its own for as long as it lives, so that the leader hears of a tab that went
 * by being granted that lock.
 */

/** Of `LockManager` (W3C Web Locks): exclusive requests only. */
export interface Locks {
  request(
    name: string,
    options: { readonly signal?: AbortSignal },
    held: () => Promise<void> | void,
  ): Promise<unknown>
}

/** Of `BroadcastChannel` (HTML): what a relay needs. */
export interface Relay {
  onmessage: ((event: MessageEvent) => void) | null
  postMessage(message: unknown): void
  close(): void
}

export interface TabEnvironment {
  readonly locks: Locks
  openRelay(name: string): Relay
  /** A fresh unguessable name. */
  newId(): string
}

/** How an engine reaches the tabs. */
export interface ToTabs<Down> {
  send(tab: string, message: Down): void
  broadcast(message: Down): void
}

/** What runs in the leading tab. */
export interface Engine<Up> {
  received(tab: string, message: Up): void
  /** The tab will say nothing more; its id never comes again. */
  tabGone(tab: string): void
  /** The lock is let go when this resolves: nothing may write after it. */
  stop(): Promise<void>
}

export interface Tab<Up> {
  readonly id: string
  /** True while the engine runs in this tab. */
  readonly leads: boolean
  /** To the leader's engine, in order. Dropped while no leader is known. */
  send(message: Up): void
  /** Leaves; a leading tab stops its engine first. Resolves when the locks are free. */
  close(): Promise<void>
}

export interface TabOptions<Up, Down> {
  readonly accountId: string
  /** Called when this tab begins to lead. */
  startEngine(toTabs: ToTabs<Down>): Engine<Up>
  /** From the leader's engine to this tab. */
  received(message: Down): void
  /**
   * A leader listens from now on, the first or another one. What was sent before may be lost:
   * whoever needs an answer asks again.
   */
  leaderReady(): void
  readonly environment?: Partial<TabEnvironment>
}

type Envelope<Up, Down> =
  | { readonly kind: 'hello' }
  | { readonly kind: 'leading'; readonly leadership: string }
  | {
    readonly kind: 'up'
    readonly leadership: string
    readonly tab: string
    readonly message: Up
  }
  | {
    readonly kind: 'down'
    readonly leadership: string
    /** Null: every tab. */
    readonly tab: string | null
    readonly message: Down
  }

interface Leadership<Up> {
  readonly id: string
  readonly engine: Engine<Up>
}

/** Joins the tabs of a local account; leads as soon as no other tab does. */
export function electLeader<Up, Down>(options: TabOptions<Up, Down>): Tab<Up> {
  const environment = { ...hostTabEnvironment(), ...options.environment }
  const name = (part: string): string => `kalandra:${options.accountId}:${part}`
  const id = environment.newId()
  const relay = environment.openRelay(name('relay'))
  const closing = new AbortController()
  const closed = new Promise<void>((resolve) => {
    closing.signal.addEventListener('abort', () => resolve(), { once: true })
  })
  /** The leadership that this tab listens to. */
  let current: string | null = null
  let own: Leadership<Up> | null = null
  const tabs = new Set<string>()

  const post = (envelope: Envelope<Up, Down>): void => {
    if (!closing.signal.aborted) relay.postMessage(envelope)
  }
  const follow = (leadership: string): void => {
    if (current === leadership) return
    current = leadership
    options.leaderReady()
  }

  async function lead(): Promise<void> {
    const leadership = environment.newId()
    const down = (tab: string | null, message: Down): void => {
      if (tab !== id) post({ kind: 'down', leadership, tab, message })
      if (tab === null || tab === id) options.received(message)
    }
    const engine = options.startEngine({
      send: (tab, message) => down(tab, message),
      broadcast: (message) => down(null, message),
    })
    own = { id: leadership, engine }
    post({ kind: 'leading', leadership })
    follow(leadership)
    await closed
    own = null
    await engine.stop()
  }

  /** The lock of a tab is granted to others when the tab is gone. */
  function watchTab(tab: string, engine: Engine<Up>): void {
    if (tabs.has(tab)) return
    tabs.add(tab)
    requestLock(environment.locks, {
      name: name(`tab:${tab}`),
      signal: closing.signal,
      held: () => {
        tabs.delete(tab)
        engine.tabGone(tab)
      },
    })
  }

  const hear = ({ data: envelope }: MessageEvent<Envelope<Up, Down>>): void => {
    if (closing.signal.aborted) return
    switch (envelope.kind) {
      case 'hello':
        if (own !== null) post({ kind: 'leading', leadership: own.id })
        return
      case 'leading':
        if (own === null) follow(envelope.leadership)
        return
      case 'up':
        if (own?.id !== envelope.leadership) return
        watchTab(envelope.tab, own.engine)
        own.engine.received(envelope.tab, envelope.message)
        return
      case 'down':
        if (own !== null || envelope.leadership !== current) return
        if (envelope.tab === null || envelope.tab === id) options.received(envelope.message)
    }
  }

  // A tab takes part only once it holds its own lock, or a leader could take it for gone.
  const present = requestLock(environment.locks, {
    name: name(`tab:${id}`),
    signal: closing.signal,
    held: async () => {
      relay.onmessage = hear
      post({ kind: 'hello' })
      await requestLock(environment.locks, {
        name: name('leader'),
        signal: closing.signal,
        held: lead,
      })
      await closed
    },
  })

  return {
    id,
    get leads() {
      return own !== null
    },
    send(message) {
      if (own !== null) own.engine.received(id, message)
      else if (current !== null) post({ kind: 'up', leadership: current, tab: id, message })
    },
    async close() {
      closing.abort()
      relay.close()
      await present
    },
  }
}

/** Resolves when the lock was held and let go, or when `signal` ended the wait for it. */
async function requestLock(
  locks: Locks,
  request: { name: string; signal: AbortSignal; held: () => Promise<void> | void },
): Promise<void> {
  const { name, signal, held } = request
  let granted = false
  try {
    await locks.request(name, { signal }, () => {
      granted = true
      return held()
    })
  } catch (error) {
    if (granted || !signal.aborted) throw error
  }
}

function hostTabEnvironment(): TabEnvironment {
  return {
    locks: {
      request: (name, options, held) =>
        navigator.locks.request(name, options, async () => await held()),
    },
    openRelay: (name) => new BroadcastChannel(name),
    newId: () => crypto.randomUUID(),
  }
}
