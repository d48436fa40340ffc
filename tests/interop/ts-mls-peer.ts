/**
 * `ts-mls` 1.6.4 as a peer, by its own sequences and its own cryptography: nothing of the product
 * takes part. Owns the ways around three structures that the library encodes otherwise than the
 * RFC; `ts-mls-faults.test.ts` shows each of them without its way around.
 */
import { ok } from 'node:assert/strict'
import {
  acceptAll,
  type CiphersuiteImpl,
  type ClientState,
  createApplicationMessage,
  createCommit,
  createGroup,
  decodeMlsMessage,
  defaultCapabilities,
  defaultCryptoProvider,
  emptyPskIndex,
  encodeMlsMessage,
  type Extension,
  generateKeyPackage,
  getCiphersuiteFromName,
  getCiphersuiteImpl,
  joinGroup,
  joinGroupExternal,
  type KeyPackage,
  type LeafNode,
  mlsExporter,
  type MLSMessage,
  type PrivateKeyPackage,
  processPrivateMessage,
  processPublicMessage,
  type Proposal,
} from 'ts-mls'
import { getGroupMembers } from 'ts-mls/clientState.js'
import { createGroupInfoWithRatchetTree } from 'ts-mls/createCommit.js'
import { EXPORTER_LABEL, EXPORTER_LENGTH } from './peer.ts'
import type { Change, CommitMade, MlsPeer, OutsideSender } from './peer.ts'
import { externalSenders, opaque } from './presentation.ts'

const SUITE = getCiphersuiteFromName('MLS_128_DHKEMX25519_AES128GCM_SHA256_Ed25519')

/** The suite as the library implements it. */
export const tsMlsSuite = (): Promise<CiphersuiteImpl> =>
  getCiphersuiteImpl(SUITE, defaultCryptoProvider)

/** The one message in `bytes`. */
export function decodeOne(bytes: Uint8Array): MLSMessage {
  const decoded = decodeMlsMessage(bytes, 0)
  ok(decoded, 'an MLSMessage')
  return decoded[0]
}

const nameOf = ({ credential }: LeafNode): string => {
  ok(credential.credentialType === 'basic')
  return new TextDecoder().decode(credential.identity)
}

/** What only tests of the library's own faults look at. */
export interface TsMlsPeer extends MlsPeer {
  readonly engine: 'ts-mls'
  state(): ClientState
  /** A commit of the proposals given, whatever they are. */
  commitOf(
    proposals: readonly Proposal[],
    wireFormat?: 'publicMessage' | 'privateMessage',
  ): Promise<CommitMade>
  leafOf(name: string): number
}

/** `extensionTypes` of others that the client says to support. */
export async function createTsMlsPeer(
  name: string,
  extensionTypes: readonly number[] = [],
): Promise<TsMlsPeer> {
  const suite = await tsMlsSuite()
  const own = await makeOwnPackage(suite, name, extensionTypes)
  const kept: Kept = { name, suite, ...own, state: null }
  return {
    engine: 'ts-mls',
    name,
    mixesChanges: true,
    ...membership(kept),
    ...commits(kept),
    ...readings(kept),
  }
}

/** A KeyPackage, as the library has it, and its secrets. */
export function makeOwnPackage(
  suite: CiphersuiteImpl,
  name: string,
  extensionTypes: readonly number[] = [],
) {
  const identity = new TextEncoder().encode(name)
  const credential = { credentialType: 'basic', identity } as const
  const capabilities = defaultCapabilities()
  capabilities.extensions.push(...extensionTypes)
  return generateKeyPackage(credential, capabilities, lifetime(), [], suite)
}

/** From an hour ago for a week: core-crypto checks both ends (section 7.2). */
function lifetime() {
  const nowS = BigInt(Math.floor(Date.now() / 1_000))
  return { notBefore: nowS - 3_600n, notAfter: nowS + 604_800n }
}

interface Kept {
  readonly name: string
  readonly suite: CiphersuiteImpl
  readonly publicPackage: KeyPackage
  readonly privatePackage: PrivateKeyPackage
  state: ClientState | null
}

