/**
 * A room of three people and of Mallory, who commits by hand, so that one can choose who follows a
 * commit. Owns no case.
 */
import { deepStrictEqual, ok, strictEqual } from 'node:assert/strict'
import { createDialer } from '#browser/webtransport-dialer.ts'
import { equalBytes, fromBase64Url } from '#core/base/bytes.ts'
import type { AccountName, HubDomain, RoomId, TimeMs } from '#core/base/ids.ts'
import type { Crypto } from '#core/crypto/crypto.ts'
import { createNobleCrypto } from '#core/crypto/noble.ts'
import type { Dialer } from '#core/device/transport.ts'
import { decodeInviteLink } from '#core/identity/invitation.ts'
import { leafAt, parentAt } from '#core/mls/ratchet-tree.ts'
import { decode } from '#core/wire/codec.ts'
import { type Verdict, verdictEntryCodec } from '#core/wire/log-entry.ts'
import type { RoomView } from '#sdk'
import { startHub } from '../e2e/support/hub.ts'
import { type CutLink, cutLink } from '../support/cut-links.ts'
import { HandDevice, type HandRoom, makeIdentity } from '../support/hand-device.ts'
import { joinByLink } from '../support/hand-joiner.ts'
import { appShows, openPerson, type Person, roomShows, say, sees, signUp } from './people.ts'

/** Keys to which this crypto encrypts nothing that can be opened. */
class Blinding {
  readonly keys: Uint8Array[] = []

  over(port: Crypto): Crypto {
    return {
      ...port,
      encapsulate: async (kem, publicKey, randomness) => {
        const sent = await port.encapsulate(kem, publicKey, randomness)
        const blind = this.keys.some((key) => equalBytes(key, publicKey))
        return sent !== null && blind ? { ...sent, sharedSecret: new Uint8Array(32) } : sent
      },
    }
  }
}

export interface Scene {
  readonly endpoint: string
  readonly alice: Person
  readonly bob: Person
  readonly carol: Person
  readonly links: { readonly [Name in 'alice' | 'bob' | 'carol']: CutLink }
  readonly room: string
  readonly mallory: HandDevice
  readonly place: HandRoom
  readonly blinding: Blinding
}

/** Alice, Bob and Carol in leaves 0, 1 and 2; Mallory, who commits by hand, in leaf 3. */
export async function withScene(
  run: (scene: Scene) => Promise<void>,
  { carols = createDialer() }: { readonly carols?: Dialer } = {},
): Promise<void> {
  const hub = await startHub()
  const endpoint = `http://localhost:${hub.port}`
  try {
    const [alices, bobs] = [cutLink(createDialer()), cutLink(createDialer())]
    const links = { alice: alices, bob: bobs, carol: cutLink(carols) }
    const alice = await openPerson({ endpoint, dialer: links.alice })
    const bob = await openPerson({ endpoint, dialer: links.bob })
    const carol = await openPerson({ endpoint, dialer: links.carol })
    const people = [alice, bob, carol]
    await signUp(alice, 'alice')
    await signUp(bob, 'bob')
    await signUp(carol, 'carol')
    const room = await alice.sdk.createRoom({ title: 'Larks' })
    await roomShows(alice, room, (view) => view.summary.state === 'live', 'a live room')
    for (const [person, name] of [[bob, 'bob'], [carol, 'carol']] as const) {
      await alice.sdk.addMember({ room, account: `${name}@localhost` })
      await roomShows(person, room, (view) => view.summary.state === 'live', `${name} in`)
    }
    const blinding = new Blinding()
    const parts = {
      crypto: blinding.over(createNobleCrypto()),
      clock: { nowMs: () => Date.now() as TimeMs },
      entropy: { randomBytes: (length: number) => crypto.getRandomValues(new Uint8Array(length)) },
      domain: 'localhost' as HubDomain,
    }
    const mallory = new HandDevice(parts, await makeIdentity(parts, 'mallory'))
    await mallory.connect(createDialer(), endpoint)
    const link = decodeInviteLink(await alice.sdk.invite({ room }))
    ok(link !== null)
    const place = await joinByLink(mallory, fromBase64Url(room) as RoomId, link.secret)
    strictEqual(place.group.ownLeaf, 3)
    for (const person of people) {
      await roomShows(person, room, ({ members }) => members.length === 4, 'mallory')
    }
    await run({ endpoint, alice, bob, carol, links, room, mallory, place, blinding })
    for (const person of people) {
      deepStrictEqual(person.faults, [])
      await person.sdk.close()
    }
    mallory.hangUp()
    await mallory.closed
  } finally {
    await hub.close()
  }
}

/** The next commits by hand can be followed by neither. */
export function blindAliceAndBob({ place, blinding }: Scene): void {
  const { tree } = place.group.public
  for (const key of [leafAt(tree, 0), leafAt(tree, 1), parentAt(tree, 1)]) {
    if (key !== null) blinding.keys.push(key.encryptionKey)
  }
}

/** Adds an account by a commit whose Welcome opens nothing. */
export async function addBySpoiledWelcome({ mallory, place }: Scene, account: AccountName) {
  const { next, body } = await mallory.commit(place, { adds: [await mallory.claim(account)] })
  const welcome = body.welcome.map((byte) => byte ^ 1)
  mallory.say('submitCommit', { ...body, welcome }, place.id)
  return { next, position: await mallory.position(body.request) }
}

export async function away(person: Person, link: CutLink): Promise<void> {
  link.cut()
  await appShows(person, ({ connection }) => connection.kind !== 'connected', 'somebody away')
}

export async function back(person: Person, link: CutLink): Promise<void> {
  link.mend()
  person.sdk.networkChanged(true)
  await appShows(person, ({ connection }) => connection.kind === 'connected', 'somebody back')
}

// ---- What is waited for ---------------------------------------------------------------------

export const hasMember = (account: string) => ({ members }: RoomView): boolean =>
  members.some((member) => member.account === account)
export const isWithout = (account: string) => (view: RoomView): boolean => !hasMember(account)(view)
export const isResynced = ({ items }: RoomView): boolean =>
  items.some((item) => item.kind === 'event' && item.event === 'resynced')

export const isLive = ({ summary }: RoomView): boolean => summary.state === 'live'

/** Follows the log until it has a verdict on the commit at a position. */
export async function judged(
  device: HandDevice,
  place: HandRoom,
  position: bigint,
): Promise<Verdict> {
  for (;;) {
    for (const { entry: { header, body } } of place.entries) {
      const decoded = header.entry === 'verdict' && body.kind === 'whole'
        ? decode(verdictEntryCodec, body.bytes)
        : null
      if (decoded?.kind !== 'decoded' || decoded.value.position !== position) continue
      return decoded.value.verdict
    }
    await device.follow(place, place.next + 1n)
  }
}

/** Somebody is heard by another one, and hears it. */
export async function talk(room: string, one: Person, other: Person, word: string): Promise<void> {
  await say(one, room, `${word}?`)
  await sees(other, room, `${word}?`)
  await say(other, room, `${word}!`)
  await sees(one, room, `${word}!`)
}
