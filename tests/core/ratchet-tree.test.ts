/**
 * Random lives of ratchet trees against the plain array of `naive-tree.ts`: each edit, path,
 * resolution, hash, index and stored change; that old trees stay as they were; and that a tree
 * which no member made is refused.
 */
import { deepStrictEqual, ok, strictEqual } from 'node:assert/strict'
import { EMPTY, toHex } from '#core/base/bytes.ts'
import { SUITES } from '#core/crypto/suites.ts'
import { cipherSuite } from '#core/mls/cipher-suite.ts'
import { type LeafNode, type LeafNodeSource, signLeafNode } from '#core/mls/leaf-node.ts'
import {
  addLeaf,
  changedNodes,
  directPath,
  encryptionKeyOwner,
  filteredDirectPath,
  leafAt,
  members,
  mergePath,
  parentAt,
  pathParentHashes,
  type RatchetTree,
  removeLeaf,
  replaceLeaf,
  resolution,
  signatureKeyOwner,
  subtreeHash,
  treeHash,
  treeOfNodes,
  treeOfOne,
} from '#core/mls/ratchet-tree.ts'
import { decodeRatchetTree, encodeRatchetTree } from '#core/mls/tree-codec.ts'
import { commonAncestor, copath } from '#core/mls/tree-math.ts'
import { type TreeNode, treeNode } from '#core/mls/tree-node.ts'
import { verifyTree } from '#core/mls/tree-validation.ts'
import { encode } from '#core/wire/codec.ts'
import {
  areParentsSound,
  halves,
  isParent,
  naiveAdd,
  naiveFilteredPath,
  naiveHash,
  naiveMerge,
  type NaiveNode,
  naiveParentHash,
  naiveRemove,
  naiveReplace,
  naiveResolution,
  type NaiveTree,
  spanOf,
  spansTo,
  top,
  whole,
} from './naive-tree.ts'
import { noble } from '../vectors/implementations.ts'
import { createPrng, type Prng } from './prng.ts'

const suite = cipherSuite(noble, SUITES.interoperation)
const groupId = Uint8Array.of(1, 2, 3)

const KEY_PACKAGE = { kind: 'keyPackage', lifetime: { notBefore: 0n, notAfter: 9n } } as const
const UPDATE = { kind: 'update' } as const

/** One group's life: the tree, the model, and the nodes that somebody stored one by one. */
interface Life {
  readonly prng: Prng
  readonly tree: RatchetTree
  readonly model: NaiveTree
  readonly stored: ReadonlyMap<number, Uint8Array>
}

function signedLeaf(prng: Prng, source: LeafNodeSource, leaf: number): Promise<LeafNode> {
  const { secretKey, publicKey } = suite.signatureKeyPair(prng.bytes(32))
  const types = Array.from({ length: prng.integer(3) }, () => prng.integer(65_536))
  return signLeafNode(suite, {
    encryptionKey: prng.bytes(32),
    signatureKey: publicKey,
    credential: { kind: 'basic', identity: prng.bytes(prng.integer(8)) },
    capabilities: {
      versions: [1],
      cipherSuites: [1],
      extensions: types,
      proposals: [],
      credentials: [1],
    },
    source,
    extensions: types.slice(0, 1).map((type) => ({ type, body: prng.bytes(3) })),
  }, { signatureSecret: secretKey, place: { groupId, leaf } })
}

function memberAt(life: Life): number {
  return life.prng.pick([...members(life.tree)]).leaf
}

function stored(before: Life | null, tree: RatchetTree): ReadonlyMap<number, Uint8Array> {
  const nodes = new Map(before?.stored)
  const changes = changedNodes(before?.tree ?? null, tree)
  strictEqual(new Set(changes.nodes.map(({ node }) => node)).size, changes.nodes.length)
  for (const { node, bytes } of changes.nodes) {
    if (bytes === null) ok(nodes.delete(node))
    else nodes.set(node, bytes)
  }
  return nodes
}

async function born(prng: Prng): Promise<Life> {
  const leafNode = await signedLeaf(prng, KEY_PACKAGE, 0)
  const tree = treeOfOne(suite, leafNode)
  return { prng, tree, model: [leafNode], stored: stored(null, tree) }
}

