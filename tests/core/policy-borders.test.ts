/**
 * Commits, votes and verdicts that are wrong in one thing alone: what the other rules of the same
 * judgement would let pass.
 */
import { deepStrictEqual, ok, strictEqual } from 'node:assert/strict'
import { concat } from '#core/base/bytes.ts'
import { type AccountName, type EpochId, logPosition, timeMs } from '#core/base/ids.ts'
import { LIMITS } from '#core/base/limits.ts'
import { makeCommit } from '#core/mls/commit-make.ts'
import { processMessage, proposeUpdate } from '#core/mls/messages.ts'
import { publicProcess } from '#core/mls/public-process.ts'
import { leafAt } from '#core/mls/ratchet-tree.ts'
import { judgeProposal } from '#core/policy/commit-rules.ts'
import { appendCommit, applyVerdict, castVote, headEpoch } from '#core/policy/finality.ts'
import { type CommitFacts, type Finality, judgeAppend } from '#core/policy/finality.ts'
import { nextVerdict, openFinality, verdictDueMs } from '#core/policy/finality.ts'
import { judgeGenesis } from '#core/policy/genesis-rules.ts'
import { judgeVote, makeVote, NO_MAC, readVote } from '#core/policy/vote.ts'
import { big, named, opaque, signContent } from './by-hand.ts'
import { byLink, invitationOf, inviting, linkKey } from './policy-links.ts'
import * as people from './policy-people.ts'
import { bytes, crypto, HASH, NOW } from './policy-people.ts'

const ann = await people.deviceOf('ann')
const ben = await people.deviceOf('ben')
const cem = await people.deviceOf('cem')

async function withBen() {
  const { room, founder } = await people.found(ann)
  return await people.adding(room, founder, [ben])
}

type Started = Awaited<ReturnType<typeof withBen>>

async function fault({ room }: Started, submission: people.Submission): Promise<string> {
  const outcome = await people.submit(room, submission)
  return outcome.kind === 'refused' ? outcome.fault : outcome.kind
}

// ---- Leaves --------------------------------------------------------------------------------

Deno.test('GROUP-3, ID-6: a certificate that nobody signed bears nobody out', async () => {
  const { room, founder } = await people.found(ann)
  const forged = ben.certificate.with(40, (ben.certificate[40] as number) ^ 1)
  for (const certificate of [forged, bytes(120)]) {
    const certificateHash = crypto.hash('sha256', certificate)
    const template = people.templateOf(ben, people.QUICK, { certificateHash })
    const keyPackage = await people.keyPackageOf(ben, template)
    const made = await people.commitOf(room, founder, { proposals: [{ kind: 'add', keyPackage }] })
    const submission = { made, certificates: [certificate] }
    strictEqual(await fault({ room, group: founder }, submission), 'certificate')
  }
})

Deno.test('GROUP-3: whoever renews its leaf keeps an identity, and its own account', async () => {
  const started = await withBen()
  const { room, group } = started
  const template = people.templateOf(ann)
  const nameless = { ...template, credential: { kind: 'basic', identity: bytes(40) } } as const
  const lost = await people.commitOf(room, group, { template: nameless })
  strictEqual(await fault(started, { made: lost }), 'identity')
  const { account } = cem
  const renamed = await people.commitOf(room, group, {
    template: people.templateOf(ann, people.QUICK, { account }),
  })
  const certificates = [ann.certificate]
  strictEqual(await fault(started, { made: renamed, certificates }), 'otherDevice')
})

Deno.test('GROUP-3: a free name is not bound to manifests of another root', async () => {
  const { room, founder } = await people.found(ann)
  const later = await people.deviceOf('ben', { like: ben })
  strictEqual(later.verified.manifestVersion, 2)
  const both = await people.adding(room, founder, [later])
  const namesake = await people.deviceOf('ben')
  const keyPackage = await people.keyPackageOf(namesake)
  const made = await people.commitOf(both.room, both.group, {
    proposals: [{ kind: 'remove', removed: 1 }, { kind: 'add', keyPackage }],
  })
  strictEqual(await fault(both, { made, certificates: [namesake.certificate] }), 'judged')
})

