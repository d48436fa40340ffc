/** Links: joining while nobody is there, limits, taking back, and a hub that lies to who joins. */
import { deepStrictEqual, ok, rejects, strictEqual } from 'node:assert/strict'
import { concat } from '#core/base/bytes.ts'
import { decodeInviteLink, encodeInviteLink } from '#core/identity/invitation.ts'
import {
  decodeGroupAnswer,
  encodeGroupAnswer,
  type GroupAnswer,
} from '#core/policy/group-request.ts'
import type { Message } from '#core/wire/bodies.ts'
import { startHub } from '../e2e/support/hub.ts'
import { openPerson, type Person, roomShows, say, sees, sent, signUp, texts } from './people.ts'
import { type Change, onEntries, tamperingDialer } from './tampering.ts'

const options = { sanitizeOps: false, sanitizeResources: false }

/** Alice alone in a room of a hub. */
async function withRoom(
  run: (scene: {
    readonly endpoint: string
    readonly alice: Person
    readonly room: string
  }) => Promise<void>,
): Promise<void> {
  const hub = await startHub()
  const endpoint = `http://localhost:${hub.port}`
  try {
    const alice = await openPerson({ endpoint })
    await signUp(alice, 'alice')
    const room = await alice.sdk.createRoom({ title: 'Larks' })
    await roomShows(alice, room, (view) => view.summary.state === 'live', 'a live room')
    await run({ endpoint, alice, room })
    deepStrictEqual(alice.faults, [])
    await alice.sdk.close()
  } finally {
    await hub.close()
  }
}

async function person(endpoint: string, name: string, change?: Change): Promise<Person> {
  const dialer = change === undefined ? {} : { dialer: tamperingDialer(change) }
  const opened = await openPerson({ endpoint, ...dialer })
  await signUp(opened, name)
  return opened
}

const refusal = async (who: Person, room: string) => {
  const isRefused = ({ summary }: { summary: { state: string } }) => summary.state === 'joinRefused'
  return (await roomShows(who, room, isRefused, 'a refusal')).summary.code
}

Deno.test('JOIN-3, JOIN-4: by a link one joins while nobody is there', options, async () => {
  await withRoom(async ({ endpoint, alice, room }) => {
    await say(alice, room, 'before')
    const link = await alice.sdk.invite({ room })
    await sent(alice, room, 'before')
    await alice.sdk.close()
    const bob = await person(endpoint, 'bob')
    const carol = await person(endpoint, 'carol')
    for (const guest of [bob, carol]) {
      strictEqual(await guest.sdk.joinByLink(link), room)
      await roomShows(guest, room, (view) => view.summary.state === 'live', 'a guest in')
    }
    await say(bob, room, 'nobody home')
    await sees(carol, room, 'nobody home')
    await say(carol, room, 'we wait')
    await sees(bob, room, 'we wait')
    const again = await openPerson({ endpoint, store: alice.store })
    const view = await sees(again, room, 'we wait')
    deepStrictEqual(texts(view), ['before', 'nobody home', 'we wait'])
    const names = view.members.map(({ account }) => account)
    deepStrictEqual(names, ['alice@localhost', 'bob@localhost', 'carol@localhost'])
    ok(view.items.every((item) => item.kind !== 'unreadable'))
    await say(again, room, 'home')
    await Promise.all([bob, carol].map((guest) => sees(guest, room, 'home')))
    for (const each of [again, bob, carol]) {
      deepStrictEqual(each.faults, [])
      await each.sdk.close()
    }
  })
})

Deno.test('ROOM-4, JOIN-4: many come by one link at once', options, async () => {
  await withRoom(async ({ endpoint, alice, room }) => {
    const link = await alice.sdk.invite({ room })
    const guests: Person[] = []
    for (let index = 0; index < 6; index++) guests.push(await person(endpoint, `guest${index}`))
    await Promise.all(guests.map(async (guest, index) => {
      await guest.sdk.joinByLink(link)
      await roomShows(guest, room, ({ summary }) => summary.state === 'live', `guest ${index}`)
      await say(guest, room, `guest ${index}`)
    }))
    await roomShows(alice, room, (view) => texts(view).length === guests.length, 'all of them')
    await say(alice, room, 'all here')
    for (const each of [alice, ...guests]) {
      const view = await sees(each, room, 'all here')
      strictEqual(view.members.length, guests.length + 1)
      ok(view.items.every((item) => item.kind !== 'unreadable'))
    }
    for (const guest of guests) {
      deepStrictEqual(guest.faults, [])
      await guest.sdk.close()
    }
  })
})

