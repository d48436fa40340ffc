/**
 * Where the device worlds begin: a room of Mallory, Ann and Ben that came about with the real
 * gateway and real device machines, taken out of them when all was quiet. Owns that beginning.
 */
import { ok } from 'node:assert/strict'
import type { HubDomain, RoomId, Term, TimeMs } from '#core/base/ids.ts'
import type { Crypto } from '#core/crypto/crypto.ts'
import type { Command } from '#core/device/io.ts'
import type { DeviceState } from '#core/device/state.ts'
import { createGateway } from '#hub/gateway/gateway.ts'
import { readEpochs } from '#hub/gateway/load-group.ts'
import type { HubIdentity } from '#hub/gateway/model.ts'
import type { RoomLog, StoredEntry } from '#hub/ports.ts'
import type { StoredAnchor, StoredVersion } from '#hub/ports.ts'
import { decodeState, restoreRoom, type SequencedRoom } from '#hub/sequencer/room-state.ts'
import { createPrng } from '../core/prng.ts'
import { createFastCrypto } from '../support/fast-crypto.ts'
import { createMemoryHubPorts, type MemoryHubPorts } from '../support/memory-hub-ports.ts'
import { SimDevice } from '../support/sim-device.ts'
import { createSlowLinks, type SlowLinks } from '../support/slow-links.ts'

export const crypto = createFastCrypto()
const DOMAIN = 'hub.example' as HubDomain
export const HOME = 'http://hub.example'
export const BEGIN_MS = 1_800_000_000_000 as TimeMs
export const NAMES = ['mallory', 'ann', 'ben', 'dan'] as const
/** He is not in the room, but Ann has made a link for him. */
export const DAN = 3

const pair = crypto.signatureKeyPair('ed25519', new Uint8Array(32).fill(5))
export const IDENTITY: HubIdentity = { domain: DOMAIN, ...pair, appVersion: 1, features: [] }

/** Which path secrets of the commit under way open for nobody; or none of others open for her. */
export type Lie = 'first' | 'last' | 'none' | 'deaf'

/** The port of a member that lies while `lie` is set. */
export interface LyingCrypto {
  readonly port: Crypto
  lie: Lie | null
  /** Path secrets that were sealed since it was set. */
  count: number
}

function createLyingCrypto(): LyingCrypto {
  const lying: LyingCrypto = {
    port: {
      ...crypto,
      async encapsulate(kem, publicKey, randomness) {
        const made = await crypto.encapsulate(kem, publicKey, randomness)
        const isFirst = lying.count++ === 0
        const isSpoilt = lying.lie === 'none' || (lying.lie === 'first' && isFirst) ||
          (lying.lie === 'last' && !isFirst)
        if (made === null || !isSpoilt) return made
        return { ...made, sharedSecret: flipped(made.sharedSecret) }
      },
      async decapsulate(kem, secretKey, enc) {
        const shared = await crypto.decapsulate(kem, secretKey, enc)
        return lying.lie === 'deaf' && shared !== null ? flipped(shared) : shared
      },
    },
    lie: null,
    count: 0,
  }
  return lying
}

const flipped = (bytes: Uint8Array): Uint8Array => bytes.map((byte) => byte ^ 1)

/** Mallory's. */
export const LYING = createLyingCrypto()

export const portOf = (seat: number): Crypto => seat === 0 ? LYING.port : crypto

/** What a hub stores of a room besides its log, in the order in which it came. */
export type Kept =
  | { readonly kind: 'version'; readonly version: StoredVersion }
  | { readonly kind: 'anchor'; readonly anchor: StoredAnchor }

export interface Beginning {
  readonly room: RoomId
  readonly key: string
  readonly sequenced: SequencedRoom
  readonly entries: readonly StoredEntry[]
  readonly kept: readonly Kept[]
  /** By seat. */
  readonly devices: readonly DeviceState[]
  /** The link that Ann has made. */
  readonly link: string
  readonly nowMs: TimeMs
}

interface Stage {
  readonly links: SlowLinks
  readonly devices: readonly SimDevice[]
  readonly stores: MemoryHubPorts
  readonly kept: readonly Kept[]
}

