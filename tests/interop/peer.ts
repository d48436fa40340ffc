/**
 * What a client of MLS can do in a test of interoperation, whoever wrote it: `MlsPeer`. Owns the
 * interface and the names of clients; the implementations live beside it. One peer is one client
 * in at most one group, on suite 0x0001, with handshakes as PublicMessage (RFC 9420 section 6.2).
 * All messages go in and out as bytes of an MLSMessage (section 6).
 */

/** Label of the exporter that every peer offers; the context is empty (section 8.5). */
export const EXPORTER_LABEL = 'exporter'
export const EXPORTER_LENGTH = 32

/**
 * A client as a basic credential (section 5.3) names it. core-crypto takes identities of this form
 * only: a UUID, the device in hexadecimal, a domain.
 */
export function clientName(device: number): string {
  const uuid = `00000000-0000-4000-8000-${device.toString(16).padStart(12, '0')}`
  return `${uuid}:${device.toString(16)}@kalandra.example`
}

/** Who may propose from outside of a group (section 12.1.8.1). */
export interface OutsideSender {
  /** Ed25519, 32 bytes. */
  readonly signatureKey: Uint8Array
  /** Identity of the basic credential beside the key. */
  readonly identity: Uint8Array
}

export interface Change {
  /** KeyPackages of who comes. */
  readonly adds: readonly Uint8Array[]
  /** Names of who goes. */
  readonly removes: readonly string[]
}

export interface CommitMade {
  readonly commit: Uint8Array
  /** Null without adds. */
  readonly welcome: Uint8Array | null
}

/** Every method rejects when the peer refuses. */
export interface MlsPeer {
  /** What the peer runs on, as test titles say it. */
  readonly engine: string
  readonly name: string
  /** False: adds and removes need a commit each. */
  readonly mixesChanges: boolean
  /** A KeyPackage of its own, whose secrets the peer keeps. */
  keyPackage(): Promise<Uint8Array>
  /** A group of itself; `sender` stands in its `external_senders`. */
  create(groupId: Uint8Array, sender?: OutsideSender): Promise<void>
  join(welcome: Uint8Array): Promise<void>
  /** Joins by an external commit, which it returns (section 12.4.3.2). */
  joinFromOutside(groupInfo: Uint8Array): Promise<Uint8Array>
  /** Forgets the group and joins again, taking out its own old leaf (section 12.4.3.2). */
  resync(groupInfo: Uint8Array): Promise<Uint8Array>
  /** Commits and enters the new epoch; no change at all renews its own path. */
  commit(change: Change): Promise<CommitMade>
  /** Commits by reference whatever has been proposed to it. */
  commitProposed(): Promise<CommitMade>
  follow(commit: Uint8Array): Promise<void>
  /** Proposes an Update of its own leaf; null where the library offers none. */
  proposeUpdate(): Promise<Uint8Array | null>
  /** Takes a Proposal that a later commit may refer to. */
  takeProposal(proposal: Uint8Array): Promise<void>
  /** GroupInfo with `external_pub` and `ratchet_tree`; null where the peer cannot make one now. */
  groupInfo(): Promise<Uint8Array | null>
  protect(plaintext: Uint8Array): Promise<Uint8Array>
  unprotect(message: Uint8Array): Promise<Uint8Array>
  /** MLS-Exporter of the epoch: equal for two members exactly when their epochs are. */
  exporter(): Promise<Uint8Array>
  /** The same for section 8.7; null where the library does not show it. */
  epochAuthenticator(): Promise<Uint8Array | null>
  epoch(): Promise<bigint>
  /** Names of all members, sorted. */
  members(): Promise<readonly string[]>
}
