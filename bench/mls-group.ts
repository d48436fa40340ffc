/**
 * Groups of any size for the benchmark of MLS, in one epoch, with the state of each member: cold
 * (one member has added everybody, all parents are blank) and warm (every parent has a key). Owns
 * how such a group comes about without as many commits; owns no measurement.
 *
 * The leaves of a warm tree commit from right to left, every second one: each path is merged as a
 * commit merges it, with its parent hashes and its signed leaf. A key that a later commit replaces
 * is not generated. So every key that stands in the tree in the end has its secret, each member
 * holds those above it, and the tree is one that a joiner verifies.
 */
import { assert } from '#core/base/assert.ts'
import { utf8Encode } from '#core/base/bytes.ts'
import type { Entropy } from '#core/base/ports.ts'
import type { KeyPair } from '#core/crypto/crypto.ts'
import type { CipherSuite } from '#core/mls/cipher-suite.ts'
import { enterEpoch, type Group } from '#core/mls/group.ts'
import { MLS_VERSION } from '#core/mls/key-package.ts'
import { signLeafNode } from '#core/mls/leaf-node.ts'
import { freshKeyPair, type LeafTemplate, makeKeyPackage, makeLeaf } from '#core/mls/own-leaf.ts'
import type { KeyPackageMade, OwnLeaf } from '#core/mls/own-leaf.ts'
import { type PublicGroup, publicGroupOf } from '#core/mls/public-group.ts'
import {
  addLeaf,
  directPath,
  filteredDirectPath,
  mergePath,
  parentAt,
  pathParentHashes,
  type RatchetTree,
  removeLeaf,
  treeHash,
  treeOfOne,
} from '#core/mls/ratchet-tree.ts'
import { secretTree } from '#core/mls/secret-tree.ts'
import { leafToNode, level } from '#core/mls/tree-math.ts'
import { clientName } from '../tests/interop/peer.ts'

export const TREES = ['cold', 'warm'] as const
export type TreeState = (typeof TREES)[number]

export const entropy: Entropy = {
  randomBytes(length) {
    const bytes = new Uint8Array(length)
    for (let at = 0; at < length; at += RANDOM_AT_ONCE) {
      crypto.getRandomValues(bytes.subarray(at, at + RANDOM_AT_ONCE))
    }
    return bytes
  },
}
const RANDOM_AT_ONCE = 65_536

/** A client, before it has a place in any group. */
export interface Person {
  readonly template: LeafTemplate
  readonly signatureSecret: Uint8Array
}

export function makePerson(suite: CipherSuite, device: number): Person {
  const seed = entropy.randomBytes(suite.signatureSeedLength)
  const { secretKey, publicKey } = suite.signatureKeyPair(seed)
  return {
    signatureSecret: secretKey,
    template: {
      credential: { kind: 'basic', identity: utf8Encode(clientName(device)) },
      signatureKey: publicKey,
      // One of the libraries beside ours wants both credential types of whom it meets.
      capabilities: {
        versions: [MLS_VERSION],
        cipherSuites: [suite.id],
        extensions: [],
        proposals: [],
        credentials: [1, 2],
      },
      extensions: [],
    },
  }
}

/** From an hour ago for a week. */
export function lifetime() {
  const nowS = BigInt(Math.floor(Date.now() / 1_000))
  return { notBefore: nowS - 3_600n, notAfter: nowS + 604_800n }
}

export function makePackage(suite: CipherSuite, person: Person): Promise<KeyPackageMade> {
  return makeKeyPackage(suite, { ...person, lifetime: lifetime(), entropy })
}

/** People and keys of one suite, made once for groups of every size. */
export interface Population {
  readonly suite: CipherSuite
  readonly people: readonly (Person & OwnLeaf)[]
  /** What parents get, by node index. */
  readonly parentKeys: Map<number, KeyPair>
}

const AT_ONCE = 64

export async function makePopulation(suite: CipherSuite, count: number): Promise<Population> {
  const people: (Person & OwnLeaf)[] = []
  while (people.length < count) {
    const batch = Array.from(
      { length: Math.min(AT_ONCE, count - people.length) },
      (_, index) => makePerson(suite, people.length + index),
    )
    const leaves = await Promise.all(
      batch.map((person) => makeLeaf(suite, { ...person, lifetime: lifetime(), entropy })),
    )
    batch.forEach((person, index) => people.push({ ...person, ...leaves[index] as OwnLeaf }))
  }
  return { suite, people, parentKeys: new Map() }
}

/** A group in one epoch. */
export interface BenchGroup {
  readonly public: PublicGroup
  /** The state of the member at a leaf; each call makes one of its own. */
  member(leaf: number): Group
}

export interface GroupShape {
  readonly members: number
  readonly tree: TreeState
  /** Leaves that are blank, for who comes next. */
  readonly vacant: readonly number[]
}

