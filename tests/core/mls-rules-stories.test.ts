/**
 * What other engines are known to get wrong, as stories that ours tells right (RFC 9420 sections
 * 7.4, 7.7, 12.1.8.1, 12.4 and 12.4.3), what an epoch gives out (8), a life of a group in each
 * suite of the product, and damaged messages: each flipped byte is refused and changes nothing.
 */
import { deepStrictEqual, ok, strictEqual } from 'node:assert/strict'
import { EMPTY, toHex, utf8Encode } from '#core/base/bytes.ts'
import type { Suite } from '#core/crypto/suites.ts'
import { SUITES } from '#core/crypto/suites.ts'
import { cipherSuite } from '#core/mls/cipher-suite.ts'
import { makeCommit } from '#core/mls/commit-make.ts'
import { EXTENSION_TYPE, externalPub, externalSenders, findExtension } from '#core/mls/extension.ts'
import { makeExtension, requiredCapabilities } from '#core/mls/extension.ts'
import { encodeMlsMessage } from '#core/mls/framing.ts'
import { encodeGroupContext, epochIdOf } from '#core/mls/group-context.ts'
import { createGroup, exportSecret, type Group } from '#core/mls/group.ts'
import { externalPublicKey, makeGroupInfo } from '#core/mls/group.ts'
import { joinByExternalCommit } from '#core/mls/join-external.ts'
import { joinByWelcome } from '#core/mls/join-welcome.ts'
import { keyPackage as keyPackageCodec } from '#core/mls/key-package.ts'
import { validateKeyPackage } from '#core/mls/leaf-validation.ts'
import { processMessage } from '#core/mls/messages.ts'
import { makeKeyPackage } from '#core/mls/own-leaf.ts'
import type { Proposal } from '#core/mls/proposal.ts'
import { parentAt } from '#core/mls/ratchet-tree.ts'
import { openPublicGroup, type PublicGroup } from '#core/mls/public-group.ts'
import { encodeGroupHead } from '#core/mls/state-codec.ts'
import { decode, encode } from '#core/wire/codec.ts'
import { noble } from '../vectors/implementations.ts'
import { addOf, assertAgreement, candidate, circle, codeOf, commit } from './mls-parties.ts'
import { commitOf, createStory, follow, join, look, noPsks, NOW, partyOf } from './mls-parties.ts'
import { suite, take, threeMembers, tryJoin } from './mls-parties.ts'

const removal = (removed: number): Proposal => ({ kind: 'remove', removed })

Deno.test('12.4.3.1: a leaf may be unmerged below and merged above', async () => {
  const story = createStory(210)
  const { members } = await circle(story, ['0', '1', '2', '3', '4'])
  let [zero, , , , four] = members as [Group, Group, Group, Group, Group]
  const step = async (by: Group, other: Group, proposals: readonly Proposal[]) => {
    const made = await commit(story, by, { proposals })
    return [made.next, await follow(other, made.message)] as const
  }
  ;[four, zero] = await step(four, zero, [removal(3)])
  ;[zero, four] = await step(zero, four, [])
  const late = await candidate(story, '3 again')
  ;[zero, four] = await step(zero, four, [addOf(late)])
  ;[four, zero] = await step(four, zero, [])
  const { tree } = zero.public
  strictEqual(parentAt(tree, 3)?.unmergedLeaves.join(), '3')
  strictEqual(parentAt(tree, 7)?.unmergedLeaves.join(), '')
  const comer = await candidate(story, '5')
  const made = await commit(story, four, { proposals: [addOf(comer)], path: 'always' })
  assertAgreement([made.next, await follow(zero, made.message), await join(comer, made)])
})

Deno.test('7.4: the commit secret follows from the last node of a path, root or not', async () => {
  const story = createStory(211)
  const { members, onlooker } = await circle(story, ['0', '1', '2', '3'])
  const [, , two, three] = members as [Group, Group, Group, Group]
  // Nobody is left of the root: it is filtered out of the path.
  const made = await commit(story, two, { proposals: [removal(0), removal(1)] })
  strictEqual(commitOf(made.message).path?.nodes.length, 1)
  const everybody = [made.next, await follow(three, made.message)]
  assertAgreement(everybody, await look(onlooker, made.message))
})

Deno.test('12.4.1: a path beside new extensions is encrypted under them', async () => {
  const story = createStory(212)
  const { members } = await circle(story, ['0', '1', '2', '3'])
  const [alice, bob, carol] = members as [Group, Group, Group]
  const required = makeExtension(EXTENSION_TYPE.requiredCapabilities, requiredCapabilities, {
    extensions: [],
    proposals: [],
    credentials: [1],
  })
  const proposals = [
    { kind: 'groupContextExtensions', extensions: [required] } as const,
    removal(3),
  ]
  const made = await commit(story, alice, { proposals })
  ok((commitOf(made.message).path?.nodes.length ?? 0) > 0)
  assertAgreement([made.next, await follow(bob, made.message), await follow(carol, made.message)])
})

