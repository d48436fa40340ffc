/** Who is typing: shown while it happens, and carried by datagrams. */
import { BODIES } from '#core/wire/bodies.ts'
import { copyObservedApp } from './support/app-copy.ts'
import { expect, gather, test } from './support/app.ts'

test('SES-8: typing is seen, and goes by datagram', async ({ newcomer }) => {
  const app = await copyObservedApp()
  const choices = { appDirectory: app.directory }
  const [alice, bob] = [await newcomer('alice', choices), await newcomer('bob', choices)]
  await Promise.all([alice.signsUp(), bob.signsUp()])
  await gather('Harvest', alice, bob)
  await alice.isConnected('webTransport')
  await bob.isConnected('webTransport')
  const [sent, received] = [await alice.tab.observes('out'), await bob.tab.observes('in')]
  // A datagram may be lost: whoever writes goes on writing.
  await expect.poll(async () => {
    await alice.tab.types('wheat ')
    return await bob.tab.typing()
  }).toContain(alice.account)
  const [opcode] = BODIES.ephemeral
  await expect.poll(sent).toContain(opcode)
  await expect.poll(received).toContain(opcode)
  await app.remove()
})
