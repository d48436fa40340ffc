/**
 * Writes one kind of certificate: X.509 version 3, self-signed, ECDSA P-256 with SHA-256, with the
 * names that a page may use for this hub (RFC 5280). That is the kind that a browser accepts by its
 * hash (W3C WebTransport, "custom certificate requirements"). Reads and verifies no certificate.
 */
import { assert } from '#core/base/assert.ts'

export interface SelfSignedOptions {
  /** DNS names and IP addresses (`127.0.0.1`, `::1`). */
  readonly names: readonly string[]
  readonly notBeforeMs: number
  readonly notAfterMs: number
}

export interface SelfSigned {
  /** PEM of the certificate. */
  readonly certificate: string
  /** PEM of the private key, PKCS #8. */
  readonly key: string
  /** SHA-256 of the DER of the certificate, 32 bytes. */
  readonly hash: Uint8Array
}

const P256 = { name: 'ECDSA', namedCurve: 'P-256' }
const SIGNATURE = { name: 'ECDSA', hash: 'SHA-256' }

// Identifier octets (X.690 section 8.1.2).
const INTEGER = 0x02
const BIT_STRING = 0x03
const OCTET_STRING = 0x04
const OBJECT_IDENTIFIER = 0x06
const UTF8_STRING = 0x0c
const UTC_TIME = 0x17
const GENERALIZED_TIME = 0x18
const SEQUENCE = 0x30
const SET = 0x31
const BOOLEAN = 0x01
const DNS_NAME = 0x82
const IP_ADDRESS = 0x87
const VERSION = 0xa0
const EXTENSIONS = 0xa3

/** Makes a new key pair and a certificate for it. */
export async function makeSelfSigned(options: SelfSignedOptions): Promise<SelfSigned> {
  const keys = await crypto.subtle.generateKey(P256, true, ['sign', 'verify'])
  const publicKeyInfo = new Uint8Array(await crypto.subtle.exportKey('spki', keys.publicKey))
  const privateKeyInfo = new Uint8Array(await crypto.subtle.exportKey('pkcs8', keys.privateKey))
  const toBeSigned = tbsCertificate(options, publicKeyInfo)
  const signature = new Uint8Array(
    await crypto.subtle.sign(SIGNATURE, keys.privateKey, toBeSigned),
  )
  const certificate = der(
    SEQUENCE,
    toBeSigned,
    ecdsaWithSha256(),
    bitString(ecdsaSigValue(signature)),
  )
  return {
    certificate: pem('CERTIFICATE', certificate),
    key: pem('PRIVATE KEY', privateKeyInfo),
    hash: new Uint8Array(await crypto.subtle.digest('SHA-256', certificate)),
  }
}

/** TBSCertificate (RFC 5280 section 4.1). */
function tbsCertificate(options: SelfSignedOptions, publicKeyInfo: Uint8Array): Bytes {
  const serialNumber = crypto.getRandomValues(new Uint8Array(16))
  // Positive, and without a leading zero octet.
  serialNumber[0] = ((serialNumber[0] ?? 0) & 0x3f) | 0x40
  const name = commonName('Kalandra hub')
  return der(
    SEQUENCE,
    der(VERSION, der(INTEGER, Uint8Array.of(2))),
    der(INTEGER, serialNumber),
    ecdsaWithSha256(),
    name,
    der(SEQUENCE, time(options.notBeforeMs), time(options.notAfterMs)),
    name,
    publicKeyInfo,
    der(EXTENSIONS, der(SEQUENCE, ...extensions(options.names))),
  )
}

/** An end entity: not a CA, digital signatures of a TLS server, the given names. */
function extensions(names: readonly string[]): Uint8Array[] {
  const critical = der(BOOLEAN, Uint8Array.of(0xff))
  const keyUsage = der(BIT_STRING, Uint8Array.of(7, 0x80))
  const serverAuth = der(SEQUENCE, objectIdentifier(1, 3, 6, 1, 5, 5, 7, 3, 1))
  return [
    der(SEQUENCE, objectIdentifier(2, 5, 29, 19), critical, der(OCTET_STRING, der(SEQUENCE))),
    der(SEQUENCE, objectIdentifier(2, 5, 29, 15), critical, der(OCTET_STRING, keyUsage)),
    der(SEQUENCE, objectIdentifier(2, 5, 29, 37), der(OCTET_STRING, serverAuth)),
    der(
      SEQUENCE,
      objectIdentifier(2, 5, 29, 17),
      der(OCTET_STRING, der(SEQUENCE, ...names.map(generalName))),
    ),
  ]
}

