/**
 * The shape of a device's state, as a capsule shows it: phases, positions, numbers and counts. Owns
 * what of a state may be seen: no bytes, and no word that a person or a peer chose. Rooms and
 * accounts have names that begin and end with one capsule.
 */
import { type AccountName, leafIndex, type TimeMs } from '#core/base/ids.ts'
import { LIMITS } from '#core/base/limits.ts'
import { listedInvitations } from '#core/device/invitations.ts'
import { topEpoch } from '#core/device/chain.ts'
import { ENGINE_LANE } from '#core/device/epoch-keys.ts'
import type { DeviceState, PendingCommit, PendingRequest, RoomEpoch } from '#core/device/state.ts'
import type { RoomState, Subscription } from '#core/device/state.ts'
import type { PublicGroup } from '#core/mls/public-group.ts'
import { members, type RatchetTree } from '#core/mls/ratchet-tree.ts'
import type { PolicyInvitation } from '#core/policy/room-policy.ts'
import { identityOf } from '#core/policy/roster.ts'

/** What a capsule is made of: JSON, of which every string is of a closed set. */
export type Plain = string | number | boolean | null | readonly Plain[] | PlainRecord
export interface PlainRecord {
  readonly [name: string]: Plain
}

/**
 * Names for rooms and accounts in the order in which they turn up, and times since the capsule
 * began. They say that two things are the same, and nothing of what they are. The account of the
 * device itself is 0.
 */
export class Pseudonyms {
  readonly zeroMs: TimeMs
  readonly #rooms = new Map<string, string>()
  readonly #accounts = new Map<AccountName, number>()
  #self: AccountName | null = null

  constructor(zeroMs: TimeMs) {
    this.zeroMs = zeroMs
  }

  ms(timeMs: number): number {
    return timeMs - this.zeroMs
  }

  room(key: string): string {
    const known = this.#rooms.get(key) ?? `r${this.#rooms.size + 1}`
    this.#rooms.set(key, known)
    return known
  }

