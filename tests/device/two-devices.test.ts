/** Two and three people on the real SDK, engine and transports, against a real hub process. */
import { deepStrictEqual, ok, rejects, strictEqual } from 'node:assert/strict'
import { startHub } from '../e2e/support/hub.ts'
import { appShows, openPerson, roomShows, say, sees, signUp, texts } from './people.ts'

async function withHub(run: (endpoint: string) => Promise<void>): Promise<void> {
  const hub = await startHub()
  try {
    await run(`http://localhost:${hub.port}`)
  } finally {
    await hub.close()
  }
}

const options = { sanitizeOps: false, sanitizeResources: false }

Deno.test('JOIN-4, ROOM-11: two people talk after one joined by link', options, async () => {
  await withHub(async (endpoint) => {
    const alice = await openPerson({ endpoint })
    const bob = await openPerson({ endpoint })
    await signUp(alice, 'alice')
    await signUp(bob, 'bob')
    const room = await alice.sdk.createRoom({ title: 'Larks' })
    await say(alice, room, 'before')
    await sees(alice, room, 'before')
    await roomShows(alice, room, (view) => view.summary.state === 'live', 'a live room')
    const link = await alice.sdk.invite({ room })
    strictEqual(bob.sdk.readInvite(link)?.title, 'Larks')
    strictEqual(await bob.sdk.joinByLink(link), room)
    await roomShows(bob, room, (view) => view.summary.state === 'live', 'bob in the room')
    await say(bob, room, 'hello alice')
    await sees(alice, room, 'hello alice')
    await say(alice, room, 'hello bob')
    const view = await sees(bob, room, 'hello bob')
    deepStrictEqual(texts(view), ['hello alice', 'hello bob'])
    ok(view.members.some((member) => member.account === 'alice@localhost' && !member.own))
    ok(view.items.every((item) => item.kind !== 'unreadable'))
    deepStrictEqual([...alice.faults, ...bob.faults], [])
    await alice.sdk.close()
    await bob.sdk.close()
  })
})

Deno.test(
  'DEV-4, DEV-5: a restarted device has everything and sends what waited',
  options,
  async () => {
    await withHub(async (endpoint) => {
      const alice = await openPerson({ endpoint })
      await signUp(alice, 'alice')
      const room = await alice.sdk.createRoom({ title: 'Notes' })
      for (let index = 0; index < 70; index++) await say(alice, room, `note ${index}`)
      await roomShows(
        alice,
        room,
        (view) =>
          view.items.filter((item) => item.kind === 'message' && item.position !== null).length ===
            70,
        'seventy notes',
      )
      await alice.sdk.close()
      const offline = await openPerson({ endpoint: 'http://localhost:9', store: alice.store })
      await say(offline, room, 'written offline')
      await offline.sdk.close()
      const again = await openPerson({ endpoint, store: alice.store })
      const view = await roomShows(
        again,
        room,
        (shown) =>
          shown.items.some((item) =>
            item.kind === 'message' && item.text === 'written offline' && item.position !== null
          ),
        'the message that waited',
      )
      const expected = Array.from({ length: 70 }, (_, index) => `note ${index}`)
      deepStrictEqual(texts(view), [...expected, 'written offline'])
      deepStrictEqual([...alice.faults, ...again.faults], [])
      await again.sdk.close()
    })
  },
)

Deno.test('DIR-2, ROOM-5: a member is added by name', options, async () => {
  await withHub(async (endpoint) => {
    const alice = await openPerson({ endpoint })
    const bob = await openPerson({ endpoint })
    const carol = await openPerson({ endpoint })
    await signUp(alice, 'alice')
    await signUp(bob, 'bob')
    await signUp(carol, 'carol')
    const room = await alice.sdk.createRoom({ title: 'Three' })
    await roomShows(alice, room, (view) => view.summary.state === 'live', 'a live room')
    await alice.sdk.addMember({ room, account: 'bob@localhost' })
    await alice.sdk.addMember({ room, account: 'carol@localhost' })
    await rejects(alice.sdk.addMember({ room, account: 'nobody@localhost' }), /nobodyThere/)
    await rejects(alice.sdk.addMember({ room, account: 'bob@localhost' }), /alreadyMember/)
    await appShows(bob, (view) => view.rooms[0]?.title === 'Three', 'the title')
    await roomShows(carol, room, (view) => view.summary.state === 'live', 'carol in the room')
    await say(carol, room, 'carol here')
    await Promise.all([alice, bob].map((person) => sees(person, room, 'carol here')))
    await say(bob, room, 'and bob')
    await Promise.all([alice, carol].map((person) => sees(person, room, 'and bob')))
    deepStrictEqual([...alice.faults, ...bob.faults, ...carol.faults], [])
    for (const person of [alice, bob, carol]) await person.sdk.close()
  })
})

Deno.test('ID-4: a name is given once', options, async () => {
  await withHub(async (endpoint) => {
    const alice = await openPerson({ endpoint })
    const mallory = await openPerson({ endpoint })
    await signUp(alice, 'alice')
    await rejects(mallory.sdk.signUp({ name: 'alice', deviceName: 'x' }), /nameTaken/)
    await rejects(mallory.sdk.signUp({ name: 'Bad Name', deviceName: 'x' }), /badName/)
    await signUp(mallory, 'mallory')
    await alice.sdk.close()
    await mallory.sdk.close()
  })
})

Deno.test('SES-8: typing is shown to the others and ends with the message', options, async () => {
  await withHub(async (endpoint) => {
    const alice = await openPerson({ endpoint })
    const bob = await openPerson({ endpoint })
    await signUp(alice, 'alice')
    await signUp(bob, 'bob')
    const room = await alice.sdk.createRoom({ title: 'Typing' })
    await roomShows(alice, room, (view) => view.summary.state === 'live', 'a live room')
    await alice.sdk.addMember({ room, account: 'bob@localhost' })
    await roomShows(bob, room, (view) => view.summary.state === 'live', 'bob in the room')
    bob.sdk.setTyping(room)
    await roomShows(alice, room, (view) => view.typing.includes('bob@localhost'), 'typing')
    await say(bob, room, 'typed')
    await roomShows(
      alice,
      room,
      (view) => view.typing.length === 0 && texts(view).includes('typed'),
      'the end of typing',
    )
    await alice.sdk.close()
    await bob.sdk.close()
  })
})