function generalName(name: string): Uint8Array {
  if (name.includes(':')) return der(IP_ADDRESS, ipv6(name))
  if (/^\d+(\.\d+){3}$/.test(name)) {
    return der(IP_ADDRESS, Uint8Array.from(name.split('.').map(Number)))
  }
  return der(DNS_NAME, ascii(name))
}

/** The 16 bytes of an address in the text form of RFC 4291 section 2.2, without embedded IPv4. */
function ipv6(text: string): Uint8Array {
  const [head = '', tail] = text.split('::')
  const words = (part: string) => part === '' ? [] : part.split(':').map((w) => parseInt(w, 16))
  const left = words(head)
  const right = words(tail ?? '')
  const zeros = Array<number>(8 - left.length - right.length).fill(0)
  const bytes = new Uint8Array(16)
  const view = new DataView(bytes.buffer)
  const all = [...left, ...zeros, ...right]
  all.forEach((word, i) => view.setUint16(i * 2, word))
  return bytes
}

function commonName(name: string): Uint8Array {
  const attribute = der(SEQUENCE, objectIdentifier(2, 5, 4, 3), der(UTF8_STRING, ascii(name)))
  return der(SEQUENCE, der(SET, attribute))
}

function ecdsaWithSha256(): Uint8Array {
  return der(SEQUENCE, objectIdentifier(1, 2, 840, 10045, 4, 3, 2))
}

/** Ecdsa-Sig-Value (RFC 3279 section 2.2.3) of the two halves that WebCrypto returns. */
function ecdsaSigValue(raw: Uint8Array): Uint8Array {
  const half = raw.length / 2
  return der(SEQUENCE, unsigned(raw.subarray(0, half)), unsigned(raw.subarray(half)))
}

/** The shortest two's complement form of a non-negative integer. */
function unsigned(bytes: Uint8Array): Uint8Array {
  let start = 0
  while (start < bytes.length - 1 && bytes[start] === 0) start++
  const digits = bytes.subarray(start)
  const padded = (digits[0] ?? 0) >= 0x80 ? [Uint8Array.of(0), digits] : [digits]
  return der(INTEGER, ...padded)
}

/** UTCTime through the year 2049, GeneralizedTime after it (RFC 5280 section 4.1.2.5). */
function time(ms: number): Uint8Array {
  const digits = new Date(ms).toISOString().replace(/[-:T]|\.\d+/g, '')
  const utc = Number(digits.slice(0, 4)) < 2050
  return utc ? der(UTC_TIME, ascii(digits.slice(2))) : der(GENERALIZED_TIME, ascii(digits))
}

function bitString(content: Uint8Array): Uint8Array {
  return der(BIT_STRING, Uint8Array.of(0), content)
}

function objectIdentifier(first: number, second: number, ...arcs: number[]): Uint8Array {
  const bytes: number[] = []
  for (const arc of [first * 40 + second, ...arcs]) {
    const digits = [arc & 0x7f]
    for (let left = arc >> 7; left > 0; left >>= 7) digits.unshift((left & 0x7f) | 0x80)
    bytes.push(...digits)
  }
  return der(OBJECT_IDENTIFIER, Uint8Array.from(bytes))
}

type Bytes = Uint8Array<ArrayBuffer>

/** One value: identifier, definite length, contents (X.690 section 8.1). */
function der(identifier: number, ...contents: Uint8Array[]): Bytes {
  const length = contents.reduce((sum, part) => sum + part.length, 0)
  assert(length < 65_536, 'a certificate of ours is short')
  const header = length < 0x80
    ? [identifier, length]
    : length < 0x100
    ? [identifier, 0x81, length]
    : [identifier, 0x82, length >> 8, length & 0xff]
  const out = new Uint8Array(header.length + length)
  out.set(header)
  let offset = header.length
  for (const part of contents) {
    out.set(part, offset)
    offset += part.length
  }
  return out
}

function ascii(text: string): Uint8Array {
  return new TextEncoder().encode(text)
}

/** RFC 7468. */
function pem(label: string, bytes: Uint8Array): string {
  const lines = btoa(String.fromCharCode(...bytes)).match(/.{1,64}/g) ?? []
  return `-----BEGIN ${label}-----\n${lines.join('\n')}\n-----END ${label}-----\n`
}
