/**
 * The secrets of an UpdatePath (RFC 9420 sections 7.4 to 7.6): path secrets and key pairs along a
 * filtered direct path, encrypting them to the group, and reading one. Owns the cryptography; the
 * tree is edited by `ratchet-tree.ts`, and when a path is due is for `commit-make.ts` to know.
 */
import { assert } from '#core/base/assert.ts'
import { EMPTY, equalBytes, wipe } from '#core/base/bytes.ts'
import type { Entropy } from '#core/base/ports.ts'
import type { KeyPair } from '#core/crypto/crypto.ts'
import type { CipherSuite } from '#core/mls/cipher-suite.ts'
import type { UpdatePath, UpdatePathNode } from '#core/mls/commit.ts'
import {
  decryptWithLabel,
  deriveSecret,
  encryptWithLabel,
  type HpkeCiphertext,
} from '#core/mls/labelled.ts'
import { leafAt, parentAt, type RatchetTree, resolution } from '#core/mls/ratchet-tree.ts'
import { isLeaf, isWithin, leafToNode, nodeToLeaf } from '#core/mls/tree-math.ts'

/** A node of a filtered direct path with its child on the copath; both are node indices. */
interface PathPlace {
  readonly node: number
  readonly copath: number
}

export interface PathSecret {
  readonly node: number
  /** As long as the hash. */
  readonly pathSecret: Uint8Array
  readonly keyPair: KeyPair
}

/** All secrets are the caller's to wipe. */
export interface PathSecrets {
  /** From the leaf up. */
  readonly nodes: readonly PathSecret[]
  /** One derivation beyond the last node. */
  readonly commitSecret: Uint8Array
}

/**
 * Secrets of a filtered direct path, or of the upper end of one, from the path secret of its first
 * node (RFC 9420 section 7.4). That of an empty path is itself the commit secret. The caller wipes
 * `firstPathSecret`, which the result does not share.
 */
export async function makePathSecrets(
  suite: CipherSuite,
  path: readonly { readonly node: number }[],
  firstPathSecret: Uint8Array,
): Promise<PathSecrets> {
  let secret = firstPathSecret.slice()
  const making = path.map(({ node }) => {
    const pathSecret = secret
    secret = deriveSecret(suite, pathSecret, 'path') as Uint8Array<ArrayBuffer>
    return { node, pathSecret, nodeSecret: deriveSecret(suite, pathSecret, 'node') }
  })
  const nodes = await Promise.all(making.map(async ({ node, pathSecret, nodeSecret }) => {
    const keyPair = await suite.deriveKeyPair(nodeSecret)
    wipe(nodeSecret)
    return { node, pathSecret, keyPair }
  }))
  return { nodes, commitSecret: secret }
}

/** What stands where nothing can be encrypted: nobody opens it, and everybody can count it. */
const UNOPENABLE: HpkeCiphertext = { kemOutput: EMPTY, ciphertext: EMPTY }

/**
 * The nodes of an UpdatePath: each path secret, encrypted to the resolution of the copath, without
 * the leaves that this commit adds (RFC 9420 section 7.5). A member may bring a key of the right
 * length that is no key of the KEM; it shuts itself out with that, and stops nobody's commits.
 */
export async function encryptPath(
  suite: CipherSuite,
  tree: RatchetTree,
  sending: {
    /** The sender's whole filtered direct path, which `secrets` belong to. */
    readonly path: readonly PathPlace[]
    readonly secrets: PathSecrets
    /** Leaf indices. */
    readonly excluded: ReadonlySet<number>
    /** Encoded, of the epoch to come, with the tree hash after the path is merged. */
    readonly groupContext: Uint8Array
    readonly entropy: Entropy
  },
): Promise<readonly UpdatePathNode[]> {
  const { path, secrets, excluded, groupContext: context, entropy } = sending
  assert(path.length === secrets.nodes.length, 'each node of the path has its secret')
  return await Promise.all(path.map(async ({ copath }, index) => {
    const { pathSecret: plaintext, keyPair } = secrets.nodes[index] as PathSecret
    const sealed = await Promise.all(
      receivers(tree, copath, excluded).map((node) => {
        const publicKey = encryptionKeyAt(tree, node)
        const to = { publicKey, label: 'UpdatePathNode', context, plaintext } as const
        return encryptWithLabel(suite, to, entropy)
      }),
    )
    const encryptedPathSecret = sealed.map((each) => each ?? UNOPENABLE)
    return { encryptionKey: keyPair.publicKey, encryptedPathSecret }
  }))
}

