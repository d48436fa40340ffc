/**
 * Everything that enters and leaves the device machine, on one page. Inputs are what happened,
 * commands what a person or program wants, effects what the host shall do once the changes of the
 * step are stored (DEV-1).
 */
import type { DeviceChange, Durability } from '#core/device/store.ts'
import type { TransportKind } from '#core/device/transport.ts'
import type { RefusalCode } from '#core/wire/refusals.ts'

/** How often and how long a link is good (ROOM-8). */
export interface LinkLimits {
  readonly usesMax: number
  readonly lifetimeMs: number
}

/** What a person or a program asks for. Rooms are named by their base64url id. */
export type Command =
  | { readonly kind: 'signUp'; readonly name: string; readonly deviceName: string }
  | { readonly kind: 'createRoom'; readonly title: string }
  | {
    readonly kind: 'sendMessage'
    readonly room: string
    readonly text: string
    /** Chosen by the caller; the same id never sends twice (DEV-4). */
    readonly localId: string
  }
  /** Without limits the link that is still good is given again. */
  | { readonly kind: 'invite'; readonly room: string; readonly limits: LinkLimits | null }
  | { readonly kind: 'revokeInvitation'; readonly room: string; readonly invitation: string }
  | { readonly kind: 'joinByLink'; readonly link: string }
  | { readonly kind: 'addMember'; readonly room: string; readonly account: string }
  | { readonly kind: 'setTyping'; readonly room: string }
  | { readonly kind: 'markRead'; readonly room: string; readonly position: number }

/** Why a command failed: a closed set; words stand in the message catalogues. */
export type CommandError =
  | RefusalCode
  | 'badName'
  /** A programmer's error: nothing of it was done. */
  | 'internal'
  | 'badTitle'
  | 'badText'
  | 'badLink'
  | 'badLimits'
  | 'otherHub'
  | 'offline'
  | 'alreadyRegistered'
  | 'notRegistered'
  | 'roomNotLive'
  | 'outboxFull'
  | 'nobodyThere'
  | 'storeFailed'

export type CommandOutcome =
  | { readonly kind: 'done'; readonly value: string | null }
  | { readonly kind: 'failed'; readonly code: CommandError }

export type TimerName = 'redial' | 'heartbeat' | 'typing' | 'retry' | 'wake'

export type DeviceInput =
  | { readonly kind: 'started' }
  | { readonly kind: 'commandGiven'; readonly id: number; readonly command: Command }
  | { readonly kind: 'sessionOpened'; readonly attempt: number; readonly transport: TransportKind }
  | {
    readonly kind: 'framesReceived'
    readonly attempt: number
    readonly frames: readonly Uint8Array[]
  }
  | { readonly kind: 'sessionClosed'; readonly attempt: number }
  | { readonly kind: 'timerFired'; readonly timer: TimerName }
  | { readonly kind: 'networkChanged'; readonly online: boolean }
  /** The step of a command, of a timer, or of neither was not stored. */
  | {
    readonly kind: 'storeFailed'
    readonly command: number | null
    readonly timer: TimerName | null
  }
  | { readonly kind: 'closeRequested' }

export type DeviceEffect =
  | { readonly kind: 'dial'; readonly attempt: number; readonly endpoint: string }
  | { readonly kind: 'hangUp'; readonly attempt: number }
  | { readonly kind: 'send'; readonly attempt: number; readonly frame: Uint8Array }
  | { readonly kind: 'sendDatagram'; readonly attempt: number; readonly frame: Uint8Array }
  | { readonly kind: 'armTimer'; readonly timer: TimerName; readonly atMs: number }
  | { readonly kind: 'settleCommand'; readonly id: number; readonly outcome: CommandOutcome }
  | { readonly kind: 'showAccount' }
  | { readonly kind: 'showRoom'; readonly room: string }
  /** A programmer's error: the room in which it was is stopped, or the step never happened. */
  | { readonly kind: 'reportFault'; readonly error: unknown }
  /** Secrets that no state holds any more. */
  | { readonly kind: 'wipe'; readonly secrets: readonly Uint8Array[] }

/** A change with the durability that it needs; one strict change makes its whole step strict. */
export interface RequiredChange {
  readonly change: DeviceChange
  readonly durability: Durability
}
