/**
 * A hub that says it is too much: what was asked waits for as long as it says, and goes then; and
 * one that ends what it was asked to follow.
 */
import { deepStrictEqual, ok, strictEqual } from 'node:assert/strict'
import { startHub } from '../e2e/support/hub.ts'
import { cutLink } from '../support/cut-links.ts'
import { openPerson, roomShows, say, sees, sent, signUp, texts } from './people.ts'
import { away, back } from './scene.ts'
import { refusingDialer, type TamperingDialer, tamperingDialer } from './tampering.ts'

const BUSY = { kind: 'tooMany', retryAfterMs: 300 } as const

const options = { sanitizeOps: false, sanitizeResources: false }
const kinds = ['submitFrame', 'submitCommit', 'subscribe', 'createRoom'] as const

for (const kind of kinds) {
  Deno.test(`WIRE-5, DEV-5: a ${kind} that was too much goes later, once`, options, async () => {
    const hub = await startHub()
    const endpoint = `http://localhost:${hub.port}`
    const given = { count: 0 }
    const refusal = () => given.count === 1 ? BUSY : null
    try {
      const alice = await openPerson({ endpoint, dialer: refusingDialer({ kind, refusal, given }) })
      const bob = await openPerson({ endpoint })
      await signUp(alice, 'alice')
      await signUp(bob, 'bob')
      const room = await alice.sdk.createRoom({ title: 'Later' })
      await roomShows(alice, room, (view) => view.summary.state === 'live', 'a live room')
      await alice.sdk.addMember({ room, account: 'bob@localhost' })
      await say(alice, room, 'in the end')
      const view = await sees(bob, room, 'in the end')
      deepStrictEqual(texts(view), ['in the end'])
      ok(given.count > 1, 'it was given again')
      deepStrictEqual([...alice.faults, ...bob.faults], [])
      await alice.sdk.close()
      await bob.sdk.close()
    } finally {
      await hub.close()
    }
  })
}

Deno.test(
  'HUB-5, ROOM-6: a device goes on where the end of a subscription overtakes its beginning',
  options,
  async () => {
    const hub = await startHub()
    try {
      const endpoint = `http://localhost:${hub.port}`
      // The next subscription ends at once; what it would have shown does not come.
      let [endsNext, isEnded] = [false, false]
      const dialer: TamperingDialer = tamperingDialer((message) => {
        if (message.kind === 'entries' || message.kind === 'head') return isEnded ? null : message
        if (message.kind !== 'subscribed') return message
        isEnded = endsNext
        endsNext = false
        const { room, body: { next: position } } = message
        if (isEnded) dialer.say({ kind: 'catchUp', room, body: { position } })
        return message
      })
      const link = cutLink(dialer)
      const alice = await openPerson({ endpoint })
      const bob = await openPerson({ endpoint, dialer: link })
      await signUp(alice, 'alice')
      await signUp(bob, 'bob')
      const room = await alice.sdk.createRoom({ title: 'Larks' })
      await roomShows(alice, room, (view) => view.summary.state === 'live', 'a live room')
      await alice.sdk.addMember({ room, account: 'bob@localhost' })
      await roomShows(bob, room, (view) => view.summary.state === 'live', 'bob in')
      await away(bob, link)
      await say(alice, room, 'while he was away')
      await sent(alice, room, 'while he was away')
      endsNext = true
      await back(bob, link)
      await sees(bob, room, 'while he was away')
      strictEqual(endsNext, false, 'a subscription ended')
      await say(alice, room, 'and after')
      await sees(bob, room, 'and after')
      for (const person of [alice, bob]) {
        deepStrictEqual(person.faults, [])
        await person.sdk.close()
      }
    } finally {
      await hub.close()
    }
  },
)
