/**
 * A room as a protocol client has it: the MLS group, sender keys, and the log as it was followed,
 * each entry chained to the one before. Owns sealing, also with a header that lies; owns no queue
 * and sends nothing that the test did not ask for.
 */
import { deepStrictEqual, ok, strictEqual } from 'node:assert/strict'
import { utf8Decode, utf8Encode } from '#core/base/bytes.ts'
import { type Epoch, type LeafIndex, leafIndex, type LogPosition } from '#core/base/ids.ts'
import { logPosition, type RoomId } from '#core/base/ids.ts'
import { groupIdOf, makeGenesis } from '#core/identity/genesis.ts'
import { type CommitMade, makeCommit } from '#core/mls/commit-make.ts'
import { decodeMlsMessage, encodeMlsMessage } from '#core/mls/framing.ts'
import { createGroup, exportSecret, type Group, makeGroupInfo } from '#core/mls/group.ts'
import { epochIdOf } from '#core/mls/group-context.ts'
import { joinByWelcome } from '#core/mls/join-welcome.ts'
import { type KeyPackageSecrets, makeKeyPackage } from '#core/mls/own-leaf.ts'
import { leafAt } from '#core/mls/ratchet-tree.ts'
import { roomExtensions } from '#core/policy/room-policy.ts'
import { EPOCH_EXPORTS, exportContext, exportLength } from '#core/sender-keys/exports.ts'
import { open, seal, sealBurst, type SealContext } from '#core/sender-keys/seal.ts'
import { BurstCache } from '#core/sender-keys/burst-cache.ts'
import { createSenderKeys, reserve, type ReservedKey } from '#core/sender-keys/secret-tree.ts'
import type { SenderKeys } from '#core/sender-keys/secret-tree.ts'
import type { Body } from '#core/wire/bodies.ts'
import { encode } from '#core/wire/codec.ts'
import { entryHash, FIRST_PREVIOUS_HASH, type LogEntry } from '#core/wire/log-entry.ts'
import { seenCodec } from '#core/wire/log-entry.ts'
import { type Answer, type ClientAccount, type ProtocolSession } from './protocol-client.ts'
import { templateOf } from './protocol-client.ts'
import { engine, entropy, native, nowMs, sha256, suite, within } from './protocol-parts.ts'

const DAY_SECONDS = 86_400n

/** The log of one room from position 0: a gap or a broken chain fails (SEQ-1, LOG-1). */
export class FollowedLog {
  readonly entries: LogEntry[] = []
  readonly hashes: Uint8Array[] = []
  readonly #room: RoomId
  #waiting: { readonly until: bigint; readonly resolve: () => void }[] = []

  constructor(room: RoomId) {
    this.#room = room
  }

  get next(): bigint {
    return BigInt(this.entries.length)
  }

  get headHash(): Uint8Array {
    return this.hashes.at(-1) ?? FIRST_PREVIOUS_HASH
  }

  /** The last entry, as frames name it (LOG-5). */
  get seen(): { readonly position: LogPosition; readonly hash: Uint8Array } {
    return { position: logPosition(this.next - 1n), hash: this.headHash }
  }

  take({ first, entries }: Body<'entries'>): void {
    ok(first <= this.next, `no gap: ${first} follows ${this.next}`)
    for (const entry of entries.slice(Number(this.next - first))) {
      const place = { room: this.#room, position: logPosition(this.next), previous: this.headHash }
      this.hashes.push(entryHash(sha256, place, entry))
      this.entries.push(entry)
    }
    const reached = this.#waiting.filter(({ until }) => until <= this.next)
    this.#waiting = this.#waiting.filter(({ until }) => until > this.next)
    for (const { resolve } of reached) resolve()
  }

  /** Resolves when every position below `until` has been taken. */
  reach(until: bigint): Promise<void> {
    if (until <= this.next) return Promise.resolve()
    const { promise, resolve } = Promise.withResolvers<void>()
    this.#waiting.push({ until, resolve })
    return within(promise, `entry ${until - 1n}`)
  }
}

/** What a sealed frame says of itself; absent: what is true. */
export interface Lie {
  readonly context?: Partial<SealContext>
  /** Added to the next generation. */
  readonly generationAhead?: number
}

/** One member's view of a room. */
export class RoomClient {
  readonly id: RoomId
  readonly account: ClientAccount
  readonly log: FollowedLog
  session: ProtocolSession
  group: Group
  keys: SenderKeys
  readonly #bursts = new BurstCache()
  #stop: () => void = () => {}

  constructor(parts: {
    readonly id: RoomId
    readonly account: ClientAccount
    readonly session: ProtocolSession
    readonly group: Group
    readonly keys: SenderKeys
  }) {
    this.id = parts.id
    this.account = parts.account
    this.session = parts.session
    this.group = parts.group
    this.keys = parts.keys
    this.log = new FollowedLog(parts.id)
  }

