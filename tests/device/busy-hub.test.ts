/** A hub that says it is too much: what was asked waits for as long as it says, and goes then. */
import { deepStrictEqual, strictEqual } from 'node:assert/strict'
import { createDialer } from '#browser/webtransport-dialer.ts'
import type { Dialer } from '#core/device/transport.ts'
import { BODIES, type BodyKind, decodeMessage, encodeMessage } from '#core/wire/bodies.ts'
import { NO_ROOM, type RequestId } from '#core/base/ids.ts'
import { parseFrame } from '#core/wire/frame.ts'
import { startHub } from '../e2e/support/hub.ts'
import { openPerson, roomShows, say, sees, signUp, texts } from './people.ts'

const RETRY_MS = 300

/** Refuses the first frame of a kind in the hub's place, with `tooMany`. */
function busyDialer(kind: BodyKind, refused: { count: number }): Dialer {
  const dialer = createDialer()
  return {
    dial: (endpoint, listener) =>
      dialer.dial(endpoint, {
        framesReceived: (frames) => listener.framesReceived(frames),
        closed: () => listener.closed(),
        opened: (transport) =>
          listener.opened({
            kind: transport.kind,
            sendDatagram: (frame) => transport.sendDatagram(frame),
            close: () => transport.close(),
            send(bytes) {
              const request = refused.count === 0 ? requestIn(bytes, kind) : null
              if (request === null) return transport.send(bytes)
              refused.count++
              const refusal = { kind: 'tooMany' as const, retryAfterMs: RETRY_MS }
              const body = { request, opcode: BODIES[kind][0], refusal }
              Promise.resolve().then(() =>
                listener.framesReceived([encodeMessage('refused', NO_ROOM, body)])
              )
            },
          }),
      }),
  }
}

function requestIn(bytes: Uint8Array, kind: BodyKind): RequestId | null {
  const frame = parseFrame(bytes)
  const decoded = frame.kind === 'frame' ? decodeMessage(frame) : null
  if (decoded?.kind !== 'message' || decoded.message.kind !== kind) return null
  return 'request' in decoded.message.body ? decoded.message.body.request : null
}

const options = { sanitizeOps: false, sanitizeResources: false }
const kinds = ['submitFrame', 'submitCommit', 'subscribe', 'createRoom'] as const

for (const kind of kinds) {
  Deno.test(`WIRE-5, DEV-5: a ${kind} that was too much goes later, once`, options, async () => {
    const hub = await startHub()
    const endpoint = `http://localhost:${hub.port}`
    const refused = { count: 0 }
    try {
      const alice = await openPerson({ endpoint, dialer: busyDialer(kind, refused) })
      const bob = await openPerson({ endpoint })
      await signUp(alice, 'alice')
      await signUp(bob, 'bob')
      const room = await alice.sdk.createRoom({ title: 'Later' })
      await roomShows(alice, room, (view) => view.summary.state === 'live', 'a live room')
      await alice.sdk.addMember({ room, account: 'bob@localhost' })
      await say(alice, room, 'in the end')
      const view = await sees(bob, room, 'in the end')
      deepStrictEqual(texts(view), ['in the end'])
      strictEqual(refused.count, 1)
      deepStrictEqual([...alice.faults, ...bob.faults], [])
      await alice.sdk.close()
      await bob.sdk.close()
    } finally {
      await hub.close()
    }
  })
}
