/**
 * A room as the shape of a capsule shows it, rebuilt with stand-ins: its last final epoch, those
 * that wait for votes, what was written and has not been taken. Owns the rebuilding of one room.
 */
import { ok } from 'node:assert/strict'
import { leafIndex, logPosition, type TimeMs } from '#core/base/ids.ts'
import { ENGINE_LANE, exportKeys } from '#core/device/epoch-keys.ts'
import type { RoomRecord } from '#core/device/records.ts'
import { newRoom } from '#core/device/room.ts'
import type { DeviceState, EpochKeys } from '#core/device/state.ts'
import type { ProvisionalEpoch, RoomEpoch, RoomState } from '#core/device/state.ts'
import { encodeInviteLink } from '#core/identity/invitation.ts'
import { epochIdOf } from '#core/mls/group-context.ts'
import type { Group } from '#core/mls/group.ts'
import { processMessage } from '#core/mls/messages.ts'
import { changedNodes } from '#core/mls/ratchet-tree.ts'
import { appendCommit, castVote, type Finality, openFinality } from '#core/policy/finality.ts'
import { memberAt, rosterOf } from '#core/policy/roster.ts'
import { reserve } from '#core/sender-keys/secret-tree.ts'
import { type Cast, DOMAIN } from './cast.ts'
import { type Facts, factsOf, listOf, numberOf, type ScriptedEntry, textOf } from './reading.ts'
import { roomShapeOf } from './reading.ts'
import { NotReproduced, START_MS } from './room-parts.ts'
import { makeGroup, type Seat } from './stand-in-group.ts'
import { StandInRoom } from './stand-in-room.ts'
import {
  type HeldEpoch,
  outboxOf,
  ownCommit,
  type RoomStaging,
  stagePending,
} from './stage-words.ts'
import type { Staging } from './stage-words.ts'

export interface StagedRoom {
  readonly room: RoomState
  readonly standIn: StandInRoom
  /** What could not be rebuilt, in words. */
  readonly missing: readonly string[]
}

/** Rebuilds a room of the shape. */
export async function stageRoom(
  staging: Staging,
  state: DeviceState,
  name: string,
): Promise<StagedRoom> {
  const { cast, shape } = staging
  const facts = roomShapeOf(shape, name)
  const missing = unstaged(facts)
  if (facts['phase'] === 'joining' && facts['final'] === null) return await onTheWay(staging, name)
  ok(state.account.kind === 'registered', 'the stand-in has an account')
  const { record: account } = state.account
  const own = cast.own(account)
  const final = factsOf(facts['final'])
  const seats = seatsOf(final)
  const made = await makeGroup(cast, {
    seats: seats.length === 0 ? [{ leaf: 0, who: 0 }] : seats,
    epoch: numberOf(final, 'epoch'),
    invitations: listOf(facts, 'invitations').map(Number) as unknown as [number, number],
    own,
  })
  const position = numberOf(final, 'at')
  const next = numberOf(facts, 'next')
  const standIn = StandInRoom.midst(staging.parts(name), made, { position, next })
  const headHash = cast.parts.entropy.randomBytes(32)
  standIn.knows(next - 1, headHash)
  const place: RoomStaging = { name, staging, facts, own, standIn, headHash }
  const lowest = finalEpoch(place, final, made.groups.get(numberOf(final, 'leaf')) ?? null)
  const above = await stageChain(place, lowest)
  missing.push(...above.missing)
  const top = above.chain.at(-1) ?? lowest
  const epochId = epochIdOf(top.epoch.public.suite, top.epoch.public.context)
  const fresh = freshRoom(made.id)
  const isFresh = textOf(factsOf(shape['session']), 'kind') === 'idle'
  const room: RoomState = {
    ...fresh,
    record: { ...fresh.record, ...recordOf(facts, headHash), ...linksOf(standIn, facts, account) },
    final: facts['final'] === null ? null : lowest.epoch,
    chain: above.chain.map(({ epoch }) => epoch),
    finality: facts['began'] === null ? null : above.finality,
    asked: listOf(facts, 'asked').map((each) => logPosition(BigInt(Number(each)))),
    certificates: await certificatesOf(place, [final, ...listOf(facts, 'chain').map(factsOf)]),
    subscription: subscriptionOf(facts, epochId),
    holdUntilMs: typeof facts['hold'] === 'number' ? START_MS + facts['hold'] : 0,
    racesLost: numberOf(facts, 'racesLost'),
    pending: await stagePending(place, top),
    // What a device chained before it was opened it does not remember.
    recent: isFresh || next === 0
      ? []
      : [{ position: logPosition(BigInt(next - 1)), hash: headHash }],
  }
  const outbox = await outboxOf(place, room, top)
  return { room: { ...room, outbox }, standIn, missing: missing.map((what) => `${name}: ${what}`) }
}

