/**
 * A device whose every frame the test writes itself: account, session, rooms and seals out of the
 * parts of the core, without the device machine. Runs over any `Dialer`. It chains all entries and
 * fails when one is missing, twice, or out of order. Coming in by a link is `hand-joiner.ts`.
 */
import { ok, strictEqual } from 'node:assert/strict'
import { equalBytes, toHex } from '#core/base/bytes.ts'
import { type Epoch, leafIndex, type LogPosition, logPosition } from '#core/base/ids.ts'
import type { AccountName, LeafIndex, RequestId, RoomId, TimeMs } from '#core/base/ids.ts'
import { certificateHash } from '#core/identity/certificate.ts'
import { groupIdOf, makeGenesis } from '#core/identity/genesis.ts'
import { invitationId, invitationKeyPair } from '#core/identity/invitation.ts'
import { encodeIdentity } from '#core/identity/leaf-identity.ts'
import { makeCommit } from '#core/mls/commit-make.ts'
import { CREDENTIAL_TYPE } from '#core/mls/credential.ts'
import { decodeMlsMessage, encodeMlsMessage } from '#core/mls/framing.ts'
import { createGroup, exportSecret, type Group, makeGroupInfo } from '#core/mls/group.ts'
import { epochIdOf } from '#core/mls/group-context.ts'
import { joinByWelcome } from '#core/mls/join-welcome.ts'
import { MLS_VERSION } from '#core/mls/key-package.ts'
import type { Lifetime } from '#core/mls/leaf-node.ts'
import { processMessage } from '#core/mls/messages.ts'
import { type KeyPackageSecrets, type LeafTemplate, makeKeyPackage } from '#core/mls/own-leaf.ts'
import type { Proposal } from '#core/mls/proposal.ts'
import { makeAnchor } from '#core/policy/anchor.ts'
import { type PolicyInvitation, policyOf, roomExtensions } from '#core/policy/room-policy.ts'
import { ROOM_EXTENSION_TYPES, withPolicy } from '#core/policy/room-policy.ts'
import { makeVote, NO_MAC, type Vote, voteMac } from '#core/policy/vote.ts'
import { EPOCH_EXPORTS, exportContext, exportLength } from '#core/sender-keys/exports.ts'
import { seal, sealBurst, type SealContext } from '#core/sender-keys/seal.ts'
import { createSenderKeys, reserve, type SenderKeys } from '#core/sender-keys/secret-tree.ts'
import type { Body } from '#core/wire/bodies.ts'
import { decode, encode } from '#core/wire/codec.ts'
import { type CommitEntry, commitEntryCodec, FIRST_PREVIOUS_HASH } from '#core/wire/log-entry.ts'
import { genesisEntryCodec, seenCodec } from '#core/wire/log-entry.ts'
import { type HandEntry, type HandLog, type HandRoom, HandSession } from './hand-session.ts'

export { type HandIdentity, type HandLog, type HandParts, type HandRoom } from './hand-session.ts'
export { makeIdentity } from './hand-session.ts'

/** A KeyPackage of one's own: what others get of it, and what it needs to be used. */
export interface HandKeyPackage {
  /** MLSMessage. */
  readonly keyPackage: Uint8Array
  readonly secrets: KeyPackageSecrets
}

export interface HandChange {
  readonly adds?: readonly {
    readonly keyPackage: Uint8Array
    readonly certificate: Uint8Array
  }[]
  readonly removes?: readonly LeafIndex[]
  readonly invitations?: readonly PolicyInvitation[]
  /** Proposals besides these, as they stand. */
  readonly proposals?: readonly Proposal[]
}

export class HandDevice extends HandSession {
  // ---- Rooms ------------------------------------------------------------------------------

  get template(): LeafTemplate {
    const { account, device, certificate, key, rootHash } = this.self
    const identity = encodeIdentity({
      account,
      device,
      manifestVersion: 1,
      rootHash,
      certificateHash: certificateHash(this.parts.crypto, certificate),
    })
    return {
      credential: { kind: 'basic', identity },
      signatureKey: key.publicKey,
      capabilities: {
        versions: [MLS_VERSION],
        cipherSuites: [this.suite.id],
        extensions: ROOM_EXTENSION_TYPES,
        proposals: [],
        credentials: [CREDENTIAL_TYPE.basic],
      },
      extensions: [],
    }
  }

