/**
 * A hub that puts a member out by one word and then leads it back, by an old Welcome or an old
 * anchor, into a log that is not the one it knew. Owns what that hub says.
 */
import { deepStrictEqual, ok, strictEqual } from 'node:assert/strict'
import { type LogPosition, logPosition, NO_ROOM } from '#core/base/ids.ts'
import { keyPackageRecordCodec, roomRecordCodec } from '#core/device/records.ts'
import type { Body, Message } from '#core/wire/bodies.ts'
import { decode, encode } from '#core/wire/codec.ts'
import { startHub } from '../e2e/support/hub.ts'
import { type CutLink, cutLink } from '../support/cut-links.ts'
import { appShows, openPerson, type Person, roomShows, say, sees, signUp, texts } from './people.ts'
import { onEntries, type TamperingDialer, tamperingDialer } from './tampering.ts'

const options = { sanitizeOps: false, sanitizeResources: false }

/** What the hub of one device says, and when it lies. */
class LyingHub {
  readonly dialer: TamperingDialer = tamperingDialer((message) => this.#said(message))
  /** The next subscription is answered with it. */
  refusal: 'unknownRoom' | 'unknownEntry' | null = null
  /** Where the log seems to end; null: where it does. */
  end: bigint | null = null
  /** The entry of a frame that is another one. */
  changed: bigint | null = null
  welcome: Body<'welcome'> | null = null
  /** First position that the device was given; null before that. */
  from: bigint | null = null
  /** First position behind all entries that were given out. */
  given = 0n

  /** Gives the Welcome again that brought the device in. */
  welcomeAgain(): LogPosition {
    ok(this.welcome !== null)
    this.dialer.say({ kind: 'welcome', room: NO_ROOM, body: this.welcome })
    return this.welcome.position
  }

  #said(message: Message): Message | null {
    if (message.kind === 'welcome') this.welcome ??= message.body
    if (message.kind === 'subscribed') return this.#subscribed(message)
    // What it signs tells of the log that it shows.
    if (message.kind === 'head' && (this.end ?? this.changed) !== null) return null
    if (message.kind !== 'entries') return message
    const { first, entries } = message.body
    const count = this.end === null ? entries.length : Math.max(0, Number(this.end - first))
    const shown = entries.slice(0, count)
    this.from ??= first
    this.given = first + BigInt(shown.length)
    if (shown.length === 0) return null
    const short = { ...message, body: { first, entries: shown } }
    return onEntries(short, 'frame', (bytes, position) => {
      const kept = position === this.changed ? bytes.map((byte) => byte ^ 1) : bytes
      return { kind: 'whole', bytes: kept }
    })
  }

  #subscribed(message: Extract<Message, { kind: 'subscribed' }>): Message {
    const { request, next } = message.body
    if (this.refusal !== null) {
      const refusal = { kind: this.refusal }
      this.refusal = null
      return { kind: 'refused', room: NO_ROOM, body: { request, opcode: 0x23, refusal } }
    }
    if (this.end === null || next <= this.end) return message
    return { ...message, body: { ...message.body, next: logPosition(this.end) } }
  }
}

interface Scene {
  readonly endpoint: string
  readonly alice: Person
  readonly carol: Person
  readonly room: string
  readonly hub: LyingHub
  readonly link: CutLink
}

/** Alice in a room, Carol signed up over a hub that can lie to her. */
async function withScene(run: (scene: Scene) => Promise<void>): Promise<void> {
  const server = await startHub()
  const endpoint = `http://localhost:${server.port}`
  const hub = new LyingHub()
  const link = cutLink(hub.dialer)
  try {
    const carol = await openPerson({ endpoint, dialer: link })
    await signUp(carol, 'carol')
    const lastResort = await lastResortOf(carol)
    // A hub gives out what it wants to; this package is never used up (DIR-3).
    const alice = await openPerson({
      endpoint,
      dialer: tamperingDialer((message) => {
        if (message.kind !== 'keyPackages') return message
        const claimed = message.body.claimed.map((each) => ({ ...each, keyPackage: lastResort }))
        return { ...message, body: { ...message.body, claimed } }
      }),
    })
    await signUp(alice, 'alice')
    const room = await alice.sdk.createRoom({ title: 'Larks' })
    await roomShows(alice, room, ({ summary }) => summary.state === 'live', 'a live room')
    await run({ endpoint, alice, carol, room, hub, link })
    deepStrictEqual([...alice.faults, ...carol.faults], [])
    await alice.sdk.close()
    await carol.sdk.close()
  } finally {
    await server.close()
  }
}

async function lastResortOf({ store }: Person): Promise<Uint8Array> {
  const range = { from: '', to: '\uffff', limit: 100, descending: false }
  for (const { value } of await store.readRange('keyPackages', range)) {
    const decoded = decode(keyPackageRecordCodec, value)
    if (decoded.kind === 'decoded' && decoded.value.lastResort) return decoded.value.keyPackage
  }
  throw new Error('a device has a last resort package')
}

const isIn = (state: string) => ({ summary }: { summary: { state: string } }) =>
  summary.state === state

/** Carol is in, and knows what was said. */
async function isThere({ alice, carol, room }: Scene): Promise<void> {
  await roomShows(carol, room, isIn('live'), 'carol in the room')
  await say(carol, room, 'I am here')
  await sees(alice, room, 'I am here')
  await say(alice, room, 'known')
  await sees(carol, room, 'known')
}

