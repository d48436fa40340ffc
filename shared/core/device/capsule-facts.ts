/**
 * What a capsule says of an input and of an effect: kinds, numbers, and of a log entry what its hub
 * sees too. Owns the choice of these facts; nothing of a content, a key or a name passes.
 */
import { equalBytes, wipe } from '#core/base/bytes.ts'
import type { AccountName, RoomId } from '#core/base/ids.ts'
import type { DeviceEffect, DeviceInput, RequiredChange } from '#core/device/io.ts'
import {
  countsOf,
  type Plain,
  type PlainRecord,
  type Pseudonyms,
  word,
} from '#core/device/capsule-shape.ts'
import { positionOfTimelineKey, timelineRecordCodec } from '#core/device/records.ts'
import { roomKey } from '#core/device/room.ts'
import type { DeviceState } from '#core/device/state.ts'
import { decodeMlsMessage, type FramedContent } from '#core/mls/framing.ts'
import { decodeInviteLink } from '#core/identity/invitation.ts'
import { decodeIdentity } from '#core/identity/leaf-identity.ts'
import type { LeafNode } from '#core/mls/leaf-node.ts'
import { admissionBody } from '#core/policy/admission.ts'
import { policyOf } from '#core/policy/room-policy.ts'
import { identityOf } from '#core/policy/roster.ts'
import { readVote } from '#core/policy/vote.ts'
import { decodeSealedFrame, laneOf } from '#core/sender-keys/sealed-frame.ts'
import { type Body, decodeMessage, type Message } from '#core/wire/bodies.ts'
import { decode } from '#core/wire/codec.ts'
import { parseFrame } from '#core/wire/frame.ts'
import { commitEntryCodec, type LogEntry } from '#core/wire/log-entry.ts'
import { verdictEntryCodec, voteEntryCodec } from '#core/wire/log-entry.ts'
import type { Refusal } from '#core/wire/refusals.ts'

/** A step, as far as its facts need it. */
export interface SeenStep {
  readonly names: Pseudonyms
  /** After the step. */
  readonly state: DeviceState
}

/** What an input was. */
export function inputFacts(seen: SeenStep, input: DeviceInput): PlainRecord {
  switch (input.kind) {
    case 'commandGiven':
      return { kind: input.kind, id: input.id, ...commandFacts(seen, input.command) }
    case 'framesReceived':
      return {
        kind: input.kind,
        attempt: input.attempt,
        frames: input.frames.map((frame) => frameFacts(seen, frame)),
      }
    case 'sessionOpened':
      return { kind: input.kind, attempt: input.attempt, transport: input.transport }
    case 'sessionClosed':
      return { kind: input.kind, attempt: input.attempt }
    case 'timerFired':
      return { kind: input.kind, timer: input.timer }
    case 'networkChanged':
      return { kind: input.kind, online: input.online }
    case 'storeFailed':
      return { kind: input.kind, id: input.command, timer: input.timer }
    default:
      return { kind: input.kind }
  }
}

type CommandInput = Extract<DeviceInput, { kind: 'commandGiven' }>

function commandFacts(
  { names }: SeenStep,
  { kind, ...rest }: CommandInput['command'],
): PlainRecord {
  const room = 'room' in rest
    ? { room: names.room(rest.room) }
    : linkFacts(names, 'link' in rest ? rest.link : null)
  if (kind === 'invite' && 'limits' in rest) {
    const limits = rest.limits === null ? null : [rest.limits.usesMax, rest.limits.lifetimeMs]
    return { command: kind, ...room, limits }
  }
  const position = 'position' in rest ? { position: rest.position } : {}
  const who = 'account' in rest ? { who: names.account(rest.account as AccountName) } : {}
  return { command: kind, ...room, ...position, ...who }
}

/** To which room a link leads. */
function linkFacts(names: Pseudonyms, fragment: string | null): PlainRecord {
  const link = fragment === null ? null : decodeInviteLink(fragment)
  if (link === null) return {}
  wipe(link.secret)
  return { room: names.room(roomKey(link.room as RoomId)) }
}

/** What a frame of the hub said. */
function frameFacts(seen: SeenStep, bytes: Uint8Array): Plain {
  const frame = parseFrame(bytes)
  const kib = Math.ceil(bytes.length / 1_024)
  if (frame.kind === 'malformed') return { kind: 'malformed', kib }
  const decoded = decodeMessage(frame)
  if (decoded.kind === 'refused') return { kind: 'malformed', kib, opcode: frame.opcode }
  const { message } = decoded
  const key = roomKey(message.room)
  const room = message.room.some((byte) => byte !== 0) ? { room: seen.names.room(key) } : {}
  return { kind: message.kind, kib, ...room, ...messageFacts(seen, key, message) }
}

