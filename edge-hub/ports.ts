/**
 * The ports of the hub with their contracts. Owns no implementation: `adapters/` has them, the
 * suites in `tests/contract` decide whether an adapter keeps the contract.
 */
import type { AccountName, DeviceId, LogPosition, RoomId, Term } from '#core/base/ids.ts'
import type { TransportKind } from '#core/device/transport.ts'
import type { LogEntry } from '#core/wire/log-entry.ts'

// ---- Transport ----------------------------------------------------------------------------

/** Which queue of a session: control, one of the shared room streams, or the open room's. */
export type Lane =
  | { readonly kind: 'control' }
  | { readonly kind: 'shared'; readonly index: number }
  | { readonly kind: 'open' }

/** One session of a device, whatever carries it. */
export interface HubSession {
  readonly transport: TransportKind
  /**
   * Starts one write of frames on a lane. Resolves when the transport took it (backpressure);
   * rejects when the session is gone. The caller keeps one write in flight for each lane.
   */
  write(lane: Lane, frames: readonly Uint8Array[]): Promise<void>
  /** May be lost; false when it cannot go as a datagram at all (then use `write` on control). */
  writeDatagram(frame: Uint8Array): boolean
  /** Ends the session at once; pending writes reject. `closed` follows. */
  close(): void
}

export interface HubSessionListener {
  /**
   * Frames of one read. Where the transport can wait, it reads on when the returned promise has
   * resolved, so that a listener that is busy slows the sender down. Must not reject.
   */
  framesReceived(frames: readonly Uint8Array[]): void | Promise<void>
  /**
   * A byte stream lost its place or a frame was over its limit: nothing more is read from the
   * session, which can still be written to and must end (WIRE-2).
   */
  framingLost(code: 'truncated' | 'oversized'): void
  /** Once, at the end, whoever ended the session. Nothing follows. */
  closed(): void
}

export interface HubTransport {
  /**
   * Calls `accept` for each new session; it returns the listener or null to turn it away. Resolves
   * once sessions are taken; rejects when the address cannot be had.
   */
  listen(accept: (session: HubSession) => HubSessionListener | null): Promise<void>
  /** Takes no new sessions; those that are open go on. */
  stop(): Promise<void>
}

/** What adapters report; `events.ts` turns each into a metric and a redacted line. */
export type AdapterEvent =
  /** New handshakes get the new certificate. */
  | { readonly kind: 'certificateReplaced'; readonly origin: 'made' | 'files' }
  /** The files changed but cannot be used; the certificate before stays. */
  | { readonly kind: 'certificateRefused' }
  | { readonly kind: 'handshakeFailed'; readonly transport: TransportKind }
  | { readonly kind: 'sessionTurnedAway'; readonly transport: TransportKind }
  /** A transaction failed; its batch was rejected and nothing of it is stored. */
  | { readonly kind: 'storeFailed' }
  /** The medium failed; every further write rejects. */
  | { readonly kind: 'storeBroken' }
  /** What was read is not what was written: it was not used, and who asked was refused. */
  | { readonly kind: 'storeDamaged'; readonly part: 'log' | 'directory' }
  /** A fault of our own that was kept from ending the process. */
  | { readonly kind: 'adapterFaulted' }

export type Observe = (event: AdapterEvent) => void

// ---- Log ----------------------------------------------------------------------------------

export interface StoredEntry {
  readonly position: LogPosition
  readonly entry: LogEntry
  readonly entryHash: Uint8Array
}

/** One room's part of a batch. */
export interface RoomAppend {
  readonly room: RoomId
  readonly term: Term
  /** Position that the first entry must get. */
  readonly expectedNext: LogPosition
  readonly entries: readonly StoredEntry[]
  /** The sequencer's room state after these entries, opaque; null leaves it as it was. */
  readonly state: Uint8Array | null
  /**
   * Largest accepted generation by sender, for the replay check after a restart (KEY-5). A smaller
   * one than stored changes nothing.
   */
  readonly generations: readonly StoredGeneration[]
  /**
   * Welcomes that are stored together with the entries (ROOM-7). A device with
   * `welcomesPerDeviceMax` of them waiting gets no further one, and an account whose rows are
   * damaged gets none: the entries are stored without (HUB-10).
   */
  readonly welcomes: readonly HeldWelcome[]
  /** What verdicts among the entries do; null without any. */
  readonly effects: VerdictEffects | null
}

