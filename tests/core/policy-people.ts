/**
 * Accounts, devices and a room's log for tests of `policy/`: real commits of the engine, judged by
 * an onlooker as a hub, a member and a joiner judge them. Owns the telling of stories and asserts
 * only what every story needs.
 */
import { ok } from 'node:assert/strict'
import { logPosition, type TimeMs, timeMs } from '#core/base/ids.ts'
import type { AccountName, DeviceId, HubDomain, LogPosition, RoomId } from '#core/base/ids.ts'
import { SIGNATURE_SEED_LENGTH } from '#core/crypto/crypto.ts'
import { createNobleCrypto } from '#core/crypto/noble.ts'
import { type Suite, SUITES } from '#core/crypto/suites.ts'
import * as certificates from '#core/identity/certificate.ts'
import { groupIdOf, makeGenesis } from '#core/identity/genesis.ts'
import { encodeIdentity } from '#core/identity/leaf-identity.ts'
import { cipherSuite } from '#core/mls/cipher-suite.ts'
import { type CommitMade, type CommitMaking, makeCommit } from '#core/mls/commit-make.ts'
import { epochIdOf, type GroupContext } from '#core/mls/group-context.ts'
import { signGroupInfo } from '#core/mls/group-info.ts'
import { type Extension, EXTENSION_TYPE, externalPub, makeExtension } from '#core/mls/extension.ts'
import { encodeMlsMessage } from '#core/mls/framing.ts'
import { createGroup, externalPublicKey, type Group, makeGroupInfo } from '#core/mls/group.ts'
import { type ExternalJoining, joinByExternalCommit } from '#core/mls/join-external.ts'
import type { KeyPackage } from '#core/mls/key-package.ts'
import { type LeafTemplate, makeKeyPackage } from '#core/mls/own-leaf.ts'
import type { PublicGroup } from '#core/mls/public-group.ts'
import { publicProcess } from '#core/mls/public-process.ts'
import type { CommitChange } from '#core/mls/staged-commit.ts'
import { appendCommit, applyVerdict, type Finality } from '#core/policy/finality.ts'
import { nextVerdict, openFinality } from '#core/policy/finality.ts'
import { judgeCommit, type JudgedCommit, type RefusedCommit } from '#core/policy/commit-rules.ts'
import { judgeGenesis } from '#core/policy/genesis-rules.ts'
import { ROOM_EXTENSION_TYPES, roomExtensions } from '#core/policy/room-policy.ts'
import { encode } from '#core/wire/codec.ts'
import { type CommitEntry, type GenesisEntry, seenCodec } from '#core/wire/log-entry.ts'
import type { CommitFault } from '#core/wire/refusals.ts'
import { createPrng } from './prng.ts'

export const crypto = createNobleCrypto()
export const NOW = timeMs(1_800_000_000_000)
export const DOMAIN = 'hub.example' as HubDomain
export const prng = createPrng(41)
export const entropy = { randomBytes: (length: number) => prng.bytes(length) }
export const bytes = (length: number) => prng.bytes(length)
export const HASH = new Uint8Array(32)
/** X25519 and Ed25519: policy does not depend on the suite, and this one is quick. */
export const QUICK: Suite = SUITES.interoperation

/** Faults that `policy-join.test.ts` shows; all others are shown by `policy-commit.test.ts`. */
export const JOIN_FAULTS: readonly CommitFault[] = [
  'admission',
  'externalKind',
  'unknownInvitation',
  'invitationExpired',
  'invitationSpent',
  'alreadyMember',
  'policy',
  'extensions',
]

export type { LeafTemplate } from '#core/mls/own-leaf.ts'

export interface Device {
  readonly account: AccountName
  readonly device: DeviceId
  readonly secrets: certificates.AccountSecrets
  readonly certificate: Uint8Array
  readonly verified: certificates.VerifiedCertificate
  readonly ed25519: { readonly publicKey: Uint8Array; readonly secretKey: Uint8Array }
  readonly suiteKey: { readonly publicKey: Uint8Array; readonly secretKey: Uint8Array }
}

