/**
 * The device machine (DEV-1): routes each input to the part that owns it. Owns the routing and what
 * happens to rooms and requests when a session begins or ends; every decision is in the parts.
 */
import { unreachable } from '#core/base/assert.ts'
import type { Machine } from '#core/base/driver.ts'
import type { RequestId } from '#core/base/ids.ts'
import { LIMITS } from '#core/base/limits.ts'
import { fillKeyPackages, register, registered, registrationRefused } from '#core/device/account.ts'
import { signedUp, signUp } from '#core/device/account.ts'
import { breakRoom, guarded, refuseJoin, wayInEnded } from '#core/device/ends.ts'
import { entriesReceived, goOn, subscribed } from '#core/device/follow.ts'
import { headReceived } from '#core/device/heads.ts'
import { holdRoom, releaseRooms } from '#core/device/hold.ts'
import type {
  Command,
  DeviceEffect,
  DeviceInput,
  RequiredChange,
  TimerName,
} from '#core/device/io.ts'
import { groupPartReceived, groupRefused, joinByLink } from '#core/device/joining.ts'
import { anchorAnswered, anchorOutdated, anchorRefused } from '#core/device/invitations.ts'
import { addMember, invite, keyPackagesReceived } from '#core/device/membership.ts'
import { revokeInvitation } from '#core/device/membership.ts'
import { createRoom } from '#core/device/create.ts'
import { openRoom, openRooms, reopenRoom } from '#core/device/opening.ts'
import { frameRefused, landOutbox, sendMessage } from '#core/device/outbox.ts'
import { hasLink, markRead, roomKey, subscribe, subscriptionCut } from '#core/device/room.ts'
import { authenticate, dial, greetingReceived, heard, heartbeatDue } from '#core/device/session.ts'
import { readyReceived, redialDue, redirectReceived, sessionEnded } from '#core/device/session.ts'
import { refuseSession, sessionOpened } from '#core/device/session.ts'
import type { DeviceState } from '#core/device/state.ts'
import { type DevicePorts, Turn } from '#core/device/turn.ts'
import { asRepeat, commitRefused } from '#core/device/submit.ts'
import { setTyping, typingDue, typingReceived } from '#core/device/typing.ts'
import { seatLost } from '#core/device/verdicts.ts'
import { takeVotesBack, voteAsked } from '#core/device/votes.ts'
import { welcomeReceived, welcomesDue } from '#core/device/welcomes.ts'
import { type Body, decodeMessage, type Message } from '#core/wire/bodies.ts'
import { parseFrame } from '#core/wire/frame.ts'

export type DeviceMachine = Machine<DeviceState, DeviceInput, RequiredChange, DeviceEffect>

/** The machine of one device over its ports. */
export function createDeviceMachine(ports: DevicePorts): DeviceMachine {
  return {
    async step(state, input, nowMs) {
      const turn = new Turn(ports, state, nowMs)
      const mark = turn.mark()
      try {
        await take(turn, input)
      } catch (error) {
        turn.rewind(mark)
        stepFaulted(turn, input, error)
      }
      turn.flushRecords()
      return { state: turn.state, changes: turn.changes, effects: turn.effects }
    },
    storeFailed(input) {
      if (input.kind === 'storeFailed') return null
      const command = input.kind === 'commandGiven' ? input.id : null
      const timer = input.kind === 'timerFired' ? input.timer : null
      return { kind: 'storeFailed', command, timer }
    },
  }
}

/**
 * A fault of ours that no room answers for: the step never happened, and nobody waits for it. *A
 * command without an answer hangs for ever, and a timer that is not armed again holds every room.*
 */
function stepFaulted(turn: Turn, input: DeviceInput, error: unknown): void {
  turn.effect({ kind: 'reportFault', error })
  if (input.kind === 'commandGiven') turn.fail(input.id, 'internal')
  else if (input.kind === 'timerFired') armAgain(turn, input.timer)
  else if (input.kind === 'sessionClosed') sessionEnded(turn)
  else turn.hangUp()
}

/** The machine takes a timer whose step did not happen for armed, and would arm it no more. */
function armAgain(turn: Turn, timer: TimerName): void {
  turn.effect({ kind: 'armTimer', timer, atMs: turn.nowMs + LIMITS.redialDelayMsMin })
}

