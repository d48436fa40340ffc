/**
 * The hub of a device world: the checks of the gateway and the production sequencer over states
 * that are never changed. Owns what lies between them in the gateway: to whom what is given, and
 * in which frames. Rates, queues and the store are not part of this world.
 */
import { toHex, utf8Encode } from '#core/base/bytes.ts'
import { type LogPosition, NO_ROOM, type RequestId, type TimeMs } from '#core/base/ids.ts'
import { chooseAsked } from '#core/policy/asking.ts'
import { isElector, nextVerdict, type OpenEpoch } from '#core/policy/finality.ts'
import { BODIES, type Body, decodeMessage, encodeMessage } from '#core/wire/bodies.ts'
import type { Message } from '#core/wire/bodies.ts'
import { parseFrame } from '#core/wire/frame.ts'
import type { Refusal } from '#core/wire/refusals.ts'
import { checkAll } from '#hub/gateway/checks.ts'
import { type Arrival, type Asked, COMMIT_RATE, createRoom } from '#hub/gateway/model.ts'
import type { Connection, Hub } from '#hub/gateway/model.ts'
import { Buckets } from '#hub/gateway/rate.ts'
import type { StoredEntry } from '#hub/ports.ts'
import { type Author, leafOf } from '#hub/sequencer/group-view.ts'
import { chainKey, headView, type SequencedRoom, viewAt } from '#hub/sequencer/room-state.ts'
import { type Decision, install, sequence, type Submission } from '#hub/sequencer/sequencer.ts'
import { type Beginning, crypto, IDENTITY } from './device-room.ts'
import { Broken, holds } from './search.ts'

/** A frame on its way. Equal frames are one. */
export interface Letter {
  readonly id: number
  readonly kind: Message['kind']
  readonly bytes: Uint8Array
}

export interface DeviceHub {
  readonly id: number
  readonly sequenced: SequencedRoom
  readonly entries: readonly StoredEntry[]
  /** Positions and hex epochIds of the epochs that became final, oldest first. */
  readonly finals: readonly string[]
  /** From each void epoch to its verdict. */
  readonly voids: readonly (readonly [bigint, bigint])[]
}

/** Who has a session, and follows the room in it; by seat. */
export interface Presence {
  readonly authors: readonly Author[]
  readonly follows: readonly boolean[]
}

export interface HubStep {
  readonly hub: DeviceHub
  /** To who sent it: on the lane of control. */
  readonly control: readonly Letter[]
  /** To each seat: on the lane of the room. */
  readonly lanes: readonly (readonly Letter[])[]
  /** Who sent it follows the room from now on. */
  readonly begins: boolean
}

const letters = new Map<string, Letter>()
const hubs = new Map<string, DeviceHub>()
const steps = new WeakMap<DeviceHub, Map<string, Promise<HubStep>>>()

/** The letter of a frame; null for one that nothing depends on here. */
export function letterOf(bytes: Uint8Array): Letter | null {
  const key = toHex(bytes)
  const before = letters.get(key)
  if (before !== undefined) return before
  const frame = parseFrame(bytes)
  const decoded = frame.kind === 'frame' ? decodeMessage(frame) : null
  holds(decoded?.kind === 'message', 'frames can be read', () => key.slice(0, 80))
  const { kind } = decoded.message
  if (kind === 'acknowledge' || kind === 'heartbeat') return null
  const letter = { id: letters.size, kind, bytes }
  letters.set(key, letter)
  return letter
}

export function messageOf({ bytes }: Letter): Message {
  const frame = parseFrame(bytes)
  const decoded = frame.kind === 'frame' ? decodeMessage(frame) : null
  if (decoded?.kind !== 'message') throw new Broken('frames can be read', toHex(bytes))
  return decoded.message
}

