/**
 * The gateway on its real adapters, in one process: SQLite in a folder of the test, WebSocket and
 * WebTransport on free ports. Two devices by hand register, talk, leave, come back and catch up,
 * and a hub that is started again has kept everything.
 */
import { deepStrictEqual, ok, strictEqual } from 'node:assert/strict'
import { toBase64Url, toHex } from '#core/base/bytes.ts'
import { type HubDomain, logPosition } from '#core/base/ids.ts'
import { createNobleCrypto } from '#core/crypto/noble.ts'
import type { Dialer } from '#core/device/transport.ts'
import { openCertificates } from '#hub/adapters/certificate.ts'
import { startHttp } from '#hub/adapters/http.ts'
import { openHubKey } from '#hub/adapters/hub-key.ts'
import { openSqliteStore } from '#hub/adapters/sqlite.ts'
import { systemClock, systemEntropy } from '#hub/adapters/system-clock.ts'
import { createWebSocketListener } from '#hub/adapters/websocket.ts'
import { createWebTransportListener } from '#hub/adapters/webtransport.ts'
import { createGateway } from '#hub/gateway/gateway.ts'
import { createWebCrypto } from '#native/webcrypto.ts'
import { HandDevice, type HandParts, type HandRoom, makeIdentity } from '../support/hand-device.ts'
import { joinByLink } from '../support/hand-joiner.ts'
import { createWebSocketDialer, createWebTransportDialer } from '../support/hub-client.ts'

const DOMAIN = 'localhost' as HubDomain
const native = await createWebCrypto(crypto.subtle, createNobleCrypto())
const parts: HandParts = {
  crypto: native,
  clock: systemClock,
  entropy: systemEntropy,
  domain: DOMAIN,
}

interface RunningHub {
  readonly endpoint: string
  readonly faults: unknown[]
  hashes(): readonly Uint8Array[]
  stop(): Promise<void>
}

/** The hub's parts in the order of its composition root, on free ports. */
async function startHub(dataDir: string): Promise<RunningHub> {
  const observe = () => {}
  const opened = await openSqliteStore({ dataDir, clock: systemClock, observe })
  ok(opened.kind === 'opened')
  const { store } = opened
  const keyFile = `${dataDir}.key`
  const key = await openHubKey({ crypto: native, entropy: systemEntropy, dataDir, keyFile })
  ok(key.kind === 'opened')
  const source = await openCertificates({
    domain: DOMAIN,
    files: null,
    clock: systemClock,
    observe,
  })
  ok(source.kind === 'opened')
  const { certificates } = source
  const faults: unknown[] = []
  const { publicKey, secretKey } = key
  const gateway = createGateway({
    ...parts,
    log: store.log,
    directory: store.directory,
    identity: { domain: DOMAIN, publicKey, secretKey, appVersion: 1, features: [] },
    effects: {
      observe,
      faulted: (error) => void faults.push(error),
      checkFaulted: (error) => void faults.push(error),
    },
  })
  const webSocket = createWebSocketListener({ observe })
  const http = await startHttp({
    port: 0,
    certificates,
    webSocket,
    wellKnown: () => ({
      domain: DOMAIN,
      hubKey: toBase64Url(publicKey),
      versions: [1],
      sessionPath: '/v1/session',
      certificateHashes: certificates.publishedHashes().map(toBase64Url),
      webTransport: true,
    }),
    healthy: () => store.healthy(),
    appDir: null,
    appOrigins: '*',
    observe,
  })
  const webTransport = createWebTransportListener({ port: http.port, certificates, observe })
  await webSocket.listen((session) => gateway.accept(session))
  await webTransport.listen((session) => gateway.accept(session))
  const ticking = setInterval(() => gateway.tick(), 100)
  return {
    endpoint: `http://localhost:${http.port}`,
    faults,
    hashes: () => certificates.publishedHashes(),
    async stop() {
      await Promise.all([webSocket.stop(), webTransport.stop()])
      gateway.drain()
      await Promise.all([webTransport.ended(), http.stop()])
      clearInterval(ticking)
      certificates.close()
      await store.close()
    },
  }
}

