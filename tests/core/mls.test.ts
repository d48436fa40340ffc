/** Stories of Alice, Bob and Carol: groups as their members live them, in every suite. */
import { deepStrictEqual, notStrictEqual, ok, strictEqual, throws } from 'node:assert/strict'
import { toHex, utf8Encode } from '#core/base/bytes.ts'
import { leafIndex, timeMs } from '#core/base/ids.ts'
import { type Suite, SUITES } from '#core/crypto/suites.ts'
import { stateOf } from '#core/mls/ts-mls-state.ts'
import { ciphersuiteOf, NO_ENTROPY } from '#core/mls/ts-mls-suite.ts'
import { initializeEpoch } from 'ts-mls/keySchedule.js'
import {
  assertAgreement,
  commit,
  createGroup,
  createStory,
  crypto,
  exported,
} from './mls-people.ts'
import { follow, join, keyPackageOf, mls, names, NOW, threeMembers } from './mls-people.ts'
import { tryCommit } from './mls-people.ts'

function inEachSuite(title: string, story: (suite: Suite) => Promise<void>): void {
  for (const suite of Object.values<Suite>(SUITES)) {
    Deno.test(`${title} (${suite.name})`, () => story(suite))
  }
}

inEachSuite('a group begins with one member at epoch 0', async (suite) => {
  const alice = await createGroup(createStory(suite, 1), 'alice')
  strictEqual(mls.epoch(alice), 0n)
  strictEqual(mls.suite(alice), suite)
  strictEqual(mls.ownLeaf(alice), 0)
  strictEqual(mls.leafCount(alice), 1)
  strictEqual(mls.groupId(alice).length, 36)
  strictEqual(mls.epochId(alice).length, suite.hashLength)
  deepStrictEqual(names(alice), ['0 alice'])
})

inEachSuite('ROOM-7: Bob joins by Welcome and both export the same secrets', async (suite) => {
  const story = createStory(suite, 2)
  const bobs = await keyPackageOf(story, 'bob')
  const made = await commit(story, await createGroup(story, 'alice'), { adds: [bobs] })
  deepStrictEqual(mls.welcomeRecipients(made.welcome as Uint8Array), [bobs.reference])
  const bob = await join(bobs, made.welcome)
  strictEqual(mls.ownLeaf(bob), 1)
  deepStrictEqual(names(bob), ['0 alice', '1 bob'])
  await assertAgreement([made.next, bob])
})

inEachSuite('ROOM-4: members follow a commit and learn who came and who went', async (suite) => {
  const story = createStory(suite, 3)
  const { alice, bob, carol } = await threeMembers(story)
  const daves = await keyPackageOf(story, 'dave')
  const authenticated = utf8Encode('the last entry that Bob saw')
  const change = { adds: [daves], removes: [leafIndex(2)], authenticated }
  const made = await commit(story, bob, change)
  const seen = await follow(alice, made.commit)
  strictEqual(seen.committer, 1)
  deepStrictEqual(seen.authenticated, authenticated)
  deepStrictEqual(seen.removed.map(({ leaf, identity }) => [leaf, identity]), [
    [2, utf8Encode('carol')],
  ])
  // The leaf that Carol left is the leftmost blank one.
  deepStrictEqual(seen.added.map(({ leaf, identity }) => [leaf, identity]), [
    [2, utf8Encode('dave')],
  ])
  const dave = await join(daves, made.welcome)
  await assertAgreement([seen.next, made.next, dave])
  deepStrictEqual(await mls.processCommit(carol, made.commit, NOW), { kind: 'removedFromGroup' })
})

inEachSuite('an empty commit gives the committer new keys', async (suite) => {
  const story = createStory(suite, 4)
  const { alice, bob, carol } = await threeMembers(story)
  const made = await commit(story, carol, {})
  strictEqual(made.welcome, null)
  const atAlice = await follow(alice, made.commit)
  const atBob = await follow(bob, made.commit)
  deepStrictEqual([...atAlice.added, ...atAlice.removed], [])
  await assertAgreement([made.next, atAlice.next, atBob.next])
  notStrictEqual(await exported(alice), await exported(made.next))
})

inEachSuite('ROOM-4: each commit has a path, one that only adds too', async (suite) => {
  const story = createStory(suite, 5)
  const { alice, bob } = await threeMembers(story)
  const made = await commit(story, bob, { adds: [await keyPackageOf(story, 'dave')] })
  const view = mls.readCommit(made.commit)
  ok(view.kind === 'commit' && view.pathLeaf !== null)
  deepStrictEqual(view.pathLeaf.identity, utf8Encode('bob'))
  strictEqual(view.sender, 1)
  strictEqual(view.epoch, mls.epoch(alice))
  deepStrictEqual(view.adds.map(({ identity }) => identity), [utf8Encode('dave')])
  deepStrictEqual([view.removes, view.otherProposals], [[], 0])
})

