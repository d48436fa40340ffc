/**
 * The state of the device machine. Owns its types and the empty state; every value is immutable and
 * replaced, never changed, so that a step whose changes were not stored leaves no trace (DEV-1).
 */
import type { AccountName, DeviceId, EpochId, HubDomain, LeafIndex } from '#core/base/ids.ts'
import type { LogPosition, RequestId, RoomId, TimeMs } from '#core/base/ids.ts'
import type { CommandError } from '#core/device/io.ts'
import type { TransportKind } from '#core/device/transport.ts'
import type { AccountRecord, KeyPackageRecord, OutboxRecord } from '#core/device/records.ts'
import type { Anchored, CertificateRecord, RoomRecord, Undo } from '#core/device/records.ts'
import type { Greeting, Hello } from '#core/identity/session-proof.ts'
import type { Group } from '#core/mls/group.ts'
import type { PolicyInvitation } from '#core/policy/room-policy.ts'
import type { PublicGroup } from '#core/mls/public-group.ts'
import type { NodeChanges } from '#core/mls/ratchet-tree.ts'
import type { Finality, VoteChoice } from '#core/policy/finality.ts'
import type { LogEntry } from '#core/wire/log-entry.ts'
import type { SenderKeys } from '#core/sender-keys/secret-tree.ts'

export type AccountState =
  | { readonly kind: 'none' }
  /** The name was chosen; the certificate is made when the hub has said its domain. */
  | {
    readonly kind: 'wanted'
    readonly name: string
    readonly deviceName: string
    readonly command: number
  }
  | {
    readonly kind: 'registering'
    readonly record: AccountRecord
    readonly command: number | null
  }
  | { readonly kind: 'refused'; readonly name: string; readonly code: string }
  | {
    readonly kind: 'registered'
    readonly record: AccountRecord
    /** The sign-up that is done once the hub holds KeyPackages of the device. */
    readonly command: number | null
  }

/** What a hub said of itself first, and must keep to (SES-2). */
export interface KnownHub {
  readonly domain: HubDomain
  readonly key: Uint8Array
}

interface Opened {
  readonly attempt: number
  readonly transport: TransportKind
  readonly hello: Hello
  readonly lastHeardMs: number
}

export type SessionState =
  | { readonly kind: 'idle' }
  | { readonly kind: 'waiting'; readonly failures: number; readonly retryAtMs: number }
  | { readonly kind: 'dialing'; readonly attempt: number; readonly failures: number }
  | Opened & { readonly kind: 'greeting'; readonly failures: number }
  /** Greeted, not authenticated: there is no account yet, or it is being registered. */
  | Opened & {
    readonly kind: 'guest'
    readonly greeting: Greeting
    readonly failures: number
  }
  | Opened & {
    readonly kind: 'authenticating'
    readonly greeting: Greeting
    readonly failures: number
  }
  | Opened & { readonly kind: 'ready'; readonly greeting: Greeting; readonly beats: number }
  /** The hub is another one than before, or speaks no version of ours: no redial by itself. */
  | { readonly kind: 'refused'; readonly code: CommandError }
  | { readonly kind: 'closed' }

/** A request that the hub has not answered. Dropped with its session. */
export type PendingRequest =
  & { readonly sentAtMs: number }
  & (
    | { readonly kind: 'register' }
    | { readonly kind: 'publish' }
    | {
      readonly kind: 'claim'
      readonly command: number
      readonly room: string
      readonly account: AccountName
    }
    | { readonly kind: 'createRoom'; readonly room: string }
    | { readonly kind: 'subscribe'; readonly room: string }
    | {
      readonly kind: 'frame'
      readonly room: string
      readonly outboxKey: string
      /** What was given: the item may have been sealed anew since. */
      readonly sealed: Uint8Array
    }
    | { readonly kind: 'commit'; readonly room: string; readonly commit: Uint8Array }
    | { readonly kind: 'vote'; readonly room: string }
    | { readonly kind: 'anchor'; readonly room: string; readonly anchor: Anchored }
    | { readonly kind: 'group'; readonly room: string }
  )

