/**
 * Runs the session machine of each connection: its inputs from the transport and from what was
 * proven, its effects on the wire and in the directory. Owns the sessions of the hub; owns no rule
 * of a session (`session.ts`) and nothing of rooms but ending their subscriptions.
 */
import { unreachable } from '#core/base/assert.ts'
import { sessionHash, signGreeting } from '#core/identity/session-proof.ts'
import { background, send } from '#hub/gateway/answering.ts'
import { proveDevice, register } from '#hub/gateway/directory-requests.ts'
import { drained, endSubscription } from '#hub/gateway/fan-out.ts'
import { sendGroup } from '#hub/gateway/group-requests.ts'
import { type Connection, EPHEMERAL_RATE, type Hub, nowMs } from '#hub/gateway/model.ts'
import { Outbound } from '#hub/gateway/outbound.ts'
import { fullBucket } from '#hub/gateway/rate.ts'
import { openSession, type SessionEffect, type SessionInput } from '#hub/gateway/session.ts'
import { type SessionTerms, standingOf, stepSession } from '#hub/gateway/session.ts'
import { offerMore, offerWelcomes, wakeHoldingRooms } from '#hub/gateway/welcomes.ts'
import type { HubSession } from '#hub/ports.ts'
import { deviceKey } from '#hub/sequencer/group-view.ts'

const STRANGER = { standing: 'stranger', device: null, key: '' } as const

/** Takes a new session of a transport. */
export function openConnection(hub: Hub, session: HubSession, number: number): Connection {
  const { identity, entropy, effects } = hub.ports
  const now = nowMs(hub)
  const terms: SessionTerms = {
    transport: session.transport,
    hubDomain: identity.domain,
    hubKey: identity.publicKey,
    hubNonce: entropy.randomBytes(32),
    sessionId: entropy.randomBytes(16),
    appVersion: identity.appVersion,
    features: identity.features,
  }
  const connection: Connection = {
    number,
    session,
    terms,
    outbound: new Outbound(session, () => {
      drained(hub, connection)
      offerMore(hub, connection)
      sendGroup(hub, connection)
    }),
    state: openSession(now),
    actor: STRANGER,
    subscriptions: new Map(),
    readingCount: 0,
    inFlight: 0,
    inFlightBytes: 0,
    resume: null,
    ephemerals: fullBucket(EPHEMERAL_RATE, now),
    welcomes: { offered: new Map(), isMore: false, reads: 0, isUnread: false, isWaking: false },
    sessionHash: null,
    groupAnswer: null,
    joining: new Map(),
    lastRoom: null,
    lastSeat: null,
  }
  hub.connections.set(number, connection)
  effects.observe({ kind: 'sessionOpened', transport: session.transport })
  return connection
}

/** One step of a session and what follows from it. */
export function step(hub: Hub, connection: Connection, input: SessionInput): void {
  const { state, effects } = stepSession(connection.state, input, connection.terms, nowMs(hub))
  if (state !== connection.state) {
    connection.state = state
    const standing = standingOf(state)
    if (standing !== connection.actor.standing) {
      connection.actor = standing === 'device'
        ? connection.actor
        : { ...connection.actor, standing }
    }
  }
  for (const effect of effects) run(hub, connection, effect)
}

function run(hub: Hub, connection: Connection, effect: SessionEffect): void {
  switch (effect.kind) {
    case 'send':
      if (effect.message === 'refused') {
        const code = effect.body.refusal.kind
        hub.ports.effects.observe({ kind: 'requestDenied', code })
      }
      return send(hub, connection, { kind: effect.message, body: effect.body })
    case 'signGreeting':
      return background(hub, greet(hub, connection, effect))
    case 'register':
      return background(hub, registerAccount(hub, connection, effect.certificate))
    case 'proveDevice':
      return background(hub, prove(hub, connection, effect))
    case 'admit':
      return admit(hub, connection, effect)
    case 'release':
      return release(hub, connection, effect.reason)
    case 'closeTransport':
      return connection.session.close()
    default:
      return unreachable(effect)
  }
}

type EffectOf<K extends SessionEffect['kind']> = Extract<SessionEffect, { readonly kind: K }>

async function greet(
  hub: Hub,
  connection: Connection,
  { hello, greeting }: EffectOf<'signGreeting'>,
): Promise<void> {
  const { crypto, identity } = hub.ports
  const signed = await signGreeting(crypto, { hello, greeting }, identity.secretKey)
  connection.sessionHash = sessionHash(crypto, { hello, greeting: signed })
  step(hub, connection, { kind: 'greetingSigned', greeting: signed })
}

async function registerAccount(
  hub: Hub,
  connection: Connection,
  certificate: Uint8Array,
): Promise<void> {
  const outcome = await register(hub, certificate)
  if (outcome.kind === 'refused') {
    step(hub, connection, { kind: 'registrationRefused', refusal: outcome.refusal })
    return
  }
  if (outcome.isNew) hub.ports.effects.observe({ kind: 'accountRegistered' })
  step(hub, connection, { kind: 'registrationAccepted', attestation: outcome.attestation })
}

async function prove(
  hub: Hub,
  connection: Connection,
  { challenge, signature }: EffectOf<'proveDevice'>,
): Promise<void> {
  const outcome = await proveDevice(hub, challenge, signature)
  step(
    hub,
    connection,
    outcome.kind === 'proven'
      ? { kind: 'deviceProven', keyPackagesLeft: outcome.keyPackagesLeft }
      : { kind: 'deviceRefused', refusal: outcome.refusal },
  )
}

/** The device is known from here on; an older session of it ends (SES-6). */
function admit(hub: Hub, connection: Connection, effect: EffectOf<'admit'>): void {
  const { account, device } = effect
  const key = deviceKey({ account, device })
  const before = hub.devices.get(key)
  connection.actor = { standing: 'device', device: { account, device }, key }
  hub.devices.set(key, connection)
  hub.ports.effects.observe({ kind: 'sessionReady', transport: connection.session.transport })
  if (before !== undefined && before !== connection) {
    step(hub, before, { kind: 'closeRequested', reason: 'replaced' })
  }
  offerWelcomes(hub, connection)
  wakeHoldingRooms(hub, connection)
}

function release(hub: Hub, connection: Connection, reason: EffectOf<'release'>['reason']): void {
  const { transport } = connection.session
  hub.ports.effects.observe({ kind: 'sessionEnded', transport, reason })
  if (hub.devices.get(connection.actor.key) === connection) {
    hub.devices.delete(connection.actor.key)
  }
  connection.welcomes.isMore = false
  connection.groupAnswer = null
  connection.joining.clear()
  for (const subscription of [...connection.subscriptions.values()]) {
    endSubscription(hub, subscription)
  }
  connection.resume?.()
  connection.resume = null
}

/** The transport is gone. */
export function connectionLost(hub: Hub, connection: Connection): void {
  step(hub, connection, { kind: 'transportClosed' })
  hub.connections.delete(connection.number)
  hub.dirty.delete(connection)
}

/** Lets every session see that time has passed. */
export function passTime(hub: Hub): void {
  for (const connection of hub.connections.values()) step(hub, connection, { kind: 'timePassed' })
}
