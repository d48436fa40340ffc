/**
 * A hub that refuses what it takes, and one that refuses for ever: no refusal has a message said
 * twice (DEV-5), and none is waited out without end.
 */
import { deepStrictEqual, ok, strictEqual } from 'node:assert/strict'
import { epoch } from '#core/base/ids.ts'
import { LIMITS } from '#core/base/limits.ts'
import { createNobleCrypto } from '#core/crypto/noble.ts'
import type { Dialer } from '#core/device/transport.ts'
import { createMemoryDeviceStore, DEVICE_TABLES, type DeviceStore } from '#core/device/store.ts'
import { BODIES, type Message } from '#core/wire/bodies.ts'
import type { Refusal } from '#core/wire/refusals.ts'
import { startHub } from '../e2e/support/hub.ts'
import { openPerson, type Person, roomShows, say, sees, sent, signUp, texts } from './people.ts'
import { isResynced, talk } from './scene.ts'
import { onEntries, refusingDialer, tamperingDialer } from './tampering.ts'

const options = { sanitizeOps: false, sanitizeResources: false }

interface Pair {
  readonly endpoint: string
  readonly alice: Person
  readonly carol: Person
  readonly room: string
}

/** Alice hears an honest hub, Carol what her dialer makes of it. */
async function withPair(
  carols: { readonly dialer?: Dialer; readonly store?: DeviceStore },
  run: (pair: Pair) => Promise<void>,
): Promise<void> {
  const hub = await startHub()
  const endpoint = `http://localhost:${hub.port}`
  try {
    const alice = await openPerson({ endpoint })
    const carol = await openPerson({ endpoint, ...carols })
    await signUp(alice, 'alice')
    await signUp(carol, 'carol')
    const room = await alice.sdk.createRoom({ title: 'Larks' })
    await roomShows(alice, room, (view) => view.summary.state === 'live', 'a live room')
    await alice.sdk.addMember({ room, account: 'carol@localhost' })
    await roomShows(carol, room, (view) => view.summary.title === 'Larks', 'carol in the room')
    await say(carol, room, 'hello')
    await sees(alice, room, 'hello')
    await run({ endpoint, alice, carol, room })
    deepStrictEqual([...alice.faults, ...carol.faults], [])
    await alice.sdk.close()
    await carol.sdk.close()
  } finally {
    await hub.close()
  }
}

const LIES: readonly Refusal[] = [
  { kind: 'unknownEntry' },
  { kind: 'generationTooFar', generation: 0 },
  { kind: 'replayed', generation: 0 },
  { kind: 'wrongSignature' },
  { kind: 'unknownRoom' },
]

for (const refusal of LIES) {
  Deno.test(
    `DEV-5: what is taken and refused as ${refusal.kind} is said once`,
    options,
    async () => {
      let isLying = false
      const dialer = tamperingDialer((message): Message => {
        if (!isLying || message.kind !== 'accepted') return message
        isLying = false
        const [opcode] = BODIES.submitFrame
        const { request } = message.body
        return { ...message, kind: 'refused', body: { request, opcode, refusal } }
      })
      await withPair({ dialer }, async ({ alice, carol, room }) => {
        isLying = true
        await say(carol, room, 'pay a hundred')
        await sent(carol, room, 'pay a hundred')
        strictEqual(isLying, false)
        await say(carol, room, 'next')
        for (const person of [alice, carol]) {
          const view = await sees(person, room, 'next')
          deepStrictEqual(texts(view), ['hello', 'pay a hundred', 'next'])
          deepStrictEqual(view.items.filter(({ kind }) => kind === 'unreadable'), [])
        }
      })
    },
  )
}

Deno.test(
  'DEV-5: what is refused for ever is given so often, and then shown',
  options,
  async () => {
    const given = { count: 0 }
    let isRefusing = false
    const refusal = () => isRefusing ? { kind: 'unknownEntry' } as const : null
    const dialer = refusingDialer({ kind: 'submitFrame', refusal, given })
    await withPair({ dialer }, async ({ alice, carol, room }) => {
      given.count = 0
      isRefusing = true
      await say(carol, room, 'in vain')
      const view = await roomShows(
        carol,
        room,
        ({ items }) => items.some((item) => item.kind === 'message' && item.delivery === 'refused'),
        'the refusal',
      )
      strictEqual(given.count, LIMITS.outboxAttemptsMax + 1)
      deepStrictEqual(texts(view), ['hello', 'in vain'])
      isRefusing = false
      // It holds up nothing that is said behind it.
      await say(carol, room, 'next')
      deepStrictEqual(texts(await sees(alice, room, 'next')), ['hello', 'next'])
    })
  },
)

Deno.test(
  'LOG-2, DEV-5: an own frame that comes as a hole is not said again',
  options,
  async () => {
    let isHiding = false
    const { hash } = createNobleCrypto()
    const dialer = tamperingDialer((message) =>
      onEntries(
        message,
        'frame',
        (bytes) =>
          isHiding ? { kind: 'hole', hash: hash('sha256', bytes) } : { kind: 'whole', bytes },
      )
    )
    await withPair({ dialer }, async ({ endpoint, alice, carol, room }) => {
      isHiding = true
      await say(carol, room, 'pay a hundred')
      await sent(carol, room, 'pay a hundred')
      isHiding = false
      // Another epoch, in which all that was not found would be sealed anew.
      const dave = await openPerson({ endpoint })
      await signUp(dave, 'dave')
      await alice.sdk.addMember({ room, account: 'dave@localhost' })
      await roomShows(carol, room, ({ members }) => members.length === 3, 'dave')
      await say(carol, room, 'next')
      deepStrictEqual(texts(await sees(alice, room, 'next')), ['hello', 'pay a hundred', 'next'])
      await dave.sdk.close()
    })
  },
)

