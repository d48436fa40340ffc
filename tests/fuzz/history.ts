/**
 * One random history of a group from a seed: messages, proposals and commits one after the other,
 * each followed by all who are there and judged by all that must hold. Owns the order of events.
 */
import type { CipherSuite } from '#core/mls/cipher-suite.ts'
import { type CommitMade, makeCommit } from '#core/mls/commit-make.ts'
import { processMessage } from '#core/mls/messages.ts'
import { agree } from './agreement.ts'
import { goneLearnNothing, stayersArrive } from './attackers.ts'
import { damageHandshake } from './damage.ts'
import { joinFromOutside } from './external.ts'
import { refuseConflicts } from './conflicts.ts'
import { judgeFalsePath } from './false-paths.ts'
import { followCommit } from './follow.ts'
import { refuseForgeries } from './forgeries.ts'
import { takeSomeExports } from './exports.ts'
import { refuseSpoiltTree } from './trees.ts'
import { fingerprint } from './fingerprint.ts'
import { drawBatch, type Epoch, nextTemplate, proposeSomething } from './proposals.ts'
import { sendingOf } from './proposals.ts'
import { restart } from './restore.ts'
import { branch, reinitialise } from './successors.ts'
import { hearLate, talk } from './talk.ts'
import {
  count,
  createWorld,
  must,
  NOW,
  oneIn,
  type PastCommit,
  pskOf,
  rememberSecrets,
  type Seat,
  taken,
  type World,
} from './world.ts'

export interface Profile {
  readonly name: string
  readonly suite: CipherSuite
  readonly costly: boolean
  /** One of them is the largest size that a history reaches. */
  readonly sizes: readonly number[]
  readonly commitsMax: number
}

/** How often each thing was tried; throws what did not hold. */
export async function runHistory(
  profile: Profile,
  seed: number,
): Promise<Readonly<Record<string, number>>> {
  const world = await createWorld(profile, seed)
  const membersMax = world.prng.pick(profile.sizes)
  const framing = world.prng.pick(['public', 'public', 'private', 'mixed'] as const)
  const frugal = framing === 'public' && oneIn(world, 3)
  const commits = 2 + world.prng.integer(profile.commitsMax - 1)
  for (let index = 0; index < commits; index++) {
    const epoch: Epoch = {
      offers: new Map(),
      membersMax,
      framing,
      frugal,
      publicKnowsAll: true,
    }
    if (index > 0 && oneIn(world, 24)) await reinitialise(world, epoch)
    else await liveOneEpoch(world, epoch)
    if (oneIn(world, 16)) await branch(world)
  }
  return world.counts
}

async function liveOneEpoch(world: World, epoch: Epoch): Promise<void> {
  const proposals = world.seats.length < 2 ? 0 : world.prng.pick([0, 0, 1, 2, 4])
  for (let index = 0; index < proposals; index++) await proposeSomething(world, epoch)
  restart(world)
  const past = world.seats.length > 1 && oneIn(world, 6)
    ? await joinFromOutside(world, epoch)
    : await commitSomething(world, epoch)
  await agree(world)
  rememberSecrets(world, (world.seats[0] as Seat).group)
  await hearLate(world, past)
  world.messages = []
  if (epoch.frugal) takeSomeExports(world)
  else await talk(world)
  restart(world)
  if (oneIn(world, 2)) await refuseSpoiltTree(world, world.prng.pick(world.seats).group)
  await goneLearnNothing(world, past)
  if (oneIn(world, 4)) await stayersArrive(world, past)
}

async function commitSomething(world: World, epoch: Epoch): Promise<PastCommit> {
  const committer = world.prng.pick(world.seats)
  const { group } = committer
  const before = oneIn(world, 4) ? fingerprint(group) : null
  const lost = oneIn(world, 6) ? await makeSome(world, epoch, committer) : null
  const made = await makeSome(world, epoch, committer)
  must(before === null || before === fingerprint(group), 'making a commit changed its state')
  await refuseConflicts(world, committer)
  if (oneIn(world, 3) && epoch.publicKnowsAll) await judgeFalsePath(world)
  if (lost !== null) await followAndForget(world, committer, lost)
  await damageHandshake(world, { message: made.message, from: committer })
  const { publicKnowsAll } = epoch
  await refuseForgeries(world, { made, before: group.public, publicKnowsAll })
  return await followCommit(world, epoch, { committer, made, before: group.public })
}

async function makeSome(world: World, epoch: Epoch, committer: Seat): Promise<CommitMade> {
  const batch = await drawBatch(world, epoch, committer)
  const made = await makeCommit(committer.group, {
    ...sendingOf(world, epoch),
    ...nextTemplate(world, committer),
    proposals: batch.byValue,
    references: batch.references,
    path: oneIn(world, 2) ? 'always' : 'whenRequired',
    welcome: { ratchetTree: oneIn(world, 2), externalPub: oneIn(world, 2) },
    psks: pskOf(world),
    timeMs: NOW,
  })
  return taken(made, 'a commit')
}

/** Some follow a commit that never comes to count, and drop what they came to. */
async function followAndForget(world: World, committer: Seat, made: CommitMade): Promise<void> {
  for (const seat of world.seats) {
    if (seat === committer || !oneIn(world, 2)) continue
    const processing = { timeMs: NOW, psks: pskOf(world) }
    taken(await processMessage(seat.group, made.message, processing), 'a commit that is dropped')
  }
  count(world, 'commits dropped')
}
