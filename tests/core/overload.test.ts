/** A device whose session delivers faster than it is taken. */
import { strictEqual } from 'node:assert/strict'
import { LIMITS } from '#core/base/limits.ts'
import type { TimeMs } from '#core/base/ids.ts'
import type { Timers } from '#sdk'
import { createNobleCrypto } from '#core/crypto/noble.ts'
import { createMemoryDeviceStore } from '#core/device/store.ts'
import type { Dialer, SessionListener } from '#core/device/transport.ts'
import { openKalandra } from '#sdk'

/** Timers that fire when they are told to. */
class HandTimers implements Timers {
  readonly #waiting = new Set<() => void>()

  after(_delayMs: number, fire: () => void): () => void {
    const timer = () => fire()
    this.#waiting.add(timer)
    return () => void this.#waiting.delete(timer)
  }

  fireAll(): void {
    const due = [...this.#waiting]
    this.#waiting.clear()
    for (const timer of due) timer()
  }
}

Deno.test('DEV-6: a session that was given up for its speed is followed by another', async () => {
  const listeners: SessionListener[] = []
  const dialer: Dialer = {
    dial: (_endpoint, listener) => {
      listeners.push(listener)
      return { abort: () => listener.closed() }
    },
  }
  const timers = new HandTimers()
  const faults: unknown[] = []
  const sdk = await openKalandra({
    crypto: createNobleCrypto(),
    entropy: { randomBytes: (length) => new Uint8Array(length) },
    clock: { nowMs: () => 0 as TimeMs },
    appVersion: 1,
    store: createMemoryDeviceStore(),
    dialer,
    timers,
    endpoint: 'http://hub.example',
    faulted: (error) => faults.push(error),
  })
  const settled = () => new Promise((resolve) => setTimeout(resolve))
  await settled()
  const [first] = listeners
  for (let count = 0; count <= LIMITS.queuedInputsMax + 1; count++) first?.framesReceived([])
  await settled()
  strictEqual(listeners.length, 1)
  timers.fireAll()
  await settled()
  strictEqual(listeners.length, 2, 'the device dials again')
  strictEqual(faults.length, 0)
  await sdk.close()
})