export interface Wanted {
  readonly suite?: Suite
  /** Another device of the same account, in the next manifest. */
  readonly like?: Device
  /** Devices that stay in the manifest beside it. */
  readonly beside?: readonly Device[]
}

type Keys = { signature: 'ed25519' | 'p384'; publicKey: Uint8Array }

function keysOf({ ed25519, suiteKey }: Pick<Device, 'ed25519' | 'suiteKey'>): Keys[] {
  const keys: Keys[] = [{ signature: 'ed25519', publicKey: ed25519.publicKey }]
  if (suiteKey.publicKey.length === 97) {
    keys.push({ signature: 'p384', publicKey: suiteKey.publicKey })
  }
  return keys
}

/** A device and the certificate that names it; with `like`, the next manifest of its account. */
export async function deviceOf(name: string, wanted: Wanted = {}): Promise<Device> {
  const { like, beside = [] } = wanted
  const { signature } = wanted.suite ?? QUICK
  const account = like?.account ?? `${name}@${DOMAIN}` as AccountName
  const secrets = like?.secrets ?? certificates.accountSecrets(crypto, bytes(96))
  const device = bytes(16) as DeviceId
  const ed25519 = crypto.signatureKeyPair('ed25519', bytes(32))
  const suiteKey = signature === 'ed25519'
    ? ed25519
    : crypto.signatureKeyPair(signature, bytes(SIGNATURE_SEED_LENGTH[signature]))
  const listed = [...beside, { device, ed25519, suiteKey }].map((each) => ({
    device: each.device,
    name: 'x',
    keys: keysOf(each),
  }))
  const certificate = await certificates.makeCertificate(crypto, {
    account,
    secrets,
    devices: listed,
    ...like && { after: { version: like.verified.manifestVersion, hash: bytes(32) } },
  })
  const verified = await certificates.verifyCertificate(crypto, certificate, { hubKey: null })
  ok(verified.kind === 'verified')
  return { account, device, secrets, certificate, verified, ed25519, suiteKey }
}

/** The same device under a later certificate that lists it. */
export function withCertificateOf(device: Device, later: Device): Device {
  return { ...device, certificate: later.certificate, verified: later.verified }
}

export type IdentityLie = Partial<Parameters<typeof encodeIdentity>[0]>

export function templateOf(device: Device, suite = QUICK, lie: IdentityLie = {}): LeafTemplate {
  const { account, verified } = device
  const identity = encodeIdentity({
    account,
    device: device.device,
    manifestVersion: verified.manifestVersion,
    rootHash: verified.rootHash,
    certificateHash: verified.hash,
    ...lie,
  })
  return {
    credential: { kind: 'basic', identity },
    signatureKey: device.suiteKey.publicKey,
    capabilities: {
      versions: [1],
      cipherSuites: [suite.id],
      extensions: [...ROOM_EXTENSION_TYPES],
      proposals: [],
      credentials: [1],
    },
    extensions: [],
  }
}

/** A leaf with an extension of its own that is so large. */
export function largeTemplateOf(device: Device, length: number): LeafTemplate {
  const type = 0xf0ff
  const template = templateOf(device)
  const extensions = [...template.capabilities.extensions, type]
  const capabilities = { ...template.capabilities, extensions }
  return { ...template, capabilities, extensions: [{ type, body: new Uint8Array(length) }] }
}

const SECONDS = BigInt(NOW) / 1_000n
const lifetime = { notBefore: SECONDS - 3_600n, notAfter: SECONDS + 3_600n }

export async function keyPackageOf(
  device: Device,
  template = templateOf(device),
): Promise<KeyPackage> {
  const signatureSecret = device.suiteKey.secretKey
  const suite = cipherSuite(crypto, QUICK)
  const made = await makeKeyPackage(suite, { template, signatureSecret, lifetime, entropy })
  return made.keyPackage
}

