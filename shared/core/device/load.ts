/**
 * From the store to the state of a device that starts (DEV-3). Owns reading; a record that does not
 * decode is left alone. A room whose own record does not is not shown; one whose group does not, is
 * recovered where it was live, and else broken.
 */
import { EMPTY } from '#core/base/bytes.ts'
import type { RoomId } from '#core/base/ids.ts'
import { ACCOUNT_KEY, accountRecordCodec } from '#core/device/records.ts'
import { certificateRecordCodec } from '#core/device/records.ts'
import { HUB_KEY, hubRecordCodec, keyPackageRecordCodec } from '#core/device/records.ts'
import { outboxRecordCodec, roomRange } from '#core/device/records.ts'
import { type AccountRecord, type RoomRecord, roomRecordCodec } from '#core/device/records.ts'
import { loadEpochs } from '#core/device/load-epochs.ts'
import { EVERYTHING, readAll } from '#core/device/load-records.ts'
import { atBeginning, newRoom, roomIdOfKey } from '#core/device/room.ts'
import type { DeviceState, OutboxItem } from '#core/device/state.ts'
import { emptyState, type RoomState } from '#core/device/state.ts'
import type { DeviceRecord, DeviceStore } from '#core/device/store.ts'
import type { DevicePorts } from '#core/device/turn.ts'
import { decode } from '#core/wire/codec.ts'

/** Reads the account, its KeyPackages and all rooms. */
export async function loadDevice(
  ports: DevicePorts,
  store: DeviceStore,
  endpoint: string,
): Promise<DeviceState> {
  const hub = await readHub(store)
  const stored = await store.read('account', ACCOUNT_KEY)
  const decoded = stored === null ? null : decode(accountRecordCodec, stored)
  const account = decoded?.kind === 'decoded' ? decoded.value : null
  const rooms = new Map<string, RoomState>()
  for (const row of await readAll(store, 'rooms', EVERYTHING)) {
    const room = await loadRoom(ports, store, { row, account })
    if (room !== null) rooms.set(room.key, room)
  }
  const keyPackages = new Map()
  for (const row of await readAll(store, 'keyPackages', EVERYTHING)) {
    const keyPackage = decode(keyPackageRecordCodec, row.value)
    if (keyPackage.kind === 'decoded') keyPackages.set(row.key, keyPackage.value)
  }
  return {
    ...emptyState(endpoint),
    hub,
    account: account === null
      ? { kind: 'none' }
      : account.phase === 'registered'
      ? { kind: 'registered', record: account, command: null }
      : { kind: 'registering', record: account, command: null },
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

async function loadRoom(
  ports: DevicePorts,
  store: DeviceStore,
  { row, account }: { readonly row: DeviceRecord; readonly account: AccountRecord | null },
): Promise<RoomState | null> {
  const id = roomIdOfKey(row.key)
  const decoded = decode(roomRecordCodec, row.value)
  if (id === null || decoded.kind === 'malformed') return null
  const outbox = (await readAll(store, 'outbox', roomRange(row.key))).map(outboxItem)
  const room = {
    ...blankRoom(id, decoded.value),
    outbox: outbox.filter((item) => item !== null),
    certificates: await loadCertificates(store, row.key),
  }
  const { phase } = room.record
  if (phase !== 'live' && phase !== 'creating') return room
  const epochs = account === null ? null : await loadEpochs(ports.crypto, store, { room, account })
  if (epochs !== null) return { ...room, ...epochs }
  if (phase === 'live') return recovering(room)
  return { ...room, record: { ...room.record, phase: 'broken', code: 'unreadableState' } }
}

/** The state of the group is lost (JOIN-5). */
function recovering(room: RoomState): RoomState {
  const record = { ...room.record, ...atBeginning(room.record) }
  return { ...room, record, joining: { kind: 'recovery' } }
}

function blankRoom(id: RoomId, record: RoomRecord): RoomState {
  const base = newRoom({
    id,
    phase: record.phase,
    suite: record.suite,
    domain: record.domain,
    title: record.title,
    opening: EMPTY,
    inviterRootHash: EMPTY,
    createdAt: record.createdAt,
  })
  return { ...base, record }
}

function outboxItem(row: DeviceRecord): OutboxItem | null {
  const decoded = decode(outboxRecordCodec, row.value)
  if (decoded.kind === 'malformed') return null
  return { key: row.key, record: decoded.value, inFlight: false, attempts: 0 }
}

async function loadCertificates(
  store: DeviceStore,
  key: string,
): Promise<RoomState['certificates']> {
  const certificates = new Map()
  for (const row of await readAll(store, 'certificates', roomRange(key))) {
    const decoded = decode(certificateRecordCodec, row.value)
    const hash = row.key.slice(key.length + 1)
    if (decoded.kind === 'decoded') certificates.set(hash, decoded.value)
  }
  return certificates
}
