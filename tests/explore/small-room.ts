/**
 * Every commit that a member of a small room may make, made once by the engine itself: what of an
 * epoch follows from the commits below it, so that equal histories share equal groups. Mallory may
 * lie in hers. Owns no log and no order.
 */
import { ok } from 'node:assert/strict'
import { equalBytes } from '#core/base/bytes.ts'
import type { EpochId, LogPosition } from '#core/base/ids.ts'
import type { Entropy } from '#core/base/ports.ts'
import { externalPubOf } from '#core/device/external.ts'
import { groupIdOf } from '#core/identity/genesis.ts'
import { makeCommit } from '#core/mls/commit-make.ts'
import { EXTENSION_TYPE, externalPub, makeExtension } from '#core/mls/extension.ts'
import { encodeMlsMessage } from '#core/mls/framing.ts'
import { createGroup, externalPublicKey, type Group, makeGroupInfo } from '#core/mls/group.ts'
import { epochIdOf } from '#core/mls/group-context.ts'
import { signGroupInfo } from '#core/mls/group-info.ts'
import { joinByExternalCommit } from '#core/mls/join-external.ts'
import { joinByWelcome } from '#core/mls/join-welcome.ts'
import { processMessage } from '#core/mls/messages.ts'
import { makeKeyPackage } from '#core/mls/own-leaf.ts'
import type { PublicGroup } from '#core/mls/public-group.ts'
import { publicProcess } from '#core/mls/public-process.ts'
import type { CommitChange } from '#core/mls/staged-commit.ts'
import { leafAt } from '#core/mls/ratchet-tree.ts'
import { makeAdmission } from '#core/policy/admission.ts'
import { judgeCommit, type JudgedCommit } from '#core/policy/commit-rules.ts'
import { openFinality, type VoteChoice } from '#core/policy/finality.ts'
import { roomExtensions, withPolicy } from '#core/policy/room-policy.ts'
import { encode } from '#core/wire/codec.ts'
import { type CommitEntry, commitEntryCodec, seenCodec } from '#core/wire/log-entry.ts'
import type { CommitSubmission, GenesisSubmission } from '#hub/sequencer/sequencer.ts'
import {
  authorOf,
  crypto,
  DAN,
  engine,
  entropyOf,
  INVITATION,
  leafOfSeat,
} from './small-members.ts'
import { LINK, MALLORY, type Member, memberAt, ROOM, type Seat } from './small-members.ts'
import { SEATS, START_MS } from './small-members.ts'

/** The hash of every entry: in this room positions alone say what was seen. */
export const ENTRY_HASH = new Uint8Array(32).fill(9)
const SECONDS = BigInt(START_MS) / 1_000n
const lifetime = { notBefore: SECONDS - 3_600n, notAfter: SECONDS + 3_600n }

/** How a commit is made: honestly, with a lie, or from outside. */
export const COMMITS = [
  'honest',
  /** The first, the last, or no path secret opens. */
  'first',
  'last',
  'none',
  /** The published `external_pub` is another one. */
  'externalPub',
  /** Back into the room by an external commit (JOIN-5). */
  'resync',
  /** In by Ann's link, or as her second device, by one too (JOIN-4, JOIN-6). */
  'link',
  'newDevice',
] as const
export type CommitKind = typeof COMMITS[number]

export interface SmallEpoch {
  readonly name: string
  readonly public: PublicGroup
  readonly epochId: Uint8Array
  /** MLSMessage. */
  readonly groupInfo: Uint8Array
  /** By seat; null where it holds no secret of the epoch. */
  readonly held: readonly (Group | null)[]
  /** What each seat truly says of the commit that made it (VOTE-1). */
  readonly choices: readonly VoteChoice[]
}

export interface SmallCommit {
  readonly name: string
  readonly seat: Seat
  readonly kind: CommitKind
  readonly before: SmallEpoch
  readonly epoch: SmallEpoch
  readonly seen: bigint
  readonly judged: JudgedCommit
  readonly submission: Omit<CommitSubmission, 'facts'>
}

const making = ({ template, key }: Member, entropy: Entropy) => ({
  template,
  signatureSecret: key.secretKey,
  lifetime,
  entropy,
})

/** The genesis by Mallory and her commit that brings the others in, and the epoch that it makes. */
export interface Opening {
  readonly genesis: GenesisSubmission
  readonly commit: CommitSubmission
  readonly epoch: SmallEpoch
}

let opening: Promise<Opening> | null = null

/** One for all worlds: what follows from it is shared by them. */
export function openSmallRoom(): Promise<Opening> {
  opening ??= makeOpening()
  return opening
}