Deno.test('12.1.8.1, 12.4.3.2: external_senders is a vector, external_pub a key', async () => {
  const signatureKey = Uint8Array.of(1, 2)
  const credential = { kind: 'basic', identity: Uint8Array.of(3) } as const
  const sender = { signatureKey, credential }
  deepStrictEqual([...encode(externalSenders, [sender])], [7, 2, 1, 2, 0, 1, 1, 3])
  deepStrictEqual(encode(externalSenders, [sender, sender]).length, 15)
  const { alice } = await threeMembers(createStory(213))
  const groupInfo = await makeGroupInfo(alice, { ratchetTree: false, externalPub: true })
  const body = findExtension(groupInfo.extensions, EXTENSION_TYPE.externalPub)
  ok(body !== null)
  strictEqual(body.length, 33)
  const read = decode(externalPub, body)
  ok(read.kind === 'decoded')
  strictEqual(toHex(read.value), toHex(await externalPublicKey(alice)))
})

Deno.test('7.7: who comes back at the edge of a tree gets the leftmost blank leaf', async () => {
  const story = createStory(219)
  const { members, onlooker } = await circle(story, ['0', '1', '2', '3', '4'])
  const [zero, one, two] = members as [Group, Group, Group]
  const comesBack = async (at: PublicGroup, member: Group, removed: number) =>
    await joinByExternalCommit(at, {
      ...partyOf(story, 'back'),
      externalPub: await externalPublicKey(member),
      removed,
      psks: noPsks,
      authenticatedData: EMPTY,
      timeMs: NOW,
    })
  // The tree shrinks to four leaves, and doubles again for the one who comes.
  const edge = await comesBack(onlooker, zero, 4)
  ok(edge.kind === 'committed')
  strictEqual(edge.next.ownLeaf, 4)
  assertAgreement([edge.next, await follow(one, edge.message)], await look(onlooker, edge.message))
  // With a gap on the left it is the gap.
  const gone = await commit(story, zero, { proposals: [removal(1)] })
  const [seen, atTwo] = [await look(onlooker, gone.message), await follow(two, gone.message)]
  const gap = await comesBack(seen, gone.next, 4)
  ok(gap.kind === 'committed')
  strictEqual(gap.next.ownLeaf, 1)
  assertAgreement([gap.next, await follow(atTwo, gap.message)], await look(seen, gap.message))
})

Deno.test('8.1, ROOM-3: an epochId is the hash of its GroupContext, once', async () => {
  const story = createStory(220)
  let { alice } = await threeMembers(story)
  const ids = new Set([toHex(epochIdOf(suite, alice.public.context))])
  strictEqual([...ids][0], toHex(suite.hash(encodeGroupContext(alice.public.context))))
  for (let turn = 0; turn < 3; turn++) {
    // Two commits of one epoch have the same number and lead to different epochs.
    const [one, other] = [await commit(story, alice, {}), await commit(story, alice, {})]
    strictEqual(one.next.public.context.epoch, other.next.public.context.epoch)
    for (const { next } of [one, other]) ids.add(toHex(epochIdOf(suite, next.public.context)))
    alice = one.next
  }
  strictEqual(ids.size, 7)
})

Deno.test('8.5: exports differ by label, context, length and epoch', async () => {
  const story = createStory(221)
  const { alice } = await threeMembers(story)
  const { next } = await commit(story, alice, {})
  const of = (group: Group, label: string, context: string, length = 48) =>
    toHex(exportSecret(group, { label, context: utf8Encode(context), length }).subarray(0, 32))
  const all = [
    of(alice, 'a', 'x'),
    of(alice, 'b', 'x'),
    of(alice, 'a', 'y'),
    of(alice, 'a', 'x', 32),
    of(next, 'a', 'x'),
  ]
  strictEqual(new Set(all).size, all.length)
})

// ---- Lives in each suite ------------------------------------------------------------------

for (const each of Object.values<Suite>(SUITES)) {
  Deno.test(`a group lives: Welcome, Remove, resync and private handshakes (${each.name})`, () =>
    live(each))
}

