/**
 * Seals records at rest under a key that scripts cannot read: an AES-GCM `CryptoKey` that is not
 * extractable, in a database of its own. Owns key and sealed format; owns no record. What it does
 * not do: protect against someone who copies the whole browser profile.
 *
 * Sealed record: version 1 byte (1), nonce 12 random bytes, ciphertext with its 16-byte tag. The
 * associated data names account, table and key, so that a record opens only where it was put.
 */
import type { DBSchema } from 'idb'
import { concat } from '#core/base/bytes.ts'
import { encode, struct, utf8 } from '#core/wire/codec.ts'
import { deleteDatabase, openDatabase } from '#browser/open-database.ts'
import { asStoreError } from '#browser/store-error.ts'

const SEALED_VERSION = 1
const NONCE_LENGTH = 12
const TAG_LENGTH = 16
const RECORD = 'vault'
const LABEL = 'kalandraRecordV1'

/** Where a record stands. */
export interface RecordPlace {
  readonly table: string
  readonly key: string
}

export interface Vault {
  /** True until `settle`: the key is new, and no store is known to exist beside it. */
  readonly fresh: boolean
  /** Seals under a new random nonce; takes its copy of `plaintext` before it returns. */
  seal(place: RecordPlace, plaintext: Uint8Array): Promise<Uint8Array>
  /** Null when the bytes were not sealed under this key for this place. */
  open(place: RecordPlace, sealed: Uint8Array): Promise<Uint8Array | null>
  /** Remembers durably that a store beside this vault exists. */
  settle(): Promise<void>
  close(): void
}

interface VaultRecord {
  readonly key: CryptoKey
  readonly settled: boolean
}

interface VaultSchema extends DBSchema {
  vault: { key: string; value: VaultRecord }
}

const associatedCodec = struct({
  label: utf8(64),
  account: utf8(256),
  table: utf8(64),
  key: utf8(4_096),
})

/** Name of the vault database of a local account. */
export function vaultName(accountId: string): string {
  return `kalandra:${accountId}:vault`
}

/**
 * Opens the vault of a local account, or makes it with a new key.
 *
 * @throws StoreError `blocked`, `newerVersion`, `full` or `unavailable`.
 */
export async function openVault(options: { readonly accountId: string }): Promise<Vault> {
  const { accountId } = options
  const database = await openDatabase<VaultSchema>({
    name: vaultName(accountId),
    version: 1,
    upgrade: (upgraded) => void upgraded.createObjectStore('vault'),
  })
  const save = async (record: VaultRecord): Promise<void> => {
    const transaction = database.transaction('vault', 'readwrite', { durability: 'strict' })
    await Promise.all([transaction.store.put(record, RECORD), transaction.done])
  }
  try {
    let record = await database.get('vault', RECORD)
    if (record === undefined) {
      record = { key: await generateKey(), settled: false }
      await save(record)
    }
    const { key, settled } = record
    return {
      fresh: !settled,
      seal: (place, plaintext) => seal(key, associated(accountId, place), plaintext),
      open: (place, sealed) => open(key, associated(accountId, place), sealed),
      settle: () =>
        save({ key, settled: true }).catch((error) => Promise.reject(asStoreError(error))),
      close: () => database.close(),
    }
  } catch (error) {
    database.close()
    throw asStoreError(error)
  }
}

/** Deletes the key: from then on nothing that it sealed can be opened. */
export function deleteVault(options: { readonly accountId: string }): Promise<void> {
  return deleteDatabase(vaultName(options.accountId))
}

function generateKey(): Promise<CryptoKey> {
  return crypto.subtle.generateKey({ name: 'AES-GCM', length: 256 }, false, ['encrypt', 'decrypt'])
}

function associated(account: string, place: RecordPlace): Uint8Array {
  return encode(associatedCodec, { label: LABEL, account, table: place.table, key: place.key })
}

async function seal(
  key: CryptoKey,
  additional: Uint8Array,
  plaintext: Uint8Array,
): Promise<Uint8Array> {
  const nonce = crypto.getRandomValues(new Uint8Array(NONCE_LENGTH))
  const ciphertext = await crypto.subtle.encrypt(
    { name: 'AES-GCM', iv: nonce, additionalData: source(additional) },
    key,
    source(plaintext),
  )
  return concat(Uint8Array.of(SEALED_VERSION), nonce, new Uint8Array(ciphertext))
}

async function open(
  key: CryptoKey,
  additional: Uint8Array,
  sealed: Uint8Array,
): Promise<Uint8Array | null> {
  if (sealed.length < 1 + NONCE_LENGTH + TAG_LENGTH || sealed[0] !== SEALED_VERSION) return null
  const nonce = sealed.subarray(1, 1 + NONCE_LENGTH)
  try {
    const plaintext = await crypto.subtle.decrypt(
      { name: 'AES-GCM', iv: source(nonce), additionalData: source(additional) },
      key,
      source(sealed.subarray(1 + NONCE_LENGTH)),
    )
    return new Uint8Array(plaintext)
  } catch {
    return null
  }
}

/** The DOM types refuse views of shared memory; none of ours is one. */
function source(bytes: Uint8Array): Uint8Array<ArrayBuffer> {
  return bytes as Uint8Array<ArrayBuffer>
}
