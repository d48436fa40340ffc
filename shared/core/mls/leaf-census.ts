/**
 * How many leaves use and support each credential type: what RFC 9420 section 7.3 asks of every
 * leaf about all others, kept as counts, so that a commit does not look at the whole tree.
 */
import { CREDENTIAL_TYPE, type CredentialType, credentialType } from '#core/mls/credential.ts'
import type { LeafNode } from '#core/mls/leaf-node.ts'

interface TypeCount {
  /** Leaves whose credential is of the type. */
  readonly used: number
  /** Leaves whose capabilities do not name the type. */
  readonly unsupported: number
}

/** Counts for each of the credential types that this engine can read. */
export type LeafCensus = Readonly<Record<CredentialType, TypeCount>>

function eachType(count: (type: CredentialType) => TypeCount): LeafCensus {
  const { basic, x509 } = CREDENTIAL_TYPE
  return { [basic]: count(basic), [x509]: count(x509) }
}

const NO_LEAVES: LeafCensus = eachType(() => ({ used: 0, unsupported: 0 }))

export function censusOf(leaves: Iterable<{ readonly leafNode: LeafNode }>): LeafCensus {
  let census = NO_LEAVES
  for (const { leafNode } of leaves) census = countLeaf(census, leafNode, 1)
  return census
}

/** The census with a leaf more (1) or less (-1). */
export function countLeaf(census: LeafCensus, leaf: LeafNode, change: 1 | -1): LeafCensus {
  const own = credentialType(leaf.credential)
  return eachType((type) => {
    const { used, unsupported } = census[type]
    const lacks = !leaf.capabilities.credentials.includes(type)
    return {
      used: type === own ? used + change : used,
      unsupported: lacks ? unsupported + change : unsupported,
    }
  })
}

/** Whether every type in use is supported by every leaf (RFC 9420 section 7.3). */
export function credentialsAgree(census: LeafCensus): boolean {
  return Object.values(census).every(({ used, unsupported }) => used === 0 || unsupported === 0)
}
