/**
 * The structures of RFC 9420 against published messages: each is read, of the kind that its name
 * says, written to the same bytes, and refused with a byte less or more.
 */
import { deepStrictEqual, ok, strictEqual } from 'node:assert/strict'
import { concat, toHex } from '#core/base/bytes.ts'
import { uint16 } from '#core/crypto/kem.ts'
import type { CipherSuite } from '#core/mls/cipher-suite.ts'
import { commit } from '#core/mls/commit.ts'
import { mlsMessage, type WireFormat } from '#core/mls/framing.ts'
import { type Proposal, proposal, PROPOSAL_TYPE } from '#core/mls/proposal.ts'
import { decodeRatchetTree, encodeRatchetTree } from '#core/mls/tree-codec.ts'
import { groupSecrets } from '#core/mls/welcome.ts'
import { type Codec, decode, encode } from '#core/wire/codec.ts'
import { plainFamilyTest } from './families.ts'
import { noble } from './implementations.ts'
import { hex } from './published.ts'
import { ownSuites } from './suites.ts'

const [suite] = ownSuites(noble) as readonly [CipherSuite, CipherSuite]

const proposals = {
  add_proposal: 'add',
  update_proposal: 'update',
  remove_proposal: 'remove',
  pre_shared_key_proposal: 'psk',
  re_init_proposal: 'reInit',
  external_init_proposal: 'externalInit',
  group_context_extensions_proposal: 'groupContextExtensions',
} as const satisfies Readonly<Record<string, Proposal['kind']>>

const messages = {
  mls_welcome: 'welcome',
  mls_group_info: 'groupInfo',
  mls_key_package: 'keyPackage',
  private_message: 'privateMessage',
} as const satisfies Readonly<Record<string, WireFormat>>

const publicMessages = {
  public_message_application: 'application',
  public_message_proposal: 'proposal',
  public_message_commit: 'commit',
} as const

const others = {
  commit,
  group_secrets: groupSecrets,
}

type Vector = Readonly<
  Record<
    | keyof typeof proposals
    | keyof typeof messages
    | keyof typeof publicMessages
    | keyof typeof others
    | 'ratchet_tree',
    string
  >
>

plainFamilyTest<Vector>('messages', 'messages*.json', (vector) => {
  const untested = new Set(Object.keys(vector))
  for (const [field, kind] of entriesOf(proposals)) {
    untested.delete(field)
    // The vector has the body alone; it is read behind its type.
    const bytes = concat(uint16(PROPOSAL_TYPE[kind]), hex(vector[field]))
    strictEqual(roundTrip(proposal, bytes).kind, kind)
  }
  for (const [field, kind] of entriesOf(messages)) {
    untested.delete(field)
    strictEqual(roundTrip(mlsMessage, hex(vector[field])).kind, kind)
  }
  for (const [field, kind] of entriesOf(publicMessages)) {
    untested.delete(field)
    const message = roundTrip(mlsMessage, hex(vector[field]))
    ok(message.kind === 'publicMessage')
    strictEqual(message.publicMessage.content.body.kind, kind)
  }
  for (const [field, codec] of entriesOf(others)) {
    untested.delete(field)
    roundTrip<unknown>(codec, hex(vector[field]))
  }
  untested.delete('ratchet_tree')
  checkRatchetTree(hex(vector.ratchet_tree))
  deepStrictEqual([...untested], [])
})

function roundTrip<T>(codec: Codec<T>, bytes: Uint8Array): T {
  const decoded = decode(codec, bytes)
  ok(decoded.kind === 'decoded', 'a published structure is read')
  strictEqual(toHex(encode(codec, decoded.value)), toHex(bytes))
  strictEqual(decode(codec, bytes.subarray(0, -1)).kind, 'malformed')
  strictEqual(decode(codec, concat(bytes, Uint8Array.of(0))).kind, 'malformed')
  return decoded.value
}

/** The trees name no suite, and none is hashed. */
function checkRatchetTree(bytes: Uint8Array): void {
  const tree = decodeRatchetTree(suite, bytes)
  ok(tree !== null, 'a published tree is read')
  strictEqual(toHex(encodeRatchetTree(tree)), toHex(bytes))
  strictEqual(decodeRatchetTree(suite, bytes.subarray(0, -1)), null)
  strictEqual(decodeRatchetTree(suite, concat(bytes, Uint8Array.of(0))), null)
}

function entriesOf<K extends string, V>(record: Readonly<Record<K, V>>): readonly [K, V][] {
  return Object.entries(record) as [K, V][]
}
