/**
 * What the device under replay has said so far: its frames by what a capsule calls them. Owns
 * remembering; the hub of the replay gives them back as entries of a log.
 */
import type { DeviceEffect } from '#core/device/io.ts'
import { roomKey } from '#core/device/room.ts'
import { decodeInviteLink, type InviteLink } from '#core/identity/invitation.ts'
import { decodeSealedFrame } from '#core/sender-keys/sealed-frame.ts'
import { readVote } from '#core/policy/vote.ts'
import { type Body, decodeMessage, isSessionKind, type Message } from '#core/wire/bodies.ts'
import { parseFrame } from '#core/wire/frame.ts'
import type { HandDevice } from '../support/hand-device.ts'
import type { OwnWords } from './room-parts.ts'

export class SaidByDevice implements OwnWords {
  readonly links: InviteLink[] = []
  registered: Uint8Array | null = null
  readonly #nameOf: (key: string) => string
  readonly #said = new Map<string, Uint8Array>()
  readonly #commits = new Map<string, Body<'submitCommit'>>()
  readonly #created = new Map<string, Body<'createRoom'>>()
  readonly #keyPackages: Uint8Array[] = []

  /** `nameOf` gives the name of a room in the capsule. */
  constructor(nameOf: (key: string) => string) {
    this.#nameOf = nameOf
  }

  hears(effect: DeviceEffect): void {
    if (effect.kind === 'settleCommand' && effect.outcome.kind === 'done') {
      const link = decodeInviteLink(effect.outcome.value ?? '')
      if (link !== null) this.links.push(link)
    }
    if (effect.kind !== 'send') return
    const frame = parseFrame(effect.frame)
    const decoded = frame.kind === 'frame' ? decodeMessage(frame) : null
    if (decoded?.kind === 'message') this.#take(decoded.message)
  }

  #take(message: Message): void {
    // Frames of the session have no room, and no name is given out for them.
    const name = isSessionKind(message.kind) ? '' : this.#nameOf(roomKey(message.room))
    switch (message.kind) {
      case 'register':
        this.registered = message.body.certificate.slice()
        return
      case 'publishKeyPackages':
        this.#keyPackages.push(...message.body.keyPackages.map((each) => each.slice()))
        return
      case 'createRoom':
        this.#created.set(name, message.body)
        return
      case 'submitCommit':
        this.#commits.set(`${name}:${message.body.epoch}`, message.body)
        return
      case 'submitFrame':
        return this.#frame(name, message.body.frame)
      case 'submitVote': {
        const vote = readVote(message.body.vote)
        if (vote !== null) this.#said.set(`${name}:vote:${vote.position}`, message.body.vote)
      }
    }
  }

  /** What it said before the capsule began. */
  saidBefore(room: string, said: Message): void {
    if (said.kind === 'submitCommit') this.#commits.set(`${room}:${said.body.epoch}`, said.body)
    if (said.kind === 'submitFrame') this.#frame(room, said.body.frame)
  }

  #frame(room: string, frame: Uint8Array): void {
    const header = decodeSealedFrame(frame)?.header
    if (header !== undefined) this.#said.set(`${room}:${header.epoch}:${header.generation}`, frame)
  }

  commit(room: string, epoch: number): Body<'submitCommit'> | null {
    return this.#commits.get(`${room}:${epoch}`) ?? null
  }

  frame(room: string, epoch: number, generation: number): Uint8Array | null {
    return this.#said.get(`${room}:${epoch}:${generation}`) ?? null
  }

  vote(room: string, position: number): Uint8Array | null {
    return this.#said.get(`${room}:vote:${position}`) ?? null
  }

  created(room: string): Body<'createRoom'> | null {
    return this.#created.get(room) ?? null
  }

  keyPackage() {
    const keyPackage = this.#keyPackages.shift()
    return keyPackage === undefined || this.self === null
      ? null
      : { keyPackage, certificate: this.self.self.certificate }
  }

  /** Seen from outside; set once the device is registered. */
  self: HandDevice | null = null
}
