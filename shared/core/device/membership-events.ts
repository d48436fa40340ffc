/**
 * What a commit changed, in the words of the timeline (DEV-8): who came, went or came back, and
 * which links were made or taken back. Owns the order of these items under one entry.
 */
import { type AccountName, type LeafIndex, leafIndex } from '#core/base/ids.ts'
import { topEpoch } from '#core/device/chain.ts'
import { memberAt } from '#core/device/members.ts'
import type { TimelineRecord } from '#core/device/records.ts'
import { addItem } from '#core/device/room.ts'
import type { PlacedEntry, RoomEpoch } from '#core/device/state.ts'
import type { Turn } from '#core/device/turn.ts'
import type { CommitChange } from '#core/mls/staged-commit.ts'
import type { ExternalKind } from '#core/policy/commit-rules.ts'
import { findInvitation, NO_POLICY, policyOf } from '#core/policy/room-policy.ts'

export interface NotedCommit {
  readonly placed: PlacedEntry
  /** The epoch in which the commit was made. */
  readonly before: RoomEpoch
  readonly change: CommitChange
  readonly external: ExternalKind | null
}

type Event = Extract<TimelineRecord['item'], { readonly kind: 'event' }>

/** Writes the items of a commit whose epoch is the newest. */
export function noteMembership(turn: Turn, key: string, noted: NotedCommit): void {
  const room = turn.room(key)
  const after = room === null ? null : topEpoch(room)
  // On the way in nothing is shown of what was before.
  if (room === null || after === null || (room.joining !== null && after.group === null)) return
  const { placed, before, change, external } = noted
  const nameIn = (epoch: RoomEpoch, leaf: LeafIndex): AccountName | null => {
    const member = memberAt(room, epoch, leaf)
    return member?.verified === true ? member.account : null
  }
  const actor = nameIn(after, leafIndex(change.committer))
  const events: Event[] = []
  const event = (name: Event['event'], subject: string | null): void => {
    events.push({ kind: 'event', event: name, actor, subject: subject ?? '' })
  }
  if (external !== null) event(external === 'resync' ? 'resynced' : 'joined', actor)
  for (const { leaf } of change.added) event('joined', nameIn(after, leafIndex(leaf)))
  if (external === null) {
    for (const { leaf } of change.removed) event('removed', nameIn(before, leafIndex(leaf)))
  }
  for (const name of policyEvents(change)) event(name, null)
  for (const [index, item] of events.entries()) {
    addItem(turn, key, { position: placed.position, index, time: placed.time, item })
  }
}

function policyEvents(change: CommitChange): readonly Event['event'][] {
  const { extensionsBefore, extensionsAfter } = change
  if (extensionsBefore === extensionsAfter) return []
  const [before, after] = [policyOf(extensionsBefore), policyOf(extensionsAfter)]
    .map((policy) => policy ?? NO_POLICY) as [typeof NO_POLICY, typeof NO_POLICY]
  const made = after.invitations.filter(({ id }) => findInvitation(before, id) === null)
  const gone = before.invitations.filter(({ id }) => findInvitation(after, id) === null)
  return [
    ...made.map(() => 'invitationMade' as const),
    ...gone.map(() => 'invitationRevoked' as const),
  ]
}
