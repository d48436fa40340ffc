/**
 * Names, KeyPackages and claims in SQLite, and what is read of them. A KeyPackage's reference is a
 * name that stays until the package has expired, given out or not, so that none comes twice. Owns
 * what is done with the rows of `sqlite-holdings.ts`; whoever calls owns the transaction.
 */
import { equalBytes, toHex } from '#core/base/bytes.ts'
import type { AccountName, DeviceId, RoomId } from '#core/base/ids.ts'
import { LIMITS } from '#core/base/limits.ts'
import type { ClaimedKeyPackage, StoredAccount, StoredKeyPackage } from '#hub/ports.ts'
import type { WaitingWelcome } from '#hub/ports.ts'
import type { Operation } from './sqlite-batch.ts'
import { findHoldings, type Holdings, type PackageRow } from './sqlite-holdings.ts'
import { packageRowChecksum, readAllWelcomes, readPackages } from './sqlite-holdings.ts'
import type { WelcomeRow } from './sqlite-holdings.ts'
import { readRegistered, takeHoldings, writeHoldings, writeRegistered } from './sqlite-holdings.ts'
import { findName, insertName, removeName } from './sqlite-names.ts'
import { bytesOf, changeSum, checksumOf, integerOf, isRowDamage } from './sqlite-proof.ts'
import { mustHold, type Row, type Sql } from './sqlite-proof.ts'
import { positionOf, readRoomRow } from './sqlite-room.ts'

type OperationOf<Kind extends Operation['kind']> = Extract<Operation, { kind: Kind }>

/** A page of waiting Welcomes; one is never too large for it. */
const WELCOMES_PAGE_MAX = 64
const WELCOMES_PAGE_BYTES_MAX = 262_144

// ---- Writes -------------------------------------------------------------------------------

export function register(
  sql: Sql,
  { account }: OperationOf<'register'>,
  nextNumber: () => number,
): 'registered' | 'nameTaken' {
  const holdings = takeHoldings(sql, account.account, nextNumber)
  const before = readRegistered(sql, holdings, account.account)
  if (before !== null && !equalBytes(before.rootHash, account.rootHash)) return 'nameTaken'
  writeRegistered(sql, holdings, account)
  writeHoldings(sql, holdings)
  return 'registered'
}

export function publish(
  sql: Sql,
  operation: OperationOf<'publish'>,
  nextNumber: () => number,
): 'published' | 'tooMany' {
  const { account, device, nowMs, lastResort } = operation
  forgetExpired(sql, nowMs)
  const holdings = takeHoldings(sql, account, nextNumber)
  const stored = dropExpired(sql, holdings, nowMs).filter((row) => equalBytes(row.device, device))
  const fresh = operation.single.filter((added) => !isKnown(sql, added.reference))
  const single = stored.filter((row) => row.lastResort === 0)
  const tooMany = single.length + fresh.length > LIMITS.keyPackagesPerDeviceMax
  if (!tooMany) {
    const insert = (added: StoredKeyPackage, asLastResort: 0 | 1) =>
      insertPackage(sql, holdings, { added, device, lastResort: asLastResort }, nextNumber)
    for (const added of fresh) insert(added, 0)
    if (lastResort !== null) {
      for (const row of stored) {
        if (row.lastResort === 1 && row.suite === lastResort.suite) dropPackage(sql, holdings, row)
      }
      insert(lastResort, 1)
    }
  }
  writeHoldings(sql, holdings)
  return tooMany ? 'tooMany' : 'published'
}

/** Stored now, or given out before: neither may come (back) into the directory. */
function isKnown(sql: Sql, reference: Uint8Array): boolean {
  return findName(sql, 'keyPackage', reference) !== null
}

