/**
 * The hub of a replay: for each frame that a capsule recorded, one of the same kind with the same
 * numbers. Owns the frames; rooms and their logs are `stand-in-room.ts`.
 */
import { concat } from '#core/base/bytes.ts'
import { type EpochId, type LogPosition, logPosition, NO_ROOM } from '#core/base/ids.ts'
import type { RequestId, RoomId, TimeMs } from '#core/base/ids.ts'
import type { DeviceState } from '#core/device/state.ts'
import { signHead } from '#core/identity/head.ts'
import { signGreeting } from '#core/identity/session-proof.ts'
import { encodeRatchetTree } from '#core/mls/tree-codec.ts'
import { makeAnchor } from '#core/policy/anchor.ts'
import { encodeGroupAnswer } from '#core/policy/group-request.ts'
import { memberAt } from '#core/policy/roster.ts'
import { members } from '#core/mls/ratchet-tree.ts'
import { type Body, type BodyKind, encodeMessage } from '#core/wire/bodies.ts'
import { buildFrame } from '#core/wire/frame.ts'
import type { Refusal } from '#core/wire/refusals.ts'
import { type Cast, DOMAIN } from './cast.ts'
import type { SaidByDevice } from './own-words.ts'
import { type CapsuleStep, type Facts, factsOf, listOf, numberOf, textOf } from './reading.ts'
import { roomShapeOf } from './reading.ts'
import { NotReproduced } from './room-parts.ts'
import type { StandInRoom } from './stand-in-room.ts'

export const ELSEWHERE = 'https://elsewhere.example'

export interface HubWords {
  readonly cast: Cast
  readonly said: SaidByDevice
  /** Of the device before the step. */
  readonly state: DeviceState
  readonly step: CapsuleStep
  readonly nowMs: TimeMs
  /** The room of a name; made where it is new. */
  room(name: string): Promise<StandInRoom>
}

/** One frame of the hub. */
export async function frameOf(words: HubWords, facts: Facts): Promise<Uint8Array> {
  const kind = textOf(facts, 'kind')
  if (kind === 'malformed') return malformedFrame(words, facts)
  const name = textOf(facts, 'room')
  const room = name === '' ? null : await words.room(name)
  const body = await bodyOf(words, facts, room)
  return encodeMessage(kind as BodyKind, room?.id ?? NO_ROOM, body as never)
}

function malformedFrame({ cast }: HubWords, facts: Facts): Uint8Array {
  const noise = cast.parts.entropy.randomBytes(7)
  if (facts['opcode'] === undefined) return noise
  return buildFrame(numberOf(facts, 'opcode'), NO_ROOM, noise)
}

async function bodyOf(words: HubWords, facts: Facts, room: StandInRoom | null): Promise<unknown> {
  const request = numberOf(facts, 'request') as RequestId
  const position = logPosition(BigInt(numberOf(facts, 'position')))
  switch (textOf(facts, 'kind')) {
    case 'greeting':
      return await greeting(words, facts)
    case 'registered':
      return { request, attestation: await attestation(words) }
    case 'ready':
      return ready(words, facts)
    case 'refused':
      return { request, opcode: numberOf(facts, 'opcode'), refusal: refusalOf(facts) }
    case 'accepted':
      return { request, position: facts['position'] === null ? null : position }
    case 'redirect':
      return { endpoint: redirectOf(words), reason: numberOf(facts, 'reason') }
    case 'keyPackages':
      return await keyPackages(words, facts)
    case 'welcome':
      return await welcome(words, facts)
    case 'heartbeat':
      return { sequence: 0 }
    case 'goodbye':
    case 'sessionClosing':
      return { reason: textOf(facts, 'reason') }
    case 'ephemeral':
      return { frame: words.cast.parts.entropy.randomBytes(64) }
    default:
      if (room === null) throw new NotReproduced(`a frame: ${textOf(facts, 'kind')}`)
      return await roomBody(words, facts, room)
  }
}

async function roomBody(words: HubWords, facts: Facts, room: StandInRoom): Promise<unknown> {
  const position = logPosition(BigInt(numberOf(facts, 'position')))
  switch (textOf(facts, 'kind')) {
    case 'subscribed':
      return await subscribed(words, facts, room)
    case 'entries':
      return await entries(facts, room)
    case 'head':
      return await head(words, room, { position, contradicts: facts['contradicts'] })
    case 'catchUp':
    case 'askVote':
      return { position }
    case 'group':
      return await groupPart(words, facts, room)
    default:
      throw new NotReproduced(`a frame: ${textOf(facts, 'kind')}`)
  }
}

