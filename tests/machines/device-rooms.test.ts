/** Many rooms of one device when a session begins, without a hub. */
import { deepStrictEqual, strictEqual } from 'node:assert/strict'
import { type HubDomain, logPosition, type RoomId, type TimeMs } from '#core/base/ids.ts'
import { LIMITS } from '#core/base/limits.ts'
import { createNobleCrypto } from '#core/crypto/noble.ts'
import { openRooms } from '#core/device/opening.ts'
import { newRoom } from '#core/device/room.ts'
import { emptyState, type RoomState } from '#core/device/state.ts'
import { Turn } from '#core/device/turn.ts'
import { DEFAULT_SUITE } from '#core/device/account.ts'
import { parseFrame } from '#core/wire/frame.ts'

const nowMs = 1_700_000_000_000 as TimeMs
const ports = {
  crypto: createNobleCrypto(),
  entropy: { randomBytes: (length: number) => new Uint8Array(length) },
  appVersion: 1,
}

function roomOf(number: number, nextOutboxKey: number): RoomState {
  const id = new Uint8Array(32) as RoomId
  new DataView(id.buffer).setUint32(0, number)
  const room = newRoom({
    id,
    phase: 'live',
    suite: DEFAULT_SUITE,
    domain: 'hub.example' as HubDomain,
    title: null,
    opening: new Uint8Array(0),
    inviterRootHash: new Uint8Array(0),
    createdAt: nowMs,
  })
  return { ...room, record: { ...room.record, joinedAt: logPosition(1n), nextOutboxKey } }
}

/** Numbers of the rooms in the order in which they are asked for. */
async function asked(rooms: readonly RoomState[]): Promise<readonly number[]> {
  const session = {
    kind: 'ready',
    attempt: 1,
    transport: 'memory',
    lastHeardMs: nowMs,
  } as unknown as ReturnType<typeof emptyState>['session']
  const state = { ...emptyState('http://hub.example'), session }
  const known = new Map(rooms.map((room) => [room.key, room]))
  const turn = new Turn(ports, { ...state, rooms: known }, nowMs)
  await openRooms(turn)
  return turn.effects.flatMap((effect) => {
    const frame = effect.kind === 'send' ? parseFrame(effect.frame) : null
    if (frame?.kind !== 'frame') return []
    return [new DataView(frame.room.buffer, frame.room.byteOffset).getUint32(0)]
  })
}

Deno.test('HUB-5: of more rooms than a session follows the own come first', async () => {
  const count = LIMITS.subscriptionsPerSessionMax + 1
  const others = Array.from({ length: count }, (_, index) => roomOf(index, 0))
  const own = roomOf(count, 1)
  const order = await asked([...others, own])
  deepStrictEqual(order.slice(0, 3), [count, 0, 1])
  strictEqual(order.length, LIMITS.subscriptionsForOthersMax + 1, 'others have no more places')
  const many = Array.from({ length: count }, (_, index) => roomOf(index, 1))
  strictEqual((await asked(many)).length, count, 'the hub says which are too many')
  deepStrictEqual(await asked([roomOf(0, 0), own]), [0, count])
})
