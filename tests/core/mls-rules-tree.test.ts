/**
 * RFC 9420 sections 7.9.2, 12.4.3.1 and 12.4.3.3 as rules about trees that a joiner receives: the
 * inviter forges the tree, and hash, signature and tags of the Welcome follow it.
 */
import { ok, strictEqual } from 'node:assert/strict'
import { concat, EMPTY, utf8Encode } from '#core/base/bytes.ts'
import { EXTENSION_TYPE, withExtension } from '#core/mls/extension.ts'
import { makeLeaf } from '#core/mls/own-leaf.ts'
import { addLeaf, leafAt, parentAt, replaceLeaf, treeOfOne } from '#core/mls/ratchet-tree.ts'
import { encodeRatchetTree } from '#core/mls/tree-codec.ts'
import { treeNode } from '#core/mls/tree-node.ts'
import { verifyTree } from '#core/mls/tree-validation.ts'
import { encode } from '#core/wire/codec.ts'
import { createStory, flipped, partyOf } from './mls-parties.ts'
import { candidate, codeOf, leafOf, resigned, suite, tryJoin } from './mls-parties.ts'
import { assertLies, edited, invited, type Lie, onContext, parent } from './mls-inviter.ts'
import { rewelcomed, withTree } from './mls-inviter.ts'

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

Deno.test('12.4.3.1: every signature of a large tree is verified', async () => {
  const story = createStory(152)
  const groupId = story.prng.bytes(16)
  const first = (await makeLeaf(suite, partyOf(story, '0'))).leafNode
  let tree = treeOfOne(suite, first)
  for (let leaf = 1; leaf < 300; leaf++) {
    tree = addLeaf(tree, (await makeLeaf(suite, partyOf(story, `${leaf}`))).leafNode).tree
  }
  strictEqual(await verifyTree(suite, tree, groupId), null)
  for (const leaf of [0, 255, 256, 299]) {
    const before = leafAt(tree, leaf)
    ok(before !== null)
    const leafNode = { ...before, signature: flipped(before.signature) }
    const forged = replaceLeaf(tree, leaf, leafNode)
    strictEqual(await verifyTree(suite, forged, groupId), 'badLeafSignature', `leaf ${leaf}`)
  }
})
