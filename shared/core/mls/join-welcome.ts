/**
 * Joining by a Welcome (RFC 9420 section 12.4.3.1). The tree comes in the GroupInfo or apart; all
 * of it is verified before a state is made.
 */
import { assert } from '#core/base/assert.ts'
import { equalBytes, wipe } from '#core/base/bytes.ts'
import type { CipherSuite } from '#core/mls/cipher-suite.ts'
import { type MlsRefusal, refuse } from '#core/mls/fault.ts'
import { decodeMlsMessage } from '#core/mls/framing.ts'
import { enterEpoch, findPsks, type Group, type PskLookup } from '#core/mls/group.ts'
import { type GroupInfo, groupInfo } from '#core/mls/group-info.ts'
import { type KeyPackage, keyPackageRef } from '#core/mls/key-package.ts'
import { welcomeKeyNonce, welcomeSecretOf } from '#core/mls/key-schedule.ts'
import { decryptWithLabel } from '#core/mls/labelled.ts'
import { leafNode } from '#core/mls/leaf-node.ts'
import type { KeyPackageSecrets } from '#core/mls/own-leaf.ts'
import { type Psk, pskSecret } from '#core/mls/psk.ts'
import { openPublicGroup, type PublicGroup } from '#core/mls/public-group.ts'
import { filteredDirectPath, leafAt, parentAt, signatureKeyOwner } from '#core/mls/ratchet-tree.ts'
import { secretTree } from '#core/mls/secret-tree.ts'
import { isWithin, leafToNode } from '#core/mls/tree-math.ts'
import { judgeSuccessor, successionOf } from '#core/mls/successor-rules.ts'
import { makePathSecrets } from '#core/mls/update-path.ts'
import { type GroupSecrets, groupSecrets, type Welcome } from '#core/mls/welcome.ts'
import { decode, encode } from '#core/wire/codec.ts'

export interface WelcomeJoining {
  /** MLSMessage. */
  readonly welcome: Uint8Array
  readonly keyPackage: KeyPackage
  readonly secrets: KeyPackageSecrets
  readonly signatureSecret: Uint8Array
  /** `ratchet_tree` body; null where the GroupInfo has it. */
  readonly ratchetTree: Uint8Array | null
  readonly psks: PskLookup
  /** The group that the new one may succeed (sections 11.2 and 11.3). */
  readonly predecessor?: Group
}

export interface Joined {
  readonly kind: 'joined'
  readonly group: Group
  /** The GroupInfo of the Welcome, for extensions that the application put into it. */
  readonly groupInfo: GroupInfo
  /** Whether the group comes from `predecessor`; null where it is a group of its own. */
  readonly succession: 'reInit' | 'branch' | null
}

/** The state of a new member. The caller wipes the KeyPackage's init secret. */
export async function joinByWelcome(
  suite: CipherSuite,
  joining: WelcomeJoining,
): Promise<Joined | MlsRefusal> {
  const message = decodeMlsMessage('welcome', joining.welcome)
  if (message === null) return refuse('malformed')
  const { welcome } = message
  if (welcome.cipherSuite !== suite.id) return refuse('wrongSuite')
  const secrets = await openSecrets(suite, welcome, joining)
  if (secrets.kind === 'refused') return secrets
  const { value } = secrets
  const outcome = await admit(suite, joining, { welcome, secrets: value })
  wipe(value.joinerSecret)
  if (value.pathSecret !== null) wipe(value.pathSecret)
  return outcome
}

/** Whether the group is one to be in. The caller wipes the secrets. */
async function admit(
  suite: CipherSuite,
  joining: WelcomeJoining,
  { welcome, secrets }: { readonly welcome: Welcome; readonly secrets: GroupSecrets },
): Promise<Joined | MlsRefusal> {
  const psks = findPsks(joining.predecessor ?? null, secrets.psks, joining.psks)
  if (psks === null) return refuse('unknownPsk')
  const described = openGroupInfo(suite, welcome, { secrets, psks })
  if (described === null) return refuse('notDecryptable')
  const { ratchetTree } = joining
  const opened = await openPublicGroup(suite, { groupInfo: described, ratchetTree })
  if (opened.kind === 'refused') return opened
  const parts = { group: opened.group, groupInfo: described, secrets, psks }
  const fault = judgeSuccessor(parts, joining.predecessor ?? null)
  return fault === null ? await enter(suite, joining, parts) : refuse(fault)
}

type OpenedSecrets = { readonly kind: 'opened'; readonly value: GroupSecrets }

async function openSecrets(
  suite: CipherSuite,
  welcome: Welcome,
  joining: WelcomeJoining,
): Promise<OpenedSecrets | MlsRefusal> {
  const reference = keyPackageRef(suite, joining.keyPackage)
  const own = welcome.secrets.find(({ newMember }) => equalBytes(newMember, reference))
  if (own === undefined) return refuse('notForUs')
  const opened = await decryptWithLabel(suite, joining.secrets.initSecret, {
    ...own.encryptedGroupSecrets,
    label: 'Welcome',
    context: welcome.encryptedGroupInfo,
  })
  if (opened === null) return refuse('notDecryptable')
  const decoded = decode(groupSecrets, opened)
  if (decoded.kind === 'malformed') {
    wipe(opened)
    return refuse('malformed')
  }
  return { kind: 'opened', value: decoded.value }
}

