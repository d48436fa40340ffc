/**
 * The gateway: many sessions, the rooms that they speak about, and the order of it all. Owns the
 * way of each frame from its bytes to the part that handles it, behind `authorize`; owns no rule
 * itself. It knows no transport, no store, no clock and no timer: the host gives sessions, calls
 * `tick`, and may be a simulated world.
 */
import { assert } from '#core/base/assert.ts'
import { equalBytes } from '#core/base/bytes.ts'
import { LIMITS } from '#core/base/limits.ts'
import type { RequestId } from '#core/base/ids.ts'
import { decodeEphemeral } from '#core/sender-keys/ephemeral.ts'
import { BODIES, type Body, decodeMessage, encodeMessage } from '#core/wire/bodies.ts'
import { isSessionKind, type Message } from '#core/wire/bodies.ts'
import { type Frame, parseFrame } from '#core/wire/frame.ts'
import type { Refusal } from '#core/wire/refusals.ts'
import { background, beginRequest, endRequest, flush, UNAVAILABLE } from '#hub/gateway/answering.ts'
import { accept, hasRoomFor, isBusy, refusalOf, refuse, send } from '#hub/gateway/answering.ts'
import { authorize } from '#hub/gateway/authorize.ts'
import { leaveAnchor } from '#hub/gateway/anchors.ts'
import { askNewcomer, findDueVerdicts } from '#hub/gateway/asking.ts'
import { claim, publish } from '#hub/gateway/directory-requests.ts'
import { acknowledge, passOn, readAgain, subscribe } from '#hub/gateway/fan-out.ts'
import { unsubscribe } from '#hub/gateway/fan-out.ts'
import { endStalledGroups, requestGroup } from '#hub/gateway/group-requests.ts'
import { signDueHeads } from '#hub/gateway/heads.ts'
import { type HubMemory, memoryOf } from '#hub/gateway/memory.ts'
import { type Asked, type Connection, EPHEMERAL_RATE } from '#hub/gateway/model.ts'
import type { GatewayPorts } from '#hub/gateway/model.ts'
import { ANCHOR_RATE, CLAIM_RATE, COMMIT_RATE, CREATION_RATE } from '#hub/gateway/model.ts'
import { GROUP_RATE, REGISTRATION_RATE, RESYNC_RATE, STRANGER_RATE } from '#hub/gateway/model.ts'
import { type Hub, nowMs, type Room } from '#hub/gateway/model.ts'
import { Buckets, fullBucket, spend } from '#hub/gateway/rate.ts'
import { requestOf, requestOfFrame } from '#hub/gateway/requests.ts'
import { evictRooms, forget, hold, isHolding, release, roomOf } from '#hub/gateway/rooms.ts'
import { connectionLost, openConnection, passTime, step } from '#hub/gateway/sessions.ts'
import { seatOf } from '#hub/gateway/seats.ts'
import { check, submit } from '#hub/gateway/submissions.ts'
import { runTurns } from '#hub/gateway/turns.ts'
import { readUnread, welcomeReceived } from '#hub/gateway/welcomes.ts'
import type { HubSession, HubSessionListener } from '#hub/ports.ts'
import { headView } from '#hub/sequencer/room-state.ts'

export interface Gateway {
  /** Takes a session; null turns it away (draining, or too many). */
  accept(session: HubSession): HubSessionListener | null
  /** To be called a few times a second: silence, unread pages, heads, verdicts, eviction. */
  tick(): void
  /** Tells every session to go, elsewhere if an endpoint is given; takes no new ones (SES-7). */
  drain(redirect?: { readonly endpoint: string; readonly reason: number }): void
  /** True when no session is left and nothing waits to be stored. */
  readonly idle: boolean
  /** What is held in memory now; nothing changes by it. */
  memory(): HubMemory
}

