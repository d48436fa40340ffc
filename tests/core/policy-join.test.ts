/** Tests of a room's policy and of the three ways in: what is good, and each refusal's code. */
import { deepStrictEqual, ok, strictEqual } from 'node:assert/strict'
import { equalBytes } from '#core/base/bytes.ts'
import type { DeviceId, EpochId, TimeMs } from '#core/base/ids.ts'
import { LIMITS } from '#core/base/limits.ts'
import type { Group } from '#core/mls/group.ts'
import { leafAt } from '#core/mls/ratchet-tree.ts'
import { decodePolicy, encodePolicy, policyOf } from '#core/policy/room-policy.ts'
import { type PolicyInvitation, ROOM_EXTENSION_TYPE } from '#core/policy/room-policy.ts'
import { hasAccount, leafOfDevice, rosterOf, usesOf } from '#core/policy/roster.ts'
import type { CommitFault } from '#core/wire/refusals.ts'
import * as people from './policy-people.ts'
import { bytes, crypto, type Device, NOW, type Room } from './policy-people.ts'
import { byLink, enterByLink, invitationOf, inviting, type LinkEntry } from './policy-links.ts'
import { linkKey, policyChange } from './policy-links.ts'

const ann = await people.deviceOf('ann')
const ben = await people.deviceOf('ben')
const cem = await people.deviceOf('cem')
const dia = await people.deviceOf('dia')

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

// ---- Policy -----------------------------------------------------------------------------------

Deno.test('POLICY-2: a member adds invitations in its own name, within bounds', async () => {
  const { room, group } = await withBen()
  const key = crypto.signatureKeyPair('ed25519', bytes(32)).publicKey
  const good = invitationOf(ann, key)
  const bad: PolicyInvitation[] = [
    invitationOf(ben, key),
    invitationOf(ann, key, { inviterRootHash: bytes(32) }),
    invitationOf(ann, key, { id: bytes(32) }),
    invitationOf(ann, key, { createdAt: NOW - 1 as TimeMs, expiresAt: NOW }),
    invitationOf(ann, key, { expiresAt: NOW + LIMITS.invitationAheadMsMax + 1 as TimeMs }),
    invitationOf(ann, key, { createdAt: good.expiresAt }),
    invitationOf(ann, key, { usesMax: 0 }),
    invitationOf(ann, key, { usesMax: LIMITS.invitationUsesMax + 1 }),
  ]
  for (const invitation of bad) {
    const proposals = [policyChange(room, [invitation])]
    await refused(room, { made: await people.commitOf(room, group, { proposals }) }, 'policy')
  }
  const many = Array.from(
    { length: LIMITS.invitationsPerAccountMax + 1 },
    () => invitationOf(ann, crypto.signatureKeyPair('ed25519', bytes(32)).publicKey),
  )
  const flood = await people.commitOf(room, group, { proposals: [policyChange(room, many)] })
  await refused(room, { made: flood }, 'policy')
  const full = await inviting(room, group, many.slice(1))
  // What stands stays as it is, byte for byte.
  const [first, ...rest] = many.slice(1)
  const fewer = await people.commitOf(full.room, full.group, {
    proposals: [policyChange(full.room, rest)],
  })
  strictEqual((await people.submit(full.room, { made: fewer })).kind, 'judged')
  const changed = [{ ...first!, usesMax: 1 }, ...rest]
  const made = await people.commitOf(full.room, full.group, {
    proposals: [policyChange(full.room, changed)],
  })
  await refused(full.room, { made }, 'policy')
})

Deno.test('POLICY-2: who deletes which invitation', async () => {
  const { room, founder } = await people.found(ann)
  const entered = await enterByLink(room, { host: founder, device: ben, inviter: ann })
  const emptied = (from: Room) => ({ proposals: [policyChange(from, [])] })
  // Ben may not delete Ann's; once it has expired, anybody may.
  const made = await people.commitOf(entered.room, entered.group, emptied(entered.room))
  await refused(entered.room, { made }, 'policy')
  const atMs = entered.invitation.expiresAt
  strictEqual((await people.submit(entered.room, { made, atMs })).kind, 'judged')
  // Nor while Ann is there; together with her last leaf, or after it, he may.
  const removal = { kind: 'remove', removed: 0 } as const
  const { proposals } = emptied(entered.room)
  const farewell = await people.commitOf(entered.room, entered.group, {
    proposals: [...proposals, removal],
  })
  const gone = await people.advance(entered.room, { made: farewell })
  deepStrictEqual(policyOf(gone.group.context.extensions)?.invitations, [])
  ok(!hasAccount(rosterOf(gone.group.tree), ann.account, ann.verified.rootHash))
})

