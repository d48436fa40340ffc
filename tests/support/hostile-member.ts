/**
 * A member that the hub cannot tell from an honest one: it posts commits that nobody, or not
 * everybody, can follow, publishes a wrong `external_pub`, complains about good commits and agrees
 * to what it cannot follow. Owns these lies and following the log as far as they need it.
 */
import { ok } from 'node:assert/strict'
import { equalBytes } from '#core/base/bytes.ts'
import { logPosition, type RequestId, type TimeMs } from '#core/base/ids.ts'
import { encodeMlsMessage, type PublicMessage } from '#core/mls/framing.ts'
import { decodeMlsMessage } from '#core/mls/framing.ts'
import type { Group } from '#core/mls/group.ts'
import { encodeGroupContext, epochIdOf } from '#core/mls/group-context.ts'
import { type GroupInfo, signGroupInfo } from '#core/mls/group-info.ts'
import { EXTENSION_TYPE, externalPub, makeExtension } from '#core/mls/extension.ts'
import { processMessage, proposeUpdate } from '#core/mls/messages.ts'
import type { PublicGroup } from '#core/mls/public-group.ts'
import { membershipTag } from '#core/mls/public-message.ts'
import { NO_MAC, type Vote, voteMac } from '#core/policy/vote.ts'
import type { Body } from '#core/wire/bodies.ts'
import { decode } from '#core/wire/codec.ts'
import { commitEntryCodec, proposalEntryCodec, verdictEntryCodec } from '#core/wire/log-entry.ts'
import type { HandChange, HandDevice, HandRoom } from './hand-device.ts'

/** What is wrong with a commit. */
export const LIES = [
  /** No path secret opens. */
  'path',
  /** One path secret does not open, so that some follow. */
  'onePathSecret',
  'confirmationTag',
  'membershipTag',
  'externalPub',
] as const
export type Lie = typeof LIES[number]

/** An epoch as the hostile member has it. */
interface HeldEpoch {
  readonly position: bigint
  /** Null where it cannot follow itself. */
  readonly group: Group | null
  readonly groupInfo: Uint8Array
  voted: boolean
  readonly isOwn: boolean
}

interface Sent {
  readonly commit: Uint8Array
  readonly next: Group
}

export class HostileMember {
  device: HandDevice
  readonly room: HandRoom
  readonly epochs: HeldEpoch[]
  #read: number
  #sent: Sent[] = []
  #proposed: { message: Uint8Array; before: PublicGroup; next: Group }[] = []

  /** Of a device that is in the room, in its newest epoch. */
  constructor(device: HandDevice, room: HandRoom) {
    this.device = device
    this.room = room
    const { group } = room
    const groupInfo = new Uint8Array(0)
    const position = -1n
    this.epochs = [{ position, group, groupInfo, voted: true, isOwn: true }]
    this.#read = room.entries.length
  }

  get top(): HeldEpoch {
    return this.epochs.at(-1) as HeldEpoch
  }

  /** Takes what has come of the log. */
  async follow(): Promise<void> {
    for (; this.#read < this.room.entries.length; this.#read++) {
      const at = this.room.entries[this.#read]
      ok(at !== undefined)
      const { position, entry: { header, body } } = at
      if (body.kind !== 'whole') continue
      if (header.entry === 'commit') {
        await this.#commit(position, Number(header.time) as TimeMs, body.bytes)
      }
      if (header.entry === 'verdict') this.#verdict(body.bytes)
      if (header.entry === 'proposal') await this.#proposal(body.bytes)
    }
    if (this.top.group !== null) this.room.group = this.top.group
  }

  async #commit(position: bigint, timeMs: TimeMs, bytes: Uint8Array): Promise<void> {
    const decoded = decode(commitEntryCodec, bytes)
    ok(decoded.kind === 'decoded')
    const { commit, groupInfo } = decoded.value
    const own = this.#sent.find((sent) => equalBytes(sent.commit, commit))
    const before = this.top.group
    const taken = own !== undefined || before === null
      ? null
      : await processMessage(before, commit, { timeMs, psks: () => null })
    const group = own?.next ?? (taken?.kind === 'commit' ? taken.group : null)
    const isOwn = own !== undefined
    this.epochs.push({ position, group, groupInfo, voted: isOwn, isOwn })
  }

