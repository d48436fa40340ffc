/**
 * The key schedule of an epoch (RFC 9420 section 8): from init, commit and PSK secrets to all that
 * is derived from them, external initialisation (8.3), the exporter (8.5) and the confirmation tag
 * (6.1). Owns labels and order of derivation; owns no state, and wipes no secret of its caller's.
 */
import { EMPTY, utf8Encode, wipe } from '#core/base/bytes.ts'
import type { Entropy } from '#core/base/ports.ts'
import type { KeyPair } from '#core/crypto/crypto.ts'
import type { CipherSuite } from '#core/mls/cipher-suite.ts'
import { deriveSecret, expandWithLabel } from '#core/mls/labelled.ts'

/** Table 4 of RFC 9420 section 8. Each is as long as the hash. */
export interface EpochSecrets {
  readonly senderDataSecret: Uint8Array
  readonly encryptionSecret: Uint8Array
  readonly exporterSecret: Uint8Array
  readonly externalSecret: Uint8Array
  readonly confirmationKey: Uint8Array
  readonly membershipKey: Uint8Array
  readonly resumptionPsk: Uint8Array
  readonly epochAuthenticator: Uint8Array
  /** Goes into the next epoch. */
  readonly initSecret: Uint8Array
}

/** joiner_secret of the epoch whose encoded GroupContext is given. The caller wipes it. */
export function joinerSecret(
  suite: CipherSuite,
  from: {
    /** Of the epoch before, or of the external initialisation. */
    readonly initSecret: Uint8Array
    /** Zeros, as long as the hash, for a commit without path. */
    readonly commitSecret: Uint8Array
    readonly groupContext: Uint8Array
  },
): Uint8Array {
  const extracted = suite.extract(from.initSecret, from.commitSecret)
  const length = suite.hashLength
  const joiner = expandWithLabel(suite, extracted, {
    label: 'joiner',
    context: from.groupContext,
    length,
  })
  wipe(extracted)
  return joiner
}

/** All secrets of an epoch, and the welcome_secret with them; the caller wipes each of them. */
export function epochSecrets(
  suite: CipherSuite,
  from: {
    readonly joinerSecret: Uint8Array
    readonly pskSecret: Uint8Array
    /** Encoded. */
    readonly groupContext: Uint8Array
  },
): { readonly secrets: EpochSecrets; readonly welcomeSecret: Uint8Array } {
  const extracted = suite.extract(from.joinerSecret, from.pskSecret)
  const epochSecret = expandWithLabel(suite, extracted, {
    label: 'epoch',
    context: from.groupContext,
    length: suite.hashLength,
  })
  const welcomeSecret = deriveSecret(suite, extracted, 'welcome')
  const derived = (label: string) => deriveSecret(suite, epochSecret, label)
  const secrets: EpochSecrets = {
    senderDataSecret: derived('sender data'),
    encryptionSecret: derived('encryption'),
    exporterSecret: derived('exporter'),
    externalSecret: derived('external'),
    confirmationKey: derived('confirm'),
    membershipKey: derived('membership'),
    resumptionPsk: derived('resumption'),
    epochAuthenticator: derived('authentication'),
    initSecret: derived('init'),
  }
  wipe(extracted, epochSecret)
  return { secrets, welcomeSecret }
}

/** welcome_secret, for a joiner who does not know the GroupContext yet. The caller wipes it. */
export function welcomeSecretOf(
  suite: CipherSuite,
  joinerSecret: Uint8Array,
  pskSecret: Uint8Array,
): Uint8Array {
  const extracted = suite.extract(joinerSecret, pskSecret)
  const welcomeSecret = deriveSecret(suite, extracted, 'welcome')
  wipe(extracted)
  return welcomeSecret
}

/** What encrypts the GroupInfo of a Welcome (RFC 9420 section 12.4.3.1). The caller wipes both. */
export function welcomeKeyNonce(
  suite: CipherSuite,
  welcomeSecret: Uint8Array,
): { readonly key: Uint8Array; readonly nonce: Uint8Array } {
  const expanded = (label: string, length: number) =>
    expandWithLabel(suite, welcomeSecret, { label, context: EMPTY, length })
  return {
    key: expanded('key', suite.aeadKeyLength),
    nonce: expanded('nonce', suite.aeadNonceLength),
  }
}

/**
 * The key pair of external initialisation (RFC 9420 section 8); its public half is external_pub.
 * The caller wipes the secret half.
 */
export function externalKeyPair(
  suite: CipherSuite,
  externalSecret: Uint8Array,
): Promise<KeyPair> {
  return suite.deriveKeyPair(externalSecret)
}

const EXTERNAL_INIT = utf8Encode('MLS 1.0 external init secret')

/**
 * An init secret for who joins with an external commit (RFC 9420 section 8.3); null for a malformed
 * external_pub. The caller wipes the secret.
 */
export async function externalInit(
  suite: CipherSuite,
  externalPub: Uint8Array,
  entropy: Entropy,
): Promise<{ readonly kemOutput: Uint8Array; readonly initSecret: Uint8Array } | null> {
  const randomness = entropy.randomBytes(suite.encapsulationEntropyLength)
  const sent = await suite.hpkeSendExport(
    { publicKey: externalPub, info: EMPTY, randomness },
    { exporterContext: EXTERNAL_INIT, length: suite.hashLength },
  )
  wipe(randomness)
  return sent && { kemOutput: sent.enc, initSecret: sent.exported }
}

/** The same secret for the members; null for a malformed `kemOutput`. The caller wipes it. */
export async function externalInitReceived(
  suite: CipherSuite,
  externalSecret: Uint8Array,
  kemOutput: Uint8Array,
): Promise<Uint8Array | null> {
  const { secretKey } = await externalKeyPair(suite, externalSecret)
  const initSecret = await suite.hpkeReceiveExport(
    { secretKey, enc: kemOutput, info: EMPTY },
    { exporterContext: EXTERNAL_INIT, length: suite.hashLength },
  )
  wipe(secretKey)
  return initSecret
}

/** MLS-Exporter (RFC 9420 section 8.5). The caller wipes the result. */
export function mlsExporter(
  suite: CipherSuite,
  exporterSecret: Uint8Array,
  exporting: {
    readonly label: string
    readonly context: Uint8Array
    /** Bytes of output. */
    readonly length: number
  },
): Uint8Array {
  const { label, context, length } = exporting
  const derived = deriveSecret(suite, exporterSecret, label)
  const exported = expandWithLabel(suite, derived, {
    label: 'exported',
    context: suite.hash(context),
    length,
  })
  wipe(derived)
  return exported
}

/** The MAC by which a commit's sender shows the new epoch's key (RFC 9420 section 6.1). */
export function confirmationTag(
  suite: CipherSuite,
  confirmationKey: Uint8Array,
  confirmedTranscriptHash: Uint8Array,
): Uint8Array {
  return suite.mac(confirmationKey, confirmedTranscriptHash)
}