Deno.test('POLICY-2: other extensions of the group stay byte for byte', async () => {
  const { room, group } = await withBen()
  const [required, policy] = room.group.context.extensions
  ok(required !== undefined && policy !== undefined)
  const lists = [
    [policy],
    [policy, required],
    [required, policy, { type: 0xf011, body: new Uint8Array(0) }],
    [{ ...required, body: new Uint8Array(3) }, policy],
  ]
  for (const extensions of lists) {
    const proposals = [{ kind: 'groupContextExtensions', extensions }] as const
    await refused(room, { made: await people.commitOf(room, group, { proposals }) }, 'extensions')
  }
  const broken = [required, { ...policy, body: bytes(9) }]
  const proposals = [{ kind: 'groupContextExtensions', extensions: broken }] as const
  await refused(room, { made: await people.commitOf(room, group, { proposals }) }, 'policy')
})

Deno.test('POLICY-1: a policy has one encoding, with each id once', () => {
  const invitations = Array.from(
    { length: 3 },
    () => invitationOf(ann, crypto.signatureKeyPair('ed25519', bytes(32)).publicKey),
  )
  const encoded = encodePolicy({ invitations })
  const read = decodePolicy(encoded)
  ok(read !== null && equalBytes(encodePolicy(read), encoded))
  ok(equalBytes(encodePolicy({ invitations: invitations.toReversed() }), encoded))
  const [one] = invitations
  strictEqual(decodePolicy(encodePolicy({ invitations: [one!, one!] })), null)
  strictEqual(decodePolicy(encoded.subarray(1)), null)
  strictEqual(decodePolicy(new Uint8Array(LIMITS.policySizeMax + 1)), null)
})

// ---- Coming in by a commit of one's own ---------------------------------------------------------

Deno.test('JOIN-4: who has the link enters, and the leaf keeps its admission', async () => {
  const { room, founder } = await people.found(ann)
  const { room: entered, group, made, before, invitation } = await enterByLink(room, {
    host: founder,
    device: ben,
    inviter: ann,
  })
  const roster = rosterOf(entered.group.tree)
  strictEqual(usesOf(roster, invitation.id), 1)
  deepStrictEqual(leafOfDevice(roster, ben.account, ben.device)?.invitation, invitation.id)
  // Later leaves carry the same bytes: neither without it nor with another.
  const own = leafAt(entered.group.tree, group.ownLeaf)!
  const [admission] = own.extensions
  ok(admission?.type === ROOM_EXTENSION_TYPE.admission)
  const body = admission.body.slice()
  body[body.length - 1] = (body[body.length - 1] as number) ^ 1
  for (const extensions of [[], [{ ...admission, body }]]) {
    const template = { ...people.templateOf(ben), extensions }
    const update = await people.commitOf(entered, group, { template })
    await refused(entered, { made: update }, 'admission')
  }
  const kept = await people.commitOf(entered, group, {})
  strictEqual((await people.submit(entered, { made: kept })).kind, 'judged')
  // The admission is for this room, this epoch and this certificate alone.
  await refused(before, { made, certificates: [] }, 'certificate')
})

Deno.test('JOIN-4: an admission is over room, epoch, account, device, root and keys', async () => {
  const { room, founder } = await people.found(ann)
  const invitation = invitationOf(ann, linkKey(room).publicKey)
  const { room: invited, group } = await inviting(room, founder, [invitation])
  const lies = [
    { room: bytes(32) as Room['room'] },
    { epochIdBefore: bytes(32) as EpochId },
    { account: cem.account },
    { device: bytes(16) as DeviceId },
    { rootHash: bytes(32) },
    { signatureKey: bytes(32) },
    { encryptionKey: bytes(32) },
    { certificateHash: bytes(32) },
  ]
  const enter = (lie: LinkEntry['lie'], secretKey?: Uint8Array) =>
    byLink(invited, { device: ben, host: group, lie: lie ?? {}, ...secretKey && { secretKey } })
  const certificates = [ben.certificate]
  for (const lie of lies) {
    await refused(invited, { made: await enter(lie), certificates }, 'admission')
  }
  const stranger = crypto.signatureKeyPair('ed25519', bytes(32))
  const forged = await enter({}, stranger.secretKey)
  await refused(invited, { made: forged, certificates }, 'admission')
  strictEqual(
    (await people.submit(invited, { made: await enter({}), certificates })).kind,
    'judged',
  )
})

