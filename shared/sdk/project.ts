/**
 * From the machine's state to the views of `views.ts`. Owns the choice of what is shown; changes
 * nothing.
 */
import { toHex } from '#core/base/bytes.ts'
import type { TimeMs } from '#core/base/ids.ts'
import { ownInvitations } from '#core/device/invitations.ts'
import { membersOf } from '#core/device/members.ts'
import { hasNoLeaf, needsResync } from '#core/device/chain.ts'
import { caughtUp } from '#core/device/room.ts'
import { retryInMs } from '#core/device/session.ts'
import { type DeviceState, registeredOf, type RoomState } from '#core/device/state.ts'
import { queuedEntry, type TimelineEntry } from '#core/device/timeline.ts'
import type { AccountView, AppView, ConnectionView, MemberView } from '#sdk/views.ts'
import type { RoomSummary, RoomView, TimelineItem } from '#sdk/views.ts'

/** The whole account, rooms with the latest first. */
export function projectApp(state: DeviceState, nowMs: TimeMs): AppView {
  const rooms = [...state.rooms.values()].map((room) => summary(state, room))
  rooms.sort((a, b) => b.lastTime - a.lastTime)
  return { account: accountView(state), connection: connectionView(state, nowMs), rooms }
}

function accountView(state: DeviceState): AccountView {
  const { account, hub } = state
  switch (account.kind) {
    case 'none':
      return { kind: 'none' }
    case 'wanted':
      return { kind: 'registering', name: account.name }
    case 'registering':
      return { kind: 'registering', name: account.record.name }
    case 'refused':
      return { kind: 'refused', name: account.name, code: account.code }
    case 'registered':
      return {
        kind: 'registered',
        name: account.record.name,
        deviceName: account.record.deviceName,
        rootHash: toHex(account.record.rootHash),
        hubDomain: hub?.domain ?? account.record.hubDomain,
        rootOnDevice: true,
      }
  }
}

function connectionView(state: DeviceState, nowMs: TimeMs): ConnectionView {
  const { session } = state
  switch (session.kind) {
    case 'ready':
      return { kind: 'connected', transport: session.transport }
    case 'guest': {
      // Without an account there is nothing more to wait for.
      const stranger = state.account.kind === 'none' || state.account.kind === 'refused'
      return stranger ? { kind: 'connected', transport: session.transport } : { kind: 'connecting' }
    }
    case 'dialing':
      return session.failures === 0 ? { kind: 'connecting' } : { kind: 'offline', retryInMs: 0 }
    case 'greeting':
    case 'authenticating':
      return { kind: 'connecting' }
    case 'refused':
      return { kind: 'refused', code: session.code }
    case 'idle':
    case 'waiting':
    case 'closed':
      return { kind: 'offline', retryInMs: retryInMs(session, nowMs) }
  }
}

function roomPhase(state: DeviceState, room: RoomState): RoomSummary['state'] {
  const { phase } = room.record
  if (phase !== 'live') return phase
  if (room.joining !== null) return 'syncing'
  if (hasNoLeaf({ registered: registeredOf(state) }, room)) return 'removed'
  const behind = room.subscription.kind === 'following' && !caughtUp(room)
  return behind || needsResync(room) ? 'syncing' : 'live'
}

function summary(state: DeviceState, room: RoomState): RoomSummary {
  const { record } = room
  const queued = room.outbox.filter((item) => item.record.purpose === 'message').at(-1)
  const waiting = queued === undefined ? null : queuedEntry(queued, '')
  const text = waiting?.kind === 'message' ? waiting.text : record.last?.text ?? null
  return {
    room: room.key,
    title: record.title,
    state: roomPhase(state, room),
    code: record.code === '' ? null : record.code,
    memberCount: people(room).size,
    unreadCount: record.unread,
    lastText: text,
    lastAuthor: record.last?.author ?? null,
    lastTime: waiting?.time ?? record.last?.time ?? record.createdAt,
  }
}

function people(room: RoomState): ReadonlySet<string> {
  return new Set(membersOf(room).map((member) => member.verified ? member.account : ''))
}

/** One room with a window of its timeline, oldest first. */
export function projectRoom(
  state: DeviceState,
  room: RoomState,
  window: { readonly entries: readonly TimelineEntry[]; readonly hasEarlier: boolean },
): RoomView {
  const own = registeredOf(state)
  const shown = new Set(window.entries.map(({ id }) => id))
  const queued = room.outbox
    .map((item) => queuedEntry(item, own?.name ?? ''))
    .filter((item) => item !== null)
    .filter(({ id }) => !shown.has(id))
  const items: readonly TimelineItem[] = [...window.entries, ...queued]
  const roster = membersOf(room)
  const members = roster.map((member): MemberView => ({
    account: member.verified ? member.account : null,
    deviceName: member.deviceName,
    own: member.verified && member.account === own?.name,
  }))
  const typing = room.typing
    .map((mark) => roster.find((member) => member.leaf === mark.leaf && member.verified))
    .filter((member) => member !== undefined)
    .map((member) => member.account)
  const invitations = own === null ? [] : ownInvitations(room, own.name)
  const { hasEarlier } = window
  return { summary: summary(state, room), items, hasEarlier, members, invitations, typing }
}
