/** A hub that attests a second root for a name: whom a device then believes. */
import { deepStrictEqual, ok, strictEqual } from 'node:assert/strict'
import { type HubDomain, leafIndex, type TimeMs } from '#core/base/ids.ts'
import { createNobleCrypto } from '#core/crypto/noble.ts'
import { SUITES } from '#core/crypto/suites.ts'
import { type MemberSources, verifiedMembers } from '#core/device/members.ts'
import type { Turn } from '#core/device/turn.ts'
import { attachAttestation, certificateHash } from '#core/identity/certificate.ts'
import { makeAttestation, verifyCertificate } from '#core/identity/certificate.ts'
import { encodeIdentity } from '#core/identity/leaf-identity.ts'
import { createTsMls } from '#core/mls/ts-mls.ts'
import { createPrng } from '../core/prng.ts'
import { makeIdentity } from '../support/hand-device.ts'

const crypto = createNobleCrypto()
const prng = createPrng(7)
const entropy = { randomBytes: (length: number) => prng.bytes(length) }
const domain = 'hub.example' as HubDomain
const hub = crypto.signatureKeyPair('ed25519', entropy.randomBytes(32))
const now = 1_800_000_000_000 as TimeMs
const parts = { crypto, mls: createTsMls(crypto), clock: { nowMs: () => now }, entropy, domain }

/** A device of a new root under `name`, attested by the hub whoever had the name before. */
async function attested(name: string) {
  const { certificate, account, device, key, rootHash } = await makeIdentity(parts, name)
  const verified = await verifyCertificate(crypto, certificate, { hubKey: null })
  ok(verified.kind === 'verified')
  const attester = { hubDomain: domain, key: hub, time: now }
  const bytes = attachAttestation(certificate, await makeAttestation(crypto, verified, attester))
  ok(bytes !== null)
  const hash = certificateHash(crypto, bytes)
  const identity = encodeIdentity({ account, device, manifestVersion: 1, certificateHash: hash })
  return { certificate: bytes, rootHash, account, leaf: { identity, signatureKey: key.publicKey } }
}
type Attested = Awaited<ReturnType<typeof attested>>

/** Members of a tree with these leaves, to a device whose own account may be `own`. */
function seen(leaves: readonly Attested[], known: MemberSources['known'], own?: Attested) {
  const turn = {
    ports: {
      crypto,
      mls: {
        suite: () => SUITES.performance,
        leaves: () => leaves.map(({ leaf }, index) => ({ leaf: leafIndex(index), ...leaf })),
      },
    },
    state: { hub: { domain, key: hub.publicKey } },
    registered: own === undefined ? null : { name: own.account, rootHash: own.rootHash },
  } as unknown as Turn
  const certificates = leaves.map(({ certificate }) => certificate)
  return verifiedMembers(turn, {} as never, { known, certificates })
}

Deno.test('ID-7, ID-4: a second root of a name is not believed beside the first', async () => {
  const alice = await attested('alice')
  const bob = await attested('bob')
  const other = await attested('alice')
  strictEqual(alice.account, other.account)
  const believed = async (...args: Parameters<typeof seen>) =>
    (await seen(...args)).map(({ verified }) => verified)
  const known = await seen([alice, bob], [])
  deepStrictEqual(known.map(({ verified }) => verified), [true, true])
  deepStrictEqual(await believed([alice, bob, other], known), [true, true, false])
  deepStrictEqual(await believed([other, bob, alice], []), [false, true, false])
  deepStrictEqual(await believed([other, bob, alice], [], alice), [false, true, true])
  deepStrictEqual(await believed([other, bob], [], alice), [false, true])
})
