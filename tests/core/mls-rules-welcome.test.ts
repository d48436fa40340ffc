/**
 * RFC 9420 sections 12.4.3, 12.4.3.1 and 12.4.3.3 as rules about who is let in: Welcomes of an
 * inviter who has every key, whose secrets, signature, tags and hashes fit, and who lies once.
 */
import { ok, strictEqual } from 'node:assert/strict'
import { concat, EMPTY, toHex, utf8Encode } from '#core/base/bytes.ts'
import { EXTENSION_TYPE, withExtension } from '#core/mls/extension.ts'
import { decodeMlsMessage, encodeMlsMessage } from '#core/mls/framing.ts'
import { enterEpoch, type Group } from '#core/mls/group.ts'
import { groupInfo, type GroupInfoContent, signGroupInfo } from '#core/mls/group-info.ts'
import { keyPackageRef } from '#core/mls/key-package.ts'
import { welcomeKeyNonce, welcomeSecretOf } from '#core/mls/key-schedule.ts'
import { decryptWithLabel, encryptWithLabel } from '#core/mls/labelled.ts'
import type { PreSharedKeyId, Proposal } from '#core/mls/proposal.ts'
import { type Psk, pskSecret } from '#core/mls/psk.ts'
import { changedNodes, parentAt, type RatchetTree } from '#core/mls/ratchet-tree.ts'
import { treeHash, treeOfNodes } from '#core/mls/ratchet-tree.ts'
import { encodeRatchetTree } from '#core/mls/tree-codec.ts'
import { type ParentNode, treeNode } from '#core/mls/tree-node.ts'
import { type GroupSecrets, groupSecrets } from '#core/mls/welcome.ts'
import { type Codec, decode, encode } from '#core/wire/codec.ts'
import { addOf, assertAgreement, type Candidate, candidate, circle, codeOf } from './mls-parties.ts'
import { commit, createStory, flipped, follow, join, leafOf, noPsks } from './mls-parties.ts'
import { resigned, type Story, suite, tryJoin } from './mls-parties.ts'

const NO_AAD = EMPTY

function read<T>(codec: Codec<T>, bytes: Uint8Array | null): T {
  const decoded = bytes === null ? null : decode(codec, bytes)
  ok(decoded?.kind === 'decoded')
  return decoded.value
}

interface Lie {
  readonly secrets?: (secrets: GroupSecrets) => GroupSecrets
  /** All PSKs that count, where the lie has some. */
  readonly psks?: readonly Psk[]
  readonly described?: (content: GroupInfoContent) => GroupInfoContent
  readonly tag?: Uint8Array
  readonly signatureSecret?: Uint8Array
}

/** The Welcome with something changed, and with all that follows from it done right. */
async function rewelcomed(
  inviter: Group,
  comer: Candidate,
  { lie, welcome: message }: { readonly lie: Lie; readonly welcome: Uint8Array },
): Promise<Uint8Array> {
  const welcome = decodeMlsMessage('welcome', message)?.welcome
  const reference = toHex(keyPackageRef(suite, comer.keyPackage))
  const own = welcome?.secrets.find(({ newMember }) => toHex(newMember) === reference)
  ok(welcome !== undefined && own !== undefined)
  const opened = await decryptWithLabel(suite, comer.secrets.initSecret, {
    ...own.encryptedGroupSecrets,
    label: 'Welcome',
    context: welcome.encryptedGroupInfo,
  })
  const before = read(groupSecrets, opened)
  const keyed = (joinerSecret: Uint8Array, psks: readonly Psk[]) =>
    welcomeKeyNonce(suite, welcomeSecretOf(suite, joinerSecret, pskSecret(suite, psks)))
  const described = read(
    groupInfo,
    suite.open({ ...keyed(before.joinerSecret, []), aad: NO_AAD }, welcome.encryptedGroupInfo),
  )
  const secrets = lie.secrets?.(before) ?? before
  const content = lie.described?.(described) ?? described
  const psks = lie.psks ?? []
  const { joinerSecret } = secrets
  const entered = enterEpoch(suite, { joinerSecret, psks, context: content.groupContext })
  const confirmationTag = lie.tag ?? entered.confirmationTag
  const signatureSecret = lie.signatureSecret ?? inviter.signatureSecret
  const signed = await signGroupInfo(suite, { ...content, confirmationTag }, signatureSecret)
  const context = suite.seal(
    { ...keyed(joinerSecret, psks), aad: NO_AAD },
    encode(groupInfo, signed),
  )
  const publicKey = comer.keyPackage.initKey
  const plaintext = encode(groupSecrets, secrets)
  const to = { publicKey, label: 'Welcome', context, plaintext } as const
  const encryptedGroupSecrets = await encryptWithLabel(suite, to, createStory(1).entropy)
  ok(encryptedGroupSecrets !== null)
  const list = [{ newMember: own.newMember, encryptedGroupSecrets }]
  return encodeMlsMessage({
    kind: 'welcome',
    welcome: { cipherSuite: suite.id, secrets: list, encryptedGroupInfo: context },
  })
}