interface Grown {
  readonly tree: RatchetTree
  /** HPKE secret keys of leaves, by leaf index. */
  readonly leafSecrets: readonly Uint8Array[]
}

export async function makeGroup(population: Population, shape: GroupShape): Promise<BenchGroup> {
  const { suite, people, parentKeys } = population
  const cold = coldTree(population, shape.members)
  const grown = shape.tree === 'cold' ? cold : await warmTree(population, cold)
  const tree = shape.vacant.reduce(removeLeaf, grown.tree)
  const context = {
    version: MLS_VERSION,
    cipherSuite: suite.id,
    groupId: GROUP_ID,
    epoch: BigInt(shape.members),
    treeHash: treeHash(suite, tree),
    confirmedTranscriptHash: entropy.randomBytes(suite.hashLength),
    extensions: [],
  }
  const joinerSecret = entropy.randomBytes(suite.hashLength)
  const enter = () => enterEpoch(suite, { joinerSecret, psks: [], context })
  const group = publicGroupOf(suite, { context, tree, confirmationTag: enter().confirmationTag })
  return {
    public: group,
    member(leaf) {
      const { secrets } = enter()
      const held = directPath(tree, leaf).filter((node) => parentAt(tree, node) !== null)
      const keys = held.map((node) => [node, secretAt(parentKeys, node)] as const)
      return {
        public: group,
        ownLeaf: leaf,
        signatureSecret: (people[leaf] as Person).signatureSecret,
        privateKeys: new Map([
          [leafToNode(leaf), grown.leafSecrets[leaf] as Uint8Array],
          ...keys,
        ]),
        secrets,
        secretTree: secretTree(secrets.encryptionSecret, tree.leafWidth),
        resumptions: [],
        pendingUpdates: new Map(),
      }
    },
  }
}

const GROUP_ID = entropy.randomBytes(36)

function secretAt(keys: ReadonlyMap<number, KeyPair>, node: number): Uint8Array {
  const pair = keys.get(node)
  assert(pair !== undefined, 'a parent has its key pair')
  return pair.secretKey
}

function coldTree({ suite, people }: Population, members: number): Grown {
  const [first, ...others] = people.slice(0, members)
  assert(first !== undefined, 'a group has a member')
  const tree = others.reduce(
    (grown, { leafNode }) => addLeaf(grown, leafNode).tree,
    treeOfOne(suite, first.leafNode),
  )
  return { tree, leafSecrets: people.map(({ encryptionSecret }) => encryptionSecret) }
}

async function warmTree(population: Population, cold: Grown): Promise<Grown> {
  const { suite, people } = population
  const { memberCount } = cold.tree
  const leafSecrets = [...cold.leafSecrets]
  await makeParentKeys(population, cold.tree)
  let { tree } = cold
  for (let leaf = (memberCount - 1) & ~1; leaf >= 0; leaf -= 2) {
    const { template, signatureSecret } = people[leaf] as Person
    const pair = await freshKeyPair(suite, entropy)
    const keys = filteredDirectPath(tree, leaf).map(({ node }) => ({
      node,
      encryptionKey: staysOf(leaf, node)
        ? (population.parentKeys.get(node) as KeyPair).publicKey
        : passingKey(suite, node),
    }))
    const { nodes, leafParentHash } = pathParentHashes(suite, tree, leaf, keys)
    const leafNode = await signLeafNode(suite, {
      ...template,
      encryptionKey: pair.publicKey,
      source: { kind: 'commit', parentHash: leafParentHash },
    }, { signatureSecret, place: { groupId: GROUP_ID, leaf } })
    tree = mergePath(tree, { leaf, leafNode, nodes })
    leafSecrets[leaf] = pair.secretKey
  }
  return { tree, leafSecrets }
}

/** Whether no leaf further to the left, which commits later, is below a node. */
function staysOf(leaf: number, node: number): boolean {
  const height = level(node)
  return leafToNode(leaf) === node - (1 << height) + 1
}

/** Stands at a node until a later commit of the same tree replaces it. */
function passingKey(suite: CipherSuite, node: number): Uint8Array {
  const key = new Uint8Array(suite.kemPublicKeyLength)
  new DataView(key.buffer).setUint32(0, node)
  return key
}

async function makeParentKeys({ suite, parentKeys }: Population, tree: RatchetTree): Promise<void> {
  const missing: number[] = []
  // A parent over no member on its right is in no filtered path.
  for (let node = 1; node < tree.memberCount * 2 - 2; node += 2) {
    if (!parentKeys.has(node)) missing.push(node)
  }
  for (let start = 0; start < missing.length; start += AT_ONCE) {
    const nodes = missing.slice(start, start + AT_ONCE)
    const pairs = await Promise.all(nodes.map(() => freshKeyPair(suite, entropy)))
    nodes.forEach((node, index) => parentKeys.set(node, pairs[index] as KeyPair))
  }
}