Deno.test('GROUP-4: an Update has a member’s place and signature key', async () => {
  const { room } = await withBen()
  const leafNode = leafAt(room.group.tree, 1)
  ok(leafNode !== null)
  const renewed = { ...leafNode, encryptionKey: bytes(32) }
  const proposed = (leaf: number, of: typeof leafNode) =>
    judgeProposal(room.group, {
      reference: bytes(32),
      sender: { kind: 'member', leaf },
      proposal: { kind: 'update', leafNode: of },
    })
  strictEqual(proposed(1, renewed), true)
  strictEqual(proposed(3, renewed), false, 'a blank leaf')
  strictEqual(proposed(0, renewed), false, 'the leaf of another')
  strictEqual(proposed(1, { ...renewed, signatureKey: bytes(32) }), false)
})

Deno.test('POLICY-2: an extension keeps its type as well as its bytes', async () => {
  const { room, group } = await withBen()
  const made = await people.commitOf(room, group, {})
  const taken = await publicProcess(room.group, made.message, { timeMs: NOW })
  ok(taken.kind === 'commit')
  const { change } = taken
  const [required, policy] = change.extensionsBefore
  ok(required !== undefined && policy !== undefined)
  const judge = (extensionsAfter: typeof change.extensionsBefore) =>
    people.judged(room, made, { ...change, extensionsAfter }, taken.group)
  strictEqual(await judge([required, policy]), null)
  strictEqual(await judge([{ ...required, type: 0xf0f0 }, policy]), 'extensions')
  strictEqual(await judge([required, { ...policy, type: 0xf0f0 }]), 'extensions')
  strictEqual(await judge([required]), 'extensions')
})

// ---- Who comes back, and what is taken up ----------------------------------------------------

Deno.test('JOIN-5: who comes back elsewhere is compared with the leaf that goes', async () => {
  const { room, founder } = await people.found(ann)
  const all = await people.adding(room, founder, [ben, cem])
  const proposals = [{ kind: 'remove', removed: 1 }] as const
  const made = await people.commitOf(all.room, all.group, { proposals })
  const without = await people.advance(all.room, { made })
  const started = { room: without, group: made.next }
  const entering = { host: made.next, removed: 2 }
  const back = await people.enterOf(without, { device: cem, ...entering })
  const outcome = await people.submit(without, { made: back })
  ok(outcome.kind === 'judged', 'nobody new: no certificate')
  strictEqual(outcome.judged.external, 'resync')
  strictEqual(back.next.ownLeaf, 1, 'the leftmost blank leaf')
  const thief = await people.enterOf(without, { device: ben, ...entering })
  const submission = { made: thief, certificates: [ben.certificate] }
  strictEqual(await fault(started, submission), 'otherDevice')
})

Deno.test('GROUP-4: a commit takes up the Update of another', async () => {
  const { room, founder } = await people.found(ann)
  const { room: invited, group: host } = await inviting(room, founder, [
    invitationOf(ann, linkKey(room).publicKey),
  ])
  const made = await byLink(invited, { device: ben, host })
  const entered = await people.advance(invited, { made, certificates: [ben.certificate] })
  const processing = { timeMs: NOW, psks: () => null }
  const anns = await processMessage(host, made.message, processing)
  ok(anns.kind === 'commit')
  const sent = await proposeUpdate(anns.group, {
    wireFormat: 'publicMessage',
    authenticatedData: new Uint8Array(0),
    entropy: people.entropy,
  })
  ok(sent.kind === 'sent')
  const proposed = await publicProcess(entered.group, sent.message, { timeMs: NOW })
  const bens = await processMessage(made.next, sent.message, processing)
  ok(proposed.kind === 'proposal' && bens.kind === 'proposal')
  const references = [proposed.cached.reference]
  const started = { room: { ...entered, group: proposed.group }, group: bens.group }
  const taking = await people.commitOf(started.room, bens.group, { references })
  strictEqual(await fault(started, { made: taking }), 'judged')
})

// ---- Finality ------------------------------------------------------------------------------

const account = (name: string) => `${name}@hub.example` as AccountName
const epochIdAt = (at: number) => new Uint8Array(32).fill(at) as EpochId
const at = (position: number) => logPosition(BigInt(position))