function stateOf({ state }: Kept): ClientState {
  ok(state, 'a member of a group')
  return state
}

function membership(kept: Kept) {
  const { suite, publicPackage, privatePackage } = kept
  return {
    keyPackage: () =>
      Promise.resolve(encodeMlsMessage({
        version: 'mls10',
        wireformat: 'mls_key_package',
        keyPackage: publicPackage,
      })),
    async create(groupId: Uint8Array, sender?: OutsideSender): Promise<void> {
      const state = await createGroup(groupId, publicPackage, privatePackage, [], suite)
      // Its check takes no rightly encoded `external_senders`. Epoch 0 depends on no context.
      const extensions: Extension[] = sender === undefined ? [] : [{
        extensionType: 'external_senders',
        extensionData: externalSenders([sender]),
      }]
      kept.state = { ...state, groupContext: { ...state.groupContext, extensions } }
    },
    async join(bytes: Uint8Array): Promise<void> {
      const message = decodeOne(bytes)
      ok(message.wireformat === 'mls_welcome')
      const { welcome } = message
      kept.state = await joinGroup(welcome, publicPackage, privatePackage, emptyPskIndex, suite)
    },
    joinFromOutside: (groupInfo: Uint8Array) => joinOutside(kept, groupInfo, false),
    resync: (groupInfo: Uint8Array) => joinOutside(kept, groupInfo, true),
  }
}

async function joinOutside(kept: Kept, bytes: Uint8Array, resync: boolean): Promise<Uint8Array> {
  const { suite, publicPackage, privatePackage } = kept
  const message = decodeOne(bytes)
  ok(message.wireformat === 'mls_group_info')
  const { newState, publicMessage } = await joinGroupExternal(
    message.groupInfo,
    publicPackage,
    privatePackage,
    resync,
    readingExternalPub(suite),
  )
  kept.state = newState
  return encodeMlsMessage({ version: 'mls10', wireformat: 'mls_public_message', publicMessage })
}

/**
 * The suite, for whom `external_pub` is a vector of bytes (section 12.4.3.2): the library takes the
 * whole extension, with the length in front, for the key.
 */
function readingExternalPub(suite: CiphersuiteImpl): CiphersuiteImpl {
  const importPublicKey: CiphersuiteImpl['hpke']['importPublicKey'] = (key) =>
    suite.hpke.importPublicKey(key.length === 33 && key[0] === 32 ? key.slice(1) : key)
  return { ...suite, hpke: { ...suite.hpke, importPublicKey } }
}

function commits(kept: Kept) {
  const { suite } = kept
  const leafOf = (name: string): number => {
    const leaves = stateOf(kept).ratchetTree
    const node = leaves.findIndex((each) => each?.nodeType === 'leaf' && nameOf(each.leaf) === name)
    ok(node >= 0, `${name} is a member`)
    return node / 2
  }
  const commitOf = async (
    proposals: readonly Proposal[],
    wireFormat: 'publicMessage' | 'privateMessage' = 'publicMessage',
  ): Promise<CommitMade> => {
    const made = await createCommit({ state: stateOf(kept), cipherSuite: suite }, {
      wireAsPublicMessage: wireFormat === 'publicMessage',
      ratchetTreeExtension: true,
      extraProposals: [...proposals],
    })
    kept.state = made.newState
    const { welcome } = made
    return {
      commit: encodeMlsMessage(made.commit),
      welcome: welcome === undefined
        ? null
        : encodeMlsMessage({ version: 'mls10', wireformat: 'mls_welcome', welcome }),
    }
  }
  return {
    leafOf,
    commitOf,
    commit: ({ adds, removes }: Change) =>
      commitOf([
        ...removes.map(leafOf).map((removed): Proposal => ({
          proposalType: 'remove',
          remove: { removed },
        })),
        ...adds.map(addOf),
      ]),
    commitProposed: () => commitOf([]),
    follow: (commit: Uint8Array) => processHandshake(kept, commit),
    // It keeps no secret key for an Update of its own.
    proposeUpdate: () => Promise.resolve(null),
    takeProposal: (proposal: Uint8Array) => processHandshake(kept, proposal),
  }
}

