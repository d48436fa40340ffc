/**
 * RFC 9420 sections 12.4.3 and 12.4.3.1 as rules about who is let in: by an inviter who has every
 * key, whose secrets, signature, tags and hashes fit, and who lies once. Trees: `mls-rules-tree`.
 */
import { ok, strictEqual } from 'node:assert/strict'
import { concat, EMPTY, utf8Encode } from '#core/base/bytes.ts'
import { EXTENSION_TYPE } from '#core/mls/extension.ts'
import { decodeMlsMessage, encodeMlsMessage } from '#core/mls/framing.ts'
import type { Group } from '#core/mls/group.ts'
import type { PreSharedKeyId, Proposal } from '#core/mls/proposal.ts'
import { groupSecrets } from '#core/mls/welcome.ts'
import { addOf, assertAgreement, type Candidate, candidate, circle } from './mls-parties.ts'
import { codeOf, commit, createStory, flipped, follow, join, noPsks } from './mls-parties.ts'
import { repackaged, suite, tryJoin } from './mls-parties.ts'
import { assertLies, invited, type Lie, onContext, read, rewelcomed } from './mls-inviter.ts'

Deno.test('12.4.3.1: a Welcome is for a KeyPackage and its init key', async () => {
  const { story, inviter, comer, welcome } = await invited(130)
  const eve = await candidate(story, 'eve')
  strictEqual(codeOf(await tryJoin(eve, welcome)), 'notForUs')
  const { secrets } = eve
  strictEqual(codeOf(await tryJoin({ ...comer, secrets }, welcome)), 'notDecryptable')
  const { welcome: whole } = decodeMlsMessage('welcome', welcome) ?? { welcome: null }
  ok(whole !== null)
  const otherSuite = encodeMlsMessage({ kind: 'welcome', welcome: { ...whole, cipherSuite: 3 } })
  strictEqual(codeOf(await tryJoin(comer, otherSuite)), 'wrongSuite')
  const moved = encodeMlsMessage({
    kind: 'welcome',
    welcome: { ...whole, encryptedGroupInfo: flipped(whole.encryptedGroupInfo) },
  })
  strictEqual(codeOf(await tryJoin(comer, moved)), 'notDecryptable')
  assertAgreement([inviter, await joinOf(comer, welcome)])
})

async function joinOf(comer: Candidate, welcome: Uint8Array): Promise<Group> {
  const joined = await tryJoin(comer, welcome)
  ok(joined.kind === 'joined', codeOf(joined))
  return joined.group
}

const shared = (usage: 'reInit' | 'branch' | null, fill = 1): PreSharedKeyId => {
  const pskNonce = new Uint8Array(suite.hashLength).fill(fill)
  if (usage === null) return { kind: 'external', pskId: utf8Encode('x'), pskNonce }
  return { kind: 'resumption', usage, pskGroupId: utf8Encode('old'), pskEpoch: 1n, pskNonce }
}
const withPsks = (...ids: PreSharedKeyId[]): Lie => ({
  secrets: (secrets) => ({ ...secrets, psks: ids }),
  psks: ids.map((id) => ({ id, secret: utf8Encode('known') })),
})

Deno.test('12.4.3.1: a Welcome with a PSK that the joiner lacks is refused', async () => {
  const all = await invited(131)
  await assertLies(all, [['external', 'unknownPsk', withPsks(shared(null))]])
  await assertLies(all, [
    ['another', 'notDecryptable', withPsks(shared(null))],
  ], { psks: () => utf8Encode('another') })
})

Deno.test('12.4.3.1: at most one PSK binds a group to another, which is known', async () => {
  const known = { psks: () => utf8Encode('known') }
  const all = await invited(132)
  await assertLies(all, [
    ['reinit', 'badProposalList', withPsks(shared('reInit'))],
    ['branch', 'badProposalList', withPsks(shared('branch'))],
    ['both', 'badProposalList', withPsks(shared('reInit'), shared('branch'))],
    ['twice', 'badProposalList', withPsks(shared('branch'), shared('branch', 2))],
  ], known)
})

Deno.test('12.4.3: a GroupInfo is of this version and suite', async () => {
  await assertLies(await invited(133), [
    ['version', 'wrongVersion', onContext({ version: 2 })],
    ['suite', 'wrongSuite', onContext({ cipherSuite: 3 })],
  ])
})

Deno.test('12.4.3: a GroupInfo is signed by the member that it names', async () => {
  const all = await invited(134)
  const by = (signer: number): Lie => ({ described: (content) => ({ ...content, signer }) })
  await assertLies(all, [
    ['another member', 'badSignature', by(1)],
    ['the joiner', 'badSignature', by(3)],
    ['a blank leaf', 'wrongSender', by(5)],
    ['nobody', 'wrongSender', by(8)],
    ['nobody far away', 'wrongSender', by(0xffffffff)],
    ['another key', 'badSignature', { signatureSecret: all.comer.party.signatureSecret }],
  ])
})

Deno.test('13: a joiner supports the GroupContext, and ignores other extensions', async () => {
  const all = await invited(136)
  const grease = { type: 0x0a0a, body: Uint8Array.of(1, 2, 3) }
  await assertLies(all, [
    ['unknown', 'unsupportedCapability', onContext({ extensions: [grease] })],
    [
      'tree',
      'malformed',
      onContext({
        extensions: [{ type: EXTENSION_TYPE.ratchetTree, body: EMPTY }],
      }),
    ],
    [
      'senders',
      'malformed',
      onContext({
        extensions: [{ type: EXTENSION_TYPE.externalSenders, body: EMPTY }],
      }),
    ],
    ['twice', 'notDecryptable', {
      described: (content) => ({
        ...content,
        extensions: [...content.extensions, grease, grease],
      }),
    }],
    ['GREASE', 'joined', {
      described: (content) => ({ ...content, extensions: [grease, ...content.extensions] }),
    }],
  ])
})