  /** From an hour ago to a day ahead; `over` in ms. */
  lifetime(over: { readonly notBefore?: number; readonly notAfter?: number } = {}): Lifetime {
    const now = this.parts.clock.nowMs()
    const seconds = (timeMs: number) => BigInt(Math.floor(timeMs / 1_000))
    return {
      notBefore: seconds(over.notBefore ?? now - 3_600_000),
      notAfter: seconds(over.notAfter ?? now + 86_400_000),
    }
  }

  /** Makes a group and the request that opens its room. */
  async genesis(): Promise<{ room: HandRoom; body: Body<'createRoom'> }> {
    const { crypto, entropy, domain } = this.parts
    const { account, device, key, certificate } = this.self
    const { genesis, room: id } = await makeGenesis(crypto, {
      creator: account,
      creatorRootHash: this.self.rootHash,
      creatorDevice: device,
      domain,
      suite: this.suite.id,
      random: entropy.randomBytes(32),
    }, key.secretKey)
    const group = await createGroup(this.engine, {
      groupId: groupIdOf(id),
      extensions: roomExtensions(),
      template: this.template,
      signatureSecret: key.secretKey,
      lifetime: this.lifetime(),
      entropy,
    })
    const room = this.enter(id, group)
    const body = {
      request: this.nextRequest(),
      genesis,
      suite: this.suite.id,
      groupInfo: await this.groupInfo(group, true),
      certificate,
    }
    return { room, body }
  }

  /** MLSMessage of the epoch's GroupInfo, as it is published. */
  async groupInfo(group: Group, ratchetTree = false): Promise<Uint8Array> {
    const groupInfo = await makeGroupInfo(group, { ratchetTree, externalPub: true })
    return encodeMlsMessage({ kind: 'groupInfo', groupInfo })
  }

  async createRoom(): Promise<HandRoom> {
    const { room, body } = await this.genesis()
    this.rooms.set(toHex(room.id), room)
    this.say('createRoom', body, room.id)
    strictEqual(await this.position(body.request), 0n)
    await this.subscribe(room)
    await this.follow(room, 1n)
    return room
  }

  enter(id: RoomId, group: Group): HandRoom {
    const keys = this.#exportKeys(id, group)
    return { id, group, keys, next: 0n, headHash: FIRST_PREVIOUS_HASH, entries: [] }
  }