/** A member as this device sees it (ID-7). */
export interface Member {
  readonly leaf: LeafIndex
  readonly account: AccountName
  readonly device: DeviceId
  readonly deviceName: string
  readonly rootHash: Uint8Array
  /** False where the hub did not attest the account: no name is shown. */
  readonly verified: boolean
  readonly signatureKey: Uint8Array
}

/** A reason to commit (ROOM-4). */
export type CommitJob =
  | {
    readonly kind: 'add'
    readonly keyPackage: Uint8Array
    readonly certificate: Uint8Array
    readonly account: AccountName
    readonly device: DeviceId
    readonly command: number | null
  }
  | {
    readonly kind: 'invite'
    readonly invitation: PolicyInvitation
    readonly fragment: string
    readonly command: number | null
  }
  | { readonly kind: 'revoke'; readonly id: Uint8Array; readonly command: number | null }

export interface PendingCommit {
  readonly commit: Uint8Array
  /** Encoded `submitCommit` body without its request id, to submit again. */
  readonly submission: Uint8Array
  /** The epoch in which it was made. */
  readonly before: EpochId
  readonly next: Group
  readonly jobs: readonly CommitJob[]
  /** True while the hub has it. */
  readonly sent: boolean
  /** A session before this one may have given it. */
  readonly isRepeat: boolean
}

/** Keys of one epoch (KEY-1 to KEY-5). */
export interface EpochKeys {
  readonly epochId: EpochId
  readonly senderKeys: SenderKeys
  readonly ephemeralRoot: Uint8Array
  /** Reserved message secrets of the own chain, smallest generation first (KEY-4). */
  readonly reserved: readonly { readonly generation: number; readonly secret: Uint8Array }[]
}

/** An epoch of a room, as far as this device holds it (ROOM-4). */
export interface RoomEpoch {
  /** Of the entry that made it: the genesis or a commit. */
  readonly position: LogPosition
  readonly entryHash: Uint8Array
  readonly public: PublicGroup
  /** Null where no secret of the epoch is held: the device joins, or could not follow. */
  readonly group: Group | null
  readonly keys: EpochKeys | null
  /** As it was published in the entry. */
  readonly groupInfo: Uint8Array
}

/** An epoch above the last final one. */
export interface ProvisionalEpoch extends RoomEpoch {
  readonly time: TimeMs
  /** What its commit changed in the tree. */
  readonly changed: NodeChanges
  /** This device made the commit. */
  readonly isOwn: boolean
  /** What the own commit was for; it is made again after a void, unless a restart came between. */
  readonly jobs: readonly CommitJob[]
  readonly undo: Undo
  /** `cannot` where this device does not follow, or was shown a wrong GroupInfo. */
  readonly choice: VoteChoice
  /** The own vote was given to the hub in this session. */
  readonly isVoteSent: boolean
}

export interface OutboxItem {
  readonly key: string
  readonly record: OutboxRecord
  /** Given to the hub in this session and not answered. */
  readonly inFlight: boolean
  readonly attempts: number
}

export type Subscription =
  | { readonly kind: 'none' }
  /** `isCut`: the hub has said meanwhile that it ended a subscription, maybe this one. */
  | { readonly kind: 'asked'; readonly isCut: boolean }
  /** Caught up when the room's `next` has reached `until`. */
  | {
    readonly kind: 'following'
    readonly until: LogPosition
    /** Of which epoch the hub has taken which generations of this device (KEY-5). */
    readonly epochId: EpochId
    readonly lastGenerations: readonly { readonly lane: number; readonly generation: number }[]
  }

export interface TypingMark {
  readonly leaf: LeafIndex
  readonly untilMs: number
}

/** One entry at its place in the log. */
export interface PlacedEntry {
  readonly position: LogPosition
  readonly time: TimeMs
  readonly entry: LogEntry
}

