/**
 * A member's state of a group: the public group and the secrets of one member in one epoch. Owns
 * its creation (RFC 9420 section 11), the step into an epoch, what is exported from it and the
 * GroupInfo that it gives out. Every function returns a new state and leaves the old one as it was.
 */
import { assert } from '#core/base/assert.ts'
import { EMPTY, equalBytes, wipe } from '#core/base/bytes.ts'
import { LIMITS } from '#core/base/limits.ts'
import type { CipherSuite } from '#core/mls/cipher-suite.ts'
import { type Extension, EXTENSION_TYPE, externalPub, makeExtension } from '#core/mls/extension.ts'
import { encodeGroupContext, type GroupContext } from '#core/mls/group-context.ts'
import { type GroupInfo, signGroupInfo } from '#core/mls/group-info.ts'
import { MLS_VERSION } from '#core/mls/key-package.ts'
import { confirmationTag, epochSecrets, joinerSecret } from '#core/mls/key-schedule.ts'
import { type EpochSecrets, externalKeyPair, mlsExporter } from '#core/mls/key-schedule.ts'
import { type LeafMaking, makeLeaf } from '#core/mls/own-leaf.ts'
import type { PreSharedKeyId } from '#core/mls/proposal.ts'
import { type Psk, pskSecret } from '#core/mls/psk.ts'
import { type PublicGroup, publicGroupOf } from '#core/mls/public-group.ts'
import { treeHash, treeOfOne } from '#core/mls/ratchet-tree.ts'
import { secretsOfTree, type SecretTree, secretTree } from '#core/mls/secret-tree.ts'
import { encodeRatchetTree } from '#core/mls/tree-codec.ts'
import { leafToNode } from '#core/mls/tree-math.ts'

/** resumption_psk of an epoch that is over (RFC 9420 section 8.6). */
export interface Resumption {
  readonly epoch: bigint
  readonly psk: Uint8Array
}

export interface Group {
  readonly public: PublicGroup
  readonly ownLeaf: number
  readonly signatureSecret: Uint8Array
  /** HPKE secret keys by node index: of the own leaf, and of parents that this member knows. */
  readonly privateKeys: ReadonlyMap<number, Uint8Array>
  /** Empty fields were wiped by `takeExports`. */
  readonly secrets: EpochSecrets
  /** Null once the exports were taken. */
  readonly secretTree: SecretTree | null
  /** Newest last. */
  readonly resumptions: readonly Resumption[]
  /** Secret keys of own Update proposals of this epoch, by the public key in hex. */
  readonly pendingUpdates: ReadonlyMap<string, Uint8Array>
}

export interface GroupCreation extends LeafMaking {
  readonly groupId: Uint8Array
  /** Of the GroupContext; the template's capabilities must support them. */
  readonly extensions: readonly Extension[]
}

/** A group of one member at epoch 0 (section 11). */
export async function createGroup(suite: CipherSuite, creation: GroupCreation): Promise<Group> {
  const { leafNode, encryptionSecret } = await makeLeaf(suite, creation)
  const tree = treeOfOne(suite, leafNode)
  const context: GroupContext = {
    version: MLS_VERSION,
    cipherSuite: suite.id,
    groupId: creation.groupId,
    epoch: 0n,
    treeHash: treeHash(suite, tree),
    confirmedTranscriptHash: EMPTY,
    extensions: creation.extensions,
  }
  const joiner = creation.entropy.randomBytes(suite.hashLength)
  const entered = enterEpoch(suite, { joinerSecret: joiner, psks: [], context })
  wipe(joiner, entered.welcomeSecret)
  return {
    public: publicGroupOf(suite, { context, tree, confirmationTag: entered.confirmationTag }),
    ownLeaf: 0,
    signatureSecret: creation.signatureSecret,
    privateKeys: new Map([[leafToNode(0), encryptionSecret]]),
    secrets: entered.secrets,
    secretTree: secretTree(entered.secrets.encryptionSecret, tree.leafWidth),
    resumptions: [],
    pendingUpdates: new Map(),
  }
}

