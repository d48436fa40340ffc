/**
 * RFC 9420 sections 8.3, 12.1.8 and 12.4.3.2 as rules about who stands outside: external commits,
 * proposals of external senders, and of who wants to be added.
 */
import { deepStrictEqual, ok, strictEqual } from 'node:assert/strict'
import { EMPTY, utf8Encode } from '#core/base/bytes.ts'
import type { CommitMade } from '#core/mls/commit-make.ts'
import type { Commit } from '#core/mls/commit.ts'
import { type Extension, EXTENSION_TYPE, externalSenders } from '#core/mls/extension.ts'
import { makeExtension } from '#core/mls/extension.ts'
import type { Sender } from '#core/mls/framing.ts'
import { externalPublicKey, type Group } from '#core/mls/group.ts'
import { type ExternalJoining, joinByExternalCommit } from '#core/mls/join-external.ts'
import type { LeafNodeContent } from '#core/mls/leaf-node.ts'
import { proposeExternally, proposeOwnAdd } from '#core/mls/messages.ts'
import type { LeafMaking } from '#core/mls/own-leaf.ts'
import type { PreSharedKeyId, Proposal } from '#core/mls/proposal.ts'
import type { PublicGroup } from '#core/mls/public-group.ts'
import { addOf, assertAgreement, assertRefused, candidate, codeOf, commit } from './mls-parties.ts'
import {
  commitOf,
  createStory,
  flipped,
  follow,
  forged,
  join,
  leafOf,
  look,
} from './mls-parties.ts'
import { noPsks, NOW, partyOf, repackaged, resigned, rewritten, suite } from './mls-parties.ts'
import { take, threeMembers, tryCommit } from './mls-parties.ts'

const removal = (removed: number): Proposal => ({ kind: 'remove', removed })

async function outsider(
  onlooker: PublicGroup,
  party: LeafMaking,
  member: Group,
  joining: Partial<ExternalJoining> = {},
): ReturnType<typeof joinByExternalCommit> {
  const externalPub = await externalPublicKey(member)
  const bare = { ...party, externalPub, removed: null, psks: noPsks, authenticatedData: EMPTY }
  return await joinByExternalCommit(onlooker, { ...bare, timeMs: NOW, ...joining })
}

async function comesIn(...from: Parameters<typeof outsider>): Promise<CommitMade> {
  const made = await outsider(...from)
  ok(made.kind === 'committed', codeOf(made))
  return made
}

/** An external commit with something changed; its maker signs leaf and commit again. */
function reentered(
  group: Group,
  made: CommitMade,
  change: (commit: Commit) => Commit | Promise<Commit>,
): Promise<Uint8Array> {
  // The context is that of the epoch before, the signature key that of the newcomer.
  const { signatureSecret } = made.next
  return rewritten({ ...group, signatureSecret }, made.message, change)
}

const withList =
  (change: (list: readonly Proposal[]) => readonly Proposal[]) => (commit: Commit) => {
    const list = commit.proposals.flatMap((each) => each.kind === 'proposal' ? [each.proposal] : [])
    const proposals = change(list).map((proposal) => ({ kind: 'proposal', proposal } as const))
    return { ...commit, proposals }
  }

const withOwnLeaf =
  (made: CommitMade, change: Partial<LeafNodeContent>) => async (commit: Commit) => {
    ok(commit.path !== null)
    const { signatureSecret, ownLeaf, public: { context } } = made.next
    const place = { groupId: context.groupId, leaf: ownLeaf }
    const leafNode = await resigned(commit.path.leafNode, change, { signatureSecret, place })
    return { ...commit, path: { ...commit.path, leafNode } }
  }

