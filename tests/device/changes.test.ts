/**
 * Changes of who is in a room by a member that means harm, against a real hub: who is taken out and
 * put back while away, and who is let in by a Welcome that opens nothing.
 */
import { deepStrictEqual, ok, strictEqual } from 'node:assert/strict'
import { type AccountName, leafIndex } from '#core/base/ids.ts'
import { roomRange } from '#core/device/records.ts'
import { leafAt, parentAt } from '#core/mls/ratchet-tree.ts'
import type { RoomView } from '#sdk'
import { appShows, openPerson, type Person, roomShows, say, sees, signUp } from './people.ts'
import { addBySpoiledWelcome, blindAliceAndBob } from './scene.ts'
import { away, back, hasMember, isLive, isResynced, isWithout, judged } from './scene.ts'
import { type Scene, talk, withScene } from './scene.ts'
import { tamperingDialer } from './tampering.ts'

const options = { sanitizeOps: false, sanitizeResources: false }
const BOB = 'bob@localhost' as AccountName
const CAROL = 'carol@localhost' as AccountName
const DAVE = 'dave@localhost' as AccountName
const LEAF_OF_BOB = leafIndex(1)
const LEAF_OF_CAROL = leafIndex(2)

const lastJoined = ({ items }: RoomView): string | null => {
  const last = items.findLast((item) => item.kind === 'event' && item.event === 'joined')
  return last?.kind === 'event' ? last.subject : null
}

/** Carol is away; she is removed for good, and a commit that adds her again is final. */
async function addedAgain(scene: Scene, add: () => Promise<unknown>): Promise<void> {
  const { alice, carol, links, room, mallory, place } = scene
  await away(carol, links.carol)
  const removal = await mallory.change(place, { removes: [LEAF_OF_CAROL] })
  await roomShows(alice, room, isWithout(CAROL), 'the room without Carol')
  strictEqual(await judged(mallory, place, removal), 'final')
  await add()
  await roomShows(alice, room, hasMember(CAROL), 'the room with Carol')
  while (mallory.lastCommit(place).position === removal) {
    await mallory.follow(place, place.next + 1n)
  }
  strictEqual(await judged(mallory, place, mallory.lastCommit(place).position), 'final')
}

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
        const other = await mallory.claim(DAVE)
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

Deno.test(
  'ROOM-7: who was removed and added again while away comes in, and by the whole log again',
  options,
  async () => {
    await withScene(async (scene) => {
      const { endpoint, alice, carol, links, room } = scene
      await addedAgain(scene, () => alice.sdk.addMember({ room, account: CAROL }))
      await back(carol, links.carol)
      const isIn = (view: RoomView) => isLive(view) && lastJoined(view) === CAROL
      await roomShows(carol, room, isIn, 'Carol in')
      await talk(room, carol, alice, 'here')
      // The removal that is in the past does not end the walk of who lost the room's state.
      await carol.sdk.close()
      await carol.store.apply([{ kind: 'delete', table: 'groups', key: room }], 'strict')
      const again = await openPerson({ endpoint, store: carol.store })
      await roomShows(again, room, isResynced, 'the way back')
      await talk(room, again, alice, 'and again')
      deepStrictEqual(again.faults, [])
      await again.sdk.close()
    })
  },
)

Deno.test(
  'ROOM-7, JOIN-5: who was added again by a Welcome that opens nothing comes in',
  options,
  async () => {
    await withScene(async (scene) => {
      const { alice, carol, links, room } = scene
      await addedAgain(scene, () => addBySpoiledWelcome(scene, CAROL))
      await back(carol, links.carol)
      await roomShows(alice, room, isResynced, 'her way in')
      await roomShows(carol, room, isLive, 'Carol in')
      await talk(room, carol, alice, 'here')
    })
  },
)

Deno.test(
  'ROOM-7, JOIN-5: whom a Welcome that opens nothing adds comes in, also after a restart',
  options,
  async () => {
    await withScene(async (scene) => {
      const { endpoint, alice, room } = scene
      const dave = await openPerson({ endpoint })
      await signUp(dave, 'dave')
      await dave.sdk.close()
      await addBySpoiledWelcome(scene, DAVE)
      const again = await openPerson({ endpoint, store: dave.store })
      await roomShows(alice, room, isResynced, 'his way in')
      await appShows(again, ({ rooms }) => rooms.some(({ state }) => state === 'live'), 'a room')
      await talk(room, again, alice, 'here')
      await again.sdk.close()
      let offered = 0
      const dialer = tamperingDialer((message) => {
        if (message.kind === 'welcome') offered++
        return message
      })
      const last = await openPerson({ endpoint, store: dave.store, dialer })
      await talk(room, last, alice, 'still here')
      strictEqual(offered, 0, 'the hub has forgotten the Welcome')
      deepStrictEqual([...again.faults, ...last.faults], [])
      await last.sdk.close()
    })
  },
)

Deno.test(
  'JOIN-5, VOTE-4: who lost its state waits for what becomes of its removal',
  options,
  async () => {
    await withScene(
      async (scene) => {
        const { endpoint, alice, bob, carol, links, room, mallory, place } = scene
        await carol.sdk.close()
        await carol.store.apply([{ kind: 'delete', table: 'groups', key: room }], 'strict')
        await away(alice, links.alice)
        await away(bob, links.bob)
        blindAliceAndBob(scene)
        const { body } = await mallory.commit(place, { removes: [LEAF_OF_CAROL] })
        mallory.say('submitCommit', body, place.id)
        await mallory.position(body.request)
        const again = await openPerson({ endpoint, store: carol.store })
        await roomShows(again, room, isWithout(CAROL), 'the end of the log')
        await back(alice, links.alice)
        await back(bob, links.bob)
        await roomShows(again, room, isResynced, 'the way back')
        await talk(room, again, alice, 'here')
        deepStrictEqual(again.faults, [])
        await again.sdk.close()
      },
    )
  },
)

Deno.test(
  'JOIN-5: who lost the state of a room keeps nothing of it, and nobody who has left since',
  options,
  async () => {
    await withScene(async ({ endpoint, alice, bob, room, mallory, place }) => {
      const range = { ...roomRange(room), limit: 1_000, descending: false }
      const chains = async () => (await bob.store.readRange('chains', range)).map(({ key }) => key)
      await bob.sdk.close()
      await bob.store.apply([{ kind: 'delete', table: 'groups', key: room }], 'strict')
      const lost = await chains()
      ok(lost.length > 0)
      await mallory.change(place, { removes: [LEAF_OF_CAROL] })
      await roomShows(alice, room, isWithout(CAROL), 'the room without Carol')
      const again = await openPerson({ endpoint, store: bob.store })
      await roomShows(again, room, (view) => isResynced(view) && isLive(view), 'the way back')
      await talk(room, again, alice, 'here')
      const kept = await chains()
      deepStrictEqual(lost.filter((key) => kept.includes(key)), [])
      await again.sdk.close()
      const last = await openPerson({ endpoint, store: bob.store })
      await talk(room, last, alice, 'and now')
      const view = await roomShows(last, room, isLive, 'the room')
      deepStrictEqual(view.members.map(({ account }) => account).toSorted(), [
        'alice@localhost',
        BOB,
        'mallory@localhost',
      ])
      deepStrictEqual([...again.faults, ...last.faults], [])
      await last.sdk.close()
    })
  },
)
