/**
 * People with the real SDK in a simulated world: hub, network and clock are the test's. Owns the
 * timers of the SDK and what a test keeps of a person to look for it in a capsule.
 */
import type { Crypto } from '#core/crypto/crypto.ts'
import { createMemoryDeviceStore, type DeviceStore } from '#core/device/store.ts'
import type { Dialer } from '#core/device/transport.ts'
import { type Kalandra, openKalandra } from '#sdk'
import { FAULTS, planOf } from '../sim/plan.ts'
import { World } from '../sim/world.ts'

/** Time in which what is on its way goes on. */
export const ARRIVAL_MS = 10

export interface WorldPerson {
  readonly name: string
  readonly sdk: Kalandra
  readonly store: DeviceStore
  readonly faults: readonly unknown[]
  /** Timers whose time has come. */
  passTime(): void
}

export interface PersonChoices {
  /** Of a life before; it stays open when its SDK is closed. */
  readonly store?: DeviceStore
  readonly dialer?: (dialer: Dialer) => Dialer
  /** Changes the crypto port, for faults that no outsider can cause. */
  readonly crypto?: (port: Crypto) => Crypto
}

/** Opens the SDK in the world; a new account unless a store is given. */
export async function openInWorld(
  world: World,
  name: string,
  choices: PersonChoices = {},
): Promise<WorldPerson> {
  const { store = createMemoryDeviceStore(), dialer = (way) => way } = choices
  const { entropy, clock } = world.handParts
  const timers = new Set<{ readonly atMs: number; readonly fire: () => void }>()
  const faults: unknown[] = []
  const sdk = await openKalandra({
    crypto: choices.crypto?.(world.handParts.crypto) ?? world.handParts.crypto,
    entropy,
    clock,
    store: { ...store, close: () => Promise.resolve() },
    dialer: dialer(world.network.dialer(name)),
    timers: {
      after(delayMs, fire) {
        const timer = { atMs: clock.nowMs() + delayMs, fire }
        timers.add(timer)
        return () => timers.delete(timer)
      },
    },
    endpoint: 'http://hub.example',
    appVersion: 1,
    faulted: (error) => faults.push(error),
  })
  return {
    name,
    sdk,
    store,
    faults,
    passTime() {
      for (const timer of [...timers]) {
        if (timer.atMs > clock.nowMs() || !timers.delete(timer)) continue
        timer.fire()
      }
    },
  }
}

/** In which nothing goes wrong by itself; on the real primitives. */
export function calmWorld(seed: number): World {
  return new World(planOf({ seed, suite: 'real', without: Object.keys(FAULTS) }))
}

/** Time goes on in steps, and everything arrives at once. */
export async function rest(
  world: World,
  people: readonly WorldPerson[],
  ms: number,
  stepMs = 500,
): Promise<void> {
  for (let passed = 0; passed < ms; passed += stepMs) {
    await world.tick(stepMs)
    for (const person of people) person.passTime()
    while (world.isBusy) await world.tick(ARRIVAL_MS)
  }
}

/** What a command came to, once everything that it needs has arrived. */
export async function told<T>(
  world: World,
  people: readonly WorldPerson[],
  asked: Promise<T>,
): Promise<T> {
  let isDone = false
  const done = asked.finally(() => isDone = true)
  done.catch(() => null)
  for (let turns = 0; turns < 40 && !isDone; turns++) await rest(world, people, 500)
  return await done
}

/** Time in which a commit becomes final. */
export const FINAL_MS = 4_000

/** People with an account each, and the name of a live room of the first of them. */
export async function gathered(
  world: World,
  people: readonly [WorldPerson, ...WorldPerson[]],
): Promise<string> {
  await signUp(world, people)
  return await roomOf(world, people, 'Larks')
}

/** An account for each. */
export async function signUp(world: World, people: readonly WorldPerson[]): Promise<void> {
  for (const { name, sdk } of people) {
    await told(world, people, sdk.signUp({ name, deviceName: 'phone' }))
  }
}

/** A live room of the first of these people. */
export async function roomOf(
  world: World,
  people: readonly [WorldPerson, ...WorldPerson[]],
  title: string,
): Promise<string> {
  const [host] = people
  const room = await told(world, people, host.sdk.createRoom({ title }))
  await rest(world, people, FINAL_MS)
  return room
}
