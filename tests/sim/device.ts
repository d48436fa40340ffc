/**
 * A device in the simulated world: the production machine on the production driver, over a store,
 * a network and timers of the world. It can lose its memory, its power and its storage. Owns the
 * host; owns no decision of the device.
 */
import { wipe } from '#core/base/bytes.ts'
import { createDriver, type Driver } from '#core/base/driver.ts'
import type { TimeMs } from '#core/base/ids.ts'
import { LIMITS } from '#core/base/limits.ts'
import type { Clock } from '#core/base/ports.ts'
import { createDeviceMachine } from '#core/device/device.ts'
import type { Command, CommandOutcome, DeviceEffect, DeviceInput } from '#core/device/io.ts'
import type { TimerName } from '#core/device/io.ts'
import { loadDevice } from '#core/device/load.ts'
import { roomRange } from '#core/device/records.ts'
import type { DeviceState, RoomState } from '#core/device/state.ts'
import type { DeviceRecord } from '#core/device/store.ts'
import { timelineEntries, type TimelineEntry, timelineEntry } from '#core/device/timeline.ts'
import type { Dialer, SessionTransport } from '#core/device/transport.ts'
import type { DevicePorts } from '#core/device/turn.ts'
import { projectRoom } from '#sdk/project.ts'
import type { TimelineItem } from '#sdk/views.ts'
import { type DeviceDisk, ReadFailed } from './device-disk.ts'

export interface SimDeviceParts {
  readonly ports: Omit<DevicePorts, 'clock'>
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

interface Asked {
  readonly kind: Command['kind']
  settle(outcome: CommandOutcome | null): void
}

interface Session {
  readonly attempt: number
  transport: SessionTransport | null
  readonly abort: () => void
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
  /** When each fires, by the world's clock: a host waits a time, however its clock jumps. */
  readonly #timers = new Map<TimerName, number>()
  readonly #commands = new Map<number, Asked>()
  #driver: Driver<DeviceState, DeviceInput>
  #session: Session | null = null
  #lastCommand = 0
  /** Effects of a driver before a crash do nothing. */
  #life = 0

  private constructor(name: string, parts: SimDeviceParts) {
    this.name = name
    this.disk = parts.disk
    this.#parts = parts
    this.#clock = { nowMs: () => (parts.clock.nowMs() + this.skewMs) as TimeMs }
    this.#driver = null as unknown as Driver<DeviceState, DeviceInput>
  }

  static async open(name: string, parts: SimDeviceParts): Promise<SimDevice> {
    const device = new SimDevice(name, parts)
    await device.#begin()
    return device
  }

  get state(): DeviceState {
    return this.#driver.state
  }

  get life(): number {
    return this.#life
  }

