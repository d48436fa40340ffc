/**
 * Update paths (RFC 9420 sections 7.4 to 7.6) against published vectors: every member reads what
 * was published, and what the product makes in its place. What was tampered with is refused.
 */
import { deepStrictEqual, ok, strictEqual } from 'node:assert/strict'
import { toHex } from '#core/base/bytes.ts'
import type { CipherSuite } from '#core/mls/cipher-suite.ts'
import { type UpdatePath, updatePath, type UpdatePathNode } from '#core/mls/commit.ts'
import { encodeGroupContext } from '#core/mls/group-context.ts'
import { MLS_VERSION } from '#core/mls/key-package.ts'
import { verifyLeafNode } from '#core/mls/leaf-node.ts'
import {
  addLeaf,
  filteredDirectPath,
  mergePath,
  parentAt,
  pathParentHashes,
  type RatchetTree,
  treeHash,
} from '#core/mls/ratchet-tree.ts'
import { decodeRatchetTree } from '#core/mls/tree-codec.ts'
import { decryptPath, encryptPath, makePathSecrets } from '#core/mls/update-path.ts'
import { decode, encode } from '#core/wire/codec.ts'
import { createPrng } from '../core/prng.ts'
import { familyTest } from './families.ts'
import { hex } from './published.ts'

interface PublishedPath {
  readonly sender: number
  readonly update_path: string
  /** By leaf; null for the sender and for blank leaves. */
  readonly path_secrets: readonly (string | null)[]
  readonly commit_secret: string
  readonly tree_hash_after: string
}
interface TreeKem {
  readonly cipher_suite: number
  readonly group_id: string
  readonly epoch: number
  readonly confirmed_transcript_hash: string
  readonly ratchet_tree: string
  readonly leaves_private: readonly {
    readonly index: number
    readonly encryption_priv: string
    readonly path_secrets: readonly { readonly node: number; readonly path_secret: string }[]
  }[]
  readonly update_paths: readonly PublishedPath[]
}

/** What stands before one commit. */
interface Case {
  readonly suite: CipherSuite
  readonly tree: RatchetTree
  readonly sender: number
  readonly groupContext: Uint8Array
  /** Private keys by node index, of each member by leaf index. */
  readonly keys: ReadonlyMap<number, ReadonlyMap<number, Uint8Array>>
}

const NOBODY: ReadonlySet<number> = new Set()
/** X25519 and P-256. */
const FAST_SUITES_MAX = 3

familyTest<TreeKem>('treekem', 'treekem*.json', async (vector, suite) => {
  const tree = decodeRatchetTree(suite, hex(vector.ratchet_tree))
  ok(tree !== null)
  const keys = await privateKeys(suite, tree, vector)
  ok(vector.update_paths.length > 0)
  for (const published of vector.update_paths) {
    const { sender } = published
    const groupContext = contextOf(vector, published)
    const before: Case = { suite, tree, sender, groupContext, keys }
    const read = decode(updatePath, hex(published.update_path))
    if (read.kind === 'malformed') throw new Error(`a path is ${read.code}`)
    strictEqual(toHex(encode(updatePath, read.value)), published.update_path)
    await checkMerged(before, read.value, { vector, published })
    await checkPublished(before, read.value, published)
    // Our own paths on the fast suites: the large curves take most of a minute and show no more.
    if (published !== vector.update_paths[0] || suite.id > FAST_SUITES_MAX) continue
    await checkTampered(before, read.value)
    await checkOwn(before, read.value)
  }
})

/** Checks the private state of the vector against its tree on the way. */
async function privateKeys(
  suite: CipherSuite,
  tree: RatchetTree,
  vector: TreeKem,
): Promise<Case['keys']> {
  const keys = new Map<number, ReadonlyMap<number, Uint8Array>>()
  for (const { index, encryption_priv, path_secrets } of vector.leaves_private) {
    const own = new Map([[index * 2, hex(encryption_priv)]])
    for (const { node, path_secret } of path_secrets) {
      const { nodes: [made] } = await makePathSecrets(suite, [{ node }], hex(path_secret))
      ok(made !== undefined)
      deepStrictEqual(made.keyPair.publicKey, parentAt(tree, node)?.encryptionKey.slice())
      own.set(node, made.keyPair.secretKey)
    }
    keys.set(index, own)
  }
  return keys
}

function contextOf(vector: TreeKem, published: PublishedPath): Uint8Array {
  return encodeGroupContext({
    version: MLS_VERSION,
    cipherSuite: vector.cipher_suite,
    groupId: hex(vector.group_id),
    epoch: BigInt(vector.epoch),
    treeHash: hex(published.tree_hash_after),
    confirmedTranscriptHash: hex(vector.confirmed_transcript_hash),
    extensions: [],
  })
}