/** A room that the device has the link of, and nothing else yet. */
async function onTheWay(staging: Staging, name: string): Promise<StagedRoom> {
  const facts = roomShapeOf(staging.shape, name)
  const standIn = await staging.comeTo(name)
  const [link] = standIn.invitations
  const fresh = freshRoom(standIn.id)
  const opening = facts['opening'] === true
    ? link?.secret ?? new Uint8Array(16)
    : fresh.record.opening
  const inviterRootHash = link?.invitation.inviterRootHash ?? fresh.record.inviterRootHash
  const from = recordOf(facts, fresh.record.headHash)
  const record = { ...fresh.record, ...from, opening: opening.slice(), inviterRootHash }
  const missing = unstaged(facts).map((what) => `${name}: ${what}`)
  return { room: { ...fresh, record }, standIn, missing }
}

export function seatsOf(epoch: Facts): readonly Seat[] {
  return listOf(epoch, 'people').flatMap((each) => {
    const [leaf, who] = Array.isArray(each) ? each : []
    return typeof leaf === 'number' && typeof who === 'number' ? [{ leaf, who }] : []
  })
}

/** What of a room's shape no stage can rebuild. */
function unstaged(facts: Facts): string[] {
  const missing: string[] = []
  if (listOf(facts, 'jobs').length > 0) missing.push('things to commit')
  if (facts['joining'] !== null) missing.push(`a way in: ${textOf(facts, 'joining')}`)
  if (facts['recovery'] !== null) missing.push('a walk through the log')
  if (typeof factsOf(facts['final'])['people'] === 'number') missing.push('more people than shown')
  return missing
}

function freshRoom(id: StandInRoom['id']): RoomState {
  return newRoom({
    id,
    phase: 'live',
    suite: 0xf003,
    domain: DOMAIN,
    title: 'stand-in',
    opening: new Uint8Array(0),
    inviterRootHash: new Uint8Array(0),
    createdAt: START_MS as TimeMs,
  })
}

function subscriptionOf(facts: Facts, epochId: ReturnType<typeof epochIdOf>) {
  const [kind, detail] = listOf(facts, 'subscription')
  if (kind === 'asked') return { kind, isCut: detail === true } as const
  if (kind !== 'following') return { kind: 'none' } as const
  const position = logPosition(BigInt(Number(detail)))
  return { kind: 'following', until: position, epochId, lastGenerations: [] } as const
}

function recordOf(facts: Facts, headHash: Uint8Array): Partial<RoomRecord> {
  const position = (name: string) => {
    const value = facts[name]
    return typeof value === 'number' ? logPosition(BigInt(value)) : null
  }
  const headTime = facts['headTime'] === null ? 0 : START_MS + numberOf(facts, 'headTime')
  return {
    phase: textOf(facts, 'phase') as RoomRecord['phase'],
    code: textOf(facts, 'code'),
    next: logPosition(BigInt(numberOf(facts, 'next'))),
    headHash,
    headTime: headTime as TimeMs,
    joinedAt: position('joinedAt'),
    opening: new Uint8Array(facts['opening'] === true ? 16 : 0),
    readUpTo: logPosition(BigInt(numberOf(facts, 'readUpTo'))),
    unread: numberOf(facts, 'unread'),
    nextOutboxKey: numberOf(facts, 'outbox'),
  }
}