// ---- Session ------------------------------------------------------------------------------

async function greeting({ cast, state, step, nowMs }: HubWords, facts: Facts) {
  const { session } = state
  if (session.kind !== 'greeting') throw new NotReproduced('a greeting that nobody waits for')
  const { crypto, entropy } = cast.parts
  const code = textOf(factsOf(step.to['session']), 'code')
  const other = crypto.signatureKeyPair('ed25519', entropy.randomBytes(32))
  const key = code === 'otherHub' ? other : cast.hubKey
  const said = {
    versions: [1],
    version: numberOf(facts, 'version'),
    appVersion: 1,
    features: [],
    hubDomain: DOMAIN,
    hubKey: key.publicKey,
    hubNonce: entropy.randomBytes(32),
    time: nowMs,
  }
  const signer = code === 'wrongSignature' ? other : key
  return await signGreeting(crypto, { hello: session.hello, greeting: said }, signer.secretKey)
}

async function attestation({ cast, said, step, nowMs }: HubWords): Promise<Uint8Array> {
  if (said.registered === null) throw new NotReproduced('an answer to no registration')
  const word = await cast.attestation(said.registered, nowMs)
  const isBad = textOf(factsOf(step.to['account']), 'code') === 'badCertificate'
  return isBad ? word.map((byte) => byte ^ 1) : word
}

function ready({ cast, nowMs }: HubWords, facts: Facts): Body<'ready'> {
  return {
    session: cast.parts.entropy.randomBytes(16),
    heartbeatIntervalMs: 10_000,
    sessionSilenceMsMax: 30_000,
    time: nowMs,
    keyPackagesLeft: numberOf(facts, 'keyPackagesLeft'),
  }
}

/** Numbers that are 64 bits on the wire. */
const WIDE = new Set(['epoch', 'position', 'sequence'])

function refusalOf(facts: Facts): Refusal {
  const said = Object.entries(factsOf(facts['refusal']))
    .map(([name, value]) => [name, WIDE.has(name) ? BigInt(Number(value)) : value])
  const rest = { hubDomain: 'other.example', challenge: new Uint8Array(0) }
  return { ...rest, expectedRoom: new Uint8Array(32), ...Object.fromEntries(said) } as Refusal
}

function redirectOf({ state, step }: HubWords): string {
  if (step.to['redirects'] === state.redirects) return 'nowhere'
  return step.to['away'] === true ? ELSEWHERE : state.home
}

// ---- Directory ----------------------------------------------------------------------------

async function keyPackages(
  { cast, said, state }: HubWords,
  facts: Facts,
): Promise<Body<'keyPackages'>> {
  const claimed = []
  for (const each of listOf(facts, 'claimed')) {
    const [who, lastResort] = Array.isArray(each) ? each : []
    if (typeof who !== 'number') throw new NotReproduced('a KeyPackage of nobody')
    const isLast = { lastResort: lastResort === true }
    if (who === 0) {
      const own = said.keyPackage()
      const device = 'record' in state.account ? state.account.record.device : null
      if (own === null || device === null) throw new NotReproduced('a KeyPackage of the device')
      claimed.push({ device, ...own, ...isLast })
      continue
    }
    const { device, keyPackage } = await cast.handOut(who)
    const { certificate, device: id } = device.self
    claimed.push({ device: id, keyPackage, certificate, ...isLast })
  }
  const request = numberOf(facts, 'request') as RequestId
  return { request, claimed, padding: new Uint8Array(0) }
}

async function welcome(words: HubWords, facts: Facts): Promise<Body<'welcome'>> {
  const room = await words.room(textOf(facts, 'of'))
  const position = numberOf(facts, 'position')
  await room.entry(position)
  const bytes = room.welcomes.get(position)
  if (bytes === undefined) throw new NotReproduced('a Welcome')
  const shape = roomShapeOf(words.step.to, textOf(facts, 'of'))
  const isOpened = shape['joining'] === 'welcome'
  return {
    id: BigInt(position),
    room: room.id as Body<'welcome'>['room'],
    position: logPosition(BigInt(position)),
    welcome: isOpened ? bytes : bytes.map((byte) => byte ^ 1),
  }
}

// ---- Rooms --------------------------------------------------------------------------------

