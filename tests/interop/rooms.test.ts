/**
 * What rooms use beyond the steps that all engines offer: extensions of their own, proposals of a
 * hub, handshakes as PrivateMessage, messages out of order. The engine of the product takes part in
 * each.
 */
import { deepStrictEqual, rejects, strictEqual } from 'node:assert/strict'
import type { Extension } from '#core/mls/extension.ts'
import { proposeExternally } from '#core/mls/messages.ts'
import type { Proposal } from '#core/mls/proposal.ts'
import { createCircle } from './circle.ts'
import { coreCryptoSays, createCoreCryptoPeer } from './core-crypto-peer.ts'
import { addOf, createKalandraPeer, type Traits } from './kalandra-peer.ts'
import { SUITE } from './onlooker.ts'
import { createOutsider } from './outsider.ts'
import { clientName, type MlsPeer } from './peer.ts'
import { createTsMlsPeer } from './ts-mls-peer.ts'

const groupId = Uint8Array.of(1, 2, 3)
/** Types for private use (RFC 9420 section 17.3): of the GroupContext, and of a leaf. */
const [POLICY, ADMISSION] = [0xf010, 0xf011]
const ours = (device: number, traits?: Traits) => createKalandraPeer(clientName(device), traits)
const ts = (device: number, types?: readonly number[]) => createTsMlsPeer(clientName(device), types)
const core = (device: number) => createCoreCryptoPeer(clientName(device))

const policy = (...body: readonly number[]): Extension => ({
  type: POLICY,
  body: Uint8Array.from(body),
})
const contextExtensions = (...extensions: readonly Extension[]): Proposal => ({
  kind: 'groupContextExtensions',
  extensions,
})

Deno.test('interop: ts-mls follows context extensions, Remove and Add in one', async () => {
  const traits = { extensionTypes: [POLICY] }
  const [maker, second] = [await ours(1, traits), await ts(2, [POLICY])]
  const [third, comer] = [await ours(3, traits), await ours(4, traits)]
  const circle = await createCircle(maker, { groupId })
  await circle.change(maker, { comers: [second, third] })
  const alone = await maker.commitOf([contextExtensions(policy(1))])
  for (const member of [second, third]) await member.follow(alone.commit)
  deepStrictEqual(await second.exporter(), await maker.exporter())
  const { commit, welcome } = await maker.commitOf([
    contextExtensions(policy(1, 2)),
    { kind: 'remove', removed: maker.leafOf(third.name) },
    addOf(await comer.keyPackage()),
  ])
  await second.follow(commit)
  await comer.join(welcome ?? new Uint8Array())
  deepStrictEqual(comer.group().public.context.extensions, [policy(1, 2)])
  deepStrictEqual(await second.exporter(), await maker.exporter())
  deepStrictEqual(await comer.exporter(), await maker.exporter())
})

Deno.test('interop: extensions of a leaf go everywhere, of the context they do not', async () => {
  const body = Uint8Array.of(7)
  const traits = { extensionTypes: [POLICY, ADMISSION], extensions: [{ type: ADMISSION, body }] }
  const [maker, second, third] = [await core(1), await ts(2), await ours(3, traits)]
  const circle = await createCircle(maker, { groupId })
  await circle.change(maker, { comers: [second] })
  await circle.letIn(third, second)
  await circle.renew(third)
  await circle.change(second, { comers: [await ours(4, traits)] })
  await circle.talk()
  // Section 12.1.7: core-crypto does not name the type in its capabilities.
  const { extensions } = third.group().public.context
  const wanted = contextExtensions(...extensions, policy(1))
  await rejects(third.commitOf([wanted]), /unsupportedCapability/)
  const other = await ours(5, traits)
  await other.create(groupId)
  await other.commitOf([contextExtensions(policy(1))])
  const joining = addOf(await (await core(6)).keyPackage())
  await rejects(other.commitOf([joining]), /unsupportedCapability/)
})

Deno.test('interop: a hub of ours proposes a Remove with the same bytes', async () => {
  const outsider = await createOutsider()
  const { signatureSecret, sender } = outsider
  const place = { groupId, epoch: 1n, authenticatedData: new Uint8Array(), senderIndex: 0 }
  const proposal: Proposal = { kind: 'remove', removed: 1 }
  const message = await proposeExternally(SUITE, proposal, { ...place, signatureSecret })
  deepStrictEqual(message, await outsider.remove({ groupId, epoch: 1n, leaf: 1 }))
  const [maker, leaver, third] = [await core(1), await ours(2), await ts(3)]
  const circle = await createCircle(maker, { groupId, sender })
  await circle.change(maker, { comers: [leaver, third] })
  await circle.gather(third, [{ message, leaver }])
})

Deno.test('interop: who is removed hears it from the commit of every engine', async () => {
  for (const maker of [await ours(1), await ts(1), await core(1)]) {
    const [leaver, other] = [await ours(2), await ours(3)]
    const circle = await createCircle(maker, { groupId })
    await circle.change(maker, { comers: [leaver, other] })
    const { commit } = await maker.commit({ adds: [], removes: [leaver.name] })
    strictEqual((await leaver.take(commit)).kind, 'removed')
    strictEqual((await other.take(commit)).kind, 'commit')
  }
})

Deno.test('interop: commits as PrivateMessage, which core-crypto refuses', async () => {
  const [maker, second] = [await ours(1), await ts(2)]
  const circle = await createCircle(maker, { groupId })
  await circle.change(maker, { comers: [second] })
  const made = await maker.commitOf([], { wireFormat: 'privateMessage' })
  await second.follow(made.commit)
  deepStrictEqual(await second.exporter(), await maker.exporter())
  const back = await second.commitOf([], 'privateMessage')
  await maker.follow(back.commit)
  deepStrictEqual(await maker.exporter(), await second.exporter())
  const [third] = [await core(3)]
  const added = await maker.commitOf([addOf(await third.keyPackage())])
  await third.join(added.welcome ?? new Uint8Array())
  const { commit } = await maker.commitOf([], { wireFormat: 'privateMessage' })
  await rejects(third.follow(commit), coreCryptoSays(/wire format is incompatible/))
})

Deno.test('interop: messages are read in any order', async () => {
  const members = [await ours(1), await ts(2), await core(3)]
  const [maker, ...others] = members
  const circle = await createCircle(maker as MlsPeer, { groupId })
  await circle.change(maker as MlsPeer, { comers: others })
  for (const sender of members) {
    const sent: Uint8Array[] = []
    for (let index = 0; index < 6; index++) sent.push(await sender.protect(Uint8Array.of(index)))
    for (const reader of members) {
      if (reader === sender) continue
      // core-crypto keeps the key of one generation behind the newest.
      const order = reader.engine === 'core-crypto' ? [1, 0, 3, 2, 5, 4] : [5, 0, 3, 1, 4, 2]
      for (const index of order) {
        const message = sent[index] as Uint8Array
        deepStrictEqual(await reader.unprotect(message), Uint8Array.of(index))
        await rejects(reader.unprotect(message), 'a second time')
      }
    }
  }
})
