/**
 * The check of a new room (ROOM-1, ROOM-2): the entry opens this room by the judgement that every
 * member makes, and its sender is the creator, attested by this hub. Owns no other entry.
 */
import { equalBytes } from '#core/base/bytes.ts'
import { suiteById } from '#core/crypto/suites.ts'
import { isAttested } from '#core/identity/certificate.ts'
import { roomIdOf } from '#core/identity/genesis.ts'
import { type GenesisFault, judgeGenesis } from '#core/policy/genesis-rules.ts'
import type { Body } from '#core/wire/bodies.ts'
import { encode } from '#core/wire/codec.ts'
import { genesisEntryCodec } from '#core/wire/log-entry.ts'
import type { Refusal } from '#core/wire/refusals.ts'
import type { Hub, Room } from '#hub/gateway/model.ts'
import { type Author, isSameDevice } from '#hub/sequencer/group-view.ts'
import type { GenesisSubmission } from '#hub/sequencer/sequencer.ts'

type Check = GenesisSubmission | { readonly kind: 'refused'; readonly refusal: Refusal }

export async function checkGenesis(
  hub: Hub,
  room: Room,
  { author, body }: { readonly author: Author; readonly body: Body<'createRoom'> },
): Promise<Check> {
  const { crypto, identity } = hub.ports
  const refused = (refusal: Refusal): Check => ({ kind: 'refused', refusal })
  const { genesis, suite: suiteId, groupInfo, certificate } = body
  const suite = suiteById(suiteId)
  if (suite === null || suite.frameAead === null) {
    return refused({ kind: 'unknownSuite', suite: suiteId })
  }
  const expectedRoom = roomIdOf(crypto, genesis)
  if (!equalBytes(expectedRoom, room.id)) return refused({ kind: 'badGenesis', expectedRoom })
  if (!await isAttested(crypto, certificate, identity.publicKey)) {
    return refused({ kind: 'badCertificate' })
  }
  const entry = { genesis, groupInfo, certificate }
  const judged = await judgeGenesis(crypto, room.id, entry)
  if (judged.kind === 'refused') return refused(REFUSALS[judged.fault](body, expectedRoom))
  const { creator, creatorDevice, domain } = judged.genesis
  const isOwn = isSameDevice({ account: creator, device: creatorDevice }, author) &&
    judged.genesis.suite === suite.id && domain === identity.domain
  if (!isOwn) return refused({ kind: 'badGenesis', expectedRoom })
  return {
    kind: 'genesis',
    author,
    group: judged.group,
    certificate: { hash: judged.certificate.hash, certificate },
    bytes: encode(genesisEntryCodec, entry),
  }
}

const REFUSALS: Readonly<
  Record<GenesisFault, (body: Body<'createRoom'>, expectedRoom: Uint8Array) => Refusal>
> = {
  wrongRoom: (_, expectedRoom) => ({ kind: 'badGenesis', expectedRoom }),
  genesis: (_, expectedRoom) => ({ kind: 'badGenesis', expectedRoom }),
  certificate: () => ({ kind: 'badCertificate' }),
  unknownSuite: ({ suite }) => ({ kind: 'unknownSuite', suite }),
  group: () => ({ kind: 'badGroupInfo' }),
}
