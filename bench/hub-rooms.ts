/**
 * What the load stands on: registered accounts, rooms and their members, made before anything is
 * measured, with real groups and real commits; nobody opens the Welcomes, so one byte stands for
 * each. What the second commit of a room adds stays provisional, since nobody votes: its committer
 * writes all the same.
 */
import { deepStrictEqual, ok } from 'node:assert/strict'
import { LIMITS } from '#core/base/limits.ts'
import type { Dialer } from '#core/device/transport.ts'
import { epochIdOf } from '#core/mls/group-context.ts'
import { type ClientAccount, makeAccount } from '../tests/support/protocol-client.ts'
import { ProtocolSession, signIn } from '../tests/support/protocol-client.ts'
import { engine } from '../tests/support/protocol-parts.ts'
import { createRoom, dataPlaneRoot, keyPackageFor } from '../tests/support/room-client.ts'
import { makeRoom as makeGroup, type RoomClient } from '../tests/support/room-client.ts'
import type { WrittenRoom } from './hub-seal.ts'

const TOGETHER_MAX = 4
const UNREAD_WELCOME = Uint8Array.of(0)

/** Runs `make` for each number below `count`, a few at a time. */
async function each<T>(count: number, make: (index: number) => Promise<T>): Promise<T[]> {
  const made: T[] = []
  let next = 0
  const work = async () => {
    while (next < count) {
      const index = next++
      made[index] = await make(index)
    }
  }
  await Promise.all(Array.from({ length: TOGETHER_MAX }, work))
  return made
}

/** Makes and registers accounts. */
export function registerAccounts(
  dialer: Dialer,
  endpoint: string,
  names: { readonly prefix: string; readonly count: number },
): Promise<ClientAccount[]> {
  return each(names.count, async (index) => {
    const account = await makeAccount(`${names.prefix}${index}`)
    const session = await ProtocolSession.open(dialer, endpoint)
    await session.greet()
    await session.register(account)
    await session.leave()
    return account
  })
}

/** A room of its creator and `members`. */
export async function makeRoom(
  dialer: Dialer,
  endpoint: string,
  creator: ClientAccount,
  members: readonly ClientAccount[],
): Promise<WrittenRoom> {
  const session = await signIn(dialer, endpoint, creator)
  const client = await createRoom(creator, session)
  for (let from = 0; from < members.length;) {
    const joining = fitting(members.slice(from, from + LIMITS.membersPerCommitMax))
    await addAll(client, joining)
    from += joining.length
  }
  await session.leave()
  const { id, group, log, epoch, epochId } = client
  const { leafWidth: leafCount } = group.public.tree
  const root = dataPlaneRoot(id, group)
  return { id, epoch, epochId, root, leafCount, next: Number(log.next) }
}

/** As many as one commit may bring certificates of. */
function fitting(accounts: readonly ClientAccount[]): readonly ClientAccount[] {
  let size = 0
  const count = accounts.findIndex(({ certificate }) => {
    size += certificate.length
    return size > LIMITS.certificatesSizeMax
  })
  return count < 0 ? accounts : accounts.slice(0, count)
}

async function addAll(client: RoomClient, joining: readonly ClientAccount[]): Promise<void> {
  const packages = await Promise.all(joining.map(keyPackageFor))
  const made = await client.commitAdding(packages.map(({ keyPackage }) => keyPackage))
  const body = await client.bodyOf(made, joining.map(({ certificate }) => certificate))
  const position = client.log.next
  const said = { ...body, welcome: UNREAD_WELCOME }
  const answer = await client.session.request('submitCommit', said, client.id)
  const code = answer.kind === 'refused' ? answer.refusal.kind : answer.kind
  ok(answer.kind === 'accepted' && answer.position !== null, `a commit: ${code}`)
  await client.log.reach(answer.position + 1n)
  ok(answer.position >= position)
  client.enter(made.next)
}

/** Rooms in which nobody but their creator is. */
export async function makeLoneRooms(
  dialer: Dialer,
  endpoint: string,
  creator: ClientAccount,
  count: number,
): Promise<WrittenRoom[]> {
  const session = await signIn(dialer, endpoint, creator)
  const rooms = await each(count, async () => {
    const { room, group, body } = await makeGroup(creator, session)
    const answer = await session.request('createRoom', body, room)
    deepStrictEqual(answer, { kind: 'accepted', position: 0n })
    const epochId = epochIdOf(engine, group.public.context)
    return { id: room, epoch: 0n, epochId, root: dataPlaneRoot(room, group), leafCount: 1, next: 1 }
  })
  await session.leave()
  return rooms
}
