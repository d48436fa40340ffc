/** Tests of the judgement of geneses and commits: what is good, and each refusal by its code. */
import { deepStrictEqual, ok, strictEqual } from 'node:assert/strict'
import { type AccountName, type DeviceId, logPosition, timeMs } from '#core/base/ids.ts'
import { LIMITS } from '#core/base/limits.ts'
import { SUITES } from '#core/crypto/suites.ts'
import type { CommitMade } from '#core/mls/commit-make.ts'
import { epochIdOf } from '#core/mls/group-context.ts'
import type { Group } from '#core/mls/group.ts'
import { leafNode as leafNodeCodec } from '#core/mls/leaf-node.ts'
import { processMessage, proposeUpdate } from '#core/mls/messages.ts'
import { publicProcess } from '#core/mls/public-process.ts'
import { leafAt } from '#core/mls/ratchet-tree.ts'
import { judgeProposal } from '#core/policy/commit-rules.ts'
import { applyVerdict, castVote, nextVerdict } from '#core/policy/finality.ts'
import { judgeGenesis } from '#core/policy/genesis-rules.ts'
import { encodePolicy, roomExtensions } from '#core/policy/room-policy.ts'
import { leafOfDevice, rosterOf } from '#core/policy/roster.ts'
import { encode } from '#core/wire/codec.ts'
import { seenCodec } from '#core/wire/log-entry.ts'
import { COMMIT_FAULTS, type CommitFault } from '#core/wire/refusals.ts'
import { enterByLink, invitationOf } from './policy-links.ts'
import * as people from './policy-people.ts'
import { bytes, crypto, HASH, NOW, type Room } from './policy-people.ts'

const ann = await people.deviceOf('ann')
const ben = await people.deviceOf('ben')
const cem = await people.deviceOf('cem')
const HOUR = 3_600_000

const seenFaults = new Set<CommitFault>()

async function refused(room: Room, submission: people.Submission, fault: CommitFault) {
  const outcome = await people.submit(room, submission)
  deepStrictEqual(outcome, { kind: 'refused', fault })
  seenFaults.add(fault)
}

/** Ann's room with Ben in it. */
async function withBen() {
  const { room, founder } = await people.found(ann)
  return await people.adding(room, founder, [ben])
}

/** An Update of a member's leaf, as everybody takes it. */
async function proposedBy(member: Group, room: Room, template?: people.LeafTemplate) {
  const sent = await proposeUpdate(member, {
    authenticatedData: HASH,
    wireFormat: 'publicMessage',
    entropy: people.entropy,
    ...template && { template },
  })
  ok(sent.kind === 'sent')
  const taken = await publicProcess(room.group, sent.message, { timeMs: NOW })
  ok(taken.kind === 'proposal')
  return taken
}

// ---- Genesis ----------------------------------------------------------------------------------

Deno.test('ROOM-1, GROUP-1: a genesis opens exactly its own room', async () => {
  for (const suite of [people.QUICK, SUITES.performance, SUITES.compliance]) {
    const creator = await people.deviceOf('ann', { suite })
    const { room, entry } = await people.genesisOf(creator, suite)
    const judged = await judgeGenesis(crypto, room, entry)
    ok(judged.kind === 'judged', suite.name)
    strictEqual(judged.group.context.epoch, 0n)
    strictEqual(judged.certificate.account, creator.account)
  }
  const { room, entry, founder } = await people.genesisOf(ann, people.QUICK)
  const other = await people.genesisOf(ann, people.QUICK)
  const bens = await people.genesisOf(ben, people.QUICK)
  const grown = await people.commitOf(
    { ...(await people.found(ann)).room, room },
    founder,
    { proposals: [] },
  )
  const faults = await Promise.all([
    judgeGenesis(crypto, other.room, entry),
    judgeGenesis(crypto, room, { ...entry, groupInfo: other.entry.groupInfo }),
    judgeGenesis(crypto, room, { ...entry, certificate: ben.certificate }),
    judgeGenesis(crypto, room, { ...entry, groupInfo: bens.entry.groupInfo }),
    judgeGenesis(crypto, room, { ...entry, certificate: bytes(100) }),
    judgeGenesis(crypto, room, { ...entry, groupInfo: await people.groupInfoOf(founder) }),
    judgeGenesis(crypto, room, { ...entry, groupInfo: await people.groupInfoOf(grown.next, true) }),
  ])
  deepStrictEqual(faults.map((each) => each.kind === 'refused' && each.fault), [
    ...['wrongRoom', 'group', 'genesis', 'group', 'certificate', 'group', 'group'],
  ])
})