  get epoch(): Epoch {
    return this.group.public.context.epoch as Epoch
  }

  get epochId() {
    return epochIdOf(engine, this.group.public.context)
  }

  get leaf(): LeafIndex {
    return leafIndex(this.group.ownLeaf)
  }

  /** Subscribes from the first position that is missing, and catches up (ROOM-6). */
  async follow(session: ProtocolSession = this.session): Promise<Body<'subscribed'>> {
    this.#stop()
    this.session = session
    this.#stop = session.followEntries(({ room, body }) => {
      if (room.every((byte, index) => byte === this.id[index])) this.log.take(body)
    })
    const request = session.nextRequest()
    const from = logPosition(this.log.next)
    const holesBefore = logPosition(0n)
    session.send('subscribe', { request, from, holesBefore, open: false }, this.id)
    const subscribed = await session.next('subscribed')
    strictEqual(subscribed.request, request)
    await this.log.reach(subscribed.next)
    return subscribed
  }

  // ---- Sealing --------------------------------------------------------------------------

  #context(lie: Lie): SealContext {
    return {
      suite,
      room: this.id,
      epoch: this.epoch,
      epochId: this.epochId,
      leaf: this.leaf,
      lane: 0,
      seen: this.log.seen,
      signatureSecret: this.account.ed25519.secretKey,
      ...lie.context,
    }
  }

  #reserve(count: number): readonly ReservedKey[] {
    const place = { leaf: this.leaf, lane: 0, count }
    const { keys, reserved } = reserve(native, this.keys, place)
    this.keys = keys
    return reserved
  }

  #item(text: string, { generation, secret }: ReservedKey, ahead = 0) {
    return {
      generation: generation + ahead,
      messageSecret: secret,
      nonce: entropy.randomBytes(suite.frameNonceLength),
      plaintext: utf8Encode(text),
    }
  }

  /** One frame of its own signature. */
  seal(text: string, lie: Lie = {}): Promise<Uint8Array> {
    const [reserved] = this.#reserve(1)
    ok(reserved !== undefined)
    return seal(native, this.#context(lie), this.#item(text, reserved, lie.generationAhead))
  }

  /** Up to 256 frames under one signature (SEAL-6). */
  sealBurst(texts: readonly string[]): Promise<readonly Uint8Array[]> {
    const reserved = this.#reserve(texts.length)
    const items = texts.map((text, index) => this.#item(text, reserved[index] as ReservedKey))
    return sealBurst(native, this.#context({}), items)
  }

  submit(frame: Uint8Array): Promise<Answer> {
    return this.session.request('submitFrame', { after: null, frame }, this.id)
  }

  /** Seals, submits, and requires the next position (SEQ-1). */
  async say(text: string): Promise<bigint> {
    const position = this.log.next
    deepStrictEqual(await this.submit(await this.seal(text)), { kind: 'accepted', position })
    await this.log.reach(position + 1n)
    return position
  }

  /** Opens a frame of another member with this one's keys (SEAL-7). */
  async openText(bytes: Uint8Array): Promise<string> {
    const opened = await open(native, this.keys, {
      suite,
      room: this.id,
      epochId: this.epochId,
      signatureKeyOf: (leaf) => leafAt(this.group.public.tree, leaf)?.signatureKey ?? null,
      bursts: this.#bursts,
    }, bytes)
    ok(opened.kind === 'opened', `a frame opens: ${opened.kind === 'refused' ? opened.code : ''}`)
    this.keys = opened.keys
    return utf8Decode(opened.plaintext) ?? ''
  }

  // ---- Members --------------------------------------------------------------------------

  /** The body of a commit that adds one KeyPackage, and the group behind it (ROOM-4). */
  async makeAdd(keyPackage: Uint8Array, certificate: Uint8Array) {
    const made = await this.commitAdding([keyPackage])
    const body = await this.bodyOf(made, [certificate])
    return { body, next: made.next }
  }

  async commitAdding(keyPackages: readonly Uint8Array[]): Promise<CommitMade> {
    const made = await makeCommit(this.group, {
      proposals: keyPackages.map((bytes) => {
        const decoded = decodeMlsMessage('keyPackage', bytes)
        ok(decoded !== null, 'a KeyPackage')
        return { kind: 'add', keyPackage: decoded.keyPackage } as const
      }),
      path: 'always',
      authenticatedData: encode(seenCodec, this.log.seen),
      wireFormat: 'publicMessage',
      welcome: { ratchetTree: true, externalPub: false },
      psks: () => null,
      timeMs: null,
      entropy,
    })
    ok(made.kind === 'committed', 'a commit')
    return made
  }

  async bodyOf(
    made: CommitMade,
    certificates: readonly Uint8Array[],
  ): Promise<Omit<Body<'submitCommit'>, 'request'>> {
    return {
      epoch: this.epoch,
      epochId: this.epochId,
      seen: this.log.seen,
      commit: made.message,
      groupInfo: await groupInfoOf(made.next),
      certificates,
      welcome: made.welcome ?? new Uint8Array(0),
    }
  }

  /** Goes into the epoch of a commit that was accepted (KEY-1). */
  enter(group: Group): void {
    this.group = group
    this.keys = keysOf(this.id, group)
  }

  /** Adds somebody while nobody else is there; both are in the new epoch (ROOM-7). */
  async add(account: ClientAccount, session: ProtocolSession): Promise<RoomClient> {
    const made = await keyPackageFor(account)
    const { body, next } = await this.makeAdd(made.keyPackage, account.certificate)
    const position = this.log.next
    const answer = await this.session.request('submitCommit', body, this.id)
    deepStrictEqual(answer, { kind: 'accepted', position })
    // The verdict stands behind the commit at once: nobody could vote.
    await this.log.reach(position + 2n)
    this.enter(next)
    const welcome = await session.next('welcome')
    const decoded = decodeMlsMessage('keyPackage', made.keyPackage)
    ok(decoded !== null)
    const joined = await joinByWelcome(engine, {
      welcome: welcome.welcome,
      keyPackage: decoded.keyPackage,
      secrets: made.secrets,
      signatureSecret: account.ed25519.secretKey,
      ratchetTree: null,
      psks: () => null,
    })
    ok(joined.kind === 'joined', 'a Welcome opens')
    session.send('welcomeReceived', { id: welcome.id })
    const { group } = joined
    const keys = keysOf(this.id, group)
    const member = new RoomClient({ id: this.id, account, session, group, keys })
    await member.follow()
    return member
  }
}

export async function groupInfoOf(group: Group, ratchetTree = false): Promise<Uint8Array> {
  const groupInfo = await makeGroupInfo(group, { ratchetTree, externalPub: true })
  return encodeMlsMessage({ kind: 'groupInfo', groupInfo })
}

export function dataPlaneRoot(room: RoomId, group: Group): Uint8Array {
  return exportSecret(group, {
    label: EPOCH_EXPORTS.dataPlane,
    context: exportContext(suite, room, epochIdOf(engine, group.public.context)),
    length: exportLength(suite),
  })
}

function keysOf(room: RoomId, group: Group): SenderKeys {
  const root = dataPlaneRoot(room, group)
  return createSenderKeys({ suite, root, leafCount: group.public.tree.leafWidth })
}

function lifetime() {
  const now = BigInt(Math.floor(nowMs() / 1_000))
  return { notBefore: now - DAY_SECONDS, notAfter: now + DAY_SECONDS }
}

/** A KeyPackage that was not published, for an Add by hand. */
export async function keyPackageFor(
  account: ClientAccount,
): Promise<{ readonly keyPackage: Uint8Array; readonly secrets: KeyPackageSecrets }> {
  const { keyPackage, secrets } = await makeKeyPackage(engine, {
    template: templateOf(account),
    signatureSecret: account.ed25519.secretKey,
    lifetime: lifetime(),
    entropy,
  })
  return { keyPackage: encodeMlsMessage({ kind: 'keyPackage', keyPackage }), secrets }
}

/** A group of one, for a room of its own, and the request that opens it (ROOM-1). */
export async function makeRoom(account: ClientAccount, session: ProtocolSession) {
  const { hubDomain } = session.greeting ?? {}
  ok(hubDomain !== undefined, 'a greeting comes first')
  const { genesis, room } = await makeGenesis(native, {
    creator: account.account,
    creatorRootHash: account.rootHash,
    creatorDevice: account.device,
    domain: hubDomain,
    suite: suite.id,
    random: entropy.randomBytes(32),
  }, account.ed25519.secretKey)
  const group = await createGroup(engine, {
    groupId: groupIdOf(room),
    extensions: roomExtensions(),
    template: templateOf(account),
    signatureSecret: account.ed25519.secretKey,
    lifetime: lifetime(),
    entropy,
  })
  const groupInfo = await groupInfoOf(group, true)
  const { certificate } = account
  return { room, group, body: { genesis, suite: suite.id, groupInfo, certificate } }
}

/** Creates a room and follows it (ROOM-1). */
export async function createRoom(
  account: ClientAccount,
  session: ProtocolSession,
): Promise<RoomClient> {
  const { room, group, body } = await makeRoom(account, session)
  const answer = await session.request('createRoom', body, room)
  deepStrictEqual(answer, { kind: 'accepted', position: 0n })
  const keys = keysOf(room, group)
  const client = new RoomClient({ id: room, account, session, group, keys })
  await client.follow()
  return client
}
