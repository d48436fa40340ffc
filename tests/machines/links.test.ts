/**
 * What links of one person do to another, in a simulated world without faults: those that are over,
 * and those whose title is nobody's word.
 */
import { deepStrictEqual, ok, strictEqual } from 'node:assert/strict'
import { fromBase64Url } from '#core/base/bytes.ts'
import type { RoomId, TimeMs } from '#core/base/ids.ts'
import { LIMITS } from '#core/base/limits.ts'
import { decodeInviteLink, encodeInviteLink } from '#core/identity/invitation.ts'
import { policyOf } from '#core/policy/room-policy.ts'
import { calmWorld, FINAL_MS, gathered, openInWorld, rest, told } from '../capsule/world.ts'
import { HandDevice, makeIdentity } from '../support/hand-device.ts'
import { joinByLink } from '../support/hand-joiner.ts'

const SHORT_MS = 60_000

Deno.test('POLICY-2: own links that are over make place for new ones', async () => {
  const world = calmWorld(8)
  const alice = await openInWorld(world, 'alice')
  const room = await gathered(world, [alice])
  const limits = { usesMax: 1, lifetimeMs: SHORT_MS }
  for (let count = 0; count < LIMITS.invitationsPerAccountMax; count++) {
    await told(world, [alice], alice.sdk.invite({ room, limits }))
  }
  await rest(world, [alice], SHORT_MS)
  ok(decodeInviteLink(await told(world, [alice], alice.sdk.invite({ room }))) !== null)
  deepStrictEqual(alice.faults, [])
})

Deno.test('POLICY-2: links of others that are over keep nobody from a new one', async () => {
  const world = calmWorld(9)
  const alice = await openInWorld(world, 'alice')
  const people = [alice] as const
  const room = await gathered(world, people)
  const link = decodeInviteLink(await told(world, people, alice.sdk.invite({ room })))
  ok(link !== null)
  const accounts = LIMITS.invitationsPerRoomMax / LIMITS.invitationsPerAccountMax
  for (let count = 0; count < accounts; count++) {
    const identity = await makeIdentity(world.handParts, `mallory${count}`)
    const mallory = new HandDevice(world.handParts, identity)
    await told(world, people, mallory.connect(world.network.dialer(identity.account)))
    const joined = joinByLink(mallory, fromBase64Url(room) as RoomId, link.secret)
    const place = await told(world, people, joined)
    await rest(world, people, FINAL_MS)
    // The last of them leaves one place for Alice's own.
    const isLast = count === accounts - 1
    const invitations = Array.from(
      { length: LIMITS.invitationsPerAccountMax - (isLast ? 1 : 0) },
      () => {
        const expiresAt = world.handParts.clock.nowMs() + SHORT_MS as TimeMs
        return mallory.invitation(place, { expiresAt, createdAt: expiresAt - SHORT_MS as TimeMs })
          .invitation
      },
    )
    const listed = policyOf(place.group.public.context.extensions)?.invitations ?? []
    const change = { invitations: [...listed, ...invitations] }
    await told(world, people, mallory.change(place, change))
    await rest(world, people, FINAL_MS)
    mallory.hangUp()
  }
  await rest(world, people, SHORT_MS)
  const limits = { usesMax: 1, lifetimeMs: SHORT_MS }
  ok(decodeInviteLink(await told(world, people, alice.sdk.invite({ room, limits }))) !== null)
  deepStrictEqual(alice.faults, [])
})

Deno.test('ROOM-11: the title of a link is nobody’s word, and breaks nothing', async () => {
  const world = calmWorld(10)
  const [alice, bob, carol] = [
    await openInWorld(world, 'alice'),
    await openInWorld(world, 'bob'),
    await openInWorld(world, 'carol'),
  ]
  const people = [alice, bob, carol] as const
  const room = await gathered(world, people)
  const link = decodeInviteLink(await told(world, people, alice.sdk.invite({ room })))
  ok(link !== null)
  const forwarded = encodeInviteLink({ ...link, title: 'L'.repeat(LIMITS.titleMax + 1) })
  strictEqual(bob.sdk.readInvite(forwarded)?.title, null)
  await told(world, people, bob.sdk.joinByLink(forwarded))
  await rest(world, people, FINAL_MS)
  await told(world, people, bob.sdk.addMember({ room, account: 'carol@hub.example' }))
  await rest(world, people, FINAL_MS)
  for (const { sdk } of people) strictEqual(sdk.view().rooms[0]?.state, 'live')
  deepStrictEqual(people.flatMap(({ faults }) => faults), [])
})

Deno.test('ROOM-8: each of several links that one commit lists is given', async () => {
  const world = calmWorld(14)
  const alice = await openInWorld(world, 'alice')
  const room = await gathered(world, [alice])
  const limits = { usesMax: 1, lifetimeMs: SHORT_MS }
  // The first commit is under way when the others come, which go together.
  const asked = Promise.all([1, 2, 3].map(() => alice.sdk.invite({ room, limits })))
  const given = await told(world, [alice], asked)
  strictEqual(new Set(given).size, 3)
  for (const fragment of given) ok(decodeInviteLink(fragment) !== null)
  deepStrictEqual(alice.faults, [])
})
