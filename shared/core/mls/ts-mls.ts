/**
 * The MLS port on `ts-mls` 1.6.4. Owns the mapping of states, messages and faults: whatever the
 * library throws on bytes from outside becomes a coded refusal. It is the only importer of the
 * library beside `ts-mls-suite.ts`.
 *
 * What the library does on its own: it reads the wall clock when it checks the lifetime of a leaf
 * that its caller adds (so expired KeyPackages are refused there and by `readKeyPackage`), and it
 * overwrites some secrets by way of the global generator. Commits of Adds alone carry no path
 * (RFC 9420 section 12.4 allows it), because its check of unmerged leaves refuses valid joins into
 * trees that have paths; a Remove always brings one.
 */
import { type ClientConfig, type ClientState, createCommit, createGroup } from 'ts-mls'
import { decodeGroupState, decodeMlsMessage, encodeGroupState, encodeMlsMessage } from 'ts-mls'
import { defaultKeyPackageEqualityConfig, generateKeyPackageWithKey, joinGroup } from 'ts-mls'
import { defaultKeyRetentionConfig, defaultPaddingConfig, emptyPskIndex, mlsExporter } from 'ts-mls'
import { type KeyPackage, type LeafNode, type MLSMessage, type PrivateKeyPackage } from 'ts-mls'
import { processPublicMessage, type Proposal, type RatchetTree } from 'ts-mls'
import { encodeGroupContext } from 'ts-mls/groupContext.js'
import { decodeKeyPackage, encodeKeyPackage, makeKeyPackageRef } from 'ts-mls/keyPackage.js'
import { verifyKeyPackage } from 'ts-mls/keyPackage.js'
import { verifyLeafNodeSignatureKeyPackage } from 'ts-mls/leafNode.js'
import { epoch, type EpochId, type LeafIndex, leafIndex, type TimeMs } from '#core/base/ids.ts'
import { EMPTY, equalBytes } from '#core/base/bytes.ts'
import type { Entropy } from '#core/base/ports.ts'
import type { Crypto } from '#core/crypto/crypto.ts'
import { type Suite, suiteById, SUITES } from '#core/crypto/suites.ts'
import type { CommitMade, HandshakeView, KeyPackageMade, KeyPackageView } from '#core/mls/mls.ts'
import type { CommitProcessed, Mls, MlsGroup, MlsLeaf, MlsRefusal } from '#core/mls/mls.ts'
import type { MlsSigner } from '#core/mls/mls.ts'
import { cipherSuiteName, ciphersuiteOf, NO_ENTROPY } from '#core/mls/ts-mls-suite.ts'
import { decode, encode, opaque, struct, u16 } from '#core/wire/codec.ts'

const STATE_VERSION = 1
const STATE_SIZE_MAX = 67_108_864
const stateCodec = struct({ version: u16, state: opaque(STATE_SIZE_MAX) })
const secretsCodec = struct({
  version: u16,
  initPrivateKey: opaque(8_192),
  hpkePrivateKey: opaque(8_192),
  signaturePrivateKey: opaque(8_192),
})

const CONFIG: ClientConfig = {
  keyRetentionConfig: { ...defaultKeyRetentionConfig, retainKeysForEpochs: 0 },
  lifetimeConfig: { maximumTotalLifetime: 100n * 86_400n, validateLifetimeOnReceive: false },
  keyPackageEqualityConfig: defaultKeyPackageEqualityConfig,
  paddingConfig: defaultPaddingConfig,
  // Who a leaf belongs to is judged with certificates, outside of the group (ID-7).
  authService: { validateCredential: () => Promise.resolve(true) },
}

const SUITE_BY_NAME = new Map(
  Object.values(SUITES).map((suite: Suite) => [cipherSuiteName(suite) as string, suite]),
)

const stateOf = (group: MlsGroup): ClientState => group as unknown as ClientState
const groupOf = (state: ClientState): MlsGroup => state as unknown as MlsGroup

const refused = (code: MlsRefusal['code']): MlsRefusal => ({ kind: 'refused', code })

function suiteOf(state: ClientState): Suite {
  const suite = SUITE_BY_NAME.get(state.groupContext.cipherSuite)
  if (suite === undefined) throw new Error('a group of a known suite')
  return suite
}

/** Runs a call of the library; anything it throws is a refusal. */
async function guarded<T>(
  code: MlsRefusal['code'],
  call: () => Promise<T>,
): Promise<T | MlsRefusal> {
  try {
    return await call()
  } catch {
    return refused(code)
  }
}