/** Her next session has its first subscription refused. */
async function refusedNext({ carol, hub, link }: Scene, refusal: LyingHub['refusal']) {
  hub.refusal = refusal
  link.cut()
  await appShows(carol, ({ connection }) => connection.kind !== 'connected', 'a cut link')
  link.mend()
  carol.sdk.networkChanged(true)
}

/** She is told that she is not in. */
async function putOut(scene: Scene): Promise<void> {
  await isThere(scene)
  await refusedNext(scene, 'unknownRoom')
  await roomShows(scene.carol, scene.room, isIn('removed'), 'carol put out')
}

/** The same where Alice added her. */
async function putOutByName(scene: Scene): Promise<void> {
  await scene.alice.sdk.addMember({ room: scene.room, account: 'carol@localhost' })
  await putOut(scene)
}

Deno.test(
  'JOIN-9, SEQ-6: put out by one word, a member comes back by its Welcome',
  options,
  () =>
    withScene(async (scene) => {
      const { alice, carol, room, hub } = scene
      await putOutByName(scene)
      hub.welcomeAgain()
      await roomShows(carol, room, isIn('live'), 'carol back')
      await say(carol, room, 'back again')
      await sees(alice, room, 'back again')
      const view = await sees(carol, room, 'back again')
      deepStrictEqual(texts(view), ['I am here', 'known', 'back again'])
    }),
)

Deno.test(
  'JOIN-9: an old Welcome with a log that ends early leads nowhere',
  options,
  () =>
    withScene(async (scene) => {
      const { carol, room, hub } = scene
      await putOutByName(scene)
      ok(hub.welcome !== null)
      hub.end = hub.welcome.position + 1n
      hub.welcomeAgain()
      const { summary } = await roomShows(carol, room, isIn('joinRefused'), 'a refusal')
      strictEqual(summary.code, 'brokenLog')
      // The honest log is still the one that she knows.
      hub.end = null
      hub.welcomeAgain()
      await roomShows(carol, room, isIn('live'), 'carol back')
    }),
)

Deno.test(
  'JOIN-9, LOG-3: an old Welcome with another log is a fork',
  options,
  () =>
    withScene(async (scene) => {
      const { carol, room, hub } = scene
      await putOutByName(scene)
      hub.changed = hub.given - 1n
      hub.welcomeAgain()
      const { summary } = await roomShows(carol, room, isIn('broken'), 'the fork')
      strictEqual(summary.code, 'fork')
    }),
)

Deno.test(
  'JOIN-9, JOIN-3: an old anchor with a log that ends early leads nowhere',
  options,
  () =>
    withScene(async (scene) => {
      const { alice, carol, room, hub } = scene
      const invite = await alice.sdk.invite({ room })
      await carol.sdk.joinByLink(invite)
      await putOut(scene)
      hub.end = hub.given - 1n
      await carol.sdk.joinByLink(invite)
      const { summary } = await roomShows(carol, room, isIn('joinRefused'), 'a refusal')
      strictEqual(summary.code, 'brokenLog')
      hub.end = null
      await carol.sdk.joinByLink(invite)
      await roomShows(carol, room, isIn('live'), 'carol back')
      await say(carol, room, 'back again')
      await sees(alice, room, 'back again')
    }),
)

Deno.test(
  'JOIN-9, JOIN-3: an anchor on another log than the known one is a fork',
  options,
  () =>
    withScene(async (scene) => {
      const { alice, carol, room, hub, link } = scene
      const invite = await alice.sdk.invite({ room })
      await carol.sdk.joinByLink(invite)
      await roomShows(carol, room, isIn('live'), 'carol in the room')
      const anchored = logPosition((hub.from ?? 0n) - 1n)
      await putOut(scene)
      await carol.sdk.close()
      await knewAnother(carol, room, anchored)
      const { endpoint } = scene
      const again = await openPerson({ endpoint, dialer: link, store: carol.store })
      await appShows(again, ({ connection }) => connection.kind === 'connected', 'a connection')
      await again.sdk.joinByLink(invite)
      const { summary } = await roomShows(again, room, isIn('joinRefused'), 'a refusal')
      strictEqual(summary.code, 'fork')
      deepStrictEqual(again.faults, [])
      await again.sdk.close()
    }),
)

Deno.test(
  'DEV-9, HUB-10: a hub whose log ends before what it gave has lost history, and that is said',
  options,
  () =>
    withScene(async (scene) => {
      const { alice, carol, room } = scene
      await alice.sdk.addMember({ room, account: 'carol@localhost' })
      await isThere(scene)
      await refusedNext(scene, 'unknownEntry')
      const { summary } = await roomShows(carol, room, isIn('broken'), 'the loss')
      strictEqual(summary.code, 'historyLost')
    }),
)

/** As if the log that the device knew had ended at a position, with another hash there. */
async function knewAnother({ store }: Person, room: string, at: LogPosition): Promise<void> {
  const stored = await store.read('rooms', room)
  const decoded = stored && decode(roomRecordCodec, stored)
  ok(decoded?.kind === 'decoded')
  const known = { next: logPosition(at + 1n), headHash: new Uint8Array(32) }
  const value = encode(roomRecordCodec, { ...decoded.value, ...known })
  await store.apply([{ kind: 'put', table: 'rooms', key: room, value }], 'strict')
}