Deno.test('12.4.3.2: somebody joins from outside, and takes part at once', async () => {
  const story = createStory(160)
  const { alice, bob, carol, onlooker } = await threeMembers(story)
  const made = await comesIn(onlooker, partyOf(story, 'dave'), alice)
  strictEqual(made.next.ownLeaf, 3)
  ok(made.change.external)
  const members = await Promise.all([alice, bob, carol].map((each) => follow(each, made.message)))
  const seen = await look(onlooker, made.message)
  assertAgreement([made.next, ...members], seen)
  const next = await commit(story, made.next, { proposals: [removal(0)] })
  const later = await Promise.all(members.slice(1).map((each) => follow(each, next.message)))
  assertAgreement([next.next, ...later], await look(seen, next.message))
})

Deno.test('12.4.3.2: one ExternalInit, one Remove at most, PSKs, and no more', async () => {
  const story = createStory(161)
  const { alice, bob, onlooker } = await threeMembers(story)
  const made = await comesIn(onlooker, partyOf(story, 'dave'), alice)
  const add = addOf(await candidate(story, 'erin'))
  const reInit: Proposal = {
    kind: 'reInit',
    groupId: EMPTY,
    version: 1,
    cipherSuite: suite.id,
    extensions: [],
  }
  const context: Proposal = { kind: 'groupContextExtensions', extensions: [] }
  const update: Proposal = { kind: 'update', leafNode: leafOf(made.next, 3) }
  const lists: readonly ((list: readonly Proposal[]) => readonly Proposal[])[] = [
    () => [],
    (list) => [...list, ...list],
    (list) => [...list, removal(1), removal(2)],
    ...[add, update, reInit, context].map((other) => (list: readonly Proposal[]) => [
      ...list,
      other,
    ]),
    () => [add],
  ]
  const by = { member: bob, onlooker }
  for (const change of lists) {
    const message = await reentered(alice, made, withList(change))
    await assertRefused(message, by, { member: 'badProposalList' })
  }
  const same = await reentered(alice, made, (commit) => commit)
  assertAgreement([made.next, await follow(bob, same)])
})

Deno.test('12.4.3.2: an external commit names nothing by reference', async () => {
  const story = createStory(162)
  const { alice, bob, onlooker } = await threeMembers(story)
  const proposal = await forged(alice, { body: { kind: 'proposal', proposal: removal(2) } })
  const [atBob, seen] = [await follow(bob, proposal), await look(onlooker, proposal)]
  const [cached] = [...atBob.public.proposals.values()]
  ok(cached !== undefined)
  const made = await comesIn(onlooker, partyOf(story, 'dave'), alice)
  const message = await reentered(alice, made, (commit) => ({
    ...commit,
    proposals: [...commit.proposals, { kind: 'reference', reference: cached.reference }],
  }))
  await assertRefused(message, { member: atBob, onlooker: seen }, { member: 'badProposalList' })
})

Deno.test('12.4.3.2: an external commit has a path, whose leaf signed it', async () => {
  const story = createStory(163)
  const { alice, bob, onlooker } = await threeMembers(story)
  const by = { member: bob, onlooker }
  const made = await comesIn(onlooker, partyOf(story, 'dave'), alice)
  const without = await reentered(alice, made, (commit) => ({ ...commit, path: null }))
  await assertRefused(without, by, { member: 'wrongSender' })
  const foreign = await rewritten(alice, made.message, (commit) => commit)
  await assertRefused(foreign, by, { member: 'badSignature' })
  // A member does not send the proposals of who comes from outside, nor the other way round.
  const commitBody = { kind: 'commit', commit: commitOf(made.message) } as const
  const asMember = await forged(alice, { body: commitBody })
  await assertRefused(asMember, by, { member: 'badProposalList' })
  const own = await commit(story, alice, {})
  const sender: Sender = { kind: 'newMemberCommit' }
  const asComer = await forged(alice, {
    sender,
    body: { kind: 'commit', commit: commitOf(own.message) },
  })
  await assertRefused(asComer, by, { member: 'badProposalList' })
})

