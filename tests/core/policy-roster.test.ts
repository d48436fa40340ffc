/** Tests of rosters: the one that follows commits is the one that is read anew. */
import { deepStrictEqual, ok, strictEqual } from 'node:assert/strict'
import type { AccountName, DeviceId } from '#core/base/ids.ts'
import { encodeIdentity } from '#core/identity/leaf-identity.ts'
import { cipherSuite } from '#core/mls/cipher-suite.ts'
import type { LeafNode } from '#core/mls/leaf-node.ts'
import * as trees from '#core/mls/ratchet-tree.ts'
import type { RatchetTree } from '#core/mls/ratchet-tree.ts'
import { ROOM_EXTENSION_TYPE } from '#core/policy/room-policy.ts'
import * as rosters from '#core/policy/roster.ts'
import type { Roster } from '#core/policy/roster.ts'
import { encode, fixed, struct } from '#core/wire/codec.ts'
import { format, STRUCTURE_VERSION } from '#core/wire/structure.ts'
import { bytes, crypto, prng, QUICK } from './policy-people.ts'

const suite = cipherSuite(crypto, QUICK)
const NAMES = ['ann', 'ben', 'cem', 'dia', 'eva'].map((name) =>
  `${name}@hub.example` as AccountName
)
const INVITATIONS = [bytes(32), bytes(32)]
const admission = struct({
  format: format('admission'),
  invitation: fixed(32),
  signature: fixed(64),
})

/** A leaf that nobody signed: a roster reads and judges nothing. */
function leafOf(account: AccountName): LeafNode {
  const invitation = prng.integer(3) === 0 ? prng.pick(INVITATIONS) : null
  const body = invitation &&
    encode(admission, { format: STRUCTURE_VERSION, invitation, signature: bytes(64) })
  const identity = encodeIdentity({
    account,
    device: bytes(16) as DeviceId,
    manifestVersion: prng.integer(5),
    rootHash: bytes(32),
    certificateHash: bytes(32),
  })
  return {
    encryptionKey: bytes(32),
    signatureKey: bytes(32),
    credential: { kind: 'basic', identity },
    capabilities: {
      versions: [1],
      cipherSuites: [1],
      extensions: [],
      proposals: [],
      credentials: [1],
    },
    source: { kind: 'update' },
    extensions: body === null ? [] : [{ type: ROOM_EXTENSION_TYPE.admission, body }],
    signature: bytes(64),
  }
}

/** The same tree under another object, whose roster nobody knows. */
const unknown = (tree: RatchetTree): RatchetTree => ({ ...tree })

function plain(roster: Roster) {
  const accounts = NAMES.map((name) =>
    rosters.leavesOfAccount(roster, name).toSorted((a, b) => a.leaf - b.leaf)
  )
  return { accounts, uses: INVITATIONS.map((id) => rosters.usesOf(roster, id)) }
}

Deno.test('ID-5, GROUP-3: a roster follows a tree through its life', () => {
  let tree = trees.treeOfOne(suite, leafOf(NAMES[0]!))
  let roster = rosters.rosterOf(tree)
  for (let turn = 0; turn < 400; turn++) {
    const before = tree
    const touched = new Set<number>()
    for (let edit = prng.integer(4); edit >= 0; edit--) {
      const there = [...trees.members(tree)].map(({ leaf }) => leaf)
      const kind = prng.integer(5)
      const leaf = prng.pick(there)
      if (kind < 2) {
        const added = trees.addLeaf(tree, leafOf(prng.pick(NAMES)))
        tree = added.tree
        touched.add(added.leaf)
      } else if (kind === 2 && there.length > 1) {
        tree = trees.removeLeaf(tree, leaf)
        touched.add(leaf)
      } else {
        tree = trees.replaceLeaf(tree, leaf, leafOf(prng.pick(NAMES)))
        touched.add(leaf)
      }
    }
    const known = plain(roster)
    const after = rosters.rosterAfter({ before, after: tree, leaves: touched })
    deepStrictEqual(plain(after), plain(rosters.rosterOf(unknown(tree))))
    deepStrictEqual(plain(roster), known, 'the roster before is as it was')
    roster = after
  }
})

Deno.test('ID-5: leaves are found by account and device', () => {
  const tree = trees.treeOfOne(suite, leafOf(NAMES[0]!))
  const member = rosters.memberAt(tree, 0)
  ok(member !== null)
  const roster = rosters.rosterOf(tree)
  const { account, device, rootHash } = member.identity
  deepStrictEqual(rosters.leafOfDevice(roster, account, device), member)
  strictEqual(rosters.leafOfDevice(roster, account, bytes(16) as DeviceId), null)
  strictEqual(rosters.leafOfDevice(roster, NAMES[1]!, device), null)
  ok(rosters.hasAccount(roster, account, rootHash))
  ok(!rosters.hasAccount(roster, account, bytes(32)))
  strictEqual(rosters.memberAt(tree, 1), null)
})
