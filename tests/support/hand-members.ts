/**
 * What members by hand do together: one adds another, the others follow and vote. Owns no check of
 * its own but that the hub takes what they say.
 */
import { strictEqual } from 'node:assert/strict'
import type { LogPosition } from '#core/base/ids.ts'
import type { HandDevice, HandRoom } from './hand-device.ts'

export interface Follower {
  readonly device: HandDevice
  readonly room: HandRoom
}

/** Is asked, follows the commit, and agrees to it; the position of the vote. */
export async function agree({ device, room }: Follower): Promise<LogPosition> {
  const { body } = await device.hear('askVote')
  await device.follow(room, body.position + 1n)
  await device.process(room)
  return await device.position(await device.vote(room))
}

/** Adds a device by a KeyPackage of its own; whoever is there agrees, both follow afterwards. */
export async function add(
  member: HandDevice,
  room: HandRoom,
  joiner: HandDevice,
  others: readonly Follower[] = [],
): Promise<HandRoom> {
  const made = await joiner.makeKeyPackage()
  const { certificate } = joiner.self
  const adds = [{ keyPackage: made.keyPackage, certificate }]
  await passed({ device: member, room }, { adds }, others)
  return await joiner.join(made)
}

/** A commit that becomes final: whoever is there agrees. The position of the commit. */
export async function passed(
  { device, room }: Follower,
  change: Parameters<HandDevice['change']>[1],
  others: readonly Follower[] = [],
): Promise<LogPosition> {
  const position = await device.change(room, change)
  for (const other of others) await agree(other)
  const behind = position + BigInt(others.length) + 2n
  for (const follower of [{ device, room }, ...others]) {
    await follower.device.follow(follower.room, behind)
    strictEqual(follower.room.entries.at(-1)?.entry.header.entry, 'verdict')
  }
  return position
}
