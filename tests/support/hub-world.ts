/**
 * A gateway in memory: its own clock, seeded entropy, stores that a test may hold back or break,
 * and a dialer. Nothing in it waits for time; a test moves the clock and calls `tick`.
 */
import { ok } from 'node:assert/strict'
import type { HubDomain, TimeMs } from '#core/base/ids.ts'
import type { Entropy } from '#core/base/ports.ts'
import type { Crypto } from '#core/crypto/crypto.ts'
import { createNobleCrypto } from '#core/crypto/noble.ts'
import type { Dialer } from '#core/device/transport.ts'
import { attachAttestation, makeAttestation } from '#core/identity/certificate.ts'
import { verifyCertificate } from '#core/identity/certificate.ts'
import { createGateway, type Gateway } from '#hub/gateway/gateway.ts'
import type { GatewayEvent, GatewayPorts } from '#hub/gateway/model.ts'
import type { HubSession, HubSessionListener, Lane, RoomLog } from '#hub/ports.ts'
import { createPrng } from '../core/prng.ts'
import { HandDevice, type HandIdentity, type HandParts, makeIdentity } from './hand-device.ts'
import { createMemoryHubPorts, type MemoryHubPorts } from './memory-hub-ports.ts'

const crypto = createNobleCrypto()
const identities = new Map<string, Promise<HandIdentity>>()
export const DOMAIN = 'hub.example' as HubDomain

/** Holds appends back, or makes them fail. */
export interface LogControl {
  appends: number
  /** Appends wait for this; null: they do not. */
  hold: Promise<void> | null
  failing: boolean
}

export interface HubWorld {
  readonly parts: HandParts
  readonly clock: { nowMs(): TimeMs; advance(ms: number): void }
  readonly events: GatewayEvent[]
  readonly faults: unknown[]
  readonly log: LogControl
  /** What the hub has stored, also beside its control. */
  readonly stored: RoomLog
  /** ML-DSA-65 signatures that the hub has checked. */
  readonly checks: { mldsa65: number }
  gateway: Gateway
  /** A gateway over the same stores, as after a restart. */
  restart(): void
  /** Everything that can go on without time or a held store has gone on. */
  settled(): Promise<void>
  dialer(options?: MemoryDialerOptions): Dialer
  /** Attests a certificate and puts it into the directory, in place of one before it. */
  enrol(certificate: Uint8Array): Promise<Uint8Array>
  /** A registered device with an open session. */
  device(name: string): Promise<HandDevice>
}

export interface MemoryDialerOptions {
  /** Datagrams exist. */
  readonly datagrams?: boolean
  /** Called with each write before it is taken; the write waits for the result. */
  stall?(lane: Lane): Promise<void> | undefined
}

/** `given`: stores in place of those in memory. */
export function createHubWorld(seed = 1, given: MemoryHubPorts | null = null): HubWorld {
  const prng = createPrng(seed)
  const entropy: Entropy = { randomBytes: (length) => prng.bytes(length) }
  let now = Date.now()
  const clock = {
    nowMs: () => now as TimeMs,
    advance: (ms: number) => {
      now += ms
    },
  }
  const stores = given ?? createMemoryHubPorts({ clock })
  const log: LogControl = { appends: 0, hold: null, failing: false }
  const pair = crypto.signatureKeyPair('ed25519', entropy.randomBytes(32))
  const events: GatewayEvent[] = []
  const faults: unknown[] = []
  const checks = { mldsa65: 0 }
  const ports: GatewayPorts = {
    crypto: counted(checks),
    clock,
    entropy,
    log: controlled(stores.log, log),
    directory: stores.directory,
    identity: { domain: DOMAIN, ...pair, appVersion: 1, features: [] },
    effects: {
      observe: (event) => void events.push(event),
      faulted: (error) => void faults.push(error),
      checkFaulted: (error) => void faults.push(error),
    },
  }
  const parts = { crypto, clock, entropy, domain: DOMAIN }
  const world: HubWorld = {
    parts,
    clock,
    events,
    faults,
    log,
    stored: stores.log,
    checks,
    gateway: createGateway(ports),
    restart() {
      world.gateway = createGateway(ports)
    },
    // Nothing in this world waits for more than promises, which end before the next task.
    settled: () => new Promise((resolve) => setTimeout(resolve)),
    dialer: (options = {}) => createMemoryDialer(() => world.gateway, options),
    async enrol(certificate) {
      const verified = await verifyCertificate(crypto, certificate, { hubKey: null })
      ok(verified.kind === 'verified')
      const attester = { hubDomain: DOMAIN, key: pair, time: clock.nowMs() }
      const attestation = await makeAttestation(crypto, verified, attester)
      const attested = attachAttestation(certificate, attestation)
      ok(attested !== null)
      const { account, rootHash } = verified
      await stores.directory.register({ account, rootHash, certificate: attested })
      return attested
    },
    async device(name) {
      const device = new HandDevice(parts, await identityOf(parts, name))
      await device.connect(world.dialer())
      return device
    },
  }
  return world
}

/** Making an account costs two ML-DSA operations, so each name is made once for all tests. */
async function identityOf(parts: HandParts, name: string): Promise<HandIdentity> {
  let made = identities.get(name)
  if (made === undefined) {
    made = makeIdentity(parts, name)
    identities.set(name, made)
  }
  return { ...await made }
}

function counted(checks: HubWorld['checks']): Crypto {
  return {
    ...crypto,
    verify(signature, signed) {
      if (signature === 'mldsa65') checks.mldsa65++
      return crypto.verify(signature, signed)
    },
  }
}

function controlled(log: RoomLog, control: LogControl): RoomLog {
  return {
    ...log,
    async append(batch) {
      control.appends++
      if (control.hold !== null) await control.hold
      if (control.failing) throw new Error('the store failed')
      return await log.append(batch)
    },
  }
}

/** Sessions with the gateway of the moment, on which everything arrives at once. */
export function createMemoryDialer(
  gateway: () => Gateway,
  options: MemoryDialerOptions = {},
): Dialer {
  const { datagrams = false, stall } = options
  return {
    dial(_endpoint, listener) {
      let hub: HubSessionListener | null = null
      let ended = false
      const end = () => {
        if (ended) return
        ended = true
        hub?.closed()
        listener.closed()
      }
      const session: HubSession = {
        transport: 'memory',
        async write(lane, frames) {
          await stall?.(lane)
          if (ended) throw new Error('the session is gone')
          listener.framesReceived(frames.map((frame) => frame.slice()))
        },
        writeDatagram(frame) {
          if (datagrams && !ended) listener.framesReceived([frame.slice()])
          return datagrams
        },
        close: end,
      }
      hub = gateway().accept(session)
      if (hub === null) {
        listener.closed()
        return { abort: () => {} }
      }
      const send = (frame: Uint8Array) => {
        ok(!ended, 'the session is open')
        void hub?.framesReceived([frame.slice()])
      }
      listener.opened({ kind: 'memory', send, sendDatagram: send, close: end })
      return { abort: end }
    },
  }
}
