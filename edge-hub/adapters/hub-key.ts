/**
 * The hub's own signing key: made once, kept in the data folder, sealed under a key that lives
 * outside of it, so that a copy of the folder signs nothing. Owns the two files; owns no use of the
 * key. A lost sealing key is never replaced in silence: the hub would be another one.
 */
import { fromBase64Url, toBase64Url, utf8Encode, wipe } from '#core/base/bytes.ts'
import type { Entropy } from '#core/base/ports.ts'
import { type Crypto, SIGNATURE_SEED_LENGTH } from '#core/crypto/crypto.ts'
import { decode, encode, fixed, opaque, struct, u16, utf8 } from '#core/wire/codec.ts'

const LABEL = 'Kalandra 1.0 hubKey'
const VERSION = 1
const SEALING_KEY_LENGTH = 32
const NONCE_LENGTH = 24
const TAG_LENGTH = 16
const SEED_LENGTH = SIGNATURE_SEED_LENGTH.ed25519

/** `hub-key` in the data folder. The seed is sealed with XChaCha20-Poly1305; AAD is the header. */
const sealedHeaderCodec = struct({ label: utf8(32), version: u16, publicKey: fixed(32) })
const sealedKeyCodec = struct({
  header: sealedHeaderCodec,
  nonce: fixed(NONCE_LENGTH),
  seed: fixed(SEED_LENGTH + TAG_LENGTH),
  extensions: opaque(0),
})

export type OpenedHubKey =
  | {
    readonly kind: 'opened'
    /** Ed25519, 32 bytes. */
    readonly publicKey: Uint8Array
    /** The caller's to wipe. */
    readonly secretKey: Uint8Array
    /** True when the hub is new. */
    readonly created: boolean
  }
  | {
    readonly kind: 'refused'
    /** The sealed key is there, but not what opens it. */
    readonly code: 'keyFileMissing' | 'keyFileMalformed' | 'wrongKeyFile' | 'unreadable'
  }

export interface HubKeyOptions {
  readonly crypto: Crypto
  readonly entropy: Entropy
  /** Must exist. */
  readonly dataDir: string
  /** 32 bytes, base64url, in a file that only the owner reads; made with a new hub. */
  readonly keyFile: string
}

/** Opens the hub's key, or makes it where there is none. */
export function openHubKey(options: HubKeyOptions): Promise<OpenedHubKey> {
  return Promise.try(() => {
    const path = `${options.dataDir}/hub-key`
    const sealed = readIfPresent(path)
    const text = readIfPresent(options.keyFile)
    if (sealed !== null && text === null) return refused('keyFileMissing')
    const sealingKey = text === null ? makeSealingKey(options) : parseSealingKey(text)
    if (sealingKey === null) return refused('keyFileMalformed')
    const opened = sealed === null
      ? makeHubKey(options, sealingKey, path)
      : openSealed(options.crypto, sealingKey, sealed)
    wipe(sealingKey)
    return opened
  }).catch(() => refused('unreadable'))
}

function refused(code: Extract<OpenedHubKey, { kind: 'refused' }>['code']): OpenedHubKey {
  return { kind: 'refused', code }
}

function makeSealingKey({ entropy, keyFile }: HubKeyOptions): Uint8Array {
  const sealingKey = entropy.randomBytes(SEALING_KEY_LENGTH)
  writeSynced(keyFile, utf8Encode(`${toBase64Url(sealingKey)}\n`))
  return sealingKey
}

function parseSealingKey(text: Uint8Array): Uint8Array | null {
  const sealingKey = fromBase64Url(new TextDecoder().decode(text).trim())
  return sealingKey?.length === SEALING_KEY_LENGTH ? sealingKey : null
}

function makeHubKey(
  { crypto, entropy }: HubKeyOptions,
  sealingKey: Uint8Array,
  path: string,
): OpenedHubKey {
  const seed = entropy.randomBytes(SEED_LENGTH)
  const nonce = entropy.randomBytes(NONCE_LENGTH)
  const { publicKey, secretKey } = crypto.signatureKeyPair('ed25519', seed)
  const header = { label: LABEL, version: VERSION, publicKey }
  const keyed = { key: sealingKey, nonce, aad: encode(sealedHeaderCodec, header) }
  const sealedSeed = crypto.aeadSeal('xchacha20poly1305', keyed, seed)
  wipe(seed)
  const extensions = new Uint8Array(0)
  // Under its name it stands whole or not at all.
  writeSynced(
    `${path}.new`,
    encode(sealedKeyCodec, { header, nonce, seed: sealedSeed, extensions }),
  )
  Deno.renameSync(`${path}.new`, path)
  return { kind: 'opened', publicKey, secretKey, created: true }
}

function openSealed(crypto: Crypto, sealingKey: Uint8Array, bytes: Uint8Array): OpenedHubKey {
  const decoded = decode(sealedKeyCodec, bytes)
  if (decoded.kind === 'malformed') return refused('unreadable')
  const { header, nonce, seed: sealedSeed } = decoded.value
  if (header.label !== LABEL || header.version !== VERSION) return refused('unreadable')
  const keyed = { key: sealingKey, nonce, aad: encode(sealedHeaderCodec, header) }
  const seed = crypto.aeadOpen('xchacha20poly1305', keyed, sealedSeed)
  if (seed === null) return refused('wrongKeyFile')
  const { publicKey, secretKey } = crypto.signatureKeyPair('ed25519', seed)
  wipe(seed)
  return { kind: 'opened', publicKey, secretKey, created: false }
}

function readIfPresent(path: string): Uint8Array | null {
  try {
    return Deno.readFileSync(path)
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return null
    throw error
  }
}

/** On the medium when it returns; for the owner only. */
function writeSynced(path: string, bytes: Uint8Array): void {
  const file = Deno.openSync(path, { create: true, truncate: true, write: true, mode: 0o600 })
  try {
    for (let offset = 0; offset < bytes.length;) offset += file.writeSync(bytes.subarray(offset))
    file.syncSync()
  } finally {
    file.close()
  }
}
