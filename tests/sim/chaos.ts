/**
 * What goes wrong to processes, machines and clocks, each by its chance (see `plan.ts`); what goes
 * wrong on the way or on a disk is drawn there. Owns no repair but that of clocks.
 */
import type { Chance } from './chance.ts'
import type { SimDevice } from './device.ts'
import type { FaultName } from './plan.ts'
import type { World } from './world.ts'

const PARTITION_MS_MAX = 60_000
const DEVICE_SKEW_MS_MAX = 600_000
const HUB_SKEW_MS_MAX = 60_000

export class Chaos {
  readonly #world: World
  readonly #chance: Chance
  #evictions = 0

  constructor(world: World) {
    this.#world = world
    this.#chance = world.chances.chaos
  }

  async tick(): Promise<void> {
    for (const [fault, strike] of Object.entries(this.#strikes)) {
      if (this.#chance.comes(fault as FaultName)) await strike()
    }
  }

  get #prng() {
    return this.#chance.prng
  }

  #device(): SimDevice {
    return this.#prng.pick(this.#world.devices)
  }

  #tell(fault: FaultName, what = ''): void {
    this.#world.chronicle.fault(fault, what)
  }

  /** -max to max. */
  #skew(max: number): number {
    return this.#prng.integer(2 * max) - max
  }

  readonly #strikes: Partial<Record<FaultName, () => void | Promise<void>>> = {
    'session death': () => {
      const { name } = this.#device()
      if (this.#world.network.cut(name) > 0) this.#tell('session death', name)
    },
    partition: () => {
      const { name } = this.#device()
      this.#tell('partition', name)
      this.#world.network.part(name, this.#world.nowMs + this.#prng.integer(PARTITION_MS_MAX))
    },
    'hub crash': async () => {
      this.#tell('hub crash')
      await this.#world.crashHub()
    },
    'hub drain': () => {
      this.#tell('hub drain')
      this.#world.drainHub()
    },
    'hub clock jump': () => {
      this.#world.hubSkewMs = this.#skew(HUB_SKEW_MS_MAX)
      this.#tell('hub clock jump', `${this.#world.hubSkewMs}`)
    },
    'device crash': async () => {
      const device = this.#device()
      this.#tell('device crash', device.name)
      await device.crash()
    },
    'power loss': async () => {
      const device = this.#device()
      const lost = await device.losePower()
      this.#world.watch.forget(device)
      this.#tell('power loss', `${device.name}, ${lost} transactions lost`)
    },
    'leader change': async () => {
      const device = this.#device()
      this.#tell('leader change', device.name)
      await device.changeLeader()
    },
    eviction: async () => {
      const device = this.#device()
      this.#tell('eviction', device.name)
      this.#world.removeDevice(device)
      const [name = ''] = device.name.split('x')
      await this.#world.addDevice(`${name}x${++this.#evictions}`)
    },
    'device clock jump': () => {
      const device = this.#device()
      device.skewMs = this.#skew(DEVICE_SKEW_MS_MAX)
      this.#tell('device clock jump', `${device.name} ${device.skewMs}`)
    },
  }
}
