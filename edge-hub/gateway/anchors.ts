/**
 * Anchors that devices of an inviter leave (JOIN-3): taken for the last final epoch and an
 * invitation that the newest one lists, signed by the session's own device. Owns that check; the
 * store keeps them, with the version of the group that each names.
 */
import { equalBytes, toHex } from '#core/base/bytes.ts'
import { type Anchor, readAnchor, verifyAnchor } from '#core/policy/anchor.ts'
import { findInvitation, type PolicyInvitation, policyOf } from '#core/policy/room-policy.ts'
import { BODIES, type Body } from '#core/wire/bodies.ts'
import type { Refusal } from '#core/wire/refusals.ts'
import { accept, background, beginRequest, endRequest } from '#hub/gateway/answering.ts'
import { refusalOf, refuse, UNAVAILABLE } from '#hub/gateway/answering.ts'
import { type Connection, type Hub, nowMs, type Room } from '#hub/gateway/model.ts'
import type { StoredAnchor } from '#hub/ports.ts'
import { type EpochView, isSameDevice } from '#hub/sequencer/group-view.ts'
import { finalView, headView } from '#hub/sequencer/room-state.ts'

const OPCODE = BODIES.leaveAnchor[0]
const BAD: Refusal = { kind: 'badAnchor' }

export interface AnchorAsked {
  readonly room: Room
  readonly size: number
  readonly body: Body<'leaveAnchor'>
}

export function leaveAnchor(hub: Hub, connection: Connection, asked: AnchorAsked): void {
  const { room, size, body: { request, anchor } } = asked
  beginRequest(hub, connection, size)
  background(
    hub,
    take(hub, connection, { room, anchor }).catch(() => UNAVAILABLE).then((refusal) => {
      endRequest(hub, connection, size)
      if (refusal === null) return accept(hub, connection, { request, position: null })
      refuse(hub, connection, { request, opcode: OPCODE, refusal })
    }),
  )
}

/** Null when the anchor is kept. */
async function take(
  hub: Hub,
  connection: Connection,
  { room, anchor }: { readonly room: Room; readonly anchor: Uint8Array },
): Promise<Refusal | null> {
  const { crypto, log } = hub.ports
  const said = readAnchor(anchor)
  const [final, head] = [finalView(room.sequenced), headView(room.sequenced)]
  if (said === null || final === null || head === null) return BAD
  const invitation = ownInvitation(connection, head, said)
  if (invitation === null || said.position !== final.origin) return BAD
  const key = `${room.key}${toHex(said.invitation)}`
  const tooMany = refusalOf(hub.anchors.spend(key, nowMs(hub)))
  if (tooMany !== null) return tooMany
  const verified = await verifyAnchor(crypto, anchor, {
    room: room.id,
    invitation: invitation.id,
    inviterRootHash: invitation.inviterRootHash,
    group: final.made,
  })
  const [entry] = await log.read(room.id, { from: final.origin, limit: 1, bytesMax: 1 })
  if (verified === null || entry === undefined) return BAD
  if (!equalBytes(entry.entryHash, said.entryHash)) return BAD
  const stored: StoredAnchor = {
    invitation: said.invitation,
    version: final.origin,
    position: said.position,
    anchor,
  }
  return await log.leaveAnchor(room.id, stored) === 'left' ? null : BAD
}

/** The invitation that an anchor is for, if it is of the session's own device and account. */
function ownInvitation(
  { actor: { device } }: Connection,
  head: EpochView,
  said: Anchor,
): PolicyInvitation | null {
  const policy = policyOf(head.made.context.extensions)
  const invitation = policy === null ? null : findInvitation(policy, said.invitation)
  if (invitation === null || device === null) return null
  const signer = { account: invitation.inviter, device: said.device }
  return isSameDevice(signer, device) ? invitation : null
}
