/**
 * Which proposals may stand together in a Commit (RFC 9420 section 12.2), each of them by itself
 * (12.1), and what they do to tree and GroupContext (12.3). One code for members, for the hub and
 * for whoever makes the commit. Owns no path and no secret.
 */
import { equalBytes, toHex } from '#core/base/bytes.ts'
import type { TimeMs } from '#core/base/ids.ts'
import { LIMITS } from '#core/base/limits.ts'
import type { CipherSuite } from '#core/mls/cipher-suite.ts'
import { type Extension, EXTENSION_TYPE, findExtension } from '#core/mls/extension.ts'
import { readExternalSenders, readRequiredCapabilities } from '#core/mls/extension.ts'
import type { MlsFault } from '#core/mls/fault.ts'
import type { Sender } from '#core/mls/framing.ts'
import { MLS_VERSION } from '#core/mls/key-package.ts'
import { countLeaf, type LeafCensus } from '#core/mls/leaf-census.ts'
import type { LeafNode } from '#core/mls/leaf-node.ts'
import { supportsParameters, validateKeyPackage, validateLeaf } from '#core/mls/leaf-validation.ts'
import type { KeyPackage } from '#core/mls/key-package.ts'
import type { PreSharedKeyId, Proposal, ReInitProposal } from '#core/mls/proposal.ts'
import {
  addLeaf,
  encryptionKeyOwner,
  leafAt,
  members,
  type RatchetTree,
  removeLeaf,
  replaceLeaf,
  signatureKeyOwner,
} from '#core/mls/ratchet-tree.ts'
import { encode } from '#core/wire/codec.ts'
import { preSharedKeyId } from '#core/mls/proposal.ts'

/** A proposal of a Commit, and who made it. */
export interface SentProposal {
  readonly proposal: Proposal
  readonly sender: Sender
  readonly byReference: boolean
}

/** Who commits: a member, or somebody who comes in by the commit (section 12.4.3.2). */
export type Committer = { readonly kind: 'member'; readonly leaf: number } | {
  readonly kind: 'external'
}

export interface ListContext {
  readonly suite: CipherSuite
  readonly groupId: Uint8Array
  readonly tree: RatchetTree
  readonly census: LeafCensus
  readonly extensions: readonly Extension[]
  readonly committer: Committer
  /** Null leaves the lifetimes of KeyPackages unjudged. */
  readonly timeMs: TimeMs | null
  /** In the first commit of a successor: the one PSK of usage reinit or branch (section 8.4). */
  readonly successor: boolean
}

export interface PlacedLeaf {
  readonly leaf: number
  readonly leafNode: LeafNode
}

/** What a list does, before any path. */
export interface AppliedProposals {
  readonly kind: 'applied'
  readonly tree: RatchetTree
  readonly census: LeafCensus
  readonly extensions: readonly Extension[]
  readonly added: readonly (PlacedLeaf & { readonly keyPackage: KeyPackage })[]
  readonly removed: readonly PlacedLeaf[]
  readonly updated: readonly PlacedLeaf[]
  readonly psks: readonly PreSharedKeyId[]
  readonly reInit: ReInitProposal | null
  readonly kemOutput: Uint8Array | null
  readonly pathRequired: boolean
}

type Judged = AppliedProposals | { readonly kind: 'refused'; readonly code: MlsFault }
const refused = (code: MlsFault): Judged => ({ kind: 'refused', code })

/** Judges a list and applies it in the order of section 12.3. */
export async function applyProposals(
  context: ListContext,
  list: readonly SentProposal[],
): Promise<Judged> {
  const together = context.committer.kind === 'external'
    ? judgeExternalList(list)
    : judgeMemberList(context.committer.leaf, list)
  if (together !== null) return refused(together)
  for (const { proposal, sender } of list) {
    const fault = judgeProposal(context, proposal, sender)
    if (fault !== null) return refused(fault)
  }
  const draft = startDraft(context)
  const steps = [changeExtensions, replaceUpdated, blankRemoved, placeAdded]
  for (const step of steps) {
    const fault = await step(context, draft, list)
    if (fault !== null) return refused(fault)
  }
  return {
    kind: 'applied',
    tree: draft.tree,
    census: draft.census,
    extensions: draft.extensions,
    added: draft.added,
    removed: draft.removed,
    updated: draft.updated,
    psks: of(list, 'psk').map(({ psk }) => psk),
    reInit: of(list, 'reInit')[0] ?? null,
    kemOutput: of(list, 'externalInit')[0]?.kemOutput ?? null,
    pathRequired: list.length === 0 || list.some(({ proposal }) => needsPath(proposal)),
  }
}

/** The proposals of one kind, in their order. */
function of<K extends Proposal['kind']>(
  list: readonly SentProposal[],
  kind: K,
): readonly Extract<Proposal, { readonly kind: K }>[] {
  return list.map(({ proposal }) => proposal).filter((each) => each.kind === kind) as Extract<
    Proposal,
    { readonly kind: K }
  >[]
}

