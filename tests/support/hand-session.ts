/**
 * One session of a device whose every frame the test writes itself: identity, session proof, saying
 * and hearing. Runs over any `Dialer`. It chains the entries of rooms that it knows and fails when
 * one is missing or out of order. Owns no rooms of its own (see `hand-device.ts`).
 */
import { ok, strictEqual } from 'node:assert/strict'
import { toHex } from '#core/base/bytes.ts'
import { type AccountName, type DeviceId, type HubDomain, NO_ROOM } from '#core/base/ids.ts'
import type { LogPosition, RequestId, RoomId } from '#core/base/ids.ts'
import type { Clock, Entropy } from '#core/base/ports.ts'
import type { Crypto, KeyPair } from '#core/crypto/crypto.ts'
import { type Suite, SUITES } from '#core/crypto/suites.ts'
import type { Dialer, SessionTransport } from '#core/device/transport.ts'
import { accountSecrets, attachAttestation, makeCertificate } from '#core/identity/certificate.ts'
import { rootHash } from '#core/identity/certificate.ts'
import { signSessionChallenge, verifyGreeting } from '#core/identity/session-proof.ts'
import { type CipherSuite, cipherSuite } from '#core/mls/cipher-suite.ts'
import type { Group } from '#core/mls/group.ts'
import type { SenderKeys } from '#core/sender-keys/secret-tree.ts'
import { type Body, type BodyKind, decodeMessage, encodeMessage } from '#core/wire/bodies.ts'
import { type Message, TRANSPORTS } from '#core/wire/bodies.ts'
import { parseFrame } from '#core/wire/frame.ts'
import { entryHash, type LogEntry } from '#core/wire/log-entry.ts'

export interface HandParts {
  readonly crypto: Crypto
  readonly clock: Clock
  readonly entropy: Entropy
  readonly domain: HubDomain
  readonly suite?: Suite
  /** In a world whose time is not the host's no deadline is kept. */
  readonly waitsForEver?: boolean
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

/** An entry of a room's log, and its hash in the chain. */
export interface HandEntry {
  readonly position: bigint
  readonly entry: LogEntry
  readonly hash: Uint8Array
}

/** The log of a room, as far as the device has taken it. */
export interface HandLog {
  readonly id: RoomId
  next: bigint
  headHash: Uint8Array
  readonly entries: HandEntry[]
}

/** A room of which the device is a member. */
export interface HandRoom extends HandLog {
  group: Group
  keys: SenderKeys
}

export interface Greeted {
  readonly hello: Body<'hello'>
  readonly greeting: Body<'greeting'>
}

type MessageOf<K extends BodyKind> = Extract<Message, { kind: K }>
type Answer = MessageOf<'accepted'>['body'] | MessageOf<'refused'>['body']
interface Waiter {
  readonly what: string
  matches(message: Message): boolean
  resolve(message: Message): void
  reject(error: Error): void
}

/** Only a failure waits as long. */
const DEADLINE_MS = 30_000

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

export class HandSession {
  readonly parts: HandParts
  readonly self: HandIdentity
  readonly suite: Suite
  readonly engine: CipherSuite
  greeted: Greeted | null = null
  readonly rooms = new Map<string, HandLog>()
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
    this.engine = cipherSuite(parts.crypto, this.suite)
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
        this.#giveUp('the session closed')
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

  async greet(): Promise<Greeted> {
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
    this.greeted = { hello, greeting }
    return this.greeted
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

  async authenticate(greeted: Greeted): Promise<Body<'ready'>> {
    this.say('authenticate', await this.proof(greeted))
    return (await this.hear('ready')).body
  }

  async proof(
    greeted: Greeted,
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
    return this.#next(kind, fits) as Promise<MessageOf<K>>
  }

  /** The first that fits, of those heard and those to come; rejects when none can or does come. */
  #next(what: string, matches: (message: Message) => boolean): Promise<Message> {
    const index = this.heard.findIndex(matches)
    if (index >= 0) return Promise.resolve(this.heard.splice(index, 1)[0] as Message)
    const { promise, resolve, reject } = Promise.withResolvers<Message>()
    if (this.#transport === null) reject(new Error(`no ${what}: no session is open`))
    else this.#waiters.push({ what, matches, resolve, reject })
    if (this.parts.waitsForEver === true) return promise
    const deadline = setTimeout(() => this.#giveUp('nothing came'), DEADLINE_MS)
    return promise.finally(() => clearTimeout(deadline))
  }

  #giveUp(why: string): void {
    const kinds = this.heard.map(({ kind }) => kind).join(' ')
    for (const { what, reject } of this.#waiters.splice(0)) {
      reject(new Error(`no ${what}: ${why}; not taken: ${kinds}`))
    }
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
    return (await this.#next('answer', isAnswer)).body as Answer
  }

  /** A message of a kind that answers a request; a refusal fails. */
  async answered<K extends 'keyPackages'>(kind: K, request: RequestId): Promise<MessageOf<K>> {
    const message = await this.#next(
      kind,
      ({ kind: of, body }) =>
        (of === kind || of === 'refused') && 'request' in body && body.request === request,
    )
    if (message.kind === 'refused') throw new Error(`refused: ${message.body.refusal.kind}`)
    return message as MessageOf<K>
  }

  /** All frames that were sent before have been taken in by the hub's session. */
  async beat(): Promise<void> {
    const sequence = this.nextRequest()
    this.say('heartbeat', { sequence })
    await this.hear('heartbeat', (message) => message.body.sequence === sequence)
  }

  /** A broken rule of the log fails whoever waits, not the transport that brought it. */
  #received(bytes: Uint8Array): void {
    try {
      this.#take(bytes)
    } catch (error) {
      this.#giveUp(String(error))
      throw error
    }
  }

  #take(bytes: Uint8Array): void {
    const frame = parseFrame(bytes)
    ok(frame.kind === 'frame', 'the hub writes whole frames')
    const decoded = decodeMessage(frame)
    ok(decoded.kind === 'message', 'the hub writes known messages')
    const { message } = decoded
    if (message.kind === 'entries') {
      const { first, entries } = message.body
      this.chain(message.room, first, entries)
    }
    const index = this.#waiters.findIndex((waiter) => waiter.matches(message))
    if (index < 0) this.heard.push(message)
    else this.#waiters.splice(index, 1)[0]?.resolve(message)
  }

  /** Takes entries into a room that the device knows. */
  chain(id: RoomId, first: bigint, entries: readonly LogEntry[]): void {
    const room = this.rooms.get(toHex(id))
    if (room === undefined) return
    for (const [index, entry] of entries.entries()) {
      const position = first + BigInt(index)
      if (position < room.next) continue
      strictEqual(position, room.next, 'entries come without gap')
      const place = { room: room.id, position: position as LogPosition, previous: room.headHash }
      room.headHash = entryHash((bytes) => this.parts.crypto.hash('sha256', bytes), place, entry)
      room.next = position + 1n
      room.entries.push({ position, entry, hash: room.headHash })
    }
  }
}
