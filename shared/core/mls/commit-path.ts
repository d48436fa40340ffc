/**
 * The path of a commit that one makes (RFC 9420 sections 7.4, 7.5 and 12.4.1): fresh secrets from
 * the leaf to the root, parent hashes, the signed leaf, and the secrets encrypted to all others.
 */
import { wipe } from '#core/base/bytes.ts'
import type { Entropy } from '#core/base/ports.ts'
import type { UpdatePath } from '#core/mls/commit.ts'
import type { Extension } from '#core/mls/extension.ts'
import { encodeGroupContext, type GroupContext } from '#core/mls/group-context.ts'
import { type LeafNode, type LeafNodeContent, signLeafNode } from '#core/mls/leaf-node.ts'
import { freshKeyPair, type LeafTemplate } from '#core/mls/own-leaf.ts'
import type { AppliedProposals, Committer } from '#core/mls/proposal-list.ts'
import type { PublicGroup } from '#core/mls/public-group.ts'
import { filteredDirectPath, mergePath, pathParentHashes } from '#core/mls/ratchet-tree.ts'
import type { RatchetTree } from '#core/mls/ratchet-tree.ts'
import { committerPlace, leavesOf, nextContext } from '#core/mls/staged-commit.ts'
import { leafToNode } from '#core/mls/tree-math.ts'
import { encryptPath, makePathSecrets, type PathSecrets } from '#core/mls/update-path.ts'

export interface PathMaking {
  readonly applied: AppliedProposals
  readonly committer: Committer
  readonly template: LeafTemplate
  /** Extensions that depend on the new leaf key; those of the template where there are none. */
  readonly extensionsFor?: (encryptionKey: Uint8Array) => Promise<readonly Extension[]>
  readonly signatureSecret: Uint8Array
  readonly entropy: Entropy
}

export interface MadePath {
  readonly updatePath: UpdatePath
  readonly leaf: number
  readonly tree: RatchetTree
  /** The next epoch's context, still with the transcript of this one. */
  readonly context: GroupContext
  /** The caller wipes the path secrets and the commit secret. */
  readonly secrets: PathSecrets
  /** By node index: the leaf's and those of the path. */
  readonly privateKeys: readonly (readonly [number, Uint8Array])[]
}

export async function makePath(
  group: PublicGroup,
  making: PathMaking,
): Promise<MadePath> {
  const { suite } = group
  const { applied, committer, entropy } = making
  const pair = await freshKeyPair(suite, entropy)
  const content = await leafContent(making, pair.publicKey)
  const { tree, leaf } = committerPlace(applied, committer, unsigned(content))
  const path = filteredDirectPath(tree, leaf)
  const first = entropy.randomBytes(suite.hashLength)
  const secrets = await makePathSecrets(suite, path, first)
  wipe(first)
  const keys = secrets.nodes.map(({ node, keyPair }) => ({
    node,
    encryptionKey: keyPair.publicKey,
  }))
  const { nodes, leafParentHash } = pathParentHashes(suite, tree, leaf, keys)
  const leafNode = await signLeafNode(
    suite,
    { ...content, source: { kind: 'commit', parentHash: leafParentHash } },
    { signatureSecret: making.signatureSecret, place: { groupId: group.context.groupId, leaf } },
  )
  const merged = mergePath(tree, { leaf, leafNode, nodes })
  const context = nextContext(group, merged, applied.extensions)
  const encrypted = await encryptPath(suite, tree, {
    path,
    secrets,
    excluded: leavesOf(applied.added),
    groupContext: encodeGroupContext(context),
    entropy,
  })
  return {
    updatePath: { leafNode, nodes: encrypted },
    leaf,
    tree: merged,
    context,
    secrets,
    privateKeys: [
      [leafToNode(leaf), pair.secretKey],
      ...secrets.nodes.map(({ node, keyPair }) => [node, keyPair.secretKey] as const),
    ],
  }
}

async function leafContent(
  { template, extensionsFor }: PathMaking,
  encryptionKey: Uint8Array,
): Promise<LeafNodeContent> {
  const extensions = await extensionsFor?.(encryptionKey) ?? template.extensions
  return { ...template, encryptionKey, extensions, source: { kind: 'update' } }
}

/** Holds a place in the tree until the parent hash that the leaf signs is known. */
function unsigned(content: LeafNodeContent): LeafNode {
  return { ...content, signature: new Uint8Array(0) }
}

/** What of a path is wiped once the commit is made: secret keys go on in the state. */
export function wipePath({ nodes, commitSecret }: PathSecrets): void {
  for (const { pathSecret } of nodes) wipe(pathSecret)
  wipe(commitSecret)
}