interface Invited {
  readonly story: Story
  readonly inviter: Group
  readonly comer: Candidate
  readonly welcome: Uint8Array
}

/** Alice lets Dave in at the leaf that somebody has left, below two parents that Bob has set. */
async function invited(seed: number, path: 'always' | 'whenRequired' = 'always'): Promise<Invited> {
  const story = createStory(seed)
  const names = ['alice', 'bob', 'carol', 'somebody', 'erin']
  const { members: [alice, bob] } = await circle(story, names)
  ok(alice !== undefined && bob !== undefined)
  const removal = await commit(story, alice, { proposals: [{ kind: 'remove', removed: 3 }] })
  const byBob = await commit(story, await follow(bob, removal.message), {})
  const inviter = await follow(removal.next, byBob.message)
  const comer = await candidate(story, 'dave')
  const made = await commit(story, inviter, { proposals: [addOf(comer)], path })
  ok(made.welcome !== null)
  return { story, inviter: made.next, comer, welcome: made.welcome }
}

async function assertLies(
  { inviter, comer, welcome }: Invited,
  lies: readonly (readonly [string, string, Lie])[],
  joining: Parameters<typeof tryJoin>[2] = {},
): Promise<void> {
  for (const [what, code, lie] of lies) {
    const message = await rewelcomed(inviter, comer, { lie, welcome })
    strictEqual(codeOf(await tryJoin(comer, message, joining)), code, what)
  }
  // The tool itself makes no Welcome wrong.
  const same = await rewelcomed(inviter, comer, { lie: {}, welcome })
  const joined = await tryJoin(comer, same)
  ok(joined.kind === 'joined', codeOf(joined))
  assertAgreement([inviter, joined.group])
}

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

