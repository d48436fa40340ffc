/**
 * When a group may succeed another (RFC 9420 sections 11.2 and 11.3): what a joiner checks of a
 * reinitialised group or of a branch against the group that it comes from.
 */
import { equalBytes } from '#core/base/bytes.ts'
import { type Credential, credential } from '#core/mls/credential.ts'
import { extensions } from '#core/mls/extension.ts'
import type { MlsFault } from '#core/mls/fault.ts'
import type { Group } from '#core/mls/group.ts'
import { MLS_VERSION } from '#core/mls/key-package.ts'
import type { PreSharedKeyId } from '#core/mls/proposal.ts'
import type { PublicGroup } from '#core/mls/public-group.ts'
import { members } from '#core/mls/ratchet-tree.ts'
import type { GroupSecrets } from '#core/mls/welcome.ts'
import { encode } from '#core/wire/codec.ts'

type ResumptionId = Extract<PreSharedKeyId, { readonly kind: 'resumption' }>

/**
 * Null where the Welcome succeeds nothing, or succeeds `predecessor` as it must. A Welcome that
 * names a predecessor is refused where the caller knows none.
 */
export function judgeSuccessor(
  joined: { readonly group: PublicGroup; readonly secrets: GroupSecrets },
  predecessor: Group | null,
): MlsFault | null {
  const ids = joined.secrets.psks.filter((id): id is ResumptionId =>
    id.kind === 'resumption' && id.usage !== 'application'
  )
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

/** Section 11.2: the group is the one that the committed ReInit described. */
function judgeReInit({ context }: PublicGroup, predecessor: Group): MlsFault | null {
  const wanted = predecessor.public.reInit
  if (wanted === null) return 'badProposalList'
  const same = equalBytes(wanted.groupId, context.groupId) && wanted.version === context.version &&
    wanted.cipherSuite === context.cipherSuite &&
    equalBytes(encode(extensions, wanted.extensions), encode(extensions, context.extensions))
  return same ? null : 'badProposalList'
}

/** Section 11.3: the same version and suite, and nobody who was not in the group. */
function judgeBranch({ context, tree }: PublicGroup, predecessor: Group): MlsFault | null {
  if (context.version !== MLS_VERSION) return 'wrongVersion'
  if (context.cipherSuite !== predecessor.public.context.cipherSuite) return 'wrongSuite'
  const known = new Set<string>()
  for (const { leafNode } of members(predecessor.public.tree)) known.add(keyOf(leafNode.credential))
  for (const { leafNode } of members(tree)) {
    if (!known.has(keyOf(leafNode.credential))) return 'wrongSender'
  }
  return null
}

function keyOf(value: Credential): string {
  return encode(credential, value).join()
}
