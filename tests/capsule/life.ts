/**
 * Random lives of a few people in a simulated world, told by a seed: they write, come by links and
 * by name, are cut off, are opened anew, and time goes on. Owns the choices; checks nothing.
 */
import type { World } from '../sim/world.ts'
import { Witness } from './witness.ts'
import { ARRIVAL_MS, calmWorld, openInWorld, rest, told, type WorldPerson } from './world.ts'

export interface Living extends WorldPerson {
  readonly witness: Witness
}

/** A capsule of somebody's life between two openings of the SDK. */
export interface Told {
  readonly who: string
  readonly capsule: string
  readonly witness: Witness
}

const NAMES = ['alicia', 'robert', 'carolina', 'davidson'] as const

export class Life {
  readonly world: World
  readonly people: Living[] = []
  readonly told: Told[] = []
  #room = ''
  #link = ''
  #said = 0

  constructor(seed: number) {
    this.world = calmWorld(seed)
  }

  async begin(): Promise<void> {
    for (const name of NAMES) {
      const person = await this.#open(name, new Witness())
      this.people.push(person)
      const deviceName = person.witness.types('device name', `${name}'s shiny telephone`)
      await told(this.world, this.people, person.sdk.signUp({ name, deviceName }))
      person.witness.types('account', `${name}@hub.example`)
    }
    const [alice] = this.people as [Living]
    const title = alice.witness.types('title', `Larks of the ${this.world.plan.seed}th field`)
    this.#room = await told(this.world, this.people, alice.sdk.createRoom({ title }))
    await rest(this.world, this.people, 1_000)
  }

  async #open(name: string, witness: Witness): Promise<Living> {
    const { store, dialer } = witness
    return { ...await openInWorld(this.world, name, { store, dialer }), witness }
  }

  /** Something happens, and may still be on its way when the next thing does. */
  async step(): Promise<void> {
    const { prng } = this.world.chances.workload
    const index = prng.integer(this.people.length)
    const person = this.people[index] as Living
    const { sdk, witness } = person
    const room = this.#room
    switch (prng.integer(12)) {
      case 0:
        this.world.network.cut(person.name)
        break
      case 1:
        await this.reopen(index)
        break
      case 2: {
        const account = `${prng.pick(NAMES)}@hub.example`
        void sdk.addMember({ room, account }).catch(() => null)
        break
      }
      case 3:
        void sdk.invite({ room, limits: { usesMax: 5, lifetimeMs: 3_600_000 } })
          .then((link) => this.#link = witness.types('link', link)).catch(() => null)
        break
      case 4:
        if (this.#link === '') break
        void sdk.joinByLink(witness.types('link', this.#link)).catch(() => null)
        break
      case 5:
        sdk.markRead(room, prng.integer(20))
        break
      case 6:
        sdk.setTyping(room)
        break
      case 7:
        await rest(this.world, this.people, 1_000 * (1 + prng.integer(12)))
        break
      default: {
        const text = witness.types('text', `Wheat of the ${++this.#said}th cart by ${person.name}`)
        void sdk.sendMessage({ room, text, id: `note ${this.#said}` }).catch(() => null)
      }
    }
    for (let moves = prng.integer(12); moves > 0; moves--) await this.world.tick(ARRIVAL_MS)
  }

  /** The SDK of somebody ends, and begins again from its store. */
  async reopen(index: number): Promise<void> {
    const { sdk, name, witness } = this.people[index] as Living
    await sdk.close()
    this.told.push({ who: name, capsule: sdk.exportCapsule(), witness })
    this.people[index] = await this.#open(name, witness)
  }

  async end(): Promise<readonly Told[]> {
    await rest(this.world, this.people, 15_000)
    for (let index = 0; index < this.people.length; index++) await this.reopen(index)
    return this.told
  }
}

export async function live(seed: number, steps: number): Promise<readonly Told[]> {
  const life = new Life(seed)
  await life.begin()
  for (let index = 0; index < steps; index++) await life.step()
  return await life.end()
}