/**
 * What verdicts do to what is stored beside the log. An epoch is named by the position of the
 * genesis or commit that made it: epoch numbers come again after a void.
 */
export interface VerdictEffects {
  /**
   * Epochs from here on are void: their generations go, and the Welcomes of their commits, held or
   * not. This comes before all else in its append. Null without a void.
   */
  readonly voidFrom: LogPosition | null
  /**
   * Epochs that became final, oldest first. Generations of the epochs below the last of them go;
   * held Welcomes of commits up to it are given out.
   */
  readonly finals: readonly StoredVersion[]
}

/** The public state of a room's group from a final epoch on, as a change of the version before. */
export interface StoredVersion {
  /** Position of the genesis or commit that made the epoch. */
  readonly position: LogPosition
  readonly leafWidth: number
  /** The group without its tree, opaque. */
  readonly head: Uint8Array
  /** Nodes that changed. Those beyond the tree of `leafWidth` leaves are blank without a word. */
  readonly nodes: readonly StoredNodeChange[]
  /** Certificates that the leaves name now and did not name before. */
  readonly certificates: readonly StoredCertificate[]
  /** Hashes of those that no leaf names any more. */
  readonly certificatesDropped: readonly Uint8Array[]
  /** Invitations that may have an anchor; anchors of all others are dropped. */
  readonly invitations: readonly Uint8Array[]
}

export interface StoredNode {
  /** Index in the tree (RFC 9420 appendix C). */
  readonly node: number
  readonly bytes: Uint8Array
}

export interface StoredNodeChange {
  readonly node: number
  /** Null: blank. */
  readonly bytes: Uint8Array | null
}

export interface StoredCertificate {
  /** 32 bytes (ID-5). */
  readonly hash: Uint8Array
  readonly certificate: Uint8Array
}

export interface StoredGeneration {
  /** Position of the genesis or commit that made the epoch. */
  readonly origin: LogPosition
  readonly leaf: number
  readonly lane: number
  readonly generation: number
}

export interface StoredWelcome {
  readonly account: AccountName
  readonly device: DeviceId
  readonly position: LogPosition
  readonly welcome: Uint8Array
}

export interface HeldWelcome extends StoredWelcome {
  /** Kept back until the epoch of its commit is final. */
  readonly held: boolean
}

export type AppendOutcome =
  | { readonly kind: 'appended' }
  | { readonly kind: 'positionConflict'; readonly next: LogPosition }
  | { readonly kind: 'termFenced'; readonly term: Term }
  /** What is stored of the room is not what was written; nothing more is appended to it. */
  | { readonly kind: 'damaged' }

export interface StoredRoom {
  readonly next: LogPosition
  readonly headHash: Uint8Array
  readonly state: Uint8Array
  readonly generations: readonly StoredGeneration[]
}

/**
 * The durable log. An `appended` outcome means: on the medium, synced (HUB-3). Appends of several
 * rooms that are given together may share one transaction; each room's outcome is its own, and a
 * conflict of one room does not hold up another. Rejects only when nothing of the batch was stored.
 * What is read is what was written: where the medium has changed or lost something, a read rejects
 * (HUB-10).
 */