function messageFacts(seen: SeenStep, key: string, message: Message): PlainRecord {
  const { body } = message
  const request = 'request' in body ? { request: body.request } : {}
  switch (message.kind) {
    case 'greeting':
      return { version: message.body.version }
    case 'ready':
      return { keyPackagesLeft: message.body.keyPackagesLeft }
    case 'refused':
      return {
        ...request,
        opcode: message.body.opcode,
        refusal: refusalFacts(message.body.refusal),
      }
    case 'accepted': {
      const { position } = message.body
      return { ...request, position: position === null ? null : Number(position) }
    }
    case 'redirect':
      return { reason: message.body.reason }
    case 'keyPackages':
      return { ...request, claimed: claimedFacts(seen, message.body) }
    case 'welcome':
      return {
        of: seen.names.room(roomKey(message.body.room as Message['room'])),
        position: Number(message.body.position),
      }
    case 'subscribed':
      return subscribedFacts(seen, key, message.body)
    case 'entries':
      return entriesFacts(seen, key, message.body)
    case 'head':
      return {
        position: Number(message.body.position),
        ...sight(seen, key, {
          position: message.body.position,
          hash: message.body.entryHash,
        }),
      }
    case 'catchUp':
    case 'askVote':
      return { position: Number(message.body.position) }
    case 'group':
      return { ...request, sequence: message.body.sequence, last: message.body.last }
    case 'sessionClosing':
    case 'goodbye':
      return { reason: message.body.reason }
    default:
      return request
  }
}

/** The code of a refusal and the numbers that go with it. */
function refusalFacts(refusal: Refusal): PlainRecord {
  const facts: Record<string, Plain> = {}
  for (const [name, value] of Object.entries(refusal)) {
    if (typeof value === 'number') facts[name] = value
    else if (typeof value === 'bigint') facts[name] = Number(value)
    else if (name === 'kind' || name === 'fault') facts[name] = word(String(value))
  }
  return facts
}

function claimedFacts({ names }: SeenStep, { claimed }: Body<'keyPackages'>): Plain {
  return claimed.map(({ keyPackage, lastResort }) => {
    const made = decodeMlsMessage('keyPackage', keyPackage)
    const identity = made === null ? null : identityOf(made.keyPackage.leafNode)
    return [identity === null ? null : names.account(identity.account), lastResort]
  })
}

function subscribedFacts(seen: SeenStep, key: string, body: Body<'subscribed'>): PlainRecord {
  const subscription = seen.state.rooms.get(key)?.subscription
  const taken = subscription?.kind === 'following' ? subscription.epochId : null
  return {
    request: body.request,
    next: Number(body.next),
    epoch: Number(body.epoch),
    leaf: body.leaf,
    generations: body.lastGenerations.map(({ lane, generation }) => [lane, generation]),
    taken: taken !== null,
  }
}

/** Whether somebody's word on an entry is another than what this device chained. */
function sight(
  { state }: SeenStep,
  key: string,
  seen: { readonly position: bigint; readonly hash: Uint8Array },
): PlainRecord {
  const known = state.rooms.get(key)?.recent.find(({ position }) => position === seen.position)
  const contradicts = known !== undefined && !equalBytes(known.hash, seen.hash)
  return contradicts ? { contradicts } : {}
}

// ---- Entries ------------------------------------------------------------------------------

function entriesFacts(seen: SeenStep, key: string, body: Body<'entries'>): PlainRecord {
  return {
    first: Number(body.first),
    entries: body.entries.map((entry) => entryFacts(seen, key, entry)),
  }
}

function entryFacts(seen: SeenStep, key: string, { header, body }: LogEntry): PlainRecord {
  const facts = { is: header.entry, ms: seen.names.ms(Number(header.time)) }
  if (body.kind === 'hole') return { ...facts, hole: true }
  const { bytes } = body
  switch (header.entry) {
    case 'commit':
      return { ...facts, ...commitFacts(seen, key, bytes) }
    case 'frame':
      return { ...facts, ...sealedFacts(seen, key, bytes) }
    case 'vote':
      return { ...facts, ...voteFacts(bytes) }
    case 'verdict': {
      const decoded = decode(verdictEntryCodec, bytes)
      if (decoded.kind === 'malformed') return { ...facts, malformed: true }
      const { position, verdict, asked } = decoded.value
      return { ...facts, about: Number(position), verdict, asked: [...asked] }
    }
    default:
      return facts
  }
}

function commitFacts(seen: SeenStep, key: string, bytes: Uint8Array): PlainRecord {
  const decoded = decode(commitEntryCodec, bytes)
  const message = decoded.kind === 'malformed'
    ? null
    : decodeMlsMessage('publicMessage', decoded.value.commit)
  if (decoded.kind === 'malformed' || message === null) return { malformed: true }
  const position = Number(decoded.value.seen.position)
  const seenFacts = { seen: position, ...sight(seen, key, decoded.value.seen) }
  const { content } = message.publicMessage
  return { epoch: Number(content.epoch), ...changeFacts(seen, content), ...seenFacts }
}

