/**
 * A group of stand-ins with people at given leaves and an epoch of a given number, as a room is
 * where a capsule begins in its midst. Owns the making; nothing of its past is real.
 */
import { ok } from 'node:assert/strict'
import { leafIndex, type RoomId, type TimeMs } from '#core/base/ids.ts'
import type { Group } from '#core/mls/group.ts'
import { decodeMlsMessage } from '#core/mls/framing.ts'
import { joinByWelcome } from '#core/mls/join-welcome.ts'
import { processMessage } from '#core/mls/messages.ts'
import type { PolicyInvitation } from '#core/policy/room-policy.ts'
import type { HandDevice } from '../support/hand-device.ts'
import type { Cast, Handed } from './cast.ts'

/** Numbers of accounts that no capsule names: who filled a leaf that is blank again. */
const FILLERS = 100_000

export interface Seat {
  readonly leaf: number
  /** Number of the account; 0 is the device's own. */
  readonly who: number
}

export interface MadeGroup {
  readonly id: RoomId
  /** Of every member by leaf, the device's own too. */
  readonly groups: Map<number, Group>
  /** MLSMessage, as it would have been published. */
  readonly groupInfo: Uint8Array
  readonly invitations: readonly { invitation: PolicyInvitation; secret: Uint8Array }[]
}

export interface GroupWanted {
  readonly seats: readonly Seat[]
  readonly epoch: number
  /** How many invitations the policy lists: of the device's own account, of others. */
  readonly invitations: readonly [number, number]
  /** The device of the capsule; null where it is not in. */
  readonly own: HandDevice | null
}

/** Opens a Welcome with what was handed out; null where none of it is meant. */
export async function openWelcome(welcome: Uint8Array, handed: Handed): Promise<Group | null> {
  const { device, keyPackage, secrets } = handed
  const decoded = decodeMlsMessage('keyPackage', keyPackage)
  ok(decoded !== null)
  const { initSecret, encryptionSecret } = secrets
  const joined = await joinByWelcome(device.engine, {
    welcome,
    keyPackage: decoded.keyPackage,
    secrets: { initSecret: initSecret.slice(), encryptionSecret: encryptionSecret.slice() },
    signatureSecret: device.self.key.secretKey,
    ratchetTree: null,
    psks: () => null,
  })
  return joined.kind === 'joined' ? joined.group : null
}

/** Makes the group. */
export async function makeGroup(cast: Cast, wanted: GroupWanted): Promise<MadeGroup> {
  const { seats, own } = wanted
  const width = Math.max(1, ...seats.map(({ leaf }) => leaf + 1))
  const whoAt = (leaf: number) => seats.find((seat) => seat.leaf === leaf)?.who ?? null
  const deviceOf = async (leaf: number): Promise<HandDevice> => {
    const who = whoAt(leaf)
    if (who === 0 && own !== null) return own
    return await cast.person(who ?? FILLERS + leaf)
  }
  const founder = await deviceOf(0)
  const { room } = await founder.genesis()
  // Its log is not followed: what is committed has seen something.
  room.next = 1n
  const invitations = await invited(cast, wanted, { founder, room })
  const blanks = Array.from({ length: width }, (_, leaf) => leaf)
    .filter((leaf) => whoAt(leaf) === null)
  const commits = (width > 1 || invitations.length > 0 ? 1 : 0) + (blanks.length > 0 ? 1 : 0)
  const first = BigInt(Math.max(0, wanted.epoch - commits))
  const { context } = room.group.public
  room.group = {
    ...room.group,
    public: { ...room.group.public, context: { ...context, epoch: first } },
  }
  const groups = new Map([[0, room.group]])
  if (commits > 0 && (width > 1 || invitations.length > 0)) {
    const handed: Handed[] = []
    for (let leaf = 1; leaf < width; leaf++) {
      const device = await deviceOf(leaf)
      handed.push({ device, ...await device.makeKeyPackage() })
    }
    const adds = handed.map(({ keyPackage, device }) => ({
      keyPackage,
      certificate: device.self.certificate,
    }))
    const listed = invitations.map(({ invitation }) => invitation)
    const change = { adds, ...(listed.length > 0 ? { invitations: listed } : {}) }
    const { next, body } = await founder.commit(room, change)
    groups.set(0, next)
    for (const [index, each] of handed.entries()) {
      const joined = await openWelcome(body.welcome, each)
      ok(joined !== null, 'a stand-in opens its Welcome')
      groups.set(index + 1, joined)
    }
  }
  if (blanks.length > 0) await vacate(cast, { groups, blanks, room, deviceOf })
  const [some] = groups.values()
  ok(some !== undefined)
  return { id: room.id, groups, groupInfo: await founder.groupInfo(some), invitations }
}

async function invited(
  cast: Cast,
  { invitations: [own, others], seats, own: device }: GroupWanted,
  { founder, room }: {
    readonly founder: HandDevice
    readonly room: Awaited<ReturnType<HandDevice['genesis']>>['room']
  },
): Promise<MadeGroup['invitations']> {
  const made: { invitation: PolicyInvitation; secret: Uint8Array }[] = []
  // Of an end that no capsule reaches; times of invitations are not recorded.
  const over = {
    usesMax: 100,
    expiresAt: cast.parts.clock.nowMs() + 86_400_000 * 6 as TimeMs,
  }
  const other = seats.find(({ who }) => who !== 0)
  const inviter = other === undefined ? founder : await cast.person(other.who)
  for (let index = 0; index < own; index++) made.push((device ?? founder).invitation(room, over))
  for (let index = 0; index < others; index++) made.push(inviter.invitation(room, over))
  return made
}

/** A commit of somebody who stays takes out those who only filled a leaf. */
async function vacate(
  _cast: Cast,
  { groups, blanks, room, deviceOf }: {
    readonly groups: Map<number, Group>
    readonly blanks: readonly number[]
    readonly room: Awaited<ReturnType<HandDevice['genesis']>>['room']
    readonly deviceOf: (leaf: number) => Promise<HandDevice>
  },
): Promise<void> {
  const stays = [...groups.keys()].find((leaf) => !blanks.includes(leaf))
  const group = stays === undefined ? undefined : groups.get(stays)
  ok(stays !== undefined && group !== undefined, 'somebody stays')
  const committer = await deviceOf(stays)
  const { next, body } = await committer.commit({ ...room, group }, {
    removes: blanks.map(leafIndex),
  })
  for (const [leaf, before] of [...groups]) {
    if (leaf === stays || blanks.includes(leaf)) continue
    const taken = await processMessage(before, body.commit, { timeMs: null, psks: () => null })
    ok(taken.kind === 'commit', 'stand-ins follow one another')
    groups.set(leaf, taken.group)
  }
  for (const leaf of blanks) groups.delete(leaf)
  groups.set(stays, next)
}
