/**
 * Every step of RFC 9420 that rooms need, between every two engines in both directions. After each
 * step all members are in one epoch with one exporter: `circle.ts` demands it.
 */
import { rejects } from 'node:assert/strict'
import { createCircle } from './circle.ts'
import { createPeer, PAIRS } from './engines.ts'
import { createOutsider } from './outsider.ts'

const GROUP_ID = Uint8Array.from({ length: 32 }, (_, index) => index)

for (const [one, other] of PAIRS) {
  Deno.test(`interop: ${one} adds ${other}, both commit and talk`, async () => {
    const [first, second] = [await createPeer(one, 1), await createPeer(other, 2)]
    const circle = await createCircle(first, { groupId: GROUP_ID })
    await circle.change(first, { comers: [second] })
    await circle.renew(second)
    await circle.renew(first)
    await circle.talk()
    const [third, fourth] = [await createPeer(one, 3), await createPeer(other, 4)]
    await circle.change(second, { comers: [third, fourth] })
    await circle.renew(third)
    await circle.renew(fourth)
    await circle.talk()
    await circle.change(fourth, { leavers: [third] })
    await circle.change(first, { leavers: [second, fourth] })
    await circle.renew(first)
  })

  Deno.test(`interop: ${one} joins ${other} by an external commit`, async () => {
    const [first, second] = [await createPeer(other, 1), await createPeer(other, 2)]
    const circle = await createCircle(first, { groupId: GROUP_ID })
    await circle.change(first, { comers: [second] })
    const comer = await createPeer(one, 3)
    await circle.letIn(comer, first)
    await circle.talk()
    await circle.renew(second)
    await circle.renew(comer)
    await circle.change(comer, { leavers: [first] })
    await circle.talk()
  })

  Deno.test(`interop: ${one} comes back to ${other} in place of its old leaf`, async () => {
    const [first, second] = [await createPeer(other, 1), await createPeer(one, 2)]
    const circle = await createCircle(first, { groupId: GROUP_ID })
    await circle.change(first, { comers: [second, await createPeer(other, 3)] })
    await circle.renew(first)
    await circle.resync(second, first)
    await circle.talk()
    await circle.renew(second)
    await circle.change(second, { leavers: [first] })
  })

  Deno.test(`interop: ${one} commits a Remove from outside that ${other} follows`, async () => {
    const outsider = await createOutsider()
    const [first, second, third] = [
      await createPeer(one, 1),
      await createPeer(other, 2),
      await createPeer(other, 3),
    ]
    const circle = await createCircle(first, { groupId: GROUP_ID, sender: outsider.sender })
    await circle.change(first, { comers: [second, third] })
    // A leaf of each engine commits: who was added last, then who made the group.
    const proposal = await outsider.remove({ groupId: GROUP_ID, epoch: 1n, leaf: 1 })
    await circle.gather(third, [{ message: proposal, leaver: second }])
    await rejects(first.takeProposal(proposal), 'of another epoch')
    await circle.renew(first)
    const last = await outsider.remove({ groupId: GROUP_ID, epoch: 3n, leaf: 2 })
    await circle.gather(first, [{ message: last, leaver: third }])
  })
}
