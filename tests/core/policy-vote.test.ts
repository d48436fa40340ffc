/** Tests of votes, of whom the hub asks, of anchors and of the proof for a group. */
import { deepStrictEqual, ok, strictEqual } from 'node:assert/strict'
import { equalBytes } from '#core/base/bytes.ts'
import { type EpochId, logPosition, type RoomId } from '#core/base/ids.ts'
import { LIMITS } from '#core/base/limits.ts'
import { type Suite, SUITES } from '#core/crypto/suites.ts'
import { epochIdOf } from '#core/mls/group-context.ts'
import type { Group } from '#core/mls/group.ts'
import { type Anchor, makeAnchor, readAnchor, verifyAnchor } from '#core/policy/anchor.ts'
import { type Asking, chooseAsked } from '#core/policy/asking.ts'
import { castVote, type CommitFacts } from '#core/policy/finality.ts'
import {
  decodeGroupAnswer,
  encodeGroupAnswer,
  signGroupRequest,
} from '#core/policy/group-request.ts'
import { verifyGroupRequest } from '#core/policy/group-request.ts'
import * as votes from '#core/policy/vote.ts'
import { enterByLink, invitationOf, linkKey } from './policy-links.ts'
import * as people from './policy-people.ts'
import { bytes, crypto, type Device, NOW, prng, type Room } from './policy-people.ts'

const ann = await people.deviceOf('ann')
const ben = await people.deviceOf('ben')

interface Voting {
  readonly room: Room
  readonly committer: Group
  /** Ben's own state in the epoch made. */
  readonly voter: Group
  readonly voterDevice: Device
  readonly groupInfo: Uint8Array
  readonly place: votes.VotePlace
  readonly vote: votes.Vote
}

/** Ann commits in a room with Ben, who came by her link; his vote, still to be made. */
async function voting(suite: Suite = people.QUICK): Promise<Voting> {
  const [host, guest] = suite === people.QUICK
    ? [ann, ben]
    : await Promise.all(['ann', 'ben'].map((name) => people.deviceOf(name, { suite })))
  ok(host !== undefined && guest !== undefined)
  const { room: opened, founder } = await people.found(host, suite)
  const entry = { device: guest, host: founder, inviter: host }
  const { room, group } = await enterByLink(opened, entry)
  const made = await people.commitOf(room, group, {})
  const groupInfo = await people.groupInfoOf(made.next)
  const after = await people.advance(room, { made })
  const before = room.finality.open.at(-1) ?? room.finality.final
  const epochId = epochIdOf(after.group.suite, after.group.context)
  // Ben committed; whoever votes must be Ann, whose leaf is 0.
  const place = {
    room: room.room,
    finality: after.finality,
    groupAt: (position: bigint) => position === room.next ? after.group : null,
  }
  const mac = votes.voteMac(crypto, {
    hash: suite.hash,
    epochAuthenticator: made.next.secrets.epochAuthenticator,
    epochId,
    leaf: 0,
    groupInfo,
  })
  const vote = {
    room: room.room,
    epochIdBefore: before.epochId,
    epochId,
    position: room.next,
    leaf: 0,
    choice: 'agree',
    mac,
  } as const
  return {
    room: after,
    committer: made.next,
    voter: made.next,
    voterDevice: host,
    groupInfo,
    place,
    vote,
  }
}

function signed(vote: votes.Vote, device: Device, suite: Suite = people.QUICK) {
  const { secretKey } = device.suiteKey
  return votes.makeVote(crypto, vote, { algorithm: suite.signature, secretKey })
}

Deno.test('VOTE-1, VOTE-2: a vote counts with its leaf’s signature, in every suite', async () => {
  for (const suite of [people.QUICK, SUITES.performance, SUITES.compliance]) {
    const { place, vote, voterDevice } = await voting(suite)
    const made = await signed(vote, voterDevice, suite)
    ok(made.length <= LIMITS.voteSizeMax)
    const judged = await votes.judgeVote(crypto, place, made)
    ok(judged.kind === 'judged', suite.name)
    deepStrictEqual(judged.vote, {
      position: vote.position,
      leaf: 0,
      account: voterDevice.account,
      choice: 'agree',
    })
    strictEqual(castVote(place.finality, judged.vote).kind, 'taken')
  }
})

