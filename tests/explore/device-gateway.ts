/**
 * The production gateway for the length of one frame: hub, room, sessions and subscriptions are
 * made from a state that is never changed, run until nothing goes on by itself, and read out again.
 * Owns that making and reading. Rates and the queues of slow readers begin anew with each frame,
 * and heads are not signed.
 */
import { toHex } from '#core/base/bytes.ts'
import type { RequestId, RoomId, TimeMs } from '#core/base/ids.ts'
import { BODIES, type Message } from '#core/wire/bodies.ts'
import { flush, refuse } from '#hub/gateway/answering.ts'
import { leaveAnchor } from '#hub/gateway/anchors.ts'
import { askNewcomer, findDueVerdicts } from '#hub/gateway/asking.ts'
import { authorize } from '#hub/gateway/authorize.ts'
import { laneOf, subscribe } from '#hub/gateway/fan-out.ts'
import { createHub } from '#hub/gateway/gateway.ts'
import { requestGroup } from '#hub/gateway/group-requests.ts'
import { type Asked, type Connection, createRoom, EPHEMERAL_RATE } from '#hub/gateway/model.ts'
import { type Hub, type JoinRight, type Room, type Subscription } from '#hub/gateway/model.ts'
import { Outbound } from '#hub/gateway/outbound.ts'
import { fullBucket } from '#hub/gateway/rate.ts'
import { requestOf } from '#hub/gateway/requests.ts'
import { seatOf } from '#hub/gateway/seats.ts'
import { submit } from '#hub/gateway/submissions.ts'
import { runTurns } from '#hub/gateway/turns.ts'
import type { HubSession, RoomAppend, RoomLog, StoredAnchor, StoredEntry } from '#hub/ports.ts'
import { type Author, deviceKey } from '#hub/sequencer/group-view.ts'
import type { SequencedRoom } from '#hub/sequencer/room-state.ts'
import { createMemoryGroup } from '../support/memory-group.ts'
import { crypto, IDENTITY, type Kept } from './device-room.ts'
import { type Letter, letterOf } from './letters.ts'
import { Broken } from './search.ts'

/** A room as its hub has it between two frames. */
export interface HubRoom {
  readonly sequenced: SequencedRoom
  readonly entries: readonly StoredEntry[]
  readonly kept: readonly Kept[]
}

/** Which frames a follower gets whole. */
export interface Following {
  readonly holesBefore: bigint
  readonly holesFrom: bigint
}

/** A device in its session. */
export interface Follower {
  readonly author: Author
  /** Null where it does not follow the room. */
  readonly following: Following | null
  /** What it has shown to follow the room as a newcomer (JOIN-1). */
  readonly right: JoinRight | null
  /** `sessionHash`; null: it has no session. */
  readonly session: Uint8Array | null
}

/** What is sent to a device: on the lane of control, and on that of the room. */
export interface Given {
  readonly control: readonly Letter[]
  readonly lane: readonly Letter[]
}

export interface GatewayStep {
  readonly room: HubRoom
  readonly followers: readonly Follower[]
  /** By seat. */
  readonly given: readonly Given[]
}

interface Opened {
  readonly hub: Hub
  readonly room: Room
  readonly connections: readonly Connection[]
  readonly given: readonly { readonly control: Letter[]; readonly lane: Letter[] }[]
  readonly appended: RoomAppend[]
  readonly anchors: StoredAnchor[]
  readonly faults: unknown[]
}

export interface Snapshot {
  readonly room: HubRoom
  readonly followers: readonly Follower[]
  readonly nowMs: TimeMs
}

/** The gateway takes a frame of the device at a seat. */
export function gatewayTakes(
  snapshot: Snapshot,
  from: { readonly seat: number; readonly letter: Letter },
): Promise<GatewayStep> {
  return ran(snapshot, (opened) => {
    const connection = opened.connections[from.seat] as Connection
    taken(opened, connection, from.letter)
  })
}

/** Time has passed. */
export function gatewayTicks(snapshot: Snapshot): Promise<GatewayStep> {
  return ran(snapshot, ({ hub }) => {
    if (findDueVerdicts(hub)) runTurns(hub)
  })
}

