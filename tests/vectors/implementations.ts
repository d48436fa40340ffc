/**
 * Every implementation of the `Crypto` port that runs under Deno, for tests that must hold on each.
 */
import type { Crypto } from '#core/crypto/crypto.ts'
import { createNobleCrypto } from '#core/crypto/noble.ts'
import { createWebCrypto } from '#native/webcrypto.ts'

export const noble: Crypto = createNobleCrypto()
export const implementations: readonly (readonly [string, Crypto])[] = [
  ['noble', noble],
  ['WebCrypto', await createWebCrypto(crypto.subtle, noble)],
]
