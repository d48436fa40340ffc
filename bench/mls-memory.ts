/**
 * What the state of one member weighs: a process of its own in which somebody joins by a Welcome
 * and follows commits. Owns the measurement in that process (`deno run --v8-flags=--expose-gc`
 * with a folder) and its start from the benchmark.
 */
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { assert } from '#core/base/assert.ts'
import { createNobleCrypto } from '#core/crypto/noble.ts'
import { suiteById } from '#core/crypto/suites.ts'
import { cipherSuite } from '#core/mls/cipher-suite.ts'
import { decodeMlsMessage, encodeMlsMessage } from '#core/mls/framing.ts'
import type { Group } from '#core/mls/group.ts'
import { joinByWelcome } from '#core/mls/join-welcome.ts'
import { processMessage } from '#core/mls/messages.ts'
import { encodeRatchetTree } from '#core/mls/tree-codec.ts'
import { createWebCrypto } from '#native/webcrypto.ts'
import { type BenchGroup, makePackage, makePerson } from './mls-group.ts'
import { accepted, addPerson, processing, renewPath } from './mls-ops.ts'

export interface StateMemory {
  /** What a member's state holds after its join, and after commits; in megabytes of 10^6 bytes. */
  readonly joinedMb: number
  readonly followedMb: number
  /** Growth of the process at its largest, everything that came over the wire included. */
  readonly peakMb: number
}

const COMMITS = 4
const PARTS = [
  'welcome',
  'ratchetTree',
  'keyPackage',
  'initSecret',
  'encryptionSecret',
  'signatureSecret',
] as const
type Parts = Readonly<Record<(typeof PARTS)[number], Uint8Array>>

const commitName = (index: number) => `commit${index}`

/** Lets somebody join a group in another process, and measures it there. */
export async function measureMemory(bench: BenchGroup): Promise<StateMemory> {
  const { suite } = bench.public
  const person = makePerson(suite, 0xffff)
  const { keyPackage, secrets } = await makePackage(suite, person)
  const added = await addPerson(bench.member(0), { keyPackage, secrets })
  const parts: Parts = {
    welcome: added.welcome,
    ratchetTree: encodeRatchetTree(added.next.public.tree),
    keyPackage: encodeMlsMessage({ kind: 'keyPackage', keyPackage }),
    ...secrets,
    signatureSecret: person.signatureSecret,
  }
  const folder = await mkdtemp(path.join(tmpdir(), 'mls-memory-'))
  try {
    for (const name of PARTS) await writeFile(path.join(folder, name), parts[name])
    let { next } = added
    for (let index = 0; index < COMMITS; index++) {
      const made = await renewPath(next)
      await writeFile(path.join(folder, commitName(index)), made.message)
      next = made.next
    }
    return await measuredApart(folder, suite.id)
  } finally {
    await rm(folder, { recursive: true })
  }
}

async function measuredApart(folder: string, suiteId: number): Promise<StateMemory> {
  const program = [import.meta.filename as string, folder, String(suiteId)]
  const { success, stdout } = await new Deno.Command(Deno.execPath(), {
    args: ['run', '--quiet', '--allow-all', '--v8-flags=--expose-gc', ...program],
    stderr: 'inherit',
  }).output()
  assert(success, 'the member measured itself')
  return JSON.parse(new TextDecoder().decode(stdout)) as StateMemory
}

const collect = (globalThis as { readonly gc?: () => void }).gc

/** Bytes that live objects take, in V8's heap and beside it. */
function heldBytes(): number {
  assert(collect !== undefined, 'garbage is collected on demand')
  collect()
  collect()
  const { heapUsed, external } = Deno.memoryUsage()
  return heapUsed + external
}

/** Largest resident size so far, in bytes. */
async function peakBytes(): Promise<number> {
  const status = await readFile('/proc/self/status', 'utf8')
  const [, kilobytes] = /VmHWM:\s+(\d+) kB/.exec(status) ?? []
  return Number(kilobytes) * 1_024
}

async function measureHere(folder: string, suiteId: number): Promise<StateMemory> {
  const known = suiteById(suiteId)
  assert(known !== null, 'a suite of ours')
  const suite = cipherSuite(await createWebCrypto(crypto.subtle, createNobleCrypto()), known)
  const read = async (name: string) => new Uint8Array(await readFile(path.join(folder, name)))
  const readAll = async () =>
    Object.fromEntries(
      await Promise.all(PARTS.map(async (name) => [name, await read(name)] as const)),
    ) as unknown as Parts
  const before = heldBytes()
  const beforePeak = await peakBytes()
  const join = async (): Promise<Group> => {
    const { keyPackage: message, initSecret, encryptionSecret, ...parts } = await readAll()
    const { keyPackage } = decodeMlsMessage('keyPackage', message) ?? {}
    assert(keyPackage !== undefined, 'a KeyPackage')
    const secrets = { initSecret, encryptionSecret }
    const joining = { ...parts, keyPackage, secrets, psks: () => null }
    return accepted(await joinByWelcome(suite, joining)).group
  }
  let group = await join()
  const joined = heldBytes()
  for (let index = 0; index < COMMITS; index++) {
    const taken = accepted(await processMessage(group, await read(commitName(index)), processing))
    assert(taken.kind === 'commit', 'a commit')
    group = taken.group
  }
  const followed = heldBytes()
  const peak = await peakBytes()
  assert(group.public.tree.memberCount > 0, 'the state is still held')
  const megabytes = (bytes: number) => Math.round(bytes / 100_000) / 10
  return {
    joinedMb: megabytes(joined - before),
    followedMb: megabytes(followed - before),
    peakMb: megabytes(peak - beforePeak),
  }
}

if (import.meta.main) {
  const [folder = '', suiteId = ''] = Deno.args
  console.log(JSON.stringify(await measureHere(folder, Number(suiteId))))
}
