/**
 * The device's side of a session (SES-1 to SES-7): dial, hello, greeting, authenticate, ready,
 * heartbeat, and what happens when it ends. Owns the session's state; what is sent once it is ready
 * belongs to the account and the rooms.
 */
import { equalBytes } from '#core/base/bytes.ts'
import type { TimeMs } from '#core/base/ids.ts'
import { LIMITS } from '#core/base/limits.ts'
import { signUpEnded } from '#core/device/account.ts'
import { HUB_KEY, hubRecordCodec } from '#core/device/records.ts'
import type { CommandError } from '#core/device/io.ts'
import type { SessionState } from '#core/device/state.ts'
import type { TransportKind } from '#core/device/transport.ts'
import type { Turn } from '#core/device/turn.ts'
import { parseHubDomain } from '#core/identity/account-name.ts'
import { signSessionChallenge, verifyGreeting } from '#core/identity/session-proof.ts'
import { type Body, TRANSPORTS } from '#core/wire/bodies.ts'
import { encode } from '#core/wire/codec.ts'
import { PROTOCOL_VERSION } from '#core/wire/frame.ts'
import { STRUCTURE_VERSION } from '#core/wire/structure.ts'

/** Begins a dial if none is under way and one is wanted. */
export function dial(turn: Turn, failures = 0): void {
  const { session, endpoint, nextAttempt } = turn.state
  if (session.kind !== 'idle' && session.kind !== 'waiting') return
  turn.set({
    session: { kind: 'dialing', attempt: nextAttempt, failures },
    nextAttempt: nextAttempt + 1,
  })
  turn.effect({ kind: 'dial', attempt: nextAttempt, endpoint })
  turn.effect({ kind: 'showAccount' })
}

/** The transport is open: say hello (SES-1). */
export function sessionOpened(turn: Turn, transport: TransportKind): void {
  const { session } = turn.state
  if (session.kind !== 'dialing') return
  const hello = {
    versions: [PROTOCOL_VERSION],
    appVersion: turn.ports.appVersion,
    features: [],
    deviceNonce: turn.ports.entropy.randomBytes(32),
  }
  const { attempt, failures } = session
  turn.set({
    session: { kind: 'greeting', attempt, failures, transport, hello, lastHeardMs: turn.nowMs },
  })
  turn.send('hello', hello)
  armHeartbeat(turn)
}

function armHeartbeat(turn: Turn): void {
  const atMs = turn.nowMs + LIMITS.heartbeatIntervalMs
  turn.effect({ kind: 'armTimer', timer: 'heartbeat', atMs })
}

/** Ends the session for good: another hub, no version in common, or a device that it knows not. */
export function refuseSession(turn: Turn, code: CommandError): void {
  turn.hangUp()
  turn.set({ session: { kind: 'refused', code } })
  signUpEnded(turn, code)
  turn.effect({ kind: 'showAccount' })
}

/**
 * The hub's greeting (SES-2): its key must be the one it had before. Returns true when the session
 * goes on as guest; the caller then registers or authenticates.
 */
export async function greetingReceived(turn: Turn, greeting: Body<'greeting'>): Promise<boolean> {
  const { session, hub } = turn.state
  if (session.kind !== 'greeting') return false
  if (greeting.version !== PROTOCOL_VERSION) {
    refuseSession(turn, 'unknownVersion')
    return false
  }
  const domain = parseHubDomain(greeting.hubDomain)
  const proven = await verifyGreeting(turn.ports.crypto, { hello: session.hello, greeting })
  if (!proven || domain === null) {
    refuseSession(turn, 'wrongSignature')
    return false
  }
  if (hub !== null && (hub.domain !== domain || !equalBytes(hub.key, greeting.hubKey))) {
    refuseSession(turn, 'otherHub')
    return false
  }
  if (hub === null) {
    const known = { domain, key: greeting.hubKey.slice() }
    turn.set({ hub: known })
    turn.put('account', HUB_KEY, encode(hubRecordCodec, { format: STRUCTURE_VERSION, ...known }))
  }
  turn.set({ session: { ...session, kind: 'guest', greeting, lastHeardMs: turn.nowMs } })
  turn.effect({ kind: 'showAccount' })
  return true
}

/** Proves the device to the hub (SES-3). */
export async function authenticate(turn: Turn): Promise<void> {
  const { session } = turn.state
  const account = turn.registered
  if (session.kind !== 'guest' || account === null) return
  const { hello, greeting, transport } = session
  const signature = await signSessionChallenge(
    turn.ports.crypto,
    {
      hello,
      greeting,
      account: account.name,
      device: account.device,
      transport: TRANSPORTS[transport],
    },
    account.ed25519.secretKey,
  )
  turn.set({ session: { ...session, kind: 'authenticating' } })
  turn.send('authenticate', { account: account.name, device: account.device, signature })
}