export interface ReceivedPath {
  readonly kind: 'decrypted'
  /** The lowest node of the path above the receiver. */
  readonly node: number
  /** Of `node`; the first of `secrets`. */
  readonly pathSecret: Uint8Array
  /** From `node` up. Their public keys are those of the UpdatePath. */
  readonly secrets: PathSecrets
}

export type PathRefusal =
  /** Of nodes, or of ciphertexts at one of them. */
  | 'wrongCiphertextCount'
  | 'notDecryptable'
  /** A key pair that follows from the secrets is not that of the UpdatePath. */
  | 'wrongPathKey'
  /** Nothing was encrypted to a key that the receiver has. */
  | 'noKey'

/** Reads an UpdatePath of another member (RFC 9420 section 7.5). */
export async function decryptPath(
  suite: CipherSuite,
  tree: RatchetTree,
  receiving: {
    /** The sender's whole filtered direct path. */
    readonly path: readonly PathPlace[]
    readonly updatePath: UpdatePath
    /** Leaf index. */
    readonly receiver: number
    /** The receiver's own, by node index; that of its leaf is among them. */
    readonly privateKeys: ReadonlyMap<number, Uint8Array>
    /** Leaf indices of those whom the commit adds. */
    readonly excluded: ReadonlySet<number>
    /** Encoded, of the epoch to come, with the tree hash after the path is merged. */
    readonly groupContext: Uint8Array
  },
): Promise<ReceivedPath | { readonly kind: 'refused'; readonly code: PathRefusal }> {
  const { path, updatePath, receiver, privateKeys, excluded, groupContext } = receiving
  const targets = path.map(({ copath }) => receivers(tree, copath, excluded))
  if (!countsMatch(targets, updatePath.nodes)) return refused('wrongCiphertextCount')
  const ownLeaf = leafToNode(receiver)
  const place = path.findIndex(({ copath }) => isWithin(ownLeaf, copath))
  const own = targets[place]?.findIndex((node) => privateKeys.has(node))
  if (own === undefined || own < 0 || excluded.has(receiver)) return refused('noKey')
  const node = (targets[place] as readonly number[])[own] as number
  const ciphertext = updatePath.nodes[place]?.encryptedPathSecret[own] as HpkeCiphertext
  const pathSecret = await decryptWithLabel(suite, privateKeys.get(node) as Uint8Array, {
    ...ciphertext,
    label: 'UpdatePathNode',
    context: groupContext,
  })
  if (pathSecret === null) return refused('notDecryptable')
  if (pathSecret.length !== suite.hashLength) {
    wipe(pathSecret)
    return refused('notDecryptable')
  }
  const above = path.slice(place)
  const secrets = await makePathSecrets(suite, above, pathSecret)
  wipe(pathSecret)
  const [first] = secrets.nodes as readonly [PathSecret]
  const announced = updatePath.nodes.slice(place)
  if (secrets.nodes.every(({ keyPair }, index) => hasKey(announced[index], keyPair.publicKey))) {
    return { kind: 'decrypted', node: first.node, pathSecret: first.pathSecret, secrets }
  }
  wipe(secrets.commitSecret)
  for (const each of secrets.nodes) wipe(each.pathSecret, each.keyPair.secretKey)
  return refused('wrongPathKey')
}

function refused(code: PathRefusal) {
  return { kind: 'refused', code } as const
}

function hasKey(node: UpdatePathNode | undefined, publicKey: Uint8Array): boolean {
  return node !== undefined && equalBytes(node.encryptionKey, publicKey)
}

/** Node indices to which a path secret is encrypted, in the order of the ciphertexts. */
function receivers(
  tree: RatchetTree,
  copath: number,
  excluded: ReadonlySet<number>,
): readonly number[] {
  return resolution(tree, copath).filter((node) => !isLeaf(node) || !excluded.has(nodeToLeaf(node)))
}

function countsMatch(
  targets: readonly (readonly number[])[],
  nodes: readonly UpdatePathNode[],
): boolean {
  return targets.length === nodes.length &&
    targets.every((each, index) => each.length === nodes[index]?.encryptedPathSecret.length)
}

function encryptionKeyAt(tree: RatchetTree, node: number): Uint8Array {
  const found = isLeaf(node) ? leafAt(tree, nodeToLeaf(node)) : parentAt(tree, node)
  assert(found !== null, 'a resolution has no blank node')
  return found.encryptionKey
}
