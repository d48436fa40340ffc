/**
 * `ts-mls` 1.6.4 as a contender of the benchmark of MLS: on suite 0x0001 with its own cryptography,
 * on X-Wing with the primitives that the engine has in the same run. Owns the library's sequences.
 */
import { ok } from 'node:assert/strict'
import {
  acceptAll,
  type CiphersuiteImpl,
  type ClientState,
  createCommit,
  decodeMlsMessage,
  emptyPskIndex,
  encodeMlsMessage,
  generateKeyPackageWithKey,
  joinGroup,
  joinGroupExternal,
  type KeyPackage,
  type MLSMessage,
  type PrivateKeyPackage,
  processPublicMessage,
  type Proposal,
} from 'ts-mls'
import { utf8Encode } from '#core/base/bytes.ts'
import type { CipherSuite } from '#core/mls/cipher-suite.ts'
import { clientName } from '../tests/interop/peer.ts'
import { lifetime, makePerson } from './mls-group.ts'
import type { Contender } from './mls-peers.ts'

interface Kept {
  readonly suite: CipherSuite
  readonly implementation: CiphersuiteImpl
  readonly publicPackage: KeyPackage
  readonly privatePackage: PrivateKeyPackage
  state: ClientState | null
}

/** A client that is in no group yet. */
export async function createTsMls(
  suite: CipherSuite,
  implementation: CiphersuiteImpl,
  device: number,
): Promise<Contender> {
  const { template, signatureSecret } = makePerson(suite, device)
  const made = await generateKeyPackageWithKey(
    { credentialType: 'basic', identity: utf8Encode(clientName(device)) },
    {
      versions: ['mls10'],
      ciphersuites: [implementation.name],
      extensions: [],
      proposals: [],
      credentials: ['basic', 'x509'],
    },
    lifetime(),
    [],
    { signKey: signatureSecret, publicKey: template.signatureKey },
    implementation,
  )
  const kept: Kept = { suite, implementation, ...made, state: null }
  return {
    ...membership(kept),
    ...commits(kept),
    epochSecret: () => Promise.resolve(stateOf(kept).keySchedule.epochAuthenticator),
  }
}

function stateOf({ state }: Kept): ClientState {
  ok(state, 'a member of a group')
  return state
}

function membership(kept: Kept) {
  const { suite, implementation, publicPackage, privatePackage } = kept
  return {
    keyPackage: () =>
      Promise.resolve(encodeMlsMessage({
        version: 'mls10',
        wireformat: 'mls_key_package',
        keyPackage: publicPackage,
      })),
    async join(bytes: Uint8Array): Promise<void> {
      const message = decoded(bytes)
      ok(message.wireformat === 'mls_welcome')
      const { welcome } = message
      const psks = emptyPskIndex
      kept.state = await joinGroup(welcome, publicPackage, privatePackage, psks, implementation)
    },
    async joinFromOutside(bytes: Uint8Array): Promise<Uint8Array> {
      const message = decoded(bytes)
      ok(message.wireformat === 'mls_group_info')
      const { newState, publicMessage } = await joinGroupExternal(
        message.groupInfo,
        publicPackage,
        privatePackage,
        false,
        readingExternalPub(implementation, suite.kemPublicKeyLength),
      )
      kept.state = newState
      return encodeMlsMessage({ version: 'mls10', wireformat: 'mls_public_message', publicMessage })
    },
  }
}

function commits(kept: Kept) {
  const { implementation } = kept
  return {
    async commit({ adds }: { readonly adds: readonly Uint8Array[] }) {
      const made = await createCommit({ state: stateOf(kept), cipherSuite: implementation }, {
        wireAsPublicMessage: true,
        extraProposals: adds.map(addOf),
      })
      kept.state = made.newState
      const { welcome } = made
      return {
        commit: encodeMlsMessage(made.commit),
        welcome: welcome === undefined
          ? null
          : encodeMlsMessage({ version: 'mls10', wireformat: 'mls_welcome', welcome }),
      }
    },
    async follow(commit: Uint8Array): Promise<void> {
      const message = decoded(commit)
      ok(message.wireformat === 'mls_public_message')
      const { newState } = await processPublicMessage(
        stateOf(kept),
        message.publicMessage,
        emptyPskIndex,
        implementation,
        acceptAll,
      )
      kept.state = newState
    },
  }
}

function decoded(bytes: Uint8Array): MLSMessage {
  const found = decodeMlsMessage(bytes, 0)
  ok(found, 'an MLSMessage')
  return found[0]
}

function addOf(bytes: Uint8Array): Proposal {
  const message = decoded(bytes)
  ok(message.wireformat === 'mls_key_package')
  return { proposalType: 'add', add: { keyPackage: message.keyPackage } }
}

/** The library takes the vector of bytes in `external_pub` (section 12.4.3.2) for the key. */
function readingExternalPub(suite: CiphersuiteImpl, keyLength: number): CiphersuiteImpl {
  const importPublicKey: CiphersuiteImpl['hpke']['importPublicKey'] = (key) =>
    suite.hpke.importPublicKey(key.slice(-keyLength))
  return { ...suite, hpke: { ...suite.hpke, importPublicKey } }
}
