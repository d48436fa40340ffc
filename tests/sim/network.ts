/**
 * The network between devices and the hub: sessions with streams that keep their own order and no
 * order to each other, and datagrams that keep none. Everything lies on the way until its time has
 * come. Owns delay, loss, partitions and the death of sessions at any byte; how bytes become frames
 * is `stream.ts`.
 */
import type { Clock } from '#core/base/ports.ts'
import type { Dialer, SessionListener } from '#core/device/transport.ts'
import type { SessionTransport, TransportKind } from '#core/device/transport.ts'
import { FRAME_HEADER_LENGTH } from '#core/wire/frame.ts'
import type { HubSession, HubSessionListener, Lane } from '#hub/ports.ts'
import type { Chance } from './chance.ts'
import type { Chronicle } from './chronicle.ts'
import { type Arrival, Stream, type Write, writeOf } from './stream.ts'

export type Accept = (session: HubSession) => HubSessionListener | null

/** What the world sees of the traffic. */
export interface Wire {
  /** The hub hands frames to its transport. */
  hubWrote(name: string, frames: readonly Uint8Array[]): void
  /** A stream lost its place, though nothing but whole frames was written on it. */
  framingLost(name: string, code: string): void
}

export interface NetworkParts {
  readonly clock: Clock
  readonly chance: Chance
  /** For where streams are cut. */
  readonly streams: Chance
  readonly chronicle: Chronicle
  readonly tickMs: number
  readonly wire: Wire
  /** The hub of the moment; null while none runs. */
  accept(): Accept | null
}

interface Due {
  readonly dueMs: number
  /** Null: no bytes of a stream. */
  readonly write: Write | null
  arrive(): void
}

type Side = 'device' | 'hub'