export function createGateway(ports: GatewayPorts): Gateway {
  const hub = createHub(ports)
  let lastNumber = 0
  return {
    accept(session) {
      if (hub.draining || hub.connections.size >= LIMITS.sessionsMax) return null
      const connection = openConnection(hub, session, ++lastNumber)
      return listenerOf(hub, connection)
    },
    tick() {
      passTime(hub)
      endStalledGroups(hub)
      readAgain(hub)
      signDueHeads(hub)
      if (findDueVerdicts(hub)) runTurns(hub)
      evictRooms(hub)
      flush(hub)
    },
    drain(redirect) {
      hub.draining = true
      for (const connection of hub.connections.values()) {
        step(
          hub,
          connection,
          redirect === undefined
            ? { kind: 'closeRequested', reason: 'drain' }
            : { kind: 'redirectRequested', ...redirect },
        )
      }
      flush(hub)
    },
    get idle() {
      return hub.connections.size === 0 && !hub.turnRunning && hub.ready.size === 0
    },
    memory: () => memoryOf(hub),
  }
}

/** What a gateway holds, before anybody is there. */
export function createHub(ports: GatewayPorts): Hub {
  const hub: Hub = {
    ports,
    connections: new Map(),
    devices: new Map(),
    rooms: new Map(),
    ready: new Set(),
    provisional: new Set(),
    headsDue: new Set(),
    dirty: new Set(),
    pages: { waiting: new Set(), reading: 0 },
    unanswered: { count: 0, bytes: 0 },
    registrations: fullBucket(REGISTRATION_RATE, ports.clock.nowMs()),
    strangerRequests: new Buckets(STRANGER_RATE, LIMITS.bucketsKeptMax),
    claims: new Buckets(CLAIM_RATE, LIMITS.bucketsKeptMax),
    commits: new Buckets(COMMIT_RATE, LIMITS.bucketsKeptMax),
    creations: new Buckets(CREATION_RATE, LIMITS.bucketsKeptMax),
    resyncs: new Buckets(RESYNC_RATE, LIMITS.bucketsKeptMax),
    groupRequests: new Buckets(GROUP_RATE, LIMITS.bucketsKeptMax),
    anchors: new Buckets(ANCHOR_RATE, LIMITS.bucketsKeptMax),
    groupsReading: 0,
    turnRunning: false,
    draining: false,
    endSession: (connection, reason) => step(hub, connection, { kind: 'closeRequested', reason }),
    roomSettled(room) {
      room.creating = false
      release(hub, room, (connection, of, message) => roomMessage(hub, connection, of, message))
    },
    forgetRoom: (room) => forget(hub, room),
    checkMore: (room) => check(hub, room),
  }
  return hub
}

function listenerOf(hub: Hub, connection: Connection): HubSessionListener {
  return {
    framesReceived(frames) {
      if (connection.state.kind === 'closing' || connection.state.kind === 'closed') return
      step(hub, connection, { kind: 'heard' })
      for (const bytes of frames) frameReceived(hub, connection, bytes)
      flush(hub)
      if (isBusy(connection) && connection.resume === null) {
        const { promise, resolve } = Promise.withResolvers<void>()
        connection.resume = resolve
        return promise
      }
    },
    framingLost(code) {
      refuseMalformed(hub, connection, code)
      step(hub, connection, { kind: 'closeRequested', reason: 'protocolError' })
      flush(hub)
    },
    closed() {
      connectionLost(hub, connection)
      flush(hub)
    },
  }
}

/** One frame: whatever is wrong with it is answered by its code, and the session goes on. */
function frameReceived(hub: Hub, connection: Connection, bytes: Uint8Array): void {
  const frame = parseFrame(bytes)
  if (frame.kind === 'malformed') return refuseMalformed(hub, connection, frame.code)
  const decoded = decodeMessage(frame)
  if (decoded.kind === 'refused') {
    const { opcode, refusal } = decoded
    return refuse(hub, connection, { request: requestOfFrame(frame), opcode, refusal })
  }
  const { message } = decoded
  if (isSessionKind(message.kind)) return sessionMessage(hub, connection, frame, message)
  if (connection.actor.standing !== 'device') {
    return deny(hub, connection, message, { kind: 'notInThisState' })
  }
  if (!hasRoomFor(connection, bytes.length)) {
    return deny(hub, connection, message, { kind: 'tooMany', retryAfterMs: LIMITS.headIntervalMs })
  }
  const room = roomOf(hub, connection, message.room)
  if (isHolding(room)) hold(hub, room, { connection, message, size: bytes.length })
  else {
    roomMessage(hub, connection, room, message)
    if (room.phase === 'absent' && !room.creating) forget(hub, room)
  }
}

const NO_REQUEST = 0 as RequestId

