/**
 * A hub in memory with device machines around it, in which everything that happens is chosen by a
 * seed: what arrives next, when an append is on the disk, when time goes on. Owns the hub's restart
 * from its store; owns no check (see `sim-oracle.ts`).
 */
import type { HubDomain, TimeMs } from '#core/base/ids.ts'
import type { Entropy } from '#core/base/ports.ts'
import { createNobleCrypto } from '#core/crypto/noble.ts'
import type { Dialer } from '#core/device/transport.ts'
import { createGateway, type Gateway } from '#hub/gateway/gateway.ts'
import type { GatewayEvent, GatewayPorts } from '#hub/gateway/model.ts'
import type { RoomLog } from '#hub/ports.ts'
import { createPrng, type Prng } from '../core/prng.ts'
import type { HandParts } from './hand-device.ts'
import { createMemoryHubPorts, type MemoryHubPorts } from './memory-hub-ports.ts'
import { SimDevice } from './sim-device.ts'
import { createSlowLinks, type SlowLinks } from './slow-links.ts'

export const crypto = createNobleCrypto()
const DOMAIN = 'hub.example' as HubDomain
const START_MS = 1_800_000_000_000

export class SimWorld {
  readonly seed: number
  readonly prng: Prng
  readonly links: SlowLinks
  readonly stores: MemoryHubPorts
  readonly events: GatewayEvent[] = []
  readonly faults: unknown[] = []
  readonly devices: SimDevice[] = []
  readonly clock = { nowMs: () => this.#nowMs as TimeMs }
  readonly parts: HandParts
  readonly #ports: GatewayPorts
  #nowMs = START_MS
  #gateway: Gateway
  /** Appends that are not on the disk yet. */
  #disk: (() => void)[] = []

  constructor(seed: number) {
    this.seed = seed
    this.prng = createPrng(seed)
    this.links = createSlowLinks(this.prng)
    this.stores = createMemoryHubPorts({ clock: this.clock })
    // Keys come from a generator of their own, so that choices do not depend on how many are made.
    const random = createPrng(seed + 1_000_000)
    const entropy: Entropy = { randomBytes: (length) => random.bytes(length) }
    const pair = crypto.signatureKeyPair('ed25519', entropy.randomBytes(32))
    this.parts = { crypto, clock: this.clock, entropy, domain: DOMAIN }
    this.#ports = {
      crypto,
      clock: this.clock,
      entropy,
      log: this.#slow(this.stores.log),
      directory: this.stores.directory,
      identity: { domain: DOMAIN, ...pair, appVersion: 1, features: [] },
      effects: {
        observe: (event) => void this.events.push(event),
        faulted: (error) => void this.faults.push(error),
      },
    }
    this.#gateway = createGateway(this.#ports)
  }

  dialer(name: string): Dialer {
    return this.links.dialer(name, () => this.#gateway)
  }

  async device(name: string): Promise<SimDevice> {
    const { entropy } = this.parts
    const ports = { crypto, entropy, appVersion: 1, clock: this.clock, dialer: this.dialer(name) }
    const device = await SimDevice.open(name, ports)
    this.devices.push(device)
    return device
  }

  /** Everything that needs neither time, network nor disk has gone on. */
  calm(): Promise<void> {
    // Nothing in this world waits for more than promises, which end before the next task.
    return new Promise((resolve) => setTimeout(resolve))
  }

  /** Something on the way arrives, or an append is on the disk; false when there is neither. */
  async step(): Promise<boolean> {
    const diskFirst = this.prng.integer(3) === 0
    const moved = (diskFirst && this.#flush()) || this.links.step() || this.#flush()
    await this.calm()
    return moved
  }

  #flush(): boolean {
    const next = this.#disk.shift()
    next?.()
    return next !== undefined
  }

  /** Goes on until nothing is on the way. */
  async quiet(): Promise<void> {
    await this.calm()
    while (await this.step());
  }

  async advance(ms: number): Promise<void> {
    this.#nowMs += ms
    this.#gateway.tick()
    for (const device of this.devices) device.passTime()
    await this.calm()
  }

  /** Goes on, with everything arriving at once, for a time in steps. */
  async rest(ms: number, stepMs = 500): Promise<void> {
    await this.quiet()
    for (let passed = 0; passed < ms; passed += stepMs) {
      await this.advance(stepMs)
      await this.quiet()
    }
  }

  /** Time in which nobody is there. */
  async sleep(ms: number): Promise<void> {
    this.links.cut()
    await this.quiet()
    this.#nowMs += ms
    await this.rest(2_000)
  }

  /** The process ends and begins again: sessions and what was not on the disk are gone. */
  restartHub(): void {
    this.#disk = []
    this.links.cut()
    this.#gateway = createGateway(this.#ports)
  }

  #slow(log: RoomLog): RoomLog {
    return {
      ...log,
      append: (batch) =>
        new Promise((resolve, reject) => {
          this.#disk.push(() => void log.append(batch).then(resolve, reject))
        }),
    }
  }
}
