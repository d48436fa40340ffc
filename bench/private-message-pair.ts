/**
 * Alice and Bob in one MLS group, for what is measured of two members. Owns the making of the pair;
 * what is measured is the caller's.
 */
import { assert } from '#core/base/assert.ts'
import { EMPTY, utf8Encode } from '#core/base/bytes.ts'
import type { Entropy } from '#core/base/ports.ts'
import type { Crypto } from '#core/crypto/crypto.ts'
import type { Suite } from '#core/crypto/suites.ts'
import { type CipherSuite, cipherSuite } from '#core/mls/cipher-suite.ts'
import { makeCommit } from '#core/mls/commit-make.ts'
import { createGroup, type Group } from '#core/mls/group.ts'
import { joinByWelcome } from '#core/mls/join-welcome.ts'
import { type LeafMaking, makeKeyPackage } from '#core/mls/own-leaf.ts'

export interface MemberStates {
  readonly alice: Group
  readonly bob: Group
}

export interface PairParts {
  readonly crypto: Crypto
  readonly entropy: Entropy
  readonly suite: Suite
}

const FOREVER = { notBefore: 0n, notAfter: 0xffffffffffffffffn }

/** Alice's group, and Bob who joined it by Welcome. */
export async function createMemberStates(parts: PairParts): Promise<MemberStates> {
  const { crypto, entropy } = parts
  const suite = cipherSuite(crypto, parts.suite)
  const [alices, bobs] = [makingOf(suite, entropy, 'alice'), makingOf(suite, entropy, 'bob')]
  const groupId = entropy.randomBytes(36)
  const group = await createGroup(suite, { ...alices, groupId, extensions: [] })
  const { keyPackage, secrets } = await makeKeyPackage(suite, bobs)
  const psks = () => null
  const made = await makeCommit(group, {
    proposals: [{ kind: 'add', keyPackage }],
    path: 'always',
    authenticatedData: EMPTY,
    wireFormat: 'publicMessage',
    welcome: { ratchetTree: true, externalPub: false },
    psks,
    timeMs: null,
    entropy,
  })
  assert(made.kind === 'committed' && made.welcome !== null, 'Alice adds Bob')
  const { welcome } = made
  const { signatureSecret } = bobs
  const joined = await joinByWelcome(suite, {
    welcome,
    keyPackage,
    secrets,
    signatureSecret,
    ratchetTree: null,
    psks,
  })
  assert(joined.kind === 'joined', 'Bob joins')
  return { alice: made.next, bob: joined.group }
}

function makingOf(suite: CipherSuite, entropy: Entropy, name: string): LeafMaking {
  const pair = suite.signatureKeyPair(entropy.randomBytes(suite.signatureSeedLength))
  return {
    signatureSecret: pair.secretKey,
    lifetime: FOREVER,
    entropy,
    template: {
      credential: { kind: 'basic', identity: utf8Encode(name) },
      signatureKey: pair.publicKey,
      capabilities: {
        versions: [1],
        cipherSuites: [suite.id],
        extensions: [],
        proposals: [],
        credentials: [1],
      },
      extensions: [],
    },
  }
}
