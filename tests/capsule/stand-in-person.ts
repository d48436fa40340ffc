/**
 * What the person of a capsule asked for, with stand-ins for texts, names and links. Owns the
 * commands; where one was refused for its text, the stand-in is refused for the same.
 */
import { fromBase64Url, toBase64Url } from '#core/base/bytes.ts'
import type { RoomId } from '#core/base/ids.ts'
import { LIMITS } from '#core/base/limits.ts'
import type { Command } from '#core/device/io.ts'
import { listedInvitations } from '#core/device/invitations.ts'
import type { DeviceState } from '#core/device/state.ts'
import { encodeInviteLink } from '#core/identity/invitation.ts'
import type { PolicyInvitation } from '#core/policy/room-policy.ts'
import { type Cast, DOMAIN } from './cast.ts'
import { type CapsuleStep, listOf, numberOf, textOf } from './reading.ts'

export interface KnownLink {
  readonly room: RoomId
  readonly invitation: PolicyInvitation
  readonly secret: Uint8Array
}

export interface CommandPlace {
  readonly step: CapsuleStep
  readonly state: DeviceState
  /** Key of a room by its name. */
  key(name: string): Promise<string>
  /** A link to a room; null where none of its links is known. */
  link(name: string): Promise<KnownLink | null>
  /** Grows with every command. */
  readonly texts: number
}

/** The code by which a command was refused in its own step; empty where it was not. */
function refusedBy({ input, out }: CapsuleStep): string {
  const settled = out.find((each) => each['do'] === 'settleCommand' && each['id'] === input['id'])
  return settled === undefined ? '' : textOf(settled, 'code')
}

export async function commandOf(place: CommandPlace, cast: Cast): Promise<Command> {
  const { step, state, texts } = place
  const { input } = step
  const code = refusedBy(step)
  const name = textOf(input, 'room')
  const room = name === '' ? '' : await place.key(name)
  switch (textOf(input, 'command') as Command['kind']) {
    case 'signUp':
      return { kind: 'signUp', name: code === 'badName' ? '' : 'p0', deviceName: 'stand-in' }
    case 'createRoom':
      return { kind: 'createRoom', title: code === 'badTitle' ? '' : 'stand-in' }
    case 'sendMessage': {
      const text = code === 'badText' ? '' : 'stand-in'
      return { kind: 'sendMessage', room, text, localId: `message ${texts}` }
    }
    case 'invite': {
      const [usesMax = 0, lifetimeMs = 0] = listOf(input, 'limits').map(Number)
      const limits = input['limits'] === null ? null : { usesMax, lifetimeMs }
      return { kind: 'invite', room, limits }
    }
    case 'revokeInvitation':
      return { kind: 'revokeInvitation', room, invitation: revoked(state, room, code) }
    case 'joinByLink':
      return { kind: 'joinByLink', link: await linkOf(place, cast, code) }
    case 'addMember':
      return { kind: 'addMember', room, account: accountOf(step, cast, code) }
    case 'setTyping':
      return { kind: 'setTyping', room }
    case 'markRead':
      return { kind: 'markRead', room, position: numberOf(input, 'position') }
  }
}

function accountOf({ input }: CapsuleStep, cast: Cast, code: string): string {
  if (code === 'badName') return ''
  if (code === 'otherHub') return 'somebody@elsewhere.example'
  return cast.nameOf(numberOf(input, 'who'))
}

/** The oldest own invitation of the room; which one it was is not recorded. */
function revoked(state: DeviceState, key: string, code: string): string {
  const room = state.rooms.get(key)
  const { account } = state
  const own = 'record' in account ? account.record.name : null
  const listed = room === undefined ? [] : listedInvitations(room)
  const found = listed.find(({ inviter }) => inviter === own)
  return found === undefined || code === 'unknownInvitation' ? '' : toBase64Url(found.id)
}

async function linkOf(place: CommandPlace, cast: Cast, code: string): Promise<string> {
  if (code === 'badLink') return ''
  const name = textOf(place.step.input, 'room')
  const found = name === '' ? null : await place.link(name)
  const hubDomain = code === 'otherHub' ? 'elsewhere.example' as typeof DOMAIN : DOMAIN
  const room = name === '' ? null : fromBase64Url(await place.key(name))
  const inviter = found?.invitation.inviter ?? cast.nameOf(1)
  return encodeInviteLink({
    room: room ?? new Uint8Array(32),
    secret: found?.secret ?? new Uint8Array(16),
    inviterRootHash: found?.invitation.inviterRootHash ?? new Uint8Array(32),
    hubDomain,
    inviter,
    title: 'stand-in'.slice(0, LIMITS.titleMax),
    suite: code === 'unknownSuite' ? 1 : 0xf003,
  })
}
