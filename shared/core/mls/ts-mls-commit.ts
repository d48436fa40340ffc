/**
 * Commits: making one and following one (RFC 9420 sections 12.4.1 and 12.4.2), out of the library's
 * tree, framing and key schedule. Owns the sequence and every check of it. The library's own
 * sequence is not used, since it leaves the path out of a commit that only adds, derives a commit
 * secret that anybody knows when nobody else is left, and does not compare the keys of a path with
 * the secrets in it.
 *
 * Every commit has a path and carries Adds and Removes by value (ROOM-4). Whether it is valid
 * depends on the state and its bytes alone, never on a clock.
 */
import { createContentCommitSignature, type FramedContentCommit } from 'ts-mls/framedContent.js'
import { applyUpdatePath, createUpdatePath, type UpdatePath } from 'ts-mls/updatePath.js'
import { decryptWithLabel } from 'ts-mls/crypto/hpke.js'
import { deriveSecret } from 'ts-mls/crypto/kdf.js'
import { encodeMlsMessage } from 'ts-mls/message.js'
import { encodeGroupContext, type GroupContext } from 'ts-mls/groupContext.js'
import { encryptGroupInfo, encryptGroupSecrets } from 'ts-mls/welcome.js'
import { filteredDirectPathAndCopathResolution, type RatchetTree } from 'ts-mls/ratchetTree.js'
import { makeKeyPackageRef } from 'ts-mls/keyPackage.js'
import { protectPublicMessage, unprotectPublicMessage } from 'ts-mls/messageProtectionPublic.js'
import { signGroupInfo } from 'ts-mls/groupInfo.js'
import { verifyLeafNodeSignature } from 'ts-mls/leafNode.js'
import { directPath, isAncestor, leafToNodeIndex, leafWidth, toLeafIndex } from 'ts-mls/treemath.js'
import { toNodeIndex } from 'ts-mls/treemath.js'
import type { CiphersuiteImpl } from 'ts-mls'
import type { ProposalOrRef } from 'ts-mls/proposalOrRefType.js'
import { equalBytes, wipe } from '#core/base/bytes.ts'
import type { LeafIndex, TimeMs } from '#core/base/ids.ts'
import { LIMITS } from '#core/base/limits.ts'
import type { Entropy } from '#core/base/ports.ts'
import type { Crypto } from '#core/crypto/crypto.ts'
import { AEAD_TAG_LENGTH, KEM_LENGTHS, type Suite } from '#core/crypto/suites.ts'
import type { CommitMade, CommitProcessed } from '#core/mls/mls.ts'
import { demand, demanded, present } from '#core/mls/ts-mls-fault.ts'
import { decodeCommit, decodeKeyPackage, demandKeyPackage } from '#core/mls/ts-mls-messages.ts'
import { demandLeaf, isCurrent, leafView, type MemberCommit } from '#core/mls/ts-mls-messages.ts'
import { enterNextEpoch, epochIdOf, groupOf, type GroupState } from '#core/mls/ts-mls-state.ts'
import type { NextEpoch } from '#core/mls/ts-mls-state.ts'
import { ciphersuiteOf, NO_ENTROPY } from '#core/mls/ts-mls-suite.ts'
import { type ChangedTree, changeMembers, demandNewKeys } from '#core/mls/ts-mls-tree.ts'
import { encodeTree, treeHash } from '#core/mls/ts-mls-tree.ts'

// ---- Making -------------------------------------------------------------------------------

export interface CommitOptions {
  readonly adds: readonly Uint8Array[]
  readonly removes: readonly LeafIndex[]
  readonly authenticated: Uint8Array
  readonly nowMs: TimeMs
  readonly entropy: Entropy
}

