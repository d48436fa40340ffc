/** What a hub or a member can make of a device with input made for it. */
import { deepStrictEqual, ok, strictEqual } from 'node:assert/strict'
import { createDialer } from '#browser/webtransport-dialer.ts'
import { fromBase64Url } from '#core/base/bytes.ts'
import { type HubDomain, logPosition, NO_ROOM, type RoomId, type TimeMs } from '#core/base/ids.ts'
import { LIMITS } from '#core/base/limits.ts'
import { createNobleCrypto } from '#core/crypto/noble.ts'
import type { Dialer } from '#core/device/transport.ts'
import {
  decodeContent,
  encodeContent,
  previewText,
  textContent,
} from '#core/content/mimi-content.ts'
import { decodeMessage, encodeMessage, type Message } from '#core/wire/bodies.ts'
import { parseFrame } from '#core/wire/frame.ts'
import { HandDevice, makeIdentity } from '../support/hand-device.ts'
import { startHub } from '../e2e/support/hub.ts'
import { openPerson, type Person, roomShows, say, signUp } from '../device/people.ts'
import { sentBy } from '../support/sent-by.ts'

type Change = (message: Message) => readonly Message[]

/** A dialer through which a test changes both directions. */
function tamperingDialer(received: Change, said: (message: Message) => void): Dialer {
  const dialer = createDialer()
  const read = (bytes: Uint8Array): Message | null => {
    const frame = parseFrame(bytes)
    const decoded = frame.kind === 'malformed' ? null : decodeMessage(frame)
    return decoded?.kind === 'message' ? decoded.message : null
  }
  return {
    dial: (endpoint, listener) =>
      dialer.dial(endpoint, {
        opened: (transport) =>
          listener.opened(sentBy(transport, (frame) => {
            const message = read(frame)
            if (message !== null) said(message)
            transport.send(frame)
          })),
        closed: () => listener.closed(),
        framesReceived(frames) {
          listener.framesReceived(frames.flatMap((bytes) => {
            const message = read(bytes)
            if (message === null) return [bytes]
            return received(message)
              .map(({ kind, room, body }) => encodeMessage(kind, room, body as never))
          }))
        },
      }),
  }
}

interface Pair {
  readonly alice: Person
  readonly bob: Person
  readonly room: string
}

/** Bob is let in by link; `change` is what the hub makes of what he receives. */
async function withJoiner(
  tampering: { readonly received: Change; readonly said: (message: Message) => void },
  run: (pair: Pair) => Promise<void>,
): Promise<void> {
  const hub = await startHub()
  const endpoint = `http://localhost:${hub.port}`
  try {
    const alice = await openPerson({ endpoint })
    const dialer = tamperingDialer(tampering.received, tampering.said)
    const bob = await openPerson({ endpoint, dialer })
    await signUp(alice, 'alice')
    await signUp(bob, 'bob')
    const room = await alice.sdk.createRoom({ title: 'Larks' })
    await roomShows(alice, room, (view) => view.summary.state === 'live', 'a live room')
    await bob.sdk.joinByLink(await alice.sdk.invite({ room }))
    await run({ alice, bob, room })
    deepStrictEqual([...alice.faults, ...bob.faults], [])
    await alice.sdk.close()
    await bob.sdk.close()
  } finally {
    await hub.close()
  }
}

const options = { sanitizeOps: false, sanitizeResources: false }

Deno.test(
  'JOIN-4: nothing is said in a room before the own commit stands in its log',
  options,
  async () => {
    const said: Message[] = []
    const submitted = Promise.withResolvers<void>()
    // The hub takes Bob's commit, and keeps from him all that it writes into the log.
    let hiding = false
    const received: Change = (message) =>
      hiding && (message.kind === 'entries' || message.kind === 'head') ? [] : [message]
    const tampering = {
      received,
      said(message: Message) {
        said.push(message)
        if (message.kind !== 'submitCommit') return
        hiding = true
        submitted.resolve()
      },
    }
    await withJoiner(tampering, async ({ alice, bob, room }) => {
      await submitted.promise
      await roomShows(alice, room, ({ members }) => members.length === 2, 'bob, for the others')
      const refused = await say(bob, room, 'to whoever is there').catch((error) => error.code)
      strictEqual(refused, 'roomNotLive')
      await bob.sdk.addMember({ room, account: 'nobody@localhost' }).catch(() => null)
      strictEqual(said.some(({ kind }) => kind === 'submitFrame'), false)
      const view = await roomShows(bob, room, () => true, 'the room')
      strictEqual(view.summary.state, 'joining')
    })
  },
)