Deno.test('12.4.3.2: the leaf of who comes in is valid, and its keys are new', async () => {
  const story = createStory(164)
  const { alice, bob, onlooker } = await threeMembers(story)
  const made = await comesIn(onlooker, partyOf(story, 'dave'), alice)
  const { capabilities } = leafOf(made.next, 3)
  const capable = (of: Partial<typeof capabilities>) => ({
    capabilities: { ...capabilities, ...of },
  })
  const x509 = { kind: 'x509', certificates: [] } as const
  const cases: readonly (readonly [string, Partial<LeafNodeContent>])[] = [
    ['badLeaf', { source: { kind: 'update' } }],
    ['badLeaf', { extensions: [{ type: 0xf0f0, body: EMPTY }] }],
    ['unsupportedCapability', capable({ cipherSuites: [] })],
    ['unsupportedCapability', { credential: x509, ...capable({ credentials: [1, 2] }) }],
    ['badParentHash', { source: { kind: 'commit', parentHash: EMPTY } }],
    ['duplicateKey', { encryptionKey: leafOf(alice, 1).encryptionKey }],
    ['badLeaf', { encryptionKey: EMPTY }],
  ]
  for (const [code, change] of cases) {
    const message = await reentered(alice, made, withOwnLeaf(made, change))
    await assertRefused(message, { member: bob, onlooker }, { member: code })
  }
  // Who is in the group does not come in once more, unless the old leaf goes.
  const again = { ...partyOf(story, 'bob'), signatureSecret: bob.signatureSecret }
  const { signatureKey } = leafOf(bob, 1)
  const twice = { ...again, template: { ...again.template, signatureKey } }
  strictEqual(codeOf(await outsider(onlooker, twice, alice)), 'duplicateKey')
  const place = { groupId: alice.public.context.groupId, leaf: 3 }
  const shared = await rewritten(
    { ...alice, signatureSecret: bob.signatureSecret },
    made.message,
    async (commit) => {
      ok(commit.path !== null)
      const { signatureSecret } = bob
      const signing = { signatureSecret, place }
      const leafNode = await resigned(commit.path.leafNode, { signatureKey }, signing)
      return { ...commit, path: { ...commit.path, leafNode } }
    },
  )
  await assertRefused(shared, { member: alice, onlooker }, { member: 'duplicateKey' })
})

/** Bob, who has lost his state and has his signature key. */
function returning(story: ReturnType<typeof createStory>, bob: Group): LeafMaking {
  const party = partyOf(story, 'bob')
  const { signatureKey } = leafOf(bob, bob.ownLeaf)
  const template = { ...party.template, signatureKey }
  return { ...party, signatureSecret: bob.signatureSecret, template }
}

Deno.test('12.4.3.2: a resync takes the place of a leaf, which is told so', async () => {
  const story = createStory(165)
  const { alice, bob, carol, onlooker } = await threeMembers(story)
  const made = await comesIn(onlooker, returning(story, bob), alice, { removed: 1 })
  strictEqual(made.next.ownLeaf, 1)
  const members = await Promise.all([alice, carol].map((each) => follow(each, made.message)))
  assertAgreement([made.next, ...members], await look(onlooker, made.message))
  strictEqual(codeOf(await take(bob, made.message)), 'removed')
  for (const removed of [3, 9]) {
    const wrong = await outsider(onlooker, returning(story, bob), alice, { removed })
    strictEqual(codeOf(wrong), 'badProposal')
    const list = withList((list) =>
      list.map((each) => each.kind === 'remove' ? removal(removed) : each)
    )
    const message = await reentered(alice, made, list)
    await assertRefused(message, { member: carol, onlooker }, { member: 'badProposal' })
  }
})

Deno.test('12.2: the leaf of a resync has another key than the leaf that goes', async () => {
  const story = createStory(166)
  const { alice, bob, carol, onlooker } = await threeMembers(story)
  const made = await comesIn(onlooker, returning(story, bob), alice, { removed: 1 })
  const { encryptionKey } = leafOf(bob, 1)
  const message = await reentered(alice, made, withOwnLeaf(made, { encryptionKey }))
  await assertRefused(message, { member: carol, onlooker }, { member: 'duplicateKey' })
})

