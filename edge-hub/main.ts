/**
 * The hub as a process: composition root. Owns the order of starting and draining, and the choice
 * of every implementation; decides nothing about rooms.
 */
import { hash } from 'node:crypto'
import { toBase64Url } from '#core/base/bytes.ts'
import type { Crypto } from '#core/crypto/crypto.ts'
import { createNobleCrypto } from '#core/crypto/noble.ts'
import { SESSION_PATH } from '#core/wire/endpoint.ts'
import { PROTOCOL_VERSION } from '#core/wire/frame.ts'
import { type CertificateSource, openCertificates } from '#hub/adapters/certificate.ts'
import { openHubKey } from '#hub/adapters/hub-key.ts'
import { type HttpServer, startHttp } from '#hub/adapters/http.ts'
import { openSqliteStore, type SqliteStore } from '#hub/adapters/sqlite.ts'
import { systemClock, systemEntropy } from '#hub/adapters/system-clock.ts'
import { createWebSocketListener } from '#hub/adapters/websocket.ts'
import { createWebTransportListener } from '#hub/adapters/webtransport.ts'
import { explainRefusal, type HubConfig, readConfig } from '#hub/config.ts'
import { createEvents, type Events, type HubEvent } from '#hub/events.ts'
import { createGateway, type Gateway } from '#hub/gateway/gateway.ts'
import { createWebCrypto } from '#native/webcrypto.ts'

const TICK_MS = 250
const COUNTS_MS = 10_000
const DRAIN_MS_MAX = 10_000
const APP_VERSION = 1

/** Ends the process with one line that a person can act on. */
function giveUp(line: string): never {
  console.error(line)
  Deno.exit(1)
}

/** Up to two blocks of SHA-256 the call into the platform costs as much as the hash. */
const SMALL_INPUT_MAX = 128

/** Signatures and KEMs of the engine; hashes of the platform for all but the smallest inputs. */
async function hubCrypto(): Promise<Crypto> {
  const native = await createWebCrypto(crypto.subtle, createNobleCrypto())
  return {
    ...native,
    hash(name, content) {
      if (content.length <= SMALL_INPUT_MAX) return native.hash(name, content)
      const { buffer, byteOffset, length } = hash(name, content, 'buffer')
      return new Uint8Array(buffer, byteOffset, length)
    },
  }
}

/** One line for each event, to the file that was asked for or to standard error. */
function lineWriter(logFile: string | null): (line: string) => void {
  if (logFile === null) return (line) => console.error(line)
  const file = Deno.openSync(logFile, { append: true, create: true })
  const encoder = new TextEncoder()
  return (line) => file.writeSync(encoder.encode(`${line}\n`))
}

interface Parts {
  readonly store: SqliteStore
  readonly certificates: CertificateSource
  readonly gateway: Gateway
  readonly publicKey: Uint8Array
}

/** Reports an event; with a broken medium nothing can be promised any more (HUB-3). */
function observer(events: Events): (event: HubEvent) => void {
  return (event) => {
    events.report(event)
    if (event.kind === 'storeBroken') Deno.exit(74)
  }
}

async function openParts(config: HubConfig, events: Events): Promise<Parts> {
  const observe = observer(events)
  const cryptoPort = await hubCrypto()
  const { dataDir, domain, keyFile, certificate } = config
  const opened = await openSqliteStore({ dataDir, clock: systemClock, observe })
  if (opened.kind === 'refused') return giveUp(`the data folder cannot be used: ${opened.code}`)
  const key = await openHubKey({ crypto: cryptoPort, entropy: systemEntropy, dataDir, keyFile })
  if (key.kind === 'refused') return giveUp(`the hub's key cannot be opened: ${key.code}`)
  const source = await openCertificates({ domain, files: certificate, clock: systemClock, observe })
  if (source.kind === 'refused') return giveUp(`the certificate cannot be used: ${source.code}`)
  const gateway = createGateway({
    crypto: cryptoPort,
    clock: systemClock,
    entropy: systemEntropy,
    log: opened.store.log,
    directory: opened.store.directory,
    identity: {
      domain,
      publicKey: key.publicKey,
      secretKey: key.secretKey,
      appVersion: APP_VERSION,
      features: [],
    },
    effects: {
      observe,
      faulted: (error) => fault(events, error),
      checkFaulted: (error) => checkFault(events, error),
    },
  })
  const { publicKey } = key
  return { store: opened.store, certificates: source.certificates, gateway, publicKey }
}

