/**
 * RFC 9420 section 12.2 and the first half of 12.4: which proposals may stand together in a commit
 * of a member, who may commit them, and when a path is due.
 */
import { deepStrictEqual, ok, strictEqual } from 'node:assert/strict'
import { concat, EMPTY, utf8Encode } from '#core/base/bytes.ts'
import type { Proposal } from '#core/mls/proposal.ts'
import { makeKeyPackage } from '#core/mls/own-leaf.ts'
import { addOf, assertAgreement, assertRefused, type Candidate, candidate } from './mls-parties.ts'
import { codeOf, commit, commitOf, createStory, follow, forged } from './mls-parties.ts'
import { forgedList, forgedReferences, join, leafOf, look, proposed } from './mls-parties.ts'
import { protectedApplication, repackaged, rewritten, type Story, suite } from './mls-parties.ts'
import { take, threeMembers, tryCommit } from './mls-parties.ts'

const removal = (removed: number): Proposal => ({ kind: 'remove', removed })
const context = (): Proposal => ({ kind: 'groupContextExtensions', extensions: [] })
const psk = (fill: number): Proposal => ({
  kind: 'psk',
  psk: {
    kind: 'external',
    pskId: utf8Encode('shared'),
    pskNonce: new Uint8Array(suite.hashLength).fill(fill),
  },
})
const held = () => utf8Encode('the key that everybody has')
const reInit: Proposal = {
  kind: 'reInit',
  groupId: utf8Encode('next'),
  version: 1,
  cipherSuite: suite.id,
  extensions: [],
}

type Members = Awaited<ReturnType<typeof threeMembers>>

/** The list is refused by who follows, who looks on, and who would commit it. */
async function assertWrongList(
  story: Story,
  { alice, bob, onlooker }: Members,
  proposals: readonly Proposal[],
): Promise<void> {
  const by = { member: bob, onlooker }
  await assertRefused(await forgedList(alice, proposals), by, { member: 'badProposalList' })
  const honest = await tryCommit(story, alice, { proposals, psks: held })
  strictEqual(codeOf(honest), 'badProposalList')
}

/** Standalone proposals, each of a member, as everybody has them; and their references. */
async function withProposals(
  story: Story,
  members: Members,
  by: readonly (readonly ['alice' | 'bob' | 'carol', Proposal | 'update'])[],
): Promise<Members & { readonly references: readonly Uint8Array[] }> {
  let { alice, bob, carol, onlooker } = members
  const references: Uint8Array[] = []
  for (const [who, proposal] of by) {
    const made = await proposed(story, { alice, bob, carol }[who], proposal)
    references.push(made.reference)
    alice = who === 'alice' ? made.group : await follow(alice, made.message)
    bob = who === 'bob' ? made.group : await follow(bob, made.message)
    carol = who === 'carol' ? made.group : await follow(carol, made.message)
    onlooker = await look(onlooker, made.message)
  }
  return { alice, bob, carol, onlooker, references }
}

/** Alice commits by reference what others proposed, although it may not stand together. */
async function assertWrongReferences(
  seed: number,
  by: Parameters<typeof withProposals>[2],
): Promise<void> {
  const story = createStory(seed)
  const all = await withProposals(story, await threeMembers(story), by)
  const { alice, bob, onlooker, references } = all
  const message = await forgedReferences(alice, references)
  await assertRefused(message, { member: bob, onlooker }, { member: 'badProposalList' })
  strictEqual(codeOf(await tryCommit(story, alice, { references })), 'badProposalList')
}

Deno.test('12.2: nobody commits an Update of its own', async () => {
  const story = createStory(80)
  const members = await threeMembers(story)
  const leafNode = leafOf(members.alice, 0)
  await assertWrongList(story, members, [{ kind: 'update', leafNode }])
  await assertWrongReferences(81, [['alice', 'update']])
})

Deno.test('12.2: nobody commits its own removal, whoever proposed it', async () => {
  const story = createStory(82)
  await assertWrongList(story, await threeMembers(story), [removal(0)])
  await assertWrongReferences(83, [['bob', removal(0)]])
  await assertWrongReferences(84, [['alice', removal(0)]])
  // Somebody else commits what a member asked for itself.
  const all = await withProposals(story, await threeMembers(story), [['bob', removal(1)]])
  const made = await commit(story, all.alice, { references: all.references })
  assertAgreement([made.next, await follow(all.carol, made.message)])
})