Deno.test('12.4.3.2: whose leaf a resync may take is for the application to judge', async () => {
  const story = createStory(167)
  const { alice, bob, carol, onlooker } = await threeMembers(story)
  // Dave removes Bob: both credentials are in what the caller sees before it takes the state.
  const made = await comesIn(onlooker, partyOf(story, 'dave'), alice, { removed: 1 })
  const taken = await take(carol, made.message)
  ok(taken.kind === 'commit')
  const { external, removed, updated } = taken.change
  ok(external)
  deepStrictEqual(removed.map(({ leafNode }) => leafNode.credential), [
    leafOf(bob, 1).credential,
  ])
  deepStrictEqual(updated.map(({ leafNode }) => leafNode.credential), [
    { kind: 'basic', identity: utf8Encode('dave') },
  ])
})

Deno.test('12.4.3.2: PSKs of an external commit are known to both sides', async () => {
  const story = createStory(168)
  const { alice, bob, carol, onlooker } = await threeMembers(story)
  const psk: PreSharedKeyId = {
    kind: 'external',
    pskId: utf8Encode('shared'),
    pskNonce: new Uint8Array(suite.hashLength),
  }
  const held = () => utf8Encode('the key that everybody has')
  const party = partyOf(story, 'dave')
  strictEqual(codeOf(await outsider(onlooker, party, alice, { pskIds: [psk] })), 'unknownPsk')
  const made = await comesIn(onlooker, party, alice, { pskIds: [psk], psks: held })
  assertAgreement([made.next, await follow(bob, made.message, held)])
  await assertRefused(made.message, { member: carol }, { member: 'unknownPsk' })
  const short = { ...psk, pskNonce: EMPTY }
  const wrong = await outsider(onlooker, party, alice, { pskIds: [short], psks: held })
  strictEqual(codeOf(wrong), 'badProposal')
  const twice = await outsider(onlooker, party, alice, { pskIds: [psk, psk], psks: held })
  strictEqual(codeOf(twice), 'badProposalList')
})

Deno.test('8.3: an external commit is encapsulated to the key of the epoch', async () => {
  const story = createStory(169)
  const { alice, bob, onlooker } = await threeMembers(story)
  const party = partyOf(story, 'dave')
  const other = await candidate(story, 'erin')
  const { initKey } = other.keyPackage
  const lost = await comesIn(onlooker, party, alice, { externalPub: initKey })
  const by = { member: bob, onlooker }
  const hidden = { member: 'badConfirmationTag', onlooker: 'commit' }
  await assertRefused(lost.message, by, hidden)
  for (const externalPub of [EMPTY, new Uint8Array(32), new Uint8Array(31)]) {
    strictEqual(codeOf(await outsider(onlooker, party, alice, { externalPub })), 'badProposal')
  }
  const made = await comesIn(onlooker, party, alice)
  for (const kemOutput of [EMPTY, new Uint8Array(32), new Uint8Array(64)]) {
    const init: Proposal = { kind: 'externalInit', kemOutput }
    const message = await reentered(alice, made, withList(() => [init]))
    await assertRefused(message, by, { member: 'badProposal', onlooker: 'commit' })
  }
  // Without the group's secrets nobody guesses the tag.
  const tagged = await forged({ ...alice, signatureSecret: party.signatureSecret }, {
    sender: { kind: 'newMemberCommit' },
    body: { kind: 'commit', commit: commitOf(made.message) },
  })
  await assertRefused(tagged, by, hidden)
})

