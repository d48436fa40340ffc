/**
 * What was said by somebody who then lost the room and came back, against a real hub: it is neither
 * lost nor shown twice.
 */
import { deepStrictEqual, ok, strictEqual } from 'node:assert/strict'
import { leafIndex } from '#core/base/ids.ts'
import { leafAt, parentAt } from '#core/mls/ratchet-tree.ts'
import type { RoomView } from '#sdk'
import { openPerson, roomShows, say, sees, sent, signUp, texts } from './people.ts'
import { away, back, type Scene, withScene } from './scene.ts'
import { tamperingDialer } from './tampering.ts'

const options = { sanitizeOps: false, sanitizeResources: false }
const LIMITS = { usesMax: 5, lifetimeMs: 3_600_000 }
const SAID = 'pay a hundred'

/** Alice says something, and Mallory follows the log as far as that. */
async function onward({ alice, room, mallory, place }: Scene, text: string): Promise<void> {
  await say(alice, room, text)
  const view = await sent(alice, room, text)
  const item = view.items.find((each) => each.kind === 'message' && each.text === text)
  await mallory.follow(place, BigInt(Number(item?.position)) + 1n)
}

const voidAbove = ({ place }: Scene, commit: bigint): boolean =>
  place.entries.some(({ entry, position }) => entry.header.entry === 'verdict' && position > commit)

const saidIn = ({ items }: RoomView) =>
  items.filter((item) => item.kind === 'message' && item.text === SAID)

/** Carol is not connected, and no member when this is done. */
async function removeCarol(scene: Scene): Promise<void> {
  const { alice, mallory, place, room } = scene
  await mallory.change(place, { removes: [leafIndex(2)] })
  await roomShows(alice, room, ({ members }) => members.length === 3, 'without carol')
  await onward(scene, 'final by now')
}

async function carolIsOut({ carol, links, room }: Scene): Promise<void> {
  await back(carol, links.carol)
  await roomShows(carol, room, ({ summary }) => summary.state === 'removed', 'removed')
}

async function carolIsIn({ carol, room }: Scene): Promise<RoomView> {
  await roomShows(carol, room, ({ summary }) => summary.state === 'live', 'back')
  await say(carol, room, 'here again')
  return await sent(carol, room, 'here again')
}

interface Deafness {
  isOn: boolean
}

/** Carol hears no entry and no answer while she is deaf. */
async function withDeafCarol(run: (scene: Scene, deafness: Deafness) => Promise<void>) {
  const deafness = { isOn: false }
  const carols = tamperingDialer((message) =>
    deafness.isOn && (message.kind === 'entries' || message.kind === 'accepted') ? null : message
  )
  await withScene((scene) => run(scene, deafness), { carols })
}

/** The hub takes what Carol says, she never learns it, and is removed. */
async function sayUnheard(scene: Scene, deafness: Deafness): Promise<void> {
  const { alice, carol, links, room } = scene
  deafness.isOn = true
  await say(carol, room, SAID)
  await sees(alice, room, SAID)
  await onward(scene, 'seen')
  await away(carol, links.carol)
  await removeCarol(scene)
  deafness.isOn = false
  await carolIsOut(scene)
}

Deno.test(
  'JOIN-7, VOTE-4: who walks the log finds its frame above a void, and says it once',
  options,
  async () => {
    await withDeafCarol(async (scene, deafness) => {
      const { alice, carol, room, mallory, place, blinding } = scene
      const both = parentAt(place.group.public.tree, 1)
      const leaf = leafAt(place.group.public.tree, 2)
      ok(both !== null && leaf !== null)
      blinding.keys.push(both.encryptionKey, leaf.encryptionKey)
      const { body } = await mallory.commit(place, {})
      mallory.say('submitCommit', body, place.id)
      const commit = await mallory.position(body.request)
      await onward(scene, 'above the void')
      ok(voidAbove(scene, commit), 'a void')
      blinding.keys.length = 0
      await sees(carol, room, 'above the void')
      await sayUnheard(scene, deafness)
      await alice.sdk.addMember({ room, account: 'carol@localhost' })
      strictEqual(saidIn(await carolIsIn(scene)).length, 1)
      strictEqual(saidIn(await sees(alice, room, 'here again')).length, 1)
    })
  },
)

Deno.test(
  'DEV-5, JOIN-7: what stands below the walk of its author is said again, as the same message',
  options,
  async () => {
    await withDeafCarol(async (scene, deafness) => {
      const { endpoint, alice, carol, room } = scene
      await sayUnheard(scene, deafness)
      const link = await alice.sdk.invite({ room, limits: LIMITS })
      const dave = await openPerson({ endpoint })
      await signUp(dave, 'dave')
      await dave.sdk.joinByLink(link)
      await roomShows(dave, room, ({ summary }) => summary.state === 'live', 'dave')
      await carol.sdk.joinByLink(link)
      strictEqual(saidIn(await carolIsIn(scene)).length, 1)
      // Who came meanwhile reads it; who has it knows it by its message id.
      strictEqual(saidIn(await sees(dave, room, 'here again')).length, 1)
      strictEqual(saidIn(await sees(alice, room, 'here again')).length, 1)
      await dave.sdk.close()
    })
  },
)

/** Carol says it in an epoch that becomes void while she is away, and is removed. */
async function sayInVain(scene: Scene): Promise<void> {
  const { bob, carol, links, room, mallory, place, blinding } = scene
  const both = parentAt(place.group.public.tree, 1)
  ok(both !== null)
  blinding.keys.push(both.encryptionKey)
  await away(bob, links.bob)
  const { body } = await mallory.commit(place, {})
  mallory.say('submitCommit', body, place.id)
  const commit = await mallory.position(body.request)
  await say(carol, room, SAID)
  await sent(carol, room, SAID)
  await away(carol, links.carol)
  blinding.keys.length = 0
  await back(bob, links.bob)
  await onward(scene, 'above the void')
  ok(voidAbove(scene, commit), 'a void')
  await removeCarol(scene)
  await carolIsOut(scene)
}

const waysBack: readonly (readonly [string, (scene: Scene) => Promise<unknown>])[] = [
  [
    'by link',
    async ({ alice, carol, room }) =>
      carol.sdk.joinByLink(await alice.sdk.invite({ room, limits: LIMITS })),
  ],
  ['by Welcome', ({ alice, room }) => alice.sdk.addMember({ room, account: 'carol@localhost' })],
]

for (const [name, comeBack] of waysBack) {
  Deno.test(
    `VOTE-4, DEV-5: what became void while its author was away is said by who is back ${name}`,
    options,
    async () => {
      await withScene(async (scene) => {
        const { alice, carol, room } = scene
        await sayInVain(scene)
        const out = saidIn(await sees(carol, room, SAID))
        deepStrictEqual(out.map((item) => item.position), [null])
        await comeBack(scene)
        strictEqual(saidIn(await carolIsIn(scene)).length, 1)
        const view = await sees(alice, room, 'here again')
        deepStrictEqual(texts(view).slice(-2), [SAID, 'here again'])
        strictEqual(saidIn(view).length, 1)
      })
    },
  )
}