async function ran(
  snapshot: Snapshot,
  begin: (opened: Opened) => void,
): Promise<GatewayStep> {
  const opened = open(snapshot)
  begin(opened)
  flush(opened.hub)
  // All that goes on goes on by promises that nothing outside has to keep.
  for (let count = 0; isBusy(opened) || count < 8; count++) {
    if (count > 100_000) throw new Broken('the gateway comes to rest', 'it goes on for ever')
    await null
  }
  const [fault] = opened.faults
  if (fault !== undefined) throw fault
  return readOut(snapshot, opened)
}

function isBusy({ hub, room, connections }: Opened): boolean {
  return hub.turnRunning || hub.ready.size > 0 || room.queue.unsettledCount > 0 ||
    hub.pages.reading > 0 || hub.pages.waiting.size > 0 || hub.groupsReading > 0 ||
    connections.some(({ inFlight }) => inFlight > 0)
}

/** As `roomMessage` of the gateway has it. */
function taken({ hub, room }: Opened, connection: Connection, letter: Letter): void {
  const { message, bytes: { length: size } } = letter
  const allowed = authorize(seatOf(connection, room), connection.actor, message.kind)
  const [opcode] = BODIES[message.kind]
  const request = requestOf(message) as RequestId
  if (allowed.kind === 'refused') {
    return refuse(hub, connection, { request, opcode, refusal: allowed.refusal })
  }
  switch (message.kind) {
    case 'submitFrame':
    case 'submitCommit':
    case 'submitProposal':
    case 'submitVote': {
      const asked = { kind: message.kind, body: message.body } as Asked
      return submit(hub, room, { connection, request, opcode, size, asked })
    }
    case 'subscribe':
      if (!subscribe(hub, connection, { room, opcode, body: message.body })) return
      return askNewcomer(hub, room, connection)
    case 'requestGroup':
      return requestGroup(hub, connection, { room, size, body: message.body })
    case 'leaveAnchor':
      return leaveAnchor(hub, connection, { room, size, body: message.body })
    default:
      throw new Broken('a device says nothing unknown', (message as Message).kind)
  }
}

// ---- Making ---------------------------------------------------------------------------------

function open(snapshot: Snapshot): Opened {
  const { entries } = snapshot.room
  const before = snapshot.room.sequenced
  const generations = new Map([...before.generations].map(([at, each]) => [at, new Map(each)]))
  const memory = {
    remember: () => {},
    recall: (position: bigint) => entries[Number(position)]?.entryHash ?? null,
  }
  const room = createRoom(before.id, toHex(before.id), { ...before, memory, generations })
  room.phase = 'open'
  room.head.signing = true
  const appended: RoomAppend[] = []
  const anchors: StoredAnchor[] = []
  const faults: unknown[] = []
  const log = logOf(snapshot.room, { appended, anchors })
  const hub = hubOf(snapshot, { log, faulted: (error) => void faults.push(error) })
  hub.rooms.set(room.key, room)
  if ((before.finality?.open.length ?? 0) > 0) hub.provisional.add(room)
  const given = snapshot.followers.map(() => ({ control: [] as Letter[], lane: [] as Letter[] }))
  const connections = snapshot.followers.map((follower, seat) =>
    connect(hub, room, { follower, seat, given: given[seat] as typeof given[number] })
  )
  return { hub, room, connections, given, appended, anchors, faults }
}

interface Storing {
  readonly appended: RoomAppend[]
  readonly anchors: StoredAnchor[]
}

function logOf({ entries, kept }: HubRoom, { appended, anchors }: Storing): RoomLog {
  let made: ReturnType<typeof createMemoryGroup> | null = null
  const group = () => {
    if (made !== null) return made
    made = createMemoryGroup()
    for (const each of kept) {
      if (each.kind === 'version') made.store(each.version)
      else made.leaveAnchor(each.anchor)
    }
    return made
  }
  const soon = <T>(value: T): Promise<T> => Promise.resolve(value)
  return {
    append: (batch) => {
      appended.push(...batch)
      return soon(batch.map(() => ({ kind: 'appended' }) as const))
    },
    read: (_room: RoomId, { from, limit }) =>
      soon(entries.slice(Number(from), Number(from) + limit)),
    readRoom: () => soon(null),
    readVersion: (_room, at) => soon(group().version(at)),
    readNodes: (_room, page) => soon(group().nodes(page)),
    readCertificates: (_room, page) => soon(group().certificates(page)),
    leaveAnchor: (_room, anchor) => {
      const left = group().leaveAnchor(anchor)
      if (left === 'left') anchors.push(anchor)
      return soon(left)
    },
    readAnchor: (_room, invitation) => soon(group().anchor(invitation)),
    close: () => soon(undefined),
  }
}

