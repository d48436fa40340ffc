/**
 * What a device stores, and when: one transaction for each step, and what follows when it fails.
 */
import { deepStrictEqual, ok, strictEqual } from 'node:assert/strict'
import { createDialer } from '#browser/webtransport-dialer.ts'
import { fromBase64Url } from '#core/base/bytes.ts'
import type { RoomId } from '#core/base/ids.ts'
import { createNobleCrypto } from '#core/crypto/noble.ts'
import { suiteById } from '#core/crypto/suites.ts'
import { nodeOfKey, timelineRecordCodec } from '#core/device/records.ts'
import { createMemoryDeviceStore, type DeviceChange, type DeviceStore } from '#core/device/store.ts'
import type { Dialer } from '#core/device/transport.ts'
import { openWithSecret } from '#core/sender-keys/seal.ts'
import { decodeSealedFrame } from '#core/sender-keys/sealed-frame.ts'
import { decodeMessage } from '#core/wire/bodies.ts'
import { decode } from '#core/wire/codec.ts'
import { parseFrame } from '#core/wire/frame.ts'
import { startHub } from '../e2e/support/hub.ts'
import { openPerson, type Person, roomShows, say, sees, sent, signUp, texts } from './people.ts'

const options = { sanitizeOps: false, sanitizeResources: false }

interface WatchedStore {
  readonly store: DeviceStore
  readonly batches: (readonly DeviceChange[])[]
  /** The next write that `wanted` accepts is refused. */
  failOnce(wanted: (changes: readonly DeviceChange[]) => boolean): void
}

function watchedStore(): WatchedStore {
  const inner = createMemoryDeviceStore()
  const batches: (readonly DeviceChange[])[] = []
  let failing: ((changes: readonly DeviceChange[]) => boolean) | null = null
  return {
    batches,
    failOnce(wanted) {
      failing = wanted
    },
    store: {
      ...inner,
      apply(changes, durability) {
        if (failing?.(changes) === true) {
          failing = null
          return Promise.reject(new Error('no space'))
        }
        batches.push(changes)
        return inner.apply(changes, durability)
      },
    },
  }
}

const nodesIn = (changes: readonly DeviceChange[]) =>
  changes.flatMap((change) =>
    change.table === 'nodes' && change.kind !== 'deleteRange' ? [nodeOfKey(change.key)] : []
  )

const puts = (changes: readonly DeviceChange[], table: string) =>
  changes.filter((change) => change.kind === 'put' && change.table === table)

/** Keeps the sealed frames that arrive as entries. */
function listeningDialer(frames: Uint8Array[]): Dialer {
  const dialer = createDialer()
  return {
    dial: (endpoint, listener) =>
      dialer.dial(endpoint, {
        ...listener,
        opened: (transport) => listener.opened(transport),
        closed: () => listener.closed(),
        framesReceived(received) {
          for (const bytes of received) frames.push(...sealedFrames(bytes))
          listener.framesReceived(received)
        },
      }),
  }
}

function sealedFrames(bytes: Uint8Array): readonly Uint8Array[] {
  const frame = parseFrame(bytes)
  const decoded = frame.kind === 'frame' ? decodeMessage(frame) : null
  if (decoded?.kind !== 'message' || decoded.message.kind !== 'entries') return []
  return decoded.message.body.entries.flatMap(({ header, body }) =>
    header.entry === 'frame' && body.kind === 'whole' ? [body.bytes] : []
  )
}

interface Scene {
  readonly alice: Person
  readonly bob: Person
  readonly room: string
  readonly watched: WatchedStore & { readonly endpoint: string }
  readonly frames: readonly Uint8Array[]
}

/** Alice made a room and added Bob, whose store and frames are watched. */
async function withScene(run: (scene: Scene) => Promise<void>): Promise<void> {
  const hub = await startHub()
  const endpoint = `http://localhost:${hub.port}`
  const watched = watchedStore()
  const frames: Uint8Array[] = []
  try {
    const alice = await openPerson({ endpoint })
    const dialer = listeningDialer(frames)
    const bob = await openPerson({ endpoint, store: watched.store, dialer })
    await signUp(alice, 'alice')
    await signUp(bob, 'bob')
    const room = await alice.sdk.createRoom({ title: 'Stored' })
    await roomShows(alice, room, (view) => view.summary.state === 'live', 'a live room')
    await alice.sdk.addMember({ room, account: 'bob@localhost' })
    await roomShows(bob, room, (view) => view.summary.title === 'Stored', 'bob in the room')
    await run({ alice, bob, room, watched: { ...watched, endpoint }, frames })
    deepStrictEqual([...alice.faults, ...bob.faults], [])
    await alice.sdk.close()
    await bob.sdk.close()
  } finally {
    await hub.close()
  }
}

Deno.test('DEV-8: position, text and chain of an entry are one transaction', options, async () => {
  await withScene(async ({ alice, bob, room, watched }) => {
    watched.batches.length = 0
    await say(alice, room, 'one transaction')
    await sees(bob, room, 'one transaction')
    const withText = watched.batches.filter((changes) => puts(changes, 'timeline').length > 0)
    strictEqual(withText.length, 1)
    const [batch] = withText
    ok(batch !== undefined)
    strictEqual(puts(batch, 'rooms').length, 1)
    ok(puts(batch, 'chains').length >= 1)
  })
})

