/**
 * A hub, or somebody on the way, that changes what a device receives: what the device does then.
 */
import { deepStrictEqual, ok, strictEqual } from 'node:assert/strict'
import { logPosition } from '#core/base/ids.ts'
import type { Body, Message } from '#core/wire/bodies.ts'
import { type Change, onEntries, type TamperingDialer, tamperingDialer } from './tampering.ts'
import { startHub } from '../e2e/support/hub.ts'
import { openPerson, type Person, roomShows, say, sees, sent, signUp, texts } from './people.ts'

/** Changes the bodies of sealed frames that arrive as log entries. */
function onFrames(
  message: Message,
  change: (bytes: Uint8Array, position: bigint) => Uint8Array | null,
): Message {
  return onEntries(message, 'frame', (bytes, position) => {
    const changed = change(bytes, position)
    return changed === null ? null : { kind: 'whole', bytes: changed }
  })
}

interface Pair {
  readonly alice: Person
  readonly bob: Person
  readonly room: string
}

/** Alice talks over an honest way, Bob receives what `change` makes of it. */
async function withPair(change: Change, run: (pair: Pair) => Promise<void>): Promise<void> {
  const hub = await startHub()
  const endpoint = `http://localhost:${hub.port}`
  try {
    const alice = await openPerson({ endpoint })
    const bob = await openPerson({ endpoint, dialer: tamperingDialer(change) })
    await signUp(alice, 'alice')
    await signUp(bob, 'bob')
    const room = await alice.sdk.createRoom({ title: 'Larks' })
    await roomShows(alice, room, (view) => view.summary.state === 'live', 'a live room')
    await alice.sdk.addMember({ room, account: 'bob@localhost' })
    await roomShows(bob, room, (view) => view.summary.state === 'live', 'bob in the room')
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
  'DEV-9, SEAL-7: a changed frame is shown as unreadable, and the next as a fork',
  options,
  async () => {
    let changing = false
    const change: Change = (message) =>
      onFrames(message, (bytes) => {
        if (!changing) return bytes
        changing = false
        const changed = bytes.slice()
        const last = changed.length - 1
        changed[last] = (changed[last] as number) ^ 1
        return changed
      })
    await withPair(change, async ({ alice, bob, room }) => {
      await say(alice, room, 'honest')
      await sees(bob, room, 'honest')
      changing = true
      await say(alice, room, 'changed on the way')
      await sent(alice, room, 'changed on the way')
      const shown = await roomShows(
        bob,
        room,
        (view) =>
          view.items.some((item) => item.kind === 'unreadable') || view.summary.state === 'broken',
        'the refusal',
      )
      ok(!texts(shown).includes('changed on the way'))
      const item = shown.items.find((each) => each.kind === 'unreadable')
      strictEqual(item?.code, 'wrongSignature')
      await say(alice, room, 'after it')
      const broken = await roomShows(
        bob,
        room,
        (view) => view.summary.state === 'broken',
        'the fork',
      )
      strictEqual(broken.summary.code, 'fork')
    })
  },
)

Deno.test(
  'LOG-5, LOG-3: an entry that is left out with a shifted log is found out',
  options,
  async () => {
    let hidden: bigint | null = null
    let hiding = false
    const change: Change = (message) => {
      if (message.kind === 'head') return hidden === null ? message : null
      if (message.kind !== 'entries') return message
      const shown = onFrames(message, (bytes, position) => {
        if (!hiding || (hidden !== null && hidden !== position)) return bytes
        hidden = position
        return null
      })
      const { first, entries } = shown.body as Body<'entries'>
      const shift = hidden !== null && first > hidden ? 1n : 0n
      return { ...message, body: { first: logPosition(first - shift), entries } }
    }
    await withPair(change, async ({ alice, bob, room }) => {
      await say(alice, room, 'shown')
      await sees(bob, room, 'shown')
      hiding = true
      await say(alice, room, 'hidden from bob')
      await sent(alice, room, 'hidden from bob')
      await say(alice, room, 'written after the hidden one')
      await say(alice, room, 'and one more')
      const broken = await roomShows(
        bob,
        room,
        (view) => view.summary.state === 'broken',
        'the fork',
      )
      strictEqual(broken.summary.code, 'fork')
      ok(!texts(broken).includes('hidden from bob'))
    })
  },
)

Deno.test('ROOM-6: a gap in what arrives is asked for again', options, async () => {
  let dropped = 0
  const change: Change = (message) => {
    if (message.kind !== 'entries' || dropped > 0) return message
    const isFrame = message.body.entries.some((entry) => entry.header.entry === 'frame')
    const later = message.body.first > 2n
    if (!isFrame || !later) return message
    dropped++
    return null
  }
  await withPair(change, async ({ alice, bob, room }) => {
    for (const text of ['one', 'two', 'three']) {
      await say(alice, room, text)
      await sent(alice, room, text)
    }
    await say(alice, room, 'four')
    const view = await sees(bob, room, 'four')
    deepStrictEqual(texts(view), ['one', 'two', 'three', 'four'])
    strictEqual(dropped, 1)
  })
})

Deno.test('SES-2: a hub with another key is not spoken to again', options, async () => {
  const first = await startHub()
  const alice = await openPerson({ endpoint: `http://localhost:${first.port}` })
  await signUp(alice, 'alice')
  await alice.sdk.close()
  await first.close()
  const second = await startHub()
  try {
    const again = await openPerson({
      endpoint: `http://localhost:${second.port}`,
      store: alice.store,
    })
    const code = await new Promise<string>((resolve) => {
      const stop = again.sdk.subscribe((view) => {
        if (view.connection.kind !== 'refused') return
        resolve(view.connection.code)
        Promise.resolve().then(() => stop())
      })
    })
    strictEqual(code, 'otherHub')
    await again.sdk.close()
  } finally {
    await second.close()
  }
})

Deno.test('DEV-9: a fault of ours in one room leaves the others alone', options, async () => {
  const hub = await startHub()
  const endpoint = `http://localhost:${hub.port}`
  try {
    const alice = await openPerson({ endpoint })
    const carol = await openPerson({ endpoint })
    let faulty = false
    const bob = await openPerson({
      endpoint,
      crypto: (port) => ({
        ...port,
        decapsulate: (...args) =>
          faulty ? Promise.reject(new Error('a fault')) : port.decapsulate(...args),
      }),
    })
    for (const [person, name] of [[alice, 'alice'], [bob, 'bob'], [carol, 'carol']] as const) {
      await signUp(person, name)
    }
    const rooms: string[] = []
    for (const title of ['Faulty', 'Sound']) {
      const room = await alice.sdk.createRoom({ title })
      await roomShows(alice, room, (view) => view.summary.state === 'live', 'a live room')
      await alice.sdk.addMember({ room, account: 'bob@localhost' })
      await roomShows(bob, room, (view) => view.summary.state === 'live', 'bob in the room')
      rooms.push(room)
    }
    const [broke = '', sound = ''] = rooms
    faulty = true
    await alice.sdk.addMember({ room: broke, account: 'carol@localhost' })
    const broken = await roomShows(bob, broke, ({ summary }) => summary.state === 'broken', 'it')
    strictEqual(broken.summary.code, 'internal')
    await say(alice, sound, 'still here')
    await sees(bob, sound, 'still here')
    strictEqual(bob.faults.length, 1)
    for (const person of [alice, bob, carol]) await person.sdk.close()
  } finally {
    await hub.close()
  }
})

Deno.test('ROOM-6: entries that are none are nothing', options, async () => {
  const hub = await startHub()
  const endpoint = `http://localhost:${hub.port}`
  try {
    let count = 0
    const dialer: TamperingDialer = tamperingDialer((message) => {
      const { kind, room } = message
      if (kind !== 'subscribed') return message
      dialer.say(message)
      dialer.say({ kind: 'entries', room, body: { first: logPosition(0n), entries: [] } })
      count++
      return null
    })
    const alice = await openPerson({ endpoint, dialer })
    await signUp(alice, 'alice')
    const room = await alice.sdk.createRoom({ title: 'Larks' })
    await roomShows(alice, room, (view) => view.summary.state === 'live', 'a live room')
    await say(alice, room, 'here')
    await sees(alice, room, 'here')
    ok(count > 0)
    deepStrictEqual(alice.faults, [])
    await alice.sdk.close()
  } finally {
    await hub.close()
  }
})

Deno.test('LOG-4: a hub whose clock runs back stops the room', options, async () => {
  let back = 0n
  const change: Change = (message) => {
    if (message.kind !== 'entries') return message
    const entries = message.body.entries.map((entry) => {
      const { header } = entry
      return { ...entry, header: { ...header, time: header.time - back } }
    })
    return { ...message, body: { ...message.body, entries } }
  }
  await withPair(change, async ({ alice, bob, room }) => {
    await say(alice, room, 'in time')
    await sees(bob, room, 'in time')
    back = 3_600_000n
    await say(alice, room, 'an hour before')
    const view = await roomShows(bob, room, ({ summary }) => summary.state === 'broken', 'the end')
    strictEqual(view.summary.code, 'brokenLog')
    ok(!texts(view).includes('an hour before'))
  })
})
