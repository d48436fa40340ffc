/**
 * RFC 9420 sections 11, 11.2 and 11.3 as rules about the beginning and the end of groups: what a
 * ReInit ends, and when a group may take another's place or branch off it.
 */
import { ok, strictEqual } from 'node:assert/strict'
import { EMPTY, toHex, utf8Encode } from '#core/base/bytes.ts'
import { SUITES } from '#core/crypto/suites.ts'
import { cipherSuite } from '#core/mls/cipher-suite.ts'
import type { CommitMade } from '#core/mls/commit-make.ts'
import type { Extension } from '#core/mls/extension.ts'
import { externalPublicKey, type Group } from '#core/mls/group.ts'
import { joinByExternalCommit } from '#core/mls/join-external.ts'
import { propose } from '#core/mls/messages.ts'
import { makeKeyPackage } from '#core/mls/own-leaf.ts'
import type { PreSharedKeyId, Proposal, ReInitProposal } from '#core/mls/proposal.ts'
import { makeSuccessor, type SuccessorMaking } from '#core/mls/successor.ts'
import { noble } from '../vectors/implementations.ts'
import { addOf, assertAgreement, assertRefused, type Candidate, candidate } from './mls-parties.ts'
import { codeOf, commit, createStory, follow, forged, found, join } from './mls-parties.ts'
import { leafOf, look, noPsks, NOW, partyOf, protectedApplication } from './mls-parties.ts'
import { type Story, suite, threeMembers, tryCommit, tryJoin } from './mls-parties.ts'

const UNKNOWN: Extension = { type: 0xf0f0, body: Uint8Array.of(1) }
const chacha = cipherSuite(noble, {
  ...SUITES.interoperation,
  id: 3,
  mlsAead: 'chacha20poly1305',
})

const reInit: ReInitProposal = {
  kind: 'reInit',
  groupId: utf8Encode('the next group'),
  version: 1,
  cipherSuite: suite.id,
  extensions: [],
}

/** A member of the old group, with a KeyPackage for the new one. */
async function coming(story: Story, name: string, on = suite): Promise<Candidate> {
  const party = partyOf(story, name)
  const { template } = party
  const capabilities = { ...template.capabilities, cipherSuites: [suite.id, chacha.id] }
  const able = { ...party, template: { ...template, capabilities } }
  return { party: able, ...await makeKeyPackage(on, able) }
}

async function succeed(
  predecessor: Group,
  maker: Candidate,
  making: Partial<SuccessorMaking> & Pick<SuccessorMaking, 'usage' | 'keyPackages'>,
): Promise<CommitMade> {
  const made = await makeSuccessor(predecessor, {
    ...maker.party,
    suite,
    groupId: reInit.groupId,
    extensions: [],
    timeMs: NOW,
    ...making,
  })
  ok(made.kind === 'committed', codeOf(made))
  return made
}

/** Three members whose group has been reinitialised, and what each brings into the new one. */
async function ended(seed: number, proposal: ReInitProposal = reInit, on = suite) {
  const story = createStory(seed)
  const { alice, bob, carol, onlooker } = await threeMembers(story)
  const made = await commit(story, alice, { proposals: [proposal] })
  const over = {
    alice: made.next,
    bob: await follow(bob, made.message),
    carol: await follow(carol, made.message),
    onlooker: await look(onlooker, made.message),
  }
  assertAgreement([over.alice, over.bob, over.carol], over.onlooker)
  const [alices, bobs, carols] = [
    await coming(story, 'alice', on),
    await coming(story, 'bob', on),
    await coming(story, 'carol', on),
  ]
  return { story, ...over, alices, bobs, carols, made }
}

Deno.test('11: a group begins with one member at epoch 0', async () => {
  const story = createStory(190)
  const alice = await found(story, partyOf(story, 'alice'))
  strictEqual(alice.public.context.epoch, 0n)
  strictEqual(alice.public.context.confirmedTranscriptHash.length, 0)
  strictEqual(alice.public.tree.memberCount, 1)
  strictEqual(leafOf(alice, 0).source.kind, 'keyPackage')
})

