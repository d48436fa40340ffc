/**
 * Ways in which a committer can spoil its own commit before it signs it: a path that is not what
 * the tree demands, a leaf that is not its own, a list of proposals that may not stand together.
 * Owns the table of them; signing and judging are `forgeries.ts`.
 */
import type { Commit, UpdatePath } from '#core/mls/commit.ts'
import type { CommitMade } from '#core/mls/commit-make.ts'
import { type LeafNode, signLeafNode } from '#core/mls/leaf-node.ts'
import type { Proposal } from '#core/mls/proposal.ts'
import type { PublicGroup } from '#core/mls/public-group.ts'
import { leafAt, members } from '#core/mls/ratchet-tree.ts'
import { newExternalPsk, type World } from './world.ts'

export interface Original {
  readonly world: World
  /** The group before the commit. */
  readonly before: PublicGroup
  readonly after: PublicGroup
  readonly commit: Commit
  readonly change: CommitMade['change']
  readonly signatureSecret: Uint8Array
}

/** Null where a commit has nothing to be spoilt in this way. */
type Spoiling = (original: Original) => Promise<Commit | null> | Commit | null

type PathNode = UpdatePath['nodes'][number]

/** With one bit turned; what has no bits gets a byte. */
export function altered(world: World, bytes: Uint8Array): Uint8Array {
  if (bytes.length === 0) return world.entropy.randomBytes(1)
  const copy = bytes.slice()
  const at = world.prng.integer(copy.length)
  copy[at] = (copy[at] as number) ^ (1 << world.prng.integer(8))
  return copy
}

function withNodes(
  { commit }: Original,
  spoil: (nodes: readonly PathNode[]) => readonly PathNode[],
): Commit | null {
  const { path } = commit
  if (path === null || path.nodes.length === 0) return null
  return { ...commit, path: { ...path, nodes: spoil(path.nodes) } }
}

/** One of the nodes that have ciphertexts. */
function withNode(original: Original, spoil: (node: PathNode) => PathNode): Commit | null {
  const full = original.commit.path?.nodes.filter((node) => node.encryptedPathSecret.length > 0)
  if (full === undefined || full.length === 0) return null
  const chosen = original.world.prng.pick(full)
  return withNodes(original, (nodes) => nodes.map((each) => each === chosen ? spoil(each) : each))
}

function withKey(original: Original, encryptionKey: Uint8Array): Commit | null {
  return withNodes(original, ([first, ...rest]) => {
    return first === undefined ? [] : [{ ...first, encryptionKey }, ...rest]
  })
}

/** A leaf that stands beside the committer's in the new epoch. */
function anotherLeaf({ world, after, change }: Original): LeafNode | null {
  const others = [...members(after.tree)].filter(({ leaf }) => leaf !== change.committer)
  return others.length === 0 ? null : world.prng.pick(others).leafNode
}

/** The leaf of the path with other content, signed anew at its place. */
async function withLeaf(
  { before, commit, change, signatureSecret }: Original,
  spoil: (leaf: LeafNode) => LeafNode,
): Promise<Commit | null> {
  const { path } = commit
  if (path === null) return null
  const place = { groupId: before.context.groupId, leaf: change.committer }
  const signing = { signatureSecret, place }
  const leafNode = await signLeafNode(before.suite, spoil(path.leafNode), signing)
  return { ...commit, path: { ...path, leafNode } }
}

function withProposals(
  { commit }: Original,
  ...proposals: readonly (Proposal | null)[]
): Commit | null {
  const more = proposals.filter((each) => each !== null)
    .map((proposal) => ({ kind: 'proposal', proposal } as const))
  if (more.length < proposals.length) return null
  return { ...commit, proposals: [...commit.proposals, ...more] }
}

function removalOf(leaf: number): Proposal {
  return { kind: 'remove', removed: leaf }
}

/** What only a member can judge, having the keys. */
export const HIDDEN: Readonly<Record<string, Spoiling>> = {
  'another ciphertext': (original) =>
    withNode(original, (node) => {
      const { world } = original
      const chosen = world.prng.pick(node.encryptedPathSecret)
      const encryptedPathSecret = node.encryptedPathSecret.map((each) =>
        each === chosen ? { ...each, ciphertext: altered(world, each.ciphertext) } : each
      )
      return { ...node, encryptedPathSecret }
    }),
  'another confirmation tag': ({ commit }) => commit,
}