export function openDeviceHub({ sequenced, entries }: Beginning): DeviceHub {
  const finals = sequenced.epochs.map(({ origin, epochId }) => `${origin}:${toHex(epochId)}`)
  return known({ id: 0, sequenced: withMemory(sequenced, entries), entries, finals, voids: [] })
}

/** The hashes of a room's entries, as its log has them. */
function withMemory(room: SequencedRoom, entries: readonly StoredEntry[]): SequencedRoom {
  const memory = {
    remember: () => {},
    recall: (position: bigint) => entries[Number(position)]?.entryHash ?? null,
  }
  return { ...room, memory }
}

/** What the hub makes of a frame of the device at a seat. */
export function hubTakes(
  hub: DeviceHub,
  from: { readonly seat: number; readonly letter: Letter },
  moment: Presence & { readonly nowMs: TimeMs },
): Promise<HubStep> {
  const known = steps.get(hub) ?? new Map<string, Promise<HubStep>>()
  steps.set(hub, known)
  const key = `${from.seat}/${from.letter.id}/${moment.nowMs}/${moment.follows}`
  const before = known.get(key)
  if (before !== undefined) return before
  const made = taken(hub, from, moment)
  known.set(key, made)
  return made
}

type Moment = Parameters<typeof hubTakes>[2]
type From = Parameters<typeof hubTakes>[1]

async function taken(hub: DeviceHub, from: From, moment: Moment): Promise<HubStep> {
  const message = messageOf(from.letter)
  switch (message.kind) {
    case 'submitCommit':
    case 'submitFrame':
    case 'submitVote':
    case 'submitProposal':
      return await submitted(hub, { ...from, message }, moment)
    case 'subscribe':
      return subscribed(hub, { ...from, body: message.body }, moment)
    case 'leaveAnchor':
      return { ...quiet(hub), control: [accepted(message.body.request, null)] }
    default:
      throw new Broken('a device says nothing unknown', message.kind)
  }
}

const nothing = (): Letter[][] => [[], [], []]
const quiet = (hub: DeviceHub): HubStep => ({ hub, control: [], lanes: nothing(), begins: false })

function sent(bytes: Uint8Array): Letter {
  const letter = letterOf(bytes)
  holds(letter !== null, 'the hub says what matters', () => toHex(bytes))
  return letter
}

const accepted = (request: RequestId, position: LogPosition | null): Letter =>
  sent(encodeMessage('accepted', NO_ROOM, { request, position }))

function refused(request: RequestId, kind: Message['kind'], refusal: Refusal): Letter {
  return sent(encodeMessage('refused', NO_ROOM, { request, opcode: BODIES[kind][0], refusal }))
}

// ---- Submissions ----------------------------------------------------------------------------

type Submitting = From & {
  readonly message: Extract<Message, { kind: Asked['kind'] }>
}

async function submitted(hub: DeviceHub, by: Submitting, moment: Moment): Promise<HubStep> {
  const { message, seat } = by
  const { request } = message.body
  const check = await checked(hub, by, moment)
  if (check.kind === 'refused') {
    return { ...quiet(hub), control: [refused(request, message.kind, check.refusal)] }
  }
  const step = sequenced(hub, [check], moment)
  const [outcome] = step.decision.outcomes
  holds(outcome !== undefined, 'each submission has its outcome', () => message.kind)
  const answer = outcome.kind === 'accepted'
    ? accepted(request, outcome.position)
    : refused(request, message.kind, outcome.refusal)
  const { hub: after, lanes } = step
  return { hub: after, control: [answer], lanes, begins: moment.follows[seat] === true }
}

async function checked(hub: DeviceHub, { message, seat }: Submitting, moment: Moment) {
  const room = createRoom(hub.sequenced.id, toHex(hub.sequenced.id), hub.sequenced)
  if (message.kind === 'submitCommit') {
    room.judgingAtMs = Math.max(hub.sequenced.time, moment.nowMs) as TimeMs
  }
  const asked = { kind: message.kind, body: message.body } as Asked
  const actor = { standing: 'device', device: moment.authors[seat] ?? null, key: '' }
  const arrival = {
    connection: { actor } as Connection,
    request: message.body.request,
    opcode: 0,
    size: 0,
    asked,
  } satisfies Arrival
  const [outcome] = await checkAll(checkingHub(moment), room, [arrival])
  holds(outcome !== undefined, 'each arrival is checked', () => message.kind)
  return outcome.check
}

