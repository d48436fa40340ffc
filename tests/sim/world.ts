/**
 * One world: a hub, devices, their stores and the network between them, on one clock. Nothing in it
 * waits for the host. Owns the order within a tick and the life of the hub's process; what goes
 * wrong is `chaos.ts`, what people do is `workload.ts`, what must hold is `watch.ts`.
 */
import { setImmediate } from 'node:timers'
import type { HubDomain, TimeMs } from '#core/base/ids.ts'
import type { Entropy } from '#core/base/ports.ts'
import type { Crypto } from '#core/crypto/crypto.ts'
import type { Dialer } from '#core/device/transport.ts'
import { createNobleCrypto } from '#core/crypto/noble.ts'
import { createGateway, type Gateway } from '#hub/gateway/gateway.ts'
import type { GatewayPorts, HubIdentity } from '#hub/gateway/model.ts'
import type { HubSession, HubSessionListener } from '#hub/ports.ts'
import { createPrng } from '../core/prng.ts'
import { createFastCrypto } from '../support/fast-crypto.ts'
import type { HandParts } from '../support/hand-session.ts'
import { createMemoryHubPorts, type MemoryHubPorts } from '../support/memory-hub-ports.ts'
import { Chance } from './chance.ts'
import { SimDevice } from './device.ts'
import { DeviceDisk } from './device-disk.ts'
import { HubDisk } from './hub-disk.ts'
import { type HubDuties, OpenSessions } from './hub-memory.ts'
import { liedTo } from './lies.ts'
import { Network } from './network.ts'
import type { Plan } from './plan.ts'
import { Chronicle } from './chronicle.ts'
import { Watch } from './watch.ts'

const DOMAIN = 'hub.example' as HubDomain
const START_MS = 1_800_000_000_000
/** As the product's own composition does. */
const HUB_TICK_MS = 250

/** Parts of the world that draw from generators of their own. */
const PART = {
  network: 1,
  hubDisk: 2,
  chaos: 3,
  workload: 4,
  hostile: 5,
  streams: 6,
  lies: 7,
  disks: 100,
} as const

export class World {
  readonly plan: Plan
  readonly chronicle: Chronicle
  readonly watch: Watch
  readonly chances: Readonly<{ [Part in 'chaos' | 'workload' | 'hostile']: Chance }>
  readonly stores: MemoryHubPorts
  readonly network: Network
  readonly hubDisk: HubDisk
  readonly devices: SimDevice[] = []
  readonly clock = { nowMs: () => this.nowMs as TimeMs }
  /** What a hostile member is made of. */
  readonly handParts: HandParts
  nowMs = START_MS
  ticks = 0
  hubSkewMs = 0
  readonly crypto: Crypto
  readonly #entropy: Entropy
  readonly #identity: HubIdentity
  readonly #lies: Chance
  readonly #faulting: Chance[] = []
  #gateway: Gateway | null = null
  #sessions = new OpenSessions()
  #hubTickedAtMs = 0
  #isDraining = false
  #lastDisk: number = PART.disks

  constructor(plan: Plan, keepsStory = false) {
    this.plan = plan
    this.chronicle = new Chronicle(keepsStory)
    const base = plan.suite === 'real' ? createNobleCrypto() : createFastCrypto()
    this.watch = new Watch(this, base)
    this.crypto = base
    // Keys come from a generator of their own, so that choices do not depend on how many are made.
    const random = createPrng(plan.seed + 1_000_003)
    this.#entropy = { randomBytes: (length) => random.bytes(length) }
    const { clock } = this
    this.handParts = {
      crypto: base,
      clock,
      entropy: this.#entropy,
      domain: DOMAIN,
      waitsForEver: true,
    }
    const pair = base.signatureKeyPair('ed25519', this.#entropy.randomBytes(32))
    this.#identity = { domain: DOMAIN, ...pair, appVersion: 1, features: [] }
    this.chances = {
      chaos: this.#chance(PART.chaos),
      workload: this.#chance(PART.workload),
      hostile: this.#chance(PART.hostile),
    }
    this.#lies = this.#chance(PART.lies)
    this.stores = createMemoryHubPorts({ clock })
    this.network = new Network({
      clock,
      chronicle: this.chronicle,
      chance: this.#chance(PART.network),
      streams: this.#chance(PART.streams),
      tickMs: plan.tickMs,
      wire: this.watch,
      accept: () => this.#gateway && ((session) => this.#accept(session)),
    })
    this.hubDisk = new HubDisk({
      clock,
      chronicle: this.chronicle,
      stores: this.stores,
      chance: this.#chance(PART.hubDisk),
      tickMs: plan.tickMs,
      stored: (batch, outcomes) => this.watch.stored(batch, outcomes),
    })
    this.startHub()
  }

  #chance(part: number): Chance {
    const chance = new Chance(this.plan, part)
    this.#faulting.push(chance)
    return chance
  }

  // ---- The hub ----------------------------------------------------------------------------

