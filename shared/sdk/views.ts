/**
 * What a program or a screen sees of an account: plain, structured-clonable snapshots. Owns their
 * shape; they are derived from the machine's state and are never written back. Ids are base64url.
 */
import type { TimelineEntry } from '#core/device/timeline.ts'

export type ConnectionView =
  | { readonly kind: 'offline'; readonly retryInMs: number | null }
  | { readonly kind: 'connecting' }
  | { readonly kind: 'connected'; readonly transport: 'webTransport' | 'webSocket' | 'memory' }
  | { readonly kind: 'refused'; readonly code: string }

export type AccountView =
  | { readonly kind: 'none' }
  | { readonly kind: 'registering'; readonly name: string }
  | { readonly kind: 'refused'; readonly name: string; readonly code: string }
  | {
    readonly kind: 'registered'
    /** `name@hub`. */
    readonly name: string
    readonly deviceName: string
    /** Hash of the account root, hex, 64 characters. */
    readonly rootHash: string
    readonly hubDomain: string
    /** Until a recovery backup exists the root is sealed on this device only. */
    readonly rootOnDevice: boolean
  }

export interface MemberView {
  /** `name@hub`, verified (ID-7); null where the certificate did not verify. */
  readonly account: string | null
  readonly deviceName: string
  readonly own: boolean
}

/** An invitation link of one's own that is open (ROOM-8). */
export interface InvitationView {
  /** Its id, base64url. */
  readonly id: string
  /** Fragment of the link; null where another device of the account made it. */
  readonly fragment: string | null
  /** ms since 1970. */
  readonly createdAt: number
  readonly expiresAt: number
  readonly usesMax: number
  /** Accounts in the room that came in by it. */
  readonly uses: number
}

export type RoomState =
  /** The genesis waits for the hub, or the way in is not done. */
  | 'creating'
  | 'joining'
  | 'joinRefused'
  | 'live'
  /** Entries are missing or could not be followed. */
  | 'syncing'
  | 'broken'
  | 'removed'

export interface RoomSummary {
  readonly room: string
  /** Null until a member's room profile has been read. */
  readonly title: string | null
  readonly state: RoomState
  /** Code of the refusal where `state` is `joinRefused` or `broken`. */
  readonly code: string | null
  readonly memberCount: number
  readonly unreadCount: number
  readonly lastText: string | null
  readonly lastAuthor: string | null
  /** ms since 1970; hub time, or own time for what is not sent yet. */
  readonly lastTime: number
}

/** What stands in a timeline: a message, an event, or an entry that could not be opened. */
export type TimelineItem = TimelineEntry

export interface RoomView {
  readonly summary: RoomSummary
  /** Oldest first, at most `timelineWindowMax`; queued own messages come last. */
  readonly items: readonly TimelineItem[]
  readonly hasEarlier: boolean
  readonly members: readonly MemberView[]
  /** Own links, the newest first. */
  readonly invitations: readonly InvitationView[]
  /** Names of who is typing now. */
  readonly typing: readonly string[]
}

export interface AppView {
  readonly account: AccountView
  readonly connection: ConnectionView
  /** Latest first. */
  readonly rooms: readonly RoomSummary[]
}
