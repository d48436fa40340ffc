/**
 * Where `ts-mls` 1.6.4 departs from RFC 9420 in what rooms need. Each test asserts the fault, so
 * that it fails once the library is corrected, and goes on by another way where there is one.
 */
import { deepStrictEqual, ok, rejects, strictEqual } from 'node:assert/strict'
import {
  type CiphersuiteImpl,
  createGroup,
  createGroupInfoWithExternalPubAndRatchetTree,
  emptyPskIndex,
  encodeExternalSender,
  encodeMlsMessage,
  encodeRequiredCapabilities,
  type Extension,
  joinGroupExternal,
  processPublicMessage,
  type Proposal,
} from 'ts-mls'
import { createCircle, publishedBy } from './circle.ts'
import { coreCryptoSays, createCoreCryptoPeer } from './core-crypto-peer.ts'
import { createKalandraPeer } from './kalandra-peer.ts'
import { createOnlooker } from './onlooker.ts'
import { createOutsider } from './outsider.ts'
import { clientName, type MlsPeer, type OutsideSender } from './peer.ts'
import { externalSenders } from './presentation.ts'
import { createTsMlsPeer, decodeOne, makeOwnPackage, tsMlsSuite } from './ts-mls-peer.ts'
import { WRONG_UNMERGED } from './ts-mls-refusals.ts'

const groupId = Uint8Array.of(1, 2, 3)
const ts = (device: number) => createTsMlsPeer(clientName(device))
const core = (device: number) => createCoreCryptoPeer(clientName(device))

/** A group of `ts-mls` with one more of it and one core-crypto. */
async function smallGroup() {
  const [maker, second, third] = [await ts(1), await ts(2), await core(3)]
  const circle = await createCircle(maker, { groupId })
  await circle.change(maker, { comers: [second, third] })
  return { circle, maker, second, third }
}

const contextExtensions = (extensions: Extension[]): Proposal => ({
  proposalType: 'group_context_extensions',
  groupContextExtensions: { extensions },
})

const REQUIRED: Extension = {
  extensionType: 'required_capabilities',
  extensionData: encodeRequiredCapabilities({
    extensionTypes: [],
    proposalTypes: [],
    credentialTypes: ['basic'],
  }),
}

Deno.test('ts-mls fault: refuses a tree for its unmerged leaves (12.4.3.1)', async () => {
  // A leaf that is unmerged below and merged above: node 3 lists leaf 3, the root does not.
  const [zero, one, two] = [await core(0), await core(1), await core(2)]
  const [leaver, four] = [await core(3), await core(4)]
  const refused = await ts(6)
  const refusalOf = (comer: MlsPeer) => comer === refused ? WRONG_UNMERGED : null
  const circle = await createCircle(zero, { groupId, refusalOf })
  await circle.change(zero, { comers: [one, two, leaver, four] })
  await circle.change(four, { leavers: [leaver] })
  await circle.renew(zero)
  const three = await core(5)
  await circle.change(zero, { comers: [three] })
  await circle.renew(four)
  // core-crypto joins by the same Welcome.
  await circle.change(four, { comers: [refused, await core(7)] })
  // Merged by a commit of its own: the library lets the next one in.
  await circle.renew(three)
  await circle.change(three, { leavers: [refused] })
  await circle.change(three, { comers: [await ts(8)] })
  await circle.talk()
})

Deno.test('ts-mls fault: derives a secret for a root that is not in the path (7.4)', async () => {
  // Nobody is left of the root: it is filtered out, and the commit secret comes from node 5.
  const followedBy = async (last: MlsPeer) => {
    const [zero, one, two] = [await core(0), await core(1), await core(2)]
    const circle = await createCircle(zero, { groupId })
    await circle.change(zero, { comers: [one, two, last] })
    await circle.change(two, { leavers: [zero, one] })
  }
  await followedBy(await core(3))
  await followedBy(await createKalandraPeer(clientName(3)))
  await rejects(followedBy(await ts(3)), /Could not verify confirmation tag/)
})

