/**
 * A client that joins by a published Welcome and follows what the group does (RFC 9420 sections
 * 12.4.2 and 12.4.3.1): in each epoch it must have the published epoch authenticator, and somebody
 * without secrets who follows beside it must have the same GroupContext.
 */
import { deepStrictEqual, ok, strictEqual } from 'node:assert/strict'
import { EMPTY, equalBytes, toHex, wipe } from '#core/base/bytes.ts'
import type { TimeMs } from '#core/base/ids.ts'
import type { CipherSuite } from '#core/mls/cipher-suite.ts'
import { decodeMlsMessage } from '#core/mls/framing.ts'
import { encodeGroupContext } from '#core/mls/group-context.ts'
import type { Group, PskLookup } from '#core/mls/group.ts'
import { joinByWelcome, type WelcomeJoining } from '#core/mls/join-welcome.ts'
import { processMessage } from '#core/mls/messages.ts'
import type { PublicGroup } from '#core/mls/public-group.ts'
import { publicProcess } from '#core/mls/public-process.ts'
import { familyTest } from './families.ts'
import { hex } from './published.ts'

interface PassiveClient {
  readonly cipher_suite: number
  readonly external_psks: readonly { readonly psk_id: string; readonly psk: string }[]
  readonly key_package: string
  readonly signature_priv: string
  readonly encryption_priv: string
  readonly init_priv: string
  readonly welcome: string
  readonly ratchet_tree: string | null
  readonly initial_epoch_authenticator: string
  readonly epochs: readonly {
    readonly proposals: readonly string[]
    readonly commit: string
    readonly epoch_authenticator: string
  }[]
}

/** Within the lifetimes of all published KeyPackages. */
const timeMs = 1_690_000_000_000 as TimeMs

familyTest<PassiveClient>('passive-client', 'passive-client*.json', async (vector, suite) => {
  const psks: PskLookup = (id) => {
    const named = vector.external_psks.find(({ psk_id }) =>
      id.kind === 'external' && equalBytes(hex(psk_id), id.pskId)
    )
    return named === undefined ? null : hex(named.psk)
  }
  const joining = joiningOf(vector, psks)
  await checkPrivateKeys(suite, joining)
  await checkRefusedJoins(suite, joining, vector)
  let group = await joined(suite, joining)
  strictEqual(authenticator(group), vector.initial_epoch_authenticator)
  let seen = group.public
  for (const { proposals, commit, epoch_authenticator } of vector.epochs) {
    const before = group.public.context.epoch
    for (const message of [...proposals, commit]) group = await taken(group, hex(message), psks)
    strictEqual(group.public.context.epoch, before + 1n)
    for (const message of [...proposals, commit]) seen = await follow(seen, hex(message))
    deepStrictEqual(encodeGroupContext(seen.context), encodeGroupContext(group.public.context))
    strictEqual(authenticator(group), epoch_authenticator)
  }
})

/** Made anew for each attempt, since secrets are wiped by who takes them. */
function joiningOf(vector: PassiveClient, psks: PskLookup): WelcomeJoining {
  const message = decodeMlsMessage('keyPackage', hex(vector.key_package))
  ok(message !== null)
  return {
    welcome: hex(vector.welcome),
    keyPackage: message.keyPackage,
    secrets: {
      initSecret: hex(vector.init_priv),
      encryptionSecret: hex(vector.encryption_priv),
    },
    signatureSecret: hex(vector.signature_priv),
    ratchetTree: vector.ratchet_tree === null ? null : hex(vector.ratchet_tree),
    psks,
  }
}

/** Each private key is that of a public key in the KeyPackage. */
async function checkPrivateKeys(suite: CipherSuite, joining: WelcomeJoining): Promise<void> {
  const { keyPackage, secrets, signatureSecret } = joining
  const content = hex('6b657973')
  const signature = await suite.sign(signatureSecret, content)
  const publicKey = keyPackage.leafNode.signatureKey
  ok(await suite.verify({ publicKey, content, signature }))
  const pairs = [
    [keyPackage.initKey, secrets.initSecret],
    [keyPackage.leafNode.encryptionKey, secrets.encryptionSecret],
  ] as const
  for (const [publicKey, secretKey] of pairs) {
    const randomness = new Uint8Array(suite.encapsulationEntropyLength).fill(7)
    const sealed = await suite.hpkeSeal({ publicKey, info: EMPTY, randomness }, content)
    ok(sealed !== null)
    const receiving = { secretKey, enc: sealed.enc, info: EMPTY }
    deepStrictEqual(await suite.hpkeOpen(receiving, sealed.ciphertext), content)
  }
}

/** The same Welcome, without something that it needs. */
async function checkRefusedJoins(
  suite: CipherSuite,
  joining: WelcomeJoining,
  vector: PassiveClient,
): Promise<void> {
  const refusal = async (changed: Partial<WelcomeJoining>) => {
    const result = await joinByWelcome(suite, { ...joiningOf(vector, joining.psks), ...changed })
    return result.kind === 'refused' ? result.code : result.kind
  }
  const { welcome, ratchetTree, secrets } = joining
  const damaged = welcome.with(-1, (welcome.at(-1) as number) ^ 1)
  strictEqual(await refusal({ welcome: damaged }), 'notDecryptable')
  const { encryptionSecret } = secrets
  const swapped = { initSecret: encryptionSecret, encryptionSecret }
  strictEqual(await refusal({ secrets: swapped }), 'notDecryptable')
  if (ratchetTree !== null) strictEqual(await refusal({ ratchetTree: null }), 'badTree')
}

async function joined(suite: CipherSuite, joining: WelcomeJoining): Promise<Group> {
  const result = await joinByWelcome(suite, joining)
  strictEqual(result.kind === 'refused' ? result.code : 'joined', 'joined')
  ok(result.kind === 'joined')
  return result.group
}

/** The state after a message. A damaged copy of it is refused first, and changes nothing. */
async function taken(group: Group, message: Uint8Array, psks: PskLookup): Promise<Group> {
  const processing = { timeMs, psks }
  const damaged = message.with(-1, (message.at(-1) as number) ^ 1)
  const refused = await processMessage(group, damaged, processing)
  deepStrictEqual(refused, { kind: 'refused', code: 'badMembershipTag' })
  const processed = await processMessage(group, message, processing)
  strictEqual(processed.kind === 'refused' ? processed.code : 'processed', 'processed')
  ok(processed.kind === 'proposal' || processed.kind === 'commit')
  for (const secret of processed.consumed) wipe(secret)
  return processed.group
}

/** What somebody without secrets sees of the same messages. */
async function follow(group: PublicGroup, message: Uint8Array): Promise<PublicGroup> {
  const processed = await publicProcess(group, message, { timeMs })
  strictEqual(processed.kind === 'refused' ? processed.code : 'followed', 'followed')
  ok(processed.kind !== 'refused')
  return processed.group
}

function authenticator(group: Group): string {
  return toHex(group.secrets.epochAuthenticator)
}
