/** Tests of the driver: decide, store, act, one input at a time. */
import { deepStrictEqual, strictEqual } from 'node:assert/strict'
import { createDriver, type Machine } from '#core/base/driver.ts'
import type { TimeMs } from '#core/base/ids.ts'

type Input = { readonly kind: 'added'; readonly value: number } | { readonly kind: 'failed' }
const machine: Machine<number, Input, number, string> = {
  step(state, input) {
    if (input.kind === 'failed') return Promise.resolve({ state, changes: [], effects: ['failed'] })
    const next = state + input.value
    if (input.value < 0) return Promise.reject(new Error('a negative value'))
    return Promise.resolve({ state: next, changes: [next], effects: [`act ${next}`] })
  },
  storeFailed: (input) => input.kind === 'failed' ? null : { kind: 'failed' },
}

function run(options: { failing?: ReadonlySet<number>; queuedInputsMax?: number } = {}) {
  const trace: string[] = []
  const driver = createDriver({
    machine,
    initial: 0,
    queuedInputsMax: options.queuedInputsMax ?? 100,
    host: {
      clock: { nowMs: () => 0 as TimeMs },
      store(changes) {
        if (changes.some((change) => options.failing?.has(change))) {
          return Promise.reject(new Error('full'))
        }
        trace.push(`store ${changes.join()}`)
        return Promise.resolve()
      },
      run: (effect) => trace.push(effect),
      faulted: () => trace.push('faulted'),
    },
  })
  return { trace, driver }
}

Deno.test('DEV-1: effects run after their changes are stored, input after input', async () => {
  const { trace, driver } = run()
  driver.post({ kind: 'added', value: 1 })
  driver.post({ kind: 'added', value: 2 })
  await driver.settled()
  deepStrictEqual(trace, ['store 1', 'act 1', 'store 3', 'act 3'])
  strictEqual(driver.state, 3)
})

Deno.test('DEV-1, DEV-7: a step that was not stored did not happen', async () => {
  const { trace, driver } = run({ failing: new Set([3]) })
  driver.post({ kind: 'added', value: 1 })
  driver.post({ kind: 'added', value: 2 })
  driver.post({ kind: 'added', value: 5 })
  await driver.settled()
  deepStrictEqual(trace, ['store 1', 'act 1', 'failed', 'store 6', 'act 6'])
  strictEqual(driver.state, 6)
})

Deno.test('DEV-1: a fault keeps the state before it, and the next input is taken', async () => {
  const { trace, driver } = run()
  driver.post({ kind: 'added', value: -1 })
  driver.post({ kind: 'added', value: 4 })
  await driver.settled()
  deepStrictEqual(trace, ['faulted', 'store 4', 'act 4'])
})

Deno.test('DEV-6: what the machine waits for is taken behind a full queue', async () => {
  const { driver } = run({ queuedInputsMax: 2 })
  for (const value of [1, 2, 3, 4]) driver.post({ kind: 'added', value })
  driver.deliver({ kind: 'added', value: 10 })
  await driver.settled()
  strictEqual(driver.state, 16)
})

Deno.test('DEV-6: the queue of inputs is bounded', () => {
  const { driver } = run({ queuedInputsMax: 2 })
  const taken = [1, 2, 3, 4].map((value) => driver.post({ kind: 'added', value }))
  // The first is being taken, two more wait.
  deepStrictEqual(taken, [true, true, true, false])
})