export interface EnteredEpoch {
  readonly secrets: EpochSecrets
  /** The caller's to wipe. */
  readonly welcomeSecret: Uint8Array
  readonly confirmationTag: Uint8Array
}

/** The key schedule from the joiner secret on (section 8). */
export function enterEpoch(
  suite: CipherSuite,
  from: {
    readonly joinerSecret: Uint8Array
    readonly psks: readonly Psk[]
    readonly context: GroupContext
  },
): EnteredEpoch {
  const groupContext = encodeGroupContext(from.context)
  const psk = pskSecret(suite, from.psks)
  const { secrets, welcomeSecret } = epochSecrets(suite, {
    joinerSecret: from.joinerSecret,
    pskSecret: psk,
    groupContext,
  })
  wipe(psk)
  const tag = confirmationTag(
    suite,
    secrets.confirmationKey,
    from.context.confirmedTranscriptHash,
  )
  return { secrets, welcomeSecret, confirmationTag: tag }
}

/** The joiner secret of the epoch that a commit makes; zeros stand for no commit secret. */
export function nextJoinerSecret(
  suite: CipherSuite,
  from: {
    readonly initSecret: Uint8Array
    readonly commitSecret: Uint8Array | null
    readonly context: GroupContext
  },
): Uint8Array {
  return joinerSecret(suite, {
    initSecret: from.initSecret,
    commitSecret: from.commitSecret ?? new Uint8Array(suite.hashLength),
    groupContext: encodeGroupContext(from.context),
  })
}

/** Looks up a PSK that this engine does not hold by itself; null where the application has none. */
export type PskLookup = (id: PreSharedKeyId) => Uint8Array | null

/** The secrets of a list of PSKs (section 8.4); null where one of them is unknown. */
export function findPsks(
  group: Group | null,
  ids: readonly PreSharedKeyId[],
  lookup: PskLookup,
): readonly Psk[] | null {
  const psks: Psk[] = []
  for (const id of ids) {
    const secret = (group === null ? null : resumptionPsk(group, id)) ?? lookup(id)
    if (secret === null) return null
    psks.push({ id, secret })
  }
  return psks
}

/** The group's own resumption PSK of this epoch or of one before; null for any other PSK. */
function resumptionPsk(group: Group, id: PreSharedKeyId): Uint8Array | null {
  const { context } = group.public
  if (id.kind !== 'resumption' || !equalBytes(id.pskGroupId, context.groupId)) return null
  if (id.pskEpoch === context.epoch) return group.secrets.resumptionPsk
  return group.resumptions.find(({ epoch }) => epoch === id.pskEpoch)?.psk ?? null
}

export interface NextEpoch {
  readonly publicGroup: PublicGroup
  readonly secrets: EpochSecrets
  readonly privateKeys: ReadonlyMap<number, Uint8Array>
}

/** The state in the next epoch, and what the caller wipes when the one before has no use left. */
export function nextGroup(
  group: Group,
  { publicGroup, secrets, privateKeys }: NextEpoch,
): { readonly next: Group; readonly consumed: readonly Uint8Array[] } {
  const before = { epoch: group.public.context.epoch, psk: group.secrets.resumptionPsk }
  const resumptions = [...group.resumptions, before]
  const dropped = resumptions.splice(0, Math.max(0, resumptions.length - RESUMPTIONS_KEPT))
  const next: Group = {
    public: publicGroup,
    ownLeaf: group.ownLeaf,
    signatureSecret: group.signatureSecret,
    privateKeys,
    secrets,
    secretTree: secretTree(secrets.encryptionSecret, publicGroup.tree.leafWidth),
    resumptions,
    pendingUpdates: new Map(),
  }
  const kept = new Set(privateKeys.values())
  const consumed = [
    ...epochSecretsOf(group).filter((secret) => secret !== before.psk),
    ...dropped.map(({ psk }) => psk),
    ...[...group.privateKeys.values()].filter((key) => !kept.has(key)),
    ...[...group.pendingUpdates.values()].filter((key) => !kept.has(key)),
  ]
  return { next, consumed }
}

const RESUMPTIONS_KEPT = LIMITS.mlsResumptionsKeptMax

