/**
 * Requests to join between sessions and the machine in `joins.ts` (ROOM-9): proves a request before
 * it is queued, carries questions to members and answers to joiners. Owns no order of asking.
 */
import { equalBytes, toHex } from '#core/base/bytes.ts'
import type { AccountName, DeviceId, LogPosition, RequestId } from '#core/base/ids.ts'
import { LIMITS } from '#core/base/limits.ts'
import { suiteById } from '#core/crypto/suites.ts'
import { joinRequestId, readJoinRequest, verifyJoinRequest } from '#core/identity/invitation.ts'
import { BODIES, type Body } from '#core/wire/bodies.ts'
import type { Refusal } from '#core/wire/refusals.ts'
import {
  accept,
  background,
  beginRequest,
  endRequest,
  refuse,
  send,
} from '#hub/gateway/answering.ts'
import { type Candidate, type JoinInput, type JoinWish, stepJoins } from '#hub/gateway/joins.ts'
import { certifyLeaf, verifyAll } from '#hub/gateway/leaf-proof.ts'
import { type Connection, type Hub, nowMs, type Room } from '#hub/gateway/model.ts'

const OPCODE = BODIES.requestJoin[0]

export interface JoinAsked {
  readonly room: Room
  readonly size: number
  readonly body: Body<'requestJoin'>
}

/**
 * Takes a request to join. An unknown room is answered like an unknown invitation, so that no code
 * tells whether a room exists.
 */
export function requestJoin(hub: Hub, connection: Connection, asked: JoinAsked): void {
  const { size, body } = asked
  const { request } = body
  const spent = hub.strangerRequests.spend(connection.actor.key, nowMs(hub))
  if (spent.kind === 'empty') {
    const refusal: Refusal = { kind: 'tooMany', retryAfterMs: spent.retryAfterMs }
    return refuse(hub, connection, { request, opcode: OPCODE, refusal })
  }
  beginRequest(connection, size)
  background(
    hub,
    prove(hub, connection, asked).then((outcome) => {
      endRequest(connection, size)
      if ('wish' in outcome) step(hub, asked.room, { kind: 'requested', wish: outcome.wish })
      else refuse(hub, connection, { request, opcode: OPCODE, refusal: outcome })
    }),
  )
}

async function prove(
  hub: Hub,
  connection: Connection,
  { room, body }: JoinAsked,
): Promise<Refusal | { readonly wish: JoinWish }> {
  const { crypto, identity } = hub.ports
  const request = readJoinRequest(body.joinRequest)
  const { view } = room.sequenced
  const { device: self } = connection.actor
  if (request === null) return { kind: 'malformed' }
  if (!equalBytes(request.room, room.id)) return { kind: 'wrongRoom' }
  const own = self !== null && request.account === self.account &&
    equalBytes(request.device, self.device)
  if (!own) return { kind: 'notAllowed' }
  const invitation = view?.invitations.get(toHex(request.invitation))
  if (view === null || invitation === undefined) return { kind: 'unknownInvitation' }
  if (!await verifyJoinRequest(crypto, body.joinRequest, invitation.publicKey)) {
    return { kind: 'wrongSignature' }
  }
  const spent = invitation.expiresAt <= nowMs(hub) || invitation.uses >= invitation.usesMax
  if (spent) return { kind: 'invitationSpent' }
  const suite = suiteById(request.suite)
  if (suite === null || suite.id !== view.suite) {
    return { kind: 'unknownSuite', suite: request.suite }
  }
  if (view.byDevice.has(connection.actor.key)) return { kind: 'alreadyMember' }
  const claimed = await hub.ports.mls.readKeyPackage(request.keyPackage)
  if (claimed.kind === 'refused' || claimed.suite !== suite.id) return { kind: 'malformed' }
  if (claimed.notAfter <= nowMs(hub)) return { kind: 'malformed' }
  const certificates = await verifyAll(crypto, [request.certificate], identity.publicKey)
  const leaf = certificates === null ? null : certifyLeaf(claimed, certificates, suite)
  const certified = leaf !== null && leaf.account === self.account &&
    equalBytes(leaf.device, self.device)
  if (!certified) return { kind: 'badCertificate' }
  if (joinCount(hub) >= LIMITS.joinRequestsMax) {
    return { kind: 'tooMany', retryAfterMs: LIMITS.joinAskMs }
  }
  return {
    wish: {
      id: toHex(joinRequestId(crypto, body.joinRequest)),
      bytes: body.joinRequest,
      account: request.account,
      device: request.device,
      invitation: invitation.id,
      inviter: invitation.inviter,
      inviterDevice: invitation.inviterDevice,
      expiresAt: invitation.expiresAt,
      joiner: { session: connection.number, request: body.request },
    },
  }
}

function joinCount(hub: Hub): number {
  let count = 0
  for (const room of hub.joining) count += room.joins.length
  return count
}

/** A member lets nobody in by this request (ROOM-9). */
export function declineJoin(
  hub: Hub,
  connection: Connection,
  asked: { readonly room: Room; readonly body: Body<'declineJoin'> },
): void {
  const { room, body } = asked
  const member = room.sequenced.view?.byDevice.get(connection.actor.key)
  if (member === undefined) return
  const { leaf } = member
  step(hub, room, { kind: 'declined', id: toHex(body.id), leaf, reason: body.reason })
}

/** A commit stands in the log: whoever it let in is answered. */
export function joinsAnswered(
  hub: Hub,
  room: Room,
  committed: {
    readonly added: readonly { readonly account: AccountName; readonly device: DeviceId }[]
    readonly position: LogPosition
  },
): void {
  if (room.joins.length > 0) step(hub, room, { kind: 'committed', ...committed })
}

/** A member came, went, or time passed: the next question may be due. */
export function membersChanged(hub: Hub, room: Room): void {
  if (room.joins.length > 0) step(hub, room, { kind: 'looked' })
}

function step(hub: Hub, room: Room, input: JoinInput): void {
  const context = { nowMs: nowMs(hub), candidates: candidatesOf(room) }
  const { joins, effects } = stepJoins(room.joins, input, context)
  room.joins = joins
  if (joins.length > 0) hub.joining.add(room)
  else hub.joining.delete(room)
  for (const effect of effects) {
    if (effect.kind === 'ask') {
      ask(hub, room, effect)
      continue
    }
    const { session, request } = effect.joiner
    const connection = hub.connections.get(session)
    if (connection === undefined) continue
    if (effect.kind === 'accept') accept(hub, connection, { request, position: effect.position })
    else answerRefused(hub, connection, request, effect.refusal)
  }
}

function answerRefused(
  hub: Hub,
  connection: Connection,
  request: RequestId,
  refusal: Refusal,
): void {
  refuse(hub, connection, { request, opcode: OPCODE, refusal })
}

function ask(
  hub: Hub,
  room: Room,
  { leaf, bytes }: { readonly leaf: number; readonly bytes: Uint8Array },
): void {
  for (const subscription of room.subscribers) {
    if (subscription.leaf !== leaf) continue
    const { connection } = subscription
    send(hub, connection, { kind: 'joinRequested', room: room.id, body: { joinRequest: bytes } })
    return
  }
}

/** Members that follow the room now. */
function candidatesOf(room: Room): readonly Candidate[] {
  const { view } = room.sequenced
  return [...room.subscribers].flatMap(({ leaf }) => {
    const member = view?.leaves.get(leaf)
    return member === undefined ? [] : [member]
  })
}
