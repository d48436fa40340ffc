/**
 * Those who must learn nothing: who was removed, of the epochs after, and who was added, of those
 * before. Each tries all it has: every HPKE key that it ever held against every ciphertext, every
 * init secret with every commit secret that it can come by, zeros among them, and each message of
 * an epoch with the secrets of another. They are told all PSKs, the plaintext of commits and the
 * real outcome to compare with. A member who stays, given the same means, must succeed.
 */
import { equalBytes } from '#core/base/bytes.ts'
import { encodeGroupContext } from '#core/mls/group-context.ts'
import { enterEpoch, findPsks, type Group, nextJoinerSecret } from '#core/mls/group.ts'
import { externalInitReceived, externalKeyPair } from '#core/mls/key-schedule.ts'
import type { EpochSecrets } from '#core/mls/key-schedule.ts'
import { decryptWithLabel } from '#core/mls/labelled.ts'
import { decodeMlsMessage } from '#core/mls/framing.ts'
import { processMessage } from '#core/mls/messages.ts'
import { unprotect } from '#core/mls/private-message.ts'
import { secretTree } from '#core/mls/secret-tree.ts'
import { stageCommit, type StagedCommit } from '#core/mls/staged-commit.ts'
import { makePathSecrets } from '#core/mls/update-path.ts'
import { groupSecrets } from '#core/mls/welcome.ts'
import { decode } from '#core/wire/codec.ts'
import { toHex } from './hex.ts'
import {
  count,
  type Gone,
  isBefore,
  must,
  NOW,
  type PastCommit,
  type Person,
  pskOf,
  type World,
} from './world.ts'

/** What somebody has kept. */
export interface Hoard {
  readonly name: string
  readonly states: readonly Group[]
  readonly keys: readonly Uint8Array[]
}

/** What somebody could come by. */
interface Spoils {
  /** Path secrets and group secrets that opened. */
  readonly opened: number
  /** Whether the new epoch's authenticator or exporter was among what followed. */
  readonly arrived: boolean
}

function distinct(secrets: Iterable<Uint8Array>): Uint8Array[] {
  const found = new Map<string, Uint8Array>()
  for (const secret of secrets) {
    if (secret.length > 0 && secret.some((byte) => byte !== 0)) found.set(toHex(secret), secret)
  }
  return [...found.values()]
}

/** On a real suite only the last ones that were held are tried. */
const COSTLY_KEYS_MAX = 5

async function hpkeKeys(world: World, { states, keys }: Hoard): Promise<Uint8Array[]> {
  const held = states.flatMap((group) => [
    ...group.privateKeys.values(),
    ...group.pendingUpdates.values(),
  ])
  const external = states.filter(({ secrets }) => secrets.externalSecret.length > 0)
    .map(({ secrets }) => externalKeyPair(world.suite, secrets.externalSecret))
  const pairs = await Promise.all(external)
  const all = distinct([...keys, ...pairs.map(({ secretKey }) => secretKey), ...held])
  return world.costly ? all.slice(-COSTLY_KEYS_MAX) : all
}

/** Every way that there is from a hoard into the epoch that a commit makes. */
export async function plunder(world: World, past: PastCommit, hoard: Hoard): Promise<Spoils> {
  const { suite } = world
  const staged = await stageCommit(past.before, past.authenticated, { timeMs: null })
  must(staged.kind === 'staged', 'a commit that was taken is staged again')
  const keys = await hpkeKeys(world, hoard)
  const fromPath = await commitSecrets(world, { staged, keys })
  const inits = await initSecrets(world, { staged, keys, hoard })
  const joiners = await joinerSecrets(world, past, keys)
  const psks = findPsks(null, staged.applied.psks, pskOf(world))
  must(psks !== null, 'all PSKs are known')
  const opened = fromPath.length + joiners.length
  const { context } = staged
  for (const initSecret of inits) {
    for (const commitSecret of [null, ...fromPath]) {
      joiners.push(nextJoinerSecret(suite, { initSecret, commitSecret, context }))
    }
  }
  const arrived = joiners.some((joinerSecret) =>
    [psks, []].some((each) => {
      const { secrets } = enterEpoch(suite, { joinerSecret, psks: each, context })
      return equalBytes(secrets.epochAuthenticator, past.secrets.epochAuthenticator) ||
        equalBytes(secrets.exporterSecret, past.secrets.exporterSecret)
    })
  )
  return { opened, arrived }
}

