/**
 * A real story on the hub's own store, as a data folder to be damaged: rooms, members by Welcome
 * and by link, commits, frames, votes, verdicts, anchors, KeyPackages, Welcomes that wait and that
 * are held back. Owns the story and what there is to read of it.
 */
import { ok, strictEqual } from 'node:assert/strict'
import type { AccountName, DeviceId, RoomId, TimeMs } from '#core/base/ids.ts'
import { LIMITS } from '#core/base/limits.ts'
import { keyPackageRef } from '#core/mls/key-package.ts'
import { decodeMlsMessage } from '#core/mls/framing.ts'
import { openSqliteStore, type SqliteStore } from '#hub/adapters/sqlite.ts'
import { HandDevice, type HandRoom } from '../support/hand-device.ts'
import { joinByLink } from '../support/hand-joiner.ts'
import { add, agree, passed } from '../support/hand-members.ts'
import { createHubWorld, type HubWorld } from '../support/hub-world.ts'

/** What there is to ask for. */
export interface Inventory {
  readonly rooms: readonly RoomId[]
  readonly invitations: readonly Uint8Array[]
  readonly devices: readonly { readonly account: AccountName; readonly device: DeviceId }[]
  /** Accounts that hold nothing. */
  readonly guests: readonly AccountName[]
  /** Of KeyPackages that are stored or were given out. */
  readonly references: readonly Uint8Array[]
  readonly suite: number
  readonly nowMs: number
}

export interface Story {
  /** As a hub leaves it that was drained. */
  readonly closed: string
  /** As a hub leaves it that was killed: its last transactions stand in the write-ahead log. */
  readonly killed: string
  readonly inventory: Inventory
}

const SINGLE_PACKAGES = 8

export interface StorySize {
  readonly seed: number
  readonly frameCount: number
  /** Accounts that do no more than register. */
  readonly guestCount: number
}

/** Lives the story below `folder`. */
export async function liveStory(folder: string, size: StorySize): Promise<Story> {
  const closed = `${folder}/closed`
  const killed = `${folder}/killed`
  const first = await open(closed)
  const told = await new Teller(createHubWorld(size.seed, first)).begin(size)
  await first.close()
  const again = await open(closed)
  await told.goOn(again)
  copyFolder(closed, killed)
  await again.close()
  return { closed, killed, inventory: told.inventory() }
}

async function open(dataDir: string): Promise<SqliteStore> {
  const clock = { nowMs: () => Date.now() as TimeMs }
  const opened = await openSqliteStore({ dataDir, clock, observe: () => {} })
  ok(opened.kind === 'opened')
  return opened.store
}

/** What stands in the files of a folder, but not what is made anew at each start. */
export function copyFolder(from: string, to: string): void {
  Deno.mkdirSync(to, { recursive: true })
  for (const { name } of Deno.readDirSync(to)) Deno.removeSync(`${to}/${name}`)
  for (const { name } of Deno.readDirSync(from)) {
    if (!name.endsWith('-shm')) Deno.copyFileSync(`${from}/${name}`, `${to}/${name}`)
  }
}

class Teller {
  #world: HubWorld
  readonly #rooms: RoomId[] = []
  readonly #invitations: Uint8Array[] = []
  readonly #devices: HandDevice[] = []
  readonly #references: Uint8Array[] = []

  constructor(world: HubWorld) {
    this.#world = world
  }

  inventory(): Inventory {
    return {
      rooms: this.#rooms,
      invitations: this.#invitations,
      devices: this.#devices.map(({ self: { account, device } }) => ({ account, device })),
      guests: this.#devices.map(({ self: { account } }) => account)
        .filter((account) => /^g\d/.test(account)),
      references: this.#references,
      suite: this.#devices[0]?.suite.id ?? 0,
      nowMs: this.#world.clock.nowMs(),
    }
  }

