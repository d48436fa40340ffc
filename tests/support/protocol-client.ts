/**
 * A device that speaks the protocol by hand: a test says each frame, also wrong ones, and sees each
 * answer. Owns an account's keys and one session at a time; owns no room (`room-client.ts`), stores
 * nothing, and repeats nothing by itself.
 */
import { ok } from 'node:assert/strict'
import { type AccountName, type DeviceId, NO_ROOM, requestId } from '#core/base/ids.ts'
import type { RequestId, RoomId } from '#core/base/ids.ts'
import type { KeyPair } from '#core/crypto/crypto.ts'
import type { Dialer, SessionTransport } from '#core/device/transport.ts'
import { accountName } from '#core/identity/account-name.ts'
import { accountSecrets, attachAttestation, makeCertificate } from '#core/identity/certificate.ts'
import { certificateHash, rootHash } from '#core/identity/certificate.ts'
import { encodeIdentity } from '#core/identity/leaf-identity.ts'
import { type Greeting, signSessionChallenge } from '#core/identity/session-proof.ts'
import { type Hello, verifyGreeting } from '#core/identity/session-proof.ts'
import { CREDENTIAL_TYPE } from '#core/mls/credential.ts'
import { MLS_VERSION } from '#core/mls/key-package.ts'
import type { LeafTemplate } from '#core/mls/own-leaf.ts'
import { ROOM_EXTENSION_TYPES } from '#core/policy/room-policy.ts'
import { BODIES, type Body, type BodyKind, decodeMessage } from '#core/wire/bodies.ts'
import { encodeMessage, type Message, TRANSPORTS } from '#core/wire/bodies.ts'
import { parseFrame, PROTOCOL_VERSION } from '#core/wire/frame.ts'
import type { Refusal } from '#core/wire/refusals.ts'
import { Inbox } from './inbox.ts'
import { entropy, native, suite, within } from './protocol-parts.ts'

/** An account with one device, and its certificate, attested once it is registered. */
export interface ClientAccount {
  readonly account: AccountName
  readonly device: DeviceId
  readonly ed25519: KeyPair
  readonly rootHash: Uint8Array
  certificate: Uint8Array
}

/** Fresh keys and an unattested certificate for `user@localhost` (ID-2, ID-3). */
export async function makeAccount(user: string): Promise<ClientAccount> {
  const account = accountName(user, 'localhost')
  ok(account !== null, 'a valid name')
  const secrets = accountSecrets(native, entropy.randomBytes(96))
  const ed25519 = native.signatureKeyPair('ed25519', entropy.randomBytes(32))
  const device = entropy.randomBytes(16) as DeviceId
  const keys = [{ signature: 'ed25519' as const, publicKey: ed25519.publicKey }]
  const certificate = await makeCertificate(native, {
    account,
    secrets,
    devices: [{ device, name: 'By hand', keys }],
  })
  const root = {
    ed25519: secrets.rootEd25519.publicKey,
    mldsa65: secrets.rootMldsa65.publicKey,
  }
  return { account, device, ed25519, rootHash: rootHash(native, root), certificate }
}

/** What the account's leaves say of it (ID-5). */
export function templateOf(account: ClientAccount): LeafTemplate {
  const identity = encodeIdentity({
    account: account.account,
    device: account.device,
    manifestVersion: 1,
    rootHash: account.rootHash,
    certificateHash: certificateHash(native, account.certificate),
  })
  return {
    credential: { kind: 'basic', identity },
    signatureKey: account.ed25519.publicKey,
    capabilities: {
      versions: [MLS_VERSION],
      cipherSuites: [suite.id],
      extensions: ROOM_EXTENSION_TYPES,
      proposals: [],
      credentials: [CREDENTIAL_TYPE.basic],
    },
    extensions: [],
  }
}

/** What came of a request; `lost` when the session ended before. */
export type Answer =
  | { readonly kind: 'accepted'; readonly position: bigint | null }
  | { readonly kind: 'refused'; readonly opcode: number; readonly refusal: Refusal }
  | { readonly kind: 'lost' }

