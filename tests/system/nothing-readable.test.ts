/**
 * What a hub could read: everything that it received, stored and logged in a session of two people
 * is searched for what they said, for the room's title, the invitation's secret and their private
 * keys. A visible name is planted, which the same search finds. Owns the story; the search is
 * `search-forms.ts`.
 */
import { deepStrictEqual, ok, strictEqual } from 'node:assert/strict'
import { Buffer } from 'node:buffer'
import { readdir, readFile } from 'node:fs/promises'
import path from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { concat, fromBase64Url, toBase64Url, toHex } from '#core/base/bytes.ts'
import type { RoomId } from '#core/base/ids.ts'
import { ACCOUNT_KEY, accountRecordCodec, type EpochRecord } from '#core/device/records.ts'
import { finalRecordCodec, keyPackageRecordCodec, nodeOfKey } from '#core/device/records.ts'
import { provisionalRecordCodec, roomRecordCodec } from '#core/device/records.ts'
import { timelineRecordCodec } from '#core/device/records.ts'
import { suiteById } from '#core/crypto/suites.ts'
import type { DeviceStore, DeviceTable } from '#core/device/store.ts'
import { decodeInviteLink, invitationKeyPair } from '#core/identity/invitation.ts'
import { cipherSuite } from '#core/mls/cipher-suite.ts'
import { allSecrets } from '#core/mls/group.ts'
import { treeOfNodes } from '#core/mls/ratchet-tree.ts'
import { restoreGroup } from '#core/mls/state-codec.ts'
import { decodeSenderKeys } from '#core/sender-keys/secret-tree.ts'
import { type Codec, decode } from '#core/wire/codec.ts'
import { openPerson, type Person, roomShows, say, sees, signUp } from '../device/people.ts'
import { startHub } from '../e2e/support/hub.ts'
import { entropy, native } from '../support/protocol-parts.ts'
import { dialerOf } from '../support/real-dialers.ts'
import { findAll, formsFound, formsOf, type Needle, type Place } from '../support/search-forms.ts'
import { startWireTap, tapDialer } from '../support/wire-tap.ts'

const DATABASE = 'hub.sqlite'
/** Shorter values could stand anywhere by chance. */
const PIECE_LENGTH = 16
const mark = (): string => toHex(entropy.randomBytes(6))
const bytesOf = (text: string): Uint8Array => new TextEncoder().encode(text)

Deno.test('LOG-2: the search finds each form, wherever it begins, and nothing else', () => {
  const secret = entropy.randomBytes(16)
  const text = `Grüße aus dem Wald, ${mark()}`
  for (const content of [secret, text]) {
    for (const [form, needle] of formsOf(content)) {
      const hidden = concat(entropy.randomBytes(999), needle, entropy.randomBytes(99))
      deepStrictEqual(formsFound(hidden, content).includes(form), true, form)
    }
    deepStrictEqual(formsFound(entropy.randomBytes(4_096), content), [])
  }
  for (const offset of [0, 1, 2, 3, 4]) {
    const hidden = concat(entropy.randomBytes(offset), secret, entropy.randomBytes(7 - offset))
    for (const encoded of [toBase64Url(hidden), Buffer.from(hidden).toString('base64')]) {
      ok(formsFound(bytesOf(encoded), secret).length > 0, `offset ${offset}`)
    }
  }
})

// ---- What must not be found ---------------------------------------------------------------

/** All records of a table. */
async function recordsOf<T>(
  store: DeviceStore,
  table: DeviceTable,
  codec: Codec<T>,
): Promise<readonly T[]> {
  const range = { from: '', to: '\uffff', limit: 10_000, descending: false }
  return (await store.readRange(table, range)).flatMap(({ value }) => {
    const decoded = decode(codec, value)
    return decoded.kind === 'decoded' ? [decoded.value] : []
  })
}

