/** What guests and devices may ask of a hub, however many sessions they open for it. */
import { deepStrictEqual, ok, strictEqual } from 'node:assert/strict'
import type { AccountName } from '#core/base/ids.ts'
import { LIMITS } from '#core/base/limits.ts'
import type { Body } from '#core/wire/bodies.ts'
import { HandDevice, type HandIdentity, makeIdentity } from '../support/hand-device.ts'
import { createHubWorld, type HubWorld } from '../support/hub-world.ts'

async function guest(world: HubWorld, self: HandIdentity): Promise<HandDevice> {
  const device = new HandDevice(world.parts, { ...self })
  await device.open(world.dialer())
  await device.greet()
  return device
}

/** Asks for the name of a certificate that the hub refuses: the code. */
async function ask(device: HandDevice, certificate: Uint8Array) {
  const request = device.nextRequest()
  device.say('register', { request, token: null, certificate })
  return await device.answer(request)
}

/** A certificate of a free name whose manifest nobody has signed. */
async function forgedCertificate(world: HubWorld): Promise<Uint8Array> {
  const { certificate } = await makeIdentity(world.parts, 'nobody')
  return certificate.with(-2, (certificate.at(-2) ?? 0) ^ 1)
}

Deno.test('ID-4: no signature is checked for a name that is taken', async () => {
  const world = createHubWorld(4)
  const olga = await makeIdentity(world.parts, 'olga')
  const first = await guest(world, olga)
  await first.register()
  const { mldsa65: before } = world.checks
  strictEqual(before, 1)
  const rival = await guest(world, await makeIdentity(world.parts, 'olga'))
  strictEqual(await ask(rival, rival.self.certificate), 'nameTaken')
  const changed = olga.certificate.with(-2, (olga.certificate.at(-2) ?? 0) ^ 1)
  strictEqual(await ask(rival, changed), 'nameTaken')
  const again = await guest(world, olga)
  await again.register()
  deepStrictEqual(again.self.certificate, first.self.certificate)
  strictEqual(world.checks.mldsa65, before)
  deepStrictEqual(world.faults, [])
})

Deno.test('ID-4: all guests together get so many certificates checked and no more', async () => {
  const world = createHubWorld(5)
  const olga = await makeIdentity(world.parts, 'olga')
  await (await guest(world, olga)).register()
  const forged = await forgedCertificate(world)
  let mallory = await guest(world, olga)
  for (let count = 1; count < LIMITS.guestRegistrationsPerMinuteMax; count++) {
    if (count % LIMITS.proofFailuresMax === 0) mallory = await guest(world, olga)
    strictEqual(await ask(mallory, forged), 'badCertificate')
  }
  const { mldsa65: before } = world.checks
  const pia = await guest(world, await makeIdentity(world.parts, 'pia'))
  const request = pia.nextRequest()
  pia.say('register', { request, token: null, certificate: pia.self.certificate })
  const { refusal } = (await pia.hear('refused')).body
  const retryAfterMs = 60_000 / LIMITS.guestRegistrationsPerMinuteMax
  deepStrictEqual(refusal, { kind: 'tooMany', retryAfterMs })
  strictEqual(world.checks.mldsa65, before)
  // What costs no check is answered all the same.
  await (await guest(world, olga)).register()
  world.clock.advance(retryAfterMs)
  await pia.register()
  strictEqual(await ask(await guest(world, olga), forged), 'tooMany')
  deepStrictEqual(world.faults, [])
})

async function claim(device: HandDevice, account: AccountName) {
  const request = device.nextRequest()
  device.say('claimKeyPackages', { request, token: null, account, suite: device.suite.id })
  const isAnswer = ({ body }: { readonly body: { readonly request: number } }) =>
    body.request === request
  return await Promise.race([
    device.hear('keyPackages', isAnswer).then(({ body }) => body),
    device.hear('refused', isAnswer).then(({ body }) => body.refusal),
  ])
}
type Claim = Awaited<ReturnType<typeof claim>>

const retryOf = (answer: Claim) => {
  ok('kind' in answer && answer.kind === 'tooMany', 'the claim is refused')
  return answer.retryAfterMs
}
const givenOf = (answer: Claim): Body<'keyPackages'>['claimed'] => {
  ok('claimed' in answer, 'the claim is answered')
  return answer.claimed
}

/** The same device in a new session. */
async function back(world: HubWorld, device: HandDevice): Promise<HandDevice> {
  const next = new HandDevice(world.parts, device.self)
  await next.connect(world.dialer())
  return next
}

Deno.test('DIR-2: a new session gives a device no new share of claims', async () => {
  const world = createHubWorld(6)
  let alice = await world.device('alice')
  for (let count = 0; count < LIMITS.strangerRequestsPerMinuteMax; count++) {
    if (count % 5 === 0) alice = await back(world, alice)
    givenOf(await claim(alice, `user${count}@hub.example` as AccountName))
  }
  alice = await back(world, alice)
  const fresh = 'fresh@hub.example' as AccountName
  const retryAfterMs = retryOf(await claim(alice, fresh))
  strictEqual(retryAfterMs, 60_000 / LIMITS.strangerRequestsPerMinuteMax)
  givenOf(await claim(await world.device('bob'), fresh))
  world.clock.advance(retryAfterMs)
  givenOf(await claim(alice, fresh))
  deepStrictEqual(world.faults, [])
})

Deno.test('DIR-2, DIR-4: an account is claimed so often a minute, known or not', async () => {
  const world = createHubWorld(7)
  const [alice, bob] = [await world.device('alice'), await world.device('bob')]
  let carol = await world.device('carol')
  const made = await Promise.all(
    Array.from({ length: LIMITS.keyPackagesTarget }, () => bob.makeKeyPackage()),
  )
  const request = bob.nextRequest()
  const keyPackages = made.map(({ keyPackage }) => keyPackage)
  bob.say('publishKeyPackages', { request, keyPackages, lastResort: null })
  strictEqual(await bob.answer(request), 'accepted')
  const nobody = 'nobody@hub.example' as AccountName
  for (const account of [bob.self.account, nobody]) {
    const count = account === nobody ? 0 : 1
    for (let asked = 0; asked < LIMITS.claimsPerAccountPerMinuteMax; asked++) {
      const by = asked % 2 === 0 ? alice : carol
      strictEqual(givenOf(await claim(by, account)).length, count)
    }
    const retryAfterMs = retryOf(await claim(alice, account))
    strictEqual(retryAfterMs, 60_000 / LIMITS.claimsPerAccountPerMinuteMax)
    carol = await back(world, carol)
    strictEqual(retryOf(await claim(carol, account)), retryAfterMs)
  }
  const { keyPackagesLeft } = await new HandDevice(world.parts, bob.self).connect(world.dialer())
  strictEqual(keyPackagesLeft, LIMITS.keyPackagesTarget - LIMITS.claimsPerAccountPerMinuteMax)
  world.clock.advance(60_000 / LIMITS.claimsPerAccountPerMinuteMax)
  strictEqual(givenOf(await claim(alice, bob.self.account)).length, 1)
  deepStrictEqual(world.faults, [])
})