Deno.test('VOTE-2: each way in which a vote is not what it must be', async () => {
  const { place, vote } = await voting()
  const judge = async (made: Promise<Uint8Array> | Uint8Array) => {
    const judged = await votes.judgeVote(crypto, place, await made)
    return judged.kind === 'refused' ? judged.fault : judged.kind
  }
  const good = await signed(vote, ann)
  strictEqual(await judge(good), 'judged')
  const other = bytes(32)
  deepStrictEqual(
    await Promise.all([
      judge(bytes(40)),
      judge(new Uint8Array(LIMITS.voteSizeMax + 1)),
      judge(signed({ ...vote, mac: vote.mac.slice(1) }, ann)),
      judge(signed({ ...vote, choice: 'cannot' }, ann)),
      judge(signed({ ...vote, room: other as RoomId }, ann)),
      judge(signed({ ...vote, epochId: other as EpochId }, ann)),
      judge(signed({ ...vote, epochIdBefore: other as EpochId }, ann)),
      judge(signed({ ...vote, position: logPosition(vote.position + 1n) }, ann)),
      judge(signed({ ...vote, position: logPosition(0n) }, ann)),
      judge(signed({ ...vote, leaf: 9 }, ann)),
      judge(signed(vote, ben)),
      judge(signed({ ...vote, leaf: 1 }, ann)),
    ]),
    [
      ...['malformed', 'malformed', 'malformed', 'malformed'],
      ...['otherEpoch', 'otherEpoch', 'otherEpoch', 'otherEpoch', 'settled'],
      ...['wrongLeaf', 'wrongSignature', 'wrongSignature'],
    ],
  )
  // Every bit is under the signature, or breaks the encoding.
  for (let index = 0; index < good.length; index += 3) {
    const changed = good.slice()
    changed[index] = (changed[index] as number) ^ 1
    ok(await judge(changed) !== 'judged', `byte ${index}`)
  }
  const complaint = { ...vote, choice: 'cannot', mac: votes.NO_MAC } as const
  strictEqual(await judge(signed(complaint, ann)), 'judged')
  strictEqual(votes.readVote(good)?.leaf, 0)
  strictEqual(votes.readVote(bytes(40)), null)
})

Deno.test('VOTE-1: the MAC is of who follows, its leaf, its epoch and its GroupInfo', async () => {
  const { voter, groupInfo, vote } = await voting()
  const mac = {
    hash: 'sha256',
    epochAuthenticator: voter.secrets.epochAuthenticator,
    epochId: vote.epochId,
    groupInfo,
  } as const
  ok(votes.isVoteProven(crypto, vote, mac))
  // A copied agree, a guess without the epoch's secret, another GroupInfo, another epoch.
  ok(!votes.isVoteProven(crypto, { ...vote, leaf: 1 }, mac))
  ok(!votes.isVoteProven(crypto, vote, { ...mac, epochAuthenticator: bytes(32) }))
  ok(!votes.isVoteProven(crypto, vote, { ...mac, groupInfo: groupInfo.slice(1) }))
  ok(!votes.isVoteProven(crypto, vote, { ...mac, epochId: bytes(32) as EpochId }))
  ok(!votes.isVoteProven(crypto, { ...vote, choice: 'cannot' }, mac))
})

Deno.test('VOTE-1: a false MAC decides nothing, for who follows and for who cannot', async () => {
  const { place, vote } = await voting()
  const lie = await signed({ ...vote, mac: bytes(vote.mac.length) }, ann)
  const judged = await votes.judgeVote(crypto, place, lie)
  ok(judged.kind === 'judged')
  const outcome = castVote(place.finality, judged.vote)
  ok(outcome.kind === 'taken' && outcome.finality.open.at(-1)?.votes[0]?.counts === true)
})

// ---- Whom the hub asks --------------------------------------------------------------------------

const account = (name: string) => `${name}@hub.example` as Device['account']

function asking(leaves: readonly number[], wanted: Partial<Asking> = {}): Asking {
  const facts: CommitFacts = {
    position: logPosition(1n),
    timeMs: NOW,
    epochId: bytes(32) as EpochId,
    committer: 0,
    account: account('u0'),
    added: [],
    hasElectors: true,
  }
  return {
    facts,
    connected: leaves.map((leaf) => ({ leaf, account: account(`u${leaf}`) })),
    asked: [],
    random: bytes(leaves.length * 4),
    ...wanted,
  }
}