Deno.test('12.4.3.1: the confirmation tag is that of the epoch', async () => {
  await assertLies(await invited(137), [
    ['another', 'badConfirmationTag', { tag: new Uint8Array(suite.hashLength) }],
    ['none', 'badConfirmationTag', { tag: EMPTY }],
    ['transcript', 'badConfirmationTag', {
      ...onContext({ confirmedTranscriptHash: EMPTY }),
      tag: new Uint8Array(suite.hashLength),
    }],
  ])
})

Deno.test('12.4.3.1: path secrets lead to the keys of the tree', async () => {
  const path = (change: (secret: Uint8Array) => Uint8Array): Lie => ({
    secrets(secrets) {
      ok(secrets.pathSecret !== null)
      return { ...secrets, pathSecret: change(secrets.pathSecret) }
    },
  })
  await assertLies(await invited(138), [
    ['another', 'badPath', path((secret) => flipped(secret))],
    ['shorter', 'badPath', path((secret) => secret.slice(1))],
    ['longer', 'badPath', path((secret) => concat(secret, secret))],
    ['none at all', 'badPath', path(() => EMPTY)],
  ])
  // Without a path there is none, and one that is made up leads nowhere.
  await assertLies(await invited(139, 'whenRequired'), [
    ['invented', 'badPath', {
      secrets: (secrets) => ({ ...secrets, pathSecret: new Uint8Array(suite.hashLength) }),
    }],
  ])
})

Deno.test('12.4.3.1: an epoch that has no next one is not joined', async () => {
  const last = (1n << 64n) - 1n
  await assertLies(await invited(140), [['last', 'wrongEpoch', onContext({ epoch: last })]])
})

Deno.test('9.2: a Welcome that is refused leaves no joiner secret behind', async () => {
  const { inviter, comer, welcome } = await invited(150)
  const seen: Uint8Array[] = []
  const watching = {
    ...suite,
    async hpkeOpen(...parts: Parameters<typeof suite.hpkeOpen>) {
      const opened = await suite.hpkeOpen(...parts)
      if (opened !== null) seen.push(opened)
      return opened
    },
  }
  const lies: readonly (readonly [string, Lie])[] = [
    ['unknownPsk', withPsks(shared(null))],
    ['wrongSuite', onContext({ cipherSuite: 3 })],
    ['badConfirmationTag', { tag: EMPTY }],
    ['badPath', {
      secrets: (secrets) => ({ ...secrets, pathSecret: new Uint8Array(suite.hashLength).fill(1) }),
    }],
    ['joined', {}],
  ]
  for (const [code, lie] of lies) {
    const message = await rewelcomed(inviter, comer, { lie, welcome })
    strictEqual(codeOf(await tryJoin(comer, message, {}, watching)), code)
  }
  strictEqual(seen.length, lies.length)
  for (const opened of seen) {
    // What is left of GroupSecrets: lengths, presence and the names of PSKs.
    const { joinerSecret, pathSecret } = read(groupSecrets, opened)
    ok(joinerSecret.length === suite.hashLength && joinerSecret.every((byte) => byte === 0))
    ok(pathSecret !== null && pathSecret.every((byte) => byte === 0))
  }
})

Deno.test('12.4.3.1: a Welcome brings in everybody whom the commit adds', async () => {
  const story = createStory(149)
  const { members: [alice, bob], onlooker } = await circle(story, ['alice', 'bob'])
  ok(alice !== undefined && bob !== undefined && onlooker !== undefined)
  const comers = await Promise.all(['x', 'y', 'z'].map((name) => candidate(story, name)))
  const held = () => utf8Encode('the key that everybody has')
  const psk: Proposal = { kind: 'psk', psk: shared(null) }
  for (const path of ['always', 'whenRequired'] as const) {
    const proposals = [psk, ...comers.map(addOf)]
    const made = await commit(story, alice, { proposals, path, psks: held })
    const joined = await Promise.all(comers.map((comer) => join(comer, made, { psks: held })))
    const followed = await follow(bob, made.message, held)
    assertAgreement([made.next, followed, ...joined])
    // The last to come makes the next commit, which everybody reads.
    const next = await commit(story, joined[2] as Group, {})
    const everybody = [made.next, followed, ...joined.slice(0, 2)]
    const later = await Promise.all(everybody.map((group) => follow(group, next.message, noPsks)))
    assertAgreement([next.next, ...later])
  }
})

Deno.test('12.4.3.1: an init key that is no key of the KEM shuts out its owner alone', async () => {
  const story = createStory(151)
  const { members: [alice, bob] } = await circle(story, ['alice', 'bob'])
  ok(alice !== undefined && bob !== undefined)
  const comer = await candidate(story, 'x')
  const whole = { initKey: new Uint8Array(suite.kemPublicKeyLength) }
  const barred = await repackaged(await candidate(story, 'y'), { whole })
  const made = await commit(story, alice, { proposals: [addOf(barred), addOf(comer)] })
  ok(made.welcome !== null)
  strictEqual(codeOf(await tryJoin(barred, made.welcome)), 'notDecryptable')
  assertAgreement([made.next, await follow(bob, made.message), await join(comer, made)])
})