Deno.test('11.2: after a ReInit a group takes and sends nothing more', async () => {
  const { story, alice, bob, onlooker } = await ended(191)
  const by = { member: bob, onlooker }
  const removal: Proposal = { kind: 'remove', removed: 2 }
  const proposal = await forged(alice, { body: { kind: 'proposal', proposal: removal } })
  await assertRefused(proposal, by, { member: 'suspended' })
  const empty = { kind: 'commit', commit: { proposals: [], path: null } } as const
  await assertRefused(await forged(alice, { body: empty }), by, { member: 'suspended' })
  const application = { kind: 'application', content: EMPTY } as const
  const hidden = await forged(alice, { body: application, wireFormat: 'privateMessage' })
  await assertRefused(hidden, { member: bob }, { member: 'suspended' })
  strictEqual(codeOf(await protectedApplication(story, bob)), 'suspended')
  strictEqual(codeOf(await tryCommit(story, bob, {})), 'suspended')
  const { entropy } = story
  const sending = { authenticatedData: EMPTY, wireFormat: 'publicMessage', entropy } as const
  strictEqual(codeOf(await propose(bob, removal, sending)), 'suspended')
  const outside = await joinByExternalCommit(onlooker, {
    ...partyOf(story, 'dave'),
    externalPub: await externalPublicKey(bob),
    removed: null,
    psks: noPsks,
    authenticatedData: EMPTY,
    timeMs: null,
  })
  strictEqual(codeOf(outside), 'suspended')
})

Deno.test('11.2: any member makes the group of a ReInit, on another suite too', async () => {
  for (const on of [suite, chacha]) {
    const over = await ended(192, { ...reInit, cipherSuite: on.id }, on)
    const keyPackages = [over.alices.keyPackage, over.carols.keyPackage]
    const making = { usage: 'reInit', keyPackages, suite: on } as const
    const made = await succeed(over.bob, over.bobs, making)
    ok(made.welcome !== null)
    const joined = await Promise.all([
      tryJoin(over.alices, made.welcome, { predecessor: over.alice }, on),
      tryJoin(over.carols, made.welcome, { predecessor: over.carol }, on),
    ])
    const groups = joined.map((each) => {
      ok(each.kind === 'joined', codeOf(each))
      strictEqual(each.succession, 'reInit')
      return each.group
    })
    assertAgreement([made.next, ...groups])
    strictEqual(made.next.public.context.epoch, 1n)
  }
})

Deno.test('11.2: a joiner compares the new group with the ReInit', async () => {
  const over = await ended(193)
  const keyPackages = [over.alices.keyPackage, over.carols.keyPackage]
  const extended = async (comer: Candidate) => {
    const { template } = comer.party
    const capabilities = { ...template.capabilities, extensions: [UNKNOWN.type] }
    const party = { ...comer.party, template: { ...template, capabilities } }
    return { party, ...await makeKeyPackage(suite, party) }
  }
  const [alices, bobs, carols] = await Promise.all(
    [over.alices, over.bobs, over.carols].map(extended),
  )
  ok(alices !== undefined && bobs !== undefined && carols !== undefined)
  const cases: readonly (readonly [Partial<SuccessorMaking>, Candidate, Candidate])[] = [
    [{ groupId: utf8Encode('another') }, over.bobs, over.carols],
    [
      {
        extensions: [UNKNOWN],
        keyPackages: [alices.keyPackage, carols.keyPackage],
      },
      bobs,
      carols,
    ],
  ]
  for (const [change, maker, comer] of cases) {
    const made = await succeed(over.bob, maker, { usage: 'reInit', keyPackages, ...change })
    ok(made.welcome !== null)
    const joined = await tryJoin(comer, made.welcome, { predecessor: over.carol })
    strictEqual(codeOf(joined), 'badProposalList')
  }
})

Deno.test('11.2: everybody of the old group is in the new one', async () => {
  const over = await ended(194)
  const keyPackages = [over.carols.keyPackage]
  const made = await succeed(over.bob, over.bobs, { usage: 'reInit', keyPackages })
  ok(made.welcome !== null)
  const joined = await tryJoin(over.carols, made.welcome, { predecessor: over.carol })
  strictEqual(codeOf(joined), 'wrongSender')
})

Deno.test('11.2: a group that is not bound to the old one is told from its next', async () => {
  const over = await ended(201)
  const alone = await found(over.story, over.bobs.party)
  const made = await commit(over.story, alone, { proposals: [addOf(over.carols)] })
  ok(made.welcome !== null)
  const joined = await tryJoin(over.carols, made.welcome, { predecessor: over.carol })
  ok(joined.kind === 'joined', codeOf(joined))
  strictEqual(joined.succession, null)
})

