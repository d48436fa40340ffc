/** GROUP-5: what the hub keeps beside the log is what anybody makes of the log. */
import { deepStrictEqual, ok, strictEqual } from 'node:assert/strict'
import { toHex } from '#core/base/bytes.ts'
import { leafIndex, type LogPosition, logPosition, type RoomId } from '#core/base/ids.ts'
import { LIMITS } from '#core/base/limits.ts'
import { encodePublicHead } from '#core/mls/state-codec.ts'
import { proposeUpdate } from '#core/mls/messages.ts'
import { changedNodes, members } from '#core/mls/ratchet-tree.ts'
import { encodeRatchetTree } from '#core/mls/tree-codec.ts'
import type { PublicGroup } from '#core/mls/public-group.ts'
import type { Finality } from '#core/policy/finality.ts'
import { identityOf } from '#core/policy/roster.ts'
import { readEpochs } from '#hub/gateway/load-group.ts'
import type { StoredEntry } from '#hub/ports.ts'
import { decodeState } from '#hub/sequencer/room-state.ts'
import type { HandDevice, HandRoom } from '../support/hand-device.ts'
import { askGroup, externalCommit, groupAnswer, joinByLink } from '../support/hand-joiner.ts'
import { replay } from '../support/hand-joiner.ts'
import { add, agree } from '../support/hand-members.ts'
import { createHubWorld, type HubWorld } from '../support/hub-world.ts'
import { replayLog } from '../support/replay.ts'

const WHOLE = { limit: 100_000, bytesMax: 1 << 28 }

async function logOf({ stored }: HubWorld, room: RoomId): Promise<readonly StoredEntry[]> {
  return await stored.read(room, { ...WHOLE, from: logPosition(0n) })
}

/** Whom a hub asked is its word alone, and is in no log before the verdict. */
const unasked = (finality: Finality) => ({
  ...finality,
  open: finality.open.map((epoch) => ({ ...epoch, asked: [] })),
})

const bytesOf = (group: PublicGroup) =>
  [encodePublicHead(group), encodeRatchetTree(group.tree)].map(toHex)

/** Store and log of a room say the same, to the byte. */
async function holds(world: HubWorld, id: RoomId): Promise<void> {
  const { crypto } = world.parts
  const replayed = await replayLog(crypto, id, await logOf(world, id))
  const stored = await world.stored.readRoom(id)
  const state = stored === null ? null : decodeState(stored.state)
  ok(state !== null)
  deepStrictEqual(unasked(state.finality), unasked(replayed.finality))
  const epochs = await readEpochs(crypto, world.stored, { room: id, state })
  ok(epochs !== null)
  deepStrictEqual(
    epochs.map(({ origin, made, group }) => [origin, bytesOf(made), bytesOf(group)]),
    replayed.epochs.map(({ origin, made, group }) => [origin, bytesOf(made), bytesOf(group)]),
  )
  await holdsVersion(world, id, replayed.epochs[0]?.made as PublicGroup, state.finality.final)
}

/** The version of the last final epoch: its nodes, and the certificates of its leaves. */
async function holdsVersion(
  world: HubWorld,
  id: RoomId,
  group: PublicGroup,
  final: { readonly position: LogPosition },
): Promise<void> {
  const page = { ...WHOLE, version: final.position }
  const nodes = await world.stored.readNodes(id, { ...page, from: 0 })
  const whole = [...changedNodes(null, group.tree).nodes].sort((a, b) => a.node - b.node)
  deepStrictEqual(nodes.map(({ node }) => node), whole.map(({ node }) => node))
  for (const [index, { bytes }] of whole.entries()) deepStrictEqual(nodes[index]?.bytes, bytes)
  const named = new Set(
    [...members(group.tree)].map(({ leafNode }) =>
      toHex(identityOf(leafNode)?.certificateHash ?? new Uint8Array(0))
    ),
  )
  const certificates = await world.stored.readCertificates(id, { ...page, after: null })
  deepStrictEqual(certificates.map(({ hash }) => toHex(hash)), [...named].sort())
  for (const { hash, certificate } of certificates) {
    deepStrictEqual(world.parts.crypto.hash('sha256', certificate), hash)
  }
}

async function wait(world: HubWorld): Promise<void> {
  world.clock.advance(LIMITS.verdictWaitMs)
  world.gateway.tick()
  await world.settled()
}