/** Makes a commit, its Welcome and the state behind it. Refuses by `Refused`. */
export async function makeCommit(
  crypto: Crypto,
  state: GroupState,
  options: CommitOptions,
): Promise<CommitMade> {
  const { suite } = state
  const implementation = ciphersuiteOf(crypto, suite, options.entropy)
  const adds = options.adds.map(decodeKeyPackage)
  for (const keyPackage of adds) {
    await demandKeyPackage(implementation, suite, keyPackage)
    demand(isCurrent(keyPackage, options.nowMs), 'expired')
  }
  const change = { committer: state.leaf, removes: options.removes, adds }
  const changed = changeMembers(state.tree, change)
  const path = await makePath(implementation, state, changed)
  const proposals: ProposalOrRef[] = [
    ...options.removes.map((removed) => byValue({ proposalType: 'remove', remove: { removed } })),
    ...adds.map((keyPackage) => byValue({ proposalType: 'add', add: { keyPackage } })),
  ]
  const { framedContent, signature } = await createContentCommitSignature(
    state.context,
    'mls_public_message',
    { proposals, path: path.path },
    { senderType: 'member', leafIndex: state.leaf },
    options.authenticated,
    state.signatureSecret,
    implementation.signature,
  )
  const { tree, commitSecret } = path
  const step = { content: framedContent, signature, tree, commitSecret }
  const next = await enterNextEpoch(crypto, implementation, state, step)
  const { confirmationTag } = next
  const commit = await frameCommit(implementation, state, {
    content: framedContent,
    signature,
    confirmationTag,
  })
  const after = { ...nextState(crypto, state, next, tree), privateKeys: path.privateKeys }
  const welcome = adds.length === 0
    ? null
    : await makeWelcome(implementation, after, { next, added: changed.added, path })
  wipe(next.joinerSecret, next.welcomeSecret, ...path.secrets.map(({ secret }) => secret))
  demand(commit.length <= LIMITS.commitSizeMax, 'tooLarge')
  demand((welcome?.length ?? 0) <= LIMITS.welcomeSizeMax, 'tooLarge')
  return { kind: 'committed', commit, welcome, next: groupOf(after) }
}

type Proposal = Extract<ProposalOrRef, { proposalOrRefType: 'proposal' }>['proposal']

function byValue(proposal: Proposal): ProposalOrRef {
  return { proposalOrRefType: 'proposal', proposal }
}

/** The state of an epoch, with the private keys of the one before. */
function nextState(
  crypto: Crypto,
  state: GroupState,
  next: NextEpoch,
  tree: RatchetTree,
): GroupState {
  const { context, confirmationTag, secrets } = next
  const epochId = epochIdOf(crypto, state.suite, context)
  return { ...state, context, epochId, tree, confirmationTag, secrets }
}

interface PathMade {
  readonly tree: RatchetTree
  readonly path: UpdatePath
  /** Path secrets of the nodes above the leaf, from below. */
  readonly secrets: readonly PathSecret[]
  readonly commitSecret: Uint8Array
  readonly privateKeys: ReadonlyMap<number, Uint8Array>
}

interface PathSecret {
  readonly nodeIndex: number
  readonly secret: Uint8Array
}

/** A new path of the own leaf; new members get theirs by Welcome (RFC 9420 section 7.5). */
async function makePath(
  implementation: CiphersuiteImpl,
  state: GroupState,
  changed: ChangedTree,
): Promise<PathMade> {
  const { hpke, kdf, rng } = implementation
  const [tree, path, secrets, leafKey] = await createUpdatePath(
    changed.tree,
    toLeafIndex(state.leaf),
    state.context,
    state.signatureSecret,
    implementation,
    newNodes(changed).map(toNodeIndex),
  )
  const privateKeys = new Map([[state.leaf * 2, await hpke.exportPrivateKey(leafKey)]])
  for (const { nodeIndex, secret } of secrets) {
    privateKeys.set(nodeIndex, (await nodeKeys(implementation, secret)).privateKey)
  }
  const last = secrets.at(-1)
  // Nobody else is left when there is no node above: nobody needs to derive the secret.
  const commitSecret = last === undefined
    ? rng.randomBytes(kdf.size)
    : await deriveSecret(last.secret, 'path', kdf)
  return { tree, path, secrets, commitSecret, privateKeys }
}

