/**
 * One device of the load: a session that counts what it is given, acknowledges it as the product's
 * device does, and submits frames that were sealed before. Owns counting without decoding, since a
 * client that decodes every entry would be what is measured; a gap in the positions is a failure.
 */
import { ok } from 'node:assert/strict'
import { toHex } from '#core/base/bytes.ts'
import { logPosition, type RoomId } from '#core/base/ids.ts'
import type { Dialer } from '#core/device/transport.ts'
import { BODIES, type Body, decodeMessage, type Message } from '#core/wire/bodies.ts'
import { FRAME_HEADER_LENGTH, parseFrame } from '#core/wire/frame.ts'
import { type ClientAccount, ProtocolSession } from '../tests/support/protocol-client.ts'

const ACCEPTED = BODIES.accepted[0]
const REFUSED = BODIES.refused[0]
const ENTRIES = BODIES.entries[0]
const HEAD = BODIES.head[0]
const CATCH_UP = BODIES.catchUp[0]
const WELCOME = BODIES.welcome[0]
/** kind 1 + time 8 + form 1 byte in front of the body of an entry. */
const ENTRY_HEAD_LENGTH = 10
const HASH_LENGTH = 32

/** Wall clock of all threads of a process, in milliseconds with a fraction. */
export const clockMs = (): number => performance.timeOrigin + performance.now()

/** Entries of one frame, and when they came. */
export interface Arrival {
  readonly first: number
  readonly count: number
  readonly atMs: number
}

/** What a member knows of a room that it follows. */
export interface FollowedRoom {
  readonly id: RoomId
  /** First position that has not come. */
  next: number
  /** The newest signed head: what frames name as seen (LOG-5). */
  head: Body<'head'> | null
  leaf: number
}

export interface Submission {
  /** Whole `submitFrame` frames; their request numbers are `firstRequest` and those after it. */
  readonly frames: readonly Uint8Array[]
  readonly firstRequest: number
}

/** A session after sign-in. */
export class Member {
  readonly session: ProtocolSession
  readonly rooms = new Map<string, FollowedRoom>()
  /** Null: arrivals are not recorded. */
  arrivals: Arrival[] | null = null
  /** Entries that came. */
  deliveredCount = 0
  /** Times that the hub cut this session to catch up (HUB-5). */
  cutCount = 0
  /** Called with each answer to a submission; the position of an accepted one. */
  answered: (request: number, position: bigint) => void = () => {}
  /** Called when entries have come. */
  progressed: () => void = () => {}
  readonly #heads = new Map<FollowedRoom, () => void>()
  #lastRoom: FollowedRoom | null = null
  #leaving = false

  private constructor(session: ProtocolSession) {
    this.session = session
  }

  static async open(
    dialer: Dialer,
    endpoint: string,
    account: ClientAccount,
  ): Promise<Member> {
    let member: Member | null = null
    const session = await ProtocolSession.open(
      tapped(dialer, (frame) => member?.take(frame) ?? false),
      endpoint,
    )
    await session.greet()
    await session.authenticate(account)
    const opened = new Member(session)
    member = opened
    session.closed.then(() => {
      if (!opened.#leaving) throw new Error('the hub ended a session')
    })
    return opened
  }

  /** Subscribes from a position; resolves when the hub has shown the head (LOG-3). */
  async follow(id: RoomId, from: number): Promise<FollowedRoom> {
    const room: FollowedRoom = { id, next: from, head: null, leaf: 0 }
    this.rooms.set(toHex(id), room)
    const shown = new Promise<void>((resolve) => this.#heads.set(room, resolve))
    const { leaf, next } = await this.#subscribe(room)
    ok(leaf !== null, 'a member')
    room.leaf = leaf
    ok(Number(next) >= from, 'the log is as long as was thought')
    await shown
    return room
  }

  async #subscribe(room: FollowedRoom): Promise<Body<'subscribed'>> {
    const request = this.session.nextRequest()
    const from = logPosition(BigInt(room.next))
    const body = { request, from, holesBefore: logPosition(0n), open: true }
    this.session.send('subscribe', body, room.id)
    return await this.session.next('subscribed')
  }

  /** Takes the frames of the load; false leaves a frame to the session. */
  take(frame: Uint8Array): boolean {
    switch (frame[1]) {
      case ENTRIES:
        this.#entries(frame)
        return true
      case ACCEPTED:
        return this.#accepted(frame)
      case REFUSED:
        return this.#refused(frame)
      case HEAD:
        this.#head(frame)
        return true
      case CATCH_UP:
        this.#catchUp(frame)
        return true
      case WELCOME:
        this.#welcome(frame)
        return true
      default:
        return false
    }
  }

  #entries(frame: Uint8Array): void {
    const room = this.#roomOf(frame)
    const view = new DataView(frame.buffer, frame.byteOffset, frame.length)
    const first = Number(view.getBigUint64(FRAME_HEADER_LENGTH))
    const count = countEntries(view)
    ok(first <= room.next, `no gap: ${first} follows ${room.next}`)
    const fresh = first + count - room.next
    if (fresh <= 0) return
    room.next += fresh
    this.deliveredCount += fresh
    this.arrivals?.push({ first, count, atMs: clockMs() })
    this.session.send('acknowledge', { position: logPosition(BigInt(room.next - 1)) }, room.id)
    this.progressed()
  }

