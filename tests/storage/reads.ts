/**
 * Everything that can be read of a store through the ports of the hub, in small steps, each with an
 * answer as bytes: so that an answer can be held against the one that was right, byte for byte.
 * Owns the list of steps; what is done with the answers is `flips.ts`.
 */
import { Buffer } from 'node:buffer'
import { deepStrictEqual, ok } from 'node:assert/strict'
import { equalBytes } from '#core/base/bytes.ts'
import type { AccountName, DeviceId, LogPosition, RoomId } from '#core/base/ids.ts'
import type { Crypto } from '#core/crypto/crypto.ts'
import { decodeMlsMessage } from '#core/mls/framing.ts'
import { decode } from '#core/wire/codec.ts'
import { commitEntryCodec, entryHash, FIRST_PREVIOUS_HASH } from '#core/wire/log-entry.ts'
import { genesisEntryCodec } from '#core/wire/log-entry.ts'
import type { StoreReader } from '#hub/adapters/sqlite-reader.ts'
import { readGroup } from '#hub/gateway/load-group.ts'
import type { Directory, RoomLog, StoredEntry } from '#hub/ports.ts'
import type { Inventory } from './story.ts'

/** The reads of the ports, and what a claim would give out. */
export interface ReadStore extends StoreReader {
  claim: Directory['claim']
  /** Whether a KeyPackage of this reference is stored or was given out. */
  isKnown(reference: Uint8Array): Promise<boolean>
}

export interface Step {
  readonly name: string
  read(store: ReadStore): Promise<unknown>
}

const at = (position: number) => BigInt(position) as LogPosition
const ENTRIES_PAGE = { limit: 12, bytesMax: 65_536 }
const GROUP_PAGE = { limit: 3, bytesMax: 65_536 }
const STRANGERS = 3

/** Also asks for what is not there: that a thing is absent is an answer like another. */
export async function stepsOf(store: ReadStore, inventory: Inventory): Promise<readonly Step[]> {
  const steps: Step[] = []
  for (const room of inventory.rooms) steps.push(...await roomSteps(store, room, inventory))
  for (let i = 0; i < STRANGERS; i++) {
    const room = new Uint8Array(32).fill(i * 100) as RoomId
    steps.push({ name: 'absent room', read: ({ log }) => log.readRoom(room) })
    const account = `${'akz'[i]}@hub.example` as AccountName
    steps.push({ name: 'absent account', read: ({ directory }) => directory.readAccount(account) })
    const device = new Uint8Array(16).fill(i) as DeviceId
    steps.push(...deviceSteps({ account, device }))
  }
  const strangers = Array.from({ length: STRANGERS }, (_, i) => new Uint8Array(32).fill(i * 100))
  for (const reference of [...inventory.references, ...strangers]) {
    steps.push({ name: 'reference', read: ({ isKnown }) => isKnown(reference) })
  }
  for (const owner of inventory.devices) {
    const { account } = owner
    steps.push({ name: 'account', read: ({ directory }) => directory.readAccount(account) })
    if (inventory.guests.includes(account)) continue
    const { suite, nowMs } = inventory
    steps.push({ name: 'claim', read: (each) => each.claim(account, { suite, nowMs }) })
    steps.push(...deviceSteps(owner))
  }
  return steps
}

function deviceSteps(
  { account, device }: { readonly account: AccountName; readonly device: DeviceId },
): readonly Step[] {
  return [
    {
      name: 'KeyPackages',
      read: ({ directory }) => directory.countKeyPackages(account, device),
    },
    { name: 'Welcomes', read: ({ directory }) => directory.readWelcomes(account, device) },
    {
      name: 'rooms that hold Welcomes back',
      read: ({ directory }) => directory.readHoldingRooms(account, device),
    },
  ]
}

async function roomSteps(
  { log }: StoreReader,
  room: RoomId,
  { invitations }: Inventory,
): Promise<readonly Step[]> {
  const steps: Step[] = [{
    name: 'room',
    // Generations have no order.
    async read(store) {
      const stored = await store.log.readRoom(room)
      const generations = stored?.generations.map((each) => flat(each).join()).sort()
      return { ...stored, generations }
    },
  }]
  const stored = await log.readRoom(room)
  ok(stored !== null)
  for (let from = 0n; from <= stored.next;) {
    const range = { ...ENTRIES_PAGE, from: from as LogPosition }
    steps.push({ name: 'entries', read: (store) => store.log.read(room, range) })
    const page = await log.read(room, range)
    if (page.length === 0) break
    from += BigInt(page.length)
  }
  for (const from of [stored.next - 1n, stored.next] as LogPosition[]) {
    const one = { from, limit: 1, bytesMax: 1 }
    steps.push({ name: 'entry', read: (store) => store.log.read(room, one) })
  }
  const versions = new Set<number>()
  for (let position = 0; position <= stored.next; position++) {
    const version = await log.readVersion(room, at(position))
    if (version !== null) versions.add(Number(version.position))
  }
  const asked = new Set([...versions].flatMap((version) => [version - 1, version, version + 1]))
  for (const position of [...asked].filter((each) => each >= 0)) {
    steps.push({ name: 'version', read: (store) => store.log.readVersion(room, at(position)) })
  }
  for (const version of versions) steps.push(...await versionSteps(log, room, at(version)))
  for (const invitation of [...invitations, new Uint8Array(32), new Uint8Array(32).fill(255)]) {
    steps.push({ name: 'anchor', read: (store) => store.log.readAnchor(room, invitation) })
  }
  return steps
}