async function added(life: Life): Promise<Life> {
  const leafNode = await signedLeaf(life.prng, KEY_PACKAGE, 0)
  const expected = naiveAdd(life.model, leafNode)
  const { tree, leaf } = addLeaf(life.tree, leafNode)
  strictEqual(leaf, expected.leaf)
  return { ...life, tree, model: expected.tree, stored: stored(life, tree) }
}

async function updated(life: Life): Promise<Life> {
  const leaf = memberAt(life)
  const leafNode = await signedLeaf(life.prng, UPDATE, leaf)
  const tree = replaceLeaf(life.tree, leaf, leafNode)
  const model = naiveReplace(life.model, leaf, leafNode)
  return { ...life, tree, model, stored: stored(life, tree) }
}

function removed(life: Life): Life {
  if (life.tree.memberCount === 1) return life
  const leaf = memberAt(life)
  const tree = removeLeaf(life.tree, leaf)
  return { ...life, tree, model: naiveRemove(life.model, leaf), stored: stored(life, tree) }
}

async function committed(life: Life): Promise<Life> {
  const { prng, model } = life
  const leaf = memberAt(life)
  const path = filteredDirectPath(life.tree, leaf)
  const keys = path.map(({ node }) => ({ node, encryptionKey: prng.bytes(32) }))
  const made = pathParentHashes(suite, life.tree, leaf, keys)
  const leafNode = await signedLeaf(
    prng,
    { kind: 'commit', parentHash: made.leafParentHash },
    leaf,
  )
  const tree = mergePath(life.tree, { leaf, leafNode, nodes: made.nodes })

  let parentHash = EMPTY
  const nodes = new Map(
    path.toReversed().map(({ node, copath: beside }, index) => {
      const encryptionKey = keys.at(-1 - index)?.encryptionKey
      ok(encryptionKey !== undefined)
      const parent = { encryptionKey, parentHash, unmergedLeaves: [] }
      parentHash = naiveParentHash(suite, model, parent, spanOf(model, beside))
      return [node, parent]
    }),
  )
  strictEqual(toHex(made.leafParentHash), toHex(parentHash))
  const merged = naiveMerge(model, { leaf, leafNode, nodes })
  return { ...life, tree, model: merged, stored: stored(life, tree) }
}

/** More adds than removals while a tree is small, so that it doubles and is halved again. */
function stepped(life: Life, crowd: number): Promise<Life> | Life {
  const choice = life.prng.integer(10)
  if (choice < 2) return updated(life)
  if (choice < 6) return committed(life)
  return life.prng.integer(crowd * 2) < life.tree.memberCount ? removed(life) : added(life)
}

async function lived(seed: number, steps: number, see: (life: Life) => void): Promise<Life> {
  const prng = createPrng(seed)
  const crowd = 1 + prng.integer(14)
  let life = await born(prng)
  see(life)
  for (let step = 0; step < steps; step++) {
    life = await stepped(life, crowd)
    see(life)
  }
  return life
}

function nodeAt(tree: RatchetTree, at: number): NaiveNode {
  return at % 2 === 0 ? leafAt(tree, at / 2) : parentAt(tree, at)
}

/** The encoding of a model: its nodes up to the last that is not blank. */
function encodedModel(model: NaiveTree): string {
  const width = model.findLastIndex((node) => node !== null) + 1
  const body = model.slice(0, width).map((node) => {
    if (node === null) return '00'
    const value: TreeNode = isParent(node)
      ? { kind: 'parent', parentNode: node, bytes: null }
      : { kind: 'leaf', leafNode: node, bytes: null }
    return `01${toHex(encode(treeNode, value))}`
  }).join('')
  const length = body.length / 2
  const prefix = length < 0x40
    ? length.toString(16).padStart(2, '0')
    : length < 0x4000
    ? (length | 0x4000).toString(16)
    : (length | 0x80000000) >>> 0
  return `${typeof prefix === 'string' ? prefix : prefix.toString(16)}${body}`
}