inEachSuite('whoever was removed last cannot derive the epoch of who is left', async (suite) => {
  const story = createStory(suite, 6)
  const bobs = await keyPackageOf(story, 'bob')
  const begun = await commit(story, await createGroup(story, 'alice'), { adds: [bobs] })
  const bob = stateOf(await join(bobs, begun.welcome))
  const { next } = await commit(story, begun.next, { removes: [leafIndex(1)] })
  deepStrictEqual(names(next), ['0 alice'])
  // Bob has the init secret and reads the commit; a path without nodes must not leave it at that.
  const nothing = new Uint8Array(suite.hashLength)
  const { kdf } = ciphersuiteOf(crypto, suite, NO_ENTROPY)
  const { context } = stateOf(next)
  const guess = await initializeEpoch(bob.secrets.init, nothing, context, nothing, kdf)
  notStrictEqual(toHex(guess.keySchedule.epochAuthenticator), toHex(mls.epochAuthenticator(next)))
})

inEachSuite('a state survives storage, and stays the member that it was', async (suite) => {
  const story = createStory(suite, 7)
  const { alice, bob, carol } = await threeMembers(story)
  const restored = mls.restore(mls.serialise(bob))
  ok(restored !== null)
  deepStrictEqual(restored, bob)
  const made = await commit(story, restored, {})
  const next = await follow(alice, made.commit)
  await assertAgreement([made.next, next.next, (await follow(carol, made.commit)).next])
})

inEachSuite('nothing that is done with a state changes it', async (suite) => {
  const story = createStory(suite, 8)
  const { alice, bob } = await threeMembers(story)
  const before = [alice, bob].map((group) => toHex(mls.serialise(group)))
  const made = await commit(story, alice, { removes: [leafIndex(2)] })
  await follow(bob, made.commit)
  await follow(bob, made.commit)
  await mls.processCommit(bob, made.commit.subarray(1), NOW)
  mls.withoutExporter(bob)
  deepStrictEqual([alice, bob].map((group) => toHex(mls.serialise(group))), before)
})

inEachSuite('a commit leads to the same epoch for whoever follows it twice', async (suite) => {
  const story = createStory(suite, 9)
  const { alice, bob } = await threeMembers(story)
  const made = await commit(story, alice, {})
  await assertAgreement([
    (await follow(bob, made.commit)).next,
    (await follow(bob, made.commit)).next,
  ])
})

inEachSuite('KEY-1: without the exporter a state exports nothing and goes on', async (suite) => {
  const story = createStory(suite, 10)
  const { alice, bob } = await threeMembers(story)
  const secret = await exported(alice)
  const { group, consumed } = mls.withoutExporter(alice)
  strictEqual(consumed.length, 1)
  const stored = toHex(mls.serialise(group))
  ok(toHex(mls.serialise(alice)).includes(toHex(consumed[0] as Uint8Array)))
  ok(!stored.includes(toHex(consumed[0] as Uint8Array)))
  ok(!stored.includes(secret))
  throws(() => mls.exportSecret(group, { label: '', context: new Uint8Array(), length: 32 }))
  const made = await commit(story, group, {})
  await assertAgreement([made.next, (await follow(bob, made.commit)).next])
})

inEachSuite('exports differ by label, context and epoch', async (suite) => {
  const story = createStory(suite, 11)
  const { alice } = await threeMembers(story)
  const of = async (label: string, context: string) =>
    toHex(await mls.exportSecret(alice, { label, context: utf8Encode(context), length: 48 }))
  const all = [await of('a', 'x'), await of('b', 'x'), await of('a', 'y'), await exported(alice)]
  strictEqual(new Set(all).size, 4)
})

inEachSuite(
  'ROOM-3: the epochId is the hash of the GroupContext and never returns',
  async (suite) => {
    const story = createStory(suite, 12)
    const { alice } = await threeMembers(story)
    const one = await commit(story, alice, {})
    const other = await commit(story, alice, {})
    strictEqual(mls.epoch(one.next), mls.epoch(other.next))
    notStrictEqual(toHex(mls.epochId(one.next)), toHex(mls.epochId(other.next)))
  },
)

inEachSuite('DIR-2: a KeyPackage tells what it is, and its reference', async (suite) => {
  const story = createStory(suite, 13)
  const made = await keyPackageOf(story, 'bob', timeMs(NOW + 7_000))
  const view = await mls.readKeyPackage(made.keyPackage)
  ok(view.kind === 'keyPackage')
  strictEqual(view.suite, suite.id)
  deepStrictEqual(view.reference, made.reference)
  deepStrictEqual(view.identity, utf8Encode('bob'))
  strictEqual(view.notBefore, NOW - 3_600_000)
  strictEqual(view.notAfter, NOW + 7_000)
})

inEachSuite('an expired KeyPackage is not added, and judged at that time only', async (suite) => {
  const story = createStory(suite, 14)
  const { alice } = await threeMembers(story)
  const daves = await keyPackageOf(story, 'dave', timeMs(NOW - 1_000))
  deepStrictEqual(await tryCommit(story, alice, { adds: [daves] }), {
    kind: 'refused',
    code: 'expired',
  })
})

Deno.test('a state of the largest suite stays small', async () => {
  const story = createStory(SUITES.compliance, 15)
  const { alice } = await threeMembers(story)
  const perMember = mls.serialise(alice).length / 3
  ok(perMember < 4_096, `${perMember} bytes for each member`)
})
