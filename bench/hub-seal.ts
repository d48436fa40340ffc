/**
 * Frames of the load, sealed before anything is measured: keys of the room's epoch, random nonces,
 * the newest head as seen, one signature for each burst or for each frame. Owns the chains of the
 * senders of one thread, so that generations go on from phase to phase.
 */
import { ok } from 'node:assert/strict'
import { toHex } from '#core/base/bytes.ts'
import { type Epoch, type EpochId, leafIndex, type RoomId } from '#core/base/ids.ts'
import { LIMITS } from '#core/base/limits.ts'
import { seal, sealBurst, type SealContext, type SealItem } from '#core/sender-keys/seal.ts'
import { createSenderKeys, reserve, type SenderKeys } from '#core/sender-keys/secret-tree.ts'
import { encodeMessage } from '#core/wire/bodies.ts'
import type { ClientAccount } from '../tests/support/protocol-client.ts'
import { entropy, native, suite } from '../tests/support/protocol-parts.ts'
import type { FollowedRoom, Member, Submission } from './hub-member.ts'

/** Bytes of each text: they are padded to 512. */
export const PLAINTEXT_LENGTH = 300

/** A room in which one leaf writes. */
export interface WrittenRoom {
  readonly id: RoomId
  readonly epoch: bigint
  readonly epochId: Uint8Array
  /** Data-plane root of the epoch. */
  readonly root: Uint8Array
  readonly leafCount: number
  /** First position that is not taken. */
  next: number
}

/** How many frames of each room, and how many of them share one signature; 1: each its own. */
export interface SealPlan {
  readonly framesPerRoom: number
  readonly framesPerBurst: number
}

export class Sealer {
  readonly #keys = new Map<string, SenderKeys>()

  /** Frames of all rooms in turn, so that no room comes twice before the others. */
  async prepare(
    sender: { readonly member: Member; readonly account: ClientAccount },
    rooms: readonly WrittenRoom[],
    plan: SealPlan,
  ): Promise<Submission> {
    const { member, account } = sender
    const sealed: (readonly Uint8Array[])[] = []
    for (const room of rooms) {
      const followed = member.rooms.get(toHex(room.id))
      ok(followed !== undefined, 'a room that is followed')
      sealed.push(await this.#sealRoom(room, { followed, account }, plan))
    }
    const frames: Uint8Array[] = []
    let firstRequest = 0
    for (let index = 0; index < plan.framesPerRoom; index++) {
      for (const [at, room] of rooms.entries()) {
        const request = member.session.nextRequest()
        if (frames.length === 0) firstRequest = request
        const frame = sealed[at]?.[index] as Uint8Array
        frames.push(encodeMessage('submitFrame', room.id, { request, after: null, frame }))
      }
    }
    return { frames, firstRequest }
  }

  async #sealRoom(
    room: WrittenRoom,
    by: { readonly followed: FollowedRoom; readonly account: ClientAccount },
    { framesPerRoom, framesPerBurst }: SealPlan,
  ): Promise<readonly Uint8Array[]> {
    const { head, leaf } = by.followed
    ok(head !== null, 'the head is known')
    const context: SealContext = {
      suite,
      room: room.id,
      epoch: room.epoch as Epoch,
      epochId: room.epochId as EpochId,
      leaf: leafIndex(leaf),
      lane: 0,
      seen: { position: head.position, hash: head.entryHash },
      signatureSecret: by.account.ed25519.secretKey,
    }
    const items = this.#items(room, leaf, framesPerRoom)
    if (framesPerBurst === 1) {
      return Promise.all(items.map((item) => seal(native, context, item)))
    }
    ok(framesPerBurst <= LIMITS.burstFramesMax, 'a burst has its limit')
    const frames: Uint8Array[] = []
    for (let from = 0; from < items.length; from += framesPerBurst) {
      frames.push(...await sealBurst(native, context, items.slice(from, from + framesPerBurst)))
    }
    return frames
  }

  #items(room: WrittenRoom, leaf: number, count: number): readonly SealItem[] {
    const key = toHex(room.id)
    const { root, leafCount } = room
    const before = this.#keys.get(key) ??
      createSenderKeys({ suite, root: root.slice(), leafCount })
    const { keys, reserved } = reserve(native, before, { leaf: leafIndex(leaf), lane: 0, count })
    this.#keys.set(key, keys)
    return reserved.map(({ generation, secret }) => ({
      generation,
      messageSecret: secret,
      nonce: entropy.randomBytes(suite.frameNonceLength),
      plaintext: entropy.randomBytes(PLAINTEXT_LENGTH),
    }))
  }
}