/** Links and anchors of the device's own invitations, as many as there were. */
function linksOf(room: StandInRoom, facts: Facts, account: { name: string; rootHash: Uint8Array }) {
  const own = room.invitations.filter(({ invitation }) => invitation.inviter === account.name)
  const links = own.slice(0, numberOf(facts, 'links')).map(({ invitation, secret }) => ({
    id: invitation.id,
    fragment: encodeInviteLink({
      room: room.id,
      secret,
      inviterRootHash: account.rootHash,
      hubDomain: DOMAIN,
      inviter: invitation.inviter,
      title: 'stand-in',
      suite: 0xf003,
    }),
  }))
  const anchors = listOf(facts, 'anchors').flatMap((each, index) => {
    const [position, time] = Array.isArray(each) ? each.map(Number) : []
    const id = own[index]?.invitation.id
    if (id === undefined || position === undefined || time === undefined) return []
    return [{ id, position: logPosition(BigInt(position)), time: START_MS + time as TimeMs }]
  })
  return { links, anchors }
}

async function certificatesOf(
  { staging: { cast }, own }: RoomStaging,
  epochs: readonly Facts[],
): Promise<RoomState['certificates']> {
  const people = new Set(epochs.flatMap(seatsOf).map(({ who }) => who))
  const devices = await Promise.all([...people].map((who) => who === 0 ? own : cast.person(who)))
  return new Map(devices.map((device) => cast.certificateRecord(device)))
}

// ---- Epochs -------------------------------------------------------------------------------

/** An epoch of the device, whose own chain stands where it stood. */
function epochAt(
  { standIn, headHash, staging: { cast }, facts }: RoomStaging,
  shape: Facts,
  group: Group | null,
): RoomEpoch {
  const position = numberOf(shape, 'at')
  const entered = group === null ? null : exportKeys(standIn.id, group)
  const isHead = position === numberOf(facts, 'next') - 1
  return {
    position: logPosition(BigInt(position)),
    entryHash: isHead ? headHash : cast.parts.entropy.randomBytes(32),
    public: entered?.group.public ?? standIn.top.public,
    group: entered?.group ?? null,
    keys: entered === null ? null : usedUp(cast, entered, numberOf(shape, 'generation')),
    groupInfo: standIn.top.groupInfo,
  }
}

function usedUp(
  cast: Cast,
  { group, keys }: Pick<ReturnType<typeof exportKeys>, 'group' | 'keys'>,
  count: number,
): EpochKeys {
  if (count === 0) return keys
  const place = { leaf: leafIndex(group.ownLeaf), lane: ENGINE_LANE, count }
  return { ...keys, senderKeys: reserve(cast.parts.crypto, keys.senderKeys, place).keys }
}

function finalEpoch(place: RoomStaging, final: Facts, group: Group | null): HeldEpoch {
  const held = final['leaf'] === null ? null : group
  return { group: held, epoch: epochAt(place, final, held) }
}

/** Epochs above the last final one, as commits of stand-ins make them again. */
async function stageChain(place: RoomStaging, lowest: HeldEpoch) {
  const { facts, standIn } = place
  const { position, public: group } = lowest.epoch
  const epochId = epochIdOf(group.suite, group.context)
  const { lastVoid } = facts
  let finality: Finality = {
    ...openFinality({ position, epochId }),
    began: logPosition(BigInt(numberOf(facts, 'began'))),
    lastVoid: typeof lastVoid === 'number' ? logPosition(BigInt(lastVoid)) : null,
  }
  const chain: HeldEpoch<ProvisionalEpoch>[] = []
  let below: HeldEpoch = lowest
  let people = factsOf(facts['final'])
  for (const shape of listOf(facts, 'chain').map(factsOf)) {
    const open = listOf(facts, 'votes').map(factsOf).find((each) => each['at'] === shape['at'])
    if (open === undefined) return { chain, finality, missing: ['epochs that nobody may judge'] }
    try {
      const made = await stageEpoch(place, { shape, open, below, people })
      finality = withVotes(finality, standIn, open)
      chain.push(made)
      below = made
      people = shape
    } catch (error) {
      if (!(error instanceof NotReproduced)) throw error
      return { chain, finality, missing: [`an epoch that waits for votes: ${error.message}`] }
    }
  }
  return { chain, finality, missing: [] }
}

interface EpochFacts {
  readonly shape: Facts
  /** What the log says of it. */
  readonly open: Facts
  readonly below: HeldEpoch
  /** The epoch below, for who was in it. */
  readonly people: Facts
}

