/**
 * Making a room (ROOM-1, POLICY-1): its genesis and the group of its first epoch, also while
 * offline. Owns exactly that.
 */
import { logPosition } from '#core/base/ids.ts'
import { suiteById } from '#core/crypto/suites.ts'
import { DEFAULT_SUITE } from '#core/device/account.ts'
import { idOfEpoch } from '#core/device/chain.ts'
import { exportKeys } from '#core/device/epoch-keys.ts'
import { beginEpochs } from '#core/device/epochs.ts'
import { leafLifetime, leafTemplate, signatureKeyOf } from '#core/device/leaf.ts'
import { keepCertificates } from '#core/device/members.ts'
import { checkedTitle, newRoom } from '#core/device/room.ts'
import { cipherSuiteOf, type Turn } from '#core/device/turn.ts'
import { setFinality } from '#core/device/votes.ts'
import { verifyCertificate } from '#core/identity/certificate.ts'
import { groupIdOf, makeGenesis } from '#core/identity/genesis.ts'
import { encodeMlsMessage } from '#core/mls/framing.ts'
import { createGroup, makeGroupInfo } from '#core/mls/group.ts'
import { openFinality } from '#core/policy/finality.ts'
import { roomExtensions } from '#core/policy/room-policy.ts'
import { BODIES, type Body } from '#core/wire/bodies.ts'
import { encode } from '#core/wire/codec.ts'

/** Makes a room; the hub hears of it as soon as it can (ROOM-1). Null where the command failed. */
export async function createRoom(
  turn: Turn,
  command: number,
  title: string,
): Promise<string | null> {
  const account = turn.registered
  const checked = checkedTitle(title)
  const { crypto, entropy } = turn.ports
  const suite = suiteById(DEFAULT_SUITE)
  const engine = cipherSuiteOf(crypto, DEFAULT_SUITE)
  if (account === null || suite === null || engine === null || checked === null) {
    turn.fail(command, account === null ? 'notRegistered' : 'badTitle')
    return null
  }
  const { genesis, room: id } = await makeGenesis(
    crypto,
    {
      creator: account.name,
      creatorRootHash: account.rootHash,
      creatorDevice: account.device,
      domain: account.hubDomain,
      suite: suite.id,
      random: entropy.randomBytes(32),
    },
    account.ed25519.secretKey,
  )
  const created = await createGroup(engine, {
    groupId: groupIdOf(id),
    extensions: roomExtensions(),
    template: leafTemplate(turn, account, suite),
    signatureSecret: signatureKeyOf(account, suite).secretKey,
    lifetime: leafLifetime(turn.nowMs).lifetime,
    entropy,
  })
  const info = await makeGroupInfo(created, { ratchetTree: true, externalPub: true })
  const groupInfo = encodeMlsMessage({ kind: 'groupInfo', groupInfo: info })
  const opening = encode(BODIES.createRoom[1], {
    request: 0 as Body<'createRoom'>['request'],
    genesis,
    suite: suite.id,
    groupInfo,
    certificate: account.certificate,
  })
  const room = newRoom({
    id,
    phase: 'creating',
    suite: suite.id,
    domain: account.hubDomain,
    title: checked,
    opening,
    inviterRootHash: new Uint8Array(0),
    createdAt: turn.nowMs,
  })
  turn.addRoom(room)
  turn.strictly()
  const { group, keys, consumed } = exportKeys(id, created)
  turn.effect({ kind: 'wipe', secrets: consumed })
  const position = logPosition(0n)
  // The hash of its entry is known when the hub has given it its time.
  const entryHash = new Uint8Array(32)
  const epoch = { position, entryHash, public: group.public, group, keys, groupInfo }
  beginEpochs(turn, room.key, epoch)
  setFinality(turn, room.key, openFinality({ position, epochId: idOfEpoch(epoch) }))
  const own = await verifyCertificate(crypto, account.certificate, { hubKey: null })
  if (own.kind === 'verified') {
    await keepCertificates(turn, room.key, [{ bytes: account.certificate, certificate: own }])
  }
  turn.done(command, room.key)
  return room.key
}