/** What is no frame at all has neither opcode nor request (WIRE-2, WIRE-5). */
function refuseMalformed(
  hub: Hub,
  connection: Connection,
  code: 'truncated' | 'oversized',
): void {
  const refusal: Refusal = code === 'oversized'
    ? { kind: 'oversized', sizeMax: LIMITS.frameSizeMax }
    : { kind: 'malformed' }
  refuse(hub, connection, { request: NO_REQUEST, opcode: 0, refusal })
}

function deny(hub: Hub, connection: Connection, message: Message, refusal: Refusal): void {
  const request = requestOf(message)
  refuse(hub, connection, { request, opcode: BODIES[message.kind][0], refusal })
}

/** What is answered by the directory alone. */
type DirectoryKind = 'publishKeyPackages' | 'claimKeyPackages' | 'welcomeReceived'

// ---- Session frames -----------------------------------------------------------------------

function sessionMessage(hub: Hub, connection: Connection, frame: Frame, message: Message): void {
  const allowed = authorize(null, connection.actor, message.kind)
  if (allowed.kind === 'refused') return deny(hub, connection, message, allowed.refusal)
  switch (message.kind) {
    case 'hello':
    case 'authenticate':
    case 'register':
    case 'goodbye':
      return step(hub, connection, { kind: 'messageReceived', message })
    case 'heartbeat':
      readUnread(hub, connection)
      return step(hub, connection, { kind: 'messageReceived', message })
    case 'publishKeyPackages':
    case 'claimKeyPackages':
    case 'welcomeReceived':
      return directoryMessage(hub, connection, message, frame.bytes.length)
    default:
      return deny(hub, connection, message, { kind: 'notAllowed' })
  }
}

function directoryMessage(
  hub: Hub,
  connection: Connection,
  message: Extract<Message, { kind: DirectoryKind }>,
  size: number,
): void {
  if (!hasRoomFor(connection, size)) {
    const retryAfterMs = LIMITS.headIntervalMs
    return deny(hub, connection, message, { kind: 'tooMany', retryAfterMs })
  }
  switch (message.kind) {
    case 'publishKeyPackages':
      return publishKeyPackages(hub, connection, message.body, size)
    case 'claimKeyPackages':
      return claimKeyPackages(hub, connection, message.body)
    case 'welcomeReceived':
      return welcomeReceived(hub, connection, message.body, size)
  }
}

function publishKeyPackages(
  hub: Hub,
  connection: Connection,
  body: Body<'publishKeyPackages'>,
  size: number,
): void {
  const owner = connection.actor.device
  assert(owner !== null, 'a device that may publish is proven')
  const { request } = body
  beginRequest(hub, connection, size)
  background(
    hub,
    publish(hub, owner, body).then((refusal) => {
      endRequest(hub, connection, size)
      if (refusal === null) return accept(hub, connection, { request, position: null })
      refuse(hub, connection, { request, opcode: BODIES.publishKeyPackages[0], refusal })
    }),
  )
}

/**
 * Answers are large and KeyPackages are few: limited by what is queued already, and by the rates of
 * the device that claims and of the account that is claimed, which need not exist (DIR-4).
 */
function claimKeyPackages(
  hub: Hub,
  connection: Connection,
  body: Body<'claimKeyPackages'>,
): void {
  const { request } = body
  const opcode = BODIES.claimKeyPackages[0]
  const refused = (refusal: Refusal) => refuse(hub, connection, { request, opcode, refusal })
  const crowded = connection.outbound.controlBytes > LIMITS.controlQueueBytesMax / 2 ||
    connection.inFlightBytes > LIMITS.controlQueueBytesMax / 2
  if (crowded) return refused({ kind: 'tooMany', retryAfterMs: LIMITS.headIntervalMs })
  const tooMany = refusalOf(hub.strangerRequests.spend(connection.actor.key, nowMs(hub))) ??
    refusalOf(hub.claims.spend(body.account, nowMs(hub)))
  if (tooMany !== null) return refused(tooMany)
  const size = LIMITS.claimAnswerSize
  beginRequest(hub, connection, size)
  background(
    hub,
    claim(hub, body).then((answer) => {
      endRequest(hub, connection, size)
      if ('kind' in answer) return refuse(hub, connection, { request, opcode, refusal: answer })
      send(hub, connection, { kind: 'keyPackages', body: answer })
    }),
  )
}