Deno.test('ROOM-8: a link opens as often as it says', options, async () => {
  await withRoom(async ({ endpoint, alice, room }) => {
    const limits = { usesMax: 1, lifetimeMs: 3_600_000 }
    const link = await alice.sdk.invite({ room, limits })
    const bob = await person(endpoint, 'bob')
    const carol = await person(endpoint, 'carol')
    await bob.sdk.joinByLink(link)
    await roomShows(bob, room, (view) => view.summary.state === 'live', 'bob in the room')
    await carol.sdk.joinByLink(link)
    strictEqual(await refusal(carol, room), 'invitationSpent')
    const view = await roomShows(alice, room, ({ members }) => members.length === 2, 'bob')
    deepStrictEqual(view.invitations.map(({ uses, usesMax }) => [uses, usesMax]), [[1, 1]])
    // A link that is used up is not given again.
    const another = await alice.sdk.invite({ room })
    ok(another !== link)
    strictEqual(await alice.sdk.invite({ room }), another)
    await rejects(alice.sdk.invite({ room, limits: { ...limits, usesMax: 0 } }), /badLimits/)
    await bob.sdk.close()
    await carol.sdk.close()
  })
})

Deno.test('POLICY-2: a link that was taken back opens nothing', options, async () => {
  await withRoom(async ({ endpoint, alice, room }) => {
    const link = await alice.sdk.invite({ room })
    const listed = await roomShows(alice, room, (view) => view.invitations.length === 1, 'it')
    const [invitation] = listed.invitations
    strictEqual(invitation?.fragment, link)
    await alice.sdk.revokeInvitation({ room, id: invitation?.id ?? '' })
    const view = await roomShows(alice, room, (shown) => shown.invitations.length === 0, 'none')
    const events = view.items.flatMap((item) => item.kind === 'event' ? [item.event] : [])
    deepStrictEqual(events, ['created', 'invitationMade', 'invitationRevoked'])
    const bob = await person(endpoint, 'bob')
    await bob.sdk.joinByLink(link)
    // To who has no right a room that exists and one that does not are the same.
    strictEqual(await refusal(bob, room), 'unknownRoom')
    await rejects(
      alice.sdk.revokeInvitation({ room, id: invitation?.id ?? '' }),
      /unknownInvitation/,
    )
    await bob.sdk.close()
  })
})

Deno.test("JOIN-3: who is not of the link's root vouches for nothing", options, async () => {
  await withRoom(async ({ endpoint, alice, room }) => {
    const link = decodeInviteLink(await alice.sdk.invite({ room }))
    ok(link !== null)
    const other = encodeInviteLink({ ...link, inviterRootHash: new Uint8Array(32).fill(9) })
    const bob = await person(endpoint, 'bob')
    await bob.sdk.joinByLink(other)
    strictEqual(await refusal(bob, room), 'badAnchor')
    await bob.sdk.close()
  })
})

/** Collects the parts of the group and gives them on as one, changed. */
function onGroup(change: (answer: GroupAnswer) => GroupAnswer): Change {
  const parts: Uint8Array[] = []
  return (message: Message) => {
    if (message.kind !== 'group') return message
    parts.push(message.body.bytes)
    if (!message.body.last) return null
    const answer = decodeGroupAnswer(concat(...parts))
    ok(answer !== null)
    const bytes = encodeGroupAnswer(change(answer))
    return { ...message, body: { ...message.body, sequence: 0, last: true, bytes } }
  }
}

const lies: readonly {
  readonly title: string
  readonly code: string
  readonly change: Change
}[] = [
  {
    title: 'JOIN-3, JOIN-7: without an anchor nobody joins',
    code: 'noAnchor',
    change: onGroup((answer) => ({ ...answer, anchor: null })),
  },
  {
    title: "ROOM-3, JOIN-7: a tree that is not the anchor's is refused",
    code: 'badAnchor',
    change: onGroup((answer) => {
      const ratchetTree = answer.ratchetTree.slice()
      const middle = ratchetTree.length >> 1
      ratchetTree[middle] = (ratchetTree[middle] as number) ^ 1
      return { ...answer, ratchetTree }
    }),
  },
  {
    title: 'ID-7, JOIN-7: a leaf without its certificate is refused',
    code: 'badCertificate',
    change: onGroup((answer) => ({ ...answer, certificates: answer.certificates.slice(1) })),
  },
  {
    title: 'JOIN-7, LOG-2: a commit above the anchor cannot be left out as a hole',
    code: 'brokenLog',
    change: (message) => {
      const hash = new Uint8Array(32)
      return onEntries(message, 'commit', () => ({ kind: 'hole', hash }))
    },
  },
]

for (const { title, code, change } of lies) {
  Deno.test(title, options, async () => {
    await withRoom(async ({ endpoint, alice, room }) => {
      const link = await alice.sdk.invite({ room })
      const bob = await person(endpoint, 'bob', change)
      await bob.sdk.joinByLink(link)
      strictEqual(await refusal(bob, room), code)
      const view = await roomShows(alice, room, () => true, 'the room')
      strictEqual(view.members.length, 1)
      await bob.sdk.close()
    })
  })
}