/** The hub knows the device; true when the session became ready (SES-4). */
export function readyReceived(turn: Turn): boolean {
  const { session } = turn.state
  if (session.kind !== 'authenticating') return false
  const { attempt, transport, hello, greeting } = session
  turn.set({
    session: {
      kind: 'ready',
      attempt,
      transport,
      hello,
      greeting,
      lastHeardMs: turn.nowMs,
      beats: 0,
    },
  })
  turn.effect({ kind: 'showAccount' })
  return true
}

/** Anything that came from the hub shows that the session lives (SES-5). */
export function heard(turn: Turn): void {
  const { session } = turn.state
  if ('lastHeardMs' in session) turn.set({ session: { ...session, lastHeardMs: turn.nowMs } })
}

/** Sends a heartbeat, or gives up a session that is silent or owes an answer (SES-5). */
export function heartbeatDue(turn: Turn): void {
  const { session, requests } = turn.state
  if (!('lastHeardMs' in session)) return
  const silentMs = turn.nowMs - session.lastHeardMs
  const owed = [...requests.values()].some((request) =>
    turn.nowMs - request.sentAtMs > LIMITS.requestMsMax
  )
  if (silentMs > LIMITS.sessionSilenceMsMax || owed) {
    turn.hangUp()
    return
  }
  if (session.kind === 'ready') {
    turn.send('heartbeat', { sequence: session.beats })
    turn.set({ session: { ...session, beats: (session.beats + 1) % 0xffffffff } })
  }
  armHeartbeat(turn)
}

/**
 * Delay before the next dial: doubles from the least to the most, with up to a quarter of jitter.
 */
function redialDelayMs(failures: number, jitter: number): number {
  const doubled = LIMITS.redialDelayMsMin * 2 ** Math.min(failures, 20)
  const bounded = Math.min(doubled, LIMITS.redialDelayMsMax)
  return Math.round(bounded * (1 - jitter / 4))
}

/** The session ended, whoever ended it (SES-6). Rooms and requests are the caller's. */
export function sessionEnded(turn: Turn): void {
  const { session, account } = turn.state
  const wasReady = session.kind === 'ready'
  if (session.kind === 'refused' || session.kind === 'closed') return
  const failures = wasReady ? 0 : failuresOf(session) + 1
  if (account.kind === 'none' && session.kind === 'guest') {
    turn.set({ session: { kind: 'idle' } })
    return
  }
  // A place that the device was sent to and that does not answer is not tried twice.
  if (session.kind === 'dialing') turn.set({ endpoint: turn.state.home, redirects: 0 })
  waitToRedial(turn, failures)
}

function failuresOf(session: SessionState): number {
  return 'failures' in session ? session.failures : 0
}

function waitToRedial(turn: Turn, failures: number): void {
  const jitter = (turn.ports.entropy.randomBytes(1)[0] ?? 0) / 256
  const retryAtMs = turn.nowMs + redialDelayMs(failures, jitter)
  turn.set({ session: { kind: 'waiting', failures, retryAtMs } })
  turn.effect({ kind: 'armTimer', timer: 'redial', atMs: retryAtMs })
  turn.effect({ kind: 'showAccount' })
}

/** The redial timer fired. */
export function redialDue(turn: Turn): void {
  const { session } = turn.state
  if (session.kind === 'waiting') dial(turn, session.failures)
}

/** Follows a redirect, at most three in a row (SES-7). */
export function redirectReceived(turn: Turn, endpoint: string): void {
  const { attempt, state } = turn
  // Only a hub that has proven its key may send the device away, and never out of TLS.
  if (attempt === null || state.session.kind === 'greeting') return
  turn.hangUp()
  const isOrigin = /^https?:\/\/[^/\s]+$/.test(endpoint)
  const isDowngrade = state.home.startsWith('https:') && !endpoint.startsWith('https:')
  if (state.redirects >= LIMITS.redirectsMax || !isOrigin || isDowngrade) return
  turn.set({ endpoint, redirects: state.redirects + 1 })
}

/** The time of the next dial, for the view; null when none is planned. */
export function retryInMs(session: SessionState, nowMs: TimeMs): number | null {
  return session.kind === 'waiting' ? Math.max(0, session.retryAtMs - nowMs) : null
}
