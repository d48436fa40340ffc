/**
 * Who has a seat when verdicts fall, against a real hub: a member that is removed and added again
 * by two open commits, or on its way in, and one whose Welcome is to an epoch that no commit makes.
 */
import { deepStrictEqual, strictEqual } from 'node:assert/strict'
import { type AccountName, leafIndex, type LogPosition } from '#core/base/ids.ts'
import { cutLink } from '../support/cut-links.ts'
import { appShows, openPerson, roomShows, signUp } from './people.ts'
import { addBySpoiledWelcome, blindAliceAndBob } from './scene.ts'
import { hasMember, isLive, isResynced, isWithout, judged, type Scene, talk } from './scene.ts'
import { withScene } from './scene.ts'
import { tamperingDialer } from './tampering.ts'

const options = { sanitizeOps: false, sanitizeResources: false }
const CAROL = 'carol@localhost' as AccountName
const DAVE = 'dave@localhost' as AccountName
const LEAF_OF_CAROL = leafIndex(2)
const LEAF_OF_DAVE = leafIndex(4)

interface Commits {
  readonly removal: LogPosition
  readonly addition: LogPosition
}

/** Carol is removed and added again by two commits that stand in the log before anybody votes. */
async function removedAndAdded(
  scene: Scene,
  { isBlind }: { readonly isBlind: boolean },
): Promise<Commits> {
  const { links, mallory, place } = scene
  const all = [links.alice, links.bob, links.carol]
  for (const link of all) link.hold()
  const removal = await mallory.change(place, { removes: [LEAF_OF_CAROL] })
  if (isBlind) blindAliceAndBob(scene)
  const { body } = await mallory.commit(place, { adds: [await mallory.claim(CAROL)] })
  mallory.say('submitCommit', body, place.id)
  const addition = await mallory.position(body.request)
  for (const link of all) link.release()
  return { removal, addition }
}

Deno.test(
  'VOTE-4: who was added again above its own removal is out when that becomes void',
  options,
  async () => {
    await withScene(async (scene) => {
      const { alice, carol, room, mallory, place } = scene
      const { removal, addition } = await removedAndAdded(scene, { isBlind: true })
      strictEqual(await judged(mallory, place, addition), 'void')
      strictEqual(await judged(mallory, place, removal), 'final')
      await roomShows(carol, room, ({ summary }) => summary.state === 'removed', 'Carol out')
      await roomShows(alice, room, isWithout(CAROL), 'the room without Carol')
      await alice.sdk.addMember({ room, account: CAROL })
      await roomShows(carol, room, isLive, 'Carol in')
      await talk(room, carol, alice, 'here')
    })
  },
)

Deno.test(
  'VOTE-4, JOIN-5: who was added again above its own removal stays when both become final',
  options,
  async () => {
    // No Welcome tells Carol where she stands, only the log.
    let isTold = true
    const carols = tamperingDialer((message) =>
      message.kind === 'welcome' && !isTold ? null : message
    )
    await withScene(async (scene) => {
      const { alice, carol, room, mallory, place } = scene
      isTold = false
      const { removal, addition } = await removedAndAdded(scene, { isBlind: false })
      strictEqual(await judged(mallory, place, removal), 'final')
      strictEqual(await judged(mallory, place, addition), 'final')
      await roomShows(alice, room, isResynced, 'her way in')
      await talk(room, carol, alice, 'here')
    }, { carols })
  },
)

Deno.test(
  'ROOM-7, JOIN-5: who is added with a Welcome to another epoch comes in',
  options,
  async () => {
    await withScene(async ({ endpoint, alice, room, mallory, place }) => {
      const dave = await openPerson({ endpoint })
      await signUp(dave, 'dave')
      const adds = [await mallory.claim(DAVE)]
      const other = await mallory.commit(place, { adds })
      const { body } = await mallory.commit(place, { adds })
      mallory.say('submitCommit', { ...body, welcome: other.body.welcome }, place.id)
      await mallory.position(body.request)
      await roomShows(alice, room, hasMember(DAVE), 'Dave in the room')
      await roomShows(alice, room, isResynced, 'his way in')
      await appShows(dave, ({ rooms }) => rooms.some(({ state }) => state === 'live'), 'a room')
      await talk(room, dave, alice, 'here')
      deepStrictEqual(dave.faults, [])
      await dave.sdk.close()
    })
  },
)

Deno.test(
  'JOIN-5: who is removed for good on its way in does not wait for ever',
  options,
  async () => {
    await withScene(async (scene) => {
      const { endpoint, mallory, place } = scene
      const asked = Promise.withResolvers<void>()
      const link = cutLink(tamperingDialer((message) => {
        if (message.kind !== 'subscribed') return message
        link.hold()
        asked.resolve()
        return message
      }))
      const dave = await openPerson({ endpoint, dialer: link })
      await signUp(dave, 'dave')
      // Dave walks the log, to come in by a commit of his own.
      const { next, position } = await addBySpoiledWelcome(scene, DAVE)
      await mallory.follow(place, position + 1n)
      mallory.adopt(place, next)
      await asked.promise
      const removal = await mallory.change(place, { removes: [LEAF_OF_DAVE] })
      strictEqual(await judged(mallory, place, removal), 'final')
      link.release()
      await appShows(dave, ({ rooms }) => rooms.some(({ state }) => state === 'removed'), 'the end')
      deepStrictEqual(dave.faults, [])
      await dave.sdk.close()
    })
  },
)
