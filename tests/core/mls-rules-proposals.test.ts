/**
 * RFC 9420 sections 12.1.1 to 12.1.7 and 12.3 as rules about single proposals and what they do, and
 * the PSKs of section 8.4. A member commits by force what nobody honest would.
 */
import { deepStrictEqual, ok, strictEqual } from 'node:assert/strict'
import { EMPTY, utf8Encode } from '#core/base/bytes.ts'
import { type Extension, EXTENSION_TYPE, makeExtension } from '#core/mls/extension.ts'
import { type RequiredCapabilities, requiredCapabilities } from '#core/mls/extension.ts'
import type { PreSharedKeyId, Proposal, ResumptionUsage } from '#core/mls/proposal.ts'
import { addOf, assertAgreement, assertRefused, candidate, circle } from './mls-parties.ts'
import { codeOf, commit, createStory, follow, forged, forgedList, join } from './mls-parties.ts'
import { leafOf, look, proposed, type Story, suite, threeMembers } from './mls-parties.ts'
import { tryCommit } from './mls-parties.ts'

const UNKNOWN = 0xf0f0
const unknown: Extension = { type: UNKNOWN, body: Uint8Array.of(1, 2, 3) }
const removal = (removed: number): Proposal => ({ kind: 'remove', removed })
const context = (...extensions: Extension[]): Proposal => ({
  kind: 'groupContextExtensions',
  extensions,
})
const requiring = (wanted: Partial<RequiredCapabilities>) =>
  makeExtension(EXTENSION_TYPE.requiredCapabilities, requiredCapabilities, {
    extensions: [],
    proposals: [],
    credentials: [],
    ...wanted,
  })

/** Refused by value in a commit, standing alone, and by whoever would make the commit. */
async function assertWrongAlone(
  seed: number,
  code: string,
  proposals: readonly Proposal[],
): Promise<void> {
  const story = createStory(seed)
  const { alice, bob, onlooker } = await threeMembers(story)
  for (const proposal of proposals) {
    const by = { member: bob, onlooker }
    await assertRefused(await forgedList(alice, [proposal]), by, { member: code })
    const alone = await forged(alice, { body: { kind: 'proposal', proposal } })
    await assertRefused(alone, by, { member: code })
    strictEqual(codeOf(await tryCommit(story, alice, { proposals: [proposal] })), code)
  }
}

Deno.test('12.1.3: a Remove names a leaf that is not blank', async () => {
  await assertWrongAlone(60, 'badProposal', [3, 4, 7, 0x7fffffff, 0xffffffff].map(removal))
})

const nonce = (length: number) => new Uint8Array(length).fill(7)
const external = (length: number): PreSharedKeyId => ({
  kind: 'external',
  pskId: utf8Encode('shared'),
  pskNonce: nonce(length),
})
const resumption = (usage: ResumptionUsage, pskEpoch: bigint, of: Uint8Array): PreSharedKeyId => ({
  kind: 'resumption',
  usage,
  pskGroupId: of,
  pskEpoch,
  pskNonce: nonce(suite.hashLength),
})
const injecting = (psk: PreSharedKeyId): Proposal => ({ kind: 'psk', psk })
const held = () => utf8Encode('the key that everybody has')

Deno.test('12.1.4: the nonce of a PSK is as long as the hash', async () => {
  const lengths = [0, suite.hashLength - 1, suite.hashLength + 1, 255]
  await assertWrongAlone(61, 'badProposal', lengths.map((length) => injecting(external(length))))
})

Deno.test('12.1.4: PSKs of usage reinit and branch begin a group', async () => {
  const usages = ['reInit', 'branch'] as const
  await assertWrongAlone(
    62,
    'badProposal',
    usages.map((usage) => injecting(resumption(usage, 1n, EMPTY))),
  )
})

Deno.test('12.4.2: a commit with a PSK that a member lacks is not followed', async () => {
  const story = createStory(63)
  const { alice, bob, carol, onlooker } = await threeMembers(story)
  const { groupId } = alice.public.context
  const strange = [
    external(suite.hashLength),
    resumption('application', 2n, groupId),
    resumption('application', 1n, utf8Encode('another group')),
  ]
  for (const psk of strange) {
    const proposals = [injecting(psk)]
    strictEqual(codeOf(await tryCommit(story, alice, { proposals })), 'unknownPsk')
    const made = await commit(story, alice, { proposals, psks: held })
    await assertRefused(made.message, { member: bob }, { member: 'unknownPsk' })
    // Who knows it follows; an onlooker cannot know whether somebody does.
    const everybody = [made.next, await follow(carol, made.message, held)]
    assertAgreement(everybody, await look(onlooker, made.message))
  }
  // Alice was there at epoch 0, before the others came.
  const early = injecting(resumption('application', 0n, groupId))
  const past = await commit(story, alice, { proposals: [early] })
  await assertRefused(past.message, { member: bob }, { member: 'unknownPsk' })
  // Another key under the name is another epoch.
  const made = await commit(story, alice, { proposals: [injecting(external(32))], psks: held })
  const wrong = { member: bob, psks: () => utf8Encode('another') }
  await assertRefused(made.message, wrong, { member: 'badConfirmationTag' })
})