export interface RoomLog {
  append(batch: readonly RoomAppend[]): Promise<readonly AppendOutcome[]>
  readRoom(room: RoomId): Promise<StoredRoom | null>
  /** At most `limit` entries from `from` on, in order, without gap, at most `bytesMax` in bodies
   * (but at least one entry where there is one). */
  read(
    room: RoomId,
    range: { readonly from: LogPosition; readonly limit: number; readonly bytesMax: number },
  ): Promise<readonly StoredEntry[]>
  /** The newest version at or below a position; null where none is kept. */
  readVersion(room: RoomId, at: LogPosition): Promise<VersionHead | null>
  /**
   * The nodes of a version that are not blank, by index from `from` on: at most `limit`, at most
   * `bytesMax` in bytes (but at least one where there is one). A version that is not kept has none.
   */
  readNodes(room: RoomId, page: NodePage): Promise<readonly StoredNode[]>
  /** The certificates of a version, by hash, behind `after`; bounded as the nodes are. */
  readCertificates(room: RoomId, page: CertificatePage): Promise<readonly StoredCertificate[]>
  /**
   * Keeps an anchor in place of the one of its invitation before. As long as it stays, so does its
   * version; versions that neither an anchor names nor is the newest one may go. `gone` when its
   * version is not kept any more: nothing is stored.
   */
  leaveAnchor(room: RoomId, anchor: StoredAnchor): Promise<'left' | 'gone'>
  readAnchor(room: RoomId, invitation: Uint8Array): Promise<StoredAnchor | null>
  close(): Promise<void>
}

export interface VersionHead {
  readonly position: LogPosition
  readonly leafWidth: number
  readonly head: Uint8Array
}

export interface NodePage {
  /** Position of the version. */
  readonly version: LogPosition
  readonly from: number
  readonly limit: number
  readonly bytesMax: number
}

export interface CertificatePage {
  readonly version: LogPosition
  /** Null: from the first. */
  readonly after: Uint8Array | null
  readonly limit: number
  readonly bytesMax: number
}

export interface StoredAnchor {
  /** Id of the invitation, 32 bytes. */
  readonly invitation: Uint8Array
  /** Position of the version in which the anchor stands. */
  readonly version: LogPosition
  /** Position of the entry that the anchor names. */
  readonly position: LogPosition
  readonly anchor: Uint8Array
}

// ---- Directory ----------------------------------------------------------------------------

export interface StoredAccount {
  readonly account: AccountName
  /** Certificate with attestation, encoded (ID-6). */
  readonly certificate: Uint8Array
  readonly rootHash: Uint8Array
}

export interface StoredKeyPackage {
  readonly reference: Uint8Array
  readonly suite: number
  readonly keyPackage: Uint8Array
  readonly notAfter: number
}

export interface ClaimedKeyPackage {
  readonly device: DeviceId
  readonly keyPackage: Uint8Array
  readonly lastResort: boolean
}

export interface WaitingWelcome extends StoredWelcome {
  readonly id: bigint
  readonly room: RoomId
}

/** What is read or given out is what was written; where it is not, a call rejects (HUB-10). */
export interface Directory {
  /** First come, first served, atomically; the same root may repeat it with a new certificate. */
  register(account: StoredAccount): Promise<'registered' | 'nameTaken'>
  readAccount(account: AccountName): Promise<StoredAccount | null>
  /**
   * Adds up to the limit for each device, all or nothing; the last resort package replaces the one
   * of its suite before. A reference that is stored or was given out is passed over (DIR-2).
   */
  publish(
    owner: { readonly account: AccountName; readonly device: DeviceId },
    packages: {
      readonly single: readonly StoredKeyPackage[]
      readonly lastResort: StoredKeyPackage | null
    },
  ): Promise<'published' | 'tooMany'>
  /** One per device of the account; a single-use package is given out once, ever (DIR-2). */
  claim(
    account: AccountName,
    options: { readonly suite: number; readonly nowMs: number },
  ): Promise<readonly ClaimedKeyPackage[]>
  /** Single-use packages that have not expired. */
  countKeyPackages(account: AccountName, device: DeviceId): Promise<number>
  /** Oldest first, a bounded page of those that are given out and not among the ids. */
  readWelcomes(
    account: AccountName,
    device: DeviceId,
    without?: ReadonlySet<bigint>,
  ): Promise<readonly WaitingWelcome[]>
  /** Rooms that hold Welcomes for the device back, each once; those of the oldest first. */
  readHoldingRooms(account: AccountName, device: DeviceId): Promise<readonly RoomId[]>
  /** Does nothing unless this device owns the welcome and it was given out. Ids never return. */
  deleteWelcome(
    owner: { readonly account: AccountName; readonly device: DeviceId },
    id: bigint,
  ): Promise<void>
}
