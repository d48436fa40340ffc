/**
 * The certificate that the hub's listeners show. Either it is made here, short-lived, and replaced
 * in good time, with its hash published so that pages accept it; or it comes from files, which are
 * read again when they change, and nothing is published. Owns when a certificate changes; owns no
 * listener (they subscribe) and no encoding (see `x509.ts`).
 */
import { createPrivateKey, X509Certificate } from 'node:crypto'
import type { Clock } from '#core/base/ports.ts'
import type { Observe } from '#hub/ports.ts'
import { makeSelfSigned, type SelfSigned } from './x509.ts'

const HOUR_MS = 3_600_000
const DAY_MS = 24 * HOUR_MS

/**
 * A certificate that is accepted by hash lives 14 days at most (W3C WebTransport, HUB-9). Ours
 * begins a day early, for clocks that are behind, and is replaced at half of its life.
 */
export const CERTIFICATE_TIMES = {
  backdatedMs: DAY_MS,
  validMs: 12 * DAY_MS,
  replaceAfterMs: 6 * DAY_MS,
  /** A hash is published for so long before its certificate is shown. */
  publishedAheadMs: HOUR_MS,
  /** The hash before stays published for so long after. */
  publishedAfterMs: HOUR_MS,
  checkIntervalMs: 60_000,
} as const

/** PEM. */
export interface ServerCertificate {
  readonly certificate: string
  readonly key: string
}

export interface CertificateSource {
  current(): ServerCertificate
  /** True when it comes from files: TCP speaks TLS with it. */
  readonly given: boolean
  /** SHA-256 of certificates that a page may meet, newest first; empty when given. */
  publishedHashes(): readonly Uint8Array[]
  /** Calls back after `current` changed; returns what ends that. */
  subscribe(changed: () => void): () => void
  /** Looks at clock or files now; otherwise a timer does so every minute. */
  check(): Promise<void>
  close(): void
}

export type OpenedCertificates =
  | { readonly kind: 'opened'; readonly certificates: CertificateSource }
  | {
    readonly kind: 'refused'
    readonly code: 'certificateUnreadable' | 'certificateMalformed'
  }

export interface CertificateFiles {
  readonly certFile: string
  readonly keyFile: string
}

export interface CertificateOptions {
  /** Stands in a made certificate beside `localhost` and the loopback addresses. */
  readonly domain: string
  readonly files: CertificateFiles | null
  readonly clock: Clock
  readonly observe: Observe
}

/** Reads the files, or makes the first certificate. */
export async function openCertificates(options: CertificateOptions): Promise<OpenedCertificates> {
  if (options.files === null) {
    const made = await MadeCertificates.open(options)
    return { kind: 'opened', certificates: timed(made) }
  }
  const given = new GivenCertificates(options.files, options.observe)
  const refusal = given.open()
  if (refusal !== null) return { kind: 'refused', code: refusal }
  return { kind: 'opened', certificates: timed(given) }
}

interface Rotation {
  readonly given: boolean
  current(): ServerCertificate
  publishedHashes(): readonly Uint8Array[]
  /** True when `current` changed. */
  check(): Promise<boolean>
}

/** Adds subscribers and the timer. The timer does not keep the process alive. */
function timed(rotation: Rotation): CertificateSource {
  const subscribers = new Set<() => void>()
  let checking: Promise<void> | null = null
  const checkOnce = async () => {
    if (await rotation.check()) { for (const changed of [...subscribers]) changed() }
  }
  const check = () => {
    checking ??= checkOnce().finally(() => checking = null)
    return checking
  }
  const timer = setInterval(() => void check(), CERTIFICATE_TIMES.checkIntervalMs)
  Deno.unrefTimer(timer)
  return {
    current: () => rotation.current(),
    given: rotation.given,
    publishedHashes: () => rotation.publishedHashes(),
    subscribe(changed) {
      subscribers.add(changed)
      return () => subscribers.delete(changed)
    },
    check,
    close: () => clearInterval(timer),
  }
}

// ---- Made here ----------------------------------------------------------------------------

interface Made extends SelfSigned {
  readonly notBeforeMs: number
  readonly replaceAtMs: number
  readonly notAfterMs: number
}

class MadeCertificates implements Rotation {
  readonly given = false
  readonly #options: CertificateOptions
  #current: Made
  #next: { readonly made: Made; readonly showAtMs: number } | null = null
  #before: { readonly hash: Uint8Array; readonly dropAtMs: number } | null = null