async function submitUpdate(device: HandDevice, room: HandRoom): Promise<void> {
  const sent = await proposeUpdate(room.group, {
    wireFormat: 'publicMessage',
    authenticatedData: new Uint8Array(0),
    entropy: device.parts.entropy,
  })
  ok(sent.kind === 'sent')
  const request = device.nextRequest()
  device.say('submitProposal', { request, proposal: sent.message }, room.id)
  strictEqual(await device.answer(request), 'accepted')
}

Deno.test('GROUP-5: through whatever happens, log and store agree', async () => {
  const world = createHubWorld()
  const alice = await world.device('alice')
  const bob = await world.device('bob')
  const carol = await world.device('carol')
  const room = await alice.createRoom()
  const { id } = room
  await holds(world, id)
  const bobs = await add(alice, room, bob)
  await holds(world, id)
  // A link, by which Carol comes; provisional until Bob agrees.
  await alice.follow(room, 3n)
  const secret = await linkOf({ world, alice, bob, room, bobs })
  const carols = await joinByLink(carol, id, secret)
  await holds(world, id)
  await bob.follow(bobs, carols.next)
  await agree({ device: bob, room: bobs })
  await wait(world)
  await holds(world, id)
  // Proposals stand in the newest epoch, and a commit of Carol's takes the tree on.
  await submitUpdate(bob, bobs)
  await holds(world, id)
  await carol.follow(carols, bobs.next)
  await alice.follow(room, bobs.next)
  await alice.process(room)
  // Two provisional epochs above one another, of which Bob cannot follow the first.
  await alice.write(room)
  const first = await alice.change(room, {})
  await alice.change(room, { removes: [leafIndex(2)] })
  await holds(world, id)
  world.restart()
  await holds(world, id)
  strictEqual((await stateOf(world, id)).open.length, 2)
  await voidBy(world, bob, { room: bobs, position: first })
  await holds(world, id)
  const { open, final, lastVoid } = await stateOf(world, id)
  strictEqual(open.length, 0)
  ok(final.position < first && lastVoid !== null)
})

async function stateOf(world: HubWorld, id: RoomId): Promise<Finality> {
  const stored = await world.stored.readRoom(id)
  const state = stored === null ? null : decodeState(stored.state)
  ok(state !== null)
  return state.finality
}

interface Pair {
  readonly world: HubWorld
  readonly alice: HandDevice
  readonly bob: HandDevice
  readonly room: HandRoom
  readonly bobs: HandRoom
}

/** A link of Alice's, to which Bob agrees, and its anchor. */
async function linkOf({ alice, bob, room, bobs }: Pair): Promise<Uint8Array> {
  const { secret, invitation } = alice.invitation(room)
  const position = await alice.change(room, { invitations: [invitation] })
  await agree({ device: bob, room: bobs })
  await alice.follow(room, position + 3n)
  await bob.follow(bobs, position + 3n)
  strictEqual(await alice.answer(await alice.leaveAnchor(room, invitation.id)), 'accepted')
  return secret
}

/** Bob comes back, cannot follow the commit at a position, and time passes. */
async function voidBy(
  world: HubWorld,
  bob: HandDevice,
  at: { readonly room: HandRoom; readonly position: bigint },
): Promise<void> {
  const { room, position } = at
  bob.hangUp()
  await bob.closed
  await bob.connect(world.dialer())
  await bob.subscribe(room)
  await bob.follow(room, position + 1n)
  const upTo = { ...room, entries: room.entries.slice(0, Number(position) + 1) }
  await bob.process(upTo)
  const vote = await bob.vote(upTo, { choice: 'cannot' })
  strictEqual(await bob.answer(vote), 'accepted')
  await wait(world)
}

Deno.test('GROUP-5: a room that was resynced and restarted is what its log says', async () => {
  const world = createHubWorld()
  const [alice, bob] = [await world.device('alice'), await world.device('bob')]
  const room = await alice.createRoom()
  await add(alice, room, bob)
  const answer = await groupAnswer(bob, askGroup(bob, room.id, { kind: 'member' }))
  const replayed = await replay(bob, room.id, answer)
  const { body } = await externalCommit(bob, replayed, null)
  bob.say('submitCommit', body, room.id)
  const position = await bob.position(body.request)
  await holds(world, room.id)
  world.restart()
  await alice.follow(room, position + 1n)
  await alice.process(room)
  await alice.connect(world.dialer())
  await alice.subscribe(room)
  await alice.position(await alice.vote(room))
  await wait(world)
  await holds(world, room.id)
  strictEqual((await stateOf(world, room.id)).final.position, position)
})