function newNodes(changed: ChangedTree): readonly number[] {
  return changed.added.map(({ leaf }) => leaf * 2)
}

/** The key pair of a node from its path secret (RFC 9420 section 7.4). */
async function nodeKeys(implementation: CiphersuiteImpl, pathSecret: Uint8Array) {
  const { hpke, kdf } = implementation
  const nodeSecret = await deriveSecret(pathSecret, 'node', kdf)
  const { privateKey, publicKey } = await hpke.deriveKeyPair(nodeSecret)
  wipe(nodeSecret)
  return {
    privateKey: await hpke.exportPrivateKey(privateKey),
    publicKey: await hpke.exportPublicKey(publicKey),
  }
}

async function frameCommit(
  implementation: CiphersuiteImpl,
  state: GroupState,
  signed: {
    readonly content: FramedContentCommit
    readonly signature: Uint8Array
    readonly confirmationTag: Uint8Array
  },
): Promise<Uint8Array> {
  const { content, signature, confirmationTag } = signed
  const publicMessage = await protectPublicMessage(
    state.secrets.membershipKey,
    state.context,
    {
      wireformat: 'mls_public_message',
      content,
      auth: { contentType: 'commit', signature, confirmationTag },
    },
    implementation,
  )
  return encodeMlsMessage({ version: 'mls10', wireformat: 'mls_public_message', publicMessage })
}

/** The Welcome for all new members, with the tree inside (RFC 9420 section 12.4.3). */
async function makeWelcome(
  implementation: CiphersuiteImpl,
  after: GroupState,
  made: {
    readonly next: NextEpoch
    readonly added: ChangedTree['added']
    readonly path: PathMade
  },
): Promise<Uint8Array> {
  const { next, added, path } = made
  const { hpke, hash, signature } = implementation
  const groupInfo = await signGroupInfo(
    {
      groupContext: next.context,
      extensions: [{ extensionType: 'ratchet_tree', extensionData: encodeTree(after.tree) }],
      confirmationTag: next.confirmationTag,
      signer: after.leaf,
    },
    after.signatureSecret,
    signature,
  )
  const encryptedGroupInfo = await encryptGroupInfo(groupInfo, next.welcomeSecret, implementation)
  const secrets = await Promise.all(added.map(async ({ leaf, keyPackage }) => {
    const above = path.secrets.find(({ nodeIndex }) => isAbove(after.tree, nodeIndex, leaf))
    const groupSecrets = {
      joinerSecret: next.joinerSecret,
      pathSecret: present(above).secret,
      psks: [],
    }
    const initKey = await hpke.importPublicKey(keyPackage.initKey)
    const sealed = await encryptGroupSecrets(initKey, encryptedGroupInfo, groupSecrets, hpke)
    return {
      newMember: await makeKeyPackageRef(keyPackage, hash),
      encryptedGroupSecrets: { kemOutput: sealed.enc, ciphertext: sealed.ct },
    }
  }))
  const { cipherSuite } = next.context
  const welcome = { cipherSuite, secrets, encryptedGroupInfo }
  return encodeMlsMessage({ version: 'mls10', wireformat: 'mls_welcome', welcome })
}

/** True when a node stands above a leaf. */
export function isAbove(tree: RatchetTree, node: number, leaf: LeafIndex): boolean {
  return isAncestor(leafToNodeIndex(toLeafIndex(leaf)), toNodeIndex(node), tree.length)
}

// ---- Following ----------------------------------------------------------------------------