  private constructor(options: CertificateOptions, first: Made) {
    this.#options = options
    this.#current = first
  }

  static async open(options: CertificateOptions): Promise<MadeCertificates> {
    return new MadeCertificates(options, await make(options))
  }

  current(): ServerCertificate {
    return this.#current
  }

  publishedHashes(): readonly Uint8Array[] {
    const hashes = [this.#current.hash]
    if (this.#next !== null) hashes.unshift(this.#next.made.hash)
    if (this.#before !== null) hashes.push(this.#before.hash)
    return hashes
  }

  async check(): Promise<boolean> {
    const nowMs = this.#options.clock.nowMs()
    if (this.#before !== null && nowMs >= this.#before.dropAtMs) this.#before = null
    if (nowMs >= this.#current.notAfterMs || nowMs < this.#current.notBeforeMs) {
      // The machine slept through the rotation, or its clock was set: nobody can use this one.
      this.#show(await make(this.#options), nowMs)
      return true
    }
    if (this.#next === null && nowMs >= this.#current.replaceAtMs) {
      const showAtMs = nowMs + CERTIFICATE_TIMES.publishedAheadMs
      this.#next = { made: await make(this.#options), showAtMs }
    }
    if (this.#next === null || nowMs < this.#next.showAtMs) return false
    this.#show(this.#next.made, nowMs)
    return true
  }

  #show(made: Made, nowMs: number): void {
    this.#before = {
      hash: this.#current.hash,
      dropAtMs: nowMs + CERTIFICATE_TIMES.publishedAfterMs,
    }
    this.#current = made
    this.#next = null
    this.#options.observe({ kind: 'certificateReplaced', origin: 'made' })
  }
}

async function make({ domain, clock }: CertificateOptions): Promise<Made> {
  const nowMs = clock.nowMs()
  const notBeforeMs = nowMs - CERTIFICATE_TIMES.backdatedMs
  const notAfterMs = nowMs + CERTIFICATE_TIMES.validMs
  const names = [...new Set(['localhost', domain, '127.0.0.1', '::1'])]
  const made = await makeSelfSigned({ names, notBeforeMs, notAfterMs })
  const replaceAtMs = nowMs + CERTIFICATE_TIMES.replaceAfterMs
  return { ...made, notBeforeMs, notAfterMs, replaceAtMs }
}

// ---- From files ---------------------------------------------------------------------------

class GivenCertificates implements Rotation {
  readonly given = true
  readonly #files: CertificateFiles
  readonly #observe: Observe
  #current: ServerCertificate = { certificate: '', key: '' }
  /** What the files looked like when they were last judged. */
  #judged = ''

  constructor(files: CertificateFiles, observe: Observe) {
    this.#files = files
    this.#observe = observe
  }

  open(): 'certificateUnreadable' | 'certificateMalformed' | null {
    const stamp = this.#stamp()
    const read = stamp === null ? null : this.#read()
    if (stamp === null || read === null) return 'certificateUnreadable'
    if (!isUsable(read)) return 'certificateMalformed'
    this.#judged = stamp
    this.#current = read
    return null
  }

  current(): ServerCertificate {
    return this.#current
  }

  publishedHashes(): readonly Uint8Array[] {
    return []
  }

  /** Files that are replaced one after the other are judged again at the second change. */
  check(): Promise<boolean> {
    const stamp = this.#stamp() ?? 'missing'
    if (stamp === this.#judged) return Promise.resolve(false)
    this.#judged = stamp
    const read = this.#read()
    if (read === null || !isUsable(read)) {
      this.#observe({ kind: 'certificateRefused' })
      return Promise.resolve(false)
    }
    this.#current = read
    this.#observe({ kind: 'certificateReplaced', origin: 'files' })
    return Promise.resolve(true)
  }

  #stamp(): string | null {
    try {
      return [this.#files.certFile, this.#files.keyFile].map((path) => {
        const { mtime, size, ino } = Deno.statSync(path)
        return `${mtime?.getTime()}/${size}/${ino}`
      }).join(' ')
    } catch {
      return null
    }
  }

  #read(): ServerCertificate | null {
    try {
      return {
        certificate: Deno.readTextFileSync(this.#files.certFile),
        key: Deno.readTextFileSync(this.#files.keyFile),
      }
    } catch {
      return null
    }
  }
}

/** A certificate and the private key that belongs to it. */
function isUsable({ certificate, key }: ServerCertificate): boolean {
  try {
    return new X509Certificate(certificate).checkPrivateKey(createPrivateKey(key))
  } catch {
    return false
  }
}
