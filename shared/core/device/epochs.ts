/**
 * The epochs of a room on this device (ROOM-4): the last final one, whole, and above it those that
 * are provisional, each as what differs from the one below. Owns what of them is stored, and that
 * nothing is left of what is over; what makes an epoch final or void is `verdicts.ts`.
 */
import { assert } from '#core/base/assert.ts'
import { EMPTY } from '#core/base/bytes.ts'
import type { LogPosition } from '#core/base/ids.ts'
import { replaceEpoch } from '#core/device/chain.ts'
import { dropKeys, storeKeys, wipeKeys } from '#core/device/epoch-keys.ts'
import { dropCertificates, leavesAt, storeCertificates } from '#core/device/members.ts'
import { doubtOutbox } from '#core/device/outbox-items.ts'
import {
  epochKey,
  finalRecordCodec,
  nodeKey,
  provisionalRecordCodec,
} from '#core/device/records.ts'
import { roomRange, timelineRange } from '#core/device/records.ts'
import { endUnderWay, isStored, unfollow, wipeGroups } from '#core/device/room.ts'
import type { ProvisionalEpoch, RoomEpoch } from '#core/device/state.ts'
import type { Turn } from '#core/device/turn.ts'
import { changedNodes, type NodeChanges } from '#core/mls/ratchet-tree.ts'
import { encodeGroupHead, encodePublicHead } from '#core/mls/state-codec.ts'
import { encode } from '#core/wire/codec.ts'
import { STRUCTURE_VERSION } from '#core/wire/structure.ts'

/** The first epoch that this device knows of a room; what was known before is deleted. */
export function beginEpochs(turn: Turn, key: string, final: RoomEpoch): void {
  forgetEpochs(turn, key)
  const room = turn.setRoom(key, { final, chain: [] })
  if (!isStored(room)) return
  storeFinal(turn, key, final, changedNodes(null, final.public.tree))
  storeKeys(turn, key, final)
}

/** A commit's epoch above all others. */
export function pushEpoch(turn: Turn, key: string, epoch: ProvisionalEpoch): void {
  const room = turn.room(key)
  if (room === null) return
  turn.setRoom(key, { chain: [...room.chain, epoch], typing: [] })
  if (isStored(room)) storeProvisional(turn, key, epoch)
}

/** The way in is over: all that was gathered on it is stored. */
export function storeEpochs(turn: Turn, key: string): void {
  const room = turn.room(key)
  if (room === null || room.final === null) return
  assert(isStored(room), 'a room is stored when it has been entered')
  storeFinal(turn, key, room.final, changedNodes(null, room.final.public.tree))
  storeKeys(turn, key, room.final)
  for (const epoch of room.chain) storeProvisional(turn, key, epoch)
  storeCertificates(turn, key)
}

/** The lowest provisional epoch is final; the one below it is wiped (ROOM-4). */
export function finaliseEpoch(turn: Turn, key: string): void {
  const room = turn.room(key)
  const [epoch, ...chain] = room?.chain ?? []
  if (room === null || room.final === null || epoch === undefined) return
  const old = room.final
  turn.setRoom(key, { final: epoch, chain })
  if (isStored(room)) {
    turn.delete('groups', epochKey(key, epoch.position))
    storeFinal(turn, key, epoch, epoch.changed)
    dropKeys(turn, key, old)
  }
  wipeGroups(turn, key, [old.group])
  dropCertificates(turn, key, leavesAt(epoch.changed, old.public.tree))
}

/** Takes away an epoch and all above it, with what was shown of them; they are returned. */
export function voidEpochs(
  turn: Turn,
  key: string,
  span: { readonly from: LogPosition; readonly to: LogPosition },
): readonly ProvisionalEpoch[] {
  const room = turn.room(key)
  if (room === null) return []
  const index = room.chain.findIndex((each) => each.position === span.from)
  if (index < 0) return []
  const dropped = room.chain.slice(index)
  const [lowest] = dropped
  const said = room.said.filter(({ position }) => position < span.from)
  turn.setRoom(key, { chain: room.chain.slice(0, index), typing: [], said })
  if (isStored(room)) {
    for (const epoch of dropped) {
      turn.delete('groups', epochKey(key, epoch.position))
      dropKeys(turn, key, epoch)
    }
  }
  // Also on the way in, where own messages may have been found.
  turn.deleteRange('timeline', timelineRange(key, span.from, span.to))
  if (lowest !== undefined) {
    const { unread, ...undo } = lowest.undo
    turn.setRecord(key, { ...undo, unread: Math.min(unread, room.record.unread) })
  }
  wipeGroups(turn, key, dropped.map(({ group }) => group))
  const over = dropped.flatMap((epoch) => leavesAt(epoch.changed, epoch.public.tree))
  dropCertificates(turn, key, over)
  return dropped
}

