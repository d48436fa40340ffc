/**
 * A device whose every frame the test writes itself: account, session, rooms and seals out of the
 * parts of the core, without the device machine. Runs over any `Dialer`. It chains all entries and
 * fails when one is missing, twice, or out of order.
 */
import { deepStrictEqual, ok, strictEqual } from 'node:assert/strict'
import { equalBytes, toHex } from '#core/base/bytes.ts'
import { type AccountName, type DeviceId, logPosition, NO_ROOM } from '#core/base/ids.ts'
import type { HubDomain, LeafIndex, LogPosition, RequestId, RoomId } from '#core/base/ids.ts'
import type { Clock, Entropy } from '#core/base/ports.ts'
import type { TimeMs } from '#core/base/ids.ts'
import type { Crypto, KeyPair } from '#core/crypto/crypto.ts'
import { type Suite, SUITES } from '#core/crypto/suites.ts'
import type { Dialer, SessionTransport } from '#core/device/transport.ts'
import { accountSecrets, attachAttestation, certificateHash } from '#core/identity/certificate.ts'
import { makeCertificate, rootHash } from '#core/identity/certificate.ts'
import { groupIdOf, makeGenesis } from '#core/identity/genesis.ts'
import { invitationId, invitationKeyPair, makeInvitation } from '#core/identity/invitation.ts'
import { makeJoinRequest } from '#core/identity/invitation.ts'
import { encodeIdentity } from '#core/identity/leaf-identity.ts'
import { signSessionChallenge, verifyGreeting } from '#core/identity/session-proof.ts'
import type { Mls, MlsGroup, MlsSigner } from '#core/mls/mls.ts'
import { EPOCH_EXPORTS, exportContext, exportLength } from '#core/sender-keys/exports.ts'
import { seal, sealBurst, type SealContext } from '#core/sender-keys/seal.ts'
import { createSenderKeys, reserve, type SenderKeys } from '#core/sender-keys/secret-tree.ts'
import { type Body, type BodyKind, decodeMessage } from '#core/wire/bodies.ts'
import { encodeMessage, type Message, TRANSPORTS } from '#core/wire/bodies.ts'
import { encode, fixed, struct, u64 } from '#core/wire/codec.ts'
import { parseFrame } from '#core/wire/frame.ts'
import { commitEntryCodec, entryHash, FIRST_PREVIOUS_HASH } from '#core/wire/log-entry.ts'
import type { LogEntry } from '#core/wire/log-entry.ts'
import { decode } from '#core/wire/codec.ts'

export interface HandParts {
  readonly crypto: Crypto
  readonly mls: Mls
  readonly clock: Clock
  readonly entropy: Entropy
  readonly domain: HubDomain
  readonly suite?: Suite
}

/** What a test says of a device. */
export interface HandIdentity {
  readonly account: AccountName
  readonly device: DeviceId
  readonly rootHash: Uint8Array
  readonly key: KeyPair
  certificate: Uint8Array
  attested: boolean
}

/** A room as the device follows it. */
export interface HandRoom {
  readonly id: RoomId
  group: MlsGroup
  keys: SenderKeys
  next: bigint
  headHash: Uint8Array
  readonly entries: { readonly position: bigint; readonly entry: LogEntry }[]
}

type MessageOf<K extends BodyKind> = Extract<Message, { kind: K }>
type Answer = MessageOf<'accepted'>['body'] | MessageOf<'refused'>['body']
interface Waiter {
  matches(message: Message): boolean
  resolve(message: Message): void
}

export const seenCodec = struct({ position: u64, hash: fixed(32) })

export async function makeIdentity(parts: HandParts, name: string): Promise<HandIdentity> {
  const { crypto, entropy, domain } = parts
  const account = `${name}@${domain}` as AccountName
  const secrets = accountSecrets(crypto, entropy.randomBytes(96))
  const device = entropy.randomBytes(16) as DeviceId
  const key = crypto.signatureKeyPair('ed25519', entropy.randomBytes(32))
  const certificate = await makeCertificate(crypto, {
    account,
    secrets,
    devices: [{
      device,
      name: 'by hand',
      keys: [{ signature: 'ed25519', publicKey: key.publicKey }],
    }],
  })
  const root = {
    ed25519: secrets.rootEd25519.publicKey,
    mldsa65: secrets.rootMldsa65.publicKey,
  }
  return { account, device, rootHash: rootHash(crypto, root), key, certificate, attested: false }
}

export class HandDevice {
  readonly parts: HandParts
  readonly self: HandIdentity
  readonly suite: Suite
  readonly rooms = new Map<string, HandRoom>()
  /** Messages that nobody has taken yet, in order. */
  readonly heard: Message[] = []
  closed: Promise<void> = Promise.resolve()
  #waiters: Waiter[] = []
  #transport: SessionTransport | null = null
  #lastRequest = 0

  constructor(parts: HandParts, self: HandIdentity) {
    this.parts = parts
    this.self = self
    this.suite = parts.suite ?? SUITES.performance
  }

  // ---- Session ----------------------------------------------------------------------------

