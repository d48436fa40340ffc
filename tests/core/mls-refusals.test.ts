/**
 * What a group does not take: stale, foreign, tampered and malformed messages end in a code and
 * never in an exception, and leave the state as it was.
 */
import { deepStrictEqual, notStrictEqual, ok, strictEqual } from 'node:assert/strict'
import { toHex } from '#core/base/bytes.ts'
import { type LeafIndex, leafIndex } from '#core/base/ids.ts'
import { type Suite, SUITES } from '#core/crypto/suites.ts'
import type { KeyPackageMade, MlsGroup } from '#core/mls/mls.ts'
import { codeOf, commit, createGroup, createStory, follow, join } from './mls-people.ts'
import { keyPackageOf, mls, NOW, type Story, threeMembers, tryCommit } from './mls-people.ts'

const small = SUITES.interoperation

async function refusalOf(group: MlsGroup, bytes: Uint8Array): Promise<string> {
  const before = toHex(mls.serialise(group))
  const outcome = await mls.processCommit(group, bytes, NOW)
  strictEqual(outcome.kind, 'refused')
  strictEqual(toHex(mls.serialise(group)), before)
  return codeOf(outcome)
}

for (const suite of Object.values<Suite>(SUITES)) {
  Deno.test(`ROOM-4: a commit of another epoch is refused (${suite.name})`, async () => {
    const story = createStory(suite, 20)
    const { alice, bob, carol } = await threeMembers(story)
    const won = await commit(story, bob, {})
    const lost = await commit(story, carol, {})
    const next = (await follow(alice, won.commit)).next
    strictEqual(await refusalOf(next, lost.commit), 'wrongEpoch')
    strictEqual(await refusalOf(next, won.commit), 'wrongEpoch')
    const later = await commit(story, next, {})
    strictEqual(await refusalOf(carol, later.commit), 'wrongEpoch')
  })

  Deno.test(`a commit of another group, and one's own, are refused (${suite.name})`, async () => {
    const story = createStory(suite, 21)
    const { alice, bob } = await threeMembers(story)
    const others = await threeMembers(story)
    const foreign = await commit(story, others.alice, {})
    strictEqual(await refusalOf(bob, foreign.commit), 'wrongGroup')
    const own = await commit(story, alice, {})
    strictEqual(await refusalOf(alice, own.commit), 'invalid')
  })

  Deno.test(`a commit with any byte changed is refused (${suite.name})`, async () => {
    const story = createStory(suite, 22)
    const { alice, bob } = await threeMembers(story)
    const made = await commit(story, alice, { removes: [leafIndex(2)] })
    const codes = new Set<string>()
    // Every bit of the small suite; of the others a bit of each seventh byte.
    const step = suite === small ? 1 : 7 * 8
    for (let bit = 0; bit < made.commit.length * 8; bit += step) {
      codes.add(await refusalOf(bob, flipped(made.commit, bit)))
    }
    ok(
      [...codes].every((code) =>
        ['malformed', 'invalid', 'wrongGroup', 'wrongEpoch'].includes(code)
      ),
    )
    await follow(bob, made.commit)
  })
}

function flipped(bytes: Uint8Array, bit: number): Uint8Array {
  const changed = bytes.slice()
  const at = Math.floor(bit / 8)
  changed[at] = (changed[at] as number) ^ (1 << (bit % 8))
  return changed
}

Deno.test('a message cut short, extended or made of noise is malformed', async () => {
  const story = createStory(small, 23)
  const { alice, bob } = await threeMembers(story)
  const daves = await keyPackageOf(story, 'dave')
  const made = await commit(story, alice, { adds: [daves] })
  const welcome = made.welcome as Uint8Array
  const malformed = { kind: 'refused', code: 'malformed' }
  for (const whole of [made.commit, welcome, daves.keyPackage]) {
    const cuts = Array.from({ length: whole.length }, (_, length) => whole.slice(0, length))
    for (const bytes of [...cuts, Uint8Array.of(...whole, 0), new Uint8Array(0)]) {
      deepStrictEqual(mls.readCommit(bytes), malformed)
      deepStrictEqual(await mls.readKeyPackage(bytes), malformed)
      strictEqual(mls.welcomeRecipients(bytes), null)
      strictEqual(await refusalOf(bob, bytes), 'malformed')
    }
  }
  for (let length = 0; length < 400; length++) {
    const noise = story.prng.bytes(length)
    deepStrictEqual(mls.readCommit(noise), malformed)
    deepStrictEqual(await mls.readKeyPackage(noise), malformed)
    strictEqual(mls.welcomeRecipients(noise), null)
    strictEqual(mls.restore(noise), null)
  }
})

Deno.test('one message in place of another is refused', async () => {
  const story = createStory(small, 24)
  const { alice, bob } = await threeMembers(story)
  const daves = await keyPackageOf(story, 'dave')
  const made = await commit(story, alice, { adds: [daves] })
  const welcome = made.welcome as Uint8Array
  deepStrictEqual(mls.readCommit(welcome), { kind: 'refused', code: 'malformed' })
  strictEqual(mls.welcomeRecipients(made.commit), null)
  strictEqual(await refusalOf(bob, welcome), 'malformed')
  strictEqual(await refusalOf(bob, daves.keyPackage), 'malformed')
  deepStrictEqual(await mls.readKeyPackage(made.commit), { kind: 'refused', code: 'malformed' })
})

