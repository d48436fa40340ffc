/**
 * Saying something to one session: answers, refusals, and the flush at the end of each turn. Owns
 * the count of what is unanswered; owns no decision.
 */
import { NO_ROOM, type RequestId, type RoomId } from '#core/base/ids.ts'
import { LIMITS } from '#core/base/limits.ts'
import { type Body, type BodyKind, encodeMessage } from '#core/wire/bodies.ts'
import type { Refusal } from '#core/wire/refusals.ts'
import { acceptedFrame } from '#hub/gateway/entries-frame.ts'
import type { Arrival, Connection, Hub, Room } from '#hub/gateway/model.ts'
import type { Spent } from '#hub/gateway/rate.ts'
import type { Outcome } from '#hub/sequencer/sequencer.ts'

/**
 * Queues a frame on the control lane. A device that lets even control overflow is ended (HUB-5).
 */
export function sendFrame(hub: Hub, connection: Connection, frame: Uint8Array): void {
  if (connection.state.kind === 'closed') return
  connection.outbound.control(frame)
  hub.dirty.add(connection)
  const overflowed = connection.outbound.controlBytes > LIMITS.controlQueueBytesMax
  if (overflowed && connection.state.kind !== 'closing') {
    connection.outbound.clear()
    hub.endSession(connection, 'slow')
  }
}

export function send<K extends BodyKind>(
  hub: Hub,
  connection: Connection,
  message: { readonly kind: K; readonly body: Body<K>; readonly room?: RoomId },
): void {
  sendFrame(hub, connection, encodeMessage(message.kind, message.room ?? NO_ROOM, message.body))
}

/** What the hub could not do now it may be asked again (WIRE-5). */
export const UNAVAILABLE: Refusal = { kind: 'unavailable', retryAfterMs: LIMITS.headIntervalMs }

/** What a refusal answers; request 0 for a frame that had none (WIRE-5). */
export interface Refused {
  readonly request: RequestId
  readonly opcode: number
  readonly refusal: Refusal
}

export function refuse(hub: Hub, connection: Connection, refused: Refused): void {
  hub.ports.effects.observe({ kind: 'requestDenied', code: refused.refusal.kind })
  send(hub, connection, { kind: 'refused', body: refused })
}

export function accept(
  hub: Hub,
  connection: Connection,
  accepted: { readonly request: RequestId; readonly position: bigint | null },
): void {
  sendFrame(hub, connection, acceptedFrame(accepted.request, accepted.position))
}

/** What is said to who has no token left, with the time to the next; null to who had one. */
export function refusalOf(spent: Spent): Refusal | null {
  return spent.kind === 'empty' ? { kind: 'tooMany', retryAfterMs: spent.retryAfterMs } : null
}

/** Counts a request that is answered later; its bytes are held until then. */
export function beginRequest(hub: Hub, connection: Connection, size: number): void {
  connection.inFlight++
  connection.inFlightBytes += size
  hub.unanswered.count++
  hub.unanswered.bytes += size
}

export function endRequest(hub: Hub, connection: Connection, size: number): void {
  connection.inFlight--
  connection.inFlightBytes -= size
  hub.unanswered.count--
  hub.unanswered.bytes -= size
  if (connection.resume !== null && !isBusy(connection)) {
    const { resume } = connection
    connection.resume = null
    resume()
  }
}

/** Beyond half of what a session may have in flight, reading from it waits. */
export function isBusy(connection: Connection): boolean {
  return connection.inFlight > LIMITS.requestsInFlightMax / 2 ||
    connection.inFlightBytes > LIMITS.inboundBytesMax / 2
}

/** Refuses a request for which the session has no room; true when it has. */
export function hasRoomFor(connection: Connection, size: number): boolean {
  return connection.inFlight < LIMITS.requestsInFlightMax &&
    connection.inFlightBytes + size <= LIMITS.inboundBytesMax
}

/** Answers what a room's queue had taken. */
export function settle(hub: Hub, room: Room, arrival: Arrival, outcome: Outcome): void {
  const { connection, request, opcode, size } = arrival
  if (room.commits.delete(arrival)) room.judgingAtMs = null
  room.queue.settle({ size, barrier: isBarrier(arrival) })
  endRequest(hub, connection, size)
  if (outcome.kind === 'accepted') {
    accept(hub, connection, { request, position: outcome.position })
  } else {
    refuse(hub, connection, { request, opcode, refusal: outcome.refusal })
  }
}

/** A submission behind which nothing may be checked before it is settled. */
export function isBarrier({ asked }: Pick<Arrival, 'asked'>): boolean {
  return asked.kind === 'submitCommit' || asked.kind === 'createRoom' ||
    asked.kind === 'submitProposal'
}

/** Starts the writes of everything that was queued since the last flush. */
export function flush(hub: Hub): void {
  for (const connection of hub.dirty) connection.outbound.flush()
  hub.dirty.clear()
}

/** Runs something that was decided to happen later; a rejection is a fault of our own. */
export function background(hub: Hub, work: Promise<void>): void {
  work.then(() => flush(hub), (error) => hub.ports.effects.faulted(error))
}
