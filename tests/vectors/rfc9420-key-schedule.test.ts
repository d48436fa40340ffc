/**
 * The key schedule (RFC 9420 section 8) against published vectors, over the epochs of a group; and
 * external initialisation (8.3) with the key pairs of those epochs.
 */
import { deepStrictEqual, notDeepStrictEqual, ok, strictEqual } from 'node:assert/strict'
import { toHex } from '#core/base/bytes.ts'
import type { CipherSuite } from '#core/mls/cipher-suite.ts'
import { encodeGroupContext } from '#core/mls/group-context.ts'
import { MLS_VERSION } from '#core/mls/key-package.ts'
import {
  epochSecrets,
  externalInit,
  externalInitReceived,
  externalKeyPair,
  joinerSecret,
  mlsExporter,
  welcomeKeyNonce,
  welcomeSecretOf,
} from '#core/mls/key-schedule.ts'
import { createPrng } from '../core/prng.ts'
import { familyTest } from './families.ts'
import { hex } from './published.ts'

interface Epoch {
  readonly tree_hash: string
  readonly commit_secret: string
  readonly psk_secret: string
  readonly confirmed_transcript_hash: string
  readonly group_context: string
  readonly joiner_secret: string
  readonly welcome_secret: string
  readonly init_secret: string
  readonly sender_data_secret: string
  readonly encryption_secret: string
  readonly exporter_secret: string
  readonly epoch_authenticator: string
  readonly external_secret: string
  readonly confirmation_key: string
  readonly membership_key: string
  readonly resumption_psk: string
  readonly external_pub: string
  readonly exporter: {
    readonly label: string
    readonly context: string
    readonly length: number
    readonly secret: string
  }
}
interface KeySchedule {
  readonly cipher_suite: number
  readonly group_id: string
  readonly initial_init_secret: string
  readonly epochs: readonly Epoch[]
}

familyTest<KeySchedule>('key-schedule', 'key-schedule*.json', async (vector, suite) => {
  let initSecret = hex(vector.initial_init_secret)
  ok(vector.epochs.length > 0)
  for (const [index, epoch] of vector.epochs.entries()) {
    checkGroupContext(vector, suite, index)
    initSecret = checkSecrets(suite, epoch, initSecret)
    checkExporter(suite, epoch)
    await checkExternal(suite, epoch)
  }
})

function checkGroupContext(vector: KeySchedule, suite: CipherSuite, index: number): void {
  const epoch = vector.epochs[index] as Epoch
  const context = encodeGroupContext({
    version: MLS_VERSION,
    cipherSuite: suite.id,
    groupId: hex(vector.group_id),
    epoch: BigInt(index),
    treeHash: hex(epoch.tree_hash),
    confirmedTranscriptHash: hex(epoch.confirmed_transcript_hash),
    extensions: [],
  })
  strictEqual(toHex(context), epoch.group_context)
}

/** Gives the init secret of the next epoch. */
function checkSecrets(suite: CipherSuite, epoch: Epoch, initSecret: Uint8Array): Uint8Array {
  const commitSecret = hex(epoch.commit_secret)
  const pskSecret = hex(epoch.psk_secret)
  const groupContext = hex(epoch.group_context)
  const joiner = joinerSecret(suite, { initSecret, commitSecret, groupContext })
  strictEqual(toHex(joiner), epoch.joiner_secret)
  strictEqual(toHex(welcomeSecretOf(suite, joiner, pskSecret)), epoch.welcome_secret)
  const from = { joinerSecret: joiner, pskSecret, groupContext }
  const { secrets, welcomeSecret } = epochSecrets(suite, from)
  strictEqual(toHex(welcomeSecret), epoch.welcome_secret)
  const inHex = Object.fromEntries(
    Object.entries(secrets).map(([name, secret]) => [name, toHex(secret)]),
  )
  deepStrictEqual(inHex, {
    senderDataSecret: epoch.sender_data_secret,
    encryptionSecret: epoch.encryption_secret,
    exporterSecret: epoch.exporter_secret,
    externalSecret: epoch.external_secret,
    confirmationKey: epoch.confirmation_key,
    membershipKey: epoch.membership_key,
    resumptionPsk: epoch.resumption_psk,
    epochAuthenticator: epoch.epoch_authenticator,
    initSecret: epoch.init_secret,
  })
  const { key, nonce } = welcomeKeyNonce(suite, welcomeSecret)
  deepStrictEqual([key.length, nonce.length], [suite.aeadKeyLength, suite.aeadNonceLength])
  notDeepStrictEqual(key.subarray(0, nonce.length), nonce)
  // Inputs stay whole: they are the caller's to wipe.
  deepStrictEqual([commitSecret, pskSecret], [hex(epoch.commit_secret), hex(epoch.psk_secret)])
  strictEqual(toHex(joiner), epoch.joiner_secret)
  return secrets.initSecret
}

function checkExporter(suite: CipherSuite, { exporter, exporter_secret }: Epoch): void {
  const { label, length } = exporter
  const context = hex(exporter.context)
  const exported = mlsExporter(suite, hex(exporter_secret), { label, context, length })
  strictEqual(toHex(exported), exporter.secret)
}

async function checkExternal(suite: CipherSuite, epoch: Epoch): Promise<void> {
  const externalSecret = hex(epoch.external_secret)
  const { publicKey } = await externalKeyPair(suite, externalSecret)
  strictEqual(toHex(publicKey), epoch.external_pub)
  const prng = createPrng(suite.id)
  const entropy = { randomBytes: (length: number) => prng.bytes(length) }
  const sent = await externalInit(suite, publicKey, entropy)
  ok(sent !== null)
  strictEqual(sent.initSecret.length, suite.hashLength)
  const received = await externalInitReceived(suite, externalSecret, sent.kemOutput)
  deepStrictEqual(received, sent.initSecret)
  const cut = sent.kemOutput.subarray(1)
  strictEqual(await externalInitReceived(suite, externalSecret, cut), null)
  strictEqual(await externalInit(suite, publicKey.subarray(1), entropy), null)
}