/** As much of a hub as checks need: who is limited by a rate is not asked in this world. */
function checkingHub({ nowMs }: Moment): Hub {
  const rate = { ...COMMIT_RATE, count: 1_000 }
  return {
    ports: { crypto, clock: { nowMs: () => nowMs }, identity: IDENTITY },
    commits: new Buckets(rate, 8),
    resyncs: new Buckets(rate, 8),
  } as unknown as Hub
}

interface Sequenced {
  readonly hub: DeviceHub
  readonly decision: Decision
  readonly lanes: readonly (readonly Letter[])[]
}

function sequenced(
  hub: DeviceHub,
  batch: readonly Submission[],
  moment: Moment,
): Sequenced {
  const before = hub.sequenced
  const generations = new Map([...before.generations].map(([at, each]) => [at, new Map(each)]))
  const room = { ...before, generations }
  const decision = sequence(room, batch, {
    nowMs: moment.nowMs,
    sha256: (bytes) => crypto.hash('sha256', bytes),
    hasElectorHere: (view, facts) =>
      moment.authors.some((author, seat) => {
        const leaf = leafOf(view, author)
        const voter = leaf === null ? null : { leaf, account: author.account }
        return moment.follows[seat] === true && voter !== null && isElector(facts, voter)
      }),
  })
  install(room, decision)
  const lanes = nothing()
  const [first] = decision.entries
  if (first !== undefined) {
    const entries = decision.entries.map(({ entry }) => entry)
    const letter = sent(encodeMessage('entries', room.id, { first: first.position, entries }))
    for (const [seat, lane] of lanes.entries()) if (moment.follows[seat]) lane.push(letter)
  }
  for (const view of decision.opened) {
    const open = room.finality?.open.find(({ position }) => position === view.origin)
    if (open !== undefined) ask(room, { open, moment, lanes })
  }
  const entries = [...hub.entries, ...decision.entries]
  const finals = [...hub.finals]
  for (const { view } of decision.finals) finals.push(`${view.origin}:${toHex(view.epochId)}`)
  const voids = [...hub.voids, ...voidsOf(hub, decision)]
  const after = known({ id: 0, sequenced: withMemory(room, entries), entries, finals, voids })
  judgeHub(hub, after)
  return { hub: after, decision, lanes }
}

function voidsOf(hub: DeviceHub, { voided, verdicts }: Decision): (readonly [bigint, bigint])[] {
  const [lowest] = voided
  const last = verdicts.at(-1)
  if (lowest === undefined) return []
  holds(last !== undefined, 'a void has its verdict', () => `${hub.id}`)
  return [[lowest.origin, last.position]]
}

interface Asking {
  readonly open: OpenEpoch
  readonly moment: Presence
  readonly lanes: Letter[][]
}

/** Asks all who are there and may vote; they are fewer than may be asked (VOTE-2). */
function ask(room: SequencedRoom, { open, moment, lanes }: Asking): void {
  const view = viewAt(room, open.position)
  if (view === null) return
  const seats = moment.authors.flatMap((author, seat) => {
    const leaf = moment.follows[seat] ? leafOf(view, author) : null
    return leaf === null ? [] : [{ leaf: leaf as number, account: author.account, seat }]
  })
  const random = new Uint8Array(seats.length * 4)
  const chosen = chooseAsked({ facts: open, connected: seats, asked: [], random })
  const isAsked = (leaf: number): boolean =>
    open.asked.includes(leaf) ||
    room.asks.some((each) => each.position === open.position && each.leaf === leaf)
  for (const { leaf } of chosen) {
    const seat = seats.find((each) => each.leaf === leaf)?.seat ?? 0
    if (open.votes.some((vote) => vote.leaf === leaf)) continue
    if (!isAsked(leaf)) room.asks = [...room.asks, { position: open.position, leaf }]
    lanes[seat]?.push(sent(encodeMessage('askVote', room.id, { position: open.position })))
  }
}