async function makeOpening(): Promise<Opening> {
  const mallory = memberAt(MALLORY)
  const others = SEATS.slice(1, DAN).map(memberAt)
  const group = await createGroup(engine, {
    ...making(mallory, entropyOf('genesis')),
    groupId: groupIdOf(ROOM),
    extensions: withPolicy(roomExtensions(), { invitations: [INVITATION] }),
  })
  const packages = await Promise.all(
    others.map((each) => makeKeyPackage(engine, making(each, entropyOf(each.account)))),
  )
  const proposals = packages.map(({ keyPackage }) => ({ kind: 'add', keyPackage }) as const)
  const made = await makeCommit(group, {
    ...commitOptions('opening', 0n),
    proposals,
    welcome: { ratchetTree: true, externalPub: false },
  })
  ok(made.kind === 'committed' && made.welcome !== null)
  const { welcome } = made
  const taken = await publicProcess(group.public, made.message, { timeMs: START_MS })
  ok(taken.kind === 'commit')
  const held: Group[] = [made.next]
  for (const [index, keyPackage] of packages.entries()) {
    const joined = await joinByWelcome(engine, {
      welcome,
      keyPackage: keyPackage.keyPackage,
      secrets: keyPackage.secrets,
      signatureSecret: (others[index] as Member).key.secretKey,
      ratchetTree: null,
      psks: () => null,
    })
    ok(joined.kind === 'joined')
    held.push(joined.group)
  }
  const epoch = {
    name: 'O',
    public: taken.group,
    epochId: epochIdOf(engine, taken.group.context),
    groupInfo: await groupInfoOf(made.next),
    held: [...held, null, null],
    choices: SEATS.map(() => 'agree' as const),
  }
  return { ...submissionsOf(group.public, { taken, welcome, bytes: made.message }), epoch }
}

interface TakenOpening {
  readonly taken: { readonly group: PublicGroup; readonly change: CommitChange }
  readonly welcome: Uint8Array
  readonly bytes: Uint8Array
}

function submissionsOf(
  group: PublicGroup,
  { taken, welcome, bytes }: TakenOpening,
): Pick<Opening, 'genesis' | 'commit'> {
  const author = authorOf(MALLORY)
  const certificate = { hash: new Uint8Array(32), certificate: new Uint8Array(1) }
  const genesis = { kind: 'genesis', author, group, certificate, bytes: Uint8Array.of(1) } as const
  const facts = {
    timeMs: START_MS,
    epochId: epochIdOf(engine, taken.group.context),
    committer: MALLORY,
    account: author.account,
    added: [1, 2],
    hasElectors: false,
  }
  const commit: CommitSubmission = {
    kind: 'commit',
    author,
    epoch: 0n,
    epochId: epochIdOf(engine, group.context),
    seen: seenAt(0n),
    before: group,
    after: taken.group,
    change: taken.change,
    certificates: [],
    welcome,
    bytes,
    facts,
    external: null,
  }
  return { genesis, commit }
}

export function seenAt(position: bigint) {
  return { position, hash: ENTRY_HASH, found: null }
}

const seenPair = (position: bigint) => ({ position: position as LogPosition, hash: ENTRY_HASH })

function commitOptions(name: string, seen: bigint) {
  return {
    proposals: [],
    path: 'always',
    authenticatedData: encode(seenCodec, seenPair(seen)),
    wireFormat: 'publicMessage',
    welcome: { ratchetTree: false, externalPub: false },
    psks: () => null,
    timeMs: null,
    entropy: entropyOf(name),
  } as const
}

async function groupInfoOf(group: Group): Promise<Uint8Array> {
  const groupInfo = await makeGroupInfo(group, { ratchetTree: false, externalPub: true })
  return encodeMlsMessage({ kind: 'groupInfo', groupInfo })
}

export interface CommitWish {
  readonly seat: Seat
  readonly kind: CommitKind
  readonly before: SmallEpoch
  /** Position of the last entry that the committer had seen. */
  readonly seen: bigint
}

export function isFromOutside({ kind }: Pick<CommitWish, 'kind'>): boolean {
  return kind === 'resync' || kind === 'link' || kind === 'newDevice'
}

const made = new Map<string, Promise<SmallCommit>>()

/** The commit of this member, of this kind, in this epoch: always the same. */
export function commitOf(wish: CommitWish): Promise<SmallCommit> {
  const { seat, kind, before, seen } = wish
  const name = `${before.name}.${seat}${kind === 'honest' ? '' : `!${kind}`}@${seen}`
  let known = made.get(name)
  if (known === undefined) {
    known = makeSmallCommit(name, wish)
    made.set(name, known)
  }
  return known
}

