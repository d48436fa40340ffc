/**
 * One session with a device, as a machine (SES-1 to SES-7): hello, greeting, register or
 * authenticate, ready, heartbeat, and every way in which it ends. Pure: signatures, the directory
 * and the transport are effects whose outcomes return as inputs. Owns nothing of rooms.
 */
import { unreachable } from '#core/base/assert.ts'
import type { AccountName, DeviceId, HubDomain, RequestId, TimeMs } from '#core/base/ids.ts'
import { LIMITS } from '#core/base/limits.ts'
import type { TransportKind } from '#core/device/transport.ts'
import type { Greeting, Hello, SessionChallenge } from '#core/identity/session-proof.ts'
import { BODIES, type Body, type CLOSE_REASONS, TRANSPORTS } from '#core/wire/bodies.ts'
import { PROTOCOL_VERSION } from '#core/wire/frame.ts'
import type { Refusal } from '#core/wire/refusals.ts'
import type { Standing } from '#hub/gateway/authorize.ts'

export type CloseReason = keyof typeof CLOSE_REASONS

/** What does not change while the session lives. */
export interface SessionTerms {
  readonly transport: TransportKind
  readonly hubDomain: HubDomain
  readonly hubKey: Uint8Array
  /** 32 fresh random bytes. */
  readonly hubNonce: Uint8Array
  /** 16 fresh random bytes. */
  readonly sessionId: Uint8Array
  readonly appVersion: number
  readonly features: readonly number[]
}

interface Greeted {
  readonly openedAtMs: TimeMs
  readonly hello: Hello
  readonly greeting: Greeting
  readonly failures: number
}

/** Each state holds only its own fields. */
export type SessionState =
  | { readonly kind: 'opened'; readonly openedAtMs: TimeMs }
  | { readonly kind: 'greeting'; readonly openedAtMs: TimeMs; readonly hello: Hello }
  | Greeted & { readonly kind: 'guest'; readonly lastHeardMs: TimeMs }
  | Greeted & {
    readonly kind: 'registering'
    readonly lastHeardMs: TimeMs
    readonly request: RequestId
  }
  | Greeted & {
    readonly kind: 'proving'
    readonly lastHeardMs: TimeMs
    readonly account: AccountName
    readonly device: DeviceId
  }
  | {
    readonly kind: 'ready'
    readonly lastHeardMs: TimeMs
    readonly account: AccountName
    readonly device: DeviceId
  }
  /** The device was told; the transport is cut at `closeAtMs` if it has not hung up before. */
  | { readonly kind: 'closing'; readonly closeAtMs: TimeMs }
  | { readonly kind: 'closed' }

/** A session frame that `authorize` let through. */
export type SessionMessage =
  | { readonly kind: 'hello'; readonly body: Body<'hello'> }
  | { readonly kind: 'authenticate'; readonly body: Body<'authenticate'> }
  | { readonly kind: 'register'; readonly body: Body<'register'> }
  | { readonly kind: 'heartbeat'; readonly body: Body<'heartbeat'> }
  | { readonly kind: 'goodbye'; readonly body: Body<'goodbye'> }

export type SessionInput =
  | { readonly kind: 'messageReceived'; readonly message: SessionMessage }
  /** Frames of any kind came: the device lives. */
  | { readonly kind: 'heard' }
  | { readonly kind: 'greetingSigned'; readonly greeting: Greeting }
  | { readonly kind: 'registrationAccepted'; readonly attestation: Uint8Array }
  | { readonly kind: 'registrationRefused'; readonly refusal: Refusal }
  | { readonly kind: 'deviceProven'; readonly keyPackagesLeft: number }
  | { readonly kind: 'deviceRefused'; readonly refusal: Refusal }
  | { readonly kind: 'timePassed' }
  | { readonly kind: 'closeRequested'; readonly reason: CloseReason }
  | { readonly kind: 'redirectRequested'; readonly endpoint: string; readonly reason: number }
  | { readonly kind: 'transportClosed' }

type Sent = {
  [
    K in
      | 'greeting'
      | 'ready'
      | 'heartbeat'
      | 'sessionClosing'
      | 'redirect'
      | 'refused'
      | 'registered'
  ]: {
    readonly kind: 'send'
    readonly message: K
    readonly body: Body<K>
  }
}[
  'greeting' | 'ready' | 'heartbeat' | 'sessionClosing' | 'redirect' | 'refused' | 'registered'
]

export type SessionEffect =
  | Sent
  | {
    readonly kind: 'signGreeting'
    readonly hello: Hello
    readonly greeting: Omit<Greeting, 'signature'>
  }
  | { readonly kind: 'register'; readonly certificate: Uint8Array }
  | {
    readonly kind: 'proveDevice'
    readonly challenge: SessionChallenge
    readonly signature: Uint8Array
  }
  /** The device may speak of rooms from now on. */
  | { readonly kind: 'admit'; readonly account: AccountName; readonly device: DeviceId }
  /** Nothing more is taken from the session; `reason` is for the count. */
  | { readonly kind: 'release'; readonly reason: CloseReason | 'lost' }
  | { readonly kind: 'closeTransport' }