const facts = (position: number, over: Partial<CommitFacts> = {}): CommitFacts => ({
  position: at(position),
  timeMs: timeMs(0),
  epochId: epochIdAt(position),
  committer: 0,
  account: account('ann'),
  added: [],
  hasElectors: true,
  ...over,
})

/** Commits at 3 and 5 above the genesis, both open. */
function twoOpen(over: Partial<CommitFacts> = {}): Finality {
  const finality = openFinality({ position: at(0), epochId: epochIdAt(0) })
  return appendCommit(appendCommit(finality, facts(3)), facts(5, over))
}

function voted(finality: Finality, position: number, choice: 'agree' | 'cannot'): Finality {
  const vote = { position: at(position), leaf: 1, account: account('ben'), choice }
  const cast = castVote(finality, vote)
  ok(cast.kind === 'taken')
  return cast.finality
}

const LATER = timeMs(LIMITS.verdictWaitMs)

Deno.test('VOTE-6: of two open epochs the newer one is the head', () => {
  const finality = twoOpen()
  deepStrictEqual(headEpoch(finality).position, 5n)
  deepStrictEqual([4n, 5n].map((seen) => judgeAppend(finality, seen)), ['staleSeen', null])
})

Deno.test('VOTE-3: of two that nobody can follow the lower one is void, with both', () => {
  const finality = voted(voted(twoOpen(), 5, 'cannot'), 3, 'cannot')
  const entry = nextVerdict(finality, LATER)
  deepStrictEqual(entry, { position: 3n, verdict: 'void', asked: [] })
  ok(entry !== null)
  const outcome = applyVerdict(finality, { position: at(9), timeMs: LATER, entry })
  ok(outcome.kind === 'void')
  deepStrictEqual(outcome.epochs.map(({ position }) => position), [3n, 5n])
  deepStrictEqual([outcome.finality.open, outcome.finality.lastVoid], [[], 9n])
})

Deno.test('VOTE-4: what is final leaves what is above it open', () => {
  const finality = voted(twoOpen(), 3, 'agree')
  const entry = nextVerdict(finality, LATER)
  ok(entry?.verdict === 'final')
  const outcome = applyVerdict(finality, { position: at(9), timeMs: LATER, entry })
  ok(outcome.kind === 'final')
  deepStrictEqual(outcome.finality.open.map(({ position }) => position), [5n])
  deepStrictEqual(outcome.finality.final, { position: 3n, epochId: epochIdAt(3) })
  strictEqual(outcome.epoch.position, 3n)
})

Deno.test('VOTE-3: the next time for a verdict is the nearest that has not passed', () => {
  const finality = twoOpen({ timeMs: timeMs(500) })
  const due = (now: number) => verdictDueMs(finality, timeMs(now))
  const wait = LIMITS.verdictWaitMs
  deepStrictEqual([due(0), due(wait - 1), due(wait), due(wait + 499)], [
    ...[wait, wait, wait + 500, wait + 500],
  ])
  const most = LIMITS.provisionalMsMax
  deepStrictEqual([due(wait + 500), due(most), due(most + 500)], [most, most + 500, null])
  const none = openFinality({ position: at(0), epochId: epochIdAt(0) })
  strictEqual(verdictDueMs(none, timeMs(0)), null)
})

// ---- Votes ---------------------------------------------------------------------------------

