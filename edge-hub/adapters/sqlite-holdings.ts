/**
 * What an account has at the hub, in SQLite: its certificate, the KeyPackages of its devices, the
 * Welcomes that wait for them. One row of holdings carries the sums of all of it. An account that
 * was never registered may hold Welcomes and KeyPackages as well. Owns the statements on these
 * tables; what is done with them is `sqlite-directory.ts`, whoever calls owns the transaction.
 */
import { utf8Encode } from '#core/base/bytes.ts'
import type { AccountName } from '#core/base/ids.ts'
import type { StoredAccount } from '#hub/ports.ts'
import { findName, insertName } from './sqlite-names.ts'
import { addUp, bytesOf, checksumOf, integerOf, mustHold } from './sqlite-proof.ts'
import type { Sql } from './sqlite-proof.ts'

/** Changed by whoever writes, and stored by `writeHoldings`. */
export interface Holdings {
  readonly accountNo: number
  /** Of its certificate; 0 until it is registered. */
  accountChecksum: number
  packagesSum: number
  welcomesSum: number
}

/** Null where it is proven that the account holds nothing. */
export function findHoldings(sql: Sql, account: string): Holdings | null {
  const accountNo = findName(sql, 'account', utf8Encode(account))
  return accountNo === null ? null : readHoldings(sql, accountNo)
}

export function readHoldings(sql: Sql, accountNo: number): Holdings {
  const row = sql('SELECT * FROM holdings WHERE account_no = ?').get(accountNo)
  mustHold(row !== undefined)
  const holdings = {
    accountNo,
    accountChecksum: integerOf(row.account_checksum),
    packagesSum: integerOf(row.packages_sum),
    welcomesSum: integerOf(row.welcomes_sum),
  }
  mustHold(row.checksum === holdingsChecksum(holdings))
  return holdings
}

/** Those of the account, or new ones, which must be written. */
export function takeHoldings(sql: Sql, account: string, nextNumber: () => number): Holdings {
  const found = findHoldings(sql, account)
  if (found !== null) return found
  const accountNo = nextNumber()
  insertName(sql, 'account', { name: utf8Encode(account), number: accountNo })
  return { accountNo, accountChecksum: 0, packagesSum: 0, welcomesSum: 0 }
}

export function writeHoldings(sql: Sql, holdings: Holdings): void {
  const { accountNo, accountChecksum, packagesSum, welcomesSum } = holdings
  sql(
    `INSERT OR REPLACE INTO holdings
       (account_no, account_checksum, packages_sum, welcomes_sum, checksum) VALUES (?, ?, ?, ?, ?)`,
  ).run(accountNo, accountChecksum, packagesSum, welcomesSum, holdingsChecksum(holdings))
}

function holdingsChecksum(holdings: Holdings): number {
  const { accountNo, accountChecksum, packagesSum, welcomesSum } = holdings
  return checksumOf('holdings', [accountNo, accountChecksum, packagesSum, welcomesSum])
}

// ---- The account --------------------------------------------------------------------------

/** Null until it is registered. */
export function readRegistered(
  sql: Sql,
  { accountNo, accountChecksum }: Holdings,
  account: AccountName,
): StoredAccount | null {
  const row = sql('SELECT root_hash, certificate, checksum FROM accounts WHERE account_no = ?')
    .get(accountNo)
  if (accountChecksum === 0 && row === undefined) return null
  mustHold(row !== undefined)
  const stored = {
    account,
    certificate: bytesOf(row.certificate),
    rootHash: bytesOf(row.root_hash),
  }
  mustHold(row.checksum === accountChecksum)
  mustHold(accountChecksum === accountRowChecksum(accountNo, stored))
  return stored
}

/** The holdings must be written behind it. */
export function writeRegistered(sql: Sql, holdings: Holdings, account: StoredAccount): void {
  const { accountNo } = holdings
  const checksum = accountRowChecksum(accountNo, account)
  sql(
    `INSERT OR REPLACE INTO accounts (account_no, root_hash, checksum, certificate)
     VALUES (?, ?, ?, ?)`,
  ).run(accountNo, account.rootHash, checksum, account.certificate)
  holdings.accountChecksum = checksum
}

function accountRowChecksum(accountNo: number, stored: StoredAccount): number {
  const { account, rootHash, certificate } = stored
  return checksumOf('accounts', [accountNo, account, rootHash, certificate])
}

// ---- KeyPackages and Welcomes, without what is large --------------------------------------

export interface PackageRow {
  readonly packageNo: number
  readonly device: Uint8Array
  readonly suite: number
  readonly lastResort: number
  readonly notAfter: number
  readonly reference: Uint8Array
  readonly packageChecksum: number
  readonly checksum: number
}

/** All of the account, oldest first. */
export function readPackages(sql: Sql, { accountNo, packagesSum }: Holdings): PackageRow[] {
  const rows = sql(
    `SELECT package_no, device, suite, last_resort, not_after, reference, package_checksum,
       checksum
     FROM key_packages WHERE account_no = ? ORDER BY package_no`,
  ).all(accountNo).map((row): PackageRow => ({
    packageNo: integerOf(row.package_no),
    device: bytesOf(row.device),
    suite: integerOf(row.suite),
    lastResort: integerOf(row.last_resort),
    notAfter: integerOf(row.not_after),
    reference: bytesOf(row.reference),
    packageChecksum: integerOf(row.package_checksum),
    checksum: integerOf(row.checksum),
  }))
  mustHold(rows.every((row) => row.checksum === packageRowChecksum(accountNo, row)))
  mustHold(addUp(rows.map(({ checksum }) => checksum)) === packagesSum)
  return rows
}

export function packageRowChecksum(accountNo: number, row: Omit<PackageRow, 'checksum'>): number {
  const { packageNo, device, suite, lastResort, notAfter, reference, packageChecksum } = row
  const values = [device, suite, lastResort, notAfter, reference, packageChecksum]
  return checksumOf('key_packages', [packageNo, accountNo, ...values])
}

export interface WelcomeRow {
  readonly welcomeNo: number
  readonly accountNo: number
  readonly device: Uint8Array
  readonly roomNo: number
  readonly position: number
  readonly held: number
  readonly bodyNo: number
  readonly checksum: number
}

/** All that wait for the account, held back or not, oldest first. */
export function readAllWelcomes(
  sql: Sql,
  { accountNo, welcomesSum }: Holdings,
): readonly WelcomeRow[] {
  const rows = sql('SELECT * FROM welcomes WHERE account_no = ? ORDER BY welcome_no')
    .all(accountNo).map(toWelcomeRow)
  mustHold(addUp(rows.map(({ checksum }) => checksum)) === welcomesSum)
  return rows
}

export function toWelcomeRow(row: Record<string, unknown>): WelcomeRow {
  const read = {
    welcomeNo: integerOf(row.welcome_no),
    accountNo: integerOf(row.account_no),
    device: bytesOf(row.device),
    roomNo: integerOf(row.room_no),
    position: integerOf(row.position),
    held: integerOf(row.held),
    bodyNo: integerOf(row.body_no),
    checksum: integerOf(row.checksum),
  }
  mustHold(read.checksum === welcomeChecksum(read))
  return read
}

export function welcomeChecksum(row: Omit<WelcomeRow, 'checksum'>): number {
  const { welcomeNo, accountNo, device, roomNo, position, held, bodyNo } = row
  return checksumOf('welcomes', [welcomeNo, accountNo, device, roomNo, position, held, bodyNo])
}
