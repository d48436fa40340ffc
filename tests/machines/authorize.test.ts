/** The table of rights: each opcode, each standing, members and strangers. */
import { deepStrictEqual, strictEqual } from 'node:assert/strict'
import { type Actor, authorize, type Standing } from '#hub/gateway/authorize.ts'
import { BODIES, type BodyKind, isSessionKind } from '#core/wire/bodies.ts'
import { deviceKey, openGroup } from '#hub/sequencer/group-view.ts'
import { ALICE, authorOf, BOB, epochIdAt, SUITE } from '../support/sequencer-parts.ts'

const view = openGroup({ suite: SUITE, epochId: epochIdAt(0n), creator: ALICE })
const kinds = Object.keys(BODIES) as BodyKind[]
const standings: Standing[] = ['stranger', 'guest', 'busy', 'device', 'closing']
const HUB_ONLY: BodyKind[] = [
  'greeting',
  'ready',
  'sessionClosing',
  'redirect',
  'refused',
  'accepted',
  'registered',
  'keyPackages',
  'welcome',
  'subscribed',
  'entries',
  'head',
  'catchUp',
  'joinRequested',
]
/** Opcodes that need no membership, and the standings in which they are allowed. */
const OPEN: Partial<Record<BodyKind, Standing[]>> = {
  hello: ['stranger'],
  authenticate: ['guest'],
  register: ['guest'],
  heartbeat: ['guest', 'busy', 'device'],
  goodbye: ['stranger', 'guest', 'busy', 'device'],
  publishKeyPackages: ['device'],
  claimKeyPackages: ['device'],
  welcomeReceived: ['device'],
  createRoom: ['device'],
  requestJoin: ['device'],
}

function actor(standing: Standing, person = ALICE): Actor {
  if (standing !== 'device') return { standing, device: null, key: '' }
  return { standing, device: authorOf(person), key: deviceKey(person.account, person.device) }
}

function judge(kind: BodyKind, who: Actor, room = true): string {
  const scope = isSessionKind(kind) ? 'session' : 'room'
  const outcome = authorize(room ? view : null, who, kind, { scope })
  return outcome.kind === 'allowed' ? 'allowed' : outcome.refusal.kind
}

Deno.test('HUB-1: what hubs say is allowed to no device in any standing', () => {
  for (const kind of HUB_ONLY) {
    for (const standing of standings) strictEqual(judge(kind, actor(standing)), 'notAllowed')
  }
})

Deno.test('HUB-1: each opcode without membership is allowed in its standings only', () => {
  for (const [kind, allowed] of Object.entries(OPEN) as [BodyKind, Standing[]][]) {
    for (const standing of standings) {
      const expected = allowed.includes(standing) ? 'allowed' : 'notInThisState'
      strictEqual(judge(kind, actor(standing), false), expected, `${kind} as ${standing}`)
    }
  }
})

Deno.test('HUB-1: every other opcode is for members of an existing room alone', () => {
  const members = kinds.filter((kind) => !HUB_ONLY.includes(kind) && OPEN[kind] === undefined)
  deepStrictEqual(members.sort(), [
    'acknowledge',
    'declineJoin',
    'ephemeral',
    'submitCommit',
    'submitFrame',
    'submitInvitation',
    'subscribe',
    'unsubscribe',
  ])
  for (const kind of members) {
    strictEqual(judge(kind, actor('device')), 'allowed')
    for (const standing of standings.filter((each) => each !== 'device')) {
      strictEqual(judge(kind, actor(standing)), 'notInThisState')
    }
  }
})

Deno.test('ROOM-12: no code tells whether a room exists: a stranger is told of none', () => {
  for (const kind of kinds.filter((each) => !isSessionKind(each))) {
    strictEqual(judge(kind, actor('device', BOB)), judge(kind, actor('device', BOB), false))
  }
  strictEqual(judge('subscribe', actor('device', BOB)), 'unknownRoom')
})
