/** The gateway with devices by hand over memory: the way of a message, joining, catching up. */
import { deepStrictEqual, ok, strictEqual } from 'node:assert/strict'
import { leafIndex } from '#core/base/ids.ts'
import { createHubWorld } from '../support/hub-world.ts'

Deno.test('HUB-3: a frame is stored, acknowledged with its position and delivered in order', async () => {
  const world = createHubWorld()
  const alice = await world.device('alice')
  const room = await alice.createRoom()
  for (const expected of [1n, 2n, 3n]) strictEqual(await alice.write(room), expected)
  deepStrictEqual(room.entries.map(({ entry }) => entry.header.entry), [
    'genesis',
    'frame',
    'frame',
    'frame',
  ])
  deepStrictEqual(world.faults, [])
})
