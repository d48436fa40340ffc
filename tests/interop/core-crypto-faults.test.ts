/**
 * Where `@wireapp/core-crypto` 10.3.0 departs from RFC 9420 in what rooms need. Each test asserts
 * the fault, so that it fails once the library is corrected.
 */
import { deepStrictEqual, rejects } from 'node:assert/strict'
import { createCircle, publishedBy } from './circle.ts'
import { coreCryptoSays, createCoreCryptoPeer } from './core-crypto-peer.ts'
import { createOnlooker } from './onlooker.ts'
import { clientName, type MlsPeer } from './peer.ts'
import { createTsMlsPeer } from './ts-mls-peer.ts'

const groupId = Uint8Array.of(1, 2, 3)
const ts = (device: number) => createTsMlsPeer(clientName(device))
const core = (device: number) => createCoreCryptoPeer(clientName(device))

/** Leaves 0, 1 and 3 are taken, and `last` holds leaf 3. */
async function groupWithGap(last: MlsPeer) {
  const [maker, second, leaver] = [await ts(1), await core(2), await core(3)]
  const circle = await createCircle(maker, { groupId })
  await circle.change(maker, { comers: [second, leaver, last] })
  await circle.change(maker, { leavers: [leaver] })
  return { maker, second, groupInfo: await publishedBy(maker) }
}

// An external commit applies its proposals first: without leaf 3 the tree is truncated to two
// leaves, and the new leaf extends it again, with nothing in leaf 3. The library, which extends by
// what the tree was, finds the removed leaf there.

Deno.test('core-crypto fault: comes back beside itself (7.7, 12.4.3.2)', async () => {
  const last = await core(4)
  const { maker, second, groupInfo } = await groupWithGap(last)
  const commit = await last.resync(groupInfo)
  await second.follow(commit)
  const members = [1, 2, 4, 4].map(clientName)
  deepStrictEqual(await last.members(), members, 'it stands there twice')
  deepStrictEqual(await second.members(), members)
  await rejects(maker.follow(commit), /Invalid length of UpdatePath/)
  const onlooker = createOnlooker()
  await onlooker.compare(groupInfo)
  await rejects(onlooker.see(commit), /badPath/)
})

Deno.test('core-crypto fault: refuses who comes back at the edge (7.7)', async () => {
  const last = await ts(4)
  const { maker, second, groupInfo } = await groupWithGap(last)
  const onlooker = createOnlooker()
  await onlooker.compare(groupInfo)
  const commit = await last.resync(groupInfo)
  await maker.follow(commit)
  deepStrictEqual(await maker.members(), [1, 2, 4].map(clientName))
  deepStrictEqual(await maker.exporter(), await last.exporter())
  await onlooker.see(commit)
  await onlooker.compare(await publishedBy(maker))
  await rejects(second.follow(commit), coreCryptoSays(/update path .* do not match/))
})