Deno.test('ts-mls fault: external_senders is one sender, not a vector (12.1.8.1)', async () => {
  const suite = await tsMlsSuite()
  const outsider = await createOutsider()
  const { publicPackage, privatePackage } = await makeOwnPackage(suite, clientName(1))
  const create = (senders: Uint8Array) =>
    createGroup(
      groupId,
      publicPackage,
      privatePackage,
      [{ extensionType: 'external_senders', extensionData: senders }],
      suite,
    )
  await rejects(create(externalSenders([outsider.sender])), /Could not decode external_senders/)
  await create(oneSender(outsider.sender))
  // And it does not find the key that signed a proposal from outside.
  const member = await ts(1)
  await member.create(groupId, outsider.sender)
  const message = decodeOne(await outsider.remove({ groupId, epoch: 0n, leaf: 0 }))
  ok(message.wireformat === 'mls_public_message')
  const { publicMessage } = message
  const taken = processPublicMessage(member.state(), publicMessage, emptyPskIndex, suite)
  await rejects(taken, /Could not decode ExternalSender/)
})

const oneSender = ({ signatureKey, identity }: OutsideSender): Uint8Array =>
  encodeExternalSender({
    signaturePublicKey: signatureKey,
    credential: { credentialType: 'basic', identity },
  })

Deno.test('ts-mls fault: external_pub is a bare key, not a vector (12.4.3.2)', async () => {
  const suite = await tsMlsSuite()
  const { circle, maker, third } = await smallGroup()
  const groupInfo = await createGroupInfoWithExternalPubAndRatchetTree(maker.state(), [], suite)
  const message = { version: 'mls10', wireformat: 'mls_group_info', groupInfo } as const
  strictEqual(groupInfo.extensions[0]?.extensionData.length, 32)
  const comer = await core(4)
  await rejects(comer.joinFromOutside(encodeMlsMessage(message)))
  // The same with a vector, as the peer makes it.
  await circle.letIn(comer, maker)
  await circle.renew(third)
  await rejects(joinUnaided(suite, await publishedBy(third)), /public key/i)
  await circle.letIn(await ts(5), third)
})

async function joinUnaided(suite: CiphersuiteImpl, bytes: Uint8Array): Promise<unknown> {
  const message = decodeOne(bytes)
  ok(message.wireformat === 'mls_group_info')
  const { publicPackage, privatePackage } = await makeOwnPackage(suite, clientName(9))
  return joinGroupExternal(message.groupInfo, publicPackage, privatePackage, false, suite)
}

Deno.test('ts-mls fault: no path for GroupContextExtensions (12.4, 17.4)', async () => {
  const { maker, second, third } = await smallGroup()
  const onlooker = createOnlooker()
  await onlooker.compare(await publishedBy(maker))
  const { commit } = await maker.commitOf([contextExtensions([REQUIRED])])
  const message = decodeOne(commit)
  ok(message.wireformat === 'mls_public_message')
  const { content } = message.publicMessage
  ok(content.contentType === 'commit')
  strictEqual(content.commit.path, undefined)
  await second.follow(commit)
  deepStrictEqual(await second.exporter(), await maker.exporter())
  await rejects(third.follow(commit), coreCryptoSays(/Unable to determine commit path/))
  await rejects(onlooker.see(commit), /missingPath/)
})

Deno.test('ts-mls fault: a path beside new extensions opens for nobody (12.4.1)', async () => {
  // The path is encrypted under the provisional GroupContext, which has the new extensions.
  const { maker, second, third } = await smallGroup()
  const fourth = await ts(4)
  const added = await maker.commit({ adds: [await fourth.keyPackage()], removes: [] })
  for (const member of [second, third]) await member.follow(added.commit)
  const remove: Proposal = {
    proposalType: 'remove',
    remove: { removed: maker.leafOf(fourth.name) },
  }
  const { commit } = await maker.commitOf([contextExtensions([REQUIRED]), remove])
  await rejects(second.follow(commit), /Decryption failed/)
  await rejects(third.follow(commit), coreCryptoSays(/Unable to decrypt the path node/))
})

Deno.test('ts-mls fault: no extensions do not replace some (12.1.7)', async () => {
  const maker = await core(1)
  const member = await ts(2)
  const circle = await createCircle(maker, { groupId })
  await circle.change(maker, { comers: [member] })
  // core-crypto requires capabilities in each group.
  const before = member.state().groupContext.extensions
  strictEqual(before.length, 1)
  await member.commitOf([contextExtensions([])])
  deepStrictEqual(member.state().groupContext.extensions, before)
})
