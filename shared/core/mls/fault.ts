/**
 * What can be wrong with something that a peer sent, as a closed set of codes. Owns no handling:
 * each function says which of them it gives.
 */

export type MlsFault =
  /** Bytes that do not decode, or an encoding that the RFC forbids. */
  | 'malformed'
  | 'wrongGroup'
  | 'wrongEpoch'
  | 'wrongVersion'
  | 'wrongSuite'
  /** A message of a kind that is not expected here. */
  | 'wrongKind'
  | 'wrongSender'
  | 'badSignature'
  | 'badMembershipTag'
  | 'badConfirmationTag'
  | 'badKeyPackage'
  | 'badLeaf'
  | 'badLeafSignature'
  | 'expired'
  /** A key that stands elsewhere in the tree (RFC 9420 sections 7.3 and 12.4.3.1). */
  | 'duplicateKey'
  | 'unsupportedCapability'
  | 'unknownProposal'
  /** Proposals of the epoch wait for a commit, which goes first (RFC 9420 section 12.4). */
  | 'proposalsPending'
  | 'badProposal'
  | 'badProposalList'
  | 'missingPath'
  | 'badPath'
  | 'badParentHash'
  | 'badUnmergedLeaves'
  | 'badTreeHash'
  | 'badTree'
  | 'unknownPsk'
  | 'notDecryptable'
  | 'generationUsed'
  | 'generationTooFar'
  /** The Welcome or the group is not for this client. */
  | 'notForUs'
  /** The group has been reinitialised and takes nothing more (RFC 9420 section 11.2). */
  | 'suspended'
  | 'tooLarge'

export interface MlsRefusal {
  readonly kind: 'refused'
  readonly code: MlsFault
}

export function refuse(code: MlsFault): MlsRefusal {
  return { kind: 'refused', code }
}
