/**
 * How many leaves use and support each credential type: what RFC 9420 section 7.3 asks of every
 * leaf about all others, kept as counts, so that a commit does not look at the whole tree.
 */
import { CREDENTIAL_TYPE, credentialType } from '#core/mls/credential.ts'
import type { LeafNode } from '#core/mls/leaf-node.ts'

interface TypeCount {
  /** Leaves whose credential is of the type. */
  readonly used: number
  /** Leaves whose capabilities do not name the type. */
  readonly unsupported: number
}

/** Counts for each of the credential types that this engine can read. */
export type LeafCensus = Readonly<Record<number, TypeCount>>

const TYPES = Object.values(CREDENTIAL_TYPE)
export const NO_LEAVES: LeafCensus = Object.fromEntries(
  TYPES.map((type) => [type, { used: 0, unsupported: 0 }]),
)

/** The census with a leaf more (1) or less (-1). */
export function countLeaf(census: LeafCensus, leaf: LeafNode, change: 1 | -1): LeafCensus {
  const own = credentialType(leaf.credential)
  return Object.fromEntries(TYPES.map((type) => {
    const { used, unsupported } = census[type] ?? { used: 0, unsupported: 0 }
    const lacks = !leaf.capabilities.credentials.includes(type)
    return [type, {
      used: used + (type === own ? change : 0),
      unsupported: unsupported + (lacks ? change : 0),
    }]
  }))
}

export function censusOf(leaves: Iterable<{ readonly leafNode: LeafNode }>): LeafCensus {
  const counts = new Map(TYPES.map((type) => [type as number, { used: 0, unsupported: 0 }]))
  for (const { leafNode } of leaves) {
    for (const type of TYPES) {
      const count = counts.get(type)
      if (count === undefined) continue
      if (credentialType(leafNode.credential) === type) count.used++
      if (!leafNode.capabilities.credentials.includes(type)) count.unsupported++
    }
  }
  return Object.fromEntries(counts)
}

/** Whether every type in use is supported by every leaf (RFC 9420 section 7.3). */
export function credentialsAgree(census: LeafCensus): boolean {
  return TYPES.every((type) => {
    const { used, unsupported } = census[type] ?? { used: 0, unsupported: 0 }
    return used === 0 || unsupported === 0
  })
}