/** Private keys and message secrets as they stand in a device's store. */
async function secretsIn(name: string, store: DeviceStore): Promise<readonly Needle[]> {
  const needles: Needle[] = []
  const add = (what: string, content: Uint8Array): unknown =>
    needles.push({ what: `${name}'s ${what}`, content })
  const [account] = await recordsOf(store, 'account', accountRecordCodec)
  ok(account !== undefined, `${ACCOUNT_KEY} is stored`)
  for (const key of ['rootEd25519', 'rootMldsa65', 'signing', 'ed25519', 'p384'] as const) {
    add(`${key} secret key`, account[key].secretKey)
  }
  for (const each of await recordsOf(store, 'keyPackages', keyPackageRecordCodec)) {
    add('init secret of a KeyPackage', each.initSecret)
    add('encryption secret of a KeyPackage', each.encryptionSecret)
  }
  for (const secret of await groupSecretsIn(store, account.ed25519.secretKey)) {
    add('secret of an epoch', secret)
  }
  for (const { item } of await recordsOf(store, 'timeline', timelineRecordCodec)) {
    if (item.kind === 'message' && item.messageSecret.length > 0) {
      add('message secret', item.messageSecret)
    }
  }
  for (const secret of await chainSecretsIn(store)) add('chain secret', secret)
  return needles
}

/** Secrets of the groups of all epochs that are kept, each restored from its records. */
async function groupSecretsIn(
  store: DeviceStore,
  signatureSecret: Uint8Array,
): Promise<readonly Uint8Array[]> {
  const [record] = await recordsOf(store, 'rooms', roomRecordCodec)
  const [final] = await recordsOf(store, 'groups', finalRecordCodec)
  const suite = suiteById(record?.suite ?? 0)
  ok(suite !== null && final !== undefined, 'a room is stored')
  const engine = cipherSuite(native, suite)
  const range = { from: '', to: '\uffff', limit: 10_000, descending: false }
  const nodes = new Map<number, Uint8Array>()
  for (const { key, value } of await store.readRange('nodes', range)) {
    nodes.set(nodeOfKey(key), value)
  }
  const secrets: Uint8Array[] = []
  const read = ({ head, leafWidth, isMember, ephemeralRoot }: EpochRecord) => {
    const stored = [...nodes].map(([node, bytes]) => ({ node, bytes }))
    const tree = treeOfNodes(engine, leafWidth, stored)
    const group = isMember && tree !== null
      ? restoreGroup(engine, { head, tree, signatureSecret })
      : null
    ok(!isMember || group !== null, 'an epoch reads back')
    if (group !== null) secrets.push(...allSecrets(group), ephemeralRoot)
  }
  read(final.epoch)
  for (const { epoch, changed } of await recordsOf(store, 'groups', provisionalRecordCodec)) {
    for (const { node, bytes } of changed) {
      if (bytes === null) nodes.delete(node)
      else nodes.set(node, bytes)
    }
    read(epoch)
  }
  return secrets.filter(({ length }) => length >= PIECE_LENGTH)
}

async function chainSecretsIn(store: DeviceStore): Promise<readonly Uint8Array[]> {
  const range = { from: '', to: '\uffff', limit: 10_000, descending: false }
  const records = await store.readRange('chains', range)
  const epochs = records.filter(({ key }) => key.endsWith(':nodes'))
  ok(epochs.length > 0, 'chains are stored')
  return epochs.flatMap((nodes) => {
    const prefix = nodes.key.slice(0, -'nodes'.length)
    const others = records
      .filter((record) => record !== nodes && record.key.startsWith(prefix))
      .map(({ value }) => value)
    const keys = decodeSenderKeys(nodes.value, others)
    ok(keys !== null, 'chains read back')
    return [...keys.nodes.values(), ...[...keys.chains].map(({ secret }) => secret)]
  })
}