async function joinCode(made: KeyPackageMade, welcome: Uint8Array): Promise<string> {
  const { keyPackage, secrets } = made
  return codeOf(await mls.join({ welcome, keyPackage, secrets, nowMs: NOW }))
}

Deno.test('ROOM-7: a Welcome with any byte changed, or for somebody else, is refused', async () => {
  const story = createStory(small, 25)
  const alice = await createGroup(story, 'alice')
  const bobs = await keyPackageOf(story, 'bob')
  const eves = await keyPackageOf(story, 'eve')
  const made = await commit(story, alice, { adds: [bobs] })
  const welcome = made.welcome as Uint8Array
  strictEqual(await joinCode(eves, welcome), 'notForUs')
  strictEqual(await joinCode({ ...bobs, secrets: eves.secrets }, welcome), 'invalid')
  strictEqual(await joinCode({ ...bobs, secrets: bobs.secrets.slice(1) }, welcome), 'malformed')
  const otherSuite = await keyPackageOf(createStory(SUITES.performance, 25), 'bob')
  strictEqual(await joinCode(otherSuite, welcome), 'wrongSuite')
  const allowed = ['malformed', 'invalid', 'notForUs', 'wrongSuite']
  for (let at = 0; at < welcome.length; at++) {
    const code = await joinCode(bobs, flipped(welcome, at * 8 + (at % 8)))
    ok(allowed.includes(code), `byte ${at}: ${code}`)
  }
  strictEqual(await joinCode(bobs, welcome), 'joined')
})

Deno.test('a KeyPackage with any bit changed is refused', async () => {
  const story = createStory(small, 26)
  const { alice } = await threeMembers(story)
  const made = await keyPackageOf(story, 'dave')
  for (let bit = 0; bit < made.keyPackage.length * 8; bit++) {
    const keyPackage = flipped(made.keyPackage, bit)
    const view = await mls.readKeyPackage(keyPackage)
    strictEqual(view.kind, 'refused', `bit ${bit}`)
    if (bit % 8 !== 0) continue
    const outcome = await tryCommit(story, alice, { adds: [{ ...made, keyPackage }] })
    strictEqual(outcome.kind, 'refused')
  }
})

interface Mistake {
  readonly adds?: readonly KeyPackageMade[]
  readonly removes?: readonly LeafIndex[]
}

Deno.test('ROOM-4: a commit that makes no sense is not made', async () => {
  const story = createStory(small, 27)
  const { alice, bob } = await threeMembers(story)
  const daves = await keyPackageOf(story, 'dave')
  const erins = await keyPackageOf(createStory(SUITES.performance, 27), 'erin')
  const there = await keyPackageOf(story, 'frank')
  const made = await commit(story, alice, { adds: [there] })
  const cases: readonly (readonly [MlsGroup, Mistake, string])[] = [
    [alice, { removes: [leafIndex(0)] }, 'invalid'],
    [alice, { removes: [leafIndex(3)] }, 'invalid'],
    [alice, { removes: [leafIndex(99)] }, 'invalid'],
    [alice, { removes: [leafIndex(0xffffffff)] }, 'invalid'],
    [alice, { removes: [leafIndex(1), leafIndex(1)] }, 'invalid'],
    [alice, { adds: [daves, daves] }, 'invalid'],
    [alice, { adds: [erins] }, 'wrongSuite'],
    [made.next, { adds: [there] }, 'invalid'],
  ]
  for (const [group, mistake, code] of cases) {
    strictEqual(codeOf(await tryCommit(story, group, mistake)), code)
  }
  strictEqual((await follow(bob, made.commit)).added.length, 1)
})

Deno.test('who was removed and came back has a new leaf; the old state stays out', async () => {
  const story = createStory(small, 28)
  const { alice, bob, carol } = await threeMembers(story)
  const out = await commit(story, alice, { removes: [leafIndex(1)] })
  const again = await keyPackageOf(story, 'bob')
  const back = await commit(story, out.next, { adds: [again] })
  const bobAgain = await join(again, back.welcome)
  strictEqual(mls.ownLeaf(bobAgain), 1)
  strictEqual(await refusalOf(bob, back.commit), 'wrongEpoch')
  const atCarol = await follow((await follow(carol, out.commit)).next, back.commit)
  strictEqual(toHex(mls.epochId(atCarol.next)), toHex(mls.epochId(bobAgain)))
  notStrictEqual(toHex(mls.epochId(bob)), toHex(mls.epochId(bobAgain)))
})

Deno.test('a damaged stored state is not restored', async () => {
  const story: Story = createStory(small, 29)
  const { alice } = await threeMembers(story)
  const stored = mls.serialise(alice)
  ok(mls.restore(stored) !== null)
  for (let length = 0; length < stored.length; length++) {
    strictEqual(mls.restore(stored.slice(0, length)), null)
  }
  strictEqual(mls.restore(Uint8Array.of(...stored, 0)), null)
})
