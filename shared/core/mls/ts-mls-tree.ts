/**
 * The ratchet tree around ts-mls: its encoding, its hashes, membership changes, and the checks of a
 * tree that comes with a Welcome (RFC 9420 sections 7 and 12.4.3.1). Owns what the library gets
 * wrong or cannot do with large trees: it refuses valid trees with unmerged leaves, and its encoder
 * recurses once for each node. Trees are values: a change gives a new one.
 */
import { encodeNode, type Node, type RatchetTree } from 'ts-mls/ratchetTree.js'
import { addLeafNode, removeLeafNode, resolution } from 'ts-mls/ratchetTree.js'
import type { KeyPackage } from 'ts-mls/keyPackage.js'
import type { LeafNode } from 'ts-mls/leafNode.js'
import { encodeParentHashInput } from 'ts-mls/parentHash.js'
import type { ParentNode } from 'ts-mls/parentNode.js'
import { encodeTreeHashInput } from 'ts-mls/treeHash.js'
import {
  directPath,
  leafToNodeIndex,
  leafWidth,
  left,
  right,
  rootFromNodeWidth,
} from 'ts-mls/treemath.js'
import { toLeafIndex, toNodeIndex } from 'ts-mls/treemath.js'
import { concat, EMPTY, toHex } from '#core/base/bytes.ts'
import { type LeafIndex, leafIndex } from '#core/base/ids.ts'
import { LIMITS } from '#core/base/limits.ts'
import type { Crypto } from '#core/crypto/crypto.ts'
import type { Suite } from '#core/crypto/suites.ts'
import type { MlsLeaf } from '#core/mls/mls.ts'
import { demand, present } from '#core/mls/ts-mls-fault.ts'
import { leafView } from '#core/mls/ts-mls-messages.ts'
import { encode, opaque, VARINT_MAX } from '#core/wire/codec.ts'

const ABSENT = Uint8Array.of(0)
const PRESENT = Uint8Array.of(1)
const treeCodec = opaque(VARINT_MAX)

/** The ratchet_tree extension (RFC 9420 section 12.4.3.3), without blank nodes at its end. */
export function encodeTree(tree: RatchetTree): Uint8Array {
  let length = tree.length
  while (length > 0 && tree[length - 1] === undefined) length--
  const parts: Uint8Array[] = []
  for (let index = 0; index < length; index++) {
    const node = tree[index]
    if (node === undefined) parts.push(ABSENT)
    else parts.push(PRESENT, encodeNode(node))
  }
  return encode(treeCodec, concat(...parts))
}

/** The leaf at an index; null for a blank one and for one beyond the tree. */
export function leafAt(tree: RatchetTree, leaf: number): LeafNode | null {
  const node = tree[leaf * 2]
  return node?.nodeType === 'leaf' ? node.leaf : null
}

/** Every leaf that is not blank, from left to right. */
export function leavesOf(tree: RatchetTree): readonly MlsLeaf[] {
  const leaves: MlsLeaf[] = []
  for (let leaf = 0; leaf < leafWidth(tree.length); leaf++) {
    const node = leafAt(tree, leaf)
    if (node !== null) leaves.push({ leaf: leafIndex(leaf), ...leafView(node) })
  }
  return leaves
}

function parentAt(tree: RatchetTree, index: number): ParentNode | null {
  const node = tree[index]
  return node?.nodeType === 'parent' ? node.parent : null
}

// ---- Hashes -------------------------------------------------------------------------------

/** Hash of each node's subtree (RFC 9420 section 7.8), by node index. */
export function treeHashes(crypto: Crypto, suite: Suite, tree: RatchetTree): readonly Uint8Array[] {
  const hashes = new Array<Uint8Array>(tree.length)
  const fill = (index: number): Uint8Array => {
    const hash = hashNode(crypto, suite, { tree, index, child: fill, without: NOBODY })
    hashes[index] = hash
    return hash
  }
  fill(rootFromNodeWidth(tree.length))
  return hashes
}

/** Hash of the whole tree, as the GroupContext names it. */
export function treeHash(crypto: Crypto, suite: Suite, tree: RatchetTree): Uint8Array {
  return present(treeHashes(crypto, suite, tree)[rootFromNodeWidth(tree.length)])
}

const NOBODY: ReadonlySet<number> = new Set()

interface HashedNode {
  readonly tree: RatchetTree
  readonly index: number
  readonly child: (index: number) => Uint8Array
  /** Leaves that count as blank and as merged. */
  readonly without: ReadonlySet<number>
}

