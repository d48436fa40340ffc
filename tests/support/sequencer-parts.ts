/**
 * Submissions and rooms for tests of the sequencer: Alice, Bob and Carol with made-up keys. Owns no
 * cryptography beyond hashing; what a submission claims to be checked counts as checked.
 */
import type { AccountName, DeviceId, EpochId, RoomId, Term, TimeMs } from '#core/base/ids.ts'
import { leafIndex } from '#core/base/ids.ts'
import { createNobleCrypto } from '#core/crypto/noble.ts'
import { SUITES } from '#core/crypto/suites.ts'
import { encodeIdentity } from '#core/identity/leaf-identity.ts'
import type { CertifiedLeaf } from '#hub/sequencer/group-view.ts'
import { emptyRoom, install, sequence } from '#hub/sequencer/sequencer.ts'
import type {
  Author,
  CommitSubmission,
  Decision,
  FrameSubmission,
} from '#hub/sequencer/sequencer.ts'
import type { GenesisSubmission, InvitationSubmission } from '#hub/sequencer/sequencer.ts'
import type { Refusal } from '#core/wire/refusals.ts'
import type { SequencedRoom, Submission } from '#hub/sequencer/sequencer.ts'

const crypto = createNobleCrypto()
export const sha256 = (bytes: Uint8Array) => crypto.hash('sha256', bytes)
export const ROOM = new Uint8Array(32).fill(7) as RoomId
export const SUITE = SUITES.performance.id
export const START_MS = 1_700_000_000_000 as TimeMs

export function person(name: string, number: number, deviceNumber = number): CertifiedLeaf {
  const account = `${name}@hub.example` as AccountName
  const device = new Uint8Array(16).fill(deviceNumber) as DeviceId
  const certificateHash = new Uint8Array(32).fill(number)
  return {
    account,
    device,
    manifestVersion: 1,
    rootHash: new Uint8Array(32).fill(number),
    identity: encodeIdentity({ account, device, manifestVersion: 1, certificateHash }),
    signatureKey: new Uint8Array(32).fill(deviceNumber),
  }
}

export const ALICE = person('alice', 1)
export const BOB = person('bob', 2)
export const CAROL = person('carol', 3)

export const authorOf = ({ account, device }: CertifiedLeaf): Author => ({ account, device })
export const epochIdAt = (epoch: bigint) => new Uint8Array(32).fill(0xe0 + Number(epoch)) as EpochId

export function genesis(): GenesisSubmission {
  return {
    kind: 'genesis',
    author: authorOf(ALICE),
    suite: SUITE,
    epochId: epochIdAt(0n),
    creator: ALICE,
    bytes: Uint8Array.of(1, 2, 3),
  }
}

/** The head of a room as its members have seen it. */
export function seenNow(room: SequencedRoom) {
  return { position: room.next - 1n, hash: room.headHash, found: null }
}

export function frame(room: SequencedRoom, over: Partial<FrameSubmission> = {}): FrameSubmission {
  const epoch = room.view?.epoch ?? 0n
  return {
    kind: 'frame',
    author: authorOf(ALICE),
    suite: SUITE,
    epoch,
    epochId: epochIdAt(epoch),
    leaf: 0,
    lane: 0,
    generation: 0,
    seen: seenNow(room),
    signed: true,
    bytes: Uint8Array.of(9, over.generation ?? 0),
    ...over,
  }
}

export function commit(
  room: SequencedRoom,
  over: Partial<CommitSubmission> = {},
): CommitSubmission {
  const epoch = over.epoch ?? room.view?.epoch ?? 0n
  return {
    kind: 'commit',
    author: authorOf(ALICE),
    epoch,
    seen: seenNow(room),
    sender: leafIndex(0),
    senderLeaf: null,
    adds: [],
    removes: [],
    newEpochId: epochIdAt(epoch + 1n),
    welcome: Uint8Array.of(5),
    uses: [],
    bytes: Uint8Array.of(8),
    ...over,
  }
}

export function invitation(
  room: SequencedRoom,
  over: Partial<InvitationSubmission> = {},
): InvitationSubmission {
  return {
    kind: 'invitation',
    author: authorOf(ALICE),
    epochId: epochIdAt(room.view?.epoch ?? 0n),
    leaf: 0,
    signed: true,
    invitation: {
      id: new Uint8Array(32).fill(0x1d),
      publicKey: new Uint8Array(32).fill(0x1e),
      expiresAt: START_MS + 1_000 as TimeMs,
      usesMax: 2,
    },
    bytes: Uint8Array.of(7),
    ...over,
  }
}

/** Decides on a batch and installs it, as if the log had stored it. */
export function run(
  room: SequencedRoom,
  batch: readonly Submission[],
  nowMs: number = START_MS,
): Decision {
  const decision = sequence(room, batch, { nowMs: nowMs as TimeMs, sha256 })
  install(room, decision)
  return decision
}

export function openedRoom(): SequencedRoom {
  const room = emptyRoom(ROOM, 1n as Term)
  run(room, [genesis()])
  return room
}

/** Codes of the refusals, `accepted` for the others. */
export function codes(decision: Decision): readonly (Refusal['kind'] | 'accepted')[] {
  return decision.verdicts.map((verdict) =>
    verdict.kind === 'accepted' ? 'accepted' : verdict.refusal.kind
  )
}
