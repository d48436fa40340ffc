/**
 * Every bound of the protocol in one table, with the relations between them asserted below.
 * Bytes, counts and milliseconds; the last word of a name says which.
 */
import { assert } from '#core/base/assert.ts'

export const LIMITS = {
  // Frames and streams (WIRE-1, WIRE-2)
  frameSizeMax: 1_048_576,
  entriesPerFrameMax: 256,
  entriesFrameSizeMax: 262_144,
  roomStreamCount: 16,

  // Session (SES-*)
  versionsMax: 16,
  featuresMax: 64,
  heartbeatIntervalMs: 10_000,
  sessionSilenceMsMax: 30_000,
  handshakeMsMax: 10_000,
  sessionsMax: 4_096,
  subscriptionsPerSessionMax: 1_024,
  /** Of these, rooms in which a device has done nothing of its own accord. */
  subscriptionsForOthersMax: 960,
  requestsInFlightMax: 1_024,
  redirectsMax: 3,
  framesPerTurnMax: 4_096,
  framesPerRoomTurnMax: 1_024,
  inboundBytesMax: 8_388_608,
  proofFailuresMax: 5,
  closeGraceMs: 500,
  strangerRequestsPerMinuteMax: 30,
  guestRegistrationsPerMinuteMax: 600,
  claimsPerAccountPerMinuteMax: 8,
  bucketsKeptMax: 16_384,

  // Queues (HUB-*)
  outboundQueueBytesMax: 4_194_304,
  controlQueueBytesMax: 2_097_152,
  roomQueueFramesMax: 8_192,
  roomQueueBytesMax: 16_777_216,
  catchUpPageEntriesMax: 256,
  acknowledgeWithinMs: 2_000,
  hashesRememberedMax: 8_192,
  headIntervalMs: 1_000,
  ephemeralsPerSecondMax: 20,
  writeBytesMax: 262_144,
  roomTailBytesMax: 262_144,
  catchUpReadsMax: 8,
  /** Until a page that the log did not give is read again. */
  pageRetryMs: 5_000,
  roomsCachedMax: 4_096,

  // Accounts and directory (ID-*, DIR-*)
  accountNameMax: 96,
  leafIdentitySizeMax: 512,
  hubDomainMax: 253,
  userNameMax: 32,
  deviceNameMax: 64,
  devicesPerAccountMax: 16,
  certificateSizeMax: 32_768,
  keyPackageSizeMax: 16_384,
  /** Of a leaf in the tree of a room, encoded (GROUP-3). */
  leafSizeMax: 16_384,
  keyPackagesPerDeviceMax: 64,
  keyPackagesPerPublishMax: 64,
  keyPackagesLow: 8,
  keyPackagesTarget: 16,
  keyPackagesKeptMax: 512,
  keyPackageLifetimeMs: 7_776_000_000,
  keyPackageBackdateMs: 86_400_000,
  endpointMax: 512,
  tokenSizeMax: 1_024,
  claimAnswerSize: 262_144,

  // Rooms (ROOM-*)
  genesisSizeMax: 8_192,
  commitSizeMax: 524_288,
  welcomeSizeMax: 917_504,
  sealedFrameSizeMax: 131_072,
  ephemeralSizeMax: 1_024,
  membersMax: 65_536,
  membersPerCommitMax: 64,
  commitsPerMinuteMax: 6,
  roomsCreatedPerMinuteMax: 30,
  certificatesPerCommitMax: 65,
  certificatesSizeMax: 524_288,
  invitationsPerRoomMax: 256,
  invitationsPerAccountMax: 16,
  invitationLifetimeMs: 604_800_000,
  invitationAheadMsMax: 691_200_000,
  invitationReusedMsMin: 86_400_000,
  invitationUsesMax: 100,
  inviteLinkMax: 4_096,
  joinsByLinkPerMinuteMax: 60,
  resyncIntervalMsMin: 600_000,
  welcomesPerDeviceMax: 1_024,
  /** That hold Welcomes for a device back, when it comes. */
  roomsWokenMax: 64,
  titleMax: 128,

  // The group at the hub (GROUP-*, JOIN-*)
  groupInfoSizeMax: 131_072,
  proposalSizeMax: 32_768,
  proposalsPerEpochMax: 64,
  policySizeMax: 98_304,
  anchorSizeMax: 40_960,
  anchorIntervalMsMin: 60_000,
  anchorRenewedMs: 86_400_000,
  groupAnswerSizeMax: 536_870_912,
  groupPartSizeMax: 262_144,
  groupRequestsPerMinuteMax: 6,

  // Finality (VOTE-*)
  voteSizeMax: 512,
  askedMax: 16,
  verdictWaitMs: 2_000,
  provisionalMsMax: 604_800_000,
  provisionalEpochsMax: 256,
  resyncWaitMs: 10_000,
  voidsPerDeviceMax: 2,
  voidsWindowMs: 3_600_000,

  // MLS structures (RFC 9420)
  mlsKeySizeMax: 16_384,
  mlsIdentitySizeMax: 65_536,
  mlsExtensionsMax: 256,
  mlsExtensionSizeMax: 4_194_304,
  mlsCapabilitiesMax: 1_024,
  mlsProposalsMax: 16_384,
  mlsGroupIdMax: 255,
  mlsPathNodesMax: 32,
  mlsCiphertextsMax: 131_072,
  mlsMessageSizeMax: 67_108_864,
  mlsTreeNodesMax: 262_143,
  mlsSkippedGenerationsMax: 1_024,
  mlsResumptionsKeptMax: 32,

  // Sender keys and seals (KEY-*, SEAL-*)
  generationBlock: 64,
  generationJumpMax: 1_024,
  /** One below the largest number, which the chain behind it needs. */
  generationMax: 4_294_967_294,
  skippedKeysMax: 1_024,
  lanesMax: 4,
  burstFramesMax: 256,
  burstsRememberedMax: 64,
  plaintextSizeMax: 65_536,
  ephemeralAgeMsMax: 10_000,

  // Device (DEV-*)
  queuedInputsMax: 4_096,
  outboxMax: 10_000,
  outboxInFlightMax: 64,
  outboxAttemptsMax: 16,
  localIdMax: 64,
  sentIdsMax: 256,
  timelineWindowMax: 500,
  textMax: 16_000,
  previewMax: 512,
  recentHashesMax: 256,
  recentMessagesMax: 64,
  /** Of Welcomes that a device cannot decide on yet. */
  welcomesHeldBytesMax: 4_194_304,
  redialDelayMsMin: 250,
  redialDelayMsMax: 30_000,
  retryMsMax: 60_000,
  racesLostMax: 4,
  roomsMax: 10_000,
  requestMsMax: 15_000,
  typingIntervalMs: 3_000,
  typingShownMs: 6_000,
  capsuleStepsMax: 4_096,
  capsuleSizeMax: 1_048_576,
  capsuleStepSizeMax: 131_072,
  capsuleRoomsMax: 256,
  capsulePeopleMax: 64,
  capsuleOutboxMax: 64,
  capsuleNamesMax: 4_096,

  // Content (CONTENT-*)
  contentDepthMax: 4,
  contentPartsMax: 1_024,
  contentItemsMax: 16_384,
  topicIdMax: 4_096,
} as const

