/**
 * The facade of the protocol core: an account on this device, its rooms and messages. Owns the
 * driver of the device machine, its effects and the notification of views; decides nothing.
 */
import { wipe } from '#core/base/bytes.ts'
import { createDriver, type Driver } from '#core/base/driver.ts'
import { LIMITS } from '#core/base/limits.ts'
import type { Clock } from '#core/base/ports.ts'
import { recordCapsule, type RecordedMachine } from '#core/device/capsule.ts'
import { createDeviceMachine } from '#core/device/device.ts'
import type { Command, DeviceEffect, DeviceInput, RequiredChange } from '#core/device/io.ts'
import type { LinkLimits, TimerName } from '#core/device/io.ts'
import { loadDevice } from '#core/device/load.ts'
import { roomRange } from '#core/device/records.ts'
import type { DeviceState } from '#core/device/state.ts'
import type { DeviceStore } from '#core/device/store.ts'
import { timelineEntries } from '#core/device/timeline.ts'
import type { Dialer, SessionTransport } from '#core/device/transport.ts'
import type { DevicePorts } from '#core/device/turn.ts'
import { decodeInviteLink } from '#core/identity/invitation.ts'
import { KalandraError } from '#sdk/errors.ts'
import { projectApp, projectRoom } from '#sdk/project.ts'
import type { AppView, RoomView } from '#sdk/views.ts'

/** Timers of the host. */
export interface Timers {
  /** Calls back once, not before `delayMs`; the result stops it. */
  after(delayMs: number, callback: () => void): () => void
}

/** Everything of the world that an account touches. */
export interface KalandraPorts extends DevicePorts {
  readonly clock: Clock
  readonly store: DeviceStore
  readonly dialer: Dialer
  readonly timers: Timers
  /** Origin of the hub, such as `https://hub.example`. */
  readonly endpoint: string
  /** A programmer's error inside a step, for the host's log; the state before it is kept. */
  readonly faulted: (error: unknown) => void
}

/** What a link says of itself before it is used. */
export interface InvitePreview {
  readonly title: string | null
  readonly inviter: string
  readonly hubDomain: string
}

/** Reads a link's fragment without using it; null when it is none. */
export function readInvite(fragment: string): InvitePreview | null {
  const link = decodeInviteLink(fragment)
  if (link === null) return null
  wipe(link.secret)
  const { title, inviter, hubDomain } = link
  return { title: title === '' ? null : title, inviter, hubDomain }
}

/** One account on one device. Commands reject with `KalandraError`. */
export interface Kalandra {
  view(): AppView
  /** Calls back with every change of the view, and once at the start. */
  subscribe(listener: (view: AppView) => void): () => void
  /** The last `limit` items of a room (at most 500 at a time), now and with every change. */
  watchRoom(
    room: string,
    options: { readonly limit: number },
    listener: (view: RoomView) => void,
  ): () => void
  /** Resolves with `name@hub` once the hub has attested it (ID-4). */
  signUp(options: { readonly name: string; readonly deviceName: string }): Promise<string>
  /** Resolves with the room, also while offline. */
  createRoom(options: { readonly title: string }): Promise<string>
  /** Resolves when the message is durable on this device; the same id never sends twice. */
  sendMessage(
    options: { readonly room: string; readonly text: string; readonly id: string },
  ): Promise<void>
  /**
   * Resolves with a link's fragment; it holds a secret and belongs behind a `#`. Without limits the
   * link that is still good is given again; with them a new one is made.
   */
  invite(options: { readonly room: string; readonly limits?: LinkLimits }): Promise<string>
  /** Resolves when the link, by the id of its invitation, opens nothing any more. */
  revokeInvitation(options: { readonly room: string; readonly id: string }): Promise<void>
  readInvite(fragment: string): InvitePreview | null
  /** Resolves with the room, which is `joining` until this device stands in its log. */
  joinByLink(fragment: string): Promise<string>
  /** Resolves when the person's devices are in the room. */
  addMember(options: { readonly room: string; readonly account: string }): Promise<void>
  setTyping(room: string): void
  markRead(room: string, position: number): void
  /** A hint of the host: the network came or went. */
  networkChanged(online: boolean): void
  /**
   * The last steps of this device since it was opened, to look at and to give to who mends it: JSON
   * lines without keys, texts and names (`core/device/capsule.ts`).
   */
  exportCapsule(): string
  /** Says goodbye and stops; the store is closed. */
  close(): Promise<void>
}

/** Opens the account that the store holds, or an empty one, and dials the hub. */
export async function openKalandra(ports: KalandraPorts): Promise<Kalandra> {
  const initial = await loadDevice(ports, ports.store, ports.endpoint)
  const host = new Host(ports, initial)
  host.post({ kind: 'started' })
  return host
}