/** Passes over one whose reference is known. */
function insertPackage(
  sql: Sql,
  holdings: Holdings,
  { added, device, lastResort }: {
    readonly added: StoredKeyPackage
    readonly device: Uint8Array
    readonly lastResort: 0 | 1
  },
  nextNumber: () => number,
): void {
  const { reference, suite, keyPackage, notAfter } = added
  const packageNo = nextNumber()
  if (!insertName(sql, 'keyPackage', { name: reference, number: packageNo })) return
  const packageChecksum = checksumOf('key_package', [keyPackage])
  const row = { packageNo, device, suite, lastResort, notAfter, reference, packageChecksum }
  const checksum = packageRowChecksum(holdings.accountNo, row)
  sql(
    `INSERT INTO key_packages
       (package_no, account_no, device, suite, last_resort, not_after, reference,
        package_checksum, checksum, key_package)
     VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
  ).run(
    packageNo,
    holdings.accountNo,
    device,
    suite,
    lastResort,
    notAfter,
    reference,
    packageChecksum,
    checksum,
    keyPackage,
  )
  holdings.packagesSum = changeSum(holdings.packagesSum, { more: checksum })
}

/** Single-use packages first, oldest first; the last resort one stays. */
export function claim(
  sql: Sql,
  { account, suite, nowMs }: OperationOf<'claim'>,
): readonly ClaimedKeyPackage[] {
  forgetExpired(sql, nowMs)
  const holdings = findHoldings(sql, account)
  if (holdings === null) return []
  const chosen = new Map<string, PackageRow>()
  for (const row of dropExpired(sql, holdings, nowMs)) {
    if (row.suite !== suite) continue
    const key = toHex(row.device)
    const before = chosen.get(key)
    if (before === undefined || before.lastResort > row.lastResort) chosen.set(key, row)
  }
  const claimed = [...chosen].sort(([a], [b]) => a < b ? -1 : 1)
    .slice(0, LIMITS.devicesPerAccountMax)
    .map(([, row]) => give(sql, holdings, row))
  writeHoldings(sql, holdings)
  return claimed
}

function give(sql: Sql, holdings: Holdings, row: PackageRow): ClaimedKeyPackage {
  const stored = sql('SELECT key_package FROM key_packages WHERE package_no = ?').get(row.packageNo)
  mustHold(stored !== undefined)
  const keyPackage = bytesOf(stored.key_package)
  mustHold(row.packageChecksum === checksumOf('key_package', [keyPackage]))
  const lastResort = row.lastResort === 1
  if (!lastResort) {
    deletePackage(sql, holdings, row)
    const { notAfter, reference } = row
    sql('INSERT INTO claimed_key_packages (not_after, reference, checksum) VALUES (?, ?, ?)')
      .run(notAfter, reference, checksumOf('claimed_key_packages', [notAfter, reference]))
  }
  return { device: row.device as DeviceId, keyPackage, lastResort }
}

/** What is left of the account's packages. */
function dropExpired(sql: Sql, holdings: Holdings, nowMs: number): readonly PackageRow[] {
  const left: PackageRow[] = []
  for (const row of readPackages(sql, holdings)) {
    if (row.notAfter > nowMs) left.push(row)
    else dropPackage(sql, holdings, row)
  }
  return left
}

/** Without its reference: it may come again. */
function dropPackage(sql: Sql, holdings: Holdings, row: PackageRow): void {
  deletePackage(sql, holdings, row)
  removeName(sql, 'keyPackage', row.reference)
}

function deletePackage(sql: Sql, holdings: Holdings, row: PackageRow): void {
  sql('DELETE FROM key_packages WHERE package_no = ?').run(row.packageNo)
  holdings.packagesSum = changeSum(holdings.packagesSum, { less: row.checksum })
}

/**
 * An expired package is never given out, so its reference need not be remembered either. One whose
 * rows are damaged stays, and holds up nobody.
 */
function forgetExpired(sql: Sql, nowMs: number): void {
  const expired = sql('SELECT * FROM claimed_key_packages WHERE not_after <= ?').all(nowMs)
  for (const row of expired) {
    sql('SAVEPOINT forgetting').run()
    try {
      forget(sql, row)
    } catch (error) {
      if (!isRowDamage(error)) throw error
      sql('ROLLBACK TO forgetting').run()
    }
    sql('RELEASE forgetting').run()
  }
}

function forget(sql: Sql, row: Row): void {
  const [notAfter, reference] = [integerOf(row.not_after), bytesOf(row.reference)]
  mustHold(row.checksum === checksumOf('claimed_key_packages', [notAfter, reference]))
  sql('DELETE FROM claimed_key_packages WHERE claim_no = ?').run(integerOf(row.claim_no))
  removeName(sql, 'keyPackage', reference)
}

// ---- Reads --------------------------------------------------------------------------------

export function readAccount(sql: Sql, account: AccountName): StoredAccount | null {
  const holdings = findHoldings(sql, account)
  return holdings === null ? null : readRegistered(sql, holdings, account)
}

/** Single-use packages that have not expired. */
export function countKeyPackages(
  sql: Sql,
  owner: { readonly account: AccountName; readonly device: DeviceId },
  nowMs: number,
): number {
  const holdings = findHoldings(sql, owner.account)
  if (holdings === null) return 0
  return readPackages(sql, holdings).filter((row) =>
    row.lastResort === 0 && row.notAfter > nowMs && equalBytes(row.device, owner.device)
  ).length
}

interface Owner {
  readonly account: AccountName
  readonly device: DeviceId
}

/** Of one device: held back, or given out. */
function welcomesOf(sql: Sql, { account, device }: Owner, held: 0 | 1): readonly WelcomeRow[] {
  const holdings = findHoldings(sql, account)
  if (holdings === null) return []
  return readAllWelcomes(sql, holdings)
    .filter((row) => row.held === held && equalBytes(row.device, device))
}

export function readWelcomes(
  sql: Sql,
  owner: Owner,
  without: ReadonlySet<bigint>,
): readonly WaitingWelcome[] {
  const waiting = welcomesOf(sql, owner, 0)
    .filter(({ welcomeNo }) => !without.has(BigInt(welcomeNo)))
  const welcomes: WaitingWelcome[] = []
  let bytes = 0
  for (const { welcomeNo, roomNo, position, bodyNo } of waiting.slice(0, WELCOMES_PAGE_MAX)) {
    const welcome = readBody(sql, bodyNo)
    bytes += welcome.length
    if (welcomes.length > 0 && bytes > WELCOMES_PAGE_BYTES_MAX) break
    welcomes.push({
      id: BigInt(welcomeNo),
      room: readRoomRow(sql, roomNo).room as RoomId,
      ...owner,
      position: positionOf(position),
      welcome,
    })
  }
  return welcomes
}

/** Rooms that hold Welcomes for the device back, each once; those of the oldest first. */
export function readHoldingRooms(sql: Sql, owner: Owner): readonly RoomId[] {
  const rooms = new Set(welcomesOf(sql, owner, 1).map(({ roomNo }) => roomNo))
  return [...rooms].map((roomNo) => readRoomRow(sql, roomNo).room as RoomId)
}

function readBody(sql: Sql, bodyNo: number): Uint8Array {
  const row = sql('SELECT checksum, welcome FROM welcome_bodies WHERE body_no = ?').get(bodyNo)
  mustHold(row !== undefined)
  const welcome = bytesOf(row.welcome)
  mustHold(row.checksum === checksumOf('welcome_bodies', [bodyNo, welcome]))
  return welcome
}
