/**
 * A device in the simulated world: the production machine in the production host, over a store, a
 * network and timers of the world. It can lose its memory, its power and its storage. Owns its
 * lives and its clock; owns no decision of the device, and runs none of its effects.
 */
import type { TimeMs } from '#core/base/ids.ts'
import type { Clock } from '#core/base/ports.ts'
import { createDeviceMachine } from '#core/device/device.ts'
import type { Command, CommandOutcome } from '#core/device/io.ts'
import { loadDevice } from '#core/device/load.ts'
import { roomRange } from '#core/device/records.ts'
import type { DeviceState, RoomState } from '#core/device/state.ts'
import type { DeviceRecord } from '#core/device/store.ts'
import { timelineEntries, type TimelineEntry, timelineEntry } from '#core/device/timeline.ts'
import type { Dialer } from '#core/device/transport.ts'
import type { DevicePorts } from '#core/device/turn.ts'
import { AnsweredTwice, DeviceHost } from '#sdk/device-host.ts'
import { projectRoom } from '#sdk/project.ts'
import type { TimelineItem } from '#sdk/views.ts'
import { sentBy } from '../support/sent-by.ts'
import { type DeviceDisk, ReadFailed } from './device-disk.ts'
import { seatWord } from './oracle.ts'

export interface SimDeviceParts {
  readonly ports: DevicePorts
  /** Of the world; the device's own may be wrong. */
  readonly clock: Clock
  readonly dialer: Dialer
  /** Origin of the hub. */
  readonly home: string
  readonly disk: DeviceDisk
  /** A frame that the machine gives to its transport. */
  sent(device: SimDevice, frame: Uint8Array): void
  faulted(device: SimDevice, error: unknown): void
  /** A command that has its answer gets another. */
  answeredTwice(device: SimDevice): void
}

/** Starts that fail in a row. */
const FAILED_STARTS_MAX = 16

interface Alarm {
  /** By the world's clock: a host waits a time, however its own clock jumps. */
  readonly dueMs: number
  readonly ring: () => void
}

export class SimDevice {
  readonly name: string
  readonly disk: DeviceDisk
  /** How far the device's clock is from the world's. */
  skewMs = 0
  /** How often its power was lost. */
  powerLosses = 0
  readonly #parts: SimDeviceParts
  readonly #clock: Clock
  readonly #alarms = new Set<Alarm>()
  #host: DeviceHost
  /** A life ends with its host. */
  #life = 0

  private constructor(name: string, parts: SimDeviceParts) {
    this.name = name
    this.disk = parts.disk
    this.#parts = parts
    this.#clock = { nowMs: () => (parts.clock.nowMs() + this.skewMs) as TimeMs }
    this.#host = null as unknown as DeviceHost
  }

  static async open(name: string, parts: SimDeviceParts): Promise<SimDevice> {
    const device = new SimDevice(name, parts)
    await device.#begin()
    return device
  }

  get state(): DeviceState {
    return this.#host.state
  }

  get life(): number {
    return this.#life
  }

  /** Commands that have no answer yet. */
  get waiting(): readonly Command['kind'][] {
    return this.#host.waiting
  }

  /** Its account and device as one word; its name where it has none. */
  get seat(): string {
    const { account } = this.state
    return account.kind === 'registered'
      ? seatWord(account.record.name, account.record.device)
      : this.name
  }

  room(key: string): RoomState | null {
    return this.state.rooms.get(key) ?? null
  }

  /** What a start now would find. */
  stored(): Promise<DeviceState> {
    return loadDevice(this.#parts.ports, this.disk, this.#parts.home)
  }

  /** The program ends at once, and begins again from its store. */
  async crash(): Promise<void> {
    this.#end()
    this.disk.crash()
    await this.#begin()
  }

  /** So does the machine under it; the count of transactions that are lost comes back. */
  async losePower(): Promise<number> {
    this.#end()
    this.powerLosses++
    const lost = this.disk.losePower()
    await this.#begin()
    return lost
  }

  /** Another tab leads on: what was given to the store is written, the session ends. */
  async changeLeader(): Promise<void> {
    this.#end()
    this.disk.finish()
    await this.#begin()
  }

  /** A person closes it: it says goodbye and stops; then it is opened again. */
  close(closed: () => void): void {
    const life = this.#life
    void this.#host.leave().then(() => {
      if (life !== this.#life) return
      this.#end()
      this.disk.finish()
      closed()
      return this.#begin()
    })
  }

