/**
 * Codes, times and names in the words of the catalogue. Owns which message says what; the texts
 * stand in `messages/`.
 */
import { m } from '../paraglide/messages.js'
import { nowMs } from './clock.ts'
import { getLocale } from '../paraglide/runtime.js'
import type { ConnectionView, InvitationView, RoomSummary, TimelineItem } from '#sdk/views.ts'

/** The person's own regional form of the app's language. */
function dateLocale(): string {
  const locale = getLocale()
  return navigator.languages.find((language) => language.split('-')[0] === locale) ?? locale
}

const form = (options: Intl.DateTimeFormatOptions, time: number): string =>
  new Intl.DateTimeFormat(dateLocale(), options).format(time)

export const clockTime = (time: number): string =>
  form({ hour: '2-digit', minute: '2-digit' }, time)

export const fullTime = (time: number): string =>
  form({ dateStyle: 'full', timeStyle: 'medium' }, time)

const startOfDay = (time: number): number => new Date(time).setHours(0, 0, 0, 0)

const daysBefore = (time: number, now: number): number =>
  Math.round((startOfDay(now) - startOfDay(time)) / 86_400_000)

/** The date as it stands on the line. */
export function dateWords(time: number, now: number = nowMs()): string {
  const days = daysBefore(time, now)
  if (days === 0) return m.date_today()
  if (days === 1) return m.date_yesterday()
  const sameYear = new Date(time).getFullYear() === new Date(now).getFullYear()
  const year = sameYear ? {} : { year: 'numeric' } as const
  return form({ weekday: 'long', day: 'numeric', month: 'long', ...year }, time)
}

/** The shortest form that still tells when. */
export function briefTime(time: number, now: number = nowMs()): string {
  const days = daysBefore(time, now)
  if (days <= 0) return clockTime(time)
  if (days < 7) return form({ weekday: 'short' }, time)
  return form({ day: '2-digit', month: '2-digit', year: '2-digit' }, time)
}

/** The part of `name@hub` before the hub. */
export const shortName = (account: string): string => account.split('@')[0] ?? account

export const personWords = (account: string | null): string => account ?? m.person_unverified()

export const roomTitle = (room: RoomSummary): string => room.title ?? m.room_untitled()

export function transportWords(connection: ConnectionView): string {
  if (connection.kind !== 'connected') return ''
  const { transport } = connection
  if (transport === 'webTransport') return m.transport_web_transport()
  return transport === 'webSocket' ? m.transport_web_socket() : m.transport_memory()
}

export function connectionWords(connection: ConnectionView, networkReachable: boolean): string {
  switch (connection.kind) {
    case 'connected':
      return m.connection_connected()
    case 'connecting':
      return m.connection_connecting()
    case 'refused':
      return m.connection_refused({ code: connection.code })
    case 'offline':
      return networkReachable ? m.connection_hub_silent() : m.connection_offline()
  }
}

export function eventWords(item: Extract<TimelineItem, { kind: 'event' }>): string {
  const actor = personWords(item.actor)
  const subject = item.subject ?? m.person_unverified()
  switch (item.event) {
    case 'created':
      return m.event_created({ actor })
    case 'joined':
      return item.actor === null || item.actor === item.subject
        ? m.event_joined({ subject })
        : m.event_let_in({ actor, subject })
    case 'removed':
      return m.event_removed({ actor, subject })
    case 'invitationMade':
      return m.event_invitation_made({ actor })
    case 'invitationRevoked':
      return m.event_invitation_revoked({ actor })
    case 'resynced':
      return m.event_resynced({ subject })
    case 'falseVote':
      return m.event_false_vote({ subject })
    case 'titled':
      return m.event_titled({ actor, title: item.subject ?? '' })
  }
}

export const linkUsesWords = ({ uses, usesMax }: InvitationView): string =>
  m.invite_used({ uses, count: usesMax })

export const linkEndWords = ({ expiresAt }: InvitationView, now: number = nowMs()): string =>
  expiresAt <= now
    ? m.invite_over()
    : m.invite_until({ time: form({ dateStyle: 'medium', timeStyle: 'short' }, expiresAt) })

/** What the room's state means for the person, or null where there is nothing to say. */
export function roomStateWords(room: RoomSummary): string | null {
  switch (room.state) {
    case 'live':
      return null
    case 'creating':
      return m.room_creating()
    case 'joining':
      return m.room_joining()
    case 'joinRefused':
      return joinWords(room.code ?? '')
    case 'syncing':
      return m.room_syncing()
    case 'broken':
      return m.room_broken({ code: room.code ?? '' })
    case 'removed':
      return m.room_removed()
  }
}

/** Whether messages can be written: they wait in the outbox where the room is not live yet. */
export const canWrite = (room: RoomSummary): boolean =>
  room.state === 'live' || room.state === 'creating' || room.state === 'syncing'

function commonWords(code: string): string {
  switch (code) {
    case 'offline':
    case 'unavailable':
      return m.problem_hub_silent()
    case 'tooMany':
    case 'overloaded':
    case 'outboxFull':
      return m.problem_too_many()
    case 'interrupted':
    case 'closed':
      return m.problem_interrupted()
    case 'storeFailed':
      return m.problem_storage_full()
    case 'badTitle':
      return m.new_room_bad()
    case 'roomNotLive':
      return m.problem_room_not_live()
    default:
      return m.problem_other({ code })
  }
}

export function enrolWords(code: string): string {
  switch (code) {
    case 'nameTaken':
      return m.enrol_name_taken()
    case 'badName':
      return m.enrol_name_bad()
    default:
      return commonWords(code)
  }
}

export function joinWords(code: string): string {
  switch (code) {
    case 'unknownInvitation':
    case 'invitationSpent':
    case 'badLink':
    case 'unknownRoom':
      return m.join_spent()
    case 'alreadyMember':
      return m.join_already_member()
    case 'otherHub':
      return m.join_other_hub()
    case 'badGenesis':
    case 'badCertificate':
    case 'wrongSignature':
    case 'badAnchor':
    case 'brokenLog':
    case 'wrongVerdict':
    case 'fork':
      return m.join_not_genuine()
    case 'noAnchor':
      return m.join_no_anchor()
    default:
      return commonWords(code)
  }
}

export function addWords(code: string): string {
  switch (code) {
    case 'badName':
      return m.add_name_bad()
    case 'nobodyThere':
      return m.add_not_found()
    case 'otherHub':
      return m.add_other_hub()
    case 'alreadyMember':
      return m.add_already_member()
    default:
      return commonWords(code)
  }
}

export function sendWords(code: string): string {
  return code === 'badText' ? m.composer_too_long() : commonWords(code)
}

export const callWords = commonWords