/** A room as an onlooker holds it, and the states of some of its members. */
export interface Room {
  readonly room: RoomId
  readonly suite: Suite
  readonly group: PublicGroup
  readonly finality: Finality
  /** Position of the next entry. */
  readonly next: LogPosition
}

export interface Founded {
  readonly room: Room
  readonly founder: Group
  readonly entry: GenesisEntry
}

export interface Founding {
  readonly extensions?: readonly Extension[]
  /** Of the leaf in epoch 0, and who signs for it. */
  readonly template?: LeafTemplate
  readonly signer?: Device
}

export async function genesisOf(
  device: Device,
  suite: Suite,
  founding: Founding = {},
): Promise<{ readonly room: RoomId; readonly founder: Group; readonly entry: GenesisEntry }> {
  const { genesis, room } = await makeGenesis(crypto, {
    creator: device.account,
    creatorRootHash: device.verified.rootHash,
    creatorDevice: device.device,
    domain: DOMAIN,
    suite: suite.id,
    random: bytes(32),
  }, device.ed25519.secretKey)
  const founder = await createGroup(cipherSuite(crypto, suite), {
    groupId: groupIdOf(room),
    extensions: founding.extensions ?? roomExtensions(),
    template: founding.template ?? templateOf(device, suite),
    signatureSecret: (founding.signer ?? device).suiteKey.secretKey,
    lifetime,
    entropy,
  })
  const groupInfo = await groupInfoOf(founder, true)
  return { room, founder, entry: { genesis, groupInfo, certificate: device.certificate } }
}

/** A GroupInfo that its member signed for a context that need not be the group's. */
export async function groupInfoAs(
  group: Group,
  groupContext: GroupContext,
  ratchetTree = false,
  key?: Uint8Array,
): Promise<Uint8Array> {
  const made = await makeGroupInfo(group, { ratchetTree, externalPub: true })
  const extensions = key === undefined
    ? made.extensions
    : [makeExtension(EXTENSION_TYPE.externalPub, externalPub, key)]
  const content = { ...made, groupContext, extensions }
  const groupInfo = await signGroupInfo(group.public.suite, content, group.signatureSecret)
  return encodeMlsMessage({ kind: 'groupInfo', groupInfo })
}

export async function groupInfoOf(group: Group, ratchetTree = false): Promise<Uint8Array> {
  const groupInfo = await makeGroupInfo(group, { ratchetTree, externalPub: true })
  return encodeMlsMessage({ kind: 'groupInfo', groupInfo })
}

export async function found(device: Device, suite = QUICK): Promise<Founded> {
  const { room, founder, entry } = await genesisOf(device, suite)
  const judged = await judgeGenesis(crypto, room, entry)
  ok(judged.kind === 'judged', `the genesis is good: ${'fault' in judged ? judged.fault : ''}`)
  const { group } = judged
  const epochId = epochIdOf(group.suite, group.context)
  const finality = openFinality({ position: logPosition(0n), epochId })
  return { room: { room, suite, group, finality, next: logPosition(1n) }, founder, entry }
}

export const seenOf = (room: Room) => ({ position: room.next - 1n, hash: HASH })

export type Making = Partial<CommitMaking>

/** A commit of a member in the newest epoch. */
export async function commitOf(room: Room, group: Group, making: Making): Promise<CommitMade> {
  const made = await makeCommit(group, {
    proposals: [],
    path: 'always',
    authenticatedData: encode(seenCodec, seenOf(room)),
    wireFormat: 'publicMessage',
    welcome: { ratchetTree: true, externalPub: false },
    psks: () => null,
    timeMs: NOW,
    entropy,
    ...making,
  })
  ok(made.kind === 'committed', `the engine commits: ${made.kind === 'refused' && made.code}`)
  return made
}

export interface Entering extends Partial<ExternalJoining> {
  readonly device: Device
  /** Somebody who is there, for the external key. */
  readonly host: Group
}