/** Follows another member's commit. Refuses by `Refused`; the state stays as it was. */
export async function followCommit(
  crypto: Crypto,
  state: GroupState,
  bytes: Uint8Array,
): Promise<CommitProcessed | { readonly kind: 'removedFromGroup' }> {
  const { suite, context } = state
  const commit = decodeCommit(bytes)
  demand(equalBytes(commit.groupId, context.groupId), 'wrongGroup')
  demand(commit.epoch === context.epoch, 'wrongEpoch')
  demand(commit.sender !== state.leaf, 'invalid')
  const implementation = ciphersuiteOf(crypto, suite, NO_ENTROPY)
  const { content, auth } = await unprotectPublicMessage(
    state.secrets.membershipKey,
    context,
    state.tree,
    commit.message,
    implementation,
  )
  demand(content.contentType === 'commit' && auth.contentType === 'commit', 'invalid')
  demand(commit.otherProposals === 0, 'invalid')
  for (const add of commit.adds) await demandKeyPackage(implementation, suite, add)
  const { sender: committer, removes, adds } = commit
  const changed = changeMembers(state.tree, { committer, removes, adds })
  const path = await demandPath(implementation, state, { commit, changed })
  const { hash } = implementation
  const tree = await applyUpdatePath(changed.tree, toLeafIndex(committer), path, hash)
  if (removes.includes(state.leaf)) return { kind: 'removedFromGroup' }
  const opened = await openPath(crypto, implementation, state, { commit, changed, tree, path })
  const { commitSecret, privateKeys } = opened
  const step = { content, signature: auth.signature, tree, commitSecret }
  const next = await enterNextEpoch(crypto, implementation, state, step)
  wipe(next.joinerSecret, next.welcomeSecret)
  demand(equalBytes(next.confirmationTag, auth.confirmationTag), 'invalid')
  return {
    kind: 'processed',
    next: groupOf({ ...nextState(crypto, state, next, tree), privateKeys }),
    committer,
    added: changed.added.map(({ leaf, keyPackage }) => ({
      leaf,
      ...leafView(keyPackage.leafNode),
    })),
    removed: changed.removed,
    authenticated: commit.authenticated,
  }
}

/** Everything of a path that can be checked without a secret (RFC 9420 section 12.4.2). */
async function demandPath(
  implementation: CiphersuiteImpl,
  state: GroupState,
  received: { readonly commit: MemberCommit; readonly changed: ChangedTree },
): Promise<UpdatePath> {
  const { commit, changed } = received
  const { suite, context } = state
  const path = demanded(commit.path, 'invalid')
  const { leafNode, nodes } = path
  demandLeaf(suite, leafNode)
  const { signature } = implementation
  const signed = verifyLeafNodeSignature(leafNode, context.groupId, commit.sender, signature)
  demand(await signed, 'invalid')
  const above = pathAbove(changed.tree, commit.sender, newNodes(changed))
  demand(nodes.length === above.length, 'invalid')
  nodes.forEach((node, level) => {
    demand(node.hpkePublicKey.length === KEM_LENGTHS[suite.kem].publicKey, 'invalid')
    demand(node.encryptedPathSecret.length === present(above[level]).recipients.length, 'invalid')
    for (const { kemOutput, ciphertext } of node.encryptedPathSecret) {
      demand(isPathCiphertext(suite, kemOutput, ciphertext), 'invalid')
    }
  })
  demandNewKeys(changed.tree, {
    committer: commit.sender,
    leaf: leafNode,
    nodes: nodes.map((node) => node.hpkePublicKey),
  })
  return path
}

function isPathCiphertext(suite: Suite, kemOutput: Uint8Array, ciphertext: Uint8Array): boolean {
  return kemOutput.length === KEM_LENGTHS[suite.kem].enc &&
    ciphertext.length === suite.hashLength + AEAD_TAG_LENGTH
}

interface PathNode {
  readonly nodeIndex: number
  /** Nodes to which the path secret is encrypted, in order. */
  readonly recipients: readonly number[]
}