/** In ticks, below which each delay lies; no more than usual is no fault. */
const DELAY_MAX = 3
const DATAGRAM_DELAY_MAX = 2
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
        return { abort: () => link.cut('device') }
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
    const ticks = chance.prng.integer(isLate ? LATE_MAX : DELAY_MAX)
    if (ticks >= DELAY_MAX) chronicle.fault('delayed stream')
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
    const ticks = chance.prng.integer(isLate ? LATE_MAX : DATAGRAM_DELAY_MAX)
    if (ticks >= DATAGRAM_DELAY_MAX) chronicle.fault('late datagram')
    return clock.nowMs() + ticks * tickMs
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
  readonly #streams = new Map<string, Stream>()
  #hub: HubSessionListener | null = null
  /** A WebSocket is one way in each direction, of whole frames, and has no datagrams (WIRE-2). */
  #kind: TransportKind = 'webTransport'
  /** Neither side has ended it. */
  #open = true
  /** The device wrote what no stream carries. */
  #isBroken = false
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
      if (chance.comes('refused dial')) {
        chronicle.fault('refused dial', this.name)
        return this.cut()
      }
      if (chance.comes('no WebTransport')) {
        chronicle.fault('no WebTransport', this.name)
        this.#kind = 'webSocket'
      }
      this.#hub = accept?.(this.#hubSide()) ?? null
      if (this.#hub === null) return this.cut()
      this.#send('control', () => void (this.#open && this.#device.opened(this.#deviceSide())))
    })
  }

  #deviceSide(): SessionTransport {
    return {
      kind: this.#kind,
      send: (frame) => void (this.#open && this.#sendFrame(frame)),
      sendDatagram: (frame) => {
        const copy = frame.slice()
        if (this.#kind === 'webSocket') return this.#open ? this.#sendFrame(frame) : undefined
        if (this.#open) this.#datagram(() => this.#reachHub([copy]))
      },
      close: () => this.cut('device'),
    }
  }

  /** What no stream carries loses the place of one, or reaches the hub whole, as in a datagram. */
  #sendFrame(frame: Uint8Array): void {
    const isShort = frame.length < FRAME_HEADER_LENGTH
    const isWhole = this.#kind === 'webSocket'
    if (isWhole || isShort && !this.#network.parts.streams.comes('lost framing')) {
      const copy = frame.slice()
      return this.#send('up', () => void (this.#open && this.#reachHub([copy])))
    }
    if (isShort) this.#isBroken = true
    const write = writeOf([frame])
    this.#send('up', () => void (this.#open && this.#writeArrives('up', write)), write)
  }

  #reachHub(frames: readonly Uint8Array[]): void {
    if (frames.length === 0) return
    for (const frame of frames) this.#network.parts.chronicle.arrival(this.name, 'up', frame)
    void this.#hub?.framesReceived(frames)
  }

  #hubSide(): HubSession {
    return {
      transport: this.#kind,
      write: (lane, frames) => {
        if (!this.#open) return Promise.reject(new Error('the session is gone'))
        this.#network.parts.wire.hubWrote(this.name, frames)
        if (this.#kind === 'webSocket') return this.#writeMessages(frames)
        const name = nameOf(lane)
        const write = writeOf(frames)
        const { promise, resolve, reject } = Promise.withResolvers<void>()
        this.#send(name, () => {
          if (!this.#open) return reject(new Error('the session is gone'))
          this.#writeArrives(name, write)
          resolve()
        }, write)
        return promise
      },
      writeDatagram: (frame) => {
        if (this.#kind === 'webSocket') return false
        const copy = frame.slice()
        if (this.#open) this.#datagram(() => this.#reachDevice([copy]))
        return true
      },
      close: () => this.cut('hub'),
    }
  }

  /** Each frame is a message; the session may end between two. */
  #writeMessages(frames: readonly Uint8Array[]): Promise<void> {
    const messages = frames.map((frame) => this.#writeMessage(frame.slice()))
    return Promise.all(messages).then(() => {})
  }

  #writeMessage(frame: Uint8Array): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>()
    this.#send('control', () => {
      if (!this.#open) return reject(new Error('the session is gone'))
      this.#reachDevice([frame])
      resolve()
    })
    return promise
  }

  #reachDevice(frames: readonly Uint8Array[]): void {
    if (frames.length === 0) return
    for (const frame of frames) this.#network.parts.chronicle.arrival(this.name, 'down', frame)
    this.#device.framesReceived(frames)
  }

  #datagram(reach: () => void): void {
    const dueMs = this.#network.datagramDueMs()
    if (dueMs === null) return
    const way = this.#way('datagrams')
    way.push({ dueMs, write: null, arrive: () => void (this.#open && reach()) })
    way.sort((a, b) => a.dueMs - b.dueMs)
  }

  #send(name: string, arrive: () => void, write: Write | null = null): void {
    const way = this.#way(name)
    const dueMs = Math.max(this.#network.dueMs(), way.at(-1)?.dueMs ?? 0)
    way.push({ dueMs, write, arrive })
  }

  #way(name: string): Due[] {
    const way = this.#ways.get(name) ?? []
    this.#ways.set(name, way)
    return way
  }

  #stream(name: string): Stream {
    const stream = this.#streams.get(name) ?? new Stream(this.#network.parts.streams.prng)
    this.#streams.set(name, stream)
    return stream
  }

  #writeArrives(name: string, write: Write): void {
    const next = this.#way(name)[0]?.write ?? null
    this.#reach(name, this.#stream(name).arrive(write, next))
  }

  /** Of a write that was the next to arrive, first bytes may still do so. */
  #breakOff(name: string, write: Write | null): void {
    const { chronicle, streams } = this.#network.parts
    if (write === null || !streams.comes('cut inside a frame')) return
    const stream = this.#stream(name)
    this.#reach(name, stream.breakOff(write))
    if (stream.isInside) chronicle.fault('cut inside a frame', `${this.name} ${name}`)
  }

  #reach(name: string, { frames, lost }: Arrival): void {
    const { chronicle, wire } = this.#network.parts
    if (name === 'up') this.#reachHub(frames)
    else this.#reachDevice(frames)
    if (lost === null) return
    if (name === 'up' && this.#isBroken) chronicle.fault('lost framing', this.name)
    else wire.framingLost(this.name, lost)
    if (name === 'up') this.#hub?.framingLost(lost)
    else this.cut('device')
  }

  /**
   * What lies on the way is lost, but for first bytes of each stream, which end inside of a write;
   * what arrived before stays. A side that ends the session itself reads no more.
   */
  cut(by: Side | null = null): void {
    if (!this.#open) return
    this.#open = false
    const ways = [...this.#ways].filter(([name]) => name !== 'datagrams')
    const down = ways.filter(([name]) => name !== 'up')
    // Both are of this moment: a way may lose more of its first ones before the end is told.
    const lost = down.flatMap(([, way]) => way)
    const firsts = new Map(ways.map(([name, [first]]) => [name, first?.write ?? null]))
    this.#ways.clear()
    this.#send('up', () => {
      // Writes that are under way reject.
      for (const { arrive } of lost) arrive()
      if (by !== 'hub') this.#breakOff('up', firsts.get('up') ?? null)
      if (!this.#told.hub) this.#hub?.closed()
      this.#told = { ...this.#told, hub: true }
      this.#forget()
    })
    this.#send('control', () => {
      if (by !== 'device') {
        for (const [name] of down) this.#breakOff(name, firsts.get(name) ?? null)
      }
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
