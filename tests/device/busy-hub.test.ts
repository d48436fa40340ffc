/** A hub that says it is too much: what was asked waits for as long as it says, and goes then. */
import { deepStrictEqual, ok } from 'node:assert/strict'
import { startHub } from '../e2e/support/hub.ts'
import { openPerson, roomShows, say, sees, signUp, texts } from './people.ts'
import { refusingDialer } from './tampering.ts'

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