/** The tree after the path is that of the vector, and the leaf is bound to it. */
async function checkMerged(
  { suite, tree, sender }: Case,
  path: UpdatePath,
  { vector, published }: { readonly vector: TreeKem; readonly published: PublishedPath },
): Promise<void> {
  const { leafNode } = path
  const keys = filteredDirectPath(tree, sender).map(({ node }, index) => {
    const { encryptionKey } = path.nodes[index] as UpdatePathNode
    return { node, encryptionKey }
  })
  strictEqual(keys.length, path.nodes.length)
  const { nodes, leafParentHash } = pathParentHashes(suite, tree, sender, keys)
  deepStrictEqual(leafNode.source, { kind: 'commit', parentHash: leafParentHash })
  const place = { groupId: hex(vector.group_id), leaf: sender }
  strictEqual(await verifyLeafNode(suite, leafNode, place), true)
  const merged = mergePath(tree, { leaf: sender, leafNode, nodes })
  strictEqual(toHex(treeHash(suite, merged)), published.tree_hash_after)
}

interface Reading {
  readonly receiver: number
  readonly path: UpdatePath
  readonly excluded?: ReadonlySet<number>
  readonly groupContext?: Uint8Array
}

function reading(before: Case, { receiver, path, excluded, groupContext }: Reading) {
  const { suite, tree, sender, keys } = before
  return decryptPath(suite, tree, {
    path: filteredDirectPath(tree, sender),
    updatePath: path,
    receiver,
    privateKeys: keys.get(receiver) as ReadonlyMap<number, Uint8Array>,
    excluded: excluded ?? NOBODY,
    groupContext: groupContext ?? before.groupContext,
  })
}

async function decrypted(before: Case, toRead: Reading) {
  const read = await reading(before, toRead)
  if (read.kind === 'refused') throw new Error(`a path is refused: ${read.code}`)
  return read
}

function receiversOf({ keys, sender }: Case): readonly number[] {
  return [...keys.keys()].filter((leaf) => leaf !== sender)
}

async function checkPublished(before: Case, path: UpdatePath, published: PublishedPath) {
  for (const receiver of receiversOf(before)) {
    const { node, pathSecret, secrets } = await decrypted(before, { receiver, path })
    strictEqual(toHex(pathSecret), published.path_secrets[receiver])
    strictEqual(toHex(secrets.commitSecret), published.commit_secret)
    strictEqual(secrets.nodes[0]?.node, node)
    const nodes = filteredDirectPath(before.tree, before.sender).map((each) => each.node)
    deepStrictEqual(secrets.nodes.map((each) => each.node), nodes.slice(nodes.indexOf(node)))
  }
  deepStrictEqual(await reading(before, { receiver: before.sender, path }), {
    kind: 'refused',
    code: 'noKey',
  })
}

async function checkTampered(before: Case, path: UpdatePath): Promise<void> {
  const [receiver] = receiversOf(before)
  ok(receiver !== undefined)
  const codeOf = async (toRead: Omit<Reading, 'receiver'>) => {
    const read = await reading(before, { receiver, ...toRead })
    return read.kind === 'refused' ? read.code : read.kind
  }
  const edited = (edit: (node: UpdatePathNode) => UpdatePathNode) => ({
    ...path,
    nodes: path.nodes.map(edit),
  })
  const cut = edited((node) => ({
    ...node,
    encryptedPathSecret: node.encryptedPathSecret.slice(1),
  }))
  strictEqual(await codeOf({ path: cut }), 'wrongCiphertextCount')
  const longer = edited((node) => ({
    ...node,
    encryptedPathSecret: [...node.encryptedPathSecret, ...node.encryptedPathSecret],
  }))
  strictEqual(await codeOf({ path: longer }), 'wrongCiphertextCount')
  const shorter = { ...path, nodes: path.nodes.slice(1) }
  strictEqual(await codeOf({ path: shorter }), 'wrongCiphertextCount')
  const otherKeys = edited((node) => ({
    ...node,
    encryptionKey: path.leafNode.encryptionKey,
  }))
  strictEqual(await codeOf({ path: otherKeys }), 'wrongPathKey')
  await checkWiped(before, otherKeys)
  const groupContext = before.groupContext.slice(1)
  strictEqual(await codeOf({ path, groupContext }), 'notDecryptable')
  const malformed = edited((node) => ({
    ...node,
    encryptedPathSecret: node.encryptedPathSecret.map(({ kemOutput, ciphertext }) => ({
      kemOutput: kemOutput.subarray(1),
      ciphertext,
    })),
  }))
  strictEqual(await codeOf({ path: malformed }), 'notDecryptable')
}

