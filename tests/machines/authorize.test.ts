/** The table of rights: each opcode, each standing, members and strangers. */
import { deepStrictEqual, strictEqual } from 'node:assert/strict'
import type { AccountName, DeviceId } from '#core/base/ids.ts'
import { leafIndex } from '#core/base/ids.ts'
import { type Actor, authorize, type Seat, type Standing } from '#hub/gateway/authorize.ts'
import { BODIES, type BodyKind, isSessionKind } from '#core/wire/bodies.ts'
import { deviceKey } from '#hub/sequencer/group-view.ts'

const MEMBER: Seat = { leaf: leafIndex(0), isMember: true, isJoining: false }
/** Removed by a commit that is provisional. */
const LEAVING: Seat = { leaf: null, isMember: true, isJoining: false }
const JOINING: Seat = { leaf: null, isMember: false, isJoining: true }
const STRANGER: Seat = { leaf: null, isMember: false, isJoining: false }
const SELF = { account: 'alice@hub.example' as AccountName, device: new Uint8Array(16) as DeviceId }
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
  'askVote',
  'group',
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
  requestGroup: ['device'],
}

/** Opcodes of who follows a room to become a member, besides members. */
const FOLLOWING: BodyKind[] = ['acknowledge', 'submitCommit', 'subscribe', 'unsubscribe']

function actor(standing: Standing): Actor {
  if (standing !== 'device') return { standing, device: null, key: '' }
  return { standing, device: SELF, key: deviceKey(SELF) }
}

function judge(kind: BodyKind, who: Actor, seat: Seat | null = MEMBER): string {
  const outcome = authorize(isSessionKind(kind) ? null : seat, who, kind)
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
      strictEqual(judge(kind, actor(standing), null), expected, `${kind} as ${standing}`)
    }
  }
})

Deno.test('HUB-1: every other opcode is for members of an existing room alone', () => {
  const members = kinds.filter((kind) => !HUB_ONLY.includes(kind) && OPEN[kind] === undefined)
  deepStrictEqual(members.sort(), [
    'acknowledge',
    'ephemeral',
    'leaveAnchor',
    'submitCommit',
    'submitFrame',
    'submitProposal',
    'submitVote',
    'subscribe',
    'unsubscribe',
  ])
  for (const kind of members) {
    for (const seat of [MEMBER, LEAVING]) {
      strictEqual(judge(kind, actor('device'), seat), 'allowed')
    }
    for (const standing of standings.filter((each) => each !== 'device')) {
      strictEqual(judge(kind, actor(standing)), 'notInThisState')
    }
  }
})

Deno.test('JOIN-1: who may become a member follows the log and commits, and nothing more', () => {
  for (const kind of kinds.filter((each) => !HUB_ONLY.includes(each) && OPEN[each] === undefined)) {
    const expected = FOLLOWING.includes(kind) ? 'allowed' : 'unknownRoom'
    strictEqual(judge(kind, actor('device'), JOINING), expected, kind)
  }
})

Deno.test('ROOM-12: no code tells whether a room exists: a stranger is told of none', () => {
  for (const kind of kinds.filter((each) => !isSessionKind(each))) {
    strictEqual(judge(kind, actor('device'), STRANGER), judge(kind, actor('device'), null))
  }
  strictEqual(judge('subscribe', actor('device'), STRANGER), 'unknownRoom')
})
