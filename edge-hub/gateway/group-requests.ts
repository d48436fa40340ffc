/**
 * The public group for who has a right to it (JOIN-1, JOIN-2): a member, a new device of a member's
 * account, and who proves an invitation key. Owns that right, putting the answer together from
 * memory and store, and sending it in parts as the control lane has room. Whoever has no right
 * learns nothing, not even whether the room exists.
 */
import type { LogPosition, RoomId } from '#core/base/ids.ts'
import { LIMITS } from '#core/base/limits.ts'
import { encodeRatchetTree } from '#core/mls/tree-codec.ts'
import { encodeGroupAnswer, verifyGroupRequest } from '#core/policy/group-request.ts'
import { findInvitation, policyOf } from '#core/policy/room-policy.ts'
import { hasAccount, leavesOfAccount, rosterOf, usesOf } from '#core/policy/roster.ts'
import { BODIES, type Body } from '#core/wire/bodies.ts'
import { decode } from '#core/wire/codec.ts'
import { commitEntryCodec, genesisEntryCodec } from '#core/wire/log-entry.ts'
import type { Refusal } from '#core/wire/refusals.ts'
import { background, beginRequest, endRequest } from '#hub/gateway/answering.ts'
import { refusalOf, refuse, send, UNAVAILABLE } from '#hub/gateway/answering.ts'
import { readGroup } from '#hub/gateway/load-group.ts'
import { type Connection, type GroupSending, type Hub, nowMs } from '#hub/gateway/model.ts'
import type { Room } from '#hub/gateway/model.ts'
import { letFollow, seatOf } from '#hub/gateway/seats.ts'
import type { RoomLog, StoredAnchor, StoredCertificate, StoredEntry } from '#hub/ports.ts'
import { leafOf } from '#hub/sequencer/group-view.ts'
import { finalView, headView } from '#hub/sequencer/room-state.ts'

const OPCODE = BODIES.requestGroup[0]
/** Groups that are put together at once: each is held in memory until it is sent. */
const READING_MAX = 4
/** A new version may come while one is read; then the newest is read. */
const ATTEMPTS = 3

export interface GroupAsked {
  readonly room: Room
  readonly size: number
  readonly body: Body<'requestGroup'>
}

export function requestGroup(hub: Hub, connection: Connection, asked: GroupAsked): void {
  const { room, size, body } = asked
  const { request } = body
  const refused = (refusal: Refusal) =>
    refuse(hub, connection, { request, opcode: OPCODE, refusal })
  const tooMany = refusalOf(hub.groupRequests.spend(connection.actor.key, nowMs(hub)))
  if (tooMany !== null) return refused(tooMany)
  const isFull = hub.groupsReading >= READING_MAX || heldBytes(hub) >= LIMITS.groupAnswerSizeMax
  if (connection.groupAnswer !== null || isFull) {
    return refused({ kind: 'tooMany', retryAfterMs: LIMITS.headIntervalMs })
  }
  const sending: GroupSending = {
    request,
    room: room.id,
    bytes: null,
    movedAtMs: nowMs(hub),
    sequence: 0,
    offset: 0,
  }
  connection.groupAnswer = sending
  beginRequest(hub, connection, size)
  hub.groupsReading++
  const answered = answerOf(hub, connection, asked).catch(() => UNAVAILABLE)
  background(
    hub,
    answered.then((answer) => {
      hub.groupsReading--
      endRequest(hub, connection, size)
      // The session may have ended meanwhile.
      if (connection.groupAnswer !== sending) return
      if ('bytes' in answer) {
        sending.bytes = answer.bytes
        sending.movedAtMs = nowMs(hub)
        return sendGroup(hub, connection)
      }
      connection.groupAnswer = null
      refused(answer)
    }),
  )
}

