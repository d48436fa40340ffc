/**
 * The keys of the epochs of a room on this device (KEY-1 to KEY-5): taking the exports, storing
 * chains as they move, reserving generations, sealing and opening. Owns the bond between sender
 * keys and the store; wiping follows storing.
 */
import { assert } from '#core/base/assert.ts'
import { EMPTY } from '#core/base/bytes.ts'
import { type Epoch, type EpochId, type LeafIndex, leafIndex } from '#core/base/ids.ts'
import type { LogPosition, RoomId } from '#core/base/ids.ts'
import { LIMITS } from '#core/base/limits.ts'
import { type Suite, suiteById } from '#core/crypto/suites.ts'
import { replaceEpoch, topEpoch } from '#core/device/chain.ts'
import { memberAt, NOBODY } from '#core/device/members.ts'
import { epochKey, epochRange, type OutboxRecord } from '#core/device/records.ts'
import type { EpochKeys, Member, RoomEpoch, RoomState } from '#core/device/state.ts'
import type { DeviceRecord } from '#core/device/store.ts'
import type { Turn } from '#core/device/turn.ts'
import { type Group, takeExports } from '#core/mls/group.ts'
import { epochIdOf } from '#core/mls/group-context.ts'
import type { PublicGroup } from '#core/mls/public-group.ts'
import { leafAt } from '#core/mls/ratchet-tree.ts'
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

/** The lane of the engine (KEY-6). */
export const ENGINE_LANE = 0
const NODES_KEY = 'nodes'

/** The suite of a room as data. */
export function roomSuite(group: PublicGroup): Suite {
  const suite = suiteById(group.suite.id)
  assert(suite !== null, 'a room is of a suite that is known')
  return suite
}

/** The exports of an epoch (KEY-1), and the group without what further exports need. */
export function exportKeys(
  room: RoomId,
  entered: Group,
): { readonly group: Group; readonly keys: EpochKeys; readonly consumed: readonly Uint8Array[] } {
  const suite = roomSuite(entered.public)
  const epochId = epochIdOf(entered.public.suite, entered.public.context)
  const request = { context: exportContext(suite, room, epochId), length: exportLength(suite) }
  const { group, exports, consumed } = takeExports(entered, [
    { ...request, label: EPOCH_EXPORTS.dataPlane },
    { ...request, label: EPOCH_EXPORTS.ephemeral },
  ])
  const [root = EMPTY, ephemeralRoot = EMPTY] = exports
  const { leafWidth } = group.public.tree
  const senderKeys = createSenderKeys({ suite, root, leafCount: leafWidth })
  return { group, keys: { epochId, senderKeys, ephemeralRoot, reserved: [] }, consumed }
}

/** Stores the keys of an epoch that begins. */
export function storeKeys(turn: Turn, key: string, epoch: RoomEpoch): void {
  if (epoch.keys === null) return
  const { position, keys } = epoch
  turn.put('chains', `${epochKey(key, position)}:${NODES_KEY}`, encodeNodes(keys.senderKeys))
}

/** Deletes and wipes the keys of an epoch that is over. */
export function dropKeys(turn: Turn, key: string, epoch: RoomEpoch): void {
  turn.deleteRange('chains', epochRange(key, epoch.position))
  wipeKeys(turn, epoch.keys)
}

/** Wipes the keys of an epoch that is over. */
export function wipeKeys(turn: Turn, keys: EpochKeys | null): void {
  if (keys !== null) turn.effect({ kind: 'wipe', secrets: secretsOf(keys) })
}

function secretsOf(keys: EpochKeys): readonly Uint8Array[] {
  const secrets = [...keys.senderKeys.nodes.values(), keys.ephemeralRoot]
  for (const chain of keys.senderKeys.chains) {
    secrets.push(chain.secret)
    for (const skipped of chain.skipped.values()) secrets.push(skipped)
  }
  for (const each of keys.reserved) secrets.push(each.secret)
  return secrets
}