function hashNode(crypto: Crypto, suite: Suite, node: HashedNode): Uint8Array {
  const { tree, index, child, without } = node
  if (index % 2 === 0) {
    const leafIndex = index / 2
    const leafNode = without.has(leafIndex) ? undefined : leafAt(tree, leafIndex) ?? undefined
    return crypto.hash(suite.hash, encodeTreeHashInput({ nodeType: 'leaf', leafIndex, leafNode }))
  }
  const parent = parentAt(tree, index)
  const unmergedLeaves = parent?.unmergedLeaves.filter((leaf) => !without.has(leaf)) ?? []
  return crypto.hash(
    suite.hash,
    encodeTreeHashInput({
      nodeType: 'parent',
      parentNode: parent === null ? undefined : { ...parent, unmergedLeaves },
      leftHash: child(left(toNodeIndex(index))),
      rightHash: child(right(toNodeIndex(index))),
    }),
  )
}

// ---- Membership ---------------------------------------------------------------------------

export interface MembershipChange {
  readonly committer: LeafIndex
  readonly removes: readonly LeafIndex[]
  /** Valid KeyPackages. */
  readonly adds: readonly KeyPackage[]
}

export interface ChangedTree {
  readonly tree: RatchetTree
  readonly added: readonly { readonly leaf: LeafIndex; readonly keyPackage: KeyPackage }[]
  readonly removed: readonly MlsLeaf[]
}

/**
 * The tree after the proposals of a commit (RFC 9420 section 12.3): removes blank leaves, then each
 * add takes the leftmost blank one. Refuses what section 12.2 forbids.
 */
export function changeMembers(tree: RatchetTree, change: MembershipChange): ChangedTree {
  const { committer, removes, adds } = change
  demand(leafAt(tree, committer) !== null, 'invalid')
  demand(adds.length + removes.length <= LIMITS.membersPerCommitMax, 'invalid')
  demand(new Set(removes).size === removes.length, 'invalid')
  let changed = tree
  const removed: MlsLeaf[] = []
  for (const leaf of removes) {
    const node = leafAt(tree, leaf)
    demand(leaf !== committer && node !== null, 'invalid')
    removed.push({ leaf, ...leafView(node) })
    changed = removeLeafNode(changed, toLeafIndex(leaf))
  }
  const added: ChangedTree['added'][number][] = []
  const keys = treeKeys(changed)
  for (const keyPackage of adds) {
    demand(addLeafKeys(keys, keyPackage.leafNode), 'invalid')
    const [next, index] = addLeafNode(changed, keyPackage.leafNode)
    changed = next
    added.push({ leaf: leafIndex(index / 2), keyPackage })
  }
  demand(leafWidth(changed.length) <= LIMITS.membersMax, 'invalid')
  return { tree: changed, added, removed }
}

/** Public keys that must differ from one another (RFC 9420 sections 7.3 and 7.9.2). */
interface TreeKeys {
  readonly encryption: KeySet
  readonly signature: KeySet
}

/** Keys by their first bytes, compared whole where those agree. */
class KeySet {
  readonly #byPrefix = new Map<string, Uint8Array[]>()

  /** False when the key is there already. */
  add(key: Uint8Array): boolean {
    const prefix = toHex(key.subarray(0, 16))
    const alike = this.#byPrefix.get(prefix)
    if (alike === undefined) this.#byPrefix.set(prefix, [key])
    else if (alike.some((other) => toHex(other) === toHex(key))) return false
    else alike.push(key)
    return true
  }
}

function addLeafKeys(keys: TreeKeys, leaf: LeafNode): boolean {
  const { hpkePublicKey, signaturePublicKey } = leaf
  return keys.encryption.add(hpkePublicKey) && keys.signature.add(signaturePublicKey)
}

/** Every key of a tree; refuses one that is there twice. `except` leaves one leaf out. */
function treeKeys(tree: RatchetTree, except?: LeafIndex): TreeKeys {
  const keys: TreeKeys = { encryption: new KeySet(), signature: new KeySet() }
  tree.forEach((node, index) => {
    if (node === undefined || index / 2 === except) return
    demand(
      node.nodeType === 'leaf'
        ? addLeafKeys(keys, node.leaf)
        : keys.encryption.add(node.parent.hpkePublicKey),
      'invalid',
    )
  })
  return keys
}

/** Refuses keys of an update path that stand anywhere else in the new tree. */
export function demandNewKeys(
  tree: RatchetTree,
  path: { readonly committer: LeafIndex; readonly leaf: LeafNode; readonly nodes: Uint8Array[] },
): void {
  const blanked = new Set<number>(
    directPath(leafToNodeIndex(toLeafIndex(path.committer)), leafWidth(tree.length)),
  )
  const others = tree.map((node, index) => blanked.has(index) ? undefined : node)
  const keys = treeKeys(others, path.committer)
  demand(addLeafKeys(keys, path.leaf), 'invalid')
  for (const key of path.nodes) demand(keys.encryption.add(key), 'invalid')
}

// ---- Verification -------------------------------------------------------------------------