/** The secrets of one epoch, its keys of private messages among them. */
function epochSecretsOf({ secrets, secretTree }: Group): readonly Uint8Array[] {
  const held = Object.values<Uint8Array>({ ...secrets }).filter((secret) => secret.length > 0)
  return secretTree === null ? held : held.concat(secretsOfTree(secretTree))
}

/** Every secret of a state but the signature key, for who has left the group. */
export function allSecrets(group: Group): readonly Uint8Array[] {
  return [
    ...epochSecretsOf(group),
    ...group.privateKeys.values(),
    ...group.pendingUpdates.values(),
    ...group.resumptions.map(({ psk }) => psk),
  ]
}

/** One use of the exporter (section 8.5). `length` in bytes. */
export interface Exporting {
  readonly label: string
  readonly context: Uint8Array
  readonly length: number
}

/** MLS-Exporter. Not after `takeExports`. */
export function exportSecret(group: Group, exporting: Exporting): Uint8Array {
  const { exporterSecret } = group.secrets
  assert(exporterSecret.length > 0, 'the exports of an epoch are taken once')
  return mlsExporter(group.public.suite, exporterSecret, exporting)
}

/**
 * Takes the fixed list of an epoch's exports and drops what further exports and PrivateMessages
 * need: exporter, encryption and sender data secret (KEY-1). Whoever takes the state later can
 * derive none of it again, once `consumed` is wiped.
 */
export function takeExports(
  group: Group,
  list: readonly Exporting[],
): {
  readonly group: Group
  readonly exports: readonly Uint8Array[]
  readonly consumed: readonly Uint8Array[]
} {
  const exports = list.map((exporting) => exportSecret(group, exporting))
  const { exporterSecret, encryptionSecret, senderDataSecret, confirmationKey } = group.secrets
  const ratchets = group.secretTree === null ? [] : secretsOfTree(group.secretTree)
  const gone = {
    exporterSecret: EMPTY,
    encryptionSecret: EMPTY,
    senderDataSecret: EMPTY,
    confirmationKey: EMPTY,
  }
  return {
    group: { ...group, secrets: { ...group.secrets, ...gone }, secretTree: null },
    exports,
    consumed: [exporterSecret, encryptionSecret, senderDataSecret, confirmationKey, ...ratchets],
  }
}

export interface GroupInfoContents {
  /** With `ratchet_tree`, for who has no other way to the tree. */
  readonly ratchetTree: boolean
  /** With `external_pub`, so that somebody can come in by an external commit. */
  readonly externalPub: boolean
}

/** A signed GroupInfo of the epoch (section 12.4.3). */
export async function makeGroupInfo(
  group: Group,
  contents: GroupInfoContents,
): Promise<GroupInfo> {
  const { suite, context, tree, confirmationTag } = group.public
  const extensions: Extension[] = []
  if (contents.ratchetTree) {
    extensions.push({ type: EXTENSION_TYPE.ratchetTree, body: encodeRatchetTree(tree) })
  }
  if (contents.externalPub) {
    extensions.push(
      makeExtension(EXTENSION_TYPE.externalPub, externalPub, await externalPublicKey(group)),
    )
  }
  const content = { groupContext: context, extensions, confirmationTag, signer: group.ownLeaf }
  return await signGroupInfo(suite, content, group.signatureSecret)
}

/** The key of `external_pub`, which every member derives alike (section 8.3). */
export async function externalPublicKey(group: Group): Promise<Uint8Array> {
  const { secretKey, publicKey } = await externalKeyPair(
    group.public.suite,
    group.secrets.externalSecret,
  )
  wipe(secretKey)
  return publicKey
}

/** Own private keys that still stand for a node of the tree, with those that are new. */
export function keptKeys(
  before: ReadonlyMap<number, Uint8Array>,
  isHeld: (node: number) => boolean,
  added: Iterable<readonly [number, Uint8Array]>,
): ReadonlyMap<number, Uint8Array> {
  const keys = new Map([...before].filter(([node]) => isHeld(node)))
  for (const [node, key] of added) keys.set(node, key)
  return keys
}
