/**
 * The way of a submission from its session to the sequencer: into the room's queue, through its
 * check, into the next turn. Owns when a check runs; what it finds is `checks.ts`, what is decided
 * is the sequencer's.
 */
import { timeMs } from '#core/base/ids.ts'
import { LIMITS } from '#core/base/limits.ts'
import { beginRequest, isBarrier, refuse, settle } from '#hub/gateway/answering.ts'
import { checkAll, type CheckOutcome, passedOf } from '#hub/gateway/checks.ts'
import { type Arrival, type Hub, nowMs, type Room } from '#hub/gateway/model.ts'
import { runTurns } from '#hub/gateway/turns.ts'

/** Takes a submission, or refuses it because the room has too many. */
export function submit(hub: Hub, room: Room, arrival: Arrival): void {
  const { connection, request, opcode, size } = arrival
  const barrier = isBarrier(arrival)
  if (!room.queue.offer(arrival, { size, barrier })) {
    const refusal = { kind: 'tooMany', retryAfterMs: LIMITS.headIntervalMs } as const
    return refuse(hub, connection, { request, opcode, refusal })
  }
  if (arrival.asked.kind === 'createRoom') room.creating = true
  if (arrival.asked.kind === 'submitCommit') room.commits.add(arrival)
  beginRequest(hub, connection, size)
  check(hub, room)
}

/** Checks what may be checked; goes on by itself until nothing is left. */
export function check(hub: Hub, room: Room): void {
  const arrivals = room.queue.startCheck()
  if (arrivals.length === 0) return
  // A commit is judged at the time of its entry: until it is settled, the room has no other.
  if (arrivals.some(({ asked }) => asked.kind === 'submitCommit')) {
    room.judgingAtMs = timeMs(Math.max(room.sequenced.time, nowMs(hub)))
  }
  checkAll(hub, room, arrivals).then(
    (outcomes) => checked(hub, room, outcomes),
    (error) => hub.ports.effects.faulted(error),
  )
}

function checked(hub: Hub, room: Room, outcomes: readonly CheckOutcome[]): void {
  room.queue.finishCheck(passedOf(outcomes))
  for (const { arrival, check: found } of outcomes) {
    if (found.kind === 'refused') settleRefused(hub, room, arrival, found)
  }
  if (room.queue.checkedCount > 0) hub.ready.add(room)
  check(hub, room)
  runTurns(hub)
}

function settleRefused(
  hub: Hub,
  room: Room,
  arrival: Arrival,
  found: Extract<CheckOutcome['check'], { kind: 'refused' }>,
): void {
  settle(hub, room, arrival, found)
  if (arrival.asked.kind === 'createRoom') hub.roomSettled(room)
}