type RequestKind = { [K in BodyKind]: Body<K> extends { request: RequestId } ? K : never }[BodyKind]
type MessageOf<K extends BodyKind> = Extract<Message, { readonly kind: K }>

/** One session; what the hub says waits in an inbox for each kind. */
export class ProtocolSession {
  readonly closed: Promise<void>
  /** The hub's greeting, once it came. */
  greeting: Greeting | null = null
  readonly #transport: SessionTransport
  readonly #hello: Hello
  readonly #inboxes = new Map<BodyKind, Inbox<Message>>()
  readonly #answers = new Map<number, (answer: Answer) => void>()
  readonly #entryTakers = new Set<(message: MessageOf<'entries'>) => void>()
  #lastRequest = 0
  #ended = false

  private constructor(transport: SessionTransport, closed: Promise<void>) {
    this.#transport = transport
    this.#hello = {
      versions: [PROTOCOL_VERSION],
      appVersion: 1,
      features: [],
      deviceNonce: entropy.randomBytes(32),
    }
    this.closed = closed.then(() => {
      this.#ended = true
      for (const settle of this.#answers.values()) settle({ kind: 'lost' })
      this.#answers.clear()
    })
  }

  /** Dials, and resolves when the transport is open; nothing has been said. */
  static open(dialer: Dialer, endpoint: string): Promise<ProtocolSession> {
    const opening = Promise.withResolvers<ProtocolSession>()
    const closing = Promise.withResolvers<void>()
    let session: ProtocolSession | null = null
    dialer.dial(endpoint, {
      opened(transport) {
        session = new ProtocolSession(transport, closing.promise)
        opening.resolve(session)
      },
      framesReceived(frames) {
        for (const frame of frames) session?.received(frame)
      },
      closed() {
        closing.resolve()
        opening.reject(new Error('the dial failed'))
      },
    })
    return within(opening.promise, 'a session')
  }

