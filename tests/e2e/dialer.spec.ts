/** The dialer in a real dedicated worker, against the hub's own transports and a bad network. */
import type { Page } from '@playwright/test'
import type { DialerEvent } from './pages/dialer.worker.ts'
import { type HubProcess, startEchoHub } from './support/hub.ts'
import { call, expect, test as base } from './support/parts.ts'
import { type Relay, startRelay } from './support/relay.ts'

/** What the echo hub does with an opcode. */
const CONTROL = 1
const SHARED_STREAM = 2
const DATAGRAM = 3
const CLOSE = 4

const test = base.extend<{ network: Relay; dial: () => Promise<Page> }, { echoHub: HubProcess }>({
  echoHub: [async ({ browserName: _ }, use) => {
    const hub = await startEchoHub()
    await use(hub)
    await hub.close()
  }, { scope: 'worker' }],
  network: async ({ echoHub }, use) => {
    const relay = await startRelay({ hubPort: echoHub.port })
    await use(relay)
    await relay.close()
  },
  hubOrigin: async ({ network }, use) => use(`http://localhost:${network.port}`),
  dial: async ({ openTab, hubOrigin }, use) => {
    await use(async () => {
      const page = await openTab()
      await call(page, 'dialHub', String(hubOrigin))
      return page
    })
  },
})

const heard = (page: Page): Promise<readonly DialerEvent[]> => call(page, 'hearHub')

async function numbers(page: Page): Promise<readonly number[]> {
  return (await heard(page)).flatMap((event) => event.kind === 'frames' ? event.numbers : [])
}

async function transport(page: Page): Promise<string | null> {
  const opened = (await heard(page)).find((event) => event.kind === 'opened')
  return opened?.transport ?? null
}

async function openedAfterMs(page: Page): Promise<number> {
  return (await heard(page)).find((event) => event.kind === 'opened')?.afterMs ?? Infinity
}

async function closings(page: Page): Promise<number> {
  return (await heard(page)).filter((event) => event.kind === 'closed').length
}

const range = (count: number) => Array.from({ length: count }, (_, index) => index + 1)

test('WIRE-2: frames come back in order by every way of WebTransport', async ({ dial }) => {
  const page = await dial()
  await expect.poll(() => transport(page)).toBe('webTransport')
  await call(page, 'sayToHub', { kind: 'send', opcode: CONTROL, count: 100, size: 300 })
  await expect.poll(() => numbers(page)).toEqual(range(100))
  await call(page, 'sayToHub', { kind: 'send', opcode: SHARED_STREAM, count: 50, size: 20_000 })
  await expect.poll(() => numbers(page)).toEqual([...range(100), ...range(50)])
  await expect.poll(async () => {
    await call(page, 'sayToHub', { kind: 'sendDatagram', opcode: DATAGRAM, count: 3, size: 100 })
    return (await numbers(page)).length
  }).toBeGreaterThan(150)
  expect(await closings(page)).toBe(0)
})

test('blocked UDP costs a second, once', async ({ dial, network, hubOrigin }) => {
  network.blockUdp()
  const page = await dial()
  await expect.poll(() => transport(page)).toBe('webSocket')
  expect(await openedAfterMs(page)).toBeLessThan(2_000)
  await call(page, 'sayToHub', { kind: 'send', opcode: CONTROL, count: 10, size: 300 })
  await call(page, 'sayToHub', { kind: 'sendDatagram', opcode: DATAGRAM, count: 10, size: 300 })
  await expect.poll(() => numbers(page)).toEqual([...range(10), ...range(10)])
  await call(page, 'sayToHub', { kind: 'close' })
  await expect.poll(() => closings(page)).toBe(1)

  await call(page, 'dialHub', String(hubOrigin))
  await expect.poll(() => transport(page)).toBe('webSocket')
  expect(await openedAfterMs(page)).toBeLessThan(700)
})

test('the end of a session is heard once', async ({ dial, network, hubOrigin }) => {
  const page = await dial()
  await expect.poll(() => transport(page)).toBe('webTransport')
  await call(page, 'sayToHub', { kind: 'send', opcode: CLOSE, count: 1, size: 1 })
  await expect.poll(() => closings(page)).toBe(1)
  network.blockUdp()
  await call(page, 'dialHub', String(hubOrigin))
  await expect.poll(() => transport(page)).toBe('webSocket')
  await call(page, 'sayToHub', { kind: 'send', opcode: CLOSE, count: 1, size: 1 })
  await expect.poll(() => closings(page)).toBe(1)
})

test('a cut network fails the dial, a healed one not', async ({ dial, network, hubOrigin }) => {
  await network.cut()
  const page = await dial()
  await expect.poll(() => closings(page)).toBe(1)
  expect(await transport(page)).toBe(null)
  await network.heal()
  await call(page, 'dialHub', String(hubOrigin))
  await expect.poll(() => transport(page)).toBe('webTransport')
})

test('DEV-6: a queue that does not drain ends the session', async ({ dial, network }) => {
  const page = await dial()
  await expect.poll(() => transport(page)).toBe('webTransport')
  network.swallow()
  await expect.poll(async () => {
    await call(page, 'sayToHub', { kind: 'send', opcode: CONTROL, count: 4, size: 1_000_000 })
    return await closings(page)
  }).toBe(1)
  await call(page, 'sayToHub', { kind: 'send', opcode: CONTROL, count: 1, size: 1 })
  expect(await closings(page)).toBe(1)
})