Deno.test('VOTE-2: sixteen accounts are asked, one device each, electors only', () => {
  const leaves = Array.from({ length: 200 }, (_, index) => index)
  const twoEach = leaves.map((leaf) => ({ leaf, account: account(`u${leaf >> 1}`) }))
  for (let run = 0; run < 50; run++) {
    const { facts } = asking([])
    const added = [10, 11, 12]
    const chosen = chooseAsked(asking(leaves, { connected: twoEach, facts: { ...facts, added } }))
    strictEqual(chosen.length, LIMITS.askedMax)
    strictEqual(new Set(chosen.map((each) => each.account)).size, LIMITS.askedMax)
    ok(chosen.every(({ leaf }) => leaf > 1 && !added.includes(leaf)))
  }
})

Deno.test('VOTE-2: each subtree of the copath that has somebody is asked', () => {
  const level = (committer: number, leaf: number) => Math.floor(Math.log2(committer ^ leaf))
  for (let run = 0; run < 100; run++) {
    const committer = prng.integer(1_024)
    const { facts } = asking([])
    const count = 1 + prng.integer(300)
    // Leaf 0 has the committer's account, which is never asked.
    const leaves = [...new Set(Array.from({ length: count }, () => 1 + prng.integer(1_023)))]
      .filter((leaf) => leaf !== committer)
    const chosen = chooseAsked(asking(leaves, { facts: { ...facts, committer } }))
    const wanted = new Set(leaves.map((leaf) => level(committer, leaf)))
    const got = new Set(chosen.map(({ leaf }) => level(committer, leaf)))
    deepStrictEqual([...got].toSorted(), [...wanted].toSorted())
    strictEqual(chosen.length, Math.min(leaves.length, LIMITS.askedMax))
  }
})

Deno.test('VOTE-2: who connects later is asked besides, and nobody twice; chance decides', () => {
  const leaves = [1, 2, 3, 4, 5]
  const first = chooseAsked(asking([1, 2]))
  deepStrictEqual(first.map(({ leaf }) => leaf).toSorted(), [1, 2])
  const later = chooseAsked(asking(leaves, { asked: first }))
  deepStrictEqual(later.map(({ leaf }) => leaf).toSorted(), [3, 4, 5])
  deepStrictEqual(chooseAsked(asking(leaves, { asked: [...first, ...later] })), [])
  const full = Array.from({ length: 16 }, (_, leaf) => ({ leaf, account: account(`x${leaf}`) }))
  deepStrictEqual(chooseAsked(asking(leaves, { asked: full })), [])
  // The last place goes to a subtree of which nobody was asked.
  const others = Array.from({ length: 60 }, (_, index) => 64 + index)
  const asked15 = others.slice(0, 15).map((leaf) => ({ leaf, account: account(`u${leaf}`) }))
  const [last, ...none] = chooseAsked(asking([...others, 3], { asked: asked15 }))
  deepStrictEqual([last?.leaf, none], [3, []])
  // Of three hundred in one subtree anybody may be asked.
  const many = Array.from({ length: 300 }, (_, index) => 512 + index)
  const asked = new Set<number>()
  for (let run = 0; run < 200; run++) {
    for (const { leaf } of chooseAsked(asking(many))) asked.add(leaf)
  }
  ok(asked.size > 290)
})

// ---- Anchors ------------------------------------------------------------------------------------

async function anchoring() {
  const { room, committer } = await voting()
  const invitation = invitationOf(ann, linkKey(room).publicKey).id
  const anchor: Anchor = {
    room: room.room,
    epochId: epochIdOf(room.group.suite, room.group.context),
    position: logPosition(room.next - 1n),
    entryHash: bytes(32),
    invitation,
    device: ann.device,
    time: NOW,
  }
  const { rootHash: inviterRootHash } = ann.verified
  const expected = { room: room.room, invitation, inviterRootHash, group: room.group }
  return { room, committer, anchor, expected }
}

function anchored(anchor: Anchor, device: Device): Promise<Uint8Array> {
  const { suiteKey: { secretKey }, certificate } = device
  return makeAnchor(crypto, anchor, { algorithm: 'ed25519', secretKey, certificate })
}

