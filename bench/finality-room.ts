/**
 * A large room, made before anything is measured: its creator and many who came by link once and
 * went away again, each by a commit of its own, so that the tree has every path. The gateway of the
 * hub runs in this process meanwhile, on the store and key of the hub that is measured later, and
 * on a clock of its own that ends now: the hub lets 60 people a minute in. Owns that room.
 */
import { ok, strictEqual } from 'node:assert/strict'
import path from 'node:path'
import { toHex } from '#core/base/bytes.ts'
import type { RoomId, TimeMs } from '#core/base/ids.ts'
import type { HubDomain } from '#core/base/ids.ts'
import type { Dialer } from '#core/device/transport.ts'
import { encodeInviteLink, invitationId, invitationKeyPair } from '#core/identity/invitation.ts'
import { openHubKey } from '#hub/adapters/hub-key.ts'
import { openSqliteStore } from '#hub/adapters/sqlite.ts'
import { systemClock, systemEntropy } from '#hub/adapters/system-clock.ts'
import { createGateway, type Gateway } from '#hub/gateway/gateway.ts'
import type { HubSession, HubSessionListener } from '#hub/ports.ts'
import type { HubProcess } from '../tests/e2e/support/hub.ts'
import { HandDevice, type HandParts, type HandRoom } from '../tests/support/hand-device.ts'
import { makeIdentity } from '../tests/support/hand-device.ts'
import { externalCommit, type HandReplay, linkPurpose } from '../tests/support/hand-joiner.ts'
import { native } from '../tests/support/protocol-parts.ts'

const DOMAIN = 'localhost' as HubDomain
const USES = 100
/** Of the room's clock, for each who comes in: no more than the hub lets in. */
const JOIN_EVERY_MS = 1_100

/** The creator, whose link brings everybody in. */
export interface MadeRoom {
  readonly id: RoomId
  /** By which sessions by hand know it. */
  readonly key: string
  readonly creator: HandDevice
  readonly room: HandRoom
  readonly secret: Uint8Array
  /** Members in the tree. */
  readonly members: number
}

/** Fills the store of a hub that is stopped. */
export async function makeRoom(hub: HubProcess, members: number): Promise<MadeRoom> {
  const startMs = Date.now() - (members + 60) * JOIN_EVERY_MS
  let passedMs = 0
  const clock = { nowMs: () => startMs + passedMs as TimeMs }
  const dataDir = path.join(hub.directory, 'data')
  const opened = await openSqliteStore({ dataDir, clock, observe: () => {} })
  const keyFile = path.join(hub.directory, 'key')
  const key = await openHubKey({ crypto: native, entropy: systemEntropy, dataDir, keyFile })
  ok(opened.kind === 'opened' && key.kind === 'opened', 'the hub that is stopped can be opened')
  const { store } = opened
  const { publicKey, secretKey } = key
  const parts: HandParts = { crypto: native, clock, entropy: systemEntropy, domain: DOMAIN }
  const gateway = createGateway({
    ...parts,
    log: store.log,
    directory: store.directory,
    identity: { domain: DOMAIN, publicKey, secretKey, appVersion: 1, features: [] },
    effects: {
      observe: () => {},
      faulted,
      checkFaulted: faulted,
    },
  })
  const pass = () => {
    passedMs += JOIN_EVERY_MS
    gateway.tick()
  }
  const dialer = directDialer(gateway)
  const made = await fill({ parts, dialer, pass, members })
  made.creator.hangUp()
  await made.creator.closed
  await store.close()
  return made
}

interface Filling {
  readonly parts: HandParts
  readonly dialer: Dialer
  readonly members: number
  pass(): void
}

async function fill({ parts, dialer, pass, members }: Filling): Promise<MadeRoom> {
  const self = await makeIdentity(parts, 'creator')
  const creator = new HandDevice(parts, self)
  await creator.connect(dialer)
  const room = await creator.createRoom()
  const secrets: Uint8Array[] = []
  // One more, for those who are measured.
  for (let count = 0; count <= members / USES; count++) {
    for (let minute = 0; minute < 10; minute++) pass()
    secrets.push(
      await creator.invite(room, {
        usesMax: USES,
        expiresAt: parts.clock.nowMs() + 86_400_000 as TimeMs,
      }),
    )
  }
  for (let index = 1; index < members; index++) {
    pass()
    const secret = secrets[Math.floor((index - 1) / USES)]
    ok(secret !== undefined, 'links enough')
    await joinOnce({ parts, dialer, creator, room, secret, name: `guest${index}` })
    if (index % 100 === 0) console.error(`  ${index} members`)
  }
  const secret = secrets.at(-1) as Uint8Array
  pass()
  await renewAnchor({ creator, room, secret })
  return { id: room.id, key: toHex(room.id), creator, room, secret, members }
}

