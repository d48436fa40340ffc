/**
 * Welcomes that wait, in SQLite: kept with the entries that they belong to, held back until their
 * epoch is final, taken away by a void. What is damaged of an account or of a Welcome costs that
 * account its Welcomes and no room an entry (HUB-10): a Welcome that cannot be kept in order is
 * given up, and whoever reads what waits for its account is refused. Owns the statements that
 * change Welcomes; the rows are proven in `sqlite-holdings.ts`, whoever calls owns the transaction.
 */
import { equalBytes } from '#core/base/bytes.ts'
import { LIMITS } from '#core/base/limits.ts'
import type { UnpackedRoom, UnpackedWelcome } from './sqlite-batch.ts'
import type { Operation } from './sqlite-batch.ts'
import { type Holdings, takeHoldings, welcomeChecksum } from './sqlite-holdings.ts'
import { findHoldings, readHoldings, toWelcomeRow } from './sqlite-holdings.ts'
import { type WelcomeRow, writeHoldings } from './sqlite-holdings.ts'
import { addUp, changeSum, checksumOf, integerOf, isRowDamage } from './sqlite-proof.ts'
import { mustHold, type Sql, sumOf } from './sqlite-proof.ts'
import type { RoomRow } from './sqlite-room.ts'

type DeleteWelcome = Extract<Operation, { readonly kind: 'deleteWelcome' }>

/** Where the Welcomes of one append are kept. */
export interface WelcomeStore {
  readonly sql: Sql
  readonly room: RoomRow
  /**
   * Runs a part that reads rows of accounts. Where they are damaged it throws, so that the batch is
   * run again, or undoes that part alone and says false.
   */
  readonly apart: (part: () => void) => boolean
}

/** In place of a checksum, which is never negative: the room has done with the Welcome. */
const GIVEN_UP = -1

/** A device that lets its queue fill up gets no more until it has taken some. */
export function storeWelcomes(
  { sql, room, apart }: WelcomeStore,
  append: UnpackedRoom,
  nextNumber: () => number,
): void {
  const bodyNos = new Map<number, number>()
  for (const welcome of append.welcomes) {
    let bodyNo = bodyNos.get(welcome.body)
    let isWaiting = false
    const isSound = apart(() => {
      const holdings = takeHoldings(sql, welcome.account, nextNumber)
      if (isFull(sql, holdings, welcome.device)) return
      if (bodyNo === undefined) {
        bodyNo = nextNumber()
        insertBody(sql, bodyNo, append.bodies[welcome.body] as Uint8Array)
      }
      insertWelcome(sql, { room, holdings, welcome, welcomeNo: nextNumber(), bodyNo })
      isWaiting = true
    })
    if (isSound && isWaiting && bodyNo !== undefined) bodyNos.set(welcome.body, bodyNo)
  }
}

function isFull(sql: Sql, { accountNo }: Holdings, device: Uint8Array): boolean {
  const row = sql('SELECT count(*) AS waiting FROM welcomes WHERE account_no = ? AND device = ?')
    .get(accountNo, device)
  return sumOf(row?.waiting ?? null) >= LIMITS.welcomesPerDeviceMax
}

function insertBody(sql: Sql, bodyNo: number, welcome: Uint8Array): void {
  sql('INSERT INTO welcome_bodies (body_no, checksum, welcome) VALUES (?, ?, ?)')
    .run(bodyNo, checksumOf('welcome_bodies', [bodyNo, welcome]), welcome)
}

function insertWelcome(
  sql: Sql,
  { room, holdings, welcome, welcomeNo, bodyNo }: {
    readonly room: RoomRow
    readonly holdings: Holdings
    readonly welcome: UnpackedWelcome
    readonly welcomeNo: number
    readonly bodyNo: number
  },
): void {
  const { accountNo } = holdings
  const { device, position } = welcome
  const held = welcome.held ? 1 : 0
  const row = { welcomeNo, accountNo, device, roomNo: room.roomNo, position, held, bodyNo }
  const checksum = welcomeChecksum(row)
  sql(
    `INSERT INTO welcomes
       (welcome_no, account_no, device, room_no, position, held, body_no, checksum)
     VALUES (?, ?, ?, ?, ?, ?, ?, ?)`,
  ).run(welcomeNo, accountNo, device, room.roomNo, position, held, bodyNo, checksum)
  holdings.welcomesSum = changeSum(holdings.welcomesSum, { more: checksum })
  writeHoldings(sql, holdings)
  if (held === 1) room.heldSum = changeSum(room.heldSum, { more: checksum })
}

/** Those of commits from `voidFrom` on, held back or not. */
export function voidWelcomes(store: WelcomeStore, voidFrom: number): void {
  const { sql, room, apart } = store
  for (const row of welcomesOf(store)) {
    if (row.position < voidFrom) continue
    const { welcomeNo, checksum, held } = row
    sql('DELETE FROM welcomes WHERE welcome_no = ?').run(welcomeNo)
    apart(() => changeHoldings(sql, row, { less: checksum }))
    if (held === 1) room.heldSum = changeSum(room.heldSum, { less: checksum })
    dropBody(sql, row.bodyNo)
  }
}

