/**
 * The epochs of a room from their records (DEV-3): the last final one from its nodes, each above it
 * from what it changed. Owns reading; `epochs.ts` owns what is written.
 */
import type { Crypto } from '#core/crypto/crypto.ts'
import { suiteById } from '#core/crypto/suites.ts'
import { idOfEpoch } from '#core/device/chain.ts'
import { loadKeys } from '#core/device/epoch-keys.ts'
import { signatureKeyOf } from '#core/device/leaf.ts'
import { readAll } from '#core/device/load-records.ts'
import { type AccountRecord, epochKey, epochRange, finalityKey } from '#core/device/records.ts'
import { type EpochRecord, finalRecordCodec, nodeOfKey, pendingKey } from '#core/device/records.ts'
import { pendingRecordCodec, provisionalRecordCodec, roomRange } from '#core/device/records.ts'
import type { PendingCommit, ProvisionalEpoch, RoomEpoch } from '#core/device/state.ts'
import type { RoomState } from '#core/device/state.ts'
import type { DeviceStore } from '#core/device/store.ts'
import { cipherSuiteOf } from '#core/device/turn.ts'
import type { CipherSuite } from '#core/mls/cipher-suite.ts'
import type { NodeChanges, RatchetTree } from '#core/mls/ratchet-tree.ts'
import { treeOfNodes } from '#core/mls/ratchet-tree.ts'
import { restoreGroup, restorePublicGroup } from '#core/mls/state-codec.ts'
import { finalityCodec } from '#core/policy/finality.ts'
import { decode } from '#core/wire/codec.ts'
import { equalBytes } from '#core/base/bytes.ts'

type Nodes = ReadonlyMap<number, Uint8Array>
type LoadedEpochs = Pick<RoomState, 'final' | 'chain' | 'finality' | 'pending'>

interface Reading {
  readonly store: DeviceStore
  readonly room: RoomState
  readonly suite: CipherSuite
  readonly signatureSecret: Uint8Array
}

/** Null where a record is missing or not of this version. */
export async function loadEpochs(
  crypto: Crypto,
  store: DeviceStore,
  { room, account }: { readonly room: RoomState; readonly account: AccountRecord },
): Promise<LoadedEpochs | null> {
  const suite = cipherSuiteOf(crypto, room.record.suite)
  const described = suiteById(room.record.suite)
  if (suite === null || described === null) return null
  const signatureSecret = signatureKeyOf(account, described).secretKey
  const reading = { store, room, suite, signatureSecret }
  const stored = await store.read('groups', room.key)
  const record = stored === null ? null : decode(finalRecordCodec, stored)
  if (record?.kind !== 'decoded') return null
  let nodes: Nodes = new Map(
    (await readAll(store, 'nodes', roomRange(room.key)))
      .map((row) => [nodeOfKey(row.key), row.value]),
  )
  const final = await loadEpoch(reading, record.value.epoch, nodes)
  const finality = await loadFinality(store, room.key)
  if (final === null || finality === null) return null
  const chain: ProvisionalEpoch[] = []
  for (const { position } of finality.open) {
    const bytes = await store.read('groups', epochKey(room.key, position))
    const above = bytes === null ? null : decode(provisionalRecordCodec, bytes)
    if (above?.kind !== 'decoded') return null
    const { epoch, changed, time, isOwn, choice, undo } = above.value
    nodes = changedBy(nodes, changed)
    const loaded = await loadEpoch(reading, epoch, nodes)
    if (loaded === null) return null
    const difference = { leafWidth: epoch.leafWidth, nodes: changed }
    const rest = { time, isOwn, choice, undo, jobs: [], isVoteSent: false }
    chain.push({ ...loaded, ...rest, changed: difference })
  }
  const top = chain.at(-1) ?? final
  return { final, chain, finality, pending: await loadPending(reading, top, nodes) }
}

async function loadFinality(store: DeviceStore, key: string): Promise<RoomState['finality']> {
  const bytes = await store.read('groups', finalityKey(key))
  const decoded = bytes === null ? null : decode(finalityCodec, bytes)
  if (decoded?.kind !== 'decoded') return null
  const { format: _format, ...finality } = decoded.value
  return finality
}

function changedBy(nodes: Nodes, changed: NodeChanges['nodes']): Nodes {
  const next = new Map(nodes)
  for (const { node, bytes } of changed) {
    if (bytes === null) next.delete(node)
    else next.set(node, bytes)
  }
  return next
}

function treeOf(suite: CipherSuite, leafWidth: number, nodes: Nodes): RatchetTree | null {
  const placed = [...nodes].map(([node, bytes]) => ({ node, bytes }))
  return treeOfNodes(suite, leafWidth, placed)
}

async function loadEpoch(
  { store, room, suite, signatureSecret }: Reading,
  record: EpochRecord,
  nodes: Nodes,
): Promise<RoomEpoch | null> {
  const { position, entryHash, head, isMember, groupInfo, ephemeralRoot } = record
  const tree = treeOf(suite, record.leafWidth, nodes)
  if (tree === null) return null
  if (!isMember) {
    const group = restorePublicGroup(suite, head, tree)
    if (group === null) return null
    return { position, entryHash, public: group, group: null, keys: null, groupInfo }
  }
  const group = restoreGroup(suite, { head, tree, signatureSecret })
  if (group === null) return null
  const records = await readAll(store, 'chains', epochRange(room.key, position))
  const keys = loadKeys(idOfEpoch(group), ephemeralRoot, records)
  return keys && { position, entryHash, public: group.public, group, keys, groupInfo }
}

/** A commit that was under way, if it was made in what is the newest epoch. */
async function loadPending(
  { store, room, suite, signatureSecret }: Reading,
  top: RoomEpoch,
  nodes: Nodes,
): Promise<PendingCommit | null> {
  const bytes = await store.read('groups', pendingKey(room.key))
  const decoded = bytes === null ? null : decode(pendingRecordCodec, bytes)
  if (decoded?.kind !== 'decoded') return null
  const { commit, submission, before, head, leafWidth, changed } = decoded.value
  if (!equalBytes(before, idOfEpoch(top))) return null
  const tree = treeOf(suite, leafWidth, changedBy(nodes, changed))
  const next = tree === null ? null : restoreGroup(suite, { head, tree, signatureSecret })
  return next && { commit, submission, before, next, jobs: [], sent: false, isRepeat: true }
}
