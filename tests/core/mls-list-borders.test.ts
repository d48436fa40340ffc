/**
 * Lists of proposals, standalone proposals and successors that no other rule would refuse, asked of
 * the functions themselves: senders, full groups, tags of other lengths, versions.
 */
import { deepStrictEqual, ok, strictEqual } from 'node:assert/strict'
import { EMPTY } from '#core/base/bytes.ts'
import { LIMITS } from '#core/base/limits.ts'
import { EXTENSION_TYPE, makeExtension, requiredCapabilities } from '#core/mls/extension.ts'
import { encodeMlsMessage, type Sender } from '#core/mls/framing.ts'
import { externalPublicKey } from '#core/mls/group.ts'
import { joinByExternalCommit } from '#core/mls/join-external.ts'
import { censusOf } from '#core/mls/leaf-census.ts'
import type { LeafNode } from '#core/mls/leaf-node.ts'
import type { PreSharedKeyId, Proposal } from '#core/mls/proposal.ts'
import {
  applyProposals,
  isFreeFor,
  judgeExtensions,
  judgeProposal,
} from '#core/mls/proposal-list.ts'
import type { SentProposal } from '#core/mls/proposal-list.ts'
import type { PublicGroup } from '#core/mls/public-group.ts'
import { publicProcess } from '#core/mls/public-process.ts'
import { leafAt, members } from '#core/mls/ratchet-tree.ts'
import { listContext } from '#core/mls/staged-commit.ts'
import { judgeSuccessor, successionOf } from '#core/mls/successor-rules.ts'
import { addOf, type Candidate, candidate, codeOf, commit, createStory } from './mls-parties.ts'
import { forgedList, leafOf, noPsks, NOW, partyOf, publicMessageOf } from './mls-parties.ts'
import { repackaged, suite, threeMembers } from './mls-parties.ts'

const member = (leaf: number): Sender => ({ kind: 'member', leaf })

function apply(group: PublicGroup, list: readonly SentProposal[]) {
  const context = listContext(group, { kind: 'member', leaf: 0 }, { timeMs: NOW })
  return applyProposals(context, list)
}

const full = (group: PublicGroup, memberCount: number): PublicGroup => ({
  ...group,
  tree: { ...group.tree, memberCount },
})

Deno.test('RFC 9420 12.1.8: a newcomer proposes its own Add, an outsider what it may', async () => {
  const { onlooker } = await threeMembers(createStory(410))
  const context = listContext(onlooker, { kind: 'member', leaf: 0 }, { timeMs: NOW })
  const add = addOf(await candidate(createStory(411), 'dave'))
  const removal: Proposal = { kind: 'remove', removed: 1 }
  const leafNode = leafAt(onlooker.tree, 1) as LeafNode
  const update: Proposal = { kind: 'update', leafNode }
  const init: Proposal = { kind: 'externalInit', kemOutput: new Uint8Array(32) }
  const judged = (proposal: Proposal, sender: Sender) => judgeProposal(context, proposal, sender)
  const senders: readonly Sender[] = [
    member(1),
    { kind: 'external', senderIndex: 0 },
    { kind: 'newMemberProposal' },
    { kind: 'newMemberCommit' },
  ]
  const faults = [add, removal, update, init].map((proposal) =>
    senders.map((sender) => judged(proposal, sender))
  )
  deepStrictEqual(faults, [
    [null, null, null, null],
    [null, null, 'wrongSender', null],
    [null, 'wrongSender', 'wrongSender', 'wrongSender'],
    [null, 'wrongSender', 'wrongSender', null],
  ])
})

Deno.test('RFC 9420 12.1.2: an Update in a list is a member’s own', async () => {
  const { onlooker } = await threeMembers(createStory(412))
  const leafNode = leafAt(onlooker.tree, 1) as LeafNode
  const update = (leaf: number): SentProposal => ({
    proposal: { kind: 'update', leafNode },
    sender: member(leaf),
    byReference: true,
  })
  strictEqual(codeOf(await apply(onlooker, [update(3)])), 'wrongSender', 'a blank leaf')
  strictEqual(codeOf(await apply(onlooker, [update(1)])), 'badLeaf', 'the leaf of a KeyPackage')
})

const byValue = (proposal: Proposal): SentProposal => ({
  proposal,
  sender: member(0),
  byReference: false,
})