/** An external commit into the newest epoch. */
export async function enterOf(room: Room, entering: Entering): Promise<CommitMade> {
  const { device, host, ...joining } = entering
  const made = await joinByExternalCommit(room.group, {
    externalPub: await externalPublicKey(host),
    template: templateOf(device, room.suite),
    signatureSecret: device.suiteKey.secretKey,
    removed: null,
    psks: () => null,
    authenticatedData: encode(seenCodec, seenOf(room)),
    timeMs: NOW,
    entropy,
    ...joining,
  })
  ok(made.kind === 'committed', `the engine joins: ${made.kind === 'refused' && made.code}`)
  return made
}

export interface Submission {
  readonly made: CommitMade
  readonly certificates?: readonly Uint8Array[]
  readonly entry?: Partial<CommitEntry>
  readonly atMs?: TimeMs
}

export type Submitted =
  | { readonly kind: 'judged'; readonly room: Room; readonly judged: JudgedCommit }
  | RefusedCommit

/** An onlooker takes a commit as an entry of the log. */
export async function submit(room: Room, submission: Submission): Promise<Submitted> {
  const { made, certificates: list = [], atMs = NOW } = submission
  const entry: CommitEntry = {
    commit: made.message,
    groupInfo: await groupInfoOf(made.next),
    certificates: list,
    seen: seenOf(room),
    ...submission.entry,
  }
  const taken = await publicProcess(room.group, entry.commit, { timeMs: atMs })
  ok(taken.kind === 'commit', `RFC 9420 allows it: ${taken.kind === 'refused' && taken.code}`)
  const { group, change } = taken
  const judged = await judgeCommit(crypto, {
    room: room.room,
    before: room.group,
    after: group,
    change,
    entry,
    timeMs: atMs,
    finality: room.finality,
  })
  if (judged.kind === 'refused') return judged
  const finality = appendCommit(room.finality, { ...judged.facts, position: room.next })
  const next = logPosition(room.next + 1n)
  return { kind: 'judged', room: settled({ ...room, group, finality, next }, atMs), judged }
}

/** The room with the verdicts that are due; none of them may be a void. */
function settled(room: Room, atMs: TimeMs): Room {
  let { finality, next } = room
  for (;;) {
    const entry = nextVerdict(finality, atMs)
    if (entry === null) return { ...room, finality, next }
    const outcome = applyVerdict(finality, { position: next, timeMs: atMs, entry })
    ok(outcome.kind === 'final')
    finality = outcome.finality
    next = logPosition(next + 1n)
  }
}

/** The room after a commit that must be good. */
export async function advance(room: Room, submission: Submission): Promise<Room> {
  const outcome = await submit(room, submission)
  ok(outcome.kind === 'judged', `the commit is good: ${'fault' in outcome && outcome.fault}`)
  return outcome.room
}

/** A member adds devices; their states are not kept. */
export async function adding(
  room: Room,
  group: Group,
  devices: readonly Device[],
): Promise<{ readonly room: Room; readonly group: Group }> {
  const proposals = await Promise.all(devices.map(async (device) => {
    const keyPackage = await keyPackageOf(device)
    return { kind: 'add', keyPackage } as const
  }))
  const made = await commitOf(room, group, { proposals })
  const list = new Map(devices.map(({ certificate }) => [certificate.join(), certificate]))
  const after = await advance(room, { made, certificates: [...list.values()] })
  return { room: after, group: made.next }
}

/** The judgement of a change that no engine would make, over a commit that it made. */
export async function judged(
  room: Room,
  made: CommitMade,
  change: CommitChange,
  after: PublicGroup,
): Promise<CommitFault | null> {
  const outcome = await judgeCommit(crypto, {
    room: room.room,
    before: room.group,
    after,
    change,
    entry: {
      commit: made.message,
      groupInfo: await groupInfoOf(made.next),
      certificates: [],
      seen: seenOf(room),
    },
    timeMs: NOW,
    finality: room.finality,
  })
  return outcome.kind === 'refused' ? outcome.fault : null
}
