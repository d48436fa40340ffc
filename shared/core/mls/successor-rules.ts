/**
 * When a group may succeed another (RFC 9420 sections 11.2 and 11.3): what a joiner checks of a
 * reinitialised group or of a branch against the group that it comes from.
 */
import { equalBytes, toHex } from '#core/base/bytes.ts'
import { type Credential, credential } from '#core/mls/credential.ts'
import { extensions } from '#core/mls/extension.ts'
import type { MlsFault } from '#core/mls/fault.ts'
import type { Group } from '#core/mls/group.ts'
import { MLS_VERSION } from '#core/mls/key-package.ts'
import type { PreSharedKeyId } from '#core/mls/proposal.ts'
import type { PublicGroup } from '#core/mls/public-group.ts'
import { members, type RatchetTree } from '#core/mls/ratchet-tree.ts'
import type { GroupSecrets } from '#core/mls/welcome.ts'
import { encode } from '#core/wire/codec.ts'

type ResumptionId = Extract<PreSharedKeyId, { readonly kind: 'resumption' }>

/** Whether a PSK binds a group to the one that it comes from. */
function isBinding(id: PreSharedKeyId): id is ResumptionId {
  return id.kind === 'resumption' && id.usage !== 'application'
}

/** How the group of a Welcome comes from another; null for one that comes from none. */
export function successionOf(psks: readonly PreSharedKeyId[]): 'reInit' | 'branch' | null {
  const usage = psks.find(isBinding)?.usage ?? 'application'
  return usage === 'application' ? null : usage
}

/**
 * Null where the Welcome succeeds nothing, or succeeds `predecessor` as it must. A Welcome that
 * names a predecessor is refused where the caller knows none.
 */
export function judgeSuccessor(
  joined: { readonly group: PublicGroup; readonly secrets: GroupSecrets },
  predecessor: Group | null,
): MlsFault | null {
  const ids = joined.secrets.psks.filter(isBinding)
  const [id] = ids
  if (id === undefined) return null
  if (ids.length > 1 || predecessor === null) return 'badProposalList'
  const { context } = predecessor.public
  const isOf = equalBytes(id.pskGroupId, context.groupId) && id.pskEpoch === context.epoch
  if (!isOf || joined.group.context.epoch !== 1n) return 'badProposalList'
  return id.usage === 'reInit'
    ? judgeReInit(joined.group, predecessor)
    : judgeBranch(joined.group, predecessor)
}

/** Section 11.2: the group is the one that the committed ReInit described, with all members. */
function judgeReInit({ context, tree }: PublicGroup, predecessor: Group): MlsFault | null {
  const wanted = predecessor.public.reInit
  if (wanted === null) return 'badProposalList'
  const same = equalBytes(wanted.groupId, context.groupId) && wanted.version === context.version &&
    wanted.cipherSuite === context.cipherSuite &&
    equalBytes(encode(extensions, wanted.extensions), encode(extensions, context.extensions))
  if (!same) return 'badProposalList'
  return hasAll(credentialsOf(tree), predecessor.public.tree) ? null : 'wrongSender'
}

/** Section 11.3: the same version and suite, and nobody who was not in the group. */
function judgeBranch({ context, tree }: PublicGroup, predecessor: Group): MlsFault | null {
  if (context.version !== MLS_VERSION) return 'wrongVersion'
  if (context.cipherSuite !== predecessor.public.context.cipherSuite) return 'wrongSuite'
  return hasAll(credentialsOf(predecessor.public.tree), tree) ? null : 'wrongSender'
}

function credentialsOf(tree: RatchetTree): ReadonlySet<string> {
  const known = new Set<string>()
  for (const { leafNode } of members(tree)) known.add(keyOf(leafNode.credential))
  return known
}

/** Whether each member of a tree has a credential of the set: members match where those do. */
function hasAll(known: ReadonlySet<string>, tree: RatchetTree): boolean {
  for (const { leafNode } of members(tree)) {
    if (!known.has(keyOf(leafNode.credential))) return false
  }
  return true
}

function keyOf(value: Credential): string {
  return toHex(encode(credential, value))
}