Deno.test('RFC 9420 12.2: a leaf is touched once, and never that of the committer', async () => {
  const { onlooker } = await threeMembers(createStory(416))
  const update = (leaf: number): SentProposal => ({
    proposal: { kind: 'update', leafNode: leafAt(onlooker.tree, leaf) as LeafNode },
    sender: member(leaf),
    byReference: true,
  })
  const removal = (removed: number) => byValue({ kind: 'remove', removed })
  const outsider: SentProposal = { ...update(1), sender: { kind: 'external', senderIndex: 0 } }
  const lists = [
    [update(0)],
    [removal(0)],
    [update(1), update(1)],
    [update(1), removal(1)],
    [removal(1), update(1)],
    [removal(1), removal(1)],
    [outsider],
  ]
  for (const list of lists) strictEqual(codeOf(await apply(onlooker, list)), 'badProposalList')
  strictEqual(codeOf(await apply(onlooker, [removal(1), removal(2)])), 'applied')
})

Deno.test('RFC 9420 17.4: which proposals demand a path', async () => {
  const story = createStory(417)
  const { onlooker } = await threeMembers(story)
  const add = byValue(addOf(await candidate(story, 'dave')))
  const pskNonce = new Uint8Array(suite.hashLength)
  const psk = byValue({ kind: 'psk', psk: { kind: 'external', pskId: EMPTY, pskNonce } })
  const extended = byValue({ kind: 'groupContextExtensions', extensions: [] })
  const removal = byValue({ kind: 'remove', removed: 1 })
  const demands = async (list: readonly SentProposal[]) => {
    const applied = await apply(onlooker, list)
    return applied.kind === 'applied' && applied.pathRequired
  }
  const lists = [[], [add], [psk], [add, psk], [extended], [removal], [add, removal]]
  deepStrictEqual(await Promise.all(lists.map(demands)), [
    ...[true, false, false, false, true, true, true],
  ])
})

Deno.test('RFC 9420 12.1.7: what belongs to a GroupInfo is no extension of a group', () => {
  const extension = (type: number) => ({ type, body: EMPTY })
  const { ratchetTree, externalPub, externalSenders } = EXTENSION_TYPE
  strictEqual(judgeExtensions([]), null)
  strictEqual(judgeExtensions([extension(0xf0f0)]), null)
  strictEqual(judgeExtensions([extension(ratchetTree)]), 'badProposal')
  strictEqual(judgeExtensions([extension(externalPub)]), 'badProposal')
  strictEqual(judgeExtensions([extension(EXTENSION_TYPE.requiredCapabilities)]), 'malformed')
  const cut = { type: externalSenders, body: Uint8Array.of(9) }
  strictEqual(judgeExtensions([cut]), 'malformed')
})

Deno.test('RFC 9420 12.1.7: members are asked where a requirement changes', async () => {
  const { onlooker } = await threeMembers(createStory(418))
  const requiring = (...proposals: number[]) => [
    makeExtension(EXTENSION_TYPE.requiredCapabilities, requiredCapabilities, {
      extensions: [],
      proposals,
      credentials: [1],
    }),
  ]
  const { context } = onlooker
  const group = { ...onlooker, context: { ...context, extensions: requiring() } }
  const changed = async (extensions: ReturnType<typeof requiring>) =>
    codeOf(await apply(group, [byValue({ kind: 'groupContextExtensions', extensions })]))
  strictEqual(await changed(requiring()), 'applied')
  strictEqual(await changed([]), 'applied')
  strictEqual(await changed(requiring(0xf0f0)), 'unsupportedCapability')
  const strange = { type: 0xf0f0, body: EMPTY }
  strictEqual(await changed([...requiring(), strange]), 'unsupportedCapability')
  strictEqual(await changed([strange, ...requiring()]), 'unsupportedCapability')
})

Deno.test('RFC 9420 7.3: which keys a leaf may bring to its own place', async () => {
  const { onlooker: { tree } } = await threeMembers(createStory(419))
  const own = leafAt(tree, 1) as LeafNode
  const other = leafAt(tree, 2) as LeafNode
  const fresh = new Uint8Array(32).fill(7)
  const isFree = (change: Partial<LeafNode>) => isFreeFor(tree, 1, { ...own, ...change })
  strictEqual(isFree({ encryptionKey: fresh }), true)
  strictEqual(isFree({ encryptionKey: fresh, signatureKey: fresh }), true)
  strictEqual(isFree({}), false, 'the same encryption key')
  strictEqual(isFree({ encryptionKey: other.encryptionKey }), false)
  strictEqual(isFree({ encryptionKey: fresh, signatureKey: other.signatureKey }), false)
})

