/** Epochs that are not final on a device: over a restart, before a forged verdict, and lost. */
import { deepStrictEqual, ok, strictEqual } from 'node:assert/strict'
import { roomRange } from '#core/device/records.ts'
import { decode, encode } from '#core/wire/codec.ts'
import { verdictEntryCodec } from '#core/wire/log-entry.ts'
import { startHub } from '../e2e/support/hub.ts'
import { openPerson, type Person, roomShows, say, sees, sent, signUp, texts } from './people.ts'
import { type Change, onEntries, tamperingDialer } from './tampering.ts'

const options = { sanitizeOps: false, sanitizeResources: false }

interface Pair {
  readonly endpoint: string
  readonly alice: Person
  readonly bob: Person
  readonly room: string
}

/** Alice made a room and added Bob, who receives what `change` makes of the hub's words. */
async function withPair(run: (pair: Pair) => Promise<void>, change?: Change): Promise<void> {
  const hub = await startHub()
  const endpoint = `http://localhost:${hub.port}`
  try {
    const alice = await openPerson({ endpoint })
    const dialer = change === undefined ? {} : { dialer: tamperingDialer(change) }
    const bob = await openPerson({ endpoint, ...dialer })
    await signUp(alice, 'alice')
    await signUp(bob, 'bob')
    const room = await alice.sdk.createRoom({ title: 'Larks' })
    await roomShows(alice, room, (view) => view.summary.state === 'live', 'a live room')
    await alice.sdk.addMember({ room, account: 'bob@localhost' })
    await roomShows(bob, room, (view) => view.summary.state === 'live', 'bob in the room')
    await run({ endpoint, alice, bob, room })
    deepStrictEqual([...alice.faults, ...bob.faults], [])
    await alice.sdk.close()
    await bob.sdk.close()
  } finally {
    await hub.close()
  }
}

Deno.test(
  'VOTE-5, VOTE-7: what is provisional outlives a restart, and is final when somebody comes',
  options,
  async () => {
    await withPair(async ({ endpoint, alice, bob, room }) => {
      await bob.sdk.close()
      const carol = await openPerson({ endpoint })
      await signUp(carol, 'carol')
      await alice.sdk.addMember({ room, account: 'carol@localhost' })
      await roomShows(carol, room, (view) => view.summary.state === 'live', 'carol in the room')
      await say(alice, room, 'one')
      await sees(carol, room, 'one')
      await say(carol, room, 'two')
      await sees(alice, room, 'two')
      await alice.sdk.close()
      await carol.sdk.close()
      const open = { ...roomRange(room), limit: 100, descending: false }
      const before = await alice.store.readRange('groups', open)
      strictEqual(before.length, 2, 'one epoch is open, and the votes on it')
      const [alice2, carol2] = [
        await openPerson({ endpoint, store: alice.store }),
        await openPerson({ endpoint, store: carol.store }),
      ]
      await say(alice2, room, 'three')
      await sees(carol2, room, 'three')
      await say(carol2, room, 'four')
      await sees(alice2, room, 'four')
      const bob2 = await openPerson({ endpoint, store: bob.store })
      await say(bob2, room, 'five')
      for (const person of [alice2, bob2, carol2]) {
        const view = await sees(person, room, 'five')
        deepStrictEqual(texts(view), ['one', 'two', 'three', 'four', 'five'])
        ok(view.items.every((item) => item.kind !== 'unreadable'))
        strictEqual(view.members.length, 3)
        deepStrictEqual(person.faults, [])
      }
      for (const person of [alice2, bob2, carol2]) {
        await person.sdk.close()
        // Nothing of a provisional epoch, and nothing of the outbox, is left.
        const range = { ...roomRange(room), limit: 100, descending: false }
        const groups = await person.store.readRange('groups', range)
        deepStrictEqual(groups.map(({ key }) => key), [`${room}:votes`])
        deepStrictEqual(await person.store.readRange('outbox', range), [])
        const chains = await person.store.readRange('chains', range)
        const epochs = new Set(chains.map(({ key }) => key.split(':')[1]))
        strictEqual(epochs.size, 1)
      }
    })
  },
)

Deno.test('VOTE-4: a verdict that the votes do not bear out stops the room', options, async () => {
  let forging = false
  const change: Change = (message) =>
    onEntries(message, 'verdict', (bytes) => {
      const entry = decode(verdictEntryCodec, bytes)
      ok(entry.kind === 'decoded')
      const verdict = forging ? 'void' : entry.value.verdict
      return { kind: 'whole', bytes: encode(verdictEntryCodec, { ...entry.value, verdict }) }
    })
  await withPair(async ({ alice, bob, room }) => {
    forging = true
    await alice.sdk.invite({ room })
    const view = await roomShows(bob, room, ({ summary }) => summary.state === 'broken', 'the end')
    strictEqual(view.summary.code, 'wrongVerdict')
  }, change)
})

Deno.test(
  'JOIN-5, DEV-3: a device that lost the state of a room walks the log and comes back',
  options,
  async () => {
    await withPair(async ({ endpoint, alice, bob, room }) => {
      await say(alice, room, 'before')
      await sees(bob, room, 'before')
      await bob.sdk.close()
      await bob.store.apply([{ kind: 'delete', table: 'groups', key: room }], 'strict')
      const again = await openPerson({ endpoint, store: bob.store })
      const isBack = (view: { readonly items: readonly { readonly kind: string }[] }) =>
        view.items.some((item) => 'event' in item && item.event === 'resynced')
      await roomShows(again, room, isBack, 'the way back')
      await roomShows(again, room, (view) => view.summary.state === 'live', 'a live room')
      await say(again, room, 'back')
      await sees(alice, room, 'back')
      await say(alice, room, 'after')
      const view = await sees(again, room, 'after')
      deepStrictEqual(texts(view), ['before', 'back', 'after'])
      await again.sdk.close()
      const last = await openPerson({ endpoint, store: bob.store })
      await say(last, room, 'and once more')
      await sees(alice, room, 'and once more')
      await sent(last, room, 'and once more')
      deepStrictEqual([...again.faults, ...last.faults], [])
      await last.sdk.close()
    })
  },
)