Deno.test('9.2: an external commit that is refused leaves no init secret behind', async () => {
  const story = createStory(177)
  const { alice, bob, onlooker } = await threeMembers(story)
  const made = await comesIn(onlooker, partyOf(story, 'dave'), alice)
  const seen: Uint8Array[] = []
  const watching = {
    ...suite,
    async hpkeReceiveExport(...parts: Parameters<typeof suite.hpkeReceiveExport>) {
      const exported = await suite.hpkeReceiveExport(...parts)
      if (exported !== null) seen.push(exported)
      return exported
    },
  }
  const watched = { ...bob, public: { ...bob.public, suite: watching } }
  const blinded = await reentered(alice, made, (commit) => ({
    ...commit,
    path: commit.path && {
      ...commit.path,
      nodes: commit.path.nodes.map((node) => ({
        ...node,
        encryptedPathSecret: node.encryptedPathSecret.map((each) => ({
          ...each,
          ciphertext: flipped(each.ciphertext),
        })),
      })),
    },
  }))
  strictEqual(codeOf(await take(watched, blinded)), 'notDecryptable')
  const body = { kind: 'commit', commit: commitOf(made.message) } as const
  const sender: Sender = { kind: 'newMemberCommit' }
  const { signatureSecret } = made.next
  const untagged = await forged({ ...alice, signatureSecret }, { sender, body })
  strictEqual(codeOf(await take(watched, untagged)), 'badConfirmationTag')
  strictEqual(seen.length, 2)
  ok(seen.every((secret) => secret.every((byte) => byte === 0)))
})

// ---- Proposals from outside ---------------------------------------------------------------

async function withSender(seed: number) {
  const story = createStory(seed)
  const service = partyOf(story, 'service')
  const { signatureKey, credential } = service.template
  const groupExtensions: readonly Extension[] = [
    makeExtension(EXTENSION_TYPE.externalSenders, externalSenders, [{ signatureKey, credential }]),
  ]
  const members = await threeMembers(story, { groupExtensions })
  const { groupId, epoch } = members.alice.public.context
  const { signatureSecret } = service
  const from = { groupId, epoch, authenticatedData: EMPTY, senderIndex: 0, signatureSecret }
  return { story, service, from, ...members }
}

Deno.test('12.1.8: an external sender proposes what it may, and a member commits it', async () => {
  const { story, from, alice, bob, carol, onlooker } = await withSender(170)
  const comer = await candidate(story, 'dave')
  const messages = await Promise.all([
    proposeExternally(suite, removal(2), from),
    proposeExternally(suite, addOf(comer), from),
  ])
  let [atAlice, atBob, seen] = [alice, bob, onlooker]
  for (const message of messages) {
    atAlice = await follow(atAlice, message)
    atBob = await follow(atBob, message)
    seen = await look(seen, message)
  }
  const references = [...atAlice.public.proposals.values()].map(({ reference }) => reference)
  const made = await commit(story, atAlice, { references })
  const everybody = [made.next, await follow(atBob, made.message), await join(comer, made)]
  assertAgreement(everybody, await look(seen, made.message))
  strictEqual(codeOf(await take(carol, made.message)), 'unknownProposal')
})

Deno.test('12.1.8: an external sender proposes no Update and no ExternalInit', async () => {
  const { from, alice, bob, onlooker } = await withSender(171)
  const wrong: readonly Proposal[] = [
    { kind: 'update', leafNode: leafOf(alice, 1) },
    { kind: 'externalInit', kemOutput: new Uint8Array(32) },
  ]
  for (const [index, proposal] of wrong.entries()) {
    const message = await proposeExternally(suite, proposal, from)
    const code = index === 0 ? 'wrongSender' : 'badProposal'
    await assertRefused(message, { member: bob, onlooker }, { member: code })
  }
})

Deno.test('6.1: an external sender proposes, and commits or writes nothing', async () => {
  const { service, alice, bob, onlooker } = await withSender(178)
  const { signatureSecret } = service
  const sender: Sender = { kind: 'external', senderIndex: 0 }
  const outside = { ...alice, signatureSecret }
  const list = { kind: 'commit', commit: { proposals: [], path: null } } as const
  const commits = await forged(outside, { sender, body: list })
  await assertRefused(commits, { member: bob, onlooker }, { member: 'wrongSender' })
  const application = { kind: 'application', content: EMPTY } as const
  const writes = await forged(outside, { sender, body: application })
  const codes = { member: 'wrongKind', onlooker: 'wrongSender' }
  await assertRefused(writes, { member: bob, onlooker }, codes)
})