type Settle = { resolve: (value: string | null) => void; reject: (error: KalandraError) => void }
interface Watch {
  readonly room: string
  readonly limit: number
  readonly listener: (view: RoomView) => void
  /** A view is being read; `again` when another change came meanwhile. */
  reading: boolean
  again: boolean
}

class Host implements Kalandra {
  readonly #ports: KalandraPorts
  readonly #driver: Driver<DeviceState, DeviceInput>
  readonly #recorded: RecordedMachine
  readonly #commands = new Map<number, Settle>()
  readonly #timers = new Map<TimerName, () => void>()
  readonly #listeners = new Set<(view: AppView) => void>()
  readonly #watches = new Set<Watch>()
  #nextCommand = 1
  #session: {
    readonly attempt: number
    transport: SessionTransport | null
    readonly abort: () => void
  } | null = null
  #showPending = false
  #closed = false

  constructor(ports: KalandraPorts, initial: DeviceState) {
    this.#ports = ports
    this.#recorded = recordCapsule(createDeviceMachine(ports), ports.appVersion)
    this.#driver = createDriver({
      machine: this.#recorded.machine,
      initial,
      host: {
        clock: ports.clock,
        store: (changes) => this.#store(changes),
        run: (effect) => this.#run(effect),
        faulted: ports.faulted,
      },
      queuedInputsMax: LIMITS.queuedInputsMax,
    })
  }

  post(input: DeviceInput): void {
    const { kind } = input
    // What the host says of itself is little. *Without the end of a session there is no other.*
    if (kind !== 'framesReceived' && kind !== 'commandGiven') return this.#driver.deliver(input)
    if (this.#driver.post(input)) return
    // The queue is full: a session that delivers faster than it can be stored is given up, and
    // catches up from its position later.
    if (kind === 'framesReceived') this.#session?.abort()
    else this.#settle(input.id)?.reject(new KalandraError('overloaded'))
  }

  #store(changes: readonly RequiredChange[]): Promise<void> {
    const strict = changes.some((each) => each.durability === 'strict')
    return this.#ports.store.apply(
      changes.map((each) => each.change),
      strict ? 'strict' : 'relaxed',
    )
  }

  // ---- Effects ---------------------------------------------------------------------------

  #run(effect: DeviceEffect): void {
    switch (effect.kind) {
      case 'dial':
        return this.#dial(effect.attempt, effect.endpoint)
      case 'hangUp':
        if (this.#session?.attempt === effect.attempt) this.#session.abort()
        return
      case 'send':
        if (this.#session?.attempt === effect.attempt) this.#session.transport?.send(effect.frame)
        return
      case 'sendDatagram':
        if (this.#session?.attempt === effect.attempt) {
          this.#session.transport?.sendDatagram(effect.frame)
        }
        return
      case 'armTimer':
        return this.#arm(effect.timer, effect.atMs)
      case 'settleCommand': {
        const settle = this.#settle(effect.id)
        if (effect.outcome.kind === 'done') settle?.resolve(effect.outcome.value)
        else settle?.reject(new KalandraError(effect.outcome.code))
        return
      }
      case 'showAccount':
        return this.#show()
      case 'showRoom':
        for (const watch of this.#watches) if (watch.room === effect.room) this.#showRoom(watch)
        return
      case 'reportFault':
        return this.#ports.faulted(effect.error)
      case 'wipe':
        return wipe(...effect.secrets)
    }
  }

  #dial(attempt: number, endpoint: string): void {
    const dialed = this.#ports.dialer.dial(endpoint, {
      opened: (transport) => {
        if (this.#session?.attempt !== attempt) return transport.close()
        this.#session.transport = transport
        this.post({ kind: 'sessionOpened', attempt, transport: transport.kind })
      },
      framesReceived: (frames) => this.post({ kind: 'framesReceived', attempt, frames }),
      closed: () => {
        if (this.#session?.attempt === attempt) this.#session = null
        this.post({ kind: 'sessionClosed', attempt })
      },
    })
    const abort = () => {
      const transport = this.#session?.attempt === attempt ? this.#session.transport : null
      if (transport === null) dialed.abort()
      else transport.close()
    }
    this.#session = { attempt, transport: null, abort }
  }

  #arm(timer: TimerName, atMs: number): void {
    this.#timers.get(timer)?.()
    if (this.#closed) return
    const delayMs = Math.max(0, atMs - this.#ports.clock.nowMs())
    const stop = this.#ports.timers.after(delayMs, () => this.post({ kind: 'timerFired', timer }))
    this.#timers.set(timer, stop)
  }

  #settle(id: number): Settle | null {
    const settle = this.#commands.get(id) ?? null
    this.#commands.delete(id)
    return settle
  }

  // ---- Views -----------------------------------------------------------------------------

  /** Effects of one step ask several times; one microtask later there is one view. */
  #show(): void {
    if (this.#showPending) return
    this.#showPending = true
    void Promise.resolve().then(() => {
      this.#showPending = false
      const view = this.view()
      for (const listener of this.#listeners) listener(view)
    })
  }

  #showRoom(watch: Watch): void {
    watch.again = true
    if (watch.reading) return
    watch.reading = true
    void this.#readRoom(watch)
  }

  async #readRoom(watch: Watch): Promise<void> {
    try {
      while (watch.again && this.#watches.has(watch)) {
        watch.again = false
        const view = await this.#roomView(watch.room, watch.limit)
        if (view !== null && this.#watches.has(watch)) watch.listener(view)
      }
    } catch (error) {
      this.#ports.faulted(error)
    } finally {
      watch.reading = false
    }
  }

  async #roomView(key: string, limit: number): Promise<RoomView | null> {
    const records = await this.#ports.store.readRange('timeline', {
      ...roomRange(key),
      limit: limit + 1,
      descending: true,
    })
    const { state } = this.#driver
    const room = state.rooms.get(key)
    if (room === undefined) return null
    return projectRoom(state, room, {
      entries: timelineEntries(records.slice(0, limit).reverse()),
      hasEarlier: records.length > limit,
    })
  }

  view(): AppView {
    return projectApp(this.#driver.state, this.#ports.clock.nowMs())
  }

  subscribe(listener: (view: AppView) => void): () => void {
    this.#listeners.add(listener)
    this.#show()
    return () => this.#listeners.delete(listener)
  }

  watchRoom(
    room: string,
    options: { readonly limit: number },
    listener: (view: RoomView) => void,
  ): () => void {
    const limit = Math.max(1, Math.min(LIMITS.timelineWindowMax, Math.trunc(options.limit)))
    const watch: Watch = { room, limit, listener, reading: false, again: false }
    this.#watches.add(watch)
    this.#showRoom(watch)
    return () => this.#watches.delete(watch)
  }

  // ---- Commands --------------------------------------------------------------------------

  #command(command: Command): Promise<string | null> {
    if (this.#closed) return Promise.reject(new KalandraError('closed'))
    const id = this.#nextCommand++
    return new Promise((resolve, reject) => {
      this.#commands.set(id, { resolve, reject })
      this.post({ kind: 'commandGiven', id, command })
    })
  }

  async signUp(options: { readonly name: string; readonly deviceName: string }): Promise<string> {
    return await this.#command({ kind: 'signUp', ...options }) ?? ''
  }

  async createRoom(options: { readonly title: string }): Promise<string> {
    return await this.#command({ kind: 'createRoom', title: options.title }) ?? ''
  }

  async sendMessage(
    options: { readonly room: string; readonly text: string; readonly id: string },
  ): Promise<void> {
    const { room, text, id } = options
    await this.#command({ kind: 'sendMessage', room, text, localId: id })
  }

  async invite(
    options: { readonly room: string; readonly limits?: LinkLimits },
  ): Promise<string> {
    const { room, limits = null } = options
    return await this.#command({ kind: 'invite', room, limits }) ?? ''
  }

  async revokeInvitation(options: { readonly room: string; readonly id: string }): Promise<void> {
    const { room, id } = options
    await this.#command({ kind: 'revokeInvitation', room, invitation: id })
  }

  readInvite(fragment: string): InvitePreview | null {
    return readInvite(fragment)
  }

  async joinByLink(fragment: string): Promise<string> {
    return await this.#command({ kind: 'joinByLink', link: fragment }) ?? ''
  }

  async addMember(
    options: { readonly room: string; readonly account: string },
  ): Promise<void> {
    const { room, account } = options
    await this.#command({ kind: 'addMember', room, account })
  }

  setTyping(room: string): void {
    void this.#command({ kind: 'setTyping', room }).catch(() => null)
  }

  markRead(room: string, position: number): void {
    void this.#command({ kind: 'markRead', room, position }).catch(() => null)
  }

  networkChanged(online: boolean): void {
    this.post({ kind: 'networkChanged', online })
  }

  exportCapsule(): string {
    return this.#recorded.capsule()
  }

  async close(): Promise<void> {
    if (this.#closed) return
    this.post({ kind: 'closeRequested' })
    await this.#driver.settled()
    this.#closed = true
    for (const stop of this.#timers.values()) stop()
    this.#session?.abort()
    for (const settle of this.#commands.values()) settle.reject(new KalandraError('closed'))
    this.#commands.clear()
    this.#watches.clear()
    this.#listeners.clear()
    await this.#ports.store.close()
  }
}
