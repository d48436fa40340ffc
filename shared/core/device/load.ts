/**
 * From the store to the state of a device that starts (DEV-3). Owns reading; a record that does not
 * decode is left alone and its room is shown as broken.
 */
import { logPosition, type RoomId } from '#core/base/ids.ts'
import { loadEpochKeys } from '#core/device/epoch-keys.ts'
import { ACCOUNT_KEY, accountRecordCodec, groupRecordCodec } from '#core/device/records.ts'
import { HUB_KEY, hubRecordCodec, keyPackageRecordCodec } from '#core/device/records.ts'
import { outboxRecordCodec, pendingRecordCodec, roomRange } from '#core/device/records.ts'
import { type RoomRecord, roomRecordCodec } from '#core/device/records.ts'
import { newRoom, roomIdOfKey } from '#core/device/room.ts'
import type { DeviceState, Member, OutboxItem, PendingCommit } from '#core/device/state.ts'
import { emptyState, type RoomState } from '#core/device/state.ts'
import type { DeviceRecord, DeviceStore, DeviceTable } from '#core/device/store.ts'
import type { DevicePorts } from '#core/device/turn.ts'
import { decode } from '#core/wire/codec.ts'
import { FIRST_PREVIOUS_HASH } from '#core/wire/log-entry.ts'

const PAGE = 500
const EVERYTHING = { from: '', to: '\uffff' }

/** Reads the account, its KeyPackages and all rooms. */
export async function loadDevice(
  ports: DevicePorts,
  store: DeviceStore,
  endpoint: string,
): Promise<DeviceState> {
  const hub = await readHub(store)
  const account = await store.read('account', ACCOUNT_KEY)
  const record = account === null ? null : decode(accountRecordCodec, account)
  const rooms = new Map<string, RoomState>()
  for (const row of await readAll(store, 'rooms', EVERYTHING)) {
    const room = await loadRoom(ports, store, row)
    if (room !== null) rooms.set(room.key, room)
  }
  const keyPackages = new Map()
  for (const row of await readAll(store, 'keyPackages', EVERYTHING)) {
    const decoded = decode(keyPackageRecordCodec, row.value)
    if (decoded.kind === 'decoded') keyPackages.set(row.key, decoded.value)
  }
  return {
    ...emptyState(endpoint),
    hub,
    account: record?.kind !== 'decoded'
      ? { kind: 'none' }
      : record.value.phase === 'registered'
      ? { kind: 'registered', record: record.value, command: null }
      : { kind: 'registering', record: record.value, command: null },
    rooms,
    keyPackages,
  }
}

async function readHub(store: DeviceStore): Promise<DeviceState['hub']> {
  const bytes = await store.read('account', HUB_KEY)
  const decoded = bytes === null ? null : decode(hubRecordCodec, bytes)
  if (decoded?.kind !== 'decoded') return null
  return { domain: decoded.value.domain, key: decoded.value.key }
}

/** All records of a range, page by page. */
async function readAll(
  store: DeviceStore,
  table: DeviceTable,
  range: { readonly from: string; readonly to: string },
): Promise<readonly DeviceRecord[]> {
  const all: DeviceRecord[] = []
  let { from } = range
  for (;;) {
    const page = await store.readRange(table, {
      from,
      to: range.to,
      limit: PAGE,
      descending: false,
    })
    all.push(...page)
    const last = page.at(-1)
    if (last === undefined || page.length < PAGE) return all
    from = `${last.key}\u0000`
  }
}

async function loadRoom(
  ports: DevicePorts,
  store: DeviceStore,
  row: DeviceRecord,
): Promise<RoomState | null> {
  const id = roomIdOfKey(row.key)
  const decoded = decode(roomRecordCodec, row.value)
  if (id === null || decoded.kind === 'malformed') return null
  const fresh = blankRoom(id, decoded.value)
  const group = await store.read('groups', row.key)
  const outbox = (await readAll(store, 'outbox', roomRange(row.key))).map(outboxItem)
  const room = { ...fresh, outbox: outbox.filter((item) => item !== null) }
  if (group === null) return room
  const stored = decode(groupRecordCodec, group)
  const state = stored.kind === 'decoded' ? ports.mls.restore(stored.value.group) : null
  if (stored.kind === 'malformed' || state === null) {
    return { ...room, record: { ...room.record, phase: 'broken', code: 'unreadableState' } }
  }
  const keys = loadEpochKeys(ports, {
    group: state,
    ephemeralRoot: stored.value.ephemeralRoot,
    records: await readAll(store, 'chains', roomRange(row.key)),
  })
  if (keys === null) {
    return { ...room, record: { ...room.record, phase: 'broken', code: 'unreadableState' } }
  }
  return {
    ...room,
    group: state,
    keys,
    members: stored.value.members as readonly Member[],
    pending: await loadPending(ports, store, row.key),
  }
}

/**
 * A room whose log was not walked up to its Welcome begins again, since the certificates that it
 * had gathered were only in memory.
 */
function blankRoom(id: RoomId, record: RoomRecord): RoomState {
  const base = newRoom({
    id,
    phase: record.phase,
    suite: record.suite,
    domain: record.domain,
    title: record.title,
    opening: record.opening,
    inviterRootHash: record.inviterRootHash,
    createdAt: record.createdAt,
  })
  const walking = record.joinedAt !== null && record.next <= record.joinedAt
  const start = walking ? { next: logPosition(0n), headHash: FIRST_PREVIOUS_HASH } : {}
  return { ...base, record: { ...record, ...start } }
}

function outboxItem(row: DeviceRecord): OutboxItem | null {
  const decoded = decode(outboxRecordCodec, row.value)
  if (decoded.kind === 'malformed') return null
  return { key: row.key, record: decoded.value, inFlight: false, attempts: 0 }
}

async function loadPending(
  ports: DevicePorts,
  store: DeviceStore,
  key: string,
): Promise<PendingCommit | null> {
  const bytes = await store.read('groups', `${key}:pending`)
  const decoded = bytes === null ? null : decode(pendingRecordCodec, bytes)
  if (decoded?.kind !== 'decoded') return null
  const next = ports.mls.restore(decoded.value.next)
  if (next === null) return null
  const { commit, submission } = decoded.value
  return { commit, submission, next, jobs: [], sent: false }
}
