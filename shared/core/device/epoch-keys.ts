/**
 * The keys of a room's current epoch on this device (KEY-1 to KEY-5): taking the exports, storing
 * chains as they move, reserving generations, sealing and opening. Owns the bond between sender
 * keys and the store; wiping follows storing.
 */
import type { EpochId, LeafIndex, RoomId } from '#core/base/ids.ts'
import { LIMITS } from '#core/base/limits.ts'
import { NOBODY } from '#core/device/members.ts'
import { groupRecordCodec, type OutboxRecord } from '#core/device/records.ts'
import type { EpochKeys, Member, RoomState } from '#core/device/state.ts'
import type { DeviceRecord } from '#core/device/store.ts'
import type { DevicePorts, Turn } from '#core/device/turn.ts'
import type { MlsGroup } from '#core/mls/mls.ts'
import { decodeEphemeral, openTypingFrame } from '#core/sender-keys/ephemeral.ts'
import { sealTypingFrame, verifyEphemeral } from '#core/sender-keys/ephemeral.ts'
import { EPOCH_EXPORTS, exportContext, exportLength } from '#core/sender-keys/exports.ts'
import {
  open,
  type OpenRefusal,
  seal,
  sealBurst,
  type SealContext,
} from '#core/sender-keys/seal.ts'
import { chainKey } from '#core/sender-keys/chains.ts'
import { createSenderKeys, decodeSenderKeys } from '#core/sender-keys/secret-tree.ts'
import { encodeChain, encodeNodes, reserve } from '#core/sender-keys/secret-tree.ts'
import type { Transition } from '#core/sender-keys/secret-tree.ts'
import { encode } from '#core/wire/codec.ts'
import { STRUCTURE_VERSION } from '#core/wire/structure.ts'

/** The lane of the engine (KEY-6). */
const ENGINE_LANE = 0
const NODES_KEY = 'nodes'

/** Puts a room into an epoch: exports taken, old keys gone, group and members stored (KEY-1). */
export async function enterEpoch(
  turn: Turn,
  key: string,
  entered: { readonly group: MlsGroup; readonly members: readonly Member[] },
): Promise<void> {
  const room = turn.room(key)
  if (room === null) return
  const { members } = entered
  const same = room.group === entered.group && room.keys !== null
  const keys = same && room.keys !== null
    ? room.keys
    : await exportKeys(turn.ports, room.id, entered.group)
  const { group, consumed } = turn.ports.mls.withoutExporter(entered.group)
  turn.effect({ kind: 'wipe', secrets: consumed })
  if (!same) {
    for (const { leaf, lane } of room.keys?.senderKeys.chains ?? []) {
      turn.delete('chains', `${key}:${chainKey(leaf, lane)}`)
    }
    turn.put('chains', `${key}:${NODES_KEY}`, encodeNodes(keys.senderKeys))
    if (room.keys !== null) turn.effect({ kind: 'wipe', secrets: secretsOf(room.keys) })
  }
  turn.put(
    'groups',
    key,
    encode(groupRecordCodec, {
      format: STRUCTURE_VERSION,
      group: turn.ports.mls.serialise(group),
      ephemeralRoot: keys.ephemeralRoot,
      members,
    }),
  )
  turn.setRoom(key, { group, members, keys, typing: [] })
}

async function exportKeys(ports: DevicePorts, room: RoomId, group: MlsGroup): Promise<EpochKeys> {
  const { mls } = ports
  const suite = mls.suite(group)
  const epochId = mls.epochId(group)
  const request = { context: exportContext(suite, room, epochId), length: exportLength(suite) }
  const root = await mls.exportSecret(group, { ...request, label: EPOCH_EXPORTS.dataPlane })
  const ephemeralRoot = await mls.exportSecret(group, {
    ...request,
    label: EPOCH_EXPORTS.ephemeral,
  })
  const senderKeys = createSenderKeys({ suite, root, leafCount: mls.leafCount(group) })
  return { epochId, senderKeys, ephemeralRoot, reserved: [] }
}

function secretsOf(keys: EpochKeys): readonly Uint8Array[] {
  const secrets = [...keys.senderKeys.nodes.values(), keys.ephemeralRoot]
  for (const chain of keys.senderKeys.chains) {
    secrets.push(chain.secret, ...chain.skipped.values())
  }
  for (const each of keys.reserved) secrets.push(each.secret)
  return secrets
}

