/**
 * The ways into a group: a KeyPackage, a group of one's own, a Welcome (RFC 9420 sections 10, 11
 * and 12.4.3.1). Owns the checks of a joiner, tree included; the library's own join refuses valid
 * trees that have unmerged leaves.
 */
import { createConfirmationTag } from 'ts-mls/framedContent.js'
import { decodeRatchetTree, type RatchetTree } from 'ts-mls/ratchetTree.js'
import { decryptGroupInfo, decryptGroupSecrets, type Welcome } from 'ts-mls/welcome.js'
import { deriveKeySchedule, initializeKeySchedule } from 'ts-mls/keySchedule.js'
import { encodeLeafNode, type LeafNode } from 'ts-mls/leafNode.js'
import { generateKeyPackageWithKey, type KeyPackage, makeKeyPackageRef } from 'ts-mls/keyPackage.js'
import { type GroupInfo, verifyGroupInfoSignature } from 'ts-mls/groupInfo.js'
import type { GroupSecrets } from 'ts-mls/groupSecrets.js'
import { verifyLeafNodeSignature, verifyLeafNodeSignatureKeyPackage } from 'ts-mls/leafNode.js'
import { encodeMlsMessage } from 'ts-mls/message.js'
import { rootFromNodeWidth } from 'ts-mls/treemath.js'
import type { CiphersuiteImpl } from 'ts-mls'
import { EMPTY, equalBytes, wipe } from '#core/base/bytes.ts'
import { type LeafIndex, leafIndex, type TimeMs } from '#core/base/ids.ts'
import type { Entropy } from '#core/base/ports.ts'
import type { Crypto } from '#core/crypto/crypto.ts'
import type { Suite } from '#core/crypto/suites.ts'
import type { KeyPackageMade, MlsGroup, MlsSigner } from '#core/mls/mls.ts'
import { climb, isAbove, pathAbove } from '#core/mls/ts-mls-commit.ts'
import { demand, demanded, present } from '#core/mls/ts-mls-fault.ts'
import { decodeKeyPackage, decodeWelcome, demandLeaf } from '#core/mls/ts-mls-messages.ts'
import { epochIdOf, groupOf, type GroupState, keepSecrets } from '#core/mls/ts-mls-state.ts'
import { CIPHER_SUITE_NAMES, ciphersuiteOf, NO_ENTROPY } from '#core/mls/ts-mls-suite.ts'
import { suiteOfName } from '#core/mls/ts-mls-suite.ts'
import { demandSoundTree, leafAt, leavesOf, treeHash, treeHashes } from '#core/mls/ts-mls-tree.ts'
import { decode, encode, opaque, struct } from '#core/wire/codec.ts'
import { extensions, format, NO_EXTENSIONS, STRUCTURE_VERSION } from '#core/wire/structure.ts'

const DAY_MS = 86_400_000
/** Lifetime of a creator's first leaf, either side of now; nobody judges it. */
const OWN_LIFETIME_MS = 90 * DAY_MS

// ---- KeyPackage ---------------------------------------------------------------------------

export interface KeyPackageOptions {
  readonly suite: Suite
  readonly signer: MlsSigner
  readonly notBefore: TimeMs
  readonly notAfter: TimeMs
  readonly entropy: Entropy
}

const secretsCodec = struct({
  format: format('key package secrets'),
  initSecret: opaque(64, 1),
  leafSecret: opaque(64, 1),
  signatureSecret: opaque(64, 1),
  extensions,
})

/** Makes a KeyPackage of the device and its secrets. */
export async function makeKeyPackage(
  crypto: Crypto,
  options: KeyPackageOptions,
): Promise<KeyPackageMade> {
  const { keyPackage, initSecret, leafSecret } = await generate(crypto, options)
  const { signatureSecret } = options.signer
  const secrets = encode(secretsCodec, {
    format: STRUCTURE_VERSION,
    initSecret,
    leafSecret,
    signatureSecret,
    extensions: NO_EXTENSIONS,
  })
  wipe(initSecret, leafSecret)
  const { hash } = ciphersuiteOf(crypto, options.suite, NO_ENTROPY)
  return {
    keyPackage: encodeMlsMessage({ version: 'mls10', wireformat: 'mls_key_package', keyPackage }),
    reference: await makeKeyPackageRef(keyPackage, hash),
    secrets,
  }
}

async function generate(crypto: Crypto, options: KeyPackageOptions) {
  const { suite, signer, notBefore, notAfter, entropy } = options
  const made = await generateKeyPackageWithKey(
    { credentialType: 'basic', identity: signer.identity },
    {
      versions: ['mls10'],
      ciphersuites: [...CIPHER_SUITE_NAMES],
      extensions: [],
      proposals: [],
      credentials: ['basic'],
    },
    { notBefore: seconds(notBefore), notAfter: seconds(notAfter) },
    [],
    { signKey: signer.signatureSecret, publicKey: signer.signatureKey },
    ciphersuiteOf(crypto, suite, entropy),
  )
  return {
    keyPackage: made.publicPackage,
    initSecret: made.privatePackage.initPrivateKey,
    leafSecret: made.privatePackage.hpkePrivateKey,
  }
}

