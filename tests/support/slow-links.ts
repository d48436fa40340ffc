/**
 * Sessions in memory whose frames lie on the way until a test lets them go on: a seeded choice of
 * what arrives next makes an interleaving, and the same seed makes it again. Owns the way between
 * device and hub: in order up, in order on each lane down, no order between lanes, as WebTransport
 * has it; a cut loses what lies on the way.
 */
import type { Dialer, SessionListener } from '#core/device/transport.ts'
import type { Gateway } from '#hub/gateway/gateway.ts'
import type { HubSession, HubSessionListener, Lane } from '#hub/ports.ts'
import type { Prng } from '../core/prng.ts'

type Way = (() => void)[]

interface Link {
  readonly name: string
  /** What has been sent and has not arrived, oldest first. */
  readonly up: Way
  readonly down: Map<string, Way>
  cut(): void
}

export interface SlowLinks {
  /** The links of a device to the gateway of the moment. */
  dialer(name: string, gateway: () => Gateway): Dialer
  /** Lets something arrive; false when nothing is on the way. */
  step(): boolean
  /** Ends all sessions of a device, or of everybody; both sides learn of it later. */
  cut(name?: string): void
}

/** What may arrive together in one direction. */
const TOGETHER_MAX = 4

export function createSlowLinks(prng: Prng): SlowLinks {
  const links = new Set<Link>()
  return {
    step() {
      const ways = [...links].flatMap(({ up, down }) => [up, ...down.values()])
        .filter((way) => way.length > 0)
      if (ways.length === 0) return false
      const way = prng.pick(ways)
      for (const arrive of way.splice(0, 1 + prng.integer(TOGETHER_MAX))) arrive()
      return true
    },
    cut(name) {
      for (const link of [...links]) if (name === undefined || link.name === name) link.cut()
    },
    dialer: (name, gateway) => ({
      dial(_endpoint, listener) {
        const link = new SlowLink(name, listener, () => links.delete(link))
        links.add(link)
        link.up.push(() => link.reach(gateway()))
        return { abort: () => link.cut() }
      },
    }),
  }
}

class SlowLink implements Link {
  readonly name: string
  readonly up: Way = []
  readonly down = new Map<string, Way>()
  readonly #device: SessionListener
  readonly #ended: () => void
  #hub: HubSessionListener | null = null
  /** Neither side has ended it. */
  #open = true
  #told = { device: false, hub: false }

  constructor(name: string, device: SessionListener, ended: () => void) {
    this.name = name
    this.#device = device
    this.#ended = ended
  }

  reach(gateway: Gateway): void {
    this.#hub = gateway.accept(this.#hubSide())
    if (this.#hub === null) return this.cut()
    const send = (frame: Uint8Array) => {
      const copy = frame.slice()
      if (this.#open) this.up.push(() => void this.#hub?.framesReceived([copy]))
    }
    const opened = { kind: 'memory', send, sendDatagram: send, close: () => this.cut() } as const
    this.#way('control').push(() => void (this.#open && this.#device.opened(opened)))
  }

  #hubSide(): HubSession {
    return {
      transport: 'memory',
      write: (lane, frames) => {
        if (!this.#open) return Promise.reject(new Error('the session is gone'))
        const copies = frames.map((frame) => frame.slice())
        const { promise, resolve, reject } = Promise.withResolvers<void>()
        this.#way(nameOf(lane)).push(() => {
          if (!this.#open) return reject(new Error('the session is gone'))
          this.#device.framesReceived(copies)
          resolve()
        })
        return promise
      },
      writeDatagram: () => false,
      close: () => this.cut(),
    }
  }

  #way(name: string): Way {
    const way = this.down.get(name) ?? []
    this.down.set(name, way)
    return way
  }

  cut(): void {
    if (!this.#open) return
    this.#open = false
    this.up.length = 0
    // Writes that are under way reject when their turn comes.
    const lost = [...this.down.values()].flat()
    this.down.clear()
    this.up.push(() => {
      for (const write of lost) write()
      if (!this.#told.hub) this.#hub?.closed()
      this.#told = { ...this.#told, hub: true }
      this.#forget()
    })
    this.#way('control').push(() => {
      if (!this.#told.device) this.#device.closed()
      this.#told = { ...this.#told, device: true }
      this.#forget()
    })
  }

  #forget(): void {
    if (this.#told.device && this.#told.hub) this.#ended()
  }
}

function nameOf(lane: Lane): string {
  return lane.kind === 'shared' ? `shared ${lane.index}` : lane.kind
}