Deno.test('12.1.8: an external sender is one of the list, and of this epoch', async () => {
  const { from, alice, bob, onlooker } = await withSender(172)
  const by = { member: bob, onlooker }
  for (const senderIndex of [1, 0xffffffff]) {
    const message = await proposeExternally(suite, removal(2), { ...from, senderIndex })
    await assertRefused(message, by, { member: 'wrongSender' })
  }
  const { signatureSecret } = alice
  const members = await proposeExternally(suite, removal(2), { ...from, signatureSecret })
  await assertRefused(members, by, { member: 'badSignature' })
  const late = await proposeExternally(suite, removal(2), { ...from, epoch: 0n })
  await assertRefused(late, by, { member: 'wrongEpoch' })
  const elsewhere = await proposeExternally(suite, removal(2), { ...from, groupId: EMPTY })
  await assertRefused(elsewhere, by, { member: 'wrongGroup' })
  // Where the group names no senders there are none.
  const plain = await threeMembers(createStory(173))
  const { groupId, epoch } = plain.alice.public.context
  const nobody = await proposeExternally(suite, removal(2), { ...from, groupId, epoch })
  const among = { member: plain.bob, onlooker: plain.onlooker }
  await assertRefused(nobody, among, { member: 'wrongSender' })
})

Deno.test('12.1.8: a newcomer proposes its own Add, which a member commits', async () => {
  const { story, from, alice, bob, onlooker } = await withSender(174)
  const comer = await candidate(story, 'dave')
  const { signatureSecret } = comer.party
  const message = await proposeOwnAdd(suite, comer.keyPackage, { ...from, signatureSecret })
  const [atAlice, atBob] = [await follow(alice, message), await follow(bob, message)]
  const seen = await look(onlooker, message)
  const [cached] = [...atAlice.public.proposals.values()]
  ok(cached !== undefined)
  strictEqual(cached.sender.kind, 'newMemberProposal')
  const made = await commit(story, atAlice, { references: [cached.reference] })
  const everybody = [made.next, await follow(atBob, made.message), await join(comer, made)]
  assertAgreement(everybody, await look(seen, made.message))
})

Deno.test('12.1.8: a newcomer signs with the key of its KeyPackage, which is valid', async () => {
  const { story, from, bob, onlooker, service } = await withSender(175)
  const by = { member: bob, onlooker }
  const comer = await candidate(story, 'dave')
  const foreign = { ...from, signatureSecret: service.signatureSecret }
  const message = await proposeOwnAdd(suite, comer.keyPackage, foreign)
  await assertRefused(message, by, { member: 'badSignature' })
  const { signatureSecret } = comer.party
  const broken = [
    (await repackaged(comer, { whole: { cipherSuite: 2 } })).keyPackage,
    { ...comer.keyPackage, signature: flipped(comer.keyPackage.signature) },
  ]
  for (const [index, keyPackage] of broken.entries()) {
    const wrong = await proposeOwnAdd(suite, keyPackage, { ...from, signatureSecret })
    await assertRefused(wrong, by, { member: index === 0 ? 'wrongSuite' : 'badSignature' })
  }
})

Deno.test('12.1.8: what outsiders proposed is judged again with the commit', async () => {
  const { story, from, alice, bob, onlooker } = await withSender(176)
  const messages = await Promise.all([
    proposeExternally(suite, removal(0), from),
    proposeExternally(suite, removal(2), from),
  ])
  let [atAlice, atBob, seen] = [alice, bob, onlooker]
  for (const message of messages) {
    atAlice = await follow(atAlice, message)
    atBob = await follow(atBob, message)
    seen = await look(seen, message)
  }
  const [own, other] = [...atAlice.public.proposals.values()].map(({ reference }) => reference)
  ok(own !== undefined && other !== undefined)
  strictEqual(codeOf(await tryCommit(story, atAlice, { references: [own] })), 'badProposalList')
  const made = await commit(story, atBob, { references: [own, other] })
  strictEqual(codeOf(await take(atAlice, made.message)), 'removed')
  strictEqual((await look(seen, made.message)).tree.memberCount, 1)
})