function addOf(bytes: Uint8Array): Proposal {
  const message = decodeOne(bytes)
  ok(message.wireformat === 'mls_key_package')
  return { proposalType: 'add', add: { keyPackage: message.keyPackage } }
}

/**
 * Processes a handshake. For one from outside, `external_senders` is shown as the library reads it:
 * an extension for each sender. The signature of such a message covers no context (section 6.1).
 */
async function processHandshake(kept: Kept, bytes: Uint8Array): Promise<void> {
  const message = decodeOne(bytes)
  const state = stateOf(kept)
  if (message.wireformat === 'mls_private_message') {
    const { privateMessage } = message
    const read = await processPrivateMessage(state, privateMessage, emptyPskIndex, kept.suite)
    ok(read.kind === 'newState')
    kept.state = read.newState
    return
  }
  ok(message.wireformat === 'mls_public_message')
  const { groupContext } = state
  const fromOutside = message.publicMessage.content.sender.senderType === 'external'
  const shown = fromOutside ? { ...groupContext, extensions: sendersApart(state) } : groupContext
  const { newState } = await processPublicMessage(
    { ...state, groupContext: shown },
    message.publicMessage,
    emptyPskIndex,
    kept.suite,
    acceptAll,
  )
  kept.state = fromOutside ? { ...newState, groupContext } : newState
}

function sendersApart({ groupContext }: ClientState): Extension[] {
  return groupContext.extensions.map((extension) => {
    if (extension.extensionType !== 'external_senders') return extension
    const [length = 0] = extension.extensionData
    ok(length < 0xc0, 'a vector of senders')
    return { ...extension, extensionData: extension.extensionData.slice(length < 0x40 ? 1 : 2) }
  })
}

function readings(kept: Kept) {
  const { suite } = kept
  return {
    state: () => stateOf(kept),
    async groupInfo(): Promise<Uint8Array> {
      const state = stateOf(kept)
      const { groupContext, confirmationTag, ratchetTree, keySchedule } = state
      const { publicKey } = await suite.hpke.deriveKeyPair(keySchedule.externalSecret)
      const key = await suite.hpke.exportPublicKey(publicKey)
      // What it makes by itself has the bare key in `external_pub`.
      const extensions: Extension[] = [{
        extensionType: 'external_pub',
        extensionData: opaque(key),
      }]
      const groupInfo = await createGroupInfoWithRatchetTree(
        groupContext,
        confirmationTag,
        state,
        ratchetTree,
        extensions,
        suite,
      )
      return encodeMlsMessage({ version: 'mls10', wireformat: 'mls_group_info', groupInfo })
    },
    async protect(plaintext: Uint8Array): Promise<Uint8Array> {
      const made = await createApplicationMessage(stateOf(kept), plaintext, suite)
      kept.state = made.newState
      const { privateMessage } = made
      return encodeMlsMessage({
        version: 'mls10',
        wireformat: 'mls_private_message',
        privateMessage,
      })
    },
    async unprotect(bytes: Uint8Array): Promise<Uint8Array> {
      const message = decodeOne(bytes)
      ok(message.wireformat === 'mls_private_message')
      const read = await processPrivateMessage(
        stateOf(kept),
        message.privateMessage,
        emptyPskIndex,
        suite,
      )
      kept.state = read.newState
      ok(read.kind === 'applicationMessage')
      return read.message
    },
    exporter: () =>
      mlsExporter(
        stateOf(kept).keySchedule.exporterSecret,
        EXPORTER_LABEL,
        new Uint8Array(),
        EXPORTER_LENGTH,
        suite,
      ),
    epochAuthenticator: () => Promise.resolve(stateOf(kept).keySchedule.epochAuthenticator),
    epoch: () => Promise.resolve(stateOf(kept).groupContext.epoch),
    members: () => Promise.resolve(getGroupMembers(stateOf(kept)).map(nameOf).sort()),
  }
}
