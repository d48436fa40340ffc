/**
 * The product's `PublicGroup` beside a group of peers: takes every proposal and commit that goes
 * between them, as a hub would, and must hold what the members hold. Owns no judgement of its own.
 */
import { deepStrictEqual, ok } from 'node:assert/strict'
import type { TimeMs } from '#core/base/ids.ts'
import { createNobleCrypto } from '#core/crypto/noble.ts'
import { SUITES } from '#core/crypto/suites.ts'
import { cipherSuite } from '#core/mls/cipher-suite.ts'
import { EXTENSION_TYPE, findExtension } from '#core/mls/extension.ts'
import { decodeMlsMessage } from '#core/mls/framing.ts'
import { openPublicGroup, type PublicGroup } from '#core/mls/public-group.ts'
import { publicProcess } from '#core/mls/public-process.ts'
import type { RatchetTree } from '#core/mls/ratchet-tree.ts'
import { encodeRatchetTree } from '#core/mls/tree-codec.ts'

/** The suite of all tests of interoperation, on the product's cryptography. */
export const SUITE = cipherSuite(createNobleCrypto(), SUITES.interoperation)

export const nowMs = () => Date.now() as TimeMs

export interface Onlooker {
  /** A proposal or commit, as it goes to all members. */
  see(message: Uint8Array): Promise<void>
  /** A GroupInfo of the epoch, with the tree; the first one opens the group. */
  compare(groupInfo: Uint8Array): Promise<void>
  /** Null until the group was opened. */
  tree(): RatchetTree | null
}

export function createOnlooker(): Onlooker {
  let group: PublicGroup | null = null
  return {
    async see(message) {
      if (group === null) return
      const seen = await publicProcess(group, message, { timeMs: nowMs() })
      ok(seen.kind !== 'refused', `seen by the onlooker: ${'code' in seen ? seen.code : ''}`)
      group = seen.group
    },
    async compare(bytes) {
      const published = decodeMlsMessage('groupInfo', bytes)
      ok(published, 'a GroupInfo')
      const { groupInfo } = published
      const opened = await openPublicGroup(SUITE, { groupInfo, ratchetTree: null })
      ok(opened.kind === 'opened', `opened: ${'code' in opened ? opened.code : ''}`)
      group ??= opened.group
      deepStrictEqual(group.context, groupInfo.groupContext)
      deepStrictEqual(group.confirmationTag, groupInfo.confirmationTag)
      deepStrictEqual(group.census, opened.group.census)
      const tree = findExtension(groupInfo.extensions, EXTENSION_TYPE.ratchetTree)
      deepStrictEqual(encodeRatchetTree(group.tree), tree)
    },
    tree: () => group?.tree ?? null,
  }
}