/** Deletes everything of a room that is of an epoch; what was said in an open one is in doubt. */
export function forgetEpochs(turn: Turn, key: string): void {
  const room = turn.room(key)
  if (room === null) return
  doubtOutbox(turn, key)
  const epochs = [...room.chain, ...(room.final === null ? [] : [room.final])]
  turn.setRoom(key, {
    final: null,
    chain: [],
    finality: null,
    certificates: new Map(),
    typing: [],
  })
  // Also where nothing is known: what cannot be read is there, and would be read with what follows.
  turn.delete('groups', key)
  for (const table of ['groups', 'nodes', 'chains', 'certificates'] as const) {
    turn.deleteRange(table, roomRange(key))
  }
  for (const { keys } of epochs) wipeKeys(turn, keys)
  wipeGroups(turn, key, epochs.map(({ group }) => group))
}

/** Deletes all that a room holds of its group, also on the way to one, and follows no more. */
export function forgetRoom(turn: Turn, key: string): void {
  endUnderWay(turn, key)
  forgetEpochs(turn, key)
  unfollow(turn, key)
}

/** The group of an epoch has changed within it, its tree has not. */
export function updateEpoch(
  turn: Turn,
  key: string,
  position: LogPosition,
  part: Pick<RoomEpoch, 'public' | 'group'>,
): void {
  replaceEpoch(turn, key, position, part)
  const room = turn.room(key)
  if (room === null || room.final === null || !isStored(room)) return
  const unchanged = { leafWidth: room.final.public.tree.leafWidth, nodes: [] }
  if (room.final.position === position) return storeFinal(turn, key, room.final, unchanged)
  const epoch = room.chain.find((each) => each.position === position)
  if (epoch !== undefined) storeProvisional(turn, key, epoch)
}

/** The genesis stands in the log: the first epoch has its place. */
export function placeGenesis(turn: Turn, key: string, entryHash: Uint8Array): void {
  const final = turn.room(key)?.final ?? null
  if (final === null) return
  const placed = { ...final, entryHash }
  turn.setRoom(key, { final: placed })
  storeFinal(turn, key, placed, { leafWidth: final.public.tree.leafWidth, nodes: [] })
}

// ---- Records ------------------------------------------------------------------------------

function epochRecord(epoch: RoomEpoch) {
  const { position, entryHash, group, groupInfo, keys } = epoch
  return {
    position,
    entryHash,
    isMember: group !== null,
    head: group === null ? encodePublicHead(epoch.public) : encodeGroupHead(group),
    leafWidth: epoch.public.tree.leafWidth,
    groupInfo,
    ephemeralRoot: keys?.ephemeralRoot ?? EMPTY,
  }
}

function storeFinal(turn: Turn, key: string, epoch: RoomEpoch, changed: NodeChanges): void {
  for (const { node, bytes } of changed.nodes) {
    if (bytes === null) turn.delete('nodes', nodeKey(key, node))
    else turn.put('nodes', nodeKey(key, node), bytes)
  }
  const record = { format: STRUCTURE_VERSION, epoch: epochRecord(epoch) }
  turn.put('groups', key, encode(finalRecordCodec, record))
}

function storeProvisional(turn: Turn, key: string, epoch: ProvisionalEpoch): void {
  const { time, changed, isOwn, choice, undo } = epoch
  const record = {
    format: STRUCTURE_VERSION,
    epoch: epochRecord(epoch),
    time,
    changed: changed.nodes,
    isOwn,
    choice,
    undo,
  }
  turn.put('groups', epochKey(key, epoch.position), encode(provisionalRecordCodec, record))
  storeKeys(turn, key, epoch)
}
