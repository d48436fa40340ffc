/** Offline, blocked UDP, a hub that restarts: made by the relay, never by the browser. */
import { expect, gather, test } from './support/app.ts'

test('DEV-4, DEV-5: what is written offline arrives once, in another tab', async ({ people }) => {
  const [alice, bob] = await people('alice', 'bob')
  await gather('Harvest', alice, bob)
  await alice.network.cut()
  await alice.says('Written in the tunnel')
  await alice.closesTab()
  await bob.says('Where are you?')
  await bob.sees('Where are you?', bob)

  await alice.opensTab()
  await alice.opensRoom('Harvest')
  await alice.isOffline()
  await alice.waits('Written in the tunnel')
  await alice.closesTab()

  await alice.network.heal()
  await alice.opensTab()
  await alice.opensRoom('Harvest')
  await alice.sees('Written in the tunnel', alice)
  await bob.sees('Written in the tunnel', alice)
  await bob.says('There you are')
  await alice.sees('There you are', bob)
  const texts = ['Where are you?', 'Written in the tunnel', 'There you are']
  expect(await bob.tab.texts()).toEqual(texts)
  expect(await alice.tab.texts()).toEqual(texts)
})

test('where UDP is blocked, it works over WebSocket', async ({ newcomer, people }) => {
  const [alice] = await people('alice')
  const bob = await newcomer('bob')
  bob.network.blockUdp()
  await bob.signsUp()
  await gather('Harvest', alice, bob)
  await bob.isConnected('webSocket')
  await alice.isConnected('webTransport')
  await alice.says('Over UDP')
  await bob.sees('Over UDP', alice)
  await bob.says('Over TCP')
  await alice.sees('Over TCP', bob)
})

test('SES-6: a hub that restarts says so, and loses nothing', async ({ people, hub }) => {
  const [alice, bob] = await people('alice', 'bob')
  await gather('Harvest', alice, bob)
  await alice.says('Before')
  await bob.sees('Before', alice)
  expect(await hub.stop()).toBe(0)
  await alice.isOffline()
  await alice.says('While it is away')
  await hub.start()
  await bob.sees('While it is away', alice)
  await bob.says('After')
  await alice.sees('After', bob)
  expect(await alice.tab.texts()).toEqual(['Before', 'While it is away', 'After'])
  expect(await bob.tab.texts()).toEqual(await alice.tab.texts())
})