// ---- Room frames --------------------------------------------------------------------------

function roomMessage(hub: Hub, connection: Connection, room: Room, message: Message): void {
  const allowed = authorize(seatOf(connection, room), connection.actor, message.kind)
  if (allowed.kind === 'refused') {
    const isOpen = message.kind === 'subscribe' && hasCommit(connection, room)
    return deny(hub, connection, message, isOpen ? UNAVAILABLE : allowed.refusal)
  }
  const opcode = BODIES[message.kind][0]
  switch (message.kind) {
    case 'submitFrame':
    case 'submitCommit':
    case 'submitProposal':
    case 'submitVote':
    case 'createRoom': {
      const late = message.kind === 'createRoom' ? spendCreation(hub, connection) : null
      if (late !== null) return deny(hub, connection, message, late)
      const asked = { kind: message.kind, body: message.body } as Asked
      const { request } = message.body
      return submit(hub, room, { connection, request, opcode, size: sizeOf(message), asked })
    }
    case 'subscribe':
      if (!subscribe(hub, connection, { room, opcode, body: message.body })) return
      return askNewcomer(hub, room, connection)
    case 'unsubscribe':
      return unsubscribe(hub, connection, { room, body: message.body })
    case 'acknowledge':
      return acknowledge(hub, connection, { room, opcode, body: message.body })
    case 'requestGroup':
      return requestGroup(hub, connection, { room, size: sizeOf(message), body: message.body })
    case 'leaveAnchor':
      return leaveAnchor(hub, connection, { room, size: sizeOf(message), body: message.body })
    case 'ephemeral':
      return ephemeral(hub, connection, room, message)
    default:
      return deny(hub, connection, message, { kind: 'notAllowed' })
  }
}

/**
 * A commit of the device, given in this session or one before, may bring it in yet (JOIN-5). *It
 * would believe a no, and be a member without knowing.*
 */
function hasCommit({ actor }: Connection, { commits }: Room): boolean {
  return [...commits].some(({ connection }) => connection.actor.key === actor.key)
}

/** Rooms stay for ever and cost their creator one frame: each device begins few (HUB-5). */
function spendCreation(hub: Hub, connection: Connection): Refusal | null {
  return refusalOf(hub.creations.spend(connection.actor.key, nowMs(hub)))
}

/** Bytes that a submission holds while it is unanswered: those of its opaque parts. */
function sizeOf(message: Extract<Message, { body: { request: RequestId } }>): number {
  let size = 64
  if (message.kind === 'submitFrame') return size + message.body.frame.length
  for (const part of Object.values(message.body)) {
    if (part instanceof Uint8Array) size += part.length
    else if (Array.isArray(part)) {
      for (const each of part) if (each instanceof Uint8Array) size += each.length
    }
  }
  return size
}

/** Typing: members of this epoch, from their own leaf, and not too often (SES-8). */
function ephemeral(
  hub: Hub,
  connection: Connection,
  room: Room,
  message: Extract<Message, { kind: 'ephemeral' }>,
): void {
  const fault = judgeEphemeral(room, connection, message.body.frame)
  if (fault !== null) return deny(hub, connection, message, fault)
  const spent = spend(connection.ephemerals, EPHEMERAL_RATE, nowMs(hub))
  if (spent.kind === 'spent') connection.ephemerals = spent.bucket
  const tooMany = refusalOf(spent)
  if (tooMany !== null) return deny(hub, connection, message, tooMany)
  passOn(room, connection, encodeMessage('ephemeral', room.id, message.body))
}

function judgeEphemeral(room: Room, connection: Connection, bytes: Uint8Array): Refusal | null {
  const head = headView(room.sequenced)
  const frame = decodeEphemeral(bytes)
  if (frame === null) return { kind: 'malformed' }
  if (head === null) return { kind: 'unknownRoom' }
  const { epoch, epochId, leaf } = frame.header
  if (epoch < head.epoch) return { kind: 'staleEpoch', epoch: head.epoch }
  if (epoch > head.epoch) return { kind: 'futureEpoch', epoch: head.epoch }
  if (!equalBytes(epochId, head.epochId)) return { kind: 'wrongEpochId' }
  return seatOf(connection, room)?.leaf === leaf ? null : { kind: 'wrongLeaf' }
}
