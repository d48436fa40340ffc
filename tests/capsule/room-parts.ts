/**
 * What a room of stand-ins is made of: its epochs, what the device itself said, and the view of the
 * room that its words need. Owns these types; the room is `stand-in-room.ts`.
 */
import type { EpochId, LogPosition, RoomId } from '#core/base/ids.ts'
import type { Group } from '#core/mls/group.ts'
import type { PublicGroup } from '#core/mls/public-group.ts'
import type { SenderKeys } from '#core/sender-keys/secret-tree.ts'
import type { Body } from '#core/wire/bodies.ts'
import type { HandDevice } from '../support/hand-device.ts'
import type { Cast } from './cast.ts'
import type { Facts, ScriptedEntry } from './reading.ts'

/** Something that no stand-in can say in the place of what was there. */
export class NotReproduced extends Error {}

/** An epoch as the stand-ins have it. */
export interface StandInEpoch {
  readonly position: number
  readonly public: PublicGroup
  /** Of the stand-ins that follow, by leaf. */
  readonly groups: ReadonlyMap<number, Group>
  readonly groupInfo: Uint8Array
  /** Opens nothing twice: the chains move with what is sealed. */
  keys: SenderKeys | null
}

/** What the device under replay has given to the hub, by what the capsule calls it. */
export interface OwnWords {
  /** Its newest commit in a room that was made in an epoch. */
  commit(room: string, epoch: number): Body<'submitCommit'> | null
  frame(room: string, epoch: number, generation: number): Uint8Array | null
  vote(room: string, position: number): Uint8Array | null
  created(room: string): Body<'createRoom'> | null
  /** KeyPackages of the device at the hub, and its certificate. */
  keyPackage(): { readonly keyPackage: Uint8Array; readonly certificate: Uint8Array } | null
}

export interface RoomParts {
  readonly name: string
  readonly cast: Cast
  readonly script: ReadonlyMap<number, ScriptedEntry>
  readonly own: OwnWords
  /** Of the device under replay; null until it has an account. */
  self(): HandDevice | null
}

export interface Seen {
  readonly position: LogPosition
  readonly hash: Uint8Array
}

/** When the capsule begins in the world of the replay. */
export const START_MS = 1_800_000_000_000

/** A room as far as what is said in it needs it. */
export interface RoomInWords {
  readonly parts: RoomParts
  readonly id: RoomId
  readonly epochs: readonly StandInEpoch[]
  /** The title that was told last. */
  title: string
  /** The last text of each account. */
  readonly said: Map<string, Uint8Array>
  readonly ownLeaf: number | null
  deviceAt(leaf: number): Promise<HandDevice>
  seenBy(facts: Facts): Seen
  epochId(epoch?: StandInEpoch): EpochId
}
