/**
 * Commits that not everybody can follow, against a real hub: what becomes of the epoch, of what was
 * said in it, and of who was left behind.
 */
import { deepStrictEqual, ok, strictEqual } from 'node:assert/strict'
import { createDialer } from '#browser/webtransport-dialer.ts'
import { leafAt, parentAt } from '#core/mls/ratchet-tree.ts'
import { startHub } from '../e2e/support/hub.ts'
import { cutLink } from '../support/cut-links.ts'
import { appShows, openPerson, roomShows, say, sees, sent, signUp, texts } from './people.ts'
import { away, back, withScene } from './scene.ts'
import { refusingDialer } from './tampering.ts'

const options = { sanitizeOps: false, sanitizeResources: false }

/** Above Alice's and Bob's leaves; whom it blinds, it blinds together. */
const NODE_OF_BOTH = 1

Deno.test(
  'VOTE-3, VOTE-4: a commit that most cannot follow is void, and what was said in it goes again',
  options,
  async () => {
    await withScene(async ({ alice, bob, carol, links, room, mallory, place, blinding }) => {
      const both = parentAt(place.group.public.tree, NODE_OF_BOTH)
      ok(both !== null, 'Alice and Bob share a node')
      blinding.keys.push(both.encryptionKey)
      // Bob is away: until he comes, Alice and Carol are one against one, which decides nothing.
      await away(bob, links.bob)
      const { body } = await mallory.commit(place, {})
      mallory.say('submitCommit', body, place.id)
      const commit = await mallory.position(body.request)
      await mallory.follow(place, commit + 1n)
      // Carol follows, agrees, and speaks in an epoch that will not stay.
      await say(carol, room, 'said in the air')
      const early = await sent(carol, room, 'said in the air')
      await say(alice, room, 'waited for the verdict')
      await back(bob, links.bob)
      for (const person of [alice, bob, carol]) {
        const view = await roomShows(
          person,
          room,
          (shown) =>
            texts(shown).includes('said in the air') &&
            texts(shown).includes('waited for the verdict') &&
            shown.items.every((item) => item.kind !== 'message' || item.position !== null),
          'both',
        )
        deepStrictEqual(texts(view).toSorted(), ['said in the air', 'waited for the verdict'])
        ok(view.items.every((item) => item.kind !== 'unreadable'))
      }
      const places = (view: typeof early) =>
        view.items.find((item) => item.kind === 'message' && item.text === 'said in the air')
      const late = await roomShows(
        carol,
        room,
        (view) => places(view)?.position !== places(early)?.position,
        'another place',
      )
      ok(Number(places(late)?.position) > Number(commit))
    })
  },
)

Deno.test(
  'JOIN-5, VOTE-7: who cannot follow a commit that becomes final takes its place anew',
  options,
  async () => {
    await withScene(async ({ alice, bob, carol, links, room, mallory, place, blinding }) => {
      const leaf = leafAt(place.group.public.tree, 2)
      ok(leaf !== null, 'Carol has a leaf')
      blinding.keys.push(leaf.encryptionKey)
      // Carol is away until both others have agreed, and so the epoch is final when she comes.
      await away(carol, links.carol)
      await mallory.change(place, {})
      blinding.keys.length = 0
      await say(alice, room, 'agreed')
      await sees(bob, room, 'agreed')
      await say(bob, room, 'agreed too')
      await sees(alice, room, 'agreed too')
      await back(carol, links.carol)
      const resynced = (view: Parameters<Parameters<typeof roomShows>[2]>[0]) =>
        view.items.some((item) => item.kind === 'event' && item.event === 'resynced')
      for (const person of [alice, bob, carol]) {
        const view = await roomShows(person, room, resynced, 'the way back')
        const event = view.items.find((item) => item.kind === 'event' && item.event === 'resynced')
        strictEqual(event?.kind === 'event' ? event.subject : null, 'carol@localhost')
        strictEqual(view.members.length, 4)
      }
      await say(carol, room, 'back again')
      await sees(alice, room, 'back again')
      await say(bob, room, 'welcome back')
      await sees(carol, room, 'welcome back')
    })
  },
)