interface Means {
  readonly staged: StagedCommit
  readonly keys: readonly Uint8Array[]
}

/** Commit secrets from whatever opens: each step of the chain above a path secret is one. */
async function commitSecrets(world: World, { staged, keys }: Means): Promise<Uint8Array[]> {
  if (staged.path === null) return []
  const { updatePath } = staged.path
  const context = encodeGroupContext(staged.provisionalContext)
  const found: Uint8Array[] = []
  for (const { encryptedPathSecret } of updatePath.nodes) {
    for (const ciphertext of encryptedPathSecret) {
      for (const key of keys) {
        const from = { ...ciphertext, label: 'UpdatePathNode', context } as const
        const pathSecret = await decryptWithLabel(world.suite, key, from)
        if (pathSecret === null) continue
        const { nodes, commitSecret } = await makePathSecrets(
          world.suite,
          updatePath.nodes.map((_, node) => ({ node })),
          pathSecret,
        )
        found.push(...nodes.map((node) => node.pathSecret), commitSecret)
      }
    }
  }
  return found
}

async function initSecrets(
  world: World,
  { staged, keys, hoard }: Means & { readonly hoard: Hoard },
): Promise<Uint8Array[]> {
  const { kemOutput } = staged.applied
  const own = hoard.states.map(({ secrets }) => secrets.initSecret)
  if (kemOutput === null) return [...distinct(own), new Uint8Array(world.suite.hashLength)]
  const external = hoard.states.filter(({ secrets }) => secrets.externalSecret.length > 0)
    .map(({ secrets }) => externalInitReceived(world.suite, secrets.externalSecret, kemOutput))
  const received = (await Promise.all(external)).filter((secret) => secret !== null)
  must(keys.length > 0, 'whoever was in a group has keys')
  return [...distinct([...own, ...received]), new Uint8Array(world.suite.hashLength)]
}

/** Joiner secrets of a Welcome. */
async function joinerSecrets(
  world: World,
  { welcome }: PastCommit,
  keys: readonly Uint8Array[],
): Promise<Uint8Array[]> {
  const message = welcome && decodeMlsMessage('welcome', welcome)
  const found: Uint8Array[] = []
  if (message === null) return found
  const { secrets, encryptedGroupInfo: context } = message.welcome
  for (const { encryptedGroupSecrets } of secrets) {
    for (const key of keys) {
      const from = { ...encryptedGroupSecrets, label: 'Welcome', context } as const
      const opened = await decryptWithLabel(world.suite, key, from)
      const decoded = opened && decode(groupSecrets, opened)
      if (decoded?.kind === 'decoded') found.push(decoded.value.joinerSecret)
    }
  }
  return found
}

/** Commits that somebody who is gone goes on trying. */
const TRIES_MAX = 3

/** Those who were removed try the commit, and what they have against the epoch's own secrets. */
export async function goneLearnNothing(world: World, past: PastCommit): Promise<void> {
  for (const gone of world.gone) {
    if (gone.tries >= TRIES_MAX) continue
    gone.tries++
    const { name } = gone.person
    const hoard = { name, states: gone.states, keys: gone.cameWith }
    const { opened, arrived } = await plunder(world, past, hoard)
    must(opened === 0, `${name}, who was removed, opened ${opened} secrets of a commit`)
    must(!arrived, `${name}, who was removed, derived the new epoch`)
    holdsNone(hoard, past.secrets, 'was removed and holds a later')
    await cannotFollow(world, past, gone)
    count(world, 'attempts of removed members')
  }
}

/**
 * The last state, put at the epoch in question and at any leaf as if it had not been removed,
 * takes neither the commit nor a message of the epoch after.
 */