async function take(turn: Turn, input: DeviceInput): Promise<void> {
  switch (input.kind) {
    case 'started':
      return dial(turn)
    case 'commandGiven':
      return await takeCommand(turn, input.id, input.command)
    case 'sessionOpened':
      if (isCurrent(turn, input.attempt)) sessionOpened(turn, input.transport)
      return
    case 'framesReceived':
      return await framesReceived(turn, input.attempt, input.frames)
    case 'sessionClosed':
      if (isCurrent(turn, input.attempt)) endSession(turn)
      return
    case 'timerFired':
      if (input.timer === 'redial') redialDue(turn)
      else if (input.timer === 'heartbeat') heartbeatDue(turn)
      else if (input.timer === 'typing') typingDue(turn)
      else if (input.timer === 'wake') await wakeDue(turn)
      else await retryDue(turn)
      return
    case 'networkChanged':
      turn.set({ online: input.online })
      if (input.online) dial(turn)
      return turn.effect({ kind: 'showAccount' })
    case 'storeFailed':
      return storeFailed(turn, input)
    case 'closeRequested':
      return closeDevice(turn)
    default:
      return unreachable(input)
  }
}

function isCurrent(turn: Turn, attempt: number): boolean {
  const { session } = turn.state
  return 'attempt' in session && session.attempt === attempt
}

async function takeCommand(turn: Turn, id: number, command: Command): Promise<void> {
  switch (command.kind) {
    case 'signUp':
      if (!signUp(turn, id, command)) return
      if (turn.state.session.kind === 'guest') return await register(turn)
      return dial(turn)
    case 'createRoom':
      return await takeNewRoom(turn, await createRoom(turn, id, command.title))
    case 'sendMessage':
      return await sendMessage(turn, id, command)
    case 'invite':
      return await invite(turn, id, command)
    case 'revokeInvitation':
      return await revokeInvitation(turn, id, command)
    case 'joinByLink':
      return await joinByLink(turn, id, command.link)
    case 'addMember':
      return addMember(turn, id, command)
    case 'setTyping':
      await setTyping(turn, command.room)
      return turn.done(id)
    case 'markRead':
      markRead(turn, command.room, command.position)
      return turn.done(id)
    default:
      return unreachable(command)
  }
}

async function takeNewRoom(turn: Turn, key: string | null): Promise<void> {
  if (key !== null) await openRoom(turn, key)
}

// ---- Session ------------------------------------------------------------------------------

/** Everything that waited for an answer of this session learns that there will be none. */
function endSession(turn: Turn): void {
  for (const pending of turn.state.requests.values()) {
    if (pending.kind === 'claim') turn.fail(pending.command, 'offline')
  }
  turn.set({ requests: new Map(), welcomes: new Map() })
  signedUp(turn)
  for (const room of turn.state.rooms.values()) {
    const { joining } = room
    const isAskedAgain = joining?.kind === 'asked' || joining?.kind === 'link'
    turn.setRoom(room.key, {
      subscription: { kind: 'none' },
      typing: [],
      // What is asked for is asked for again; a way in begins anew.
      asked: [],
      joining: isAskedAgain ? null : room.joining,
      pending: room.pending === null ? null : asRepeat(room.pending),
    })
    takeVotesBack(turn, room.key)
    landOutbox(turn, room.key)
  }
  sessionEnded(turn)
}

type StoreFailure = Extract<DeviceInput, { kind: 'storeFailed' }>

/**
 * Nothing of the step was stored: the session starts anew from what is stored (DEV-7), what it has
 * said since is not heard, and a timer whose step it was fires again.
 */
function storeFailed(turn: Turn, { command, timer }: StoreFailure): void {
  turn.fail(command, 'storeFailed')
  if (timer !== null) armAgain(turn, timer)
  turn.set({ deafTo: turn.attempt })
  turn.hangUp()
}

function closeDevice(turn: Turn): void {
  turn.send('goodbye', { reason: 'goodbye' })
  turn.hangUp()
  turn.set({ session: { kind: 'closed' }, requests: new Map() })
}

