/**
 * Stored states: a member's tree on a disk of its own, written node by node as it changes, and the
 * state that comes back from it. Owns that what comes back is what was there.
 */
import { EMPTY } from '#core/base/bytes.ts'
import {
  encodeGroupHead,
  encodePublicHead,
  leafWidthOf,
  memberLeafWidthOf,
  restoreGroup,
  restorePublicGroup,
} from '#core/mls/state-codec.ts'
import type { Disk } from './disk.ts'
import { fingerprint } from './fingerprint.ts'
import { count, must, oneIn, type Seat, type World } from './world.ts'

/** Some members end and start again; the public group too. */
export function restart(world: World): void {
  for (const seat of world.seats) {
    if (seat.disk === null) continue
    seat.disk.write(seat.group.public.tree)
    if (oneIn(world, 3)) restartSeat(world, seat, seat.disk)
  }
  world.publicDisk.write(world.publicGroup.tree)
  if (oneIn(world, 6)) restartPublicGroup(world)
}

function restartSeat(world: World, seat: Seat, disk: Disk): void {
  const { group } = seat
  const secrets = { ...group.secrets, encryptionSecret: EMPTY }
  const head = encodeGroupHead(group)
  const tree = disk.read(world.suite, memberLeafWidthOf(head))
  must(tree !== null, 'stored nodes make no tree')
  const { signatureSecret } = group
  const restored = restoreGroup(world.suite, { head, tree, signatureSecret })
  must(restored !== null, 'a stored state does not come back')
  head.fill(0)
  must(
    fingerprint(restored) === fingerprint({ ...group, secrets }),
    'a state comes back as another',
  )
  seat.group = restored
  count(world, 'members restored')
}

function restartPublicGroup(world: World): void {
  const head = encodePublicHead(world.publicGroup)
  const tree = world.publicDisk.read(world.suite, leafWidthOf(head))
  must(tree !== null, 'stored nodes of the public group make no tree')
  const restored = restorePublicGroup(world.suite, head, tree)
  must(restored !== null, 'a stored public group does not come back')
  const same = fingerprint(restored) === fingerprint(world.publicGroup)
  must(same, 'a public group comes back as another')
  world.publicGroup = restored
  count(world, 'public groups restored')
}