/** Decodes exactly one MLSMessage; null for anything else, or anything behind it. */
function decodeMessage(bytes: Uint8Array): MLSMessage | null {
  try {
    const decoded = decodeMlsMessage(bytes, 0)
    return decoded !== undefined && decoded[1] === bytes.length ? decoded[0] : null
  } catch {
    return null
  }
}

function decodeKeyPackageMessage(bytes: Uint8Array): KeyPackage | null {
  const message = decodeMessage(bytes)
  return message?.wireformat === 'mls_key_package' ? message.keyPackage : null
}

/** The identity of a basic credential; empty for any other kind. */
function identityOf(leaf: LeafNode): Uint8Array {
  return leaf.credential.credentialType === 'basic' ? leaf.credential.identity : EMPTY
}

function leafView(leaf: LeafNode) {
  return { identity: identityOf(leaf), signatureKey: leaf.signaturePublicKey }
}

function leavesOf(tree: RatchetTree): readonly MlsLeaf[] {
  const leaves: MlsLeaf[] = []
  for (let node = 0; node < tree.length; node += 2) {
    const entry = tree[node]
    if (entry?.nodeType === 'leaf') {
      leaves.push({ leaf: leafIndex(node / 2), ...leafView(entry.leaf) })
    }
  }
  return leaves
}

/** `createTsMls(crypto)`: the port over the library, computing with the given primitives. */
export function createTsMls(crypto: Crypto): Mls {
  return {
    ...creation(crypto),
    ...following(crypto),
    ...reading(crypto),
    ...getters(crypto),
  }
}

// ---- Making -------------------------------------------------------------------------------

interface PackageRequest {
  readonly suite: Suite
  readonly signer: MlsSigner
  readonly notBefore: TimeMs
  readonly notAfter: TimeMs
  readonly entropy: Entropy
}

function makePackage(crypto: Crypto, request: PackageRequest) {
  const { suite, signer, notBefore, notAfter, entropy } = request
  return generateKeyPackageWithKey(
    { credentialType: 'basic', identity: signer.identity },
    {
      versions: ['mls10'],
      ciphersuites: [cipherSuiteName(suite)],
      extensions: [],
      proposals: [],
      credentials: ['basic'],
    },
    {
      notBefore: BigInt(Math.floor(notBefore / 1_000)),
      notAfter: BigInt(Math.floor(notAfter / 1_000)),
    },
    [],
    { signKey: signer.signatureSecret, publicKey: signer.signatureKey },
    ciphersuiteOf(crypto, suite, entropy),
  )
}

const DAY_MS = 86_400_000

function creation(crypto: Crypto): Pick<Mls, 'makeKeyPackage' | 'createGroup' | 'commit'> {
  return {
    async makeKeyPackage(options): Promise<KeyPackageMade> {
      const made = await makePackage(crypto, options)
      const suite = ciphersuiteOf(crypto, options.suite, NO_ENTROPY)
      return {
        keyPackage: encodeMlsMessage({
          version: 'mls10',
          wireformat: 'mls_key_package',
          keyPackage: made.publicPackage,
        }),
        reference: await makeKeyPackageRef(made.publicPackage, suite.hash),
        secrets: encode(secretsCodec, { version: STATE_VERSION, ...made.privatePackage }),
      }
    },

    async createGroup({ suite, groupId, signer, nowMs, entropy }) {
      const made = await makePackage(crypto, {
        suite,
        signer,
        notBefore: nowMs - DAY_MS as TimeMs,
        notAfter: nowMs + 90 * DAY_MS as TimeMs,
        entropy,
      })
      const implementation = ciphersuiteOf(crypto, suite, entropy)
      const { publicPackage, privatePackage } = made
      return groupOf(
        await createGroup(groupId, publicPackage, privatePackage, [], implementation, CONFIG),
      )
    },

    commit(group, { adds, removes, authenticated, nowMs, entropy }) {
      const state = stateOf(group)
      const proposals: Proposal[] = []
      for (const bytes of adds) {
        const keyPackage = decodeKeyPackageMessage(bytes)
        if (keyPackage === null) return Promise.resolve(refused('malformed'))
        if (expired(keyPackage, nowMs)) return Promise.resolve(refused('expired'))
        proposals.push({ proposalType: 'add', add: { keyPackage } })
      }
      for (const removed of removes) {
        proposals.push({ proposalType: 'remove', remove: { removed } })
      }
      return guarded('invalid', async (): Promise<CommitMade> => {
        const made = await createCommit(
          { state: copyOf(state), cipherSuite: ciphersuiteOf(crypto, suiteOf(state), entropy) },
          {
            wireAsPublicMessage: true,
            extraProposals: proposals,
            ratchetTreeExtension: true,
            authenticatedData: authenticated,
          },
        )
        const { welcome } = made
        return {
          kind: 'committed',
          commit: encodeMlsMessage(made.commit),
          welcome: welcome === undefined ? null : encodeMlsMessage({
            version: 'mls10',
            wireformat: 'mls_welcome',
            welcome,
          }),
          next: groupOf(made.newState),
        }
      })
    },
  }
}