/** "Path Required" of the proposal types (section 17.4). */
function needsPath({ kind }: Proposal): boolean {
  return kind === 'update' || kind === 'remove' || kind === 'externalInit' ||
    kind === 'groupContextExtensions'
}

/** Section 12.2, for the commit of a member. */
function judgeMemberList(committer: number, list: readonly SentProposal[]): MlsFault | null {
  const touched = new Set<number>()
  const clients = new Set<string>()
  for (const { proposal, sender } of list) {
    if (proposal.kind === 'externalInit') return 'badProposalList'
    if (proposal.kind === 'reInit' && list.length > 1) return 'badProposalList'
    if (proposal.kind === 'update' || proposal.kind === 'remove') {
      const leaf = proposal.kind === 'remove' ? proposal.removed : leafOf(sender)
      if (leaf === null || leaf === committer || touched.has(leaf)) return 'badProposalList'
      touched.add(leaf)
    }
    if (proposal.kind === 'add') {
      const client = toHex(proposal.keyPackage.leafNode.signatureKey)
      if (clients.has(client)) return 'badProposalList'
      clients.add(client)
    }
  }
  if (of(list, 'groupContextExtensions').length > 1) return 'badProposalList'
  return repeatsPsk(list) ? 'badProposalList' : null
}

/** Section 12.2, for an external commit: one ExternalInit, at most one Remove, PSKs, by value. */
function judgeExternalList(list: readonly SentProposal[]): MlsFault | null {
  const allowed = new Set<Proposal['kind']>(['externalInit', 'remove', 'psk'])
  if (list.some((each) => each.byReference || !allowed.has(each.proposal.kind))) {
    return 'badProposalList'
  }
  const wrongCounts = of(list, 'externalInit').length !== 1 || of(list, 'remove').length > 1
  return wrongCounts || repeatsPsk(list) ? 'badProposalList' : null
}

function repeatsPsk(list: readonly SentProposal[]): boolean {
  const ids = of(list, 'psk').map(({ psk }) => toHex(encode(preSharedKeyId, psk)))
  return new Set(ids).size !== ids.length
}

function leafOf(sender: Sender): number | null {
  return sender.kind === 'member' ? sender.leaf : null
}

/** What a proposal of this kind may come from (sections 12.1.8 and 17.4). */
const EXTERNAL_KINDS: ReadonlySet<Proposal['kind']> = new Set([
  ...['add', 'remove', 'psk', 'reInit', 'groupContextExtensions'] as const,
])

/** One proposal by itself, as far as it needs no signature of its own (section 12.1). */
export function judgeProposal(
  context: Pick<ListContext, 'suite' | 'tree' | 'extensions' | 'successor'>,
  proposal: Proposal,
  sender: Sender,
): MlsFault | null {
  if (sender.kind === 'external' && !EXTERNAL_KINDS.has(proposal.kind)) return 'wrongSender'
  if (sender.kind === 'newMemberProposal' && proposal.kind !== 'add') return 'wrongSender'
  switch (proposal.kind) {
    case 'update':
      return sender.kind === 'member' ? null : 'wrongSender'
    case 'remove':
      return leafAt(context.tree, proposal.removed) === null ? 'badProposal' : null
    case 'psk':
      return judgePsk(context, proposal.psk)
    case 'reInit':
      return proposal.version < MLS_VERSION ? 'badProposal' : null
    case 'groupContextExtensions':
      return judgeExtensions(proposal.extensions)
    case 'add':
    case 'externalInit':
      return null
  }
}

/** Section 12.1.4. Usages reinit and branch stand only in the first commit of a successor. */
function judgePsk(
  { suite, successor }: Pick<ListContext, 'suite' | 'successor'>,
  psk: PreSharedKeyId,
): MlsFault | null {
  if (psk.pskNonce.length !== suite.hashLength) return 'badProposal'
  if (psk.kind === 'external' || psk.usage === 'application') return null
  return successor ? null : 'badProposal'
}

/** Extensions that a GroupContext may hold, well-formed where this engine knows them. */
export function judgeExtensions(extensions: readonly Extension[]): MlsFault | null {
  const misplaced = [EXTENSION_TYPE.ratchetTree, EXTENSION_TYPE.externalPub]
  if (misplaced.some((type) => findExtension(extensions, type) !== null)) return 'badProposal'
  if (readRequiredCapabilities(extensions) === 'malformed') return 'malformed'
  return readExternalSenders(extensions) === 'malformed' ? 'malformed' : null
}

interface ListDraft {
  tree: RatchetTree
  census: LeafCensus
  extensions: readonly Extension[]
  readonly added: (PlacedLeaf & { readonly keyPackage: KeyPackage })[]
  readonly removed: PlacedLeaf[]
  readonly updated: PlacedLeaf[]
}

function startDraft({ tree, census, extensions }: ListContext): ListDraft {
  return { tree, census, extensions, added: [], removed: [], updated: [] }
}

