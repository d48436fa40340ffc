/**
 * What is checked of a submission before it may be sequenced: structure, signatures, certificates,
 * and the hash of an older entry that it names. Owns no order and no position; what is cheap to
 * refuse in order (epoch, leaf, generation) is left to the sequencer, which refuses it by its code.
 */
import { equalBytes } from '#core/base/bytes.ts'
import type { LogPosition } from '#core/base/ids.ts'
import { decodeSealedFrame, laneOf, type SealedFrame } from '#core/sender-keys/sealed-frame.ts'
import { isOfKnownBurst, verifySealedFrame } from '#core/sender-keys/sealed-frame.ts'
import type { FrameCheck as FrameProof } from '#core/sender-keys/sealed-frame.ts'
import type { Body } from '#core/wire/bodies.ts'
import type { Refusal } from '#core/wire/refusals.ts'
import { UNAVAILABLE } from '#hub/gateway/answering.ts'
import { checkCommit, checkProposal, checkVote } from '#hub/gateway/check-commit.ts'
import { checkGenesis } from '#hub/gateway/check-genesis.ts'
import type { Arrival, Checked, Hub, Room } from '#hub/gateway/model.ts'
import { type Author, isSameDevice, memberAt, type MemberLeaf } from '#hub/sequencer/group-view.ts'
import { headView } from '#hub/sequencer/room-state.ts'
import type { FrameSubmission, Submission } from '#hub/sequencer/sequencer.ts'

/** Hashes from the log that one room keeps. */
const FOUND_MAX = 256

export type Check = Submission | { readonly kind: 'refused'; readonly refusal: Refusal }

const refused = (refusal: Refusal): Check => ({ kind: 'refused', refusal })
const MALFORMED = refused({ kind: 'malformed' })

/** The store did not give what a check needs: the submission is neither good nor bad. */
class Unread extends Error {}

/** A submission that was checked, or its refusal. */
export interface CheckOutcome {
  readonly arrival: Arrival
  readonly check: Check
}

/**
 * Frames of one burst wait for the first of them, so that a burst costs one signature check. By the
 * first 8 bytes of its signature: two bursts that share them only wait for one another.
 */
type Bursts = Map<bigint, Promise<unknown>>

/** Checks a batch of one room; outcomes are in order. Most frames of a burst need no waiting. */
export async function checkAll(
  hub: Hub,
  room: Room,
  arrivals: readonly Arrival[],
): Promise<readonly CheckOutcome[]> {
  const bursts: Bursts = new Map()
  const checks = arrivals.map((arrival) =>
    guarded(hub, () => checkOne(hub, room, { arrival, bursts }))
  )
  const isWaiting = checks.some((check) => check instanceof Promise)
  const found = isWaiting ? await Promise.all(checks) : checks as readonly Check[]
  return arrivals.map((arrival, index) => ({ arrival, check: found[index] as Check }))
}

/**
 * A check changes nothing that lasts, so that a fault of ours in one ends neither the hub nor the
 * others of its batch. *Whoever finds one could end the hub with a single frame.*
 */
function guarded(hub: Hub, check: () => Promise<Check> | Check): Promise<Check> | Check {
  const refuse = (error: unknown): Check => {
    if (error instanceof Unread) return refused(UNAVAILABLE)
    hub.ports.effects.checkFaulted(error)
    return MALFORMED
  }
  try {
    const found = check()
    return found instanceof Promise ? found.catch(refuse) : found
  } catch (error) {
    return refuse(error)
  }
}

/** Submissions that passed, as the queue wants them. */
export function passedOf(outcomes: readonly CheckOutcome[]): readonly Checked[] {
  return outcomes.flatMap(({ arrival, check }) =>
    check.kind === 'refused' ? [] : [{ arrival, submission: check }]
  )
}

function checkOne(
  hub: Hub,
  room: Room,
  { arrival, bursts }: { readonly arrival: Arrival; readonly bursts: Bursts },
): Promise<Check> | Check {
  const author = arrival.connection.actor.device
  if (author === null) return refused({ kind: 'notInThisState' })
  const { asked } = arrival
  switch (asked.kind) {
    case 'submitFrame':
      return checkFrame(hub, room, { author, body: asked.body, bursts })
    case 'submitProposal':
      return checkProposal(hub, room, { author, body: asked.body })
    case 'submitVote':
      return checkVote(hub, room, { author, body: asked.body })
    case 'submitCommit':
      return checkCommit(hub, room, {
        author,
        body: asked.body,
        find: (position) => findHash(hub, room, position),
      })
    case 'createRoom':
      return checkGenesis(hub, room, { author, body: asked.body })
  }
}

