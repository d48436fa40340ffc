/**
 * The MLS port: the part of RFC 9420 that rooms need, as pure functions over an opaque group
 * state. Owns the contract; `mls/ts-mls.ts` implements it. A state is never changed by a call; the
 * caller stores `next` before anything that was made with it leaves the device (DEV-1).
 */
import type { Brand, Epoch, EpochId, LeafIndex, TimeMs } from '#core/base/ids.ts'
import type { Entropy } from '#core/base/ports.ts'
import type { Suite } from '#core/crypto/suites.ts'

/** Group state of one member. Opaque; `serialise` gives bytes that hold secrets. */
export type MlsGroup = Brand<{ readonly opaque: true }, 'MlsGroup'>

/** What a leaf says of its member. `identity` is the basic credential's identity (ID-5). */
export interface MlsLeaf {
  readonly leaf: LeafIndex
  readonly identity: Uint8Array
  readonly signatureKey: Uint8Array
}

/** The signing identity of the local device in one suite. */
export interface MlsSigner {
  readonly identity: Uint8Array
  readonly signatureKey: Uint8Array
  readonly signatureSecret: Uint8Array
}

export interface KeyPackageMade {
  /** KeyPackage as an MLSMessage (RFC 9420 section 10). */
  readonly keyPackage: Uint8Array
  /** KeyPackageRef (RFC 9420 section 5.2). */
  readonly reference: Uint8Array
  /** Private keys, serialised; a secret. */
  readonly secrets: Uint8Array
}

export type MlsRefusal = {
  readonly kind: 'refused'
  readonly code:
    | 'malformed'
    | 'wrongGroup'
    | 'wrongEpoch'
    | 'wrongSuite'
    | 'invalid'
    | 'notForUs'
    | 'expired'
    /** Commit or Welcome would be above its limit; nothing was made. */
    | 'tooLarge'
}

export interface CommitMade {
  readonly kind: 'committed'
  /** Commit as PublicMessage in an MLSMessage. Adds and removes travel by value, with a path. */
  readonly commit: Uint8Array
  /** Welcome as an MLSMessage with the tree inside; null without adds. */
  readonly welcome: Uint8Array | null
  /** The state after the commit; becomes current when the hub has sequenced it. */
  readonly next: MlsGroup
}

export interface CommitProcessed {
  readonly kind: 'processed'
  readonly next: MlsGroup
  readonly committer: LeafIndex
  readonly added: readonly MlsLeaf[]
  readonly removed: readonly MlsLeaf[]
  /** authenticated_data of the commit (LOG-5). */
  readonly authenticated: Uint8Array
}

/** What anybody can read from a commit without holding a secret; nothing of it is validated. */
export interface HandshakeView {
  readonly kind: 'commit'
  readonly groupId: Uint8Array
  readonly epoch: Epoch
  readonly sender: LeafIndex
  readonly authenticated: Uint8Array
  readonly adds: readonly { readonly identity: Uint8Array; readonly signatureKey: Uint8Array }[]
  readonly removes: readonly LeafIndex[]
  /** Leaf of the committer in the path; null for a commit without path. */
  readonly pathLeaf: { readonly identity: Uint8Array; readonly signatureKey: Uint8Array } | null
  /** Count of proposals of any other kind or by reference. */
  readonly otherProposals: number
}

export interface KeyPackageView {
  readonly kind: 'keyPackage'
  readonly suite: number
  readonly reference: Uint8Array
  readonly identity: Uint8Array
  readonly signatureKey: Uint8Array
  readonly notBefore: TimeMs
  readonly notAfter: TimeMs
}

export interface Mls {
  makeKeyPackage(
    options: {
      readonly suite: Suite
      readonly signer: MlsSigner
      readonly notBefore: TimeMs
      readonly notAfter: TimeMs
      readonly entropy: Entropy
    },
  ): Promise<KeyPackageMade>

  /** A group of one member at epoch 0. */
  createGroup(
    options: {
      readonly suite: Suite
      readonly groupId: Uint8Array
      readonly signer: MlsSigner
      readonly nowMs: TimeMs
      readonly entropy: Entropy
    },
  ): Promise<MlsGroup>

  commit(
    group: MlsGroup,
    options: {
      readonly adds: readonly Uint8Array[]
      readonly removes: readonly LeafIndex[]
      readonly authenticated: Uint8Array
      readonly nowMs: TimeMs
      readonly entropy: Entropy
    },
  ): Promise<CommitMade | MlsRefusal>

  /** Follows a commit. The time decides nothing: it is valid for every member or for none. */
  processCommit(
    group: MlsGroup,
    commit: Uint8Array,
    nowMs: TimeMs,
  ): Promise<CommitProcessed | { readonly kind: 'removedFromGroup' } | MlsRefusal>

  /** Joins by a Welcome for a KeyPackage of one's own. The time decides nothing. */
  join(
    options: {
      readonly welcome: Uint8Array
      readonly keyPackage: Uint8Array
      readonly secrets: Uint8Array
      readonly nowMs: TimeMs
    },
  ): Promise<{ readonly kind: 'joined'; readonly group: MlsGroup } | MlsRefusal>

  /** KeyPackageRefs that a Welcome is for; null when it is malformed. */
  welcomeRecipients(welcome: Uint8Array): readonly Uint8Array[] | null
  readCommit(message: Uint8Array): HandshakeView | MlsRefusal
  readKeyPackage(message: Uint8Array): Promise<KeyPackageView | MlsRefusal>

  suite(group: MlsGroup): Suite
  groupId(group: MlsGroup): Uint8Array
  epoch(group: MlsGroup): Epoch
  /** Hash(GroupContext). */
  epochId(group: MlsGroup): EpochId
  ownLeaf(group: MlsGroup): LeafIndex
  /** Width of the tree in leaves: the number over which the secret tree spans. */
  leafCount(group: MlsGroup): number
  leaves(group: MlsGroup): readonly MlsLeaf[]
  epochAuthenticator(group: MlsGroup): Uint8Array
  /** MLS-Exporter (RFC 9420 section 8.5). Not after `withoutExporter`. */
  exportSecret(
    group: MlsGroup,
    options: { readonly label: string; readonly context: Uint8Array; readonly length: number },
  ): Promise<Uint8Array>
  /**
   * The group without what further exports need, once the exports of its epoch have been taken
   * (KEY-1): whoever takes the stored state can then derive none of them again. `consumed` is the
   * caller's to wipe when no other state of the epoch is in use.
   */
  withoutExporter(
    group: MlsGroup,
  ): { readonly group: MlsGroup; readonly consumed: readonly Uint8Array[] }
  serialise(group: MlsGroup): Uint8Array
  /** Null when the bytes are not a state of this version. */
  restore(bytes: Uint8Array): MlsGroup | null
}
