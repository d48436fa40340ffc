/** Single steps of one session, from hello to every way in which it ends. */
import { deepStrictEqual, ok, strictEqual } from 'node:assert/strict'
import type { AccountName, DeviceId, HubDomain, RequestId, TimeMs } from '#core/base/ids.ts'
import { LIMITS } from '#core/base/limits.ts'
import type { Hello } from '#core/identity/session-proof.ts'
import { BODIES } from '#core/wire/bodies.ts'
import { openSession, type SessionEffect, type SessionInput } from '#hub/gateway/session.ts'
import {
  type SessionState,
  type SessionTerms,
  standingOf,
  stepSession,
} from '#hub/gateway/session.ts'

const START = 1_700_000_000_000 as TimeMs
const at = (ms: number) => START + ms as TimeMs
const account = 'alice@hub.example' as AccountName
const device = new Uint8Array(16).fill(1) as DeviceId
const request = 5 as RequestId
const terms: SessionTerms = {
  transport: 'memory',
  hubDomain: 'hub.example' as HubDomain,
  hubKey: new Uint8Array(32).fill(2),
  hubNonce: new Uint8Array(32).fill(3),
  sessionId: new Uint8Array(16).fill(4),
  appVersion: 7,
  features: [],
}
const hello: Hello = {
  versions: [1],
  appVersion: 1,
  features: [],
  deviceNonce: new Uint8Array(32).fill(5),
}
const signature = new Uint8Array(64).fill(6)

const said = (message: Extract<SessionInput, { kind: 'messageReceived' }>['message']) =>
  ({ kind: 'messageReceived', message }) as const
const helloSaid = said({ kind: 'hello', body: hello })
const registerSaid = said({
  kind: 'register',
  body: { request, token: null, certificate: Uint8Array.of(1) },
})
const authenticateSaid = said({ kind: 'authenticate', body: { account, device, signature } })

function greeted(): SessionInput {
  const step = stepSession(openSession(START), helloSaid, terms, START)
  const effect = step.effects[0]
  ok(effect?.kind === 'signGreeting')
  return { kind: 'greetingSigned', greeting: { ...effect.greeting, signature } }
}

/** Runs inputs from the beginning, 1 ms apart; the last step's effects and its state. */
function run(
  ...inputs: SessionInput[]
): { state: SessionState; effects: readonly SessionEffect[] } {
  let step: { state: SessionState; effects: readonly SessionEffect[] } = {
    state: openSession(START),
    effects: [],
  }
  for (const [index, input] of inputs.entries()) {
    step = stepSession(step.state, input, terms, at(index))
  }
  return step
}

const shape = (effects: readonly SessionEffect[]) =>
  effects.map((effect) => effect.kind === 'send' ? effect.message : effect.kind)

Deno.test('SES-1, SES-2: hello is answered by a greeting that the hub signs', () => {
  const asked = run(helloSaid)
  strictEqual(asked.state.kind, 'greeting')
  const [effect] = asked.effects
  ok(effect?.kind === 'signGreeting')
  deepStrictEqual(effect.hello, hello)
  deepStrictEqual(effect.greeting.hubNonce, terms.hubNonce)
  const signed = run(helloSaid, greeted())
  strictEqual(signed.state.kind, 'guest')
  deepStrictEqual(shape(signed.effects), ['greeting'])
})

Deno.test('SES-1: without a common version the refusal names it, the session ends', () => {
  const step = run(said({ kind: 'hello', body: { ...hello, versions: [9, 12] } }))
  deepStrictEqual(shape(step.effects), ['refused', 'release', 'sessionClosing'])
  deepStrictEqual(step.effects[0], {
    kind: 'send',
    message: 'refused',
    body: {
      request: 0,
      opcode: BODIES.hello[0],
      refusal: { kind: 'unknownVersion', version: 12 },
    },
  })
  const none = run(said({ kind: 'hello', body: { ...hello, versions: [] } }))
  strictEqual(none.state.kind, 'closing')
})

Deno.test('SES-3, SES-4: a proven device is told so and admitted', () => {
  const asked = run(helloSaid, greeted(), authenticateSaid)
  const [effect] = asked.effects
  ok(effect?.kind === 'proveDevice')
  deepStrictEqual(effect.challenge.account, account)
  strictEqual(effect.challenge.transport, 4)
  const proven = run(helloSaid, greeted(), authenticateSaid, {
    kind: 'deviceProven',
    keyPackagesLeft: 3,
  })
  strictEqual(proven.state.kind, 'ready')
  deepStrictEqual(shape(proven.effects), ['ready', 'admit'])
})

Deno.test('SES-3: a device that cannot prove itself may try again, and not for ever', () => {
  const refusal = { kind: 'wrongSignature' } as const
  let { state } = run(helloSaid, greeted())
  for (let attempt = 1; attempt <= LIMITS.proofFailuresMax; attempt++) {
    state = stepSession(state, authenticateSaid, terms, at(10)).state
    const step = stepSession(state, { kind: 'deviceRefused', refusal }, terms, at(10))
    const last = attempt === LIMITS.proofFailuresMax
    strictEqual(step.state.kind, last ? 'closing' : 'guest')
    deepStrictEqual(
      shape(step.effects),
      last ? ['refused', 'release', 'sessionClosing'] : ['refused'],
    )
    state = step.state
  }
})