Deno.test('ROOM-1, GROUP-1: the first epoch is the creator’s device alone', async () => {
  const { room, entry, founder } = await people.genesisOf(ann, people.QUICK)
  const judge = async (groupInfo: Uint8Array, certificate = entry.certificate) => {
    const judged = await judgeGenesis(crypto, room, { ...entry, groupInfo, certificate })
    return judged.kind === 'refused' ? judged.fault : judged.kind
  }
  const { context } = founder.public
  strictEqual(await judge(await people.groupInfoAs(founder, context, true)), 'judged')
  const later = { ...context, epoch: 1n }
  strictEqual(await judge(await people.groupInfoAs(founder, later, true)), 'group')
  const grown = { ...context, confirmedTranscriptHash: bytes(32) }
  strictEqual(await judge(await people.groupInfoAs(founder, grown, true)), 'group')
  // A second member in the first epoch: nobody's commit ever brought it.
  const onlooker = { ...(await people.found(ann)).room, room }
  const keyPackage = await people.keyPackageOf(ben)
  const proposals = [{ kind: 'add', keyPackage }] as const
  const { next } = await people.commitOf(onlooker, founder, { proposals })
  const { treeHash } = next.public.context
  const pair = await people.groupInfoAs(next, { ...context, treeHash }, true)
  strictEqual(await judge(pair), 'group')
})

Deno.test('ROOM-1: the creator’s leaf is the device that signed the genesis', async () => {
  const phone = await people.deviceOf('ann', { like: ann, beside: [ann] })
  const renewed = people.withCertificateOf(ann, phone)
  const admission = { type: 0xf011, body: bytes(110) }
  const lies: readonly people.LeafTemplate[] = [
    { ...people.templateOf(phone), signatureKey: renewed.suiteKey.publicKey },
    people.templateOf(renewed, people.QUICK, { manifestVersion: 1 }),
    { ...people.templateOf(renewed), extensions: [admission] },
  ]
  for (const template of lies) {
    const { room, entry } = await people.genesisOf(renewed, people.QUICK, { template })
    const judged = await judgeGenesis(crypto, room, entry)
    strictEqual(judged.kind === 'refused' && judged.fault, 'certificate')
  }
  const byPhone = { template: people.templateOf(phone), signer: phone }
  const { room, entry } = await people.genesisOf(renewed, people.QUICK, byPhone)
  const judged = await judgeGenesis(crypto, room, entry)
  strictEqual(judged.kind === 'refused' && judged.fault, 'certificate')
})

Deno.test('POLICY-1: a room begins with our extensions, and with no others', async () => {
  const [required, policy] = roomExtensions()
  ok(required !== undefined && policy !== undefined)
  const invited = encodePolicy({ invitations: [invitationOf(ann, bytes(32))] })
  const lists = [
    [required],
    [policy],
    [policy, required],
    [required, { ...policy, body: invited }],
    [required, policy, { type: 0x0005, body: new Uint8Array(1) }],
  ]
  for (const extensions of lists) {
    const { room, entry } = await people.genesisOf(ann, people.QUICK, { extensions })
    const judged = await judgeGenesis(crypto, room, entry)
    strictEqual(judged.kind === 'refused' && judged.fault, 'group')
  }
})

// ---- What an entry says ---------------------------------------------------------------------