/** A fault of our own: state may be wrong, so nothing more is done with it. */
function fault(events: Events, error: unknown): never {
  events.report({ kind: 'hubFaulted' })
  console.error(error)
  Deno.exit(70)
}

/** A fault of our own in a check: one submission is refused for it, and the hub goes on. */
function checkFault(events: Events, error: unknown): void {
  events.report({ kind: 'checkFaulted' })
  // Only where it was thrown: its words may hold what somebody sent (HUB-7).
  const stack = error instanceof Error ? error.stack ?? '' : ''
  console.error(stack.split('\n').filter((line) => line.startsWith('    at ')).join('\n'))
}

interface Listeners {
  readonly http: HttpServer
  stop(): Promise<void>
  ended(): Promise<void>
}

async function listen(config: HubConfig, events: Events, parts: Parts): Promise<Listeners> {
  const { certificates, gateway, store } = parts
  const observe = observer(events)
  const webSocket = createWebSocketListener({ observe })
  const hubKey = toBase64Url(parts.publicKey)
  const http = await startHttp({
    port: config.port,
    certificates,
    webSocket,
    wellKnown: () => ({
      domain: config.domain,
      hubKey,
      versions: [PROTOCOL_VERSION],
      sessionPath: SESSION_PATH,
      certificateHashes: certificates.publishedHashes().map(toBase64Url),
      webTransport: true,
    }),
    healthy: () => store.healthy(),
    appDir: config.appDir,
    appOrigins: config.appOrigins,
    observe,
  })
  const webTransport = createWebTransportListener({ port: http.port, certificates, observe })
  await webSocket.listen((session) => gateway.accept(session))
  await webTransport.listen((session) => gateway.accept(session))
  return {
    http,
    stop: async () => void await Promise.all([webSocket.stop(), webTransport.stop()]),
    ended: () => webTransport.ended(),
  }
}

/** Takes nothing new, says why, finishes what was begun, closes the store (HUB-8). */
async function drain(events: Events, parts: Parts, listeners: Listeners): Promise<void> {
  events.report({ kind: 'hubDraining' })
  const overdue = setTimeout(() => Deno.exit(75), DRAIN_MS_MAX)
  await listeners.stop()
  parts.gateway.drain()
  while (!parts.gateway.idle) {
    await new Promise<void>((resolve) => setTimeout(resolve, 10))
    parts.gateway.tick()
  }
  await listeners.ended()
  await listeners.http.stop()
  parts.certificates.close()
  await parts.store.close()
  clearTimeout(overdue)
  events.writeCounts()
  events.report({ kind: 'hubStopped' })
}

async function main(): Promise<void> {
  const read = readConfig((name) => Deno.env.get(name))
  if (read.kind === 'refused') return giveUp(explainRefusal(read))
  const { config } = read
  const events = createEvents(systemClock, lineWriter(config.logFile))
  globalThis.addEventListener('unhandledrejection', (event) => fault(events, event.reason))
  const parts = await openParts(config, events)
  const listeners = await listen(config, events, parts).catch(() =>
    giveUp(`port ${config.port} is taken`)
  )
  const ticking = setInterval(() => parts.gateway.tick(), TICK_MS)
  const counting = setInterval(() => {
    events.report({ kind: 'memoryHeld', memory: parts.gateway.memory() })
    events.writeCounts()
  }, COUNTS_MS)
  let draining = false
  const stop = () => {
    if (draining) return
    draining = true
    clearInterval(ticking)
    clearInterval(counting)
    void drain(events, parts, listeners).then(() => Deno.exit(0))
  }
  for (const signal of ['SIGTERM', 'SIGINT'] as const) Deno.addSignalListener(signal, stop)
  events.report({ kind: 'hubStarted' })
  console.log(`hub listening on port ${listeners.http.port}, TCP and UDP`)
  if (config.appDir !== null) console.log(`open http://localhost:${listeners.http.port}`)
}

await main()