Deno.test('JOIN-4: an invitation is listed, alive, not used up, its inviter there', async () => {
  const { room, founder } = await people.found(ann)
  const { room: entered, group, made, before, invitation } = await enterByLink(room, {
    host: founder,
    device: ben,
    inviter: ann,
    invitation: { usesMax: 1 },
  })
  const certificates = [ben.certificate]
  const late = { made, certificates, atMs: invitation.expiresAt }
  await refused(before, late, 'invitationExpired')
  // A second account, by the same link of one use.
  const again = (into: Room, host: Group, device: Device) => byLink(into, { host, device })
  const spent = await again(entered, group, cem)
  await refused(entered, { made: spent, certificates: [cem.certificate] }, 'invitationSpent')
  const plain = await people.adding(room, founder, [dia])
  const unlisted = await again(plain.room, plain.group, cem)
  const unknown = { made: unlisted, certificates: [cem.certificate] }
  await refused(plain.room, unknown, 'unknownInvitation')
  // Ben removes Ann and leaves her link where it is: it admits nobody, and not Ann herself.
  const removal = { kind: 'remove', removed: 0 } as const
  const farewell = await people.commitOf(entered, group, { proposals: [removal] })
  const without = await people.advance(entered, { made: farewell })
  const back = await again(without, farewell.next, ann)
  await refused(without, { made: back, certificates: [ann.certificate] }, 'unknownInvitation')
})

Deno.test('JOIN-4: adds carry no admission, and who is there needs no link', async () => {
  const { room, founder } = await people.found(ann)
  const { room: entered, group } = await enterByLink(room, {
    host: founder,
    device: ben,
    inviter: ann,
  })
  const phone = await people.deviceOf('ben', { like: ben, beside: [ben] })
  const second = await byLink(entered, { device: phone, host: group })
  await refused(entered, { made: second, certificates: [phone.certificate] }, 'alreadyMember')
  const own = leafAt(entered.group.tree, group.ownLeaf)!
  const template = { ...people.templateOf(cem), extensions: own.extensions }
  const keyPackage = await people.keyPackageOf(cem, template)
  const proposals = [{ kind: 'add', keyPackage }] as const
  const made = await people.commitOf(entered, group, { proposals })
  await refused(entered, { made, certificates: [cem.certificate] }, 'admission')
})

Deno.test('JOIN-5: a resync replaces the leaf of the same account, device and root', async () => {
  const { room, founder } = await people.found(ann)
  const { room: entered, group } = await enterByLink(room, {
    host: founder,
    device: ben,
    inviter: ann,
  })
  const own = leafAt(entered.group.tree, group.ownLeaf)!
  const template = { ...people.templateOf(ben), extensions: own.extensions }
  const resync = { device: ben, host: group, removed: group.ownLeaf, template }
  const made = await people.enterOf(entered, resync)
  const outcome = await people.submit(entered, { made })
  ok(outcome.kind === 'judged')
  strictEqual(outcome.judged.external, 'resync')
  deepStrictEqual(outcome.judged.facts.added, [group.ownLeaf])
  strictEqual(usesOf(rosterOf(outcome.room.group.tree), own.extensions[0]!.body.slice(-97, -65)), 0)
  // Without its admission, or in place of somebody else.
  const bare = await people.enterOf(entered, { ...resync, template: people.templateOf(ben) })
  await refused(entered, { made: bare }, 'admission')
  const thief = await people.enterOf(entered, { device: cem, host: group, removed: 0 })
  await refused(entered, { made: thief, certificates: [cem.certificate] }, 'otherDevice')
  const namesake = { ...ann, ...await people.deviceOf('ann'), device: ann.device }
  const other = await people.enterOf(entered, { device: namesake, host: group, removed: 0 })
  await refused(entered, { made: other, certificates: [namesake.certificate] }, 'otherDevice')
})

Deno.test('JOIN-6: a new device comes in under the root that is there', async () => {
  const { room, group } = await withBen()
  const phone = await people.deviceOf('ann', { like: ann, beside: [ann] })
  const made = await people.enterOf(room, { device: phone, host: group })
  const certificates = [phone.certificate]
  const outcome = await people.submit(room, { made, certificates })
  ok(outcome.kind === 'judged')
  strictEqual(outcome.judged.external, 'newDevice')
  await refused(room, { made, certificates: [] }, 'certificate')
  const namesake = await people.deviceOf('ann')
  const other = await people.enterOf(room, { device: namesake, host: group })
  await refused(room, { made: other, certificates: [namesake.certificate] }, 'twoRoots')
  const stranger = await people.enterOf(room, { device: cem, host: group })
  await refused(room, { made: stranger, certificates: [cem.certificate] }, 'externalKind')
})

Deno.test('JOIN-4, POLICY-2: every fault of policy and joins has been seen here', () => {
  for (const fault of people.JOIN_FAULTS) ok(seenFaults.has(fault), fault)
})
