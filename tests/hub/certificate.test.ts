/** Certificates: what is made is accepted, when it changes, and files that change. */
import { deepStrictEqual, ok, strictEqual } from 'node:assert/strict'
import { createHash, X509Certificate } from 'node:crypto'
import { toHex } from '#core/base/bytes.ts'
import type { TimeMs } from '#core/base/ids.ts'
import { CERTIFICATE_TIMES, openCertificates } from '#hub/adapters/certificate.ts'
import { type CertificateSource } from '#hub/adapters/certificate.ts'
import { makeSelfSigned } from '#hub/adapters/x509.ts'
import { createWebTransportListener } from '#hub/adapters/webtransport.ts'
import type { AdapterEvent } from '#hub/ports.ts'
import { createWebTransportDialer } from '../support/hub-client.ts'

const DAY_MS = 86_400_000
const NAMES = ['localhost', 'hub.example', '127.0.0.1', '::1', '2001:db8::7:8']

interface World {
  nowMs: number
  readonly events: AdapterEvent[]
  readonly certificates: CertificateSource
}

async function openMade(nowMs: number): Promise<World> {
  const world = { nowMs, events: [] as AdapterEvent[] }
  const opened = await openCertificates({
    domain: 'hub.example',
    files: null,
    clock: { nowMs: () => world.nowMs as TimeMs },
    observe: (event) => world.events.push(event),
  })
  ok(opened.kind === 'opened')
  return Object.assign(world, { certificates: opened.certificates })
}

const hashOf = (certificate: string) =>
  createHash('sha256').update(new X509Certificate(certificate).raw).digest('hex')
const published = ({ certificates }: World) => certificates.publishedHashes().map(toHex)

Deno.test('a made certificate is well-formed, signed by its key, and names the hub', async () => {
  for (const year of [2026, 2049, 2050]) {
    const notBeforeMs = Date.UTC(year, 11, 25, 3, 4, 5)
    const notAfterMs = notBeforeMs + 13 * DAY_MS
    // Leading zeros of a signature's halves are rare; a hundred certificates meet them.
    for (let i = 0; i < 100; i++) {
      const made = await makeSelfSigned({ names: NAMES, notBeforeMs, notAfterMs })
      const certificate = new X509Certificate(made.certificate)
      ok(certificate.verify(certificate.publicKey))
      strictEqual(hashOf(made.certificate), toHex(made.hash))
      strictEqual(Date.parse(certificate.validFrom), notBeforeMs)
      strictEqual(Date.parse(certificate.validTo), notAfterMs)
      if (i > 0) continue
      strictEqual(certificate.ca, false)
      strictEqual(certificate.publicKey.asymmetricKeyDetails?.namedCurve, 'prime256v1')
      const names = certificate.subjectAltName?.split(', ')
      deepStrictEqual(names?.slice(0, 3), [
        'DNS:localhost',
        'DNS:hub.example',
        'IP Address:127.0.0.1',
      ])
      strictEqual(names?.length, NAMES.length)
    }
  }
})

Deno.test('HUB-9: a page may accept what is made by its hash: at most 14 days', async () => {
  const world = await openMade(Date.UTC(2026, 5, 1))
  const { validFrom, validTo } = new X509Certificate(world.certificates.current().certificate)
  ok(Date.parse(validTo) - Date.parse(validFrom) <= 14 * DAY_MS)
  ok(Date.parse(validFrom) <= world.nowMs - CERTIFICATE_TIMES.backdatedMs)
  deepStrictEqual(published(world), [hashOf(world.certificates.current().certificate)])
  world.certificates.close()
})

Deno.test('HUB-9: rotation publishes a hash before its certificate, and after it', async () => {
  const world = await openMade(Date.UTC(2026, 5, 1))
  const { certificates } = world
  let changes = 0
  certificates.subscribe(() => changes++)
  const first = certificates.current()
  const [firstHash] = published(world)

  world.nowMs += CERTIFICATE_TIMES.replaceAfterMs - 1
  await certificates.check()
  deepStrictEqual(published(world), [firstHash])

  world.nowMs += 1
  await Promise.all([certificates.check(), certificates.check()])
  const [nextHash] = published(world)
  deepStrictEqual(published(world), [nextHash, firstHash])
  ok(nextHash !== firstHash)
  strictEqual(certificates.current(), first)
  strictEqual(changes, 0)

  world.nowMs += CERTIFICATE_TIMES.publishedAheadMs
  await certificates.check()
  strictEqual(hashOf(certificates.current().certificate), nextHash)
  deepStrictEqual(published(world), [nextHash, firstHash])
  strictEqual(changes, 1)
  deepStrictEqual(world.events, [{ kind: 'certificateReplaced', origin: 'made' }])

  world.nowMs += CERTIFICATE_TIMES.publishedAfterMs
  await certificates.check()
  deepStrictEqual(published(world), [nextHash])
  strictEqual(changes, 1)
  certificates.close()
})

Deno.test('a certificate is replaced at once when the clock jumped, either way', async () => {
  const world = await openMade(Date.UTC(2026, 5, 1))
  const first = world.certificates.current()
  world.nowMs += 30 * DAY_MS
  await world.certificates.check()
  const second = world.certificates.current()
  ok(second !== first)
  world.nowMs -= 365 * DAY_MS
  await world.certificates.check()
  const third = world.certificates.current()
  ok(third !== second)
  ok(Date.parse(new X509Certificate(third.certificate).validFrom) < world.nowMs)
  world.certificates.close()
})

