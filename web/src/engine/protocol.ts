/**
 * What tabs and the engine say to each other. Owns the shape of the messages, all of them
 * structured-clonable; owns no delivery: the leading tab carries them.
 */
import type { AppView, RoomView } from '#sdk/views.ts'

/** What a link says of itself before it is used. */
export interface InvitePreview {
  /** Null where the room has no title. */
  readonly title: string | null
  readonly inviter: string
  readonly hubDomain: string
}

/** How often and how long a new link is good. */
export interface LinkLimits {
  readonly usesMax: number
  readonly lifetimeMs: number
}

/** The calls of the engine: options in, result out. */
export interface EngineCalls {
  signUp(options: { readonly name: string; readonly deviceName: string }): string
  createRoom(options: { readonly title: string }): string
  sendMessage(options: { readonly room: string; readonly text: string; readonly id: string }): void
  invite(options: { readonly room: string; readonly limits?: LinkLimits }): string
  revokeInvitation(options: { readonly room: string; readonly id: string }): void
  readInvite(options: { readonly fragment: string }): InvitePreview | null
  joinByLink(options: { readonly fragment: string }): string
  addMember(options: { readonly room: string; readonly account: string }): void
  setTyping(options: { readonly room: string }): void
  markRead(options: { readonly room: string; readonly position: number }): void
  /** The record of the device's own steps; it holds no secret. */
  exportCapsule(options: Record<never, never>): string
  /** Deletes everything that this device kept of the account; the engine has ended then. */
  eraseStorage(options: Record<never, never>): void
}

export type EngineCall = {
  readonly [Kind in keyof EngineCalls]: {
    readonly kind: Kind
    readonly options: Parameters<EngineCalls[Kind]>[0]
  }
}[keyof EngineCalls]

export type EngineResult = string | InvitePreview | null | undefined

/** Tab to engine. */
export type TabMessage =
  | { readonly kind: 'attach' }
  | { readonly kind: 'call'; readonly id: number; readonly call: EngineCall }
  | {
    readonly kind: 'watchRoom'
    readonly watch: number
    readonly room: string
    readonly limit: number
  }
  | { readonly kind: 'unwatchRoom'; readonly watch: number }
  | { readonly kind: 'networkChanged'; readonly online: boolean }

/** Engine to tab. */
export type EngineMessage =
  | { readonly kind: 'appView'; readonly view: AppView }
  /** The engine could not open its storage or has ended; the code says why. */
  | { readonly kind: 'engineFailed'; readonly code: string }
  | { readonly kind: 'roomView'; readonly watch: number; readonly view: RoomView }
  | { readonly kind: 'answered'; readonly id: number; readonly result: EngineResult }
  | { readonly kind: 'refused'; readonly id: number; readonly code: string }

export interface EngineStart {
  readonly accountId: string
  /** This account was used on this device before, so empty storage means that it was evicted. */
  readonly existing: boolean
  /** Origin of the hub. */
  readonly endpoint: string
}

/** Leading tab to the engine's worker. */
export type WorkerInput =
  | { readonly kind: 'start'; readonly start: EngineStart }
  | { readonly kind: 'tabSpoke'; readonly tab: string; readonly message: TabMessage }
  | { readonly kind: 'tabGone'; readonly tab: string }
  | { readonly kind: 'stop' }

/** The engine's worker to the leading tab; `tab` is null for all of them. */
export type WorkerOutput =
  | { readonly kind: 'say'; readonly tab: string | null; readonly message: EngineMessage }
  | { readonly kind: 'stopped' }