function checkNodes({ tree, model }: Life): void {
  strictEqual(tree.leafWidth * 2 - 1, model.length)
  model.forEach((node, at) => deepStrictEqual(nodeAt(tree, at), node))
  for (const at of [-1, 0.25, NaN, model.length, 2 ** 40]) {
    strictEqual(leafAt(tree, at), null)
    strictEqual(parentAt(tree, at), null)
    deepStrictEqual(filteredDirectPath(tree, at), [])
    deepStrictEqual(resolution(tree, at), [])
  }
  const leaves = model.flatMap((leafNode, at) =>
    leafNode === null || isParent(leafNode) ? [] : [{ leaf: at / 2, leafNode }]
  )
  deepStrictEqual([...members(tree)], leaves)
  strictEqual(tree.memberCount, leaves.length)
}

function checkPaths({ tree, model }: Life): void {
  for (let at = 0; at < model.length; at++) {
    deepStrictEqual(resolution(tree, at), naiveResolution(model, spanOf(model, at)))
  }
  for (let leaf = 0; leaf < tree.leafWidth; leaf++) {
    const way = spansTo(model, 2 * leaf).map(top)
    deepStrictEqual(directPath(tree, leaf), way.slice(0, -1).reverse())
    deepStrictEqual(filteredDirectPath(tree, leaf), naiveFilteredPath(model, leaf))
    const beside = spansTo(model, 2 * leaf).slice(0, -1).map((span) => halves(span).map(top))
    const expected = beside.map((pair) => pair.find((node) => !way.includes(node))).reverse()
    deepStrictEqual(copath(2 * leaf, tree.leafWidth), expected)
    const other = spansTo(model, model.length - 1 - 2 * leaf).map(top)
    strictEqual(commonAncestor(2 * leaf, other.at(-1) ?? 0), way.findLast((n) => other.includes(n)))
  }
}

function checkHashes({ tree, model }: Life): void {
  strictEqual(toHex(treeHash(suite, tree)), toHex(naiveHash(suite, model, whole(model))))
  for (let at = 0; at < model.length; at++) {
    const expected = toHex(naiveHash(suite, model, spanOf(model, at)))
    strictEqual(toHex(subtreeHash(suite, tree, at)), expected)
  }
}

function checkIndexes(life: Life, gone: ReadonlySet<string>): void {
  const { tree, model } = life
  let [encryption, signature] = [0, 0]
  model.forEach((node, at) => {
    if (node === null) return
    encryption++
    strictEqual(encryptionKeyOwner(tree, node.encryptionKey), at)
    if (isParent(node)) return
    signature++
    strictEqual(signatureKeyOwner(tree, node.signatureKey), at / 2)
  })
  strictEqual(tree.encryptionKeys.size, encryption)
  strictEqual(tree.signatureKeys.size, signature)
  for (const key of gone) {
    const bytes = Uint8Array.from(key.match(/../g) ?? [], (pair) => parseInt(pair, 16))
    strictEqual(encryptionKeyOwner(tree, bytes), null)
    strictEqual(signatureKeyOwner(tree, bytes), null)
  }
}

function keysOf(model: NaiveTree): ReadonlySet<string> {
  return new Set(model.flatMap((node) => {
    if (node === null) return []
    const own = [toHex(node.encryptionKey)]
    return isParent(node) ? own : [...own, toHex(node.signatureKey)]
  }))
}

function checkEncoding({ tree, model }: Life): void {
  const bytes = encodeRatchetTree(tree)
  strictEqual(toHex(bytes), encodedModel(model))
  const decoded = decodeRatchetTree(suite, bytes)
  ok(decoded !== null)
  bytes.fill(0)
  strictEqual(toHex(encodeRatchetTree(decoded)), encodedModel(model))
  strictEqual(toHex(treeHash(suite, decoded)), toHex(treeHash(suite, tree)))
  deepStrictEqual(changedNodes(tree, decoded).nodes, [])
}

function checkStored({ tree, stored }: Life): void {
  const nodes = [...stored].map(([node, bytes]) => ({ node, bytes }))
  const restored = treeOfNodes(suite, tree.leafWidth, nodes)
  ok(restored !== null)
  strictEqual(toHex(encodeRatchetTree(restored)), toHex(encodeRatchetTree(tree)))
  deepStrictEqual(changedNodes(restored, tree).nodes, [])
}

const lives = Array.from({ length: 24 }, (_, index) => index + 1)