/** The library overwrites parts of the states that it is given; the port promises not to. */
function copyOf(state: ClientState): ClientState {
  const decoded = decodeGroupState(encodeGroupState(state), 0)
  if (decoded === undefined) throw new Error('a state reads back')
  return { ...decoded[0], clientConfig: CONFIG }
}

function expired(keyPackage: KeyPackage, nowMs: TimeMs): boolean {
  const now = BigInt(Math.floor(nowMs / 1_000))
  const { notBefore, notAfter } = keyPackage.leafNode.lifetime
  return now < notBefore || now > notAfter
}

// ---- Following ----------------------------------------------------------------------------

function following(crypto: Crypto): Pick<Mls, 'processCommit' | 'join'> {
  return {
    processCommit(group, bytes) {
      const state = stateOf(group)
      const message = decodeMessage(bytes)
      if (message?.wireformat !== 'mls_public_message') return Promise.resolve(refused('malformed'))
      const { content } = message.publicMessage
      if (content.contentType !== 'commit' || content.sender.senderType !== 'member') {
        return Promise.resolve(refused('invalid'))
      }
      if (!equalBytes(content.groupId, state.groupContext.groupId)) {
        return Promise.resolve(refused('wrongGroup'))
      }
      if (content.epoch !== state.groupContext.epoch) return Promise.resolve(refused('wrongEpoch'))
      const committer = leafIndex(content.sender.leafIndex)
      return guarded('invalid', async () => {
        const { newState } = await processPublicMessage(
          copyOf(state),
          message.publicMessage,
          emptyPskIndex,
          ciphersuiteOf(crypto, suiteOf(state), NO_ENTROPY),
        )
        if (newState.groupActiveState.kind === 'removedFromGroup') {
          return { kind: 'removedFromGroup' as const }
        }
        const before = leavesOf(state.ratchetTree)
        const after = leavesOf(newState.ratchetTree)
        return {
          kind: 'processed',
          next: groupOf(newState),
          committer,
          added: difference(after, before),
          removed: difference(before, after),
          authenticated: content.authenticatedData,
        } satisfies CommitProcessed
      })
    },

    join({ welcome, keyPackage, secrets }) {
      const message = decodeMessage(welcome)
      const own = decodeKeyPackageMessage(keyPackage)
      const privatePackage = decodeSecrets(secrets)
      if (message?.wireformat !== 'mls_welcome' || own === null || privatePackage === null) {
        return Promise.resolve(refused('malformed'))
      }
      const suite = SUITE_BY_NAME.get(message.welcome.cipherSuite)
      if (suite === undefined || own.cipherSuite !== message.welcome.cipherSuite) {
        return Promise.resolve(refused('wrongSuite'))
      }
      return guarded('invalid', async () => {
        const implementation = ciphersuiteOf(crypto, suite, NO_ENTROPY)
        const reference = await makeKeyPackageRef(own, implementation.hash)
        const ours = message.welcome.secrets.some((each) => equalBytes(each.newMember, reference))
        if (!ours) return refused('notForUs')
        const state = await joinGroup(
          message.welcome,
          own,
          privatePackage,
          emptyPskIndex,
          implementation,
          undefined,
          undefined,
          CONFIG,
        )
        return { kind: 'joined' as const, group: groupOf(state) }
      })
    },
  }
}

function decodeSecrets(bytes: Uint8Array): PrivateKeyPackage | null {
  const decoded = decode(secretsCodec, bytes)
  if (decoded.kind === 'malformed' || decoded.value.version !== STATE_VERSION) return null
  const { initPrivateKey, hpkePrivateKey, signaturePrivateKey } = decoded.value
  return { initPrivateKey, hpkePrivateKey, signaturePrivateKey }
}

/** Leaves of `these` that do not stand in `those` with the same place, identity and key. */
function difference(these: readonly MlsLeaf[], those: readonly MlsLeaf[]): readonly MlsLeaf[] {
  const byLeaf = new Map(those.map((leaf) => [leaf.leaf, leaf]))
  return these.filter((leaf) => {
    const other = byLeaf.get(leaf.leaf)
    return other === undefined || !equalBytes(other.identity, leaf.identity) ||
      !equalBytes(other.signatureKey, leaf.signatureKey)
  })
}