Deno.test('VOTE-2: a vote on an epoch not kept, or too long, is none', async () => {
  const { room } = await withBen()
  const finality = appendCommit(
    openFinality({ position: at(0), epochId: epochIdAt(0) }),
    facts(3, { account: account('cem'), committer: 7 }),
  )
  const vote = {
    ...{ room: room.room, epochIdBefore: epochIdAt(0), epochId: epochIdAt(3), position: at(3) },
    ...{ leaf: 0, choice: 'cannot', mac: NO_MAC } as const,
  }
  const signer = { algorithm: 'ed25519', secretKey: ann.suiteKey.secretKey } as const
  const made = await makeVote(crypto, vote, signer)
  const judge = async (group: typeof room.group | null, said = made) => {
    const judged = await judgeVote(
      crypto,
      { room: room.room, finality, groupAt: () => group },
      said,
    )
    return judged.kind === 'refused' ? judged.fault : judged.kind
  }
  strictEqual(await judge(room.group), 'judged')
  strictEqual(await judge(null), 'wrongLeaf')
  // Extensions that say nothing make it as long as wanted, and are signed.
  const grown = async (length: number) => {
    const list = concat(Uint8Array.of(0, 1, 0), opaque(new Uint8Array(length)))
    const content = concat(
      ...[named('vote'), room.room, opaque(epochIdAt(0)), opaque(epochIdAt(3)), big(3, 8)],
      ...[big(0, 4), Uint8Array.of(2, 0), opaque(list)],
    )
    const signature = await crypto.sign('ed25519', signer.secretKey, signContent('vote', content))
    return concat(content, opaque(signature))
  }
  const around = (await grown(100)).length - 100
  const most = LIMITS.voteSizeMax - around
  const [longest, longer] = [await grown(most), await grown(most + 1)]
  strictEqual(longest.length, LIMITS.voteSizeMax)
  deepStrictEqual([readVote(longest)?.leaf, readVote(longer)], [0, null])
  strictEqual(await judge(room.group, longest), 'judged')
  strictEqual(await judge(room.group, longer), 'malformed')
})

Deno.test('VOTE-2: who has voted is told so before its signature is checked', async () => {
  const { room } = await withBen()
  const begun = openFinality({ position: at(0), epochId: epochIdAt(0) })
  const finality = voted(appendCommit(begun, facts(3)), 3, 'agree')
  const vote = {
    ...{ room: room.room, epochIdBefore: epochIdAt(0), epochId: epochIdAt(3), position: at(3) },
    ...{ leaf: 1, choice: 'cannot', mac: NO_MAC } as const,
  }
  const stranger = { algorithm: 'ed25519', secretKey: cem.suiteKey.secretKey } as const
  const judge = async (leaf: number) => {
    const place = { room: room.room, finality, groupAt: () => room.group }
    const judged = await judgeVote(
      crypto,
      place,
      await makeVote(crypto, { ...vote, leaf }, stranger),
    )
    return judged.kind === 'refused' ? judged.fault : judged.kind
  }
  deepStrictEqual([await judge(1), await judge(0)], ['twice', 'wrongSignature'])
})

// ---- Geneses -------------------------------------------------------------------------------

Deno.test('ROOM-1, POLICY-1: a first epoch has the id of its room, and our types', async () => {
  const { room, entry, founder } = await people.genesisOf(ann, people.QUICK)
  const { context } = founder.public
  const judge = async (over: Partial<typeof context>, place = room) => {
    const groupInfo = await people.groupInfoAs(founder, { ...context, ...over }, true)
    const judged = await judgeGenesis(crypto, place, { ...entry, groupInfo })
    return judged.kind === 'refused' ? judged.fault : judged.kind
  }
  strictEqual(await judge({}), 'judged')
  strictEqual(await judge({}, bytes(32) as typeof room), 'wrongRoom')
  const [required, policy] = context.extensions
  ok(required !== undefined && policy !== undefined)
  strictEqual(await judge({ extensions: [required, { ...policy, type: 0xf011 }] }), 'group')
  // A leaf of epoch 0 is signed for its KeyPackage: nothing but the context names the group.
  strictEqual(await judge({ groupId: bytes(32) }), 'group')
})

Deno.test('RFC 9420 12.4.3.1: whom no Welcome can carry the tree is not added', async () => {
  const { group } = await withBen()
  const template = people.largeTemplateOf(cem, LIMITS.mlsExtensionSizeMax - 16)
  const keyPackage = await people.keyPackageOf(cem, template)
  const making = {
    proposals: [{ kind: 'add', keyPackage }],
    path: 'always',
    authenticatedData: HASH,
    wireFormat: 'publicMessage',
    psks: () => null,
    timeMs: NOW,
    entropy: people.entropy,
  } as const
  const within = { ratchetTree: true, externalPub: false }
  const made = await makeCommit(group, { ...making, welcome: within })
  deepStrictEqual(made, { kind: 'refused', code: 'tooLarge' })
  const beside = await makeCommit(group, { ...making, welcome: { ...within, ratchetTree: false } })
  strictEqual(beside.kind, 'committed')
})
