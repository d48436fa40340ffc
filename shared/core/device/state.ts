/**
 * The state of the device machine. Owns its types and the empty state; every value is immutable and
 * replaced, never changed, so that a step whose changes were not stored leaves no trace (DEV-1).
 */
import type { AccountName, DeviceId, EpochId, HubDomain, LeafIndex } from '#core/base/ids.ts'
import type { LogPosition, RequestId, RoomId, TimeMs } from '#core/base/ids.ts'
import type { TransportKind } from '#core/device/transport.ts'
import type { AccountRecord, KeyPackageRecord, OutboxRecord } from '#core/device/records.ts'
import type { RoomRecord } from '#core/device/records.ts'
import type { Greeting, Hello } from '#core/identity/session-proof.ts'
import type { MlsGroup } from '#core/mls/mls.ts'
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
  | { readonly kind: 'refused'; readonly code: string }
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
    | { readonly kind: 'frame'; readonly room: string; readonly outboxKey: string }
    | { readonly kind: 'commit'; readonly room: string }
    | {
      readonly kind: 'invite'
      readonly room: string
      readonly command: number
      readonly link: { readonly fragment: string; readonly expiresAt: number }
    }
    | { readonly kind: 'join'; readonly room: string }
  )

/** A member as this device sees it (ID-7). */
export interface Member {
  readonly leaf: LeafIndex
  readonly account: AccountName
  readonly device: DeviceId
  readonly deviceName: string
  readonly rootHash: Uint8Array
  /** False where the certificate did not bear out the leaf: no name is shown. */
  readonly verified: boolean
  readonly signatureKey: Uint8Array
  readonly identity: Uint8Array
}

/** A reason to commit an Add (ROOM-5, ROOM-9). */
export interface CommitJob {
  readonly keyPackage: Uint8Array
  readonly certificate: Uint8Array
  readonly account: AccountName
  readonly device: DeviceId
  readonly joinRequest: Uint8Array | null
  readonly command: number | null
}

export interface PendingCommit {
  readonly commit: Uint8Array
  /** Encoded `submitCommit` body without its request id, to submit again. */
  readonly submission: Uint8Array
  readonly next: MlsGroup
  readonly jobs: readonly CommitJob[]
  /** True while the hub has it. */
  readonly sent: boolean
}

/** Keys of the current epoch (KEY-1 to KEY-5). */
export interface EpochKeys {
  readonly epochId: EpochId
  readonly senderKeys: SenderKeys
  readonly ephemeralRoot: Uint8Array
  /** Reserved message secrets of the own chain, smallest generation first (KEY-4). */
  readonly reserved: readonly { readonly generation: number; readonly secret: Uint8Array }[]
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
  | { readonly kind: 'asked' }
  /** Caught up when the room's `next` has reached `until`. */
  | { readonly kind: 'following'; readonly until: LogPosition }

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

export interface RoomState {
  readonly key: string
  readonly id: RoomId
  readonly record: RoomRecord
  readonly members: readonly Member[]
  readonly group: MlsGroup | null
  readonly keys: EpochKeys | null
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
  /** Certificates by hex hash, gathered while joining. */
  readonly gathered: ReadonlyMap<string, Uint8Array>
  /** Hashes of the last entries that this device chained, oldest first (LOG-5). */
  readonly recent: readonly ChainedHash[]
}

export interface ChainedHash {
  readonly position: LogPosition
  readonly hash: Uint8Array
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
  readonly nextRequest: number
  readonly requests: ReadonlyMap<RequestId, PendingRequest>
  readonly keyPackages: ReadonlyMap<string, KeyPackageRecord>
  readonly rooms: ReadonlyMap<string, RoomState>
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
    nextRequest: 1,
    requests: new Map(),
    keyPackages: new Map(),
    rooms: new Map(),
  }
}