interface FrameCheck {
  readonly author: Author
  readonly body: Body<'submitFrame'>
  readonly bursts: Bursts
}

function checkFrame(hub: Hub, room: Room, check: FrameCheck): Promise<Check> | Check {
  const { author, body, bursts } = check
  const frame = decodeSealedFrame(body.frame)
  if (frame === null) return MALFORMED
  const member = expectedMember(room, author, frame)
  const found = room.sequenced.memory.recall(frame.header.seen.position)
  const submission = submissionOf(frame, { author, bytes: body.frame, after: body.after })
  if (member === null) return submission({ signature: 'unchecked', found })
  const proof = { frame, room: room.id, publicKey: member.signatureKey, bursts: room.bursts }
  const isKnown = isOfKnownBurst(hub.ports.crypto, proof)
  if (isKnown && found !== null) return submission({ signature: 'right', found })
  return finishCheck(hub, room, { proof, bursts, isKnown, found }).then(submission)
}

interface FrameFinding {
  readonly signature: FrameSubmission['signature']
  /** The log's own hash at the position that the sender had seen. */
  readonly found: Uint8Array | null
}

function submissionOf(
  { header }: SealedFrame,
  from: Pick<FrameSubmission, 'author' | 'bytes' | 'after'>,
): (finding: FrameFinding) => FrameSubmission {
  const { suite, epoch, epochId, leaf, generation, seen } = header
  return ({ signature, found }) => ({
    kind: 'frame',
    ...from,
    suite,
    epoch,
    epochId,
    leaf,
    lane: laneOf(header),
    generation,
    seen: { ...seen, found },
    signature,
  })
}

/** What takes a signature check, or a look into the log. */
async function finishCheck(
  hub: Hub,
  room: Room,
  check: {
    readonly proof: FrameProof
    readonly bursts: Bursts
    readonly isKnown: boolean
    readonly found: Uint8Array | null
  },
): Promise<FrameFinding> {
  const { proof, bursts, isKnown } = check
  const { position } = proof.frame.header.seen
  const signed = isKnown || await isSigned(hub, proof, bursts)
  // Kept with the frame: the room may have forgotten it by the frame's turn.
  const recalled = check.found ?? room.sequenced.memory.recall(position)
  const found = recalled ?? (signed ? await findHash(hub, room, position) : null)
  return { signature: signed ? 'right' : 'wrong', found }
}

/** Null for what the sequencer refuses anyhow: no signature is checked for it. */
function expectedMember(room: Room, author: Author, { header }: SealedFrame): MemberLeaf | null {
  const head = headView(room.sequenced)
  const isOfHead = head !== null && header.suite === head.suite && header.epoch === head.epoch &&
    equalBytes(header.epochId, head.epochId)
  const member = isOfHead ? memberAt(head, header.leaf) : null
  return member !== null && isSameDevice(member, author) ? member : null
}

async function isSigned(hub: Hub, proof: FrameProof, bursts: Bursts): Promise<boolean> {
  const { authenticator } = proof.frame
  if (authenticator.kind === 'single') return verifySealedFrame(hub.ports.crypto, proof)
  const { signature } = authenticator
  const key = new DataView(signature.buffer, signature.byteOffset).getBigUint64(0)
  const first = bursts.get(key)
  if (first !== undefined) await first
  const verified = verifySealedFrame(hub.ports.crypto, proof)
  if (first === undefined) bursts.set(key, verified)
  return verified
}

/**
 * The log's own hash at a position that is no longer remembered; null where it has none (LOG-5).
 * Throws `Unread` where it does not give one that it has (HUB-10).
 */
async function findHash(hub: Hub, room: Room, position: bigint): Promise<Uint8Array | null> {
  if (position >= room.sequenced.next) return null
  const remembered = room.sequenced.memory.recall(position) ?? room.found.get(position)
  if (remembered !== undefined) return remembered
  const range = { from: position as LogPosition, limit: 1, bytesMax: 1 }
  const [stored] = await hub.ports.log.read(room.id, range).catch(() => [])
  if (stored === undefined || stored.position !== position) throw new Unread()
  if (room.found.size >= FOUND_MAX) {
    const [oldest] = room.found.keys()
    if (oldest !== undefined) room.found.delete(oldest)
  }
  room.found.set(position, stored.entryHash)
  return stored.entryHash
}
