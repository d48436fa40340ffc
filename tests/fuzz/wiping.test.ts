/**
 * What a call derives is in the state that it gives, is its result, or is zeros by the time that
 * the caller has wiped `consumed`. A suite that remembers every secret it has given out watches
 * commits, joins and messages, in the open and in private.
 */
import { deepStrictEqual } from 'node:assert/strict'
import { utf8Decode, wipe } from '#core/base/bytes.ts'
import type { CipherSuite } from '#core/mls/cipher-suite.ts'
import { type CommitMade, makeCommit } from '#core/mls/commit-make.ts'
import type { ContentWireFormat } from '#core/mls/framing.ts'
import { createGroup, externalPublicKey, type Group, takeExports } from '#core/mls/group.ts'
import { joinByExternalCommit } from '#core/mls/join-external.ts'
import { joinByWelcome } from '#core/mls/join-welcome.ts'
import { processMessage, proposeUpdate, protectApplication } from '#core/mls/messages.ts'
import { makeKeyPackage } from '#core/mls/own-leaf.ts'
import type { Proposal } from '#core/mls/proposal.ts'
import { STAND_INS, standInSuite } from './stand-in-suite.ts'
import { entropyOf, newPerson, openedPublicGroup, secretsHeld, taken } from './world.ts'

const NOTHING = new Uint8Array(0)
const entropy = entropyOf(1)
const psks = () => new Uint8Array(32).fill(7)
const processing = { timeMs: null, psks }

interface Given {
  readonly label: string
  readonly bytes: Uint8Array
}

/** A suite and what it has given out since it was asked last. */
function watched(): { readonly suite: CipherSuite; leftBy(...held: (Group | null)[]): string[] } {
  const given: Given[] = []
  const note = <T extends Uint8Array | null>(label: string, bytes: T): T => {
    if (bytes !== null) given.push({ label, bytes })
    return bytes
  }
  const inner = standInSuite(STAND_INS[0])
  const suite: CipherSuite = {
    ...inner,
    extract: (salt, ikm) => note('an extracted secret', inner.extract(salt, ikm)),
    expand: (prk, info, length) => {
      const end = info.indexOf(0, 4)
      const label = utf8Decode(info.subarray(3, end < 0 ? info.length : end)) ?? 'expanded'
      return note(label, inner.expand(prk, info, length))
    },
    async deriveKeyPair(ikm) {
      const pair = await inner.deriveKeyPair(ikm)
      note('a private key', pair.secretKey)
      return pair
    },
    async hpkeSendExport(sending, exporting) {
      const sent = await inner.hpkeSendExport(sending, exporting)
      if (sent !== null) note('an exported secret', sent.exported)
      return sent
    },
    async hpkeReceiveExport(receiving, exporting) {
      return note('an exported secret', await inner.hpkeReceiveExport(receiving, exporting))
    },
  }
  const leftBy = (...states: (Group | null)[]): string[] => {
    const held = new Set(states.flatMap((group) => group === null ? [] : [...secretsHeld(group)]))
    const left = given.filter(({ bytes }) => !held.has(bytes) && bytes.some((byte) => byte !== 0))
    given.length = 0
    return left.map(({ label }) => label)
  }
  return { suite, leftBy }
}

interface Watch extends ReturnType<typeof watched> {
  readonly wireFormat: ContentWireFormat
}

async function committed(
  group: Group,
  { leftBy, wireFormat }: Watch,
  making: { readonly proposals: readonly Proposal[]; readonly references?: readonly Uint8Array[] },
): Promise<CommitMade> {
  const welcome = { ratchetTree: true, externalPub: true }
  const rest = { authenticatedData: NOTHING, wireFormat, welcome, psks, timeMs: null, entropy }
  const made = taken(await makeCommit(group, { ...making, ...rest, path: 'always' }), 'a commit')
  wipe(...made.consumed)
  deepStrictEqual(leftBy(made.next), [], 'making a commit')
  return made
}

async function read(group: Group, message: Uint8Array, { leftBy }: Watch): Promise<Group | null> {
  const result = taken(await processMessage(group, message, processing), 'a message')
  wipe(...result.consumed)
  const next = result.kind === 'removed' ? null : result.group
  deepStrictEqual(leftBy(next), [], `reading: ${result.kind}`)
  return next
}

function pskProposal(): Proposal {
  const id = { kind: 'external', pskId: NOTHING, pskNonce: entropy.randomBytes(32) } as const
  return { kind: 'psk', psk: id }
}