export interface SessionStep {
  readonly state: SessionState
  readonly effects: readonly SessionEffect[]
}

/** A session whose transport has just been accepted. */
export function openSession(nowMs: TimeMs): SessionState {
  return { kind: 'opened', openedAtMs: nowMs }
}

/** How far the session has got, for `authorize`. */
export function standingOf(state: SessionState): Standing {
  switch (state.kind) {
    case 'opened':
      return 'stranger'
    case 'guest':
      return 'guest'
    case 'greeting':
    case 'registering':
    case 'proving':
      return 'busy'
    case 'ready':
      return 'device'
    case 'closing':
    case 'closed':
      return 'closing'
    default:
      return unreachable(state)
  }
}

const stay = (state: SessionState): SessionStep => ({ state, effects: [] })

/** One input, one step. Outcomes of effects that came too late change nothing. */
export function stepSession(
  state: SessionState,
  input: SessionInput,
  terms: SessionTerms,
  nowMs: TimeMs,
): SessionStep {
  switch (input.kind) {
    case 'messageReceived':
      return messageReceived(heardOf(state, nowMs), input.message, terms, nowMs)
    case 'heard':
      return stay(heardOf(state, nowMs))
    case 'greetingSigned':
      return greetingSigned(state, input.greeting, nowMs)
    case 'registrationAccepted':
      return registrationAccepted(state, input.attestation)
    case 'registrationRefused':
      return registrationRefused(state, input.refusal, nowMs)
    case 'deviceProven':
      return deviceProven(state, input.keyPackagesLeft, terms, nowMs)
    case 'deviceRefused':
      return deviceRefused(state, input.refusal, nowMs)
    case 'timePassed':
      return timePassed(state, nowMs)
    case 'closeRequested':
      return close(state, input.reason, nowMs)
    case 'redirectRequested':
      return redirect(state, input, nowMs)
    case 'transportClosed':
      return transportClosed(state)
    default:
      return unreachable(input)
  }
}

function heardOf(state: SessionState, nowMs: TimeMs): SessionState {
  if (!('lastHeardMs' in state) || state.lastHeardMs === nowMs) return state
  return { ...state, lastHeardMs: nowMs }
}

function messageReceived(
  state: SessionState,
  message: SessionMessage,
  terms: SessionTerms,
  nowMs: TimeMs,
): SessionStep {
  switch (message.kind) {
    case 'hello':
      return helloReceived(state, message.body, terms, nowMs)
    case 'register': {
      if (state.kind !== 'guest') return stay(state)
      const { request, certificate } = message.body
      return {
        state: { ...state, kind: 'registering', request },
        effects: [{ kind: 'register', certificate }],
      }
    }
    case 'authenticate': {
      if (state.kind !== 'guest') return stay(state)
      const { hello, greeting } = state
      const { account, device, signature } = message.body
      const transport = TRANSPORTS[terms.transport]
      const challenge = { hello, greeting, account, device, transport }
      return {
        state: { ...state, kind: 'proving', account, device },
        effects: [{ kind: 'proveDevice', challenge, signature }],
      }
    }
    case 'heartbeat':
      return { state, effects: [{ kind: 'send', message: 'heartbeat', body: message.body }] }
    case 'goodbye':
      if (state.kind === 'closed') return stay(state)
      return { state: { kind: 'closed' }, effects: [...releaseOf(state, 'goodbye'), CUT] }
    default:
      return unreachable(message)
  }
}

/** SES-1: without a common version the answer names the version that was not understood. */
function helloReceived(
  state: SessionState,
  hello: Hello,
  terms: SessionTerms,
  nowMs: TimeMs,
): SessionStep {
  if (state.kind !== 'opened') return stay(state)
  if (!hello.versions.includes(PROTOCOL_VERSION)) {
    const version = Math.max(0, ...hello.versions)
    const closing = close(state, 'protocolError', nowMs)
    const refusal = refusedBody('hello', 0 as RequestId, { kind: 'unknownVersion', version })
    return { state: closing.state, effects: [refusal, ...closing.effects] }
  }
  const { hubDomain, hubKey, hubNonce, appVersion, features } = terms
  const greeting = {
    versions: [PROTOCOL_VERSION],
    version: PROTOCOL_VERSION,
    appVersion,
    features: [...features],
    hubDomain,
    hubKey,
    hubNonce,
    time: nowMs,
  }
  return {
    state: { kind: 'greeting', openedAtMs: state.openedAtMs, hello },
    effects: [{ kind: 'signGreeting', hello, greeting }],
  }
}

function greetingSigned(state: SessionState, greeting: Greeting, nowMs: TimeMs): SessionStep {
  if (state.kind !== 'greeting') return stay(state)
  return {
    state: { ...state, kind: 'guest', greeting, failures: 0, lastHeardMs: nowMs },
    effects: [{ kind: 'send', message: 'greeting', body: greeting }],
  }
}