Deno.test('ID-4: a guest registers, is answered once, and stays a guest', () => {
  const asked = run(helloSaid, greeted(), registerSaid)
  deepStrictEqual(shape(asked.effects), ['register'])
  strictEqual(standingOf(asked.state), 'busy')
  const attestation = Uint8Array.of(8)
  const done = run(helloSaid, greeted(), registerSaid, {
    kind: 'registrationAccepted',
    attestation,
  })
  deepStrictEqual(done.effects, [
    { kind: 'send', message: 'registered', body: { request, attestation } },
  ])
  strictEqual(done.state.kind, 'guest')
  const refused = run(helloSaid, greeted(), registerSaid, {
    kind: 'registrationRefused',
    refusal: { kind: 'nameTaken' },
  })
  deepStrictEqual(shape(refused.effects), ['refused'])
  strictEqual(refused.state.kind, 'guest')
})

const proven: SessionInput = { kind: 'deviceProven', keyPackagesLeft: 0 }

Deno.test('SES-5: a heartbeat is answered with its number', () => {
  const beat = said({ kind: 'heartbeat', body: { sequence: 41 } })
  const step = run(helloSaid, greeted(), authenticateSaid, proven, beat)
  deepStrictEqual(step.effects, [{ kind: 'send', message: 'heartbeat', body: { sequence: 41 } }])
})

Deno.test('SES-5: silence ends a session, and anything that is heard does not let it', () => {
  const { state } = run(helloSaid, greeted(), authenticateSaid, proven)
  const limit = LIMITS.sessionSilenceMsMax
  const late = stepSession(state, { kind: 'timePassed' }, terms, at(limit + 50))
  deepStrictEqual(shape(late.effects), ['release', 'sessionClosing'])
  const heard = stepSession(state, { kind: 'heard' }, terms, at(limit)).state
  const alive = stepSession(heard, { kind: 'timePassed' }, terms, at(limit + 50))
  deepStrictEqual(alive, { state: heard, effects: [] })
})

Deno.test('SES-4: a session that is not ready in time ends, however far it has got', () => {
  const ways: SessionInput[][] = [
    [],
    [helloSaid],
    [helloSaid, greeted()],
    [helloSaid, greeted(), registerSaid],
    [helloSaid, greeted(), authenticateSaid],
  ]
  for (const inputs of ways) {
    const { state } = run(...inputs)
    const heard = stepSession(state, { kind: 'heard' }, terms, at(LIMITS.handshakeMsMax)).state
    const early = stepSession(heard, { kind: 'timePassed' }, terms, at(LIMITS.handshakeMsMax))
    strictEqual(early.state, heard)
    const late = stepSession(heard, { kind: 'timePassed' }, terms, at(LIMITS.handshakeMsMax + 1))
    deepStrictEqual(late.effects.at(-1), {
      kind: 'send',
      message: 'sessionClosing',
      body: { reason: 'handshakeTimeout' },
    })
  }
})

Deno.test('SES-6: the hub says why, waits a moment, then cuts, and releases once', () => {
  const { state } = run(helloSaid, greeted(), authenticateSaid, proven)
  const closing = stepSession(state, { kind: 'closeRequested', reason: 'replaced' }, terms, at(10))
  deepStrictEqual(shape(closing.effects), ['release', 'sessionClosing'])
  const again = stepSession(
    closing.state,
    { kind: 'closeRequested', reason: 'drain' },
    terms,
    at(11),
  )
  deepStrictEqual(again, { state: closing.state, effects: [] })
  const early = stepSession(closing.state, { kind: 'timePassed' }, terms, at(11))
  deepStrictEqual(early.effects, [])
  const cut = stepSession(
    closing.state,
    { kind: 'timePassed' },
    terms,
    at(10 + LIMITS.closeGraceMs),
  )
  deepStrictEqual(shape(cut.effects), ['closeTransport'])
  deepStrictEqual(stepSession(cut.state, { kind: 'transportClosed' }, terms, at(999)).effects, [])
})

Deno.test('SES-6: goodbye ends at once, a lost transport likewise', () => {
  const { state } = run(helloSaid, greeted(), authenticateSaid, proven)
  const bye = said({ kind: 'goodbye', body: { reason: 'goodbye' } })
  const left = stepSession(state, bye, terms, at(10))
  deepStrictEqual(shape(left.effects), ['release', 'closeTransport'])
  strictEqual(left.state.kind, 'closed')
  const lost = stepSession(state, { kind: 'transportClosed' }, terms, at(10))
  deepStrictEqual(lost.effects, [{ kind: 'release', reason: 'lost' }])
})

Deno.test('SES-7: a session may be sent elsewhere in any state', () => {
  const elsewhere: SessionInput = {
    kind: 'redirectRequested',
    endpoint: 'https://other.example',
    reason: 1,
  }
  for (const inputs of [[], [helloSaid], [helloSaid, greeted()]]) {
    const step = run(...inputs, elsewhere)
    deepStrictEqual(shape(step.effects), ['redirect', 'release', 'sessionClosing'])
    strictEqual(step.state.kind, 'closing')
  }
})

Deno.test('outcomes that come after the end change nothing', () => {
  const { state } = run(helloSaid, { kind: 'closeRequested', reason: 'drain' })
  const late: SessionInput[] = [
    greeted(),
    { kind: 'registrationAccepted', attestation: signature },
    { kind: 'registrationRefused', refusal: { kind: 'nameTaken' } },
    proven,
    { kind: 'deviceRefused', refusal: { kind: 'unknownDevice' } },
    { kind: 'heard' },
  ]
  for (const input of late) {
    deepStrictEqual(stepSession(state, input, terms, at(1)), { state, effects: [] })
  }
})