/** Who commits, whom it adds and removes, and how many invitations the policy lists after it. */
function changeFacts({ names }: SeenStep, { sender, body }: FramedContent): PlainRecord {
  if (body.kind !== 'commit') return { malformed: true }
  const { proposals, path } = body.commit
  const adds: Plain[] = []
  const removes: number[] = []
  let policy: Plain = null
  for (const each of proposals) {
    if (each.kind !== 'proposal') continue
    const { proposal } = each
    if (proposal.kind === 'add') adds.push(accountOf(names, proposal.keyPackage.leafNode))
    else if (proposal.kind === 'remove') removes.push(proposal.removed)
    else if (proposal.kind === 'groupContextExtensions') {
      const listed = policyOf(proposal.extensions)?.invitations ?? []
      policy = countsOf(listed, names)
    }
  }
  const change = { adds, removes, ...(policy === null ? {} : { policy }) }
  if (sender.kind === 'member') return { by: sender.leaf, ...change }
  const leafNode = path?.leafNode ?? null
  if (leafNode === null) return { malformed: true }
  const way = removes.length > 0 ? 'resync' : admissionBody(leafNode.extensions) ? 'link' : 'device'
  return { by: way, who: accountOf(names, leafNode), ...change }
}

function accountOf(names: Pseudonyms, leafNode: LeafNode): Plain {
  const { credential } = leafNode
  const identity = credential.kind === 'basic' ? decodeIdentity(credential.identity) : null
  return identity === null ? null : names.account(identity.account)
}

function sealedFacts(seen: SeenStep, key: string, bytes: Uint8Array): PlainRecord {
  const sealed = decodeSealedFrame(bytes)
  if (sealed === null) return { malformed: true }
  const { header } = sealed
  return {
    epoch: Number(header.epoch),
    leaf: header.leaf,
    generation: header.generation,
    lane: laneOf(header),
    seen: Number(header.seen.position),
    ...sight(seen, key, header.seen),
  }
}

function voteFacts(bytes: Uint8Array): PlainRecord {
  const decoded = decode(voteEntryCodec, bytes)
  const vote = decoded.kind === 'malformed' ? null : readVote(decoded.value.vote)
  if (vote === null) return { malformed: true }
  return { leaf: vote.leaf, about: Number(vote.position), choice: vote.choice }
}

// ---- Effects ------------------------------------------------------------------------------

/** What an effect does; null for what only shows or wipes. */
export function effectFacts(seen: SeenStep, effect: DeviceEffect): Plain | null {
  switch (effect.kind) {
    case 'dial':
      return { do: effect.kind, attempt: effect.attempt }
    case 'hangUp':
      return { do: effect.kind }
    case 'send':
    case 'sendDatagram':
      return sentFacts(seen, effect.frame)
    case 'armTimer':
      // Who types is not recorded, and so neither is when that ends.
      return effect.timer === 'typing' ? null : { do: effect.kind, timer: effect.timer }
    case 'settleCommand': {
      const { outcome } = effect
      const code = outcome.kind === 'failed' ? { code: word(outcome.code) } : {}
      return { do: effect.kind, id: effect.id, outcome: outcome.kind, ...code }
    }
    case 'reportFault':
      return { do: effect.kind }
    default:
      return null
  }
}

function sentFacts(seen: SeenStep, bytes: Uint8Array): Plain {
  const frame = parseFrame(bytes)
  const decoded = frame.kind === 'frame' ? decodeMessage(frame) : null
  if (decoded?.kind !== 'message') return { do: 'send', what: 'malformed' }
  const { message } = decoded
  const { body } = message
  const request = 'request' in body ? { request: body.request } : {}
  const inRoom = message.room.some((byte) => byte !== 0)
  const room = inRoom ? { room: seen.names.room(roomKey(message.room)) } : {}
  const sealed = message.kind === 'submitFrame' ? decodeSealedFrame(message.body.frame) : null
  const place = sealed === null
    ? {}
    : { epoch: Number(sealed.header.epoch), generation: sealed.header.generation }
  const up = message.kind === 'acknowledge' ? { position: Number(message.body.position) } : {}
  return { do: 'send', what: message.kind, ...request, ...room, ...place, ...up }
}

/** What a step shows in a room's history: where, and of which kind. */
export function shownFacts(seen: SeenStep, changes: readonly RequiredChange[]): readonly Plain[] {
  const shown: Plain[] = []
  for (const { change } of changes) {
    if (change.kind !== 'put' || change.table !== 'timeline') continue
    const decoded = decode(timelineRecordCodec, change.value)
    if (decoded.kind === 'malformed') continue
    const { item } = decoded.value
    const [key = ''] = change.key.split(':')
    const position = positionOfTimelineKey(change.key)
    const what = item.kind === 'unreadable'
      ? word(`unreadable:${item.code}`)
      : item.kind === 'event'
      ? item.event
      : wasSaid(seen, key, { position, messageId: item.messageId })
      ? 'repeated'
      : item.kind
    shown.push({ do: 'show', room: seen.names.room(key), position, what })
  }
  return shown
}

/** Whether a message stands at another position too, as far as the device remembers (CONTENT-4). */
function wasSaid(
  { state }: SeenStep,
  key: string,
  message: { readonly position: number; readonly messageId: Uint8Array },
): boolean {
  const said = state.rooms.get(key)?.said ?? []
  return said.some(({ position, messageId }) =>
    Number(position) !== message.position && equalBytes(messageId, message.messageId)
  )
}
