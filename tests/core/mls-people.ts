/**
 * People with devices for tests of groups: Alice, Bob and whoever else is named, all on one seed.
 * Owns the telling of stories (who makes what, who follows); asserts only what every story needs.
 */
import { deepStrictEqual, ok, strictEqual } from 'node:assert/strict'
import { toHex, utf8Encode } from '#core/base/bytes.ts'
import { type LeafIndex, type TimeMs, timeMs } from '#core/base/ids.ts'
import type { Entropy } from '#core/base/ports.ts'
import { SIGNATURE_SEED_LENGTH } from '#core/crypto/crypto.ts'
import { createNobleCrypto } from '#core/crypto/noble.ts'
import type { Suite } from '#core/crypto/suites.ts'
import type { CommitMade, CommitProcessed, KeyPackageMade } from '#core/mls/mls.ts'
import type { Mls, MlsGroup, MlsSigner } from '#core/mls/mls.ts'
import { createTsMls } from '#core/mls/ts-mls.ts'
import { createPrng, type Prng } from './prng.ts'

export const NOW = timeMs(1_800_000_000_000)
const HOUR_MS = 3_600_000

export const crypto = createNobleCrypto()
export const mls: Mls = createTsMls(crypto)

export interface Story {
  readonly suite: Suite
  readonly prng: Prng
  readonly entropy: Entropy
}

export function createStory(suite: Suite, seed: number): Story {
  const prng = createPrng(seed)
  return { suite, prng, entropy: { randomBytes: (length) => prng.bytes(length) } }
}

export function signerOf(story: Story, name: string): MlsSigner {
  const { signature } = story.suite
  const seed = story.prng.bytes(SIGNATURE_SEED_LENGTH[signature])
  const { secretKey, publicKey } = crypto.signatureKeyPair(signature, seed)
  return { identity: utf8Encode(name), signatureKey: publicKey, signatureSecret: secretKey }
}

/** A KeyPackage that is valid from an hour before `NOW` to an hour after it. */
export function keyPackageOf(
  story: Story,
  name: string,
  notAfter: TimeMs = timeMs(NOW + HOUR_MS),
): Promise<KeyPackageMade> {
  return mls.makeKeyPackage({
    suite: story.suite,
    signer: signerOf(story, name),
    notBefore: timeMs(NOW - HOUR_MS),
    notAfter,
    entropy: story.entropy,
  })
}

export function createGroup(story: Story, name: string): Promise<MlsGroup> {
  return mls.createGroup({
    suite: story.suite,
    groupId: story.prng.bytes(36),
    signer: signerOf(story, name),
    nowMs: NOW,
    entropy: story.entropy,
  })
}

/** The code of a refusal, else the kind of an outcome. */
export function codeOf(outcome: { readonly kind: string; readonly code?: string }): string {
  return outcome.code ?? outcome.kind
}

export interface Change {
  readonly adds?: readonly KeyPackageMade[]
  readonly removes?: readonly LeafIndex[]
  readonly authenticated?: Uint8Array
}

export function tryCommit(story: Story, group: MlsGroup, change: Change) {
  return mls.commit(group, {
    adds: (change.adds ?? []).map((made) => made.keyPackage),
    removes: change.removes ?? [],
    authenticated: change.authenticated ?? new Uint8Array(0),
    nowMs: NOW,
    entropy: story.entropy,
  })
}

export async function commit(story: Story, group: MlsGroup, change: Change): Promise<CommitMade> {
  const made = await tryCommit(story, group, change)
  strictEqual(made.kind, 'committed', codeOf(made))
  return made as CommitMade
}

export async function follow(group: MlsGroup, bytes: Uint8Array): Promise<CommitProcessed> {
  const processed = await mls.processCommit(group, bytes, NOW)
  strictEqual(processed.kind, 'processed', codeOf(processed))
  return processed as CommitProcessed
}

export async function join(made: KeyPackageMade, welcome: Uint8Array | null): Promise<MlsGroup> {
  ok(welcome !== null, 'a commit with adds has a Welcome')
  const { keyPackage, secrets } = made
  const joined = await mls.join({ welcome, keyPackage, secrets, nowMs: NOW })
  ok(joined.kind === 'joined', codeOf(joined))
  return joined.group
}

export async function exported(group: MlsGroup): Promise<string> {
  const context = utf8Encode('a context')
  return toHex(await mls.exportSecret(group, { label: 'a label', context, length: 32 }))
}

export function names(group: MlsGroup): readonly string[] {
  return mls.leaves(group).map(({ leaf, identity }) =>
    `${leaf} ${new TextDecoder().decode(identity)}`
  )
}

/** Everybody is in the same epoch with the same secrets and the same members. */
export async function assertAgreement(groups: readonly MlsGroup[]): Promise<void> {
  const [first, ...others] = groups
  ok(first !== undefined)
  for (const other of others) {
    strictEqual(mls.epoch(other), mls.epoch(first))
    strictEqual(toHex(mls.epochId(other)), toHex(mls.epochId(first)))
    strictEqual(toHex(mls.epochAuthenticator(other)), toHex(mls.epochAuthenticator(first)))
    strictEqual(mls.leafCount(other), mls.leafCount(first))
    deepStrictEqual(names(other), names(first))
    strictEqual(await exported(other), await exported(first))
  }
}

/** Alice, Bob and Carol in one group, leaves 0, 1 and 2. */
export async function threeMembers(story: Story) {
  const bobs = await keyPackageOf(story, 'bob')
  const carols = await keyPackageOf(story, 'carol')
  const made = await commit(story, await createGroup(story, 'alice'), { adds: [bobs, carols] })
  const bob = await join(bobs, made.welcome)
  const carol = await join(carols, made.welcome)
  return { alice: made.next, bob, carol }
}