  startHub(): void {
    const ports: GatewayPorts = {
      crypto: this.crypto,
      clock: { nowMs: () => (this.nowMs + this.hubSkewMs) as TimeMs },
      entropy: this.#entropy,
      ...this.hubDisk.open(),
      identity: this.#identity,
      effects: {
        observe: () => {},
        faulted: (error) => this.watch.violated('NoFault', `the hub: ${textOf(error)}`),
        checkFaulted: (error) => this.watch.violated('NoFault', `a check: ${textOf(error)}`),
      },
    }
    this.#gateway = createGateway(ports)
    this.#sessions = new OpenSessions()
  }

  #accept(session: HubSession): HubSessionListener | null {
    return this.#gateway && this.#sessions.accept(this.#gateway, session)
  }

  /** Of the process of the moment. */
  get hubDuties(): HubDuties | null {
    return this.#gateway && {
      memory: this.#gateway.memory(),
      sessions: this.#sessions.count,
      sessionsWritten: this.#sessions.writtenCount,
      transactions: this.hubDisk.waitingCount,
      transactionsOfRequests: this.hubDisk.requestCount,
    }
  }

  /** The process ends between two effects; sessions break, the store keeps what it has. */
  async crashHub(): Promise<void> {
    this.#gateway = null
    this.#isDraining = false
    await this.hubDisk.crash()
    this.network.cut()
    this.startHub()
  }

  /** The process ends as it should: everybody is told, what is open is finished. */
  drainHub(): void {
    this.#isDraining = true
    this.#gateway?.drain()
  }

  /** A drained hub that has nothing left to do ends, and another begins. */
  #endDrained(): void {
    if (!this.#isDraining || this.#gateway?.idle === false) return
    this.#isDraining = false
    this.network.cut()
    this.startHub()
  }

  // ---- Devices ----------------------------------------------------------------------------

  async addDevice(name: string): Promise<SimDevice> {
    const chance = this.#chance(++this.#lastDisk)
    const { clock, chronicle, watch } = this
    const device = await SimDevice.open(name, {
      ports: { crypto: this.crypto, entropy: this.#entropy, appVersion: 1 },
      clock,
      home: `http://${DOMAIN}`,
      dialer: this.#dialer(name),
      disk: new DeviceDisk({ name, clock, chronicle, chance, tickMs: this.plan.tickMs }),
      sent: (device, frame) => watch.sent(device, frame),
      faulted: (device, error) => watch.violated('NoFault', `${device.name}: ${textOf(error)}`),
      answeredTwice: ({ name }) => watch.violated('Answered', `${name} answers a command twice`),
    })
    this.devices.push(device)
    return device
  }

  #dialer(name: string): Dialer {
    return liedTo(this.network.dialer(name), {
      name,
      chance: this.#lies,
      chronicle: this.chronicle,
      isFrame: (request) => {
        const device = this.devices.find((each) => each.name === name)
        return device?.state.requests.get(request)?.kind === 'frame'
      },
    })
  }

  /** The device is gone with everything that it had. */
  removeDevice(device: SimDevice): void {
    device.end()
    this.devices.splice(this.devices.indexOf(device), 1)
    this.network.cut(device.name)
    this.watch.forget(device)
  }

  // ---- Time -------------------------------------------------------------------------------

  async tick(stepMs: number = this.plan.tickMs): Promise<void> {
    this.ticks++
    this.nowMs += stepMs
    this.chronicle.moment = `${this.ticks} ${((this.nowMs - START_MS) / 1_000).toFixed(2)}s`
    const hubMs = this.nowMs + this.hubSkewMs
    if (Math.abs(hubMs - this.#hubTickedAtMs) >= HUB_TICK_MS) {
      this.#hubTickedAtMs = hubMs
      this.#gateway?.tick()
    }
    this.isBusy = this.network.deliver()
    if (await this.hubDisk.pass()) this.isBusy = true
    for (const device of this.devices) device.passTime()
    this.#endDrained()
    await this.settle()
    await this.watch.tick()
  }

  /** Something is on the way or on its way to the disk. */
  isBusy = false

  /** Promises end before the next task begins; nothing here waits for more than promises. */
  settle(): Promise<void> {
    return new Promise((resolve) => setImmediate(resolve))
  }

  /** Goes on for a time; in large steps while nothing is on the way. */
  async rest(ms: number, stepMs: number): Promise<void> {
    const untilMs = this.nowMs + ms
    while (this.nowMs < untilMs) await this.tick(this.isBusy ? this.plan.tickMs : stepMs)
  }

  /** Time in which nobody is there. */
  async leap(ms: number): Promise<void> {
    this.network.cut()
    for (let tick = 0; tick < 8; tick++) await this.tick()
    this.nowMs += ms
  }

  /** Faults end: clocks are right, everybody is reached, nothing fails. */
  heal(): void {
    for (const chance of this.#faulting) chance.end()
    this.network.heal()
    this.hubSkewMs = 0
    for (const device of this.devices) device.skewMs = 0
  }

  get simulatedMs(): number {
    return this.nowMs - START_MS
  }
}

export function textOf(error: unknown): string {
  return error instanceof Error ? error.stack ?? error.message : String(error)
}