  /** Hello and greeting; the hub's proof must verify (SES-1, SES-2). */
  async greet(): Promise<Greeting> {
    this.send('hello', this.#hello)
    const greeting = await this.next('greeting')
    ok(await verifyGreeting(native, { hello: this.#hello, greeting }), 'a signed greeting')
    this.greeting = greeting
    return greeting
  }

  /** Registers; the attested certificate is put into the account (ID-4, ID-6). */
  async register(account: ClientAccount): Promise<void> {
    const request = this.nextRequest()
    const { certificate } = account
    this.send('register', { request, token: null, certificate })
    const { attestation } = await this.next('registered')
    const attested = attachAttestation(certificate, attestation)
    ok(attested !== null, 'an attestation')
    account.certificate = attested
  }

  /** The device's signature over this session (SES-3). */
  prove(account: ClientAccount): Promise<Uint8Array> {
    const { greeting } = this
    ok(greeting !== null, 'a greeting comes first')
    return signSessionChallenge(native, {
      hello: this.#hello,
      greeting,
      account: account.account,
      device: account.device,
      transport: TRANSPORTS[this.#transport.kind],
    }, account.ed25519.secretKey)
  }

  async authenticate(account: ClientAccount): Promise<Body<'ready'>> {
    const signature = await this.prove(account)
    const { account: name, device } = account
    this.send('authenticate', { account: name, device, signature })
    return await this.next('ready')
  }

  // ---- Saying ---------------------------------------------------------------------------

  send<K extends BodyKind>(kind: K, body: Body<K>, room: RoomId = NO_ROOM): void {
    this.sendBytes(encodeMessage(kind, room, body))
  }

  /** Sends bytes as one frame, whatever they are. */
  sendBytes(frame: Uint8Array): void {
    this.#transport.send(frame)
  }

  nextRequest(): RequestId {
    this.#lastRequest++
    return requestId(this.#lastRequest)
  }

  /** The answer to a request that is sent by itself. */
  answerTo(request: RequestId): Promise<Answer> {
    if (this.#ended) return Promise.resolve({ kind: 'lost' })
    const { promise, resolve } = Promise.withResolvers<Answer>()
    this.#answers.set(request, resolve)
    return within(promise, `the answer to request ${request}`)
  }

  request<K extends RequestKind>(
    kind: K,
    body: Omit<Body<K>, 'request'>,
    room: RoomId = NO_ROOM,
  ): Promise<Answer> {
    const request = this.nextRequest()
    const answer = this.answerTo(request)
    this.send(kind, { ...body, request } as unknown as Body<K>, room)
    return answer
  }

  // ---- Hearing --------------------------------------------------------------------------

  /** The body of the next message of a kind. */
  async next<K extends BodyKind>(kind: K): Promise<Body<K>> {
    const ended = this.closed.then(() => {
      throw new Error(`the session ended before ${kind}`)
    })
    ended.catch(() => {})
    const message = await within(Promise.race([this.#inbox(kind).next(), ended]), kind)
    return (message as MessageOf<K>).body as Body<K>
  }

  /** Gives all entries to `take` as they come; returns a function that ends it. */
  followEntries(take: (message: MessageOf<'entries'>) => void): () => void {
    this.#entryTakers.add(take)
    return () => this.#entryTakers.delete(take)
  }

  received(bytes: Uint8Array): void {
    const frame = parseFrame(bytes)
    ok(frame.kind === 'frame', 'the hub sends whole frames')
    const decoded = decodeMessage(frame)
    ok(decoded.kind === 'message', `the hub sends what this version knows: ${frame.opcode}`)
    const { message } = decoded
    if (message.kind === 'entries') {
      for (const take of this.#entryTakers) take(message)
      return
    }
    if (!this.#settled(message)) this.#inbox(message.kind).push(message)
  }

  /** The hub answers a heartbeat: the session lives, and all before it was handled (SES-5). */
  async beat(): Promise<void> {
    const sequence = this.nextRequest()
    this.send('heartbeat', { sequence })
    const answered = await this.next('heartbeat')
    ok(answered.sequence === sequence, 'the number of the heartbeat')
  }

  /** Says goodbye and waits for the end (SES-6). */
  async leave(): Promise<void> {
    this.send('goodbye', { reason: 'goodbye' })
    await within(this.closed, 'the end of the session')
  }

  #settled(message: Message): boolean {
    if (message.kind !== 'accepted' && message.kind !== 'refused') return false
    const settle = this.#answers.get(message.body.request)
    if (settle === undefined) return false
    this.#answers.delete(message.body.request)
    if (message.kind === 'accepted') {
      settle({ kind: 'accepted', position: message.body.position })
    } else {
      const { opcode, refusal } = message.body
      settle({ kind: 'refused', opcode, refusal })
    }
    return true
  }

  #inbox(kind: BodyKind): Inbox<Message> {
    let inbox = this.#inboxes.get(kind)
    if (inbox === undefined) {
      inbox = new Inbox()
      this.#inboxes.set(kind, inbox)
    }
    return inbox
  }
}

/** A session of a new account that has registered and is ready. */
export async function signUp(
  dialer: Dialer,
  endpoint: string,
  user: string,
): Promise<{ readonly account: ClientAccount; readonly session: ProtocolSession }> {
  const account = await makeAccount(user)
  const session = await ProtocolSession.open(dialer, endpoint)
  await session.greet()
  await session.register(account)
  await session.authenticate(account)
  return { account, session }
}

/** A session of an account that the hub knows. */
export async function signIn(
  dialer: Dialer,
  endpoint: string,
  account: ClientAccount,
): Promise<ProtocolSession> {
  const session = await ProtocolSession.open(dialer, endpoint)
  await session.greet()
  await session.authenticate(account)
  return session
}

/** Opcode of a kind, for frames that are built wrong on purpose. */
export const opcodeOf = (kind: BodyKind): number => BODIES[kind][0]