Deno.test('8.6: the resumption PSKs of past epochs are at hand, without a path', async () => {
  const story = createStory(64)
  let { alice, bob } = await threeMembers(story)
  const { groupId } = alice.public.context
  for (let turn = 0; turn < 3; turn++) {
    const made = await commit(story, alice, {})
    bob = await follow(bob, made.message)
    alice = made.next
  }
  const proposals = [1n, 3n, 4n].map((epoch) =>
    injecting(resumption('application', epoch, groupId))
  )
  const made = await commit(story, alice, { proposals })
  assertAgreement([made.next, await follow(bob, made.message)])
  // Who joined later was not there in those epochs.
  const { bob: comer } = await threeMembers(story)
  const psk = injecting(resumption('application', 0n, comer.public.context.groupId))
  strictEqual(codeOf(await tryCommit(story, comer, { proposals: [psk] })), 'unknownPsk')
})

Deno.test('12.1.5: a ReInit does not lower the version', async () => {
  const proposal = {
    kind: 'reInit',
    groupId: EMPTY,
    cipherSuite: suite.id,
    extensions: [],
  } as const
  await assertWrongAlone(65, 'badProposal', [{ ...proposal, version: 0 }])
})

Deno.test('12.1.6: an ExternalInit comes from outside alone', async () => {
  const story = createStory(66)
  const { alice, bob, onlooker } = await threeMembers(story)
  const proposal: Proposal = { kind: 'externalInit', kemOutput: new Uint8Array(32) }
  const by = { member: bob, onlooker }
  await assertRefused(await forgedList(alice, [proposal]), by, { member: 'badProposalList' })
  const alone = await forged(alice, { body: { kind: 'proposal', proposal } })
  await assertRefused(alone, by, { member: 'badProposal' })
})

Deno.test('12.1.7: extensions of a GroupContext are of that place and well-formed', async () => {
  const { ratchetTree, externalPub } = EXTENSION_TYPE
  await assertWrongAlone(67, 'badProposal', [
    context({ type: ratchetTree, body: EMPTY }),
    context({ type: externalPub, body: Uint8Array.of(0) }),
  ])
  const broken = { type: EXTENSION_TYPE.requiredCapabilities, body: Uint8Array.of(2, 0) }
  await assertWrongAlone(68, 'malformed', [context(broken)])
})

Deno.test('12.1.7: every member that stays supports new extensions and requirements', async () => {
  const story = createStory(69)
  const { alice, bob, onlooker } = await threeMembers(story)
  const by = { member: bob, onlooker }
  const demands = [
    unknown,
    { type: 0x0a0a, body: EMPTY },
    requiring({ extensions: [UNKNOWN] }),
    requiring({ proposals: [UNKNOWN] }),
    requiring({ credentials: [2] }),
  ]
  for (const extension of demands) {
    const proposal = context(extension)
    const code = 'unsupportedCapability'
    await assertRefused(await forgedList(alice, [proposal]), by, { member: code })
    strictEqual(codeOf(await tryCommit(story, alice, { proposals: [proposal] })), code)
  }
})

Deno.test('12.1.7: who is removed need not support what is new, who is added must', async () => {
  const story = createStory(70)
  const able = { capabilities: { extensions: [UNKNOWN] } }
  const { members: [alice, bob] } = await circle(story, ['alice', 'bob'], able)
  ok(alice !== undefined && bob !== undefined)
  const plain = await candidate(story, 'carol')
  const added = await commit(story, alice, { proposals: [addOf(plain)] })
  const atBob = await follow(bob, added.message)
  const wanted = context(unknown, requiring({ extensions: [UNKNOWN] }))
  strictEqual(
    codeOf(await tryCommit(story, added.next, { proposals: [wanted] })),
    'unsupportedCapability',
  )
  const made = await commit(story, added.next, { proposals: [wanted, removal(2)] })
  const followed = await follow(atBob, made.message)
  assertAgreement([made.next, followed])
  deepStrictEqual(followed.public.context.extensions.map(({ type }) => type), [UNKNOWN, 3])
  const dave = await candidate(story, 'dave')
  strictEqual(
    codeOf(await tryCommit(story, alice, { proposals: [wanted, addOf(dave)] })),
    'unsupportedCapability',
  )
})