function secretsOfLink(fragment: string): readonly Needle[] {
  const link = decodeInviteLink(fragment)
  ok(link !== null, 'a link')
  const pair = invitationKeyPair(native, link.secret, link.room as RoomId)
  return [
    { what: 'the fragment as text', content: fragment },
    { what: 'the fragment', content: fromBase64Url(fragment) ?? entropy.randomBytes(16) },
    { what: "the invitation's secret", content: link.secret },
    { what: "the invitation's signing key", content: pair.secretKey },
  ]
}

// ---- Where it is searched -----------------------------------------------------------------

/** All files of the hub below a folder: the database with what belongs to it, its key, its log. */
async function filesIn(folder: string, when: string): Promise<readonly Place[]> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true })
  return Promise.all(
    entries.filter((entry) => entry.isFile()).map(async (entry) => ({
      where: `${entry.name} ${when}`,
      bytes: new Uint8Array(await readFile(path.join(entry.parentPath, entry.name))),
    })),
  )
}

/** Every value of every row: in the file a long value is cut into pages. */
function rowsIn(file: string): Place {
  const database = new DatabaseSync(file, { readOnly: true })
  const values: Uint8Array[] = []
  const tables = database.prepare("SELECT name FROM sqlite_schema WHERE type = 'table'").all()
  for (const { name } of tables) {
    for (const row of database.prepare(`SELECT * FROM "${name}"`).all()) {
      for (const value of Object.values(row)) {
        values.push(value instanceof Uint8Array ? value : bytesOf(String(value)))
      }
    }
  }
  database.close()
  return { where: 'the rows of the database', bytes: concat(...values) }
}

// ---- The story ----------------------------------------------------------------------------

interface Told {
  readonly room: string
  readonly needles: readonly Needle[]
}

/** Alice makes a room and invites Bob by link; both write, also several messages at once. */
async function tell(alice: Person, bob: Person): Promise<Told> {
  const needles: Needle[] = []
  const known = (what: string, content: string): string => {
    needles.push({ what, content })
    return content
  }
  const title = known('the title', `Räuberhöhle ${mark()}`)
  const room = await alice.sdk.createRoom({ title })
  await roomShows(alice, room, ({ summary }) => summary.state === 'live', 'a live room')
  const before = known('a text of before', `Noch allein hier: ${mark()}`)
  await say(alice, room, before)
  await sees(alice, room, before)
  const fragment = await alice.sdk.invite({ room })
  needles.push(...secretsOfLink(fragment))
  await bob.sdk.joinByLink(fragment)
  await roomShows(bob, room, ({ summary }) => summary.state === 'live', 'bob in the room')
  const texts = Array.from({ length: 12 }, () => known('a text', `Über den Dächern, ${mark()}`))
  for (const text of texts) await say(alice, room, text)
  const answer = known('an answer', `日本語 and ASCII ${mark()}`)
  await sees(bob, room, texts.at(-1) ?? '')
  bob.sdk.setTyping(room)
  await roomShows(alice, room, ({ typing }) => typing.length > 0, 'typing')
  needles.push(...await secretsIn('Alice', alice.store), ...await secretsIn('Bob', bob.store))
  await say(bob, room, answer)
  await sees(alice, room, answer)
  needles.push(...await secretsIn('Alice', alice.store), ...await secretsIn('Bob', bob.store))
  deepStrictEqual([...alice.faults, ...bob.faults], [])
  return { room, needles }
}

/** The log names nobody, no room and no place (HUB-7), and is really the hub's log. */
function logIsSilent(log: string, told: { readonly room: string; readonly names: string[] }): void {
  ok(log.includes('sessionReady'), 'the log has the events of the session')
  ok(log.includes('hubStopped'), 'the log goes on to the end of the drain')
  const room = fromBase64Url(told.room)
  ok(room !== null)
  const needles: Needle[] = told.names.map((content) => ({ what: 'a name', content }))
  needles.push({ what: 'the room', content: room })
  deepStrictEqual(findAll([{ where: 'the log', bytes: bytesOf(log) }], needles), [])
  const addresses = /\d+\.\d+\.\d+\.\d+|::1|::ffff|localhost|\[[0-9a-f:]+\]/i
  strictEqual(addresses.exec(log)?.[0], undefined, 'an address stands in the log')
}