/** The filtered direct path of a leaf (RFC 9420 section 4.1.2), new members left out. */
export function pathAbove(
  tree: RatchetTree,
  leaf: LeafIndex,
  without: readonly number[] = [],
): readonly PathNode[] {
  const added = new Set(without)
  return filteredDirectPathAndCopathResolution(toLeafIndex(leaf), tree).map((each) => ({
    nodeIndex: each.nodeIndex,
    recipients: each.resolution.filter((node) => !added.has(node)),
  }))
}

interface ReceivedPath {
  readonly commit: MemberCommit
  readonly changed: ChangedTree
  /** With the path in it. */
  readonly tree: RatchetTree
  readonly path: UpdatePath
}

/** Decrypts the own path secret and derives everything above it (RFC 9420 section 7.5). */
async function openPath(
  crypto: Crypto,
  implementation: CiphersuiteImpl,
  state: GroupState,
  received: ReceivedPath,
): Promise<{
  readonly commitSecret: Uint8Array
  readonly privateKeys: ReadonlyMap<number, Uint8Array>
}> {
  const { commit, changed, tree, path } = received
  const above = pathAbove(changed.tree, commit.sender, newNodes(changed))
  const level = above.findIndex(({ nodeIndex }) => isAbove(tree, nodeIndex, state.leaf))
  const shared = demanded(above[level], 'invalid')
  const place = shared.recipients.findIndex((node) => state.privateKeys.has(node))
  const recipient = demanded(shared.recipients[place], 'invalid')
  const sealed = demanded(path.nodes[level]?.encryptedPathSecret[place], 'invalid')
  const { hpke } = implementation
  const provisional: GroupContext = {
    ...state.context,
    epoch: state.context.epoch + 1n,
    treeHash: treeHash(crypto, state.suite, tree),
  }
  const pathSecret = await decryptWithLabel(
    await hpke.importPrivateKey(present(state.privateKeys.get(recipient))),
    'UpdatePathNode',
    encodeGroupContext(provisional),
    sealed.kemOutput,
    sealed.ciphertext,
    hpke,
  )
  demand(pathSecret.length === implementation.kdf.size, 'invalid')
  const nodes = above.slice(level).map(({ nodeIndex }) => nodeIndex)
  const climbed = await climb(implementation, tree, { nodes, pathSecret })
  const privateKeys = keptKeys(state, tree)
  for (const [node, key] of climbed.privateKeys) privateKeys.set(node, key)
  return { commitSecret: climbed.commitSecret, privateKeys }
}

/** Own keys of nodes that a commit left in place. */
function keptKeys(state: GroupState, tree: RatchetTree): Map<number, Uint8Array> {
  const own = leafToNodeIndex(toLeafIndex(state.leaf))
  const kept = new Map<number, Uint8Array>()
  for (const node of [own, ...directPath(own, leafWidth(tree.length))]) {
    const key = state.privateKeys.get(node)
    if (key !== undefined && tree[node] !== undefined) kept.set(node, key)
  }
  return kept
}

/**
 * Derives the keys of nodes from the path secret of the lowest, and the secret beyond the highest.
 * Refuses a secret that does not lead to the public keys in the tree. Wipes the path secrets.
 */
export async function climb(
  implementation: CiphersuiteImpl,
  tree: RatchetTree,
  from: { readonly nodes: readonly number[]; readonly pathSecret: Uint8Array },
): Promise<{
  readonly commitSecret: Uint8Array
  readonly privateKeys: ReadonlyMap<number, Uint8Array>
}> {
  const privateKeys = new Map<number, Uint8Array>()
  let secret = from.pathSecret
  for (const index of from.nodes) {
    const { privateKey, publicKey } = await nodeKeys(implementation, secret)
    const node = tree[index]
    demand(node?.nodeType === 'parent', 'invalid')
    demand(equalBytes(publicKey, node.parent.hpkePublicKey), 'invalid')
    privateKeys.set(index, privateKey)
    const above = await deriveSecret(secret, 'path', implementation.kdf)
    wipe(secret)
    secret = above
  }
  return { commitSecret: secret, privateKeys }
}
