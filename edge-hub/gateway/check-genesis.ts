/**
 * The check of a new room (ROOM-1, ROOM-2): the genesis is signed by the device that sends it, its
 * hash is the room, and the certificate bears out the first leaf. Owns no other entry.
 */
import { equalBytes } from '#core/base/bytes.ts'
import { suiteById } from '#core/crypto/suites.ts'
import { deviceKeyOf, verifyCertificate } from '#core/identity/certificate.ts'
import { roomIdOf, verifyGenesis } from '#core/identity/genesis.ts'
import { encodeIdentity } from '#core/identity/leaf-identity.ts'
import type { Body } from '#core/wire/bodies.ts'
import { encode } from '#core/wire/codec.ts'
import { genesisEntryCodec } from '#core/wire/log-entry.ts'
import type { Refusal } from '#core/wire/refusals.ts'
import type { Hub, Room } from '#hub/gateway/model.ts'
import type { Author, GenesisSubmission } from '#hub/sequencer/sequencer.ts'

type Check = GenesisSubmission | { readonly kind: 'refused'; readonly refusal: Refusal }

export async function checkGenesis(
  hub: Hub,
  room: Room,
  { author, body }: { readonly author: Author; readonly body: Body<'createRoom'> },
): Promise<Check> {
  const { crypto, identity } = hub.ports
  const refused = (refusal: Refusal): Check => ({ kind: 'refused', refusal })
  const { genesis, suite: suiteId, epochId, certificate } = body
  const suite = suiteById(suiteId)
  if (suite === null || suite.frameAead === null) {
    return refused({ kind: 'unknownSuite', suite: suiteId })
  }
  if (epochId.length !== suite.hashLength) return refused({ kind: 'malformed' })
  const expectedRoom = roomIdOf(crypto, genesis)
  if (!equalBytes(expectedRoom, room.id)) return refused({ kind: 'badGenesis', expectedRoom })
  const verified = await verifyCertificate(crypto, certificate, { hubKey: identity.publicKey })
  if (verified.kind === 'refused') return refused({ kind: 'badCertificate' })
  const read = await verifyGenesis(crypto, genesis, verified)
  const signatureKey = deviceKeyOf(verified, author.device, suite.signature)
  const isOwn = read !== null && read.creator === author.account && read.suite === suite.id &&
    equalBytes(read.creatorDevice, author.device) && read.domain === identity.domain
  if (!isOwn) return refused({ kind: 'badGenesis', expectedRoom })
  if (signatureKey === null) return refused({ kind: 'badCertificate' })
  const { account, manifestVersion, rootHash, hash } = verified
  const { device } = author
  return {
    kind: 'genesis',
    author,
    suite: suite.id,
    epochId,
    creator: {
      account,
      device,
      manifestVersion,
      rootHash,
      identity: encodeIdentity({ account, device, manifestVersion, certificateHash: hash }),
      signatureKey,
    },
    bytes: encode(genesisEntryCodec, { genesis, epochId, certificate }),
  }
}
