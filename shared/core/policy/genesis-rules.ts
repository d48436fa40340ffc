/**
 * Whether a genesis entry opens a room (ROOM-1, POLICY-1): the signed genesis, its creator's
 * certificate and the group of epoch 0 agree. One judgement for the hub and for who replays a log.
 */
import { equalBytes } from '#core/base/bytes.ts'
import type { RoomId } from '#core/base/ids.ts'
import type { Crypto } from '#core/crypto/crypto.ts'
import { suiteById } from '#core/crypto/suites.ts'
import { type VerifiedCertificate, verifyCertificate } from '#core/identity/certificate.ts'
import { type Genesis, groupIdOf, roomIdOf, verifyGenesis } from '#core/identity/genesis.ts'
import { leafIsCertified } from '#core/identity/leaf-identity.ts'
import { cipherSuite } from '#core/mls/cipher-suite.ts'
import { openPublicGroup, type PublicGroup } from '#core/mls/public-group.ts'
import { leafAt } from '#core/mls/ratchet-tree.ts'
import { admissionBody } from '#core/policy/admission.ts'
import { readGroupInfo } from '#core/policy/group-info-rules.ts'
import { roomExtensions } from '#core/policy/room-policy.ts'
import { identityOf } from '#core/policy/roster.ts'
import type { GenesisEntry } from '#core/wire/log-entry.ts'

export type GenesisFault =
  | 'wrongRoom'
  | 'certificate'
  | 'genesis'
  | 'unknownSuite'
  /** The group is not the first epoch of this room, with its creator alone. */
  | 'group'

export type JudgedGenesis =
  | {
    readonly kind: 'judged'
    readonly group: PublicGroup
    readonly genesis: Genesis
    readonly certificate: VerifiedCertificate
  }
  | { readonly kind: 'refused'; readonly fault: GenesisFault }

const refused = (fault: GenesisFault): JudgedGenesis => ({ kind: 'refused', fault })

/** Judges entry 0. The hub also wants the creator attested; that is no part of validity. */
export async function judgeGenesis(
  crypto: Crypto,
  room: RoomId,
  entry: GenesisEntry,
): Promise<JudgedGenesis> {
  if (!equalBytes(roomIdOf(crypto, entry.genesis), room)) return refused('wrongRoom')
  const certificate = await verifyCertificate(crypto, entry.certificate, { hubKey: null })
  if (certificate.kind === 'refused') return refused('certificate')
  const genesis = await verifyGenesis(crypto, entry.genesis, certificate)
  if (genesis === null) return refused('genesis')
  const suite = suiteById(genesis.suite)
  if (suite === null) return refused('unknownSuite')
  const engine = cipherSuite(crypto, suite)
  const { kemPublicKeyLength } = engine
  const groupInfo = readGroupInfo(entry.groupInfo, { kemPublicKeyLength, withTree: true })
  if (groupInfo === null) return refused('group')
  const opened = await openPublicGroup(engine, { groupInfo, ratchetTree: null })
  if (opened.kind === 'refused') return refused('group')
  const { group } = opened
  const leafNode = isFirstEpoch(group, room) ? leafAt(group.tree, 0) : null
  const identity = leafNode === null ? null : identityOf(leafNode)
  if (leafNode === null || identity === null) return refused('group')
  const { signatureKey } = leafNode
  const claim = { identity, signatureKey, algorithm: suite.signature }
  const isCreator = equalBytes(identity.device, genesis.creatorDevice) &&
    admissionBody(leafNode.extensions) === null && leafIsCertified(claim, certificate)
  return isCreator ? { kind: 'judged', group, genesis, certificate } : refused('certificate')
}

function isFirstEpoch({ context, tree }: PublicGroup, room: RoomId): boolean {
  const expected = roomExtensions()
  return context.epoch === 0n && equalBytes(context.groupId, groupIdOf(room)) &&
    context.confirmedTranscriptHash.length === 0 &&
    tree.leafWidth === 1 && context.extensions.length === expected.length &&
    expected.every(({ type, body }, index) => {
      const said = context.extensions[index]
      return said !== undefined && said.type === type && equalBytes(said.body, body)
    })
}