assert(LIMITS.entriesFrameSizeMax <= LIMITS.frameSizeMax, 'a batch of entries fits a frame')
assert(LIMITS.commitSizeMax < LIMITS.frameSizeMax, 'a commit fits a frame')
assert(LIMITS.welcomeSizeMax < LIMITS.frameSizeMax, 'a welcome fits a frame')
assert(
  LIMITS.commitSizeMax + LIMITS.groupInfoSizeMax < LIMITS.frameSizeMax,
  'a commit and its GroupInfo fit a frame',
)
assert(LIMITS.policySizeMax < LIMITS.groupInfoSizeMax, 'a policy fits a GroupInfo')
assert(LIMITS.groupPartSizeMax < LIMITS.frameSizeMax, 'a part of a group fits a frame')
assert(LIMITS.anchorSizeMax > LIMITS.certificateSizeMax, 'an anchor holds a certificate')
assert(
  LIMITS.invitationLifetimeMs < LIMITS.invitationAheadMsMax,
  'a clock that is ahead makes no invitation invalid',
)
assert(LIMITS.verdictWaitMs < LIMITS.resyncWaitMs, 'who resyncs has waited for the verdict')
assert(LIMITS.resyncWaitMs < LIMITS.provisionalMsMax, 'a tie ends after all other ways out')
assert(LIMITS.inboundBytesMax <= LIMITS.roomQueueBytesMax, 'one session does not fill a room')
assert(LIMITS.sealedFrameSizeMax < LIMITS.entriesFrameSizeMax, 'a sealed frame fits a batch')
assert(LIMITS.plaintextSizeMax * 2 <= LIMITS.sealedFrameSizeMax, 'padding and header fit')
assert(LIMITS.generationBlock <= LIMITS.generationJumpMax, 'a skipped block is no jump')
assert(LIMITS.generationJumpMax <= LIMITS.skippedKeysMax, 'an allowed jump can be followed')
assert(LIMITS.heartbeatIntervalMs * 2 < LIMITS.sessionSilenceMsMax, 'one lost beat is no cut')
assert(LIMITS.keyPackagesTarget <= LIMITS.keyPackagesPerDeviceMax, 'the target can be stored')
assert(
  LIMITS.claimsPerAccountPerMinuteMax * 2 <= LIMITS.keyPackagesTarget,
  'claims at once leave half of the KeyPackages',
)
assert(LIMITS.sessionsMax < LIMITS.bucketsKeptMax, 'who has a session keeps its bucket')
assert(
  LIMITS.catchUpPageEntriesMax <= LIMITS.entriesPerFrameMax,
  'a page of the log fits a frame of entries',
)
assert(LIMITS.mlsTreeNodesMax >= LIMITS.membersMax * 2 - 1, 'a tree holds all members')
assert(LIMITS.textMax * 3 + 4_096 <= LIMITS.plaintextSizeMax, 'the longest text fits a plaintext')
assert(
  LIMITS.inviteLinkMax > (LIMITS.titleMax * 4 + 1_024) * 4 / 3,
  'the longest title fits a link',
)
assert(
  LIMITS.capsuleStepSizeMax * 4 <= LIMITS.capsuleSizeMax,
  'half of a capsule holds more than one step',
)
assert(
  LIMITS.capsuleRoomsMax * (LIMITS.capsulePeopleMax * 16 + 1_024) <= LIMITS.capsuleSizeMax / 2,
  'the rooms of a capsule leave place for steps',
)
assert(LIMITS.outboxInFlightMax <= LIMITS.generationBlock, 'a burst uses one block')
assert(LIMITS.outboxInFlightMax <= LIMITS.burstFramesMax, 'what is in flight fits a burst')
assert(LIMITS.contentPartsMax * 6 <= LIMITS.contentItemsMax, 'all parts count as items')
