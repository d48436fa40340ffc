/**
 * The network between devices and the hub: sessions with streams that keep their own order and no
 * order to each other, and datagrams that keep none. Everything lies on the way until its time has
 * come. Owns delay, loss, partitions and the death of sessions between any two frames.
 */
import type { Clock } from '#core/base/ports.ts'
import type { Dialer, SessionListener, SessionTransport } from '#core/device/transport.ts'
import type { HubSession, HubSessionListener, Lane } from '#hub/ports.ts'
import type { Chance } from './chance.ts'
import type { Chronicle } from './chronicle.ts'

export type Accept = (session: HubSession) => HubSessionListener | null

/** What the world sees of the traffic. */
export interface Wire {
  /** The hub hands frames to its transport. */
  hubWrote(name: string, frames: readonly Uint8Array[]): void
}

export interface NetworkParts {
  readonly clock: Clock
  readonly chance: Chance
  readonly chronicle: Chronicle
  readonly tickMs: number
  readonly wire: Wire
  /** The hub of the moment; null while none runs. */
  accept(): Accept | null
}

interface Due {
  readonly dueMs: number
  arrive(): void
}

/** In ticks. */
const DELAY_MAX = 3
const LATE_MAX = 60
/** What may arrive together on one way. */
const TOGETHER_MAX = 4
/** Ways on which something arrives in one tick. */
const WAYS_MAX = 6

export class Network {
  readonly parts: NetworkParts
  readonly #links = new Set<Link>()
  /** Until when a device reaches nobody, by name. */
  readonly #away = new Map<string, number>()

  constructor(parts: NetworkParts) {
    this.parts = parts
  }

  dialer(name: string): Dialer {
    return {
      dial: (_endpoint, listener) => {
        const link = new Link(this, name, listener)
        this.#links.add(link)
        link.dial()
        return { abort: () => link.cut() }
      },
    }
  }

  /** Lets some of what is due arrive; false when nothing is on the way at all. */
  deliver(): boolean {
    const nowMs = this.parts.clock.nowMs()
    const { prng } = this.parts.chance
    const due: Due[][] = []
    let isWaiting = false
    for (const link of this.#links) {
      if (this.isAway(link.name)) continue
      for (const way of link.ways()) {
        const [first] = way
        if (first === undefined) continue
        isWaiting = true
        if (first.dueMs <= nowMs) due.push(way)
      }
    }
    for (let count = 0; count < WAYS_MAX && due.length > 0; count++) {
      const [way] = due.splice(prng.integer(due.length), 1) as [Due[]]
      const together = 1 + prng.integer(TOGETHER_MAX)
      for (let index = 0; index < together; index++) {
        const [first] = way
        if (first === undefined || first.dueMs > nowMs) break
        way.shift()
        first.arrive()
      }
    }
    return isWaiting
  }

  /** Ends all sessions of a device, or of everybody; both sides learn of it later. */
  cut(name?: string): number {
    const cut = [...this.#links].filter((link) => name === undefined || link.name === name)
    for (const link of cut) link.cut()
    return cut.length
  }

  /** Nothing goes through between a device and the hub, and nobody is told. */
  part(name: string, untilMs: number): void {
    this.#away.set(name, untilMs)
  }

  isAway(name: string): boolean {
    const untilMs = this.#away.get(name)
    if (untilMs === undefined) return false
    if (untilMs > this.parts.clock.nowMs()) return true
    this.#away.delete(name)
    this.parts.chronicle.note(`${name} is back`)
    return false
  }

  heal(): void {
    this.#away.clear()
  }

  dueMs(): number {
    const { chance, clock, chronicle, tickMs } = this.parts
    const isLate = chance.comes('delayed stream')
    if (isLate) chronicle.fault('delayed stream')
    const ticks = chance.prng.integer(isLate ? LATE_MAX : DELAY_MAX)
    return clock.nowMs() + ticks * tickMs
  }

  /** When a datagram arrives; null when it does not. */
  datagramDueMs(): number | null {
    const { chance, clock, chronicle, tickMs } = this.parts
    if (chance.comes('lost datagram')) {
      chronicle.fault('lost datagram')
      return null
    }
    const isLate = chance.comes('late datagram')
    if (isLate) chronicle.fault('late datagram')
    return clock.nowMs() + chance.prng.integer(isLate ? LATE_MAX : 2) * tickMs
  }

  forget(link: Link): void {
    this.#links.delete(link)
  }
}

class Link {
  readonly name: string
  readonly #network: Network
  readonly #device: SessionListener
  /** Ways in both directions, by name; the device's is `up`. */
  readonly #ways = new Map<string, Due[]>()
  #hub: HubSessionListener | null = null
  /** Neither side has ended it. */
  #open = true
  #told = { device: false, hub: false }

