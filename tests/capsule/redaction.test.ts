/**
 * A capsule gives nothing away: neither keys nor ciphertexts nor anything that a person typed, and
 * no string that is not a word of the code.
 */
import { deepStrictEqual, ok, strictEqual } from 'node:assert/strict'
import { toBase64Url, toHex } from '#core/base/bytes.ts'
import { logPosition, type RoomId, type TimeMs } from '#core/base/ids.ts'
import { LIMITS } from '#core/base/limits.ts'
import { recordCapsule } from '#core/device/capsule.ts'
import { createDeviceMachine } from '#core/device/device.ts'
import { emptyState } from '#core/device/state.ts'
import { BODIES, encodeMessage } from '#core/wire/bodies.ts'
import { COMMIT_FAULTS, VOTE_FAULTS } from '#core/wire/refusals.ts'
import type { World } from '../sim/world.ts'
import { leaksIn, stringsIn } from './leaks.ts'
import { Witness } from './witness.ts'
import { calmWorld, openInWorld, rest, told, type WorldPerson } from './world.ts'

const options = { sanitizeOps: false, sanitizeResources: false }

interface Watched extends WorldPerson {
  readonly witness: Witness
}

async function watched(world: World, name: string): Promise<Watched> {
  const witness = new Witness()
  const { store, dialer } = witness
  const person = { ...await openInWorld(world, name, { store, dialer }), witness }
  const deviceName = witness.types('device name', `${name}'s shiny telephone`)
  await told(world, [person], person.sdk.signUp({ name, deviceName }))
  witness.types('account', `${name}@hub.example`)
  return person
}

/** Words that stand in a capsule beside those of the wire's tables: kinds, phases, fields. */
const WORDS = new Set(
  `capsule build faults lost state at in out to undone fault running gone hidden kind do what
  id command outcome done failed code attempt transport memory timer frames kib room who
  started commandGiven sessionOpened framesReceived sessionClosed timerFired networkChanged
  storeFailed closeRequested signUp createRoom sendMessage invite revokeInvitation
  joinByLink addMember setTyping markRead redial heartbeat typing retry wake dial hangUp
  send show armTimer settleCommand reportFault account waits none wanted registering
  registered session idle waiting dialing greeting guest authenticating ready closed
  failures beats heard hub online away redirects nextAttempt nextRequest requests
  keyPackages rooms register publish claim createRoom subscribe frame commit vote anchor
  group phase opening suite next headTime joinedAt recovery joining subscription following asked
  epoch final leaf keys people chain own choice agree cannot voted votes ms by added
  began lastVoid outbox items purpose message profile roomsUnseen flying sealed placed
  refused jobs add revoke pending sent kept sentAgain keptAgain
  invitations links anchors hold racesLost unread
  readUpTo creating joinRefused live broken removed link welcome request version position
  opcode refusal claimed of generations taken first entries is genesis verdict proposal hole
  seen contradicts adds removes policy generation lane about void malformed message created
  joined invitationMade titled resynced falseVote invitationRevoked keyPackagesLeft reason
  sequence last limits retryAfterMs webTransport badAnchor repeated`.split(
    /\s+/,
  ),
)

function isWord(text: string): boolean {
  const [head = '', tail] = text.split(':')
  if (tail !== undefined) return (head === 'commit' && tail in COMMIT_FAULTS) || tail === 'erased'
  return WORDS.has(text) || text in BODIES || text in COMMIT_FAULTS || text in VOTE_FAULTS ||
    text === '' || /^r[1-9][0-9]*$/.test(text)
}

function givesNothingAway(person: Watched): void {
  const capsule = person.sdk.exportCapsule()
  deepStrictEqual([...stringsIn(capsule)].filter((text) => !isWord(text)), [])
  deepStrictEqual(leaksIn(capsule, person.witness.secrets), [])
  ok(!/\d{10}/.test(capsule), 'no time of the calendar stands in it')
}

/** Alice and Bob meet by name, Carol comes by a link; all write. */
async function meeting(world: World): Promise<readonly Watched[]> {
  const people = [await watched(world, 'alicia'), await watched(world, 'robert')]
  const carol = await watched(world, 'carolina')
  const [alice, bob] = people as [Watched, Watched]
  const all = [alice, bob, carol]
  const title = alice.witness.types('title', 'Larks of the seventh field')
  const room = await told(world, all, alice.sdk.createRoom({ title }))
  alice.witness.types('room', room)
  await rest(world, all, 1_000)
  await told(world, all, alice.sdk.addMember({ room, account: 'robert@hub.example' }))
  await rest(world, all, 3_000)
  const link = alice.witness.types('link', await told(world, all, alice.sdk.invite({ room })))
  await told(world, all, carol.sdk.joinByLink(carol.witness.types('link', link)))
  await rest(world, all, 3_000)
  for (const person of all) {
    const text = person.witness.types('text', `The wheat of ${person.name} is in the barn`)
    await told(world, all, person.sdk.sendMessage({ room, text, id: `note of ${person.name}` }))
    person.witness.types('id', `note of ${person.name}`)
  }
  await rest(world, all, 3_000)
  return all
}