const onContext = (change: Partial<GroupInfoContent['groupContext']>): Lie => ({
  described: (content) => ({ ...content, groupContext: { ...content.groupContext, ...change } }),
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

// ---- Trees --------------------------------------------------------------------------------

type Edits = readonly (readonly [number, Uint8Array | null])[]

/** The tree with other nodes, by node index. */
function edited(tree: RatchetTree, edits: Edits): RatchetTree {
  const nodes = new Map(changedNodes(null, tree).nodes.map(({ node, bytes }) => [node, bytes]))
  for (const [node, bytes] of edits) nodes.set(node, bytes)
  const list = [...nodes].flatMap(([node, bytes]) => bytes === null ? [] : [{ node, bytes }])
  const made = treeOfNodes(suite, tree.leafWidth, list)
  ok(made !== null)
  return made
}

const withTree = (tree: RatchetTree): Lie => ({
  described: (content) => ({
    ...content,
    groupContext: { ...content.groupContext, treeHash: treeHash(suite, tree) },
    extensions: withExtension(
      content.extensions,
      EXTENSION_TYPE.ratchetTree,
      encodeRatchetTree(tree),
    ),
  }),
})

const parent = (tree: RatchetTree, node: number, change: Partial<ParentNode>): Edits[number] => {
  const before = parentAt(tree, node)
  ok(before !== null, `parent ${node}`)
  const parentNode = { ...before, ...change }
  return [node, encode(treeNode, { kind: 'parent', parentNode, bytes: null })]
}

Deno.test('12.4.3.3: a tree comes with the Welcome or apart, and is whole', async () => {
  const all = await invited(141)
  const { inviter, comer } = all
  const body = encodeRatchetTree(inviter.public.tree)
  const without = (ratchetTree: Uint8Array | null): Lie => ({
    described: (content) => ({
      ...content,
      extensions: withExtension(content.extensions, EXTENSION_TYPE.ratchetTree, ratchetTree),
    }),
  })
  const { tree } = inviter.public
  const longer = encodeRatchetTree(tree).slice(4)
  await assertLies(all, [
    ['none', 'badTree', without(null)],
    ['empty', 'badTree', without(EMPTY)],
    ['no nodes', 'badTree', without(Uint8Array.of(0))],
    ['cut short', 'badTree', without(body.slice(0, -1))],
    ['more behind it', 'badTree', without(concat(body, Uint8Array.of(0)))],
    ['without its length', 'badTree', without(longer)],
    ['another hash', 'badTreeHash', onContext({ treeHash: new Uint8Array(suite.hashLength) })],
    ['no hash', 'badTreeHash', onContext({ treeHash: EMPTY })],
  ])
  const message = await rewelcomed(inviter, comer, { lie: without(null), welcome: all.welcome })
  const joined = await tryJoin(comer, message, { ratchetTree: body })
  ok(joined.kind === 'joined', codeOf(joined))
  const other = encodeRatchetTree(edited(tree, [[4, null]]))
  strictEqual(codeOf(await tryJoin(comer, message, { ratchetTree: other })), 'badTreeHash')
})

Deno.test('12.4.3.3: a tree ends in a node that is not blank', async () => {
  const all = await invited(143)
  const body = encodeRatchetTree(all.inviter.public.tree)
  const first = body[0] as number
  ok(first >= 0x40 && first < 0x80)
  const grown = (count: number): Lie => {
    const length = ((first & 0x3f) << 8 | (body[1] as number)) + count
    const head = Uint8Array.of(0x40 | (length >> 8), length)
    const longer = concat(head, body.slice(2), new Uint8Array(count))
    return {
      described: (content) => ({
        ...content,
        extensions: withExtension(content.extensions, EXTENSION_TYPE.ratchetTree, longer),
      }),
    }
  }
  await assertLies(all, [1, 2, 8].map((count) => [`${count}`, 'badTree', grown(count)]))
})

Deno.test('7.9.2: every parent of a received tree is linked to a leaf', async () => {
  const all = await invited(144)
  const { tree } = all.inviter.public
  const strange = (await candidate(all.story, 'x')).keyPackage.initKey
  const [one, three] = [parentAt(tree, 1), parentAt(tree, 3)]
  ok(one !== null && three !== null)
  await assertLies(
    all,
    [
      ['key', withTree(edited(tree, [parent(tree, 1, { encryptionKey: strange })]))],
      ['key of the root', withTree(edited(tree, [parent(tree, 7, { encryptionKey: strange })]))],
      ['hash', withTree(edited(tree, [parent(tree, 1, { parentHash: new Uint8Array(32) })]))],
      ['no hash', withTree(edited(tree, [parent(tree, 1, { parentHash: EMPTY })]))],
      ['change of places', withTree(edited(tree, [parent(tree, 1, three), parent(tree, 3, one)]))],
    ].map(([what, lie]) => [what as string, 'badParentHash', lie as Lie]),
  )
})

Deno.test('12.4.3.1: unmerged leaves are below, in order, and in all between', async () => {
  // Without a path the joiner is unmerged in the node above leaves 0 to 3, and in the root.
  const all = await invited(145, 'whenRequired')
  const { tree } = all.inviter.public
  strictEqual(parentAt(tree, 3)?.unmergedLeaves.join(), '3')
  strictEqual(parentAt(tree, 7)?.unmergedLeaves.join(), '3')
  const listing = (node: number, unmergedLeaves: number[]) =>
    withTree(edited(tree, [parent(tree, node, { unmergedLeaves })]))
  await assertLies(all, [
    ['not between', 'badUnmergedLeaves', listing(3, [])],
    ['twice', 'badUnmergedLeaves', listing(3, [3, 3])],
    ['out of order', 'badUnmergedLeaves', listing(7, [4, 3])],
    ['of the other side', 'badUnmergedLeaves', listing(3, [3, 4])],
    ['blank', 'badUnmergedLeaves', listing(7, [3, 5])],
    ['outside', 'badUnmergedLeaves', listing(7, [3, 8])],
    ['far outside', 'badUnmergedLeaves', listing(7, [3, 0xffffffff])],
    ['not at the root', 'badParentHash', listing(7, [])],
  ])
})

Deno.test('12.4.3.1: keys stand once in a received tree', async () => {
  const all = await invited(146)
  const { tree } = all.inviter.public
  const { encryptionKey } = leafOf(all.inviter, 2)
  const root = parentAt(tree, 7)
  ok(root !== null)
  const resignedBy = async (leaf: number, change: Parameters<typeof resigned>[1]) => {
    const place = { groupId: all.inviter.public.context.groupId, leaf }
    const { signatureSecret } = all.inviter
    const leafNode = await resigned(leafOf(all.inviter, leaf), change, { signatureSecret, place })
    return [leaf * 2, encode(treeNode, { kind: 'leaf', leafNode, bytes: null })] as const
  }
  const { signatureKey } = leafOf(all.inviter, 0)
  await assertLies(
    all,
    [
      ['leaf and parent', withTree(edited(tree, [parent(tree, 1, { encryptionKey })]))],
      ['parents', withTree(edited(tree, [parent(tree, 1, { encryptionKey: root.encryptionKey })]))],
      ['leaves', withTree(edited(tree, [await resignedBy(0, { encryptionKey })]))],
      ['signatures', withTree(edited(tree, [await resignedBy(1, { signatureKey })]))],
    ].map(([what, lie]) => [what as string, 'duplicateKey', lie as Lie]),
  )
})

Deno.test('12.4.3.1: every leaf of a received tree is signed, and fits', async () => {
  const all = await invited(147)
  const { tree } = all.inviter.public
  const { signatureSecret } = all.inviter
  const { groupId } = all.inviter.public.context
  const withAlice = async (
    change: Parameters<typeof resigned>[1],
    place = { groupId, leaf: 0 },
  ) => {
    const leafNode = await resigned(leafOf(all.inviter, 0), change, { signatureSecret, place })
    return withTree(edited(tree, [[0, encode(treeNode, { kind: 'leaf', leafNode, bytes: null })]]))
  }
  const { capabilities, credential } = leafOf(all.inviter, 0)
  const capable = (of: Partial<typeof capabilities>) => ({
    capabilities: { ...capabilities, ...of },
  })
  const x509 = { kind: 'x509', certificates: [] } as const
  await assertLies(all, [
    ['place', 'badLeafSignature', await withAlice({}, { groupId, leaf: 1 })],
    ['group', 'badLeafSignature', await withAlice({}, { groupId: EMPTY, leaf: 0 })],
    ['version', 'unsupportedCapability', await withAlice(capable({ versions: [] }))],
    ['suite', 'unsupportedCapability', await withAlice(capable({ cipherSuites: [] }))],
    ['own credential', 'badLeaf', await withAlice(capable({ credentials: [] }))],
    ['extension', 'badLeaf', await withAlice({ extensions: [{ type: 0x0a0a, body: EMPTY }] })],
    [
      'a credential that others cannot read',
      'unsupportedCapability',
      await withAlice({ credential: x509, ...capable({ credentials: [1, 2] }) }),
    ],
    ['as it is', 'joined', await withAlice({ credential })],
  ])
})

Deno.test('12.4.3.1: the leaf of the joiner is that of its KeyPackage', async () => {
  const all = await invited(148, 'whenRequired')
  const { tree } = all.inviter.public
  const { party, keyPackage } = all.comer
  const { signatureSecret } = party
  const leafNode = await resigned(
    keyPackage.leafNode,
    { credential: { kind: 'basic', identity: utf8Encode('somebody else') } },
    { signatureSecret, place: null },
  )
  const other = encode(treeNode, { kind: 'leaf', leafNode, bytes: null })
  const strange = (await candidate(all.story, 'eve')).keyPackage.leafNode
  const eves = encode(treeNode, { kind: 'leaf', leafNode: strange, bytes: null })
  await assertLies(all, [
    ['changed', 'notForUs', withTree(edited(tree, [[6, other]]))],
    ['of somebody else', 'notForUs', withTree(edited(tree, [[6, eves]]))],
  ])
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