/** What everybody can judge. */
export const OPEN: Readonly<Record<string, Spoiling>> = {
  'no path where one is due': ({ commit, change }) => {
    const kinds = change.proposals.map(({ proposal }) => proposal.kind)
    const needless: readonly string[] = ['add', 'psk', 'reInit']
    const due = kinds.length === 0 || kinds.some((kind) => !needless.includes(kind))
    return due && commit.path !== null ? { ...commit, path: null } : null
  },
  'a ciphertext missing': (original) =>
    withNode(original, (node) => {
      return { ...node, encryptedPathSecret: node.encryptedPathSecret.slice(1) }
    }),
  'a ciphertext too many': (original) =>
    withNode(original, (node) => {
      const { encryptedPathSecret: given } = node
      return { ...node, encryptedPathSecret: [...given, ...given.slice(0, 1)] }
    }),
  'a node missing': (original) => withNodes(original, (nodes) => nodes.slice(0, -1)),
  'a node too many': (original) => withNodes(original, (nodes) => [...nodes, ...nodes.slice(-1)]),
  'another key at a node': async (original) => {
    const { suite, entropy } = original.world
    const { publicKey } = await suite.deriveKeyPair(entropy.randomBytes(suite.hashLength))
    return withKey(original, publicKey)
  },
  "another member's key at a node": (original) => {
    const leaf = anotherLeaf(original)
    return leaf && withKey(original, leaf.encryptionKey)
  },
  'a key of no length at a node': (original) => withKey(original, new Uint8Array(0)),
  'another parent hash': (original) =>
    withLeaf(original, (leaf) => {
      const { source } = leaf
      if (source.kind !== 'commit') return leaf
      const parentHash = source.parentHash.length === 0
        ? Uint8Array.of(1)
        : altered(original.world, source.parentHash)
      return { ...leaf, source: { kind: 'commit', parentHash } }
    }),
  "another member's encryption key": (original) => {
    const other = anotherLeaf(original)
    if (other === null) return null
    return withLeaf(original, (leaf) => ({ ...leaf, encryptionKey: other.encryptionKey }))
  },
  'a leaf of another source': (original) =>
    withLeaf(original, (leaf) => ({ ...leaf, source: { kind: 'update' } })),
  'a leaf that does not support the suite': (original) =>
    withLeaf(original, (leaf) => {
      return { ...leaf, capabilities: { ...leaf.capabilities, cipherSuites: [7] } }
    }),
  'a leaf with another signature': ({ world, commit }) => {
    const { path } = commit
    if (path === null) return null
    const { leafNode } = path
    const signature = altered(world, leafNode.signature)
    return { ...commit, path: { ...path, leafNode: { ...leafNode, signature } } }
  },
  'a leaf that was not signed again': ({ commit }) => {
    const { path } = commit
    if (path === null) return null
    const { leafNode } = path
    const extensions = [...leafNode.extensions, { type: 1, body: new Uint8Array(1) }]
    return { ...commit, path: { ...path, leafNode: { ...leafNode, extensions } } }
  },
  'its committer removed': (original) =>
    withProposals(original, removalOf(original.change.committer)),
  'a member removed twice': (original) => {
    const [first] = original.change.removed
    return first === undefined ? null : withProposals(original, removalOf(first.leaf))
  },
  'nobody removed': (original) =>
    withProposals(original, removalOf(original.before.tree.leafWidth + 1)),
  'an update of its own': (original) => {
    const leafNode = leafAt(original.before.tree, original.change.committer)
    return leafNode && withProposals(original, { kind: 'update', leafNode })
  },
  'one more external init': (original) =>
    withProposals(original, { kind: 'externalInit', kemOutput: new Uint8Array(32) }),
  'a proposal that nobody made': ({ world, commit }) => {
    const reference = world.entropy.randomBytes(world.suite.hashLength)
    const proposals = [...commit.proposals, { kind: 'reference', reference } as const]
    return { ...commit, proposals }
  },
  'a proposal of an epoch before': ({ world, commit, before }) => {
    const old = world.earlierReferences
    const reference = old.length === 0 ? null : world.prng.pick(old)
    if (reference === null || before.context.epoch === world.firstEpoch) return null
    return { ...commit, proposals: [...commit.proposals, { kind: 'reference', reference }] }
  },
  'extensions twice': (original) => {
    const once: Proposal = { kind: 'groupContextExtensions', extensions: [] }
    return withProposals(original, once, once)
  },
  'a PSK twice': (original) => {
    const psk: Proposal = { kind: 'psk', psk: newExternalPsk(original.world) }
    return withProposals(original, psk, psk)
  },
  'a PSK of a short nonce': (original) => {
    const psk = { ...newExternalPsk(original.world), pskNonce: new Uint8Array(3) }
    return withProposals(original, { kind: 'psk', psk })
  },
  'a PSK for a successor': (original) => {
    const { groupId: pskGroupId, epoch: pskEpoch } = original.before.context
    const pskNonce = original.world.entropy.randomBytes(original.before.suite.hashLength)
    const id = { kind: 'resumption', usage: 'branch', pskGroupId, pskEpoch, pskNonce } as const
    return withProposals(original, { kind: 'psk', psk: id })
  },
  'a ReInit beside others': (original) => {
    const { groupId } = original.before.context
    const more = { version: 1, cipherSuite: original.before.suite.id, extensions: [] }
    return original.commit.proposals.length === 0
      ? null
      : withProposals(original, { kind: 'reInit', groupId, ...more })
  },
}