  #exportKeys(id: RoomId, group: Group): SenderKeys {
    const { suite } = this
    const root = exportSecret(group, {
      label: EPOCH_EXPORTS.dataPlane,
      context: exportContext(suite, id, epochIdOf(this.engine, group.public.context)),
      length: exportLength(suite),
    })
    return createSenderKeys({ suite, root, leafCount: group.public.tree.leafWidth })
  }

  adopt(room: HandRoom, group: Group): void {
    room.group = group
    room.keys = this.#exportKeys(room.id, group)
  }

  async subscribe(
    room: HandLog,
    over: Partial<Body<'subscribe'>> = {},
  ): Promise<Body<'subscribed'>> {
    const request = this.nextRequest()
    const from = logPosition(room.next)
    const holesBefore = logPosition(0n)
    this.say('subscribe', { request, from, holesBefore, open: false, ...over }, room.id)
    return (await this.hear('subscribed', ({ body }) => body.request === request)).body
  }

  /** Waits until everything below `next` has been chained. */
  async follow(room: HandLog, next: bigint): Promise<void> {
    while (room.next < next) {
      await this.hear('entries', (message) => equalBytes(message.room, room.id))
    }
  }

  context(room: HandRoom): SealContext {
    const { context } = room.group.public
    return {
      suite: this.suite,
      room: room.id,
      epoch: context.epoch as Epoch,
      epochId: epochIdOf(this.engine, context),
      leaf: leafIndex(room.group.ownLeaf),
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

  /** The next frame of the own chain, with a content of the test's. */
  async sealContent(room: HandRoom, plaintext: Uint8Array): Promise<Uint8Array> {
    const [item] = this.take(room, 1)
    ok(item !== undefined)
    return await seal(this.parts.crypto, this.context(room), { ...item, plaintext })
  }

  take(room: HandRoom, count: number, lane = 0) {
    const { crypto, entropy } = this.parts
    const leaf = leafIndex(room.group.ownLeaf)
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
    this.say('submitFrame', { request, after: null, frame }, room.id)
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

  async makeKeyPackage(lifetime = this.lifetime()): Promise<HandKeyPackage> {
    const { entropy } = this.parts
    const { template, self } = this
    const signatureSecret = self.key.secretKey
    const made = await makeKeyPackage(this.engine, {
      template,
      signatureSecret,
      lifetime,
      entropy,
    })
    const keyPackage = encodeMlsMessage({ kind: 'keyPackage', keyPackage: made.keyPackage })
    return { keyPackage, secrets: made.secrets }
  }

  /** A KeyPackage of an account, as the hub hands it out. */
  async claim(account: AccountName): Promise<Body<'keyPackages'>['claimed'][number]> {
    const request = this.nextRequest()
    this.say('claimKeyPackages', { request, account, suite: this.suite.id, token: null })
    const { body: { claimed: [claimed] } } = await this.answered('keyPackages', request)
    ok(claimed !== undefined, 'the account has a KeyPackage')
    return claimed
  }

  /** A commit and the request that submits it. */
  async commit(
    room: HandRoom,
    change: HandChange,
  ): Promise<{ next: Group; body: Body<'submitCommit'> }> {
    const { seen, epoch, epochId } = this.context(room)
    const made = await makeCommit(room.group, {
      proposals: this.proposals(room, change),
      path: 'always',
      authenticatedData: encode(seenCodec, seen),
      wireFormat: 'publicMessage',
      welcome: { ratchetTree: true, externalPub: false },
      psks: () => null,
      timeMs: null,
      entropy: this.parts.entropy,
    })
    ok(made.kind === 'committed', `made: ${made.kind === 'refused' ? made.code : ''}`)
    const body = {
      request: this.nextRequest(),
      epoch,
      epochId,
      seen: { position: logPosition(seen.position), hash: seen.hash },
      commit: made.message,
      groupInfo: await this.groupInfo(made.next),
      certificates: (change.adds ?? []).map(({ certificate }) => certificate),
      welcome: made.welcome ?? new Uint8Array(0),
    }
    return { next: made.next, body }
  }

  proposals(room: HandRoom, change: HandChange): readonly Proposal[] {
    const proposals: Proposal[] = []
    for (const { keyPackage: bytes } of change.adds ?? []) {
      const decoded = decodeMlsMessage('keyPackage', bytes)
      ok(decoded !== null)
      proposals.push({ kind: 'add', keyPackage: decoded.keyPackage })
    }
    for (const removed of change.removes ?? []) proposals.push({ kind: 'remove', removed })
    const { invitations } = change
    if (invitations !== undefined) {
      const extensions = withPolicy(room.group.public.context.extensions, { invitations })
      proposals.push({ kind: 'groupContextExtensions', extensions })
    }
    return [...proposals, ...change.proposals ?? []]
  }

  /** Commits, waits for the log, and enters the new epoch. */
  async change(room: HandRoom, change: HandChange): Promise<LogPosition> {
    const { next, body } = await this.commit(room, change)
    this.say('submitCommit', body, room.id)
    const position = await this.position(body.request)
    await this.follow(room, position + 1n)
    this.adopt(room, next)
    return position
  }

  /** The newest commit of the log, as it stands there. */
  lastCommit(room: HandRoom): HandEntry & { readonly body: CommitEntry } {
    const last = room.entries.findLast(({ entry }) => entry.header.entry === 'commit')
    ok(last?.entry.body.kind === 'whole', 'the log has a commit')
    const decoded = decode(commitEntryCodec, last.entry.body.bytes)
    ok(decoded.kind === 'decoded')
    return { ...last, body: decoded.value }
  }

  /** Follows another member's commit, the newest of the log. */
  async process(room: HandRoom): Promise<void> {
    const { body, entry } = this.lastCommit(room)
    const timeMs = Number(entry.header.time) as TimeMs
    const processed = await processMessage(room.group, body.commit, { timeMs, psks: () => null })
    ok(processed.kind === 'commit', `followed: ${processed.kind}`)
    this.adopt(room, processed.group)
  }

  /** Votes on the newest commit of the log, which was followed; `over` changes what is signed. */
  async vote(room: HandRoom, over: Partial<Vote> = {}): Promise<RequestId> {
    const { crypto } = this.parts
    const { position, body } = this.lastCommit(room)
    const { epochId, leaf } = this.context(room)
    const vote: Vote = {
      room: room.id,
      epochIdBefore: this.epochIdBelow(room, position),
      epochId,
      position: logPosition(position),
      leaf,
      choice: 'agree',
      mac: over.choice === 'cannot' ? NO_MAC : voteMac(crypto, {
        hash: this.suite.hash,
        epochAuthenticator: room.group.secrets.epochAuthenticator,
        epochId,
        leaf,
        groupInfo: body.groupInfo,
      }),
      ...over,
    }
    const { secretKey } = this.self.key
    const signer = { algorithm: this.suite.signature, secretKey }
    const request = this.nextRequest()
    const signed = await makeVote(crypto, vote, signer)
    this.say('submitVote', { request, vote: signed }, room.id)
    return request
  }

  /** epochId of the epoch that stood below a commit, from the entry that made it. */
  epochIdBelow(room: HandRoom, position: bigint) {
    const below = room.entries.findLast(({ entry, position: at }) =>
      at < position && (entry.header.entry === 'commit' || entry.header.entry === 'genesis')
    )
    ok(below?.entry.body.kind === 'whole', 'the log has the entry below')
    const { bytes } = below.entry.body
    const entry = below.entry.header.entry === 'commit'
      ? decode(commitEntryCodec, bytes)
      : decode(genesisEntryCodec, bytes)
    ok(entry.kind === 'decoded')
    const info = decodeMlsMessage('groupInfo', entry.value.groupInfo)
    ok(info !== null)
    return epochIdOf(this.engine, info.groupInfo.groupContext)
  }

  /** Takes the next Welcome for `made`, enters its room and follows the log from the beginning. */
  async join(made: HandKeyPackage): Promise<HandRoom> {
    const { body } = await this.hear('welcome')
    const decoded = decodeMlsMessage('keyPackage', made.keyPackage)
    ok(decoded !== null)
    const joined = await joinByWelcome(this.engine, {
      welcome: body.welcome,
      keyPackage: decoded.keyPackage,
      secrets: made.secrets,
      signatureSecret: this.self.key.secretKey,
      ratchetTree: null,
      psks: () => null,
    })
    ok(joined.kind === 'joined', 'the Welcome opens')
    const room = this.enter(body.room as RoomId, joined.group)
    this.rooms.set(toHex(room.id), room)
    this.say('welcomeReceived', { id: body.id })
    const { next } = await this.subscribe(room, { holesBefore: logPosition(body.position + 1n) })
    await this.follow(room, next)
    return room
  }

  // ---- Links ------------------------------------------------------------------------------

  /** An invitation in the own name, and the secret that a link would carry. */
  invitation(room: HandRoom, over: Partial<PolicyInvitation> = {}) {
    const { crypto, entropy, clock } = this.parts
    const secret = entropy.randomBytes(16)
    const { publicKey } = invitationKeyPair(crypto, secret, room.id)
    const now = clock.nowMs()
    const invitation: PolicyInvitation = {
      id: invitationId(crypto, publicKey),
      publicKey,
      inviter: this.self.account,
      inviterRootHash: this.self.rootHash,
      createdAt: now,
      expiresAt: now + 3_600_000 as TimeMs,
      usesMax: 5,
      ...over,
    }
    return { secret, invitation }
  }

  /** Lists an invitation and leaves an anchor for it; the secret of its link comes back. */
  async invite(room: HandRoom, over: Partial<PolicyInvitation> = {}): Promise<Uint8Array> {
    const { secret, invitation } = this.invitation(room, over)
    const listed = policyOf(room.group.public.context.extensions)?.invitations ?? []
    await this.change(room, { invitations: [...listed, invitation] })
    strictEqual(await this.answer(await this.leaveAnchor(room, invitation.id)), 'accepted')
    return secret
  }

  /** Leaves an anchor of the room's newest epoch, which must be final; `over` changes it. */
  async leaveAnchor(
    room: HandRoom,
    invitation: Uint8Array,
    over: Partial<Parameters<typeof makeAnchor>[1]> = {},
  ): Promise<RequestId> {
    const { crypto, clock } = this.parts
    const { key, certificate, device } = this.self
    const made = room.entries.findLast(({ entry }) =>
      entry.header.entry === 'commit' || entry.header.entry === 'genesis'
    )
    ok(made !== undefined, 'an entry made the epoch')
    const anchor = await makeAnchor(crypto, {
      room: room.id,
      epochId: this.context(room).epochId,
      position: logPosition(made.position),
      entryHash: made.hash,
      invitation,
      device,
      time: clock.nowMs(),
      ...over,
    }, { algorithm: this.suite.signature, secretKey: key.secretKey, certificate })
    const request = this.nextRequest()
    this.say('leaveAnchor', { request, anchor }, room.id)
    return request
  }
}