/** The keys again after a restart; the rest of a reserved block is left unused (KEY-4). */
export function loadEpochKeys(
  ports: DevicePorts,
  stored: {
    readonly group: MlsGroup
    readonly ephemeralRoot: Uint8Array
    readonly records: readonly DeviceRecord[]
  },
): EpochKeys | null {
  const { group, ephemeralRoot, records } = stored
  const isNodes = (record: DeviceRecord) => record.key.endsWith(`:${NODES_KEY}`)
  const nodes = records.find(isNodes)
  if (nodes === undefined) return null
  const chains = records.filter((record) => !isNodes(record)).map((record) => record.value)
  const senderKeys = decodeSenderKeys(nodes.value, chains)
  if (senderKeys === null) return null
  return { epochId: ports.mls.epochId(group), senderKeys, ephemeralRoot, reserved: [] }
}

/** Stores what a transition moved, and has what it used up wiped afterwards. */
function moveKeys(
  turn: Turn,
  key: string,
  transition: Transition,
  durability: 'relaxed' | 'strict',
): void {
  const room = turn.room(key)
  if (room === null || room.keys === null) return
  if (transition.nodesChanged) {
    turn.put('chains', `${key}:${NODES_KEY}`, encodeNodes(transition.keys), durability)
  }
  for (const chain of transition.touched) {
    const name = chainKey(chain.leaf, chain.lane)
    turn.put('chains', `${key}:${name}`, encodeChain(chain), durability)
  }
  turn.effect({ kind: 'wipe', secrets: transition.consumed })
  turn.setRoom(key, { keys: { ...room.keys, senderKeys: transition.keys } })
}

/** Makes sure that `count` generations are reserved, in blocks of 64 (KEY-4). */
function ensureReserved(turn: Turn, key: string, count: number): EpochKeys | null {
  const room = turn.room(key)
  if (room === null || room.keys === null || room.group === null) return null
  const missing = count - room.keys.reserved.length
  if (missing <= 0) return room.keys
  const blocks = Math.ceil(missing / LIMITS.generationBlock)
  const more = reserve(turn.ports.crypto, room.keys.senderKeys, {
    leaf: turn.ports.mls.ownLeaf(room.group),
    lane: ENGINE_LANE,
    count: blocks * LIMITS.generationBlock,
  })
  moveKeys(turn, key, more, 'strict')
  const { keys } = turn.room(key) as RoomState
  if (keys === null) return null
  const filled = { ...keys, reserved: [...keys.reserved, ...more.reserved] }
  turn.setRoom(key, { keys: filled })
  return filled
}

/** Goes on above a generation that the hub has already seen of this device (KEY-5). */
export function skipGenerations(turn: Turn, key: string, last: number): void {
  const room = turn.room(key)
  if (room === null || room.keys === null || room.group === null) return
  const spent = room.keys.reserved.filter((each) => each.generation <= last)
  const reserved = room.keys.reserved.filter((each) => each.generation > last)
  turn.effect({ kind: 'wipe', secrets: spent.map((each) => each.secret) })
  turn.setRoom(key, { keys: { ...room.keys, reserved } })
  const leaf = turn.ports.mls.ownLeaf(room.group)
  const next = room.keys.senderKeys.chains.get(leaf, ENGINE_LANE)?.generation ?? 0
  if (reserved.length > 0 || next > last) return
  const count = last + 1 - next
  if (count > LIMITS.generationJumpMax) return
  const place = { leaf, lane: ENGINE_LANE, count }
  const skipped = reserve(turn.ports.crypto, room.keys.senderKeys, place)
  moveKeys(turn, key, skipped, 'strict')
  turn.effect({ kind: 'wipe', secrets: skipped.reserved.map((each) => each.secret) })
}

function sealContext(turn: Turn, room: RoomState): SealContext | null {
  const account = turn.registered
  if (account === null || room.group === null || room.keys === null) return null
  const { mls } = turn.ports
  const suite = mls.suite(room.group)
  return {
    suite,
    room: room.id,
    epoch: mls.epoch(room.group),
    epochId: room.keys.epochId,
    leaf: mls.ownLeaf(room.group),
    lane: ENGINE_LANE,
    seen: { position: room.record.next - 1n, hash: room.record.headHash },
    signatureSecret: suite.signature === 'p384'
      ? account.p384.secretKey
      : account.ed25519.secretKey,
  }
}

