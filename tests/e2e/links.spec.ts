/** Links of a room: with limits, and taken back. */
import { expect, test } from './support/app.ts'

test('a link that was taken back lets nobody in, another does', async ({ people, newcomer }) => {
  const [alice] = await people('alice')
  await alice.createsRoom('Harvest')
  const first = await alice.invites()
  const second = await alice.invitesAnew()
  expect(second).not.toBe(first)
  await alice.takesBackNewestLink()

  const bob = await newcomer('bob')
  await bob.signsUp()
  await bob.joins(second)
  await bob.tab.isRefused('used up, taken back or no longer valid')
  await bob.joins(first)
  await bob.tab.isInRoom('Harvest')
  await bob.tab.isMember()
  await bob.says('Through the other one')
  await alice.sees('Through the other one', bob)
})