Deno.test('12.2: no leaf is updated or removed twice', async () => {
  const story = createStory(85)
  await assertWrongList(story, await threeMembers(story), [removal(2), removal(2)])
  await assertWrongReferences(86, [['carol', 'update'], ['carol', 'update']])
  await assertWrongReferences(87, [['carol', 'update'], ['bob', removal(2)]])
  await assertWrongReferences(88, [['bob', removal(2)], ['carol', removal(2)]])
})

Deno.test('12.2: a reference stands once', async () => {
  const story = createStory(89)
  const members = await threeMembers(story)
  const add = addOf(await candidate(story, 'dave'))
  for (const proposal of [add, removal(2), psk(1), context(), reInit]) {
    const all = await withProposals(story, members, [['bob', proposal]])
    const references = [...all.references, ...all.references]
    const message = await forgedReferences(all.alice, references)
    const by = { member: all.bob, onlooker: all.onlooker }
    await assertRefused(message, by, { member: 'badProposalList' })
  }
})

/** Another KeyPackage of a candidate, with the same signature key. */
async function another({ party }: Candidate): Promise<Candidate> {
  return { party, ...await makeKeyPackage(suite, party) }
}

Deno.test('12.2: no client is added twice', async () => {
  const story = createStory(90)
  const members = await threeMembers(story)
  const dave = await candidate(story, 'dave')
  await assertWrongList(story, members, [addOf(dave), addOf(dave)])
  await assertWrongList(story, members, [addOf(dave), addOf(await another(dave))])
  // Two clients that share an encryption key.
  const { encryptionKey } = dave.keyPackage.leafNode
  const erin = await repackaged(await candidate(story, 'erin'), { leaf: { encryptionKey } })
  const { alice, bob, onlooker } = members
  const message = await forgedList(alice, [addOf(dave), addOf(erin)])
  await assertRefused(message, { member: bob, onlooker }, { member: 'duplicateKey' })
})

Deno.test('12.2: who is in the group is added only where the old leaf is removed', async () => {
  const story = createStory(91)
  const { alice, bob, onlooker } = await threeMembers(story)
  const dave = await candidate(story, 'dave')
  const first = await commit(story, alice, { proposals: [addOf(dave)] })
  const [atBob, seen] = [await follow(bob, first.message), await look(onlooker, first.message)]
  const again = await another(dave)
  const message = await forgedList(first.next, [addOf(again)])
  await assertRefused(message, { member: atBob, onlooker: seen }, { member: 'duplicateKey' })
  const made = await commit(story, first.next, { proposals: [addOf(again), removal(3)] })
  const everybody = [made.next, await follow(atBob, made.message), await join(again, made)]
  assertAgreement(everybody, await look(seen, made.message))
  strictEqual(everybody[2]?.ownLeaf, 3)
})

Deno.test('12.2: a PSK stands once; with another nonce it is another', async () => {
  const story = createStory(92)
  const members = await threeMembers(story)
  await assertWrongList(story, members, [psk(1), psk(2), psk(1)])
  const { alice, bob, onlooker } = members
  const made = await commit(story, alice, { proposals: [psk(2), psk(1)], psks: held })
  const followed = await follow(bob, made.message, held)
  assertAgreement([made.next, followed], await look(onlooker, made.message))
  strictEqual(commitOf(made.message).path, null)
})

Deno.test('8.4: PSKs count in the order in which they stand', async () => {
  const story = createStory(93)
  const { alice, bob } = await threeMembers(story)
  const made = await commit(story, alice, { proposals: [psk(2), psk(1)], psks: held })
  const turned = await rewritten(alice, made.message, (commit) => ({
    ...commit,
    proposals: commit.proposals.toReversed(),
  }))
  await assertRefused(turned, { member: bob, psks: held }, { member: 'badConfirmationTag' })
})

Deno.test('12.2: GroupContextExtensions stand once', async () => {
  const story = createStory(94)
  await assertWrongList(story, await threeMembers(story), [context(), context()])
})

Deno.test('12.2: a ReInit stands alone', async () => {
  const story = createStory(95)
  const members = await threeMembers(story)
  const add = addOf(await candidate(story, 'dave'))
  for (const other of [add, removal(2), psk(1), context(), reInit]) {
    await assertWrongList(story, members, [reInit, other])
    await assertWrongList(story, members, [other, reInit])
  }
})

Deno.test('12.2: an ExternalInit is no proposal for a member', async () => {
  const story = createStory(96)
  const init: Proposal = { kind: 'externalInit', kemOutput: new Uint8Array(32) }
  await assertWrongList(story, await threeMembers(story), [init])
})

