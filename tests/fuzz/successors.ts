/**
 * Groups that take another's place (RFC 9420 sections 11.2 and 11.3): a ReInit, after which the
 * old group takes nothing more and the new one goes on, and branches of a part of the members.
 * Owns who may come along.
 */
import { equalBytes } from '#core/base/bytes.ts'
import type { CipherSuite } from '#core/mls/cipher-suite.ts'
import { type CommitMade, makeCommit } from '#core/mls/commit-make.ts'
import type { Group } from '#core/mls/group.ts'
import { externalPublicKey } from '#core/mls/group.ts'
import { joinByExternalCommit } from '#core/mls/join-external.ts'
import { joinByWelcome } from '#core/mls/join-welcome.ts'
import { processMessage, propose, protectApplication } from '#core/mls/messages.ts'
import { type KeyPackageMade, makeKeyPackage } from '#core/mls/own-leaf.ts'
import type { ReInitProposal } from '#core/mls/proposal.ts'
import { publicProcess } from '#core/mls/public-process.ts'
import { makeSuccessor } from '#core/mls/successor.ts'
import { agree } from './agreement.ts'
import { Disk } from './disk.ts'
import { followCommit } from './follow.ts'
import { type Epoch, extensionsProposal, sendingOf } from './proposals.ts'
import { restart } from './restore.ts'
import { STAND_INS, standInSuite } from './stand-in-suite.ts'
import {
  adopt,
  count,
  must,
  newExternalPsk,
  nextPerson,
  NOW,
  oneIn,
  openedPublicGroup,
  type Person,
  pskOf,
  rememberSecrets,
  type Seat,
  seatOf,
  shuffled,
  taken,
  type World,
} from './world.ts'

const NOTHING = new Uint8Array(0)

interface Comer {
  readonly seat: Seat
  readonly offered: KeyPackageMade
}

/** KeyPackages for the new group of everybody but the one who makes it. */
async function comersOf(suite: CipherSuite, seats: readonly Seat[]): Promise<Comer[]> {
  return await Promise.all(seats.map(async (seat) => {
    return { seat, offered: await makeKeyPackage(suite, seat.person) }
  }))
}

function makingOf(person: Person, comers: readonly Comer[]) {
  const keyPackages = comers.map(({ offered }) => offered.keyPackage)
  return { ...person, keyPackages, timeMs: NOW }
}

/** How each of the others comes in. */
function joiningOf(world: World, made: CommitMade, { seat, offered }: Comer) {
  must(made.welcome !== null, 'a successor has its Welcome')
  return {
    welcome: made.welcome,
    ...offered,
    signatureSecret: seat.person.signatureSecret,
    ratchetTree: null,
    psks: pskOf(world),
  }
}

// ---- Branches -----------------------------------------------------------------------------

/** Some members make a group of their own beside this one, and leave it at that. */
export async function branch(world: World): Promise<void> {
  const [maker, ...others] = shuffled(world, world.seats)
  if (maker === undefined || others.length < 2) return
  const comers = await comersOf(world.suite, others.slice(1))
  const making = {
    ...makingOf(maker.person, comers),
    suite: world.suite,
    usage: 'branch' as const,
    groupId: world.entropy.randomBytes(12),
    extensions: [],
  }
  const made = taken(await makeSuccessor(maker.group, making), 'a branch')
  const early = await makeSuccessor(maker.group, { ...making, usage: 'reInit' })
  must(early.kind === 'refused', 'a ReInit was never committed')
  for (const comer of comers) {
    const joining = { ...joiningOf(world, made, comer), predecessor: comer.seat.group }
    const joined = taken(await joinByWelcome(world.suite, joining), 'joining a branch')
    sameEpoch(made.next, joined.group)
  }
  const [first] = comers
  const [left] = others
  if (first === undefined || left === undefined) return
  const unknown = await joinByWelcome(world.suite, joiningOf(world, made, first))
  must(unknown.kind === 'refused', 'a branch of an unknown group was joined')
  const offered = await makeKeyPackage(world.suite, left.person)
  const joining = joiningOf(world, made, { seat: left, offered })
  const strange = await joinByWelcome(world.suite, { ...joining, predecessor: left.group })
  must(strange.kind === 'refused', 'somebody who was left out joined a branch')
  count(world, 'branches')
}

function sameEpoch(a: Group, b: Group): void {
  const [one, other] = [a.secrets.epochAuthenticator, b.secrets.epochAuthenticator]
  must(equalBytes(one, other), 'a successor has two epochs')
}

// ---- ReInit -------------------------------------------------------------------------------

/** Everybody goes over to a new group, perhaps on another suite. */
export async function reinitialise(world: World, epoch: Epoch): Promise<void> {
  const suite = world.costly ? world.suite : standInSuite(world.prng.pick([...STAND_INS]))
  const extended = extensionsProposal(world)
  const proposal: ReInitProposal = {
    kind: 'reInit',
    groupId: world.entropy.randomBytes(16),
    version: 1,
    cipherSuite: suite.id,
    extensions: 'extensions' in extended ? extended.extensions : [],
  }
  const before = world.seats.map(({ group }) => group)
  await commitReInit(world, epoch, proposal)
  restart(world)
  for (const { group } of world.seats) await takesNothing(world, group)
  await hearsNothing(world)
  const [maker, ...others] = shuffled(world, world.seats) as [Seat, ...Seat[]]
  const comers = await comersOf(suite, others)
  const { groupId, extensions } = proposal
  const made = taken(
    await makeSuccessor(maker.group, {
      ...makingOf(maker.person, comers),
      ...{ suite, usage: 'reInit', groupId, extensions },
    }),
    'the group of a ReInit',
  )
  const seats = [seatOf(world, maker.person, { group: made.next, cameWith: [] })]
  for (const comer of comers) {
    const { person, group } = comer.seat
    const joining = { ...joiningOf(world, made, comer), predecessor: group }
    const early = before.find(({ ownLeaf }) => ownLeaf === group.ownLeaf)
    must(early !== undefined, 'nobody comes with a ReInit')
    const refused = await joinByWelcome(suite, { ...joining, predecessor: early })
    must(refused.kind === 'refused', 'a state before the ReInit has joined')
    const joined = taken(await joinByWelcome(suite, joining), 'joining after a ReInit')
    seats.push(seatOf(world, person, { group: joined.group, cameWith: [] }))
  }
  await moveTo(world, suite, seats)
  count(world, 'ReInits')
}