Deno.test('GROUP-2, LOG-5: pair, room and GroupInfo of an entry are its commit’s', async () => {
  const { room, group } = await withBen()
  const made = await people.commitOf(room, group, {})
  const seen = { position: room.next - 1n, hash: bytes(32) }
  await refused(room, { made, entry: { seen } }, 'entry')
  await refused({ ...room, room: bytes(32) as Room['room'] }, { made }, 'entry')
  const groupInfo = await people.groupInfoOf(made.next)
  const otherEpoch = await people.groupInfoOf(group)
  const withTree = await people.groupInfoOf(made.next, true)
  const changed = groupInfo.slice()
  changed[changed.length - 1] = (changed[changed.length - 1] as number) ^ 1
  const impostor: Group = { ...made.next, ownLeaf: 1 }
  const byOther = await people.groupInfoOf(impostor)
  const { public: after } = made.next
  const otherTag: Group = { ...made.next, public: { ...after, confirmationTag: bytes(32) } }
  const elsewhere = { ...after.context, confirmedTranscriptHash: bytes(32) }
  const forged = [
    await people.groupInfoOf(otherTag),
    await people.groupInfoAs(made.next, elsewhere),
    await people.groupInfoAs(made.next, after.context, false, bytes(31)),
  ]
  for (const wrong of [otherEpoch, withTree, changed, byOther, bytes(200), ...forged]) {
    await refused(room, { made, entry: { groupInfo: wrong } }, 'groupInfo')
  }
  strictEqual((await people.submit(room, { made, entry: { groupInfo } })).kind, 'judged')
})

Deno.test('VOTE-6: a void commit that is sequenced again is refused', async () => {
  const { room, group } = await withBen()
  const made = await people.commitOf(room, group, {})
  const submitted = await people.submit(room, { made })
  ok(submitted.kind === 'judged')
  const against = { position: room.next, leaf: 1, account: ben.account, choice: 'cannot' } as const
  const voted = castVote(submitted.room.finality, against)
  ok(voted.kind === 'taken')
  const later = timeMs(NOW + LIMITS.verdictWaitMs)
  const entry = nextVerdict(voted.finality, later)
  ok(entry?.verdict === 'void')
  const position = logPosition(room.next + 2n)
  const outcome = applyVerdict(voted.finality, { position, timeMs: later, entry })
  ok(outcome.kind === 'void')
  const after: Room = { ...room, finality: outcome.finality, next: logPosition(position + 1n) }
  const again = { made, entry: { seen: { position: room.next - 1n, hash: HASH } } }
  await refused(after, again, 'staleSeen')
  const anew = await people.commitOf(after, group, {})
  strictEqual((await people.submit(after, { made: anew })).kind, 'judged')
})

// ---- Leaves and certificates ----------------------------------------------------------------

Deno.test('GROUP-3, ID-6: exactly the certificates that the new leaves need', async () => {
  const { room, founder } = await people.found(ann)
  const keyPackage = await people.keyPackageOf(ben)
  const made = await people.commitOf(room, founder, { proposals: [{ kind: 'add', keyPackage }] })
  const lists = [
    [],
    [cem.certificate],
    [ben.certificate, cem.certificate],
    [ben.certificate, ben.certificate],
    [ben.certificate.slice(0, -1)],
  ]
  for (const certificates of lists) await refused(room, { made, certificates }, 'certificate')
  const forged = ben.certificate.slice()
  forged[40] = (forged[40] as number) ^ 1
  await refused(room, { made, certificates: [forged] }, 'certificate')
  const good = await people.submit(room, { made, certificates: [ben.certificate] })
  ok(good.kind === 'judged')
  deepStrictEqual(good.judged.certificates.map(({ account }) => account), [ben.account])
  // Nobody's identity changes: no certificate may travel.
  const update = await people.commitOf(good.room, made.next, {})
  await refused(good.room, { made: update, certificates: [ann.certificate] }, 'certificate')
})

Deno.test('GROUP-3: what a leaf claims of its account must be in the certificate', async () => {
  const { room, founder } = await people.found(ann)
  const lies: people.IdentityLie[] = [
    { account: cem.account },
    { device: bytes(16) as DeviceId },
    { manifestVersion: 2 },
    { rootHash: bytes(32) },
  ]
  for (const lie of lies) {
    const template = people.templateOf(ben, people.QUICK, lie)
    const keyPackage = await people.keyPackageOf(ben, template)
    const made = await people.commitOf(room, founder, { proposals: [{ kind: 'add', keyPackage }] })
    await refused(room, { made, certificates: [ben.certificate] }, 'certificate')
  }
  const stolen = { ...ben, suiteKey: cem.suiteKey }
  const keyPackage = await people.keyPackageOf(stolen)
  const made = await people.commitOf(room, founder, { proposals: [{ kind: 'add', keyPackage }] })
  await refused(room, { made, certificates: [ben.certificate] }, 'certificate')
})

