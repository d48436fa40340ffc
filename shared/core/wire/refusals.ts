/**
 * The closed set of refusals (WIRE-5). Owns their numbers and what travels with each; owns no
 * free text: a person's words for them stand in the message catalogues.
 */
import { LIMITS } from '#core/base/limits.ts'
import { fixed, opaque, struct, u16, u32, u64, u8, utf8, variant } from '#core/wire/codec.ts'

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
  declined: [43, struct({ reason: u8 })],
  unknownSuite: [44, struct({ suite: u16 })],
  badGenesis: [45, struct({ expectedRoom: fixed(32) })],
  alreadyMember: [46, struct({})],
})

export type Refusal = ReturnType<typeof refusalCodec.decode>
export type RefusalCode = Refusal['kind']