/** Seals plaintexts in their order, several of them as one burst (SEAL-6). */
export async function sealItems(
  turn: Turn,
  key: string,
  plaintexts: readonly Uint8Array[],
): Promise<readonly NonNullable<OutboxRecord['sealed']>[]> {
  if (plaintexts.length === 0) return []
  const keys = ensureReserved(turn, key, plaintexts.length)
  const room = turn.room(key)
  const context = room === null ? null : sealContext(turn, room)
  if (keys === null || context === null) return []
  const { crypto, entropy } = turn.ports
  const used = keys.reserved.slice(0, plaintexts.length)
  const items = plaintexts.map((plaintext, index) => {
    const { generation, secret } = used[index] as (typeof used)[number]
    const nonce = entropy.randomBytes(context.suite.frameNonceLength)
    return { generation, messageSecret: secret, nonce, plaintext }
  })
  const [only] = items
  const sealed = items.length === 1 && only !== undefined
    ? [await seal(crypto, context, only)]
    : await sealBurst(crypto, context, items)
  turn.setRoom(key, { keys: { ...keys, reserved: keys.reserved.slice(plaintexts.length) } })
  turn.effect({ kind: 'wipe', secrets: used.map((each) => each.secret) })
  return sealed.map((bytes, index) => ({
    epochId: context.epochId,
    generation: items[index]?.generation ?? 0,
    bytes,
  }))
}

/** A frame of the log, opened: who proved to have written what. */
export interface OpenedFrame {
  readonly kind: 'opened'
  readonly member: Member
  readonly plaintext: Uint8Array
  readonly messageSecret: Uint8Array
  /** Last entry that the sender had seen (LOG-5). */
  readonly seen: { readonly position: bigint; readonly hash: Uint8Array }
}

export type FrameRefusal = OpenRefusal | 'ownFrame' | 'noKeys'

/** Opens a sealed frame with the keys of the room's epoch (SEAL-7). */
export async function openFrame(
  turn: Turn,
  key: string,
  bytes: Uint8Array,
): Promise<OpenedFrame | { readonly kind: 'refused'; readonly code: FrameRefusal }> {
  const room = turn.room(key)
  if (room === null || room.keys === null || room.group === null) {
    return { kind: 'refused', code: 'noKeys' }
  }
  const { crypto, mls } = turn.ports
  const memberAt = (leaf: LeafIndex) => room.members.find((member) => member.leaf === leaf) ?? null
  const opened = await open(crypto, room.keys.senderKeys, {
    suite: mls.suite(room.group),
    room: room.id,
    epochId: room.keys.epochId,
    signatureKeyOf: (leaf) => memberAt(leaf)?.signatureKey ?? null,
    bursts: turn.bursts,
  }, bytes)
  if (opened.kind === 'refused') return opened
  if (opened.leaf === mls.ownLeaf(room.group)) return { kind: 'refused', code: 'ownFrame' }
  moveKeys(turn, key, opened, 'relaxed')
  const member = memberAt(opened.leaf) ?? NOBODY
  const { plaintext, messageSecret, seen } = opened
  return { kind: 'opened', member, plaintext, messageSecret, seen }
}

/** Seals "I am typing" in the room's epoch; null where the room has no keys (SES-8). */
export async function sealTyping(turn: Turn, key: string): Promise<Uint8Array | null> {
  const room = turn.room(key)
  const context = room === null ? null : sealContext(turn, room)
  if (room === null || room.keys === null || context === null) return null
  const { crypto, entropy } = turn.ports
  return await sealTypingFrame(
    crypto,
    { ...context, root: room.keys.ephemeralRoot },
    {
      time: turn.nowMs,
      nonce: entropy.randomBytes(context.suite.frameNonceLength),
      signatureSecret: context.signatureSecret,
    },
  )
}

/** Opens a typing frame of another member; null for anything else (SES-8). */
export async function openTyping(
  turn: Turn,
  key: string,
  bytes: Uint8Array,
): Promise<{ readonly leaf: LeafIndex; readonly timeMs: number } | null> {
  const room = turn.room(key)
  const frame = decodeEphemeral(bytes)
  if (room === null || room.keys === null || room.group === null || frame === null) return null
  const { crypto, mls } = turn.ports
  const member = room.members.find((each) => each.leaf === frame.header.leaf)
  if (member === undefined || member.leaf === mls.ownLeaf(room.group)) return null
  const suite = mls.suite(room.group)
  const epochId: EpochId = room.keys.epochId
  const check = { frame, suite, room: room.id, epochId, publicKey: member.signatureKey }
  if (!await verifyEphemeral(crypto, check)) return null
  return openTypingFrame(crypto, { suite, room: room.id, root: room.keys.ephemeralRoot }, frame)
}
