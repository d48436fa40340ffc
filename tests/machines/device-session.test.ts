/**
 * The device machine before it is ready, step by step and without a host: dialing, greeting and
 * registering against a hub of three lines. Owns no rooms.
 */
import { deepStrictEqual, ok, strictEqual } from 'node:assert/strict'
import type { HubDomain, TimeMs } from '#core/base/ids.ts'
import { LIMITS } from '#core/base/limits.ts'
import { createNobleCrypto } from '#core/crypto/noble.ts'
import { createDeviceMachine } from '#core/device/device.ts'
import type { DeviceEffect, DeviceInput } from '#core/device/io.ts'
import { type DeviceState, emptyState } from '#core/device/state.ts'
import { verifyCertificate } from '#core/identity/certificate.ts'
import { signGreeting } from '#core/identity/session-proof.ts'
import { BODIES, type BodyKind, decodeMessage, encodeMessage } from '#core/wire/bodies.ts'
import type { Message } from '#core/wire/bodies.ts'
import { NO_ROOM, type RequestId } from '#core/base/ids.ts'
import { parseFrame, PROTOCOL_VERSION } from '#core/wire/frame.ts'

const crypto = createNobleCrypto()
const nowMs = 1_700_000_000_000 as TimeMs
const hubKey = crypto.signatureKeyPair('ed25519', new Uint8Array(32).fill(7))
const machine = createDeviceMachine({
  crypto,
  entropy: { randomBytes: (length) => new Uint8Array(length).fill(1) },
  appVersion: 1,
})

/** A device, and what its last step wanted done. */
class Device {
  state: DeviceState = emptyState('http://hub.example')
  effects: readonly DeviceEffect[] = []

  async take(input: DeviceInput): Promise<void> {
    const { state, effects } = await machine.step(this.state, input, nowMs)
    this.state = state
    this.effects = effects
  }

  wants<K extends DeviceEffect['kind']>(kind: K): Extract<DeviceEffect, { kind: K }> | null {
    return this.effects.find((effect): effect is Extract<DeviceEffect, { kind: K }> =>
      effect.kind === kind
    ) ?? null
  }

  says<K extends BodyKind>(kind: K): Extract<Message, { kind: K }> {
    for (const effect of this.effects) {
      const frame = effect.kind === 'send' ? parseFrame(effect.frame) : null
      const decoded = frame?.kind === 'frame' ? decodeMessage(frame) : null
      if (decoded?.kind === 'message' && decoded.message.kind === kind) {
        return decoded.message as Extract<Message, { kind: K }>
      }
    }
    throw new Error(`the device says no ${kind}`)
  }

  /** Opens the session that was dialed, as far as the hub's greeting. */
  async greet(attempt: number): Promise<void> {
    await this.take({ kind: 'sessionOpened', attempt, transport: 'memory' })
    const hello = this.says('hello').body
    const greeting = await signGreeting(crypto, {
      hello,
      greeting: {
        versions: [PROTOCOL_VERSION],
        version: PROTOCOL_VERSION,
        appVersion: 1,
        features: [],
        hubDomain: 'hub.example' as HubDomain,
        hubKey: hubKey.publicKey,
        hubNonce: new Uint8Array(32),
        time: nowMs,
      },
    }, hubKey.secretKey)
    const frames = [encodeMessage('greeting', NO_ROOM, greeting)]
    await this.take({ kind: 'framesReceived', attempt, frames })
  }
}

function signUp(deviceName: string): DeviceInput {
  return { kind: 'commandGiven', id: 1, command: { kind: 'signUp', name: 'alice', deviceName } }
}

Deno.test('SES-6: a hub that greets and then closes is dialed ever later', async () => {
  const device = new Device()
  await device.take(signUp('Laptop'))
  const delays: number[] = []
  for (let round = 0; round < 10; round++) {
    const dial = device.wants('dial')
    ok(dial !== null, 'a dial')
    await device.greet(dial.attempt)
    strictEqual(device.state.session.kind, 'guest')
    await device.take({ kind: 'sessionClosed', attempt: dial.attempt })
    const armed = device.wants('armTimer')
    ok(armed?.timer === 'redial', 'a redial')
    delays.push(armed.atMs - nowMs)
    await device.take({ kind: 'timerFired', timer: 'redial' })
  }
  for (const [index, delay] of delays.entries()) {
    const before = delays[index - 1] ?? 0
    ok(delay > before || delay >= LIMITS.redialDelayMsMax * 0.75, `${delays}`)
    ok(delay <= LIMITS.redialDelayMsMax, `${delays}`)
  }
})

Deno.test('ID-3: the longest name of a device fits its manifest, a longer does not', async () => {
  const longest = '書'.repeat(LIMITS.deviceNameMax)
  const refusing = new Device()
  await refusing.take(signUp(`${longest}書`))
  const settled = refusing.wants('settleCommand')
  ok(settled?.outcome.kind === 'failed' && settled.outcome.code === 'badName')

  const device = new Device()
  await device.take(signUp(longest))
  await device.greet(device.wants('dial')?.attempt ?? 0)
  const { certificate } = device.says('register').body
  const verified = await verifyCertificate(crypto, certificate, { hubKey: null })
  ok(verified.kind === 'verified', 'the certificate verifies')
  strictEqual(verified.devices[0]?.name, longest)
})