let beginning: Promise<Beginning> | null = null

/** The same for all worlds. */
export function beginRoom(): Promise<Beginning> {
  beginning ??= makeRoom()
  return beginning
}

async function makeRoom(): Promise<Beginning> {
  const stage = await openStage()
  const { devices } = stage
  const [mallory] = devices as [SimDevice, ...SimDevice[]]
  for (const [seat, name] of NAMES.entries()) {
    await told(stage, devices[seat] as SimDevice, { kind: 'signUp', name, deviceName: 'one' })
  }
  const key = await told(stage, mallory, { kind: 'createRoom', title: 'Small' })
  ok(key !== null)
  for (const name of NAMES.slice(1, DAN)) {
    const account = `${name}@${DOMAIN}`
    await told(stage, mallory, { kind: 'addMember', room: key, account })
  }
  const ann = devices[1] as SimDevice
  const link = await told(stage, ann, { kind: 'invite', room: key, limits: null })
  ok(link !== null)
  const states = devices.map(({ state }) => state)
  for (const { state, faults } of devices.slice(0, DAN)) {
    const room = state.rooms.get(key)
    ok(faults.length === 0 && room?.record.phase === 'live' && room.chain.length === 0)
  }
  const room = devices[0]?.room(key)?.id
  ok(room !== undefined)
  const read = await readRoom(stage.stores, room)
  return { ...read, kept: stage.kept, room, key, link, devices: states, nowMs: BEGIN_MS }
}

async function openStage(): Promise<Stage> {
  const clock = { nowMs: () => BEGIN_MS }
  const prng = createPrng(3)
  const entropy = { randomBytes: (length: number) => prng.bytes(length) }
  const stores = createMemoryHubPorts({ clock })
  const faults: unknown[] = []
  const kept: Kept[] = []
  const gateway = createGateway({
    crypto,
    clock,
    entropy,
    log: noting(stores.log, kept),
    directory: stores.directory,
    identity: IDENTITY,
    effects: { observe: () => {}, faulted: (error) => void faults.push(error) },
  })
  const links = createSlowLinks(prng)
  const devices: SimDevice[] = []
  for (const [seat, name] of NAMES.entries()) {
    const dialer = links.dialer(name, () => gateway)
    const ports = { crypto: portOf(seat), entropy, appVersion: 1, clock, dialer }
    devices.push(await SimDevice.open(name, ports, HOME))
  }
  return { links, devices, stores, kept }
}

/** Notes what is stored beside the log. */
function noting(log: RoomLog, kept: Kept[]): RoomLog {
  return {
    ...log,
    append(batch) {
      const versions = batch.flatMap(({ effects }) => effects?.finals ?? [])
      kept.push(...versions.map((version) => ({ kind: 'version', version }) as const))
      return log.append(batch)
    },
    leaveAnchor(room, anchor) {
      kept.push({ kind: 'anchor', anchor })
      return log.leaveAnchor(room, anchor)
    },
  }
}

/** Gives a command, and lets everything arrive that follows from it. */
async function told(stage: Stage, device: SimDevice, command: Command): Promise<string | null> {
  const answered = device.command(command)
  // Nothing here waits for more than promises, which end before the next task.
  const calm = () => new Promise((resolve) => setTimeout(resolve))
  await calm()
  while (stage.links.step()) await calm()
  const outcome = await answered
  ok(outcome.kind === 'done', JSON.stringify(outcome))
  return outcome.value
}

async function readRoom(
  { log }: MemoryHubPorts,
  room: RoomId,
): Promise<Pick<Beginning, 'sequenced' | 'entries'>> {
  const stored = await log.readRoom(room)
  const state = stored === null ? null : decodeState(stored.state)
  ok(stored !== null && state !== null)
  const epochs = await readEpochs(crypto, log, { room, state })
  const range = { from: 0n as StoredEntry['position'], limit: 1_000, bytesMax: 1 << 24 }
  const entries = await log.read(room, range)
  const time = Number(entries.at(-1)?.entry.header.time) as TimeMs
  ok(epochs !== null)
  const sequenced = restoreRoom(room, 1n as Term, { ...stored, epochs, state, time })
  return { sequenced, entries }
}