async function live(of: Suite): Promise<void> {
  const own = cipherSuite(noble, of)
  const { entropy } = createStory(214)
  const person = (name: string) => {
    const pair = own.signatureKeyPair(entropy.randomBytes(own.signatureSeedLength))
    const { template } = partyOf(createStory(1), name)
    const capabilities = { ...template.capabilities, cipherSuites: [own.id] }
    const lifetime = { notBefore: 0n, notAfter: 1n << 40n }
    const leaf = { ...template, capabilities, signatureKey: pair.publicKey }
    return { signatureSecret: pair.secretKey, lifetime, entropy, template: leaf }
  }
  const making = {
    proposals: [],
    path: 'whenRequired',
    authenticatedData: EMPTY,
    wireFormat: 'privateMessage',
    welcome: { ratchetTree: true, externalPub: true },
    psks: noPsks,
    timeMs: NOW,
    entropy,
  } as const
  const groupId = entropy.randomBytes(16)
  const alone = await createGroup(own, { ...person('alice'), groupId, extensions: [] })
  const [bob, carol] = [person('bob'), person('carol')]
  const comers = await Promise.all([bob, carol].map((each) => makeKeyPackage(own, each)))
  const proposals = comers.map(addOf)
  const first = await makeCommit(alone, { ...making, proposals, path: 'always' })
  ok(first.kind === 'committed' && first.welcome !== null, codeOf(first))
  const { welcome } = first
  const joined = await Promise.all(comers.map(async (comer, index) => {
    const { signatureSecret } = [bob, carol][index] as typeof bob
    const joining = { welcome, ...comer, signatureSecret, ratchetTree: null, psks: noPsks }
    const outcome = await joinByWelcome(own, joining)
    ok(outcome.kind === 'joined', codeOf(outcome))
    return outcome.group
  }))
  const [atBob, atCarol] = joined as [Group, Group]
  const processing = { timeMs: NOW, psks: noPsks }
  const gone = await makeCommit(atBob, { ...making, proposals: [removal(2)] })
  ok(gone.kind === 'committed', codeOf(gone))
  strictEqual(codeOf(await processMessage(atCarol, gone.message, processing)), 'removed')
  const taken = await processMessage(first.next, gone.message, processing)
  ok(taken.kind === 'commit', codeOf(taken))
  const groupInfo = await makeGroupInfo(taken.group, { ratchetTree: true, externalPub: true })
  const opened = await openPublicGroup(own, { groupInfo, ratchetTree: null })
  ok(opened.kind === 'opened', codeOf(opened))
  const back = await joinByExternalCommit(opened.group, {
    ...bob,
    externalPub: await externalPublicKey(taken.group),
    removed: 1,
    psks: noPsks,
    authenticatedData: EMPTY,
    timeMs: null,
  })
  ok(back.kind === 'committed', codeOf(back))
  const last = await processMessage(taken.group, back.message, processing)
  ok(last.kind === 'commit', codeOf(last))
  const exporting = { label: 'life', context: utf8Encode('a context'), length: 48 }
  const secrets = [last.group, back.next].map((group) => toHex(exportSecret(group, exporting)))
  strictEqual(secrets[0], secrets[1])
}

// ---- Damage -------------------------------------------------------------------------------

/** Every byte with a bit of it flipped, every cut, and the message with something behind it. */
function* damaged(whole: Uint8Array): IterableIterator<Uint8Array> {
  for (let at = 0; at < whole.length; at++) {
    yield whole.with(at, (whole[at] as number) ^ (1 << (at % 8)))
    yield whole.slice(0, at)
  }
  yield Uint8Array.of(...whole, 0)
}

Deno.test('2.1.2, 6: a commit with any byte changed, cut or added is refused', async () => {
  const story = createStory(215)
  const { alice, bob } = await threeMembers(story)
  const before = toHex(encodeGroupHead(bob))
  for (const wireFormat of ['publicMessage', 'privateMessage'] as const) {
    const made = await commit(story, alice, { wireFormat })
    for (const bytes of damaged(made.message)) {
      strictEqual((await take(bob, bytes)).kind, 'refused')
    }
    strictEqual(toHex(encodeGroupHead(bob)), before)
    assertAgreement([made.next, await follow(bob, made.message)])
  }
})

Deno.test('12.4.3.1: a Welcome with any byte changed, cut or added is refused', async () => {
  const story = createStory(216)
  const { alice } = await threeMembers(story)
  const comer = await candidate(story, 'dave')
  const made = await commit(story, alice, { proposals: [addOf(comer)] })
  ok(made.welcome !== null)
  for (const bytes of damaged(made.welcome)) {
    strictEqual((await tryJoin(comer, bytes)).kind, 'refused')
  }
  assertAgreement([made.next, await join(comer, made)])
})

Deno.test('10: a KeyPackage with any byte changed, cut or added is not valid', async () => {
  const { keyPackage } = await candidate(createStory(217), 'dave')
  const whole = encode(keyPackageCodec, keyPackage)
  const check = { group: { cipherSuite: suite.id, extensions: [] }, timeMs: NOW }
  for (const bytes of damaged(whole)) {
    const read = decode(keyPackageCodec, bytes)
    if (read.kind === 'malformed') continue
    ok(await validateKeyPackage(suite, read.value, check) !== null)
  }
  strictEqual(await validateKeyPackage(suite, keyPackage, check), null)
})

Deno.test('6: noise is malformed', async () => {
  const story = createStory(218)
  const { bob } = await threeMembers(story)
  const comer = await candidate(story, 'dave')
  for (let length = 0; length < 300; length++) {
    const noise = story.prng.bytes(length)
    strictEqual(codeOf(await take(bob, noise)), 'malformed')
    strictEqual(codeOf(await tryJoin(comer, noise)), 'malformed')
  }
  const { keyPackage } = comer
  const framed = encodeMlsMessage({ kind: 'keyPackage', keyPackage })
  for (const version of [0, 2, 0xffff]) {
    const other = framed.slice()
    other.set([version >> 8, version & 255])
    strictEqual(codeOf(await take(bob, other)), 'malformed')
  }
})
