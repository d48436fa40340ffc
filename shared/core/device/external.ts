/**
 * Coming in by a commit of one's own (JOIN-4, JOIN-5): by a link, or back into a room that this
 * device lost. Owns the making of that commit above the newest epoch; `joining.ts` leads to it.
 */
import { LIMITS } from '#core/base/limits.ts'
import {
  hasNoLeaf,
  idOfEpoch,
  isOut,
  needsResync,
  ownLeafIn,
  topEpoch,
} from '#core/device/chain.ts'
import { wayInEnded } from '#core/device/ends.ts'
import { roomSuite } from '#core/device/epoch-keys.ts'
import { isHeld } from '#core/device/hold.ts'
import { leafTemplate, signatureKeyOf } from '#core/device/leaf.ts'
import type { AccountRecord } from '#core/device/records.ts'
import { caughtUp } from '#core/device/room.ts'
import type { RoomEpoch, RoomState } from '#core/device/state.ts'
import {
  dropStalePending,
  seenIn,
  setPending,
  submissionOf,
  submitPending,
} from '#core/device/submit.ts'
import type { Turn } from '#core/device/turn.ts'
import { certificateHash } from '#core/identity/certificate.ts'
import { invitationId, invitationKeyPair } from '#core/identity/invitation.ts'
import { EXTENSION_TYPE, externalPub, readExtension } from '#core/mls/extension.ts'
import { decodeMlsMessage } from '#core/mls/framing.ts'
import { joinByExternalCommit } from '#core/mls/join-external.ts'
import { leafAt } from '#core/mls/ratchet-tree.ts'
import { makeAdmission } from '#core/policy/admission.ts'
import { encode } from '#core/wire/codec.ts'
import { seenCodec } from '#core/wire/log-entry.ts'

/** The key of `external_pub` in a published GroupInfo; null where there is none. */
export function externalPubOf(groupInfo: Uint8Array): Uint8Array | null {
  const decoded = decodeMlsMessage('groupInfo', groupInfo)
  if (decoded === null) return null
  const { extensions } = decoded.groupInfo
  const key = readExtension(extensions, EXTENSION_TYPE.externalPub, externalPub)
  return key === 'malformed' ? null : key
}

/** At the end of the log the device commits itself into the group, if it is on its way in. */
export async function pumpEntry(turn: Turn, key: string): Promise<void> {
  dropStalePending(turn, key)
  const room = turn.room(key)
  const account = turn.registered
  const top = room === null ? null : topEpoch(room)
  if (room === null || account === null || top === null) return
  if (!turn.ready || !caughtUp(room) || isHeld(turn, room)) return
  if (!isDue(turn, room)) return
  if (room.pending !== null) {
    if (!room.pending.sent) submitPending(turn, room)
    return
  }
  await commitEntry(turn, room, { account, top })
}

/** On the way in; or a member whose epoch was made final without it, or hangs for too long. */
function isDue(turn: Turn, room: RoomState): boolean {
  if (room.joining !== null && room.joining.kind !== 'recovery') return room.joining.kind === 'link'
  const isLost = room.record.phase === 'live' && topEpoch(room)?.group === null
  if (room.joining === null && !isLost) return false
  // Its removal may become void yet.
  if (hasNoLeaf(turn, room)) return isOut(turn, room)
  if (room.joining !== null || needsResync(room)) return true
  const since = room.chain.find(({ group }) => group === null)
  if (since === undefined) return false
  const dueMs = since.time + LIMITS.resyncWaitMs
  if (turn.nowMs < dueMs) turn.wakeAt(dueMs)
  return turn.nowMs >= dueMs
}

async function commitEntry(
  turn: Turn,
  room: RoomState,
  { account, top }: { readonly account: AccountRecord; readonly top: RoomEpoch },
): Promise<void> {
  const externalKey = externalPubOf(top.groupInfo)
  const suite = roomSuite(top.public)
  const removed = ownLeafIn(turn, top)
  // Who was removed meanwhile has nothing to come back to.
  if (removed === null && room.joining?.kind !== 'link') {
    return wayInEnded(turn, room.key, 'unknownRoom')
  }
  if (externalKey === null) return
  const template = leafTemplate(turn, account, suite)
  const old = removed === null ? null : leafAt(top.public.tree, removed)
  const made = await joinByExternalCommit(top.public, {
    externalPub: externalKey,
    // An admission stays what it was.
    template: old === null ? template : { ...template, extensions: old.extensions },
    ...(old === null ? { extensionsFor: admission(turn, room, { account, top }) } : {}),
    signatureSecret: signatureKeyOf(account, suite).secretKey,
    removed,
    psks: () => null,
    authenticatedData: encode(seenCodec, seenIn(room)),
    timeMs: turn.nowMs,
    entropy: turn.ports.entropy,
  })
  if (made.kind === 'refused') return
  const kept = {
    commit: made.message,
    welcome: null,
    next: made.next,
    certificates: old === null ? [account.certificate] : [],
    jobs: [],
  }
  const submission = await submissionOf(room, kept)
  if (submission !== null) setPending(turn, room.key, kept, submission)
}

/** Signs the new leaf with the key of the link, which is wiped at once. */
function admission(
  turn: Turn,
  room: RoomState,
  { account, top }: { readonly account: AccountRecord; readonly top: RoomEpoch },
) {
  const { crypto } = turn.ports
  return async (encryptionKey: Uint8Array) => {
    const pair = invitationKeyPair(crypto, room.record.opening, room.id)
    const made = await makeAdmission(crypto, {
      room: room.id,
      epochIdBefore: idOfEpoch(top),
      invitation: invitationId(crypto, pair.publicKey),
      account: account.name,
      device: account.device,
      rootHash: account.rootHash,
      signatureKey: signatureKeyOf(account, roomSuite(top.public)).publicKey,
      encryptionKey,
      certificateHash: certificateHash(crypto, account.certificate),
    }, pair.secretKey)
    turn.effect({ kind: 'wipe', secrets: [pair.secretKey] })
    return [made]
  }
}