  async #proposal(bytes: Uint8Array): Promise<void> {
    const decoded = decode(proposalEntryCodec, bytes)
    const before = this.top.group
    ok(decoded.kind === 'decoded')
    if (before === null) return
    const { proposal } = decoded.value
    const own = this.#proposed.find(({ message }) => equalBytes(message, proposal))
    if (own !== undefined) {
      // Others that came in between are not in the state that it was made of.
      return this.#stand(own.before === before.public ? own.next : null)
    }
    const timeMs = this.device.parts.clock.nowMs()
    const taken = await processMessage(before, proposal, { timeMs, psks: () => null })
    this.#stand(taken.kind === 'proposal' ? taken.group : null)
  }

  #stand(group: Group | null): void {
    this.epochs[this.epochs.length - 1] = { ...this.top, group }
  }

  /** Proposes a new key for its leaf, which a commit of somebody is to take in. */
  async propose(): Promise<RequestId | null> {
    const { group } = this.top
    const made = group && await proposeUpdate(group, {
      wireFormat: 'publicMessage',
      authenticatedData: new Uint8Array(0),
      entropy: this.device.parts.entropy,
    })
    if (group === null || made?.kind !== 'sent') return null
    this.#proposed.push({ message: made.message, before: group.public, next: made.group })
    const request = this.device.nextRequest()
    this.device.say('submitProposal', { request, proposal: made.message }, this.room.id)
    return request
  }

  #verdict(bytes: Uint8Array): void {
    const decoded = decode(verdictEntryCodec, bytes)
    ok(decoded.kind === 'decoded')
    if (decoded.value.verdict !== 'void') return
    const index = this.epochs.findIndex(({ position }) => position === decoded.value.position)
    if (index > 0) this.epochs.splice(index)
  }

  /**
   * Submits a commit; null lies not, and a spoiled Welcome opens nothing. What becomes of it comes
   * with `device.answer`.
   */
  async post(
    lie: Lie | null,
    change: HandChange = {},
    isWelcomeSpoiled = false,
  ): Promise<RequestId | null> {
    const { group } = this.top
    if (group === null) return null
    const room = { ...this.room, group: this.#lying(group, lie) }
    const { next, body } = await this.device.commit(room, change)
    const honest = { ...next, public: { ...next.public, suite: group.public.suite } }
    const sent = lie === null ? body : await this.#garbled(lie, group, { next: honest, body })
    this.#sent.push({ commit: sent.commit, next: honest })
    const welcome = isWelcomeSpoiled ? sent.welcome.map((byte) => byte ^ 1) : sent.welcome
    this.device.say('submitCommit', { ...sent, welcome }, this.room.id)
    return sent.request
  }

  /** The group over a suite that encrypts to nobody, or not to the first of the path. */
  #lying(group: Group, lie: Lie | null): Group {
    if (lie !== 'path' && lie !== 'onePathSecret') return group
    const { suite } = group.public
    let left = lie === 'path' ? Infinity : 1
    const hpkeSeal: typeof suite.hpkeSeal = async (sending, plaintext) => {
      const sealed = await suite.hpkeSeal(sending, plaintext)
      if (sealed === null || left-- <= 0) return sealed
      return { ...sealed, ciphertext: sealed.ciphertext.map((byte) => byte ^ 1) }
    }
    return { ...group, public: { ...group.public, suite: { ...suite, hpkeSeal } } }
  }

  async #garbled(
    lie: Lie,
    before: Group,
    { next, body }: { readonly next: Group; readonly body: Body<'submitCommit'> },
  ): Promise<Body<'submitCommit'>> {
    const message = decodeMlsMessage('publicMessage', body.commit)?.publicMessage
    const info = decodeMlsMessage('groupInfo', body.groupInfo)?.groupInfo
    ok(message?.auth.confirmationTag != null && info !== undefined)
    switch (lie) {
      case 'path':
      case 'onePathSecret':
        return body
      case 'membershipTag':
        return { ...body, commit: framed({ ...message, membershipTag: flipped(message) }) }
      case 'externalPub': {
        const { suite } = before.public
        const key = this.device.parts.entropy.randomBytes(suite.kemPublicKeyLength)
        const extensions = [makeExtension(EXTENSION_TYPE.externalPub, externalPub, key)]
        return { ...body, groupInfo: await this.#signed(next, { ...info, extensions }) }
      }
      case 'confirmationTag': {
        const confirmationTag = message.auth.confirmationTag.map((byte) => byte ^ 1)
        const auth = { ...message.auth, confirmationTag }
        const { suite, context } = before.public
        const tag = membershipTag(suite, before.secrets.membershipKey, {
          content: message.content,
          auth,
          groupContext: encodeGroupContext(context),
        })
        return {
          ...body,
          commit: framed({ ...message, auth, membershipTag: tag }),
          groupInfo: await this.#signed(next, { ...info, confirmationTag }),
        }
      }
    }
  }

  async #signed(next: Group, info: GroupInfo): Promise<Uint8Array> {
    const groupInfo = await signGroupInfo(next.public.suite, info, next.signatureSecret)
    return encodeMlsMessage({ kind: 'groupInfo', groupInfo })
  }

  /** Votes on the newest epoch, if it may: truly, against the truth, or with a false proof. */
  async vote(how: 'agree' | 'complain' | 'falseMac'): Promise<RequestId | null> {
    const epoch = this.top
    const below = this.epochs.at(-2)
    if (epoch.group === null || epoch.voted || !below?.group) return null
    epoch.voted = true
    const { suite, context } = epoch.group.public
    const epochId = epochIdOf(suite, context)
    const leaf = epoch.group.ownLeaf
    const mac = voteMac(this.device.parts.crypto, {
      hash: this.device.suite.hash,
      epochAuthenticator: epoch.group.secrets.epochAuthenticator,
      epochId,
      leaf,
      groupInfo: epoch.groupInfo,
    })
    const over: Partial<Vote> = {
      position: logPosition(epoch.position),
      epochId,
      epochIdBefore: epochIdOf(suite, below.group.public.context),
      choice: how === 'complain' ? 'cannot' : 'agree',
      mac: how === 'complain' ? NO_MAC : how === 'agree' ? mac : mac.map((byte) => byte ^ 1),
    }
    return await this.device.vote(this.room, over)
  }
}

function framed(publicMessage: PublicMessage): Uint8Array {
  return encodeMlsMessage({ kind: 'publicMessage', publicMessage })
}

function flipped({ membershipTag: tag }: PublicMessage): Uint8Array {
  ok(tag !== null)
  return tag.map((byte) => byte ^ 1)
}