async function stageEpoch(
  place: RoomStaging,
  { shape, open, below, people }: EpochFacts,
): Promise<HeldEpoch<ProvisionalEpoch>> {
  const { standIn, own, facts, name } = place
  const scripted: ScriptedEntry = {
    position: numberOf(shape, 'at'),
    facts: commitFactsOf(shape, open, people),
    step: { ...NO_STEP, to: { rooms: { [name]: facts } } },
  }
  const isOwn = shape['own'] === true
  const made = isOwn && below.group !== null
    ? await ownCommit(place, below.group, scripted.facts)
    : await standIn.commitOf(scripted)
  await standIn.enter(scripted, made.body, isOwn ? null : made.next)
  const follows = shape['leaf'] !== null && below.group !== null
  const taken = isOwn || !follows || below.group === null
    ? null
    : await processMessage(below.group, made.body.commit, { timeMs: null, psks: () => null })
  const group = isOwn ? made.next : taken?.kind === 'commit' ? taken.group : null
  const { before, after } = {
    before: below.epoch.public.tree,
    after: standIn.top.public.tree,
  }
  const { joinedAt, unread } = recordOf(facts, place.headHash)
  ok(own.self.attested)
  return {
    group,
    epoch: {
      ...epochAt(place, shape, group),
      time: START_MS + numberOf(open, 'ms') as TimeMs,
      changed: changedNodes(before, after),
      isOwn,
      jobs: [],
      undo: { unread: unread ?? 0, last: null, title: 'stand-in', joinedAt: joinedAt ?? null },
      choice: textOf(shape, 'choice') === 'cannot' ? 'cannot' : 'agree',
      isVoteSent: shape['voted'] === true,
    },
  }
}

const NO_STEP = {
  ...{ index: 0, atMs: 0, input: {}, out: [], from: {} },
  ...{ undone: false, fault: false, running: false },
} as const

/** What a commit did, from who was there before and after it. */
function commitFactsOf(shape: Facts, open: Facts, below: Facts): Facts {
  const before = new Map(seatsOf(below).map(({ leaf, who }) => [leaf, who]))
  const after = new Map(seatsOf(shape).map(({ leaf, who }) => [leaf, who]))
  const added = listOf(open, 'added').map(Number)
  const by = numberOf(open, 'by')
  const facts = { is: 'commit', ms: numberOf(open, 'ms'), epoch: numberOf(shape, 'epoch') - 1 }
  const who = after.get(by) ?? 0
  if (added.includes(by)) {
    const way = [...before.values()].includes(who) ? 'resync' : 'link'
    return { ...facts, by: way, who, adds: [], removes: [] }
  }
  const removes = [...before.keys()].filter((leaf) => !after.has(leaf) || added.includes(leaf))
  return { ...facts, by, adds: added.map((leaf) => after.get(leaf) ?? 0), removes }
}

function withVotes(finality: Finality, standIn: StandInRoom, open: Facts): Finality {
  const { tree } = standIn.top.public
  const committer = numberOf(open, 'by')
  const account = memberAt(tree, committer)?.identity.account
  ok(account !== undefined, 'a committer is in the epoch that it makes')
  const added = listOf(open, 'added').map(Number)
  const roster = [...rosterOf(tree).accounts].flatMap(({ value }) => [...value])
  const hasElectors = roster.some(({ leaf, identity }) =>
    !added.includes(leaf) && identity.account !== account
  )
  const position = logPosition(BigInt(numberOf(open, 'at')))
  const timeMs = START_MS + numberOf(open, 'ms') as TimeMs
  const epochId = standIn.epochId()
  let next = appendCommit(finality, {
    ...{ position, timeMs, epochId, committer, account, added, hasElectors },
  })
  for (const vote of listOf(open, 'votes')) {
    const [leaf, choice] = Array.isArray(vote) ? vote : []
    const voter = memberAt(tree, Number(leaf))?.identity.account
    if (voter === undefined) continue
    const said = choice === 'cannot' ? 'cannot' : 'agree'
    const cast = castVote(next, { position, leaf: Number(leaf), account: voter, choice: said })
    if (cast.kind === 'taken') next = cast.finality
  }
  return next
}
