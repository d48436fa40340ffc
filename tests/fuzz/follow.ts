/**
 * One commit and all whom it concerns: members follow it, who is removed leaves, who is added
 * joins, the public group follows as far as it can read. Owns that everybody sees the same change;
 * what must hold in the new epoch is `agreement.ts`.
 */
import { equalBytes } from '#core/base/bytes.ts'
import type { CommitMade } from '#core/mls/commit-make.ts'
import { decodeMlsMessage } from '#core/mls/framing.ts'
import type { AuthenticatedContent } from '#core/mls/framing.ts'
import type { Group } from '#core/mls/group.ts'
import { processMessage } from '#core/mls/messages.ts'
import { unprotect } from '#core/mls/private-message.ts'
import type { Proposal } from '#core/mls/proposal.ts'
import type { PublicGroup } from '#core/mls/public-group.ts'
import { publicProcess } from '#core/mls/public-process.ts'
import { toHex } from './hex.ts'
import { fingerprint } from './fingerprint.ts'
import type { Epoch } from './proposals.ts'
import { welcomeAdded } from './welcomes.ts'
import {
  adopt,
  copiedSecrets,
  count,
  leave,
  must,
  NOW,
  oneIn,
  openedPublicGroup,
  type PastCommit,
  pskOf,
  type Seat,
  taken,
  type World,
} from './world.ts'

export interface MadeCommit {
  /** Null where the commit comes from outside. */
  readonly committer: Seat | null
  readonly made: CommitMade
  /** The group before it, with the proposals of its epoch. */
  readonly before: PublicGroup
}

export async function followCommit(
  world: World,
  epoch: Epoch,
  commit: MadeCommit,
): Promise<PastCommit> {
  const { committer, made, before } = commit
  const { change, message } = made
  const secretsBefore = world.present
  const authenticated = contentOf(world, committer?.group ?? null, message)
  for (const seat of [...world.seats]) if (seat !== committer) await followAs(world, seat, made)
  if (committer !== null) {
    await refusedAs(world, committer, { message, code: ['wrongSender', 'generationUsed'] })
    adopt(committer, made.next, made.consumed)
  }
  const { body } = authenticated.content
  hasPathWhereDue(world, change, body.kind === 'commit' && body.commit.path !== null)
  for (const { proposal, byReference } of change.proposals) {
    count(world, `committed ${proposal.kind} ${byReference ? 'by reference' : 'by value'}`)
  }
  await followPublicly(world, epoch, made)
  const past: PastCommit = {
    message,
    authenticated,
    committer: change.committer,
    before,
    after: made.next.public,
    welcome: made.welcome,
    secrets: copiedSecrets(made.next.secrets),
    secretsBefore,
    messages: world.messages,
  }
  world.earlierReferences = [...before.proposals.values()].map(({ reference }) => reference)
  const isSame = equalBytes(before.context.treeHash, made.next.public.context.treeHash)
  world.earlierTree = isSame ? null : before.tree
  await welcomeAdded(world, epoch, { made, past })
  for (const seat of world.seats.slice(0, 3)) {
    await refusedAs(world, seat, { message, code: ['wrongEpoch', 'suspended'] })
  }
  return past
}

/** One's own commit, and any commit a second time. */
async function refusedAs(
  world: World,
  { group, person }: Seat,
  { message, code }: { readonly message: Uint8Array; readonly code: readonly string[] },
): Promise<void> {
  const result = await processMessage(group, message, { timeMs: NOW, psks: pskOf(world) })
  const met = result.kind === 'refused' ? result.code : result.kind
  must(code.includes(met), `${person.name} meets a commit that is not to be followed with ${met}`)
}

/** What the committer signed; it opens its own PrivateMessage while it has the keys before. */
function contentOf(
  world: World,
  committer: Group | null,
  message: Uint8Array,
): AuthenticatedContent {
  const open = decodeMlsMessage('publicMessage', message)
  if (open !== null) {
    const { content, auth } = open.publicMessage
    return { wireFormat: 'publicMessage', content, auth }
  }
  const closed = decodeMlsMessage('privateMessage', message)
  const keys = committer?.secretTree ?? null
  must(closed !== null && committer !== null && keys !== null, 'a private commit has its keys')
  const { senderDataSecret } = committer.secrets
  const opened = unprotect(
    world.suite,
    { senderDataSecret, secretTree: keys },
    closed.privateMessage,
  )
  must(opened.kind === 'unprotected', 'a private commit opens with the keys of its epoch')
  const { content, auth } = opened
  return { wireFormat: 'privateMessage', content, auth }
}