async function versionSteps(
  log: StoreReader['log'],
  room: RoomId,
  version: LogPosition,
): Promise<readonly Step[]> {
  const steps: Step[] = []
  for (let from = 0;;) {
    const page = { ...GROUP_PAGE, version, from }
    steps.push({ name: 'nodes', read: (store) => store.log.readNodes(room, page) })
    const last = (await log.readNodes(room, page)).at(-1)
    if (last === undefined) break
    from = last.node + 1
  }
  for (let after: Uint8Array | null = null;;) {
    const page: Parameters<RoomLog['readCertificates']>[1] = { ...GROUP_PAGE, version, after }
    steps.push({ name: 'certificates', read: (store) => store.log.readCertificates(room, page) })
    const last = (await log.readCertificates(room, page)).at(-1)
    if (last === undefined) break
    after = last.hash
  }
  return steps
}

// ---- Answers ------------------------------------------------------------------------------

/** Numbers, texts and bytes of a value in the order of its properties. */
export function flat(value: unknown): readonly (string | Uint8Array)[] {
  if (value instanceof Uint8Array) return [value]
  if (typeof value !== 'object' || value === null) return [`${typeof value} ${value}`]
  const parts = Object.entries(value).flatMap(([key, each]) => [key, ...flat(each)])
  return [`${parts.length}`, ...parts]
}

export type Answer =
  | { readonly kind: 'answered'; readonly parts: readonly (string | Uint8Array)[] }
  | { readonly kind: 'refused'; readonly code: string }

/** An error without a code of ours is no refusal; it is thrown on. */
export async function answerOf(step: Step, store: ReadStore): Promise<Answer> {
  try {
    return { kind: 'answered', parts: flat(await step.read(store)) }
  } catch (error) {
    const { name, code } = error as { name?: string; code?: string }
    if (name !== 'StoreError' || code === undefined) throw error
    return { kind: 'refused', code }
  }
}

export function isSame(a: Answer, b: Answer): boolean {
  if (a.kind === 'refused' || b.kind === 'refused') return false
  return a.parts.length === b.parts.length &&
    a.parts.every((part, i) => isSamePart(part, b.parts[i] as string | Uint8Array))
}

function isSamePart(a: string | Uint8Array, b: string | Uint8Array): boolean {
  if (typeof a === 'string' || typeof b === 'string') return a === b
  return Buffer.compare(a, b) === 0
}

// ---- What proves itself -------------------------------------------------------------------

/** The undamaged story is right in itself: chain, trees and certificates fit their hashes. */
export async function checkStory(
  crypto: Crypto,
  { log }: StoreReader,
  { rooms }: Inventory,
): Promise<void> {
  const sha256 = (bytes: Uint8Array) => crypto.hash('sha256', bytes)
  for (const room of rooms) {
    const stored = await log.readRoom(room)
    const next = Number(stored?.next)
    const entries = await log.read(room, { from: at(0), limit: next, bytesMax: 1 << 26 })
    let previous: Uint8Array = FIRST_PREVIOUS_HASH
    for (const { position, entry, entryHash: hash } of entries) {
      previous = entryHash(sha256, { room, position, previous }, entry)
      deepStrictEqual(previous, hash)
    }
    deepStrictEqual(previous, stored?.headHash)
    for (const entry of entries) {
      const version = await log.readVersion(room, entry.position)
      if (version?.position !== entry.position) continue
      await checkVersion(crypto, log as RoomLog, { room, entry })
    }
  }
}

async function checkVersion(
  crypto: Crypto,
  log: RoomLog,
  { room, entry: { entry, position } }: { readonly room: RoomId; readonly entry: StoredEntry },
): Promise<void> {
  // Checks the hash of the tree.
  const group = await readGroup(crypto, log, { room, position })
  ok(group !== null && entry.body.kind === 'whole')
  const codec = entry.header.entry === 'genesis' ? genesisEntryCodec : commitEntryCodec
  const decoded = decode(codec as typeof commitEntryCodec, entry.body.bytes)
  ok(decoded.kind === 'decoded')
  const info = decodeMlsMessage('groupInfo', decoded.value.groupInfo)
  deepStrictEqual(group.context, info?.groupInfo.groupContext)
  const page = { version: position, after: null, limit: 1_000, bytesMax: 1 << 26 }
  const certificates = await log.readCertificates(room, page)
  ok(certificates.length > 0)
  for (const { hash, certificate } of certificates) {
    ok(equalBytes(hash, crypto.hash('sha256', certificate)))
  }
}
