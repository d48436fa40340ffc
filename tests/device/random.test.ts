/**
 * Random lives of a room, on real devices and a real hub: people come, go, restart, write and make
 * links as it happens. Whatever happened, everybody ends in the room, and each text stands once.
 */
import { deepStrictEqual } from 'node:assert/strict'
import type { DeviceStore } from '#core/device/store.ts'
import { createPrng } from '../core/prng.ts'
import { startHub } from '../e2e/support/hub.ts'
import { openPerson, type Person, roomShows, say, sees, signUp, texts } from './people.ts'

const PEOPLE = 5
const STEPS = 50
const options = { sanitizeOps: false, sanitizeResources: false }

interface Somebody {
  readonly name: string
  readonly store: DeviceStore
  person: Person | null
  isMember: boolean
}

class Life {
  readonly #endpoint: string
  readonly #dice: (sides: number) => number
  readonly said: string[] = []
  /** What happened, to read when a life ends badly. */
  readonly story: string[] = []
  readonly faults: unknown[] = []
  readonly people: Somebody[] = []
  room = ''
  #link = ''

  constructor(endpoint: string, seed: number) {
    this.#endpoint = endpoint
    const prng = createPrng(seed)
    this.#dice = (sides) => new DataView(prng.bytes(4).buffer).getUint32(0) % sides
  }

  async begin(): Promise<void> {
    for (let index = 0; index < PEOPLE; index++) {
      const person = await openPerson({ endpoint: this.#endpoint })
      const name = `person${index}`
      await signUp(person, name)
      this.people.push({ name, store: person.store, person, isMember: index === 0 })
    }
    const { person: founder } = this.people[0] as Somebody
    if (founder === null) return
    this.room = await founder.sdk.createRoom({ title: 'Larks' })
    await this.#isLive(founder)
    this.#link = await founder.sdk.invite({ room: this.room })
  }

  #isLive(person: Person) {
    const isLive = ({ summary }: { summary: { state: string } }) => summary.state === 'live'
    return roomShows(person, this.room, isLive, `a live room after ${this.story.join(', ')}`)
  }

  async step(index: number): Promise<void> {
    const who = this.people[this.#dice(PEOPLE)] as Somebody
    const what = this.#dice(10)
    if (who.person === null) {
      if (what < 6) await this.wake(who)
      return
    }
    if (what === 0) return await this.sleep(who)
    if (!who.isMember) {
      return what < 5 ? await this.#join(who, who.person) : await this.#add(who, who.person)
    }
    if (what < 8) {
      const text = `${index} by ${who.name}`
      await say(who.person, this.room, text)
      this.said.push(text)
    } else {
      this.story.push(`${who.name} makes a link`)
      const limits = { usesMax: 5, lifetimeMs: 3_600_000 }
      // Whoever sleeps meanwhile makes none.
      await who.person.sdk.invite({ room: this.room, limits }).catch(() => null)
    }
  }

  async wake(who: Somebody): Promise<Person> {
    this.story.push(`${who.name} wakes`)
    who.person ??= await openPerson({ endpoint: this.#endpoint, store: who.store })
    return who.person
  }

  async sleep(who: Somebody): Promise<void> {
    if (who.person === null) return
    this.story.push(`${who.name} sleeps`)
    this.faults.push(...who.person.faults)
    await who.person.sdk.close()
    who.person = null
  }

  async #join(who: Somebody, person: Person): Promise<void> {
    this.story.push(`${who.name} joins`)
    await person.sdk.joinByLink(this.#link)
    await this.#isLive(person)
    who.isMember = true
  }

  async #add(who: Somebody, person: Person): Promise<void> {
    const host = this.people.find(({ isMember, person }) => isMember && person !== null)
    if (host?.person == null) return
    this.story.push(`${host.name} adds ${who.name}`)
    const account = `${who.name}@localhost`
    const added = host.person.sdk.addMember({ room: this.room, account })
    // A host that is still catching up is not asked to hurry.
    if (!await added.then(() => true, () => false)) return
    await this.#isLive(person)
    who.isMember = true
  }

  async end(): Promise<void> {
    const members = this.people.filter(({ isMember }) => isMember)
    for (const who of members) await this.#isLive(await this.wake(who))
    const [founder] = members
    if (founder?.person == null) return
    const all = await roomShows(
      founder.person,
      this.room,
      (view) => texts(view).length === this.said.length,
      `${this.said.length} texts after ${this.story.join(', ')}`,
    )
    deepStrictEqual(texts(all).toSorted(), this.said.toSorted())
    await say(founder.person, this.room, 'the end')
    for (const { person } of members) {
      if (person === null) continue
      const view = await sees(person, this.room, 'the end')
      const unreadable = view.items.filter(({ kind }) => kind === 'unreadable')
      deepStrictEqual(unreadable, [], this.story.join(', '))
      const names = view.members.map(({ account }) => account).toSorted()
      deepStrictEqual(names, members.map(({ name }) => `${name}@localhost`))
    }
  }
}

for (const seed of [4, 7]) {
  Deno.test(`ROOM-4, VOTE-7, DEV-5: a random life, seed ${seed}`, options, async () => {
    const hub = await startHub()
    const life = new Life(`http://localhost:${hub.port}`, seed)
    try {
      await life.begin()
      for (let index = 0; index < STEPS; index++) await life.step(index)
      await life.end()
    } finally {
      for (const who of life.people) await life.sleep(who)
      await hub.close()
    }
    deepStrictEqual(life.faults, [])
  })
}