Deno.test('SES-7: a redirect is followed, and its dead end leads home', async () => {
  const device = new Device()
  await device.take(signUp('Laptop'))
  const first = device.wants('dial')
  strictEqual(first?.endpoint, 'http://hub.example')
  await device.greet(first?.attempt ?? 0)
  const attempt = first?.attempt ?? 0
  const body = { endpoint: 'http://other.example', reason: 0 }
  const frames = [encodeMessage('redirect', NO_ROOM, body)]
  await device.take({ kind: 'framesReceived', attempt, frames })
  ok(device.wants('hangUp') !== null, 'the session ends')
  await device.take({ kind: 'sessionClosed', attempt })
  await device.take({ kind: 'timerFired', timer: 'redial' })
  const second = device.wants('dial')
  strictEqual(second?.endpoint, 'http://other.example')
  await device.take({ kind: 'sessionClosed', attempt: second?.attempt ?? 0 })
  await device.take({ kind: 'timerFired', timer: 'redial' })
  strictEqual(device.wants('dial')?.endpoint, 'http://hub.example')
})

Deno.test('SES-7, SES-2: a hub that has not proven its key sends nobody away', async () => {
  const device = new Device()
  await device.take(signUp('Laptop'))
  const attempt = device.wants('dial')?.attempt ?? 0
  await device.take({ kind: 'sessionOpened', attempt, transport: 'memory' })
  const body = { endpoint: 'http://other.example', reason: 0 }
  const frames = [encodeMessage('redirect', NO_ROOM, body)]
  await device.take({ kind: 'framesReceived', attempt, frames })
  strictEqual(device.state.endpoint, 'http://hub.example')
  strictEqual(device.wants('hangUp'), null)
})

Deno.test('SES-7: nobody is sent out of TLS', async () => {
  const device = new Device()
  device.state = emptyState('https://hub.example')
  await device.take(signUp('Laptop'))
  const attempt = device.wants('dial')?.attempt ?? 0
  await device.greet(attempt)
  const body = { endpoint: 'http://hub.example', reason: 0 }
  const frames = [encodeMessage('redirect', NO_ROOM, body)]
  await device.take({ kind: 'framesReceived', attempt, frames })
  strictEqual(device.state.endpoint, 'https://hub.example')
})

Deno.test('ID-4: a hub that is busy does not cost the account its root', async () => {
  const device = new Device()
  await device.take(signUp('Laptop'))
  const attempt = device.wants('dial')?.attempt ?? 0
  await device.greet(attempt)
  const first = device.says('register').body
  const refusal = { kind: 'unavailable' as const, retryAfterMs: 1_000 }
  const body = { request: first.request, opcode: 0x10, refusal }
  const frames = [encodeMessage('refused', NO_ROOM, body)]
  await device.take({ kind: 'framesReceived', attempt, frames })
  strictEqual(device.state.account.kind, 'registering')
  ok(device.wants('hangUp') !== null, 'the session ends')
  await device.take({ kind: 'sessionClosed', attempt })
  await device.take({ kind: 'timerFired', timer: 'redial' })
  await device.greet(device.wants('dial')?.attempt ?? 0)
  deepStrictEqual(device.says('register').body.certificate, first.certificate)
})

Deno.test('SES-2, DEV-9: who signs up at a hub that has no session for it is told so', async () => {
  const refusal = { kind: 'unknownVersion', version: PROTOCOL_VERSION + 1 } as const
  const refused = encodeMessage('refused', NO_ROOM, {
    request: 0 as RequestId,
    opcode: BODIES.hello[0],
    refusal,
  })
  const device = new Device()
  await device.take(signUp('Laptop'))
  const attempt = device.wants('dial')?.attempt ?? 0
  await device.take({ kind: 'sessionOpened', attempt, transport: 'memory' })
  await device.take({ kind: 'framesReceived', attempt, frames: [refused] })
  const outcome = { kind: 'failed', code: 'unknownVersion' }
  deepStrictEqual(device.wants('settleCommand'), { kind: 'settleCommand', id: 1, outcome })
  await device.take({ kind: 'sessionClosed', attempt })
  // No session comes any more: the next attempt has its answer at once.
  await device.take(signUp('Laptop'))
  deepStrictEqual(device.wants('settleCommand'), { kind: 'settleCommand', id: 1, outcome })
  strictEqual(device.state.account.kind, 'none')
})

Deno.test('DEV-7: a timer whose step could not be stored fires again', async () => {
  const device = new Device()
  for (const timer of ['wake', 'retry'] as const) {
    const failure = machine.storeFailed({ kind: 'timerFired', timer })
    ok(failure !== null)
    await device.take(failure)
    deepStrictEqual(device.wants('armTimer'), {
      kind: 'armTimer',
      timer,
      atMs: nowMs + LIMITS.redialDelayMsMin,
    })
  }
  const failure = machine.storeFailed({ kind: 'started' })
  ok(failure !== null)
  await device.take(failure)
  strictEqual(device.wants('armTimer'), null)
  strictEqual(machine.storeFailed(failure), null)
})