Deno.test(
  'VOTE-4, JOIN-7: whose way in became void comes in anew, with what was said on it',
  options,
  async () => {
    const hub = await startHub()
    const endpoint = `http://localhost:${hub.port}`
    let blinded = false
    try {
      const links = { alice: cutLink(createDialer()), carol: cutLink(createDialer()) }
      const alice = await openPerson({ endpoint, dialer: links.alice })
      const carol = await openPerson({ endpoint, dialer: links.carol })
      const bob = await openPerson({
        endpoint,
        crypto: (port) => ({
          ...port,
          encapsulate: async (kem, publicKey, randomness) => {
            const made = await port.encapsulate(kem, publicKey, randomness)
            return made !== null && blinded ? { ...made, sharedSecret: new Uint8Array(32) } : made
          },
        }),
      })
      for (const [person, name] of [[alice, 'alice'], [bob, 'bob'], [carol, 'carol']] as const) {
        await signUp(person, name)
      }
      const room = await alice.sdk.createRoom({ title: 'Larks' })
      await roomShows(alice, room, (view) => view.summary.state === 'live', 'a live room')
      const link = await alice.sdk.invite({ room })
      await carol.sdk.joinByLink(link)
      await roomShows(carol, room, (view) => view.summary.state === 'live', 'carol in the room')
      // Nobody is there to say that they cannot follow, until Bob has spoken.
      await away(alice, links.alice)
      await away(carol, links.carol)
      blinded = true
      await bob.sdk.joinByLink(link)
      await roomShows(bob, room, (view) => view.summary.state === 'live', 'bob, as he sees it')
      blinded = false
      await say(bob, room, 'too early')
      const early = await sent(bob, room, 'too early')
      await back(alice, links.alice)
      await back(carol, links.carol)
      await roomShows(bob, room, (view) => view.summary.state === 'joining', 'the way out')
      for (const person of [alice, carol, bob]) {
        const view = await roomShows(
          person,
          room,
          (shown) => shown.summary.state === 'live' && texts(shown).includes('too early'),
          'the text, from within',
        )
        deepStrictEqual(texts(view), ['too early'])
        strictEqual(view.members.length, 3)
      }
      const placeOf = (view: typeof early) =>
        view.items.find((item) => item.kind === 'message')?.position ?? null
      const late = await sent(bob, room, 'too early')
      ok(Number(placeOf(late)) > Number(placeOf(early)))
      for (const person of [alice, bob, carol]) {
        deepStrictEqual(person.faults, [])
        await person.sdk.close()
      }
    } finally {
      await hub.close()
    }
  },
)

Deno.test(
  'ROOM-11: whoever is let in above an open epoch learns the title, too',
  options,
  async () => {
    const hub = await startHub()
    try {
      const endpoint = `http://localhost:${hub.port}`
      const links = { bob: cutLink(createDialer()), carol: cutLink(createDialer()) }
      const alice = await openPerson({ endpoint })
      const bob = await openPerson({ endpoint, dialer: links.bob })
      const carol = await openPerson({ endpoint, dialer: links.carol })
      const dan = await openPerson({ endpoint })
      await signUp(alice, 'alice')
      await signUp(bob, 'bob')
      await signUp(carol, 'carol')
      await signUp(dan, 'dan')
      const room = await alice.sdk.createRoom({ title: 'Larks' })
      await roomShows(alice, room, (view) => view.summary.state === 'live', 'a live room')
      await alice.sdk.addMember({ room, account: 'bob@localhost' })
      await roomShows(bob, room, (view) => view.summary.state === 'live', 'bob in')
      // Nobody is there to agree, so that both epochs stay open.
      await away(bob, links.bob)
      await away(carol, links.carol)
      await alice.sdk.addMember({ room, account: 'carol@localhost' })
      await say(alice, room, 'behind the title for carol')
      await sent(alice, room, 'behind the title for carol')
      await alice.sdk.addMember({ room, account: 'dan@localhost' })
      await appShows(dan, ({ rooms }) => rooms[0]?.title === 'Larks', 'the title')
      for (const person of [alice, bob, carol, dan]) {
        deepStrictEqual(person.faults, [])
        await person.sdk.close()
      }
    } finally {
      await hub.close()
    }
  },
)

Deno.test(
  'VOTE-2, WIRE-5: a vote that the hub could not store is given again',
  options,
  async () => {
    let [isOpen, wasRefused] = [false, false]
    const given = { count: 0 }
    const dialer = refusingDialer({
      kind: 'submitVote',
      given,
      refusal: () => {
        if (!isOpen || wasRefused) return null
        wasRefused = true
        return { kind: 'unavailable', retryAfterMs: 0 }
      },
    })
    await withScene(async ({ bob, carol, links, room, mallory, place }) => {
      await away(bob, links.bob)
      // Who speaks has given every vote before.
      await say(carol, room, 'agreed')
      const { items } = await sent(carol, room, 'agreed')
      const said = items.find((item) => item.kind === 'message')
      await mallory.follow(place, BigInt(said?.position ?? 0) + 1n)
      isOpen = true
      given.count = 0
      const { body } = await mallory.commit(place, {})
      mallory.say('submitCommit', body, place.id)
      const commit = await mallory.position(body.request)
      // The commit, the votes of Alice and of Carol, and the verdict.
      await mallory.follow(place, commit + 4n)
      strictEqual(wasRefused, true)
      strictEqual(given.count, 2)
      await back(bob, links.bob)
    }, { carols: dialer })
  },
)