  account(name: AccountName): number {
    if (name === this.#self) return 0
    const known = this.#accounts.get(name) ?? this.#accounts.size + 1
    this.#accounts.set(name, known)
    return known
  }

  is(self: AccountName | null): void {
    this.#self = self
  }

  /** Rooms and accounts that have a name. */
  get count(): number {
    return this.#rooms.size + this.#accounts.size
  }
}

/** A code of a closed set; a string of any other form is not shown. */
export function word(code: string): string {
  return /^[A-Za-z0-9]{0,32}(:[A-Za-z0-9]{1,32})?$/.test(code) ? code : 'hidden'
}

const roomShapes = new WeakMap<RoomState, { readonly names: Pseudonyms; readonly shape: Plain }>()
const leafShapes = new WeakMap<RatchetTree, { readonly names: Pseudonyms; readonly shape: Plain }>()
const policyShapes = new WeakMap<object, { readonly names: Pseudonyms; readonly shape: Plain }>()

/** What is remembered with a value that never changes, for one capsule. */
function remembered<K extends object>(
  known: WeakMap<K, { readonly names: Pseudonyms; readonly shape: Plain }>,
  key: K,
  names: Pseudonyms,
  make: () => Plain,
): Plain {
  const found = known.get(key)
  if (found?.names === names) return found.shape
  const shape = make()
  known.set(key, { names, shape })
  return shape
}

/** The shape of a state. Rooms that did not change since are not looked at again. */
export function shapeOf(state: DeviceState, names: Pseudonyms): PlainRecord {
  const { account, session } = state
  names.is('record' in account ? account.record.name : null)
  const rooms: Record<string, Plain> = {}
  let shownCount = 0
  for (const room of state.rooms.values()) {
    if (shownCount++ === LIMITS.capsuleRoomsMax) break
    rooms[names.room(room.key)] = remembered(roomShapes, room, names, () => roomShape(room, names))
  }
  return {
    account: {
      kind: account.kind,
      ...('command' in account ? { waits: account.command !== null } : {}),
      ...('code' in account ? { code: word(account.code) } : {}),
    },
    session: {
      kind: session.kind,
      ...('attempt' in session ? { attempt: session.attempt } : {}),
      ...('failures' in session ? { failures: session.failures } : {}),
      ...('transport' in session ? { transport: session.transport } : {}),
      ...('beats' in session ? { beats: session.beats } : {}),
      ...('lastHeardMs' in session ? { heard: names.ms(session.lastHeardMs) } : {}),
      ...('code' in session ? { code: word(session.code) } : {}),
    },
    hub: state.hub !== null,
    online: state.online,
    away: state.endpoint !== state.home,
    redirects: state.redirects,
    nextAttempt: state.nextAttempt,
    nextRequest: state.nextRequest,
    wake: Number.isFinite(state.wakeAtMs) ? names.ms(state.wakeAtMs) : null,
    requests: [...state.requests].map(([id, pending]) => requestShape(id, pending, names)),
    keyPackages: state.keyPackages.size,
    roomsUnseen: Math.max(0, state.rooms.size - LIMITS.capsuleRoomsMax),
    rooms,
  }
}

function requestShape(id: number, pending: PendingRequest, names: Pseudonyms): Plain {
  const room = 'room' in pending ? [names.room(pending.room)] : []
  return [id, pending.kind, names.ms(pending.sentAtMs), ...room]
}

function roomShape(room: RoomState, names: Pseudonyms): Plain {
  const { record, subscription, outbox, finality, joining } = room
  const top = topEpoch(room)
  return {
    phase: record.phase,
    code: word(record.code),
    suite: record.suite,
    next: Number(record.next),
    headTime: record.headTime === 0 ? null : names.ms(record.headTime),
    joinedAt: record.joinedAt === null ? null : Number(record.joinedAt),
    recovery: record.recovery === null ? null : Number(record.recovery.position),
    joining: joining?.kind ?? null,
    opening: record.opening.length > 0,
    subscription: subscriptionShape(subscription),
    epoch: top === null ? null : Number(top.public.context.epoch),
    final: room.final === null ? null : epochShape(room.final, names),
    chain: room.chain.map((epoch) => ({
      ...epochShape(epoch, names),
      own: epoch.isOwn,
      choice: epoch.choice,
      voted: epoch.isVoteSent,
    })),
    votes: (finality?.open ?? []).map(({ position, committer, added, votes, timeMs }) => ({
      at: Number(position),
      ms: names.ms(timeMs),
      by: committer,
      added: [...added],
      votes: votes.map(({ leaf, choice }) => [leaf, choice]),
    })),
    began: finality === null ? null : Number(finality.began),
    lastVoid: finality?.lastVoid == null ? null : Number(finality.lastVoid),
    asked: room.asked.map(Number),
    outbox: outbox.length,
    items: outbox.slice(0, LIMITS.capsuleOutboxMax).map(itemShape),
    jobs: room.jobs.map(({ kind }) => kind),
    pending: room.pending === null ? null : pendingShape(room.pending),
    invitations: top === null ? [0, 0] : remembered(
      policyShapes,
      top.public.context.extensions,
      names,
      () => countsOf(listedInvitations(room), names),
    ),
    links: record.links.length,
    anchors: record.anchors.map(({ position, time }) => [Number(position), names.ms(time)]),
    hold: room.holdUntilMs === 0 ? null : names.ms(room.holdUntilMs),
    racesLost: room.racesLost,
    unread: record.unread,
    readUpTo: Number(record.readUpTo),
  }
}

/** Whether the hub has the commit under way, and whether it may have had it in a session before. */
function pendingShape({ sent, isRepeat }: PendingCommit): Plain {
  if (isRepeat) return sent ? 'sentAgain' : 'keptAgain'
  return sent ? 'sent' : 'kept'
}

/** How far a message is on its way: its generation, that the hub has it, where it stands. */
function itemShape({ record, inFlight }: RoomState['outbox'][number]): Plain {
  const { sealed, sequencedAt, refused, purpose } = record
  return {
    purpose,
    ...(refused === '' ? {} : { refused: word(refused) }),
    ...(sealed === null ? {} : { generation: sealed.generation }),
    ...(sequencedAt === null ? {} : { placed: Number(sequencedAt) }),
    ...(inFlight ? { flying: true } : {}),
  }
}

/** How many invitations are of the device's own account, and how many of others. */
export function countsOf(listed: readonly PolicyInvitation[], names: Pseudonyms): Plain {
  const own = listed.filter(({ inviter }) => names.account(inviter) === 0).length
  return [own, listed.length - own]
}

function subscriptionShape(subscription: Subscription): Plain {
  if (subscription.kind === 'asked') return ['asked', subscription.isCut]
  return subscription.kind === 'none' ? ['none'] : ['following', Number(subscription.until)]
}

function epochShape(epoch: RoomEpoch, names: Pseudonyms): PlainRecord {
  const { public: group } = epoch
  return {
    at: Number(epoch.position),
    epoch: Number(group.context.epoch),
    leaf: epoch.group === null ? null : epoch.group.ownLeaf,
    generation: nextGeneration(epoch),
    people: remembered(leafShapes, group.tree, names, () => peopleOf(group, names)),
  }
}

/** Of the next frame that this device seals; null where it holds no keys. */
function nextGeneration({ group, keys }: RoomEpoch): number | null {
  if (group === null || keys === null) return null
  const chain = keys.senderKeys.chains.get(leafIndex(group.ownLeaf), ENGINE_LANE)
  return keys.reserved[0]?.generation ?? chain?.generation ?? 0
}

/** Leaves with their accounts; of a room with more than a capsule shows, how many there are. */
function peopleOf({ tree }: PublicGroup, names: Pseudonyms): Plain {
  const all: Plain[] = []
  let count = 0
  for (const { leaf, leafNode } of members(tree)) {
    count++
    const identity = count > LIMITS.capsulePeopleMax ? null : identityOf(leafNode)
    if (identity !== null) all.push([leaf, names.account(identity.account)])
  }
  return count > LIMITS.capsulePeopleMax ? count : all
}

/** What is other in `after`; null where nothing is. Records are compared by their fields. */
export function changesOf(before: PlainRecord, after: PlainRecord): PlainRecord | null {
  const changed: Record<string, Plain> = {}
  for (const [name, value] of Object.entries(after)) {
    const old = before[name]
    if (old === value) continue
    if (isRecord(old) && isRecord(value)) {
      const inner = changesOf(old, value)
      if (inner !== null) changed[name] = inner
    } else if (old === undefined || JSON.stringify(old) !== JSON.stringify(value)) {
      changed[name] = value
    }
  }
  for (const name of Object.keys(before)) if (!(name in after)) changed[name] = 'gone'
  return Object.keys(changed).length === 0 ? null : changed
}

/** A shape with what `changesOf` found. */
export function withChanges(before: PlainRecord, changes: PlainRecord): PlainRecord {
  const after: Record<string, Plain> = { ...before }
  for (const [name, value] of Object.entries(changes)) {
    const old = after[name]
    if (value === 'gone') delete after[name]
    else if (isRecord(old) && isRecord(value)) after[name] = withChanges(old, value)
    else after[name] = value
  }
  return after
}

function isRecord(value: Plain | undefined): value is PlainRecord {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