/** Sends as many parts as the control lane has room for; the others follow when it is drained. */
export function sendGroup(hub: Hub, connection: Connection): void {
  const sending = connection.groupAnswer
  if (sending === null || sending.bytes === null || connection.state.kind !== 'ready') return
  const { request, room, bytes } = sending
  while (connection.outbound.controlBytes < LIMITS.writeBytesMax) {
    const end = Math.min(sending.offset + LIMITS.groupPartSizeMax, bytes.length)
    const part = bytes.subarray(sending.offset, end)
    const last = end === bytes.length
    const body = { request, sequence: sending.sequence, last, bytes: part }
    send(hub, connection, { kind: 'group', room, body })
    sending.sequence++
    sending.movedAtMs = nowMs(hub)
    sending.offset = end
    if (!last) continue
    connection.groupAnswer = null
    break
  }
  connection.outbound.flush()
}

/** Answers are held whole until they are taken: all of them together are bounded, too. */
function heldBytes(hub: Hub): number {
  let bytes = 0
  for (const { groupAnswer } of hub.connections.values()) bytes += groupAnswer?.bytes?.length ?? 0
  return bytes
}

/** Ends the sessions that take nothing of a group which they asked for (HUB-5). */
export function endStalledGroups(hub: Hub): void {
  const before = nowMs(hub) - LIMITS.sessionSilenceMsMax
  for (const connection of hub.connections.values()) {
    const { groupAnswer } = connection
    if (groupAnswer === null || groupAnswer.bytes === null) continue
    if (groupAnswer.movedAtMs < before) hub.endSession(connection, 'slow')
  }
}

// ---- The right ----------------------------------------------------------------------------

type Granted =
  | { readonly kind: 'refused'; readonly refusal: Refusal }
  /** The last final epoch. */
  | { readonly kind: 'final' }
  | { readonly kind: 'anchored'; readonly anchor: StoredAnchor }

const UNKNOWN: Granted = { kind: 'refused', refusal: { kind: 'unknownRoom' } }

async function grant(hub: Hub, connection: Connection, asked: GroupAsked): Promise<Granted> {
  const { room, body: { purpose } } = asked
  const head = headView(room.sequenced)
  const { device } = connection.actor
  if (head === null || device === null) return UNKNOWN
  switch (purpose.kind) {
    case 'member':
      return seatOf(connection, room)?.isMember === true ? { kind: 'final' } : UNKNOWN
    case 'newDevice': {
      const { account } = device
      const isKnown = leavesOfAccount(rosterOf(head.made.tree), account).length > 0
      return isKnown && seatOf(connection, room)?.isMember === false ? { kind: 'final' } : UNKNOWN
    }
    case 'invitation':
      return await grantInvitation(hub, connection, { room, purpose })
  }
}

async function grantInvitation(
  hub: Hub,
  connection: Connection,
  { room, purpose }: {
    readonly room: Room
    readonly purpose: Extract<Body<'requestGroup'>['purpose'], { readonly kind: 'invitation' }>
  },
): Promise<Granted> {
  const head = headView(room.sequenced)
  if (head === null) return UNKNOWN
  const policy = policyOf(head.made.context.extensions)
  const invitation = policy === null ? null : findInvitation(policy, purpose.id)
  const { actor: { device }, sessionHash: session } = connection
  if (invitation === null || device === null || session === null) return UNKNOWN
  const proven = await verifyGroupRequest(hub.ports.crypto, {
    session,
    room: room.id,
    invitation: purpose.id,
    ...device,
  }, { publicKey: invitation.publicKey, signature: purpose.signature })
  const roster = rosterOf(head.made.tree)
  const { id, inviter, inviterRootHash, usesMax } = invitation
  // An invitation ends with its inviter, also for who only wants to look (JOIN-4).
  if (!proven || !hasAccount(roster, inviter, inviterRootHash)) return UNKNOWN
  if (invitation.expiresAt <= nowMs(hub) || usesOf(roster, id) >= usesMax) {
    return { kind: 'refused', refusal: { kind: 'invitationSpent' } }
  }
  const anchor = await hub.ports.log.readAnchor(room.id, purpose.id)
  if (anchor === null) return { kind: 'refused', refusal: { kind: 'noAnchor' } }
  return { kind: 'anchored', anchor }
}