/**
 * Refuses a tree that breaks the rules of RFC 9420 sections 7.9.2 and 12.4.3.1: shape, keys,
 * unmerged leaves, parent hashes. Signatures of leaves are the caller's. `hashes` are those of this
 * tree.
 */
export function demandSoundTree(
  crypto: Crypto,
  suite: Suite,
  tree: RatchetTree,
  hashes: readonly Uint8Array[],
): void {
  demand(leafWidth(tree.length) <= LIMITS.membersMax, 'invalid')
  tree.forEach((node, index) => demand(isInPlace(node, index), 'invalid'))
  treeKeys(tree)
  for (const [index, node] of tree.entries()) {
    if (node?.nodeType === 'parent') demandUnmerged(tree, index, node.parent)
  }
  for (const [index, node] of tree.entries()) {
    if (node?.nodeType !== 'parent') continue
    const place: ParentPlace = { tree, index, parent: node.parent, hashes }
    demand(isParentHashValid(crypto, suite, place), 'invalid')
  }
}

function isInPlace(node: Node | undefined, index: number): boolean {
  return node === undefined || (node.nodeType === 'leaf') === (index % 2 === 0)
}

/** First and last leaf below a node (RFC 9420 appendix C). */
function leafRange(index: number): { readonly first: number; readonly last: number } {
  let level = 0
  while (((index >>> level) & 1) === 1) level++
  const half = 2 ** level - 1
  return { first: (index - half) / 2, last: (index + half) / 2 }
}

/**
 * Unmerged leaves ascend, are not blank, stand below the node, and every node between that is not
 * blank lists them too (RFC 9420 sections 7.1 and 7.9.2).
 */
function demandUnmerged(tree: RatchetTree, index: number, parent: ParentNode): void {
  const { first, last } = leafRange(index)
  let before = -1
  for (const leaf of parent.unmergedLeaves) {
    demand(leaf > before && leaf >= first && leaf <= last, 'invalid')
    demand(leafAt(tree, leaf) !== null, 'invalid')
    before = leaf
    for (const above of directPath(leafToNodeIndex(toLeafIndex(leaf)), leafWidth(tree.length))) {
      if (above === index) break
      const between = parentAt(tree, above)
      demand(between === null || between.unmergedLeaves.includes(leaf), 'invalid')
    }
  }
}

interface ParentPlace {
  readonly tree: RatchetTree
  readonly index: number
  readonly parent: ParentNode
  readonly hashes: readonly Uint8Array[]
}

/** True when one child's resolution holds the node that was set together with this parent. */
function isParentHashValid(crypto: Crypto, suite: Suite, place: ParentPlace): boolean {
  const children = [left(toNodeIndex(place.index)), right(toNodeIndex(place.index))] as const
  return children.some((child, side) => {
    const sibling = present(children[1 - side])
    const expected = toHex(parentHash(crypto, suite, place, sibling))
    return isLinked(place, child, expected)
  })
}

/** Hash of a parent with one of its children as copath (RFC 9420 section 7.9). */
function parentHash(
  crypto: Crypto,
  suite: Suite,
  place: ParentPlace,
  sibling: number,
): Uint8Array {
  const { tree, parent, hashes } = place
  const { first, last } = leafRange(sibling)
  const unmerged = parent.unmergedLeaves.filter((leaf) => leaf >= first && leaf <= last)
  const without = new Set(unmerged)
  const hashed = (index: number): Uint8Array =>
    hashNode(crypto, suite, { tree, index, child: hashed, without })
  return crypto.hash(
    suite.hash,
    encodeParentHashInput({
      encryptionKey: parent.hpkePublicKey,
      parentHash: parent.parentHash,
      originalSiblingTreeHash: unmerged.length === 0 ? present(hashes[sibling]) : hashed(sibling),
    }),
  )
}

/**
 * RFC 9420 section 7.9.2: a node of the child's resolution carries the parent's hash, and what else
 * the resolution holds is exactly what the parent has unmerged below that child.
 */
function isLinked(place: ParentPlace, child: number, expected: string): boolean {
  const { tree, parent } = place
  const { first, last } = leafRange(child)
  const unmerged = parent.unmergedLeaves.filter((leaf) => leaf >= first && leaf <= last)
  const members: readonly number[] = resolution(tree, toNodeIndex(child))
  return members.some((member) => {
    if (toHex(parentHashOf(tree[member])) !== expected) return false
    const others = members.filter((other) => other !== member)
    return others.length === unmerged.length &&
      unmerged.every((leaf) => others.includes(leaf * 2))
  })
}

function parentHashOf(node: Node | undefined): Uint8Array {
  if (node?.nodeType === 'parent') return node.parent.parentHash
  return node?.leaf.leafNodeSource === 'commit' ? node.leaf.parentHash : EMPTY
}
