/**
 * Welcomes that a member has spoilt inside and encrypted again, so that they open: nobody joins by
 * one (RFC 9420 section 12.4.3.1). Owns the spoiling and the sealing.
 */
import { EMPTY } from '#core/base/bytes.ts'
import { encodeMlsMessage } from '#core/mls/framing.ts'
import type { Group } from '#core/mls/group.ts'
import { type GroupInfo, groupInfo, signGroupInfo } from '#core/mls/group-info.ts'
import { joinByWelcome } from '#core/mls/join-welcome.ts'
import { keyPackageRef } from '#core/mls/key-package.ts'
import { welcomeKeyNonce, welcomeSecretOf } from '#core/mls/key-schedule.ts'
import { decryptWithLabel, encryptWithLabel } from '#core/mls/labelled.ts'
import type { KeyPackageMade } from '#core/mls/own-leaf.ts'
import { pskSecret } from '#core/mls/psk.ts'
import { encodeRatchetTree } from '#core/mls/tree-codec.ts'
import { type GroupSecrets, groupSecrets, type Welcome } from '#core/mls/welcome.ts'
import { decode, encode } from '#core/wire/codec.ts'
import { altered } from './spoilings.ts'
import { count, must, type Person, pskOf, type World } from './world.ts'

interface Inside {
  readonly secrets: GroupSecrets
  readonly info: GroupInfo
}

/** Null where there is nothing to be spoilt in this way. */
type Spoiling = (world: World, inside: Inside) => Inside | null

const SPOILINGS: Readonly<Record<string, Spoiling>> = {
  'another confirmation tag': (world, { secrets, info }) => {
    return { secrets, info: { ...info, confirmationTag: altered(world, info.confirmationTag) } }
  },
  'another path secret': (world, { secrets, info }) => {
    const { pathSecret } = secrets
    if (pathSecret === null) return null
    return { info, secrets: { ...secrets, pathSecret: altered(world, pathSecret) } }
  },
  'a path secret of no length': (_, { secrets, info }) => {
    return secrets.pathSecret === null ? null : { info, secrets: { ...secrets, pathSecret: EMPTY } }
  },
  'another joiner secret': (world, { secrets, info }) => {
    return { info, secrets: { ...secrets, joinerSecret: altered(world, secrets.joinerSecret) } }
  },
  'another epoch': (_, { secrets, info }) => {
    const { groupContext } = info
    const epoch = groupContext.epoch + 1n
    return { secrets, info: { ...info, groupContext: { ...groupContext, epoch } } }
  },
  'another transcript': (world, { secrets, info }) => {
    const { groupContext } = info
    const confirmedTranscriptHash = altered(world, groupContext.confirmedTranscriptHash)
    return {
      secrets,
      info: { ...info, groupContext: { ...groupContext, confirmedTranscriptHash } },
    }
  },
  'another group': (world, { secrets, info }) => {
    const { groupContext } = info
    const groupId = altered(world, groupContext.groupId)
    return { secrets, info: { ...info, groupContext: { ...groupContext, groupId } } }
  },
}

export interface Welcomed {
  readonly welcome: Welcome
  readonly person: Person
  readonly offered: KeyPackageMade
  /** Of the member who welcomes, in the new epoch. */
  readonly by: Group
}

/** One spoilt version for one who joins. */
export async function refuseFalseWelcome(world: World, welcomed: Welcomed): Promise<void> {
  const [name, spoil] = world.prng.pick(Object.entries(SPOILINGS))
  const inside = await opened(world, welcomed)
  const spoilt = spoil(world, inside)
  if (spoilt === null) return
  const { person, offered, by } = welcomed
  const info = await signGroupInfo(world.suite, spoilt.info, by.signatureSecret)
  const welcome = await sealed(world, welcomed, { ...spoilt, info })
  const joined = await joinByWelcome(world.suite, {
    welcome,
    ...offered,
    signatureSecret: person.signatureSecret,
    ratchetTree: encodeRatchetTree(by.public.tree),
    psks: pskOf(world),
  })
  must(joined.kind === 'refused', `${person.name} joins by a Welcome with ${name}`)
  count(world, 'false Welcomes refused')
}

async function opened(world: World, { welcome, offered }: Welcomed): Promise<Inside> {
  const { suite } = world
  const reference = keyPackageRef(suite, offered.keyPackage).join()
  const own = welcome.secrets.find(({ newMember }) => newMember.join() === reference)
  must(own !== undefined, 'a Welcome has an entry for who joins')
  const plain = await decryptWithLabel(suite, offered.secrets.initSecret, {
    ...own.encryptedGroupSecrets,
    label: 'Welcome',
    context: welcome.encryptedGroupInfo,
  })
  const secrets = plain && decode(groupSecrets, plain)
  must(secrets?.kind === 'decoded', 'an entry opens for who joins')
  const message = groupInfoKey(world, secrets.value)
  const bytes = suite.open(message, welcome.encryptedGroupInfo)
  const info = bytes && decode(groupInfo, bytes)
  must(info?.kind === 'decoded', 'the GroupInfo opens for who joins')
  return { secrets: secrets.value, info: info.value }
}

function groupInfoKey(world: World, { joinerSecret, psks }: GroupSecrets) {
  const found = psks.map((id) => ({ id, secret: pskOf(world)(id) ?? EMPTY }))
  const secret = welcomeSecretOf(world.suite, joinerSecret, pskSecret(world.suite, found))
  return { ...welcomeKeyNonce(world.suite, secret), aad: EMPTY }
}

async function sealed(
  world: World,
  { offered }: Welcomed,
  { secrets, info }: Inside,
): Promise<Uint8Array> {
  const { suite, entropy } = world
  const encryptedGroupInfo = suite.seal(groupInfoKey(world, secrets), encode(groupInfo, info))
  const encryptedGroupSecrets = await encryptWithLabel(suite, {
    publicKey: offered.keyPackage.initKey,
    label: 'Welcome',
    context: encryptedGroupInfo,
    plaintext: encode(groupSecrets, secrets),
  }, entropy)
  must(encryptedGroupSecrets !== null, 'an init key takes a ciphertext')
  const newMember = keyPackageRef(suite, offered.keyPackage)
  const welcome: Welcome = {
    cipherSuite: suite.id,
    secrets: [{ newMember, encryptedGroupSecrets }],
    encryptedGroupInfo,
  }
  return encodeMlsMessage({ kind: 'welcome', welcome })
}