/** The way into a room, in memory only: a restart begins it again (ROOM-7, JOIN-7). */
export type Joining =
  /** Parts of the answer to `requestGroup` come in. */
  | { readonly kind: 'asked'; readonly parts: readonly Uint8Array[]; readonly size: number }
  /** The log is replayed; at its end the device commits itself into the group. */
  | { readonly kind: 'link' }
  /**
   * The log is walked from its beginning, to a resync at its end: the state of the group was lost,
   * a link was refused, or a Welcome opened nothing.
   */
  | { readonly kind: 'recovery' }
  /** The log is replayed from its beginning up to the commit that added this device. */
  | {
    readonly kind: 'welcome'
    readonly id: bigint
    readonly position: LogPosition
    readonly group: Group
    readonly keyPackage: string
  }

export interface RoomState {
  readonly key: string
  readonly id: RoomId
  readonly record: RoomRecord
  /** The last final epoch; null while nothing is known. */
  readonly final: RoomEpoch | null
  /** The epochs above it, oldest first. */
  readonly chain: readonly ProvisionalEpoch[]
  /** What the log says of them; null while nothing is known. */
  readonly finality: Finality | null
  /** Commits on which the hub wants a vote of this device. */
  readonly asked: readonly LogPosition[]
  /** Certificates of the tree's leaves that this device has checked, by hex hash. */
  readonly certificates: ReadonlyMap<string, CertificateRecord>
  readonly joining: Joining | null
  /** Commands that wait until a link of theirs has its anchor, by hex id of the invitation. */
  readonly inviting: ReadonlyMap<string, number>
  readonly outbox: readonly OutboxItem[]
  readonly jobs: readonly CommitJob[]
  readonly pending: PendingCommit | null
  readonly subscription: Subscription
  readonly typing: readonly TypingMark[]
  readonly typingSentAtMs: number
  /** Own commits in a row that others came before. */
  readonly racesLost: number
  /** Until then the hub is asked for nothing in this room; it said so (WIRE-5). */
  readonly holdUntilMs: number
  /** Hashes of the last entries that this device chained, oldest first (LOG-5). */
  readonly recent: readonly ChainedHash[]
  /** Ids of the last messages that were new, oldest first (CONTENT-4). */
  readonly said: readonly SaidMessage[]
}

export interface SaidMessage {
  readonly position: LogPosition
  readonly messageId: Uint8Array
}

export interface ChainedHash {
  readonly position: LogPosition
  readonly hash: Uint8Array
}

/** A Welcome that the hub has given out and that is not acknowledged (ROOM-7). */
export interface HeldWelcome {
  readonly id: bigint
  /** Of the commit to which it belongs. */
  readonly position: LogPosition
  /** MLSMessage; empty once it was opened, or found to open nothing. */
  readonly welcome: Uint8Array
  /** The way in that it gives has begun. */
  readonly isUsed: boolean
}

export interface DeviceState {
  readonly account: AccountState
  readonly hub: KnownHub | null
  readonly session: SessionState
  readonly online: boolean
  /** The configured origin of the hub. */
  readonly home: string
  /** Origin to dial: `home`, or the target of a redirect (SES-7). */
  readonly endpoint: string
  readonly redirects: number
  readonly nextAttempt: number
  /** A session that is over here: what it had said before was not stored. */
  readonly deafTo: number | null
  /** When rooms go on by themselves; infinite where none waits. */
  readonly wakeAtMs: number
  readonly nextRequest: number
  readonly requests: ReadonlyMap<RequestId, PendingRequest>
  readonly keyPackages: ReadonlyMap<string, KeyPackageRecord>
  /** The newest of each room, in memory only: the next session brings them again. */
  readonly welcomes: ReadonlyMap<string, HeldWelcome>
  readonly rooms: ReadonlyMap<string, RoomState>
}

/** The account once the hub has attested it; null before. */
export function registeredOf({ account }: DeviceState): AccountRecord | null {
  return account.kind === 'registered' ? account.record : null
}

/** The state of a device that has stored nothing yet. */
export function emptyState(home: string): DeviceState {
  return {
    account: { kind: 'none' },
    hub: null,
    session: { kind: 'idle' },
    online: true,
    home,
    endpoint: home,
    redirects: 0,
    nextAttempt: 1,
    deafTo: null,
    wakeAtMs: Number.POSITIVE_INFINITY,
    nextRequest: 1,
    requests: new Map(),
    keyPackages: new Map(),
    welcomes: new Map(),
    rooms: new Map(),
  }
}
