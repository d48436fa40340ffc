/**
 * What a device had said and not yet seen in a log when its capsule began: the commit under way and
 * the messages of the outbox, made again. Owns these, and what rebuilding a room is made with.
 */
import { ok } from 'node:assert/strict'
import { type Epoch, leafIndex, logPosition, type TimeMs } from '#core/base/ids.ts'
import { encodeContent, textContent } from '#core/content/mimi-content.ts'
import type { DeviceMachine } from '#core/device/device.ts'
import { ENGINE_LANE, exportKeys } from '#core/device/epoch-keys.ts'
import { accountUri } from '#core/device/outbox.ts'
import { outboxKey } from '#core/device/records.ts'
import { roomUri } from '#core/device/room.ts'
import type { OutboxItem, PendingCommit } from '#core/device/state.ts'
import type { RoomEpoch, RoomState } from '#core/device/state.ts'
import type { Group } from '#core/mls/group.ts'
import { policyOf } from '#core/policy/room-policy.ts'
import { seal } from '#core/sender-keys/seal.ts'
import { reserve } from '#core/sender-keys/secret-tree.ts'
import { BODIES, type Body } from '#core/wire/bodies.ts'
import { encode } from '#core/wire/codec.ts'
import { STRUCTURE_VERSION } from '#core/wire/structure.ts'
import type { HandDevice } from '../support/hand-device.ts'
import { type Cast, DOMAIN } from './cast.ts'
import type { SaidByDevice } from './own-words.ts'
import { type Facts, factsOf, listOf, textOf } from './reading.ts'
import { type RoomParts, START_MS } from './room-parts.ts'
import { StandInRoom } from './stand-in-room.ts'

export interface Staging {
  readonly machine: DeviceMachine
  readonly cast: Cast
  readonly said: SaidByDevice
  readonly shape: Facts
  parts(room: string): RoomParts
  /** A room to which the device is on its way by a link. */
  comeTo(room: string): Promise<StandInRoom>
}

/** What the parts of a room are made with. */
export interface RoomStaging {
  readonly name: string
  readonly staging: Staging
  readonly facts: Facts
  readonly own: HandDevice
  readonly standIn: StandInRoom
  /** Of the last entry that was taken. */
  readonly headHash: Uint8Array
}

/** The device's own group before its exports were taken, with the epoch as its state has it. */
export interface HeldEpoch<E extends RoomEpoch = RoomEpoch> {
  readonly group: Group | null
  readonly epoch: E
}

export async function ownCommit(
  { own, standIn, staging: { cast } }: RoomStaging,
  group: Group,
  facts: Facts,
): Promise<{ readonly next: Group; readonly body: Body<'submitCommit'> }> {
  const adds = []
  for (const who of listOf(facts, 'adds').map(Number)) {
    const { keyPackage, device } = await cast.handOut(who)
    adds.push({ keyPackage, certificate: device.self.certificate })
  }
  const removes = listOf(facts, 'removes').map((leaf) => leafIndex(Number(leaf)))
  const room = standIn.handRoom(group, standIn.seenBy({}))
  if (facts['policy'] === undefined) return await own.commit(room, { adds, removes })
  const listed = [...policyOf(group.public.context.extensions)?.invitations ?? []]
  const [count = 0, others = 0] = listOf(facts, 'policy').map(Number)
  while (listed.length < count + others) {
    const made = own.invitation(room)
    standIn.invitations.push(made)
    listed.push(made.invitation)
  }
  return await own.commit(room, { adds, removes, invitations: listed })
}

/** The commit under way: what it came to in the log, or one that changes nothing. */
export async function stagePending(
  place: RoomStaging,
  top: HeldEpoch,
): Promise<PendingCommit | null> {
  const { facts, name, standIn, staging: { said } } = place
  if (facts['pending'] === null || top.group === null) return null
  const epoch = Number(top.epoch.public.context.epoch)
  const later = [...standIn.parts.script.values()].find((each) =>
    each.facts['is'] === 'commit' && each.facts['epoch'] === epoch &&
    each.facts['by'] === top.group?.ownLeaf
  )
  const { next, body } = await ownCommit(place, top.group, later?.facts ?? {})
  said.saidBefore(name, { kind: 'submitCommit', room: standIn.id, body })
  return {
    commit: body.commit,
    submission: encode(BODIES.submitCommit[1], { ...body, request: 0 as typeof body.request }),
    before: standIn.epochId(),
    next,
    jobs: [],
    sent: facts['pending'] === 'sent' || facts['pending'] === 'sentAgain',
    isRepeat: facts['pending'] === 'sentAgain' || facts['pending'] === 'keptAgain',
  }
}

export async function outboxOf(
  place: RoomStaging,
  room: RoomState,
  top: HeldEpoch,
): Promise<readonly OutboxItem[]> {
  const { facts, staging: { cast } } = place
  const items: OutboxItem[] = []
  for (const [index, shape] of listOf(facts, 'items').map(factsOf).entries()) {
    const content = encodeContent(textContent({
      salt: cast.parts.entropy.randomBytes(16),
      senderUri: accountUri(`p0@${DOMAIN}`),
      roomUri: roomUri(room),
      text: 'stand-in',
    }))
    const { placed, generation } = shape
    const sealed = typeof generation === 'number' && top.group !== null
      ? await sealedBefore(place, top.group, { generation, content })
      : null
    items.push({
      key: outboxKey(room.key, index),
      record: {
        format: STRUCTURE_VERSION,
        localId: `before ${index}`,
        purpose: textOf(shape, 'purpose') === 'profile' ? 'profile' : 'message',
        content,
        createdAt: START_MS as TimeMs,
        refused: textOf(shape, 'refused'),
        sealed,
        sequencedAt: typeof placed === 'number' ? logPosition(BigInt(placed)) : null,
      },
      inFlight: shape['flying'] === true,
      attempts: 0,
    })
  }
  return items
}

/** A frame that the device had sealed before the capsule began. */
async function sealedBefore(
  { own, standIn, name, staging: { cast, said } }: RoomStaging,
  group: Group,
  { generation, content }: { readonly generation: number; readonly content: Uint8Array },
): Promise<NonNullable<OutboxItem['record']['sealed']>> {
  const { crypto, entropy } = cast.parts
  const leaf = leafIndex(group.ownLeaf)
  const { keys } = exportKeys(standIn.id, group)
  const place = { leaf, lane: ENGINE_LANE, count: generation + 1 }
  const messageSecret = reserve(crypto, keys.senderKeys, place).reserved.at(-1)?.secret
  ok(messageSecret !== undefined, 'a generation has its secret')
  const { epochId } = keys
  const later = [...standIn.parts.script.values()].find(({ facts }) =>
    facts['is'] === 'frame' && facts['leaf'] === leaf && facts['generation'] === generation &&
    facts['epoch'] === Number(group.public.context.epoch)
  )
  const bytes = await seal(crypto, {
    suite: own.suite,
    room: standIn.id,
    epoch: group.public.context.epoch as Epoch,
    epochId,
    leaf,
    lane: ENGINE_LANE,
    seen: standIn.seenBy(later?.facts ?? {}),
    signatureSecret: own.self.key.secretKey,
  }, {
    generation,
    messageSecret,
    nonce: entropy.randomBytes(own.suite.frameNonceLength),
    plaintext: content,
  })
  const request = 0 as Body<'submitFrame'>['request']
  const body = { request, after: null, frame: bytes }
  said.saidBefore(name, { kind: 'submitFrame', room: standIn.id, body })
  return { epochId, generation, bytes }
}