function openGroupInfo(
  suite: CipherSuite,
  welcome: Welcome,
  { secrets, psks }: { readonly secrets: GroupSecrets; readonly psks: readonly Psk[] },
): GroupInfo | null {
  const psk = pskSecret(suite, psks)
  const welcomeSecret = welcomeSecretOf(suite, secrets.joinerSecret, psk)
  const { key, nonce } = welcomeKeyNonce(suite, welcomeSecret)
  const keyed = { key, nonce, aad: new Uint8Array(0) }
  const opened = suite.open(keyed, welcome.encryptedGroupInfo)
  wipe(psk, welcomeSecret, key, nonce)
  const decoded = opened === null ? null : decode(groupInfo, opened)
  return decoded?.kind === 'decoded' ? decoded.value : null
}

interface JoinParts {
  readonly group: PublicGroup
  readonly groupInfo: GroupInfo
  readonly secrets: GroupSecrets
  readonly psks: readonly Psk[]
}

async function enter(
  suite: CipherSuite,
  joining: WelcomeJoining,
  { group, groupInfo: described, secrets, psks }: JoinParts,
): Promise<Joined | MlsRefusal> {
  const ownLeaf = findOwnLeaf(group, joining.keyPackage)
  if (ownLeaf === null) return refuse('notForUs')
  const keys = await pathKeys(group, { signer: described.signer, ownLeaf, secrets })
  if (keys.kind === 'refused') return keys
  const { joinerSecret } = secrets
  const entered = enterEpoch(suite, { joinerSecret, psks, context: group.context })
  wipe(entered.welcomeSecret)
  if (!equalBytes(entered.confirmationTag, group.confirmationTag)) {
    wipe(...Object.values<Uint8Array>({ ...entered.secrets }), ...keys.keys.map(([, key]) => key))
    return refuse('badConfirmationTag')
  }
  const own = [leafToNode(ownLeaf), joining.secrets.encryptionSecret] as const
  return {
    kind: 'joined',
    groupInfo: described,
    succession: successionOf(secrets.psks),
    group: {
      public: group,
      ownLeaf,
      signatureSecret: joining.signatureSecret,
      privateKeys: new Map([own, ...keys.keys]),
      secrets: entered.secrets,
      secretTree: secretTree(entered.secrets.encryptionSecret, group.tree.leafWidth),
      resumptions: [],
      pendingUpdates: new Map(),
    },
  }
}

/** The leaf that is the KeyPackage's, to the last byte. */
function findOwnLeaf(group: PublicGroup, keyPackage: KeyPackage): number | null {
  const leaf = signatureKeyOwner(group.tree, keyPackage.leafNode.signatureKey)
  const found = leaf === null ? null : leafAt(group.tree, leaf)
  if (leaf === null || found === null) return null
  return equalBytes(encode(leafNode, found), encode(leafNode, keyPackage.leafNode)) ? leaf : null
}

interface PathKeys {
  readonly kind: 'keys'
  readonly keys: readonly (readonly [number, Uint8Array])[]
}

/** The keys from the lowest common ancestor with the signer up, checked against the tree. */
async function pathKeys(
  { suite, tree }: PublicGroup,
  from: {
    readonly signer: number
    readonly ownLeaf: number
    readonly secrets: GroupSecrets
  },
): Promise<PathKeys | MlsRefusal> {
  const { pathSecret } = from.secrets
  if (pathSecret === null) return { kind: 'keys', keys: [] }
  const own = leafToNode(from.ownLeaf)
  // The tree is the one after the commit, whose path is that of the GroupInfo's signer.
  const above = filteredDirectPath(tree, from.signer).filter(({ node }) => isWithin(own, node))
  if (from.signer === from.ownLeaf || above.length === 0) return refuse('badPath')
  if (pathSecret.length !== suite.hashLength) return refuse('badPath')
  const made = await makePathSecrets(suite, above, pathSecret)
  wipe(made.commitSecret, ...made.nodes.map((each) => each.pathSecret))
  const fits = made.nodes.every(({ node, keyPair }) => {
    const parent = parentAt(tree, node)
    return parent !== null && equalBytes(parent.encryptionKey, keyPair.publicKey)
  })
  if (!fits) {
    wipe(...made.nodes.map(({ keyPair }) => keyPair.secretKey))
    return refuse('badPath')
  }
  assert(made.nodes.length === above.length, 'each node of a path has its key')
  const keys = made.nodes.map(({ node, keyPair }) => [node, keyPair.secretKey] as const)
  return { kind: 'keys', keys }
}