function seconds(time: TimeMs): bigint {
  return BigInt(Math.max(0, Math.floor(time / 1_000)))
}

// ---- Group of one -------------------------------------------------------------------------

export interface GroupOptions {
  readonly suite: Suite
  readonly groupId: Uint8Array
  readonly signer: MlsSigner
  readonly nowMs: TimeMs
  readonly entropy: Entropy
}

/** A group of one member at epoch 0 (RFC 9420 section 11). */
export async function createOwnGroup(crypto: Crypto, options: GroupOptions): Promise<MlsGroup> {
  const { suite, groupId, signer, nowMs, entropy } = options
  const { keyPackage, initSecret, leafSecret } = await generate(crypto, {
    suite,
    signer,
    notBefore: nowMs - OWN_LIFETIME_MS as TimeMs,
    notAfter: nowMs + OWN_LIFETIME_MS as TimeMs,
    entropy,
  })
  wipe(initSecret)
  const { hash, kdf, name } = ciphersuiteOf(crypto, suite, entropy)
  const tree: RatchetTree = [{ nodeType: 'leaf', leaf: keyPackage.leafNode }]
  const context = {
    version: 'mls10' as const,
    cipherSuite: name,
    groupId: groupId.slice(),
    epoch: 0n,
    treeHash: treeHash(crypto, suite, tree),
    confirmedTranscriptHash: EMPTY,
    extensions: [],
  }
  const epochSecret = entropy.randomBytes(suite.hashLength)
  const schedule = await initializeKeySchedule(epochSecret, kdf)
  wipe(epochSecret)
  return groupOf({
    suite,
    context,
    epochId: epochIdOf(crypto, suite, context),
    tree,
    leaf: leafIndex(0),
    privateKeys: new Map([[0, leafSecret]]),
    signatureSecret: signer.signatureSecret.slice(),
    confirmationTag: await createConfirmationTag(schedule.confirmationKey, EMPTY, hash),
    secrets: keepSecrets(schedule),
  })
}

// ---- Welcome ------------------------------------------------------------------------------

export interface JoinOptions {
  readonly welcome: Uint8Array
  readonly keyPackage: Uint8Array
  readonly secrets: Uint8Array
}

/** Joins by a Welcome that carries the tree. Refuses by `Refused`. */
export async function joinByWelcome(crypto: Crypto, options: JoinOptions): Promise<MlsGroup> {
  const welcome = decodeWelcome(options.welcome)
  const keyPackage = decodeKeyPackage(options.keyPackage)
  const secrets = decode(secretsCodec, options.secrets.slice())
  demand(secrets.kind === 'decoded', 'malformed')
  const { initSecret, leafSecret, signatureSecret } = secrets.value
  const suite = demanded(suiteOfName(welcome.cipherSuite), 'wrongSuite')
  const implementation = ciphersuiteOf(crypto, suite, NO_ENTROPY)
  demand(keyPackage.cipherSuite === implementation.name, 'wrongSuite')
  const groupSecrets = await openSecrets(implementation, { welcome, keyPackage, initSecret })
  const noPsk = new Uint8Array(implementation.kdf.size)
  const { joinerSecret } = groupSecrets
  const info = demanded(
    await decryptGroupInfo(welcome, joinerSecret, noPsk, implementation),
    'invalid',
  )
  const tree = await demandGroup(crypto, suite, { implementation, info })
  const leaf = ownLeafOf(tree, keyPackage.leafNode)
  const { groupContext: context, confirmationTag } = info
  const { kdf, hash } = implementation
  const [schedule, encryptionSecret] = await deriveKeySchedule(joinerSecret, noPsk, context, kdf)
  const { confirmationKey } = schedule
  const expected = createConfirmationTag(confirmationKey, context.confirmedTranscriptHash, hash)
  demand(equalBytes(await expected, confirmationTag), 'invalid')
  const above = await openAbove(implementation, tree, { info, leaf, groupSecrets })
  wipe(joinerSecret, encryptionSecret)
  const state: GroupState = {
    suite,
    context,
    epochId: epochIdOf(crypto, suite, context),
    tree,
    leaf,
    privateKeys: new Map([[leaf * 2, leafSecret], ...above]),
    signatureSecret,
    confirmationTag,
    secrets: keepSecrets(schedule),
  }
  return groupOf(state)
}