type Step = (
  context: ListContext,
  draft: ListDraft,
  list: readonly SentProposal[],
) => Promise<MlsFault | null> | MlsFault | null

/** Section 12.1.7. Every member that stays must support what is new. */
const changeExtensions: Step = (context, draft, list) => {
  const [wanted] = of(list, 'groupContextExtensions')
  if (wanted === undefined) return null
  draft.extensions = wanted.extensions
  if (demandsNothingNew(context.extensions, wanted.extensions)) return null
  const leaving = new Set(of(list, 'remove').map(({ removed }) => removed))
  for (const { leaf, leafNode } of members(context.tree)) {
    if (!leaving.has(leaf) && supportsParameters(leafNode, wanted.extensions) !== null) {
      return 'unsupportedCapability'
    }
  }
  return null
}

/** True where types and required capabilities are as before, so that nobody must be asked. */
function demandsNothingNew(before: readonly Extension[], after: readonly Extension[]): boolean {
  const known = new Set(before.map(({ type }) => type))
  if (after.some(({ type }) => !known.has(type))) return false
  const type = EXTENSION_TYPE.requiredCapabilities
  const [was, is] = [findExtension(before, type), findExtension(after, type)]
  return is === null || (was !== null && equalBytes(was, is))
}

/** Section 12.1.2. */
const replaceUpdated: Step = async (context, draft, list) => {
  for (const { proposal, sender } of list) {
    if (proposal.kind !== 'update' || sender.kind !== 'member') continue
    const { leafNode } = proposal
    const { leaf } = sender
    const before = leafAt(draft.tree, leaf)
    if (before === null) return 'wrongSender'
    const fault = await validateLeaf(context.suite, leafNode, {
      group: parameters(context, draft),
      source: 'update',
      place: { groupId: context.groupId, leaf },
    })
    if (fault !== null) return fault
    if (!isFreeFor(draft.tree, leaf, leafNode)) return 'duplicateKey'
    draft.tree = replaceLeaf(draft.tree, leaf, leafNode)
    draft.census = countLeaf(countLeaf(draft.census, before, -1), leafNode, 1)
    draft.updated.push({ leaf, leafNode })
  }
  return null
}

/** Section 12.1.3. */
const blankRemoved: Step = (_context, draft, list) => {
  for (const { removed: leaf } of of(list, 'remove')) {
    const leafNode = leafAt(draft.tree, leaf)
    if (leafNode === null) return 'badProposal'
    draft.tree = removeLeaf(draft.tree, leaf)
    draft.census = countLeaf(draft.census, leafNode, -1)
    draft.removed.push({ leaf, leafNode })
  }
  return null
}

/** Section 12.1.1. */
const placeAdded: Step = async (context, draft, list) => {
  const adds = of(list, 'add')
  const check = { group: parameters(context, draft), timeMs: context.timeMs }
  const faults = await Promise.all(
    adds.map(({ keyPackage }) => validateKeyPackage(context.suite, keyPackage, check)),
  )
  const fault = faults.find((each) => each !== null)
  if (fault !== undefined && fault !== null) return fault
  for (const { keyPackage } of adds) {
    const { leafNode } = keyPackage
    if (!isFree(draft.tree, leafNode)) return 'duplicateKey'
    if (draft.tree.memberCount >= LIMITS.membersMax) return 'tooLarge'
    const placed = addLeaf(draft.tree, leafNode)
    draft.tree = placed.tree
    draft.census = countLeaf(draft.census, leafNode, 1)
    draft.added.push({ leaf: placed.leaf, leafNode, keyPackage })
  }
  return null
}

function parameters({ suite }: ListContext, { extensions }: ListDraft) {
  return { cipherSuite: suite.id, extensions }
}

/** Whether neither key of a new leaf stands in the tree (section 7.3). */
function isFree(tree: RatchetTree, leafNode: LeafNode): boolean {
  return encryptionKeyOwner(tree, leafNode.encryptionKey) === null &&
    signatureKeyOwner(tree, leafNode.signatureKey) === null
}

/**
 * Whether who comes in from outside brings keys that are free: the encryption key is also another
 * than that of the leaf which goes for it, as in an Update (section 12.2).
 */
export function isFreeForComer(
  { tree, removed }: Pick<AppliedProposals, 'tree' | 'removed'>,
  leafNode: LeafNode,
): boolean {
  const { encryptionKey } = leafNode
  return isFree(tree, leafNode) &&
    removed.every((gone) => !equalBytes(gone.leafNode.encryptionKey, encryptionKey))
}

/** Whether a leaf may take this place of its own: a new encryption key, no key of others. */
export function isFreeFor(tree: RatchetTree, leaf: number, leafNode: LeafNode): boolean {
  const owner = signatureKeyOwner(tree, leafNode.signatureKey)
  return encryptionKeyOwner(tree, leafNode.encryptionKey) === null &&
    (owner === null || owner === leaf)
}