async function cannotFollow(world: World, past: PastCommit, gone: Gone): Promise<void> {
  const last = gone.states.at(-1) as Group
  const processing = { timeMs: NOW, psks: pskOf(world) }
  for (const { group: { ownLeaf } } of world.seats.slice(0, 6)) {
    const state: Group = { ...last, public: past.before, ownLeaf }
    const followed = await processMessage(state, past.message, processing)
    const code = followed.kind === 'refused' ? followed.code : followed.kind
    must(followed.kind !== 'commit', `${gone.person.name}, who was removed, follows: ${code}`)
  }
  for (const { message } of world.messages) {
    for (const state of [last, { ...last, public: past.after }]) {
      const read = await processMessage(state, message, processing)
      must(read.kind === 'refused', `${gone.person.name}, who was removed, read a message`)
    }
  }
}

function holdsNone(hoard: Hoard, secrets: EpochSecrets, what: string): void {
  const held = distinct([
    ...hoard.keys,
    ...hoard.states.flatMap((group) => [
      ...Object.values<Uint8Array>({ ...group.secrets }),
      ...group.privateKeys.values(),
      ...group.resumptions.map(({ psk }) => psk),
    ]),
  ])
  const known = new Set(held.map(toHex))
  for (const [field, secret] of Object.entries<Uint8Array>({ ...secrets })) {
    must(!known.has(toHex(secret)), `${hoard.name} ${what} ${field}`)
  }
}

/**
 * With what the same person kept of earlier times in the group; not when these reach to the epoch
 * before, which it then knows rightly.
 */
export function withEarlier(
  world: World,
  person: Person,
  { hoard, past }: { readonly hoard: Hoard; readonly past: PastCommit },
): Hoard {
  const earlier = world.gone.filter((each) => each.person === person)
  const states = earlier.flatMap((each) => each.states)
  if (states.some((group) => isBefore(group, past))) return hoard
  const keys = earlier.flatMap(({ cameWith }) => cameWith)
  return { ...hoard, states: [...states, ...hoard.states], keys: [...keys, ...hoard.keys] }
}

/** Who was added tries the commit by which it came, and the epoch before it. */
export async function addedLearnNothing(
  world: World,
  past: PastCommit,
  added: Hoard,
): Promise<void> {
  const { name } = added
  const paths = { ...past, welcome: null }
  const { opened, arrived } = await plunder(world, paths, added)
  must(opened === 0, `${name}, who was added, opened a path secret that was not for it`)
  must(!arrived, `${name}, who was added, needed no Welcome`)
  holdsNone(added, past.secretsBefore, 'was added and holds an earlier')
  for (const group of added.states) {
    for (const { message } of past.messages) readsNothing(world, { past, group, message, name })
  }
  count(world, 'attempts of added members')
}

/** Every secret of the new epoch as the sender data or encryption secret of the one before. */
function readsNothing(
  world: World,
  attempt: {
    readonly past: PastCommit
    readonly group: Group
    readonly message: Uint8Array
    readonly name: string
  },
): void {
  const decoded = decodeMlsMessage('privateMessage', attempt.message)
  must(decoded !== null, 'an application message is private')
  const { leafWidth } = attempt.past.before.tree
  const secrets = distinct(Object.values<Uint8Array>({ ...attempt.group.secrets }))
  for (const senderDataSecret of secrets) {
    const { encryptionSecret } = attempt.group.secrets
    const state = { senderDataSecret, secretTree: secretTree(encryptionSecret, leafWidth) }
    const opened = unprotect(world.suite, state, decoded.privateMessage)
    must(opened.kind === 'refused', `${attempt.name}, who was added, read an earlier message`)
  }
}

/** The control: a member who stays comes into the epoch by the means that the others lack. */
export async function stayersArrive(world: World, past: PastCommit): Promise<void> {
  for (const { person, group, kept, cameWith } of world.seats) {
    const last = kept?.at(-1)
    if (last === undefined || !isBefore(last, past) || world.costly) continue
    if (group.ownLeaf === past.committer) continue
    const hoard = { name: person.name, states: [last], keys: cameWith }
    const { arrived } = await plunder(world, past, hoard)
    must(arrived, `${person.name}, who stays, does not arrive by all that is tried`)
    count(world, 'attempts of members who stay')
  }
}