Deno.test('a ratchet tree is the array of RFC 9420 after every edit', async () => {
  let widest = 0
  for (const seed of lives) {
    let before: ReadonlySet<string> = new Set()
    await lived(seed, 40, (life) => {
      const keys = keysOf(life.model)
      checkNodes(life)
      checkPaths(life)
      checkIndexes(life, before.difference(keys))
      before = keys
      widest = Math.max(widest, life.tree.leafWidth)
    })
  }
  strictEqual(widest, 16)
})

Deno.test('hashes, encodings and stored nodes of a ratchet tree match the array', async () => {
  for (const seed of lives) {
    await lived(seed, 40, (life) => {
      checkHashes(life)
      checkEncoding(life)
      checkStored(life)
    })
  }
})

Deno.test('an edit leaves the tree that it was given as it was', async () => {
  for (const seed of lives.slice(0, 8)) {
    const seen: { readonly life: Life; readonly encoded: string; readonly hash: string }[] = []
    await lived(seed, 60, (life) => {
      const encoded = toHex(encodeRatchetTree(life.tree))
      seen.push({ life, encoded, hash: toHex(treeHash(suite, life.tree)) })
    })
    for (const { life, encoded, hash } of seen) {
      strictEqual(toHex(encodeRatchetTree(life.tree)), encoded)
      strictEqual(toHex(treeHash(suite, life.tree)), hash)
      checkNodes(life)
    }
  }
})

Deno.test('a tree that its members made is valid, also with proposals applied', async () => {
  for (const seed of lives) {
    const life = await lived(seed, 40, ({ model }) => ok(areParentsSound(suite, model)))
    strictEqual(await verifyTree(suite, life.tree, groupId), null)
  }
})

/** The tree of a model; null where the engine refuses it outright. */
function treeOfModel(model: NaiveTree): RatchetTree | null {
  const nodes = model.flatMap((node, at) => {
    if (node === null) return []
    const value: TreeNode = isParent(node)
      ? { kind: 'parent', parentNode: node, bytes: null }
      : { kind: 'leaf', leafNode: node, bytes: null }
    return [{ node: at, bytes: encode(treeNode, value) }]
  })
  return treeOfNodes(suite, (model.length + 1) / 2, nodes)
}

/** One parent with one change to its fields, or blank, or out of nothing. */
function tampered({ prng, model }: Life): NaiveTree {
  const at = prng.integer((model.length - 1) / 2) * 2 + 1
  const node = model[at] ?? null
  const leaf = prng.integer((model.length + 1) / 2)
  const change = (): NaiveNode => {
    if (!isParent(node)) {
      return { encryptionKey: prng.bytes(32), parentHash: EMPTY, unmergedLeaves: [] }
    }
    const { unmergedLeaves } = node
    const choice = prng.integer(5)
    if (choice === 0) return null
    if (choice === 1) return { ...node, encryptionKey: prng.bytes(32) }
    if (choice === 2) return { ...node, parentHash: prng.bytes(32) }
    if (choice === 3 && unmergedLeaves.length > 0) {
      return { ...node, unmergedLeaves: unmergedLeaves.slice(1) }
    }
    const others = unmergedLeaves.filter((other) => other !== leaf)
    return { ...node, unmergedLeaves: [...others, leaf].sort((a, b) => a - b) }
  }
  const changed = change()
  return model.map((other, index) => index === at ? changed : other)
}

Deno.test('a tampered tree is refused exactly where the RFC refuses it', async () => {
  const unsigned = { ...suite, verify: () => Promise.resolve(true) }
  const seen = new Map<string, number>()
  const count = (name: string) => seen.set(name, (seen.get(name) ?? 0) + 1)
  for (const seed of lives) {
    const kept: Life[] = []
    await lived(seed, 60, (life) => kept.push(life))
    for (const life of kept) {
      if (life.model.length === 1) continue
      const model = tampered(life)
      const tree = treeOfModel(model)
      const sound = areParentsSound(suite, model)
      const fault = tree === null ? 'malformed' : await verifyTree(unsigned, tree, groupId)
      strictEqual(fault === null, sound)
      count(fault ?? 'sound')
    }
  }
  for (const name of ['sound', 'badParentHash', 'badUnmergedLeaves', 'malformed']) {
    ok((seen.get(name) ?? 0) >= 10, name)
  }
})