async function subscribed(
  { cast }: HubWords,
  facts: Facts,
  room: StandInRoom,
): Promise<Body<'subscribed'>> {
  const next = numberOf(facts, 'next')
  const epoch = numberOf(facts, 'epoch')
  const isKnown = () => room.epochs.some((each) => Number(each.public.context.epoch) === epoch)
  // The hub is ahead of the device: what stands in the log up to there is made now.
  if (!isKnown()) await room.entry(next - 1).catch(() => null)
  const found = room.epochs.findLast((each) => Number(each.public.context.epoch) === epoch)
  const epochId = found === undefined ? cast.parts.entropy.randomBytes(32) : room.epochId(found)
  return {
    request: numberOf(facts, 'request') as RequestId,
    next: logPosition(BigInt(next)),
    epoch: BigInt(epoch) as Body<'subscribed'>['epoch'],
    epochId: epochId as EpochId,
    leaf: (typeof facts['leaf'] === 'number' ? facts['leaf'] : null) as Body<'subscribed'>['leaf'],
    lastGenerations: listOf(facts, 'generations').map((each) => {
      const [lane = 0, generation = 0] = Array.isArray(each) ? each.map(Number) : []
      return { lane, generation }
    }),
  }
}

async function entries(facts: Facts, room: StandInRoom): Promise<Body<'entries'>> {
  const first = numberOf(facts, 'first')
  const made = []
  for (const index of listOf(facts, 'entries').keys()) made.push(await room.entry(first + index))
  return { first: logPosition(BigInt(first)), entries: made }
}

async function head(
  { cast, nowMs }: HubWords,
  room: StandInRoom,
  said: { readonly position: LogPosition; readonly contradicts: unknown },
): Promise<Body<'head'>> {
  const { crypto, entropy } = cast.parts
  const known = said.contradicts === true ? null : room.hashAt(Number(said.position))
  const unsigned = {
    term: 1n,
    keyId: new Uint8Array(8),
    position: said.position,
    entryHash: known ?? entropy.randomBytes(32),
    time: nowMs,
    directoryHead: new Uint8Array(32),
  }
  const place = { hubDomain: DOMAIN, room: room.id }
  return await signHead(crypto, { ...place, head: unsigned }, cast.hubKey.secretKey)
}

/** A part of the group: all that comes before the last part is a byte each. */
async function groupPart(
  words: HubWords,
  facts: Facts,
  room: StandInRoom,
): Promise<Body<'group'>> {
  const answer = await groupAnswer(words, room)
  const sequence = numberOf(facts, 'sequence')
  const last = facts['last'] === true
  const request = numberOf(facts, 'request') as RequestId
  const bytes = answer.slice(sequence, last ? answer.length : sequence + 1)
  return { request, sequence, last, bytes }
}

async function groupAnswer(words: HubWords, room: StandInRoom): Promise<Uint8Array> {
  const { cast, step, nowMs } = words
  const [epoch] = room.epochs
  const known = room.invitations[0]
  if (epoch === undefined || known === undefined) throw new NotReproduced('a group')
  const code = textOf(roomShapeOf(step.to, room.parts.name), 'code')
  const entryHash = room.hashAt(epoch.position) ?? new Uint8Array(32)
  const certificates: Uint8Array[] = []
  let inviter = null
  for (const { leaf } of members(epoch.public.tree)) {
    const device = await room.deviceAt(leaf)
    certificates.push(device.self.certificate)
    const isInviter = memberAt(epoch.public.tree, leaf)?.identity.account ===
      known.invitation.inviter
    if (isInviter) inviter = device
  }
  if (inviter === null) throw new NotReproduced('an inviter who is in the room')
  const position = logPosition(BigInt(epoch.position))
  const anchor = await makeAnchor(cast.parts.crypto, {
    room: room.id as RoomId,
    epochId: room.epochId(epoch),
    position,
    entryHash,
    invitation: known.invitation.id,
    device: inviter.self.device,
    time: nowMs,
  }, {
    algorithm: inviter.suite.signature,
    secretKey: inviter.self.key.secretKey,
    certificate: inviter.self.certificate,
  })
  const spoiled = code === 'badAnchor' ? concat(anchor.subarray(0, -1), Uint8Array.of(1)) : anchor
  return encodeGroupAnswer({
    anchor: code === 'noAnchor' ? null : spoiled,
    position,
    entryHash,
    groupInfo: epoch.groupInfo,
    ratchetTree: encodeRatchetTree(epoch.public.tree),
    certificates,
  })
}