  /** Ends for good. */
  end(): void {
    this.#end()
  }

  #end(): void {
    this.#life++
    this.#host?.end()
  }

  async #begin(): Promise<void> {
    const life = ++this.#life
    const initial = await this.#load()
    if (life !== this.#life) return
    this.#host = this.#boot(initial)
    this.#host.post({ kind: 'started' })
  }

  /**
   * Where a read fails, the program does not start, and its person starts it again. What reads much
   * would never start while one read in few fails, so that ends after some times.
   */
  async #load(): Promise<DeviceState> {
    for (let failures = 0;; failures++) {
      this.disk.isSound = failures >= FAILED_STARTS_MAX
      try {
        const state = await this.stored()
        this.disk.isSound = false
        return state
      } catch (error) {
        if (!(error instanceof ReadFailed)) throw error
      }
    }
  }

  /** Null: the device turned it away, or ended before there was an answer. */
  async command(command: Command): Promise<CommandOutcome | null> {
    const answer = await this.#host.command(command)
    return answer.kind === 'done' || answer.kind === 'failed' ? answer : null
  }

  /** A hint of its host: the network came or went. */
  networkChanged(online: boolean): void {
    this.#host.post({ kind: 'networkChanged', online })
  }

  /** What is stored of a room, entry by entry. */
  async timeline(key: string): Promise<readonly TimelineEntry[]> {
    const records = await this.#records(key)
    return records.map(timelineEntry).filter((entry) => entry !== null)
  }

  /** What its person sees of a room that it has. */
  async shown(room: RoomState): Promise<readonly TimelineItem[]> {
    const entries = timelineEntries(await this.#records(room.key))
    return projectRoom(this.state, room, { entries, hasEarlier: false }).items
  }

  #records(key: string): Promise<readonly DeviceRecord[]> {
    const range = { ...roomRange(key), limit: 1_000_000, descending: false }
    return this.disk.readRange('timeline', range)
  }

  /** Timers whose time has come; by the device's clock, which jumps, that may be early or late. */
  passTime(): void {
    this.disk.pass()
    const nowMs = this.#parts.clock.nowMs()
    for (const alarm of [...this.#alarms]) {
      if (alarm.dueMs <= nowMs && this.#alarms.delete(alarm)) alarm.ring()
    }
  }

  #boot(initial: DeviceState): DeviceHost {
    const { disk } = this
    const clock = this.#clock
    return new DeviceHost({
      clock,
      store: disk,
      dialer: this.#observed(this.#parts.dialer),
      timers: { after: (delayMs, ring) => this.#setAlarm(delayMs, ring) },
      faulted: (error) =>
        error instanceof AnsweredTwice
          ? this.#parts.answeredTwice(this)
          : this.#parts.faulted(this, error),
    }, { machine: createDeviceMachine(this.#parts.ports), initial, view: () => {} })
  }

  #setAlarm(delayMs: number, ring: () => void): () => void {
    const alarm = { dueMs: this.#parts.clock.nowMs() + delayMs, ring }
    this.#alarms.add(alarm)
    return () => this.#alarms.delete(alarm)
  }

  /** What the machine gives to its transport is seen on the way. */
  #observed(dialer: Dialer): Dialer {
    const sent = (frame: Uint8Array) => this.#parts.sent(this, frame)
    return {
      dial: (endpoint, listener) =>
        dialer.dial(endpoint, {
          ...listener,
          opened: (transport) =>
            listener.opened(sentBy(transport, (frame) => {
              sent(frame)
              transport.send(frame)
            })),
        }),
    }
  }
}