/** The session is ready: everything that waited for it goes out (DEV-5, ROOM-6). */
async function sessionReady(turn: Turn, body: Body<'ready'>): Promise<void> {
  turn.set({ redirects: 0 })
  await fillKeyPackages(turn, body.keyPackagesLeft)
  await openRooms(turn)
}

/** Rooms whose wait is over go on (WIRE-5, ROOM-7). */
async function retryDue(turn: Turn): Promise<void> {
  for (const key of releaseRooms(turn)) {
    await guarded(turn, key, async () => {
      await reopenRoom(turn, key)
      await goOn(turn, key)
    })
  }
  await welcomesDue(turn)
}

async function wakeDue(turn: Turn): Promise<void> {
  turn.set({ wakeAtMs: Number.POSITIVE_INFINITY })
  for (const key of turn.state.rooms.keys()) await guarded(turn, key, () => goOn(turn, key))
  await welcomesDue(turn)
}

// ---- Frames -------------------------------------------------------------------------------

async function framesReceived(
  turn: Turn,
  attempt: number,
  frames: readonly Uint8Array[],
): Promise<void> {
  if (!isCurrent(turn, attempt) || turn.state.deafTo === attempt) return
  heard(turn)
  for (const bytes of frames) {
    const frame = parseFrame(bytes)
    if (frame.kind === 'malformed') continue
    const decoded = decodeMessage(frame)
    if (decoded.kind !== 'message') continue
    const { message } = decoded
    await guarded(turn, keyOf(turn, message), async () => {
      await messageReceived(turn, message)
      await welcomesDue(turn)
    })
  }
}

/** The room that a message is about: an answer is about that of its question. */
function keyOf(turn: Turn, { room, body }: Message): string {
  const pending = 'request' in body ? turn.state.requests.get(body.request as RequestId) : undefined
  return pending !== undefined && 'room' in pending ? pending.room : roomKey(room)
}

/** What a hub may say before the session is ready; before that it has not been proven (SES-2). */
const BEFORE_READY: ReadonlySet<string> = new Set([
  'greeting',
  'registered',
  'ready',
  'refused',
  'redirect',
])

async function messageReceived(turn: Turn, message: Message): Promise<void> {
  if (!turn.ready && !BEFORE_READY.has(message.kind)) return
  const key = roomKey(message.room)
  switch (message.kind) {
    case 'greeting':
      if (!await greetingReceived(turn, message.body)) return
      return turn.registered === null ? await register(turn) : await authenticate(turn)
    case 'registered':
      return await registered(turn, message.body) ? await authenticate(turn) : undefined
    case 'ready':
      return readyReceived(turn) ? await sessionReady(turn, message.body) : undefined
    case 'refused':
      return await requestRefused(turn, message.body)
    case 'accepted':
      return requestAccepted(turn, message.body)
    case 'redirect':
      return redirectReceived(turn, message.body.endpoint)
    case 'keyPackages':
      return await claimAnswered(turn, message.body)
    case 'welcome':
      return await welcomeReceived(turn, message.body)
    case 'subscribed': {
      const pending = turn.takeRequest(message.body.request)
      return pending?.kind === 'subscribe' ? await subscribed(turn, key, message.body) : undefined
    }
    case 'entries':
      return await entriesReceived(turn, key, message.body)
    case 'head':
      return await headReceived(turn, key, message.body)
    case 'catchUp':
      return subscriptionCut(turn, key)
    case 'askVote':
      return await voteAsked(turn, key, message.body.position)
    case 'group':
      return await groupPartReceived(turn, key, message.body)
    case 'ephemeral':
      return await typingReceived(turn, key, message.body.frame)
    default:
      // Heartbeats only show that the hub lives; the rest is said by devices and not to them.
      return
  }
}

async function claimAnswered(turn: Turn, body: Body<'keyPackages'>): Promise<void> {
  const pending = turn.takeRequest(body.request)
  if (pending?.kind === 'claim') await keyPackagesReceived(turn, pending, body)
}

function requestAccepted(turn: Turn, body: Body<'accepted'>): void {
  const pending = turn.takeRequest(body.request as RequestId)
  if (pending?.kind === 'anchor') anchorAnswered(turn, pending.room, pending.anchor)
  else if (pending?.kind === 'createRoom') subscribe(turn, pending.room)
  else if (pending?.kind === 'publish') signedUp(turn)
}