Deno.test('sessions outlive a rotation, and new ones need the new hash', async () => {
  // So far back that the client finds both certificates valid now.
  const { replaceAfterMs, publishedAheadMs } = CERTIFICATE_TIMES
  const world = await openMade(Date.now() - replaceAfterMs - publishedAheadMs)
  const { certificates } = world
  const listener = createWebTransportListener({ port: 0, certificates, observe: () => {} })
  await listener.listen((session) => ({
    framesReceived: (frames) => session.write({ kind: 'control' }, frames).catch(() => {}),
    framingLost: () => {},
    closed: () => {},
  }))
  const dial = (hashes: readonly Uint8Array[]) => dialEcho(listener.port, hashes)
  const before = certificates.publishedHashes()
  const old = await dial(before)
  strictEqual(await old?.echo(), 'echoed')
  world.nowMs += CERTIFICATE_TIMES.replaceAfterMs
  await certificates.check()
  const during = certificates.publishedHashes()
  world.nowMs += CERTIFICATE_TIMES.publishedAheadMs
  await certificates.check()
  strictEqual(await old?.echo(), 'echoed')
  strictEqual(await dial(before), null)
  const fresh = await dial(during)
  strictEqual(await fresh?.echo(), 'echoed')
  for (const client of [old, fresh]) await client?.close()
  certificates.close()
  await listener.stop()
  await listener.ended()
})

interface EchoClient {
  echo(): Promise<string>
  close(): Promise<void>
}

/** Null when the handshake fails. */
function dialEcho(port: number, hashes: readonly Uint8Array[]): Promise<EchoClient | null> {
  const closed = Promise.withResolvers<void>()
  let echoed: (outcome: string) => void = () => {}
  return new Promise((resolve) => {
    createWebTransportDialer({ hashes: () => hashes }).dial(`https://localhost:${port}`, {
      opened: (transport) =>
        resolve({
          echo: () => {
            transport.send(new Uint8Array(40))
            return new Promise((resolve) => echoed = resolve)
          },
          close: () => {
            transport.close()
            return closed.promise
          },
        }),
      framesReceived: () => echoed('echoed'),
      closed: () => {
        closed.resolve()
        echoed('closed')
        resolve(null)
      },
    })
  })
}

// ---- Files --------------------------------------------------------------------------------

interface Files {
  readonly certFile: string
  readonly keyFile: string
}

async function withFiles(test: (files: Files) => Promise<void>): Promise<void> {
  const folder = Deno.makeTempDirSync()
  try {
    await test({ certFile: `${folder}/cert.pem`, keyFile: `${folder}/key.pem` })
  } finally {
    Deno.removeSync(folder, { recursive: true })
  }
}

const makePair = () =>
  makeSelfSigned({
    names: ['localhost'],
    notBeforeMs: Date.now() - DAY_MS,
    notAfterMs: Date.now() + 300 * DAY_MS,
  })

/** By rename, as certificate clients do. */
function write(path: string, text: string): void {
  Deno.writeTextFileSync(`${path}.new`, text)
  Deno.renameSync(`${path}.new`, path)
}

const openFiles = (files: Files, events: AdapterEvent[] = []) =>
  openCertificates({
    domain: 'hub.example',
    files,
    clock: { nowMs: () => Date.now() as TimeMs },
    observe: (event) => events.push(event),
  })

Deno.test('certificates from files are taken again when both have changed', async () => {
  await withFiles(async (files) => {
    const [first, second] = [await makePair(), await makePair()]
    write(files.certFile, first.certificate)
    write(files.keyFile, first.key)
    const events: AdapterEvent[] = []
    const opened = await openFiles(files, events)
    ok(opened.kind === 'opened')
    const { certificates } = opened
    let changes = 0
    certificates.subscribe(() => changes++)
    ok(certificates.given)
    deepStrictEqual(certificates.publishedHashes(), [])
    await certificates.check()
    strictEqual(changes, 0)

    write(files.certFile, second.certificate)
    await certificates.check()
    await certificates.check()
    strictEqual(certificates.current().certificate, first.certificate)
    deepStrictEqual(events, [{ kind: 'certificateRefused' }])

    write(files.keyFile, second.key)
    await certificates.check()
    deepStrictEqual(certificates.current(), { certificate: second.certificate, key: second.key })
    strictEqual(changes, 1)

    Deno.removeSync(files.certFile)
    await certificates.check()
    strictEqual(certificates.current().certificate, second.certificate)
    deepStrictEqual(events.map(({ kind }) => kind), [
      'certificateRefused',
      'certificateReplaced',
      'certificateRefused',
    ])
    certificates.close()
  })
})

Deno.test('files that are missing, malformed or no pair are refused at the start', async () => {
  await withFiles(async (files) => {
    const [first, second] = [await makePair(), await makePair()]
    deepStrictEqual(await openFiles(files), { kind: 'refused', code: 'certificateUnreadable' })
    write(files.certFile, first.certificate)
    for (const key of ['', 'no key', second.key]) {
      write(files.keyFile, key)
      deepStrictEqual(await openFiles(files), { kind: 'refused', code: 'certificateMalformed' })
    }
  })
})
