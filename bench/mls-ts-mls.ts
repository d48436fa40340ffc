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
  type MLSMessage,
  processPublicMessage,
  type Proposal,
} from 'ts-mls'
import { utf8Encode } from '#core/base/bytes.ts'
import type { CipherSuite } from '#core/mls/cipher-suite.ts'
import { clientName } from '../tests/interop/peer.ts'
import { lifetime, makePerson } from './mls-group.ts'
import type { Contender } from './mls-peers.ts'

/** A client that is in no group yet. */
export async function createTsMls(
  suite: CipherSuite,
  implementation: CiphersuiteImpl,
  device: number,
): Promise<Contender> {
  const { template, signatureSecret } = makePerson(suite, device)
  const { publicPackage, privatePackage } = await generateKeyPackageWithKey(
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
  let kept: ClientState | null = null
  const state = () => {
    ok(kept, 'a member of a group')
    return kept
  }
  return {
    keyPackage: () =>
      Promise.resolve(encodeMlsMessage({
        version: 'mls10',
        wireformat: 'mls_key_package',
        keyPackage: publicPackage,
      })),
    async join(welcome) {
      const message = decoded(welcome)
      ok(message.wireformat === 'mls_welcome')
      kept = await joinGroup(
        message.welcome,
        publicPackage,
        privatePackage,
        emptyPskIndex,
        implementation,
      )
    },
    async joinFromOutside(groupInfo) {
      const message = decoded(groupInfo)
      ok(message.wireformat === 'mls_group_info')
      const { newState, publicMessage } = await joinGroupExternal(
        message.groupInfo,
        publicPackage,
        privatePackage,
        false,
        readingExternalPub(implementation, suite.kemPublicKeyLength),
      )
      kept = newState
      return encodeMlsMessage({ version: 'mls10', wireformat: 'mls_public_message', publicMessage })
    },
    async commit({ adds }) {
      const made = await createCommit({ state: state(), cipherSuite: implementation }, {
        wireAsPublicMessage: true,
        extraProposals: adds.map(addOf),
      })
      kept = made.newState
      const { welcome } = made
      return {
        commit: encodeMlsMessage(made.commit),
        welcome: welcome === undefined
          ? null
          : encodeMlsMessage({ version: 'mls10', wireformat: 'mls_welcome', welcome }),
      }
    },
    async follow(commit) {
      const message = decoded(commit)
      ok(message.wireformat === 'mls_public_message')
      const { newState } = await processPublicMessage(
        state(),
        message.publicMessage,
        emptyPskIndex,
        implementation,
        acceptAll,
      )
      kept = newState
    },
    epochSecret: () => Promise.resolve(state().keySchedule.epochAuthenticator),
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

/** `external_pub` is a vector of bytes (RFC 9420 section 12.4.3.2); the library knows none. */
function readingExternalPub(suite: CiphersuiteImpl, keyLength: number): CiphersuiteImpl {
  const importPublicKey: CiphersuiteImpl['hpke']['importPublicKey'] = (key) =>
    suite.hpke.importPublicKey(key.slice(-keyLength))
  return { ...suite, hpke: { ...suite.hpke, importPublicKey } }
}