/** The keys again after a restart; the rest of a reserved block is left unused (KEY-4). */
export function loadKeys(
  epochId: EpochId,
  ephemeralRoot: Uint8Array,
  records: readonly DeviceRecord[],
): EpochKeys | null {
  const isNodes = (record: DeviceRecord) => record.key.endsWith(`:${NODES_KEY}`)
  const nodes = records.find(isNodes)
  if (nodes === undefined) return null
  const chains = records.filter((record) => !isNodes(record)).map((record) => record.value)
  const senderKeys = decodeSenderKeys(nodes.value, chains)
  return senderKeys === null ? null : { epochId, senderKeys, ephemeralRoot, reserved: [] }
}

interface KeyedEpoch extends RoomEpoch {
  readonly group: Group
  readonly keys: EpochKeys
}

/** The newest epoch, where this device can speak; null otherwise. */
function speakingEpoch(room: RoomState | null): KeyedEpoch | null {
  const epoch = room === null ? null : topEpoch(room)
  if (epoch === null || epoch.group === null || epoch.keys === null) return null
  return { ...epoch, group: epoch.group, keys: epoch.keys }
}

/** Stores what a transition moved, and has what it used up wiped afterwards. */
function moveKeys(
  turn: Turn,
  key: string,
  epoch: KeyedEpoch,
  moved: { readonly transition: Transition; readonly durability: 'relaxed' | 'strict' },
): EpochKeys {
  const { transition, durability } = moved
  const prefix = epochKey(key, epoch.position)
  if (transition.nodesChanged) {
    turn.put('chains', `${prefix}:${NODES_KEY}`, encodeNodes(transition.keys), durability)
  }
  for (const chain of transition.touched) {
    const name = chainKey(chain.leaf, chain.lane)
    turn.put('chains', `${prefix}:${name}`, encodeChain(chain), durability)
  }
  turn.effect({ kind: 'wipe', secrets: transition.consumed })
  return setKeys(turn, key, epoch.position, { ...epoch.keys, senderKeys: transition.keys })
}

function setKeys(turn: Turn, key: string, position: LogPosition, keys: EpochKeys): EpochKeys {
  replaceEpoch(turn, key, position, { keys })
  return keys
}

/** Makes sure that `count` generations are reserved, in blocks of 64 (KEY-4). */
function ensureReserved(turn: Turn, key: string, count: number): KeyedEpoch | null {
  const epoch = speakingEpoch(turn.room(key))
  if (epoch === null) return null
  const missing = count - epoch.keys.reserved.length
  if (missing <= 0) return epoch
  const blocks = Math.ceil(missing / LIMITS.generationBlock)
  const transition = reserve(turn.ports.crypto, epoch.keys.senderKeys, {
    leaf: leafIndex(epoch.group.ownLeaf),
    lane: ENGINE_LANE,
    count: blocks * LIMITS.generationBlock,
  })
  const keys = moveKeys(turn, key, epoch, { transition, durability: 'strict' })
  const filled = { ...keys, reserved: [...keys.reserved, ...transition.reserved] }
  return { ...epoch, keys: setKeys(turn, key, epoch.position, filled) }
}

/** Goes on above a generation that the hub has already seen of this device (KEY-5). */
export function skipGenerations(turn: Turn, key: string, last: number): void {
  const epoch = speakingEpoch(turn.room(key))
  if (epoch === null) return
  const spent = epoch.keys.reserved.filter((each) => each.generation <= last)
  const reserved = epoch.keys.reserved.filter((each) => each.generation > last)
  turn.effect({ kind: 'wipe', secrets: spent.map((each) => each.secret) })
  const keys = setKeys(turn, key, epoch.position, { ...epoch.keys, reserved })
  const leaf = leafIndex(epoch.group.ownLeaf)
  const next = keys.senderKeys.chains.get(leaf, ENGINE_LANE)?.generation ?? 0
  if (reserved.length > 0 || next > last) return
  const count = last + 1 - next
  if (count > LIMITS.generationJumpMax) return
  const place = { leaf, lane: ENGINE_LANE, count }
  const transition = reserve(turn.ports.crypto, keys.senderKeys, place)
  moveKeys(turn, key, { ...epoch, keys }, { transition, durability: 'strict' })
  turn.effect({ kind: 'wipe', secrets: transition.reserved.map((each) => each.secret) })
}

