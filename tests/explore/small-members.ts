/**
 * Who is in the small room of the log world, and who may come: Mallory, Ann and Ben sit in its
 * first leaves; Dan has a link of Ann's, and Ann has a second device. Owns names, keys and
 * certificates.
 */
import { utf8Encode } from '#core/base/bytes.ts'
import type { AccountName, DeviceId, RoomId, TimeMs } from '#core/base/ids.ts'
import type { Entropy } from '#core/base/ports.ts'
import type { KeyPair } from '#core/crypto/crypto.ts'
import { SUITES } from '#core/crypto/suites.ts'
import { accountSecrets, certificateHash, makeCertificate } from '#core/identity/certificate.ts'
import { rootHash } from '#core/identity/certificate.ts'
import { invitationId, invitationKeyPair } from '#core/identity/invitation.ts'
import { encodeIdentity } from '#core/identity/leaf-identity.ts'
import { cipherSuite } from '#core/mls/cipher-suite.ts'
import type { LeafTemplate } from '#core/mls/own-leaf.ts'
import type { PolicyInvitation } from '#core/policy/room-policy.ts'
import { ROOM_EXTENSION_TYPES } from '#core/policy/room-policy.ts'
import type { Author } from '#hub/sequencer/group-view.ts'
import { createFastCrypto } from '../support/fast-crypto.ts'
import { mix } from '../support/mixer.ts'

export const crypto = createFastCrypto()
export const ROOM = new Uint8Array(32).fill(7) as RoomId
export const START_MS = 1_800_000_000_000 as TimeMs
const QUICK = SUITES.interoperation
export const SUITE = QUICK.id
export const engine = cipherSuite(crypto, QUICK)

/** Devices by their seats. */
export const NAMES = ['mallory', 'ann', 'ben', 'dan', "ann's second"] as const
export const SEATS = [0, 1, 2, 3, 4] as const
export type Seat = typeof SEATS[number]
export const MALLORY: Seat = 0
export const ANN: Seat = 1
/** They come in by commits of their own, and never both. */
export const DAN: Seat = 3
export const SECOND: Seat = 4
const ACCOUNTS = ['mallory', 'ann', 'ben', 'dan', 'ann'] as const

/** Of those who come, whoever comes first sits behind the others. */
export function leafOfSeat(seat: Seat): number {
  return seat === SECOND ? DAN : seat
}

export interface Member extends Author {
  readonly key: KeyPair
  readonly template: LeafTemplate
  readonly certificate: Uint8Array
  readonly certificateHash: Uint8Array
  readonly rootHash: Uint8Array
}

/** Bytes that follow from a name alone. */
export function entropyOf(name: string): Entropy {
  const seed = utf8Encode(name)
  let count = 0
  return {
    randomBytes: (length) => mix(77, [seed, Uint8Array.of(++count & 255, count >> 8)], length),
  }
}

const deviceOf = (seat: number): DeviceId => new Uint8Array(16).fill(seat + 1) as DeviceId
const keyOf = (seat: number): KeyPair =>
  crypto.signatureKeyPair('ed25519', mix(76, [utf8Encode(`key ${seat}`)]))

async function memberOf(seat: Seat): Promise<Member> {
  const name = ACCOUNTS[seat]
  const account = `${name}@hub.example` as AccountName
  const secrets = accountSecrets(crypto, entropyOf(`account ${name}`).randomBytes(96))
  const seats = SEATS.filter((each) => ACCOUNTS[each] === name)
  const certificate = await makeCertificate(crypto, {
    account,
    secrets,
    devices: seats.map((each) => ({
      device: deviceOf(each),
      name: `device ${each}`,
      keys: [{ signature: 'ed25519', publicKey: keyOf(each).publicKey }],
    })),
  })
  const { rootEd25519, rootMldsa65 } = secrets
  const root = { ed25519: rootEd25519.publicKey, mldsa65: rootMldsa65.publicKey }
  const claim = {
    account,
    device: deviceOf(seat),
    rootHash: rootHash(crypto, root),
    certificateHash: certificateHash(crypto, certificate),
  }
  const key = keyOf(seat)
  const template: LeafTemplate = {
    credential: { kind: 'basic', identity: encodeIdentity({ ...claim, manifestVersion: 1 }) },
    signatureKey: key.publicKey,
    capabilities: {
      versions: [1],
      cipherSuites: [SUITE],
      extensions: [...ROOM_EXTENSION_TYPES],
      proposals: [],
      credentials: [1],
    },
    extensions: [],
  }
  return { ...claim, key, template, certificate }
}

const MEMBERS: readonly Member[] = await Promise.all(SEATS.map(memberOf))

export function memberAt(seat: Seat): Member {
  return MEMBERS[seat] as Member
}

export function authorOf(seat: Seat): Author {
  const { account, device } = memberAt(seat)
  return { account, device }
}

/** The key of Ann's link, and how the room's policy lists it. */
export const LINK: KeyPair = invitationKeyPair(crypto, mix(75, [utf8Encode('link')], 16), ROOM)
export const INVITATION: PolicyInvitation = {
  id: invitationId(crypto, LINK.publicKey),
  publicKey: LINK.publicKey,
  inviter: memberAt(ANN).account,
  inviterRootHash: memberAt(ANN).rootHash,
  createdAt: START_MS,
  expiresAt: START_MS + 8 * 24 * 3_600_000 as TimeMs,
  usesMax: 1,
}