  async begin({ frameCount, guestCount }: StorySize): Promise<this> {
    const [alice, bob, carol, dave] = [
      await this.#device('alice'),
      await this.#device('bob'),
      await this.#device('carol'),
      await this.#device('dave'),
    ]
    for (const device of this.#devices) await this.#publish(device, SINGLE_PACKAGES)
    await this.#claim(alice, bob)
    await this.#claim(carol, bob)
    await this.#threeMembers({ alice, bob, carol }, frameCount)
    await this.#alone(carol, dave)
    for (const device of this.#devices) await this.#leave(device)
    for (let guest = 0; guest < guestCount; guest++) {
      await this.#leave(await this.#device(`g${guest}`))
    }
    this.#faultless()
    return this
  }

  /** After a restart. */
  async goOn(store: SqliteStore): Promise<void> {
    this.#world = createHubWorld(7, store)
    const erin = await this.#device('erin')
    await this.#publish(erin, 2)
    const room = await erin.createRoom()
    this.#rooms.push(room.id)
    for (let i = 0; i < 3; i++) await erin.write(room)
    await erin.change(room, {})
    await erin.write(room)
    await this.#leave(erin)
    this.#faultless()
  }

  /** Two by a Welcome, one by a link; at last a commit on which nobody votes. */
  async #threeMembers(
    { alice, bob, carol }: { alice: HandDevice; bob: HandDevice; carol: HandDevice },
    frameCount: number,
  ): Promise<void> {
    const room = await alice.createRoom()
    this.#rooms.push(room.id)
    const bobs = await add(alice, room, bob)
    const others = [{ device: bob, room: bobs }]
    const { secret, invitation } = alice.invitation(room)
    await passed({ device: alice, room }, { invitations: [invitation] }, others)
    this.#invitations.push(invitation.id)
    strictEqual(await alice.answer(await alice.leaveAnchor(room, invitation.id)), 'accepted')
    for (let i = 0; i < 2; i++) await passed({ device: alice, room }, {}, others)
    await this.#talk([{ device: alice, room }, { device: bob, room: bobs }], frameCount)
    const carols = await joinByLink(carol, room.id, secret)
    for (const voter of [{ device: alice, room }, ...others]) await agree(voter)
    this.#world.clock.advance(LIMITS.verdictWaitMs)
    this.#world.gateway.tick()
    await alice.follow(room, carol.lastCommit(carols).position + 4n)
    for (const at of [{ device: bob, room: bobs }, { device: carol, room: carols }]) {
      await at.device.follow(at.room, room.next)
    }
    await this.#talk([{ device: alice, room }, { device: carol, room: carols }], 40)
    const waiting = await this.#device('frank')
    const made = await waiting.makeKeyPackage()
    const { certificate } = waiting.self
    await alice.change(room, { adds: [{ keyPackage: made.keyPackage, certificate }] })
  }

  /** Nobody votes, so that each commit is final at once; one newcomer is away. */
  async #alone(carol: HandDevice, dave: HandDevice): Promise<void> {
    const room = await carol.createRoom()
    this.#rooms.push(room.id)
    const { secret: _, invitation } = carol.invitation(room)
    await carol.change(room, { invitations: [invitation] })
    this.#invitations.push(invitation.id)
    strictEqual(await carol.answer(await carol.leaveAnchor(room, invitation.id)), 'accepted')
    for (let i = 0; i < 3; i++) await carol.change(room, {})
    const [keyPackage] = await this.#claim(carol, dave)
    await this.#leave(dave)
    ok(keyPackage !== undefined)
    const { certificate } = dave.self
    await carol.change(room, { adds: [{ keyPackage, certificate }] })
  }

  async #talk(
    members: readonly { readonly device: HandDevice; readonly room: HandRoom }[],
    count: number,
  ): Promise<void> {
    for (let said = 0; said < count;) {
      for (const { device, room } of members) {
        await device.follow(room, members[0]?.room.next ?? 0n)
        const frames = await device.seal(room, Math.min(20, count - said))
        const requests = frames.map((frame) => device.submit(room, frame))
        const positions = await Promise.all(requests.map((request) => device.position(request)))
        const next = (positions.at(-1) ?? 0n) + 1n
        for (const member of members) await member.device.follow(member.room, next)
        said += frames.length
        if (said >= count) break
      }
    }
  }

  async #device(name: string): Promise<HandDevice> {
    const device = await this.#world.device(name)
    this.#devices.push(device)
    return device
  }

  async #publish(device: HandDevice, count: number): Promise<void> {
    const keyPackages: Uint8Array[] = []
    for (let i = 0; i < count; i++) keyPackages.push((await device.makeKeyPackage()).keyPackage)
    const { keyPackage: lastResort } = await device.makeKeyPackage()
    for (const bytes of [...keyPackages, lastResort]) {
      const decoded = decodeMlsMessage('keyPackage', bytes)
      ok(decoded !== null)
      this.#references.push(keyPackageRef(device.engine, decoded.keyPackage))
    }
    const request = device.nextRequest()
    device.say('publishKeyPackages', { request, keyPackages, lastResort })
    strictEqual(await device.answer(request), 'accepted')
  }

  async #claim(device: HandDevice, of: HandDevice): Promise<readonly Uint8Array[]> {
    const request = device.nextRequest()
    const { account } = of.self
    device.say('claimKeyPackages', { request, account, suite: device.suite.id, token: null })
    const { body } = await device.hear('keyPackages')
    const claimed = body.claimed.map(({ keyPackage }) => keyPackage)
    ok(claimed.every((bytes) => decodeMlsMessage('keyPackage', bytes) !== null))
    return claimed
  }

  async #leave(device: HandDevice): Promise<void> {
    device.hangUp()
    await device.closed
  }

  #faultless(): void {
    const [fault] = this.#world.faults
    if (fault !== undefined) throw fault
  }
}
