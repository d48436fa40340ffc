/**
 * The Welcome of a commit (RFC 9420 section 12.4.3.1): one GroupInfo for all who are added, and for
 * each of them the joiner secret and the path secret that it may know.
 */
import { assert } from '#core/base/assert.ts'
import { wipe } from '#core/base/bytes.ts'
import type { Entropy } from '#core/base/ports.ts'
import type { CipherSuite } from '#core/mls/cipher-suite.ts'
import { encodeMlsMessage } from '#core/mls/framing.ts'
import { type Group, type GroupInfoContents, makeGroupInfo } from '#core/mls/group.ts'
import { groupInfo } from '#core/mls/group-info.ts'
import { type KeyPackage, keyPackageRef } from '#core/mls/key-package.ts'
import { welcomeKeyNonce } from '#core/mls/key-schedule.ts'
import { encryptWithLabel } from '#core/mls/labelled.ts'
import type { PreSharedKeyId } from '#core/mls/proposal.ts'
import { isWithin, leafToNode } from '#core/mls/tree-math.ts'
import type { PathSecrets } from '#core/mls/update-path.ts'
import { type EncryptedGroupSecrets, groupSecrets } from '#core/mls/welcome.ts'
import { encode } from '#core/wire/codec.ts'

/** What the GroupInfo of a Welcome carries beside the context. */
export type WelcomeContents = GroupInfoContents

const NO_AAD = new Uint8Array(0)

export interface WelcomeMaking {
  readonly added: readonly { readonly leaf: number; readonly keyPackage: KeyPackage }[]
  readonly joinerSecret: Uint8Array
  readonly welcomeSecret: Uint8Array
  /** Null for a commit without path. */
  readonly pathSecrets: PathSecrets | null
  readonly psks: readonly PreSharedKeyId[]
  readonly contents: WelcomeContents
  readonly entropy: Entropy
}

/** MLSMessage with the Welcome; null where nobody is added. `group` is in the new epoch. */
export async function makeWelcome(
  group: Group,
  making: WelcomeMaking,
): Promise<Uint8Array | null> {
  if (making.added.length === 0) return null
  const { suite } = group.public
  const encoded = encode(groupInfo, await makeGroupInfo(group, making.contents))
  const { key, nonce } = welcomeKeyNonce(suite, making.welcomeSecret)
  const encryptedGroupInfo = suite.seal({ key, nonce, aad: NO_AAD }, encoded)
  wipe(key, nonce)
  const secrets = await Promise.all(
    making.added.map((added) => sealSecrets(suite, making, { ...added, encryptedGroupInfo })),
  )
  const welcome = { cipherSuite: suite.id, secrets, encryptedGroupInfo }
  return encodeMlsMessage({ kind: 'welcome', welcome })
}

async function sealSecrets(
  suite: CipherSuite,
  making: WelcomeMaking,
  to: {
    readonly leaf: number
    readonly keyPackage: KeyPackage
    readonly encryptedGroupInfo: Uint8Array
  },
): Promise<EncryptedGroupSecrets> {
  const { joinerSecret, pathSecrets, psks, entropy } = making
  const shared = pathSecrets?.nodes.find(({ node }) => isWithin(leafToNode(to.leaf), node))
  assert(pathSecrets === null || shared !== undefined, 'a path passes above every other leaf')
  const plaintext = encode(groupSecrets, {
    joinerSecret,
    pathSecret: shared?.pathSecret ?? null,
    psks,
  })
  const sealed = await encryptWithLabel(suite, {
    publicKey: to.keyPackage.initKey,
    label: 'Welcome',
    context: to.encryptedGroupInfo,
    plaintext,
  }, entropy)
  wipe(plaintext)
  // A key of the right length that is no key of the suite: the joiner can never open it.
  const none = { kemOutput: new Uint8Array(0), ciphertext: new Uint8Array(0) }
  const newMember = keyPackageRef(suite, to.keyPackage)
  return { newMember, encryptedGroupSecrets: sealed ?? none }
}
