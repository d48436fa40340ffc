/**
 * The group of a room out of the store: a final epoch from its version, the provisional ones above
 * it from the log, by the same code by which they were taken. Owns no cache and no rule.
 */
import { equalBytes } from '#core/base/bytes.ts'
import type { LogPosition, RoomId } from '#core/base/ids.ts'
import { LIMITS } from '#core/base/limits.ts'
import type { Crypto } from '#core/crypto/crypto.ts'
import { suiteById } from '#core/crypto/suites.ts'
import { type CipherSuite, cipherSuite } from '#core/mls/cipher-suite.ts'
import type { PublicGroup } from '#core/mls/public-group.ts'
import { publicProcess } from '#core/mls/public-process.ts'
import type { OpenEpoch } from '#core/policy/finality.ts'
import { decode } from '#core/wire/codec.ts'
import { commitEntryCodec, proposalEntryCodec, type Sha256 } from '#core/wire/log-entry.ts'
import type { RoomLog, StoredNode } from '#hub/ports.ts'
import { type EpochView, restoreGroup, suiteOfHead, viewOf } from '#hub/sequencer/group-view.ts'
import type { RoomState } from '#hub/sequencer/room-state.ts'

export interface GroupPlace {
  readonly room: RoomId
  /** Of a version that is kept. */
  readonly position: LogPosition
}

function engineOf(crypto: Crypto, id: number | null): CipherSuite | null {
  const suite = id === null ? null : suiteById(id)
  return suite === null ? null : cipherSuite(crypto, suite)
}

/** A final epoch from its version; null where there is none, or it is not what was stored. */
export async function readGroup(
  crypto: Crypto,
  log: RoomLog,
  { room, position }: GroupPlace,
): Promise<PublicGroup | null> {
  const version = await log.readVersion(room, position)
  const engine = version === null ? null : engineOf(crypto, suiteOfHead(version.head))
  if (version === null || version.position !== position || engine === null) return null
  const nodes: StoredNode[] = []
  for (let from = 0;;) {
    const page = await log.readNodes(room, {
      version: position,
      from,
      limit: LIMITS.catchUpPageEntriesMax * 4,
      bytesMax: LIMITS.frameSizeMax,
    })
    for (const node of page) nodes.push(node)
    const last = page.at(-1)
    if (last === undefined) break
    from = last.node + 1
  }
  const { leafWidth, head } = version
  return restoreGroup(engine, { leafWidth, head, nodes })
}

/** The last final epoch and those above it; null where log and state do not fit. */
export async function readEpochs(
  crypto: Crypto,
  log: RoomLog,
  { room, state }: { readonly room: RoomId; readonly state: RoomState },
): Promise<readonly EpochView[] | null> {
  const { final, open } = state.finality
  const sha256 = (bytes: Uint8Array) => crypto.hash('sha256', bytes)
  const group = await readGroup(crypto, log, { room, position: final.position })
  if (group === null) return null
  const epochs: EpochView[] = [viewOf(group, { origin: final.position, certificates: [] })]
  const commits = new Map<bigint, OpenEpoch>(open.map((epoch) => [epoch.position, epoch]))
  const steps = [...commits.keys(), ...state.proposals].sort((a, b) => a < b ? -1 : 1)
  for (const position of steps) {
    const head = epochs.at(-1) as EpochView
    const bytes = await readBody(log, room, position)
    if (bytes === null) return null
    const commit = commits.get(position)
    const next = commit === undefined
      ? await withProposal(head, position, bytes)
      : await withCommit(head, { epoch: commit, bytes, sha256 })
    if (next === null) return null
    if (commit === undefined) epochs[epochs.length - 1] = next
    else epochs.push(next)
  }
  return equalBytes((epochs[0] as EpochView).epochId, final.epochId) ? epochs : null
}

async function readBody(log: RoomLog, room: RoomId, position: bigint): Promise<Uint8Array | null> {
  const range = { from: position as LogPosition, limit: 1, bytesMax: 1 }
  const [stored] = await log.read(room, range)
  if (stored === undefined || stored.position !== position) return null
  return stored.entry.body.kind === 'whole' ? stored.entry.body.bytes : null
}

async function withProposal(
  head: EpochView,
  position: bigint,
  bytes: Uint8Array,
): Promise<EpochView | null> {
  const entry = decode(proposalEntryCodec, bytes)
  if (entry.kind === 'malformed') return null
  const taken = await publicProcess(head.group, entry.value.proposal, { timeMs: null })
  if (taken.kind !== 'proposal') return null
  const proposals = [...head.proposals, position as LogPosition]
  return { ...head, group: taken.group, proposals }
}

async function withCommit(
  head: EpochView,
  { epoch, bytes, sha256 }: {
    readonly epoch: OpenEpoch
    readonly bytes: Uint8Array
    readonly sha256: Sha256
  },
): Promise<EpochView | null> {
  const entry = decode(commitEntryCodec, bytes)
  if (entry.kind === 'malformed') return null
  const taken = await publicProcess(head.group, entry.value.commit, { timeMs: null })
  if (taken.kind !== 'commit') return null
  const certificates = entry.value.certificates.map((certificate) => ({
    hash: sha256(certificate),
    certificate,
  }))
  const view = viewOf(taken.group, { origin: epoch.position, certificates })
  return equalBytes(view.epochId, epoch.epochId) ? view : null
}
