/**
 * What stand-ins say in a room: sealed frames and votes with the header that the capsule recorded,
 * and the ways in which a thing can be wrong. Owns these; the log is `stand-in-room.ts`.
 */
import { leafIndex, logPosition } from '#core/base/ids.ts'
import { encodeContent, roomProfileContent, textContent } from '#core/content/mimi-content.ts'
import { accountUri } from '#core/device/outbox.ts'
import { roomKey } from '#core/device/room.ts'
import { exportSecret, type Group } from '#core/mls/group.ts'
import { epochIdOf } from '#core/mls/group-context.ts'
import { makeVote, NO_MAC, voteMac } from '#core/policy/vote.ts'
import { EPOCH_EXPORTS, exportContext, exportLength } from '#core/sender-keys/exports.ts'
import { seal } from '#core/sender-keys/seal.ts'
import { createSenderKeys, reserve } from '#core/sender-keys/secret-tree.ts'
import type { Body } from '#core/wire/bodies.ts'
import type { Epoch, EpochId } from '#core/base/ids.ts'
import type { HandDevice } from '../support/hand-device.ts'
import { DOMAIN } from './cast.ts'
import { factsOf, listOf, numberOf, roomShapeOf, type ScriptedEntry, textOf } from './reading.ts'
import { NotReproduced, type RoomInWords, type StandInEpoch } from './room-parts.ts'

/** What the device showed of an entry; null where nothing. */
function shownAs(
  { parts: { name } }: RoomInWords,
  { step, position }: ScriptedEntry,
): string | null {
  const shown = step.out.find((each) =>
    each['do'] === 'show' && each['room'] === name && each['position'] === position
  )
  return shown === undefined ? null : textOf(shown, 'what')
}

// ---- Frames -------------------------------------------------------------------------------

/** A sealed frame: the device's own, or one of a stand-in with the same header. */
export async function sealedBy(room: RoomInWords, scripted: ScriptedEntry): Promise<Uint8Array> {
  const { facts } = scripted
  const epochNumber = numberOf(facts, 'epoch')
  const leaf = numberOf(facts, 'leaf')
  const generation = numberOf(facts, 'generation')
  const own = room.parts.own.frame(room.parts.name, epochNumber, generation)
  const epoch = room.epochs.findLast((each) => Number(each.public.context.epoch) === epochNumber)
  if (epoch === undefined) throw new NotReproduced(`a frame of epoch ${epochNumber}`)
  if (leaf === room.ownLeaf && own !== null) return own
  const [group] = epoch.groups.values()
  if (group === undefined) throw new NotReproduced('a frame where no stand-in follows')
  const device = await speakerAt(room, leaf)
  const { crypto, entropy } = room.parts.cast.parts
  const { suite } = device
  const keys = epoch.keys ?? senderKeysOf(room, device, group)
  const lane = numberOf(facts, 'lane')
  const from = keys.chains.get(leafIndex(leaf), lane)?.generation ?? 0
  const count = generation - from + 1
  if (count < 1) throw new NotReproduced('a generation that was used')
  const taken = reserve(crypto, keys, { leaf: leafIndex(leaf), lane, count })
  epoch.keys = taken.keys
  const messageSecret = taken.reserved.at(-1)?.secret
  if (messageSecret === undefined) throw new NotReproduced('a generation')
  const context = {
    suite,
    room: room.id,
    epoch: BigInt(epochNumber) as Epoch,
    epochId: room.epochId(epoch),
    leaf: leafIndex(leaf),
    lane,
    seen: room.seenBy(facts),
    signatureSecret: device.self.key.secretKey,
  }
  const nonce = entropy.randomBytes(suite.frameNonceLength)
  const shown = shownAs(room, scripted)
  const plaintext = plaintextOf(room, device, { shown, position: scripted.position })
  const sealed = await seal(crypto, context, { generation, messageSecret, nonce, plaintext })
  return shown === 'unreadable:wrongSignature' ? flippedAt(sealed, sealed.length - 1) : sealed
}

/** Who speaks from a leaf; what the device said before the capsule is said for it. */
async function speakerAt(room: RoomInWords, leaf: number): Promise<HandDevice> {
  const self = leaf === room.ownLeaf ? room.parts.self() : null
  return self ?? await room.deviceAt(leaf)
}

function senderKeysOf(room: RoomInWords, device: HandDevice, group: Group) {
  const { suite } = device
  const epochId = epochIdOf(device.engine, group.public.context)
  const root = exportSecret(group, {
    label: EPOCH_EXPORTS.dataPlane,
    context: exportContext(suite, room.id, epochId),
    length: exportLength(suite),
  })
  return createSenderKeys({ suite, root, leafCount: group.public.tree.leafWidth })
}