function sealContext(turn: Turn, room: RoomState, epoch: KeyedEpoch): SealContext | null {
  const account = turn.registered
  if (account === null) return null
  const suite = roomSuite(epoch.public)
  return {
    suite,
    room: room.id,
    epoch: epoch.public.context.epoch as Epoch,
    epochId: epoch.keys.epochId,
    leaf: leafIndex(epoch.group.ownLeaf),
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
  const epoch = ensureReserved(turn, key, plaintexts.length)
  const room = turn.room(key)
  const context = room === null || epoch === null ? null : sealContext(turn, room, epoch)
  if (epoch === null || context === null) return []
  const { keys } = epoch
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
  const reserved = keys.reserved.slice(plaintexts.length)
  setKeys(turn, key, epoch.position, { ...keys, reserved })
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

/** Opens a sealed frame with the keys of the room's newest epoch (SEAL-7, SEQ-2). */
export async function openFrame(
  turn: Turn,
  key: string,
  bytes: Uint8Array,
): Promise<OpenedFrame | { readonly kind: 'refused'; readonly code: FrameRefusal }> {
  const room = turn.room(key)
  const epoch = speakingEpoch(room)
  if (room === null || epoch === null) return { kind: 'refused', code: 'noKeys' }
  const { crypto } = turn.ports
  const opened = await open(crypto, epoch.keys.senderKeys, {
    suite: roomSuite(epoch.public),
    room: room.id,
    epochId: epoch.keys.epochId,
    signatureKeyOf: (leaf) => leafAt(epoch.public.tree, leaf)?.signatureKey ?? null,
    bursts: turn.bursts,
  }, bytes)
  if (opened.kind === 'refused') return opened
  if (opened.leaf === epoch.group.ownLeaf) return { kind: 'refused', code: 'ownFrame' }
  moveKeys(turn, key, epoch, { transition: opened, durability: 'relaxed' })
  const member = memberAt(room, epoch, opened.leaf) ?? NOBODY
  const { plaintext, messageSecret, seen } = opened
  return { kind: 'opened', member, plaintext, messageSecret, seen }
}

/** Seals "I am typing" in the room's epoch; null where the room has no keys (SES-8). */
export async function sealTyping(turn: Turn, key: string): Promise<Uint8Array | null> {
  const room = turn.room(key)
  const epoch = speakingEpoch(room)
  const context = room === null || epoch === null ? null : sealContext(turn, room, epoch)
  if (epoch === null || context === null) return null
  const { crypto, entropy } = turn.ports
  return await sealTypingFrame(
    crypto,
    { ...context, root: epoch.keys.ephemeralRoot },
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
  const epoch = speakingEpoch(room)
  const frame = decodeEphemeral(bytes)
  if (room === null || epoch === null || frame === null) return null
  const { leaf } = frame.header
  const sender = leafAt(epoch.public.tree, leaf)
  if (sender === null || leaf === epoch.group.ownLeaf) return null
  const suite = roomSuite(epoch.public)
  const { epochId, ephemeralRoot } = epoch.keys
  const check = { frame, suite, room: room.id, epochId, publicKey: sender.signatureKey }
  if (!await verifyEphemeral(turn.ports.crypto, check)) return null
  return openTypingFrame(turn.ports.crypto, { suite, room: room.id, root: ephemeralRoot }, frame)
}