  constructor(network: Network, name: string, device: SessionListener) {
    this.#network = network
    this.name = name
    this.#device = device
  }

  ways(): Iterable<Due[]> {
    return this.#ways.values()
  }

  dial(): void {
    this.#send('up', () => {
      const { chance, chronicle } = this.#network.parts
      const accept = this.#network.parts.accept()
      if (chance.comes('refused dial') || accept === null) {
        chronicle.fault('refused dial', this.name)
        return this.cut()
      }
      this.#hub = accept(this.#hubSide())
      if (this.#hub === null) return this.cut()
      this.#send('control', () => void (this.#open && this.#device.opened(this.#deviceSide())))
    })
  }

  #deviceSide(): SessionTransport {
    return {
      kind: 'webTransport',
      send: (frame) => {
        if (!this.#open) return
        const copy = frame.slice()
        this.#send('up', () => this.#reachHub(copy))
      },
      sendDatagram: (frame) => {
        const copy = frame.slice()
        if (this.#open) this.#datagram(() => this.#reachHub(copy))
      },
      close: () => this.cut(),
    }
  }

  #reachHub(frame: Uint8Array): void {
    if (!this.#open) return
    this.#network.parts.chronicle.arrival(this.name, 'up', frame)
    void this.#hub?.framesReceived([frame])
  }

  #hubSide(): HubSession {
    return {
      transport: 'webTransport',
      write: (lane, frames) => {
        if (!this.#open) return Promise.reject(new Error('the session is gone'))
        this.#network.parts.wire.hubWrote(this.name, frames)
        const copies = frames.map((frame) => frame.slice())
        const { promise, resolve, reject } = Promise.withResolvers<void>()
        this.#send(nameOf(lane), () => {
          if (!this.#open) return reject(new Error('the session is gone'))
          this.#reachDevice(copies)
          resolve()
        })
        return promise
      },
      writeDatagram: (frame) => {
        const copy = frame.slice()
        if (this.#open) this.#datagram(() => this.#reachDevice([copy]))
        return true
      },
      close: () => this.cut(),
    }
  }

  #reachDevice(frames: readonly Uint8Array[]): void {
    if (!this.#open) return
    for (const frame of frames) this.#network.parts.chronicle.arrival(this.name, 'down', frame)
    this.#device.framesReceived(frames)
  }

  #datagram(arrive: () => void): void {
    const dueMs = this.#network.datagramDueMs()
    if (dueMs === null) return
    const way = this.#way('datagrams')
    way.push({ dueMs, arrive })
    way.sort((a, b) => a.dueMs - b.dueMs)
  }

  #send(name: string, arrive: () => void): void {
    const way = this.#way(name)
    const dueMs = Math.max(this.#network.dueMs(), way.at(-1)?.dueMs ?? 0)
    way.push({ dueMs, arrive })
  }

  #way(name: string): Due[] {
    const way = this.#ways.get(name) ?? []
    this.#ways.set(name, way)
    return way
  }

  /** What lies on the way is lost; frames before it have arrived, those behind it never will. */
  cut(): void {
    if (!this.#open) return
    this.#open = false
    // Writes that are under way reject when their turn comes.
    const lost = [...this.#ways].filter(([name]) => name !== 'up' && name !== 'datagrams')
      .flatMap(([, way]) => way)
    this.#ways.clear()
    this.#send('up', () => {
      for (const { arrive } of lost) arrive()
      if (!this.#told.hub) this.#hub?.closed()
      this.#told = { ...this.#told, hub: true }
      this.#forget()
    })
    this.#send('control', () => {
      if (!this.#told.device) this.#device.closed()
      this.#told = { ...this.#told, device: true }
      this.#forget()
    })
  }

  #forget(): void {
    if (this.#told.device && this.#told.hub) this.#network.forget(this)
  }
}

function nameOf(lane: Lane): string {
  return lane.kind === 'shared' ? `shared ${lane.index}` : lane.kind
}