Deno.test('GROUP-3: a leaf without an identity of ours is refused', async () => {
  const { room, founder } = await people.found(ann)
  const template = people.templateOf(ben)
  const nameless = { ...template, credential: { kind: 'basic', identity: bytes(40) } } as const
  const keyPackage = await people.keyPackageOf(ben, nameless)
  const made = await people.commitOf(room, founder, { proposals: [{ kind: 'add', keyPackage }] })
  await refused(room, { made }, 'identity')
})

Deno.test('GROUP-3, ID-7: one root for an account name, one leaf for a device', async () => {
  const { room, group } = await withBen()
  const namesake = await people.deviceOf('ben')
  ok(namesake.account === ben.account)
  const impostor = await people.keyPackageOf(namesake)
  const proposals = [{ kind: 'add', keyPackage: impostor }] as const
  const made = await people.commitOf(room, group, { proposals })
  await refused(room, { made, certificates: [namesake.certificate] }, 'twoRoots')
  // The same device once more, under another key: MLS itself would not see it.
  const twin = { ...await people.deviceOf('ben', { like: ben }), device: ben.device }
  const second = await people.keyPackageOf(twin)
  const twice = await people.commitOf(room, group, {
    proposals: [{ kind: 'add', keyPackage: second }],
  })
  await refused(room, { made: twice, certificates: [twin.certificate] }, 'twoLeaves')
})

Deno.test('GROUP-3: a leaf’s update stays with its account and device', async () => {
  const { room, group } = await withBen()
  const [otherAccount, otherRoot] = [cem, await people.deviceOf('ann')]
  const otherDevice = { ...ann, device: bytes(16) as DeviceId }
  for (const other of [otherAccount, otherRoot, otherDevice]) {
    const template = { ...people.templateOf(other), signatureKey: ann.suiteKey.publicKey }
    const made = await people.commitOf(room, group, { template })
    await refused(room, { made, certificates: [other.certificate] }, 'otherDevice')
  }
})

Deno.test('GROUP-3: no leaf comes or is renewed below the highest manifest', async () => {
  const { room, group } = await withBen()
  const phone = await people.deviceOf('ann', { like: ann, beside: [ann] })
  strictEqual(phone.verified.manifestVersion, 2)
  const entry = await people.enterOf(room, { device: phone, host: group })
  const both = await people.advance(room, { made: entry, certificates: [phone.certificate] })
  const followed = await processMessage(group, entry.message, { timeMs: NOW, psks: () => null })
  ok(followed.kind === 'commit')
  const grown = followed.group
  // Ann's laptop must not go on under the manifest before, with a path or without.
  const stale = await people.commitOf(both, grown, {})
  await refused(both, { made: stale }, 'oldManifest')
  const keyPackage = await people.keyPackageOf(cem)
  const add = [{ kind: 'add', keyPackage }] as const
  const pathless = await people.commitOf(both, grown, { proposals: add, path: 'whenRequired' })
  await refused(both, { made: pathless, certificates: [cem.certificate] }, 'oldManifest')
  const proposed = await proposedBy(grown, both)
  ok(!judgeProposal(both.group, proposed.cached))
  // Under the new certificate, which lists it, it may.
  const renewed = people.withCertificateOf(ann, phone)
  const template = people.templateOf(renewed)
  const made = await people.commitOf(both, grown, { template })
  await refused(both, { made }, 'certificate')
  const after = await people.advance(both, { made, certificates: [phone.certificate] })
  strictEqual(leafOfDevice(rosterOf(after.group.tree), ann.account, ann.device)?.leaf, 0)
  // And back it may not.
  const back = await people.commitOf(after, made.next, { template: people.templateOf(ann) })
  await refused(after, { made: back, certificates: [ann.certificate] }, 'oldManifest')
})

Deno.test('GROUP-3: of what one commit brings, nothing is below the rest', async () => {
  const { room, founder } = await people.found(cem)
  const phone = await people.deviceOf('ann', { like: ann, beside: [ann] })
  const proposals = await Promise.all([ann, phone].map(async (device) => {
    const keyPackage = await people.keyPackageOf(device)
    return { kind: 'add', keyPackage } as const
  }))
  const made = await people.commitOf(room, founder, { proposals })
  const certificates = [ann.certificate, phone.certificate]
  await refused(room, { made, certificates }, 'oldManifest')
  const renewed = people.withCertificateOf(ann, phone)
  await people.adding(room, founder, [renewed, phone])
})