  /** Dials and waits until the transport is open. */
  open(dialer: Dialer, endpoint = 'memory:'): Promise<void> {
    const opened = Promise.withResolvers<void>()
    const closed = Promise.withResolvers<void>()
    this.closed = closed.promise
    dialer.dial(endpoint, {
      opened: (transport) => {
        this.#transport = transport
        opened.resolve()
      },
      framesReceived: (frames) => frames.forEach((frame) => this.#received(frame)),
      closed: () => {
        this.#transport = null
        closed.resolve()
        opened.reject(new Error('the dial failed'))
      },
    })
    return opened.promise
  }

  /** Hello, register if need be, authenticate; resolves with `ready`. */
  async connect(dialer: Dialer, endpoint?: string): Promise<Body<'ready'>> {
    await this.open(dialer, endpoint)
    const greeted = await this.greet()
    if (!this.self.attested) await this.register()
    return await this.authenticate(greeted)
  }

  async greet() {
    const { crypto, entropy } = this.parts
    const hello = {
      versions: [1],
      appVersion: 1,
      features: [],
      deviceNonce: entropy.randomBytes(32),
    }
    this.say('hello', hello)
    const { body: greeting } = await this.hear('greeting')
    ok(await verifyGreeting(crypto, { hello, greeting }), 'the hub signed its greeting')
    return { hello, greeting }
  }

  async register(): Promise<void> {
    const { certificate } = this.self
    const request = this.nextRequest()
    this.say('register', { request, token: null, certificate })
    const { body } = await this.hear('registered')
    strictEqual(body.request, request)
    const attested = attachAttestation(certificate, body.attestation)
    ok(attested !== null, 'the attestation fits')
    this.self.certificate = attested
    this.self.attested = true
  }

  async authenticate(greeted: Awaited<ReturnType<HandDevice['greet']>>): Promise<Body<'ready'>> {
    this.say('authenticate', await this.proof(greeted))
    return (await this.hear('ready')).body
  }

  async proof(
    greeted: Awaited<ReturnType<HandDevice['greet']>>,
  ): Promise<Body<'authenticate'>> {
    const { account, device, key } = this.self
    const transport = TRANSPORTS[this.#transport?.kind ?? 'memory']
    const challenge = { ...greeted, account, device, transport }
    const signature = await signSessionChallenge(this.parts.crypto, challenge, key.secretKey)
    return { account, device, signature }
  }

  hangUp(): void {
    this.#transport?.close()
  }

  // ---- Saying and hearing -----------------------------------------------------------------

  say<K extends BodyKind>(kind: K, body: Body<K>, room: RoomId = NO_ROOM): void {
    this.sayBytes(encodeMessage(kind, room, body))
  }

  sayBytes(frame: Uint8Array): void {
    ok(this.#transport !== null, 'a session is open')
    this.#transport.send(frame)
  }

  nextRequest(): RequestId {
    return ++this.#lastRequest as RequestId
  }

  /** The next message of a kind that nobody has taken. */
  hear<K extends BodyKind>(
    kind: K,
    matches: (message: MessageOf<K>) => boolean = () => true,
  ): Promise<MessageOf<K>> {
    const fits = (message: Message) => message.kind === kind && matches(message as MessageOf<K>)
    const index = this.heard.findIndex(fits)
    if (index >= 0) return Promise.resolve(this.heard.splice(index, 1)[0] as MessageOf<K>)
    return new Promise((resolve) => {
      this.#waiters.push({ matches: fits, resolve: (message) => resolve(message as MessageOf<K>) })
    })
  }

  /** The answer to a request: `accepted`, or the code of its refusal. */
  async answer(request: RequestId): Promise<string> {
    const body = await this.#answerTo(request)
    return 'refusal' in body ? body.refusal.kind : 'accepted'
  }

  async position(request: RequestId): Promise<LogPosition> {
    const body = await this.#answerTo(request)
    if ('refusal' in body) throw new Error(`refused: ${body.refusal.kind}`)
    ok(body.position !== null, 'the log grew')
    return body.position
  }

  async #answerTo(request: RequestId): Promise<Answer> {
    const isAnswer = (message: Message) =>
      (message.kind === 'accepted' || message.kind === 'refused') &&
      message.body.request === request
    const index = this.heard.findIndex(isAnswer)
    const message = index >= 0
      ? this.heard.splice(index, 1)[0]
      : await new Promise<Message>((resolve) => this.#waiters.push({ matches: isAnswer, resolve }))
    return message?.body as Answer
  }

  /** All frames that were sent before have been taken in by the hub's session. */
  async beat(): Promise<void> {
    const sequence = this.nextRequest()
    this.say('heartbeat', { sequence })
    await this.hear('heartbeat', (message) => message.body.sequence === sequence)
  }

  #received(bytes: Uint8Array): void {
    const frame = parseFrame(bytes)
    ok(frame.kind === 'frame', 'the hub writes whole frames')
    const decoded = decodeMessage(frame)
    ok(decoded.kind === 'message', 'the hub writes known messages')
    const { message } = decoded
    if (message.kind === 'entries') this.#chain(message)
    const index = this.#waiters.findIndex((waiter) => waiter.matches(message))
    if (index < 0) this.heard.push(message)
    else this.#waiters.splice(index, 1)[0]?.resolve(message)
  }

  #chain(message: MessageOf<'entries'>): void {
    const room = this.rooms.get(toHex(message.room))
    if (room === undefined) return
    for (const [index, entry] of message.body.entries.entries()) {
      const position = message.body.first + BigInt(index)
      if (position < room.next) continue
      strictEqual(position, room.next, 'entries come without gap')
      const place = { room: room.id, position: position as LogPosition, previous: room.headHash }
      room.headHash = entryHash((bytes) => this.parts.crypto.hash('sha256', bytes), place, entry)
      room.next = position + 1n
      room.entries.push({ position, entry })
    }
  }

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