  #roomOf(frame: Uint8Array): FollowedRoom {
    const last = this.#lastRoom
    if (last !== null && last.id.every((byte, index) => byte === frame[2 + index])) return last
    const room = this.rooms.get(toHex(frame.subarray(2, FRAME_HEADER_LENGTH)))
    ok(room !== undefined, 'entries of a room that is followed')
    this.#lastRoom = room
    return room
  }

  #accepted(frame: Uint8Array): boolean {
    const view = new DataView(frame.buffer, frame.byteOffset, frame.length)
    const hasPosition = view.getUint8(FRAME_HEADER_LENGTH + 4) === 1
    if (!hasPosition) return false
    const position = view.getBigUint64(FRAME_HEADER_LENGTH + 5)
    this.answered(view.getUint32(FRAME_HEADER_LENGTH), position)
    return true
  }

  #refused(frame: Uint8Array): never {
    const { body } = decodeFrame(frame)
    const write = (_: string, value: unknown) => typeof value === 'bigint' ? `${value}` : value
    throw new Error(`the hub refused: ${JSON.stringify(body, write)}`)
  }

  #head(frame: Uint8Array): void {
    const message = decodeFrame(frame)
    ok(message.kind === 'head', 'a head')
    const room = this.rooms.get(toHex(message.room))
    if (room === undefined) return
    room.head = message.body
    this.#heads.get(room)?.()
    this.#heads.delete(room)
  }

  /** Says that it is stored: nobody opens it here. */
  #welcome(frame: Uint8Array): void {
    const message = decodeFrame(frame)
    ok(message.kind === 'welcome', 'a welcome')
    this.session.send('welcomeReceived', { id: message.body.id })
  }

  #catchUp(frame: Uint8Array): void {
    this.cutCount++
    const room = this.#roomOf(frame)
    this.#subscribe(room).catch(() => {})
  }

  async leave(): Promise<void> {
    this.#leaving = true
    await this.session.leave()
  }

  /** Keeps the session alive, as devices do (SES-5). */
  beat(): void {
    this.session.send('heartbeat', { sequence: this.session.nextRequest() })
  }

  /** Submits with at most `window` unanswered; resolves when all are accepted. */
  submit({ frames, firstRequest }: Submission, window: number): Promise<void> {
    const done = Promise.withResolvers<void>()
    let sent = 0
    let acceptedCount = 0
    this.answered = (request) => {
      ok(request >= firstRequest && request < firstRequest + sent, 'an answer to what was sent')
      acceptedCount++
      if (sent < frames.length) this.session.sendBytes(frames[sent++] as Uint8Array)
      else if (acceptedCount === frames.length) done.resolve()
    }
    const first = frames.slice(0, window)
    sent = first.length
    for (const frame of first) this.session.sendBytes(frame)
    return done.promise
  }
}

function decodeFrame(bytes: Uint8Array): Message {
  const frame = parseFrame(bytes)
  ok(frame.kind === 'frame', 'a whole frame')
  const decoded = decodeMessage(frame)
  ok(decoded.kind === 'message', 'a message of this version')
  return decoded.message
}

/** Entries of a whole `entries` frame, by their lengths alone. */
function countEntries(view: DataView): number {
  let at = FRAME_HEADER_LENGTH + 8
  at += varint(view, at).length
  let count = 0
  while (at < view.byteLength) {
    const isWhole = view.getUint8(at + ENTRY_HEAD_LENGTH - 1) === 0
    at += ENTRY_HEAD_LENGTH
    if (isWhole) {
      const { length, value } = varint(view, at)
      at += length + value
    } else {
      at += HASH_LENGTH
    }
    count++
  }
  ok(at === view.byteLength, 'whole entries')
  return count
}

/** The length prefix of RFC 9420 section 2.1.2. */
function varint(view: DataView, at: number): { readonly length: number; readonly value: number } {
  const form = view.getUint8(at) >>> 6
  if (form === 0) return { length: 1, value: view.getUint8(at) }
  if (form === 1) return { length: 2, value: view.getUint16(at) & 0x3fff }
  return { length: 4, value: view.getUint32(at) & 0x3fffffff }
}

/** A dialer whose frames are shown to `take` first. What `take` throws ends the thread. */
function tapped(dialer: Dialer, take: (frame: Uint8Array) => boolean): Dialer {
  return {
    dial: (endpoint, listener) =>
      dialer.dial(endpoint, {
        opened: (transport) => listener.opened(transport),
        framesReceived(frames) {
          try {
            const left = frames.filter((frame) => !take(frame))
            if (left.length > 0) listener.framesReceived(left)
          } catch (error) {
            queueMicrotask(() => {
              throw error
            })
          }
        },
        closed: () => listener.closed(),
      }),
  }
}