Deno.test('RFC 9420 7.3: who is added brings keys that are nobody’s', async () => {
  const story = createStory(425)
  const { bob, onlooker } = await threeMembers(story)
  const { encryptionKey, signatureKey } = leafOf(bob, 1)
  const comer = await candidate(story, 'dave')
  // Bob comes once more, with the signature key that he has.
  const again = { ...comer, party: { ...comer.party, signatureSecret: bob.signatureSecret } }
  const added = async (from: Candidate, leaf: Partial<LeafNode>) =>
    codeOf(await apply(onlooker, [byValue(addOf(await repackaged(from, { leaf })))]))
  strictEqual(await added(comer, {}), 'applied')
  strictEqual(await added(comer, { encryptionKey }), 'duplicateKey')
  strictEqual(await added(again, { signatureKey }), 'duplicateKey')
})

Deno.test('RFC 9420 12.1.1: of several Adds each is valid', async () => {
  const story = createStory(423)
  const { onlooker } = await threeMembers(story)
  const good = byValue(addOf(await candidate(story, 'dave')))
  const lifetime = { notBefore: 0n, notAfter: 1n }
  const late = byValue(addOf(await candidate(story, 'erin', { lifetime })))
  const lists = [[late], [good, late], [late, good], [good]]
  const codes = await Promise.all(lists.map(async (list) => codeOf(await apply(onlooker, list))))
  deepStrictEqual(codes, ['expired', 'expired', 'expired', 'applied'])
})

Deno.test('RFC 9420 7.3: who is added is counted, and knows what comes beside', async () => {
  const story = createStory(424)
  const both = { capabilities: { credentials: [1, 2] } }
  const { alice, onlooker } = await threeMembers(story, both)
  const x509 = { kind: 'x509', certificates: [Uint8Array.of(1)] } as const
  const certified = addOf(await candidate(story, 'dave', { ...both, credential: x509 }))
  const narrow = addOf(await candidate(story, 'erin'))
  const taken = async (...adds: readonly Proposal[]) =>
    await publicProcess(onlooker, await forgedList(alice, adds), { timeMs: NOW })
  for (const add of [certified, narrow]) {
    const one = await taken(add)
    ok(one.kind === 'commit', codeOf(one))
    deepStrictEqual(one.group.census, censusOf(members(one.group.tree)))
  }
  // Erin does not know what Dave’s credential is.
  strictEqual(codeOf(await taken(certified, narrow)), 'unsupportedCapability')
  strictEqual(codeOf(await taken(narrow, certified)), 'unsupportedCapability')
})

Deno.test('RFC 9420 12.1.1: a group takes members up to its bound', async () => {
  const story = createStory(413)
  const { alice, onlooker } = await threeMembers(story)
  const proposal = addOf(await candidate(story, 'dave'))
  const added = async (memberCount: number) =>
    codeOf(
      await apply(full(onlooker, memberCount), [
        { proposal, sender: member(0), byReference: false },
      ]),
    )
  deepStrictEqual(
    [await added(LIMITS.membersMax - 1), await added(LIMITS.membersMax)],
    ['applied', 'tooLarge'],
  )
  const { message } = await commit(story, alice, { path: 'always' })
  const group = full(onlooker, LIMITS.membersMax)
  strictEqual(codeOf(await publicProcess(group, message, { timeMs: NOW })), 'commit')
  const party = partyOf(story, 'erin')
  const made = await joinByExternalCommit(onlooker, {
    externalPub: await externalPublicKey(alice),
    template: party.template,
    signatureSecret: party.signatureSecret,
    removed: null,
    psks: noPsks,
    authenticatedData: EMPTY,
    timeMs: NOW,
    entropy: story.entropy,
  })
  ok(made.kind === 'committed', codeOf(made))
  const entered = async (memberCount: number) =>
    codeOf(await publicProcess(full(onlooker, memberCount), made.message, { timeMs: NOW }))
  deepStrictEqual(
    [await entered(LIMITS.membersMax - 1), await entered(LIMITS.membersMax)],
    ['commit', 'tooLarge'],
  )
})

Deno.test('RFC 9420 6.2: a membership tag is as long as the hash', async () => {
  const story = createStory(414)
  const { alice, onlooker } = await threeMembers(story)
  const { message } = await commit(story, alice, {})
  const publicMessage = publicMessageOf(message)
  const tag = publicMessage.membershipTag
  ok(tag !== null)
  const taken = async (membershipTag: Uint8Array) => {
    const changed = encodeMlsMessage({
      kind: 'publicMessage',
      publicMessage: { ...publicMessage, membershipTag },
    })
    return codeOf(await publicProcess(onlooker, changed, { timeMs: NOW }))
  }
  deepStrictEqual([await taken(tag), await taken(tag.slice(1)), await taken(EMPTY)], [
    ...['commit', 'badMembershipTag', 'badMembershipTag'],
  ])
})

