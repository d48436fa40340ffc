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
   * one than stored changes nothing; naming a new epoch drops those of the epochs before it.
   */
  readonly generations: readonly StoredGeneration[]
  /**
   * Welcomes that become visible together with the entries (ROOM-7). A device with
   * `welcomesPerDeviceMax` of them waiting gets no further one.
   */
  readonly welcomes: readonly StoredWelcome[]
}

export interface StoredGeneration {
  readonly epoch: bigint
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

export type AppendOutcome =
  | { readonly kind: 'appended' }
  | { readonly kind: 'positionConflict'; readonly next: LogPosition }
  | { readonly kind: 'termFenced'; readonly term: Term }

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
  close(): Promise<void>
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
  /** Oldest first, a bounded page; the rest can be read once these are deleted. */
  readWelcomes(account: AccountName, device: DeviceId): Promise<readonly WaitingWelcome[]>
  /** Does nothing unless this device owns the welcome. Ids never return. */
  deleteWelcome(
    owner: { readonly account: AccountName; readonly device: DeviceId },
    id: bigint,
  ): Promise<void>
}
