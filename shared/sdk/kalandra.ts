/**
 * The facade of the protocol core: an account on this device, its rooms and messages. Owns the
 * notification of views; the machine runs in `device-host.ts`.
 */
import { wipe } from '#core/base/bytes.ts'
import { LIMITS } from '#core/base/limits.ts'
import { recordCapsule, type RecordedMachine } from '#core/device/capsule.ts'
import { createDeviceMachine } from '#core/device/device.ts'
import type { Command, LinkLimits } from '#core/device/io.ts'
import { loadDevice } from '#core/device/load.ts'
import { roomRange } from '#core/device/records.ts'
import { checkedTitle } from '#core/device/room.ts'
import type { DeviceState } from '#core/device/state.ts'
import type { DeviceStore } from '#core/device/store.ts'
import { timelineEntries } from '#core/device/timeline.ts'
import type { DevicePorts } from '#core/device/turn.ts'
import { decodeInviteLink } from '#core/identity/invitation.ts'
import { DeviceHost, type HostPorts, type ViewEffect } from '#sdk/device-host.ts'
import { KalandraError } from '#sdk/errors.ts'
import { projectApp, projectRoom } from '#sdk/project.ts'
import type { AppView, RoomView } from '#sdk/views.ts'

/** Everything of the world that an account touches. */
export interface KalandraPorts extends DevicePorts, HostPorts {
  readonly store: DeviceStore
  /** Origin of the hub, such as `https://hub.example`. */
  readonly endpoint: string
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
  return { title: checkedTitle(title), inviter, hubDomain }
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
  return new Account(ports, initial)
}

interface Watch {
  readonly room: string
  readonly limit: number
  readonly listener: (view: RoomView) => void
  /** A view is being read; `again` when another change came meanwhile. */
  reading: boolean
  again: boolean
}

class Account implements Kalandra {
  readonly #ports: KalandraPorts
  readonly #recorded: RecordedMachine
  readonly #host: DeviceHost
  readonly #listeners = new Set<(view: AppView) => void>()
  readonly #watches = new Set<Watch>()
  #showPending = false
  #closing: Promise<void> | null = null

  constructor(ports: KalandraPorts, initial: DeviceState) {
    this.#ports = ports
    this.#recorded = recordCapsule(createDeviceMachine(ports), ports.appVersion)
    const { machine } = this.#recorded
    const view = (effect: ViewEffect) => this.#changed(effect)
    this.#host = new DeviceHost(ports, { machine, initial, view })
    this.#host.post({ kind: 'started' })
  }

  // ---- Views -----------------------------------------------------------------------------

  #changed(effect: ViewEffect): void {
    if (effect.kind === 'showAccount') return this.#show()
    for (const watch of this.#watches) if (watch.room === effect.room) this.#showRoom(watch)
  }

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
    const { state } = this.#host
    const room = state.rooms.get(key)
    if (room === undefined) return null
    return projectRoom(state, room, {
      entries: timelineEntries(records.slice(0, limit).reverse()),
      hasEarlier: records.length > limit,
    })
  }

  view(): AppView {
    return projectApp(this.#host.state, this.#ports.clock.nowMs())
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

  async #command(command: Command): Promise<string | null> {
    const answer = await this.#host.command(command)
    if (answer.kind === 'done') return answer.value
    throw new KalandraError(answer.kind === 'failed' ? answer.code : answer.kind)
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
    this.#host.post({ kind: 'networkChanged', online })
  }

  exportCapsule(): string {
    return this.#recorded.capsule()
  }

  close(): Promise<void> {
    return this.#closing ??= this.#close()
  }

  async #close(): Promise<void> {
    await this.#host.leave()
    this.#host.end()
    this.#watches.clear()
    this.#listeners.clear()
    await this.#ports.store.close()
  }
}
