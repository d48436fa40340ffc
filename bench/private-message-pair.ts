/**
 * Two members of one group in the library's own states, which its PrivateMessage needs: the port
 * keeps no secret tree of MLS. Owns the making of the pair; what is measured is the caller's.
 */
import { type CiphersuiteImpl, type ClientState, createCommit, createGroup } from 'ts-mls'
import { emptyPskIndex, generateKeyPackageWithKey, joinGroup } from 'ts-mls'
import { assert } from '#core/base/assert.ts'
import { utf8Encode } from '#core/base/bytes.ts'
import type { Entropy } from '#core/base/ports.ts'
import { type Crypto, SIGNATURE_SEED_LENGTH } from '#core/crypto/crypto.ts'
import type { Suite } from '#core/crypto/suites.ts'

export interface MemberStates {
  readonly alice: ClientState
  readonly bob: ClientState
}

export interface PairParts {
  readonly crypto: Crypto
  readonly entropy: Entropy
  readonly suite: Suite
  readonly implementation: CiphersuiteImpl
}

/** Alice's group, and Bob who joined it by Welcome. */
export async function createMemberStates(parts: PairParts): Promise<MemberStates> {
  const { implementation, entropy } = parts
  const alices = await packageOf(parts, 'alice')
  const bobs = await packageOf(parts, 'bob')
  const groupId = entropy.randomBytes(36)
  const { publicPackage, privatePackage } = alices
  const group = await createGroup(groupId, publicPackage, privatePackage, [], implementation)
  const { newState, welcome } = await createCommit({ state: group, cipherSuite: implementation }, {
    wireAsPublicMessage: true,
    extraProposals: [{ proposalType: 'add', add: { keyPackage: bobs.publicPackage } }],
    ratchetTreeExtension: true,
  })
  assert(welcome !== undefined, 'a commit with an add has a Welcome')
  const bob = await joinGroup(
    welcome,
    bobs.publicPackage,
    bobs.privatePackage,
    emptyPskIndex,
    implementation,
  )
  return { alice: newState, bob }
}

function packageOf({ crypto, entropy, suite, implementation }: PairParts, name: string) {
  const seed = entropy.randomBytes(SIGNATURE_SEED_LENGTH[suite.signature])
  const { secretKey, publicKey } = crypto.signatureKeyPair(suite.signature, seed)
  return generateKeyPackageWithKey(
    { credentialType: 'basic', identity: utf8Encode(name) },
    {
      versions: ['mls10'],
      ciphersuites: [implementation.name],
      extensions: [],
      proposals: [],
      credentials: ['basic'],
    },
    { notBefore: 0n, notAfter: 0xffffffffffffffffn },
    [],
    { signKey: secretKey, publicKey },
    implementation,
  )
}
