/**
 * A device machine in a simulated world: driver, memory store and timers of a clock that the test
 * moves. Unlike the SDK it shows its state, and can lose its memory as a crash does. Owns no
 * decision of the device.
 */
import { wipe } from '#core/base/bytes.ts'
import { createDriver, type Driver } from '#core/base/driver.ts'
import { LIMITS } from '#core/base/limits.ts'
import type { Clock } from '#core/base/ports.ts'
import { createDeviceMachine } from '#core/device/device.ts'
import type { Command, CommandOutcome, DeviceEffect, DeviceInput } from '#core/device/io.ts'
import type { TimerName } from '#core/device/io.ts'
import { loadDevice } from '#core/device/load.ts'
import { roomRange } from '#core/device/records.ts'
import type { DeviceState, RoomState } from '#core/device/state.ts'
import { createMemoryDeviceStore } from '#core/device/store.ts'
import { type TimelineEntry, timelineEntry } from '#core/device/timeline.ts'
import type { Dialer, SessionTransport } from '#core/device/transport.ts'
import type { DevicePorts } from '#core/device/turn.ts'

export interface SimPorts extends DevicePorts {
  readonly clock: Clock
  readonly dialer: Dialer
}

const HOME = 'http://hub.example'

interface Session {
  readonly attempt: number
  transport: SessionTransport | null
  readonly abort: () => void
}

export class SimDevice {
  readonly name: string
  readonly faults: unknown[] = []
  readonly #ports: SimPorts
  readonly #store = createMemoryDeviceStore()
  readonly #timers = new Map<TimerName, number>()
  readonly #commands = new Map<number, (outcome: CommandOutcome) => void>()
  #driver: Driver<DeviceState, DeviceInput>
  #session: Session | null = null
  #lastCommand = 0
  /** Effects of a driver before a crash do nothing. */
  #life = 0

  readonly #home: string

  private constructor(name: string, ports: SimPorts, initial: DeviceState) {
    this.name = name
    this.#ports = ports
    this.#home = initial.home
    this.#driver = this.#boot(initial)
  }

  /** A device that has stored nothing yet; `home` is the origin of its hub. */
  static async open(name: string, ports: SimPorts, home = HOME): Promise<SimDevice> {
    const initial = await loadDevice(ports, createMemoryDeviceStore(), home)
    return new SimDevice(name, ports, initial)
  }

  get state(): DeviceState {
    return this.#driver.state
  }

  room(key: string): RoomState | null {
    return this.state.rooms.get(key) ?? null
  }

  /** What a start now would find. */
  stored(): Promise<DeviceState> {
    return loadDevice(this.#ports, this.#store, this.#home)
  }

  /** Ends the session and everything that waits. */
  close(): void {
    this.#post({ kind: 'closeRequested' })
  }

  /** Memory and session are gone, the store stays; commands that waited are never answered. */
  async crash(): Promise<void> {
    this.#session?.abort()
    this.#session = null
    this.#timers.clear()
    this.#commands.clear()
    this.#driver = this.#boot(await this.stored())
    this.#post({ kind: 'started' })
  }

  command(command: Command): Promise<CommandOutcome> {
    const id = ++this.#lastCommand
    const answered = new Promise<CommandOutcome>((resolve) => this.#commands.set(id, resolve))
    this.#post({ kind: 'commandGiven', id, command })
    return answered
  }

  async timeline(key: string): Promise<readonly TimelineEntry[]> {
    const records = await this.#store.readRange('timeline', {
      ...roomRange(key),
      limit: 1_000_000,
      descending: false,
    })
    return records.map(timelineEntry).filter((entry) => entry !== null)
  }

  /** Timers whose time has come. */
  passTime(): void {
    const nowMs = this.#ports.clock.nowMs()
    for (const [timer, atMs] of [...this.#timers]) {
      if (atMs > nowMs) continue
      this.#timers.delete(timer)
      this.#post({ kind: 'timerFired', timer })
    }
  }

  #post(input: DeviceInput): void {
    if (!this.#driver.post(input)) this.faults.push(new Error('more inputs than a device takes'))
  }

  #boot(initial: DeviceState): Driver<DeviceState, DeviceInput> {
    const life = ++this.#life
    const isAlive = () => life === this.#life
    return createDriver({
      machine: createDeviceMachine(this.#ports),
      initial,
      host: {
        clock: this.#ports.clock,
        store: (changes) => {
          // What a crash cuts off is stored or not; here it is not.
          if (!isAlive()) return Promise.reject(new Error('crashed'))
          return this.#store.apply(changes.map(({ change }) => change), 'strict')
        },
        run: (effect) => void (isAlive() && this.#run(effect)),
        faulted: (error) => void (isAlive() && this.faults.push(error)),
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
      case 'sendDatagram':
        if (this.#session?.attempt === effect.attempt) this.#session.transport?.send(effect.frame)
        return
      case 'armTimer':
        return void this.#timers.set(effect.timer, effect.atMs)
      case 'settleCommand':
        this.#commands.get(effect.id)?.(effect.outcome)
        this.#commands.delete(effect.id)
        return
      case 'reportFault':
        return void this.faults.push(effect.error)
      case 'wipe':
        return wipe(...effect.secrets)
      default:
        return
    }
  }

  #dial(attempt: number, endpoint: string): void {
    const life = this.#life
    const isCurrent = () => life === this.#life && this.#session?.attempt === attempt
    const dialed = this.#ports.dialer.dial(endpoint, {
      opened: (transport) => {
        if (!isCurrent() || this.#session === null) return transport.close()
        this.#session.transport = transport
        this.#post({ kind: 'sessionOpened', attempt, transport: transport.kind })
      },
      framesReceived: (frames) => {
        if (isCurrent()) this.#post({ kind: 'framesReceived', attempt, frames })
      },
      closed: () => {
        if (!isCurrent()) return
        this.#session = null
        this.#post({ kind: 'sessionClosed', attempt })
      },
    })
    this.#session = { attempt, transport: null, abort: () => dialed.abort() }
  }
}
