/**
 * Messages between the wire and ts-mls: exact decoding, and what anybody can read from a commit or
 * a KeyPackage without a secret. Owns the form of messages; whether a commit is valid is
 * `ts-mls-commit.ts`.
 *
 * The library's decoders take longer lengths than needed, any presence byte and bytes behind the
 * end. So a message counts only when it encodes to itself again: each message has one form, and a
 * byte that no signature covers cannot be changed.
 */
import { decodeMlsMessage, encodeMlsMessage, type MLSMessage } from 'ts-mls/message.js'
import { extensionsSupportedByCapabilities } from 'ts-mls/extension.js'
import { type KeyPackage, makeKeyPackageRef, verifyKeyPackage } from 'ts-mls/keyPackage.js'
import { type LeafNode, verifyLeafNodeSignatureKeyPackage } from 'ts-mls/leafNode.js'
import type { CiphersuiteImpl } from 'ts-mls'
import type { MemberPublicMessage } from 'ts-mls/publicMessage.js'
import type { UpdatePath } from 'ts-mls/updatePath.js'
import type { Welcome } from 'ts-mls/welcome.js'
import { EMPTY, equalBytes } from '#core/base/bytes.ts'
import { epoch, type LeafIndex, leafIndex, type TimeMs } from '#core/base/ids.ts'
import { LIMITS } from '#core/base/limits.ts'
import type { Crypto } from '#core/crypto/crypto.ts'
import { KEM_LENGTHS, SIGNATURE_LENGTHS, type Suite } from '#core/crypto/suites.ts'
import type { HandshakeView, KeyPackageView } from '#core/mls/mls.ts'
import { demand, demanded } from '#core/mls/ts-mls-fault.ts'
import { cipherSuiteName, ciphersuiteOf, NO_ENTROPY } from '#core/mls/ts-mls-suite.ts'
import { suiteOfName } from '#core/mls/ts-mls-suite.ts'

/** Decodes exactly one MLSMessage of at most `sizeMax` bytes in its only form; copies it first. */
function decodeMessage(bytes: Uint8Array, sizeMax: number): MLSMessage {
  demand(bytes.length <= sizeMax, 'malformed')
  let message: MLSMessage | undefined
  try {
    message = decodeMlsMessage(bytes.slice(), 0)?.[0]
    if (message !== undefined && !equalBytes(encodeMlsMessage(message), bytes)) message = undefined
  } catch {
    message = undefined
  }
  return demanded(message, 'malformed')
}

/** The KeyPackage in an MLSMessage; refused as `malformed` otherwise. */
export function decodeKeyPackage(bytes: Uint8Array): KeyPackage {
  const message = decodeMessage(bytes, LIMITS.keyPackageSizeMax)
  demand(message.wireformat === 'mls_key_package', 'malformed')
  return message.keyPackage
}

/** The Welcome in an MLSMessage; refused as `malformed` otherwise. */
export function decodeWelcome(bytes: Uint8Array): Welcome {
  const message = decodeMessage(bytes, LIMITS.welcomeSizeMax)
  demand(message.wireformat === 'mls_welcome', 'malformed')
  return message.welcome
}

/** A commit of a member as PublicMessage, and its parts. */
export interface MemberCommit {
  readonly message: MemberPublicMessage
  readonly groupId: Uint8Array
  readonly epoch: bigint
  readonly sender: LeafIndex
  readonly authenticated: Uint8Array
  /** In the order in which they apply: removes blank leaves, then adds fill them. */
  readonly adds: readonly KeyPackage[]
  readonly removes: readonly LeafIndex[]
  readonly path: UpdatePath | null
  /** Count of proposals of another kind or by reference. */
  readonly otherProposals: number
}

/** The commit in an MLSMessage; `malformed` for another message, `invalid` for another sender. */
export function decodeCommit(bytes: Uint8Array): MemberCommit {
  const message = decodeMessage(bytes, LIMITS.commitSizeMax)
  demand(message.wireformat === 'mls_public_message', 'malformed')
  const { publicMessage } = message
  const { content } = publicMessage
  demand(content.contentType === 'commit', 'malformed')
  demand(publicMessage.senderType === 'member', 'invalid')
  demand(content.sender.senderType === 'member', 'invalid')
  const adds: KeyPackage[] = []
  const removes: LeafIndex[] = []
  let otherProposals = 0
  for (const each of content.commit.proposals) {
    if (each.proposalOrRefType === 'reference') otherProposals++
    else if (each.proposal.proposalType === 'add') adds.push(each.proposal.add.keyPackage)
    else if (each.proposal.proposalType === 'remove') {
      removes.push(leafIndex(each.proposal.remove.removed))
    } else otherProposals++
  }
  return {
    message: publicMessage,
    groupId: content.groupId,
    epoch: content.epoch,
    sender: leafIndex(content.sender.leafIndex),
    authenticated: content.authenticatedData,
    adds,
    removes,
    path: content.commit.path ?? null,
    otherProposals,
  }
}