/** Another store with what this one holds. */
async function copyOf(store: DeviceStore): Promise<DeviceStore> {
  const copy = createMemoryDeviceStore()
  const range = { from: '', to: '~', limit: 10_000, descending: false }
  for (const table of DEVICE_TABLES) {
    const rows = await store.readRange(table, range)
    await copy.apply(rows.map((row) => ({ kind: 'put', table, ...row })), 'strict')
  }
  return copy
}

Deno.test(
  'KEY-5, SEQ-4: a seal whose generation another frame has is sealed anew',
  options,
  async () => {
    await withPair({}, async ({ endpoint, alice, carol, room }) => {
      await carol.sdk.close()
      const old = await copyOf(carol.store)
      // A life whose frames never reach the hub leaves a seal behind.
      const given = { count: 0 }
      const tooMany = { kind: 'tooMany', retryAfterMs: 60_000 } as const
      const dialer = refusingDialer({ kind: 'submitFrame', refusal: () => tooMany, given })
      const mute = await openPerson({ endpoint, store: carol.store, dialer })
      await roomShows(mute, room, ({ summary }) => summary.state === 'live', 'the room')
      await say(mute, room, 'sealed')
      await roomShows(mute, room, () => given.count > 0, 'a frame')
      await mute.sdk.close()
      // The device rolls back to before it, and spends the generation.
      const rolledBack = await openPerson({ endpoint, store: old })
      await say(rolledBack, room, 'before')
      await sent(rolledBack, room, 'before')
      await rolledBack.sdk.close()
      const again = await openPerson({ endpoint, store: carol.store })
      await sent(again, room, 'sealed')
      deepStrictEqual(texts(await sees(alice, room, 'sealed')), ['hello', 'before', 'sealed'])
      await again.sdk.close()
    })
  },
)

Deno.test(
  'SEQ-2, DEV-5: an own commit whose second copy was refused is followed',
  options,
  async () => {
    const given = { count: 0 }
    const stale = { kind: 'staleEpoch', epoch: epoch(99n) } as const
    const refusal = () => given.count === 1 ? stale : null
    const dialer = refusingDialer({ kind: 'submitCommit', refusal, given, isTaken: true })
    await withPair({ dialer }, async ({ alice, carol, room }) => {
      await carol.sdk.invite({ room })
      strictEqual(given.count, 1, 'it was not made again')
      await talk(room, alice, carol, 'and on')
      const view = await sees(carol, room, 'and on!')
      strictEqual(isResynced(view), false)
    })
  },
)

Deno.test(
  'DEV-5: what a hub refuses to who is no member is said when it takes it',
  options,
  async () => {
    const given = { count: 0 }
    let isOut = false
    const dialer = refusingDialer({
      kind: 'submitFrame',
      refusal: () => isOut && given.count < 3 ? { kind: 'unknownRoom' } : null,
      given,
    })
    await withPair({ dialer }, async ({ alice, carol, room }) => {
      given.count = 0
      isOut = true
      await say(carol, room, 'let me')
      await sent(carol, room, 'let me')
      await sees(alice, room, 'let me')
      strictEqual(given.count, 3)
    })
  },
)

/** Everything that a device asks for a room, each named by its request. */
const ASKED = [
  'createRoom',
  'subscribe',
  'submitFrame',
  'submitCommit',
  'submitVote',
  'leaveAnchor',
  'requestGroup',
] as const

for (const kind of ASKED) {
  Deno.test(
    `SES-6: a ${kind} in a session that ends is asked again in the next one`,
    options,
    async () => {
      const hub = await startHub()
      const endpoint = `http://localhost:${hub.port}`
      try {
        const given = { count: 0 }
        const refusal = () => given.count === 1 ? { kind: 'notInThisState' } as const : null
        const dialer = refusingDialer({ kind, refusal, given })
        const isGuests = kind === 'requestGroup'
        const host = await openPerson({ endpoint, ...isGuests ? {} : { dialer } })
        const guest = await openPerson({ endpoint, ...isGuests ? { dialer } : {} })
        await signUp(host, 'host')
        await signUp(guest, 'guest')
        const room = await host.sdk.createRoom({ title: 'Larks' })
        await say(host, room, 'hello')
        await sent(host, room, 'hello')
        const link = await host.sdk.invite({ room })
        await guest.sdk.joinByLink(link)
        await roomShows(guest, room, ({ summary }) => summary.state === 'live', 'the guest in')
        await talk(room, host, guest, 'both here')
        ok(given.count > 1, 'it was asked again')
        for (const person of [host, guest]) {
          deepStrictEqual(person.faults, [])
          await person.sdk.close()
        }
      } finally {
        await hub.close()
      }
    },
  )
}