Deno.test({
  name: 'HUB-7, ROOM-8, ROOM-11: nothing that was said is readable where the hub can look',
  sanitizeOps: false,
  sanitizeResources: false,
  async fn() {
    const hub = await startHub()
    const endpoint = `http://localhost:${hub.port}`
    const wire = await startWireTap(hub.port)
    try {
      const byWebSocket = tapDialer(await dialerOf('webSocket', endpoint))
      const byWebTransport = tapDialer(await dialerOf('webTransport', endpoint))
      const alice = await openPerson({
        endpoint: `http://localhost:${wire.port}`,
        dialer: byWebSocket.dialer,
      })
      const bob = await openPerson({ endpoint, dialer: byWebTransport.dialer })
      const names = [`alice-${mark()}`, `bob-${mark()}`]
      await signUp(alice, names[0] ?? '')
      await signUp(bob, names[1] ?? '')
      const { room, needles } = await tell(alice, bob)
      deepStrictEqual([...byWebSocket.kinds], ['webSocket'])
      deepStrictEqual([...byWebTransport.kinds], ['webTransport'])
      const running = await filesIn(hub.directory, 'of the running hub')
      await alice.sdk.close()
      await bob.sdk.close()
      await hub.stop()
      const stopped = await filesIn(hub.directory, 'after the end')
      const rows = rowsIn(path.join(hub.directory, 'data', DATABASE))
      const received = [
        { where: 'the wire', bytes: wire.raw() },
        { where: 'what the hub received from Alice', bytes: wire.payloads() },
        { where: 'what Alice sent', bytes: byWebSocket.sent() },
        { where: 'what Bob sent', bytes: byWebTransport.sent() },
      ]
      const places = [...running, ...stopped, rows, ...received]
      deepStrictEqual(findAll(places, needles), [])
      requireControls({ running, stopped, rows, received, names })
      logIsSilent(await hub.readLog(), { room, names })
    } finally {
      await wire.close()
      await hub.close()
    }
  },
})

/** Names, which the hub knows, are found by the same search wherever it looked (ID-4). */
function requireControls(
  places: {
    readonly running: readonly Place[]
    readonly stopped: readonly Place[]
    readonly rows: Place
    readonly received: readonly Place[]
    readonly names: readonly string[]
  },
): void {
  const { running, stopped, rows, received, names } = places
  for (const suffix of ['', '-wal', '-shm']) {
    const file = running.find(({ where }) => where.startsWith(`${DATABASE}${suffix} `))
    ok(file !== undefined, `${DATABASE}${suffix} was searched while the hub ran`)
  }
  const [alice = '', bob = ''] = names
  const joined = (files: readonly Place[]) => concat(...files.map(({ bytes }) => bytes))
  for (const name of names) {
    ok(formsFound(joined(running), name).includes('UTF-8'), `${name} in the running hub's files`)
    ok(formsFound(joined(stopped), name).includes('UTF-8'), `${name} in the files after the end`)
    ok(formsFound(rows.bytes, name).includes('UTF-8'), `${name} in the rows`)
  }
  const [, fromAlice, sentByAlice, sentByBob] = received
  for (const place of [fromAlice, sentByAlice]) {
    ok(place !== undefined && formsFound(place.bytes, alice).includes('UTF-8'), place?.where)
  }
  ok(sentByBob !== undefined && formsFound(sentByBob.bytes, bob).includes('UTF-8'))
  deepStrictEqual(
    formsFound(fromAlice?.bytes ?? new Uint8Array(), alice),
    formsFound(sentByAlice?.bytes ?? new Uint8Array(), alice),
  )
}