/** Key pairs that do not fit are wiped, and so is whatever leads to them. */
async function checkWiped(before: Case, path: UpdatePath): Promise<void> {
  const [receiver] = receiversOf(before)
  const secrets: Uint8Array[] = []
  const suite: CipherSuite = {
    ...before.suite,
    expand(prk, info, length) {
      const secret = before.suite.expand(prk, info, length)
      secrets.push(secret)
      return secret
    },
    async deriveKeyPair(ikm) {
      const keyPair = await before.suite.deriveKeyPair(ikm)
      secrets.push(keyPair.secretKey)
      return keyPair
    },
    async hpkeOpen(receiving, ciphertext) {
      const plaintext = await before.suite.hpkeOpen(receiving, ciphertext)
      if (plaintext !== null) secrets.push(plaintext)
      return plaintext
    },
  }
  const read = await reading({ ...before, suite }, { receiver: receiver as number, path })
  deepStrictEqual(read, { kind: 'refused', code: 'wrongPathKey' })
  ok(secrets.length >= 4)
  ok(secrets.every((secret) => secret.every((byte) => byte === 0)))
}

/** A path of our own, for a tree with a newcomer who is left out, or not. */
async function checkOwn(before: Case, { leafNode }: UpdatePath): Promise<void> {
  const { suite, sender } = before
  const prng = createPrng(sender + 1)
  const newcomerKey = await suite.deriveKeyPair(prng.bytes(suite.hashLength))
  const { tree, leaf: newcomer } = addLeaf(before.tree, {
    ...leafNode,
    encryptionKey: newcomerKey.publicKey,
  })
  const newcomerKeys = new Map([[newcomer * 2, newcomerKey.secretKey]])
  const keys = new Map([...before.keys, [newcomer, newcomerKeys]])
  const after: Case = { ...before, tree, keys }
  const path = filteredDirectPath(tree, sender)
  const first = prng.bytes(suite.hashLength)
  const secrets = await makePathSecrets(suite, path, first)
  deepStrictEqual(secrets.nodes[0]?.pathSecret, first)
  const sending = {
    path,
    secrets,
    groupContext: before.groupContext,
    entropy: { randomBytes: (length: number) => prng.bytes(length) },
  }
  const added = new Set([newcomer])
  for (const excluded of [added, NOBODY]) {
    const nodes = await encryptPath(suite, tree, { ...sending, excluded })
    const made = { leafNode, nodes }
    for (const receiver of receiversOf(after)) {
      const toRead = { receiver, path: made, excluded }
      if (excluded.has(receiver)) {
        // Not even with the keys of everybody else.
        const all = new Map([...keys.values()].flatMap((each) => [...each]))
        const knowing = { ...after, keys: new Map([[receiver, all]]) }
        deepStrictEqual(await reading(knowing, toRead), { kind: 'refused', code: 'noKey' })
        deepStrictEqual(await reading(after, toRead), { kind: 'refused', code: 'noKey' })
        continue
      }
      const read = await decrypted(after, toRead)
      deepStrictEqual(read.secrets.commitSecret, secrets.commitSecret)
      deepStrictEqual(read.secrets.nodes, secrets.nodes.slice(-read.secrets.nodes.length))
    }
    const others = excluded === added ? NOBODY : added
    deepStrictEqual(await reading(after, { receiver: newcomer, path: made, excluded: others }), {
      kind: 'refused',
      code: 'wrongCiphertextCount',
    })
  }
  // A path secret is as long as the hash.
  const nodes = secrets.nodes.map((node) => ({ ...node, pathSecret: node.pathSecret.subarray(1) }))
  const short = await encryptPath(suite, tree, {
    ...sending,
    secrets: { ...secrets, nodes },
    excluded: NOBODY,
  })
  deepStrictEqual(await reading(after, { receiver: newcomer, path: { leafNode, nodes: short } }), {
    kind: 'refused',
    code: 'notDecryptable',
  })
  const encryptionKey = newcomerKey.publicKey.subarray(1)
  const unreachable = addLeaf(before.tree, { ...leafNode, encryptionKey }).tree
  // A key that is none shuts out who has it, and nobody else.
  const barred = { ...after, tree: unreachable }
  const reached = {
    leafNode,
    nodes: await encryptPath(suite, unreachable, { ...sending, excluded: NOBODY }),
  }
  for (const receiver of receiversOf(barred)) {
    const read = await reading(barred, { receiver, path: reached })
    const expected = receiver === newcomer ? 'notDecryptable' : 'decrypted'
    strictEqual(read.kind === 'refused' ? read.code : read.kind, expected)
  }
}
