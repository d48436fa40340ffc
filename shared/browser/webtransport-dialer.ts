/**
 * The `Dialer` of browsers: WebTransport, and a WebSocket where that does not come up in time. The
 * single place for fallback. Owns the race and the memory of what worked; the two sessions are in
 * files of their own, and when to dial again is the device's decision.
 *
 * Where UDP is dropped silently, nothing fails: the WebSocket is started when WebTransport has been
 * silent for `WEB_SOCKET_DELAY_MS` after the hub answered over TCP. The first session that is open
 * is kept. If that is the WebSocket, the next dials begin with it, for `REMEMBERED_MS`.
 */
import { fromBase64Url } from '#core/base/bytes.ts'
import { LIMITS } from '#core/base/limits.ts'
import type { Dialer, SessionListener, SessionTransport } from '#core/device/transport.ts'
import { DESCRIPTION_PATH, SESSION_PATH } from '#core/wire/endpoint.ts'
import {
  type CertificateHash,
  type DialEnvironment,
  hostDialEnvironment,
} from '#browser/dial-environment.ts'
import { type OpenedSession, unlessAborted } from '#browser/opened-session.ts'
import { openWebSocket } from '#browser/websocket-session.ts'
import { openWebTransport } from '#browser/webtransport-session.ts'

export type { DialEnvironment } from '#browser/dial-environment.ts'

const DESCRIPTION_SIZE_MAX = 65_536
const CERTIFICATE_HASHES_MAX = 8
const CERTIFICATE_HASH_LENGTH = 32
/** Head start of WebTransport, counted from the hub's description. */
const WEB_SOCKET_DELAY_MS = 800
/** How long the description may take before the WebSocket is started without it. */
const DESCRIPTION_MS_MAX = 2_500
const REMEMBERED_MS = 300_000

/** WebTransport did not work at an endpoint: begin with the WebSocket until then. */
export interface DialRecord {
  readonly kind: 'webSocket'
  /** ms since 1970. */
  readonly untilMs: number
}

/** Remembers what worked, by endpoint. */
export interface DialMemory {
  read(endpoint: string): DialRecord | null
  write(endpoint: string, record: DialRecord | null): void
}

/** A `DialMemory` that lasts as long as the worker. */
export function createDialMemory(): DialMemory {
  const records = new Map<string, DialRecord>()
  return {
    read: (endpoint) => records.get(endpoint) ?? null,
    write(endpoint, record) {
      if (record === null) records.delete(endpoint)
      else records.set(endpoint, record)
    },
  }
}

export interface DialerOptions {
  readonly memory?: DialMemory
  /** Parts of the host to replace. */
  readonly environment?: Partial<DialEnvironment>
}

/**
 * Creates a dialer. A dial reports `opened` at most once and `closed` exactly once: also when it
 * fails, is aborted, or takes longer than `handshakeMsMax`. `closed` never comes inside a call of
 * `dial`, `abort` or `close`.
 */
export function createDialer(options: DialerOptions = {}): Dialer {
  const environment = { ...hostDialEnvironment(), ...options.environment }
  const memory = options.memory ?? createDialMemory()
  return {
    dial: (endpoint, listener) => dial({ environment, memory, endpoint }, listener),
  }
}

interface Place {
  readonly environment: DialEnvironment
  readonly memory: DialMemory
  readonly endpoint: string
}

function dial(place: Place, listener: SessionListener): { abort(): void } {
  const attempt = new AbortController()
  let transport: SessionTransport | null = null
  let closed = false
  const close = (): void => {
    if (closed) return
    closed = true
    queueMicrotask(() => listener.closed())
  }

  const keep = ({ kind, session }: Winner): void => {
    let frames = 0
    transport = session.start({
      framesReceived(received) {
        frames += received.length
        if (!closed) listener.framesReceived(received)
      },
      ended() {
        // A path that lets a handshake through and nothing after it is a blocked one.
        if (kind === 'webTransport' && frames === 0) remember(place)
        close()
      },
    })
    listener.opened(transport)
  }

  const cancelLimit = place.environment.setTimer(() => attempt.abort(), LIMITS.handshakeMsMax)
  raceSessions(place, attempt.signal)
    .finally(cancelLimit)
    .then((winner) => {
      if (winner === null) close()
      else if (attempt.signal.aborted) {
        winner.session.discard()
        close()
      } else keep(winner)
    })
  return {
    abort() {
      if (transport === null) attempt.abort()
      else transport.close()
    },
  }
}

function remember({ environment, memory, endpoint }: Place): void {
  memory.write(endpoint, { kind: 'webSocket', untilMs: environment.nowMs() + REMEMBERED_MS })
}

interface Winner {
  readonly kind: 'webTransport' | 'webSocket'
  readonly session: OpenedSession
}