/** What anybody can read from a commit; nothing is validated. */
export function viewCommit(bytes: Uint8Array): HandshakeView {
  const { groupId, epoch: inEpoch, sender, authenticated, ...commit } = decodeCommit(bytes)
  return {
    kind: 'commit',
    groupId,
    epoch: epoch(inEpoch),
    sender,
    authenticated,
    adds: commit.adds.map((each) => leafView(each.leafNode)),
    removes: commit.removes,
    pathLeaf: commit.path === null ? null : leafView(commit.path.leafNode),
    otherProposals: commit.otherProposals,
  }
}

/** Identity and signature key of a leaf; no identity for a credential that is not basic. */
export function leafView(
  leaf: LeafNode,
): { readonly identity: Uint8Array; readonly signatureKey: Uint8Array } {
  const { credential } = leaf
  return {
    identity: credential.credentialType === 'basic' ? credential.identity : EMPTY,
    signatureKey: leaf.signaturePublicKey,
  }
}

/** Reads and verifies a KeyPackage (RFC 9420 section 10.1), but for its lifetime. */
export async function viewKeyPackage(crypto: Crypto, bytes: Uint8Array): Promise<KeyPackageView> {
  const keyPackage = decodeKeyPackage(bytes)
  const suite = demanded(suiteOfName(keyPackage.cipherSuite), 'wrongSuite')
  const implementation = ciphersuiteOf(crypto, suite, NO_ENTROPY)
  await demandKeyPackage(implementation, suite, keyPackage)
  const { lifetime } = keyPackage.leafNode
  return {
    kind: 'keyPackage',
    suite: suite.id,
    reference: await makeKeyPackageRef(keyPackage, implementation.hash),
    ...leafView(keyPackage.leafNode),
    notBefore: milliseconds(lifetime.notBefore),
    notAfter: milliseconds(lifetime.notAfter),
  }
}

/** Seconds of a lifetime in milliseconds; beyond any clock, the largest exact number. */
function milliseconds(seconds: bigint): TimeMs {
  const inMs = seconds * 1_000n
  const max = BigInt(Number.MAX_SAFE_INTEGER)
  return Number(inMs < max ? inMs : max) as TimeMs
}

/** True when `nowMs` lies within the lifetime of a KeyPackage (RFC 9420 section 7.2). */
export function isCurrent(keyPackage: KeyPackage, nowMs: TimeMs): boolean {
  const { notBefore, notAfter } = keyPackage.leafNode.lifetime
  const now = BigInt(Math.floor(nowMs / 1_000))
  return notBefore <= now && now <= notAfter
}

/** The rules of a KeyPackage that hold at any time (RFC 9420 sections 7.3 and 10.1). */
export async function demandKeyPackage(
  implementation: CiphersuiteImpl,
  suite: Suite,
  keyPackage: KeyPackage,
): Promise<void> {
  const { leafNode, initKey, version, cipherSuite } = keyPackage
  demand(version === 'mls10', 'invalid')
  demand(cipherSuite === implementation.name, 'wrongSuite')
  demand(initKey.length === KEM_LENGTHS[suite.kem].publicKey, 'invalid')
  demand(!equalBytes(initKey, leafNode.hpkePublicKey), 'invalid')
  const { capabilities } = leafNode
  demand(extensionsSupportedByCapabilities(keyPackage.extensions, capabilities), 'invalid')
  demandLeaf(suite, leafNode)
  const { signature } = implementation
  demand(await verifyLeafNodeSignatureKeyPackage(leafNode, signature), 'invalid')
  demand(await verifyKeyPackage(keyPackage, signature), 'invalid')
}

/**
 * The rules of a leaf that hold wherever it stands (RFC 9420 section 7.3), but for its signature: a
 * basic credential, capabilities that cover it, the suite and its own extensions, keys of the right
 * length.
 */
export function demandLeaf(suite: Suite, leaf: LeafNode): void {
  const { capabilities, credential } = leaf
  demand(credential.credentialType === 'basic', 'invalid')
  const { length } = credential.identity
  demand(length > 0 && length <= LIMITS.leafIdentitySizeMax, 'invalid')
  demand(capabilities.versions.includes('mls10'), 'invalid')
  demand(capabilities.ciphersuites.includes(cipherSuiteName(suite)), 'invalid')
  demand(capabilities.credentials.includes('basic'), 'invalid')
  demand(extensionsSupportedByCapabilities(leaf.extensions, capabilities), 'invalid')
  demand(leaf.hpkePublicKey.length === KEM_LENGTHS[suite.kem].publicKey, 'invalid')
  const { publicKey } = SIGNATURE_LENGTHS[suite.signature]
  demand(leaf.signaturePublicKey.length === publicKey, 'invalid')
}
