/**
 * What the log makes of provisional epochs (VOTE-4): each verdict is checked against the votes
 * below it, then the epoch is kept for good, or taken away with all that was said in it. Owns that
 * step.
 */
import { EMPTY } from '#core/base/bytes.ts'
import type { LogPosition } from '#core/base/ids.ts'
import { isOut } from '#core/device/chain.ts'
import { breakRoom, leaveRoom } from '#core/device/ends.ts'
import { finaliseEpoch, voidEpochs } from '#core/device/epochs.ts'
import { rejoin } from '#core/device/joining.ts'
import { settleOutbox, unsendOutbox } from '#core/device/outbox.ts'
import { hasLink, isIn } from '#core/device/room.ts'
import type { PlacedEntry } from '#core/device/state.ts'
import { dropPassedPending } from '#core/device/submit.ts'
import type { Turn } from '#core/device/turn.ts'
import { setFinality } from '#core/device/votes.ts'
import { applyVerdict } from '#core/policy/finality.ts'
import { decode } from '#core/wire/codec.ts'
import { verdictEntryCodec } from '#core/wire/log-entry.ts'

/** Takes a verdict of the log. */
export async function verdictReceived(
  turn: Turn,
  key: string,
  placed: PlacedEntry,
  bytes: Uint8Array,
): Promise<void> {
  const room = turn.room(key)
  const decoded = decode(verdictEntryCodec, bytes)
  if (room === null || room.finality === null) return
  if (decoded.kind === 'malformed') return breakRoom(turn, key, 'malformed')
  const { position, time: timeMs } = placed
  const outcome = applyVerdict(room.finality, { position, timeMs, entry: decoded.value })
  switch (outcome.kind) {
    case 'ignored':
      return
    case 'wrongVerdict':
      return breakRoom(turn, key, 'wrongVerdict')
    case 'final':
      setFinality(turn, key, outcome.finality)
      return epochFinal(turn, key)
    case 'void': {
      setFinality(turn, key, outcome.finality)
      const [lowest] = outcome.epochs
      if (lowest !== undefined) {
        const span = { from: lowest.position, to: position }
        unsendOutbox(turn, key, span)
        await epochsVoid(turn, key, span)
      }
    }
  }
}

function epochFinal(turn: Turn, key: string): void {
  finaliseEpoch(turn, key)
  settleOutbox(turn, key)
  const room = turn.room(key)
  if (room === null || room.final === null) return
  const { final, record } = room
  turn.setRoom(key, { asked: room.asked.filter((position) => position > final.position) })
  // A walk comes by what is over; at its end it shows whether this device is in the room.
  if (!isIn(room)) return
  // Who was brought in again above its own removal stays.
  if (isOut(turn, room)) return leaveRoom(turn, key)
  // Whoever is in for good needs the link no more.
  if (hasLink(record) && final.group !== null) {
    turn.effect({ kind: 'wipe', secrets: [record.opening] })
    turn.setRecord(key, { opening: EMPTY })
  }
}

async function epochsVoid(
  turn: Turn,
  key: string,
  span: { readonly from: LogPosition; readonly to: LogPosition },
): Promise<void> {
  const dropped = voidEpochs(turn, key, span)
  dropPassedPending(turn, key)
  const room = turn.room(key)
  if (room === null || room.final === null) return
  const jobs = dropped.flatMap((epoch) => epoch.jobs)
  turn.setRoom(key, { jobs: [...jobs, ...room.jobs] })
  turn.effect({ kind: 'showAccount' })
  // On a walk its end shows whether this device is in the room.
  if (!isIn(room)) return
  if (isOut(turn, room)) await rejoin(turn, key)
}

/**
 * To the hub this device is no member (SEQ-6): it was removed, or the commit that brought it in
 * became void while it was away (VOTE-4). What it says is believed as far as leaving goes, and
 * nothing of it as far as the outbox goes: what this device said waits, under its seal.
 */
export async function seatLost(turn: Turn, key: string): Promise<void> {
  const room = turn.room(key)
  if (room === null || room.record.phase !== 'live') return
  const isProvisional = room.final?.group === null
  const wayIn = isProvisional ? room.chain.find(({ group }) => group !== null) : undefined
  if (wayIn !== undefined) {
    const { next } = room.record
    await epochsVoid(turn, key, { from: wayIn.position, to: next })
  }
  if (turn.room(key)?.record.phase === 'live') leaveRoom(turn, key)
}