/** The first session that opens, or null when both failed or `signal` aborted. Never rejects. */
function raceSessions(place: Place, signal: AbortSignal): Promise<Winner | null> {
  const { environment, memory, endpoint } = place
  const record = memory.read(endpoint)
  const remembered = record !== null && record.untilMs > environment.nowMs()
  const loser = new AbortController()
  const gate = openLater(environment)
  loser.signal.addEventListener('abort', () => gate.openAfter(0), { once: true })
  signal.addEventListener('abort', () => loser.abort(), { once: true })
  if (signal.aborted) loser.abort()

  return new Promise((resolve) => {
    let running = remembered ? 1 : 2
    let won = false
    const offer = (winner: Winner): void => {
      if (won) return winner.session.discard()
      won = true
      if (winner.kind === 'webTransport') memory.write(endpoint, null)
      else if (!remembered && environment.WebTransport !== null) remember(place)
      loser.abort()
      resolve(winner)
    }
    const lose = (): void => {
      running -= 1
      if (running === 0) resolve(null)
    }
    gate.opened
      .then(() => dialWebSocket(place, loser.signal))
      .then((session) => offer({ kind: 'webSocket', session }))
      .catch(() => {
        if (remembered) memory.write(endpoint, null)
        lose()
      })
    if (remembered) return gate.openAfter(0)
    gate.openAfter(DESCRIPTION_MS_MAX)
    dialWebTransport(place, { signal: loser.signal, described: gate.openAfter })
      .then((session) => offer({ kind: 'webTransport', session }))
      .catch(() => {
        gate.openAfter(0)
        lose()
      })
  })
}

/** A gate that opens once: after the delay that was given last, at once after 0. */
function openLater(
  environment: DialEnvironment,
): { readonly opened: Promise<void>; openAfter(delayMs: number): void } {
  let open = (): void => {}
  const opened = new Promise<void>((resolve) => (open = resolve))
  let cancel = (): void => {}
  return {
    opened,
    openAfter(delayMs) {
      cancel()
      if (delayMs === 0) open()
      else cancel = environment.setTimer(open, delayMs)
    },
  }
}

async function dialWebSocket(place: Place, signal: AbortSignal): Promise<OpenedSession> {
  signal.throwIfAborted()
  const url = new URL(SESSION_PATH, place.endpoint)
  url.protocol = url.protocol === 'http:' ? 'ws:' : 'wss:'
  return await openWebSocket({ WebSocket: place.environment.WebSocket, url: url.href, signal })
}

async function dialWebTransport(
  place: Place,
  options: { readonly signal: AbortSignal; described(delayMs: number): void },
): Promise<OpenedSession> {
  const { environment, endpoint } = place
  const { signal } = options
  if (environment.WebTransport === null) throw new Error('no WebTransport here')
  const certificateHashes = await readCertificateHashes(place, signal)
  options.described(WEB_SOCKET_DELAY_MS)
  const origin = new URL(endpoint)
  const port = origin.port || (origin.protocol === 'http:' ? '80' : '443')
  return await openWebTransport({
    WebTransport: environment.WebTransport,
    setTimer: environment.setTimer,
    url: `https://${origin.hostname}:${port}${SESSION_PATH}`,
    certificateHashes,
    signal,
  })
}

/**
 * Asks the hub which certificates it uses. Never from a cache: hashes change with every rotation.
 * Rejects where the hub has no WebTransport or its answer makes no sense.
 */
async function readCertificateHashes(
  { environment, endpoint }: Place,
  signal: AbortSignal,
): Promise<readonly CertificateHash[]> {
  const response = await unlessAborted(
    environment.fetch(new URL(DESCRIPTION_PATH, endpoint).href, {
      cache: 'no-store',
      credentials: 'omit',
      redirect: 'error',
      referrerPolicy: 'no-referrer',
      signal,
    }),
    signal,
  )
  if (!response.ok) throw new Error('no description')
  const hashes = parseCertificateHashes(JSON.parse(await readText(response, signal)))
  if (hashes === null) throw new Error('no WebTransport there')
  return hashes
}

async function readText(response: Response, signal: AbortSignal): Promise<string> {
  const reader = response.body?.getReader()
  const decoder = new TextDecoder()
  let text = ''
  for (;;) {
    const read = await unlessAborted(reader?.read() ?? Promise.reject(new Error('empty')), signal)
    if (read.done) return text
    text += decoder.decode(read.value, { stream: true })
    if (text.length > DESCRIPTION_SIZE_MAX) {
      await reader?.cancel()
      throw new Error('oversized description')
    }
  }
}

function parseCertificateHashes(description: unknown): readonly CertificateHash[] | null {
  if (typeof description !== 'object' || description === null) return null
  const { webTransport, certificateHashes } = description as Record<string, unknown>
  if (webTransport !== true || !Array.isArray(certificateHashes)) return null
  if (certificateHashes.length > CERTIFICATE_HASHES_MAX) return null
  const hashes: CertificateHash[] = []
  for (const text of certificateHashes) {
    const value = typeof text === 'string' ? fromBase64Url(text) : null
    if (value?.length !== CERTIFICATE_HASH_LENGTH) return null
    hashes.push({ algorithm: 'sha-256', value })
  }
  return hashes
}