/** One member who commits and two who follow. */
async function threeMembers(watch: Watch): Promise<Group[]> {
  const { suite, leftBy } = watch
  const creation = { ...newPerson(suite, entropy, 'creator'), groupId: NOTHING, extensions: [] }
  let groups = [await createGroup(suite, creation)]
  deepStrictEqual(leftBy(...groups), [], 'creating a group')
  for (const name of ['second', 'third', 'fourth']) {
    const person = newPerson(suite, entropy, name)
    const offered = await makeKeyPackage(suite, person)
    const { initSecret, encryptionSecret } = offered.secrets
    deepStrictEqual(leftBy(), ['a private key', 'a private key'], 'a KeyPackage has two')
    const [committer, ...others] = groups as [Group, ...Group[]]
    const add: Proposal = { kind: 'add', keyPackage: offered.keyPackage }
    const { next, message, welcome } = await committed(committer, watch, {
      proposals: [add, pskProposal()],
    })
    const followed = await Promise.all(others.map(async (each) => {
      return taken(await processMessage(each, message, processing), 'a commit')
    }))
    const joining = { ...offered, signatureSecret: person.signatureSecret, ratchetTree: null, psks }
    leftBy()
    const joined = taken(
      await joinByWelcome(suite, { ...joining, welcome: welcome as Uint8Array }),
      name,
    )
    deepStrictEqual(leftBy(joined.group), [], 'joining by a Welcome')
    wipe(initSecret)
    deepStrictEqual(joined.group.privateKeys.get(joined.group.ownLeaf * 2), encryptionSecret)
    const rest = followed.map((each) => {
      if (each.kind !== 'commit') throw new Error(each.kind)
      wipe(...each.consumed)
      return each.group
    })
    groups = [next, ...rest, joined.group]
  }
  return groups
}

for (const wireFormat of ['publicMessage', 'privateMessage'] as const) {
  Deno.test(`all that a call derives is held, given or wiped: ${wireFormat}`, async () => {
    const watch: Watch = { ...watched(), wireFormat }
    const { leftBy } = watch
    let [a, b, c, d] = await threeMembers(watch) as [Group, Group, Group, Group]
    const said = taken(
      await protectApplication(a, NOTHING, { authenticatedData: NOTHING, entropy }),
      'a message',
    )
    wipe(...said.consumed)
    deepStrictEqual(leftBy(said.group), [], 'sending')
    a = said.group
    const spoilt = said.message.slice()
    spoilt[spoilt.length - 1] = (spoilt.at(-1) as number) ^ 1
    await processMessage(b, spoilt, processing)
    deepStrictEqual(leftBy(b), [], 'a message that does not open')
    b = await read(b, said.message, watch) as Group
    const sending = { authenticatedData: NOTHING, wireFormat, entropy }
    const updating = taken(await proposeUpdate(b, sending), 'an Update')
    wipe(...updating.consumed)
    deepStrictEqual(leftBy(updating.group), [], 'proposing an Update')
    b = updating.group
    a = await read(a, updating.message, watch) as Group
    c = await read(c, updating.message, watch) as Group
    d = await read(d, updating.message, watch) as Group
    const made = await committed(a, watch, {
      proposals: [{ kind: 'remove', removed: d.ownLeaf }],
      references: [updating.reference],
    })
    a = made.next
    b = await read(b, made.message, watch) as Group
    c = await read(c, made.message, watch) as Group
    deepStrictEqual(await read(d, made.message, watch), null)
    await comingIn(watch, [a, b, c])
  })
}

async function comingIn(watch: Watch, groups: readonly Group[]): Promise<void> {
  const { suite, leftBy } = watch
  const [inside] = groups as readonly [Group]
  const opened = await openedPublicGroup(inside)
  leftBy()
  const externalPub = await externalPublicKey(inside)
  deepStrictEqual(leftBy(), [], 'the external key')
  const psk = pskProposal()
  const made = taken(
    await joinByExternalCommit(opened, {
      ...newPerson(suite, entropy, 'from outside'),
      externalPub,
      removed: null,
      pskIds: psk.kind === 'psk' ? [psk.psk] : [],
      psks,
      authenticatedData: NOTHING,
      timeMs: null,
    }),
    'an external commit',
  )
  deepStrictEqual(leftBy(made.next), [], 'joining from outside')
  const spoilt = made.message.slice()
  spoilt[spoilt.length - 1] = (spoilt.at(-1) as number) ^ 1
  for (const group of groups) {
    const refused = await processMessage(group, spoilt, processing)
    deepStrictEqual(refused, { kind: 'refused', code: 'badConfirmationTag' })
    deepStrictEqual(leftBy(group), [], 'a commit of another confirmation tag')
    const next = await read(group, made.message, watch) as Group
    const list = [{ label: 'frames', context: NOTHING, length: 32 }]
    const { group: rest, exports, consumed } = takeExports(next, list)
    wipe(...consumed, ...exports)
    deepStrictEqual(leftBy(rest), [], 'taking the exports')
  }
}
