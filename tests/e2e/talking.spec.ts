/** People in a room: they talk, join by link, and keep what they have. */
import { expect, gather, test } from './support/app.ts'

test('two people talk', async ({ people }) => {
  const [alice, bob] = await people('alice', 'bob')
  await gather('Harvest', alice, bob)
  await alice.isConnected('webTransport')
  await bob.isConnected('webTransport')

  await alice.says('The wheat is in.')
  await bob.sees('The wheat is in.', alice)
  await bob.says('Then let us sing.')
  await alice.sees('Then let us sing.', bob)
  expect(await bob.tab.texts()).toEqual(['The wheat is in.', 'Then let us sing.'])
  expect(await alice.tab.texts()).toEqual(await bob.tab.texts())
})

test('a third joins by link and reads from there on', async ({ people, newcomer }) => {
  const [alice, bob] = await people('alice', 'bob')
  await gather('Harvest', alice, bob)
  await alice.says('Before Carol')
  await bob.sees('Before Carol', alice)

  const carol = await newcomer('carol')
  await carol.signsUpAndJoins(await alice.invites())
  await carol.tab.isInRoom('Harvest')
  await carol.tab.isMember()
  await bob.says('Welcome, Carol')
  await carol.sees('Welcome, Carol', bob)
  await carol.says('Thank you')
  await alice.sees('Thank you', carol)
  await bob.sees('Thank you', carol)
  expect(await carol.tab.texts()).toEqual(['Welcome, Carol', 'Thank you'])
})

test('a reload keeps everything', async ({ people }) => {
  const [alice, bob] = await people('alice', 'bob')
  await gather('Harvest', alice, bob)
  for (const text of ['One', 'Two', 'Three']) await alice.says(text)
  await bob.sees('Three', alice)

  await bob.tab.reloads()
  await bob.sees('One', alice)
  await alice.tab.reloads()
  await alice.sees('Three', alice)
  expect(await bob.tab.texts()).toEqual(['One', 'Two', 'Three'])
  expect(await alice.tab.texts()).toEqual(['One', 'Two', 'Three'])

  await bob.says('Four')
  await alice.sees('Four', bob)
  await alice.says('Five')
  await bob.sees('Five', alice)
})

test('two tabs of one person are one person', async ({ people }) => {
  const [alice, bob] = await people('alice', 'bob')
  await gather('Harvest', alice, bob)
  const first = alice.tab
  const second = await alice.opensTab(new URL(first.page.url()).pathname)
  await second.isInRoom('Harvest')

  await second.says('From the second tab')
  await first.sees('From the second tab', alice)
  await bob.sees('From the second tab', alice)
  await first.says('From the first tab')
  await second.sees('From the first tab', alice)
  await bob.says('I see one of you')
  await first.sees('I see one of you', bob)
  await second.sees('I see one of you', bob)

  await first.page.close()
  await second.says('The first tab is gone')
  await bob.sees('The first tab is gone', alice)
  await bob.says('Still one')
  await second.sees('Still one', bob)
})