Deno.test('GROUP-3: no leaf is larger than any suite makes one', async () => {
  const { room, group } = await withBen()
  const committing = (length: number) =>
    people.commitOf(room, group, { template: people.largeTemplateOf(ann, length) })
  const sizeOfLeaf = ({ next }: CommitMade) => {
    const leaf = leafAt(next.public.tree, next.ownLeaf)
    ok(leaf !== null)
    return encode(leafNodeCodec, leaf).length
  }
  const some = await committing(12_000)
  const rest = sizeOfLeaf(some) - 12_000
  const largest = await committing(LIMITS.leafSizeMax - rest)
  strictEqual(sizeOfLeaf(largest), LIMITS.leafSizeMax)
  strictEqual((await people.submit(room, { made: largest })).kind, 'judged')
  await refused(room, { made: await committing(LIMITS.leafSizeMax - rest + 1) }, 'leafSize')
  const template = people.largeTemplateOf(ann, LIMITS.leafSizeMax)
  const keyPackage = await people.keyPackageOf(cem, people.largeTemplateOf(cem, LIMITS.leafSizeMax))
  const add = await people.commitOf(room, group, { proposals: [{ kind: 'add', keyPackage }] })
  await refused(room, { made: add, certificates: [cem.certificate] }, 'leafSize')
  const proposed = await proposedBy(group, room, template)
  ok(!judgeProposal(room.group, proposed.cached))
})

// ---- Proposals --------------------------------------------------------------------------------

Deno.test('GROUP-4: PSKs are no part of a room’s commits', async () => {
  const { room, group } = await withBen()
  const psk = { kind: 'external', pskId: bytes(8), pskNonce: bytes(32) } as const
  const made = await people.commitOf(room, group, {
    proposals: [{ kind: 'psk', psk }],
    psks: () => bytes(32),
  })
  await refused(room, { made }, 'proposalKind')
})

Deno.test('GROUP-4: a standalone proposal is an Update that changes nobody', async () => {
  const { room, founder } = await people.found(ann)
  const laptop = await enterByLink(room, { host: founder, device: ben, inviter: ann })
  const judge = async (template?: people.LeafTemplate) => {
    const taken = await proposedBy(laptop.group, laptop.room, template)
    return { ...taken, good: judgeProposal(laptop.room.group, taken.cached) }
  }
  const own = await judge()
  ok(own.good)
  const { extensions } = leafAt(laptop.room.group.tree, laptop.group.ownLeaf)!
  const renamed = people.templateOf(ben, people.QUICK, { manifestVersion: 2 })
  ok(!(await judge({ ...renamed, extensions: [...extensions] })).good)
  ok(!(await judge({ ...people.templateOf(ben), extensions: [] })).good)
  const removal = { kind: 'remove', removed: 0 } as const
  const sender = { kind: 'member', leaf: 1 } as const
  ok(!judgeProposal(laptop.room.group, { reference: HASH, sender, proposal: removal }))
  const external = { kind: 'external', senderIndex: 0 } as const
  ok(!judgeProposal(laptop.room.group, { reference: HASH, sender: external, proposal: removal }))
})

Deno.test('GROUP-4: a leaf has one Update in an epoch, with a key of its own', async () => {
  const { room, group } = await withBen()
  const propose = (of: Group, signatureSecret: Uint8Array) =>
    proposedBy({ ...of, signatureSecret }, room)
  const first = await propose(group, group.signatureSecret)
  ok(judgeProposal(room.group, first.cached))
  const second = await propose(group, group.signatureSecret)
  ok(judgeProposal(room.group, second.cached))
  ok(!judgeProposal(first.group, second.cached))
  ok(!judgeProposal(first.group, first.cached))
  // The same key in the leaf of another, or one that stands in the tree.
  const { proposal } = first.cached
  ok(proposal.kind === 'update')
  const other = { ...first.cached, sender: { kind: 'member', leaf: 1 - group.ownLeaf } as const }
  const bens = { ...leafAt(room.group.tree, 1 - group.ownLeaf)! }
  const { encryptionKey } = proposal.leafNode
  const as = (leafNode: typeof bens) => ({
    ...other,
    proposal: { kind: 'update', leafNode } as const,
  })
  ok(judgeProposal(room.group, as({ ...bens, encryptionKey })))
  ok(!judgeProposal(first.group, as({ ...bens, encryptionKey })))
  ok(!judgeProposal(room.group, as(bens)))
})

