/**
 * Where the device worlds begin: a room of Mallory, Ann and Ben that came about with the gateway
 * and the SDK, read from their stores when all was quiet. Owns that beginning.
 */
import { ok } from 'node:assert/strict'
import type { HubDomain, RoomId, Term, TimeMs } from '#core/base/ids.ts'
import type { Crypto } from '#core/crypto/crypto.ts'
import { loadDevice } from '#core/device/load.ts'
import { roomIdOfKey } from '#core/device/room.ts'
import type { DeviceState } from '#core/device/state.ts'
import { createMemoryDeviceStore, type DeviceStore } from '#core/device/store.ts'
import type { Dialer } from '#core/device/transport.ts'
import { createGateway } from '#hub/gateway/gateway.ts'
import { readEpochs } from '#hub/gateway/load-group.ts'
import type { HubIdentity } from '#hub/gateway/model.ts'
import type { RoomLog, StoredEntry } from '#hub/ports.ts'
import type { StoredAnchor, StoredVersion } from '#hub/ports.ts'
import { decodeState, restoreRoom, type SequencedRoom } from '#hub/sequencer/room-state.ts'
import { type Kalandra, openKalandra } from '#sdk'
import { type Shelf, shelfOf } from './device-shelf.ts'
import { createPrng } from '../core/prng.ts'
import { createFastCrypto } from '../support/fast-crypto.ts'
import { createMemoryDialer } from '../support/hub-world.ts'
import { createMemoryHubPorts } from '../support/memory-hub-ports.ts'

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
  readonly shelves: readonly Shelf[]
  /** The link that Ann has made. */
  readonly link: string
  readonly nowMs: TimeMs
}

let beginning: Promise<Beginning> | null = null

/** The same for all worlds. */
export function beginRoom(): Promise<Beginning> {
  beginning ??= makeRoom()
  return beginning
}

interface Person {
  readonly sdk: Kalandra
  readonly store: DeviceStore
}

async function makeRoom(): Promise<Beginning> {
  const stores = createMemoryHubPorts({ clock })
  const kept: Kept[] = []
  const gateway = createGateway({
    crypto,
    clock,
    entropy,
    log: noting(stores.log, kept),
    directory: stores.directory,
    identity: IDENTITY,
    effects: { observe: () => {}, faulted, checkFaulted: faulted },
  })
  const people: Person[] = []
  for (const [seat, name] of NAMES.entries()) {
    const person = await openPerson(soon(createMemoryDialer(() => gateway)), portOf(seat))
    people.push(person)
    await person.sdk.signUp({ name, deviceName: 'one' })
    await calm()
  }
  const [mallory, ann] = people as [Person, Person]
  const key = await mallory.sdk.createRoom({ title: 'Small' })
  await calm()
  for (const name of NAMES.slice(1, DAN)) {
    await mallory.sdk.addMember({ room: key, account: `${name}@${DOMAIN}` })
    await calm()
  }
  const link = await ann.sdk.invite({ room: key })
  await calm()
  const room = roomIdOfKey(key)
  ok(room !== null)
  const devices = await Promise.all(people.map(({ store }, seat) => {
    return loadDevice({ crypto: portOf(seat), entropy, appVersion: 1 }, store, HOME)
  }))
  const shelves = await Promise.all(people.map(({ store }) => shelfOf(store)))
  const read = await readRoom(stores.log, room)
  return { ...read, kept, room, key, link, devices, shelves, nowMs: BEGIN_MS }
}

const clock = { nowMs: () => BEGIN_MS }
const prng = createPrng(3)
const entropy = { randomBytes: (length: number) => prng.bytes(length) }

function faulted(error: unknown): void {
  throw error
}

/** Nothing in memory waits for more than promises, which end before the next task. */
function calm(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve))
}

/** A dialer that opens its sessions after it was asked to. */
function soon(dialer: Dialer): Dialer {
  return {
    dial(endpoint, listener) {
      const dialed = Promise.resolve().then(() => dialer.dial(endpoint, listener))
      return { abort: () => void dialed.then((each) => each.abort()) }
    },
  }
}

async function openPerson(dialer: Dialer, port: Crypto): Promise<Person> {
  const store = createMemoryDeviceStore()
  const sdk = await openKalandra({
    crypto: port,
    entropy,
    clock,
    store,
    dialer,
    // No time passes.
    timers: { after: () => () => {} },
    endpoint: HOME,
    appVersion: 1,
    faulted,
  })
  return { sdk, store }
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

async function readRoom(
  log: RoomLog,
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
