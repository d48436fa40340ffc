/** Messages that stand in a log more than once: what a device shows of them, counts and forgets. */
import { deepStrictEqual, ok, strictEqual } from 'node:assert/strict'
import { EMPTY } from '#core/base/bytes.ts'
import { type AccountName, type DeviceId, type HubDomain, leafIndex } from '#core/base/ids.ts'
import { logPosition, type RoomId, type TimeMs } from '#core/base/ids.ts'
import { LIMITS } from '#core/base/limits.ts'
import { createNobleCrypto } from '#core/crypto/noble.ts'
import { encodeContent, textContent } from '#core/content/mimi-content.ts'
import { pushEpoch, voidEpochs } from '#core/device/epochs.ts'
import { accountUri } from '#core/device/outbox.ts'
import { newRoom, roomUri } from '#core/device/room.ts'
import { emptyState } from '#core/device/state.ts'
import type { DeviceRecord } from '#core/device/store.ts'
import { contentReceived, timelineEntries } from '#core/device/timeline.ts'
import { Turn } from '#core/device/turn.ts'
import { HandDevice, makeIdentity } from '../support/hand-device.ts'
import { createPrng } from './prng.ts'

const crypto = createNobleCrypto()
const prng = createPrng(11)
const entropy = { randomBytes: (length: number) => prng.bytes(length) }
const domain = 'hub.example' as HubDomain
const now = 1_800_000_000_000 as TimeMs
const bob = 'bob@hub.example' as AccountName

/** A device that follows a room, and what Bob says in it. */
function following() {
  const turn = new Turn({ crypto, entropy, appVersion: 1 }, emptyState('http://hub.example'), now)
  const room = newRoom({
    id: new Uint8Array(32).fill(3) as RoomId,
    phase: 'live',
    suite: 1,
    domain,
    title: null,
    opening: EMPTY,
    inviterRootHash: EMPTY,
    createdAt: now,
  })
  turn.addRoom(room)
  const { key } = room
  const uris = { senderUri: accountUri(bob), roomUri: roomUri(room) }
  const member = {
    leaf: leafIndex(1),
    account: bob,
    device: new Uint8Array(16) as DeviceId,
    deviceName: '',
    rootHash: EMPTY,
    verified: true,
    signatureKey: EMPTY,
  }
  const content = (text: string) =>
    encodeContent(textContent({ ...uris, salt: entropy.randomBytes(16), text }))
  const entry = {
    header: { time: BigInt(now), entry: 'frame' },
    body: { kind: 'whole', bytes: EMPTY },
  } as const
  const hears = (position: bigint, plaintext: Uint8Array) =>
    contentReceived(turn, key, { position: logPosition(position), time: now, entry }, {
      kind: 'opened',
      member,
      plaintext,
      messageSecret: EMPTY,
      seen: { position: 0n, hash: EMPTY },
    })
  return { turn, key, content, hears, record: () => (turn.room(key) ?? room).record }
}

/** The timeline as it is stored, oldest first. */
function stored(turn: Turn): readonly DeviceRecord[] {
  return turn.changes.flatMap(({ change }) =>
    change.kind === 'put' && change.table === 'timeline' ? [change] : []
  )
}

Deno.test('CONTENT-4: what is said again is shown at its first place, and counts no more', () => {
  const { turn, content, hears, record } = following()
  const twice = content('twice')
  hears(1n, twice)
  hears(2n, content('between'))
  hears(3n, twice)
  const shown = timelineEntries(stored(turn))
  const places = shown.map((entry) => [entry.kind === 'message' && entry.text, entry.position])
  deepStrictEqual(places, [['twice', 1], ['between', 2]])
  strictEqual(record().unread, 2)
  strictEqual(record().last?.text, 'between')
  strictEqual(stored(turn).length, 3, 'the store has what the log says')
})

Deno.test('CONTENT-4: the same text with another salt is another message', () => {
  const { turn, content, hears, record } = following()
  hears(1n, content('yes'))
  hears(2n, content('yes'))
  strictEqual(timelineEntries(stored(turn)).length, 2)
  strictEqual(record().unread, 2)
})

Deno.test('CONTENT-4: a device remembers a bounded number of ids', () => {
  const { turn, key, content, hears, record } = following()
  const first = content('first')
  hears(0n, first)
  const { recentMessagesMax } = LIMITS
  for (let index = 1; index <= recentMessagesMax; index++) hears(BigInt(index), content(`${index}`))
  strictEqual(turn.room(key)?.said.length, recentMessagesMax)
  hears(BigInt(recentMessagesMax + 1), first)
  strictEqual(record().unread, recentMessagesMax + 2, 'what was forgotten is new')
  strictEqual(timelineEntries(stored(turn)).length, recentMessagesMax + 1, 'and yet shown once')
})

Deno.test('CONTENT-4, ROOM-4: what became void is new when it is said again', async () => {
  const { turn, key, content, hears, record } = following()
  const parts = { crypto, clock: { nowMs: () => now }, entropy, domain }
  const { room } = await new HandDevice(parts, await makeIdentity(parts, 'alice')).genesis()
  const before = content('before')
  hears(1n, before)
  const { unread, last, title, joinedAt } = record()
  pushEpoch(turn, key, {
    position: logPosition(2n),
    entryHash: new Uint8Array(32),
    public: room.group.public,
    group: null,
    keys: null,
    groupInfo: EMPTY,
    time: now,
    changed: { leafWidth: 1, nodes: [] },
    isOwn: false,
    jobs: [],
    undo: { unread, last, title, joinedAt },
    choice: 'agree',
    isVoteSent: false,
  })
  const again = content('in the air')
  hears(3n, again)
  const span = { from: logPosition(2n), to: logPosition(4n) }
  ok(voidEpochs(turn, key, span).length === 1)
  deepStrictEqual([record().unread, record().last?.text], [1, 'before'])
  hears(5n, again)
  hears(6n, before)
  deepStrictEqual([record().unread, record().last?.text], [2, 'in the air'])
})