/** Leaves an anchor of the newest epoch for a link. */
async function renewAnchor(
  { creator, room, secret }: Pick<MadeRoom, 'creator' | 'room' | 'secret'>,
): Promise<void> {
  const { publicKey } = invitationKeyPair(native, secret, room.id)
  const left = await creator.leaveAnchor(room, invitationId(native, publicKey))
  strictEqual(await creator.answer(left), 'accepted')
}

interface JoiningOnce {
  readonly parts: HandParts
  readonly dialer: Dialer
  readonly creator: HandDevice
  readonly room: HandRoom
  readonly secret: Uint8Array
  readonly name: string
}

/** Somebody comes in and goes away; the creator agrees. */
async function joinOnce(joining: JoiningOnce): Promise<void> {
  const { parts, dialer, creator, room, secret, name } = joining
  const guest = new HandDevice(parts, await makeIdentity(parts, name))
  await guest.connect(dialer)
  const { groupInfo } = creator.lastCommit(room).body
  const { id, next, headHash } = room
  const log = { id, next, headHash, entries: [] }
  await askForGroup(guest, id, secret)
  const outcome = await comeIn(guest, { log, group: room.group.public, groupInfo }, secret)
  strictEqual(outcome, 'accepted')
  const position = next
  await creator.follow(room, position + 1n)
  await creator.process(room)
  await creator.position(await creator.vote(room))
  await creator.follow(room, position + 3n)
  strictEqual(room.entries.at(-1)?.entry.header.entry, 'verdict', 'the join is final')
  creator.heard.length = 0
  guest.hangUp()
  await guest.closed
}

/**
 * Comes in by a link above a group that is known already; what the hub said to it. The right to do
 * so was shown before (`askForGroup`).
 */
export async function comeIn(
  device: HandDevice,
  replayed: HandReplay,
  secret: Uint8Array,
): Promise<string> {
  const { body } = await externalCommit(device, replayed, secret)
  device.say('submitCommit', body, replayed.log.id)
  return await device.answer(body.request)
}

/** Shows the right to come in, and takes the hub's answer without reading it. */
export async function askForGroup(
  device: HandDevice,
  id: RoomId,
  secret: Uint8Array,
): Promise<void> {
  const purpose = await linkPurpose(device, id, secret)
  const request = device.nextRequest()
  device.say('requestGroup', { request, token: null, purpose }, id)
  for (let isLast = false; !isLast;) {
    const { body } = await device.hear('group', (message) => message.body.request === request)
    isLast = body.last
  }
}

/** The fragment of the creator's link. */
export function linkOf({ id, creator, secret }: MadeRoom): string {
  return encodeInviteLink({
    room: id,
    secret,
    inviterRootHash: creator.self.rootHash,
    hubDomain: DOMAIN,
    inviter: creator.self.account,
    title: 'Many',
    suite: creator.suite.id,
  })
}

/** The same device on the clock of the machine, in the same room. */
export function awake(made: MadeRoom): HandDevice {
  const parts = { ...made.creator.parts, clock: systemClock }
  return new HandDevice(parts, made.creator.self)
}

/** A session with a gateway of this process. */
function directDialer(gateway: Gateway): Dialer {
  return {
    dial(_endpoint, listener) {
      let hub: HubSessionListener | null = null
      let isOpen = true
      const close = () => {
        if (!isOpen) return
        isOpen = false
        hub?.closed()
        listener.closed()
      }
      const session: HubSession = {
        transport: 'memory',
        write: (_lane, frames) => {
          if (!isOpen) return Promise.reject(new Error('the session is gone'))
          listener.framesReceived(frames.map((frame) => frame.slice()))
          return Promise.resolve()
        },
        writeDatagram: () => false,
        close,
      }
      hub = gateway.accept(session)
      ok(hub !== null, 'the gateway takes a session')
      const send = (frame: Uint8Array) => void (isOpen && hub?.framesReceived([frame.slice()]))
      listener.opened({ kind: 'memory', send, sendDatagram: send, close })
      return { abort: close }
    },
  }
}

function faulted(error: unknown): never {
  throw error
}