async function requestRefused(turn: Turn, body: Body<'refused'>): Promise<void> {
  const { refusal } = body
  const pending = turn.takeRequest(body.request as RequestId)
  if (pending === null) return sessionRefused(turn, refusal)
  // The hub was about to end the session: what it was asked is asked again in the next one.
  const isOver = refusal.kind === 'notInThisState'
  if (isOver && 'room' in pending && pending.kind !== 'claim') return turn.hangUp()
  switch (pending.kind) {
    case 'register':
      return registrationRefused(turn, refusal)
    case 'publish':
      return signedUp(turn)
    case 'claim':
      return turn.fail(pending.command, refusal.kind)
    case 'createRoom':
      return createRefused(turn, pending.room, refusal)
    case 'subscribe':
      return await subscribeRefused(turn, pending.room, refusal)
    case 'frame':
      return frameRefused(turn, pending, refusal)
    case 'commit':
      return entryRefused(turn, pending, refusal)
    case 'vote':
      // Otherwise it was cast before, or is settled meanwhile: the log says which.
      if (holdRoom(turn, pending.room, refusal)) takeVotesBack(turn, pending.room)
      return
    case 'anchor': {
      const { room, anchor } = pending
      const isHeld = holdRoom(turn, room, refusal)
      if (refusal.kind === 'badAnchor' && !isHeld) return await anchorOutdated(turn, room, anchor)
      return anchorRefused(turn, room, { anchor, code: refusal.kind })
    }
    case 'group':
      if (holdRoom(turn, pending.room, refusal)) return
      return groupRefused(turn, pending.room, refusal.kind)
    default:
      return unreachable(pending)
  }
}

/** A commit was refused; where it was the way into a room, that ends with it. */
function entryRefused(
  turn: Turn,
  { room: key, commit }: { readonly room: string; readonly commit: Uint8Array },
  refusal: Refusal,
): void {
  // The answer to a commit that was lost already says nothing of the one under way.
  if (turn.room(key)?.pending?.commit !== commit) return
  if (commitRefused(turn, key, refusal)) return
  const code = refusal.kind === 'badCommit' ? refusal.fault : refusal.kind
  if (turn.room(key)?.joining?.kind === 'link') refuseJoin(turn, key, code)
}

type Refusal = Body<'refused'>['refusal']

/** The hub would not have this device: it says why, and is not asked again at once. */
function sessionRefused(turn: Turn, refusal: Refusal): void {
  const { session } = turn.state
  if (session.kind !== 'authenticating' && session.kind !== 'greeting') return
  const final = refusal.kind === 'unknownDevice' || refusal.kind === 'wrongSignature' ||
    refusal.kind === 'unknownVersion'
  if (final) return refuseSession(turn, refusal.kind)
  turn.hangUp()
  turn.effect({ kind: 'showAccount' })
}

function createRefused(turn: Turn, key: string, refusal: Refusal): void {
  // The genesis was taken before, and only the answer was lost.
  if (refusal.kind === 'roomExists') return subscribe(turn, key)
  if (holdRoom(turn, key, refusal)) return
  breakRoom(turn, key, refusal.kind)
}

async function subscribeRefused(turn: Turn, key: string, refusal: Refusal): Promise<void> {
  const room = turn.room(key)
  if (room === null) return
  turn.setRoom(key, { subscription: { kind: 'none' } })
  if (holdRoom(turn, key, refusal)) return
  const isJoining = room.record.phase === 'joining'
  const isNoMember = refusal.kind === 'unknownRoom' || refusal.kind === 'notAllowed'
  if (isJoining && (isNoMember || hasLink(room.record))) {
    wayInEnded(turn, key, refusal.kind)
  } else if (isJoining) {
    refuseJoin(turn, key, refusal.kind)
  } else if (refusal.kind === 'unknownRoom') {
    await seatLost(turn, key)
  } else if (refusal.kind === 'moved') breakRoom(turn, key, 'moved')
  // The hub says that its log ends before what it once gave.
  else if (refusal.kind === 'unknownEntry') breakRoom(turn, key, 'historyLost')
  turn.effect({ kind: 'showAccount' })
}
