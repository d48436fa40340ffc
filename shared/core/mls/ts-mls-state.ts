/**
 * The state of a group as one member holds it, the step from one epoch to the next, and the stored
 * form. Owns what is kept of an epoch's secrets: what room messages do not need (the secret tree
 * and the sender data of MLS, PSKs, external joins) is wiped as soon as it is derived.
 */
import { decodeGroupContext, encodeGroupContext, type GroupContext } from 'ts-mls/groupContext.js'
import { initializeEpoch, type KeySchedule } from 'ts-mls/keySchedule.js'
import { createConfirmationTag, type FramedContentCommit } from 'ts-mls/framedContent.js'
import { nextEpochContext } from 'ts-mls/clientState.js'
import { decodeRatchetTree, type RatchetTree } from 'ts-mls/ratchetTree.js'
import type { CiphersuiteImpl } from 'ts-mls'
import { equalBytes, wipe } from '#core/base/bytes.ts'
import type { EpochId, LeafIndex } from '#core/base/ids.ts'
import { leafIndex } from '#core/base/ids.ts'
import type { Crypto } from '#core/crypto/crypto.ts'
import type { Suite } from '#core/crypto/suites.ts'
import type { MlsGroup } from '#core/mls/mls.ts'
import { suiteOfName } from '#core/mls/ts-mls-suite.ts'
import { encodeTree, leafAt, treeHash } from '#core/mls/ts-mls-tree.ts'
import { decode, encode, opaque, optional, struct, u32, vector } from '#core/wire/codec.ts'
import { VARINT_MAX } from '#core/wire/codec.ts'
import { extensions, format, NO_EXTENSIONS, STRUCTURE_VERSION } from '#core/wire/structure.ts'

/** Secrets that belong to one epoch. */
export interface EpochSecrets {
  /** Goes into the next epoch (RFC 9420 section 8). */
  readonly init: Uint8Array
  readonly membershipKey: Uint8Array
  readonly epochAuthenticator: Uint8Array
  /** Null once the exports of the epoch have been taken. */
  readonly exporter: Uint8Array | null
}

/** What `MlsGroup` hides. Never changed, only replaced; parts are shared between states. */
export interface GroupState {
  readonly suite: Suite
  readonly context: GroupContext
  readonly epochId: EpochId
  readonly tree: RatchetTree
  readonly leaf: LeafIndex
  /** Private keys of the own leaf and of the nodes above it, by node index. */
  readonly privateKeys: ReadonlyMap<number, Uint8Array>
  readonly signatureSecret: Uint8Array
  /** Of the commit that began the epoch. */
  readonly confirmationTag: Uint8Array
  readonly secrets: EpochSecrets
}

export const stateOf = (group: MlsGroup): GroupState => group as unknown as GroupState
export const groupOf = (state: GroupState): MlsGroup => state as unknown as MlsGroup

/** Hash(GroupContext). */
export function epochIdOf(crypto: Crypto, suite: Suite, context: GroupContext): EpochId {
  return crypto.hash(suite.hash, encodeGroupContext(context)) as EpochId
}

/** What a member keeps of a key schedule; wipes the rest, the confirmation key included. */
export function keepSecrets(schedule: KeySchedule): EpochSecrets {
  const { senderDataSecret, externalSecret, resumptionPsk, confirmationKey } = schedule
  wipe(senderDataSecret, externalSecret, resumptionPsk, confirmationKey)
  return {
    init: schedule.initSecret,
    membershipKey: schedule.membershipKey,
    epochAuthenticator: schedule.epochAuthenticator,
    exporter: schedule.exporterSecret,
  }
}

/** A commit's content and what it leads to. */
export interface EpochStep {
  readonly content: FramedContentCommit
  readonly signature: Uint8Array
  readonly tree: RatchetTree
  /** Wiped here. */
  readonly commitSecret: Uint8Array
}

export interface NextEpoch {
  readonly context: GroupContext
  readonly confirmationTag: Uint8Array
  readonly secrets: EpochSecrets
  /** For the Welcome; the caller wipes both. */
  readonly joinerSecret: Uint8Array
  readonly welcomeSecret: Uint8Array
}