async function makeSmallCommit(name: string, wish: CommitWish): Promise<SmallCommit> {
  const { seat, kind, before, seen } = wish
  const isExternal = isFromOutside(wish)
  const own = isExternal ? await entered(name, wish) : await committed(name, wish)
  const taken = await publicProcess(before.public, own.message, { timeMs: START_MS })
  ok(taken.kind === 'commit', 'everybody can judge it')
  const groupInfo = kind === 'externalPub'
    ? await falseGroupInfo(own.next, entropyOf(`${name}/false`))
    : await groupInfoOf(own.next)
  const entry: CommitEntry = {
    commit: own.message,
    groupInfo,
    certificates: isExternal && kind !== 'resync' ? [memberAt(seat).certificate] : [],
    seen: seenPair(seen),
  }
  const epochId = epochIdOf(engine, taken.group.context)
  const judged = await judgeCommit(crypto, {
    room: ROOM,
    before: before.public,
    after: taken.group,
    change: taken.change,
    entry,
    timeMs: START_MS,
    // What finality says of it depends on the log, and is judged where it comes to stand.
    finality: openFinality({ position: 0n as LogPosition, epochId: before.epochId as EpochId }),
  })
  ok(judged.kind === 'judged', `a commit that the hub takes: ${JSON.stringify(judged)}`)
  const held = await Promise.all(SEATS.map((each) => {
    if (each === seat) return own.next
    const group = before.held[each] ?? null
    return group === null ? null : followed(group, own.message)
  }))
  const published = externalPubOf(groupInfo)
  const choices = await Promise.all(held.map(async (group): Promise<VoteChoice> => {
    if (group === null || published === null) return 'cannot'
    return equalBytes(published, await externalPublicKey(group)) ? 'agree' : 'cannot'
  }))
  const epoch = { name, public: taken.group, epochId, groupInfo, held, choices }
  const submission = {
    kind: 'commit',
    author: authorOf(seat),
    epoch: before.public.context.epoch,
    epochId: before.epochId,
    seen: seenAt(seen),
    before: before.public,
    after: taken.group,
    change: taken.change,
    certificates: judged.certificates.map(({ hash }) => ({
      hash,
      certificate: memberAt(seat).certificate,
    })),
    welcome: new Uint8Array(0),
    bytes: encode(commitEntryCodec, entry),
    external: judged.external,
  } as const
  return { name, seat, kind, before, epoch, seen, judged, submission }
}

async function followed(group: Group, message: Uint8Array): Promise<Group | null> {
  const taken = await processMessage(group, message, { timeMs: START_MS, psks: () => null })
  return taken.kind === 'commit' ? taken.group : null
}

interface OwnCommit {
  readonly message: Uint8Array
  readonly next: Group
}

async function committed(
  name: string,
  { seat, kind, before, seen }: CommitWish,
): Promise<OwnCommit> {
  const group = before.held[seat] ?? null
  ok(group !== null, 'a committer follows')
  const own = await makeCommit(lying(group, kind), commitOptions(name, seen))
  ok(own.kind === 'committed')
  const { suite } = group.public
  return { message: own.message, next: { ...own.next, public: { ...own.next.public, suite } } }
}

/** The group over a suite that encrypts some of the path secrets to nobody. */
function lying(group: Group, kind: CommitKind): Group {
  const { suite } = group.public
  let count = 0
  const hpkeSeal: typeof suite.hpkeSeal = async (sending, plaintext) => {
    const sealed = await suite.hpkeSeal(sending, plaintext)
    const isFirst = count++ === 0
    const isSpoilt = kind === 'none' || (kind === 'first' && isFirst) ||
      (kind === 'last' && !isFirst)
    if (sealed === null || !isSpoilt) return sealed
    return { ...sealed, ciphertext: sealed.ciphertext.map((byte) => byte ^ 1) }
  }
  return { ...group, public: { ...group.public, suite: { ...suite, hpkeSeal } } }
}

async function falseGroupInfo(next: Group, entropy: Entropy): Promise<Uint8Array> {
  const { suite } = next.public
  const groupInfo = await makeGroupInfo(next, { ratchetTree: false, externalPub: true })
  const key = entropy.randomBytes(suite.kemPublicKeyLength)
  const extensions = [makeExtension(EXTENSION_TYPE.externalPub, externalPub, key)]
  const signed = await signGroupInfo(suite, { ...groupInfo, extensions }, next.signatureSecret)
  return encodeMlsMessage({ kind: 'groupInfo', groupInfo: signed })
}

/** The commit by which somebody comes in, or back. */
async function entered(name: string, wish: CommitWish): Promise<OwnCommit> {
  const { seat, kind, before, seen } = wish
  const { template, key } = memberAt(seat)
  const published = externalPubOf(before.groupInfo)
  ok(published !== null)
  const removed = kind === 'resync' ? leafOfSeat(seat) : null
  const old = removed === null ? null : leafAt(before.public.tree, removed)
  const own = await joinByExternalCommit(before.public, {
    externalPub: published,
    // An admission stays what it was.
    template: old === null ? template : { ...template, extensions: old.extensions },
    ...(kind === 'link' ? { extensionsFor: admission(wish) } : {}),
    signatureSecret: key.secretKey,
    removed,
    psks: () => null,
    authenticatedData: encode(seenCodec, seenPair(seen)),
    timeMs: START_MS,
    entropy: entropyOf(name),
  })
  ok(own.kind === 'committed', 'a way in')
  return own
}

function admission({ seat, before }: CommitWish) {
  const { account, device, rootHash, certificateHash, key } = memberAt(seat)
  return async (encryptionKey: Uint8Array) => {
    const content = {
      room: ROOM,
      epochIdBefore: before.epochId as EpochId,
      invitation: INVITATION.id,
      account,
      device,
      rootHash,
      signatureKey: key.publicKey,
      encryptionKey,
      certificateHash,
    }
    return [await makeAdmission(crypto, content, LINK.secretKey)]
  }
}
