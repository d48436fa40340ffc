/**
 * Welcome messages of RFC 9420 (section 12.4.3.1) against published vectors: the entry of a
 * KeyPackage, group secrets, GroupInfo with its signature, and the confirmation tag. The vectors
 * have no ratchet tree, so nobody joins with them.
 */
import { deepStrictEqual, notDeepStrictEqual, ok, strictEqual } from 'node:assert/strict'
import { EMPTY } from '#core/base/bytes.ts'
import type { CipherSuite } from '#core/mls/cipher-suite.ts'
import { decodeMlsMessage } from '#core/mls/framing.ts'
import { encodeGroupContext } from '#core/mls/group-context.ts'
import { type GroupInfo, groupInfo, verifyGroupInfo } from '#core/mls/group-info.ts'
import { keyPackageRef, verifyKeyPackageSignature } from '#core/mls/key-package.ts'
import {
  confirmationTag,
  epochSecrets,
  welcomeKeyNonce,
  welcomeSecretOf,
} from '#core/mls/key-schedule.ts'
import { decryptWithLabel } from '#core/mls/labelled.ts'
import { pskSecret } from '#core/mls/psk.ts'
import { groupSecrets, type Welcome } from '#core/mls/welcome.ts'
import { type Codec, decode } from '#core/wire/codec.ts'
import { familyTest } from './families.ts'
import { hex } from './published.ts'

interface WelcomeVector {
  readonly cipher_suite: number
  readonly init_priv: string
  readonly signer_pub: string
  readonly key_package: string
  readonly welcome: string
}

familyTest<WelcomeVector>('welcome', 'welcome*.json', async (vector, suite) => {
  const own = decodeMlsMessage('keyPackage', hex(vector.key_package))
  const message = decodeMlsMessage('welcome', hex(vector.welcome))
  ok(own !== null && message !== null)
  const { welcome } = message
  strictEqual(welcome.cipherSuite, suite.id)
  strictEqual(own.keyPackage.cipherSuite, suite.id)
  ok(await verifyKeyPackageSignature(suite, own.keyPackage))
  const reference = keyPackageRef(suite, own.keyPackage)
  const joinerSecret = await joinerSecretOf(suite, welcome, {
    reference,
    initSecretKey: hex(vector.init_priv),
  })
  const psks = pskSecret(suite, [])
  const opened = openGroupInfo(suite, welcome, welcomeSecretOf(suite, joinerSecret, psks))
  strictEqual(opened.groupContext.cipherSuite, suite.id)
  const signerKey = hex(vector.signer_pub)
  ok(await verifyGroupInfo(suite, opened, signerKey))
  const resigned = { ...opened, signer: opened.signer + 1 }
  strictEqual(await verifyGroupInfo(suite, resigned, signerKey), false)
  const context = opened.groupContext
  const groupContext = encodeGroupContext(context)
  const { secrets, welcomeSecret } = epochSecrets(suite, {
    joinerSecret,
    pskSecret: psks,
    groupContext,
  })
  deepStrictEqual(welcomeSecret, welcomeSecretOf(suite, joinerSecret, psks))
  const tag = (key: Uint8Array) => confirmationTag(suite, key, context.confirmedTranscriptHash)
  deepStrictEqual(tag(secrets.confirmationKey), opened.confirmationTag)
  notDeepStrictEqual(tag(secrets.membershipKey), opened.confirmationTag)
})

async function joinerSecretOf(
  suite: CipherSuite,
  welcome: Welcome,
  own: { readonly reference: Uint8Array; readonly initSecretKey: Uint8Array },
): Promise<Uint8Array> {
  const entries = welcome.secrets.filter(({ newMember }) =>
    newMember.join() === own.reference.join()
  )
  const [entry] = entries
  ok(entry !== undefined && entries.length === 1, 'one entry is for the KeyPackage')
  const opened = await decryptWithLabel(suite, own.initSecretKey, {
    ...entry.encryptedGroupSecrets,
    label: 'Welcome',
    context: welcome.encryptedGroupInfo,
  })
  ok(opened !== null)
  const { joinerSecret, psks } = decoded(groupSecrets, opened)
  strictEqual(joinerSecret.length, suite.hashLength)
  deepStrictEqual(psks, [])
  return joinerSecret
}

function openGroupInfo(
  suite: CipherSuite,
  welcome: Welcome,
  welcomeSecret: Uint8Array,
): GroupInfo {
  const keyed = { ...welcomeKeyNonce(suite, welcomeSecret), aad: EMPTY }
  const plaintext = suite.open(keyed, welcome.encryptedGroupInfo)
  ok(plaintext !== null)
  return decoded(groupInfo, plaintext)
}

function decoded<T>(codec: Codec<T>, bytes: Uint8Array): T {
  const read = decode(codec, bytes)
  ok(read.kind === 'decoded')
  return read.value
}
