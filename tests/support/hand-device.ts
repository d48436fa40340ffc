/**
 * A device whose every frame the test writes itself: account, session, rooms and seals out of the
 * parts of the core, without the device machine. Runs over any `Dialer`. It chains all entries and
 * fails when one is missing, twice, or out of order.
 */
import { deepStrictEqual, ok, strictEqual } from 'node:assert/strict'
import { equalBytes, toHex } from '#core/base/bytes.ts'
import { type LeafIndex, type LogPosition, logPosition, type RequestId } from '#core/base/ids.ts'
import type { RoomId, TimeMs } from '#core/base/ids.ts'
import { certificateHash } from '#core/identity/certificate.ts'
import { groupIdOf, makeGenesis } from '#core/identity/genesis.ts'
import { invitationId, invitationKeyPair, makeInvitation } from '#core/identity/invitation.ts'
import { makeJoinRequest } from '#core/identity/invitation.ts'
import { encodeIdentity } from '#core/identity/leaf-identity.ts'
import type { MlsGroup, MlsSigner } from '#core/mls/mls.ts'
import { EPOCH_EXPORTS, exportContext, exportLength } from '#core/sender-keys/exports.ts'
import { seal, sealBurst, type SealContext } from '#core/sender-keys/seal.ts'
import { createSenderKeys, reserve, type SenderKeys } from '#core/sender-keys/secret-tree.ts'
import type { Body } from '#core/wire/bodies.ts'
import { decode, encode } from '#core/wire/codec.ts'
import { commitEntryCodec, FIRST_PREVIOUS_HASH, seenCodec } from '#core/wire/log-entry.ts'
import { type HandRoom, HandSession } from './hand-session.ts'

export { type HandIdentity, type HandParts, type HandRoom, makeIdentity } from './hand-session.ts'

export class HandDevice extends HandSession {
  // ---- Rooms ------------------------------------------------------------------------------

  get signer(): MlsSigner {
    const { account, device, certificate, key } = this.self
    return {
      identity: encodeIdentity({
        account,
        device,
        manifestVersion: 1,
        certificateHash: certificateHash(this.parts.crypto, certificate),
      }),
      signatureKey: key.publicKey,
      signatureSecret: key.secretKey,
    }
  }

  /** Makes a group and the request that opens its room. */
  async genesis(): Promise<{ room: HandRoom; body: Body<'createRoom'> }> {
    const { crypto, mls, entropy, clock, domain } = this.parts
    const { account, device, key, certificate } = this.self
    const { genesis, room: id } = await makeGenesis(crypto, {
      creator: account,
      creatorRootHash: this.self.rootHash,
      creatorDevice: device,
      domain,
      suite: this.suite.id,
      random: entropy.randomBytes(32),
    }, key.secretKey)
    const group = await mls.createGroup({
      suite: this.suite,
      groupId: groupIdOf(id),
      signer: this.signer,
      nowMs: clock.nowMs(),
      entropy,
    })
    const room = await this.enter(id, group)
    const body = {
      request: this.nextRequest(),
      genesis,
      suite: this.suite.id,
      epochId: mls.epochId(group),
      certificate,
    }
    return { room, body }
  }

  async createRoom(): Promise<HandRoom> {
    const { room, body } = await this.genesis()
    this.rooms.set(toHex(room.id), room)
    this.say('createRoom', body, room.id)
    strictEqual(await this.position(body.request), 0n)
    await this.subscribe(room)
    return room
  }

  async enter(id: RoomId, group: MlsGroup): Promise<HandRoom> {
    const keys = await this.#exportKeys(id, group)
    return { id, group, keys, next: 0n, headHash: FIRST_PREVIOUS_HASH, entries: [] }
  }

