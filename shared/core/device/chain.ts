/**
 * The epochs of a room in memory (ROOM-4): the last final one and those above it. Owns finding and
 * replacing one of them, and where this device sits in it; what is stored is `epochs.ts`.
 */
import { type EpochId, type LeafIndex, leafIndex, type LogPosition } from '#core/base/ids.ts'
import type { ProvisionalEpoch, RoomEpoch, RoomState } from '#core/device/state.ts'
import type { Turn } from '#core/device/turn.ts'
import { epochIdOf } from '#core/mls/group-context.ts'
import { leafOfDevice, rosterOf } from '#core/policy/roster.ts'

/** The newest epoch of the log; null while nothing is known. */
export function topEpoch(room: RoomState): RoomEpoch | null {
  return room.chain.at(-1) ?? room.final
}

export function idOfEpoch(epoch: Pick<RoomEpoch, 'public'>): EpochId {
  return epochIdOf(epoch.public.suite, epoch.public.context)
}

type EpochParts = Partial<Pick<RoomEpoch, 'keys' | 'group' | 'public'>>

/** Replaces parts of one epoch in memory. */
export function replaceEpoch(
  turn: Turn,
  key: string,
  position: LogPosition,
  part: EpochParts | Partial<Pick<ProvisionalEpoch, 'isVoteSent' | 'jobs'>>,
): void {
  const room = turn.room(key)
  if (room === null) return
  if (room.final?.position === position) {
    turn.setRoom(key, { final: { ...room.final, ...part } })
    return
  }
  const chain = room.chain.map((each) => each.position === position ? { ...each, ...part } : each)
  turn.setRoom(key, { chain })
}

/** Who this device is, once the hub has attested it. */
type Self = Pick<Turn, 'registered'>

/** The leaf of this device in an epoch, also where it cannot follow; null where it has none. */
export function ownLeafIn(self: Self, epoch: Pick<RoomEpoch, 'public'>): LeafIndex | null {
  const account = self.registered
  if (account === null) return null
  const member = leafOfDevice(rosterOf(epoch.public.tree), account.name, account.device)
  return member === null ? null : leafIndex(member.leaf)
}

/**
 * True where the newest epoch is known and this device is not in it: it is not in yet, or was
 * removed, if only by a commit that is not final, and not brought in again above that.
 */
export function hasNoLeaf(self: Self, room: RoomState): boolean {
  const top = topEpoch(room)
  return top !== null && ownLeafIn(self, top) === null
}

/** True where no epoch that may come to stand has a leaf of this device: no void puts it back. */
export function isOut(self: Self, { final, chain }: RoomState): boolean {
  return final !== null && [final, ...chain].every((epoch) => ownLeafIn(self, epoch) === null)
}

/** True where what became final cannot be read here: the device takes its place anew (JOIN-5). */
export function needsResync(room: RoomState): boolean {
  const top = topEpoch(room)
  return room.record.phase === 'live' && room.final?.group === null && top?.group === null
}