/** A fresh device object for the same person and room: nothing but what a device stores. */
async function comeBack(
  device: HandDevice,
  room: HandRoom,
  { dialer, endpoint }: { readonly dialer: Dialer; readonly endpoint: string },
): Promise<HandDevice> {
  const back = new HandDevice(parts, device.self)
  await back.connect(dialer, endpoint)
  back.rooms.set(toHex(room.id), room)
  const { next } = await back.subscribe(room)
  await back.follow(room, next)
  return back
}

const TRANSPORTS: readonly { name: string; dialer(hub: RunningHub): Dialer }[] = [
  { name: 'WebSocket', dialer: () => createWebSocketDialer() },
  {
    name: 'WebTransport',
    dialer: (hub) => createWebTransportDialer({ hashes: () => hub.hashes() }),
  },
]

for (const { name, dialer } of TRANSPORTS) {
  Deno.test(`SEQ-1, ROOM-6, HUB-3: two devices over ${name} leave and find all again`, async () => {
    const folder = await Deno.makeTempDir()
    const dataDir = `${folder}/data`
    let hub = await startHub(dataDir)
    try {
      const { endpoint } = hub
      const alice = new HandDevice(parts, await makeIdentity(parts, 'alice'))
      const bob = new HandDevice(parts, await makeIdentity(parts, 'bob'))
      for (const device of [alice, bob]) await device.connect(dialer(hub), endpoint)
      const room = await alice.createRoom()
      const made = await bob.makeKeyPackage()
      const { certificate } = bob.self
      await alice.change(room, { adds: [{ keyPackage: made.keyPackage, certificate }] })
      const bobs = await bob.join(made)
      const frames = await alice.seal(room, 40)
      const requests = frames.map((frame) => alice.submit(room, frame))
      const positions = await Promise.all(requests.map((request) => alice.position(request)))
      deepStrictEqual(positions, frames.map((_, index) => logPosition(BigInt(index + 3))))
      await bob.follow(bobs, 43n)
      await bob.write(bobs)
      await alice.follow(room, 44n)
      bob.hangUp()
      await bob.closed
      await alice.write(room)
      const bobAgain = await comeBack(bob, bobs, { dialer: dialer(hub), endpoint })
      deepStrictEqual(bobs.headHash, room.headHash)
      await hub.stop()
      await Promise.all([alice.closed, bobAgain.closed])
      deepStrictEqual(hub.faults, [])

      hub = await startHub(dataDir)
      const at = { dialer: dialer(hub), endpoint: hub.endpoint }
      const aliceLater = await comeBack(alice, room, at)
      const empty = aliceLater.enter(room.id, room.group)
      const reader = await comeBack(bob, empty, at)
      strictEqual(empty.next, 45n)
      deepStrictEqual(empty.headHash, room.headHash)
      strictEqual(await aliceLater.write(room), 45n)
      await reader.follow(empty, 46n)
      deepStrictEqual(hub.faults, [])
    } finally {
      await hub.stop()
      await Deno.remove(folder, { recursive: true })
    }
  })
}

Deno.test('JOIN-2, GROUP-5: from its store alone a hub gives out a room', async () => {
  const folder = await Deno.makeTempDir()
  const dataDir = `${folder}/data`
  const dialer = createWebSocketDialer()
  let hub = await startHub(dataDir)
  try {
    const alice = new HandDevice(parts, await makeIdentity(parts, 'alice'))
    await alice.connect(dialer, hub.endpoint)
    const room = await alice.createRoom()
    const secret = await alice.invite(room)
    for (let i = 0; i < 3; i++) await alice.change(room, {})
    await alice.write(room)
    await hub.stop()
    await alice.closed

    // Twice: the second joiner comes above a provisional epoch that the store has no version of.
    for (const name of ['bob', 'carol']) {
      hub = await startHub(dataDir)
      const joiner = new HandDevice(parts, await makeIdentity(parts, name))
      await joiner.connect(dialer, hub.endpoint)
      const joined = await joinByLink(joiner, room.id, secret)
      await joiner.write(joined)
      deepStrictEqual(hub.faults, [])
      await hub.stop()
      await joiner.closed
    }
  } finally {
    await hub.stop()
    await Deno.remove(folder, { recursive: true })
  }
})