/** Time has passed; null where it makes no verdict due. */
export function hubTicks(hub: DeviceHub, moment: Moment): Sequenced | null {
  const { finality } = hub.sequenced
  if (finality === null || nextVerdict(finality, moment.nowMs) === null) return null
  return sequenced(hub, [], moment)
}

// ---- Following ------------------------------------------------------------------------------

type Subscribing = From & { readonly body: Body<'subscribe'> }

function subscribed(hub: DeviceHub, { seat, body }: Subscribing, moment: Moment): HubStep {
  const { sequenced: room, entries } = hub
  const head = headView(room)
  const author = moment.authors[seat]
  holds(head !== null && author !== undefined, 'the room is open', () => `${seat}`)
  const leaf = leafOf(head, author)
  const chains = room.generations.get(head.origin)
  const generation = leaf === null ? undefined : chains?.get(chainKey(leaf, 0))
  const answer = encodeMessage('subscribed', room.id, {
    request: body.request,
    next: room.next as LogPosition,
    epoch: head.epoch,
    epochId: head.epochId,
    leaf,
    lastGenerations: generation === undefined ? [] : [{ lane: 0, generation }],
  })
  const rest = entries.slice(Number(body.from)).map(({ entry }) => entry)
  const page = rest.length === 0
    ? []
    : [sent(encodeMessage('entries', room.id, { first: body.from, entries: rest }))]
  const lanes = nothing()
  lanes[seat]?.push(sent(answer), ...page)
  const asking = { ...room }
  const alone = moment.follows.map((_follows, each) => each === seat)
  for (const open of room.finality?.open ?? []) {
    ask(asking, { open, moment: { ...moment, follows: alone }, lanes })
  }
  return { hub: known({ ...hub, sequenced: asking }), control: [], lanes, begins: true }
}

// ---- Invariants of the log ------------------------------------------------------------------

function judgeHub(before: DeviceHub, after: DeviceHub): void {
  const numbers = after.sequenced.epochs.map(({ epoch }) => epoch)
  const isChain = numbers.every((epoch, index) => epoch === numbers[0]! + BigInt(index))
  holds(isChain, 'one commit for each epoch that is not void', () => `${numbers}`)
  const heads = [before, after].map(({ sequenced: room }) => headView(room)?.epoch ?? 0n)
  const isBack = heads[1]! < heads[0]!
  const hasVoid = after.voids.length > before.voids.length
  holds(!isBack || hasVoid, 'epoch decreases only by a void', () => heads.join(' to '))
  const kept = before.finals.every((name, index) => after.finals[index] === name)
  holds(kept, 'final is never undone', () => `${before.finals} to ${after.finals}`)
}

/** The hash of the head stands for the log, and all else follows from it but who was asked. */
function known(hub: DeviceHub): DeviceHub {
  const { sequenced: room } = hub
  const asked = room.finality?.open.map((open) => `${open.position}:${[...open.asked].sort()}`)
  const asks = room.asks.map(({ position, leaf }) => `${position}:${leaf}`).sort()
  const key = `${toHex(room.headHash)}/${asked}/${asks}`
  const before = hubs.get(key)
  if (before !== undefined) return before
  const fresh = { ...hub, id: hubs.size }
  hubs.set(key, fresh)
  return fresh
}

/** Seeds the entropy of whatever follows from two names. */
export const seedOf = (...names: readonly string[]): Uint8Array => utf8Encode(names.join('/'))