Deno.test('GROUP-4: by reference come Updates alone', async () => {
  const { room, group } = await withBen()
  const removal = { kind: 'remove', removed: 1 } as const
  const made = await people.commitOf(room, group, { proposals: [removal] })
  const taken = await publicProcess(room.group, made.message, { timeMs: NOW })
  ok(taken.kind === 'commit')
  const proposals = taken.change.proposals.map((each) => ({ ...each, byReference: true }))
  const outcome = await people.judged(room, made, { ...taken.change, proposals }, taken.group)
  strictEqual(outcome, 'proposalKind')
  const sender = { kind: 'external', senderIndex: 0 } as const
  const fromOutside = taken.change.proposals.map((each) => ({ ...each, sender }))
  const other = { ...taken.change, proposals: fromOutside }
  strictEqual(await people.judged(room, made, other, taken.group), 'proposalKind')
})

Deno.test('GROUP-4: one commit brings at most 64 members', async () => {
  const { room, group } = await withBen()
  const made = await people.commitOf(room, group, {})
  const taken = await publicProcess(room.group, made.message, { timeMs: NOW })
  ok(taken.kind === 'commit')
  const leafNode = leafAt(taken.group.tree, 0)!
  const many = Array.from({ length: 65 }, () => ({ leaf: 1, leafNode }))
  const crowd = { ...taken.change, added: many }
  strictEqual(await people.judged(room, made, crowd, taken.group), 'tooMany')
  seenFaults.add('tooMany')
})

// ---- What finality is told ------------------------------------------------------------------

Deno.test('VOTE-2: who may vote follows from the tree and the change', async () => {
  const { room, founder } = await people.found(ann)
  const phone = await people.deviceOf('ann', { like: ann, beside: [ann] })
  const made = await people.enterOf(room, { device: phone, host: founder })
  const lone = await people.submit(room, { made, certificates: [phone.certificate] })
  ok(lone.kind === 'judged')
  deepStrictEqual(lone.judged.facts, {
    timeMs: NOW,
    epochId: epochIdOf(lone.room.group.suite, lone.room.group.context),
    committer: 1,
    account: ann.account as AccountName,
    added: [1],
    hasElectors: false,
  })
  const keyPackage = await people.keyPackageOf(ben)
  const add = await people.commitOf(room, founder, { proposals: [{ kind: 'add', keyPackage }] })
  const grown = await people.submit(room, { made: add, certificates: [ben.certificate] })
  ok(grown.kind === 'judged' && !grown.judged.facts.hasElectors)
  deepStrictEqual(grown.judged.facts.added, [1])
  const next = await people.commitOf(grown.room, add.next, {})
  const after = await people.submit(grown.room, { made: next, atMs: timeMs(NOW + HOUR) })
  ok(after.kind === 'judged' && after.judged.facts.hasElectors)
})

Deno.test('GROUP-1: a commit is judged alike whoever judges, and when', async () => {
  const { room, group } = await withBen()
  const made = await people.commitOf(room, group, {})
  const entry = { seen: { position: room.next - 1n, hash: HASH } }
  deepStrictEqual(encode(seenCodec, entry.seen), made.change.authenticatedData)
  const [once, again] = await Promise.all([1, 2].map(() => people.submit(room, { made, entry })))
  deepStrictEqual(once, again)
  // Attestations are each device's own affair: a certificate without one serves as well.
  strictEqual(ben.verified.attestedBy, null)
})

Deno.test('GROUP-1: every fault of a commit has been seen here', () => {
  const elsewhere: readonly string[] = ['mls', ...people.JOIN_FAULTS]
  const expected = Object.keys(COMMIT_FAULTS).filter((fault) => !elsewhere.includes(fault))
  for (const fault of expected) ok(seenFaults.has(fault as CommitFault), fault)
})
