/** The fixtures of the tests of the whole app: a hub of their own, and people. */
import { expect, test as base } from '@playwright/test'
import { type HubProcess, startHub } from './hub.ts'
import { type Person, type PersonOptions, startPerson } from './person.ts'

export { expect }

type PersonChoices = Partial<Pick<PersonOptions, 'browser' | 'appDirectory'>>

type PeopleOf<Names extends readonly string[]> = { readonly [Index in keyof Names]: Person }

interface AppFixtures {
  readonly hub: HubProcess
  /** Somebody with a browser, a network and an app of their own, who has not signed up yet. */
  readonly newcomer: (name: string, choices?: PersonChoices) => Promise<Person>
  /** People who have signed up. */
  readonly people: <Names extends string[]>(...names: Names) => Promise<PeopleOf<Names>>
}

export const test = base.extend<AppFixtures>({
  hub: async ({ browserName: _ }, use) => {
    const hub = await startHub()
    await use(hub)
    await hub.close()
  },
  newcomer: async ({ browser, hub }, use) => {
    const people: Person[] = []
    await use(async (name, choices = {}) => {
      const person = await startPerson({ name, browser, hubPort: hub.port, ...choices })
      people.push(person)
      return person
    })
    await Promise.all(people.map((person) => person.leaves()))
  },
  people: async ({ newcomer }, use) => {
    const signUp = async (name: string): Promise<Person> => {
      const person = await newcomer(name)
      await person.signsUp()
      return person
    }
    await use(async <Names extends string[]>(...names: Names) =>
      await Promise.all(names.map(signUp)) as PeopleOf<Names>
    )
  },
})

/** Puts people who have signed up into one new room of the first of them. */
export async function gather(title: string, ...people: readonly Person[]): Promise<void> {
  const [host, ...guests] = people as [Person, ...Person[]]
  await host.createsRoom(title)
  const link = await host.invites()
  for (const guest of guests) {
    await guest.joins(link)
    await guest.tab.isInRoom(title)
    await guest.tab.isMember()
  }
}