  async #exportKeys(id: RoomId, group: MlsGroup): Promise<SenderKeys> {
    const { mls } = this.parts
    const { suite } = this
    const root = await mls.exportSecret(group, {
      label: EPOCH_EXPORTS.dataPlane,
      context: exportContext(suite, id, mls.epochId(group)),
      length: exportLength(suite),
    })
    return createSenderKeys({ suite, root, leafCount: mls.leafCount(group) })
  }

  async adopt(room: HandRoom, group: MlsGroup): Promise<void> {
    room.group = group
    room.keys = await this.#exportKeys(room.id, group)
  }

  async subscribe(
    room: HandRoom,
    over: Partial<Body<'subscribe'>> = {},
  ): Promise<Body<'subscribed'>> {
    const request = this.nextRequest()
    const from = logPosition(room.next)
    const holesBefore = logPosition(0n)
    this.say('subscribe', { request, from, holesBefore, open: false, ...over }, room.id)
    return (await this.hear('subscribed', ({ body }) => body.request === request)).body
  }

  /** Waits until everything below `next` has been chained. */
  async follow(room: HandRoom, next: bigint): Promise<void> {
    while (room.next < next) {
      await this.hear('entries', (message) => equalBytes(message.room, room.id))
    }
  }

  context(room: HandRoom): SealContext {
    const { mls } = this.parts
    const { group } = room
    return {
      suite: this.suite,
      room: room.id,
      epoch: mls.epoch(group),
      epochId: mls.epochId(group),
      leaf: mls.ownLeaf(group),
      lane: 0,
      seen: { position: room.next - 1n, hash: room.headHash },
      signatureSecret: this.self.key.secretKey,
    }
  }

  /** The next sealed frames of the own chain; `over` changes what is signed. */
  async seal(room: HandRoom, count = 1, over: Partial<SealContext> = {}): Promise<Uint8Array[]> {
    const context = { ...this.context(room), ...over }
    const items = this.take(room, count)
    if (count === 1) return [await seal(this.parts.crypto, context, items[0] as (typeof items)[0])]
    return [...await sealBurst(this.parts.crypto, context, items)]
  }

  take(room: HandRoom, count: number, lane = 0) {
    const { crypto, mls, entropy } = this.parts
    const leaf = mls.ownLeaf(room.group)
    const taken = reserve(crypto, room.keys, { leaf, lane, count })
    room.keys = taken.keys
    return taken.reserved.map(({ generation, secret }) => ({
      generation,
      messageSecret: secret,
      nonce: entropy.randomBytes(this.suite.frameNonceLength),
      plaintext: entropy.randomBytes(40),
    }))
  }

  /** Submits a sealed frame; its answer comes with `answer` or `position`. */
  submit(room: HandRoom, frame: Uint8Array): RequestId {
    const request = this.nextRequest()
    this.say('submitFrame', { request, frame }, room.id)
    return request
  }

  /** Seals, submits, and follows the log up to the new entry. */
  async write(room: HandRoom): Promise<LogPosition> {
    const [frame] = await this.seal(room)
    const position = await this.position(this.submit(room, frame as Uint8Array))
    await this.follow(room, position + 1n)
    return position
  }

  // ---- Membership -------------------------------------------------------------------------

  async makeKeyPackage() {
    const { mls, clock, entropy } = this.parts
    const now = clock.nowMs()
    return await mls.makeKeyPackage({
      suite: this.suite,
      signer: this.signer,
      notBefore: now - 3_600_000 as TimeMs,
      notAfter: now + 86_400_000 as TimeMs,
      entropy,
    })
  }

  /** A commit and the request that submits it. */
  async commit(
    room: HandRoom,
    change: {
      readonly adds?: readonly {
        readonly keyPackage: Uint8Array
        readonly certificate: Uint8Array
      }[]
      readonly removes?: readonly LeafIndex[]
      readonly joinRequest?: Uint8Array
    },
  ): Promise<{ next: MlsGroup; body: Body<'submitCommit'> }> {
    const { mls, clock, entropy } = this.parts
    const { seen, epoch } = this.context(room)
    const made = await mls.commit(room.group, {
      adds: (change.adds ?? []).map(({ keyPackage }) => keyPackage),
      removes: change.removes ?? [],
      authenticated: encode(seenCodec, seen),
      nowMs: clock.nowMs(),
      entropy,
    })
    ok(made.kind === 'committed')
    const body = {
      request: this.nextRequest(),
      epoch,
      seen: { position: logPosition(seen.position), hash: seen.hash },
      commit: made.commit,
      newEpochId: mls.epochId(made.next),
      certificates: (change.adds ?? []).map(({ certificate }) => certificate),
      welcome: made.welcome ?? new Uint8Array(0),
      joinRequest: change.joinRequest ?? null,
    }
    return { next: made.next, body }
  }

  /** Commits, waits for the log, and enters the new epoch. */
  async change(room: HandRoom, change: Parameters<HandDevice['commit']>[1]): Promise<LogPosition> {
    const { next, body } = await this.commit(room, change)
    this.say('submitCommit', body, room.id)
    const position = await this.position(body.request)
    await this.follow(room, position + 1n)
    await this.adopt(room, next)
    return position
  }

  /** Follows another member's commit, which must be the newest entry. */
  async process(room: HandRoom): Promise<void> {
    const last = room.entries.at(-1)?.entry
    ok(last?.header.entry === 'commit' && last.body.kind === 'whole')
    const entry = decode(commitEntryCodec, last.body.bytes)
    ok(entry.kind === 'decoded')
    const { mls, clock } = this.parts
    const processed = await mls.processCommit(room.group, entry.value.commit, clock.nowMs())
    ok(processed.kind === 'processed')
    deepStrictEqual(mls.epochId(processed.next), entry.value.newEpochId)
    await this.adopt(room, processed.next)
  }

  /** Takes the next Welcome for `made`, enters its room and follows the log from the beginning. */
  async join(made: Awaited<ReturnType<HandDevice['makeKeyPackage']>>): Promise<HandRoom> {
    const { body } = await this.hear('welcome')
    const { keyPackage, secrets } = made
    const nowMs = this.parts.clock.nowMs()
    const joined = await this.parts.mls.join({ welcome: body.welcome, keyPackage, secrets, nowMs })
    ok(joined.kind === 'joined')
    const room = await this.enter(body.room as RoomId, joined.group)
    this.rooms.set(toHex(room.id), room)
    this.say('welcomeReceived', { id: body.id })
    const { next } = await this.subscribe(room, { holesBefore: logPosition(body.position + 1n) })
    await this.follow(room, next)
    return room
  }

  /** Lists an invitation key; the secret that a link would carry comes back. */
  async invite(room: HandRoom, over: { expiresAt?: TimeMs; usesMax?: number } = {}) {
    const { crypto, entropy, clock } = this.parts
    const secret = entropy.randomBytes(16)
    const pair = invitationKeyPair(crypto, secret, room.id)
    const { epochId, leaf } = this.context(room)
    const invitation = await makeInvitation(crypto, {
      room: room.id,
      epochId,
      leaf,
      publicKey: pair.publicKey,
      expiresAt: over.expiresAt ?? clock.nowMs() + 3_600_000 as TimeMs,
      usesMax: over.usesMax ?? 5,
    }, { algorithm: this.suite.signature, secretKey: this.self.key.secretKey })
    const request = this.nextRequest()
    this.say('submitInvitation', { request, invitation }, room.id)
    const position = await this.position(request)
    await this.follow(room, position + 1n)
    return secret
  }

  /** Asks to join with the secret of a link; the answer comes with `answer`. */
  async requestJoin(id: RoomId, secret: Uint8Array, keyPackage: Uint8Array): Promise<RequestId> {
    const { crypto, clock } = this.parts
    const pair = invitationKeyPair(crypto, secret, id)
    const joinRequest = await makeJoinRequest(crypto, {
      room: id,
      invitation: invitationId(crypto, pair.publicKey),
      account: this.self.account,
      device: this.self.device,
      suite: this.suite.id,
      keyPackage,
      certificate: this.self.certificate,
      time: clock.nowMs(),
    }, pair.secretKey)
    const request = this.nextRequest()
    this.say('requestJoin', { request, token: null, joinRequest }, id)
    return request
  }
}