async function commitReInit(
  world: World,
  epoch: Epoch,
  proposal: ReInitProposal,
): Promise<void> {
  const proposer = world.prng.pick(world.seats)
  const committer = world.prng.pick(world.seats)
  const references: Uint8Array[] = []
  if (oneIn(world, 2)) {
    const sending = sendingOf(world, epoch)
    const sent = taken(await propose(proposer.group, proposal, sending), 'proposing a ReInit')
    adopt(proposer, sent.group, sent.consumed)
    for (const seat of world.seats) {
      if (seat !== proposer) await hearProposal(world, seat, sent.message)
    }
    const seen = await publicProcess(world.publicGroup, sent.message, { timeMs: NOW })
    if (seen.kind === 'proposal') world.publicGroup = seen.group
    else epoch.publicKnowsAll = false
    references.push(sent.reference)
  }
  const { group } = committer
  const made = taken(
    await makeCommit(group, {
      ...sendingOf(world, epoch),
      proposals: references.length === 0 ? [proposal] : [],
      references,
      path: oneIn(world, 2) ? 'always' : 'whenRequired',
      welcome: { ratchetTree: true, externalPub: false },
      psks: pskOf(world),
      timeMs: NOW,
    }),
    'the commit of a ReInit',
  )
  await followCommit(world, epoch, { committer, made, before: group.public })
  await agree(world)
  rememberSecrets(world, committer.group)
}

async function hearProposal(world: World, seat: Seat, message: Uint8Array): Promise<void> {
  const processing = { timeMs: NOW, psks: pskOf(world) }
  const result = taken(await processMessage(seat.group, message, processing), 'a ReInit proposed')
  must(result.kind === 'proposal', 'a ReInit is proposed')
  adopt(seat, result.group, result.consumed)
}

/** A group that was reinitialised neither sends nor lets anybody in. */
async function takesNothing(world: World, group: Group): Promise<void> {
  const { entropy } = world
  const making = {
    proposals: [],
    path: 'always' as const,
    authenticatedData: NOTHING,
    wireFormat: 'publicMessage' as const,
    welcome: { ratchetTree: false, externalPub: false },
    psks: pskOf(world),
    timeMs: NOW,
    entropy,
  }
  const outcomes = [
    await makeCommit(group, making),
    await protectApplication(group, NOTHING, { authenticatedData: NOTHING, entropy }),
    await joinByExternalCommit(group.public, {
      ...nextPerson(world),
      ...making,
      externalPub: await externalPublicKey(group),
      removed: null,
    }),
  ]
  for (const outcome of outcomes) {
    const code = outcome.kind === 'refused' ? outcome.code : outcome.kind
    must(code === 'suspended', `a group after its ReInit answers ${code}`)
  }
}

/** Nor does it take what a member sends who does not care. */
async function hearsNothing(world: World): Promise<void> {
  const [sender, ...others] = world.seats as [Seat, ...Seat[]]
  const loose = { ...sender.group, public: { ...sender.group.public, reInit: null } }
  const sending = { authenticatedData: NOTHING, entropy: world.entropy }
  const said = taken(await protectApplication(loose, NOTHING, sending), 'a loose message')
  const psk = { kind: 'psk', psk: newExternalPsk(world) } as const
  const open = { ...sending, wireFormat: 'publicMessage' } as const
  const proposed = taken(await propose(loose, psk, open), 'a loose proposal')
  const outcomes: { readonly kind: string; readonly code?: string }[] = []
  // Who has not seen the ReInit, for it was private, cannot know of it: no GroupInfo tells.
  if (world.publicGroup.reInit !== null) {
    outcomes.push(await publicProcess(world.publicGroup, proposed.message, { timeMs: NOW }))
  }
  for (const { group } of others) {
    const processing = { timeMs: NOW, psks: pskOf(world) }
    outcomes.push(
      await processMessage(group, said.message, processing),
      await processMessage(group, proposed.message, processing),
    )
  }
  for (const outcome of outcomes) {
    const code = outcome.code ?? outcome.kind
    must(code === 'suspended', `a group after its ReInit answers a message with ${code}`)
  }
}

async function moveTo(world: World, suite: CipherSuite, seats: Seat[]): Promise<void> {
  const [first] = seats as [Seat, ...Seat[]]
  world.suite = suite
  world.seats = seats
  world.publicGroup = await openedPublicGroup(first.group)
  world.publicDisk = new Disk()
  world.gone = []
  world.messages = []
  world.earlierTree = null
  world.firstEpoch = first.group.public.context.epoch
  await agree(world)
  rememberSecrets(world, first.group)
}