Deno.test('11.2: nothing is reinitialised that was not committed', async () => {
  const story = createStory(195)
  const { bob, carol } = await threeMembers(story)
  const [bobs, carols] = [await coming(story, 'bob'), await coming(story, 'carol')]
  const refused = await makeSuccessor(bob, {
    ...bobs.party,
    suite,
    usage: 'reInit',
    groupId: reInit.groupId,
    extensions: [],
    keyPackages: [carols.keyPackage],
    timeMs: NOW,
  })
  strictEqual(codeOf(refused), 'badProposal')
  // A maker who does so all the same.
  const lying = { ...bob, public: { ...bob.public, reInit } }
  const keyPackages = [carols.keyPackage]
  const made = await succeed(lying, bobs, { usage: 'reInit', keyPackages })
  ok(made.welcome !== null)
  const joined = await tryJoin(carols, made.welcome, { predecessor: carol })
  strictEqual(codeOf(joined), 'badProposalList')
})

Deno.test('11.3: a branch has members of the group, in one epoch of it', async () => {
  const story = createStory(196)
  const { alice, bob, carol } = await threeMembers(story)
  const [bobs, carols] = [await coming(story, 'bob'), await coming(story, 'carol')]
  const keyPackages = [carols.keyPackage]
  const made = await succeed(bob, bobs, { usage: 'branch', keyPackages })
  ok(made.welcome !== null)
  const joined = await tryJoin(carols, made.welcome, { predecessor: carol })
  ok(joined.kind === 'joined', codeOf(joined))
  strictEqual(joined.succession, 'branch')
  assertAgreement([made.next, joined.group])
  // Of another epoch of the old group, or of another group.
  const later = await commit(story, alice, {})
  const moved = await follow(carol, later.message)
  const late = await tryJoin(carols, made.welcome, { predecessor: moved })
  strictEqual(codeOf(late), 'badProposalList')
  const { carol: other } = await threeMembers(story)
  const strange = await tryJoin(carols, made.welcome, { predecessor: other, psks: () => EMPTY })
  strictEqual(codeOf(strange), 'notDecryptable')
  const unknown = await tryJoin(carols, made.welcome)
  strictEqual(codeOf(unknown), 'unknownPsk')
})

Deno.test('11.3: nobody comes into a branch who was not in the group', async () => {
  const story = createStory(197)
  const { bob, carol } = await threeMembers(story)
  const [bobs, carols, eves] = [
    await coming(story, 'bob'),
    await coming(story, 'carol'),
    await coming(story, 'eve'),
  ]
  const keyPackages = [carols.keyPackage, eves.keyPackage]
  const made = await succeed(bob, bobs, { usage: 'branch', keyPackages })
  ok(made.welcome !== null)
  const joined = await tryJoin(carols, made.welcome, { predecessor: carol })
  strictEqual(codeOf(joined), 'wrongSender')
})

Deno.test('11.3: a branch has the suite of the group', async () => {
  const story = createStory(198)
  const { bob, carol } = await threeMembers(story)
  const [bobs, carols] = [await coming(story, 'bob', chacha), await coming(story, 'carol', chacha)]
  const making = { usage: 'branch', keyPackages: [carols.keyPackage], suite: chacha } as const
  const made = await succeed(bob, bobs, making)
  ok(made.welcome !== null)
  const joined = await tryJoin(carols, made.welcome, { predecessor: carol }, chacha)
  strictEqual(codeOf(joined), 'wrongSuite')
})

Deno.test('11.2, 11.3: a successor is in its epoch 1', async () => {
  const story = createStory(199)
  const { bob, carol } = await threeMembers(story)
  const [bobs, carols] = [await coming(story, 'bob'), await coming(story, 'carol')]
  const { context } = bob.public
  const psk: PreSharedKeyId = {
    kind: 'resumption',
    usage: 'branch',
    pskGroupId: context.groupId,
    pskEpoch: context.epoch,
    pskNonce: new Uint8Array(suite.hashLength),
  }
  const alone = await found(story, bobs.party)
  const first = await commit(story, alone, {})
  const second = await tryCommit(story, first.next, {
    proposals: [addOf(carols), { kind: 'psk', psk }],
    psks: () => bob.secrets.resumptionPsk,
    successor: true,
  })
  ok(second.kind === 'committed' && second.welcome !== null, codeOf(second))
  strictEqual(second.next.public.context.epoch, 2n)
  const joined = await tryJoin(carols, second.welcome, { predecessor: carol })
  strictEqual(codeOf(joined), 'badProposalList')
})

Deno.test('10: a KeyPackage that several groups use serves each of them', async () => {
  const story = createStory(200)
  const comer = await candidate(story, 'dave')
  const groups = [await found(story, partyOf(story, 'a')), await found(story, partyOf(story, 'b'))]
  const ids = new Set<string>()
  for (const group of groups) {
    const made = await commit(story, group, { proposals: [addOf(comer)] })
    const joined = await join(comer, made)
    assertAgreement([made.next, joined])
    ids.add(toHex(joined.public.context.groupId))
  }
  strictEqual(ids.size, 2)
})