Deno.test(
  'VOTE-7: a commit writes what it changed of the tree, and nothing else',
  options,
  async () => {
    await withScene(async ({ alice, bob, room, watched }) => {
      for (const text of ['carol', 'dave']) {
        const person = await openPerson({ endpoint: watched.endpoint })
        await signUp(person, text)
        await alice.sdk.addMember({ room, account: `${text}@localhost` })
        await roomShows(person, room, ({ summary }) => summary.state === 'live', text)
        await person.sdk.close()
      }
      await roomShows(bob, room, ({ members }) => members.length === 4, 'four members')
      watched.batches.length = 0
      await alice.sdk.invite({ room })
      const isMade = (view: { readonly items: readonly { readonly kind: string }[] }) =>
        view.items.some((item) => 'event' in item && item.event === 'invitationMade')
      await roomShows(bob, room, isMade, 'the link')
      await say(alice, room, 'after it')
      await sees(bob, room, 'after it')
      const written = new Set(watched.batches.flatMap((changes) => nodesIn(changes)))
      // Alice's leaf, its parent and the root; no leaf of anybody else.
      deepStrictEqual([...written].toSorted(), [0, 1, 3])
    })
  },
)

Deno.test('DEV-7, DEV-1: a text that could not be stored comes again, once', options, async () => {
  await withScene(async ({ alice, bob, room, watched }) => {
    watched.failOnce((changes) => puts(changes, 'timeline').length > 0)
    await say(alice, room, 'stored at the second try')
    await sees(bob, room, 'stored at the second try')
    await say(alice, room, 'and the next')
    const view = await sees(bob, room, 'and the next')
    deepStrictEqual(texts(view), ['stored at the second try', 'and the next'])
  })
})

Deno.test('DEV-7, DEV-4: a message that could not be stored is not sent', options, async () => {
  await withScene(async ({ alice, bob, room, watched }) => {
    watched.failOnce((changes) => puts(changes, 'outbox').length > 0)
    const failed = await say(bob, room, 'never stored').then(() => null, (error) => error.code)
    strictEqual(failed, 'storeFailed')
    await say(bob, room, 'stored')
    const view = await sees(alice, room, 'stored')
    deepStrictEqual(texts(view), ['stored'])
  })
})

Deno.test('DEV-4: the same id is sent once, also again after it was sent', options, async () => {
  await withScene(async ({ alice, bob, room }) => {
    const message = { room, text: 'only once', id: 'the-same-id' }
    await bob.sdk.sendMessage(message)
    await bob.sdk.sendMessage(message)
    await sent(bob, room, 'only once')
    await bob.sdk.sendMessage(message)
    await say(bob, room, 'after')
    deepStrictEqual(texts(await sees(alice, room, 'after')), ['only once', 'after'])
  })
})

Deno.test(
  'KEY-8: the stored message secret opens this one frame and no other',
  options,
  async () => {
    await withScene(async ({ alice, bob, room, watched, frames }) => {
      await say(alice, room, 'reported')
      await sees(bob, room, 'reported')
      await say(alice, room, 'private')
      await sees(bob, room, 'private')
      const records = await watched.store.readRange('timeline', {
        from: `${room}:`,
        to: `${room};`,
        limit: 100,
        descending: false,
      })
      const secrets = records.flatMap(({ value }) => {
        const decoded = decode(timelineRecordCodec, value)
        return decoded.kind === 'decoded' && decoded.value.item.kind === 'message'
          ? [decoded.value.item]
          : []
      })
      const [reported, secretNext] = secrets
      ok(reported !== undefined && secretNext !== undefined)
      const outcomes = frames.map((bytes) => {
        const frame = decodeSealedFrame(bytes)
        ok(frame !== null)
        const suite = suiteById(frame.header.suite)
        ok(suite !== null)
        const id = fromBase64Url(room) as RoomId
        const sealed = { suite, room: id, frame }
        return openWithSecret(createNobleCrypto(), sealed, reported.messageSecret)
      })
      const opened = outcomes.filter((outcome) => outcome.kind === 'opened')
      strictEqual(opened.length, 1)
      deepStrictEqual(opened[0]?.plaintext, reported.content)
      ok(
        outcomes.some((outcome) =>
          outcome.kind === 'refused' && outcome.code === 'wrongCommitment'
        ),
      )
    })
  },
)

Deno.test(
  'ID-6, ID-7: names come with the log, and nobody asks the directory',
  options,
  async () => {
    await withScene(async ({ bob, room }) => {
      const view = await roomShows(bob, room, ({ members }) => members.length === 2, 'two members')
      const names = view.members.map((member) => [member.account, member.deviceName])
      deepStrictEqual(names, [['alice@localhost', 'Test device'], ['bob@localhost', 'Test device']])
    })
  },
)
