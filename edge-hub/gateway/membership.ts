/**
 * What a stored turn means for who follows a room: newcomers read whole frames from their commit
 * on, who was removed reads none and gets nothing behind the verdict, Welcomes are offered, and the
 * change is counted. Owns no rule of who is a member (see `sequencer/`).
 */
import type { StoredEntry } from '#hub/ports.ts'
import { endForStrangers, publish, showFrames } from '#hub/gateway/fan-out.ts'
import type { Connection, Hub, Room } from '#hub/gateway/model.ts'
import { mayJoin } from '#hub/gateway/seats.ts'
import { dropVoidWelcomes, offerWelcomesTo } from '#hub/gateway/welcomes.ts'
import { type EpochView, leafOf, memberAt } from '#hub/sequencer/group-view.ts'
import type { Decision } from '#hub/sequencer/sequencer.ts'

/** Publishes entries, those behind a verdict only to who is a member by it (SEQ-6). */
export function publishToMembers(hub: Hub, room: Room, decision: Decision): void {
  const { entries, opened, verdicts } = decision
  // A commit may be final in its own turn, and is not among the open ones then.
  if (opened.length > 0 || verdicts.length > 0) {
    for (const subscription of room.subscribers) showFrames(subscription)
  }
  let rest: readonly StoredEntry[] = entries
  for (const { position, epochs } of verdicts) {
    const behind = rest.findIndex((stored) => stored.position === position) + 1
    publish(hub, room, rest.slice(0, behind))
    rest = rest.slice(behind)
    endJoins(room, epochs.slice(0, 1))
    endForStrangers(
      hub,
      room,
      position + 1n,
      (connection) => hasLeaf(connection, epochs) || mayJoin(connection, room, epochs),
    )
  }
  publish(hub, room, rest)
}

function hasLeaf(connection: Connection, views: readonly EpochView[]): boolean {
  const { device } = connection.actor
  return device !== null && views.some((view) => leafOf(view, device) !== null)
}

/** The right to follow as a newcomer ends when the join is final (JOIN-1). */
function endJoins(room: Room, final: readonly EpochView[]): void {
  for (const { connection } of room.subscribers) {
    if (hasLeaf(connection, final)) connection.joining.delete(room.key)
  }
}

/** Offers the Welcomes that are given out by now, and counts who came and went. */
export function settleMembers(hub: Hub, room: Room, decision: Decision): void {
  const { welcomes, finals, voided, effects } = decision
  offerWelcomesTo(hub, welcomes.filter(({ held }) => !held))
  for (const { view, before, epoch } of finals) {
    const added = epoch.added.flatMap((leaf) => memberAt(view, leaf) ?? [])
    offerWelcomesTo(hub, added)
    const removed = before.made.tree.memberCount + added.length - view.made.tree.memberCount
    hub.ports.effects.observe({ kind: 'memberCountChanged', added: added.length, removed })
    hub.ports.effects.observe({ kind: 'epochFinal', finalMs: decision.time - epoch.timeMs })
  }
  const voidFrom = effects?.voidFrom ?? null
  if (voidFrom !== null) dropVoidWelcomes(hub, room.id, voidFrom)
  for (let count = voided.length; count > 0; count--) {
    hub.ports.effects.observe({ kind: 'epochVoid' })
  }
}
