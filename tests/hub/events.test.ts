/** The catalogue of events: what is counted, what is a line, and that nothing else can be said. */
import { deepStrictEqual, strictEqual } from 'node:assert/strict'
import type { TimeMs } from '#core/base/ids.ts'
import { createEvents, type HubEvent } from '#hub/events.ts'
import type { HubMemory } from '#hub/gateway/memory.ts'
import { createHubWorld } from '../support/hub-world.ts'

const clock = { nowMs: () => 5 as TimeMs }

function collect() {
  const lines: string[] = []
  const events = createEvents(clock, (line) => void lines.push(line))
  return { events, read: () => lines.splice(0).map((line) => JSON.parse(line)) }
}

Deno.test('HUB-7: what a device can cause is counted, and the counts are one line', () => {
  const { events, read } = collect()
  events.report({ kind: 'sessionOpened', transport: 'webSocket' })
  for (let i = 0; i < 3; i++) events.report({ kind: 'requestDenied', code: 'replayed' })
  events.report({ kind: 'requestDenied', code: 'malformed' })
  events.report({ kind: 'sessionEnded', transport: 'webSocket', reason: 'silence' })
  for (const durationMs of [2, 9, 4]) {
    events.report({ kind: 'turnStored', rooms: 2, entries: 10, durationMs })
  }
  deepStrictEqual(read(), [])
  events.writeCounts()
  deepStrictEqual(read(), [{
    time: 5,
    kind: 'counted',
    sessionOpened: { webSocket: 1 },
    requestDenied: { replayed: 3, malformed: 1 },
    sessionEnded: { 'webSocket.silence': 1 },
    turnStored: { turns: 3, rooms: 6, entries: 30, durationMsMax: 9 },
  }])
  events.writeCounts()
  deepStrictEqual(read(), [])
})

Deno.test('HUB-7: what is rare is a line at once, with labels of its row only', () => {
  const { events, read } = collect()
  const smuggled = { kind: 'storeFailed', account: 'alice@hub.example' } as unknown as HubEvent
  events.report(smuggled)
  events.report({ kind: 'certificateReplaced', origin: 'made' })
  deepStrictEqual(read(), [
    { time: 5, kind: 'storeFailed' },
    { time: 5, kind: 'certificateReplaced', origin: 'made' },
  ])
})

Deno.test('HUB-7: of the memory is said what has changed since the last line', () => {
  const { events, read } = collect()
  const empty = createHubWorld().gateway.memory()
  const tell = (memory: HubMemory) => {
    events.report({ kind: 'memoryHeld', memory })
    events.writeCounts()
    return read().map(({ memoryHeld }) => memoryHeld)
  }
  deepStrictEqual(tell(empty), [{ ...empty }])
  deepStrictEqual(tell({ ...empty, sessions: 2 }), [{ sessions: 2 }])
  const smuggled = { ...empty, sessions: 2, account: 'alice@hub.example' }
  deepStrictEqual(tell(smuggled), [])
  deepStrictEqual(tell({ ...empty, rooms: 1 }), [{ sessions: 0, rooms: 1 }])
})

Deno.test('HUB-7: what is not in the catalogue is not written', () => {
  const { events, read } = collect()
  events.report({ kind: 'somethingElse', text: 'x' } as unknown as HubEvent)
  events.report({ kind: 'constructor' } as unknown as HubEvent)
  events.writeCounts()
  strictEqual(read().length, 0)
})
