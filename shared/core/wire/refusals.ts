/**
 * The closed set of refusals (WIRE-5). Owns their numbers and what travels with each; owns no
 * free text: a person's words for them stand in the message catalogues.
 */
import { LIMITS } from '#core/base/limits.ts'
import {
  enumU8,
  fixed,
  opaque,
  struct,
  u16,
  u32,
  u64,
  u8,
  utf8,
  variant,
} from '#core/wire/codec.ts'

/** Why a commit is invalid, the same for hub and members (GROUP-*). Never used again. */
export const COMMIT_FAULTS = {
  /** RFC 9420 itself refuses it. */
  mls: 1,
  /** The entry says another room or epoch, or its `seen` is not the authenticated_data. */
  entry: 2,
  /** The committer had not seen the epoch in which it commits, or the last void. */
  staleSeen: 3,
  /** The published GroupInfo is not that of the epoch made. */
  groupInfo: 4,
  /** Certificates are missing, too many, or do not bear out a leaf. */
  certificate: 5,
  /** A leaf without an identity of ours. */
  identity: 6,
  /** A leaf below the highest manifest of its account. */
  oldManifest: 7,
  twoRoots: 8,
  twoLeaves: 9,
  /** A leaf's update names another account or device. */
  otherDevice: 10,
  /** An admission that is missing, changed, in the wrong place, or wrongly signed. */
  admission: 11,
  /** None of the three external commits. */
  externalKind: 12,
  unknownInvitation: 13,
  invitationExpired: 14,
  invitationSpent: 15,
  alreadyMember: 16,
  proposalKind: 17,
  policy: 18,
  /** Other GroupContext extensions were changed. */
  extensions: 19,
  /** More leaves at once, or in the room, or epochs without a verdict, than there may be. */
  tooMany: 20,
  /** A leaf that is larger than any suite makes one. */
  leafSize: 21,
} as const
export type CommitFault = keyof typeof COMMIT_FAULTS

/** Why a vote does not stand in the log (VOTE-2). Never used again. */
export const VOTE_FAULTS = {
  malformed: 1,
  /** Not about this room, this commit or its epochs. */
  otherEpoch: 2,
  wrongLeaf: 3,
  wrongSignature: 4,
  /** The leaf has voted on this commit. */
  twice: 5,
  /** A complaint of a leaf whose vote does not count. */
  noElector: 6,
  /** The commit is final or void already. */
  settled: 7,
} as const
export type VoteFault = keyof typeof VOTE_FAULTS

/** Name to number and what goes with it. Numbers are never used again. */
export const refusalCodec = variant('kind', {
  // Frames and session
  malformed: [1, struct({})],
  oversized: [2, struct({ sizeMax: u32 })],
  unknownVersion: [3, struct({ version: u8 })],
  unknownOpcode: [4, struct({ opcode: u8 })],
  notInThisState: [5, struct({})],
  wrongSignature: [6, struct({})],
  unknownDevice: [7, struct({})],
  tooMany: [8, struct({ retryAfterMs: u32 })],
  unavailable: [9, struct({ retryAfterMs: u32 })],
  moved: [10, struct({ hubDomain: utf8(LIMITS.hubDomainMax), sequence: u64 })],
  tokenRequired: [11, struct({ challenge: opaque(LIMITS.tokenSizeMax) })],
  notAllowed: [12, struct({})],
  // Directory
  nameTaken: [20, struct({})],
  badCertificate: [21, struct({})],
  // Rooms
  unknownRoom: [30, struct({})],
  roomExists: [31, struct({})],
  notAMember: [32, struct({})],
  wrongRoom: [33, struct({})],
  staleEpoch: [34, struct({ epoch: u64 })],
  futureEpoch: [35, struct({ epoch: u64 })],
  wrongEpochId: [36, struct({})],
  wrongLeaf: [37, struct({})],
  replayed: [38, struct({ generation: u32 })],
  generationTooFar: [39, struct({ generation: u32 })],
  unknownEntry: [40, struct({})],
  unknownInvitation: [41, struct({})],
  invitationSpent: [42, struct({})],
  unknownSuite: [44, struct({ suite: u16 })],
  badGenesis: [45, struct({ expectedRoom: fixed(32) })],
  alreadyMember: [46, struct({})],
  // The group at the hub; 43 was used
  /** The epoch is provisional: vote on the commit at `position` first (VOTE-5). */
  provisional: [47, struct({ position: u64 })],
  badCommit: [48, struct({ fault: enumU8(COMMIT_FAULTS) })],
  badVote: [49, struct({ fault: enumU8(VOTE_FAULTS) })],
  badProposal: [50, struct({})],
  badAnchor: [51, struct({})],
  /** There is a right to the group, and no anchor to give with it. */
  noAnchor: [52, struct({})],
  badGroupInfo: [53, struct({})],
})

export type Refusal = ReturnType<typeof refusalCodec.decode>
export type RefusalCode = Refusal['kind']