/** The secrets for one's own KeyPackage; PSKs are not used and so not accepted. */
async function openSecrets(
  implementation: CiphersuiteImpl,
  own: {
    readonly welcome: Welcome
    readonly keyPackage: KeyPackage
    readonly initSecret: Uint8Array
  },
): Promise<GroupSecrets> {
  const { hpke, hash, kdf } = implementation
  const reference = await makeKeyPackageRef(own.keyPackage, hash)
  const { secrets } = own.welcome
  demand(secrets.some(({ newMember }) => equalBytes(newMember, reference)), 'notForUs')
  const initKey = await hpke.importPrivateKey(own.initSecret)
  const opened = await decryptGroupSecrets(initKey, reference, own.welcome, hpke)
  const groupSecrets = demanded(opened, 'invalid')
  demand(groupSecrets.psks.length === 0, 'invalid')
  demand(groupSecrets.joinerSecret.length === kdf.size, 'invalid')
  return groupSecrets
}

/** Checks GroupInfo and tree (RFC 9420 section 12.4.3.1); gives the tree. */
async function demandGroup(
  crypto: Crypto,
  suite: Suite,
  received: { readonly implementation: CiphersuiteImpl; readonly info: GroupInfo },
): Promise<RatchetTree> {
  const { implementation, info } = received
  const { groupContext, signer } = info
  demand(groupContext.version === 'mls10', 'invalid')
  demand(groupContext.cipherSuite === implementation.name, 'wrongSuite')
  demand(groupContext.extensions.length === 0, 'invalid')
  const tree = treeOf(info)
  const signerLeaf = demanded(leafAt(tree, signer), 'invalid')
  const { signature } = implementation
  const signed = verifyGroupInfoSignature(info, signerLeaf.signaturePublicKey, signature)
  demand(await signed, 'invalid')
  const hashes = treeHashes(crypto, suite, tree)
  const root = present(hashes[rootFromNodeWidth(tree.length)])
  demand(equalBytes(root, groupContext.treeHash), 'invalid')
  demandSoundTree(crypto, suite, tree, hashes)
  for (const { leaf } of leavesOf(tree)) {
    const node = present(leafAt(tree, leaf))
    demandLeaf(suite, node)
    const verified = isKeyPackageLeaf(node)
      ? verifyLeafNodeSignatureKeyPackage(node, signature)
      : verifyLeafNodeSignature(node, groupContext.groupId, leaf, signature)
    demand(await verified, 'invalid')
  }
  return tree
}

function isKeyPackageLeaf(leaf: LeafNode): leaf is KeyPackage['leafNode'] {
  return leaf.leafNodeSource === 'key_package'
}

/** The tree in the ratchet_tree extension, which this port always sends (ROOM-7). */
function treeOf(info: GroupInfo): RatchetTree {
  const extension = info.extensions.find(({ extensionType }) => extensionType === 'ratchet_tree')
  const bytes = demanded(extension, 'invalid').extensionData
  const [tree, length] = demanded(decodeRatchetTree(bytes, 0), 'invalid')
  demand(length === bytes.length, 'invalid')
  return tree
}

function ownLeafOf(tree: RatchetTree, own: LeafNode): LeafIndex {
  const encoded = encodeLeafNode(own)
  const found = leavesOf(tree).find(({ leaf, signatureKey }) =>
    equalBytes(signatureKey, own.signaturePublicKey) &&
    equalBytes(encodeLeafNode(present(leafAt(tree, leaf))), encoded)
  )
  return demanded(found, 'invalid').leaf
}

/** Private keys of the nodes that the own leaf shares with the committer's path. */
async function openAbove(
  implementation: CiphersuiteImpl,
  tree: RatchetTree,
  joined: {
    readonly info: GroupInfo
    readonly leaf: LeafIndex
    readonly groupSecrets: GroupSecrets
  },
): Promise<ReadonlyMap<number, Uint8Array>> {
  const { info, leaf, groupSecrets } = joined
  const { pathSecret } = groupSecrets
  demand(leaf !== info.signer, 'invalid')
  const nodes = pathSecret === undefined ? [] : pathAbove(tree, leafIndex(info.signer))
    .map(({ nodeIndex }) => nodeIndex)
    .filter((node) => isAbove(tree, node, leaf))
  const climbed = pathSecret === undefined
    ? null
    : await climb(implementation, tree, { nodes, pathSecret })
  if (climbed !== null) wipe(climbed.commitSecret)
  const privateKeys = climbed?.privateKeys ?? new Map<number, Uint8Array>()
  demand(hasEveryKey(tree, leaf, privateKeys), 'invalid')
  return privateKeys
}

/** True when the holder of a leaf can decrypt to every node above that counts it as merged. */
function hasEveryKey(
  tree: RatchetTree,
  leaf: LeafIndex,
  keys: ReadonlyMap<number, Uint8Array>,
): boolean {
  return tree.every((node, index) =>
    node?.nodeType !== 'parent' || keys.has(index) || !isAbove(tree, index, leaf) ||
    node.parent.unmergedLeaves.includes(leaf)
  )
}