Deno.test(
  'ROOM-7: the entry that added the device cannot be left out as a hole',
  options,
  async () => {
    const received: Change = (message) => {
      if (message.kind === 'head') return []
      if (message.kind !== 'entries') return [message]
      const { first, entries } = message.body
      const holes = entries.map((entry) =>
        entry.header.entry === 'commit'
          ? { ...entry, body: { kind: 'hole' as const, hash: new Uint8Array(32) } }
          : entry
      )
      return [{ ...message, body: { first, entries: holes } }]
    }
    const hub = await startHub()
    const endpoint = `http://localhost:${hub.port}`
    try {
      const alice = await openPerson({ endpoint })
      const bob = await openPerson({ endpoint, dialer: tamperingDialer(received, () => {}) })
      await signUp(alice, 'alice')
      await signUp(bob, 'bob')
      const room = await alice.sdk.createRoom({ title: 'Larks' })
      await roomShows(alice, room, (view) => view.summary.state === 'live', 'a live room')
      await alice.sdk.addMember({ room, account: 'bob@localhost' })
      const isRefused = ({ summary }: { summary: { state: string } }) =>
        summary.state === 'joinRefused'
      const view = await roomShows(bob, room, isRefused, 'the refusal')
      strictEqual(view.summary.code, 'brokenLog')
      await alice.sdk.close()
      await bob.sdk.close()
    } finally {
      await hub.close()
    }
  },
)

Deno.test('DEV-8: what a room list shows of the longest text fits its record', () => {
  // Longer than the app lets anybody write, and no longer than a plaintext may be.
  const uri = 'mimi://hub.example/u/mallory'
  const options = { salt: new Uint8Array(16), senderUri: uri, roomUri: uri }
  const long = 'x'.repeat(LIMITS.plaintextSizeMax - 256)
  const decoded = decodeContent(encodeContent(textContent({ ...options, text: long })))
  ok(decoded.kind === 'decoded')
  const text = previewText(decoded.value)
  strictEqual(text, 'x'.repeat(LIMITS.previewMax))
  const half = textContent({ ...options, text: `x${'\u{10ffff}'.repeat(LIMITS.previewMax)}` })
  strictEqual(previewText(half), `x${'\u{10ffff}'.repeat(LIMITS.previewMax / 2 - 1)}`)
})

Deno.test(
  'ROOM-5: a KeyPackage that cannot be committed takes nobody with it',
  options,
  async () => {
    const hub = await startHub()
    const endpoint = `http://localhost:${hub.port}`
    try {
      const parts = {
        crypto: createNobleCrypto(),
        clock: { nowMs: () => Date.now() as TimeMs },
        entropy: {
          randomBytes: (length: number) => crypto.getRandomValues(new Uint8Array(length)),
        },
        domain: 'localhost' as HubDomain,
      }
      const mallory = new HandDevice(parts, await makeIdentity(parts, 'mallory'))
      await mallory.connect(createDialer(), endpoint)
      // Valid from tomorrow on: no member may add it today.
      const day = 86_400_000
      const lifetime = mallory.lifetime({
        notBefore: Date.now() + day,
        notAfter: Date.now() + 2 * day,
      })
      const { keyPackage } = await mallory.makeKeyPackage(lifetime)
      const { certificate, device } = mallory.self
      const received: Change = (message) => {
        if (message.kind !== 'keyPackages') return [message]
        const claimed = [{ device, keyPackage, lastResort: false, certificate }]
        return [{ ...message, body: { ...message.body, claimed } }]
      }
      const alice = await openPerson({ endpoint, dialer: tamperingDialer(received, () => {}) })
      await signUp(alice, 'alice')
      const room = await alice.sdk.createRoom({ title: 'Larks' })
      await roomShows(alice, room, (view) => view.summary.state === 'live', 'a live room')
      const added = alice.sdk.addMember({ room, account: 'mallory@localhost' })
      strictEqual(await added.then(() => null, (error) => error.code), 'malformed')
      // The room goes on: a link is committed all the same.
      ok((await alice.sdk.invite({ room })).length > 0)
      mallory.hangUp()
      await mallory.closed
      deepStrictEqual(alice.faults, [])
      await alice.sdk.close()
    } finally {
      await hub.close()
    }
  },
)

Deno.test('SES-2: nothing of a room is heard from a hub that is not proven', options, async () => {
  const hub = await startHub()
  const endpoint = `http://localhost:${hub.port}`
  try {
    const before = await openPerson({ endpoint })
    await signUp(before, 'alice')
    const room = await before.sdk.createRoom({ title: 'Larks' })
    await roomShows(before, room, (view) => view.summary.state === 'live', 'a live room')
    await before.sdk.close()
    const said: Message[] = []
    const id = fromBase64Url(room) as RoomId
    const unasked: Message = {
      kind: 'welcome',
      room: NO_ROOM,
      body: { id: 1n, room: id, position: logPosition(0n), welcome: new Uint8Array(8) },
    }
    const received: Change = (message) =>
      message.kind === 'greeting' ? [unasked, message] : [message]
    const subscribed = Promise.withResolvers<void>()
    const dialer = tamperingDialer(received, (message) => {
      said.push(message)
      if (message.kind === 'subscribe') subscribed.resolve()
    })
    const again = await openPerson({ endpoint, store: before.store, dialer })
    await subscribed.promise
    strictEqual(said.some(({ kind }) => kind === 'welcomeReceived'), false)
    await again.sdk.close()
  } finally {
    await hub.close()
  }
})