// ---- Reading ------------------------------------------------------------------------------

function reading(crypto: Crypto): Pick<Mls, 'welcomeRecipients' | 'readCommit' | 'readKeyPackage'> {
  return {
    welcomeRecipients(bytes) {
      const message = decodeMessage(bytes)
      if (message?.wireformat !== 'mls_welcome') return null
      return message.welcome.secrets.map((each) => each.newMember)
    },

    readCommit(bytes) {
      const message = decodeMessage(bytes)
      if (message?.wireformat !== 'mls_public_message') return refused('malformed')
      const { content } = message.publicMessage
      if (content.contentType !== 'commit' || content.sender.senderType !== 'member') {
        return refused('invalid')
      }
      const adds: HandshakeView['adds'][number][] = []
      const removes: LeafIndex[] = []
      let otherProposals = 0
      for (const each of content.commit.proposals) {
        if (each.proposalOrRefType === 'reference') otherProposals++
        else if (each.proposal.proposalType === 'add') {
          adds.push(leafView(each.proposal.add.keyPackage.leafNode))
        } else if (each.proposal.proposalType === 'remove') {
          removes.push(leafIndex(each.proposal.remove.removed))
        } else otherProposals++
      }
      const { path } = content.commit
      return {
        kind: 'commit',
        groupId: content.groupId,
        epoch: epoch(content.epoch),
        sender: leafIndex(content.sender.leafIndex),
        authenticated: content.authenticatedData,
        adds,
        removes,
        pathLeaf: path === undefined ? null : leafView(path.leafNode),
        otherProposals,
      }
    },

    async readKeyPackage(bytes) {
      const keyPackage = decodeKeyPackageMessage(bytes)
      const suite = keyPackage === null ? undefined : SUITE_BY_NAME.get(keyPackage.cipherSuite)
      if (keyPackage === null) return refused('malformed')
      if (suite === undefined) return refused('wrongSuite')
      const implementation = ciphersuiteOf(crypto, suite, NO_ENTROPY)
      return await guarded('invalid', async (): Promise<KeyPackageView | MlsRefusal> => {
        const sound = await verifyKeyPackage(keyPackage, implementation.signature) &&
          await verifyLeafNodeSignatureKeyPackage(keyPackage.leafNode, implementation.signature)
        if (!sound) return refused('invalid')
        const { lifetime } = keyPackage.leafNode
        return {
          kind: 'keyPackage',
          suite: suite.id,
          reference: await makeKeyPackageRef(keyPackage, implementation.hash),
          ...leafView(keyPackage.leafNode),
          notBefore: Number(lifetime.notBefore) * 1_000 as TimeMs,
          notAfter: Number(lifetime.notAfter) * 1_000 as TimeMs,
        }
      })
    },
  }
}

// ---- Looking ------------------------------------------------------------------------------

type Getters = Omit<
  Mls,
  | keyof ReturnType<typeof creation>
  | keyof ReturnType<typeof following>
  | keyof ReturnType<
    typeof reading
  >
>

function getters(crypto: Crypto): Getters {
  return {
    suite: (group) => suiteOf(stateOf(group)),
    groupId: (group) => stateOf(group).groupContext.groupId,
    epoch: (group) => epoch(stateOf(group).groupContext.epoch),
    epochId(group) {
      const state = stateOf(group)
      const context = encodeGroupContext(state.groupContext)
      return crypto.hash(suiteOf(state).hash, context) as EpochId
    },
    ownLeaf: (group) => leafIndex(stateOf(group).privatePath.leafIndex),
    leafCount: (group) => (stateOf(group).ratchetTree.length + 1) / 2,
    leaves: (group) => leavesOf(stateOf(group).ratchetTree),
    epochAuthenticator: (group) => stateOf(group).keySchedule.epochAuthenticator,
    exportSecret(group, { label, context, length }) {
      const state = stateOf(group)
      const implementation = ciphersuiteOf(crypto, suiteOf(state), NO_ENTROPY)
      const { exporterSecret } = state.keySchedule
      return mlsExporter(exporterSecret, label, context, length, implementation)
    },
    serialise(group) {
      const state = encodeGroupState(stateOf(group))
      return encode(stateCodec, { version: STATE_VERSION, state })
    },
    restore(bytes) {
      const decoded = decode(stateCodec, bytes)
      if (decoded.kind === 'malformed' || decoded.value.version !== STATE_VERSION) return null
      try {
        const state = decodeGroupState(decoded.value.state, 0)
        if (state === undefined || state[1] !== decoded.value.state.length) return null
        return groupOf({ ...state[0], clientConfig: CONFIG })
      } catch {
        return null
      }
    },
  }
}