Deno.test('12.2, 13.2: a proposal of an unknown type is not read', async () => {
  const story = createStory(97)
  const { alice, bob, onlooker } = await threeMembers(story)
  const message = await forgedList(alice, [context()])
  // Type 7 of the one proposal becomes another; the rest of it still decodes as it did.
  const marked = concat(Uint8Array.of(1, 0, 7, 0), Uint8Array.of(0))
  const at = message.findIndex((_, index) =>
    marked.every((byte, offset) => message[index + offset] === byte)
  )
  ok(at > 0)
  for (const [high, low] of [[0, 0], [0, 8], [0x0a, 0x0a], [0xf0, 0x0d]] as const) {
    const changed = message.slice()
    changed.set([high, low], at + 1)
    await assertRefused(changed, { member: bob, onlooker }, { member: 'malformed' })
  }
})

Deno.test('12.4: a reference is of a proposal of the epoch', async () => {
  const story = createStory(98)
  const { alice, bob, onlooker } = await threeMembers(story)
  const by = { member: bob, onlooker }
  for (const reference of [EMPTY, new Uint8Array(32), new Uint8Array(255)]) {
    const message = await forgedReferences(alice, [reference])
    await assertRefused(message, by, { member: 'unknownProposal' })
  }
})

Deno.test('12.4: no proposals, Update, Remove and new extensions demand a path', async () => {
  const story = createStory(99)
  const members = await threeMembers(story)
  const { alice, bob, onlooker } = members
  const by = { member: bob, onlooker }
  for (const proposals of [[], [removal(2)], [context()], [psk(1), context()]]) {
    const message = await forgedList(alice, proposals)
    await assertRefused(message, { ...by, psks: held }, { member: 'missingPath' })
    const honest = await commit(story, alice, { proposals, psks: held })
    ok(commitOf(honest.message).path !== null)
  }
  const all = await withProposals(story, members, [['carol', 'update']])
  const message = await forgedReferences(all.alice, all.references)
  await assertRefused(message, { member: all.bob, onlooker: all.onlooker }, {
    member: 'missingPath',
  })
})

Deno.test('12.4: Add, PSK and ReInit alone need no path, and may have one', async () => {
  const story = createStory(100)
  const { alice, bob, carol, onlooker } = await threeMembers(story)
  const comers = await Promise.all(['dave', 'erin'].map((name) => candidate(story, name)))
  const lists = [[psk(1)], comers.map(addOf), [psk(2), ...comers.map(addOf)], [reInit]]
  for (const proposals of lists) {
    for (const path of ['whenRequired', 'always'] as const) {
      const made = await commit(story, alice, { proposals, path, psks: held })
      strictEqual(commitOf(made.message).path !== null, path === 'always')
      const followed = await Promise.all(
        [bob, carol].map((group) => follow(group, made.message, held)),
      )
      const joined = made.welcome === null
        ? []
        : await Promise.all(comers.map((comer) => join(comer, made, { psks: held })))
      assertAgreement([made.next, ...followed, ...joined], await look(onlooker, made.message))
    }
  }
})

Deno.test('12.4: an empty commit gives its sender new keys and everybody a new epoch', async () => {
  const story = createStory(101)
  const { alice, bob, onlooker } = await threeMembers(story)
  const made = await commit(story, alice, {})
  assertAgreement([made.next, await follow(bob, made.message)], await look(onlooker, made.message))
  deepStrictEqual(leafOf(made.next, 0).source.kind, 'commit')
})

Deno.test('12.4: who has seen a proposal commits before it sends messages', async () => {
  const story = createStory(102)
  const all = await withProposals(story, await threeMembers(story), [['bob', removal(2)]])
  const { alice, bob, references } = all
  for (const group of [alice, bob]) {
    strictEqual(codeOf(await protectedApplication(story, group)), 'proposalsPending')
  }
  const made = await commit(story, alice, { references })
  strictEqual(codeOf(await protectedApplication(story, made.next)), 'sent')
})

Deno.test('12.4.2: a member that a commit removes is told so, and has no next state', async () => {
  const story = createStory(103)
  const { alice, bob, carol } = await threeMembers(story)
  const made = await commit(story, alice, { proposals: [removal(2)] })
  const taken = await take(carol, made.message)
  ok(taken.kind === 'removed' && taken.consumed.length > 0)
  assertAgreement([made.next, await follow(bob, made.message)])
  // Its keys open nothing of the epoch after it.
  const sent = await protectedApplication(story, made.next)
  ok(sent.kind === 'sent')
  const read = await take(carol, sent.message)
  strictEqual(codeOf(read), 'wrongEpoch')
  const body = { kind: 'proposal', proposal: removal(1) } as const
  const late = await forged(carol, { body })
  const next = await follow(bob, made.message)
  await assertRefused(late, { member: next }, { member: 'wrongEpoch' })
})