// ---- The answer ---------------------------------------------------------------------------

async function answerOf(
  hub: Hub,
  connection: Connection,
  asked: GroupAsked,
): Promise<Refusal | { readonly bytes: Uint8Array }> {
  for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
    const granted = await grant(hub, connection, asked)
    if (granted.kind === 'refused') return granted.refusal
    const anchor = granted.kind === 'anchored' ? granted.anchor : null
    const made = await makeAnswer(hub, asked.room, anchor)
    if (made === null) continue
    if (made.bytes.length > LIMITS.groupAnswerSizeMax) {
      return { kind: 'oversized', sizeMax: LIMITS.groupAnswerSizeMax }
    }
    const { purpose } = asked.body
    // A member follows as such, and no longer than it is one; a void may end what is open.
    if (purpose.kind !== 'member' && !isSeated(connection, asked.room)) {
      const invitation = purpose.kind === 'invitation' ? purpose.id.slice() : null
      letFollow(connection, asked.room, { from: made.position + 1n, invitation })
    }
    return { bytes: made.bytes }
  }
  return UNAVAILABLE
}

/** In every epoch that may come to stand. */
function isSeated({ actor: { device } }: Connection, { sequenced: { epochs } }: Room): boolean {
  return device !== null && epochs.every((view) => leafOf(view, device) !== null)
}

interface MadeAnswer {
  readonly bytes: Uint8Array
  readonly position: LogPosition
}

/** Null where the version went while it was read. */
async function makeAnswer(
  hub: Hub,
  room: Room,
  anchor: StoredAnchor | null,
): Promise<MadeAnswer | null> {
  const { log, crypto } = hub.ports
  const final = finalView(room.sequenced)
  if (final === null) return null
  const position = anchor?.version ?? final.origin
  const tree = position === final.origin
    ? final.made.tree
    : (await readGroup(crypto, log, { room: room.id, position }))?.tree ?? null
  const [stored] = await log.read(room.id, { from: position, limit: 1, bytesMax: 1 })
  const groupInfo = stored === undefined ? null : groupInfoOf(stored)
  const certificates = await readCertificates(log, room.id, position)
  const kept = await log.readVersion(room.id, position)
  if (kept?.position !== position || tree === null) return null
  if (stored === undefined || groupInfo === null) return null
  const bytes = encodeGroupAnswer({
    anchor: anchor?.anchor ?? null,
    position,
    entryHash: stored.entryHash,
    groupInfo,
    ratchetTree: encodeRatchetTree(tree),
    certificates: certificates.map(({ certificate }) => certificate),
  })
  return { bytes, position }
}

/** As it was published in the entry that made the epoch. */
function groupInfoOf({ entry }: StoredEntry): Uint8Array | null {
  const { header, body } = entry
  if (body.kind === 'hole') return null
  const decoded = header.entry === 'genesis'
    ? decode(genesisEntryCodec, body.bytes)
    : decode(commitEntryCodec, body.bytes)
  return decoded.kind === 'malformed' ? null : decoded.value.groupInfo
}

async function readCertificates(
  log: RoomLog,
  room: RoomId,
  version: LogPosition,
): Promise<readonly StoredCertificate[]> {
  const all: StoredCertificate[] = []
  for (;;) {
    const after = all.at(-1)?.hash ?? null
    const page = await log.readCertificates(room, {
      version,
      after,
      limit: LIMITS.catchUpPageEntriesMax,
      bytesMax: LIMITS.frameSizeMax,
    })
    for (const stored of page) all.push(stored)
    if (page.length === 0) return all
  }
}