Deno.test('JOIN-3: an anchor is the word of the inviter’s device on one epoch', async () => {
  const { room, anchor, expected } = await anchoring()
  const made = await anchored(anchor, ann)
  ok(made.length <= LIMITS.anchorSizeMax)
  const { position, entryHash, time } = anchor
  const read = await verifyAnchor(crypto, made, expected)
  ok(read !== null && read.position === position && read.time === time)
  ok(equalBytes(read.entryHash, entryHash))
  strictEqual(readAnchor(made)?.position, position)
  const others = [
    { room: bytes(32) as RoomId },
    { invitation: bytes(32) },
    { inviterRootHash: bytes(32) },
    { group: { ...room.group, context: { ...room.group.context, epoch: 99n } } },
  ]
  for (const other of others) {
    strictEqual(await verifyAnchor(crypto, made, { ...expected, ...other }), null)
  }
  for (let index = 0; index < made.length; index += 61) {
    const changed = made.slice()
    changed[index] = (changed[index] as number) ^ 1
    strictEqual(await verifyAnchor(crypto, changed, expected), null, `byte ${index}`)
  }
  strictEqual(await verifyAnchor(crypto, bytes(50), expected), null)
  strictEqual(readAnchor(new Uint8Array(LIMITS.anchorSizeMax + 1)), null)
})

Deno.test('JOIN-3: only a device of the link’s root with a leaf can anchor', async () => {
  const { anchor, expected } = await anchoring()
  // Ben is in the room and not the inviter.
  const byBen = await anchored({ ...anchor, device: ben.device }, ben)
  strictEqual(await verifyAnchor(crypto, byBen, expected), null)
  // A device of Ann's that is certified and has no leaf, such as one that was removed.
  const phone = await people.deviceOf('ann', { like: ann, beside: [ann] })
  const byPhone = await anchored({ ...anchor, device: phone.device }, phone)
  strictEqual(await verifyAnchor(crypto, byPhone, expected), null)
  // Her own name under another root, which a hub can make.
  const namesake = { ...await people.deviceOf('ann'), device: ann.device }
  const byNamesake = await anchored(anchor, namesake)
  strictEqual(await verifyAnchor(crypto, byNamesake, expected), null)
  const { rootHash: inviterRootHash } = namesake.verified
  strictEqual(await verifyAnchor(crypto, byNamesake, { ...expected, inviterRootHash }), null)
  // A key that the manifest lists for the device and the leaf does not have.
  const suiteKey = crypto.signatureKeyPair('ed25519', bytes(32))
  const rekeyed = { ...ann, suiteKey, ed25519: suiteKey }
  const { certificate } = await people.deviceOf('ann', { like: ann, beside: [rekeyed] })
  const byOtherKey = await anchored(anchor, { ...rekeyed, certificate })
  strictEqual(await verifyAnchor(crypto, byOtherKey, expected), null)
})

// ---- The group for who joins ------------------------------------------------------------------

Deno.test('JOIN-1: the proof of a link is for one session, room, account and device', async () => {
  const { room } = await people.found(ann)
  const pair = linkKey(room)
  const request = {
    session: bytes(32),
    room: room.room,
    invitation: bytes(32),
    account: ben.account,
    device: ben.device,
  }
  const signature = await signGroupRequest(crypto, request, pair.secretKey)
  const proof = { publicKey: pair.publicKey, signature }
  ok(await verifyGroupRequest(crypto, request, proof))
  const lies = [
    { session: bytes(32) },
    { room: bytes(32) as RoomId },
    { invitation: bytes(32) },
    { account: ann.account },
    { device: ann.device },
  ]
  for (const lie of lies) ok(!await verifyGroupRequest(crypto, { ...request, ...lie }, proof))
  ok(!await verifyGroupRequest(crypto, request, { ...proof, publicKey: bytes(32) }))
})

Deno.test('JOIN-2: an answer reads back whole, and in no other length', () => {
  const answer = {
    anchor: bytes(90),
    position: logPosition(7n),
    entryHash: bytes(32),
    groupInfo: bytes(200),
    ratchetTree: bytes(900),
    certificates: [bytes(70), bytes(80)],
  }
  for (const anchor of [answer.anchor, null]) {
    const encoded = encodeGroupAnswer({ ...answer, anchor })
    const read = decodeGroupAnswer(encoded)
    ok(read !== null)
    deepStrictEqual({ ...read, format: 1 }, { ...answer, anchor, format: 1 })
    strictEqual(decodeGroupAnswer(encoded.subarray(0, -1)), null)
  }
})
