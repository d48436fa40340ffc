/**
 * The group as anybody can know it who holds no secret (RFC 9420 sections 12.4.2 and 14): context,
 * tree, transcript and the proposals of the epoch. The hub follows a room with it, a joiner replays
 * a log with it, and a member's state contains it, so that all judge a commit by the same code.
 * Owns signatures, proposals, tree and transcript; membership tag, confirmation tag and encrypted
 * path can be judged by members only.
 */
import { equalBytes } from '#core/base/bytes.ts'
import type { CipherSuite } from '#core/mls/cipher-suite.ts'
import { EXTENSION_TYPE, findExtension } from '#core/mls/extension.ts'
import { type MlsFault, type MlsRefusal, refuse } from '#core/mls/fault.ts'
import type { Sender } from '#core/mls/framing.ts'
import type { GroupContext } from '#core/mls/group-context.ts'
import { type GroupInfo, verifyGroupInfo } from '#core/mls/group-info.ts'
import { MLS_VERSION } from '#core/mls/key-package.ts'
import { censusOf, credentialsAgree, type LeafCensus } from '#core/mls/leaf-census.ts'
import { judgeLeaf } from '#core/mls/leaf-validation.ts'
import type { Proposal, ReInitProposal } from '#core/mls/proposal.ts'
import { judgeExtensions } from '#core/mls/proposal-list.ts'
import { leafAt, members, type RatchetTree, treeHash } from '#core/mls/ratchet-tree.ts'
import { interimTranscriptHash } from '#core/mls/transcript.ts'
import { decodeRatchetTree } from '#core/mls/tree-codec.ts'
import { verifyTree } from '#core/mls/tree-validation.ts'

/** A proposal that may be committed by reference in its epoch. */
export interface CachedProposal {
  readonly reference: Uint8Array
  readonly sender: Sender
  readonly proposal: Proposal
}

/** Immutable. */
export interface PublicGroup {
  readonly suite: CipherSuite
  readonly context: GroupContext
  readonly tree: RatchetTree
  readonly census: LeafCensus
  readonly confirmationTag: Uint8Array
  readonly interimTranscriptHash: Uint8Array
  /** By reference in hex, in the order of their coming. */
  readonly proposals: ReadonlyMap<string, CachedProposal>
  /** What was committed to take the group's place: nothing more is taken (section 11.2). */
  readonly reInit: ReInitProposal | null
}

export interface PublicGroupOpening {
  readonly groupInfo: GroupInfo
  /** `ratchet_tree` body; null where the GroupInfo carries it. */
  readonly ratchetTree: Uint8Array | null
}

export interface PublicGroupOpened {
  readonly kind: 'opened'
  readonly group: PublicGroup
}

/** Of uint64: no group comes to it, and a commit in it could not state the next one. */
const LAST_EPOCH = (1n << 64n) - 1n

/**
 * The group that a GroupInfo describes, with everything checked that section 12.4.3.1 asks of a
 * tree and of its leaves. Lifetimes in it are not judged: they were when the leaves came.
 */
export async function openPublicGroup(
  suite: CipherSuite,
  { groupInfo, ratchetTree }: PublicGroupOpening,
): Promise<PublicGroupOpened | MlsRefusal> {
  const { groupContext: context } = groupInfo
  if (context.version !== MLS_VERSION) return refuse('wrongVersion')
  if (context.cipherSuite !== suite.id) return refuse('wrongSuite')
  if (context.epoch >= LAST_EPOCH) return refuse('wrongEpoch')
  if (judgeExtensions(context.extensions) !== null) return refuse('malformed')
  const bytes = ratchetTree ?? findExtension(groupInfo.extensions, EXTENSION_TYPE.ratchetTree)
  const tree = bytes === null ? null : decodeRatchetTree(suite, bytes)
  if (tree === null) return refuse('badTree')
  const signer = leafAt(tree, groupInfo.signer)
  if (signer === null) return refuse('wrongSender')
  if (!await verifyGroupInfo(suite, groupInfo, signer.signatureKey)) return refuse('badSignature')
  const group = publicGroupOf(suite, { context, tree, confirmationTag: groupInfo.confirmationTag })
  const fault = await verifyMembers(group)
  return fault === null ? { kind: 'opened', group } : refuse(fault)
}

/** A group in a new epoch, without proposals; the interim transcript hash follows. */
export function publicGroupOf(
  suite: CipherSuite,
  parts: {
    readonly context: GroupContext
    readonly tree: RatchetTree
    readonly confirmationTag: Uint8Array
    readonly census?: LeafCensus
    readonly reInit?: ReInitProposal | null
  },
): PublicGroup {
  const { context, tree, confirmationTag } = parts
  return {
    suite,
    context,
    tree,
    census: parts.census ?? censusOf(members(tree)),
    confirmationTag,
    interimTranscriptHash: interimTranscriptHash(
      suite,
      context.confirmedTranscriptHash,
      confirmationTag,
    ),
    proposals: new Map(),
    reInit: parts.reInit ?? null,
  }
}

/** Tree hash, parent hashes, keys, signatures and capabilities of a whole received tree. */
async function verifyMembers(group: PublicGroup): Promise<MlsFault | null> {
  const { suite, context, tree, census } = group
  if (!equalBytes(treeHash(suite, tree), context.treeHash)) return 'badTreeHash'
  const parameters = { cipherSuite: suite.id, extensions: context.extensions }
  for (const { leafNode } of members(tree)) {
    const fault = judgeLeaf(leafNode, parameters)
    if (fault !== null) return fault
  }
  if (!credentialsAgree(census)) return 'unsupportedCapability'
  return await verifyTree(suite, tree, context.groupId)
}
