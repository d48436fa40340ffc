/**
 * The host of a device machine: its driver, its session, its timers and the commands that wait for
 * an answer, over the ports of a world. Owns how effects run; decides nothing and shows nothing.
 */
import { wipe } from '#core/base/bytes.ts'
import { createDriver, type Driver } from '#core/base/driver.ts'
import { LIMITS } from '#core/base/limits.ts'
import type { Clock } from '#core/base/ports.ts'
import type { DeviceMachine } from '#core/device/device.ts'
import type { Command, CommandOutcome, DeviceEffect, DeviceInput } from '#core/device/io.ts'
import type { RequiredChange, TimerName } from '#core/device/io.ts'
import type { DeviceState } from '#core/device/state.ts'
import type { DeviceStore } from '#core/device/store.ts'
import type { Dialer, SessionTransport } from '#core/device/transport.ts'

/** Timers of the host. */
export interface Timers {
  /** Calls back once, not before `delayMs`; the result stops it. */
  after(delayMs: number, callback: () => void): () => void
}

/** Everything of a world that a device touches. */
export interface HostPorts {
  readonly clock: Clock
  readonly store: Pick<DeviceStore, 'apply'>
  readonly dialer: Dialer
  readonly timers: Timers
  /** A programmer's error inside a step, for the log; the state before it is kept. */
  readonly faulted: (error: unknown) => void
}

/** What a person may see changed. */
export type ViewEffect = Extract<DeviceEffect, { kind: 'showAccount' | 'showRoom' }>

/** The answer to a command: of the machine, or that it did not take it or did not come to it. */
type CommandAnswer = CommandOutcome | { readonly kind: 'overloaded' | 'closed' }

/** A command that has its answer got another: a programmer's error. */
export class AnsweredTwice extends Error {}

interface Session {
  readonly attempt: number
  transport: SessionTransport | null
  readonly abort: () => void
}

interface Asked {
  readonly command: Command['kind']
  readonly settle: (answer: CommandAnswer) => void
}

/** One machine in one world, until it ends. */
export class DeviceHost {
  readonly #ports: HostPorts
  readonly #view: (effect: ViewEffect) => void
  readonly #driver: Driver<DeviceState, DeviceInput>
  readonly #commands = new Map<number, Asked>()
  readonly #timers = new Map<TimerName, () => void>()
  #session: Session | null = null
  #lastCommand = 0
  #ended = false

  /** Nothing runs before the first input. */
  constructor(
    ports: HostPorts,
    { machine, initial, view }: {
      readonly machine: DeviceMachine
      readonly initial: DeviceState
      readonly view: (effect: ViewEffect) => void
    },
  ) {
    this.#ports = ports
    this.#view = view
    this.#driver = createDriver({
      machine,
      initial,
      host: {
        clock: ports.clock,
        store: (changes) => this.#store(changes),
        run: (effect) => void (this.#ended || this.#run(effect)),
        faulted: (error) => void (this.#ended || ports.faulted(error)),
      },
      queuedInputsMax: LIMITS.queuedInputsMax,
    })
  }

  get state(): DeviceState {
    return this.#driver.state
  }

  /** Commands that have no answer yet. */
  get waiting(): readonly Command['kind'][] {
    return [...this.#commands.values()].map(({ command }) => command)
  }

  post(input: DeviceInput): void {
    const { kind } = input
    if (this.#ended) return
    // What the host says of itself is little. *Without the end of a session there is no other.*
    if (kind !== 'framesReceived' && kind !== 'commandGiven') return this.#driver.deliver(input)
    if (this.#driver.post(input)) return
    // The queue is full: a session that delivers faster than it can be stored is given up, and
    // catches up from its position later.
    if (kind === 'framesReceived') this.#session?.abort()
    else this.#answer(input.id, { kind: 'overloaded' })
  }

  /** Resolves with the one answer to a command; `closed` where the host ends before it. */
  command(command: Command): Promise<CommandAnswer> {
    if (this.#ended) return Promise.resolve({ kind: 'closed' })
    const id = ++this.#lastCommand
    const answered = new Promise<CommandAnswer>((settle) =>
      this.#commands.set(id, { command: command.kind, settle })
    )
    this.post({ kind: 'commandGiven', id, command })
    return answered
  }

  /** Says goodbye; resolves when everything that was asked is decided and stored. */
  async leave(): Promise<void> {
    this.post({ kind: 'closeRequested' })
    await this.#driver.settled()
  }

  /** Ends at once: nothing of it is heard any more, and what waits for an answer is told so. */
  end(): void {
    this.#ended = true
    this.#session?.abort()
    this.#session = null
    for (const stop of this.#timers.values()) stop()
    this.#timers.clear()
    for (const id of [...this.#commands.keys()]) this.#answer(id, { kind: 'closed' })
  }

  #store(changes: readonly RequiredChange[]): Promise<void> {
    // The step under way at the end never happened.
    if (this.#ended) return new Promise(() => {})
    const isStrict = changes.some(({ durability }) => durability === 'strict')
    return this.#ports.store.apply(
      changes.map(({ change }) => change),
      isStrict ? 'strict' : 'relaxed',
    )
  }

  #run(effect: DeviceEffect): void {
    switch (effect.kind) {
      case 'dial':
        return this.#dial(effect.attempt, effect.endpoint)
      case 'hangUp':
        return this.#sessionOf(effect.attempt)?.abort()
      case 'send':
        return this.#sessionOf(effect.attempt)?.transport?.send(effect.frame)
      case 'sendDatagram':
        return this.#sessionOf(effect.attempt)?.transport?.sendDatagram(effect.frame)
      case 'armTimer':
        return this.#arm(effect.timer, effect.atMs)
      case 'settleCommand':
        if (this.#answer(effect.id, effect.outcome)) return
        return this.#ports.faulted(new AnsweredTwice(`command ${effect.id}`))
      case 'showAccount':
      case 'showRoom':
        return this.#view(effect)
      case 'reportFault':
        return this.#ports.faulted(effect.error)
      case 'wipe':
        return wipe(...effect.secrets)
    }
  }

  #sessionOf(attempt: number): Session | null {
    return this.#session?.attempt === attempt ? this.#session : null
  }

  /** The machine hears of old sessions, too, and knows them by their attempt. */
  #dial(attempt: number, endpoint: string): void {
    const dialed = this.#ports.dialer.dial(endpoint, {
      opened: (transport) => {
        const session = this.#sessionOf(attempt)
        if (session === null) return transport.close()
        session.transport = transport
        this.post({ kind: 'sessionOpened', attempt, transport: transport.kind })
      },
      framesReceived: (frames) => this.post({ kind: 'framesReceived', attempt, frames }),
      closed: () => {
        if (this.#session?.attempt === attempt) this.#session = null
        this.post({ kind: 'sessionClosed', attempt })
      },
    })
    const abort = () => {
      const transport = this.#sessionOf(attempt)?.transport ?? null
      if (transport === null) dialed.abort()
      else transport.close()
    }
    this.#session = { attempt, transport: null, abort }
  }

  #arm(timer: TimerName, atMs: number): void {
    this.#timers.get(timer)?.()
    const delayMs = Math.max(0, atMs - this.#ports.clock.nowMs())
    const stop = this.#ports.timers.after(delayMs, () => this.post({ kind: 'timerFired', timer }))
    this.#timers.set(timer, stop)
  }

  /** False where the command has its answer. */
  #answer(id: number, answer: CommandAnswer): boolean {
    const asked = this.#commands.get(id)
    this.#commands.delete(id)
    asked?.settle(answer)
    return asked !== undefined
  }
}