function registrationAccepted(state: SessionState, attestation: Uint8Array): SessionStep {
  if (state.kind !== 'registering') return stay(state)
  const { request } = state
  return {
    state: guestOf(state, 0),
    effects: [{ kind: 'send', message: 'registered', body: { request, attestation } }],
  }
}

function registrationRefused(state: SessionState, refusal: Refusal, nowMs: TimeMs): SessionStep {
  if (state.kind !== 'registering') return stay(state)
  return failed(state, refusedBody('register', state.request, refusal), nowMs)
}

function deviceProven(
  state: SessionState,
  keyPackagesLeft: number,
  terms: SessionTerms,
  nowMs: TimeMs,
): SessionStep {
  if (state.kind !== 'proving') return stay(state)
  const { account, device, lastHeardMs } = state
  return {
    state: { kind: 'ready', lastHeardMs, account, device },
    effects: [
      {
        kind: 'send',
        message: 'ready',
        body: {
          session: terms.sessionId,
          heartbeatIntervalMs: LIMITS.heartbeatIntervalMs,
          sessionSilenceMsMax: LIMITS.sessionSilenceMsMax,
          time: nowMs,
          keyPackagesLeft,
        },
      },
      { kind: 'admit', account, device },
    ],
  }
}

function deviceRefused(state: SessionState, refusal: Refusal, nowMs: TimeMs): SessionStep {
  if (state.kind !== 'proving') return stay(state)
  return failed(state, refusedBody('authenticate', 0 as RequestId, refusal), nowMs)
}

/** A proof that failed; after a few the session ends. */
function failed(
  state: Extract<SessionState, { kind: 'registering' | 'proving' }>,
  answer: SessionEffect,
  nowMs: TimeMs,
): SessionStep {
  const failures = state.failures + 1
  if (failures < LIMITS.proofFailuresMax) {
    return { state: guestOf(state, failures), effects: [answer] }
  }
  const closing = close(state, 'protocolError', nowMs)
  return { state: closing.state, effects: [answer, ...closing.effects] }
}

function guestOf(
  state: Extract<SessionState, { kind: 'registering' | 'proving' }>,
  failures: number,
): SessionState {
  const { openedAtMs, hello, greeting, lastHeardMs } = state
  return { kind: 'guest', openedAtMs, hello, greeting, failures, lastHeardMs }
}

/** Silence ends a session (SES-5), and so does a proof that does not come (SES-4). */
function timePassed(state: SessionState, nowMs: TimeMs): SessionStep {
  switch (state.kind) {
    case 'opened':
    case 'greeting':
    case 'guest':
    case 'registering':
    case 'proving':
      if (nowMs - state.openedAtMs <= LIMITS.handshakeMsMax) return stay(state)
      return close(state, 'handshakeTimeout', nowMs)
    case 'ready':
      if (nowMs - state.lastHeardMs <= LIMITS.sessionSilenceMsMax) return stay(state)
      return close(state, 'silence', nowMs)
    case 'closing':
      if (nowMs < state.closeAtMs) return stay(state)
      return { state: { kind: 'closed' }, effects: [CUT] }
    case 'closed':
      return stay(state)
    default:
      return unreachable(state)
  }
}

const CUT: SessionEffect = { kind: 'closeTransport' }

/**
 * Says why, then waits a moment for the device to hang up (no code crosses a transport's close).
 */
function close(state: SessionState, reason: CloseReason, nowMs: TimeMs): SessionStep {
  if (state.kind === 'closing' || state.kind === 'closed') return stay(state)
  return {
    state: { kind: 'closing', closeAtMs: nowMs + LIMITS.closeGraceMs as TimeMs },
    effects: [
      ...releaseOf(state, reason),
      { kind: 'send', message: 'sessionClosing', body: { reason } },
    ],
  }
}

function redirect(
  state: SessionState,
  to: { readonly endpoint: string; readonly reason: number },
  nowMs: TimeMs,
): SessionStep {
  if (state.kind === 'closing' || state.kind === 'closed') return stay(state)
  const { endpoint, reason } = to
  const closing = close(state, 'drain', nowMs)
  return {
    state: closing.state,
    effects: [
      { kind: 'send', message: 'redirect', body: { endpoint, reason } },
      ...closing.effects,
    ],
  }
}

function transportClosed(state: SessionState): SessionStep {
  return { state: { kind: 'closed' }, effects: releaseOf(state, 'lost') }
}

/** A session is released once, whatever ends it. */
function releaseOf(state: SessionState, reason: CloseReason | 'lost'): readonly SessionEffect[] {
  if (state.kind === 'closing' || state.kind === 'closed') return []
  return [{ kind: 'release', reason }]
}

function refusedBody(
  kind: 'hello' | 'register' | 'authenticate',
  request: RequestId,
  refusal: Refusal,
): SessionEffect {
  return { kind: 'send', message: 'refused', body: { request, opcode: BODIES[kind][0], refusal } }
}
