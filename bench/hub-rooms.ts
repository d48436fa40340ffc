/**
 * What the load stands on: registered accounts, rooms and their members, made before anything is
 * measured. A room with members has a real group and real commits; nobody opens the Welcomes, so
 * one byte stands for each. Rooms of one writer have no group behind them: the hub cannot tell.
 */
import { deepStrictEqual, ok } from 'node:assert/strict'
import { LIMITS } from '#core/base/limits.ts'
import { seenCodec } from '#core/device/membership.ts'
import { makeGenesis } from '#core/identity/genesis.ts'
import type { Dialer } from '#core/device/transport.ts'
import { EPOCH_EXPORTS, exportContext, exportLength } from '#core/sender-keys/exports.ts'
import { encode } from '#core/wire/codec.ts'
import type { EpochId } from '#core/base/ids.ts'
import { type ClientAccount, makeAccount } from '../tests/support/protocol-client.ts'
import { ProtocolSession, signIn } from '../tests/support/protocol-client.ts'
import { entropy, mls, native, nowMs, suite } from '../tests/support/protocol-parts.ts'
import { createRoom, keyPackageFor, type RoomClient } from '../tests/support/room-client.ts'
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
  const epochId = mls.epochId(client.group)
  const root = await mls.exportSecret(client.group, {
    label: EPOCH_EXPORTS.dataPlane,
    context: exportContext(suite, client.id, epochId),
    length: exportLength(suite),
  })
  await session.leave()
  const { id, group, log } = client
  const leafCount = mls.leafCount(group)
  return { id, epoch: mls.epoch(group), epochId, root, leafCount, next: Number(log.next) }
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
  const { seen } = client.log
  const made = await mls.commit(client.group, {
    adds: packages.map(({ keyPackage }) => keyPackage),
    removes: [],
    authenticated: encode(seenCodec, seen),
    nowMs: nowMs(),
    entropy,
  })
  ok(made.kind === 'committed', 'a commit')
  const position = client.log.next
  const answer = await client.session.request('submitCommit', {
    epoch: mls.epoch(client.group),
    seen,
    commit: made.commit,
    newEpochId: mls.epochId(made.next),
    certificates: joining.map(({ certificate }) => certificate),
    welcome: UNREAD_WELCOME,
    joinRequest: null,
  }, client.id)
  deepStrictEqual(answer, { kind: 'accepted', position })
  await client.log.reach(position + 1n)
  await client.enter(made.next)
}

/** Rooms in which nobody but their creator is. */
export async function makeLoneRooms(
  dialer: Dialer,
  endpoint: string,
  creator: ClientAccount,
  count: number,
): Promise<WrittenRoom[]> {
  const session = await signIn(dialer, endpoint, creator)
  const { hubDomain } = session.greeting ?? {}
  ok(hubDomain !== undefined, 'a greeting comes first')
  const rooms = await each(count, async () => {
    const { genesis, room } = await makeGenesis(native, {
      creator: creator.account,
      creatorRootHash: creator.rootHash,
      creatorDevice: creator.device,
      domain: hubDomain,
      suite: suite.id,
      random: entropy.randomBytes(32),
    }, creator.ed25519.secretKey)
    const epochId = entropy.randomBytes(suite.hashLength) as EpochId
    const { certificate } = creator
    const made = { genesis, suite: suite.id, epochId, certificate }
    const answer = await session.request('createRoom', made, room)
    deepStrictEqual(answer, { kind: 'accepted', position: 0n })
    const root = entropy.randomBytes(suite.hashLength)
    return { id: room, epoch: 0n, epochId, root, leafCount: 1, next: 1 }
  })
  await session.leave()
  return rooms
}