Deno.test('RFC 9420 6.1: a confirmation tag is as long as the hash', async () => {
  const story = createStory(430)
  const { alice, onlooker } = await threeMembers(story)
  const { message } = await commit(story, alice, {})
  const publicMessage = publicMessageOf(message)
  const { auth } = publicMessage
  ok(auth.confirmationTag !== null)
  const taken = async (confirmationTag: Uint8Array) => {
    const changed = encodeMlsMessage({
      kind: 'publicMessage',
      publicMessage: { ...publicMessage, auth: { ...auth, confirmationTag } },
    })
    return codeOf(await publicProcess(onlooker, changed, { timeMs: NOW }))
  }
  deepStrictEqual([await taken(auth.confirmationTag), await taken(EMPTY)], [
    ...['commit', 'badConfirmationTag'],
  ])
})

Deno.test('RFC 9420 11.2: a group after a ReInit is the one that was committed', async () => {
  const { alice, onlooker } = await threeMembers(createStory(431))
  const { context } = alice.public
  const { groupId, version, cipherSuite, extensions } = context
  const wanted = { groupId, version, cipherSuite, extensions }
  const psk: PreSharedKeyId = {
    ...{ kind: 'resumption', usage: 'reInit', pskGroupId: groupId } as const,
    ...{ pskEpoch: context.epoch, pskNonce: new Uint8Array(32) },
  }
  const judge = (over: Partial<typeof wanted> = {}) => {
    const reInit = { kind: 'reInit', ...wanted, ...over } as const
    const predecessor = { ...alice, public: { ...alice.public, reInit } }
    const group = { ...onlooker, context: { ...onlooker.context, epoch: 1n } }
    const secrets = { joinerSecret: EMPTY, pathSecret: null, psks: [psk] }
    return judgeSuccessor({ group, secrets }, predecessor)
  }
  strictEqual(judge(), null)
  strictEqual(judge({ groupId: EMPTY }), 'badProposalList')
  strictEqual(judge({ version: 2 }), 'badProposalList')
  strictEqual(judge({ cipherSuite: 0x7777 }), 'badProposalList')
  strictEqual(judge({ extensions: [{ type: 0xf0f0, body: EMPTY }] }), 'badProposalList')
})

Deno.test('RFC 9420 11.3: a branch has group, epoch, version and suite', async () => {
  const { alice, onlooker } = await threeMembers(createStory(415))
  const { context } = alice.public
  const psk = (over: Partial<Extract<PreSharedKeyId, { kind: 'resumption' }>> = {}) => ({
    ...{ kind: 'resumption', usage: 'branch', pskGroupId: context.groupId } as const,
    ...{ pskEpoch: context.epoch, pskNonce: new Uint8Array(32) },
    ...over,
  })
  const judge = (psks: readonly PreSharedKeyId[], over: Partial<typeof context> = {}) => {
    const group = { ...onlooker, context: { ...onlooker.context, epoch: 1n, ...over } }
    const secrets = { joinerSecret: EMPTY, pathSecret: null, psks }
    return judgeSuccessor({ group, secrets }, alice)
  }
  strictEqual(judge([psk()]), null)
  strictEqual(judge([]), null)
  strictEqual(judge([psk({ usage: 'application', pskGroupId: EMPTY })]), null)
  strictEqual(judge([psk(), psk()]), 'badProposalList')
  strictEqual(judge([psk({ pskEpoch: context.epoch + 1n })]), 'badProposalList')
  strictEqual(judge([psk({ pskGroupId: EMPTY })]), 'badProposalList')
  strictEqual(judge([psk()], { epoch: 2n }), 'badProposalList')
  strictEqual(judge([psk()], { version: 2 }), 'wrongVersion')
  strictEqual(judge([psk()], { cipherSuite: 0x7777 }), 'wrongSuite')
  strictEqual(judge([psk({ usage: 'reInit' })]), 'badProposalList', 'nothing was reinitialised')
  deepStrictEqual(
    [[psk()], [psk({ usage: 'reInit' })], [psk({ usage: 'application' })], []].map(successionOf),
    ['branch', 'reInit', null, null],
  )
})