Deno.test(
  'DEV-10: a capsule holds no piece of what is secret, and no word but its own',
  options,
  async () => {
    const people = await meeting(calmWorld(1))
    for (const person of people) {
      ok(person.witness.secrets.length > 60, 'there was something to find')
      ok(person.sdk.exportCapsule().split('\n').length > 20, 'and something to look at')
      givesNothingAway(person)
    }
    // What one of them knows of the others is not in it either.
    const secrets = people.flatMap(({ witness }) => witness.secrets)
    for (const { sdk } of people) deepStrictEqual(leaksIn(sdk.exportCapsule(), secrets), [])
  },
)

Deno.test('a piece of a secret in any form is found', options, async () => {
  const [alice] = await meeting(calmWorld(2)) as [Watched]
  const { secrets } = alice.witness
  const capsule = alice.sdk.exportCapsule()
  for (const secret of [secrets[0], secrets[secrets.length >> 1], secrets.at(-1)]) {
    if (secret === undefined || secret.bytes.length < 8) continue
    const { bytes, what } = secret
    const cut = Math.min(bytes.length, 40)
    const piece = bytes.slice(bytes.length - cut)
    const forms: readonly unknown[] = [
      toHex(piece.slice(-9)),
      toBase64Url(piece.slice(-12)),
      [...piece.slice(-8)],
    ]
    for (const form of forms) {
      const spoiled = `${capsule}${JSON.stringify({ out: form })}\n`
      ok(leaksIn(spoiled, [secret]).includes(what), `${what} as ${JSON.stringify(form)}`)
    }
  }
})

Deno.test('DEV-10: a capsule is bounded, and says how much it let go', options, async () => {
  const world = calmWorld(4)
  const alice = await watched(world, 'alicia')
  for (let index = 0; index < LIMITS.capsuleStepsMax * 2; index++) {
    alice.sdk.networkChanged(index % 2 === 1)
    if (index % 1_000 === 0) await rest(world, [alice], 500)
  }
  await rest(world, [alice], 500)
  const [header = '', start = '', ...lines] = alice.sdk.exportCapsule().split('\n')
  const { lost } = JSON.parse(header)
  ok(lost > LIMITS.capsuleStepsMax / 2, `${lost} steps were let go`)
  ok(lines.length <= LIMITS.capsuleStepsMax + 1, `${lines.length} are held`)
  ok('state' in JSON.parse(start), 'the first line is the shape in which they began')
  givesNothingAway(alice)
})

/** A machine alone, under observation. */
function recorded(seed: number) {
  const { crypto, entropy } = calmWorld(seed).handParts
  return recordCapsule(createDeviceMachine({ crypto, entropy, appVersion: 1 }), 1)
}

Deno.test('DEV-10: rooms that a hub makes up are forgotten, and the steps with them', async () => {
  const { machine, capsule } = recorded(6)
  const nowMs = 1_800_000_000_000 as TimeMs
  const room = new Uint8Array(32) as RoomId
  const madeUp = (id: number): Uint8Array => {
    new DataView(room.buffer).setUint32(0, id)
    return encodeMessage('catchUp', room, { position: logPosition(0n) })
  }
  let { state } = await machine.step(emptyState('https://hub.example'), { kind: 'started' }, nowMs)
  const framesPerStep = 500
  const steps = Math.ceil(LIMITS.capsuleNamesMax * 3 / framesPerStep)
  for (let step = 0; step < steps; step++) {
    const frames = Array.from(
      { length: framesPerStep },
      (_, index) => madeUp(1 + step * framesPerStep + index),
    )
    const input = { kind: 'framesReceived', attempt: 1, frames } as const
    state = (await machine.step(state, input, nowMs)).state
  }
  const numbers = [...capsule().matchAll(/"r(\d+)"/g)].map(([, number]) => Number(number))
  const most = numbers.reduce((a, b) => Math.max(a, b), 0)
  ok(most > 0, 'some were named')
  ok(most <= LIMITS.capsuleNamesMax + framesPerStep, `${most} rooms have a name`)
  const { lost, faults } = JSON.parse(capsule().split('\n')[0] ?? '')
  deepStrictEqual([lost > 0, faults], [true, 0])
})

Deno.test('a fault of the recorder is counted, and leaves the step alone', async () => {
  const { machine, capsule } = recorded(5)
  const online = { kind: 'networkChanged', online: false } as const
  const nowMs = 1_800_000_000_000 as TimeMs
  const first = await machine.step(emptyState('https://hub.example'), online, nowMs)
  const unreadable = { ...first.state, keyPackages: null as never }
  const { state } = await machine.step(unreadable, online, nowMs)
  strictEqual(state.online, false)
  const [header = '', ...lines] = capsule().trimEnd().split('\n')
  deepStrictEqual(JSON.parse(header), { capsule: 1, build: 1, faults: 1, lost: 2 })
  deepStrictEqual(lines, [])
  await machine.step(first.state, online, nowMs)
  strictEqual(capsule().trimEnd().split('\n').length, 3)
})
