/**
 * Who is typing (SES-8): ephemeral frames by datagram, outside of the log. Owns when one is sent
 * and how long a mark is shown; nothing here is stored.
 */
import type { LeafIndex } from '#core/base/ids.ts'
import { LIMITS } from '#core/base/limits.ts'
import { topEpoch } from '#core/device/chain.ts'
import { openTyping, sealTyping } from '#core/device/epoch-keys.ts'
import { caughtUp } from '#core/device/room.ts'
import type { Turn } from '#core/device/turn.ts'
import { encodeMessage } from '#core/wire/bodies.ts'

/** The person types; told to the room at most every three seconds. */
export async function setTyping(turn: Turn, key: string): Promise<void> {
  const room = turn.room(key)
  const { attempt } = turn
  if (room === null || attempt === null || !turn.ready || !caughtUp(room)) return
  if ((topEpoch(room)?.public.tree.memberCount ?? 0) < 2) return
  if (turn.nowMs - room.typingSentAtMs < LIMITS.typingIntervalMs) return
  const frame = await sealTyping(turn, key)
  if (frame === null) return
  turn.setRoom(key, { typingSentAtMs: turn.nowMs })
  turn.effect({
    kind: 'sendDatagram',
    attempt,
    frame: encodeMessage('ephemeral', room.id, { frame }),
  })
}

/** Another member types; what cannot be opened or is old is dropped (SES-8). */
export async function typingReceived(turn: Turn, key: string, frame: Uint8Array): Promise<void> {
  const opened = await openTyping(turn, key, frame)
  const room = turn.room(key)
  if (opened === null || room === null) return
  if (Math.abs(turn.nowMs - opened.timeMs) > LIMITS.ephemeralAgeMsMax) return
  mark(turn, key, opened.leaf, turn.nowMs + LIMITS.typingShownMs)
}

function mark(turn: Turn, key: string, leaf: LeafIndex, untilMs: number): void {
  const room = turn.room(key)
  if (room === null) return
  const others = room.typing.filter((each) => each.leaf !== leaf)
  turn.setRoom(key, { typing: [...others, { leaf, untilMs }] })
  armTyping(turn)
}

/** A message of this member ends its mark. */
export function typingEnded(turn: Turn, key: string, leaf: LeafIndex): void {
  const room = turn.room(key)
  if (room === null || !room.typing.some((each) => each.leaf === leaf)) return
  turn.setRoom(key, { typing: room.typing.filter((each) => each.leaf !== leaf) })
}

/** Takes away the marks whose time is over. */
export function typingDue(turn: Turn): void {
  for (const room of turn.state.rooms.values()) {
    const typing = room.typing.filter((each) => each.untilMs > turn.nowMs)
    if (typing.length !== room.typing.length) turn.setRoom(room.key, { typing })
  }
  armTyping(turn)
}

/** Wakes when the first of all marks ends. */
function armTyping(turn: Turn): void {
  let atMs = Number.POSITIVE_INFINITY
  for (const room of turn.state.rooms.values()) {
    for (const each of room.typing) atMs = Math.min(atMs, each.untilMs)
  }
  if (Number.isFinite(atMs)) turn.effect({ kind: 'armTimer', timer: 'typing', atMs })
}