async function followAs(world: World, seat: Seat, made: CommitMade): Promise<void> {
  const { name } = seat.person
  const isRemoved = made.change.removed.some(({ leaf }) => leaf === seat.group.ownLeaf)
  const before = oneIn(world, 8) ? fingerprint(seat.group) : null
  const processing = { timeMs: NOW, psks: pskOf(world) }
  if (!isRemoved && oneIn(world, 4)) await needsItsPsks(world, seat, made)
  const outcome = await processMessage(seat.group, made.message, processing)
  const result = taken(outcome, `a commit at ${name}`)
  must(before === null || before === fingerprint(seat.group), 'following changed the state')
  if (isRemoved) {
    must(result.kind === 'removed', `${name} should be removed, and has ${result.kind}`)
    leave(world, seat)
    count(world, 'members removed')
    return
  }
  must(result.kind === 'commit', `${name} should follow, and has ${result.kind}`)
  adopt(seat, result.group, result.consumed)
  const same = JSON.stringify(placesOf(result.change)) === JSON.stringify(placesOf(made.change))
  must(same, `${name} sees another change`)
}

/** Without one of the PSKs, or with another in its place, nobody follows. */
async function needsItsPsks(world: World, { group, person }: Seat, made: CommitMade) {
  if (!made.change.proposals.some(({ proposal }) => isForeign(proposal))) return
  const other = world.entropy.randomBytes(8)
  for (const secret of [null, other]) {
    const processing = { timeMs: NOW, psks: () => secret }
    const result = await processMessage(group, made.message, processing)
    must(result.kind === 'refused', `${person.name} follows without a PSK`)
  }
  count(world, 'wrong PSKs')
}

/** Of PSKs, what a group does not hold by itself. */
function isForeign(proposal: Proposal): boolean {
  return proposal.kind === 'psk' && proposal.psk.kind === 'external'
}

/** Proposals that demand no path (RFC 9420 section 17.4). */
const PATHLESS: ReadonlySet<Proposal['kind']> = new Set(['add', 'psk', 'reInit'])

function hasPathWhereDue(world: World, change: CommitMade['change'], hasPath: boolean): void {
  const kinds = change.proposals.map(({ proposal }) => proposal.kind)
  const due = kinds.length === 0 || kinds.some((kind) => !PATHLESS.has(kind))
  must(hasPath || !due, `a commit of ${kinds} has no path`)
  count(world, hasPath ? 'commits with path' : 'commits without path')
}

function placesOf({ committer, added, removed, updated, external }: CommitMade['change']) {
  const leaves = (list: typeof removed) =>
    list.map(({ leaf, leafNode }) => [leaf, toHex(leafNode.signature)])
  return [committer, external, leaves(added), leaves(removed), leaves(updated)]
}

/** The public group follows what it can read; else it is opened anew from a GroupInfo. */
async function followPublicly(world: World, epoch: Epoch, made: CommitMade): Promise<void> {
  const before = oneIn(world, 8) ? fingerprint(world.publicGroup) : null
  const seen = await publicProcess(world.publicGroup, made.message, { timeMs: NOW })
  must(before === null || before === fingerprint(world.publicGroup), 'it changed the public group')
  if (seen.kind === 'refused') {
    const isPrivate = decodeMlsMessage('publicMessage', made.message) === null
    const wanted = isPrivate ? 'malformed' : epoch.publicKnowsAll ? null : 'unknownProposal'
    must(seen.code === wanted, `the public group refused a commit with ${seen.code}`)
    world.publicGroup = await openedPublicGroup(made.next)
    return
  }
  must(seen.kind === 'commit', `the public group took a commit as a ${seen.kind}`)
  const same = JSON.stringify(placesOf(seen.change)) === JSON.stringify(placesOf(made.change))
  must(same, 'the public group sees another change')
  world.publicGroup = seen.group
  count(world, 'commits seen by the public group')
}
