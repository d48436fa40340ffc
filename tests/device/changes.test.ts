/**
 * Changes of who is in a room by a member that means harm, against a real hub: who is taken out and
 * put back while away, and who is let in by a Welcome that opens nothing.
 */
import { deepStrictEqual, ok, strictEqual } from 'node:assert/strict'
import { type AccountName, leafIndex } from '#core/base/ids.ts'
import { roomRange } from '#core/device/records.ts'
import { leafAt, parentAt } from '#core/mls/ratchet-tree.ts'
import { openPerson, type Person, roomShows, say, sees, signUp } from './people.ts'
import { away, back, withScene } from './scene.ts'

const options = { sanitizeOps: false, sanitizeResources: false }
const BOB = 'bob@localhost' as AccountName
const LEAF_OF_BOB = leafIndex(1)

type View = Parameters<Parameters<typeof roomShows>[2]>[0]

const hasMember = (account: string) => ({ members }: View): boolean =>
  members.some((member) => member.account === account)
const isWithout = (account: string) => (view: View): boolean => !hasMember(account)(view)
const isResynced = ({ items }: View): boolean =>
  items.some((item) => item.kind === 'event' && item.event === 'resynced')

async function certificatesOf(person: Person, room: string): Promise<number> {
  const range = { ...roomRange(room), limit: 100, descending: false }
  return (await person.store.readRange('certificates', range)).length
}

Deno.test(
  'ID-7: whom a void puts back has its certificate, and whom it takes out has none',
  options,
  async () => {
    await withScene(
      async ({ endpoint, alice, bob, carol, links, room, mallory, place, blinding }) => {
        const dave = await openPerson({ endpoint })
        await signUp(dave, 'dave')
        await away(bob, links.bob)
        // Both commits stand in the log before anybody has seen the first.
        for (const link of [links.alice, links.carol]) link.hold()
        const anew = await mallory.claim(BOB)
        await mallory.change(place, { removes: [LEAF_OF_BOB], adds: [anew] })
        const { tree } = place.group.public
        for (const key of [leafAt(tree, 0), leafAt(tree, 1), leafAt(tree, 2), parentAt(tree, 1)]) {
          if (key !== null) blinding.keys.push(key.encryptionKey)
        }
        const other = await mallory.claim('dave@localhost' as AccountName)
        const { body } = await mallory.commit(place, { removes: [LEAF_OF_BOB], adds: [other] })
        mallory.say('submitCommit', body, place.id)
        const above = await mallory.position(body.request)
        for (const link of [links.alice, links.carol]) link.release()
        await roomShows(alice, room, isWithout(BOB), 'the second commit')
        await roomShows(alice, room, hasMember(BOB), 'its end')
        await mallory.follow(place, above + 1n)
        await back(bob, links.bob)
        await roomShows(bob, room, isResynced, 'the way back')
        await say(bob, room, 'it is me')
        for (const person of [alice, carol]) {
          const view = await sees(person, room, 'it is me')
          ok(view.items.every((item) => item.kind !== 'unreadable'))
          deepStrictEqual(view.members.map(({ account }) => account).toSorted(), [
            'alice@localhost',
            BOB,
            'carol@localhost',
            'mallory@localhost',
          ])
          strictEqual(await certificatesOf(person, room), 4)
        }
        deepStrictEqual(dave.faults, [])
        await dave.sdk.close()
      },
    )
  },
)