/** A text where one was shown, a title where that was, what is not shown where nothing was. */
function plaintextOf(
  room: RoomInWords,
  device: HandDevice,
  { shown, position }: { readonly shown: string | null; readonly position: number },
): Uint8Array {
  if (shown === 'unreadable:malformedContent') return Uint8Array.of(0xff)
  const sender = shown === 'unreadable:wrongSender' ? `p0@${DOMAIN}` : device.self.account
  const options = {
    salt: room.parts.cast.parts.entropy.randomBytes(16),
    senderUri: accountUri(sender),
    roomUri: `mimi://${DOMAIN}/r/${roomKey(room.id)}`,
  }
  if (shown === 'titled') room.title = `stand-in ${position}`
  if (shown === null || shown === 'titled') {
    return encodeContent(roomProfileContent({ ...options, title: room.title }))
  }
  if (shown === 'repeated') return saidBefore(room, sender)
  const content = encodeContent(textContent({ ...options, text: 'stand-in' }))
  if (shown === 'message') room.said.set(sender, content)
  return content
}

/** What is said again: which of its messages a sender repeats makes no difference. */
function saidBefore(room: RoomInWords, sender: string): Uint8Array {
  const content = room.said.get(sender)
  if (content === undefined) throw new NotReproduced('a message that was said before the capsule')
  return content
}

function flippedAt(bytes: Uint8Array, at: number): Uint8Array {
  const flipped = bytes.slice()
  flipped[at] = (flipped[at] as number) ^ 1
  return flipped
}

// ---- Votes --------------------------------------------------------------------------------

/** A vote: the device's own, or one of a stand-in with the same choice. */
export async function votedBy(room: RoomInWords, scripted: ScriptedEntry): Promise<Uint8Array> {
  const { facts } = scripted
  const about = numberOf(facts, 'about')
  const leaf = numberOf(facts, 'leaf')
  const index = room.epochs.findIndex(({ position }) => position === about)
  const epoch = room.epochs[index]
  const before = room.epochs[index - 1]
  const own = leaf === room.ownLeaf ? room.parts.own.vote(room.parts.name, about) : null
  if (own !== null) return own
  const device = await speakerAt(room, leaf)
  const choice = textOf(facts, 'choice') === 'cannot' ? 'cannot' : 'agree'
  const isFalse = shownAs(room, scripted) === 'falseVote'
  const mac = choice === 'cannot' ? NO_MAC : macOf(room, device, { epoch, leaf, isFalse })
  // Of what is settled below, no epoch is known, and no vote on it counts.
  const nothing = room.parts.cast.parts.entropy.randomBytes(32) as EpochId
  const vote = {
    room: room.id,
    epochIdBefore: before === undefined ? nothing : room.epochId(before),
    epochId: epoch === undefined ? nothing : room.epochId(epoch),
    position: logPosition(BigInt(about)),
    leaf,
    choice,
    mac,
  } as const
  const signer = { algorithm: device.suite.signature, secretKey: device.self.key.secretKey }
  const signed = await makeVote(room.parts.cast.parts.crypto, vote, signer)
  return wasTaken(room, scripted) ? signed : flippedAt(signed, signed.length - 1)
}

/** Whether the device counted the vote; so it is where its epoch was settled in the same step. */
function wasTaken({ parts: { name } }: RoomInWords, { facts, step }: ScriptedEntry): boolean {
  const open = listOf(roomShapeOf(step.to, name), 'votes').map(factsOf)
    .find((each) => each['at'] === facts['about'])
  if (open === undefined) return true
  return listOf(open, 'votes').some((vote) => Array.isArray(vote) && vote[0] === facts['leaf'])
}

function macOf(
  room: RoomInWords,
  device: HandDevice,
  { epoch, leaf, isFalse }: {
    readonly epoch: StandInEpoch | undefined
    readonly leaf: number
    readonly isFalse: boolean
  },
): Uint8Array {
  const [group] = epoch?.groups.values() ?? []
  const length = device.suite.hashLength
  if (epoch === undefined || group === undefined || isFalse) {
    return room.parts.cast.parts.entropy.randomBytes(length)
  }
  return voteMac(room.parts.cast.parts.crypto, {
    hash: device.suite.hash,
    epochAuthenticator: group.secrets.epochAuthenticator,
    epochId: room.epochId(epoch),
    leaf,
    groupInfo: epoch.groupInfo,
  })
}

// ---- What is wrong ------------------------------------------------------------------------

/**
 * A commit with the fault by which the device stopped at it; null where it did not. A fault of the
 * commit itself (RFC 9420) is stood in for by a changed signature.
 */
export function spoiledCommit(
  room: RoomInWords,
  { facts, step, position }: ScriptedEntry,
  body: Body<'submitCommit'>,
): Body<'submitCommit'> | null {
  const shape = roomShapeOf(step.to, room.parts.name)
  const code = textOf(shape, 'code')
  const stopped = code.startsWith('commit:') && numberOf(shape, 'next') === position + 1
  if (!stopped || facts['contradicts'] === true) return null
  switch (code) {
    case 'commit:groupInfo':
      return { ...body, groupInfo: body.groupInfo.map((byte) => byte ^ 1) }
    case 'commit:certificate':
      return { ...body, certificates: [...body.certificates, new Uint8Array([0])] }
    case 'commit:entry':
      return { ...body, seen: { ...body.seen, position: logPosition(body.seen.position + 1n) } }
    case 'commit:staleSeen':
    case 'commit:tooMany':
      return body
    default:
      return { ...body, commit: flippedAt(body.commit, body.commit.length - 76) }
  }
}