interface HubParts {
  readonly log: RoomLog
  faulted(error: unknown): void
}

function hubOf({ nowMs }: Snapshot, { log, faulted }: HubParts): Hub {
  const hub = createHub({
    crypto,
    clock: { nowMs: () => nowMs },
    entropy: { randomBytes: (length) => new Uint8Array(length) },
    log,
    directory: null as never,
    identity: IDENTITY,
    effects: { observe: () => {}, faulted, checkFaulted: faulted },
  })
  return Object.assign(
    hub,
    {
      endSession: (_connection, reason) => faulted(new Broken('no session is ended', reason)),
      roomSettled: () => {},
      forgetRoom: () => faulted(new Broken('no room is forgotten', '')),
    } satisfies Partial<Hub>,
  )
}

interface Connecting {
  readonly follower: Follower
  readonly seat: number
  readonly given: { readonly control: Letter[]; readonly lane: Letter[] }
}

function connect(hub: Hub, room: Room, { follower, seat, given }: Connecting): Connection {
  const { author, following, right, session: sessionHash } = follower
  const session: HubSession = {
    transport: 'memory',
    write(lane, frames) {
      const way = lane.kind === 'control' ? given.control : given.lane
      for (const letter of frames.map(letterOf)) if (letter !== null) way.push(letter)
      return Promise.resolve()
    },
    writeDatagram: () => true,
    close: () => {},
  }
  const connection: Connection = {
    number: seat,
    session,
    terms: null as never,
    outbound: new Outbound(session, () => {}),
    state: { kind: 'ready', lastHeardMs: hub.ports.clock.nowMs(), ...author },
    actor: { standing: 'device', device: author, key: deviceKey(author) },
    subscriptions: new Map(),
    readingCount: 0,
    inFlight: 0,
    inFlightBytes: 0,
    resume: null,
    ephemerals: fullBucket(EPHEMERAL_RATE, hub.ports.clock.nowMs()),
    welcomes: { offered: new Map(), isMore: false, reads: 0, isUnread: false, isWaking: false },
    sessionHash,
    groupAnswer: null,
    joining: new Map(right === null ? [] : [[room.key, right]]),
    lastRoom: null,
    lastSeat: null,
  }
  if (following !== null) {
    const subscription: Subscription = {
      connection,
      room,
      lane: laneOf(room.id, false),
      ...following,
      phase: 'live',
      pageAsked: false,
      pageFailedAtMs: null,
      next: room.sequenced.next,
      until: null,
      acknowledged: -1n,
      queuedBytes: 0,
    }
    connection.subscriptions.set(room, subscription)
    room.subscribers.add(subscription)
  }
  hub.connections.set(seat, connection)
  return connection
}

// ---- Reading --------------------------------------------------------------------------------

function readOut(snapshot: Snapshot, opened: Opened): GatewayStep {
  const { room, connections, appended, anchors, given } = opened
  const { entries, kept } = snapshot.room
  const versions = appended.flatMap(({ effects }) => effects?.finals ?? [])
  const followers = connections.map((connection, seat): Follower => {
    const subscription = connection.subscriptions.get(room)
    return {
      ...snapshot.followers[seat] as Follower,
      following: subscription === undefined
        ? null
        : { holesBefore: subscription.holesBefore, holesFrom: subscription.holesFrom },
      right: connection.joining.get(room.key) ?? null,
    }
  })
  return {
    room: {
      sequenced: room.sequenced,
      entries: [...entries, ...appended.flatMap((each) => each.entries)],
      kept: [
        ...kept,
        ...versions.map((version) => ({ kind: 'version', version }) as const),
        ...anchors.map((anchor) => ({ kind: 'anchor', anchor }) as const),
      ],
    },
    followers,
    given,
  }
}