/** The key schedule's step over a commit (RFC 9420 section 8). */
export async function enterNextEpoch(
  crypto: Crypto,
  implementation: CiphersuiteImpl,
  state: GroupState,
  step: EpochStep,
): Promise<NextEpoch> {
  const { kdf, hash } = implementation
  const context = await nextEpochContext(
    state.context,
    'mls_public_message',
    step.content,
    step.signature,
    treeHash(crypto, state.suite, step.tree),
    state.confirmationTag,
    hash,
  )
  const noPsk = new Uint8Array(kdf.size)
  const { init } = state.secrets
  const epoch = await initializeEpoch(init, step.commitSecret, context, noPsk, kdf)
  wipe(step.commitSecret, epoch.encryptionSecret)
  const { confirmationKey } = epoch.keySchedule
  const { confirmedTranscriptHash } = context
  return {
    context,
    confirmationTag: await createConfirmationTag(confirmationKey, confirmedTranscriptHash, hash),
    secrets: keepSecrets(epoch.keySchedule),
    joinerSecret: epoch.joinerSecret,
    welcomeSecret: epoch.welcomeSecret,
  }
}

// ---- Stored form --------------------------------------------------------------------------

const secret = opaque(64, 1)
const stateCodec = struct({
  format: format('mls group'),
  context: opaque(VARINT_MAX),
  tree: opaque(VARINT_MAX),
  leaf: u32,
  privateKeys: vector(struct({ node: u32, key: opaque(64, 1) }), 64),
  signatureSecret: opaque(64, 1),
  confirmationTag: secret,
  init: secret,
  membershipKey: secret,
  epochAuthenticator: secret,
  exporter: optional(secret),
  extensions,
})

/** A state as bytes; they hold its secrets. */
export function encodeState(state: GroupState): Uint8Array {
  return encode(stateCodec, {
    format: STRUCTURE_VERSION,
    context: encodeGroupContext(state.context),
    tree: encodeTree(state.tree),
    leaf: state.leaf,
    privateKeys: [...state.privateKeys].map(([node, key]) => ({ node, key })),
    signatureSecret: state.signatureSecret,
    confirmationTag: state.confirmationTag,
    ...state.secrets,
    extensions: NO_EXTENSIONS,
  })
}

/** The state again; null for bytes that are not a state of this version. */
export function decodeState(crypto: Crypto, bytes: Uint8Array): GroupState | null {
  const decoded = decode(stateCodec, bytes.slice())
  if (decoded.kind === 'malformed') return null
  const stored = decoded.value
  const parts = decodeParts(stored.context, stored.tree)
  const suite = parts === null ? null : suiteOfName(parts.context.cipherSuite)
  if (parts === null || suite === null || leafAt(parts.tree, stored.leaf) === null) return null
  const { context, tree } = parts
  if (!equalBytes(treeHash(crypto, suite, tree), context.treeHash)) return null
  const { init, membershipKey, epochAuthenticator, exporter } = stored
  return {
    suite,
    context,
    epochId: epochIdOf(crypto, suite, context),
    tree,
    leaf: leafIndex(stored.leaf),
    privateKeys: new Map(stored.privateKeys.map(({ node, key }) => [node, key])),
    signatureSecret: stored.signatureSecret,
    confirmationTag: stored.confirmationTag,
    secrets: { init, membershipKey, epochAuthenticator, exporter },
  }
}

/** Own bytes, but a damaged medium must not throw. */
function decodeParts(
  contextBytes: Uint8Array,
  treeBytes: Uint8Array,
): { readonly context: GroupContext; readonly tree: RatchetTree } | null {
  try {
    const context = decodeGroupContext(contextBytes, 0)
    const tree = decodeRatchetTree(treeBytes, 0)
    if (context === undefined || tree === undefined) return null
    if (context[1] !== contextBytes.length || tree[1] !== treeBytes.length) return null
    return { context: context[0], tree: tree[0] }
  } catch {
    return null
  }
}
