/**
 * Trees that a member has spoilt and signed a GroupInfo over, so that hash and signature fit:
 * nobody opens a group with one (RFC 9420 section 12.4.3.1). Owns the spoiling; what can be wrong
 * with a tree one by one is tested beside the tree.
 */
import type { Group } from '#core/mls/group.ts'
import { makeGroupInfo } from '#core/mls/group.ts'
import { signGroupInfo } from '#core/mls/group-info.ts'
import { openPublicGroup } from '#core/mls/public-group.ts'
import { changedNodes, type RatchetTree, treeHash, treeOfNodes } from '#core/mls/ratchet-tree.ts'
import { encodeRatchetTree } from '#core/mls/tree-codec.ts'
import { nodeBytes, readNode, type TreeNode } from '#core/mls/tree-node.ts'
import { altered } from './spoilings.ts'
import { count, must, type World } from './world.ts'

/** Null where a node has nothing to be spoilt in this way. */
type Spoiling = (world: World, node: TreeNode) => TreeNode | null

const SPOILINGS: Readonly<Record<string, Spoiling>> = {
  'another parent hash': (world, node) => {
    if (node.kind !== 'parent' || node.parentNode.parentHash.length === 0) return null
    const parentHash = altered(world, node.parentNode.parentHash)
    return { ...node, bytes: null, parentNode: { ...node.parentNode, parentHash } }
  },
  'another key of a parent': (world, node) => {
    if (node.kind !== 'parent') return null
    const encryptionKey = altered(world, node.parentNode.encryptionKey)
    return { ...node, bytes: null, parentNode: { ...node.parentNode, encryptionKey } }
  },
  'an unmerged leaf fewer': (_, node) => {
    if (node.kind !== 'parent' || node.parentNode.unmergedLeaves.length === 0) return null
    const unmergedLeaves = node.parentNode.unmergedLeaves.slice(1)
    return { ...node, bytes: null, parentNode: { ...node.parentNode, unmergedLeaves } }
  },
  'an unmerged leaf twice': (_, node) => {
    if (node.kind !== 'parent' || node.parentNode.unmergedLeaves.length === 0) return null
    const { unmergedLeaves: given } = node.parentNode
    const unmergedLeaves = [...given, ...given.slice(-1)]
    return { ...node, bytes: null, parentNode: { ...node.parentNode, unmergedLeaves } }
  },
  'a leaf of another signature': (world, node) => {
    if (node.kind !== 'leaf') return null
    const signature = altered(world, node.leafNode.signature)
    return { ...node, bytes: null, leafNode: { ...node.leafNode, signature } }
  },
  'another encryption key of a leaf': (world, node) => {
    if (node.kind !== 'leaf') return null
    const encryptionKey = altered(world, node.leafNode.encryptionKey)
    return { ...node, bytes: null, leafNode: { ...node.leafNode, encryptionKey } }
  },
}

/** One spoilt tree, which the member signs as if it were the group's. */
export async function refuseSpoiltTree(world: World, group: Group): Promise<void> {
  const { tree, context } = group.public
  const [name, spoil] = world.prng.pick(Object.entries(SPOILINGS))
  const nodes = storedNodes(tree)
  const fitting = nodes.flatMap((each) => {
    const node = readNode(each.bytes)
    const spoilt = node && spoil(world, node)
    return spoilt === null ? [] : [{ each, spoilt }]
  })
  if (fitting.length === 0) return
  const { each: chosen, spoilt } = world.prng.pick(fitting)
  const spoiltNodes = nodes.map((each) =>
    each === chosen ? { ...each, bytes: nodeBytes(spoilt) } : each
  )
  const wrong = treeOfNodes(world.suite, tree.leafWidth, spoiltNodes)
  must(wrong !== null, 'a spoilt tree is a tree')
  const given = await makeGroupInfo(group, { ratchetTree: false, externalPub: false })
  const groupContext = { ...context, treeHash: treeHash(world.suite, wrong) }
  const signed = { ...given, groupContext }
  const groupInfo = await signGroupInfo(world.suite, signed, group.signatureSecret)
  const ratchetTree = encodeRatchetTree(wrong)
  const opened = await openPublicGroup(world.suite, { groupInfo, ratchetTree })
  must(opened.kind === 'refused', `a tree with ${name} is taken`)
  count(world, 'spoilt trees refused')
}

function storedNodes(tree: RatchetTree) {
  const nodes: { readonly node: number; readonly bytes: Uint8Array }[] = []
  for (const { node, bytes } of changedNodes(null, tree).nodes) {
    if (bytes !== null) nodes.push({ node, bytes })
  }
  return nodes
}
