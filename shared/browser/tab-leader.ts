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
  return new ElectedTab(options, { ...hostTabEnvironment(), ...options.environment })
}

class ElectedTab<Up, Down> implements Tab<Up> {
  readonly id: string
  readonly #options: TabOptions<Up, Down>
  readonly #environment: TabEnvironment
  readonly #relay: Relay
  readonly #closing = new AbortController()
  readonly #closed: Promise<void>
  /** Held for as long as this tab takes part. */
  readonly #present: Promise<void>
  /** The leadership that this tab listens to. */
  #current: string | null = null
  #own: Leadership<Up> | null = null
  /** Tabs that this leader has heard of. */
  readonly #tabs = new Set<string>()

  constructor(options: TabOptions<Up, Down>, environment: TabEnvironment) {
    this.#options = options
    this.#environment = environment
    this.id = environment.newId()
    this.#relay = environment.openRelay(this.#name('relay'))
    this.#closed = new Promise((resolve) => {
      this.#closing.signal.addEventListener('abort', () => resolve(), { once: true })
    })
    this.#present = this.#requestLock(`tab:${this.id}`, () => this.#takePart())
  }

  get leads(): boolean {
    return this.#own !== null
  }

  send(message: Up): void {
    if (this.#own !== null) this.#own.engine.received(this.id, message)
    else if (this.#current !== null) {
      this.#post({ kind: 'up', leadership: this.#current, tab: this.id, message })
    }
  }

  async close(): Promise<void> {
    this.#closing.abort()
    this.#relay.close()
    await this.#present
  }

  /** Only once it holds its own lock: before, a leader could take the tab for gone. */
  async #takePart(): Promise<void> {
    this.#relay.onmessage = (event: MessageEvent<Envelope<Up, Down>>) => this.#hear(event.data)
    this.#post({ kind: 'hello' })
    await this.#requestLock('leader', () => this.#lead())
    await this.#closed
  }

  async #lead(): Promise<void> {
    const id = this.#environment.newId()
    const send = (tab: string | null, message: Down): void => {
      if (tab !== this.id) this.#post({ kind: 'down', leadership: id, tab, message })
      if (tab === null || tab === this.id) this.#options.received(message)
    }
    const engine = this.#options.startEngine({
      send,
      broadcast: (message) => send(null, message),
    })
    this.#own = { id, engine }
    this.#post({ kind: 'leading', leadership: id })
    this.#follow(id)
    await this.#closed
    this.#own = null
    await engine.stop()
  }

  #hear(envelope: Envelope<Up, Down>): void {
    if (this.#closing.signal.aborted) return
    const own = this.#own
    switch (envelope.kind) {
      case 'hello':
        if (own !== null) this.#post({ kind: 'leading', leadership: own.id })
        return
      case 'leading':
        if (own === null) this.#follow(envelope.leadership)
        return
      case 'up':
        if (own === null || own.id !== envelope.leadership) return
        this.#watchTab(envelope.tab, own.engine)
        return own.engine.received(envelope.tab, envelope.message)
      case 'down':
        if (own !== null || envelope.leadership !== this.#current) return
        if (envelope.tab === null || envelope.tab === this.id) {
          this.#options.received(envelope.message)
        }
    }
  }

  #follow(leadership: string): void {
    if (this.#current === leadership) return
    this.#current = leadership
    this.#options.leaderReady()
  }

  /** The lock of a tab is granted to others when the tab is gone. */
  #watchTab(tab: string, engine: Engine<Up>): void {
    if (this.#tabs.has(tab)) return
    this.#tabs.add(tab)
    this.#requestLock(`tab:${tab}`, () => {
      this.#tabs.delete(tab)
      engine.tabGone(tab)
    })
  }

  #post(envelope: Envelope<Up, Down>): void {
    if (!this.#closing.signal.aborted) this.#relay.postMessage(envelope)
  }

  /** Resolves when the lock was held and let go, or when closing ended the wait for it. */
  async #requestLock(part: string, held: () => Promise<void> | void): Promise<void> {
    const { signal } = this.#closing
    let granted = false
    try {
      await this.#environment.locks.request(this.#name(part), { signal }, () => {
        granted = true
        return held()
      })
    } catch (error) {
      if (granted || !signal.aborted) throw error
    }
  }

  #name(part: string): string {
    return `kalandra:${this.#options.accountId}:${part}`
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