/** Those of commits up to a position are held back no more. */
export function releaseWelcomes(store: WelcomeStore, upTo: number): void {
  const { sql, room, apart } = store
  if (room.heldSum === 0) return
  for (const row of welcomesOf(store)) {
    if (row.held !== 1 || row.position > upTo) continue
    const { welcomeNo, checksum: less } = row
    const more = welcomeChecksum({ ...row, held: 0 })
    const isReleased = apart(() => {
      sql('UPDATE welcomes SET held = 0, checksum = ? WHERE welcome_no = ?').run(more, welcomeNo)
      changeHoldings(sql, row, { less, more })
    })
    if (!isReleased) giveUp(sql, welcomeNo)
    room.heldSum = changeSum(room.heldSum, { less })
  }
}

/** All that wait for devices of the room, without those that are damaged. */
function welcomesOf({ sql, room, apart }: WelcomeStore): readonly WelcomeRow[] {
  let rows: readonly WelcomeRow[] = []
  const isSound = apart(() => {
    rows = provenWelcomes(sql, room)
  })
  return isSound ? rows : soundWelcomes(sql, room)
}

/** Those that are held back are proven to be there. */
function provenWelcomes(sql: Sql, { roomNo, heldSum }: RoomRow): readonly WelcomeRow[] {
  const rows = sql('SELECT * FROM welcomes WHERE room_no = ? AND checksum <> ?')
    .all(roomNo, GIVEN_UP).map(toWelcomeRow)
  mustHold(addUpHeld(rows) === heldSum)
  return rows
}

/**
 * What is left of the room's Welcomes where not all of them can be proven; the others are given up,
 * once. The index may hide some, so all of the table is read; what it hides is not deleted either,
 * since SQLite takes that for the end of the file.
 */
function soundWelcomes(sql: Sql, room: RoomRow): readonly WelcomeRow[] {
  const numbersOf = (source: string) =>
    sql(`SELECT welcome_no FROM welcomes ${source} WHERE room_no = ? AND checksum <> ?`)
      .all(room.roomNo, GIVEN_UP).map((row) => integerOf(row.welcome_no))
  const indexed = new Set(numbersOf('INDEXED BY welcomes_by_room'))
  const sound: WelcomeRow[] = []
  for (const welcomeNo of numbersOf('NOT INDEXED')) {
    const row = indexed.has(welcomeNo) ? soundWelcome(sql, welcomeNo) : null
    if (row === null) giveUp(sql, welcomeNo)
    else sound.push(row)
  }
  room.heldSum = addUpHeld(sound)
  return sound
}

function soundWelcome(sql: Sql, welcomeNo: number): WelcomeRow | null {
  try {
    const row = sql('SELECT * FROM welcomes WHERE welcome_no = ?').get(welcomeNo)
    return row === undefined ? null : toWelcomeRow(row)
  } catch (error) {
    if (!isRowDamage(error)) throw error
    return null
  }
}

/** The row stays, and proves nothing: what waits for its account is `damaged` to whoever reads. */
function giveUp(sql: Sql, welcomeNo: number): void {
  sql('UPDATE welcomes SET checksum = ? WHERE welcome_no = ?').run(GIVEN_UP, welcomeNo)
}

function addUpHeld(rows: readonly WelcomeRow[]): number {
  return addUp(rows.filter((row) => row.held === 1).map(({ checksum }) => checksum))
}

function changeHoldings(
  sql: Sql,
  { accountNo }: WelcomeRow,
  change: { readonly less: number; readonly more?: number },
): void {
  const holdings = readHoldings(sql, accountNo)
  holdings.welcomesSum = changeSum(holdings.welcomesSum, change)
  writeHoldings(sql, holdings)
}

/** One that is held back was not given out, and cannot have been taken. */
export function deleteWelcome(sql: Sql, { account, device, id }: DeleteWelcome): null {
  const holdings = findHoldings(sql, account)
  if (holdings === null) return null
  const found = sql('SELECT * FROM welcomes WHERE welcome_no = ?').get(id)
  if (found === undefined) return null
  const row = toWelcomeRow(found)
  if (row.accountNo !== holdings.accountNo || row.held === 1) return null
  if (!equalBytes(row.device, device)) return null
  sql('DELETE FROM welcomes WHERE welcome_no = ?').run(id)
  changeHoldings(sql, row, { less: row.checksum })
  dropBody(sql, row.bodyNo)
  return null
}

/** Unless a Welcome still needs it. */
function dropBody(sql: Sql, bodyNo: number): void {
  sql(
    `DELETE FROM welcome_bodies WHERE body_no = ?
     AND NOT EXISTS (SELECT 1 FROM welcomes WHERE body_no = ?)`,
  ).run(bodyNo, bodyNo)
}
