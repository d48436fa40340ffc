/**
 * People for tests on Deno: the real SDK, engine and dialer against a real hub process. Owns
 * waiting for a view (by subscription, with a deadline that only a failure meets) and what a person
 * does.
 */
import { fail } from 'node:assert/strict'
import { createDialer } from '#browser/webtransport-dialer.ts'
import type { TimeMs } from '#core/base/ids.ts'
import { createMemoryDeviceStore, type DeviceStore } from '#core/device/store.ts'
import type { Dialer } from '#core/device/transport.ts'
import { createNobleCrypto } from '#core/crypto/noble.ts'
import type { Crypto } from '#core/crypto/crypto.ts'
import { createWebCrypto } from '#native/webcrypto.ts'
import { type AppView, type Kalandra, openKalandra, type RoomView } from '#sdk'

const DEADLINE_MS = 20_000
const native = await createWebCrypto(crypto.subtle, createNobleCrypto())

export interface PersonOptions {
  readonly endpoint: string
  readonly store?: DeviceStore
  readonly dialer?: Dialer
  /** Changes the crypto port, for faults that no outsider can cause. */
  readonly crypto?: (port: Crypto) => Crypto
}

/** An account on one device, and its store, which survives `restart`. */
export interface Person {
  readonly sdk: Kalandra
  readonly store: DeviceStore
  readonly faults: readonly unknown[]
}

/** A store that is not closed with its SDK, so that the device can be opened again. */
function surviving(store: DeviceStore): DeviceStore {
  return {
    apply: (changes, durability) => store.apply(changes, durability),
    read: (table, key) => store.read(table, key),
    readRange: (table, range) => store.readRange(table, range),
    close: () => Promise.resolve(),
  }
}

export async function openPerson(options: PersonOptions): Promise<Person> {
  const store = options.store ?? surviving(createMemoryDeviceStore())
  const faults: unknown[] = []
  const sdk = await openKalandra({
    crypto: options.crypto?.(native) ?? native,
    entropy: { randomBytes: (length) => crypto.getRandomValues(new Uint8Array(length)) },
    clock: { nowMs: () => Date.now() as TimeMs },
    store,
    dialer: options.dialer ?? createDialer(),
    timers: {
      after(delayMs, callback) {
        const timer = setTimeout(callback, delayMs)
        return () => clearTimeout(timer)
      },
    },
    endpoint: options.endpoint,
    appVersion: 1,
    faulted: (error) => faults.push(error),
  })
  return { sdk, store, faults }
}

/** Resolves with the first value that `wanted` accepts. */
function first<T>(
  watch: (listener: (value: T) => void) => () => void,
  wanted: (value: T) => boolean,
  what: string,
): Promise<T> {
  return new Promise((resolve, reject) => {
    let last: T | undefined
    let stop = () => {}
    const deadline = setTimeout(() => {
      stop()
      try {
        fail(`${what} did not come; last seen: ${JSON.stringify(last)}`)
      } catch (error) {
        reject(error)
      }
    }, DEADLINE_MS)
    stop = watch((value) => {
      last = value
      if (!wanted(value)) return
      clearTimeout(deadline)
      // The first view may come while `watch` still runs.
      Promise.resolve().then(() => stop())
      resolve(value)
    })
  })
}

export function appShows(
  person: Person,
  wanted: (view: AppView) => boolean,
  what = 'the view',
): Promise<AppView> {
  return first((listener) => person.sdk.subscribe(listener), wanted, what)
}

export function roomShows(
  person: Person,
  room: string,
  wanted: (view: RoomView) => boolean,
  what = 'the room',
): Promise<RoomView> {
  const watch = (listener: (view: RoomView) => void) =>
    person.sdk.watchRoom(room, { limit: 200 }, listener)
  return first(watch, wanted, what)
}

export function texts(view: RoomView): readonly string[] {
  return view.items.flatMap((item) => item.kind === 'message' ? [item.text] : [])
}

export function sees(person: Person, room: string, text: string): Promise<RoomView> {
  return roomShows(person, room, (view) => texts(view).includes(text), `"${text}"`)
}

/** The text stands in the room's log, as this person sees it. */
export function sent(person: Person, room: string, text: string): Promise<RoomView> {
  const isSent = (view: RoomView) =>
    view.items.some((item) =>
      item.kind === 'message' && item.text === text && item.position !== null
    )
  return roomShows(person, room, isSent, `"${text}" in the log`)
}

let nextId = 1
export function say(person: Person, room: string, text: string): Promise<void> {
  return person.sdk.sendMessage({ room, text, id: `m${nextId++}` })
}

export async function signUp(person: Person, name: string): Promise<void> {
  await person.sdk.signUp({ name, deviceName: 'Test device' })
  await appShows(person, (view) => view.connection.kind === 'connected', 'a connection')
}