  /** Commands that have no answer yet. */
  get waiting(): readonly Command['kind'][] {
    return [...this.#commands.values()].map(({ kind }) => kind)
  }

  room(key: string): RoomState | null {
    return this.state.rooms.get(key) ?? null
  }

  /** What a start now would find. */
  stored(): Promise<DeviceState> {
    return loadDevice(this.#ports, this.disk, this.#parts.home)
  }

  get #ports(): DevicePorts {
    return { ...this.#parts.ports, clock: this.#clock } as DevicePorts
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
    this.post({ kind: 'closeRequested' })
    void this.#driver.settled().then(() => {
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
    this.#session?.abort()
    this.#session = null
    this.#timers.clear()
    for (const { settle } of this.#commands.values()) settle(null)
    this.#commands.clear()
  }

  async #begin(): Promise<void> {
    const life = ++this.#life
    const initial = await this.#load()
    if (life !== this.#life) return
    this.#driver = this.#boot(initial)
    this.post({ kind: 'started' })
  }

  /** Where a read fails, the program does not start, and its person starts it again. */
  async #load(): Promise<DeviceState> {
    for (;;) {
      try {
        return await this.stored()
      } catch (error) {
        if (!(error instanceof ReadFailed)) throw error
      }
    }
  }

  /** Null: the device ended before there was an answer. */
  command(command: Command): Promise<CommandOutcome | null> {
    const id = ++this.#lastCommand
    const answered = new Promise<CommandOutcome | null>((settle) =>
      this.#commands.set(id, { kind: command.kind, settle })
    )
    this.post({ kind: 'commandGiven', id, command })
    return answered
  }

  post(input: DeviceInput): void {
    const { kind } = input
    if (kind !== 'framesReceived' && kind !== 'commandGiven') return this.#driver.deliver(input)
    if (this.#driver.post(input)) return
    // The queue is full. A session that delivers faster than is stored is given up, and a command
    // is turned away.
    if (kind === 'framesReceived') this.#session?.abort()
    else this.#turnAway(input.id)
  }

  #turnAway(id: number): void {
    this.#commands.get(id)?.settle(null)
    this.#commands.delete(id)
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
    for (const [timer, dueMs] of [...this.#timers]) {
      if (dueMs > nowMs) continue
      this.#timers.delete(timer)
      this.post({ kind: 'timerFired', timer })
    }
  }

  #boot(initial: DeviceState): Driver<DeviceState, DeviceInput> {
    const life = this.#life
    const isAlive = () => life === this.#life
    return createDriver({
      machine: createDeviceMachine(this.#ports),
      initial,
      host: {
        clock: this.#clock,
        store: (changes) => {
          if (!isAlive()) return new Promise(() => {})
          const strict = changes.some(({ durability }) => durability === 'strict')
          return this.disk.apply(
            changes.map(({ change }) => change),
            strict ? 'strict' : 'relaxed',
          )
        },
        run: (effect) => void (isAlive() && this.#run(effect)),
        faulted: (error) => void (isAlive() && this.#parts.faulted(this, error)),
      },
      queuedInputsMax: LIMITS.queuedInputsMax,
    })
  }

  #run(effect: DeviceEffect): void {
    switch (effect.kind) {
      case 'dial':
        return this.#dial(effect.attempt, effect.endpoint)
      case 'hangUp':
        if (this.#session?.attempt === effect.attempt) this.#session.abort()
        return
      case 'send':
        if (this.#session?.attempt !== effect.attempt) return
        this.#parts.sent(this, effect.frame)
        return this.#session.transport?.send(effect.frame)
      case 'sendDatagram':
        if (this.#session?.attempt !== effect.attempt) return
        return this.#session.transport?.sendDatagram(effect.frame)
      case 'armTimer':
        return this.#arm(effect.timer, effect.atMs)
      case 'settleCommand':
        this.#commands.get(effect.id)?.settle(effect.outcome)
        if (!this.#commands.delete(effect.id)) this.#parts.answeredTwice(this)
        return
      case 'reportFault':
        return this.#parts.faulted(this, effect.error)
      case 'wipe':
        return wipe(...effect.secrets)
      default:
        return
    }
  }

  #arm(timer: TimerName, atMs: number): void {
    const delayMs = Math.max(0, atMs - this.#clock.nowMs())
    this.#timers.set(timer, this.#parts.clock.nowMs() + delayMs)
  }

  /** The machine hears of old sessions, too, and knows them by their attempt. */
  #dial(attempt: number, endpoint: string): void {
    const life = this.#life
    const isAlive = () => life === this.#life
    const dialed = this.#parts.dialer.dial(endpoint, {
      opened: (transport) => {
        if (!isAlive() || this.#session?.attempt !== attempt) return transport.close()
        this.#session.transport = transport
        this.post({ kind: 'sessionOpened', attempt, transport: transport.kind })
      },
      framesReceived: (frames) => {
        if (isAlive()) this.post({ kind: 'framesReceived', attempt, frames })
      },
      closed: () => {
        if (!isAlive()) return
        if (this.#session?.attempt === attempt) this.#session = null
        this.post({ kind: 'sessionClosed', attempt })
      },
    })
    this.#session = { attempt, transport: null, abort: () => dialed.abort() }
  }
}