Deno.test('12.1.7: new extensions replace all others, also by none', async () => {
  const story = createStory(71)
  const able = { capabilities: { extensions: [UNKNOWN] }, groupExtensions: [unknown] }
  const { alice, bob, carol, onlooker } = await threeMembers(story, able)
  const first = await commit(story, alice, { proposals: [context(requiring({}))] })
  const other = await commit(story, alice, { proposals: [context()] })
  const seen = await follow(bob, first.message)
  deepStrictEqual(seen.public.context.extensions.map(({ type }) => type), [3])
  assertAgreement([first.next, seen], await look(onlooker, first.message))
  const none = await follow(carol, other.message)
  strictEqual(none.public.context.extensions.length, 0)
  assertAgreement([other.next, none])
})

Deno.test('12.3: what is added is judged by the extensions of the same commit', async () => {
  const story = createStory(72)
  const able = { capabilities: { extensions: [UNKNOWN] }, groupExtensions: [unknown] }
  const { alice, bob, onlooker } = await threeMembers(story, able)
  const plain = await candidate(story, 'dave')
  const stays = await tryCommit(story, alice, { proposals: [addOf(plain)] })
  strictEqual(codeOf(stays), 'unsupportedCapability')
  // Listed before the Add or behind it: the extension goes first.
  for (const proposals of [[addOf(plain), context()], [context(), addOf(plain)]]) {
    const made = await commit(story, alice, { proposals })
    const everybody = [made.next, await follow(bob, made.message), await join(plain, made)]
    assertAgreement(everybody, await look(onlooker, made.message))
  }
})

Deno.test('12.1.1: Adds take the leftmost blank leaves in their order', async () => {
  const story = createStory(73)
  const { members, onlooker } = await circle(story, ['a', 'b', 'c', 'd', 'e'])
  const [alice, , , dave] = members
  ok(alice !== undefined && dave !== undefined)
  const comers = await Promise.all(['x', 'y', 'z'].map((name) => candidate(story, name)))
  const adds = comers.map(addOf)
  const made = await commit(story, alice, { proposals: [...adds, removal(4), removal(1)] })
  deepStrictEqual(made.change.added.map(({ leaf }) => leaf), [1, 4, 5])
  const joined = await Promise.all(comers.map((comer) => join(comer, made)))
  deepStrictEqual(joined.map(({ ownLeaf }) => ownLeaf), [1, 4, 5])
  const everybody = [made.next, await follow(dave, made.message), ...joined]
  assertAgreement(everybody, await look(onlooker, made.message))
})

Deno.test('12.1.2: an Update by reference gives its sender a new key, and all agree', async () => {
  const story = createStory(74)
  const { alice, bob, carol, onlooker } = await threeMembers(story)
  const update = await proposed(story, bob, 'update')
  const [atAlice, atCarol] = [
    await follow(alice, update.message),
    await follow(carol, update.message),
  ]
  const seen = await look(onlooker, update.message)
  const made = await commit(story, atAlice, { references: [update.reference] })
  const everybody = [
    made.next,
    await follow(update.group, made.message),
    await follow(atCarol, made.message),
  ]
  assertAgreement(everybody, await look(seen, made.message))
  ok(leafOf(made.next, 1).source.kind === 'update')
  // With the new key he opens what comes next.
  const later = await commit(story, made.next, {})
  assertAgreement([later.next, await follow(everybody[1] as typeof bob, later.message)])
})

Deno.test('12.1: proposals of an epoch end with it', async () => {
  const story: Story = createStory(75)
  const { alice, bob, carol } = await threeMembers(story)
  const removing = await proposed(story, carol, removal(1))
  const atAlice = await follow(alice, removing.message)
  strictEqual(atAlice.public.proposals.size, 1)
  const made = await commit(story, atAlice, {})
  strictEqual(made.next.public.proposals.size, 0)
  const references = [removing.reference]
  const late = await tryCommit(story, made.next, { references })
  strictEqual(codeOf(late), 'unknownProposal')
  strictEqual((await follow(bob, made.message)).public.proposals.size, 0)
})
